// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include "input.hpp"

#include <bus/event.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>

namespace busbar {

/// The events of an input, with the lines that are none told and counted.
/// Threads: one at a time.
class EventReader {
 public:
  /// `tell` gets a remark for each of the first ten lines that are no events.
  EventReader(LineReader lines, std::size_t max_payload_bytes, std::function<void(const std::string&)> tell)
      : lines_(std::move(lines)), max_payload_bytes_(max_payload_bytes), tell_(std::move(tell)) {}

  /// A payload of that size, and as much again, at least 64 KiB, for the rest of the line.
  static constexpr std::size_t max_line_bytes(std::size_t max_payload_bytes) {
    constexpr std::size_t least = std::size_t{64} << 10;
    return max_payload_bytes + (max_payload_bytes > least ? max_payload_bytes : least);
  }

  /// The next event; nothing at the end, or once a stop is requested. `before_waiting` is called if there is none yet.
  std::optional<bus::Message> next(const std::function<void()>& before_waiting = {});

  /// Tells how many more lines were skipped than were told one by one.
  void finish() const;

  std::uint64_t events() const noexcept { return events_; }
  std::uint64_t skipped() const noexcept { return skipped_; }

 private:
  static constexpr std::uint64_t told_faults = 10;

  void skip(const std::string& why);

  LineReader lines_;
  const std::size_t max_payload_bytes_;
  const std::function<void(const std::string&)> tell_;
  std::uint64_t events_ = 0;
  std::uint64_t skipped_ = 0;
};

}  // namespace busbar
