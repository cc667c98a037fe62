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

/// What groups have done, taken frame by frame.
class Replay {
 public:
  void take(const FoundFrame& frame, std::uint64_t base_offset) {
    const FrameKind kind = frame.head.kind;
    if (kind == FrameKind::snapshot) {
      if (!snapshot_.add(frame.body)) return;
      state_ = snapshot_.state();
      is_sound_ = true;
    } else if (kind == FrameKind::control) {
      (void)apply_items(frame.body, state_);
    } else if (kind == FrameKind::tagged_record) {
      auto payload = frame.body;
      const auto fields = decode_fields(payload);
      if (!fields || !fields->settles) return;
      items_.clear();
      items_.done(fields->settles->queue, fields->settles->offset, fields->settles->offset + 1);
      (void)apply_items(items_.bytes(), state_);
      bury(fields->settles->queue, base_offset + frame.head.number);
    }
  }
  /// It began with the first that groups ever did.
  void note_first(const FoundFrame& frame) noexcept { is_sound_ = frame.head.kind == FrameKind::control; }

  /// Whether what was taken is enough to know the state.
  bool is_sound() const noexcept { return is_sound_; }
  GroupState& state() noexcept { return state_; }

 private:
  /// A message of that queue is a dead letter now.
  void bury(std::uint32_t queue, std::uint64_t letter) {
    const auto settled = state_.queues.find(queue);
    if (settled == state_.queues.end()) return;
    const std::string dead = std::string(dead_prefix) + settled->second.spec.group;
    for (auto& [id, one] : state_.queues) {
      if (one.spec.group == dead) learn_letter(one, letter);
    }
  }

  GroupState state_;
  SnapshotReader snapshot_;
  GroupItems items_;
  bool is_sound_ = false;
};

result<Replay> replay_from(Storage& storage, const std::vector<SegmentRef>& segments, const GroupsPlace& begin) {
  Replay replay;
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
      if (serial == begin.serial && frame.position < begin.position) continue;
      if (serial == begin.serial && frame.position == begin.position) replay.note_first(frame);
      replay.take(frame, header.base_offset);
    }
  }
  return replay;
}

}  // namespace

void GroupsNotes::visit(const FoundFrame& frame) {
  const bool is_snapshot = frame.head.kind == FrameKind::snapshot;
  if (is_snapshot && !in_snapshot_) snapshots_.push_back(frame.position);
  in_snapshot_ = is_snapshot;
  if (frame.head.kind == FrameKind::control && control_ == 0) control_ = frame.position;
}

std::uint64_t GroupsNotes::snapshot_up_to(std::uint64_t end) const noexcept {
  std::uint64_t found = 0;
  for (const std::uint64_t position : snapshots_) found = position < end ? position : found;
  return found;
}

GroupsPlace find_groups_place(Storage& storage, const std::vector<SegmentRef>& segments, std::uint64_t serial) {
  GroupsPlace first;  // of what they did
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
    if (const std::uint64_t position = notes.first_control_up_to(end); position != 0) {
      first = {header.serial, position};
    }
  }
  return first;
}

result<GroupState> replay_groups(Storage& storage, const std::vector<SegmentRef>& segments, const GroupsPlace& place) {
  auto replay = replay_from(storage, segments, place);
  // A snapshot that is damaged, or that a crash has cut off: what is in front of it says the same.
  if (replay && !replay->is_sound()) replay = replay_from(storage, segments, {});
  if (!replay) return replay.error();
  return std::move(replay->state());
}

}  // namespace bus::detail
