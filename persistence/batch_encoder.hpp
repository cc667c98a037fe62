// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Puts together what one commit writes: a mark, frames, and the blank word behind them.
#pragma once

#include "persistence/format.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace bus::detail {

/// Where a segment's writer stands.
struct WritePlace {
  std::uint64_t position = page_bytes;
  std::uint32_t next_record = 0;
  std::uint32_t next_control = 0;
};

/// Threads: one at a time. Keeps its memory from batch to batch.
class BatchEncoder {
 public:
  /// Begins a batch of the segment at `place`.
  void begin(const SegmentHeader& header, const WritePlace& place);

  struct Record {
    std::uint16_t topic = no_name;
    std::uint16_t principal = no_name;
    std::int64_t wall_ns = 0;
    bool tagged = false;  ///< the body begins with fields
    std::span<const std::byte> body;
    std::uint32_t body_crc = 0;
  };
  /// Errors: throws std::bad_alloc.
  void add(const Record& record);
  void add(std::uint16_t topic, std::uint16_t principal, std::int64_t wall_ns, const RecordFields& fields,
           std::span<const std::byte> payload);
  void add(FrameKind kind, std::span<const std::byte> body);

  /// Ends it. `proven` is up to where the segment is durable. Returns: what is to be written at the place it began,
  /// valid until the next `begin`; the last eight bytes lie behind the batch.
  std::span<const std::byte> finish(std::uint64_t proven, std::int64_t wall_ns);

  /// Where the next batch begins.
  const WritePlace& place() const noexcept { return place_; }
  std::uint64_t bytes() const noexcept { return place_.position - first_.position; }

 private:
  std::span<std::byte> room_for(std::size_t body_bytes);
  void seal_frame(FrameHead head, std::span<std::byte> frame, std::uint64_t position) noexcept;

  SegmentHeader header_;
  WritePlace first_;
  WritePlace place_;
  std::vector<std::byte> bytes_;
};

}  // namespace bus::detail
