// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The log without its threads: opens a directory, judges what a crash or damage has left of it, and from then on writes
// one batch after the other, each durable when its call returns.
//
// Order on disk, which every opening relies on:
//   1. A segment has its name only once it is filled and both of its headers are durable.
//   2. A batch is written when all in front of it is durable, and so says.
//   3. A segment is sealed, and that is durable, before the next one has its name.
#pragma once

#include "persistence/batch_encoder.hpp"
#include "persistence/segment_file.hpp"

#include <bus/options.hpp>
#include <bus/persistence/storage.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bus::detail {

/// One thing that an opening or a reader found missing.
struct LossEvent {
  std::string segment;  ///< file name; of a segment that is gone, what it would be called but for its serial
  std::uint64_t begin = 0;
  std::uint64_t end = 0;  ///< bytes `[begin, end)` of the file
  std::uint64_t first_offset = 0;
  std::uint64_t records = 0;
  Verdict verdict = Verdict::lost;
  bool counted = true;  ///< `records` is exact; else at least that many
  bool known = false;  ///< an earlier opening has judged it
  friend bool operator==(const LossEvent&, const LossEvent&) = default;
};

struct EngineOptions {
  std::uint64_t segment_bytes = std::uint64_t{64} << 20;
  const Clock* clock = &Clock::system();
};

/// What is to be written of one message. Refers to memory of the caller's.
struct LogEntry {
  std::string_view topic = {};
  std::string_view principal = {};
  std::int64_t wall_ns = 0;
  RecordFields fields = {};
  std::span<const std::byte> payload = {};
};

/// One record as a reader has it. Refers to the reader's memory, until it goes on.
struct LogRecord {
  std::uint64_t offset = 0;
  std::string_view topic;
  std::string_view principal;
  std::int64_t wall_ns = 0;
  RecordFields fields;
  std::span<const std::byte> payload;
};

/// Threads: one at a time. The storage and the clock must outlive it.
class LogEngine {
 public:
  /// Opens the log in `storage`, or begins one, and judges its last segment.
  /// Errors: log_locked; log_version_unsupported; those of the storage, and out_of_memory.
  static result<std::unique_ptr<LogEngine>> open(Storage& storage, const EngineOptions& options) noexcept;

  /// Writes all of it as one batch. It is durable when this returns: offsets from `next_offset` on, in order.
  /// Errors: payload_too_large, if it could not stand in a segment; no_space_on_device, when there is no room for the
  /// segment that it would begin: nothing of it is written then, and the same call may succeed later. After any other
  /// error of the storage the log takes nothing more: log_read_only.
  error_code commit(std::span<const LogEntry> entries) noexcept;

  std::uint64_t next_offset() const noexcept { return header_.base_offset + place_.next_record; }

  /// The offset of the first record that may be there.
  std::uint64_t first_offset() const noexcept { return segments_.front().base_offset; }

  /// What the opening found missing in the last segment.
  const std::vector<LossEvent>& losses() const noexcept { return losses_; }

  bool read_only() const noexcept { return read_only_; }

  /// Walks along the records.
  class Reader;

 private:
  LogEngine(Storage& storage, const EngineOptions& options) : storage_(storage), options_(options) {}

  error_code open_directory();
  error_code give_up_last();
  LogId new_log_id() noexcept;
  error_code recover();
  error_code settle(Window& window, const SegmentState& state);
  error_code begin_segment(const LogId& log_id, std::uint64_t base_offset, std::uint64_t base_control);
  error_code seal();
  error_code write(std::span<const LogEntry> entries);
  void rebuild_index(Window& window, std::uint64_t end);
  void note_in_index(std::uint64_t position, std::uint32_t number, std::uint32_t time);
  error_code write_batch(std::uint64_t proven, std::span<const std::byte> mirrored = {},
                         FrameKind kind = FrameKind::names);

  Storage& storage_;
  const EngineOptions options_;
  std::unique_ptr<StorageLock> lock_;
  std::vector<SegmentName> segments_;  // in order; the last is the one that is written to
  std::vector<LossEvent> losses_;
  bool read_only_ = false;
  bool sealed_ = false;  // the last segment is; the next could not begin yet

  // The last segment.
  std::unique_ptr<File> file_;
  SegmentHeader header_;
  WritePlace place_;
  std::uint64_t mirror_place_ = 0;
  Names names_;
  std::vector<std::byte> fresh_names_;  // which no batch has written yet
  std::vector<IndexEntry> index_;
  std::uint32_t latest_time_ = 0;  // of its records, in `time_unit_ns`
  BatchEncoder encoder_;
};

/// Threads: one at a time, and not while the log commits. The log must outlive it.
class LogEngine::Reader {
 public:
  /// Begins at `offset`, or at the first record behind it.
  Reader(LogEngine& log, std::uint64_t offset) noexcept : log_(log), next_(offset) {}

  enum class Found { record, gap, end };

  /// Errors: those of the storage, of a segment as a whole; out_of_memory.
  result<Found> next() noexcept;

  const LogRecord& record() const noexcept { return record_; }

  /// Records that are missing: `gap_records` of them, in front of `offset`.
  std::uint64_t gap_records() const noexcept { return gap_records_; }

  /// The offset that comes next.
  std::uint64_t offset() const noexcept { return next_; }

 private:
  error_code enter(std::size_t index);
  bool grow() noexcept;
  result<std::optional<Found>> step();
  std::optional<Found> skip_to(std::uint64_t offset) noexcept;
  std::size_t segment_of(std::uint64_t offset) const noexcept;
  bool take(const FoundFrame& frame);

  LogEngine& log_;
  std::uint64_t next_;
  std::optional<std::size_t> segment_;  // index in the log's
  std::unique_ptr<File> file_;
  std::unique_ptr<Window> window_;
  SegmentHeader header_;
  std::unique_ptr<FrameScanner> scanner_;
  Names names_;
  LogRecord record_;
  std::uint64_t gap_records_ = 0;
  std::uint64_t limit_ = 0;  // of the scanner
  bool footer_seen_ = false;
  bool held_back_ = false;  // the record has been read, and is to be told
};

}  // namespace bus::detail
