// SPDX-License-Identifier: MIT OR Apache-2.0
#include "ndjson.hpp"

#include "json_text.hpp"

#include <optional>
#include <utility>

namespace busbar {

bool is_blank(std::string_view line) noexcept { return line.find_first_not_of(" \t\r\n") == std::string_view::npos; }

ParsedLine parse_event(std::string_view line, std::size_t max_payload_bytes) {
  std::string fault;
  const auto object = as_object(line, fault);
  if (!object) return LineFault{std::move(fault)};

  std::optional<std::string_view> topic_json;
  std::optional<std::string_view> principal_json;
  std::optional<std::string_view> payload_json;
  JsonMembers members(*object);
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
  if (!is_json_string(*topic_json)) return LineFault{"topic is not a string"};
  const std::string topic_text = text_of(*topic_json);
  auto topic = bus::Topic::parse(topic_text);
  if (!topic) return LineFault{"topic: " + std::string(bus::detail::topic_fault(topic_text, false))};

  bus::Principal on_behalf;
  if (principal_json && *principal_json != "null") {
    if (!is_json_string(*principal_json)) return LineFault{"principal is neither a string nor null"};
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
