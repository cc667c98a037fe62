// SPDX-License-Identifier: MIT OR Apache-2.0
#include "json_text.hpp"

#include <nlohmann/json.hpp>

namespace busbar {
namespace {

using nlohmann::json;

constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";

}  // namespace

std::optional<std::string> json_fault(std::string_view text) {
  // The library's own messages are not used: they quote the text.
  try {
    // The callback drops each value as it is read: this only checks, and builds nothing.
    [[maybe_unused]] const json nothing = json::parse(text, [](int, json::parse_event_t, json&) { return false; });
    return std::nullopt;
  } catch (const json::parse_error& error) {
    return "not JSON (error at byte " + std::to_string(error.byte) + ")";
  } catch (const json::out_of_range&) {
    return "not JSON (a number is out of range)";
  }
}

std::optional<std::string_view> as_object(std::string_view line, std::string& fault) {
  if (line.starts_with(byte_order_mark)) line.remove_prefix(byte_order_mark.size());
  if (auto wrong = json_fault(line)) {
    fault = std::move(*wrong);
    return std::nullopt;
  }
  line.remove_prefix(line.find_first_not_of(" \t\r\n"));
  if (line.front() == '{') return line;
  fault = "not an object";
  return std::nullopt;
}

bool JsonMembers::next(std::string_view& key, std::string_view& value) {
  skip(", \t\r\n");
  if (rest_.front() == '}') return false;
  key = cut();
  skip(": \t\r\n");
  value = cut();
  return true;
}

std::string_view JsonMembers::cut() {
  std::size_t end = 0;
  std::size_t depth = 0;
  do {
    switch (rest_[end]) {
      case '"': end = past_string(end); break;
      case '{':
      case '[': ++depth, ++end; break;
      case '}':
      case ']': --depth, ++end; break;
      // Inside brackets one byte at a time; outside them this is a number or a word.
      default: end = depth != 0 ? end + 1 : rest_.find_first_of(",} \t\r\n", end); break;
    }
  } while (depth != 0);
  const std::string_view value = rest_.substr(0, end);
  rest_.remove_prefix(end);
  return value;
}

std::size_t JsonMembers::past_string(std::size_t at) const {
  for (++at; rest_[at] != '"'; ++at) {
    if (rest_[at] == '\\') ++at;
  }
  return at + 1;
}

std::string text_of(std::string_view string) { return json::parse(string).get<std::string>(); }

}  // namespace busbar
