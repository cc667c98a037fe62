// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Reads again, from the frames of a log's segments, what its groups have done: for the writer that opens it, and for
// those who look on.
#pragma once

#include "persistence/frame_scanner.hpp"
#include "persistence/group_state.hpp"
#include "persistence/segment_list.hpp"

#include <bus/error.hpp>
#include <bus/persistence/storage.hpp>

#include <cstdint>
#include <limits>
#include <vector>

namespace bus::detail {

/// Where to begin to read what groups have done: their latest snapshot, or if there is none, the first that they did.
struct GroupsPlace {
  std::uint64_t serial = 0;  ///< of the segment; 0: they never did anything
  std::uint64_t position = 0;
};

/// Keeps where in a segment that begins, of the frames that it is shown in order.
class GroupsNotes {
 public:
  /// Errors: throws std::bad_alloc.
  void visit(const FoundFrame& frame);

  /// Where the latest snapshot in front of `end` begins. Returns: 0 if there is none.
  std::uint64_t snapshot_up_to(std::uint64_t end) const noexcept;

  /// Where groups do something first. Returns: 0 if they do not.
  std::uint64_t first_control_up_to(std::uint64_t end) const noexcept { return control_ < end ? control_ : 0; }

 private:
  std::vector<std::uint64_t> snapshots_;  // positions of their first frames
  std::uint64_t control_ = 0;
  bool in_snapshot_ = false;
};

/// Where reading begins as far as the segments below `serial` say, each up to where it may be read.
/// Cost: the newest one that has no footer is read, and those behind it. Errors: throws std::bad_alloc.
GroupsPlace find_groups_place(Storage& storage, const std::vector<SegmentRef>& segments,
                              std::uint64_t serial = std::numeric_limits<std::uint64_t>::max());

/// What groups stand at behind all that may be read of the segments, of which those in front of `place` are read only
/// if what stands there is damaged. Errors: those of the storage; throws std::bad_alloc.
result<GroupState> replay_groups(Storage& storage, const std::vector<SegmentRef>& segments, const GroupsPlace& place);

}  // namespace bus::detail
