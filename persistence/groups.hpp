// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The groups of one log: those that somebody has open, and what the others stand at.
#pragma once

#include "persistence/group_state.hpp"
#include "persistence/log_files.hpp"
#include "persistence/queue_core.hpp"

#include <bus/persistence/group.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <vector>

namespace bus::detail {

class LogCore;

/// Threads: any.
class Groups {
 public:
  explicit Groups(LogCore& log) noexcept : log_(&log) {}

  /// Takes what groups had done before the log was opened, before anything is written.
  void recover(GroupState state);

  /// Opens a queue, or makes it. `member` is the name of one in broadcast mode.
  /// Errors: as `Group::open`, and throws std::bad_alloc.
  result<std::shared_ptr<QueueCore>> open(const GroupOptions& options, std::string_view member);

  /// The queue of that group's dead letters. Errors: as `open`.
  result<std::shared_ptr<QueueCore>> open_dead(const GroupOptions& options);

  /// And its dead letters. Errors: as `LogCore::post_items`; throws std::bad_alloc.
  error_code remove(std::string_view group);
  /// Of all its queues. Errors: as `LogCore::post_items`; throws std::bad_alloc.
  error_code finish_through(const GroupOptions& options, std::uint64_t offset);
  /// `dead`: of its dead letters.
  void add_to(std::string_view group, bool dead, GroupStats& stats) const noexcept;

  /// Bodies of snapshot frames, with `others` among them. Errors: throws std::bad_alloc.
  std::vector<std::vector<std::byte>> snapshot(std::vector<std::vector<std::byte>> others) const;

  /// Offsets from here on are owed to some group. Returns: nothing if none are.
  std::optional<std::uint64_t> owed_from() const noexcept;

  /// What is in front of that offset is about to go: those who are owed it count it.
  void give_up_before(std::uint64_t offset) noexcept;

  /// What the log does before it ends: nothing is leased any more.
  void close() noexcept;

  /// Errors: closed; as `LogCore::sync`.
  error_code sync() noexcept;

 private:
  struct Wanted {
    QueueSpec spec;  // without its id, and where it begins
    GroupStart start;
    std::uint64_t lag_bytes;
  };
  result<std::shared_ptr<QueueCore>> open_dead_locked(const GroupOptions& options);
  result<std::shared_ptr<QueueCore>> open_locked(Wanted wanted, const GroupOptions& options,
                                                 std::shared_ptr<QueueCore> dead);
  std::optional<std::uint64_t> owed_from(const QueueState& queue) const noexcept;

  mutable std::mutex mutex_;
  LogCore* log_;  // null when it is closed
  GroupState state_;  // of a queue that is open, what it was when that was done
  std::map<std::uint32_t, std::shared_ptr<QueueCore>> live_;
};

}  // namespace bus::detail
