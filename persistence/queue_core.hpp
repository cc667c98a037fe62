// SPDX-License-Identifier: MIT OR Apache-2.0
//
// One queue of a log: a group, or one member of a group in broadcast mode. Puts together what a lease table decides, a
// reader that goes ahead of it, and the items that say in the log what became of messages.
//
// Under its lock nothing waits for a commit: whoever commits asks for `state` when a segment begins.
#pragma once

#include "persistence/group_state.hpp"
#include "persistence/lease_table.hpp"
#include "persistence/log_reader.hpp"
#include "persistence/put_off.hpp"
#include "persistence/queue_mutex.hpp"
#include "persistence/queue_waits.hpp"

#include <bus/options.hpp>
#include <bus/persistence/group.hpp>

#include <boost/unordered/unordered_flat_map.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bus::detail {

class LogCore;

/// The record as it was read, to be appended again on another topic and with other headers.
/// Lifetime: as the view, and the headers. Errors: throws std::bad_alloc.
Record copy_of(const RecordView& record, const Topic& topic, std::span<const Header> headers);

/// Errors: throws std::bad_alloc.
Principal principal_of(const RecordView& record);

/// Threads: any.
class QueueCore : public std::enable_shared_from_this<QueueCore> {
 public:
  using Deadline = std::chrono::steady_clock::time_point;

  /// `dead`: where dead letters go. None for a queue of such: what dies there is gone.
  /// Errors: throws std::bad_alloc.
  QueueCore(LogCore& log, const GroupOptions& options, QueueState state, std::shared_ptr<QueueCore> dead);

  // --- Members. ---

  /// Errors: throws std::bad_alloc, std::length_error.
  std::uint16_t join(const MemberOptions& options);
  void leave(std::uint16_t member) noexcept;

  /// `deadline`: nullptr waits as long as it takes.
  result<LeaseBatch> receive(std::uint16_t member, std::size_t most, const Deadline* deadline) noexcept;
  result<std::size_t> ack_through(std::uint16_t member, std::uint64_t offset) noexcept;

  /// Finishes what is owed in front of `end`, whoever has it. Errors: as `LogCore::post_items`.
  error_code finish_before(std::uint64_t end) noexcept;

  // --- Outcomes. ---

  LeaseOutcome ack(const LeaseName& lease) noexcept;
  /// Of this queue, and those that are done or stale are let go of. Returns: how many were done.
  std::size_t ack_all(std::span<Lease> leases) noexcept;
  LeaseOutcome release(const LeaseName& lease) noexcept;
  LeaseOutcome nack(const LeaseName& lease, const RecordView& record, std::uint8_t attempts,
                    std::optional<std::chrono::nanoseconds> delay, std::string_view error) noexcept;
  LeaseOutcome reject(const LeaseName& lease, const RecordView& record, std::uint8_t attempts,
                      std::string_view reason) noexcept;
  std::optional<Deadline> extend(const LeaseName& lease, std::chrono::nanoseconds by) noexcept;

  // --- Of a queue of dead letters. ---

  using Letters = std::set<std::uint64_t>;

  /// One more is on its way: `learn` or `forget_coming` follows. Returns: false if there is no room for it.
  bool expect() noexcept;
  bool has_room() const noexcept;
  /// It is committed. `letter` is of a set, with any value: so it is noted, whatever memory there is.
  void learn(std::uint64_t offset, Letters::node_type letter) noexcept;
  void forget_coming() noexcept;
  /// The oldest, if there are more than may be.
  void drop_letters() noexcept;
  void add_letters_to(GroupStats& stats) const noexcept;
  /// Errors: as `Group::redrive`.
  result<std::uint64_t> take_dead(const DeadFilter& filter, bool send_back) noexcept;

  // --- Where it stands. ---

  /// What is in front of `offset` is about to go. What is not on lease is counted as missed, and finished.
  void give_up_before(std::uint64_t offset) noexcept;

  /// Errors: throws std::bad_alloc.
  QueueState state() const;
  /// What is at and behind it is owed.
  std::uint64_t floor() const noexcept;
  void add_to(GroupStats& stats) const noexcept;
  const QueueSpec& spec() const noexcept { return state_.spec; }

  /// Nothing is given or taken any more.
  void close() noexcept;

 private:
  friend class QueueReceive;
  class Burial;

  /// The log as the queue's readers see it. What they find missing is told by another thread, as whoever is told may
  /// ask the queue something, whose lock is held.
  class Source final : public ReadSource {
   public:
    explicit Source(LogCore& log) noexcept : log_(log) {}
    Storage& storage() noexcept override;
    SegmentList& segments() noexcept override;
    const LogId& log_id() const noexcept override;
    void look_for_segments() noexcept override {}
    void found_missing(LogLoss&& loss) noexcept override;
    ReadOutcome wait_for(std::uint64_t offset, const Deadline* deadline) noexcept override;
    bool is_closed() const noexcept override;
    const std::shared_ptr<MemoryBudget>& memory() noexcept override;

   private:
    LogCore& log_;
  };

  /// How a message has fared that is in the table.
  struct Tried {
    Progress progress;
    std::uint64_t item = 0;  // that says just this; 0: none does
  };

  /// What one `receive` has leased.
  struct Batch {
    std::vector<LeaseTable::Taken> taken;
    std::vector<RecordView> records;
    std::optional<std::uint64_t> items;  // to be durable before anybody gets it
    std::uint64_t missed = 0;
    bool no_credit = false;  // the member has as much as it may
  };

  /// What one that finds nothing waits for.
  struct Waited {
    LogCore* log = nullptr;
    Deadline now;
    std::uint64_t changes = 0;
    bool more = false;  // there is nothing to wait for: it has not come to the end
    std::uint64_t next = ~std::uint64_t{0};  // something is committed from there on
    std::optional<Deadline> until;
  };

  bool has_dead_letters() const noexcept { return dead_ == nullptr; }
  bool has_room_locked() const noexcept;
  void drop_letters_locked() noexcept;
  error_code drop_letter(std::uint64_t offset);
  error_code why_unlogged() const noexcept;
  void finish_sent(std::uint64_t offset) noexcept;
  void read_past(std::uint64_t end);
  std::int64_t now_ns() const noexcept;
  std::uint64_t floor_locked() const noexcept;
  std::int64_t wall_ns() const noexcept;
  void take_back_late(std::int64_t now_ns);
  void bury_rest();
  void list_dead();
  void pass_over(std::uint64_t begin, std::uint64_t end);
  error_code read_ahead(std::int64_t now_ns, std::size_t most, bool& more);
  error_code read_on(std::int64_t now_ns, std::size_t& frames);
  bool may_read_ahead() const noexcept;
  bool has_place(const Principal& principal) const noexcept;
  error_code begin_reading();
  result<std::unique_ptr<ReaderCore>> reader_from(std::uint64_t offset);
  void add(const RecordView& record, std::int64_t now_ns);
  bool put_off(const RecordView& record, const Principal& principal);
  error_code read_put_off(std::int64_t now_ns, std::size_t& frames);
  bool take_put_off(std::int64_t now_ns);
  void miss_put_off(std::uint64_t begin, std::uint64_t end);
  void enter(const RecordView& record, const Principal& principal, const Progress& progress, std::int64_t now_ns);
  void keep(const RecordView& record) noexcept;
  error_code lease(std::uint16_t member, std::size_t most, Batch& batch, Waited& waited) noexcept;
  error_code take(std::uint16_t member, std::size_t most, std::int64_t now_ns, Batch& batch);
  error_code take_one(LeaseTable::Take took, const LeaseTable::Taken& taken, Batch& batch);
  error_code note_use() noexcept;
  error_code note_attempts(Batch& batch);
  LeaseBatch hand_out(Batch& batch);
  void give_back(Batch& batch) noexcept;
  result<std::optional<RecordView>> read(std::uint64_t offset);
  error_code note_done(std::uint64_t begin, std::uint64_t end) noexcept;
  static constexpr std::size_t acked_together = 512;
  error_code ack_held(std::span<const LeaseName> leases, std::int64_t now_ns) noexcept;
  void forget(std::uint64_t offset) noexcept;
  void drop_kept(std::uint64_t offset) noexcept;
  void miss(std::uint64_t offset) noexcept;
  void made_ready() noexcept;
  Progress& note_error(std::uint64_t offset, std::uint8_t attempts, std::string_view error);
  LeaseOutcome note_delay(std::uint64_t offset, std::int64_t due_ns, std::int64_t now_ns) noexcept;
  bool bury(const RecordView& dead, const Progress& progress, std::string_view reason) noexcept;
  void buried(std::uint64_t offset, error_code error, std::string reason) noexcept;
  Progress progress_of(const Owed& owed) const;

  const std::shared_ptr<QueueCore> dead_;  // null of one of dead letters
  const DeadLetterOptions dead_rules_;
  const std::size_t window_;
  const std::size_t share_;  // of it, that is kept for principals that have less than a share
  const std::size_t cache_bytes_;
  LogCore* log_;  // null when it is closed
  Source source_;
  const std::shared_ptr<QueueWaits> waits_;  // the log's
  mutable QueueMutex mutex_;
  LeaseTable table_;

  // What is not in the table yet: `state_.open` in front of `state_.next`, and what is at and behind it.
  QueueState state_;
  std::unique_ptr<ReaderCore> reader_;  // made when somebody receives
  std::unique_ptr<ReaderCore> again_;   // reads what is not kept any more
  PutOff put_off_;  // in front of `state_.next`, and neither in the table nor open
  std::unique_ptr<ReaderCore> late_;  // reads that
  boost::unordered_flat_map<std::uint64_t, RecordView> views_;  // of messages in the table
  std::size_t view_bytes_ = 0;
  Letters letters_;  // that are not finished, of a queue of dead letters
  std::size_t coming_ = 0;  // of these
  std::map<std::uint64_t, Tried> tried_;  // of messages in the table that failed
  std::map<std::uint64_t, std::string> unburied_;  // dead, and not sent to the dead letters yet: why
  std::size_t burials_ = 0;  // that are on their way
  bool dead_unlisted_ = false;  // for want of memory: there may be dead ones of which neither is so
  std::atomic<std::uint64_t> changes_{0};    // that may have made something ready
  const bool reads_dead_;
  const std::uint64_t read_before_;  // by those who had it open before; what is not open in front of it is finished
  std::uint64_t last_finished_ = 0;
  const std::uint64_t may_have_been_out_;  // what is in front, when the process ended that had it
  bool use_noted_ = false;  // it is durable that there are leases
  std::uint64_t use_item_ = 0;  // that says so, on its way
  std::uint64_t missed_untold_ = 0;
  GroupStats stats_;
};

}  // namespace bus::detail
