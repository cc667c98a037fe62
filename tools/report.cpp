// SPDX-License-Identifier: MIT OR Apache-2.0
#include "report.hpp"

#include "text.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cstdio>
#include <vector>

namespace busbar {
namespace {

constexpr std::size_t columns = 7;
using Row = std::array<std::string, columns>;

std::string duration_or_dash(const std::optional<std::uint64_t>& nanoseconds) {
  return nanoseconds ? as_duration(*nanoseconds) : "-";
}

/// The first column to the left, figures to the right, each as wide as its widest cell.
std::string aligned(const std::vector<Row>& rows) {
  std::array<std::size_t, columns> widths{};
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < columns; ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const Row& row : rows) {
    text += row[0] + std::string(widths[0] - row[0].size(), ' ');
    for (std::size_t i = 1; i < columns; ++i) text += "  " + std::string(widths[i] - row[i].size(), ' ') + row[i];
    text += '\n';
  }
  return text;
}

std::string summary(const ReplayReport& report) {
  std::array<char, 32> seconds{};
  std::snprintf(seconds.data(), seconds.size(), "%.3f", report.seconds);
  std::string text = with_separators(report.events) + " events, " + with_separators(report.published) +
                     " published in " + seconds.data() + " s";
  if (report.published != 0 && report.seconds > 0) {
    const double rate = static_cast<double>(report.published) / report.seconds;
    text += " (" + with_separators(static_cast<std::uint64_t>(rate)) + "/s)";
  }
  if (report.skipped_lines != 0) text += ", " + with_separators(report.skipped_lines) + " lines skipped";
  return text + '\n';
}

}  // namespace

std::string as_table(const ReplayReport& report) {
  std::vector<Row> rows{{"receiver", "delivered", "missed", "pending", "p50", "p95", "p99"}};
  for (const ReceiverReport& receiver : report.receivers) {
    rows.push_back({receiver.name, with_separators(receiver.delivered), with_separators(receiver.missed),
                    with_separators(receiver.pending), duration_or_dash(receiver.p50), duration_or_dash(receiver.p95),
                    duration_or_dash(receiver.p99)});
  }
  return (report.receivers.empty() ? "" : aligned(rows) + '\n') + summary(report);
}

std::string as_json(const ReplayReport& report) {
  using nlohmann::ordered_json;
  const auto number_or_null = [](const std::optional<std::uint64_t>& value) {
    return value ? ordered_json(*value) : ordered_json(nullptr);
  };
  auto receivers = ordered_json::array();
  for (const ReceiverReport& receiver : report.receivers) {
    receivers.push_back(ordered_json{{"name", receiver.name},
                                     {"delivered", receiver.delivered},
                                     {"missed", receiver.missed},
                                     {"pending", receiver.pending},
                                     {"p50_ns", number_or_null(receiver.p50)},
                                     {"p95_ns", number_or_null(receiver.p95)},
                                     {"p99_ns", number_or_null(receiver.p99)}});
  }
  const ordered_json object{{"events", report.events},
                            {"published", report.published},
                            {"skipped_lines", report.skipped_lines},
                            {"seconds", report.seconds},
                            {"receivers", receivers}};
  // A name is the user's bytes and need not be UTF-8.
  return object.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + '\n';
}

}  // namespace busbar
