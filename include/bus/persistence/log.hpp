// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A log: records in a durable order, in a directory of segment files.
//
//   bus::Log log = bus::Log::open("/var/lib/host/events").value();
//   auto receipt = log.append({.topic = "agent.v1.done", .payload = bus::as_payload("…")});
//   if (receipt) …receipt->offset()… // it is on the disk
//
//   bus::LogReader reader = log.read({.from = bus::From::oldest()}).value();
//   while (reader.next().outcome() == bus::ReadOutcome::record) use(reader.record());
//
// Order      Offsets are numbers of records: 0, 1, 2, … An append that returned before another began has the lower
//            offset. Readers see records in that order and only once they are as durable as their sender asked.
// Durability What a receipt promises is in its type. A batch is durable as a whole: one `synced` append makes durable
//            all that was taken before it.
// Commit     All that waits is written at once and synced once, at most `batch_bytes` of it: by an appender that
//            waits for its receipt, if nobody else is at it, or by the log's one commit thread.
// Duplicates A message whose sender says who it is, by a producer's sequence or an id, is taken once however often it
//            is sent, also after a crash. The receipt of another copy says the offset of the first.
// Failure    A write or a sync that fails is never tried again: the log takes nothing more (log_read_only), is read on,
//            and can be opened again in the process (`reopen`). A full disk is no such failure.
// Lifetime   The log must outlive the use of its readers, and receipts that wait. Destroying it is `close`.
#pragma once

#include <bus/error.hpp>
#include <bus/export.hpp>
#include <bus/persistence/log_options.hpp>
#include <bus/persistence/loss.hpp>
#include <bus/persistence/record.hpp>
#include <bus/persistence/storage.hpp>
#include <bus/stats.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace bus {

class GroupPosition;
class Log;
class LogReader;

namespace detail {

class LogCore;
class ReaderCore;
class SnapshotCore;
class Completion;

/// Where the first of the records stands.
struct Appended {
  std::uint64_t offset = 0;
  bool duplicate = false;
};
BUSBAR_EXPORT result<Appended> wait_for_append(LogCore& log, std::uint64_t ticket, std::uint32_t records,
                                               Durability durability,
                                               const std::chrono::steady_clock::time_point* deadline) noexcept;
BUSBAR_EXPORT bool is_settled(const LogCore& log, std::uint64_t ticket, std::uint32_t records,
                              Durability durability) noexcept;
struct LogAccess;

}  // namespace detail

// --- Receipts. ---

/// The offset in the receipt of a duplicate that is more than 64 sequences behind the last of its producer: where it
/// was taken is not known any more.
inline constexpr std::uint64_t unknown_offset = ~std::uint64_t{0};

/// Says that records are in the log, as durable as its type says.
template <Durability D>
class Receipt {
 public:
  /// Of the first record, if it is for several; the others follow without a gap.
  std::uint64_t offset() const noexcept { return offset_; }
  std::uint64_t records() const noexcept { return records_; }  ///< how many it is for

  /// Whether the log had them already, and nothing was written: see `DedupOptions`. What it had is as durable now.
  bool duplicate() const noexcept { return duplicate_; }

  /// What promises more may stand for what promises less.
  template <Durability Less>
    requires(Less < D)
  operator Receipt<Less>() const noexcept {  // NOLINT(google-explicit-constructor)
    return Receipt<Less>(offset_, records_, duplicate_);
  }

 private:
  template <Durability>
  friend class Receipt;
  template <Durability>
  friend class PendingReceipt;
  friend struct detail::LogAccess;
  Receipt(std::uint64_t offset, std::uint64_t records, bool duplicate) noexcept
      : offset_(offset), records_(records), duplicate_(duplicate) {}
  std::uint64_t offset_;
  std::uint64_t records_;
  bool duplicate_;
};

/// A receipt that may have to be waited for. The log goes on whether or not anybody does; dropping it forgets it.
/// Threads: one at a time. The log must outlive its waits.
template <Durability D>
class [[nodiscard]] PendingReceipt {
 public:
  /// Waits. May commit what waits, in this thread.
  /// Errors: log_read_only, if the log failed before it was committed; no_space_on_device; payload_too_large;
  ///         producer_fenced; sequence_gap; batch_mixed; outcome_forgotten, if it was kept while very many others were
  ///         refused or duplicates.
  result<Receipt<D>> wait() const noexcept { return wait(nullptr); }

  /// As `wait`, until `deadline`. Errors: timed_out; it may be committed yet. And those of `wait`.
  result<Receipt<D>> wait_until(std::chrono::steady_clock::time_point deadline) const noexcept {
    return wait(&deadline);
  }

  /// Whether `wait` would return at once.
  bool ready() const noexcept { return detail::is_settled(*log_, ticket_, records_, D); }

 private:
  friend class Log;
  result<Receipt<D>> wait(const std::chrono::steady_clock::time_point* deadline) const noexcept {
    const auto appended = detail::wait_for_append(*log_, ticket_, records_, D, deadline);
    if (!appended) return appended.error();
    return Receipt<D>(appended->offset, records_, appended->duplicate);
  }
  PendingReceipt(detail::LogCore& log, std::uint64_t ticket, std::uint32_t records) noexcept
      : log_(&log), ticket_(ticket), records_(records) {}
  detail::LogCore* log_;
  std::uint64_t ticket_;  // of the first record
  std::uint32_t records_;
};

// --- Reading. ---

/// A place in a log that a program may keep for later, in this process or another: text of up to 64 characters.
class BUSBAR_EXPORT Cursor {
 public:
  Cursor() = default;  ///< the oldest record

  /// The text to keep. Errors: throws std::bad_alloc.
  std::string to_string() const;

  /// The cursor that became `text`. Errors: invalid_argument.
  static result<Cursor> parse(std::string_view text);

  friend bool operator==(const Cursor&, const Cursor&) = default;

 private:
  friend class detail::ReaderCore;
  std::array<std::uint8_t, 16> log_{};
  std::uint64_t offset_ = 0;
};

/// Where a reader begins.
class From {
 public:
  static From oldest() noexcept { return From(Oldest()); }  ///< that retention has left
  static From next() noexcept { return From(Next()); }  ///< what is committed from now on
  /// What was dropped from there on is told first.
  static From offset(std::uint64_t offset) noexcept { return From(offset); }
  /// The first record whose time is that or later, from the segment on that was written at that time. Records may be a
  /// little out of order in time, as senders' clocks are.
  static From time(std::chrono::system_clock::time_point time) noexcept { return From(time); }
  /// What the reader of that cursor had not returned yet.
  static From cursor(const Cursor& cursor) noexcept { return From(cursor); }

 private:
  friend class detail::ReaderCore;
  struct Oldest {};
  struct Next {};
  using Place = std::variant<Oldest, Next, std::uint64_t, std::chrono::system_clock::time_point, Cursor>;
  explicit From(Place place) noexcept : place_(place) {}
  Place place_;
};

/// What is chosen when a reader is made.
struct ReadOptions {
  /// Where it begins.
  From from = From::oldest();

  /// Records on other topics are skipped. None: all are read.
  std::vector<TopicPattern> patterns = {};

  /// Bytes read at a time: 4 KiB to 64 MiB. A view that is kept holds as much.
  std::size_t block_bytes = std::size_t{512} << 10;
};

/// What a reader came upon.
enum class ReadOutcome : std::uint8_t {
  record,  ///< `LogReader::record` is the next one
  lost,  ///< `count` records are missing that the log should have
  overrun,  ///< `count` records were dropped by retention before they were read
  end,  ///< nothing more is committed (the forms that do not wait)
  timed_out,  ///< the deadline passed
  closed,  ///< the log is closed, and all was read
};

/// The word for it: "record", "lost", …
BUSBAR_EXPORT std::string_view to_string(ReadOutcome outcome) noexcept;

/// What a reader came upon, and how much of it.
class [[nodiscard]] ReadResult {
 public:
  ReadResult() noexcept = default;
  /// `count` records of this outcome.
  ReadResult(ReadOutcome outcome, std::uint64_t count = 0) noexcept : outcome_(outcome), count_(count) {}
  ReadOutcome outcome() const noexcept { return outcome_; }  ///< what it came upon
  /// Records that are missing, the last of them in front of `LogReader::offset`; 0 but for `lost` and `overrun`.
  std::uint64_t count() const noexcept { return count_; }

 private:
  ReadOutcome outcome_ = ReadOutcome::end;
  std::uint64_t count_ = 0;
};

/// Goes along the records of a log, from history to live without a gap or a duplicate.
/// Threads: one at a time. Lifetime: the log must outlive its use; views outlive both.
class BUSBAR_EXPORT LogReader {
 public:
  LogReader(LogReader&&) noexcept;
  LogReader& operator=(LogReader&&) noexcept;
  ~LogReader();

  /// Goes on by one record, or over what is missing. Blocks: for the disk, not for an append.
  /// Errors: those of the storage, of a segment as a whole; out_of_memory; log_version_unsupported.
  result<ReadResult> next() noexcept;

  /// Waits for the next one.
  result<ReadResult> wait_next() noexcept;
  result<ReadResult> wait_next_until(std::chrono::steady_clock::time_point deadline) noexcept;

  /// The record that was read last. Lifetime: until the next call; a copy as long as it likes.
  const RecordView& record() const noexcept;

  /// The offset that comes next.
  std::uint64_t offset() const noexcept;

  /// Where it stands: a reader that begins there goes on with what this one has not returned yet.
  Cursor cursor() const noexcept;

 private:
  friend class Log;
  friend class LogSnapshot;
  explicit LogReader(std::unique_ptr<detail::ReaderCore> core) noexcept;
  std::unique_ptr<detail::ReaderCore> core_;
};

// --- The log. ---

/// Bounds of the histograms in `LogStats`.
inline constexpr std::array<std::uint64_t, 16> commit_us_bounds{
    50,     100,    200,     500,     1'000,   2'000,     5'000,     10'000,
    20'000, 50'000, 100'000, 200'000, 500'000, 1'000'000, 2'000'000, 5'000'000};
inline constexpr std::array<std::uint64_t, 7> batch_records_bounds{1, 4, 16, 64, 256, 1'024, 4'096};
inline constexpr std::array<std::uint64_t, 9> batch_bytes_bounds{256,     1'024,   4'096,     16'384,   65'536,
                                                                 262'144, 524'288, 1'048'576, 4'194'304};

/// What a log has counted since it was opened, and where it stands.
struct LogStats {
  std::uint64_t first_offset = 0;
  std::uint64_t next_offset = 0;  ///< of what is committed
  std::uint64_t segments = 0;
  std::uint64_t spares = 0;
  std::uint64_t disk_bytes = 0;  ///< of all files in the directory, as far as the log made them
  std::uint64_t segment_bytes = 0;  ///< of these: files of segments
  std::uint64_t spare_bytes = 0;  ///< and files held ready
  std::uint64_t quarantine_bytes = 0;

  std::uint64_t records = 0;  ///< committed
  std::uint64_t payload_bytes = 0;
  std::uint64_t commits = 0;
  std::uint64_t syncs = 0;
  std::uint64_t sync_failures = 0;
  std::uint64_t overloads = 0;  ///< appends refused for want of memory
  std::uint64_t rejected = 0;  ///< records refused for want of disk
  std::uint64_t duplicates = 0;  ///< records that the log had already
  std::uint64_t out_of_sequence = 0;  ///< records refused with producer_fenced, sequence_gap, batch_mixed
  std::uint64_t uncommitted_bytes = 0;
  std::uint64_t unsynced_bytes = 0;

  /// Of commits that were synced at once: from when the batch was taken to when the sync had returned, in microseconds.
  Histogram<commit_us_bounds> commit_us;
  Histogram<batch_records_bounds> batch_records;  ///< of commits that wrote any
  Histogram<batch_bytes_bounds> batch_bytes;  ///< of these: their frames, as in `record_bytes`

  // Bytes written to files, by purpose.
  std::uint64_t record_bytes = 0;  ///< frames of records, payload included
  std::uint64_t frame_bytes = 0;  ///< marks, names, footers, verdicts, and the ends of batches
  std::uint64_t fill_bytes = 0;  ///< preparing segments
  std::uint64_t repair_bytes = 0;  ///< rewriting what an opening found

  std::uint64_t rolls = 0;
  std::uint64_t reused_segments = 0;
  std::uint64_t dropped_segments = 0;
  std::uint64_t dropped_records = 0;
  std::uint64_t lost_records = 0;  ///< found missing so far
  bool read_only = false;
  bool full = false;
};

/// How far a scrub has come.
struct ScrubProgress {
  std::uint64_t bytes = 0;
  std::uint64_t total_bytes = 0;
  std::uint64_t records = 0;  ///< found whole
};

/// What is chosen for a scrub.
struct ScrubOptions {
  std::uint64_t bytes_per_second = std::uint64_t{32} << 20;  ///< 0: as fast as it goes
  /// Told now and then. Returns: whether to go on.
  std::function<bool(const ScrubProgress&)> on_progress = {};
};

/// A log that is open to append and to read. See the head of this file.
/// Threads: all functions from any thread, but `close` and `reopen`.
class BUSBAR_EXPORT Log {
 public:
  /// Opens the log in a directory, or begins one, and judges what a crash or damage has left. The directory is made,
  /// with those above it, if it does not exist.
  /// Errors: log_locked; log_version_unsupported; invalid_argument, for impossible options; log_foreign, if a segment
  ///         belongs to another log; resource_unavailable_try_again, if there is no thread to be had; those of the
  ///         storage; out_of_memory.
  static result<Log> open(const std::filesystem::path& directory, const LogOptions& options = {}) noexcept;
  static result<Log> open(std::unique_ptr<Storage> storage, const LogOptions& options = {}) noexcept;

  Log(Log&&) noexcept;
  Log& operator=(Log&&) noexcept;
  ~Log();

  // --- Appending ---

  /// Appends a record.
  /// Returns: when it is as durable as asked. Blocks: for a sync, if so.
  /// Errors: overloaded, beyond `uncommitted_bytes`; no_space_on_device; log_read_only; closed; payload_too_large, if
  ///         it could not stand in a segment; topic_invalid, if it has none; key_too_long, name_invalid for a text that
  ///         is too long; producer_fenced, sequence_gap: see `Producer`.
  template <Durability D = Durability::synced>
  result<Receipt<D>> append(const Record& record) noexcept {
    return append<D>(std::span(&record, 1));
  }
  /// One after the other, in one commit, or none of them. At most `batch_bytes` and a quarter of `uncommitted_bytes`,
  /// and as many records as `uncommitted_bytes` has units of 2 KiB, or 4,096.
  /// A duplicate, if all are such, of records that follow each other in the log without a gap.
  /// Errors: batch_mixed, if some are duplicates and others are not, or it holds one twice. A record that says neither
  ///         producer nor id is no duplicate. invalid_argument, for none or too many; payload_too_large, beyond these
  ///         bytes. And those of the other form.
  template <Durability D = Durability::synced>
  result<Receipt<D>> append(std::span<const Record> records) noexcept {
    const auto pending = take<D>(records, true, nullptr);
    if (!pending) return pending.error();
    return pending->wait();
  }
  /// Waits for room too. Errors: timed_out; it may be committed yet.
  template <Durability D = Durability::synced>
  result<Receipt<D>> append_until(const Record& record, std::chrono::steady_clock::time_point deadline) noexcept {
    const auto pending = take<D>(std::span(&record, 1), true, &deadline);
    if (!pending) return pending.error();
    return pending->wait_until(deadline);
  }

  /// Hands it over and does not wait. Errors: as `append`; those of the disk come with the receipt.
  template <Durability D = Durability::synced>
  result<PendingReceipt<D>> submit(const Record& record) noexcept {
    return submit<D>(std::span(&record, 1));
  }
  template <Durability D = Durability::synced>
  result<PendingReceipt<D>> submit(std::span<const Record> records) noexcept {
    return take<D>(records, false, nullptr);
  }
  /// Waits for room until then. Errors: timed_out; it was not taken then.
  template <Durability D = Durability::synced>
  result<PendingReceipt<D>> submit_until(const Record& record,
                                         std::chrono::steady_clock::time_point deadline) noexcept {
    return take<D>(std::span(&record, 1), false, &deadline);
  }

  /// With <bus/persistence/asio.hpp>: completes with `void(error_code, Receipt<D>)`.
  template <Durability D = Durability::synced, class CompletionToken>
  auto async_append(const Record& record, CompletionToken&& token);

  /// Makes durable all that was taken before. Errors: as `append`.
  error_code sync() noexcept;

  // --- Reading ---

  /// A new reader.
  /// Errors: invalid_argument, for impossible options or the cursor of another log; out_of_memory; those of the
  ///         storage.
  result<LogReader> read(const ReadOptions& options = {}) noexcept;

  std::uint64_t first_offset() const noexcept;  ///< of the oldest record that may be there
  std::uint64_t next_offset() const noexcept;  ///< of what is committed

  // --- Care ---

  /// What is missing, as far as opening, readers and scrubs have come. Errors: throws std::bad_alloc.
  LossReport losses() const;

  /// Takes note of what the opening found and goes on taking appends. Errors: those of the storage; a later opening
  /// asks again then.
  error_code accept_losses() noexcept;

  /// Reads everything at a set rate and checks it. Blocks. Returns: what is missing, now known to `losses` too.
  /// Errors: those of the storage; operation_canceled, if `on_progress` says so or the log is closed.
  result<LossReport> scrub(const ScrubOptions& options = {}) noexcept;

  /// Drops segments whose records all have lower offsets. Returns: the oldest offset then.
  /// Errors: those of the storage.
  result<std::uint64_t> drop_before(std::uint64_t offset) noexcept;

  /// Changes what can be changed while the log is open.
  /// @{
  void set_retention(const Retention& retention) noexcept;
  void set_full_disk(FullDisk policy) noexcept;
  /// @}

  /// More than `limits::max_spare_segments` are as many. Spares that are there already stay until they are used.
  void set_spare_segments(unsigned segments) noexcept;

  /// Whether it takes nothing more: a write or a sync failed, or too much was lost.
  bool read_only() const noexcept;

  /// What it has counted, and where it stands.
  LogStats stats() const noexcept;

  /// Closes it and opens it again, trusting nothing that is not proven to have been committed. No reader, receipt or
  /// other call may be under way. Errors: as `open`; the log is closed then.
  error_code reopen() noexcept;

  /// Commits what was taken, and ends. Readers get what is there, then `closed`.
  /// Errors: those of the last commit.
  error_code close() noexcept;

 private:
  friend struct detail::LogAccess;
  explicit Log(std::unique_ptr<detail::LogCore> core) noexcept;

  template <Durability D>
  result<PendingReceipt<D>> take(std::span<const Record> records, bool will_wait,
                                 const std::chrono::steady_clock::time_point* deadline) noexcept {
    const auto ticket = hand_over(records, D, will_wait, deadline);
    if (!ticket) return ticket.error();
    return PendingReceipt<D>(*core_, *ticket, static_cast<std::uint32_t>(records.size()));
  }
  /// Returns: the ticket of the first.
  result<std::uint64_t> hand_over(std::span<const Record> records, Durability durability, bool will_wait,
                                  const std::chrono::steady_clock::time_point* deadline) noexcept;
  std::unique_ptr<detail::LogCore> core_;
};

/// A log as it is on the disk, for tools: nothing is changed, and a live writer is not disturbed. Beside one, what it
/// committed after the opening is seen by a reader that goes on, and nothing past its last commit is judged.
/// Threads: as Log.
class BUSBAR_EXPORT LogSnapshot {
 public:
  /// Opens what is there to look at it.
  /// Errors: no_such_file_or_directory if there is no log; log_version_unsupported; those of the storage;
  ///         out_of_memory.
  static result<LogSnapshot> open(const std::filesystem::path& directory) noexcept;
  static result<LogSnapshot> open(std::unique_ptr<Storage> storage) noexcept;

  LogSnapshot(LogSnapshot&&) noexcept;
  LogSnapshot& operator=(LogSnapshot&&) noexcept;
  ~LogSnapshot();

  /// As in `Log`.
  /// @{
  result<LogReader> read(const ReadOptions& options = {}) noexcept;
  result<LossReport> scrub(const ScrubOptions& options = {}) noexcept;
  /// @}

  /// Looks for what has been committed since. Errors: those of the storage.
  error_code refresh() noexcept;

  std::uint64_t first_offset() const noexcept;  ///< of the oldest record that may be there
  std::uint64_t next_offset() const noexcept;  ///< of what is known to be committed
  /// Whether somebody held the writer's lock when it was looked at last, or that could not be known.
  bool has_writer() const noexcept;

  /// One file of the log.
  struct Segment {
    std::string name;
    std::uint64_t base_offset = 0;
    std::uint64_t records = 0;
    std::uint64_t bytes = 0;
    std::uint64_t used_bytes = 0;  ///< from the file's begin to the end of what is committed in it
    bool sealed = false;
    std::optional<std::chrono::system_clock::time_point> created = {};
  };
  /// All segments, oldest first. Errors: those of the storage; throws std::bad_alloc.
  result<std::vector<Segment>> segments();

  /// What is missing, as far as opening, readers and scrubs have come. Errors: throws std::bad_alloc.
  LossReport losses() const;

  /// With <bus/persistence/group.hpp>: where groups stand by what is known to be committed, in the order of their
  /// names. The dead letters of each stand there too, as a group named `dead_prefix` and its name.
  /// Cost: reads about as much as one segment has, or all of it after damage.
  /// Errors: those of the storage; resource_unavailable_try_again, if segments go faster than they can be read;
  ///         out_of_memory.
  result<std::vector<GroupPosition>> groups() noexcept;

 private:
  explicit LogSnapshot(std::unique_ptr<detail::SnapshotCore> core) noexcept;
  std::unique_ptr<detail::SnapshotCore> core_;
};

}  // namespace bus
