// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A record of a log as one line of JSON:
//
//   {"offset": 7, "time": "2026-03-01T12:00:00.000000000Z", "topic": "agent.v1.done", "principal": "agent.alice",
//    "key": "…", "headers": {"name": "value"}, "payload": any JSON}
//
// A payload that is a JSON string stands for its text, any other value for itself, byte for byte as it stands in the
// line. What JSON cannot hold is base64 under another name: payload_base64, topic_base64 and so on. Headers of which
// one has a name that another has, or is no UTF-8, are a list: [{"name": …, "value": …}, …].
#pragma once

#include "ndjson.hpp"

#include <bus/persistence/record.hpp>

#include <nlohmann/json_fwd.hpp>

#include <list>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace busbar {

/// A record that was read from a line.
/// Lifetime: as long as the line.
struct RecordLine {
  bus::Record record;  ///< refers to the line and to what follows
  std::list<std::string> texts = {};
  std::vector<bus::Header> headers = {};

  RecordLine() = default;
  RecordLine(RecordLine&&) = default;
  RecordLine& operator=(RecordLine&&) = default;
};

using ParsedRecord = std::variant<RecordLine, LineFault>;

/// Reads one record. Topic and payload are required; the offset and unknown keys are ignored.
/// Threads: any. Errors: a fault for anything else.
ParsedRecord parse_record(std::string_view line);

/// The record with all that was said about it, without a newline. `parse_record` reads it back.
std::string as_json(const bus::RecordView& record);

/// The same, with the members of an object behind it that `parse_record` ignores.
std::string as_json(const bus::RecordView& record, const nlohmann::ordered_json& more);

}  // namespace busbar
