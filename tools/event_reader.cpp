// SPDX-License-Identifier: MIT OR Apache-2.0
#include "event_reader.hpp"

#include "ndjson.hpp"

#include <string_view>
#include <variant>

namespace busbar {

std::optional<bus::Message> EventReader::next(const std::function<void()>& before_waiting) {
  for (std::string_view line;;) {
    std::optional<LineReader::Status> status;
    if (before_waiting) {
      status = lines_.try_next(line);
      if (!status) before_waiting();
    }
    if (!status) status = lines_.next(line);
    switch (*status) {
      case LineReader::Status::end:
      case LineReader::Status::interrupted: return std::nullopt;
      case LineReader::Status::too_long:
        skip("longer than " + std::to_string(max_line_bytes(max_payload_bytes_)) + " bytes");
        break;
      case LineReader::Status::line:
        if (is_blank(line)) break;
        ParsedLine parsed = parse_event(line, max_payload_bytes_);
        if (auto* message = std::get_if<bus::Message>(&parsed)) {
          ++events_;
          return std::move(*message);
        }
        skip(std::get<LineFault>(parsed).text);
        break;
    }
  }
}

void EventReader::finish() const {
  if (skipped_ <= told_faults) return;
  tell_(std::to_string(skipped_ - told_faults) + " more lines skipped");
}

void EventReader::skip(const std::string& why) {
  if (++skipped_ <= told_faults) tell_("line " + std::to_string(lines_.line_number()) + " skipped: " + why);
}

}  // namespace busbar
