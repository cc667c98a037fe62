// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A log with its threads: appenders hand records over, one of them or the commit thread commits, the care thread does
// what is not urgent.
//
// The way of a record: an appender makes its body, and its check, and hands it over (Intake), which gives it a ticket.
// Whoever has the turn takes what is ready, in the order of tickets, leaves out what the log has already (BatchJudge),
// writes the rest as one batch, and syncs if anything that was taken asks for that. Then the watermarks rise over the
// tickets, and those who wait for one of them are woken.
#pragma once

#include "persistence/batch_judge.hpp"
#include "persistence/histogram_count.hpp"
#include "persistence/intake.hpp"
#include "persistence/item_queue.hpp"
#include "persistence/log_engine.hpp"
#include "persistence/log_reader.hpp"
#include "persistence/loss_ledger.hpp"
#include "persistence/outcomes.hpp"
#include "persistence/queue_waits.hpp"
#include "persistence/segment_keeper.hpp"
#include "persistence/thread_bed.hpp"
#include "persistence/waiters.hpp"

#include "core/semaphore.hpp"

#include <bus/detail/log_async.hpp>
#include <bus/persistence/log.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <vector>

namespace bus::detail {

class Groups;

using Deadline = ThreadBed::Deadline;
using Waiters = WaitersOn<ThreadBed>;

/// What an appender hands over of one record.
struct IntakeEntry {
  const std::byte* body = nullptr;
  std::unique_ptr<std::byte[]> own;  // the body's, if it was too long for the intake's memory
  std::uint32_t body_bytes = 0;
  std::uint32_t body_crc = 0;
  const char* texts = nullptr;  // topic, principal, schema, one behind the other
  std::uint32_t schema_version = 0;
  std::uint16_t topic_bytes = 0;
  std::uint16_t principal_bytes = 0;
  std::uint16_t schema_bytes = 0;
  Durability durability = Durability::synced;
  bool tagged = false;
  bool has_key = false;  // it can be known again
  std::optional<std::int64_t> time_ns = {};
  std::uint32_t together = 1;  // of the first of several that go in one commit: how many
  Completion* completion = nullptr;
};

class LogCore final : public ReadSource {
 public:
  /// Without threads, whoever waits commits, and `care` is called by hand: for tests that must be repeatable.
  enum class Threads { own, none };
  /// Takes the storage, if it succeeds.
  static result<std::unique_ptr<LogCore>> open(std::unique_ptr<Storage>& storage, const LogOptions& options,
                                               Threads threads = Threads::own) noexcept;
  ~LogCore();

  // --- Appending. ---

  /// Returns: the ticket of the first.
  result<std::uint64_t> hand_over(std::span<const bus::Record> records, Durability durability, bool will_wait,
                                  const Deadline* deadline, Completion* completion = nullptr,
                                  const std::optional<Settles>& settles = {}) noexcept;

  /// Returns: where the first is. Errors: timed_out, and what became of it.
  result<Appended> wait(std::uint64_t ticket, std::uint32_t records, Durability durability,
                        const Deadline* deadline) noexcept;
  bool is_settled(std::uint64_t ticket, std::uint32_t records, Durability durability) const noexcept;
  error_code sync() noexcept;

  // --- What groups have done. ---

  /// Puts items into the next commit, whoever's it is; by themselves they are committed within `sync_every`. `add` is
  /// called with the `GroupItems`, one caller at a time, and must not call the log.
  /// Returns: what to wait for. Errors: log_read_only; closed; out_of_memory.
  template <class Add>
  result<std::uint64_t> post_items(Add&& add) noexcept;

  /// Waits until they are durable, and starts a commit if none is under way.
  /// Errors: log_read_only; closed; no_space_on_device and out_of_memory: they are tried again with the next commit.
  error_code wait_items(std::uint64_t number) noexcept;
  /// Of all that were put so far.
  error_code sync_items() noexcept;

  /// The same in two parts, for who does not sleep: has them committed, and says what came of it, if anything has.
  /// Those in the list of `queue_waits` are told of it.
  ItemQueue::Asked ask_for_items(std::uint64_t number) noexcept;
  std::optional<error_code> outcome(const ItemQueue::Asked& asked) const noexcept;

  error_code close() noexcept;

  // --- Care. ---

  /// What the timer does.
  void care() noexcept;
  result<std::uint64_t> drop_before(std::uint64_t offset) noexcept;
  result<LossReport> scrub(const ScrubOptions& options) noexcept;
  LossReport losses() const { return losses_.report(); }
  error_code accept_losses() noexcept;
  void set_retention(const Retention& retention) noexcept { keeper_.set_retention(retention); }
  void set_spare_segments(unsigned segments) noexcept {
    keeper_.set_spare_segments(std::min(segments, limits::max_spare_segments));
  }
  void set_full_disk(FullDisk policy) noexcept { full_disk_.store(policy, std::memory_order_relaxed); }
  bool read_only() const noexcept {
    return failed_.load(std::memory_order_acquire) || unaccepted_.load(std::memory_order_acquire);
  }
  LogStats stats() const noexcept;
  const Clock& clock() const noexcept { return *options_.clock; }

  /// Wakes those who wait for a record, to look at something else.
  void wake_readers() noexcept {
    readers_.wake(0, 1);
    queue_waits_->wake();
  }
  const std::shared_ptr<QueueWaits>& queue_waits() const noexcept { return queue_waits_; }
  /// Whether nothing more is taken.
  bool has_ended() const noexcept { return failed_.load(std::memory_order_seq_cst) || is_closed(); }
  /// Waits until `done()`, which is looked at whenever something is committed, or the log takes nothing more.
  template <class Done>
  void wait_as_reader(const Deadline* deadline, Done&& done) noexcept {
    (void)readers_.wait(0, deadline, [&] { return done() || has_ended(); });
  }

  /// As `found_missing`, but whoever is to be told is told by the care thread: for who holds a lock.
  void found_missing_later(LogLoss&& loss) noexcept;

  /// With what was set since it was opened.
  LogOptions current_options() const;
  std::unique_ptr<Storage> release_storage() noexcept { return std::move(storage_); }
  void take_storage(std::unique_ptr<Storage> storage) noexcept { storage_ = std::move(storage); }

  const std::shared_ptr<Groups>& groups() const noexcept { return groups_; }

  /// What is known of messages; null if nothing is to be. For tests: nobody may append meanwhile.
  const Dedup* dedup() const noexcept { return judge_.known(); }

  // --- ReadSource. ---
  Storage& storage() noexcept override { return *storage_; }
  SegmentList& segments() noexcept override { return files_.segments; }
  const LogId& log_id() const noexcept override { return log_id_; }
  void look_for_segments() noexcept override {}
  void found_missing(LogLoss&& loss) noexcept override;
  ReadOutcome wait_for(std::uint64_t offset, const Deadline* deadline) noexcept override;
  bool is_closed() const noexcept override { return closed_.load(std::memory_order_seq_cst); }
  const std::shared_ptr<MemoryBudget>& memory() noexcept override { return memory_; }

 private:
  LogCore(std::unique_ptr<Storage> storage, const LogOptions& options, Threads threads);
  error_code begin();
  error_code ask_for_consent();
  error_code replay();
  std::vector<std::vector<std::byte>> snapshot() const;
  void start_threads();
  void stop_threads() noexcept;

  // --- Appending. ---
  error_code check_open() const noexcept;
  template <class Take>
  bool wait_for_room(const Deadline* deadline, Take&& take) noexcept;
  error_code no_room(const Deadline* deadline) noexcept;
  void end_long_record() noexcept;
  std::uint64_t long_ticket(std::uint32_t ticket) const noexcept;

  // --- Committing: with the turn. ---
  void kick() noexcept;
  bool lead(std::uint64_t until, const Deadline* deadline) noexcept;
  bool commit_some() noexcept;
  std::uint32_t gather();
  bool judge(std::uint32_t ticket, std::uint32_t together);
  error_code write_gathered() noexcept;
  error_code make_room(error_code error) noexcept;
  void count_commit(std::uint64_t record_bytes_before, std::chrono::steady_clock::time_point begun,
                    bool synced) noexcept;
  void settle(std::uint32_t taken, error_code error, bool synced) noexcept;
  void note_outcomes(std::uint32_t taken, error_code error) noexcept;
  void fail() noexcept;
  bool something_to_do() const noexcept;
  void make_sync_due() noexcept;
  bool must_write_items(std::int64_t due) const noexcept;

  // --- Threads. ---
  void run_commits() noexcept;
  void run_care() noexcept;

  // --- Care. ---
  bool is_news(const LogLoss& loss);
  void tell_losses() noexcept;
  void write_report() noexcept;
  bool pause(Deadline until) noexcept;

  const LogOptions options_;
  const Threads threads_;
  std::unique_ptr<Storage> storage_;
  LogId log_id_{};
  LogFiles files_;
  const std::shared_ptr<MemoryBudget> memory_;
  std::unique_ptr<LogEngine> engine_;  // of whoever has the turn

  // --- From appenders to whoever commits. ---
  Intake<IntakeEntry> intake_;
  Turn<> turn_;
  std::atomic<bool> long_record_{false};  // one whose body has memory of its own is on its way

  // Of whoever has the turn.
  std::uint64_t next_ticket_ = 0;
  std::vector<LogEntry> batch_;
  std::size_t batch_bytes_ = 0;
  bool items_passed_over_ = false;  // as the last batch was too long
  const Deadline* leads_until_ = nullptr;  // by when the appender who has the turn wants to be told
  std::optional<Deadline> room_until_;  // by when what waits for room on the disk is refused
  BatchJudge judge_;
  std::vector<DedupKey> keys_;  // of records that go together

  // Tickets below are settled so far. WATERMARK: stored by whoever commits, in front of CELL-CHECK.
  std::atomic<std::uint64_t> written_{0};
  std::atomic<std::uint64_t> synced_{0};
  std::atomic<bool> failed_{false};
  std::atomic<bool> closing_{false};
  std::atomic<bool> closed_{false};
  Waiters waiters_;
  Waiters readers_;
  const std::shared_ptr<QueueWaits> queue_waits_ = std::make_shared<QueueWaits>();  // like readers
  Waiters room_;  // for memory

  Outcomes outcomes_;

  ItemQueue items_;

  std::atomic<std::uint64_t> sync_wanted_{0};  // tickets in front of it are to be synced; it only rises
  std::atomic<bool> roll_asked_{false};
  std::atomic<std::int64_t> sync_due_{0};  // steady time in ns, 0 if none is
  std::atomic<bool> full_{false};
  std::atomic<FullDisk> full_disk_;

  // --- Threads. ---
  Semaphore commit_wake_;
  std::atomic<bool> kicked_{false};
  Semaphore care_wake_;
  std::atomic<bool> stopping_{false};
  ThreadBed stop_bed_;
  std::thread commit_thread_;
  std::thread care_thread_;

  // --- Care. ---
  std::shared_ptr<Groups> groups_;
  SegmentKeeper keeper_;
  std::mutex report_mutex_;  // one writes it at a time
  LossLedger losses_;
  std::mutex untold_mutex_;
  std::vector<LogLoss> untold_;
  std::atomic<bool> unaccepted_{false};

  // --- Counts. ---
  std::atomic<std::uint64_t> records_{0};
  std::atomic<std::uint64_t> payload_bytes_{0};
  std::atomic<std::uint64_t> rejected_{0};
  std::atomic<std::uint64_t> duplicates_{0};
  std::atomic<std::uint64_t> out_of_sequence_{0};
  std::atomic<std::uint64_t> commits_{0};
  HistogramCount<commit_us_bounds> commit_us_;
  HistogramCount<batch_records_bounds> batch_records_;
  HistogramCount<batch_bytes_bounds> batch_bytes_counts_;
  std::atomic<std::uint64_t> overloads_{0};
  std::atomic<std::uint64_t> unsynced_bytes_{0};
  std::atomic<std::uint64_t> lost_records_{0};
  std::atomic<std::uint64_t> quarantine_bytes_{0};
};

template <class Add>
result<std::uint64_t> LogCore::post_items(Add&& add) noexcept try {
  if (const error_code error = check_open()) return error;
  const std::uint64_t number = items_.post(add);
  // A commit that is not asked for by somebody else has to be due some time.
  if (sync_due_.load(std::memory_order_seq_cst) == 0) {  // sync ITEMS-DUE
    make_sync_due();
    kick();
  }
  return number;
} catch (const std::bad_alloc&) {
  return make_error_code(errc::out_of_memory);
}

}  // namespace bus::detail
