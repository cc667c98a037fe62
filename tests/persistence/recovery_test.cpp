// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What an opening makes of a segment, whatever became of it: LOG-2 to LOG-4 as far as one segment goes.
#include "persistence/recovery.hpp"

#include "persistence/test_segment.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace bus::detail {
namespace {

SegmentState examine(const SegmentHeader& header, const Bytes& content, std::optional<std::uint32_t> expected = {}) {
  MemoryFile file(content);
  Window window(file);
  return examine_segment(window, header, expected);
}
SegmentState examine(const TestSegment& segment) { return examine(segment.header, segment.file.content); }

std::vector<std::string> payloads(std::size_t count, std::size_t bytes) {
  std::vector<std::string> all;
  for (std::size_t i = 0; i < count; ++i) all.emplace_back(bytes + i % 11, static_cast<char>('a' + i % 26));
  return all;
}

/// A few hundred records in batches of all sizes.
TestSegment some_segment() {
  TestSegment segment;
  for (const std::size_t count : {1U, 2U, 30U, 1U, 60U, 7U, 96U, 3U}) segment.append(payloads(count, 8));
  return segment;
}

std::vector<std::uint32_t> all_but(std::uint32_t count, const std::vector<std::uint32_t>& missing) {
  std::vector<std::uint32_t> numbers;
  for (std::uint32_t i = 0; i < count; ++i) {
    if (std::ranges::find(missing, i) == missing.end()) numbers.push_back(i);
  }
  return numbers;
}

// --- The table ---

TEST(RecoveryTable, has_one_row_for_each_combination_of_evidence) {
  for (std::size_t i = 0; i < recovery_table.size(); ++i) {
    const Evidence& evidence = recovery_table[i].evidence;
    EXPECT_EQ(i, (evidence.proven ? 4U : 0U) + (evidence.unwritten ? 2U : 0U) + (evidence.followed ? 1U : 0U));
    const Ruling ruling = rule(evidence);
    EXPECT_EQ(ruling.verdict, recovery_table[i].ruling.verdict);
    // LOG-4: what is proven is lost, and only what was never written is torn.
    EXPECT_EQ(ruling.verdict == Verdict::lost, evidence.proven);
    EXPECT_EQ(ruling.verdict == Verdict::torn, !evidence.proven && evidence.unwritten);
    EXPECT_EQ(ruling.cut, ruling.verdict == Verdict::torn);
  }
}

/// Cells, by what is done to a segment of three batches.
class RecoveryCells : public testing::Test {
 protected:
  RecoveryCells() {
    for (const std::size_t count : {4U, 4U, 12U}) segment.append(payloads(count, 300));
  }
  void spoil(std::uint64_t at) { segment.file.content[at] ^= std::byte{1}; }
  void unwrite(std::uint64_t sector) {
    const auto at = static_cast<std::ptrdiff_t>(sector * sector_bytes);
    fill_blank(segment.header.salt, static_cast<std::uint64_t>(at),
               std::span(segment.file.content).subspan(static_cast<std::size_t>(at), sector_bytes));
  }
  const TestSegment::Frame& record(std::uint32_t number) const {
    return *std::ranges::find_if(segment.frames, [number](const TestSegment::Frame& frame) {
      return is_record(frame.kind) && frame.record == number;
    });
  }
  std::vector<Verdict> verdicts() const {
    std::vector<Verdict> all;
    for (const JudgedRegion& one : examine(segment).damage) all.push_back(one.verdict);
    return all;
  }
  using Verdicts = std::vector<Verdict>;
  TestSegment segment;
};

TEST_F(RecoveryCells, nothing_missing) {
  const SegmentState state = examine(segment);
  EXPECT_TRUE(state.damage.empty());
  EXPECT_EQ(state.end, segment.place.position);
  EXPECT_EQ(state.next_record, 20U);
  EXPECT_EQ(state.next_control, 3U);
  EXPECT_EQ(state.proven, segment.batches[2].begin);
  EXPECT_EQ(state.dirty_end, state.end);
}

TEST_F(RecoveryCells, proven_and_followed_is_lost) {
  spoil(record(1).begin + 30);
  EXPECT_EQ(verdicts(), Verdicts{Verdict::lost});
}

TEST_F(RecoveryCells, proven_and_unwritten_is_lost) {
  unwrite(record(2).begin / sector_bytes + 1);
  EXPECT_EQ(verdicts(), Verdicts{Verdict::lost});
}

TEST_F(RecoveryCells, proven_with_nothing_behind_is_lost) {
  const std::uint64_t cut = record(6).begin + 8;
  segment.file.content.resize(cut);
  const SegmentState state = examine(segment.header, segment.file.content, 20);
  ASSERT_EQ(state.damage.size(), 2U) << "of one batch, and of what stood behind it";
  EXPECT_EQ(state.damage[0].verdict, Verdict::lost);
  EXPECT_EQ(state.damage[0].region.first_record, 6U);
  EXPECT_EQ(state.damage[0].region.records, 2U);
  EXPECT_EQ(state.damage[1].verdict, Verdict::lost);
  EXPECT_EQ(state.damage[1].region.records, 12U) << "the next segment's name says so";
}

TEST_F(RecoveryCells, of_the_last_batch_and_followed_is_unproven_and_the_rest_stays) {
  spoil(record(10).begin + 30);
  const SegmentState state = examine(segment);
  ASSERT_EQ(state.damage.size(), 1U);
  EXPECT_EQ(state.damage[0].verdict, Verdict::unproven);
  EXPECT_EQ(state.damage[0].region.first_record, 10U);
  EXPECT_EQ(state.damage[0].region.records, 1U);
  EXPECT_EQ(state.next_record, 20U);
  EXPECT_EQ(state.end, segment.place.position);
}

TEST_F(RecoveryCells, of_the_last_batch_with_nothing_behind_is_unproven_and_its_offsets_are_not_given_again) {
  spoil(record(19).begin + 30);
  const SegmentState state = examine(segment);
  ASSERT_EQ(state.damage.size(), 1U);
  EXPECT_EQ(state.damage[0].verdict, Verdict::unproven);
  EXPECT_TRUE(state.damage[0].counted);
  EXPECT_EQ(state.damage[0].region.records, 1U);
  EXPECT_EQ(state.next_record, 20U);
  EXPECT_EQ(state.end, segment.place.position);
}

TEST_F(RecoveryCells, of_the_last_batch_and_unwritten_is_torn_and_all_behind_goes) {
  unwrite(record(12).begin / sector_bytes + 1);
  const SegmentState state = examine(segment);
  ASSERT_EQ(state.damage.size(), 1U);
  EXPECT_EQ(state.damage[0].verdict, Verdict::torn);
  EXPECT_LE(state.next_record, 13U);
  EXPECT_EQ(state.end, state.damage[0].region.begin);
  EXPECT_GE(state.dirty_end, segment.place.position) << "frames that are whole stand behind, and are to be made blank";
}

TEST_F(RecoveryCells, one_unwritten_sector_says_of_all_damage_in_its_batch_that_nobody_was_told) {
  spoil(record(9).begin + 30);
  unwrite(record(15).begin / sector_bytes + 1);
  const SegmentState state = examine(segment);
  ASSERT_EQ(state.damage.size(), 1U);
  EXPECT_EQ(state.damage[0].verdict, Verdict::torn);
  EXPECT_EQ(state.next_record, 9U);
}

TEST_F(RecoveryCells, of_another_batch_it_says_nothing) {
  segment.append(payloads(4, 300));
  // The mark of the last one is gone, and so is the proof that the one before was durable.
  const std::uint64_t mark = segment.batches[3].begin;
  unwrite(mark / sector_bytes + 1);
  spoil(mark + 4);
  spoil(record(10).begin + 30);
  const SegmentState state = examine(segment);
  ASSERT_EQ(state.damage.size(), 2U);
  EXPECT_EQ(state.damage[0].verdict, Verdict::unproven);
  EXPECT_EQ(state.damage[0].region.first_record, 10U);
  EXPECT_EQ(state.damage[1].verdict, Verdict::torn);
  EXPECT_EQ(state.end, mark);
  EXPECT_EQ(state.next_record, 20U);
}

TEST_F(RecoveryCells, damage_over_the_end_of_a_batch_is_judged_on_both_sides) {
  segment.append(payloads(4, 300));
  const std::uint64_t mark = segment.batches[3].begin;
  spoil(record(19).begin + 4);  // its head, so that it and what follows are one region
  spoil(mark + 4);
  unwrite(mark / sector_bytes + 1);
  const SegmentState state = examine(segment);
  ASSERT_EQ(state.damage.size(), 2U);
  EXPECT_EQ(state.damage[0].verdict, Verdict::unproven);
  EXPECT_EQ(state.damage[0].region.end, mark);
  EXPECT_EQ(state.damage[0].region.records, 1U);
  EXPECT_EQ(state.damage[1].verdict, Verdict::torn);
  EXPECT_EQ(state.next_record, 20U) << "record 19 may have been acknowledged: its offset is not given again";
}

TEST_F(RecoveryCells, what_was_judged_once_keeps_its_verdict) {
  spoil(record(10).begin + 30);
  const SegmentState first = examine(segment);
  const DamagedRegion& region = first.damage.at(0).region;
  std::array<std::byte, verdict_bytes> note;
  encode_verdict({region.begin, region.end, region.first_record, region.records, Verdict::unproven}, note);
  segment.append_frame(FrameKind::verdict, note);
  segment.append(payloads(2, 10));
  const SegmentState later = examine(segment);
  ASSERT_EQ(later.damage.size(), 1U);
  EXPECT_EQ(later.damage[0].verdict, Verdict::unproven) << "though by now it lies in front of what is proven";
  EXPECT_TRUE(later.damage[0].known);
}

TEST_F(RecoveryCells, a_sealed_segment_is_proven_to_its_end) {
  std::vector<std::byte> footer(footer_bytes(0));
  encode_footer({.end = segment.place.position, .records = 20, .controls = 3}, {}, footer.data());
  segment.append_frame(FrameKind::footer, footer);
  spoil(record(19).begin + 30);
  const SegmentState state = examine(segment);
  ASSERT_TRUE(state.footer);
  ASSERT_EQ(state.damage.size(), 1U);
  EXPECT_EQ(state.damage[0].verdict, Verdict::lost);
}

TEST_F(RecoveryCells, a_sector_that_cannot_be_read_is_damage_like_any_other) {
  MemoryFile file(segment.file.content);
  const std::uint64_t sector = record(1).begin / sector_bytes + 1;
  file.unreadable.insert(sector);
  Window window(file);
  const SegmentState state = examine_segment(window, segment.header);
  ASSERT_EQ(state.damage.size(), 1U);
  EXPECT_EQ(state.damage[0].verdict, Verdict::lost);
  EXPECT_GT(window.unreadable(), 0U);
  EXPECT_EQ(state.next_record, 20U);
}

TEST(Recovery, of_an_empty_segment_finds_nothing) {
  const TestSegment segment;
  const SegmentState state = examine(segment);
  EXPECT_TRUE(state.damage.empty());
  EXPECT_EQ(state.end, page_bytes);
  EXPECT_EQ(state.next_record, 0U);
  EXPECT_EQ(state.dirty_end, page_bytes);
}

// --- Exhaustive ---

/// A quarter of the frames each, since there are many bits.
class RecoveryOfFlips : public testing::TestWithParam<std::size_t> {};
INSTANTIATE_TEST_SUITE_P(Quarter, RecoveryOfFlips, testing::Range(std::size_t{0}, std::size_t{4}));

TEST_P(RecoveryOfFlips, LOG_3_any_flipped_bit_costs_the_record_it_is_in_and_no_other) {
  const TestSegment segment = some_segment();
  const std::uint64_t proven = segment.batches.back().begin;
  Bytes content = segment.file.content;
  for (std::size_t i = GetParam(); i < segment.frames.size(); i += 4) {
    const TestSegment::Frame& frame = segment.frames[i];
    const std::vector<std::uint32_t> missing(is_record(frame.kind) ? 1 : 0, frame.record);
    const auto rest = all_but(segment.records(), missing);
    for (std::uint64_t bit = frame.begin * 8; bit < frame.end * 8; ++bit) {
      const auto flip = static_cast<std::byte>(1U << bit % 8);
      content[bit / 8] ^= flip;
      const SegmentState state = examine(segment.header, content);
      const auto found = bit % 64 == 0 ? records_in(segment.header, content) : rest;
      content[bit / 8] ^= flip;
      ASSERT_EQ(state.next_record, segment.records()) << "bit " << bit;
      ASSERT_EQ(state.end, segment.place.position) << "bit " << bit;
      if (bit / 8 >= frame.body_end) {  // padding, which nothing depends on
        ASSERT_TRUE(state.damage.empty()) << "bit " << bit;
        continue;
      }
      ASSERT_EQ(found, rest) << "bit " << bit;
      ASSERT_EQ(state.damage.size(), 1U) << "bit " << bit;
      const JudgedRegion& damage = state.damage[0];
      ASSERT_EQ(damage.region.begin, frame.begin) << "bit " << bit;
      ASSERT_EQ(damage.region.end, frame.end) << "bit " << bit;
      ASSERT_EQ(damage.region.first_record, frame.record) << "bit " << bit;
      ASSERT_EQ(damage.region.records, missing.size()) << "bit " << bit;
      // The last mark proves all in front of it; without it, the one before does.
      const bool last_mark = frame.begin == proven;
      ASSERT_EQ(damage.verdict, frame.begin < proven && !last_mark ? Verdict::lost : Verdict::unproven)
          << "bit " << bit;
    }
  }
}

TEST(Recovery, LOG_4_a_segment_cut_at_any_byte_says_what_it_knows) {
  const TestSegment segment = some_segment();
  Bytes content = segment.file.content;
  for (std::uint64_t cut = segment.place.position - 1; cut >= page_bytes; --cut) {
    content.resize(cut);
    const SegmentState state = examine(segment.header, content);
    std::uint32_t whole = 0;
    const TestSegment::Batch* batch = nullptr;  // the last whose mark is whole
    for (const TestSegment::Frame& frame : segment.frames) {
      if (frame.body_end > cut) break;
      if (frame.end <= cut || is_record(frame.kind)) whole = frame.record + (is_record(frame.kind) ? 1 : 0);
      if (frame.kind == FrameKind::mark) batch = &segment.batches[frame.batch];
    }
    ASSERT_EQ(records_in(segment.header, content).size(), whole) << cut;
    std::uint32_t missing = 0;
    for (const JudgedRegion& one : state.damage) {
      ASSERT_EQ(one.verdict, Verdict::unproven) << cut;
      missing += one.region.records;
    }
    ASSERT_EQ(whole + missing, batch != nullptr ? batch->end_record : 0U) << cut;
    ASSERT_FALSE(state.damage.empty()) << cut << ": a file that is too short is damaged";
  }
}

/// Every combination of sectors of the last write that did not get to the disk. Returns: in how many of them nothing
/// shows that it did not.
std::uint32_t expect_torn_or_whole(const TestSegment& segment) {
  std::uint32_t unproven = 0;
  const std::size_t sectors = segment.sectors_of_last_write();
  EXPECT_LE(sectors, 9U);
  const std::uint32_t before = segment.batches[segment.batches.size() - 2].end_record;
  for (std::uint32_t set = 0; set < 1U << sectors; ++set) {
    std::vector<bool> missing(sectors);
    for (std::size_t i = 0; i < sectors; ++i) missing[i] = (set >> i & 1) != 0;
    const Bytes content = segment.without_sectors(missing);
    const SegmentState state = examine(segment.header, content);
    if (content == segment.file.content) {
      EXPECT_TRUE(state.damage.empty());
      EXPECT_EQ(state.next_record, segment.records());
      continue;
    }
    EXPECT_GE(state.next_record, before) << set << ": what was acknowledged is there";
    bool told = true;
    for (const JudgedRegion& one : state.damage) {
      EXPECT_NE(one.verdict, Verdict::lost) << set;
      EXPECT_GE(one.region.first_record, before) << set;
      told = told && one.verdict == Verdict::torn;
    }
    if (told) {  // no gap: the records that are there are the first ones
      EXPECT_EQ(records_in(segment.header, content, state.end).size(), state.next_record) << set;
    } else {
      ++unproven;
    }
  }
  return unproven;
}

TEST(Recovery, LOG_2_whatever_part_of_the_last_write_is_missing_is_torn_and_leaves_no_gap) {
  TestSegment segment;
  segment.append(payloads(20, 30));
  segment.append(payloads(45, 30));
  EXPECT_EQ(expect_torn_or_whole(segment), 0U);
}

TEST(Recovery, LOG_2_of_large_records_too) {
  TestSegment segment;
  segment.append(payloads(3, 1000));
  segment.append(payloads(3, 1100));
  EXPECT_EQ(expect_torn_or_whole(segment), 0U);
}

TEST(Recovery, of_a_file_in_its_second_life_knows_the_frames_of_the_first) {
  TestSegment earlier(64 * 1024, 7);
  for (int i = 0; i < 20; ++i) earlier.append(payloads(50, 20));
  TestSegment segment = TestSegment::reused(earlier, 8);
  EXPECT_TRUE(examine(segment).damage.empty());
  segment.append(payloads(20, 30));
  EXPECT_TRUE(examine(segment).damage.empty()) << "what stands behind is of the earlier life";
  segment.append(payloads(45, 30));
  // All but where only the last sector is missing, and so little of it that no head of the earlier life is in it.
  EXPECT_EQ(expect_torn_or_whole(segment), 1U);
}

TEST(Recovery, of_a_file_in_its_second_life_may_have_to_say_unproven) {
  TestSegment earlier(64 * 1024, 7);
  earlier.append({std::string(50'000, 'x')});  // no head to know it by
  TestSegment segment = TestSegment::reused(earlier, 8);
  segment.append(payloads(20, 30));
  EXPECT_TRUE(examine(segment).damage.empty());
  segment.append(payloads(45, 30));
  EXPECT_GT(expect_torn_or_whole(segment), 0U);
}

// --- Random damage ---

TEST(Recovery, LOG_3_of_any_damage_finds_all_that_is_whole) {
  const TestSegment segment = some_segment();
  for (std::uint32_t seed = 1; seed <= 2000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    Bytes content = segment.file.content;
    const std::uint64_t used = segment.place.position;
    for (std::uint64_t hits = 1 + random() % 4; hits != 0; --hits) {
      const std::uint64_t at = page_bytes + random() % (used - page_bytes);
      const std::uint64_t sector = at / sector_bytes * sector_bytes;
      switch (random() % 4) {
        case 0: content[at] ^= static_cast<std::byte>(1U << random() % 8); break;
        case 1: std::fill_n(content.begin() + static_cast<std::ptrdiff_t>(sector), sector_bytes, std::byte{0}); break;
        case 2:
          for (std::size_t i = 0; i < sector_bytes; ++i) content[sector + i] = static_cast<std::byte>(random());
          break;
        default: {  // a sector from elsewhere
          const std::uint64_t from = page_bytes + random() % ((used - page_bytes) / sector_bytes) * sector_bytes;
          const Bytes copied(content.begin() + static_cast<std::ptrdiff_t>(from),
                             content.begin() + static_cast<std::ptrdiff_t>(from + sector_bytes));
          std::ranges::copy(copied, content.begin() + static_cast<std::ptrdiff_t>(sector));
        }
      }
    }
    std::vector<std::uint32_t> whole;
    for (const TestSegment::Frame& frame : segment.frames) {
      const auto from = static_cast<std::ptrdiff_t>(frame.begin);
      const auto to = static_cast<std::ptrdiff_t>(frame.body_end);
      if (is_record(frame.kind) &&
          std::equal(content.begin() + from, content.begin() + to, segment.file.content.begin() + from)) {
        whole.push_back(frame.record);
      }
    }
    ASSERT_EQ(records_in(segment.header, content), whole);
    const SegmentState state = examine(segment.header, content);
    std::uint32_t missing = 0;
    for (const JudgedRegion& one : state.damage) {
      ASSERT_NE(one.verdict, Verdict::torn) << "every sector was written";
      missing += one.region.records;
    }
    const bool counted = std::ranges::all_of(state.damage, &JudgedRegion::counted);
    if (counted) {
      ASSERT_EQ(whole.size() + missing, segment.records());
    }
    const SegmentState again = examine(segment.header, content);
    ASSERT_EQ(again.damage, state.damage) << "a function of the bytes";
  }
}

/// A producer knows the format, but neither the salt nor where its payload will stand.
TEST(Recovery, LOG_3_frames_inside_a_payload_are_none_even_where_the_frame_around_them_is_damaged) {
  TestSegment forged(16 * 1024, 1);
  forged.append(payloads(50, 8));
  const std::string inner(reinterpret_cast<const char*>(forged.file.content.data()) + page_bytes, 4000);
  TestSegment segment;
  segment.append({"before", inner, "after"});
  segment.file.content[segment.frames[2].begin + 1] ^= std::byte{4};
  EXPECT_EQ(records_in(segment.header, segment.file.content), (std::vector<std::uint32_t>{0, 2}));
  // Nor are those of this very segment, somewhere else in it.
  TestSegment own;
  own.append(payloads(50, 8));
  own.append(
      {"before", std::string(reinterpret_cast<const char*>(own.file.content.data()) + page_bytes, 2000), "after"});
  const TestSegment::Frame& copied = own.frames[own.frames.size() - 2];
  own.file.content[copied.begin + 1] ^= std::byte{4};
  EXPECT_EQ(records_in(own.header, own.file.content), all_but(53, {51}));
}

}  // namespace
}  // namespace bus::detail
