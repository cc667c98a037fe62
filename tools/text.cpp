// SPDX-License-Identifier: MIT OR Apache-2.0
#include "text.hpp"

#include <algorithm>
#include <array>
#include <cstdio>

namespace busbar {
namespace {

/// Takes a number of so many digits from the front of a text.
std::optional<int> take_digits(std::string_view& text, std::size_t digits) {
  if (text.size() < digits) return std::nullopt;
  int value = 0;
  for (const char c : text.substr(0, digits)) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  text.remove_prefix(digits);
  return value;
}

bool take(std::string_view& text, char c) {
  if (!text.starts_with(c)) return false;
  text.remove_prefix(1);
  return true;
}

/// The time of day behind the `T`.
std::optional<std::chrono::nanoseconds> take_time_of_day(std::string_view& text) {
  using namespace std::chrono;
  const auto hour = take_digits(text, 2);
  if (!hour || !take(text, ':')) return std::nullopt;
  const auto minute = take_digits(text, 2);
  if (!minute || *hour > 23 || *minute > 59) return std::nullopt;
  nanoseconds time = hours(*hour) + minutes(*minute);
  if (!take(text, ':')) return time;
  const auto second = take_digits(text, 2);
  if (!second || *second > 59) return std::nullopt;
  time += seconds(*second);
  if (!take(text, '.')) return time;
  int digits = 0;
  for (int unit = 100'000'000; unit != 0; unit /= 10) {
    const auto digit = take_digits(text, 1);
    if (!digit) break;
    time += nanoseconds(*digit * unit);
    ++digits;
  }
  if (digits == 0) return std::nullopt;
  return time;
}

}  // namespace

std::string with_separators(std::uint64_t value) {
  std::string text = std::to_string(value);
  for (auto at = text.size(); at > 3;) text.insert(at -= 3, 1, ',');
  return text;
}

std::string counted(std::uint64_t value, std::string_view noun) {
  return with_separators(value).append(" ").append(noun) + (value == 1 ? "" : "s");
}

std::string as_duration(std::uint64_t nanoseconds) {
  if (nanoseconds < 1000) return std::to_string(nanoseconds) + " ns";
  auto value = static_cast<double>(nanoseconds);
  const char* unit = "ns";
  for (const char* larger : {"us", "ms", "s"}) {
    if (value < 999.5) break;
    value /= 1000;
    unit = larger;
  }
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%.*f %s", value < 9.995 ? 2 : value < 99.95 ? 1 : 0, value, unit);
  return text.data();
}

std::string as_utc(std::chrono::system_clock::time_point time) {
  using namespace std::chrono;
  const auto day = floor<days>(time);
  const year_month_day date(day);
  const hh_mm_ss clock(duration_cast<nanoseconds>(time - day));
  std::array<char, 96> text{};
  std::snprintf(text.data(), text.size(), "%04d-%02u-%02uT%02d:%02d:%02d.%09dZ", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                static_cast<int>(clock.seconds().count()), static_cast<int>(clock.subseconds().count()));
  return text.data();
}

std::optional<std::chrono::system_clock::time_point> parse_utc(std::string_view text) {
  using namespace std::chrono;
  const auto year_number = take_digits(text, 4);
  if (!year_number || !take(text, '-')) return std::nullopt;
  const auto month_number = take_digits(text, 2);
  if (!month_number || !take(text, '-')) return std::nullopt;
  const auto day_number = take_digits(text, 2);
  if (!day_number) return std::nullopt;
  const year_month_day date(year(*year_number), month(static_cast<unsigned>(*month_number)),
                            std::chrono::day(static_cast<unsigned>(*day_number)));
  if (!date.ok() || *year_number < 1678 || *year_number > 2261) return std::nullopt;
  nanoseconds time_of_day{};
  if (take(text, 'T')) {
    const auto time = take_time_of_day(text);
    if (!time) return std::nullopt;
    time_of_day = *time;
  }
  take(text, 'Z');
  if (!text.empty()) return std::nullopt;
  return system_clock::time_point(duration_cast<system_clock::duration>(sys_days(date).time_since_epoch()) +
                                  duration_cast<system_clock::duration>(time_of_day));
}

std::string aligned(const std::vector<Row>& rows) {
  if (rows.size() == 1) return {};
  std::vector<std::size_t> widths(rows.front().size());
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const Row& row : rows) {
    text += row[0] + std::string(widths[0] - row[0].size(), ' ');
    for (std::size_t i = 1; i < row.size(); ++i) text += "  " + std::string(widths[i] - row[i].size(), ' ') + row[i];
    text += '\n';
  }
  return text + '\n';
}

}  // namespace busbar
