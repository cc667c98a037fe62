// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A log seen by a process that does not write it.
#include <bus/persistence/group.hpp>
#include <bus/persistence/log.hpp>

#include "persistence/commit_hint.hpp"
#include "persistence/group_replay.hpp"
#include "persistence/log_reader.hpp"
#include "persistence/loss_ledger.hpp"
#include "persistence/recovery.hpp"
#include "persistence/scrub.hpp"

#include <algorithm>
#include <chrono>
#include <mutex>
#include <new>
#include <thread>
#include <tuple>
#include <utility>

namespace bus {
namespace detail {

class SnapshotCore final : public ReadSource {
 public:
  explicit SnapshotCore(std::unique_ptr<Storage> storage) : storage_(std::move(storage)) {}

  error_code open() {
    if (const error_code error = refresh()) return error;
    if (segments_.size() == 0) {
      return {boost::system::errc::no_such_file_or_directory, boost::system::system_category()};
    }
    // Any segment says whose log it is.
    const auto segments = segments_.all();
    for (auto segment = segments.rbegin(); segment != segments.rend(); ++segment) {
      const auto header = header_of(**segment);
      if (!header && header.error() == errc::log_version_unsupported) return header.error();
      if (!header) continue;
      log_id_ = header->log_id;
      break;
    }
    return {};
  }

  /// Looks at the directory, and at how far the last segment is committed.
  error_code refresh() noexcept try {
    const std::lock_guard lock(refresh_mutex_);
    // A segment may roll in between: then the hint is of one that is not in the list yet.
    for (int attempt = 0;; ++attempt) {
      has_writer_ = is_locked();
      const auto hint = has_writer_ ? read_hint(*storage_) : std::nullopt;
      std::vector<SegmentRef> listed;
      if (const error_code error = list(listed)) return error;
      if (listed.empty()) return {};
      Segment& last = *listed.back();
      if (hint && hint->serial > last.name.serial && attempt < 10) continue;
      segments_.take_over(listed);
      show(*segments_.last(), hint);
      return {};
    }
  } catch (const std::bad_alloc&) {
    return errc::out_of_memory;
  }

  bool has_writer() const noexcept { return has_writer_; }

  result<SegmentHeader> header_of(const Segment& segment) {
    const auto file = storage_->open(name_of(segment), Storage::Open::existing_to_read);
    if (!file) return file.error();
    return read_header(**file);
  }

  result<std::vector<LogSnapshot::Segment>> describe() {
    std::vector<LogSnapshot::Segment> described;
    const auto segments = segments_.all();
    for (std::size_t i = 0; i < segments.size(); ++i) {
      const Segment& segment = *segments[i];
      LogSnapshot::Segment& out = described.emplace_back();
      const bool last = i + 1 == segments.size();
      out.name = name_of(segment);
      out.base_offset = segment.name.base_offset;
      out.records = (last ? segments_.committed() : segments[i + 1]->name.base_offset) - out.base_offset;
      out.bytes = segment.file_bytes;
      out.used_bytes = last ? segment.end.load(std::memory_order_relaxed) : segment.file_bytes;
      const auto file = storage_->open(out.name, Storage::Open::existing_to_read);
      if (!file) continue;
      const auto header = read_header(**file);
      if (!header) continue;
      out.created =
          std::chrono::system_clock::time_point(std::chrono::duration_cast<std::chrono::system_clock::duration>(
              std::chrono::nanoseconds(header->created_ns)));
      Window window(**file);
      Names names;
      if (const auto mirror = read_mirror(window, *header, names); mirror.footer) {
        out.sealed = true;
        out.used_bytes = mirror.footer->footer.end;
      }
    }
    return described;
  }

  LossReport losses() const { return losses_.report(); }

  result<GroupState> groups() {
    constexpr int most_attempts = 10;
    for (int attempt = 0; attempt < most_attempts; ++attempt) {
      const auto segments = segments_.all();
      const GroupsPlace place = find_groups_place(*storage_, segments);
      auto now = replay_groups(*storage_, segments, place);
      if (!now) return now.error();
      // The oldest go first, and by their names: if the first that was needed is there, all were while they were read.
      const auto first = std::ranges::find_if(
          segments, [&](const SegmentRef& segment) { return segment->name.serial >= place.serial; });
      if (first == segments.end() || is_there(**first)) return std::move(now->groups);
      if (const error_code error = refresh()) return error;
    }
    return error_code(boost::system::errc::resource_unavailable_try_again, boost::system::system_category());
  }

  // --- ReadSource. ---
  Storage& storage() noexcept override { return *storage_; }
  SegmentList& segments() noexcept override { return segments_; }
  const LogId& log_id() const noexcept override { return log_id_; }
  void look_for_segments() noexcept override { (void)refresh(); }
  void found_missing(LogLoss&& loss) noexcept override try { (void)losses_.add(loss); } catch (const std::bad_alloc&) {
    // Whoever found it is told all the same.
  }
  ReadOutcome wait_for(std::uint64_t, const std::chrono::steady_clock::time_point*) noexcept override {
    return ReadOutcome::timed_out;  // nobody tells: see `LogSnapshot::refresh`
  }
  bool is_closed() const noexcept override { return true; }
  const std::shared_ptr<MemoryBudget>& memory() noexcept override { return memory_; }

 private:
  static std::string name_of(const Segment& segment) {
    return segment_name(segment.name.base_offset, segment.name.serial);
  }

  bool is_there(const Segment& segment) {
    const auto file = storage_->open(name_of(segment), Storage::Open::existing_to_read);
    return file || file.error() != boost::system::errc::no_such_file_or_directory;
  }

  /// Whether a writer has it open, or that cannot be known: nothing is judged then.
  bool is_locked() noexcept { return storage_->check_lock("LOCK").failed(); }

  error_code list(std::vector<SegmentRef>& listed) {
    const auto files = storage_->list();
    if (!files) return files.error();
    for (const std::string& file : *files) {
      const auto name = parse_segment_name(file);
      if (!name) continue;
      auto segment = std::make_shared<Segment>();
      segment->name = *name;
      const auto opened = storage_->open(file, Storage::Open::existing_to_read);
      if (opened) segment->file_bytes = size_or(**opened, 0);
      segment->end.store(segment->file_bytes, std::memory_order_relaxed);
      listed.push_back(std::move(segment));
    }
    std::ranges::sort(listed, {}, [](const SegmentRef& segment) { return segment->name.serial; });
    return {};
  }

  /// Shows readers what is committed.
  void show(Segment& last, const std::optional<CommitHint>& hint) {
    for (const SegmentRef& segment : segments_.all()) {
      if (segment.get() != &last) segment->end.store(segment->file_bytes, std::memory_order_release);
    }
    if (hint && hint->serial == last.name.serial) {
      last.end.store(hint->end, std::memory_order_release);
      segments_.set_committed(hint->next_offset);
      return;
    }
    // No writer says so: what a writer would find when it opens the log.
    std::uint64_t end = page_bytes;
    std::uint64_t next = last.name.base_offset;
    const auto file = storage_->open(name_of(last), Storage::Open::existing_to_read);
    const auto header = file ? read_header(**file) : result<SegmentHeader>(file.error());
    if (header && header->serial == last.name.serial && header->base_offset == next) {
      Window window(**file);
      const SegmentState state = examine_segment(window, *header);
      // Beside a writer what it has not proven yet may be half written.
      end = has_writer_ ? std::min(state.proven, state.end) : state.end;
      next += has_writer_ ? records_up_to(window, *header, end) : state.next_record;
      if (!has_writer_) {
        for (const JudgedRegion& one : state.damage) found_missing(loss_of(name_of(last), *header, one));
      }
    }
    last.end.store(end, std::memory_order_release);
    segments_.set_committed(next);
  }

  static std::uint32_t records_up_to(Window& window, const SegmentHeader& header, std::uint64_t end) {
    FrameScanner scanner(window, header, page_bytes, end);
    while (scanner.next() != FrameScanner::Found::end) {
    }
    return scanner.next_record();
  }

  const std::unique_ptr<Storage> storage_;
  const std::shared_ptr<MemoryBudget> memory_ = std::make_shared<MemoryBudget>(std::nullopt);
  LogId log_id_{};
  SegmentList segments_;
  std::mutex refresh_mutex_;
  std::atomic<bool> has_writer_{false};
  LossLedger losses_;
};

}  // namespace detail

result<LogSnapshot> LogSnapshot::open(const std::filesystem::path& directory) noexcept try {
  std::error_code error;
  if (!std::filesystem::is_directory(directory, error)) {
    if (error) return error_code(error.value(), boost::system::system_category());
    return error_code(boost::system::errc::not_a_directory, boost::system::system_category());
  }
  auto storage = open_directory(directory);
  if (!storage) return storage.error();
  return open(std::move(*storage));
} catch (const std::bad_alloc&) {
  return make_error_code(errc::out_of_memory);
}

result<LogSnapshot> LogSnapshot::open(std::unique_ptr<Storage> storage) noexcept try {
  auto core = std::make_unique<detail::SnapshotCore>(std::move(storage));
  if (const error_code error = core->open()) return error;
  return LogSnapshot(std::move(core));
} catch (const std::bad_alloc&) {
  return make_error_code(errc::out_of_memory);
}

LogSnapshot::LogSnapshot(std::unique_ptr<detail::SnapshotCore> core) noexcept : core_(std::move(core)) {}
LogSnapshot::LogSnapshot(LogSnapshot&&) noexcept = default;
LogSnapshot& LogSnapshot::operator=(LogSnapshot&&) noexcept = default;
LogSnapshot::~LogSnapshot() = default;

result<LogReader> LogSnapshot::read(const ReadOptions& options) noexcept {
  auto reader = detail::ReaderCore::make(*core_, options);
  if (!reader) return reader.error();
  return LogReader(std::move(*reader));
}

result<LossReport> LogSnapshot::scrub(const ScrubOptions& options) noexcept try {
  const auto pause = [](std::chrono::steady_clock::time_point until) {
    std::this_thread::sleep_until(until);
    return false;
  };
  if (const error_code error = detail::scrub_segments(*core_, options, pause)) return error;
  return core_->losses();
} catch (const std::bad_alloc&) {
  return make_error_code(errc::out_of_memory);
}

error_code LogSnapshot::refresh() noexcept { return core_->refresh(); }
std::uint64_t LogSnapshot::first_offset() const noexcept { return core_->segments().first_offset(); }
std::uint64_t LogSnapshot::next_offset() const noexcept { return core_->segments().committed(); }
bool LogSnapshot::has_writer() const noexcept { return core_->has_writer(); }
result<std::vector<LogSnapshot::Segment>> LogSnapshot::segments() { return core_->describe(); }
LossReport LogSnapshot::losses() const { return core_->losses(); }

result<std::vector<GroupPosition>> LogSnapshot::groups() noexcept try {
  auto state = core_->groups();
  if (!state) return state.error();
  std::vector<GroupPosition> positions;
  for (auto& [id, queue] : state->queues) {
    positions.push_back(GroupPosition(std::make_shared<const detail::QueueState>(std::move(queue))));
  }
  std::ranges::sort(positions, {}, [](const GroupPosition& one) { return std::tie(one.group(), one.member()); });
  return positions;
} catch (const std::bad_alloc&) {
  return make_error_code(errc::out_of_memory);
}

}  // namespace bus
