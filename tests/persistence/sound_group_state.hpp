// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What holds for the state of groups, whatever was taken into it, and how a queue comes further.
#pragma once

#include "persistence/group_state.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <utility>

namespace bus::detail {

/// The queue has come to `to`. `owed` are the offsets in front of that which are for it, rising; what is not from
/// `next` on is passed over. Those that are not done are open from now on. Does nothing if it has come further already.
/// Whether an item is taken in before this or after it makes no difference.
inline void advance(QueueState& queue, std::uint64_t to, std::span<const std::uint64_t> owed) {
  if (to <= queue.next) return;
  for (const std::uint64_t offset : owed) {
    if (offset < queue.next || offset >= to || queue.done.contains(offset)) continue;
    if (auto known = queue.ahead.extract(offset)) {
      queue.open.insert(queue.open.end(), std::move(known));
    } else {
      queue.open.try_emplace(queue.open.end(), offset);
    }
  }
  queue.next = to;
  queue.done.remove_below(to);
  queue.ahead.erase(queue.ahead.begin(), queue.ahead.lower_bound(to));
}

inline bool is_sound(const QueueState& queue) {
  if (!queue.open.empty() && queue.open.rbegin()->first >= queue.next) return false;
  std::optional<std::uint64_t> last_end;
  for (const auto& [begin, end] : queue.done.ranges()) {
    if (begin < queue.next || begin >= end || (last_end && begin <= *last_end)) return false;
    last_end = end;
  }
  for (const auto& [offset, progress] : queue.ahead) {
    if (offset < queue.next || queue.done.contains(offset)) return false;
  }
  return true;
}

inline bool is_sound(const GroupState& state) {
  for (const auto& [id, queue] : state.queues) {
    if (id == 0 || id != queue.spec.id || id >= state.next_id || !is_sound(queue)) return false;
  }
  return true;
}

}  // namespace bus::detail
