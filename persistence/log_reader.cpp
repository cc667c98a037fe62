// SPDX-License-Identifier: MIT OR Apache-2.0
#include "persistence/log_reader.hpp"

#include "persistence/nanoseconds.hpp"
#include "persistence/record_body.hpp"

#include <algorithm>
#include <chrono>
#include <limits>
#include <new>
#include <utility>

namespace bus::detail {
namespace {

constexpr std::size_t min_block_bytes = 4096;
constexpr std::size_t max_block_bytes = std::size_t{64} << 20;

/// The view of the reader and the window hold the block besides those who have copied the view.
constexpr std::uint32_t own_references = 2;

}  // namespace

result<std::unique_ptr<ReaderCore>> ReaderCore::make(ReadSource& source, const ReadOptions& options) noexcept try {
  if (options.block_bytes < min_block_bytes || options.block_bytes > max_block_bytes) {
    return make_error_code(boost::system::errc::invalid_argument);
  }
  std::unique_ptr<ReaderCore> reader(new ReaderCore(source, options));
  if (!reader->took_memory_) return make_error_code(errc::out_of_memory);
  if (const error_code error = reader->begin()) return error;
  return reader;
} catch (const std::bad_alloc&) {
  return make_error_code(errc::out_of_memory);
}

ReaderCore::ReaderCore(ReadSource& source, const ReadOptions& options)
    : source_(source),
      memory_(source.memory()),
      block_bytes_(options.block_bytes),
      took_memory_(memory_->take(options.block_bytes)),
      patterns_(options.patterns),
      from_(options.from) {}

ReaderCore::~ReaderCore() {
  if (took_memory_) memory_->give(block_bytes_);
}

error_code ReaderCore::begin() {
  if (const auto* const offset = std::get_if<std::uint64_t>(&from_.place_)) {
    next_ = *offset;
  } else if (std::holds_alternative<From::Oldest>(from_.place_)) {
    next_ = source_.segments().first_offset();
  } else if (std::holds_alternative<From::Next>(from_.place_)) {
    next_ = source_.segments().committed();
  } else if (const auto* const cursor = std::get_if<Cursor>(&from_.place_)) {
    if (*cursor != Cursor() && cursor->log_ != source_.log_id()) {
      return make_error_code(boost::system::errc::invalid_argument);
    }
    next_ = *cursor == Cursor() ? source_.segments().first_offset() : cursor->offset_;
  } else {
    return seek_time(std::get<std::chrono::system_clock::time_point>(from_.place_));
  }
  return {};
}

/// Begins with the last segment that was made in front of that time, where its index says.
error_code ReaderCore::seek_time(std::chrono::system_clock::time_point time) {
  const std::int64_t wanted_ns = std::max<std::int64_t>(in_ns(time), 0);
  const auto segments = source_.segments().all();
  for (std::size_t i = segments.size(); i-- > 0;) {
    next_ = segments[i]->name.base_offset;
    if (enter(source_.segments().find(next_))) continue;  // a segment that cannot be read is told when it is
    if (!scanner_ || (header_.created_ns > wanted_ns && i != 0)) continue;
    const std::int64_t units = (wanted_ns - header_.created_ns) / time_unit_ns;
    // Times in the index only rise: up to the last entry in front of that time all are earlier.
    for (const IndexEntry& entry : index_) {
      if (std::int64_t{entry.time} >= units) break;
      next_ = header_.base_offset + entry.number;
    }
    break;
  }
  segment_.reset();
  scanner_.reset();
  from_time_ns_ = std::max<std::int64_t>(wanted_ns, 1);
  return {};
}

Cursor ReaderCore::cursor() const noexcept {
  Cursor cursor;
  cursor.log_ = source_.log_id();
  cursor.offset_ = next_;
  return cursor;
}

// --- Going on. ---

result<ReadResult> ReaderCore::next() noexcept {
  std::size_t steps = std::numeric_limits<std::size_t>::max();
  const auto found = next_within(steps);
  if (!found) return found.error();
  return **found;
}

result<std::optional<ReadResult>> ReaderCore::next_within(std::size_t& steps) noexcept try {
  for (; steps != 0; --steps) {
    if (const auto found = step()) {
      --steps;
      return found;
    }
    if (!error_) continue;
    begin_again();
    return std::exchange(error_, error_code());
  }
  return std::optional<ReadResult>();
} catch (const std::bad_alloc&) {
  begin_again();
  return make_error_code(errc::out_of_memory);
}

/// The next step enters the segment anew, in front of what has not been told yet.
void ReaderCore::begin_again() noexcept {
  segment_.reset();
  scanner_.reset();
  held_back_ = false;
}

result<ReadResult> ReaderCore::wait_next(const std::chrono::steady_clock::time_point* deadline) noexcept {
  for (;;) {
    const bool closed = source_.is_closed();  // in front of the last look
    const auto found = next();
    if (!found || found->outcome() != ReadOutcome::end) return found;
    if (closed) return ReadResult(ReadOutcome::closed);
    if (source_.wait_for(next_, deadline) == ReadOutcome::timed_out) return ReadResult(ReadOutcome::timed_out);
  }
}

/// Goes one frame on. Returns: nothing if that was none to tell of, or `error_` is set.
std::optional<ReadResult> ReaderCore::step() {
  if (held_back_) {
    held_back_ = false;
    ++next_;
    return ReadResult(ReadOutcome::record);
  }
  if (segment_ == nullptr) {
    if (next_ >= source_.segments().committed()) return ReadResult(ReadOutcome::end);
    const auto place = source_.segments().find(next_);
    if (place.segment->name.base_offset > next_) {
      const std::uint64_t overrun = place.segment->name.base_offset - next_;
      next_ = place.segment->name.base_offset;
      return ReadResult(ReadOutcome::overrun, overrun);
    }
    error_ = enter(place);
    return std::nullopt;
  }
  const auto found = scanner_ && !footer_seen_ ? scanner_->next() : FrameScanner::Found::end;
  if (found == FrameScanner::Found::frame) {
    const FoundFrame& frame = scanner_->frame();
    if (is_record(frame.head.kind)) {
      const std::uint64_t offset = header_.base_offset + frame.head.number;
      if (offset < next_) return std::nullopt;
      switch (take(frame)) {
        case Taken::unreadable: return std::nullopt;  // as if it were not there
        case Taken::passed_over: {
          const auto gap = skip_to(offset);
          if (next_ == offset) ++next_;
          return gap;
        }
        case Taken::told: break;
      }
      if (offset == next_) {
        ++next_;
        return ReadResult(ReadOutcome::record);
      }
      held_back_ = true;
      return skip_to(offset);
    }
    if (frame.head.kind == FrameKind::names) names_->add(frame.body);
    footer_seen_ = frame.head.kind == FrameKind::footer;
    return std::nullopt;
  }
  if (found == FrameScanner::Found::damage) {  // the next record says what is missing
    damage_ = scanner_->damage();
    damaged_ = true;
    return std::nullopt;
  }
  return leave();
}

/// At the end of what may be read of the segment.
std::optional<ReadResult> ReaderCore::leave() {
  const std::uint64_t committed = source_.segments().committed();  // in front of SEGMENT-END
  const SegmentRef behind = source_.segments().behind(segment_->name.serial);
  if (scanner_ && !footer_seen_ && grow()) return std::nullopt;
  if (behind == nullptr) {
    if (next_ >= committed) return ReadResult(ReadOutcome::end);
    return skip_to(committed);  // what is missing at its end
  }
  const std::uint64_t end = behind->name.base_offset;
  // What retention has dropped in between is no damage: the next step tells it.
  const bool is_overrun = source_.segments().first_offset() > next_;
  const auto gap = next_ < end && !is_overrun ? skip_to(end) : std::nullopt;
  segment_.reset();
  scanner_.reset();
  return gap;
}

/// Whether more has been committed to the segment since it was looked at.
bool ReaderCore::grow() noexcept {
  const std::uint64_t limit = std::min(segment_->end.load(std::memory_order_acquire), header_.mirror);
  if (limit <= limit_) return false;
  limit_ = limit;
  scanner_->extend(limit);
  window_->set_end(limit);
  return true;
}

/// Returns: what is missing in front of `offset`.
std::optional<ReadResult> ReaderCore::skip_to(std::uint64_t offset) {
  if (offset <= next_) return std::nullopt;
  if (segment_ != nullptr && !still_there()) {
    segment_.reset();  // the next step says by how much it was overrun
    scanner_.reset();
    held_back_ = false;
    return std::nullopt;
  }
  const std::uint64_t count = offset - next_;
  note_missing(next_, offset);
  next_ = offset;
  return ReadResult(ReadOutcome::lost, count);
}

void ReaderCore::note_missing(std::uint64_t first, std::uint64_t end_offset) noexcept try {
  constexpr std::string_view reason = "found while reading";
  LogLoss loss{.first_offset = first, .records = end_offset - first, .reason = std::string(reason)};
  if (segment_ != nullptr && !scanner_) {
    loss = loss_of(*segment_, first, end_offset, reason);
  } else if (segment_ != nullptr) {
    loss.segment = segment_name(segment_->name.base_offset, segment_->name.serial);
    if (damaged_) {
      loss.begin = damage_.begin;
      loss.end = damage_.end;
    }
  }
  damaged_ = false;
  source_.found_missing(std::move(loss));
} catch (const std::bad_alloc&) {
  // It is told to the caller all the same.
}

// --- A segment. ---

/// Begins to read a segment. One whose header is gone, or is that of another, has nothing to read.
error_code ReaderCore::enter(const SegmentList::Place& place) {
  scanner_.reset();
  footer_seen_ = all_names_ = damaged_ = false;
  const SegmentName& name = place.segment->name;
  auto file = source_.storage().open(segment_name(name.base_offset, name.serial), Storage::Open::existing_to_read);
  if (!file) {
    if (file.error() != boost::system::errc::no_such_file_or_directory) return file.error();
    if (!was_dropped(place.segment)) segment_ = place.segment;  // its records are missing
    return {};
  }
  file_ = std::move(*file);
  view_ = {};
  window_ = std::make_unique<Window>(*file_, block_bytes_, own_references);
  names_ = std::make_shared<Names>();
  wanted_.clear();
  index_.clear();
  segment_ = place.segment;
  const auto header = read_header(*file_);
  if (!header && header.error() == errc::log_version_unsupported) return header.error();
  if (!header || header->base_offset != name.base_offset || header->serial != name.serial ||
      header->log_id != source_.log_id()) {
    if (was_dropped(place.segment)) segment_ = nullptr;
    return {};
  }
  header_ = *header;
  // Names stand in the mirror, and among the frames: these are looked for only when one is missing.
  auto mirror = read_mirror(*window_, header_, *names_);
  const std::uint64_t end = std::min(segment_->end.load(std::memory_order_acquire), header_.mirror);
  index_ = mirror.footer ? std::move(mirror.footer->index) : place.index;
  begin_scan(mirror.footer ? std::min(mirror.footer->footer.end, end) : end);
  return {};
}

/// Whether the segment's file is gone, or used for another, because its records were dropped.
bool ReaderCore::was_dropped(const SegmentRef& segment) {
  source_.look_for_segments();
  return source_.segments().first_offset() > segment->name.base_offset;
}

/// Whether the file that is being read still has the segment's life; where another process writes, it may not.
bool ReaderCore::still_there() {
  if (!scanner_) return true;
  const auto header = read_header(*file_);
  return !header || *header == header_ || !was_dropped(segment_);
}

/// At the last record that the index knows in front of the one that is looked for.
void ReaderCore::begin_scan(std::uint64_t limit) {
  limit_ = limit;
  window_->set_end(limit);
  const IndexEntry* start = nullptr;
  for (const IndexEntry& entry : index_) {
    if (header_.base_offset + entry.number > next_) break;
    start = &entry;
  }
  const std::uint64_t position = start != nullptr ? std::uint64_t{start->position} * frame_alignment : 0;
  if (position <= page_bytes || position >= limit) {
    scanner_.emplace(*window_, header_, page_bytes, limit);
  } else {
    scanner_.emplace(FrameScanner::from_record(*window_, header_, position, limit, start->number));
  }
}

/// What an id stands for. Returns: nothing if that is gone.
template <class Find>
auto ReaderCore::find_name(Find&& find) -> decltype(find(std::declval<const Names&>())) {
  auto found = find(std::as_const(*names_));
  if (found || all_names_) return found;
  // The mirror has lost it. It stands among the frames too, in front of where this reader may have begun.
  all_names_ = true;
  Window window(*file_);
  read_names(window, header_, limit_, *names_);
  return find(std::as_const(*names_));
}

std::optional<std::string_view> ReaderCore::name(std::uint16_t id, bool of_topic, std::string_view inline_text) {
  if (id == no_name) return std::string_view();
  if (id == inline_name) return inline_text;
  return find_name([&](const Names& names) { return of_topic ? names.topic(id) : names.principal(id); });
}

bool ReaderCore::wanted(std::uint16_t topic, std::string_view text) {
  const auto matches = [&] {
    return std::ranges::any_of(patterns_, [&](const TopicPattern& p) { return topic_matches(p.view(), text); });
  };
  if (topic == no_name || topic == inline_name) return matches();
  if (wanted_.size() <= topic) wanted_.resize(std::size_t{topic} + 1);
  signed char& known = wanted_[topic];
  if (known == 0) known = matches() ? 1 : -1;
  return known > 0;
}

/// Makes the record the current one. One whose name is gone, or whose fields make no sense, is as good as lost.
ReaderCore::Taken ReaderCore::take(const FoundFrame& frame) {
  if (frame.head.kind == FrameKind::tagged_record) return take_tagged(frame);
  const auto topic = name(frame.head.topic, true, {});
  const auto principal = name(frame.head.principal, false, {});
  if (!topic || !principal) return Taken::unreadable;
  const std::int64_t time_ns = time_of(frame);
  if (!is_wanted(frame, time_ns + time_unit_ns - 1, *topic)) return Taken::passed_over;
  RecordAccess::set(make_current(), header_.base_offset + frame.head.number, *topic, *principal, time_ns, {},
                    frame.body);
  return Taken::told;
}

ReaderCore::Taken ReaderCore::take_tagged(const FoundFrame& frame) {
  auto payload = frame.body;
  const auto decoded = decode_fields(payload);
  if (!decoded) {
    if (decoded.error() == errc::log_version_unsupported) error_ = decoded.error();
    return Taken::unreadable;
  }
  RecordFields fields = *decoded;
  auto fields_bytes = frame.body.first(frame.body.size() - payload.size());
  const auto topic = name(frame.head.topic, true, fields.topic);
  const auto principal = name(frame.head.principal, false, fields.principal);
  std::optional<Names::Schema> schema;
  if (!fields.schema_name.empty()) schema = Names::Schema{fields.schema_version, fields.schema_name};
  if (fields.schema != no_name) {
    schema = find_name([&](const Names& names) { return names.schema(fields.schema); });
    if (!schema) return Taken::unreadable;
  }
  if (!topic || !principal || !digest_holds(fields, payload)) return Taken::unreadable;
  const std::int64_t time_ns = fields.time_ns.value_or(time_of(frame));
  const std::int64_t latest_ns = fields.time_ns ? time_ns : time_ns + time_unit_ns - 1;
  if (!is_wanted(frame, latest_ns, *topic)) return Taken::passed_over;
  RecordView* view = &make_current();
  if (fields.lz4_bytes) {
    // In a block of its own, with the fields, which go with it.
    const BlockRef own(new Block(fields_bytes.size() + *fields.lz4_bytes));
    const std::span copy(own->data(), own->room());
    std::ranges::copy(fields_bytes, copy.begin());
    const auto out = copy.subspan(fields_bytes.size());
    if (!decompress(payload, out)) return Taken::unreadable;
    own->segment = segment_;
    own->names = names_;
    std::span<const std::byte> rest = copy;
    fields = decode_fields(rest).value();
    if (schema && fields.schema == no_name) schema->name = fields.schema_name;
    fields_bytes = copy.first(fields_bytes.size());
    payload = out;
    RecordAccess::set_block(unpacked_, own);
    current_ = view = &unpacked_;
  }
  RecordAccess::set(
      *view, header_.base_offset + frame.head.number, frame.head.topic == inline_name ? fields.topic : *topic,
      frame.head.principal == inline_name ? fields.principal : *principal, time_ns, fields_bytes, payload);
  if (schema) RecordAccess::set_schema(*view, schema->name, schema->version);
  return Taken::told;
}

std::int64_t ReaderCore::time_of(const FoundFrame& frame) const noexcept {
  return header_.created_ns + std::int64_t{frame.head.time} * time_unit_ns;
}

/// Whether somebody asked for it. A time that is rounded down is taken for the latest that it may have been.
bool ReaderCore::is_wanted(const FoundFrame& frame, std::int64_t latest_ns, std::string_view topic) {
  if (from_time_ns_ != 0) {
    if (latest_ns < from_time_ns_) return false;
    from_time_ns_ = 0;
  }
  return patterns_.empty() || wanted(frame.head.topic, topic);
}

/// The view of the block that was read last.
RecordView& ReaderCore::make_current() {
  const BlockRef& block = window_->block();
  if (!RecordAccess::holds(view_, block.get())) {
    block->segment = segment_;
    block->names = names_;
    RecordAccess::set_block(view_, block);
  }
  current_ = &view_;
  return view_;
}

}  // namespace bus::detail

namespace bus {

std::string_view to_string(ReadOutcome outcome) noexcept {
  switch (outcome) {
    case ReadOutcome::record: return "record";
    case ReadOutcome::lost: return "lost";
    case ReadOutcome::overrun: return "overrun";
    case ReadOutcome::end: return "end";
    case ReadOutcome::timed_out: return "timed_out";
    case ReadOutcome::closed: break;
  }
  return "closed";
}

LogReader::LogReader(std::unique_ptr<detail::ReaderCore> core) noexcept : core_(std::move(core)) {}
LogReader::LogReader(LogReader&&) noexcept = default;
LogReader& LogReader::operator=(LogReader&&) noexcept = default;
LogReader::~LogReader() = default;

result<ReadResult> LogReader::next() noexcept { return core_->next(); }
result<ReadResult> LogReader::wait_next() noexcept { return core_->wait_next(nullptr); }
result<ReadResult> LogReader::wait_next_until(std::chrono::steady_clock::time_point deadline) noexcept {
  return core_->wait_next(&deadline);
}
const RecordView& LogReader::record() const noexcept { return core_->record(); }
std::uint64_t LogReader::offset() const noexcept { return core_->offset(); }
Cursor LogReader::cursor() const noexcept { return core_->cursor(); }

}  // namespace bus
