// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The log without its threads: opens a directory, judges what a crash or damage has left of it, and from then on writes
// one batch after the other.
//
// Order on disk, which every opening relies on:
//   1. A segment has its name only once it is filled and both of its headers are durable.
//   2. A batch is written when all in front of it is durable, and so says.
//   3. A segment is sealed, and that is durable, before the next one has its name.
#pragma once

#include "persistence/batch_encoder.hpp"
#include "persistence/group_replay.hpp"
#include "persistence/log_files.hpp"
#include "persistence/segment_file.hpp"

#include <bus/options.hpp>
#include <bus/persistence/loss.hpp>
#include <bus/persistence/storage.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bus::detail {

inline constexpr std::size_t max_control_bytes = std::size_t{32} << 10;

struct EngineOptions {
  std::uint64_t segment_bytes = std::uint64_t{64} << 20;
  std::uint64_t quarantine_bytes = 0;  ///< of damaged regions, that are kept
  const Clock* clock = &Clock::system();

  /// Called with what the opening has found missing before the disk says that it is known. Errors end the opening.
  std::function<error_code(const std::vector<LogLoss>&)> on_losses = {};

  /// What groups stand at, and which messages are known, as bodies of snapshot frames. Called when a segment begins, if
  /// anything of the kind has ever been appended; says at least what has been appended so far.
  std::function<std::vector<std::vector<std::byte>>()> snapshot = {};
};

/// What is to be written of one message. Refers to memory of the caller's.
struct LogEntry {
  std::string_view topic = {};
  std::string_view principal = {};
  std::string_view schema = {};
  std::uint32_t schema_version = 0;
  std::int64_t wall_ns = 0;
  bool tagged = false;  ///< the body begins with fields
  bool has_key = false;  ///< it can be known again by them
  std::span<const std::byte> body = {};
  std::uint32_t body_crc = 0;
};

/// What is written besides messages, for groups. Refers to memory of the caller's.
struct LogControl {
  FrameKind kind = FrameKind::control;  ///< or snapshot
  std::span<const std::byte> body = {};
};

/// Threads: one at a time; what it shares with readers is in the list. The storage, the clock, and what is shared must
/// outlive it.
class LogEngine {
 public:
  /// Opens the log in `storage`, or begins one, and judges its last segment.
  /// Errors: log_locked; log_version_unsupported; log_foreign; those of the storage, and out_of_memory.
  static result<std::unique_ptr<LogEngine>> open(Storage& storage, const EngineOptions& options,
                                                 LogFiles& files) noexcept;

  /// Whether a record with so long a body, and texts besides it, can stand in a segment.
  static bool can_hold(std::size_t body_bytes, std::size_t text_bytes, std::uint64_t segment_bytes) noexcept;

  /// Writes all of it as one batch: offsets from `next_offset` on, in order, and behind them `controls`, each at most
  /// `max_control_bytes`. It is durable after the next `sync`.
  /// Errors: payload_too_large, if it could not stand in a segment; no_space_on_device, when there is no room for the
  /// segment that it would begin, and out_of_memory: nothing of it is written then, and the same call may succeed
  /// later. After any other error of the storage the log takes nothing more: log_read_only.
  error_code append(std::span<const LogEntry> entries, std::span<const LogControl> controls = {}) noexcept;

  /// Makes durable what was appended. Errors: as `append`.
  error_code sync() noexcept;

  /// Says on the disk that all that was synced is durable, as the next batch would: for when there may be none.
  error_code prove() noexcept;

  /// Lets readers see what was appended.
  void show() noexcept;

  /// Ends the segment, if there is anything in it; the next one begins with what is appended next.
  error_code end_segment() noexcept;

  std::uint64_t next_offset() const noexcept { return header_.base_offset + place_.next_record; }
  std::uint64_t unsynced_bytes() const noexcept { return place_.position - durable_; }
  std::int64_t segment_created_ns() const noexcept { return header_.created_ns; }
  const LogId& log_id() const noexcept { return header_.log_id; }
  const GroupsPlace& groups_place() const noexcept { return groups_; }

  /// What the opening found missing in the last segment.
  const std::vector<LogLoss>& losses() const noexcept { return losses_; }

  std::uint64_t quarantined_bytes() const noexcept { return quarantined_; }

  bool read_only() const noexcept { return read_only_; }

 private:
  LogEngine(Storage& storage, const EngineOptions& options, LogFiles& files)
      : storage_(storage), options_(options), files_(files) {}

  error_code open_directory();
  error_code list_files();
  error_code give_up_last(const SegmentRef& last);
  result<std::optional<LogId>> known_log_id();
  LogId new_log_id() noexcept;
  error_code recover();
  error_code tell_losses();
  void note_unnamed(Window& window, const SegmentState& state);
  void count_quarantined();
  void quarantine(Window& window, const SegmentState& state) noexcept;
  error_code settle(Window& window, const SegmentState& state);
  error_code begin_segment(const LogId& log_id, std::uint64_t base_offset, std::uint64_t base_control);
  error_code seal();
  error_code write(std::span<const LogEntry> entries, std::span<const LogControl> controls);
  error_code write_snapshot(std::uint64_t room);
  void note_groups_place() noexcept;
  bool name_records(std::span<const LogEntry> entries);
  void note_in_index(std::uint64_t position, std::uint32_t number, std::uint32_t time);
  error_code write_batch(std::uint64_t proven, std::span<const std::byte> mirrored = {},
                         FrameKind kind = FrameKind::names);
  error_code sync_file() noexcept;

  Storage& storage_;
  const EngineOptions options_;
  LogFiles& files_;
  std::unique_ptr<StorageLock> lock_;
  std::vector<LogLoss> losses_;
  bool read_only_ = false;
  bool sealed_ = false;  // the last segment is; the next could not begin yet
  std::uint64_t next_serial_ = 1;
  std::uint64_t quarantined_ = 0;
  std::unique_ptr<File> hint_;  // for tools that look on
  GroupsPlace groups_;
  bool snapshot_tried_ = false;  // in this segment

  // The last segment.
  SegmentRef segment_;
  std::unique_ptr<File> file_;
  SegmentHeader header_;
  WritePlace place_;
  std::uint64_t durable_ = page_bytes;  // up to here
  bool unproven_ = false;  // no mark says so of the last records
  std::uint64_t mirror_place_ = 0;
  Names names_;
  std::vector<std::byte> fresh_names_;  // which no batch has written yet
  std::uint64_t indexed_ = 0;  // strides that the index has an entry for
  std::uint32_t latest_time_ = 0;  // of its records, in `time_unit_ns`
  BatchEncoder encoder_;
  struct BatchIds {
    std::uint16_t topic;
    std::uint16_t principal;
    std::uint16_t schema;
  };
  std::vector<IndexEntry> pending_index_;  // of the batch
  std::vector<BatchIds> ids_;  // of the batch
  std::vector<std::byte> mirror_copy_;
};

}  // namespace bus::detail
