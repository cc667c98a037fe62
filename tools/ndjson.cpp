// SPDX-License-Identifier: MIT OR Apache-2.0
#include "ndjson.hpp"

#include <nlohmann/json.hpp>

#include <optional>
#include <utility>

namespace busbar {
namespace {

using nlohmann::json;

constexpr std::string_view whitespace = " \t\r\n";
constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";

/// Which rule of JSON the text breaks, if any. The library's own messages are not used: they quote the text.
std::optional<std::string> json_fault(std::string_view text) {
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

/// Walks over the members of an object that is known to be JSON, and cuts them out as they stand.
class Members {
 public:
  explicit Members(std::string_view object) : rest_(object) { rest_.remove_prefix(1); }

  /// The next key, in its quotes, and its value; false after the last one.
  bool next(std::string_view& key, std::string_view& value) {
    skip(", \t\r\n");
    if (rest_.front() == '}') return false;
    key = cut();
    skip(": \t\r\n");
    value = cut();
    return true;
  }

 private:
  void skip(std::string_view characters) { rest_.remove_prefix(rest_.find_first_not_of(characters)); }

  std::string_view cut() {
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

  std::size_t past_string(std::size_t at) const {
    for (++at; rest_[at] != '"'; ++at) {
      if (rest_[at] == '\\') ++at;
    }
    return at + 1;
  }

  std::string_view rest_;
};

bool is_string(std::string_view value) { return value.front() == '"'; }
std::string text_of(std::string_view string) { return json::parse(string).get<std::string>(); }

}  // namespace

bool is_blank(std::string_view line) noexcept { return line.find_first_not_of(whitespace) == std::string_view::npos; }

ParsedLine parse_event(std::string_view line, std::size_t max_payload_bytes) {
  if (line.starts_with(byte_order_mark)) line.remove_prefix(byte_order_mark.size());
  if (auto fault = json_fault(line)) return LineFault{std::move(*fault)};
  line.remove_prefix(line.find_first_not_of(whitespace));
  if (line.front() != '{') return LineFault{"not an object"};

  std::optional<std::string_view> topic_json;
  std::optional<std::string_view> principal_json;
  std::optional<std::string_view> payload_json;
  Members members(line);
  for (std::string_view key, value; members.next(key, value);) {
    const std::string name = text_of(key);
    auto* field = name == "topic"       ? &topic_json
                  : name == "principal" ? &principal_json
                  : name == "payload"   ? &payload_json
                                        : nullptr;
    if (field == nullptr) continue;
    if (field->has_value()) return LineFault{name + " is given twice"};
    *field = value;
  }

  if (!topic_json) return LineFault{"topic is missing"};
  if (!is_string(*topic_json)) return LineFault{"topic is not a string"};
  const std::string topic_text = text_of(*topic_json);
  auto topic = bus::Topic::parse(topic_text);
  if (!topic) return LineFault{"topic: " + std::string(bus::detail::topic_fault(topic_text, false))};

  bus::Principal on_behalf;
  if (principal_json && *principal_json != "null") {
    if (!is_string(*principal_json)) return LineFault{"principal is neither a string nor null"};
    const std::string principal_text = text_of(*principal_json);
    auto principal = bus::Principal::parse(principal_text);
    if (!principal) {
      return LineFault{"principal: " +
                       std::string(bus::detail::name_fault(principal_text, bus::limits::max_principal_bytes))};
    }
    on_behalf = std::move(*principal);
  }

  if (!payload_json) return LineFault{"payload is missing"};
  if (payload_json->size() > max_payload_bytes) {
    return LineFault{"payload has " + std::to_string(payload_json->size()) + " bytes, more than " +
                     std::to_string(max_payload_bytes)};
  }
  return bus::Message{std::move(*topic), std::move(on_behalf), bus::Payload::copy(*payload_json)};
}

}  // namespace busbar
