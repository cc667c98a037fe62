// SPDX-License-Identifier: MIT OR Apache-2.0
#include "persistence/dedup.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace bus::detail {
namespace {

using Answer = Dedup::Answer;
using Verdict = Dedup::Verdict;
using Frames = std::vector<std::vector<std::byte>>;

constexpr std::int64_t second = 1'000'000'000;
constexpr std::int64_t start = 1'000'000 * second;

DedupKey id_key(std::string_view id, std::string_view source = "a") { return {.source = source, .message_id = id}; }
DedupKey sequence_key(std::uint64_t id, std::uint32_t epoch, std::uint64_t sequence) {
  return {.producer = Producer{.id = id, .epoch = epoch, .sequence = sequence}};
}

std::unique_ptr<Dedup> decode(const Frames& frames, const DedupRules& rules) {
  DedupReader reader(rules);
  for (std::size_t i = 0; i < frames.size(); ++i) {
    if (reader.add(frames[i]) != (i + 1 == frames.size())) return nullptr;
  }
  return reader.take();
}

class Taken : public testing::Test {
 protected:
  Answer begin(const DedupKey& key) { return table->begin(key, ++ticket, now); }

  /// Begins and commits. Returns: the offset.
  std::uint64_t put(const DedupKey& key) {
    EXPECT_EQ(begin(key).verdict, Verdict::fresh);
    table->commit(ticket, next);
    return next++;
  }
  std::uint64_t put_all(std::uint64_t producer, std::uint32_t epoch, std::uint64_t from, std::uint64_t to) {
    std::uint64_t last = 0;
    for (std::uint64_t sequence = from; sequence <= to; ++sequence) last = put(sequence_key(producer, epoch, sequence));
    return last;
  }

  /// Whether it is a duplicate, of which offset. What is fresh is canceled again.
  bool known(const DedupKey& key, std::optional<std::uint64_t> offset) {
    const Answer answer = begin(key);
    if (answer.verdict == Verdict::fresh) table->cancel(ticket);
    return answer.verdict == Verdict::duplicate && answer.offset == offset;
  }
  bool fresh(const DedupKey& key) {
    const Answer answer = begin(key);
    if (answer.verdict == Verdict::fresh) table->cancel(ticket);
    return answer.verdict == Verdict::fresh;
  }

  void restart(std::size_t frame_bytes = 4096) {
    table = decode(table->encode(now, frame_bytes), rules);
    ASSERT_NE(table, nullptr);
    ASSERT_TRUE(table->consistent());
  }
  void TearDown() override {
    if (table != nullptr) {
      EXPECT_TRUE(table->consistent());
    }
  }

  DedupRules rules{.ids_per_sender = 4, .id_age_ns = 120 * second, .ids = 6, .producers = 3};
  std::unique_ptr<Dedup> table = std::make_unique<Dedup>(rules);
  std::int64_t now = start;
  std::uint64_t ticket = 1000;
  std::uint64_t next = 50;
};

// --- By id. ---

TEST_F(Taken, an_id_that_comes_again_is_told_its_offset) {
  put(id_key("one"));
  put(id_key("two"));
  EXPECT_TRUE(known(id_key("one"), 50));
  EXPECT_TRUE(known(id_key("two"), 51));
  EXPECT_TRUE(fresh(id_key("three")));
  EXPECT_EQ(table->next(), 52U);
}

TEST_F(Taken, an_id_is_its_senders) {
  put(id_key("one", "a"));
  EXPECT_TRUE(fresh(id_key("one", "b")));
  EXPECT_TRUE(fresh(id_key("one", "")));
  EXPECT_EQ(put(id_key("one", "")), 51U);
  EXPECT_TRUE(known(id_key("one", ""), 51)) << "those who say no name are one sender";
  EXPECT_TRUE(known(id_key("one", "a"), 50));
}

TEST_F(Taken, what_has_neither_id_nor_producer_is_always_fresh) {
  EXPECT_EQ(begin({.source = "a"}).verdict, Verdict::fresh);
  table->commit(ticket, 7);
  EXPECT_EQ(begin({.source = "a"}).verdict, Verdict::fresh);
  table->cancel(ticket);
  EXPECT_EQ(table->under_way(), 0U);
}

TEST_F(Taken, the_producer_goes_before_the_id) {
  DedupKey both = sequence_key(7, 1, 1);
  both.message_id = "one";
  put(both);
  EXPECT_TRUE(fresh(id_key("one", "")));
  both.producer->sequence = 2;
  EXPECT_TRUE(fresh(both));
}

TEST_F(Taken, an_id_under_way_is_a_duplicate_until_it_is_canceled) {
  ASSERT_EQ(begin(id_key("one")).verdict, Verdict::fresh);
  const std::uint64_t first = ticket;
  now += 1000 * second;
  const Answer again = begin(id_key("one"));
  EXPECT_EQ(again.verdict, Verdict::under_way) << "however long it takes";
  EXPECT_EQ(again.ticket, first);
  table->cancel(ticket);
  EXPECT_EQ(table->under_way(), 1U) << "that one was not noted";
  table->cancel(first);
  EXPECT_EQ(table->under_way(), 0U);
  EXPECT_EQ(put(id_key("one")), 50U);
  table->cancel(ticket);
  EXPECT_TRUE(known(id_key("one"), 50)) << "a ticket that has ended changes nothing";
}

TEST_F(Taken, an_id_is_forgotten_when_its_sender_has_sent_so_many) {
  for (const auto* id : {"1", "2", "3", "4"}) put(id_key(id));
  EXPECT_TRUE(known(id_key("1"), 50));
  put(id_key("other", "b"));
  EXPECT_TRUE(known(id_key("1"), 50));
  put(id_key("5"));
  EXPECT_TRUE(fresh(id_key("1")));
  EXPECT_TRUE(known(id_key("2"), 51));
  EXPECT_EQ(table->ids(), 5U);
}

TEST_F(Taken, a_duplicate_does_not_make_an_id_stay_longer) {
  for (const auto* id : {"1", "2", "3", "4"}) put(id_key(id));
  now += 100 * second;
  EXPECT_TRUE(known(id_key("1"), 50));
  now += 21 * second;
  EXPECT_TRUE(fresh(id_key("1")));
}

TEST_F(Taken, an_id_is_forgotten_when_it_is_too_old) {
  put(id_key("one"));
  now += 120 * second;
  EXPECT_TRUE(known(id_key("one"), 50)) << "at just that age it counts";
  now += 1;
  EXPECT_EQ(put(id_key("one")), 51U);
  EXPECT_TRUE(known(id_key("one"), 51));
}

TEST_F(Taken, an_old_id_that_is_canceled_stays_forgotten) {
  // More old ones than one call clears away, so that the old one still is in the list.
  rules = {.ids_per_sender = 20, .id_age_ns = second, .ids = 20, .producers = 1};
  table = std::make_unique<Dedup>(rules);
  for (int i = 0; i < 20; ++i) put(id_key(std::to_string(i)));
  now += 2 * second;
  EXPECT_TRUE(fresh(id_key("19")));
  EXPECT_TRUE(table->consistent());
  EXPECT_EQ(table->ids(), 16U) << "they go a few at a time";
  const std::uint64_t offset = put(id_key("19"));
  EXPECT_TRUE(known(id_key("19"), offset));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(fresh(id_key("new")));
  EXPECT_EQ(table->ids(), 1U);
  EXPECT_TRUE(known(id_key("19"), offset)) << "the old one that has gone does not take it along";
}

TEST_F(Taken, ids_from_a_clock_that_was_wrong_are_old) {
  now += 3600 * second;
  put(id_key("one"));
  now -= 120 * second;
  EXPECT_TRUE(known(id_key("one"), 50));
  now -= 1;
  EXPECT_EQ(put(id_key("one")), 51U);
  now = std::numeric_limits<std::int64_t>::min();
  EXPECT_EQ(put(id_key("one")), 52U);
  now = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(put(id_key("one")), 53U);
}

TEST_F(Taken, of_all_ids_the_oldest_go_first) {
  put(id_key("1", "a"));
  put(id_key("1", "b"));
  for (const auto* id : {"2", "3", "4", "5"}) put(id_key(id, "c"));
  EXPECT_TRUE(known(id_key("1", "a"), 50));
  put(id_key("6", "d"));
  EXPECT_EQ(table->ids(), 6U);
  EXPECT_TRUE(fresh(id_key("1", "a")));
  EXPECT_TRUE(known(id_key("1", "b"), 51));
  put(id_key("6", "c"));
  EXPECT_TRUE(known(id_key("1", "b"), 51)) << "a sender that has its fill pays for itself";
}

TEST_F(Taken, ids_under_way_push_out_nothing) {
  for (const auto* id : {"1", "2", "3", "4"}) put(id_key(id));
  const std::uint64_t first = ticket + 1;
  for (const auto* id : {"5", "6", "7"}) EXPECT_EQ(begin(id_key(id)).verdict, Verdict::fresh);
  EXPECT_TRUE(known(id_key("1"), 50));
  for (std::uint64_t i = first; i < first + 3; ++i) table->cancel(i);
  EXPECT_TRUE(known(id_key("1"), 50));
  EXPECT_TRUE(table->consistent());
}

TEST_F(Taken, rules_of_nothing_know_nothing) {
  rules = {.ids_per_sender = 0, .id_age_ns = 0, .ids = 0, .producers = 0};
  table = std::make_unique<Dedup>(rules);
  put(id_key("one"));
  put(sequence_key(1, 1, 1));
  EXPECT_TRUE(fresh(id_key("one")));
  EXPECT_TRUE(fresh(sequence_key(1, 1, 1)));
  restart();
}

// --- By sequence. ---

TEST_F(Taken, a_sequence_that_comes_again_is_told_its_offset) {
  put_all(7, 1, 10, 13);
  EXPECT_TRUE(known(sequence_key(7, 1, 13), 53));
  EXPECT_TRUE(known(sequence_key(7, 1, 10), 50));
  EXPECT_EQ(begin(sequence_key(7, 1, 9)).verdict, Verdict::gap) << "in front of the first: it may never have come";
  EXPECT_TRUE(fresh(sequence_key(7, 1, 14)));
  EXPECT_TRUE(fresh(sequence_key(8, 1, 14))) << "another producer";
}

TEST_F(Taken, a_sequence_further_back_than_the_history_is_a_duplicate_of_no_offset) {
  put_all(7, 1, 1, 100);
  EXPECT_TRUE(known(sequence_key(7, 1, 37), 86));
  EXPECT_TRUE(known(sequence_key(7, 1, 36), std::nullopt));
  EXPECT_TRUE(known(sequence_key(7, 1, 0), std::nullopt));
}

TEST_F(Taken, a_sequence_that_leaves_one_out_is_a_gap) {
  put_all(7, 1, 10, 10);
  const Answer answer = begin(sequence_key(7, 1, 12));
  EXPECT_EQ(answer.verdict, Verdict::gap);
  EXPECT_EQ(answer.expected, 11U);
  EXPECT_EQ(table->under_way(), 0U);
  EXPECT_TRUE(fresh(sequence_key(7, 1, 11)));
}

TEST_F(Taken, a_lower_epoch_is_fenced) {
  put_all(7, 5, 10, 10);
  const Answer answer = begin(sequence_key(7, 4, 11));
  EXPECT_EQ(answer.verdict, Verdict::fenced);
  EXPECT_EQ(answer.expected, 5U);
  EXPECT_EQ(begin(sequence_key(7, 4, 10)).verdict, Verdict::fenced) << "also what was taken";
}

TEST_F(Taken, a_higher_epoch_begins_at_any_sequence) {
  put_all(7, 1, 10, 20);
  put(sequence_key(7, 3, 5));
  EXPECT_TRUE(known(sequence_key(7, 3, 5), 61));
  EXPECT_EQ(begin(sequence_key(7, 3, 4)).verdict, Verdict::gap) << "what an earlier epoch had does not count";
  EXPECT_TRUE(fresh(sequence_key(7, 3, 6)));
  EXPECT_EQ(begin(sequence_key(7, 3, 11)).verdict, Verdict::gap);
}

TEST_F(Taken, sequences_may_end_where_numbers_do) {
  constexpr auto most = std::numeric_limits<std::uint64_t>::max();
  put_all(7, 1, most - 1, most - 1);
  put(sequence_key(7, 1, most));
  EXPECT_TRUE(known(sequence_key(7, 1, 0), std::nullopt));
  put(sequence_key(7, 0xFFFF'FFFF, 0));
  EXPECT_EQ(begin(sequence_key(7, 0xFFFF'FFFF, most)).verdict, Verdict::gap);
  restart();
  EXPECT_TRUE(known(sequence_key(7, 0xFFFF'FFFF, 0), 52));
}

TEST_F(Taken, sequences_under_way_count_as_taken) {
  put_all(7, 1, 1, 1);
  for (std::uint64_t sequence = 2; sequence <= 4; ++sequence) {
    EXPECT_EQ(begin(sequence_key(7, 1, sequence)).verdict, Verdict::fresh);
  }
  const Answer again = begin(sequence_key(7, 1, 3));
  EXPECT_EQ(again.verdict, Verdict::under_way);
  EXPECT_EQ(again.ticket, ticket - 2);
  EXPECT_EQ(begin(sequence_key(7, 1, 6)).expected, 5U);
  EXPECT_TRUE(known(sequence_key(7, 1, 1), 50));
  EXPECT_EQ(table->under_way(), 3U);
}

TEST_F(Taken, a_canceled_sequence_takes_along_what_is_behind_it) {
  put_all(7, 1, 1, 1);
  std::vector<std::uint64_t> tickets;
  for (std::uint64_t sequence = 2; sequence <= 5; ++sequence) {
    EXPECT_EQ(begin(sequence_key(7, 1, sequence)).verdict, Verdict::fresh);
    tickets.push_back(ticket);
  }
  table->cancel(tickets[1]);
  EXPECT_EQ(table->under_way(), 1U) << "the one in front stays";
  EXPECT_EQ(begin(sequence_key(7, 1, 4)).verdict, Verdict::gap);
  EXPECT_EQ(begin(sequence_key(7, 1, 2)).verdict, Verdict::under_way);
  ASSERT_EQ(begin(sequence_key(7, 1, 3)).verdict, Verdict::fresh);
  const std::uint64_t third = ticket;
  ASSERT_EQ(begin(sequence_key(7, 1, 4)).verdict, Verdict::fresh);
  const std::uint64_t fourth = ticket;
  table->cancel(tickets[3]);
  table->cancel(tickets[2]);
  EXPECT_EQ(begin(sequence_key(7, 1, 4)).ticket, fourth) << "what was canceled late harms none that came since";
  EXPECT_EQ(begin(sequence_key(7, 1, 3)).ticket, third);
  table->commit(tickets[0], 70);
  table->commit(third, 71);
  table->commit(fourth, 72);
  EXPECT_TRUE(known(sequence_key(7, 1, 4), 72));
  EXPECT_TRUE(fresh(sequence_key(7, 1, 5)));
}

TEST_F(Taken, sequences_canceled_from_the_last_on_go_back_one_by_one) {
  put_all(7, 1, 1, 1);
  const std::uint64_t first = ticket + 1;
  for (std::uint64_t sequence = 2; sequence <= 4; ++sequence) begin(sequence_key(7, 1, sequence));
  for (std::uint64_t i = 3; i-- != 0;) {
    table->cancel(first + i);
    EXPECT_EQ(table->under_way(), i);
    EXPECT_EQ(begin(sequence_key(7, 1, i + 3)).verdict, Verdict::gap);
    EXPECT_TRUE(fresh(sequence_key(7, 1, i + 2)));
  }
}

TEST_F(Taken, a_producer_whose_first_is_canceled_was_never_there) {
  EXPECT_EQ(begin(sequence_key(7, 3, 10)).verdict, Verdict::fresh);
  EXPECT_EQ(begin(sequence_key(7, 3, 11)).verdict, Verdict::fresh);
  table->cancel(ticket - 1);
  EXPECT_EQ(table->under_way(), 0U);
  table->cancel(ticket);
  EXPECT_TRUE(fresh(sequence_key(7, 1, 99)));
  EXPECT_EQ(table->producers(), 0U);
}

TEST_F(Taken, an_epoch_that_is_canceled_goes_back_to_the_one_before) {
  put_all(7, 1, 10, 10);
  ASSERT_EQ(begin(sequence_key(7, 1, 11)).verdict, Verdict::fresh);
  const std::uint64_t before = ticket;
  ASSERT_EQ(begin(sequence_key(7, 2, 0)).verdict, Verdict::fresh);
  const std::uint64_t first = ticket;
  ASSERT_EQ(begin(sequence_key(7, 2, 1)).verdict, Verdict::fresh);
  EXPECT_EQ(begin(sequence_key(7, 1, 12)).verdict, Verdict::fenced) << "also while it is under way";
  table->cancel(before);
  EXPECT_EQ(table->under_way(), 2U) << "a later epoch does not stand on an earlier one";
  table->cancel(first);
  EXPECT_EQ(table->under_way(), 0U);
  EXPECT_TRUE(known(sequence_key(7, 1, 10), 50));
  EXPECT_TRUE(fresh(sequence_key(7, 1, 11)));
}

TEST_F(Taken, an_epoch_is_committed_behind_the_one_before) {
  put_all(7, 1, 10, 10);
  begin(sequence_key(7, 1, 11));
  const std::uint64_t before = ticket;
  begin(sequence_key(7, 2, 0));
  const std::uint64_t first = ticket;
  table->commit(before, 60);
  EXPECT_EQ(begin(sequence_key(7, 1, 11)).verdict, Verdict::fenced);
  EXPECT_EQ(begin(sequence_key(7, 2, 0)).ticket, first);
  table->commit(first, 61);
  EXPECT_TRUE(known(sequence_key(7, 2, 0), 61));
}

TEST_F(Taken, the_producer_that_was_idle_the_longest_is_forgotten) {
  for (std::uint64_t producer = 1; producer <= 3; ++producer) put_all(producer, 1, 10, 10);
  put(sequence_key(1, 1, 11));
  EXPECT_TRUE(known(sequence_key(2, 1, 10), 51)) << "to ask is no work";
  EXPECT_EQ(begin(sequence_key(4, 1, 10)).verdict, Verdict::fresh);
  EXPECT_TRUE(known(sequence_key(2, 1, 10), 51)) << "not before it is committed";
  table->commit(ticket - 1, 60);
  EXPECT_EQ(table->producers(), 3U);
  EXPECT_TRUE(fresh(sequence_key(2, 1, 5)));
  EXPECT_TRUE(known(sequence_key(1, 1, 10), 50));
  EXPECT_TRUE(known(sequence_key(3, 1, 10), 52));
}

TEST_F(Taken, a_producer_that_is_forgotten_goes_on_with_what_is_under_way) {
  put_all(1, 1, 10, 10);
  ASSERT_EQ(begin(sequence_key(1, 1, 11)).verdict, Verdict::fresh);
  const std::uint64_t under_way = ticket;
  for (std::uint64_t producer = 2; producer <= 4; ++producer) put_all(producer, 1, 10, 10);
  EXPECT_EQ(begin(sequence_key(1, 1, 11)).verdict, Verdict::under_way);
  EXPECT_EQ(begin(sequence_key(1, 1, 13)).verdict, Verdict::gap);
  EXPECT_EQ(begin(sequence_key(1, 1, 10)).verdict, Verdict::gap) << "nobody can say";
  EXPECT_TRUE(table->consistent());
  table->commit(under_way, 60);
  EXPECT_TRUE(known(sequence_key(1, 1, 11), 60));
  EXPECT_EQ(table->producers(), 3U);
}

// --- Restarts. ---

TEST_F(Taken, all_is_the_same_after_a_restart) {
  put_all(7, 2, 1, 100);
  put_all(8, 1, 0, 0);
  for (const auto* id : {"1", "2", "3", "4", "5"}) put(id_key(id));
  begin(id_key("under way"));
  begin(sequence_key(7, 2, 101));
  restart();
  EXPECT_EQ(table->next(), 156U);
  EXPECT_EQ(table->under_way(), 0U);
  EXPECT_EQ(table->ids(), 4U);
  EXPECT_TRUE(known(sequence_key(7, 2, 37), 86));
  EXPECT_TRUE(known(sequence_key(7, 2, 36), std::nullopt));
  EXPECT_EQ(begin(sequence_key(7, 1, 1)).verdict, Verdict::fenced);
  EXPECT_EQ(begin(sequence_key(7, 2, 102)).verdict, Verdict::gap);
  EXPECT_TRUE(known(sequence_key(8, 1, 0), 150));
  EXPECT_TRUE(fresh(id_key("1")));
  EXPECT_TRUE(known(id_key("2"), 152));
  EXPECT_TRUE(fresh(id_key("under way")));
  now += 120 * second;
  EXPECT_TRUE(known(id_key("5"), 155)) << "its time is the same too";
  now += 1;
  EXPECT_TRUE(fresh(id_key("5")));
}

TEST_F(Taken, a_record_is_restored_once_however_often_it_is_read) {
  put(id_key("one"));
  put_all(7, 1, 1, 2);
  restart();
  for (int i = 0; i < 2; ++i) {
    table->restore(id_key("one"), 50, now);
    table->restore(sequence_key(7, 1, 1), 51, now);
    table->restore(sequence_key(7, 1, 2), 52, now);
    table->restore({}, 53, now);
    table->restore(sequence_key(7, 1, 3), 54, now);
    table->restore(id_key("two"), 55, now);
    table->restore(id_key("three", "b"), 56, now);
  }
  EXPECT_EQ(table->next(), 57U);
  EXPECT_EQ(table->ids(), 3U);
  EXPECT_TRUE(known(id_key("one"), 50));
  EXPECT_TRUE(known(id_key("two"), 55));
  EXPECT_TRUE(known(id_key("three", "b"), 56));
  for (std::uint64_t sequence = 1; sequence <= 2; ++sequence) {
    EXPECT_TRUE(known(sequence_key(7, 1, sequence), 50 + sequence));
  }
  EXPECT_TRUE(known(sequence_key(7, 1, 3), 54));
}

TEST_F(Taken, records_that_were_lost_leave_holes_in_the_history) {
  table->restore(sequence_key(7, 1, 1), 10, now);
  table->restore(sequence_key(7, 1, 5), 20, now);
  EXPECT_TRUE(known(sequence_key(7, 1, 1), 10));
  for (std::uint64_t lost = 2; lost <= 4; ++lost) {
    EXPECT_EQ(begin(sequence_key(7, 1, lost)).verdict, Verdict::gap) << lost;
  }
  EXPECT_TRUE(fresh(sequence_key(7, 1, 6)));
  restart();
  EXPECT_TRUE(known(sequence_key(7, 1, 1), 10));
  EXPECT_EQ(begin(sequence_key(7, 1, 3)).verdict, Verdict::gap);
  table->restore(sequence_key(7, 1, 100), 21, now);
  EXPECT_TRUE(known(sequence_key(7, 1, 5), std::nullopt));
  EXPECT_TRUE(known(sequence_key(7, 1, 100), 21));
  table->restore(sequence_key(7, 1, 164), 22, now);
  EXPECT_TRUE(known(sequence_key(7, 1, 100), std::nullopt));
  EXPECT_EQ(begin(sequence_key(7, 1, 163)).verdict, Verdict::gap);
  EXPECT_TRUE(known(sequence_key(7, 1, 164), 22));
}

TEST_F(Taken, an_id_that_stands_in_the_log_twice_is_the_later_one) {
  for (std::uint64_t offset = 1; offset <= 2; ++offset) table->restore(id_key("one"), offset, now);
  EXPECT_TRUE(known(id_key("one"), 2));
  restart();
  EXPECT_TRUE(known(id_key("one"), 2));
  for (const auto* id : {"a", "b", "c"}) table->restore(id_key(id), table->next(), now);
  EXPECT_TRUE(known(id_key("one"), 2)) << "the earlier one has gone, not this one";
}

TEST_F(Taken, a_snapshot_of_nothing_is_a_snapshot) {
  EXPECT_EQ(table->encode(now, 4096).size(), 1U);
  table->restore(id_key("one"), 41, now);
  now += 121 * second;
  EXPECT_LE(table->encode(now, 4096)[0].size(), 17U) << "what is too old is not in it";
  restart();
  EXPECT_EQ(table->next(), 42U);
  EXPECT_EQ(table->ids(), 0U);
}

TEST_F(Taken, a_snapshot_keeps_to_its_frames) {
  rules = {};
  table = std::make_unique<Dedup>(rules);
  for (std::uint64_t producer = 0; producer < 50; ++producer) put_all(producer << 50, 1, 1, 70);
  for (int i = 0; i < 5000; ++i) {
    put(id_key("id " + std::to_string(i), "sender " + std::to_string(i % 100)));
    now += 12'345'678;
  }
  const Frames frames = table->encode(now, 1024);
  EXPECT_GT(frames.size(), 100U);
  std::size_t bytes = 0;
  for (const auto& frame : frames) {
    ASSERT_LE(frame.size(), 1024U);
    ASSERT_EQ(frame[0], Dedup::frame_kind);
    bytes += frame.size();
  }
  EXPECT_LT(bytes, 50 * 120 + 5000 * 45);
  restart(1024);
  for (int i = 0; i < 5000; ++i) {
    ASSERT_TRUE(known(id_key("id " + std::to_string(i), "sender " + std::to_string(i % 100)),
                      static_cast<std::uint64_t>(50 + 50 * 70 + i)))
        << i;
  }
}

TEST_F(Taken, ids_take_less_than_32_bytes_of_a_snapshot_each) {
  rules = {};
  table = std::make_unique<Dedup>(rules);
  for (int i = 0; i < 100'000; ++i, now += 500'000) put(id_key(std::to_string(i)));
  std::size_t bytes = 0;
  for (const auto& frame : table->encode(now, 65536)) bytes += frame.size();
  EXPECT_LT(bytes, 24U * 100'000);
  RecordProperty("bytes_of_100000_ids", static_cast<int>(bytes));
}

TEST_F(Taken, what_a_snapshot_holds_beyond_the_rules_of_today_is_forgotten) {
  for (std::uint64_t producer = 1; producer <= 3; ++producer) put_all(producer, 1, 10, 10);
  for (const auto* id : {"1", "2", "3", "4"}) put(id_key(id));
  rules = {.ids_per_sender = 2, .id_age_ns = 120 * second, .ids = 6, .producers = 1};
  restart();
  EXPECT_EQ(table->ids(), 2U);
  EXPECT_TRUE(known(id_key("3"), 55));
  EXPECT_TRUE(known(sequence_key(3, 1, 10), 52));
  EXPECT_TRUE(fresh(sequence_key(2, 1, 10)));
}

// --- Bytes that may be any. ---

class Snapshots : public Taken {
 protected:
  void SetUp() override {
    rules = {};
    table = std::make_unique<Dedup>(rules);
    for (std::uint64_t producer = 1; producer <= 20; ++producer) put_all(producer, 1, 1, 70);
    for (int i = 0; i < 40; ++i) put(id_key(std::to_string(i), i % 3 == 0 ? "a" : "b"));
    frames = table->encode(now, 1024);
    ASSERT_GE(frames.size(), 3U);
  }
  Frames frames;
};

TEST_F(Snapshots, are_whole_with_their_last_frame) {
  DedupReader reader(rules);
  EXPECT_EQ(reader.take(), nullptr);
  for (std::size_t i = 0; i < frames.size(); ++i) EXPECT_EQ(reader.add(frames[i]), i + 1 == frames.size());
  EXPECT_NE(reader.take(), nullptr);
  EXPECT_EQ(reader.take(), nullptr);
}

TEST_F(Snapshots, with_a_frame_missing_or_out_of_place_are_none) {
  for (std::size_t left_out = 0; left_out < frames.size(); ++left_out) {
    DedupReader reader(rules);
    for (std::size_t i = 0; i < frames.size(); ++i) {
      if (i != left_out) {
        EXPECT_FALSE(reader.add(frames[i]));
      }
    }
    EXPECT_EQ(reader.take(), nullptr);
  }
  Frames turned = frames;
  std::swap(turned[1], turned[2]);
  EXPECT_EQ(decode(turned, rules), nullptr);
  Frames twice = frames;
  twice.insert(twice.begin() + 1, frames[1]);
  EXPECT_EQ(decode(twice, rules), nullptr);
}

TEST_F(Snapshots, with_a_frame_that_says_another_number_of_them_are_none) {
  for (const std::size_t which : {std::size_t{1}, frames.size() - 1}) {
    Frames more = frames;
    more[which][5] ^= std::byte{0x40};
    EXPECT_EQ(decode(more, rules), nullptr);
  }
  Frames of_groups = frames;
  of_groups[1][0] = std::byte{1};
  EXPECT_EQ(decode(of_groups, rules), nullptr);
}

TEST_F(Snapshots, that_are_cut_short_leave_the_one_before) {
  DedupReader reader(rules);
  for (const auto& frame : frames) reader.add(frame);
  put(id_key("later"));
  const Frames later = table->encode(now, 1024);
  for (std::size_t i = 0; i + 1 < later.size(); ++i) EXPECT_FALSE(reader.add(later[i]));
  const auto read = reader.take();
  ASSERT_NE(read, nullptr);
  EXPECT_EQ(read->next(), table->next() - 1);
  EXPECT_TRUE(reader.add(later.back()));
  EXPECT_EQ(reader.take()->next(), table->next());
}

TEST_F(Snapshots, do_not_mix) {
  put(id_key("later"));
  Frames mixed = table->encode(now, 1024);
  ASSERT_EQ(mixed.size(), frames.size());
  mixed[1] = frames[1];
  EXPECT_EQ(decode(mixed, rules), nullptr);
}

TEST_F(Snapshots, with_a_frame_cut_anywhere_are_none_or_sound) {
  for (std::size_t which = 0; which < frames.size(); ++which) {
    for (std::size_t bytes = 0; bytes < frames[which].size(); ++bytes) {
      Frames cut = frames;
      cut[which].resize(bytes);
      const auto read = decode(cut, rules);
      if (read != nullptr) {
        ASSERT_TRUE(read->consistent());
        ASSERT_LT(read->ids() + read->producers(), table->ids() + table->producers());
      }
      if (bytes < 17) {
        ASSERT_EQ(read, nullptr);
      }
    }
  }
}

TEST_F(Snapshots, with_any_bit_turned_are_none_or_sound) {
  for (std::size_t which = 0; which < frames.size(); ++which) {
    for (std::size_t bit = 0; bit < 8 * frames[which].size(); ++bit) {
      Frames damaged = frames;
      damaged[which][bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
      const auto read = decode(damaged, rules);
      if (read == nullptr) continue;
      ASSERT_TRUE(read->consistent());
      const Frames again = read->encode(now, 1024);
      const auto same = decode(again, rules);
      ASSERT_NE(same, nullptr);
      ASSERT_EQ(same->encode(now, 1024), again) << "what is taken would be written again";
    }
  }
}

TEST_F(Snapshots, say_no_number_that_cannot_be) {
  const auto refused = [&](std::vector<std::uint8_t> items) {
    std::vector<std::byte> frame(17);
    frame[0] = Dedup::frame_kind;
    frame[5] = std::byte{1};
    frame[9] = std::byte{50};  // next
    for (const std::uint8_t byte : items) frame.push_back(std::byte{byte});
    return decode({frame}, rules) == nullptr;
  };
  const std::vector<std::uint8_t> producer{0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 3, 0, 0, 0, 0, 0, 0, 0, 2, 1};
  const auto with = [](std::vector<std::uint8_t> bytes, std::size_t at, std::uint8_t value) {
    bytes.at(at) = value;
    return bytes;
  };
  EXPECT_FALSE(refused({}));
  EXPECT_FALSE(refused(producer));
  std::vector<std::uint8_t> not_the_last = with(producer, 11, 2);
  not_the_last.pop_back();
  EXPECT_TRUE(refused(not_the_last)) << "the last one must be there";
  EXPECT_TRUE(refused(with(producer, 11, 5))) << "in front of sequence 0";
  EXPECT_TRUE(refused(with(producer, 19, 0))) << "an offset at next";
  EXPECT_TRUE(refused(with(producer, 19, 51))) << "an offset in front of 0";
  std::vector<std::uint8_t> twice = producer;
  twice.insert(twice.end(), producer.begin(), producer.end());
  EXPECT_TRUE(refused(twice));
  std::vector<std::uint8_t> id(35, 0);
  id[0] = 1;
  id[33] = 49;
  EXPECT_FALSE(refused(id));
  EXPECT_TRUE(refused(with(id, 33, 50)));
  std::vector<std::uint8_t> of_none(19, 0);
  of_none[0] = 2;
  EXPECT_TRUE(refused(of_none)) << "a sender that was not said";
  std::vector<std::uint8_t> too_long = id;
  too_long.pop_back();
  for (int i = 0; i < 9; ++i) too_long.push_back(0xFF);
  too_long.push_back(2);
  EXPECT_TRUE(refused(too_long)) << "a number of more than 64 bits";
  too_long.back() = 1;
  EXPECT_FALSE(refused(too_long));
}

// --- All of it, against a model. ---

/// The same, written down as simply as possible, and slow.
struct Model {
  struct Sent {
    DedupKey key = {};
    std::string source = {}, id = {};  // what the key refers to
    std::uint64_t ticket = 0;
    std::uint64_t offset = 0;
    std::int64_t time = 0;
  };
  struct Known {
    std::uint32_t epoch = 0;
    std::uint64_t last = 0;
    std::map<std::uint64_t, std::uint64_t> offsets = {};
    std::uint64_t at = 0;  // of its last record
  };

  explicit Model(const DedupRules& of) : rules(of) {}

  static DedupKey key_of(const Sent& sent) {
    DedupKey key = sent.key;
    key.source = sent.source;
    key.message_id = sent.id;
    return key;
  }

  Answer begin(const Sent& sent) {
    const Answer answer = sent.key.producer ? judge(*sent.key.producer) : judge_id(sent);
    if (answer.verdict == Verdict::fresh) under_way.push_back(sent);
    return answer;
  }

  Answer judge_id(const Sent& sent) const {
    for (const Sent& other : under_way) {
      if (!other.key.producer && other.source == sent.source && other.id == sent.id) {
        return {.verdict = Verdict::under_way, .ticket = other.ticket};
      }
    }
    for (auto at = window.rbegin(); at != window.rend(); ++at) {
      if (at->source != sent.source || at->id != sent.id) continue;
      if (sent.time - at->time > rules.id_age_ns) return {};
      return {.verdict = Verdict::duplicate, .offset = at->offset};
    }
    return {};
  }

  Answer judge(const Producer& given) const {
    std::optional<std::pair<std::uint32_t, std::uint64_t>> last;
    const auto known = producers.find(given.id);
    if (known != producers.end()) last = {known->second.epoch, known->second.last};
    for (const Sent& other : under_way) {
      if (!other.key.producer || other.key.producer->id != given.id) continue;
      if (*other.key.producer == given) return {.verdict = Verdict::under_way, .ticket = other.ticket};
      last = {other.key.producer->epoch, other.key.producer->sequence};
    }
    if (!last || given.epoch > last->first) return {};
    if (given.epoch < last->first) return {.verdict = Verdict::fenced, .expected = last->first};
    if (given.sequence == last->second + 1) return {};
    if (given.sequence > last->second) return {.verdict = Verdict::gap, .expected = last->second + 1};
    const Answer not_there{.verdict = Verdict::gap, .expected = last->second + 1};
    if (known == producers.end() || known->second.epoch != given.epoch) return not_there;
    const auto offset = known->second.offsets.find(given.sequence);
    if (offset != known->second.offsets.end()) return {.verdict = Verdict::duplicate, .offset = offset->second};
    const bool is_far = given.sequence + Dedup::history <= known->second.last;
    return is_far ? Answer{.verdict = Verdict::duplicate} : not_there;
  }

  /// What is under way ends. Returns: it, with the offset.
  Sent take_out(std::size_t i) {
    Sent sent = under_way[i];
    under_way.erase(under_way.begin() + static_cast<std::ptrdiff_t>(i));
    return sent;
  }

  void cancel(std::size_t i) {
    const Sent sent = take_out(i);
    if (!sent.key.producer) return;
    const Producer& first = *sent.key.producer;
    std::erase_if(under_way, [&](const Sent& other) {
      const bool doomed = other.key.producer && other.key.producer->id == first.id &&
                          other.key.producer->epoch == first.epoch && other.key.producer->sequence > first.sequence;
      if (doomed) canceled.push_back(other.ticket);
      return doomed;
    });
  }

  /// It stands in the log.
  void wrote(const Sent& sent) {
    log.push_back(sent);
    if (!sent.key.producer) {
      window.push_back(sent);
      const auto of_sender = [&](const Sent& other) { return other.source == sent.source; };
      if (static_cast<std::size_t>(std::ranges::count_if(window, of_sender)) > rules.ids_per_sender) {
        window.erase(std::ranges::find_if(window, of_sender));
      }
      if (window.size() > rules.ids) window.erase(window.begin());
      return;
    }
    const auto& [id, epoch, sequence] = *sent.key.producer;
    Known& known = producers[id];
    if (known.offsets.empty() || epoch > known.epoch) known = {.epoch = epoch};
    known.last = sequence;
    known.offsets[sequence] = sent.offset;
    if (known.offsets.size() > Dedup::history) known.offsets.erase(known.offsets.begin());
    known.at = sent.offset;
    if (producers.size() <= rules.producers) return;
    producers.erase(std::ranges::min_element(producers, {}, [](const auto& one) { return one.second.at; }));
  }

  DedupRules rules;
  std::deque<Sent> window;
  std::map<std::uint64_t, Known> producers;
  std::vector<Sent> under_way;  // as it began
  std::vector<std::uint64_t> canceled;  // along with one in front, and not by themselves yet
  std::vector<Sent> log;
};

bool operator==(const Answer& a, const Answer& b) {
  return a.verdict == b.verdict && a.offset == b.offset && a.ticket == b.ticket && a.expected == b.expected;
}

class TakenAtRandom : public testing::TestWithParam<std::uint64_t> {};

TEST_P(TakenAtRandom, is_what_a_simple_model_says) {
  std::mt19937_64 random(GetParam());
  const auto pick = [&](std::uint64_t n) { return random() % n; };
  const DedupRules rules{.ids_per_sender = 1 + pick(30),
                         .id_age_ns = static_cast<std::int64_t>(1 + pick(pick(2) == 0 ? 40 : 1000)) * second,
                         .ids = 1 + pick(80),
                         .producers = 1 + pick(5)};
  auto table = std::make_unique<Dedup>(rules);
  Model model(rules);
  Frames snapshot;
  std::uint64_t snapshot_next = 0;
  std::int64_t now = start;
  std::uint64_t ticket = 0;
  std::uint64_t next = 0;
  std::map<Verdict, int> seen;

  const auto some_message = [&] {
    Model::Sent sent{.ticket = ++ticket, .time = now};
    if (pick(2) == 0) {
      sent.source = pick(4) == 0 ? "" : std::to_string(pick(4));
      sent.id = std::to_string(pick(40));
      return sent;
    }
    const std::uint64_t id = pick(7);
    Producer given{.id = id, .epoch = 1, .sequence = 100 + pick(3)};
    // Close to where it stands, and mostly what is due.
    const auto known = model.producers.find(id);
    if (known != model.producers.end()) given = {id, known->second.epoch, known->second.last + 1};
    for (const auto& other : model.under_way) {
      if (other.key.producer && other.key.producer->id == id) given = *other.key.producer, ++given.sequence;
    }
    switch (pick(12)) {
      case 0: given.sequence -= std::min<std::uint64_t>(given.sequence, pick(80)); break;
      case 1: given.sequence -= 1 + pick(4); break;
      case 2: given.sequence += 1 + pick(3); break;
      case 3:
        if (pick(4) == 0) ++given.epoch;
        break;
      case 4: --given.epoch; break;
      default: break;
    }
    sent.key.producer = given;
    return sent;
  };
  const auto write = [&](std::size_t i) {
    Model::Sent sent = model.take_out(i);
    sent.offset = next += 1 + pick(3);
    model.wrote(sent);
    return sent;
  };

  for (int step = 0; step < 10'000; ++step) {
    switch (pick(16)) {
      case 0: now += static_cast<std::int64_t>(pick(5 * second)); break;
      case 1: {  // one is refused
        if (model.under_way.empty()) break;
        const std::size_t i = pick(model.under_way.size());
        table->cancel(model.under_way[i].ticket);
        model.cancel(i);
        break;
      }
      case 2: {  // one that was canceled along with it
        if (model.canceled.empty()) break;
        const std::size_t i = pick(model.canceled.size());
        table->cancel(model.canceled[i]);
        model.canceled.erase(model.canceled.begin() + static_cast<std::ptrdiff_t>(i));
        break;
      }
      case 3:
        if (pick(8) == 0) {
          snapshot = table->encode(now, Dedup::min_frame_bytes + pick(2000));
          snapshot_next = table->next();
        }
        break;
      case 4: {  // the process is killed, between writing and commit
        if (pick(12) != 0) break;
        while (!model.under_way.empty() && pick(3) != 0) write(0);
        model.under_way.clear();
        model.canceled.clear();
        table = std::make_unique<Dedup>(rules);
        if (!snapshot.empty() && pick(4) != 0) table = decode(snapshot, rules);
        ASSERT_NE(table, nullptr);
        // From anywhere in front of what the snapshot says.
        const std::uint64_t from = pick(2) == 0 ? table->next() : pick(table->next() + 1);
        ASSERT_TRUE(table->next() == 0 || table->next() == snapshot_next);
        for (const auto& sent : model.log) {
          if (sent.offset < from) continue;
          table->restore(Model::key_of(sent), sent.offset, sent.time);
          if (pick(10) == 0) table->restore(Model::key_of(sent), sent.offset, sent.time);
        }
        break;
      }
      case 5:
      case 6:
      case 7:
      case 8: {  // a batch is committed: a producer's in their order, others in any
        for (std::uint64_t count = pick(4); count != 0 && !model.under_way.empty(); --count) {
          std::size_t i = pick(model.under_way.size());
          for (std::size_t other = 0; model.under_way[i].key.producer && other < i; ++other) {
            const auto& producer = model.under_way[other].key.producer;
            if (producer && producer->id == model.under_way[i].key.producer->id) i = other;
          }
          const Model::Sent sent = write(i);
          table->commit(sent.ticket, sent.offset);
        }
        break;
      }
      default: {
        const Model::Sent sent = some_message();
        const Answer expected = model.begin(sent);
        const Answer answer = table->begin(Model::key_of(sent), sent.ticket, now);
        ++seen[answer.verdict];
        ASSERT_EQ(static_cast<int>(answer.verdict), static_cast<int>(expected.verdict)) << "step " << step;
        ASSERT_TRUE(answer == expected) << "step " << step;
      }
    }
    ASSERT_TRUE(table->consistent()) << "step " << step;
    ASSERT_EQ(table->under_way(), model.under_way.size()) << "step " << step;
    ASSERT_EQ(table->producers(), model.producers.size()) << "step " << step;
    ASSERT_LE(table->ids(), model.window.size()) << "step " << step;
  }
  EXPECT_EQ(seen.size(), 5U) << "every verdict";
}
INSTANTIATE_TEST_SUITE_P(Seeds, TakenAtRandom, testing::Range<std::uint64_t>(1, 21));

}  // namespace
}  // namespace bus::detail
