// SPDX-License-Identifier: MIT OR Apache-2.0
#include "persistence/recovery.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace bus::detail {

Ruling rule(const Evidence& evidence) noexcept {
  return recovery_table[(evidence.proven ? 4U : 0U) + (evidence.unwritten ? 2U : 0U) + (evidence.followed ? 1U : 0U)]
      .ruling;
}

namespace {

constexpr std::uint64_t all_of_it = std::numeric_limits<std::uint64_t>::max();

struct Batch {
  std::uint64_t begin;
  std::uint64_t end;
  std::uint32_t end_record;  ///< number of the first record behind it
};

class Examination {
 public:
  Examination(Window& window, const SegmentHeader& header, std::optional<std::uint32_t> expected_records,
              FrameVisitor* visitor)
      : window_(window), header_(header), expected_records_(expected_records), visitor_(visitor) {}

  SegmentState run() {
    walk();
    if (expected_records_) proven_ = all_of_it;
    if (!state_.footer) look_at_tail();
    judge();
    if (!state_.footer && !expected_records_) state_.dirty_end = std::max(state_.end, end_of_debris());
    state_.proven = std::min(proven_, state_.end);
    return std::move(state_);
  }

 private:
  // --- What is there. ---

  void walk() {
    FrameScanner scanner(window_, header_, page_bytes, header_.mirror);
    for (;;) {
      const auto found = scanner.next();
      if (found == FrameScanner::Found::end) break;
      if (found == FrameScanner::Found::damage) {
        regions_.push_back({scanner.damage()});
        if (regions_.back().found.first_mark != 0) end_batch(regions_.back().found.first_mark);
        continue;
      }
      last_genuine_ = scanner.position();
      const FoundFrame& frame = scanner.frame();
      if (visitor_ != nullptr) visitor_->visit(frame);
      if (frame.head.kind == FrameKind::mark) note_mark(frame);
      if (frame.head.kind == FrameKind::verdict) {
        if (const auto note = decode_verdict(frame.body)) notes_.push_back(*note);
      }
      if (frame.head.kind == FrameKind::footer) {
        if (const auto footer = decode_footer(frame.body)) {
          state_.footer = footer->footer;
          proven_ = std::max(proven_, footer->footer.end);  // not what seals it
          break;
        }
      }
    }
    state_.end = scanner.position();
    state_.next_record = scanner.next_record();
    state_.next_control = scanner.next_control();
  }

  /// A mark ends the batch in front of it. One that an opening has cut off says that it is longer.
  void end_batch(std::uint64_t mark) {
    if (!batches_.empty()) batches_.back().end = std::min(batches_.back().end, mark);
  }

  void note_mark(const FoundFrame& frame) {
    const auto mark = decode_mark(frame.body);
    if (!mark) return;
    proven_ = std::max(proven_, mark->proven);
    std::erase_if(batches_, [this](const Batch& batch) { return batch.end < proven_; });
    end_batch(frame.position);
    batches_.push_back({frame.position, frame.position + mark->batch_bytes, frame.head.next_record + mark->records});
  }

  /// What is missing behind the last genuine frame.
  void look_at_tail() {
    const std::uint64_t begin = state_.end;
    if (expected_records_) {
      if (state_.next_record < *expected_records_) {
        add_to_tail(header_.mirror, *expected_records_ - state_.next_record, true);
      }
      return;
    }
    if (!batches_.empty() && batches_.back().end > begin && batches_.back().end <= header_.mirror) {
      const std::uint32_t end_record = batches_.back().end_record;
      const std::uint32_t missing = end_record > state_.next_record ? end_record - state_.next_record : 0;
      add_to_tail(batches_.back().end, missing, true);
    }
    // A batch ends with a blank word. Another one stands there only if something has been written behind it.
    // And what stood there had at least a mark: where not even that was written whole, it was torn.
    if (state_.end >= header_.mirror || is_unwritten(state_.end)) return;
    const std::uint64_t least = std::min(state_.end + head_bytes + mark_bytes, header_.mirror);
    add_to_tail(std::max(first_unwritten(state_.end), least), 0, false);
  }

  void add_to_tail(std::uint64_t end, std::uint32_t records, bool counted) {
    regions_.push_back({{.begin = state_.end,
                         .end = end,
                         .first_record = state_.next_record,
                         .records = records,
                         .first_control = state_.next_control},
                        counted});
    state_.end = end;
    state_.next_record += records;
  }

  bool is_unwritten(std::uint64_t position) { return unwritten_at(window_, header_, position, header_.mirror); }

  std::uint64_t first_unwritten(std::uint64_t position) {
    for (; position < header_.mirror; position += frame_alignment) {
      if (is_unwritten(position)) return position;
      if (window_.at(position, frame_alignment).empty()) break;  // the file is too short
    }
    return header_.mirror;
  }

  /// Where the bytes end that stand behind the end and could be taken for a part of the log later. They need not follow
  /// each other: an opening may have been struck while it made them blank. In the first life of a file all that is not
  /// blank counts; in a later one, where old bytes stand everywhere, the frames that are genuine in this one.
  std::uint64_t end_of_debris() {
    std::uint64_t end = std::max(state_.end, last_genuine_);
    for (std::uint64_t at = end; at + frame_alignment <= header_.mirror; at += frame_alignment) {
      const auto bytes = window_.at(at, head_bytes);
      if (bytes.size() < frame_alignment) break;
      if (header_.previous_salt == 0) {
        if (!is_blank(header_.salt, at, bytes.first(frame_alignment))) end = at + frame_alignment;
      } else if (bytes.size() == head_bytes) {
        const auto head = decode_head(bytes.first<head_bytes>(), header_.salt, at, header_.mirror);
        if (head) end = at + head->frame_bytes();
      }
    }
    return std::min(end, header_.mirror);
  }

  // --- What became of it. ---

  struct Region {
    DamagedRegion found;
    bool counted = true;
  };

  /// The batch that reaches over `position`, if its mark is there.
  const Batch* batch_over(std::uint64_t position) const {
    const auto over = [position](const Batch& batch) { return batch.begin <= position && position < batch.end; };
    const auto found = std::ranges::find_if(batches_, over);
    return found != batches_.end() ? &*found : nullptr;
  }

  /// Makes two of a region that reaches over `position`, where record number `border` would begin.
  void split(std::size_t i, std::uint64_t position, std::uint32_t border) {
    if (regions_[i].found.begin >= position || position >= regions_[i].found.end) return;
    Region second = regions_[i];
    DamagedRegion& first = regions_[i].found;
    const std::uint32_t end_record = first.first_record + first.records;
    border = std::clamp(border, first.first_record, end_record);
    first.end = second.found.begin = position;
    first.records = border - first.first_record;
    second.found.first_record = border;
    second.found.records = end_record - border;
    regions_[i].counted = true;
    regions_.insert(regions_.begin() + static_cast<std::ptrdiff_t>(i) + 1, second);
  }

  /// One batch may have been durable, and the next one not; one part may have been judged before, and another not.
  void split_regions() {
    for (std::size_t i = 0; i < regions_.size(); ++i) {
      for (const VerdictNote& note : notes_) {
        split(i, note.end, note.first_record + note.records);
        split(i, note.begin, note.first_record);
      }
      if (const Batch* const batch = batch_over(regions_[i].found.begin)) split(i, batch->end, batch->end_record);
    }
  }

  bool unwritten_in(const DamagedRegion& region) { return holds_unwritten(window_, header_, region.begin, region.end); }

  /// Whether a part of the region's batch was never written. It need not be a part of the region.
  bool batch_unwritten(const DamagedRegion& region) {
    const Batch* const batch = batch_over(region.begin);
    if (batch == nullptr) return unwritten_in(region);
    return std::ranges::any_of(regions_, [&](const Region& other) {
      return other.found.begin >= batch->begin && other.found.begin < batch->end && unwritten_in(other.found);
    });
  }

  void judge() {
    split_regions();
    for (const Region& region : regions_) {
      const DamagedRegion& found = region.found;
      JudgedRegion judged{.region = found, .counted = region.counted};
      const auto note = std::ranges::find_if(
          notes_, [&](const VerdictNote& one) { return one.begin <= found.begin && found.end <= one.end; });
      if (note != notes_.end()) {
        judged.verdict = note->verdict;
        judged.known = true;
        state_.damage.push_back(judged);
        continue;
      }
      Evidence evidence{.proven = found.begin < proven_, .followed = found.end <= last_frame_begin()};
      evidence.unwritten = !evidence.proven && batch_unwritten(found);
      const Ruling ruling = rule(evidence);
      judged.verdict = ruling.verdict;
      state_.damage.push_back(judged);
      if (!ruling.cut) continue;
      state_.footer.reset();
      state_.end = found.begin;
      state_.next_record = found.first_record;
      state_.next_control = control_at(found.begin);
      return;
    }
  }

  /// The number of a control frame that is written at `position`, also behind damage: a later scan must take it for
  /// one that comes behind all those whose heads are whole.
  std::uint32_t control_at(std::uint64_t position) {
    FrameScanner scanner(window_, header_, page_bytes, position);
    while (scanner.next() != FrameScanner::Found::end) {
    }
    return scanner.next_control();
  }

  std::uint64_t last_frame_begin() const { return last_genuine_ == 0 ? 0 : last_genuine_ - head_bytes; }

  Window& window_;
  const SegmentHeader& header_;
  const std::optional<std::uint32_t> expected_records_;
  FrameVisitor* const visitor_;
  SegmentState state_;
  std::vector<Region> regions_;
  std::vector<Batch> batches_;  // those that may reach behind what is proven
  std::vector<VerdictNote> notes_;
  std::uint64_t proven_ = page_bytes;
  std::uint64_t last_genuine_ = 0;  // where the last genuine frame ends
};

}  // namespace

SegmentState examine_segment(Window& window, const SegmentHeader& header, std::optional<std::uint32_t> expected_records,
                             FrameVisitor* visitor) {
  return Examination(window, header, expected_records, visitor).run();
}

LogLoss loss_of(const std::string& segment, const SegmentHeader& header, const JudgedRegion& region) {
  LogLoss loss{.segment = segment,
               .begin = region.region.begin,
               .end = region.region.end,
               .first_offset = header.base_offset + region.region.first_record,
               .records = region.region.records,
               .counted = region.counted,
               .verdict = region.verdict,
               .known = region.known};
  switch (region.verdict) {
    case Verdict::torn: loss.reason = "a batch was not written whole before a crash"; break;
    case Verdict::lost: loss.reason = "bytes that were durable are damaged"; break;
    case Verdict::unproven:
      loss.reason = "bytes at the end are damaged, and nothing says whether they were durable";
      break;
  }
  return loss;
}

}  // namespace bus::detail
