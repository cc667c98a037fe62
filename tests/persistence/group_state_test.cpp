// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What items say is kept, a snapshot says the same once more, and the two may overlap; the bytes are those of
// docs/log-format.md.
#include "persistence/group_state.hpp"

#include <bus/persistence/group.hpp>

#include "hex.hpp"
#include "persistence/sound_group_state.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace bus::detail {
namespace {

using Bytes = std::vector<std::byte>;
using Frames = std::vector<Bytes>;

constexpr std::uint64_t most = ~std::uint64_t{0};

Bytes from_hex(std::string_view text) {
  Bytes bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    bytes.push_back(static_cast<std::byte>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16)));
  }
  return bytes;
}

class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  std::uint64_t below(std::uint64_t end) { return engine_() % end; }
  bool one_in(std::uint64_t chances) { return below(chances) == 0; }
  std::string text(std::size_t longest) {
    std::string text(below(longest + 1), ' ');
    for (char& letter : text) letter = static_cast<char>('a' + below(26));
    return text;
  }
  Progress progress() {
    Progress progress{.attempts = static_cast<std::uint8_t>(one_in(9) ? 255 : below(4))};
    if (one_in(2)) progress.due_ns = static_cast<std::int64_t>(engine_());
    if (one_in(2)) progress.delay_ns = static_cast<std::int64_t>(below(1'000'000'000));
    if (one_in(2)) progress.first_error = text(one_in(20) ? max_error_bytes : 5);
    if (one_in(2)) progress.last_error = text(one_in(20) ? max_error_bytes : 5);
    return progress;
  }

 private:
  std::mt19937_64 engine_;
};

const QueueSpec some_spec{
    .id = 7, .mode = QueueMode::broadcast, .group = "g1", .member = "m", .patterns = {"a.*", "b.>"}, .begin = 5};

GroupItems made(const QueueSpec& spec) {
  GroupItems items;
  items.made(spec);
  return items;
}

bool apply(const GroupItems& items, GroupState& state) { return apply_items(items.bytes(), state); }

/// Queue 1, which begins at 0 and has come to 10, and owes each of those.
class Queue : public testing::Test {
 protected:
  Queue() {
    items.made({.id = 1, .group = "g"});
    EXPECT_TRUE(apply(items, state));
    items.clear();
    come_to(10);
  }
  ~Queue() override { EXPECT_TRUE(is_sound(state)); }

  void come_to(std::uint64_t to) {
    std::vector<std::uint64_t> owed;
    for (std::uint64_t offset = 0; offset < to; ++offset) owed.push_back(offset);
    advance(queue(), to, owed);
  }
  void apply_all() {
    EXPECT_TRUE(apply(items, state));
    items.clear();
  }
  QueueState& queue() { return state.queues.at(1); }
  std::vector<std::uint64_t> open() {
    std::vector<std::uint64_t> offsets;
    for (const auto& [offset, progress] : queue().open) offsets.push_back(offset);
    return offsets;
  }
  using Ranges = std::map<std::uint64_t, std::uint64_t>;
  using Offsets = std::vector<std::uint64_t>;

  GroupState state;
  GroupItems items;
};

// --- Sets of offsets. ---

TEST(OffsetSets, are_what_a_plain_set_is) {
  constexpr std::uint64_t end_of_all = 40;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    OffsetSet offsets;
    std::set<std::uint64_t> plain;
    for (int step = 0; step < 100; ++step) {
      if (random.one_in(12)) {
        const std::uint64_t below = random.below(end_of_all);
        offsets.remove_below(below);
        plain.erase(plain.begin(), plain.lower_bound(below));
      } else {
        const std::uint64_t begin = random.below(end_of_all);
        const std::uint64_t end = std::min(begin + random.below(5), end_of_all);
        offsets.add(begin, end);
        for (std::uint64_t offset = begin; offset < end; ++offset) plain.insert(offset);
      }
      std::size_t in_ranges = 0;
      std::optional<std::uint64_t> last_end;
      for (const auto& [begin, end] : offsets.ranges()) {
        ASSERT_LT(begin, end);
        ASSERT_TRUE(!last_end || begin > *last_end) << "they touch";
        last_end = end;
        in_ranges += end - begin;
      }
      ASSERT_EQ(in_ranges, plain.size());
      ASSERT_EQ(offsets.empty(), plain.empty());
      for (std::uint64_t offset = 0; offset < end_of_all; ++offset) {
        ASSERT_EQ(offsets.contains(offset), plain.contains(offset)) << offset;
      }
    }
  }
}

TEST(OffsetSets, reach_to_the_last_offset_but_one) {
  OffsetSet offsets;
  offsets.add(most - 2, most);
  offsets.add(0, 1);
  EXPECT_TRUE(offsets.contains(most - 1));
  EXPECT_FALSE(offsets.contains(most));
  offsets.add(1, most);
  EXPECT_EQ(offsets.ranges().size(), 1U);
  offsets.remove_below(most - 1);
  EXPECT_EQ(offsets.ranges(), (std::map<std::uint64_t, std::uint64_t>{{most - 1, most}}));
  offsets.remove_below(most);
  EXPECT_TRUE(offsets.empty());
  offsets.add(9, 9);
  offsets.add(9, 8);
  EXPECT_TRUE(offsets.empty());
}

// --- The bytes of items. ---

TEST(GroupItemsFormat, golden) {
  GroupItems items;
  const auto taken = [&] {
    const std::string text = hex(items.bytes());
    items.clear();
    return text;
  };
  items.made(some_spec);
  EXPECT_EQ(taken(),
            "01"                // kind
            "040000"            // units of the body
            "07000000"          // queue
            "0500000000000000"  // begin
            "02000000"          // patterns
            "03"                // mode
            "02"                // bytes of the group
            "01"                // bytes of the member
            "00"
            "6731"
            "6d"
            "03612e2a"
            "03622e3e"
            "0000000000");
  items.deleted(7);
  EXPECT_EQ(taken(), "0200000007000000");
  items.done(7, 5, 9);
  EXPECT_EQ(taken(),
            "0302000007000000"
            "0500000000000000"
            "0900000000000000");
  items.tried(
      7, 5, {.attempts = 2, .due_ns = 0x0102030405060708, .delay_ns = 1000, .first_error = "no", .last_error = "gone"});
  EXPECT_EQ(taken(),
            "0405000007000000"
            "0500000000000000"  // offset
            "0807060504030201"  // due
            "e803000000000000"  // delay
            "0200"              // bytes of the first error
            "0400"              // bytes of the last error
            "02"                // attempts
            "000000"
            "6e6f"
            "676f6e65"
            "0000");
  items.used(7, true);
  EXPECT_EQ(taken(),
            "0501000007000000"
            "0100000000000000");
  items.limited(7, 0x0102);
  EXPECT_EQ(taken(),
            "0601000007000000"
            "0201000000000000");
  EXPECT_TRUE(items.empty());
}

TEST(GroupItemsFormat, done_goes_on_in_place) {
  GroupItems items;
  items.done(1, 5, 6);
  items.done(1, 6, 9);
  items.done(1, 9, 9);
  items.done(1, 9, 10);
  EXPECT_EQ(hex(items.bytes()), "030200000100000005000000000000000a00000000000000");
  const auto grows = [&](auto&& add) {
    const std::size_t before = items.bytes().size();
    add();
    return items.bytes().size() != before;
  };
  EXPECT_TRUE(grows([&] { items.done(1, 11, 12); })) << "a gap";
  EXPECT_TRUE(grows([&] { items.done(2, 12, 13); })) << "another queue";
  EXPECT_TRUE(grows([&] { items.done(1, 12, 13); })) << "something in between";
  items.used(1, true);
  EXPECT_TRUE(grows([&] { items.done(1, 13, 14); }));
  items.tried(1, 20, {});
  EXPECT_TRUE(grows([&] { items.done(1, 14, 15); }));
  items.deleted(2);
  EXPECT_TRUE(grows([&] { items.done(1, 15, 16); }));
  items.made(some_spec);
  EXPECT_TRUE(grows([&] { items.done(1, 16, 17); }));
  items.clear();
  EXPECT_TRUE(grows([&] { items.done(1, 17, 18); }));
}

TEST(GroupItemsFormat, an_error_that_is_too_long_is_cut) {
  GroupState state;
  GroupItems items = made(some_spec);
  items.tried(7, 5, {.attempts = 1, .first_error = std::string(70'000, 'a'), .last_error = std::string(300, 'b')});
  ASSERT_TRUE(apply(items, state));
  EXPECT_EQ(state.queues.at(7).ahead.at(5).first_error, std::string(max_error_bytes, 'a'));
  EXPECT_EQ(state.queues.at(7).ahead.at(5).last_error, std::string(max_error_bytes, 'b'));
}

TEST(GroupItemsFormat, what_a_later_version_adds_is_passed_over) {
  GroupState state;
  Bytes bytes = from_hex(
      "63010000070000001122334455667788"  // a kind that is not known
      "00000000ffffffff");
  const Bytes later = from_hex(
      "030300000700000008000000000000000900000000000000ffffffffffffffff"  // done, with more behind
      "0201000008000000ffffffffffffffff");                                // deleted
  const GroupItems items = made(some_spec);
  bytes.insert(bytes.end(), items.bytes().begin(), items.bytes().end());
  bytes.insert(bytes.end(), later.begin(), later.end());
  EXPECT_TRUE(apply_items(bytes, state));
  ASSERT_TRUE(state.queues.contains(7));
  EXPECT_TRUE(state.queues.at(7).done.contains(8));
}

TEST(GroupItemsFormat, cut_anywhere_gives_what_is_in_front) {
  GroupItems items = made(some_spec);
  std::vector<std::size_t> ends{0, items.bytes().size()};
  const auto ended = [&] { ends.push_back(items.bytes().size()); };
  items.done(7, 8, 9), ended();
  items.tried(7, 6, {.attempts = 1, .first_error = "x"}), ended();
  items.used(7, true), ended();
  items.deleted(7), ended();
  for (std::size_t cut = 0; cut <= items.bytes().size(); ++cut) {
    const bool at_an_end = std::ranges::count(ends, cut) != 0;
    const std::size_t whole = *std::prev(std::ranges::upper_bound(ends, cut));
    GroupState state;
    GroupState expected;
    EXPECT_EQ(apply_items(items.bytes().first(cut), state), at_an_end) << cut;
    EXPECT_TRUE(apply_items(items.bytes().first(whole), expected));
    EXPECT_EQ(state, expected) << cut;
  }
}

TEST(GroupItemsFormat, with_any_bit_flipped_leaves_a_sound_state) {
  GroupItems items = made({.id = 1, .group = "g", .patterns = {"a"}});
  items.tried(1, 6, {.attempts = 1, .first_error = "x", .last_error = "y"});
  items.done(1, 8, 12);
  items.used(1, true);
  items.done(1, 20, 22);
  items.deleted(2);
  for (std::size_t bit = 0; bit < items.bytes().size() * 8; ++bit) {
    Bytes flipped(items.bytes().begin(), items.bytes().end());
    flipped[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
    GroupState state;
    apply_items(flipped, state);
    EXPECT_TRUE(is_sound(state)) << bit;
    std::vector<std::uint64_t> owed{3, 9, 30};
    for (auto& [id, queue] : state.queues) advance(queue, queue.next + 25, owed);
    EXPECT_TRUE(is_sound(state)) << bit;
  }
}

// --- What items mean. ---

TEST(Queues, are_made_once_and_deleted) {
  GroupState state;
  EXPECT_TRUE(apply(made(some_spec), state));
  EXPECT_EQ(state.next_id, 8U);
  EXPECT_EQ(state.queues.at(7), (QueueState{.spec = some_spec, .next = 5}));
  const GroupState before = state;
  QueueSpec other = some_spec;
  other.begin = 9;
  EXPECT_TRUE(apply(made(other), state));
  EXPECT_EQ(state, before) << "the id is taken";
  QueueSpec older{.id = 3, .mode = QueueMode::key_ordered, .group = std::string(limits::max_name_bytes, 'g')};
  EXPECT_TRUE(apply(made(older), state));
  EXPECT_EQ(state.next_id, 8U);
  EXPECT_EQ(state.queues.at(3).spec, older);
  GroupItems items;
  items.deleted(7);
  items.deleted(7);
  items.done(7, 5, 6);
  items.tried(7, 5, {.attempts = 1});
  items.used(7, true);
  EXPECT_TRUE(apply(items, state));
  EXPECT_EQ(state.queues.size(), 1U);
  EXPECT_EQ(state.next_id, 8U) << "no id is given twice";
}

TEST(Queues, hold_back_no_more_than_their_limit) {
  GroupState state;
  GroupItems items = made(some_spec);
  const std::uint32_t id = some_spec.id;
  items.limited(id, 1000);
  EXPECT_TRUE(apply(items, state));
  EXPECT_EQ(state.queues.at(id).lag_bytes, 1000U);
  SnapshotReader reader;
  for (const auto& frame : encode_snapshot(state, 4096)) (void)reader.add(frame);
  EXPECT_EQ(reader.state(), state);
}

TEST(Queues, of_dead_letters_owe_what_they_are_told) {
  QueueState queue{.spec = {.id = 1, .group = "busbar.dead.g"}, .next = 5};
  EXPECT_TRUE(has_dead_letters(queue.spec));
  EXPECT_FALSE(has_dead_letters({.id = 1, .group = "g"}));
  queue.done.add(9, 10);
  learn_letter(queue, 3);
  EXPECT_TRUE(queue.open.empty()) << "it had come further";
  learn_letter(queue, 7);
  learn_letter(queue, 9);
  EXPECT_EQ(queue.next, 10U);
  EXPECT_EQ(queue.open.size(), 1U);
  EXPECT_TRUE(queue.open.contains(7));
  EXPECT_TRUE(is_sound(queue));
}

TEST(Queues, are_in_use_until_somebody_says_that_they_are_not) {
  GroupState state;
  ASSERT_TRUE(apply(made(some_spec), state));
  const std::uint32_t id = some_spec.id;
  EXPECT_FALSE(state.queues.at(id).in_use);
  for (const bool in_use : {true, false}) {
    GroupItems items;
    items.used(id, in_use);
    ASSERT_TRUE(apply(items, state));
    EXPECT_EQ(state.queues.at(id).in_use, in_use);
    SnapshotReader reader;
    for (const auto& frame : encode_snapshot(state, 4096)) reader.add(frame);
    ASSERT_TRUE(reader.whole());
    EXPECT_EQ(reader.state(), state);
  }
}

TEST(Queues, whose_making_is_lost_leave_their_id) {
  GroupState state;
  GroupItems items;
  items.done(41, 1, 2);
  ASSERT_TRUE(apply(items, state));
  EXPECT_EQ(state.next_id, 42U);
  EXPECT_TRUE(state.queues.empty());
}

TEST(OffsetSets, count_what_they_have_of_a_range) {
  OffsetSet set;
  set.add(10, 20);
  set.add(30, 40);
  EXPECT_EQ(set.count(0, 100), 20U);
  EXPECT_EQ(set.count(15, 35), 10U);
  EXPECT_EQ(set.count(20, 30), 0U);
  EXPECT_EQ(set.count(12, 12), 0U);
}

TEST(Queues, that_make_no_sense_are_not_made) {
  const auto refused = [](auto&& spoil) {
    QueueSpec spec = some_spec;
    spoil(spec);
    GroupState state;
    return apply(made(spec), state) && state.queues.empty();
  };
  EXPECT_FALSE(refused([](QueueSpec&) {}));
  EXPECT_TRUE(refused([](QueueSpec& spec) { spec.id = 0; }));
  EXPECT_TRUE(refused([](QueueSpec& spec) { spec.id = ~0U; })) << "there is no next one";
  EXPECT_TRUE(refused([](QueueSpec& spec) { spec.mode = QueueMode{0}; }));
  EXPECT_TRUE(refused([](QueueSpec& spec) { spec.mode = QueueMode{4}; }));
  EXPECT_TRUE(refused([](QueueSpec& spec) { spec.group = ""; }));
  EXPECT_TRUE(
      refused([](QueueSpec& spec) { spec.group = std::string(dead_prefix.size() + limits::max_name_bytes + 1, 'g'); }));
  EXPECT_TRUE(refused([](QueueSpec& spec) { spec.member = ""; }));
  EXPECT_TRUE(refused([](QueueSpec& spec) { spec.member = std::string(limits::max_name_bytes + 1, 'm'); }));
  EXPECT_TRUE(refused([](QueueSpec& spec) { spec.mode = QueueMode::competing; })) << "which has no members";
  EXPECT_TRUE(refused([](QueueSpec& spec) { spec.patterns.emplace_back(); }));

  const GroupItems whole = made(some_spec);
  const auto refused_with = [&](std::size_t at, std::byte value) {
    Bytes bytes(whole.bytes().begin(), whole.bytes().end());
    bytes[at] = value;
    GroupState state;
    return apply_items(bytes, state) && state.queues.empty();
  };
  EXPECT_TRUE(refused_with(28, std::byte{'.'})) << "the pattern ..*";
  EXPECT_TRUE(refused_with(27, std::byte{200})) << "a pattern that passes the end";
  EXPECT_TRUE(refused_with(16, std::byte{4})) << "more patterns than there are";
  EXPECT_TRUE(refused_with(19, std::byte{0xFF})) << "far more";
}

TEST_F(Queue, has_no_longer_open_what_is_done) {
  items.done(1, 0, 4);
  items.done(1, 6, 7);
  apply_all();
  EXPECT_EQ(open(), (Offsets{4, 5, 7, 8, 9}));
  EXPECT_TRUE(queue().done.empty());
  EXPECT_EQ(queue().next, 10U);
}

TEST_F(Queue, remembers_what_is_done_behind_where_it_stands) {
  items.tried(1, 12, {.attempts = 1});
  items.tried(1, 13, {.attempts = 1});
  items.done(1, 8, 13);
  apply_all();
  EXPECT_EQ(open(), (Offsets{0, 1, 2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(queue().done.ranges(), (Ranges{{10, 13}}));
  EXPECT_EQ(queue().ahead.size(), 1U);
  items.tried(1, 12, {.attempts = 2});
  apply_all();
  EXPECT_FALSE(queue().ahead.contains(12)) << "it is done";
  come_to(15);
  EXPECT_EQ(open(), (Offsets{0, 1, 2, 3, 4, 5, 6, 7, 13, 14}));
  EXPECT_EQ(queue().open.at(13).attempts, 1U);
  EXPECT_EQ(queue().open.at(14), Progress{});
  EXPECT_TRUE(queue().done.empty());
  EXPECT_TRUE(queue().ahead.empty());
}

TEST(Queues, that_go_back_come_to_the_same_again) {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    QueueState queue{.spec = {.id = 1, .group = "g"}, .next = 60};
    std::map<std::uint64_t, std::uint64_t> not_taken;
    std::vector<std::uint64_t> owed;
    for (std::uint64_t offset = 0; offset < queue.next; ++offset) {
      owed.push_back(offset);
      if (random.one_in(3)) continue;  // it is done
      if (random.one_in(2) || (offset + 1 == queue.next && not_taken.empty())) {
        not_taken.emplace(offset, offset + 1);
        if (random.one_in(2) && not_taken.contains(offset - 1)) {
          not_taken.erase(offset);
          not_taken.at(offset - 1) = offset + 1;
        }
      } else {
        queue.open[offset] = random.one_in(3) ? random.progress() : Progress();
      }
    }
    if (not_taken.empty()) continue;
    queue.done.add(70, 75);
    queue.ahead[80] = {.attempts = 1};
    QueueState wanted = queue;
    for (const auto& [begin, end] : not_taken) {
      for (std::uint64_t offset = begin; offset < end; ++offset) wanted.open[offset] = {};
    }
    go_back(queue, not_taken);
    EXPECT_EQ(queue.next, not_taken.begin()->first);
    EXPECT_TRUE(is_sound({.next_id = 2, .queues = {{1, queue}}}));
    advance(queue, wanted.next, owed);
    EXPECT_EQ(queue, wanted);
  }
}

TEST_F(Queue, passes_over_ranges_that_are_none) {
  const GroupState before = state;
  const Bytes reversed = from_hex("030200000100000009000000000000000800000000000000");
  const Bytes nothing = from_hex("030200000100000009000000000000000900000000000000");
  EXPECT_TRUE(apply_items(reversed, state));
  EXPECT_TRUE(apply_items(nothing, state));
  EXPECT_EQ(state, before);
  items.done(1, 9, most);
  apply_all();
  EXPECT_EQ(open().size(), 9U);
  EXPECT_EQ(queue().done.ranges(), (Ranges{{10, most}}));
}

TEST_F(Queue, never_counts_fewer_attempts) {
  items.done(1, 3, 4);
  items.tried(1, 3, {.attempts = 9});
  items.tried(1, 2, {.attempts = 2, .due_ns = 5, .first_error = "a", .last_error = "b"});
  items.tried(1, 2, {.attempts = 1, .due_ns = 6});
  apply_all();
  EXPECT_FALSE(queue().open.contains(3));
  EXPECT_EQ(queue().open.at(2), (Progress{.attempts = 2, .due_ns = 5, .first_error = "a", .last_error = "b"}));
  items.tried(1, 2, {.attempts = 2, .due_ns = 7});
  apply_all();
  EXPECT_EQ(queue().open.at(2), (Progress{.attempts = 2, .due_ns = 7}));
  items.tried(1, most, {.attempts = 1});
  items.tried(1, most - 1, {.attempts = 1});
  apply_all();
  EXPECT_EQ(queue().ahead.size(), 1U) << "the last offset of all has no end";
}

TEST_F(Queue, owes_only_what_is_for_it) {
  items.tried(1, 12, {.attempts = 1});
  items.tried(1, 13, {.attempts = 1});
  apply_all();
  const std::vector<std::uint64_t> owed{3, 11, 13, 20, 21};
  items.done(1, 3, 4);
  apply_all();
  advance(queue(), 20, owed);
  EXPECT_EQ(open(), (Offsets{0, 1, 2, 4, 5, 6, 7, 8, 9, 11, 13}));
  items.tried(1, 12, {.attempts = 1});
  apply_all();
  EXPECT_FALSE(queue().open.contains(12));
}

// --- Snapshots. ---

std::optional<GroupState> read_all(const Frames& frames) {
  SnapshotReader reader;
  for (const Bytes& frame : frames) reader.add(frame);
  if (!reader.whole()) return std::nullopt;
  return reader.state();
}

GroupState some_state() {
  GroupState state{.next_id = 8};
  QueueState& queue = state.queues[7];
  queue = {.spec = some_spec, .next = 20};
  queue.open = {{5, {}}, {6, {}}, {7, {}}, {9, {1, 300, 0, "no", "no"}}, {12, {}}};
  queue.done.add(22, 25);
  queue.done.add(27, 28);
  queue.ahead = {{30, {.attempts = 1}}};
  return state;
}

TEST(SnapshotFormat, golden) {
  const Frames frames = encode_snapshot(some_state(), 4096);
  ASSERT_EQ(frames.size(), 2U);
  EXPECT_EQ(hex(frames[0]),
            "00000000"   // head
            "01000000"   // frames behind it
            "08000000"   // next id
            "00000000");
  EXPECT_EQ(hex(frames[1]),
            "01"                // queue
            "00"                // begins
            "0000"
            "07000000"          // id
            "1400000000000000"  // next
            "0103000007000000"  // spec: units, id
            "0500000000000000"  // begin
            "00000000"          // patterns in this part
            "03020100"          // mode, bytes of the group, of the member
            "67316d"
            "0000000000"
            "0201000002000000"  // patterns: units, entries
            "03612e2a"
            "03622e3e"
            "0303000003000000"  // open
            "0503"              // 5 to 8
            "01000a"            // 9, of which ten bytes tell
            "01"                // attempts
            "ac02"              // due
            "00"                // delay
            "026e6f"
            "026e6f"
            "0201"              // 12
            "00000000000000"
            "0401000002000000"  // done
            "1603"              // 22 to 25
            "0201"              // 27
            "00000000"
            "0501000001000000"  // ahead
            "1e0005"            // 30
            "0100000000");
  EXPECT_EQ(read_all(frames), some_state());
}

TEST(SnapshotFormat, of_nothing_is_a_head) {
  const Frames frames = encode_snapshot({.next_id = 5}, 4096);
  EXPECT_EQ(frames.size(), 1U);
  EXPECT_EQ(read_all(frames), GroupState{.next_id = 5});
}

void add_random_queue(Random& random, GroupState& state) {
  QueueSpec spec{.id = state.next_id++,
                 .mode = static_cast<QueueMode>(1 + random.below(3)),
                 .group = "g" + random.text(limits::max_name_bytes - 1),
                 .begin = random.one_in(4) ? most - 1000 : random.below(1000)};
  state.next_id += static_cast<std::uint32_t>(random.below(3));
  if (spec.mode == QueueMode::broadcast) spec.member = "m" + random.text(5);
  for (std::uint64_t i = random.one_in(3) ? random.below(40) : random.below(3); i != 0; --i) {
    spec.patterns.push_back(TopicPattern::parse("t" + random.text(random.one_in(4) ? 250 : 9) + ".>").value());
  }
  QueueState queue{.spec = spec, .next = spec.begin + random.below(500)};
  // Runs and gaps of about that length; what has something to tell is rare or common.
  const std::uint64_t length = 1 + random.below(30);
  const std::uint64_t rare = 1 + random.below(20);
  const auto fill = [&](std::map<std::uint64_t, Progress>& offsets, std::uint64_t from, std::uint64_t to) {
    for (bool in_run = random.one_in(2); from < to; ++from) {
      if (random.one_in(length)) in_run = !in_run;
      if (!in_run || queue.done.contains(from)) continue;
      offsets[from] = random.one_in(rare) ? random.progress() : Progress{};
    }
  };
  if (!random.one_in(5)) fill(queue.open, spec.begin, queue.next);
  if (!random.one_in(5)) {
    for (std::uint64_t at = queue.next; at < queue.next + 300; at += 1 + random.below(20)) {
      const std::uint64_t end = at + 1 + random.below(length);
      queue.done.add(at, end);
      at = end;
    }
  }
  if (!random.one_in(5)) fill(queue.ahead, queue.next, queue.next + 300);
  state.queues.emplace(spec.id, std::move(queue));
}

TEST(SnapshotFormat, is_read_as_written_however_it_is_split) {
  std::size_t continued = 0;
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    GroupState state;
    for (std::uint64_t i = random.below(5); i != 0; --i) add_random_queue(random, state);
    ASSERT_TRUE(is_sound(state));
    const std::size_t frame_bytes = min_snapshot_frame_bytes + random.below(random.one_in(2) ? 100 : 10'000);
    const Frames frames = encode_snapshot(state, frame_bytes);
    SnapshotReader reader;
    for (std::size_t i = 0; i < frames.size(); ++i) {
      ASSERT_LE(frames[i].size(), frame_bytes);
      ASSERT_EQ(frames[i].size() % 8, 0U);
      ASSERT_EQ(reader.add(frames[i]), i + 1 == frames.size()) << i;
      if (i != 0) continued += std::to_integer<std::size_t>(frames[i][1]);
    }
    ASSERT_TRUE(reader.whole());
    ASSERT_EQ(reader.state(), state);
  }
  EXPECT_GT(continued, 200U);
}

TEST(SnapshotFormat, no_frame_is_too_long_however_full_it_is) {
  GroupState state = some_state();
  QueueState& queue = state.queues.at(7);
  queue = {.spec = some_spec, .next = std::uint64_t{1} << 63};
  queue.done.add(queue.next, most);  // an entry that is as long as one can be
  while (queue.open.size() < 600) {
    queue.open[2 * queue.open.size()];
    const Frames frames = encode_snapshot(state, min_snapshot_frame_bytes);
    for (const Bytes& frame : frames) ASSERT_LE(frame.size(), min_snapshot_frame_bytes);
    ASSERT_EQ(read_all(frames), state);
  }
}

TEST(SnapshotFormat, too_small_frames_are_as_large_as_must_be) {
  GroupState state = some_state();
  state.queues.at(7).open[10] = {255, -1, -1, std::string(max_error_bytes, 'a'), std::string(max_error_bytes, 'b')};
  const Frames frames = encode_snapshot(state, 0);
  EXPECT_EQ(frames.size(), 2U);
  EXPECT_LE(frames[1].size(), min_snapshot_frame_bytes);
  EXPECT_EQ(read_all(frames), state);
}

std::size_t bytes_of(const Frames& frames) {
  std::size_t bytes = 0;
  for (const Bytes& frame : frames) bytes += frame.size();
  return bytes;
}

TEST(SnapshotFormat, tells_runs_in_few_bytes) {
  GroupState state;
  ASSERT_TRUE(apply(made({.id = 1, .group = "workers"}), state));
  QueueState& queue = state.queues.at(1);
  const auto advance_by = [&](std::uint64_t step) {
    std::vector<std::uint64_t> owed;
    for (std::uint64_t i = 0; i < 100'000; ++i) owed.push_back(queue.next + i * step);
    queue.open.clear();
    advance(queue, owed.back() + 1, owed);
    ASSERT_EQ(queue.open.size(), 100'000U);
  };
  const auto measured = [&] {
    const Frames frames = encode_snapshot(state, 256 * 1024);
    EXPECT_EQ(read_all(frames), state);
    return bytes_of(frames);
  };
  advance_by(1);
  EXPECT_EQ(measured(), 80U);
  advance_by(2);
  EXPECT_LT(measured(), 201'000U);
  for (auto& [offset, progress] : queue.open) progress.attempts = 1;
  EXPECT_LT(measured(), 801'000U) << "tried once";
  for (auto& [offset, progress] : queue.open) {
    progress = {2, 1'700'000'000'000'000'000, 1'000'000'000, "timed out", "timed out"};
  }
  EXPECT_LT(measured(), 3'801'000U) << "to be tried again later";
}

TEST(SnapshotFormat, may_not_tell_of_more_messages_than_there_is_room_for) {
  const Frames frames = encode_snapshot(some_state(), 4096);  // 5 open, 1 ahead
  for (const std::size_t room : {5U, 6U}) {
    SnapshotReader reader(room);
    reader.add(frames[0]);
    EXPECT_EQ(reader.add(frames[1]), room == 6) << room;
  }
}

TEST(SnapshotFormat, that_makes_no_sense_is_none) {
  const auto read = [](std::string next, std::string_view parts) {
    const Bytes head = from_hex("00000000010000000800000000000000");
    const std::string spec = "0103000001000000000000000000000000000000010100006700000000000000";
    return read_all({head, from_hex("0100000001000000" + next + spec + std::string(parts))}).has_value();
  };
  const std::string at_20 = "1400000000000000";
  EXPECT_TRUE(read(at_20, ""));
  EXPECT_TRUE(read(at_20, "03010000010000000f05000000000000")) << "open from 15 to 20";
  EXPECT_FALSE(read(at_20, "03010000010000000f06000000000000")) << "to 21";
  EXPECT_FALSE(read(at_20, "03010000010000000f0500000000000003010000010000001301000000000000")) << "19 again";
  EXPECT_FALSE(read(at_20, "03010000020000000f05000000000000")) << "0 of 0 bytes";
  EXPECT_FALSE(read(at_20, "03010000ffffffff0f05000000000000")) << "more entries than bytes";
  EXPECT_TRUE(read(at_20, "04010000010000001401000000000000")) << "20 is done";
  EXPECT_FALSE(read(at_20, "04010000010000001301000000000000")) << "19";
  EXPECT_FALSE(read(at_20, "04010000020000001401000100000000")) << "ranges that touch";
  EXPECT_FALSE(read(at_20, "04010000010000001400050000000000")) << "done has nothing to tell";
  EXPECT_FALSE(read(at_20, "05010000010000001301000000000000")) << "ahead, and in front";
  EXPECT_FALSE(read(at_20, "0401000001000000140200000000000005010000010000001501000000000000")) << "done and ahead";
  EXPECT_FALSE(read(at_20, "0501000001000000150100000000000004010000010000001402000000000000"))
      << "the other way round";
  EXPECT_FALSE(read(at_20, "0103000001000000000000000000000000000000010100006700000000000000")) << "a second spec";
  EXPECT_FALSE(read(at_20, "0301000001000000")) << "a part that passes the end";
  EXPECT_FALSE(read(at_20, "00000000")) << "half a head";

  const std::string far = "f0ffffffffffffff";
  EXPECT_FALSE(read(far, "030200000100000000efffffffffffffffff010000000000")) << "2^64 - 17 messages";
  EXPECT_FALSE(read(far, "0402000001000000f0ffffffffffffffff01100000000000")) << "done to 2^64";
  EXPECT_TRUE(read(far, "0402000001000000f0ffffffffffffffff010f0000000000"));
  EXPECT_FALSE(read(far, "0402000002000000f0ffffffffffffffff01010f01000000")) << "begins at 2^64";
  EXPECT_FALSE(read(at_20, "040200000100000094808080808080808002010000000000")) << "a number of 65 bits";
  EXPECT_FALSE(read(far, "0402000001000000ffffffffffffffffffffffffffffffff")) << "a number without an end";
}

TEST(SnapshotFormat, a_new_head_starts_anew_and_garbage_ends_it) {
  GroupState state = some_state();
  ASSERT_TRUE(apply(made({.id = 9, .group = "h"}), state));
  const Frames frames = encode_snapshot(state, 4096);
  ASSERT_EQ(frames.size(), 3U);
  SnapshotReader reader;
  EXPECT_FALSE(reader.add(frames[1])) << "no head";
  EXPECT_FALSE(reader.add(frames[0]));
  EXPECT_FALSE(reader.add(frames[1]));
  EXPECT_FALSE(reader.add(frames[0])) << "once more";
  EXPECT_FALSE(reader.add(frames[1]));
  EXPECT_TRUE(reader.add(frames[2]));
  EXPECT_EQ(reader.state(), state);
  EXPECT_FALSE(reader.add(from_hex("63"))) << "one too many";
  EXPECT_FALSE(reader.whole());
  EXPECT_EQ(reader.state(), GroupState{}) << "nothing of it is kept";
  for (const Bytes& garbage : {Bytes{}, Bytes(1), Bytes(15, std::byte{1}), Bytes(16, std::byte{0}), frames[1]}) {
    EXPECT_FALSE(reader.add(frames[0]));
    EXPECT_FALSE(reader.add(frames[1]));
    EXPECT_FALSE(reader.add(garbage));
    EXPECT_EQ(reader.state(), GroupState{});
    EXPECT_FALSE(reader.add(frames[2])) << "there is nothing it could belong to";
    EXPECT_FALSE(reader.whole());
  }
}

TEST(SnapshotFormat, a_frame_goes_on_with_the_queue_in_front_of_it_only) {
  GroupState state;
  Random random(5);
  while (state.queues.size() < 2) add_random_queue(random, state);
  for (auto& [id, queue] : state.queues) {
    for (std::uint64_t i = 0; i < 100; ++i) queue.open[queue.spec.begin + i] = {1, 1, 1, "xxxxxxxxxxxxxxxx", ""};
    queue.next = std::max(queue.next, queue.spec.begin + 100);
    queue.done = {};
    queue.ahead.clear();
  }
  Frames frames = encode_snapshot(state, min_snapshot_frame_bytes);
  ASSERT_EQ(read_all(frames), state);
  ASSERT_EQ(frames[2][1], std::byte{1});
  Frames swapped = frames;
  std::swap(swapped[2], swapped.back());
  EXPECT_FALSE(read_all(swapped)) << "another's";
  Frames twice = frames;
  twice[2] = twice[1];
  EXPECT_FALSE(read_all(twice)) << "begun twice";
  Frames moved = frames;
  moved[2][8] ^= std::byte{1};
  EXPECT_FALSE(read_all(moved)) << "next is another";
  Frames between = frames;
  between.insert(between.begin() + 2, from_hex("63"));
  between[0][4] = static_cast<std::byte>(frames.size());
  EXPECT_FALSE(read_all(between)) << "not the one in front";
}

TEST(SnapshotFormat, what_a_later_version_adds_is_passed_over) {
  Frames frames = encode_snapshot(some_state(), 4096);
  const Bytes part = from_hex("63010000ffffffff1122334455667788");
  frames[1].insert(frames[1].end(), part.begin(), part.end());
  frames[0].resize(24, std::byte{0xFF});
  frames[0][4] = std::byte{2};
  frames.insert(frames.begin() + 1, from_hex("63"));
  EXPECT_EQ(read_all(frames), some_state());
  // What is to be known of a message may be told in more bytes: 30, with one more.
  Frames longer = encode_snapshot(some_state(), 4096);
  longer[1].erase(longer[1].end() - 16, longer[1].end());
  const Bytes ahead = from_hex("05020000010000001e000601000000007700000000000000");
  longer[1].insert(longer[1].end(), ahead.begin(), ahead.end());
  EXPECT_EQ(read_all(longer), some_state());
}

TEST(SnapshotFormat, cut_or_with_any_bit_flipped_gives_a_sound_state_or_none) {
  GroupState state = some_state();
  for (std::uint64_t i = 13; i < 20; ++i) {
    state.queues.at(7).open[i] = {1, 1, 1, std::string(100, 'x'), std::string(100, 'y')};
  }
  const Frames frames = encode_snapshot(state, min_snapshot_frame_bytes);
  ASSERT_EQ(frames.size(), 3U);
  const auto check = [](const Frames& spoilt) {
    SnapshotReader reader(1000);
    for (const Bytes& frame : spoilt) reader.add(frame);
    return !reader.whole() || is_sound(reader.state());
  };
  for (std::size_t i = 0; i < frames.size(); ++i) {
    for (std::size_t cut = 0; cut < frames[i].size(); ++cut) {
      Frames spoilt = frames;
      spoilt[i].resize(cut);
      spoilt[i].shrink_to_fit();
      ASSERT_TRUE(check(spoilt)) << i << ' ' << cut;
    }
    for (std::size_t bit = 0; bit < frames[i].size() * 8; ++bit) {
      Frames spoilt = frames;
      spoilt[i][bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
      ASSERT_TRUE(check(spoilt)) << i << ' ' << bit;
    }
  }
}

// --- Histories. ---

/// A queue has come to there.
struct Come {
  std::uint32_t queue;
  std::uint64_t to;
};
using Step = std::variant<Bytes, Come>;

/// What is for a queue.
bool is_for(std::uint32_t queue, std::uint64_t offset) { return offset % (queue % 3 + 1) == 0; }

void take(const Step& step, GroupState& state) {
  if (const auto* const items = std::get_if<Bytes>(&step)) {
    ASSERT_TRUE(apply_items(*items, state));
    return;
  }
  const auto [id, to] = std::get<Come>(step);
  const auto found = state.queues.find(id);
  if (found == state.queues.end()) return;
  std::vector<std::uint64_t> owed;
  for (std::uint64_t offset = found->second.spec.begin; offset < to; ++offset) {
    if (is_for(id, offset)) owed.push_back(offset);
  }
  advance(found->second, to, owed);
}

/// As simple as possible: nothing is ever forgotten.
struct Model {
  struct One {
    QueueSpec spec;
    std::uint64_t next = 0;
    std::set<std::uint64_t> finished;
    std::map<std::uint64_t, Progress> tried;
  };
  std::uint32_t next_id = 1;
  std::map<std::uint32_t, One> queues;

  static void finish(One& one, std::uint64_t begin, std::uint64_t end) {
    for (; begin < end; ++begin) one.finished.insert(begin);
  }

  GroupState state() const {
    GroupState state{.next_id = next_id};
    for (const auto& [id, one] : queues) {
      QueueState queue{.spec = one.spec, .next = one.next};
      for (std::uint64_t offset = one.spec.begin; offset < one.next; ++offset) {
        if (!is_for(id, offset) || one.finished.contains(offset)) continue;
        const auto tried = one.tried.find(offset);
        queue.open[offset] = tried == one.tried.end() ? Progress{} : tried->second;
      }
      for (const std::uint64_t offset : one.finished) {
        if (offset >= one.next) queue.done.add(offset, offset + 1);
      }
      for (const auto& [offset, progress] : one.tried) {
        if (offset >= one.next && !one.finished.contains(offset)) queue.ahead[offset] = progress;
      }
      state.queues.emplace(id, std::move(queue));
    }
    return state;
  }
};

struct History {
  std::vector<Step> steps;
  std::vector<GroupState> states;  ///< in front of each step, and behind the last
};

/// Steps of a log with a few queues, and what the model says of them.
History random_history(Random& random, std::size_t steps) {
  Model model;
  History history;
  std::map<std::uint32_t, std::uint64_t> come;
  const std::uint64_t density = 2 + random.below(10);
  history.states.push_back(model.state());
  while (history.steps.size() < steps) {
    GroupItems items;
    std::optional<Come> came;
    for (std::uint64_t i = 1 + random.below(4); i != 0 && !came; --i) {
      if (model.queues.empty() || random.one_in(15)) {
        const QueueSpec spec{.id = model.next_id++, .group = "g", .begin = random.below(20)};
        model.queues[spec.id] = {.spec = spec, .next = spec.begin, .finished = {}, .tried = {}};
        items.made(spec);
        continue;
      }
      auto at = model.queues.begin();
      std::advance(at, random.below(model.queues.size()));
      auto& [id, one] = *at;
      const std::uint64_t offset = random.one_in(10) ? random.below(one.next + 1)
                                                     : one.next - random.below(10) % (one.next + 1) + random.below(20);
      switch (random.below(density)) {
        case 0:
          if (items.empty()) came = Come{id, one.next + random.below(12)};
          break;
        case 1:
          if (!random.one_in(8)) break;
          items.done(id, 0, offset);
          Model::finish(one, 0, offset);
          break;
        case 2:
          if (!random.one_in(10)) break;
          items.deleted(id);
          model.queues.erase(at);
          break;
        case 3:
        case 4:
        case 5: {
          const Progress progress = random.progress();
          items.tried(id, offset, progress);
          if (one.finished.contains(offset)) break;
          const auto known = one.tried.find(offset);
          if (known == one.tried.end() || progress.attempts >= known->second.attempts) one.tried[offset] = progress;
          break;
        }
        default: {
          const std::uint64_t end = offset + random.below(4);
          items.done(id, offset, end);
          Model::finish(one, offset, end);
        }
      }
    }
    if (came) {
      Model::One& one = model.queues.at(came->queue);
      one.next = std::max(one.next, came->to);
      history.steps.emplace_back(*came);
    } else {
      history.steps.emplace_back(Bytes(items.bytes().begin(), items.bytes().end()));
    }
    history.states.push_back(model.state());
  }
  return history;
}

TEST(Histories, come_to_what_a_plain_model_says) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    const History history = random_history(random, 200);
    GroupState state;
    for (std::size_t i = 0; i < history.steps.size(); ++i) {
      take(history.steps[i], state);
      ASSERT_TRUE(is_sound(state));
      ASSERT_EQ(state, history.states[i + 1]) << "step " << i;
    }
  }
}

TEST(Histories, may_be_taken_in_again_over_a_snapshot_that_is_ahead) {
  for (std::uint64_t seed = 1; seed <= 150; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    const History history = random_history(random, 120);
    for (int run = 0; run < 20; ++run) {
      const std::size_t taken_at = random.below(history.states.size());
      const std::size_t from = random.below(taken_at + 1);
      const auto snapshot = read_all(encode_snapshot(history.states[taken_at], min_snapshot_frame_bytes));
      ASSERT_TRUE(snapshot);
      ASSERT_EQ(*snapshot, history.states[taken_at]);
      GroupState state = *snapshot;
      for (std::size_t i = from; i < history.steps.size(); ++i) take(history.steps[i], state);
      ASSERT_EQ(state, history.states.back()) << "snapshot at " << taken_at << ", items from " << from;
    }
  }
}

TEST(Histories, do_not_depend_on_when_a_queue_comes_to_where_it_is) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    const History history = random_history(random, 120);
    // Each coming is put off for a while, or to the end: not past one more of the same queue.
    GroupState state;
    std::vector<Come> put_off;
    for (const Step& step : history.steps) {
      if (const auto* const come = std::get_if<Come>(&step)) {
        put_off.push_back(*come);
      } else {
        take(step, state);
      }
      if (!random.one_in(10)) continue;
      for (const Come& come : put_off) take(come, state);
      put_off.clear();
    }
    for (const Come& come : put_off) take(come, state);
    ASSERT_EQ(state, history.states.back());
  }
}

}  // namespace
}  // namespace bus::detail
