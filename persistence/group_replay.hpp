// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Reads again, from the frames of a log's segments, what its groups have done, and which messages it has taken: for the
// writer that opens it, and for those who look on.
#pragma once

#include "persistence/dedup.hpp"
#include "persistence/frame_scanner.hpp"
#include "persistence/group_state.hpp"
#include "persistence/segment_list.hpp"

#include <bus/error.hpp>
#include <bus/persistence/storage.hpp>

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <vector>

namespace bus::detail {

/// Where to begin to read: the latest snapshot, or if there is none, the first that groups did or the first record that
/// can be known again, whichever comes first.
struct GroupsPlace {
  std::uint64_t serial = 0;  ///< of the segment; 0: there is nothing of the kind
  std::uint64_t position = 0;
};

/// Keeps where in a segment that begins, of the frames that it is shown in order.
class GroupsNotes {
 public:
  /// Errors: throws std::bad_alloc.
  void visit(const FoundFrame& frame);

  /// Where the latest snapshot begins of which all stands in front of `end`. Returns: 0 if there is none.
  std::uint64_t snapshot_up_to(std::uint64_t end) const noexcept;

  /// Where groups do something first, or a record can be known again. Returns: 0 if there is nothing of the kind.
  std::uint64_t first_up_to(std::uint64_t end) const noexcept { return first_ < end ? first_ : 0; }

 private:
  struct Snapshot {
    std::uint64_t begin;
    std::uint64_t end;
  };
  std::vector<Snapshot> snapshots_;  // that are whole
  SnapshotReader snapshot_;
  std::uint64_t snapshot_begin_ = 0;
  std::uint64_t first_ = 0;
};

/// Where reading begins as far as the segments below `serial` say, each up to where it may be read.
/// Cost: the newest one that has no footer is read, and those behind it. Errors: throws std::bad_alloc.
GroupsPlace find_groups_place(Storage& storage, const std::vector<SegmentRef>& segments,
                              std::uint64_t serial = std::numeric_limits<std::uint64_t>::max());

/// How things stand behind all that may be read of the segments.
struct Replayed {
  GroupState groups = {};
  std::unique_ptr<Dedup> dedup = {};  ///< null if it was not asked for
};

/// Those segments in front of `place` are read only if what stands there is damaged. `rules`: of what is to be known of
/// messages, if anything. Errors: those of the storage; throws std::bad_alloc.
result<Replayed> replay_groups(Storage& storage, const std::vector<SegmentRef>& segments, const GroupsPlace& place,
                               const std::optional<DedupRules>& rules = {});

}  // namespace bus::detail
