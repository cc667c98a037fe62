// SPDX-License-Identifier: MIT OR Apache-2.0
#include "persistence/group_replay.hpp"

#include "persistence/segment_file.hpp"
#include "persistence/window.hpp"

#include <bus/persistence/group.hpp>

#include <boost/system/errc.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace bus::detail {
namespace {

constexpr std::size_t chunk_bytes = std::size_t{1} << 20;

struct OpenSegment {
  std::unique_ptr<File> file;
  SegmentHeader header;
};

/// Returns: nothing if the file is gone, or its header is, or is that of another life. Errors: those of the storage.
result<std::optional<OpenSegment>> open_segment(Storage& storage, const SegmentName& name) {
  auto file = storage.open(segment_name(name.base_offset, name.serial), Storage::Open::existing_to_read);
  if (!file && file.error() != boost::system::errc::no_such_file_or_directory) return file.error();
  const auto header = file ? read_header(**file) : result<SegmentHeader>(file.error());
  if (!header || header->serial != name.serial) return std::optional<OpenSegment>();
  return std::optional(OpenSegment{std::move(*file), *header});
}

/// Where its frames end that may be read.
std::uint64_t end_of(const Segment& segment, const SegmentHeader& header) noexcept {
  return std::min(segment.end.load(std::memory_order_acquire), header.mirror);
}

/// Whether what there is to know may begin with it.
bool may_be_first(const FoundFrame& frame) noexcept {
  if (frame.head.kind != FrameKind::tagged_record) return frame.head.kind == FrameKind::control;
  auto payload = frame.body;
  const auto fields = decode_fields(payload);
  return fields && !key_of(*fields).empty();
}

/// What groups have done, and which messages were taken, frame by frame.
class Replay {
 public:
  explicit Replay(const std::optional<DedupRules>& rules) : rules_(rules) { forget_messages(); }

  void take(const FoundFrame& frame, std::uint64_t base_offset) {
    switch (frame.head.kind) {
      case FrameKind::mark:
        if (const auto mark = decode_mark(frame.body)) written_ns_ = mark->written_ns;
        break;
      case FrameKind::snapshot: take_snapshot(frame.body); break;
      case FrameKind::control: (void)apply_items(frame.body, now_.groups); break;
      case FrameKind::tagged_record: take_record(frame, base_offset + frame.head.number); break;
      default: break;
    }
  }
  /// It began with the first of all.
  void note_first(const FoundFrame& frame) noexcept { is_sound_ = may_be_first(frame); }

  /// Whether what was taken is enough to know how things stand.
  bool is_sound() const noexcept { return is_sound_; }
  Replayed& now() noexcept { return now_; }

 private:
  void forget_messages() {
    if (rules_) now_.dedup = std::make_unique<Dedup>(*rules_);
  }

  void take_snapshot(std::span<const std::byte> body) {
    if (rules_ && is_snapshot_head(body)) messages_ = DedupReader(*rules_);
    if (rules_ && !body.empty() && body.front() == Dedup::frame_kind) (void)messages_.add(body);
    if (!snapshot_.add(body)) return;
    now_.groups = snapshot_.state();
    now_.dedup = messages_.take();
    if (now_.dedup == nullptr) forget_messages();  // none were known
    is_sound_ = true;
  }

  void take_record(const FoundFrame& frame, std::uint64_t offset) {
    auto payload = frame.body;
    const auto fields = decode_fields(payload);
    if (!fields) return;
    if (fields->settles) {
      items_.clear();
      items_.done(fields->settles->queue, fields->settles->offset, fields->settles->offset + 1);
      (void)apply_items(items_.bytes(), now_.groups);
      bury(fields->settles->queue, offset);
    }
    const DedupKey key = key_of(*fields);
    if (now_.dedup == nullptr || key.empty()) return;
    // Its own time is the sender's, and may be any; the log took it just before it wrote the batch.
    now_.dedup->restore(key, offset, written_ns_);
  }

  /// A message of that queue is a dead letter now.
  void bury(std::uint32_t queue, std::uint64_t letter) {
    const auto settled = now_.groups.queues.find(queue);
    if (settled == now_.groups.queues.end()) return;
    const std::string dead = std::string(dead_prefix) + settled->second.spec.group;
    for (auto& [id, one] : now_.groups.queues) {
      if (one.spec.group == dead) learn_letter(one, letter);
    }
  }

  std::optional<DedupRules> rules_;
  Replayed now_;
  SnapshotReader snapshot_;
  DedupReader messages_{DedupRules()};
  std::int64_t written_ns_ = 0;  // the batch
  GroupItems items_;
  bool is_sound_ = false;
};

result<Replay> replay_from(Storage& storage, const std::vector<SegmentRef>& segments, const GroupsPlace& begin,
                           const std::optional<DedupRules>& rules) {
  Replay replay(rules);
  for (const SegmentRef& segment : segments) {
    const std::uint64_t serial = segment->name.serial;
    if (serial < begin.serial) continue;
    const auto opened = open_segment(storage, segment->name);
    if (!opened) return opened.error();
    if (!*opened) continue;
    const SegmentHeader& header = (*opened)->header;
    Window window(*(*opened)->file, chunk_bytes);
    FrameScanner scanner(window, header, page_bytes, end_of(*segment, header));
    for (auto found = scanner.next(); found != FrameScanner::Found::end; found = scanner.next()) {
      if (found != FrameScanner::Found::frame) continue;
      const FoundFrame& frame = scanner.frame();
      if (serial == begin.serial && frame.position < begin.position && frame.head.kind != FrameKind::mark) continue;
      if (serial == begin.serial && frame.position == begin.position) replay.note_first(frame);
      replay.take(frame, header.base_offset);
    }
  }
  return replay;
}

}  // namespace

void GroupsNotes::visit(const FoundFrame& frame) {
  if (frame.head.kind == FrameKind::snapshot) {
    if (is_snapshot_head(frame.body)) snapshot_begin_ = frame.position;
    if (snapshot_.add(frame.body)) snapshots_.push_back({snapshot_begin_, frame.end()});
  }
  if (first_ == 0 && may_be_first(frame)) first_ = frame.position;
}

std::uint64_t GroupsNotes::snapshot_up_to(std::uint64_t end) const noexcept {
  std::uint64_t found = 0;
  for (const Snapshot& one : snapshots_) found = one.end <= end ? one.begin : found;
  return found;
}

GroupsPlace find_groups_place(Storage& storage, const std::vector<SegmentRef>& segments, std::uint64_t serial) {
  GroupsPlace first;  // of what there is
  for (auto one = segments.rbegin(); one != segments.rend(); ++one) {
    const Segment& segment = **one;
    if (segment.name.serial >= serial) continue;
    const auto opened = open_segment(storage, segment.name);
    if (!opened || !*opened) continue;
    const SegmentHeader& header = (*opened)->header;
    Window window(*(*opened)->file);
    Names names;
    if (const auto mirror = read_mirror(window, header, names); mirror.footer) {
      const Footer& footer = mirror.footer->footer;
      return footer.groups_serial != 0 ? GroupsPlace{footer.groups_serial, footer.groups_position} : first;
    }
    // It has no footer: its frames say it.
    GroupsNotes notes;
    const std::uint64_t end = end_of(segment, header);
    FrameScanner scanner(window, header, page_bytes, end);
    for (auto found = scanner.next(); found != FrameScanner::Found::end; found = scanner.next()) {
      if (found == FrameScanner::Found::frame) notes.visit(scanner.frame());
    }
    if (const std::uint64_t position = notes.snapshot_up_to(end); position != 0) {
      return {header.serial, position};
    }
    if (const std::uint64_t position = notes.first_up_to(end); position != 0) {
      first = {header.serial, position};
    }
  }
  return first;
}

result<Replayed> replay_groups(Storage& storage, const std::vector<SegmentRef>& segments, const GroupsPlace& place,
                               const std::optional<DedupRules>& rules) {
  auto replay = replay_from(storage, segments, place, rules);
  // A snapshot that is damaged, or that a crash has cut off: what is in front of it says the same.
  if (replay && !replay->is_sound()) replay = replay_from(storage, segments, {}, rules);
  if (!replay) return replay.error();
  return std::move(replay->now());
}

}  // namespace bus::detail
