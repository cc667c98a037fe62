// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Reads along a log: across segments, over damage, past what retention has dropped, and on with what is committed
// meanwhile.
#pragma once

#include "persistence/block.hpp"
#include "persistence/frame_scanner.hpp"
#include "persistence/memory_budget.hpp"
#include "persistence/segment_file.hpp"
#include "persistence/segment_list.hpp"
#include "persistence/window.hpp"

#include <bus/persistence/log.hpp>
#include <bus/persistence/storage.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace bus::detail {

/// What a reader needs of the log it reads.
class ReadSource {
 public:
  virtual Storage& storage() noexcept = 0;
  virtual SegmentList& segments() noexcept = 0;
  virtual const LogId& log_id() const noexcept = 0;

  /// A segment is not as it was listed: another process may have dropped it.
  virtual void look_for_segments() noexcept = 0;

  /// A reader came upon damage that is not known to it to have been told.
  virtual void found_missing(LogLoss&& loss) noexcept = 0;

  /// Blocks until something behind `offset` is committed, the log is closed, or the deadline has passed.
  virtual ReadOutcome wait_for(std::uint64_t offset,
                               const std::chrono::steady_clock::time_point* deadline) noexcept = 0;
  virtual bool is_closed() const noexcept = 0;

  /// What readers take memory from.
  virtual const std::shared_ptr<MemoryBudget>& memory() noexcept = 0;

 protected:
  ~ReadSource() = default;
};

/// Threads: one at a time, beside a log that goes on. The source must outlive its use, and may go before it does.
class ReaderCore {
 public:
  /// Errors: invalid_argument; those of the storage; out_of_memory.
  static result<std::unique_ptr<ReaderCore>> make(ReadSource& source, const ReadOptions& options) noexcept;
  ~ReaderCore();

  result<ReadResult> next() noexcept;
  /// The same, for who must not be long: goes over so many frames at most, and takes them from `steps`. Returns:
  /// nothing if that was not enough.
  result<std::optional<ReadResult>> next_within(std::size_t& steps) noexcept;
  result<ReadResult> wait_next(const std::chrono::steady_clock::time_point* deadline) noexcept;

  const RecordView& record() const noexcept { return *current_; }
  std::uint64_t offset() const noexcept { return next_; }
  Cursor cursor() const noexcept;

 private:
  ReaderCore(ReadSource& source, const ReadOptions& options);
  error_code begin();
  error_code seek_time(std::chrono::system_clock::time_point time);

  std::optional<ReadResult> step();
  error_code enter(const SegmentList::Place& place);
  void begin_scan(std::uint64_t limit);
  bool grow() noexcept;
  std::optional<ReadResult> leave();
  std::optional<ReadResult> skip_to(std::uint64_t offset);
  enum class Taken { told, passed_over, unreadable };
  Taken take(const FoundFrame& frame);
  Taken take_tagged(const FoundFrame& frame);
  std::int64_t time_of(const FoundFrame& frame) const noexcept;
  bool is_wanted(const FoundFrame& frame, std::int64_t latest_ns, std::string_view topic);
  RecordView& make_current();
  void begin_again() noexcept;
  bool was_dropped(const SegmentRef& segment);
  bool still_there();
  bool wanted(std::uint16_t topic, std::string_view text);
  template <class Find>
  auto find_name(Find&& find) -> decltype(find(std::declval<const Names&>()));
  std::optional<std::string_view> name(std::uint16_t id, bool of_topic, std::string_view inline_text);
  void note_missing(std::uint64_t first, std::uint64_t end_offset) noexcept;

  ReadSource& source_;
  const std::shared_ptr<MemoryBudget> memory_;
  const std::size_t block_bytes_;
  const bool took_memory_;
  const std::vector<TopicPattern> patterns_;
  const From from_;
  std::uint64_t next_ = 0;
  std::int64_t from_time_ns_ = 0;   // records in front of it are skipped; 0: none
  error_code error_;

  // The segment that is being read.
  SegmentRef segment_;
  std::unique_ptr<File> file_;
  std::unique_ptr<Window> window_;
  SegmentHeader header_;
  std::optional<FrameScanner> scanner_;
  std::shared_ptr<Names> names_;
  std::vector<IndexEntry> index_;
  std::vector<signed char> wanted_;  // of topic ids: 1 yes, -1 no, 0 not known yet
  bool all_names_ = false;           // also those that only stand among the frames
  bool footer_seen_ = false;
  std::uint64_t limit_ = 0;  // of the scanner
  DamagedRegion damage_;  // the latest
  bool damaged_ = false;

  bool held_back_ = false;  // the record has been read, and is to be told
  RecordView view_;
  RecordView unpacked_;
  const RecordView* current_ = &view_;
};

}  // namespace bus::detail
