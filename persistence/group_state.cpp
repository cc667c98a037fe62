// SPDX-License-Identifier: MIT OR Apache-2.0
#include "persistence/group_state.hpp"

#include <bus/limits.hpp>
#include <bus/persistence/group.hpp>

#include "persistence/format.hpp"
#include "persistence/little_endian.hpp"

#include <algorithm>
#include <iterator>
#include <limits>

namespace bus::detail {
namespace {

using Bytes = std::vector<std::byte>;
using Offsets = std::map<std::uint64_t, Progress>;

constexpr std::uint64_t no_offset = std::numeric_limits<std::uint64_t>::max();  // for there is no end behind it

void erase_between(Offsets& offsets, std::uint64_t begin, std::uint64_t end) noexcept {
  if (begin < end) offsets.erase(offsets.lower_bound(begin), offsets.lower_bound(end));
}

}  // namespace

// --- Offsets. ---

void OffsetSet::add(std::uint64_t begin, std::uint64_t end) {
  if (begin >= end) return;
  auto range = ranges_.upper_bound(begin);
  if (range != ranges_.begin() && std::prev(range)->second >= begin) {
    --range;
  } else {
    range = ranges_.emplace_hint(range, begin, end);
  }
  auto behind = std::next(range);
  for (; behind != ranges_.end() && behind->first <= end; ++behind) end = std::max(end, behind->second);
  range->second = std::max(range->second, end);
  ranges_.erase(std::next(range), behind);
}

void OffsetSet::remove_below(std::uint64_t offset) noexcept {
  const auto behind = ranges_.lower_bound(offset);
  if (behind == ranges_.begin()) return;
  const auto last = std::prev(behind);
  ranges_.erase(ranges_.begin(), last);
  auto node = ranges_.extract(last);
  if (node.mapped() <= offset) return;
  node.key() = offset;
  ranges_.insert(std::move(node));
}

bool OffsetSet::contains(std::uint64_t offset) const noexcept {
  const auto behind = ranges_.upper_bound(offset);
  return behind != ranges_.begin() && std::prev(behind)->second > offset;
}

std::uint64_t OffsetSet::count(std::uint64_t begin, std::uint64_t end) const noexcept {
  std::uint64_t count = 0;
  for (const auto& [first, last] : ranges_) {
    const std::uint64_t from = std::max(first, begin);
    const std::uint64_t to = std::min(last, end);
    if (from < to) count += to - from;
  }
  return count;
}

// --- Queues. ---

bool is_dead_topic(std::string_view topic) noexcept { return topic.starts_with(dead_prefix); }
bool asks_for_dead_letters(const std::vector<TopicPattern>& patterns) noexcept {
  return std::ranges::any_of(patterns, [](const TopicPattern& pattern) { return is_dead_topic(pattern.view()); });
}
bool has_dead_letters(const QueueSpec& spec) noexcept { return spec.group.starts_with(dead_prefix); }

void come_to(QueueState& queue, std::uint64_t next) noexcept {
  if (next <= queue.next) return;
  queue.next = next;
  queue.done.remove_below(next);
  erase_between(queue.ahead, 0, next);
}

std::uint64_t first_not_done(const QueueState& queue) noexcept {
  const auto& done = queue.done.ranges();
  return done.empty() || done.begin()->first > queue.next ? queue.next : done.begin()->second;
}

void go_back(QueueState& queue, const std::map<std::uint64_t, std::uint64_t>& not_taken) {
  const std::uint64_t next = not_taken.begin()->first;
  std::uint64_t done_from = next;
  const auto not_done = [&](std::uint64_t begin, std::uint64_t end) {
    queue.done.add(done_from, begin);
    done_from = end;
  };
  auto range = not_taken.begin();
  const auto first_open = queue.open.lower_bound(next);
  for (auto open = first_open; range != not_taken.end() || open != queue.open.end();) {
    if (open == queue.open.end() || (range != not_taken.end() && range->first < open->first)) {
      not_done(range->first, range->second);
      ++range;
    } else {
      not_done(open->first, open->first + 1);
      if (open->second != Progress()) queue.ahead.insert(*open);
      ++open;
    }
  }
  queue.done.add(done_from, queue.next);
  queue.open.erase(first_open, queue.open.end());
  queue.next = next;
}

void learn_letter(QueueState& queue, std::uint64_t offset) {
  if (offset < queue.next || offset == no_offset) return;
  if (!queue.done.contains(offset)) queue.open.try_emplace(queue.open.end(), offset);
  come_to(queue, offset + 1);
}

// --- Parts: what items and the frames of snapshots are made of. ---
//
// [u8 kind][u24 bytes of the body, in units of eight][u32 number][body][zeros to eight]

namespace {

constexpr std::size_t part_head_bytes = 8;

/// Returns: where the body goes, which is zeros.
std::byte* append_part(Bytes& out, std::uint8_t kind, std::uint32_t number, std::size_t body_bytes) {
  const std::size_t at = out.size();
  out.resize(at + part_head_bytes + padded(body_bytes));
  const auto units = static_cast<std::uint32_t>(padded(body_bytes) / frame_alignment);
  return Writer(out.data() + at).put(kind | units << 8).put(number).at();
}

struct Part {
  std::uint8_t kind;
  std::uint32_t number;
  std::span<const std::byte> body;
};

std::optional<Part> take_part(std::span<const std::byte>& in) noexcept {
  if (in.size() < part_head_bytes) return std::nullopt;
  const auto kind_and_units = take<std::uint32_t>(in);
  const auto number = take<std::uint32_t>(in);
  const std::size_t bytes = std::size_t{kind_and_units >> 8} * frame_alignment;
  if (bytes > in.size()) return std::nullopt;
  const Part part{static_cast<std::uint8_t>(kind_and_units), number, in.first(bytes)};
  in = in.subspan(bytes);
  return part;
}

/// Of at most so many bytes.
std::optional<std::string_view> take_text(std::span<const std::byte>& in, std::uint64_t size,
                                          std::size_t most) noexcept {
  if (size > most || size > in.size()) return std::nullopt;
  const auto text = text_of(in.first(static_cast<std::size_t>(size)));
  in = in.subspan(text.size());
  return text;
}

// --- Of what a queue is. ---

constexpr std::size_t spec_head_bytes = 16;

std::size_t pattern_bytes(const TopicPattern& pattern) noexcept { return 1 + pattern.view().size(); }

void put_pattern(Writer& out, const TopicPattern& pattern) noexcept {
  out.put(static_cast<std::uint8_t>(pattern.view().size())).put(bytes_of(pattern.view()));
}

bool take_patterns(std::uint32_t count, std::span<const std::byte> in, std::vector<TopicPattern>& patterns) {
  for (; count != 0; --count) {
    if (in.empty()) return false;
    const auto size = take<std::uint8_t>(in);
    const auto text = take_text(in, size, limits::max_topic_bytes);
    if (!text) return false;
    auto pattern = TopicPattern::parse(*text);
    if (!pattern) return false;
    patterns.push_back(std::move(*pattern));
  }
  return true;
}

void append_spec(Bytes& out, std::uint8_t kind, const QueueSpec& spec, std::span<const TopicPattern> patterns) {
  std::size_t bytes = spec_head_bytes + spec.group.size() + spec.member.size();
  for (const TopicPattern& pattern : patterns) bytes += pattern_bytes(pattern);
  Writer body(append_part(out, kind, spec.id, bytes));
  body.put(spec.begin)
      .put(static_cast<std::uint32_t>(patterns.size()))
      .put(static_cast<std::uint8_t>(spec.mode))
      .put(static_cast<std::uint8_t>(spec.group.size()))
      .put(static_cast<std::uint8_t>(spec.member.size()))
      .zeros(1)
      .put(bytes_of(spec.group))
      .put(bytes_of(spec.member));
  for (const TopicPattern& pattern : patterns) put_pattern(body, pattern);
}

std::optional<QueueSpec> decode_spec(const Part& part) {
  auto in = part.body;
  if (in.size() < spec_head_bytes) return std::nullopt;
  QueueSpec spec;
  spec.id = part.number;
  spec.begin = take<std::uint64_t>(in);
  const auto patterns = take<std::uint32_t>(in);
  spec.mode = static_cast<QueueMode>(take<std::uint8_t>(in));
  const auto group_bytes = take<std::uint8_t>(in);
  const auto member_bytes = take<std::uint8_t>(in);
  take<std::uint8_t>(in);
  const auto group = take_text(in, group_bytes, dead_prefix.size() + limits::max_name_bytes);
  if (!group) return std::nullopt;
  const auto member = take_text(in, member_bytes, limits::max_name_bytes);
  if (!member) return std::nullopt;
  // The highest id has none behind it.
  if (spec.id == 0 || spec.id == std::numeric_limits<std::uint32_t>::max()) return std::nullopt;
  if (spec.mode < QueueMode::competing || spec.mode > QueueMode::broadcast) return std::nullopt;
  if (group->empty() || member->empty() == (spec.mode == QueueMode::broadcast)) return std::nullopt;
  spec.group = *group;
  spec.member = *member;
  if (!take_patterns(patterns, in, spec.patterns)) return std::nullopt;
  return spec;
}

}  // namespace

// --- Items. ---

namespace {

enum ItemKind : std::uint8_t {
  made_item = 1,
  deleted_item = 2,
  done_item = 3,
  tried_item = 4,
  used_item = 5,
  limited_item = 6,
};

constexpr std::size_t tried_head_bytes = 32;

}  // namespace

void GroupItems::made(const QueueSpec& spec) {
  append_spec(bytes_, made_item, spec, spec.patterns);
  last_done_ = 0;
}

void GroupItems::deleted(std::uint32_t queue) {
  append_part(bytes_, deleted_item, queue, 0);
  last_done_ = 0;
}

void GroupItems::done(std::uint32_t queue, std::uint64_t begin, std::uint64_t end) {
  if (begin >= end) return;
  if (last_done_ != 0) {
    const auto queue_of_last = read_at_byte<std::uint32_t>(bytes_, last_done_ - 4);
    const auto end_of_last = read_at_byte<std::uint64_t>(bytes_, last_done_ + 8);
    if (queue_of_last == queue && end_of_last == begin) {
      Writer(bytes_.data() + last_done_ + 8).put(end);
      return;
    }
  }
  std::byte* const body = append_part(bytes_, done_item, queue, 16);
  Writer(body).put(begin).put(end);
  last_done_ = static_cast<std::size_t>(body - bytes_.data());
}

void GroupItems::tried(std::uint32_t queue, std::uint64_t offset, const Progress& progress) {
  const auto first = cut(progress.first_error);
  const auto last = cut(progress.last_error);
  Writer(append_part(bytes_, tried_item, queue, tried_head_bytes + first.size() + last.size()))
      .put(offset)
      .put(progress.due_ns)
      .put(progress.delay_ns)
      .put(static_cast<std::uint16_t>(first.size()))
      .put(static_cast<std::uint16_t>(last.size()))
      .put(progress.attempts)
      .zeros(3)
      .put(bytes_of(first))
      .put(bytes_of(last));
  last_done_ = 0;
}

void GroupItems::used(std::uint32_t queue, bool in_use) {
  Writer(append_part(bytes_, used_item, queue, 8)).put(std::uint8_t{in_use});
  last_done_ = 0;
}

void GroupItems::limited(std::uint32_t queue, std::uint64_t lag_bytes) {
  Writer(append_part(bytes_, limited_item, queue, 8)).put(lag_bytes);
  last_done_ = 0;
}

void GroupItems::cut_to(std::size_t bytes) noexcept {
  bytes_.erase(bytes_.begin() + static_cast<std::ptrdiff_t>(bytes), bytes_.end());
  last_done_ = 0;
}

namespace {

void apply_made(const Part& item, GroupState& state) {
  if (state.queues.contains(item.number)) return;
  auto spec = decode_spec(item);
  if (!spec) return;
  const std::uint64_t begin = spec->begin;
  state.queues.emplace(item.number, QueueState{.spec = std::move(*spec), .next = begin});
  state.next_id = std::max(state.next_id, item.number + 1);
}

void apply_done(std::span<const std::byte> body, QueueState& queue) {
  if (body.size() < 16) return;
  const auto begin = take<std::uint64_t>(body);
  const auto end = take<std::uint64_t>(body);
  const std::uint64_t behind = std::max(begin, queue.next);
  queue.done.add(behind, end);
  erase_between(queue.ahead, behind, end);
  erase_between(queue.open, begin, end);
}

void apply_tried(std::span<const std::byte> body, QueueState& queue) {
  if (body.size() < tried_head_bytes) return;
  const auto offset = take<std::uint64_t>(body);
  Progress progress;
  progress.due_ns = take<std::int64_t>(body);
  progress.delay_ns = take<std::int64_t>(body);
  const auto first_bytes = take<std::uint16_t>(body);
  const auto last_bytes = take<std::uint16_t>(body);
  progress.attempts = take<std::uint8_t>(body);
  body = body.subspan(3);
  const auto first = take_text(body, first_bytes, max_error_bytes);
  if (!first) return;
  const auto last = take_text(body, last_bytes, max_error_bytes);
  if (!last || offset == no_offset) return;
  progress.first_error = *first;
  progress.last_error = *last;

  const bool behind = offset >= queue.next;
  if (behind && queue.done.contains(offset)) return;
  Offsets& offsets = behind ? queue.ahead : queue.open;
  auto known = offsets.find(offset);
  if (known == offsets.end()) {
    if (behind) offsets.emplace(offset, std::move(progress));
  } else if (progress.attempts >= known->second.attempts) {
    known->second = std::move(progress);
  }
}

void apply_item(const Part& item, GroupState& state) {
  // An id is not given again though the item that made its queue is lost.
  if (item.kind >= made_item && item.kind <= limited_item && item.number != std::numeric_limits<std::uint32_t>::max()) {
    state.next_id = std::max(state.next_id, item.number + 1);
  }
  if (item.kind == made_item) return apply_made(item, state);
  const auto queue = state.queues.find(item.number);
  if (queue == state.queues.end()) return;
  switch (item.kind) {
    case deleted_item: state.queues.erase(queue); break;
    case done_item: apply_done(item.body, queue->second); break;
    case tried_item: apply_tried(item.body, queue->second); break;
    case used_item:
      if (!item.body.empty()) queue->second.in_use = item.body[0] != std::byte{0};
      break;
    case limited_item:
      if (auto body = item.body; body.size() >= 8) queue->second.lag_bytes = take<std::uint64_t>(body);
      break;
    default: break;
  }
}

}  // namespace

bool apply_items(std::span<const std::byte> items, GroupState& state) {
  while (!items.empty()) {
    const auto item = take_part(items);
    if (!item) return false;
    apply_item(*item, state);
  }
  return true;
}

// --- Snapshots. ---

namespace {

constexpr std::uint8_t head_frame = 0;
constexpr std::uint8_t queue_frame = 1;
enum PartKind : std::uint8_t {
  spec_part = 1,
  patterns_part = 2,
  open_part = 3,
  done_part = 4,
  ahead_part = 5,
  lag_part = 6,
};

constexpr std::size_t snapshot_head_bytes = 16;
constexpr std::size_t max_snapshot_frame_bytes = std::size_t{1} << 26;  // a part has room for more

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
constexpr std::size_t max_number_bytes = 10;

void put_number(Bytes& out, std::uint64_t number) {
  for (; number >= 0x80; number >>= 7) out.push_back(static_cast<std::byte>(number | 0x80));
  out.push_back(static_cast<std::byte>(number));
}

bool take_number(std::span<const std::byte>& in, std::uint64_t& number) noexcept {
  number = 0;
  for (unsigned shift = 0; shift < 64 && !in.empty(); shift += 7) {
    const auto byte = take<std::uint8_t>(in);
    if (shift == 63 && byte > 1) return false;
    number |= std::uint64_t{byte & 0x7FU} << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

void put_progress(Bytes& out, const Progress& progress) {
  out.push_back(static_cast<std::byte>(progress.attempts));
  put_number(out, static_cast<std::uint64_t>(progress.due_ns));
  put_number(out, static_cast<std::uint64_t>(progress.delay_ns));
  for (const std::string_view error : {cut(progress.first_error), cut(progress.last_error)}) {
    put_number(out, error.size());
    const auto bytes = bytes_of(error);
    out.insert(out.end(), bytes.begin(), bytes.end());
  }
}
constexpr std::size_t max_progress_bytes = 1 + 4 * max_number_bytes + 2 * max_error_bytes;
static_assert(2 * snapshot_head_bytes + part_head_bytes + 3 * max_number_bytes + max_progress_bytes <
              min_snapshot_frame_bytes);

bool take_progress(std::span<const std::byte> in, Progress& progress) {
  if (in.empty()) return false;
  progress.attempts = take<std::uint8_t>(in);
  std::uint64_t due = 0;
  std::uint64_t delay = 0;
  if (!take_number(in, due) || !take_number(in, delay)) return false;
  progress.due_ns = static_cast<std::int64_t>(due);
  progress.delay_ns = static_cast<std::int64_t>(delay);
  for (std::string* const error : {&progress.first_error, &progress.last_error}) {
    std::uint64_t size = 0;
    if (!take_number(in, size)) return false;
    const auto text = take_text(in, size, max_error_bytes);
    if (!text) return false;
    *error = *text;
  }
  return true;
}

/// Fills frames with the parts of queues.
class SnapshotWriter {
 public:
  explicit SnapshotWriter(std::size_t frame_bytes)
      : frame_bytes_(std::clamp(frame_bytes, min_snapshot_frame_bytes, max_snapshot_frame_bytes) / frame_alignment *
                     frame_alignment) {
    frames_.emplace_back(snapshot_head_bytes);
  }

  void add(const QueueState& queue) {
    queue_ = &queue;
    begin_frame(false);
    append_spec(frames_.back(), spec_part, queue.spec, {});
    if (queue.lag_bytes != 0) Writer(append_part(frames_.back(), lag_part, 1, 8)).put(queue.lag_bytes);
    for (const TopicPattern& pattern : queue.spec.patterns) {
      Bytes& out = room(patterns_part, pattern_bytes(pattern));
      out.resize(out.size() + pattern_bytes(pattern));
      Writer at(out.data() + out.size() - pattern_bytes(pattern));
      put_pattern(at, pattern);
    }
    add(open_part, queue.open);
    for (const auto& [begin, end] : queue.done.ranges()) put_run(done_part, begin, end);
    add(ahead_part, queue.ahead);
    end_part();
  }

  /// One of another kind.
  void add(Bytes frame) { frames_.push_back(std::move(frame)); }

  std::vector<Bytes> finish(std::uint32_t next_id) {
    Writer(frames_.front().data())
        .put(head_frame)
        .zeros(3)
        .put(static_cast<std::uint32_t>(frames_.size() - 1))
        .put(next_id)
        .zeros(4);
    return std::move(frames_);
  }

 private:
  void add(PartKind kind, const Offsets& offsets) {
    for (auto at = offsets.begin(); at != offsets.end();) {
      const std::uint64_t begin = at->first;
      if (at->second != Progress{}) {
        put_one(kind, begin, at->second);
        ++at;
        continue;
      }
      std::uint64_t end = begin;
      for (; at != offsets.end() && at->first == end && at->second == Progress{}; ++at) ++end;
      put_run(kind, begin, end);
    }
  }

  void put_run(PartKind kind, std::uint64_t begin, std::uint64_t end) {
    Bytes& out = room(kind, 2 * max_number_bytes);
    put_number(out, begin - std::exchange(last_end_, end));
    put_number(out, end - begin);
  }

  void put_one(PartKind kind, std::uint64_t offset, const Progress& progress) {
    progress_.clear();
    put_progress(progress_, progress);
    Bytes& out = room(kind, 3 * max_number_bytes + progress_.size());
    put_number(out, offset - std::exchange(last_end_, offset + 1));
    put_number(out, 0);
    put_number(out, progress_.size());
    out.insert(out.end(), progress_.begin(), progress_.end());
  }

  void begin_frame(bool goes_on) {
    Bytes& frame = frames_.emplace_back(snapshot_head_bytes);
    Writer(frame.data())
        .put(queue_frame)
        .put(static_cast<std::uint8_t>(goes_on))
        .put(static_cast<std::uint8_t>(queue_->in_use))
        .zeros(1)
        .put(queue_->spec.id)
        .put(queue_->next);
  }

  /// Where one more entry of at most so many bytes goes.
  Bytes& room(PartKind kind, std::size_t bytes) {
    if (part_at_ == 0 || part_kind_ != kind) {
      end_part();
      bytes += part_head_bytes;
    }
    if (frames_.back().size() + bytes > frame_bytes_) {
      end_part();
      begin_frame(true);
    }
    if (part_at_ == 0) {
      part_at_ = frames_.back().size();
      append_part(frames_.back(), kind, 0, 0);
      part_kind_ = kind;
      entries_ = 0;
      last_end_ = 0;
    }
    ++entries_;
    return frames_.back();
  }

  void end_part() {
    if (part_at_ == 0) return;
    Bytes& frame = frames_.back();
    frame.resize(padded(frame.size()));
    const auto units = static_cast<std::uint32_t>((frame.size() - part_at_ - part_head_bytes) / frame_alignment);
    Writer(frame.data() + part_at_).put(part_kind_ | units << 8).put(entries_);
    part_at_ = 0;
  }

  std::size_t frame_bytes_;
  std::vector<Bytes> frames_;
  const QueueState* queue_ = nullptr;
  std::size_t part_at_ = 0;  // where the part begins that is being filled; 0: none
  std::uint8_t part_kind_ = 0;
  std::uint32_t entries_ = 0;
  std::uint64_t last_end_ = 0;
  Bytes progress_;
};

}  // namespace

std::vector<std::vector<std::byte>> encode_snapshot(const GroupState& state, std::size_t frame_bytes,
                                                    std::vector<std::vector<std::byte>> others) {
  SnapshotWriter writer(frame_bytes);
  for (const auto& [id, queue] : state.queues) writer.add(queue);
  for (auto& frame : others) writer.add(std::move(frame));
  return writer.finish(state.next_id);
}

namespace {

/// The entries of one list, of which each begins at or behind the end of the last.
class Runs {
 public:
  explicit Runs(const Part& part) noexcept : entries_(part.number), in_(part.body) {}

  struct Run {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    std::optional<std::span<const std::byte>> progress = {};  ///< of one
  };
  bool has_next() const noexcept { return entries_ != 0; }
  std::optional<Run> next() noexcept {
    --entries_;
    Run run;
    std::uint64_t gap = 0;
    std::uint64_t count = 0;
    if (!take_number(in_, gap) || !take_number(in_, count)) return std::nullopt;
    if (count == 0) {
      std::uint64_t bytes = 0;
      if (!take_number(in_, bytes) || bytes > in_.size()) return std::nullopt;
      run.progress = in_.first(static_cast<std::size_t>(bytes));
      in_ = in_.subspan(run.progress->size());
      count = 1;
    }
    if (gap > no_offset - last_end_ || count > no_offset - last_end_ - gap) return std::nullopt;
    run.begin = last_end_ + gap;
    run.end = last_end_ = run.begin + count;
    return run;
  }

 private:
  std::uint32_t entries_;
  std::span<const std::byte> in_;
  std::uint64_t last_end_ = 0;
};

bool take_done(const Part& part, QueueState& queue) {
  for (Runs runs(part); runs.has_next();) {
    const auto run = runs.next();
    if (!run || run->progress || run->begin < queue.next) return false;
    const auto& known = queue.done.ranges();
    if (!known.empty() && known.rbegin()->second >= run->begin) return false;
    queue.done.add(run->begin, run->end);
  }
  return true;
}

/// The offsets must be those of the queue's list that are not there yet.
bool take_offsets(const Part& part, QueueState& queue, std::size_t& may_tell) {
  const bool ahead = part.kind == ahead_part;
  Offsets& offsets = ahead ? queue.ahead : queue.open;
  for (Runs runs(part); runs.has_next();) {
    const auto run = runs.next();
    if (!run || (ahead ? run->begin < queue.next : run->end > queue.next)) return false;
    if (!offsets.empty() && offsets.rbegin()->first >= run->begin) return false;
    if (run->end - run->begin > may_tell) return false;
    may_tell -= static_cast<std::size_t>(run->end - run->begin);
    for (std::uint64_t offset = run->begin; offset != run->end; ++offset) {
      if (ahead && queue.done.contains(offset)) return false;
      Progress& progress = offsets.try_emplace(offsets.end(), offset)->second;
      if (run->progress && !take_progress(*run->progress, progress)) return false;
    }
  }
  return true;
}

bool take_lag(const Part& part, QueueState& queue) noexcept {
  auto in = part.body;
  if (in.size() < 8) return false;
  queue.lag_bytes = take<std::uint64_t>(in);
  return true;
}

/// Takes one of the parts behind the first. One that is not known is passed over.
bool take_list(const Part& part, QueueState& queue, std::size_t& may_tell) {
  switch (part.kind) {
    case spec_part: return false;
    case patterns_part: return take_patterns(part.number, part.body, queue.spec.patterns);
    case open_part:
    case ahead_part: return take_offsets(part, queue, may_tell);
    // What is ahead is told behind it.
    case done_part: return queue.ahead.empty() && take_done(part, queue);
    case lag_part: return take_lag(part, queue);
    default: return true;
  }
}

}  // namespace

bool SnapshotReader::add(std::span<const std::byte> frame) {
  whole_ = false;
  const bool taken = take_frame(frame);
  if (!taken) *this = SnapshotReader(most_told_);
  begun_ = taken;
  whole_ = taken && missing_ == 0;
  return whole_;
}

bool SnapshotReader::take_frame(std::span<const std::byte> frame) {
  if (frame.empty()) return false;
  const auto kind = std::to_integer<std::uint8_t>(frame.front());
  if (kind == head_frame) return take_head(frame);
  if (!std::exchange(begun_, false) || missing_ == 0) return false;
  --missing_;
  if (kind == queue_frame) return take_queue(frame);
  queue_ = 0;  // it is another's
  return true;
}

bool SnapshotReader::take_head(std::span<const std::byte> frame) {
  *this = SnapshotReader(most_told_);
  if (frame.size() < snapshot_head_bytes) return false;
  frame = frame.subspan(4);
  missing_ = take<std::uint32_t>(frame);
  state_.next_id = take<std::uint32_t>(frame);
  may_tell_ = most_told_;
  return state_.next_id != 0;
}

bool SnapshotReader::take_queue(std::span<const std::byte> frame) {
  if (frame.size() < snapshot_head_bytes) return false;
  take<std::uint8_t>(frame);
  const auto goes_on = take<std::uint8_t>(frame);
  const auto in_use = take<std::uint8_t>(frame);
  take<std::uint8_t>(frame);
  const auto id = take<std::uint32_t>(frame);
  const auto next = take<std::uint64_t>(frame);
  if (goes_on > 1 || in_use > 1) return false;
  if (goes_on == 1) {
    if (id == 0 || id != queue_ || state_.queues.at(id).next != next) return false;
  } else {
    const auto part = take_part(frame);
    if (!part || part->kind != spec_part || part->number != id) return false;
    auto spec = decode_spec(*part);
    if (!spec || !state_.queues.emplace(id, QueueState{.spec = std::move(*spec), .next = next}).second) return false;
    state_.next_id = std::max(state_.next_id, id + 1);
    queue_ = id;
  }
  QueueState& queue = state_.queues.at(id);
  queue.in_use = in_use == 1;
  while (!frame.empty()) {
    const auto part = take_part(frame);
    if (!part || !take_list(*part, queue, may_tell_)) return false;
  }
  return true;
}

}  // namespace bus::detail
