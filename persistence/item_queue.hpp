// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What groups have done, on its way into a commit: items are collected in frames, and whoever has the turn of the log
// takes some of these with each batch of records.
#pragma once

#include "persistence/format.hpp"
#include "persistence/group_state.hpp"
#include "persistence/log_engine.hpp"
#include "persistence/thread_bed.hpp"
#include "persistence/waiters.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <list>
#include <mutex>
#include <span>
#include <vector>

namespace bus::detail {

/// Numbers count calls of `post`.
class ItemQueue {
 public:
  // --- Threads: any. ---

  /// `add` is called with the `GroupItems`, one caller at a time, and puts no more into it than `most_at_once`.
  /// Returns: its number.
  /// Errors: throws std::bad_alloc, and what `add` throws.
  template <class Add>
  std::uint64_t post(Add&& add) {
    const std::lock_guard lock(mutex_);
    if (frames_.empty() || frames_.back().items.bytes().size() >= full_bytes) frames_.push_back({.last = posted_});
    GroupItems& items = frames_.back().items;
    const std::size_t before = items.bytes().size();
    try {
      add(items);
    } catch (...) {
      items.cut_to(before);  // all of them, or none
      throw;
    }
    frames_.back().last = ++posted_;
    pending_.store(true, std::memory_order_seq_cst);  // sync ITEMS-DUE
    return posted_;
  }
  std::uint64_t posted() noexcept;

  /// Whether there are any that no commit has taken.
  bool pending() const noexcept { return pending_.load(std::memory_order_seq_cst); }  // sync ITEMS-DUE

  /// What somebody waits for.
  struct Asked {
    std::uint64_t number = 0;
    std::uint64_t refusals = 0;  ///< that there were before
  };
  /// They are to be durable soon, up to that number.
  Asked ask_for(std::uint64_t number) noexcept;
  bool is_wanted() const noexcept { return wanted_.load(std::memory_order_seq_cst) > synced(); }
  bool is_durable(std::uint64_t number) const noexcept { return synced() >= number; }
  /// A commit had no room for them, or no memory; they are tried again with a later one.
  bool is_refused(const Asked& asked) const noexcept {
    return refusals_.load(std::memory_order_seq_cst) != asked.refusals;
  }
  /// What the last of those commits lacked.
  bool refused_for_memory() const noexcept { return refused_for_memory_.load(std::memory_order_relaxed); }

  /// Returns when `done()`, which is looked at whenever something of the above may have changed.
  template <class Done>
  void wait(Done&& done) noexcept {
    (void)waiters_.wait(0, nullptr, done);
  }
  void wake_all() noexcept { waiters_.wake_all(); }

  // --- Of whoever has the turn. ---

  /// Frames for one commit. They stay until the batch is ended or given back.
  /// Errors: throws std::bad_alloc.
  std::span<const LogControl> gather();
  std::span<const LogControl> batch() const noexcept { return controls_; }
  /// Whether the last batch left any behind.
  bool left() const noexcept { return left_; }

  /// The batch was not written.
  void give_back() noexcept;
  void refuse(bool for_memory) noexcept;
  /// The batch was written; if so, all that was written is synced now.
  void end(bool is_synced) noexcept;

  /// Bytes of one post: so what is gathered finds room in any segment, beside the records of a batch.
  static constexpr std::size_t most_at_once = std::size_t{12} << 10;

 private:
  static constexpr std::size_t frames_at_once = 4;
  static constexpr std::size_t full_bytes = std::size_t{16} << 10;
  static_assert(frames_at_once * (full_bytes + most_at_once) <= min_segment_bytes / 2);

  struct Frame {
    GroupItems items = {};
    std::uint64_t last = 0;  // number of what was posted last, into it or in front of it
  };
  std::uint64_t synced() const noexcept { return synced_.load(std::memory_order_seq_cst); }

  std::mutex mutex_;
  std::list<Frame> frames_;  // the last one is added to
  std::uint64_t posted_ = 0;

  std::atomic<bool> pending_{false};
  std::atomic<std::uint64_t> wanted_{0};
  std::atomic<std::uint64_t> synced_{0};
  std::atomic<std::uint64_t> refusals_{0};
  std::atomic<bool> refused_for_memory_{false};
  WaitersOn<ThreadBed> waiters_;

  // Of whoever has the turn.
  std::list<Frame> batch_;  // a list, so that giving back takes no memory
  std::vector<LogControl> controls_;
  std::uint64_t written_ = 0;  // all up to here are in commits
  bool left_ = false;
};

}  // namespace bus::detail
