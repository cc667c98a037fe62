// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Segment files held ready: filled ones, and ones that have been a segment before. Writing where blocks exist is more
// than ten times cheaper than growing a file.
#pragma once

#include "persistence/format.hpp"

#include <bus/persistence/storage.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bus::detail {

/// Bytes of disk that a log may take, and takes.
/// Threads: any.
class DiskBudget {
 public:
  explicit DiskBudget(std::optional<std::uint64_t> most = {}) noexcept : most_(most) {}

  /// Returns: whether there was room for it, which is the caller's then.
  bool take(std::uint64_t bytes) noexcept {
    std::uint64_t used = used_.load(std::memory_order_relaxed);
    do {
      if (most_ && (used > *most_ || *most_ - used < bytes)) return false;
    } while (!used_.compare_exchange_weak(used, used + bytes, std::memory_order_relaxed));
    return true;
  }
  bool has_room(std::uint64_t bytes) const noexcept {
    const std::uint64_t used = used_.load(std::memory_order_relaxed);
    return !most_ || (used <= *most_ && *most_ - used >= bytes);
  }
  /// For what is there already.
  void count(std::uint64_t bytes) noexcept { used_.fetch_add(bytes, std::memory_order_relaxed); }
  void give(std::uint64_t bytes) noexcept { used_.fetch_sub(bytes, std::memory_order_relaxed); }
  std::uint64_t used() const noexcept { return used_.load(std::memory_order_relaxed); }

 private:
  const std::optional<std::uint64_t> most_;
  std::atomic<std::uint64_t> used_{0};
};

/// A file that can become a segment.
struct Spare {
  std::string name;
  std::uint64_t bytes = 0;
  std::uint64_t salt = 0;  ///< of the blank words that fill it, or of the segment that it was
  bool filled = false;     ///< with blank words of `salt`, and nothing else
  std::uint64_t serial = 0;  ///< of the segment that its header is of; 0 if it was none
};

/// Threads: any.
class Spares {
 public:
  void put(Spare spare) {
    const std::lock_guard lock(mutex_);
    spares_.push_back(std::move(spare));
  }
  /// Returns: one of exactly that size.
  std::optional<Spare> take(std::uint64_t bytes);
  /// Returns: any, to be removed.
  std::optional<Spare> take_any();
  std::size_t size() const {
    const std::lock_guard lock(mutex_);
    return spares_.size();
  }
  std::uint64_t bytes() const {
    const std::lock_guard lock(mutex_);
    std::uint64_t bytes = 0;
    for (const Spare& spare : spares_) bytes += spare.bytes;
    return bytes;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<Spare> spares_;
};

/// Makes one: filled, durable, under a name of its own. Returns: bytes written are its size.
/// Errors: those of the storage; nothing is left then but a file that `remove_unfinished` removes.
result<Spare> make_spare(Storage& storage, std::uint64_t bytes) noexcept;

/// The name of a spare that was that segment. It says, until that is durable, that the segment is to be gone.
std::string retired_name(const SegmentName& segment);
/// Which segment it was. Returns: nothing if it was none.
std::optional<SegmentName> retired_segment(std::string_view name) noexcept;

/// That a segment is gone is durable after the next `sync_names`, though one has failed since it was retired: where
/// that failed, only a new change of the name can be durable. So something else gets it, and loses it again.
/// `is_left`: whether the spare is there still; on a full disk it goes first, for the room.
/// Errors: those of the storage. What is left then is for `is_taken_away`, or an unfinished file.
error_code take_away_again(Storage& storage, const SegmentName& segment, bool& is_left) noexcept;
/// Whether a file with the name of a segment is what `take_away_again` left.
bool is_taken_away(const SegmentHeader& header) noexcept;

/// What a file of that name can be used for. Returns: nothing if it is not a spare, or not fit for one.
std::optional<Spare> inspect_spare(Storage& storage, std::string_view name) noexcept;
bool is_spare_name(std::string_view name) noexcept;

/// Makes the segment `name` of it: `header` is what is wanted of it, but for the salts, which are filled in. Durable
/// when this returns. Errors: those of the storage, and the file is a spare still, or the segment; out_of_memory, and
/// it is a spare.
result<std::unique_ptr<File>> use_spare(Storage& storage, const Spare& spare, const std::string& name,
                                        SegmentHeader& header) noexcept;

}  // namespace bus::detail
