// SPDX-License-Identifier: MIT OR Apache-2.0
#include "persistence/log_engine.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <new>
#include <utility>

namespace bus::detail {
namespace {

constexpr std::string_view lock_name = "LOCK";
constexpr std::size_t settle_bytes = std::size_t{64} * 1024;

std::int64_t wall_ns(const Clock& clock) noexcept {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(clock.wall().time_since_epoch()).count();
}

/// What a batch of one record takes besides the record, its names included.
constexpr std::uint64_t overhead_of_batch = 3 * (head_bytes + mark_bytes) + frame_alignment;

/// Room that batches leave for the footer.
constexpr std::uint64_t room_for_footer(std::uint64_t capacity) noexcept {
  return 2 * (head_bytes + mark_bytes) + padded(footer_bytes(capacity / index_stride + 1)) + frame_alignment;
}

std::uint64_t record_bytes(const LogEntry& entry) noexcept {
  return head_bytes + padded(fields_bytes(entry.fields) + entry.payload.size());
}
/// Of an entry whose names have to be written, or stand in its fields.
std::uint64_t most_name_bytes(const LogEntry& entry) noexcept {
  return padded(name_bytes(entry.topic) + name_bytes(entry.principal)) + frame_alignment;
}

/// Whether a batch of these fits between `position` and the mirror, whatever names it has to write.
bool fits(std::span<const LogEntry> entries, std::uint64_t position, std::uint64_t capacity) noexcept {
  std::uint64_t bytes = overhead_of_batch + room_for_footer(capacity);
  for (const LogEntry& entry : entries) bytes += record_bytes(entry) + most_name_bytes(entry);
  const std::uint64_t mirror = mirror_of(capacity);
  return position < mirror && bytes <= mirror - position;
}

}  // namespace

// --- Opening. ---

result<std::unique_ptr<LogEngine>> LogEngine::open(Storage& storage, const EngineOptions& options) noexcept try {
  std::unique_ptr<LogEngine> log(new LogEngine(storage, options));
  auto lock = storage.lock(lock_name);
  if (!lock) {
    if (lock.error() == boost::system::errc::device_or_resource_busy) return make_error_code(errc::log_locked);
    return lock.error();
  }
  log->lock_ = std::move(*lock);
  if (const error_code error = log->open_directory()) return error;
  return log;
} catch (const std::bad_alloc&) {
  return make_error_code(errc::out_of_memory);
}

error_code LogEngine::open_directory() {
  const auto files = storage_.list();
  if (!files) return files.error();
  for (const std::string& file : *files) {
    if (const auto name = parse_segment_name(file)) segments_.push_back(*name);
  }
  std::ranges::sort(segments_, {}, &SegmentName::serial);
  if (const error_code error = remove_unfinished(storage_)) return error;
  if (segments_.empty()) return begin_segment(new_log_id(), 0, 0);
  // A process that was killed may have left a name that is not durable yet.
  if (const error_code error = storage_.sync_names()) return error;
  const SegmentName last = segments_.back();
  auto file = storage_.open(segment_name(last.base_offset, last.serial), Storage::Open::existing);
  if (!file) return file.error();
  const auto header = read_header(**file);
  if (!header && header.error() == errc::log_version_unsupported) return header.error();
  if (!header || header->base_offset != last.base_offset || header->serial != last.serial) return give_up_last();
  header_ = *header;
  file_ = std::move(*file);
  return recover();
}

/// Without its header nothing of the last segment can be read. Its offsets are not given to others.
error_code LogEngine::give_up_last() {
  const SegmentName last = segments_.back();
  const std::string name = segment_name(last.base_offset, last.serial);
  auto file = storage_.open(name, Storage::Open::existing_to_read);
  if (!file) return file.error();
  const auto size = (*file)->size();
  if (!size) return size.error();
  losses_.push_back({.segment = name, .end = *size, .first_offset = last.base_offset, .counted = false});
  return begin_segment(new_log_id(), last.base_offset + *size / head_bytes, 0);
}

LogId LogEngine::new_log_id() noexcept {
  LogId id;
  for (std::size_t i = 0; i < id.size(); i += 8) {
    const std::uint64_t random = storage_.random();
    for (std::size_t byte = 0; byte < 8; ++byte) id[i + byte] = static_cast<std::uint8_t>(random >> 8 * byte);
  }
  return id;
}

error_code LogEngine::recover() {
  Window window(*file_);
  const SegmentState state = examine_segment(window, header_);
  for (const JudgedRegion& one : state.damage) {
    losses_.push_back({.segment = segment_name(header_.base_offset, header_.serial),
                       .begin = one.region.begin,
                       .end = one.region.end,
                       .first_offset = header_.base_offset + one.region.first_record,
                       .records = one.region.records,
                       .verdict = one.verdict,
                       .counted = one.counted,
                       .known = one.known});
  }
  place_ = {state.end, state.next_record, state.next_control};
  mirror_place_ = read_names(window, header_, state.end, names_);
  rebuild_index(window, state.end);
  if (state.footer) {
    sealed_ = true;
    const error_code error = begin_segment(header_.log_id, next_offset(), header_.base_control + place_.next_control);
    return error == boost::system::errc::no_space_on_device ? error_code() : error;  // `commit` tries again
  }
  return settle(window, state);
}

/// What the opening has found is made durable before anybody reads it: it may have come from a cache that had lost it
/// already. What it left out is made blank, so that no later one finds it.
error_code LogEngine::settle(Window& window, const SegmentState& state) {
  for (std::uint64_t at = state.proven; at < state.end;) {
    const auto bytes = window.at(at, static_cast<std::size_t>(std::min<std::uint64_t>(settle_bytes, state.end - at)));
    if (bytes.empty()) break;  // the file is too short, and that has been told
    if (const error_code error = write_at(*file_, at, bytes)) return error;
    at += bytes.size();
  }
  const std::uint64_t blank_end = std::min(std::max(state.dirty_end, state.end + frame_alignment), header_.mirror);
  std::vector<std::byte> blank(settle_bytes);
  for (std::uint64_t at = state.end; at < blank_end;) {
    const auto part =
        std::span(blank).first(static_cast<std::size_t>(std::min<std::uint64_t>(blank.size(), blank_end - at)));
    fill_blank(header_.salt, at, part);
    if (const error_code error = write_at(*file_, at, part)) return error;
    at += part.size();
  }
  if (const error_code error = file_->sync()) return error;

  // A batch of the verdicts; also where there are none to write, so that the mark of one that was cut off is not the
  // last.
  encoder_.begin(header_, place_);
  for (const JudgedRegion& one : state.damage) {
    if (one.known || one.verdict == Verdict::torn) continue;
    std::array<std::byte, verdict_bytes> note;
    const DamagedRegion& region = one.region;
    encode_verdict({region.begin, region.end, region.first_record, region.records, one.verdict}, note);
    encoder_.add(FrameKind::verdict, note);
  }
  const bool news = std::ranges::any_of(state.damage, [](const JudgedRegion& one) { return !one.known; });
  if (!news || encoder_.place().position + room_for_footer(header_.capacity) > header_.mirror) return {};
  // Until the verdicts are durable themselves, nothing in front of them may count as proven: a missing record would be
  // lost then.
  return write_batch(state.proven);
}

error_code LogEngine::begin_segment(const LogId& log_id, std::uint64_t base_offset, std::uint64_t base_control) {
  SegmentHeader header;
  header.log_id = log_id;
  header.serial = segments_.empty() ? 1 : segments_.back().serial + 1;
  header.salt = storage_.random();
  header.base_offset = base_offset;
  header.base_control = base_control;
  header.capacity = options_.segment_bytes;
  header.mirror = mirror_of(header.capacity);
  header.created_ns = wall_ns(*options_.clock);
  segments_.reserve(segments_.size() + 1);
  auto file = create_segment(storage_, header);
  if (!file) return file.error();
  segments_.push_back({base_offset, header.serial});
  file_ = std::move(*file);
  header_ = header;
  place_ = {};
  mirror_place_ = header.mirror;
  names_ = {};
  fresh_names_.clear();
  index_.clear();
  latest_time_ = 0;
  sealed_ = false;
  return {};
}

// --- Writing. ---

error_code LogEngine::commit(std::span<const LogEntry> entries) noexcept try {
  if (read_only_) return errc::log_read_only;
  if (entries.empty()) return {};
  if (!fits(entries, page_bytes, options_.segment_bytes)) return errc::payload_too_large;
  if (sealed_ || !fits(entries, place_.position, header_.capacity)) {
    error_code error = sealed_ ? error_code() : seal();
    if (!error) {
      error = begin_segment(header_.log_id, next_offset(), header_.base_control + place_.next_control);
      if (error == boost::system::errc::no_space_on_device) return error;
    }
    read_only_ = error.failed();
    if (error) return error;
  }
  const error_code error = write(entries);
  read_only_ = error.failed();
  return error;
} catch (const std::bad_alloc&) {
  return errc::out_of_memory;  // nothing has been written: memory is got before
}

error_code LogEngine::write(std::span<const LogEntry> entries) {
  // Names get ids as long as the mirror has room for them.
  std::uint64_t most_names = head_bytes;
  for (const LogEntry& entry : entries) most_names += most_name_bytes(entry);
  const std::uint64_t mirror_end = second_header(header_.capacity) - room_for_footer(header_.capacity);
  const bool by_id = mirror_place_ + most_names + fresh_names_.size() <= mirror_end;
  std::vector<std::pair<std::uint16_t, std::uint16_t>> ids;
  ids.reserve(entries.size());
  for (const LogEntry& entry : entries) {
    const auto topic = by_id || entry.topic.empty() ? names_.topic_id(entry.topic, fresh_names_) : inline_name;
    const auto principal =
        by_id || entry.principal.empty() ? names_.principal_id(entry.principal, fresh_names_) : inline_name;
    ids.emplace_back(topic, principal);
  }

  encoder_.begin(header_, place_);
  if (!fresh_names_.empty()) encoder_.add(FrameKind::names, fresh_names_);
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const LogEntry& entry = entries[i];
    RecordFields fields = entry.fields;
    if (ids[i].first == inline_name) fields.topic = entry.topic;
    if (ids[i].second == inline_name) fields.principal = entry.principal;
    note_in_index(encoder_.place().position, encoder_.place().next_record, frame_time(header_, entry.wall_ns));
    encoder_.add({.topic = ids[i].first,
                  .principal = ids[i].second,
                  .wall_ns = entry.wall_ns,
                  .fields = fields.empty() ? nullptr : &fields,
                  .payload = entry.payload});
  }
  const error_code error = write_batch(place_.position, fresh_names_, FrameKind::names);
  if (!error) fresh_names_.clear();
  return error;
}

void LogEngine::note_in_index(std::uint64_t position, std::uint32_t number, std::uint32_t time) {
  if (time != unknown_time) latest_time_ = std::max(latest_time_, time);
  if (!index_.empty() && index_.back().position * frame_alignment / index_stride == position / index_stride) return;
  index_.push_back({static_cast<std::uint32_t>(position / frame_alignment), number, latest_time_});
}

void LogEngine::rebuild_index(Window& window, std::uint64_t end) {
  FrameScanner scanner(window, header_, page_bytes, end);
  for (auto found = scanner.next(); found != FrameScanner::Found::end; found = scanner.next()) {
    const FoundFrame& frame = scanner.frame();
    if (found == FrameScanner::Found::frame && is_record(frame.head.kind)) {
      note_in_index(frame.position, frame.head.number, frame.head.time);
    }
  }
}

/// Writes what the encoder has, and `mirrored`, if there is any, once more where the mirror goes on.
error_code LogEngine::write_batch(std::uint64_t proven, std::span<const std::byte> mirrored, FrameKind kind) {
  std::vector<std::byte> copy;
  if (!mirrored.empty()) {
    copy.resize(head_bytes + padded(mirrored.size()));
    std::ranges::copy(mirrored, copy.begin() + head_bytes);
    encode_head({.kind = kind,
                 .number = place_.next_control + 1,  // behind the mark
                 .body_bytes = static_cast<std::uint32_t>(mirrored.size()),
                 .body_check = salted(crc32c(mirrored), header_.salt),
                 .time = unknown_time,
                 .next_record = place_.next_record},
                header_.salt, mirror_place_, std::span(copy).first<head_bytes>());
  }
  const auto batch = encoder_.finish(proven, wall_ns(*options_.clock));
  if (const error_code error = write_at(*file_, place_.position, batch)) return error;
  if (const error_code error = write_at(*file_, mirror_place_, copy)) return error;
  if (const error_code error = file_->sync()) return error;
  place_ = encoder_.place();
  mirror_place_ += copy.size();
  return {};
}

error_code LogEngine::seal() {
  std::vector<std::byte> body(footer_bytes(index_.size()));
  encode_footer({.end = place_.position,
                 .records = place_.next_record,
                 .controls = place_.next_control,
                 .sealed_ns = wall_ns(*options_.clock)},
                index_, body.data());
  encoder_.begin(header_, place_);
  encoder_.add(FrameKind::footer, body);
  // Without room for it, after damage at the end, the segment has none: that is no loss.
  if (encoder_.place().position + frame_alignment <= header_.mirror) {
    if (const error_code error = write_batch(place_.position, body, FrameKind::footer)) return error;
  }
  sealed_ = true;
  return {};
}

// --- Reading. ---

result<LogEngine::Reader::Found> LogEngine::Reader::next() noexcept try {
  for (;;) {
    const auto found = step();
    if (!found || *found) return found ? result<Found>(**found) : result<Found>(found.error());
  }
} catch (const std::bad_alloc&) {
  return make_error_code(errc::out_of_memory);
}

/// Goes one frame on. Returns: nothing if that was none to tell of.
result<std::optional<LogEngine::Reader::Found>> LogEngine::Reader::step() {
  if (held_back_) {
    held_back_ = false;
    ++next_;
    return std::optional(Found::record);
  }
  if (!segment_) {
    if (next_ >= log_.next_offset()) return std::optional(Found::end);
    if (const error_code error = enter(segment_of(next_))) return error;
  }
  const bool more = scanner_ != nullptr && !footer_seen_;
  const auto found = more ? scanner_->next() : FrameScanner::Found::end;
  if (found == FrameScanner::Found::damage) return std::optional<Found>();  // the next record says what is missing
  if (found == FrameScanner::Found::frame) {
    const FoundFrame& frame = scanner_->frame();
    if (frame.head.kind == FrameKind::names) names_.add(frame.body);
    footer_seen_ = frame.head.kind == FrameKind::footer;
    if (!is_record(frame.head.kind)) return std::optional<Found>();
    const std::uint64_t offset = header_.base_offset + frame.head.number;
    if (offset < next_ || !take(frame)) return std::optional<Found>();
    held_back_ = true;
    return skip_to(offset);
  }
  if (more && grow()) return std::optional<Found>();
  // The end of the segment, or of what is committed.
  const std::size_t behind = *segment_ + 1;
  if (behind == log_.segments_.size()) {
    const auto gap = skip_to(log_.next_offset());
    return gap ? gap : std::optional(Found::end);
  }
  segment_.reset();
  return skip_to(log_.segments_[behind].base_offset);
}

/// Whether more has been committed to the segment since it was looked at.
bool LogEngine::Reader::grow() noexcept {
  const bool last = *segment_ + 1 == log_.segments_.size();
  const std::uint64_t limit = last ? log_.place_.position : header_.mirror;
  if (limit <= limit_) return false;
  limit_ = limit;
  scanner_->extend(limit);
  window_->forget();
  return true;
}

/// Returns: a gap if there is one in front of `offset`.
std::optional<LogEngine::Reader::Found> LogEngine::Reader::skip_to(std::uint64_t offset) noexcept {
  if (offset <= next_) return std::nullopt;
  gap_records_ = offset - next_;
  next_ = offset;
  return Found::gap;
}

std::size_t LogEngine::Reader::segment_of(std::uint64_t offset) const noexcept {
  const auto behind = std::ranges::upper_bound(log_.segments_, offset, {}, &SegmentName::base_offset);
  return behind == log_.segments_.begin() ? 0 : static_cast<std::size_t>(behind - log_.segments_.begin()) - 1;
}

/// Begins to read a segment. One whose header is gone, or is that of another, has nothing to read.
error_code LogEngine::Reader::enter(std::size_t index) {
  const SegmentName& name = log_.segments_[index];
  scanner_.reset();
  footer_seen_ = false;
  auto file = log_.storage_.open(segment_name(name.base_offset, name.serial), Storage::Open::existing_to_read);
  if (!file) return file.error();
  file_ = std::move(*file);
  window_ = std::make_unique<Window>(*file_);
  names_ = {};
  segment_ = index;
  const auto header = read_header(*file_);
  if (!header && header.error() == errc::log_version_unsupported) return header.error();
  if (!header || header->base_offset != name.base_offset || header->serial != name.serial) return {};
  header_ = *header;
  // Names stand in front of the records that use them; those that are damaged there stand in the mirror.
  read_names(*window_, header_, page_bytes, names_);
  limit_ = index + 1 == log_.segments_.size() ? log_.place_.position : header_.mirror;
  scanner_ = std::make_unique<FrameScanner>(*window_, header_, page_bytes, limit_);
  return {};
}

/// Returns: whether the record can be read. One whose name is gone, or whose fields make no sense, is as good as lost.
bool LogEngine::Reader::take(const FoundFrame& frame) {
  auto body = frame.body;
  record_ = {};
  if (frame.head.kind == FrameKind::tagged_record) {
    const auto fields = decode_fields(body);
    if (!fields) return false;
    record_.fields = *fields;
  }
  const auto name = [](std::uint16_t id, std::optional<std::string_view> named, std::string_view in_fields) {
    return id == no_name ? std::string_view() : id == inline_name ? std::optional(in_fields) : named;
  };
  const auto topic = name(frame.head.topic, names_.topic(frame.head.topic), record_.fields.topic);
  const auto principal = name(frame.head.principal, names_.principal(frame.head.principal), record_.fields.principal);
  if (!topic || !principal) return false;
  record_.offset = header_.base_offset + frame.head.number;
  record_.topic = *topic;
  record_.principal = *principal;
  record_.wall_ns = record_.fields.time_ns.value_or(header_.created_ns + std::int64_t{frame.head.time} * time_unit_ns);
  record_.payload = body;
  return true;
}

}  // namespace bus::detail
