// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Groups are fair among principals, however far one of them is behind.
#include <bus/persistence/group.hpp>
#include <bus/persistence/log.hpp>

#include "persistence/format.hpp"
#include "persistence/group_fixture.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace bus {
namespace {

class FairGroups : public Groups {
 protected:
  void append_of(const std::string& principal, int count) {
    const Record like{.topic = Topic::parse("work").value(), .principal = Principal::parse(principal).value()};
    for (int i = 0; i < count; ++i) append(principal + " " + std::to_string(next_[principal]++), like);
  }
  /// Of each principal, as they came.
  static std::map<std::string, std::vector<int>> by_principal(const Texts& texts) {
    std::map<std::string, std::vector<int>> numbers;
    for (const std::string& text : texts) {
      const auto space = text.find(' ');
      numbers[text.substr(0, space)].push_back(std::stoi(text.substr(space)));
    }
    return numbers;
  }
  static std::vector<int> numbers(int begin, int end) {
    std::vector<int> all;
    for (int i = begin; i < end; ++i) all.push_back(i);
    return all;
  }

  /// Four places of twelve are for those who have fewer.
  const GroupOptions narrow{
      .name = "workers", .start = GroupStart::oldest, .read_ahead = 12, .principal_read_ahead = 4};

 private:
  std::map<std::string, int> next_;
};

TEST_F(FairGroups, one_that_is_far_behind_does_not_keep_others_out) {
  open();
  append_of("agent.flood", 1000);
  append_of("agent.late", 3);
  join(narrow);
  auto leases = receive(11);
  const auto got = by_principal(texts(leases));
  EXPECT_EQ(got.at("agent.late"), numbers(0, 3)) << "behind a thousand of the other";
  EXPECT_EQ(got.at("agent.flood"), numbers(0, 8)) << "all but a share is anybody's";
  EXPECT_EQ(group->stats().put_off, 992U);
  EXPECT_EQ(group->stats().ready + group->stats().leased, 11U);
  EXPECT_EQ(group->stats().floor, 0U);
  EXPECT_EQ(ack_all(leases), 11U);
  EXPECT_EQ(group->stats().floor, 8U) << "where the first is that was put off";
}

TEST_F(FairGroups, a_share_is_at_most_half_of_what_is_read_ahead) {
  open();
  append_of("agent.flood", 100);
  append_of("agent.late", 3);
  GroupOptions few = narrow;
  few.principal_read_ahead = 1000;
  join(few);
  const auto got = by_principal(texts(receive(9)));
  EXPECT_EQ(got.at("agent.flood"), numbers(0, 6));
  EXPECT_EQ(got.at("agent.late"), numbers(0, 3));
  clock.advance(1h);
  few.read_ahead = 1;
  join(few);
  EXPECT_EQ(finish().size(), 103U);
}

TEST_F(FairGroups, find_what_is_far_behind_what_is_not_for_them) {
  open();
  const std::string filler(8, 'x');
  for (int i = 0; i < 5000; ++i) append(filler, {.topic = Topic::parse("fill").value()});
  append_of("agent.a", 1);
  GroupOptions of_work = narrow;
  of_work.patterns = {TopicPattern::parse("work").value()};
  join(of_work);
  EXPECT_EQ(texts(receive(1)), Texts{"agent.a 0"}) << "though the lock is not held for so long";
}

TEST_F(FairGroups, give_what_is_ready_though_what_is_put_off_cannot_be_read) {
  open();
  append_of("agent.flood", 100);
  append_of("agent.late", 8);
  join(narrow);
  auto leases = receive(12);
  ASSERT_EQ(by_principal(texts(leases)).at("agent.late"), numbers(0, 4));
  EXPECT_EQ(ack_all(leases), 12U);
  disk.fail({.call = simulation::Call::open, .error = sys::too_many_files_open, .for_good = true});
  EXPECT_EQ(texts(receive(1)), Texts{"agent.late 4"}) << "it is read along with the rest of the log";
  EXPECT_EQ(receive(12).size(), 3U);
  const auto received = member->try_receive(1);
  ASSERT_FALSE(received);
  EXPECT_EQ(received.error(), sys::too_many_files_open);
  disk.set_faults({});
  EXPECT_EQ(finish().size(), 92U);
}

TEST_F(FairGroups, what_is_put_off_comes_once_and_in_order) {
  open();
  for (int i = 0; i < 40; ++i) {
    append_of("agent.a", 1 + i % 7);
    append_of("agent.b", 1 + i % 3);
    append_of("agent.c", i % 2);
  }
  append_of("agent.d", 1);
  join(narrow);
  Texts texts_so_far;
  for (int round = 0; group->stats().acked < log->next_offset(); ++round) {
    auto leases = receive(1 + static_cast<std::size_t>(round) % 4);
    ASSERT_FALSE(leases.empty()) << group->stats().acked << " of " << log->next_offset();
    if (round < 100) append_of("agent.a", 1);
    for (const std::string& text : texts(leases)) texts_so_far.push_back(text);
    for (Lease& lease : leases) EXPECT_EQ(lease.ack(), LeaseOutcome::done);
  }
  EXPECT_TRUE(receive().empty());
  for (const auto& [principal, got] : by_principal(texts_so_far)) {
    EXPECT_EQ(got, numbers(0, static_cast<int>(got.size()))) << principal;
  }
  EXPECT_EQ(texts_so_far.size(), log->next_offset());
  EXPECT_EQ(group->stats().put_off, 0U);
  EXPECT_EQ(group->stats().floor, log->next_offset());
  append_of("agent.a", 2);
  EXPECT_EQ(finish().size(), 2U) << "it goes on";
}

TEST_F(FairGroups, LOG_7_what_is_put_off_outlives_the_process_and_what_is_acked_behind_it_does_not_come_again) {
  open();
  for (int i = 0; i < 2; ++i) {
    append_of("agent.flood", 50);
    append_of("agent.late", 3);
  }
  join(narrow);
  auto leases = receive(12);
  for (Lease& lease : leases) {
    if (lease.record().principal() != "agent.late") continue;
    EXPECT_EQ(lease.ack(), LeaseOutcome::done);
  }
  leases.clear();
  ASSERT_FALSE(group->sync());
  EXPECT_EQ(by_principal(texts(receive(8))).at("agent.late"), numbers(4, 6));
  ASSERT_GT(group->stats().put_off, 0U);
  // By items, and by the snapshot of a segment that begins, when all items are gone.
  for (const bool by_snapshot : {false, true}) {
    if (by_snapshot) {
      join(narrow);
      receive(1);
      ASSERT_GT(group->stats().put_off, 0U);
      const std::string payload(1000, 'x');
      const std::uint64_t segments = log->stats().segments;
      while (log->stats().segments < segments + 2) append(payload, {.topic = Topic::parse("fill").value()});
    }
    crash();
  }
  clock.advance(std::chrono::hours(1));
  GroupOptions of_work = narrow;
  join(of_work);
  Texts rest = finish();
  std::erase_if(rest, [](const std::string& text) { return text.front() == 'x'; });
  const auto got = by_principal(rest);
  auto flood = got.at("agent.flood");
  std::ranges::sort(flood);
  EXPECT_EQ(flood, numbers(0, 100));
  EXPECT_EQ(got.at("agent.late"), numbers(4, 6));
}

TEST_F(FairGroups, go_on_when_there_are_as_many_ranges_as_may_be) {
  open();
  append_of("agent.b", 6);
  append_of("agent.a", 2);
  for (int i = 0; i < 40; ++i) {
    append_of("agent.a", 1);
    append_of("agent.b", 1);
  }
  join(narrow);
  std::vector<Lease> held;
  std::size_t finished = 0;
  for (auto leases = receive(12); !leases.empty(); leases = receive(12)) {
    for (Lease& lease : leases) {
      if (lease.record().principal() == "agent.b") {
        held.push_back(std::move(lease));
      } else {
        EXPECT_EQ(lease.ack(), LeaseOutcome::done);
        ++finished;
      }
    }
  }
  EXPECT_LT(finished, 42U) << "there are as many ranges as may be";
  EXPECT_EQ(ack_all(held), held.size());
  finished += held.size();
  append_of("agent.c", 1);
  finished += finish().size();
  EXPECT_EQ(finished, 89U);
}

TEST_F(FairGroups, LOG_9_what_is_put_off_counts_as_owed_until_it_is_given_up) {
  open();
  const std::string filler(2000, 'x');
  join([&] {
    GroupOptions limited = narrow;
    limited.lag_bytes = 2 * segment_bytes;
    return limited;
  }());
  append_of("agent.flood", 20);
  while (log->stats().segments < 2) append(filler, {.topic = Topic::parse("fill").value()});
  auto leases = receive(2);
  ASSERT_EQ(leases.size(), 2U);
  EXPECT_GT(group->stats().put_off, 0U);
  EXPECT_EQ(group->stats().floor, 0U);
  options.retention.records = 10;
  leases.clear();
  open();
  join([&] {
    GroupOptions limited = narrow;
    limited.lag_bytes = 2 * segment_bytes;
    return limited;
  }());
  leases = receive(2);
  missed = 0;
  while (log->stats().dropped_segments < 2) append(filler, {.topic = Topic::parse("fill").value()});
  std::uint64_t acked = 0;
  for (Lease& lease : leases) acked += lease.ack() == LeaseOutcome::done ? 1 : 0;
  const std::size_t rest = finish().size();
  EXPECT_EQ(acked + rest + missed, log->next_offset()) << "each once: acked, or missed";
  EXPECT_EQ(group->stats().missed, missed);
}

TEST_F(FairGroups, LOG_9_what_is_put_off_and_damaged_counts_as_missed) {
  open();
  const std::string payload(1000, 'x');
  const Principal flood = Principal::parse("agent.flood").value();
  while (log->stats().segments < 2) append(payload, {.topic = Topic::parse("work").value(), .principal = flood});
  const std::uint64_t all = log->next_offset();
  join(narrow);
  auto leases = receive(2);
  ASSERT_EQ(group->stats().put_off, all - 8);
  auto names = disk.mount()->list().value();
  std::erase_if(names, [](const std::string& name) { return !detail::parse_segment_name(name); });
  disk.flip_bit(std::ranges::min(names), 50'000 * 8);
  const std::size_t rest = leases.size() + finish().size();
  EXPECT_EQ(ack_all(leases), leases.size());
  EXPECT_EQ(missed, 1U);
  EXPECT_EQ(rest + missed, all);
  EXPECT_EQ(group->stats().missed, missed);
  EXPECT_EQ(group->stats().floor, all);
  EXPECT_EQ(group->stats().put_off, 0U);
}

TEST_F(FairGroups, finish_what_is_put_off_when_they_are_told_to) {
  open();
  append_of("agent.flood", 100);
  append_of("agent.late", 2);
  join(narrow);
  auto leases = receive(2);
  ASSERT_FALSE(group->finish_through(89));
  const auto got = by_principal(finish());
  EXPECT_EQ(got.at("agent.flood"), numbers(90, 100));
  EXPECT_EQ(got.at("agent.late"), numbers(0, 2));
  EXPECT_EQ(group->stats().put_off, 0U);
}

TEST_F(FairGroups, a_key_is_never_put_off_where_keys_are_in_order) {
  open();
  GroupOptions keyed = narrow;
  keyed.mode = GroupMode::key_ordered;
  for (int i = 0; i < 12; ++i) {  // the last of each key is of another principal
    append(std::to_string(i), {.topic = Topic::parse("work").value(),
                               .principal = Principal::parse(i < 10 ? "agent.a" : "agent.b").value(),
                               .key = i % 2 == 0 ? "k1" : "k2"});
  }
  join(keyed);
  std::map<std::string, std::vector<int>> of_key;
  for (auto leases = receive(2); !leases.empty(); leases = receive(2)) {
    for (Lease& lease : leases) {
      of_key[std::string(lease.record().key())].push_back(std::stoi(std::string(lease.record().text())));
      EXPECT_EQ(lease.ack(), LeaseOutcome::done);
    }
  }
  EXPECT_EQ(of_key.at("k1"), (std::vector{0, 2, 4, 6, 8, 10}));
  EXPECT_EQ(of_key.at("k2"), (std::vector{1, 3, 5, 7, 9, 11}));
  EXPECT_EQ(group->stats().put_off, 0U);
}

}  // namespace
}  // namespace bus
