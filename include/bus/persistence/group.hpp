// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A group: a log read as a queue, each message by one of its members, until somebody says that it is done.
//
//   bus::Group group = bus::Group::open(log, {.name = "indexer", .patterns = {"doc.>"}}).value();
//   bus::Member worker = group.join().value();
//   for (;;) {
//     auto received = worker.receive(16);                       // waits
//     if (!received) break;
//     for (bus::Lease& lease : received->leases) {
//       index(lease.record());
//       lease.ack();
//     }
//   }
//
// At least once  A message is leased to one member at a time, and leased again until it is acked, rejected, expired, or
//                out of attempts. A lease that is dropped without an outcome, as by an exception, is a nack.
// Durable        What became of messages is written into the log's own commits: an ack is durable with the next one, at
//                the latest after `LogOptions::sync_every`, and at once after `Group::sync`. Between an ack and that a
//                crash has the message delivered again. A second attempt is not made before it is durable that it is
//                one, so that a message that brings the process down runs out of attempts too.
// Order          Competing members: none; messages of each principal come about as they were sent. Key-ordered: the
//                messages with one key are with one member at a time, in order, different keys in parallel.
// Fair           Members are served from the principals by deficit round robin over bytes, as routes are, among the
//                messages that have been read ahead. One principal has no more than its share of these.
// Time           Leases and delays run by the steady clock; a delay outlives the process by the wall, and is never
//                longer than what was asked for.
// Threads        All functions from any thread, but those of one Lease.
// Lifetime       These objects may outlive the log, and do nothing then. No call may be under way when it is destroyed
//                or opened again: `Log::close` wakes those who wait.
#pragma once

#include <bus/error.hpp>
#include <bus/export.hpp>
#include <bus/persistence/log.hpp>
#include <bus/persistence/record.hpp>
#include <bus/routing/options.hpp>
#include <bus/topic.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bus {

namespace detail {
class QueueCore;
struct MemberAccess;
struct QueueState;
}  // namespace detail

/// What a dead letter says of itself: its topic is this and the group's name, and these are headers of it. Nobody else
/// should append to such a topic.
inline constexpr std::string_view dead_prefix = "busbar.dead.";
inline constexpr std::string_view dead_reason_header = "busbar-dead-reason";
inline constexpr std::string_view dead_attempts_header = "busbar-dead-attempts";
inline constexpr std::string_view dead_first_error_header = "busbar-dead-first-error";
inline constexpr std::string_view dead_last_error_header = "busbar-dead-last-error";
inline constexpr std::string_view dead_offset_header = "busbar-dead-offset";
inline constexpr std::string_view dead_topic_header = "busbar-dead-topic";
inline constexpr std::string_view dead_cut_header =
    "busbar-dead-cut";  ///< "headers", "payload": had no room beside these

/// What happens to a dead letter for which there is no room.
enum class FullDeadLetters : std::uint8_t {
  drop_oldest,  ///< the oldest one goes, and is counted
  hold,  ///< it stays with its group, on lease to nobody, until there is
};

/// What is kept of dead letters that nobody takes away.
struct DeadLetterOptions {
  std::size_t most = 100'000;  ///< of one group
  FullDeadLetters full = FullDeadLetters::drop_oldest;  ///< what happens beyond that
  std::optional<std::uint64_t> lag_bytes = std::uint64_t{1} << 30;  ///< as `GroupOptions::lag_bytes`
};

/// Which dead letters. What is not said fits all.
struct DeadFilter {
  std::vector<TopicPattern> topics = {};  ///< that they were sent on; none: all
  std::string reason = {};  ///< text that is in the reason
  std::uint64_t first = 0;  ///< offsets, of the dead letters themselves
  std::uint64_t last = ~std::uint64_t{0};  ///< included
};

/// Who gets which messages.
enum class GroupMode : std::uint8_t {
  competing = 1,  ///< any member gets any message
  key_ordered = 2,  ///< messages with one key in order; those without as if competing
  broadcast = 3,  ///< each member, by its name, gets all
};

/// Where a group begins that is opened for the first time.
enum class GroupStart : std::uint8_t { next, oldest };

namespace limits {

/// Of a group's lease, or of a step of its backoff.
inline constexpr std::chrono::hours longest_lease{24 * 20};

/// Of the texts of a group's patterns, each with one byte more.
inline constexpr std::size_t max_group_patterns_bytes = std::size_t{8} << 10;

}  // namespace limits

/// What is chosen when a group is opened. Mode, patterns and start of one that exists already must be as they were; all
/// else may change from opening to opening.
struct GroupOptions {
  std::string name;  ///< 1 to `limits::max_name_bytes`, and behind `dead_prefix` a topic; required

  // Of a group that exists already, these must be as they were.
  GroupMode mode = GroupMode::competing;  ///< who gets which messages
  std::vector<TopicPattern> patterns = {};  ///< none: all topics; at most 8 KiB of text
  GroupStart start = GroupStart::next;  ///< where it begins when it is made

  // These may change from opening to opening.
  std::chrono::nanoseconds visibility = std::chrono::seconds(30);  ///< of a lease, before the message is free again
  std::chrono::nanoseconds ceiling = std::chrono::minutes(5);  ///< of a lease that is extended
  std::uint8_t attempts = 5;  ///< leases of a message, before it goes to the dead letters
  /// What a message waits after a nack, or when its lease has run out, by attempts; the last one for all that follow.
  std::vector<std::chrono::nanoseconds> backoff = {std::chrono::milliseconds(100), std::chrono::milliseconds(500),
                                                   std::chrono::seconds(2), std::chrono::seconds(10),
                                                   std::chrono::seconds(30)};
  std::size_t read_ahead = 100'000;  ///< messages that are known and not finished, at most
  /// Of these, how many are kept for principals that have fewer than so many; at most a half. What one has beyond stays
  /// in the log until there is room again, and others have theirs in front of it. It does not hold for messages with a
  /// key in key-ordered mode, nor for two that both have more than `read_ahead` beyond, one of each in turn.
  std::size_t principal_read_ahead = 25'000;
  std::size_t read_ahead_bytes = std::size_t{8} << 20;  ///< of payload that is kept in memory for them
  std::size_t quantum_bytes = 4096;  ///< as `RouteOptions::quantum_bytes`
  Weights weights = {};  ///< as `RouteOptions::weights`

  /// How much of the log the group holds back from retention and from a full disk, in bytes of whole segments, the last
  /// one counted. What is further behind may go, and is told by `LeaseBatch::missed`. None: all that it owes. It holds
  /// while the group is not open too.
  std::optional<std::uint64_t> lag_bytes = {};
  DeadLetterOptions dead = {};  ///< what is kept of its dead letters
};

/// What is chosen when a member joins. Beyond its credits it is given nothing.
struct MemberOptions {
  std::string name = {};  ///< in broadcast mode required: who comes back by that name goes on where it was
  std::uint32_t in_flight_messages = 64;  ///< credits: messages it has on lease at a time
  std::uint64_t in_flight_bytes = std::uint64_t{8} << 20;  ///< credits: bytes of these
};

/// What became of an outcome.
enum class LeaseOutcome : std::uint8_t {
  done,
  stale,  ///< refused: the lease had run out, or has an outcome already
  dead,  ///< done, and the message has no attempt left: it goes to the dead letters
  unlogged,  ///< not noted: the log takes nothing more, or there was no memory; so the message may come again
};
/// The word for it: "done", "stale", …
BUSBAR_EXPORT std::string_view to_string(LeaseOutcome outcome) noexcept;

/// A message that is one member's, for a time. Threads: one at a time.
class [[nodiscard]] BUSBAR_EXPORT Lease {
 public:
  Lease(Lease&& other) noexcept = default;
  Lease& operator=(Lease&& other) noexcept;
  ~Lease();  ///< without an outcome: `nack`

  const RecordView& record() const noexcept { return record_; }  ///< the message
  std::uint64_t offset() const noexcept { return record_.offset(); }  ///< where it stands in the log
  unsigned attempt() const noexcept { return attempt_; }  ///< 1 for the first
  std::chrono::steady_clock::time_point deadline() const noexcept { return deadline_; }  ///< when it runs out

  LeaseOutcome ack() noexcept;  ///< it is done; if unlogged, the lease is still held, and may be acked again

  /// Not by this member: free at once, and the attempt does not count. In key-ordered mode what this member has of the
  /// same key behind it goes with it, and its leases are stale.
  LeaseOutcome release() noexcept;

  /// It failed: free again after `delay`, or what the group's backoff says. As `release` for its key.
  LeaseOutcome nack(std::optional<std::chrono::nanoseconds> delay = {}, std::string_view error = {}) noexcept;

  /// It will never work: to the dead letters at once. Returns: dead, if it is done.
  LeaseOutcome reject(std::string_view reason) noexcept;

  /// Has it for `by` from now on, if that is longer, at most the ceiling after it was received. Returns: until when;
  /// nothing if it is stale.
  std::optional<std::chrono::steady_clock::time_point> extend(std::chrono::nanoseconds by) noexcept;

 private:
  friend class detail::QueueCore;
  friend std::size_t ack_all(std::span<Lease> leases) noexcept;
  Lease(std::shared_ptr<detail::QueueCore> queue, RecordView record, std::uint32_t token, std::uint8_t attempt,
        std::chrono::steady_clock::time_point deadline) noexcept
      : queue_(std::move(queue)), record_(std::move(record)), token_(token), attempt_(attempt), deadline_(deadline) {}
  std::shared_ptr<detail::QueueCore> queue_;  // null: it has an outcome
  RecordView record_;
  std::uint32_t token_;
  std::uint8_t attempt_;
  std::chrono::steady_clock::time_point deadline_;
};

/// Acks all of them, with less to do than one by one. Returns: how many were done; the others were stale, or unlogged
/// and are still held.
BUSBAR_EXPORT std::size_t ack_all(std::span<Lease> leases) noexcept;

/// What one `receive` gives.
struct LeaseBatch {
  std::vector<Lease> leases;

  /// Messages that the group will never see, since the last one was told: dropped by retention before they were read,
  /// or lost with damage. Where nobody can say any more what they were, as after damage, or as the group was not open,
  /// all messages there count, whatever their topic.
  std::uint64_t missed = 0;
};

/// One who receives. Leases outlive it.
class BUSBAR_EXPORT Member {
 public:
  Member(Member&&) noexcept;
  Member& operator=(Member&&) noexcept;
  ~Member();

  /// Up to `most` messages, as many as there are; in key-ordered mode runs of a key. Waits until there is one, or the
  /// deadline; but first it looks through all that is committed. None are given beyond the member's credits. A further
  /// attempt is noted before anybody gets it, whatever the deadline: that takes a commit, and on a full disk with
  /// `FullDisk::wait` as long as that may wait. Returns: without leases if the deadline passed, or something was
  /// missed. Errors: closed; log_read_only; no_space_on_device and out_of_memory, if a further attempt could not be
  /// noted; those of reading.
  result<LeaseBatch> receive(std::size_t most = 1) noexcept;
  result<LeaseBatch> receive_until(std::size_t most, std::chrono::steady_clock::time_point deadline) noexcept;
  result<LeaseBatch> try_receive(std::size_t most = 1) noexcept;

  /// With <bus/persistence/asio.hpp>: complete with `void(error_code, LeaseBatch)`.
  template <class CompletionToken>
  auto async_receive(std::size_t most, CompletionToken&& token);
  template <class CompletionToken>
  auto async_receive_until(std::size_t most, std::chrono::steady_clock::time_point deadline, CompletionToken&& token);

  /// Acks what this member has on lease at and below `offset`. Returns: how many. Errors: closed; log_read_only;
  /// out_of_memory; some may be acked all the same.
  result<std::size_t> ack_through(std::uint64_t offset) noexcept;

 private:
  friend class Group;
  friend struct detail::MemberAccess;
  Member(std::shared_ptr<detail::QueueCore> queue, std::uint16_t id) noexcept : queue_(std::move(queue)), id_(id) {}
  std::shared_ptr<detail::QueueCore> queue_;
  std::uint16_t id_;
};

/// What a group has counted since it was opened, and where it stands. In broadcast mode sums over the members.
struct GroupStats {
  std::uint64_t floor = 0;  ///< the lowest offset that is not finished
  std::uint64_t next = 0;  ///< the offset that is read next
  std::uint64_t lag = 0;  ///< offsets from `floor` on that are committed; 0 if the log is closed
  std::uint64_t ready = 0;
  std::uint64_t leased = 0;
  std::uint64_t delayed = 0;
  std::uint64_t put_off = 0;  ///< known, and left in the log: see `GroupOptions::principal_read_ahead`
  std::uint64_t dead = 0;  ///< on their way to the dead letters
  std::uint64_t dead_letters = 0;  ///< that nobody has taken away

  std::uint64_t delivered = 0;  ///< leases given
  std::uint64_t redelivered = 0;  ///< of these, further attempts
  std::uint64_t acked = 0;
  std::uint64_t released = 0;
  std::uint64_t nacked = 0;
  std::uint64_t rejected = 0;
  std::uint64_t ran_out = 0;  ///< leases
  std::uint64_t stale = 0;  ///< outcomes that were refused
  std::uint64_t expired = 0;  ///< messages whose time had passed
  std::uint64_t missed = 0;
  std::uint64_t dead_letters_missed = 0;  ///< that went before anybody took them: see `FullDeadLetters`, `lag_bytes`
};

/// A queue on a log. See the head of this file.
class BUSBAR_EXPORT Group {
 public:
  /// Opens the group, or makes it. There may be several objects of one group at a time; the options are those of the
  /// first.
  /// Errors: invalid_argument, for impossible options, or if the group exists and is another; closed; log_read_only;
  ///         those of the storage; out_of_memory.
  static result<Group> open(Log& log, const GroupOptions& options) noexcept;

  Group(Group&&) noexcept;
  Group& operator=(Group&&) noexcept;
  ~Group();

  /// A member to receive with.
  /// Errors: invalid_argument, for a broadcast group without a name, or another with one; closed; out_of_memory;
  ///         overloaded, beyond 65,535 members; those of the storage.
  result<Member> join(const MemberOptions& options = {}) noexcept;

  /// Makes durable what became of messages so far. Errors: as `Log::sync`.
  error_code sync() noexcept;

  /// What it has counted, and where it stands.
  GroupStats stats() const noexcept;

  /// Finishes what the group owes at and below `offset`, for all its members, be it on lease, delayed or not read yet:
  /// what was on lease is stale. What is appended later is not touched, nor what is on its way to the dead letters.
  /// Errors: closed; log_read_only; those of the storage; out_of_memory. Durable as an ack is.
  error_code finish_through(std::uint64_t offset) noexcept;

  /// Forgets the group, what it owed, and its dead letters. Its members receive nothing more.
  error_code remove() noexcept;

  // --- Dead letters ---

  /// The group's dead letters as a group of their own, with the dead letter as the message: to be acked by who has
  /// dealt with it. One that is rejected, or fails 255 times, is gone.
  /// Errors: as `open`; invalid_argument, of a group that is one itself.
  result<Group> dead_letters() noexcept;

  /// Sends dead letters back: each is appended once more as the message that it was, by which the dead letter is
  /// finished. Those that somebody has on lease are passed over, and those whose payload did not fit beside the headers
  /// that say why. Blocks for commits.
  /// Returns: how many. Errors: as `Log::append`; what was sent until then is sent.
  result<std::uint64_t> redrive(const DeadFilter& filter = {}) noexcept;

  /// Finishes dead letters. As `redrive`, otherwise.
  result<std::uint64_t> drop_dead(const DeadFilter& filter) noexcept;

 private:
  struct Open;
  explicit Group(std::unique_ptr<Open> open) noexcept;
  result<std::uint64_t> take_dead(const DeadFilter& filter, bool send_back) noexcept;
  std::unique_ptr<Open> open_;
};

// --- Seen without taking part. ---

/// Where a group stands on the disk, or in broadcast mode one of its members: what `LogSnapshot::groups` gives. It
/// stays as it is while the group goes on; a copy is cheap. Threads: any.
class BUSBAR_EXPORT GroupPosition {
 public:
  const std::string& group() const noexcept;  ///< its name
  const std::string& member() const noexcept;  ///< in broadcast mode; else empty
  GroupMode mode() const noexcept;  ///< as it was made
  const std::vector<TopicPattern>& patterns() const noexcept;  ///< none: all topics

  std::optional<std::uint64_t> lag_bytes() const noexcept;  ///< as `GroupOptions::lag_bytes`

  /// Nothing in front of this offset is owed.
  std::uint64_t floor() const noexcept;

  /// Whether the message is for the group and not finished, be it on lease, delayed or past its time.
  /// Cost: O(patterns + log n).
  bool owes(const RecordView& record) const noexcept;

  /// How a message has fared that is not finished.
  struct Tried {
    unsigned attempts = 0;
    std::optional<std::chrono::system_clock::time_point> due = {};  ///< not before then
    std::string_view first_error = {};  ///< these are valid as long as the position, or a copy of it
    std::string_view last_error = {};
  };
  /// How the message at `offset` has fared.
  /// Returns: nothing if none is known, as of one that is on lease for the first time.
  std::optional<Tried> tried(std::uint64_t offset) const noexcept;

 private:
  friend class LogSnapshot;
  explicit GroupPosition(std::shared_ptr<const detail::QueueState> state) noexcept : state_(std::move(state)) {}
  std::shared_ptr<const detail::QueueState> state_;
};

}  // namespace bus
