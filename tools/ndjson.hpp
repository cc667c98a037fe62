// SPDX-License-Identifier: MIT OR Apache-2.0
//
// One line of input: {"topic": "agent.v1.thought", "principal": "agent.alice", "payload": any JSON}.
#pragma once

#include <bus/event.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <variant>

namespace busbar {

/// Why a line is no event. Says which rule was broken and never quotes the line.
struct LineFault {
  std::string text;
};

using ParsedLine = std::variant<bus::Message, LineFault>;

/// Reads one event. `principal` may be a string, null or absent; keys other than the three are ignored. The payload
/// of the message is the JSON text of the payload value, byte for byte as it stands in the line.
/// Threads: any. Cost: O(bytes), on the heap and not on the stack however deeply the line is nested.
/// Errors:  a fault for anything else, a key given twice and a payload over `max_payload_bytes` among it.
ParsedLine parse_event(std::string_view line, std::size_t max_payload_bytes);

/// Whether a line holds nothing at all and is no event and no fault either.
bool is_blank(std::string_view line) noexcept;

}  // namespace busbar
