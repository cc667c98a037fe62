// SPDX-License-Identifier: MIT OR Apache-2.0
#include "persistence/log_engine.hpp"

#include "persistence/commit_hint.hpp"
#include "persistence/nanoseconds.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <new>
#include <set>
#include <utility>

namespace bus::detail {
namespace {

constexpr std::string_view lock_name = "LOCK";
constexpr std::string_view quarantine_name = "quarantine";

error_code no_space() noexcept { return {boost::system::errc::no_space_on_device, boost::system::system_category()}; }

/// Whether there is no new segment for want of room or memory only.
bool may_begin_again(const error_code& error) noexcept {
  return error == boost::system::errc::no_space_on_device || error == errc::out_of_memory;
}
constexpr std::size_t settle_bytes = std::size_t{64} * 1024;

/// What a batch of one record takes besides the record, its names included.
constexpr std::uint64_t overhead_of_batch = 3 * (head_bytes + mark_bytes) + frame_alignment;

/// Room that batches leave for the footer.
constexpr std::uint64_t room_for_footer(std::uint64_t capacity) noexcept {
  return 2 * (head_bytes + mark_bytes) + padded(footer_bytes(capacity / index_stride + 1)) + frame_alignment;
}

/// A quarter of a segment for groups, and three sixteenths for messages: see `DedupOptions`.
constexpr std::uint64_t most_without_a_snapshot = 4;  // segments in a row, whose records are so large
constexpr std::uint64_t most_snapshot_bytes(std::uint64_t capacity) noexcept { return capacity / 16 * 7; }

/// Of an entry whose names have to be written, or stand in its fields.
constexpr std::uint64_t most_text_bytes(std::size_t texts) noexcept { return padded(3 * name_bytes("") + texts) + 32; }

std::uint64_t most_bytes(const LogEntry& entry) noexcept {
  const std::size_t texts = entry.topic.size() + entry.principal.size() + entry.schema.size();
  return head_bytes + padded(entry.body.size()) + most_text_bytes(texts);
}

/// Whether a batch of so many bytes fits between `position` and the mirror.
bool fits(std::uint64_t bytes, std::uint64_t position, std::uint64_t capacity) noexcept {
  const std::uint64_t mirror = mirror_of(capacity);
  return position < mirror && overhead_of_batch + room_for_footer(capacity) + bytes <= mirror - position;
}

/// What a record refers to.
struct Ids {
  std::uint16_t topic = no_name;
  std::uint16_t principal = no_name;
  std::uint16_t schema = no_name;
};
Ids ids_of(const FoundFrame& frame) noexcept {
  Ids ids{frame.head.topic, frame.head.principal, no_name};
  if (frame.head.kind == FrameKind::tagged_record) {
    auto body = frame.body;
    if (const auto fields = decode_fields(body)) ids.schema = fields->schema;
  }
  return ids;
}
bool are_known(const Ids& ids, const Names& names) noexcept {
  const auto known = [](std::uint16_t id, const auto& named) {
    return id == no_name || id == inline_name || named.has_value();
  };
  return known(ids.topic, names.topic(ids.topic)) && known(ids.principal, names.principal(ids.principal)) &&
         known(ids.schema, names.schema(ids.schema));
}

/// All that records refer to.
class UsedIds {
 public:
  void add(const Ids& ids) {
    add(topics_, ids.topic);
    add(principals_, ids.principal);
    add(schemas_, ids.schema);
  }
  void keep(Names& names) const {
    const auto last = [](const std::vector<bool>& used) {
      return static_cast<std::uint16_t>(used.empty() ? 0 : used.size() - 1);
    };
    names.keep_ids(last(topics_), last(principals_), last(schemas_));
  }
  bool are_known(const Names& names) const {
    return all_of(topics_, [&](std::uint16_t id) { return names.topic(id).has_value(); }) &&
           all_of(principals_, [&](std::uint16_t id) { return names.principal(id).has_value(); }) &&
           all_of(schemas_, [&](std::uint16_t id) { return names.schema(id).has_value(); });
  }

 private:
  static void add(std::vector<bool>& used, std::uint16_t id) {
    if (id == no_name || id == inline_name) return;
    if (used.size() <= id) used.resize(std::size_t{id} + 1);
    used[id] = true;
  }
  template <class Known>
  static bool all_of(const std::vector<bool>& used, Known&& known) {
    for (std::size_t id = 0; id < used.size(); ++id) {
      if (used[id] && !known(static_cast<std::uint16_t>(id))) return false;
    }
    return true;
  }

  std::vector<bool> topics_;
  std::vector<bool> principals_;
  std::vector<bool> schemas_;
};

/// Keeps what an opening needs of a segment's frames, besides what is damaged.
class FrameNotes final : public FrameVisitor {
 public:
  void visit(const FoundFrame& frame) override {
    if (frame.head.kind == FrameKind::names) names_.emplace_back(frame.position, copy(frame.body));
    groups_.visit(frame);
    if (!is_record(frame.head.kind)) return;
    used_.add(ids_of(frame));
    const std::uint64_t stride = frame.position / index_stride;
    if (frame.head.time != unknown_time) latest_ = std::max(latest_, frame.head.time);
    if (!index_.empty() && index_.back().position * frame_alignment / index_stride == stride) {
      return;
    }
    index_.push_back({static_cast<std::uint32_t>(frame.position / frame_alignment), frame.head.number, latest_});
  }

  /// Those in front of `end`.
  void names_up_to(std::uint64_t end, Names& names) const {
    for (const auto& [position, body] : names_) {
      if (position < end) names.add(body);
    }
  }
  std::vector<IndexEntry> index_up_to(std::uint64_t end) const {
    std::vector<IndexEntry> index = index_;
    std::erase_if(index, [end](const IndexEntry& entry) { return entry.position * frame_alignment >= end; });
    return index;
  }
  std::uint32_t latest_time() const noexcept { return latest_; }

  const GroupsNotes& groups() const noexcept { return groups_; }

  /// Whether each name that a record refers to is known.
  bool all_named(const Names& names) const { return used_.are_known(names); }

  void keep_ids(Names& names) const { used_.keep(names); }

 private:
  static std::vector<std::byte> copy(std::span<const std::byte> body) { return {body.begin(), body.end()}; }

  GroupsNotes groups_;
  std::vector<std::pair<std::uint64_t, std::vector<std::byte>>> names_;
  std::vector<IndexEntry> index_;
  UsedIds used_;
  std::uint32_t latest_ = 0;
};

}  // namespace

bool LogEngine::can_hold(std::size_t body_bytes, std::size_t text_bytes, std::uint64_t segment_bytes) noexcept {
  return fits(head_bytes + padded(body_bytes) + most_text_bytes(text_bytes), page_bytes, segment_bytes);
}

// --- Opening. ---

result<std::unique_ptr<LogEngine>> LogEngine::open(Storage& storage, const EngineOptions& options,
                                                   LogFiles& files) noexcept try {
  std::unique_ptr<LogEngine> log(new LogEngine(storage, options, files));
  auto lock = storage.lock(lock_name);
  if (!lock) {
    if (lock.error() == boost::system::errc::device_or_resource_busy) return make_error_code(errc::log_locked);
    return lock.error();
  }
  log->lock_ = std::move(*lock);
  log->hint_ = open_hint(storage);
  if (const error_code error = log->open_directory()) return error;
  return log;
} catch (const std::bad_alloc&) {
  return make_error_code(errc::out_of_memory);
}

/// Puts the segments into the list, in order, and what can become one among the spares.
error_code LogEngine::list_files() {
  if (const error_code error = remove_unfinished(storage_)) return error;
  if (const error_code error = finish_naming_again(storage_)) return error;
  const auto files = storage_.list();
  if (!files) return files.error();
  std::vector<SegmentName> segments;
  for (const std::string& file : *files) {
    if (const auto name = parse_segment_name(file)) segments.push_back(*name);
  }
  std::ranges::sort(segments, {}, &SegmentName::serial);
  const auto is_there = [&](std::uint64_t serial) {
    return std::ranges::binary_search(segments, serial, {}, &SegmentName::serial);
  };
  std::set<std::uint64_t> salts;
  for (const std::string& file : *files) {
    if (!is_spare_name(file)) continue;
    auto spare = inspect_spare(storage_, file);
    const auto retired = retired_segment(file);
    // After a failure to make names durable a file may have several: then it is the segment, or one spare.
    const bool is_segment = (retired && is_there(retired->serial)) || (spare && is_there(spare->serial));
    const bool is_wanted =
        spare && !is_segment && spare->bytes == options_.segment_bytes && salts.insert(spare->salt).second;
    if (retired && !is_segment) {
      // A process that was killed may have left it undone.
      bool is_left = true;
      const error_code error = take_away_again(storage_, *retired, is_left);
      if (error && error != boost::system::errc::no_space_on_device) return error;
      if (!is_left) continue;
    }
    if (const error_code error = is_wanted ? name_again(storage_, file) : storage_.remove(file)) return error;
    if (!is_wanted) continue;
    files_.disk.count(spare->bytes);
    files_.spares.put(std::move(*spare));
  }
  for (const SegmentName& name : segments) {
    auto segment = std::make_shared<Segment>();
    segment->name = name;
    segment->file_bytes = options_.segment_bytes;
    const std::string file_name = segment_name(name.base_offset, name.serial);
    if (const auto file = storage_.open(file_name, Storage::Open::existing_to_read)) {
      if (const auto header = read_header(**file); header && is_taken_away(*header)) {
        if (const error_code error = storage_.remove(file_name)) return error;
        continue;
      }
      segment->file_bytes = size_or(**file, options_.segment_bytes);
    }
    files_.disk.count(segment->file_bytes);
    segment->end.store(segment->file_bytes, std::memory_order_relaxed);
    files_.segments.add(std::move(segment));
  }
  return {};
}

error_code LogEngine::open_directory() {
  if (const error_code error = list_files()) return error;
  count_quarantined();
  if (files_.segments.size() == 0) {
    if (const error_code error = begin_segment(new_log_id(), 0, 0)) return error;
    show();
    return {};
  }
  // A process that was killed may have left names that are not durable yet; and where making them durable failed, only
  // a new change of them can be.
  const SegmentRef last = files_.segments.last();
  if (const error_code error = name_again(storage_, segment_name(last->name.base_offset, last->name.serial))) {
    return error;
  }
  if (const error_code error = storage_.sync_names()) return error;
  next_serial_ = last->name.serial + 1;
  auto file = storage_.open(segment_name(last->name.base_offset, last->name.serial), Storage::Open::existing);
  if (!file) return file.error();
  const auto header = read_header(**file);
  if (!header && header.error() == errc::log_version_unsupported) return header.error();
  if (!header || header->base_offset != last->name.base_offset || header->serial != last->name.serial) {
    return give_up_last(last);
  }
  const auto known = known_log_id();
  if (!known) return known.error();
  if (*known && **known != header->log_id) return errc::log_foreign;
  segment_ = last;
  header_ = *header;
  file_ = std::move(*file);
  const error_code error = recover();
  if (!error) show();
  return error;
}

/// What the segment in front of the last one says. Returns: nothing if there is none, or it cannot be read.
result<std::optional<LogId>> LogEngine::known_log_id() {
  const auto segments = files_.segments.all();
  if (segments.size() < 2) return std::optional<LogId>();
  const SegmentName& name = segments[segments.size() - 2]->name;
  const auto file = storage_.open(segment_name(name.base_offset, name.serial), Storage::Open::existing_to_read);
  if (!file) return std::optional<LogId>();
  const auto header = read_header(**file);
  if (!header && header.error() == errc::log_version_unsupported) return header.error();
  if (!header || header->serial != name.serial) return std::optional<LogId>();
  return std::optional(header->log_id);
}

/// Without its header nothing of the last segment can be read. Its offsets are not given to others.
error_code LogEngine::give_up_last(const SegmentRef& last) {
  const SegmentName name = last->name;
  const auto known = known_log_id();
  if (!known) return known.error();
  const std::uint64_t next = name.base_offset + offsets_given_up(last->file_bytes);
  losses_.push_back(loss_of(*last, name.base_offset, next, "neither copy of the segment's header can be read"));
  if (const error_code error = tell_losses()) return error;
  groups_ = find_groups_place(storage_, files_.segments.all(), last->name.serial);
  note_groups_place();
  const error_code error = begin_segment(known->value_or(new_log_id()), next, 0);
  if (!error) show();
  return error;
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
  FrameNotes notes;
  const SegmentState state = examine_segment(window, header_, {}, &notes);
  const std::string name = segment_name(header_.base_offset, header_.serial);
  for (const JudgedRegion& one : state.damage) losses_.push_back(loss_of(name, header_, one));
  place_ = {state.end, state.next_record, state.next_control};
  durable_ = state.end;
  notes.names_up_to(state.end, names_);
  Names mirrored;
  mirror_place_ = read_mirror(window, header_, mirrored).end;
  // A name stands twice before a receipt depends on it. A crash may have left it in one of the two places.
  names_.append_missing(mirrored, fresh_names_);
  mirrored.append_missing(names_, fresh_names_);
  names_.take_missing(mirrored);
  notes.keep_ids(names_);
  if (!notes.all_named(names_)) note_unnamed(window, state);
  if (const error_code error = tell_losses()) return error;
  const auto index = notes.index_up_to(state.end);
  for (const IndexEntry& entry : index) files_.segments.add_index(entry);
  indexed_ = index.empty() ? 0 : index.back().position * frame_alignment / index_stride + 1;
  latest_time_ = notes.latest_time();
  if (const std::uint64_t position = notes.groups().snapshot_up_to(state.end); position != 0) {
    groups_ = {header_.serial, position};
  } else {
    groups_ = find_groups_place(storage_, files_.segments.all(), header_.serial);
    const std::uint64_t first = notes.groups().first_up_to(state.end);
    if (groups_.serial == 0 && first != 0) groups_ = {header_.serial, first};
  }
  note_groups_place();
  if (state.footer) {
    sealed_ = true;
    segment_->sealed_ns.store(state.footer->sealed_ns, std::memory_order_relaxed);
    const error_code error = begin_segment(header_.log_id, next_offset(), header_.base_control + place_.next_control);
    return may_begin_again(error) ? error_code() : error;  // `append` does
  }
  quarantine(window, state);
  return settle(window, state);
}

error_code LogEngine::tell_losses() {
  return losses_.empty() || !options_.on_losses ? error_code() : options_.on_losses(losses_);
}

/// Records whose names are gone, with a batch that was never durable, are as good as lost.
void LogEngine::note_unnamed(Window& window, const SegmentState& state) {
  FrameScanner scanner(window, header_, page_bytes, state.end);
  for (auto found = scanner.next(); found != FrameScanner::Found::end; found = scanner.next()) {
    const FoundFrame& frame = scanner.frame();
    if (found != FrameScanner::Found::frame || !is_record(frame.head.kind)) continue;
    if (are_known(ids_of(frame), names_)) continue;
    losses_.push_back({.segment = segment_name(header_.base_offset, header_.serial),
                       .begin = frame.position,
                       .end = frame.end(),
                       .first_offset = header_.base_offset + frame.head.number,
                       .records = 1,
                       .verdict = Verdict::unproven,
                       .known = frame.end() <= state.proven,
                       .reason = "the name of its topic, principal or schema is gone"});
  }
}

/// What earlier openings have kept. Best effort.
void LogEngine::count_quarantined() {
  const auto directory = storage_.existing_directory(quarantine_name);
  if (!directory) return;
  const auto files = (*directory)->list();
  if (!files) return;
  for (const std::string& name : *files) {
    const auto file = (*directory)->open(name, Storage::Open::existing_to_read);
    if (file) quarantined_ += size_or(**file, 0);
  }
  files_.disk.count(quarantined_);
}

/// Keeps what cannot be read for somebody to look at, as long as there is room. Best effort.
void LogEngine::quarantine(Window& window, const SegmentState& state) noexcept try {
  const auto is_new = [](const JudgedRegion& one) { return !one.known && one.verdict != Verdict::torn; };
  if (options_.quarantine_bytes == 0 || std::ranges::none_of(state.damage, is_new)) return;
  const auto directory = storage_.directory(quarantine_name);
  if (!directory) return;
  for (const JudgedRegion& one : state.damage) {
    const std::uint64_t bytes = one.region.end - one.region.begin;
    if (!is_new(one) || quarantined_ + bytes > options_.quarantine_bytes || !files_.disk.take(bytes)) continue;
    const auto file =
        (*directory)
            ->open(segment_name(header_.base_offset, header_.serial) + "." + std::to_string(one.region.begin),
                   Storage::Open::create);
    if (!file) {
      files_.disk.give(bytes);
      continue;
    }
    quarantined_ += bytes;
    for (std::uint64_t at = one.region.begin; at < one.region.end;) {
      const auto part =
          window.at(at, static_cast<std::size_t>(std::min<std::uint64_t>(settle_bytes, one.region.end - at)));
      if (part.empty() || write_at(**file, at - one.region.begin, part)) break;
      at += part.size();
    }
  }
} catch (const std::bad_alloc&) {
  // There is not even memory to keep it.
}

/// What the opening has found is made durable before anybody reads it: it may have come from a cache that had lost it
/// already. What it left out is made blank, so that no later one finds it.
error_code LogEngine::settle(Window& window, const SegmentState& state) {
  const auto repair = [this](std::uint64_t at, std::span<const std::byte> bytes) {
    files_.counts.repair_bytes.fetch_add(bytes.size(), std::memory_order_relaxed);
    return write_at(*file_, at, bytes);
  };
  for (std::uint64_t at = state.proven; at < state.end;) {
    const auto bytes = window.at(at, static_cast<std::size_t>(std::min<std::uint64_t>(settle_bytes, state.end - at)));
    if (bytes.empty()) break;  // the file is too short, and that has been told
    if (const error_code error = repair(at, bytes)) return error;
    at += bytes.size();
  }
  const std::uint64_t blank_end = std::min(std::max(state.dirty_end, state.end + frame_alignment), header_.mirror);
  std::vector<std::byte> blank(settle_bytes);
  for (std::uint64_t at = state.end; at < blank_end;) {
    const auto part =
        std::span(blank).first(static_cast<std::size_t>(std::min<std::uint64_t>(blank.size(), blank_end - at)));
    fill_blank(header_.salt, at, part);
    if (const error_code error = repair(at, part)) return error;
    at += part.size();
  }
  if (const error_code error = sync_file()) return error;

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
  if (const error_code error = write_batch(state.proven)) return error;
  return sync_file();
}

error_code LogEngine::begin_segment(const LogId& log_id, std::uint64_t base_offset, std::uint64_t base_control) {
  SegmentHeader header;
  header.log_id = log_id;
  header.serial = next_serial_;
  header.base_offset = base_offset;
  header.base_control = base_control;
  header.capacity = options_.segment_bytes;
  header.mirror = mirror_of(header.capacity);
  header.created_ns = wall_ns(*options_.clock);
  auto segment = std::make_shared<Segment>();
  segment->name = {base_offset, header.serial};
  segment->file_bytes = header.capacity;
  const std::string name = segment_name(base_offset, header.serial);
  files_.segments.make_room();
  std::unique_ptr<File> file;
  if (auto spare = files_.spares.take(header.capacity)) {
    auto used = use_spare(storage_, *spare, name, header);
    if (!used) {
      if (used.error() == errc::out_of_memory) files_.spares.put(std::move(*spare));
      return used.error();
    }
    file = std::move(*used);
    if (!spare->filled) files_.counts.reused_segments.fetch_add(1, std::memory_order_relaxed);
    files_.counts.frame_bytes.fetch_add(2 * page_bytes, std::memory_order_relaxed);
  } else {
    if (!files_.disk.take(header.capacity)) return no_space();
    header.salt = storage_.random();
    auto made = create_segment(storage_, header, name);
    if (!made) {
      files_.disk.give(header.capacity);
      return made.error();
    }
    file = std::move(*made);
    files_.counts.fill_bytes.fetch_add(header.capacity, std::memory_order_relaxed);
  }
  files_.segments.add(segment);
  ++next_serial_;
  segment_ = std::move(segment);
  file_ = std::move(file);
  header_ = header;
  place_ = {};
  durable_ = page_bytes;
  mirror_place_ = header.mirror;
  names_ = {};
  fresh_names_.clear();
  indexed_ = 0;
  latest_time_ = 0;
  sealed_ = false;
  unproven_ = false;
  snapshot_tried_ = false;
  return {};
}

// --- Writing. ---

error_code LogEngine::append(std::span<const LogEntry> entries, std::span<const LogControl> controls) noexcept try {
  if (read_only_) return errc::log_read_only;
  if (entries.empty() && controls.empty()) return {};
  std::uint64_t bytes = 0;
  for (const LogEntry& entry : entries) bytes += most_bytes(entry);
  for (const LogControl& control : controls) bytes += head_bytes + padded(control.body.size());
  if (!fits(bytes, page_bytes, options_.segment_bytes)) return errc::payload_too_large;
  if (!sealed_ && !snapshot_tried_) {
    const error_code error = write_snapshot(bytes);
    read_only_ = error.failed();
    if (error) return error;
  }
  while (sealed_ || !fits(bytes + fresh_names_.size(), place_.position, header_.capacity)) {
    error_code error = sealed_ ? error_code() : seal();
    if (!error) {
      error = begin_segment(header_.log_id, next_offset(), header_.base_control + place_.next_control);
      if (may_begin_again(error)) return error;
    }
    if (!error) {
      files_.counts.rolls.fetch_add(1, std::memory_order_relaxed);
      error = write_snapshot(bytes);
    }
    read_only_ = error.failed();
    if (error) return error;
  }
  const error_code error = write(entries, controls);
  read_only_ = error.failed();
  return error;
} catch (const std::bad_alloc&) {
  return errc::out_of_memory;  // nothing of the batch has been written: memory is got before
}

error_code LogEngine::sync() noexcept {
  if (read_only_) return errc::log_read_only;
  if (durable_ == place_.position) return {};
  const error_code error = sync_file();
  read_only_ = error.failed();
  return error;
}

error_code LogEngine::prove() noexcept try {
  if (read_only_) return errc::log_read_only;
  if (!unproven_ || sealed_) return {};
  encoder_.begin(header_, place_);
  if (encoder_.place().position + room_for_footer(header_.capacity) > header_.mirror) return {};
  error_code error = write_batch(durable_);
  if (!error) error = sync_file();
  read_only_ = error.failed();
  if (!error) {
    unproven_ = false;
    show();
  }
  return error;
} catch (const std::bad_alloc&) {
  return errc::out_of_memory;
}

void LogEngine::show() noexcept {
  segment_->end.store(place_.position, std::memory_order_release);  // sync SEGMENT-END
  files_.segments.set_committed(next_offset());  // sync SEGMENT-COMMITTED
  if (hint_ != nullptr) write_hint(*hint_, {header_.serial, place_.position, next_offset()});
}

error_code LogEngine::end_segment() noexcept try {
  if (read_only_) return errc::log_read_only;
  if (sealed_ || place_.next_record == 0) return {};
  const error_code error = seal();
  read_only_ = error.failed();
  return error;
} catch (const std::bad_alloc&) {
  return errc::out_of_memory;
}

/// Finds the ids of all names, as long as the mirror has room for them.
bool LogEngine::name_records(std::span<const LogEntry> entries) {
  std::uint64_t most = head_bytes + fresh_names_.size();
  for (const LogEntry& entry : entries) {
    most += most_text_bytes(entry.topic.size() + entry.principal.size() + entry.schema.size());
  }
  const bool by_id = mirror_place_ + most <= second_header(header_.capacity) - room_for_footer(header_.capacity);
  const auto id = [by_id](std::string_view text, auto&& give) {
    return text.empty() ? no_name : by_id ? give() : inline_name;
  };
  ids_.clear();
  for (const LogEntry& entry : entries) {
    ids_.push_back(
        {id(entry.topic, [&] { return names_.topic_id(entry.topic, fresh_names_); }),
         id(entry.principal, [&] { return names_.principal_id(entry.principal, fresh_names_); }),
         id(entry.schema, [&] { return names_.schema_id(entry.schema, entry.schema_version, fresh_names_); })});
  }
  return by_id;
}

/// Says at the beginning of a segment what groups stand at and which messages are known, so that what is in front of it
/// need not be read to know it, and may go: if that leaves `room` for what is to follow, or else in a segment of its
/// own.
error_code LogEngine::write_snapshot(std::uint64_t room) try {
  if (!options_.snapshot || groups_.serial == 0 || groups_.serial == header_.serial) return {};
  const auto frames = options_.snapshot();
  std::uint64_t bytes = 0;
  for (const auto& frame : frames) bytes += head_bytes + padded(frame.size());
  // Where no further segment can be had before something goes, it must not be long.
  const std::uint64_t most = files_.disk.has_room(header_.capacity) ? most_without_a_snapshot : 1;
  if (header_.serial - groups_.serial > most) room = 0;
  if (frames.empty() || bytes > most_snapshot_bytes(header_.capacity) ||
      !fits(overhead_of_batch + bytes + room, place_.position, header_.capacity)) {
    snapshot_tried_ = true;
    return {};
  }
  encoder_.begin(header_, place_);
  const std::uint64_t position = encoder_.place().position;
  for (const auto& frame : frames) encoder_.add(FrameKind::snapshot, frame);
  const std::uint64_t written = encoder_.bytes() + frame_alignment;
  if (const error_code error = write_batch(durable_)) return error;
  files_.counts.frame_bytes.fetch_add(written, std::memory_order_relaxed);
  groups_ = {header_.serial, position};
  unproven_ = true;
  return {};
} catch (const std::bad_alloc&) {
  return {};  // the next append tries again
}

error_code LogEngine::write(std::span<const LogEntry> entries, std::span<const LogControl> controls) {
  const bool by_id = name_records(entries);
  const std::span<const std::byte> names = by_id ? std::span<const std::byte>(fresh_names_) : std::span<std::byte>();
  encoder_.begin(header_, place_);
  pending_index_.clear();
  if (!names.empty()) encoder_.add(FrameKind::names, names);
  std::uint64_t record_bytes = 0;
  std::uint64_t first_of_all = 0;  // position
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const LogEntry& entry = entries[i];
    const std::uint64_t at = encoder_.place().position;
    note_in_index(at, encoder_.place().next_record, frame_time(header_, entry.wall_ns));
    if (entry.has_key && first_of_all == 0) first_of_all = at;
    const BatchIds& ids = ids_[i];
    const bool has_time = frame_time(header_, entry.wall_ns) != unknown_time;
    if (has_time && ids.topic != inline_name && ids.principal != inline_name && ids.schema == no_name) {
      encoder_.add({ids.topic, ids.principal, entry.wall_ns, entry.tagged, entry.body, entry.body_crc});
    } else {
      // What only the segment's writer knows stands among the fields: they are written anew.
      auto payload = entry.body;
      RecordFields fields;
      if (entry.tagged) fields = decode_fields(payload).value();
      if (!has_time) fields.time_ns = fields.time_ns.value_or(entry.wall_ns);
      fields.schema = ids.schema == inline_name ? no_name : ids.schema;
      if (ids.topic == inline_name) fields.topic = entry.topic;
      if (ids.principal == inline_name) fields.principal = entry.principal;
      if (ids.schema == inline_name) {
        fields.schema_name = entry.schema;
        fields.schema_version = entry.schema_version;
      }
      encoder_.add(ids.topic, ids.principal, entry.wall_ns, fields, payload);
    }
    record_bytes += encoder_.place().position - at;
  }
  if (!controls.empty() && first_of_all == 0) first_of_all = encoder_.place().position;
  for (const LogControl& control : controls) encoder_.add(control.kind, control.body);
  const std::uint64_t others = encoder_.bytes() + frame_alignment - record_bytes;
  files_.segments.make_room_in_index(pending_index_.size());
  if (const error_code error = write_batch(durable_, names, FrameKind::names)) return error;
  files_.counts.record_bytes.fetch_add(record_bytes, std::memory_order_relaxed);
  files_.counts.frame_bytes.fetch_add(others, std::memory_order_relaxed);
  for (const IndexEntry& entry : pending_index_) {
    files_.segments.add_index(entry);
    indexed_ = entry.position * frame_alignment / index_stride + 1;
  }
  if (by_id) fresh_names_.clear();
  if (first_of_all != 0 && groups_.serial == 0) {
    groups_ = {header_.serial, first_of_all};
    note_groups_place();
  }
  unproven_ = true;
  return {};
}

void LogEngine::note_in_index(std::uint64_t position, std::uint32_t number, std::uint32_t time) {
  if (time != unknown_time) latest_time_ = std::max(latest_time_, time);
  const std::uint64_t stride = position / index_stride;
  const auto stride_of = [](const IndexEntry& entry) { return entry.position * frame_alignment / index_stride; };
  if (stride < indexed_ || (!pending_index_.empty() && stride <= stride_of(pending_index_.back()))) return;
  pending_index_.push_back({static_cast<std::uint32_t>(position / frame_alignment), number, latest_time_});
}

/// Writes what the encoder has, and `mirrored`, if there is any, once more where the mirror goes on.
error_code LogEngine::write_batch(std::uint64_t proven, std::span<const std::byte> mirrored, FrameKind kind) {
  mirror_copy_.clear();
  if (!mirrored.empty()) {
    mirror_copy_.resize(head_bytes + padded(mirrored.size()));
    std::ranges::copy(mirrored, mirror_copy_.begin() + head_bytes);
    encode_head({.kind = kind,
                 .number = place_.next_control + 1,  // behind the mark
                 .body_bytes = static_cast<std::uint32_t>(mirrored.size()),
                 .body_check = salted(crc32c(mirrored), header_.salt),
                 .time = unknown_time,
                 .next_record = place_.next_record},
                header_.salt, mirror_place_, std::span(mirror_copy_).first<head_bytes>());
  }
  const auto batch = encoder_.finish(proven, wall_ns(*options_.clock));
  if (const error_code error = write_at(*file_, place_.position, batch)) return error;
  if (!mirror_copy_.empty()) {
    if (const error_code error = write_at(*file_, mirror_place_, mirror_copy_)) return error;
    files_.counts.frame_bytes.fetch_add(mirror_copy_.size(), std::memory_order_relaxed);
  }
  place_ = encoder_.place();
  mirror_place_ += mirror_copy_.size();
  return {};
}

error_code LogEngine::sync_file() noexcept {
  files_.counts.syncs.fetch_add(1, std::memory_order_relaxed);
  const error_code error = file_->sync();
  if (error) {
    files_.counts.sync_failures.fetch_add(1, std::memory_order_relaxed);
  } else {
    durable_ = place_.position;
    note_groups_place();
  }
  return error;
}

/// Segments in front of a snapshot may go once that is durable.
void LogEngine::note_groups_place() noexcept {
  if (groups_.serial != 0) files_.groups_from.store(groups_.serial, std::memory_order_release);
}

error_code LogEngine::seal() {
  const auto index = files_.segments.index();
  std::vector<std::byte> body(footer_bytes(index.size()));
  const std::int64_t now = wall_ns(*options_.clock);
  encode_footer({.end = place_.position,
                 .records = place_.next_record,
                 .controls = place_.next_control,
                 .groups_serial = groups_.serial,
                 .groups_position = groups_.position,
                 .sealed_ns = now},
                index, body.data());
  // What was not synced must be before the footer says that it is.
  if (durable_ != place_.position) {
    if (const error_code error = sync_file()) return error;
  }
  show();
  encoder_.begin(header_, place_);
  encoder_.add(FrameKind::footer, body);
  // Without room for it, after damage at the end, the segment has none: that is no loss.
  if (encoder_.place().position + frame_alignment <= header_.mirror) {
    const std::uint64_t bytes = encoder_.bytes();
    if (const error_code error = write_batch(place_.position, body, FrameKind::footer)) return error;
    if (const error_code error = sync_file()) return error;
    files_.counts.frame_bytes.fetch_add(bytes, std::memory_order_relaxed);
  }
  segment_->end.store(header_.mirror, std::memory_order_release);  // sync SEGMENT-END
  segment_->sealed_ns.store(now, std::memory_order_relaxed);
  sealed_ = true;
  return {};
}

}  // namespace bus::detail
