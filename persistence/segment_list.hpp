// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What the writer, readers and the timer of one process know of a log's segments in common.
#pragma once

#include "persistence/format.hpp"
#include "persistence/make_room.hpp"

#include <bus/persistence/loss.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <vector>

namespace bus::detail {

/// One segment. Whoever reads in its file holds it, so that the file is not used again meanwhile.
struct Segment {
  SegmentName name{};
  std::uint64_t file_bytes = 0;

  /// Frames in front of this may be read. SEGMENT-END: stored when they are committed; its partner is a reader's load.
  std::atomic<std::uint64_t> end{page_bytes};

  std::atomic<std::int64_t> sealed_ns{0};  ///< wall time; 0 if it is not known
};
using SegmentRef = std::shared_ptr<Segment>;

/// How many offsets are not given to others when nothing says how many a segment had: more than it has room for.
constexpr std::uint64_t offsets_given_up(std::uint64_t file_bytes) noexcept { return file_bytes / head_bytes; }

/// All of a segment's records from `first` on are missing; the next one begins at `end_offset`.
/// Errors: throws std::bad_alloc.
LogLoss loss_of(const Segment& segment, std::uint64_t first, std::uint64_t end_offset, std::string_view reason);

/// Threads: any.
class SegmentList {
 public:
  /// One can be added without memory, also if one that was taken out is put back before. Errors: throws std::bad_alloc.
  void make_room() {
    const std::lock_guard lock(mutex_);
    detail::make_room(segments_, 2);
  }
  void add(SegmentRef segment) {
    const std::lock_guard lock(mutex_);
    segments_.push_back(std::move(segment));
    index_.clear();
  }

  /// Takes the oldest one out, unless it is the last. Returns: nothing then.
  SegmentRef take_oldest() {
    const std::lock_guard lock(mutex_);
    if (segments_.size() < 2) return nullptr;
    SegmentRef oldest = std::move(segments_.front());
    segments_.erase(segments_.begin());
    return oldest;
  }

  /// Puts back what was taken out.
  void put_back(SegmentRef oldest) {
    const std::lock_guard lock(mutex_);
    segments_.insert(segments_.begin(), std::move(oldest));
  }

  /// Takes over what another process has done to the directory: `names`, in order, of which the last is written to.
  void take_over(const std::vector<SegmentRef>& listed) {
    const std::lock_guard lock(mutex_);
    std::vector<SegmentRef> merged;
    for (const SegmentRef& one : listed) {
      const auto known = std::find_if(segments_.begin(), segments_.end(), [&](const SegmentRef& segment) {
        return segment->name.serial == one->name.serial;
      });
      merged.push_back(known == segments_.end() ? one : *known);
    }
    segments_ = std::move(merged);
  }

  std::vector<SegmentRef> all() const {
    const std::lock_guard lock(mutex_);
    return segments_;
  }
  std::size_t size() const {
    const std::lock_guard lock(mutex_);
    return segments_.size();
  }

  std::uint64_t bytes() const {
    const std::lock_guard lock(mutex_);
    std::uint64_t bytes = 0;
    for (const SegmentRef& segment : segments_) bytes += segment->file_bytes;
    return bytes;
  }

  SegmentRef last() const {
    const std::lock_guard lock(mutex_);
    return segments_.empty() ? nullptr : segments_.back();
  }

  /// The offset of the first record that may be there.
  std::uint64_t first_offset() const {
    const std::lock_guard lock(mutex_);
    return segments_.empty() ? 0 : segments_.front()->name.base_offset;
  }

  /// Returns: nothing if there is no segment.
  std::optional<std::uint64_t> first_serial() const {
    const std::lock_guard lock(mutex_);
    if (segments_.empty()) return std::nullopt;
    return segments_.front()->name.serial;
  }

  /// Where the second segment begins. Returns: nothing if there is none.
  std::optional<std::uint64_t> second_offset() const {
    const std::lock_guard lock(mutex_);
    if (segments_.size() < 2) return std::nullopt;
    return segments_[1]->name.base_offset;
  }

  /// The first offset of the segments that come to no more than `bytes`, the last one counted.
  std::uint64_t offset_within(std::uint64_t bytes) const;

  /// One segment, and what stands behind it.
  struct Place {
    SegmentRef segment;  ///< nullptr if there is none
    SegmentRef next;  ///< nullptr if it is the last
    std::vector<IndexEntry> index;  ///< of the last, as far as it goes
  };

  /// The segment that has `offset`, or would have it.
  Place find(std::uint64_t offset) const;
  /// The one behind that of this serial. Returns: nullptr if that is the last.
  SegmentRef behind(std::uint64_t serial) const;

  /// Offsets in front of this are committed. SEGMENT-COMMITTED: stored behind SEGMENT-END, so that what a reader loads
  /// behind this one covers it; in the total order in front of the look for readers that sleep.
  std::uint64_t committed() const noexcept { return committed_.load(std::memory_order_seq_cst); }
  void set_committed(std::uint64_t offset) noexcept { committed_.store(offset, std::memory_order_seq_cst); }

  // --- The index of the last segment, as the writer makes it. ---
  void add_index(const IndexEntry& entry) {
    const std::lock_guard lock(mutex_);
    index_.push_back(entry);
  }
  /// So many can be added without memory. Errors: throws std::bad_alloc.
  void make_room_in_index(std::size_t entries) {
    const std::lock_guard lock(mutex_);
    detail::make_room(index_, entries);
  }
  std::vector<IndexEntry> index() const {
    const std::lock_guard lock(mutex_);
    return index_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<SegmentRef> segments_;  // by serial, and so by offset
  std::vector<IndexEntry> index_;
  std::atomic<std::uint64_t> committed_{0};
};

}  // namespace bus::detail
