// SPDX-License-Identifier: MIT OR Apache-2.0
#include "exposition.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>
#include <system_error>
#include <utility>

namespace busbar {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

/// Takes a line apart from the front.
class LineParser {
 public:
  explicit LineParser(std::string_view line) : rest_(line) {}

  /// Returns: nothing if the line is no sample.
  std::optional<MetricSample> sample() {
    MetricSample sample;
    sample.name = name(true);
    if (sample.name.empty()) return std::nullopt;
    skip_blanks();
    if (take('{') && !labels(sample.labels)) return std::nullopt;
    skip_blanks();
    const auto value = number();
    if (!value || !time_or_nothing()) return std::nullopt;
    sample.value = *value;
    return sample;
  }

 private:
  void skip_blanks() { rest_.remove_prefix(std::min(rest_.find_first_not_of(" \t"), rest_.size())); }

  bool take(char c) {
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }

  /// Empty if there is none. Only that of a metric may have colons.
  std::string name(bool of_metric) {
    const auto is_part = [&](char c) { return is_letter(c) || (of_metric && c == ':'); };
    std::size_t end = 0;
    while (end < rest_.size() && (is_part(rest_[end]) || (end != 0 && is_digit(rest_[end])))) ++end;
    std::string text(rest_.substr(0, end));
    rest_.remove_prefix(end);
    return text;
  }

  /// Those behind the brace, and the brace that ends them.
  bool labels(std::vector<MetricLabel>& labels) {
    for (skip_blanks(); !take('}'); skip_blanks()) {
      MetricLabel label{name(false), {}};
      if (label.name.empty()) return false;
      skip_blanks();
      if (!take('=')) return false;
      skip_blanks();
      if (!take('"') || !quoted(label.value)) return false;
      labels.push_back(std::move(label));
      skip_blanks();
      if (!take(',') && !rest_.starts_with('}')) return false;
    }
    std::ranges::sort(labels, {}, &MetricLabel::name);
    return std::ranges::adjacent_find(labels, {}, &MetricLabel::name) == labels.end();
  }

  /// The text up to the quote that ends it.
  bool quoted(std::string& text) {
    for (;;) {
      const std::size_t end = rest_.find_first_of("\"\\");
      if (end == rest_.npos) return false;
      text += rest_.substr(0, end);
      const bool ends = rest_[end] == '"';
      rest_.remove_prefix(end + 1);
      if (ends) return true;
      if (take('n')) {
        text += '\n';
      } else if (take('"')) {
        text += '"';
      } else if (take('\\')) {
        text += '\\';
      } else {
        return false;
      }
    }
  }

  std::string_view word() {
    const std::string_view word = rest_.substr(0, rest_.find_first_of(" \t"));
    rest_.remove_prefix(word.size());
    return word;
  }

  std::optional<double> number() {
    std::string_view text = word();
    if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
    if (text.find('(') != text.npos) return std::nullopt;  // a NaN with a payload, which only C knows
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return value;
  }

  /// The milliseconds that may stand behind a value, which nobody needs here.
  bool time_or_nothing() {
    skip_blanks();
    if (rest_.empty()) return true;
    const std::string_view text = word();
    std::int64_t milliseconds = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), milliseconds);
    skip_blanks();
    return error == std::errc() && end == text.data() + text.size() && rest_.empty();
  }

  std::string_view rest_;
};

}  // namespace

std::string_view MetricSample::label(std::string_view label_name) const {
  const auto found = std::ranges::find(labels, label_name, &MetricLabel::name);
  return found == labels.end() ? std::string_view() : found->value;
}

Exposition parse_exposition(std::string_view page) {
  Exposition result;
  while (!page.empty()) {
    const std::size_t end = page.find('\n');
    std::string_view line = page.substr(0, end);
    page.remove_prefix(end == page.npos ? page.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
    if (line.empty() || line.starts_with('#')) continue;
    auto sample = end == std::string_view::npos ? std::nullopt : LineParser(line).sample();
    if (sample) {
      result.samples.push_back(std::move(*sample));
    } else {
      ++result.damaged_lines;
    }
  }
  return result;
}

}  // namespace busbar
