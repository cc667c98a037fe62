// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Any line of input is either refused with a reason or becomes a message that a bus would take.
#include "ndjson.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <variant>

#include <nlohmann/json.hpp>

namespace {

constexpr std::size_t max_payload_bytes = 256;

void require(bool holds) {
  if (!holds) std::abort();
}

void check(const bus::Message& message) {
  require(bus::Topic::parse(message.topic.view()).has_value());
  require(bus::Principal::parse(message.principal.view()).has_value());
  require(message.payload.size() <= max_payload_bytes);
  require(nlohmann::json::accept(message.payload.text()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view line(reinterpret_cast<const char*>(data), size);
  const busbar::ParsedLine parsed = busbar::parse_event(line, max_payload_bytes);
  if (const auto* message = std::get_if<bus::Message>(&parsed)) {
    check(*message);
  } else {
    require(!std::get<busbar::LineFault>(parsed).text.empty());
  }
  return 0;
}
