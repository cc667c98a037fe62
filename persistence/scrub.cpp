// SPDX-License-Identifier: MIT OR Apache-2.0
#include "persistence/scrub.hpp"

#include <boost/system/errc.hpp>

#include <algorithm>
#include <chrono>
#include <utility>

namespace bus::detail {
namespace {

class Scrub {
 public:
  Scrub(ReadSource& source, const ScrubOptions& options, const ScrubPause& pause)
      : source_(source), options_(options), pause_(pause) {}

  error_code run() {
    const std::uint64_t committed = source_.segments().committed();
    const auto segments = source_.segments().all();
    for (const SegmentRef& segment : segments) progress_.total_bytes += end_of(*segment);
    for (std::size_t i = 0; i < segments.size(); ++i) {
      const bool last = i + 1 == segments.size();
      const std::uint64_t end_offset = last ? committed : segments[i + 1]->name.base_offset;
      const std::uint64_t begin = progress_.bytes;
      if (const error_code error = check(*segments[i], end_offset)) return error;
      progress_.bytes = begin + end_of(*segments[i]);
      if (!go_on()) return canceled();
    }
    return {};
  }

 private:
  static constexpr std::uint64_t step_bytes = std::uint64_t{256} << 10;

  static error_code canceled() noexcept {
    return {boost::system::errc::operation_canceled, boost::system::system_category()};
  }
  static std::uint64_t end_of(const Segment& segment) noexcept {
    return std::min(segment.end.load(std::memory_order_acquire), segment.file_bytes);
  }
  /// Keeps to the rate. Returns: whether to go on.
  bool go_on() const {
    auto due = begin_;
    if (options_.bytes_per_second != 0) {
      const double seconds = static_cast<double>(progress_.bytes) / static_cast<double>(options_.bytes_per_second);
      due += std::chrono::nanoseconds(static_cast<std::int64_t>(seconds * 1e9));
    }
    return !pause_(due) && (!options_.on_progress || options_.on_progress(progress_));
  }

  void tell(const std::string& name, std::uint64_t begin, std::uint64_t end, std::uint64_t offset,
            std::uint64_t records, const char* reason) {
    source_.found_missing(
        {.segment = name, .begin = begin, .end = end, .first_offset = offset, .records = records, .reason = reason});
  }

  error_code check(const Segment& segment, std::uint64_t end_offset) {
    const std::string name = segment_name(segment.name.base_offset, segment.name.serial);
    const std::uint64_t base = segment.name.base_offset;
    const auto dropped = [&] {
      source_.look_for_segments();
      return source_.segments().first_offset() > base;
    };
    const auto file = source_.storage().open(name, Storage::Open::existing_to_read);
    if (!file && file.error() != boost::system::errc::no_such_file_or_directory) return file.error();
    if (!file) {
      if (!dropped()) source_.found_missing(loss_of(segment, base, end_offset, "the segment's file is missing"));
      return {};
    }
    const auto header = read_header(**file);
    if (!header && header.error() == errc::log_version_unsupported) return header.error();
    if (!header || header->base_offset != base || header->serial != segment.name.serial ||
        header->log_id != source_.log_id()) {
      if (!dropped()) {
        source_.found_missing(loss_of(segment, base, end_offset, "the file is not the segment that its name says"));
      }
      return {};
    }
    Window window(**file, std::size_t{1} << 20);
    FrameScanner scanner(window, *header, page_bytes, std::min(end_of(segment), header->mirror));
    const std::uint64_t before = progress_.bytes;
    std::uint64_t told = before;
    for (;;) {
      const auto found = scanner.next();
      if (found == FrameScanner::Found::end) break;
      if (found == FrameScanner::Found::damage) {
        const DamagedRegion& damage = scanner.damage();
        if (const auto now = read_header(**file); (!now || *now != *header) && dropped()) return {};
        tell(name, damage.begin, damage.end, base + damage.first_record, damage.records,
             "bytes that were durable are damaged");
        continue;
      }
      if (scanner.frame().head.kind == FrameKind::footer) break;
      progress_.records += is_record(scanner.frame().head.kind) ? 1 : 0;
      progress_.bytes = before + scanner.position();
      if (progress_.bytes - told < step_bytes) continue;
      told = progress_.bytes;
      if (!go_on()) return canceled();
    }
    const std::uint64_t next = base + scanner.next_record();
    if (next < end_offset && !dropped()) {
      tell(name, scanner.position(), header->mirror, next, end_offset - next, "the segment ends before it should");
    }
    return {};
  }

  ReadSource& source_;
  const ScrubOptions& options_;
  const ScrubPause& pause_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  ScrubProgress progress_;
};

}  // namespace

error_code scrub_segments(ReadSource& source, const ScrubOptions& options, const ScrubPause& pause) {
  return Scrub(source, options, pause).run();
}

}  // namespace bus::detail
