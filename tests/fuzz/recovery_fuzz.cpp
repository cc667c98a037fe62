// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What an opening makes of a segment of which the fuzzer has damaged parts: it comes to an end inside the segment, its
// counts add up, and it makes the same of it again; also after it has blanked what it says is to be blanked.
#include "damaged_segment.hpp"

#include "persistence/recovery.hpp"

#include <optional>

namespace {

using namespace bus::detail;

/// The numbers of the records that are there.
class Seen final : public FrameVisitor {
 public:
  explicit Seen(const SegmentHeader& header) : header_(header) {}
  void visit(const FoundFrame& frame) override {
    require(frame.position >= last_end && frame.end() <= header_.mirror);
    last_end = frame.end();
    if (!is_record(frame.head.kind)) return;
    require(records.empty() || frame.head.number > records.back());
    records.push_back(frame.head.number);
  }
  std::uint64_t last_end = page_bytes;
  std::vector<std::uint32_t> records;

 private:
  const SegmentHeader& header_;
};

bool same(const SegmentState& a, const SegmentState& b) {
  return a.end == b.end && a.next_record == b.next_record && a.next_control == b.next_control && a.proven == b.proven &&
         a.dirty_end == b.dirty_end && a.damage == b.damage && a.footer == b.footer;
}

SegmentState examine(MemoryFile& file, const SegmentHeader& header, std::optional<std::uint32_t> expected,
                     std::size_t chunk_bytes) {
  Window window(file, chunk_bytes);
  return examine_segment(window, header, expected);
}

void check(MemoryFile& file, const SegmentHeader& header, std::optional<std::uint32_t> expected) {
  Window window(file, 4096);
  Seen seen(header);
  const SegmentState state = examine_segment(window, header, expected, &seen);
  require(state.end >= page_bytes && state.end <= header.mirror);
  require(state.proven <= state.end);
  require(state.dirty_end <= header.mirror);
  require(state.footer || expected || state.dirty_end >= state.end);
  std::uint64_t position = page_bytes;
  std::uint32_t missing = 0;
  std::uint32_t next = 0;
  for (std::size_t i = 0; i < state.damage.size(); ++i) {
    const JudgedRegion& one = state.damage[i];
    require(one.region.begin >= position && one.region.end <= header.mirror);
    // Of records that are missing behind a last frame that ends where the frames must, no byte is left.
    require(one.region.end > one.region.begin || (expected && one.region.end == header.mirror));
    require(one.region.first_record >= next);
    position = one.region.end;
    next = one.region.first_record + one.region.records;
    if (one.region.begin < state.end || one.region.begin == one.region.end) {
      require(one.region.end <= state.end);
      missing += one.region.records;
    } else {
      // Only what is torn is cut off, and nothing is told behind it.
      require(one.verdict == bus::Verdict::torn && i + 1 == state.damage.size() && one.region.begin == state.end);
      require(!expected && !state.footer);
    }
  }
  const auto kept =
      std::ranges::count_if(seen.records, [&](std::uint32_t number) { return number < state.next_record; });
  require(static_cast<std::uint32_t>(kept) + missing == state.next_record);
  if (expected) require(state.next_record >= *expected || state.footer);
  require(same(state, examine(file, header, expected, sector_bytes)));

  // What an opening does to a segment that goes on.
  if (expected || state.footer || !file.unreadable.empty()) return;
  const std::uint64_t blank_end = std::min(std::max(state.dirty_end, state.end + frame_alignment), header.mirror);
  if (file.content.size() < blank_end) return;
  fill_blank(header.salt, state.end,
             std::span(file.content)
                 .subspan(static_cast<std::size_t>(state.end), static_cast<std::size_t>(blank_end - state.end)));
  BatchEncoder encoder;
  encoder.begin(header, {state.end, state.next_record, state.next_control});
  for (const JudgedRegion& one : state.damage) {
    if (one.known || one.verdict == bus::Verdict::torn) continue;
    std::array<std::byte, verdict_bytes> note;
    const DamagedRegion& region = one.region;
    encode_verdict({region.begin, region.end, region.first_record, region.records, one.verdict}, note);
    encoder.add(FrameKind::verdict, note);
  }
  const auto batch = encoder.finish(state.proven, 0);
  if (state.end + batch.size() > header.mirror || state.end + batch.size() > file.content.size()) return;
  std::ranges::copy(batch, file.content.begin() + static_cast<std::ptrdiff_t>(state.end));
  const SegmentState again = examine(file, header, {}, 4096);
  require(again.end == encoder.place().position && again.next_record == state.next_record);
  require(again.next_control == encoder.place().next_control);
  require(std::ranges::all_of(again.damage, &JudgedRegion::known));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Choices choices(data, size);
  const WholeSegment& whole = choose_segment(choices.take());
  const bool sealed = choices.take() % 4 == 1;
  MemoryFile file = damage(whole, choices);
  check(file, whole.header, sealed ? std::optional(whole.records) : std::nullopt);
  return 0;
}
