// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What the writer of a log, its readers and its timer know of its files in common.
#pragma once

#include "persistence/segment_list.hpp"
#include "persistence/spares.hpp"

#include <atomic>
#include <cstdint>
#include <optional>

namespace bus::detail {

/// What a log has written, by purpose. Threads: one writes each of them, any read.
struct WriteCounts {
  std::atomic<std::uint64_t> record_bytes{0};
  std::atomic<std::uint64_t> frame_bytes{0};
  std::atomic<std::uint64_t> fill_bytes{0};
  std::atomic<std::uint64_t> repair_bytes{0};
  std::atomic<std::uint64_t> syncs{0};
  std::atomic<std::uint64_t> sync_failures{0};
  std::atomic<std::uint64_t> rolls{0};
  std::atomic<std::uint64_t> reused_segments{0};
};

/// Threads: any.
struct LogFiles {
  explicit LogFiles(std::optional<std::uint64_t> disk_bytes = {}) noexcept : disk(disk_bytes) {}

  SegmentList segments;
  Spares spares;
  DiskBudget disk;
  WriteCounts counts;

  /// The first segment that is needed to know what groups stand at, by its serial; the highest number if there are
  /// none. What it says is durable.
  std::atomic<std::uint64_t> groups_from{~std::uint64_t{0}};
};

}  // namespace bus::detail
