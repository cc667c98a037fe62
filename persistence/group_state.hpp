// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What a log's groups have done, as it stands on disk: items in control frames say what changed, snapshots all of it.
//
// A group is one queue; one in broadcast mode is a queue for each of its members. A queue has come to `next`: of what
// is in front, `open` is not finished yet, and all else is; behind it, `done` is finished already. So a state says
// nothing twice, and taking an item into it twice changes nothing: a snapshot may be ahead of the items that follow it.
#pragma once

#include <bus/error.hpp>
#include <bus/topic.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bus::detail {

enum class QueueMode : std::uint8_t { competing = 1, key_ordered = 2, broadcast = 3 };

/// What a queue is. Fixed when it is made.
struct QueueSpec {
  std::uint32_t id = 0;  ///< 1 or more; never given twice in a log
  QueueMode mode = QueueMode::competing;
  std::string group;  ///< 1 to `limits::max_name_bytes`
  std::string member = {};  ///< in broadcast mode, and as long; else empty
  std::vector<TopicPattern> patterns = {};  ///< none: all topics
  std::uint64_t begin = 0;  ///< the offset it starts at
  friend bool operator==(const QueueSpec&, const QueueSpec&) = default;
};

/// How a message that is not finished has fared.
struct Progress {
  std::uint8_t attempts = 0;  ///< that were counted
  std::int64_t due_ns = 0;  ///< not before then, by the wall; 0: at once
  std::int64_t delay_ns = 0;  ///< what was asked for when `due_ns` was set: it is never longer than that away
  std::string first_error = {};  ///< at most `max_error_bytes`
  std::string last_error = {};
  friend bool operator==(const Progress&, const Progress&) = default;
};
inline constexpr std::size_t max_error_bytes = 256;  ///< what is longer is cut
inline std::string_view cut(std::string_view error) noexcept { return error.substr(0, max_error_bytes); }

/// Offsets, as ranges that do not touch each other.
class OffsetSet {
 public:
  /// Errors: throws std::bad_alloc.
  void add(std::uint64_t begin, std::uint64_t end);
  void remove_below(std::uint64_t offset) noexcept;
  bool contains(std::uint64_t offset) const noexcept;
  /// How many of `[begin, end)` it has. Cost: O(ranges).
  std::uint64_t count(std::uint64_t begin, std::uint64_t end) const noexcept;
  bool empty() const noexcept { return ranges_.empty(); }
  const std::map<std::uint64_t, std::uint64_t>& ranges() const noexcept { return ranges_; }  ///< begin, end
  friend bool operator==(const OffsetSet&, const OffsetSet&) = default;

 private:
  std::map<std::uint64_t, std::uint64_t> ranges_;
};

struct QueueState {
  QueueSpec spec;
  std::uint64_t next = 0;
  std::map<std::uint64_t, Progress> open = {};  ///< in front of `next`
  OffsetSet done = {};  ///< at `next` and behind
  std::map<std::uint64_t, Progress> ahead = {};  ///< likewise, of what is not done and was tried
  bool in_use = false;  ///< leases may be out that nothing here tells of
  std::uint64_t lag_bytes = 0;  ///< of the log that it holds back at most; 0: as much as it owes
  friend bool operator==(const QueueState&, const QueueState&) = default;
};

bool is_dead_topic(std::string_view topic) noexcept;
/// Dead letters are read by who asks for them by name: whoever else reads all topics would get its own back.
bool asks_for_dead_letters(const std::vector<TopicPattern>& patterns) noexcept;

/// Whether it is the queue of a group's dead letters. What it owes is told to it, and not found by reading: all else in
/// front of `next` was never for it.
bool has_dead_letters(const QueueSpec& spec) noexcept;

/// All in front of `next` is finished that is not open.
void come_to(QueueState& queue, std::uint64_t next) noexcept;

/// The first offset at or behind `next` that is not done.
std::uint64_t first_not_done(const QueueState& queue) noexcept;

/// Takes back that it has come past the first of `not_taken`, begin and end of ranges in front of `next` that do not
/// hold what is open: of what is behind, it says which is done. Errors: throws std::bad_alloc.
void go_back(QueueState& queue, const std::map<std::uint64_t, std::uint64_t>& not_taken);

/// There is a dead letter now. Nothing, if the queue has come further.
/// Errors: throws std::bad_alloc; nothing has changed then.
void learn_letter(QueueState& queue, std::uint64_t offset);

struct GroupState {
  std::uint32_t next_id = 1;  ///< of the next queue
  std::map<std::uint32_t, QueueState> queues = {};
  friend bool operator==(const GroupState&, const GroupState&) = default;
};

// --- Items. ---

/// Puts the items of one control frame together. Errors: throws std::bad_alloc.
class GroupItems {
 public:
  void made(const QueueSpec& spec);
  void deleted(std::uint32_t queue);

  /// Finished: acked, expired, or among the dead letters. One that goes on where the last one of that queue ended makes
  /// it longer.
  void done(std::uint32_t queue, std::uint64_t begin, std::uint64_t end);

  /// Tried so many times, and what is to be known of that.
  void tried(std::uint32_t queue, std::uint64_t offset, const Progress& progress);

  /// From now on, or no longer, there may be leases that no item tells of.
  void used(std::uint32_t queue, bool in_use);

  /// It holds back no more than that from now on; 0: as much as it owes.
  void limited(std::uint32_t queue, std::uint64_t lag_bytes);

  std::span<const std::byte> bytes() const noexcept { return bytes_; }
  bool empty() const noexcept { return bytes_.empty(); }
  void clear() noexcept { cut_to(0); }
  /// Takes away what was put behind its first so many bytes.
  void cut_to(std::size_t bytes) noexcept;

 private:
  std::vector<std::byte> bytes_;
  std::size_t last_done_ = 0;  // where the body stands of the item that may be made longer; 0: none
};

/// Takes the items of a control frame into the state. What makes no sense for it is passed over: the queue is gone, or
/// was made in a frame that is lost. Returns: false if the bytes are no items; those in front are taken.
/// Errors: throws std::bad_alloc.
bool apply_items(std::span<const std::byte> items, GroupState& state);

// --- Snapshots. ---

/// The bodies of the snapshot frames of a state, to be written one behind the other: a head that says how many follow,
/// one or more for each queue, none longer than `frame_bytes`, of which less than the least is taken for that, and
/// `others`, which a `SnapshotReader` passes over. Errors: throws std::bad_alloc.
std::vector<std::vector<std::byte>> encode_snapshot(const GroupState& state, std::size_t frame_bytes,
                                                    std::vector<std::vector<std::byte>> others = {});

/// The first byte of the head of a snapshot.
inline constexpr std::byte snapshot_head_kind{0};
inline bool is_snapshot_head(std::span<const std::byte> frame) noexcept {
  return frame.empty() || frame.front() == snapshot_head_kind;
}
inline constexpr std::size_t min_snapshot_frame_bytes = 1024;  ///< any entry fits

/// How many messages a snapshot may say to be open or tried: a few bytes of it can say so of any number, and each costs
/// about 128 bytes of memory.
inline constexpr std::size_t max_told_messages = std::size_t{1} << 22;

/// Takes frames until it has all of a snapshot.
class SnapshotReader {
 public:
  explicit SnapshotReader(std::size_t most_told = max_told_messages) noexcept : most_told_(most_told) {}

  /// A head begins anew. What makes no sense ends it, and so does a frame too many: nothing is kept.
  /// Returns: whether the state is whole now. Errors: throws std::bad_alloc; then it waits for a head.
  bool add(std::span<const std::byte> frame);
  bool whole() const noexcept { return whole_; }
  const GroupState& state() const noexcept { return state_; }  ///< of a snapshot that is whole

 private:
  bool take_frame(std::span<const std::byte> frame);
  bool take_head(std::span<const std::byte> frame);
  bool take_queue(std::span<const std::byte> frame);

  GroupState state_;
  std::size_t most_told_;
  std::size_t may_tell_ = 0;  // messages
  std::uint32_t missing_ = 0;  // frames
  std::uint32_t queue_ = 0;  // that the next frame may go on with; 0: none
  bool begun_ = false;
  bool whole_ = false;
};

}  // namespace bus::detail
