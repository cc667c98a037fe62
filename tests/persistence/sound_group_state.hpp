// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What holds for the state of groups, whatever was taken into it.
#pragma once

#include "persistence/group_state.hpp"

#include <cstdint>
#include <optional>

namespace bus::detail {

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
