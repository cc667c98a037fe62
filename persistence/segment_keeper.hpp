// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Which segments stay, and which files are held ready to become some.
#pragma once

#include "persistence/log_files.hpp"

#include <bus/error.hpp>
#include <bus/persistence/log_options.hpp>
#include <bus/persistence/storage.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <utility>

namespace bus::detail {

/// Drops old segments and fills spares for new ones.
/// Threads: any, and one at a time does the work. What it is made with must outlive it.
class SegmentKeeper {
 public:
  /// Those whom records may be owed.
  struct Creditors {
    /// From which offset on somebody is owed them, if anybody is.
    std::function<std::optional<std::uint64_t>()> owed_from;
    /// What is in front of this offset is about to go.
    std::function<void(std::uint64_t)> will_drop;
  };

  SegmentKeeper(Storage& storage, LogFiles& files, const LogOptions& options, Creditors creditors)
      : storage_(storage),
        files_(files),
        segment_bytes_(options.segment_bytes),
        creditors_(std::move(creditors)),
        spare_segments_(options.spare_segments),
        retention_(options.retention) {}

  /// Drops what retention no longer wants at that wall time, and nobody is owed.
  void retain(std::int64_t now_ns) noexcept;
  Retention retention() const;
  void set_retention(const Retention& retention) noexcept;
  std::size_t spare_segments() const;
  void set_spare_segments(std::size_t segments) noexcept;

  /// Drops segments that have nothing from `offset` on, whoever is owed it; not what says which groups there are.
  /// Errors: those of the storage.
  error_code drop_before(std::uint64_t offset) noexcept;

  /// Drops the oldest segment. Errors: no_space_on_device, if there is only one, or somebody is owed it; those of the
  /// storage.
  error_code drop_oldest() noexcept;

  /// Fills one more file, if there should be one. Returns: whether it did.
  bool make_spare() noexcept;

  std::uint64_t dropped_segments() const noexcept { return dropped_segments_.load(std::memory_order_relaxed); }
  std::uint64_t dropped_records() const noexcept { return dropped_records_.load(std::memory_order_relaxed); }

 private:
  bool oldest_has_groups() const;
  bool oldest_is_owed() const;
  bool oldest_may_go(std::int64_t now_ns);
  std::int64_t sealed_at(Segment& segment) noexcept;
  error_code take_away_oldest();
  error_code retire(const Segment& segment) noexcept;
  error_code finish_taking_away();
  error_code use_or_remove_retired();

  /// One whose file has the name of a spare. Until it is durable that it is gone, no other goes: after a crash it might
  /// be back, and that one not.
  struct Retired {
    SegmentName name;
    std::uint64_t bytes;
    bool is_read;  // by somebody who has it open
  };

  Storage& storage_;
  LogFiles& files_;
  const std::uint64_t segment_bytes_;
  const Creditors creditors_;
  mutable std::mutex mutex_;
  std::size_t spare_segments_;
  Retention retention_;
  std::optional<Retired> retired_;
  std::atomic<std::uint64_t> dropped_segments_{0};
  std::atomic<std::uint64_t> dropped_records_{0};
};

}  // namespace bus::detail
