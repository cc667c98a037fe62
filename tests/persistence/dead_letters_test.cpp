// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Dead letters: what becomes of messages that no attempt has helped.
#include <bus/persistence/group.hpp>
#include <bus/persistence/log.hpp>

#include "persistence/groups.hpp"
#include "persistence/log_core.hpp"
#include "persistence/segment_file.hpp"

#include "persistence/group_fixture.hpp"
#include "simulation/sim_disk.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace bus {
namespace {

std::string header(const RecordView& record, std::string_view name) {
  std::string found;
  record.for_each_header([&](const Header& one) {
    if (one.name == name) found = one.value;
  });
  return found;
}

TEST_F(Groups, send_what_is_rejected_or_out_of_attempts_to_the_dead_letters) {
  open();
  join(workers);
  const std::vector<Header> headers{{"mine", "yes"}};
  append("bad", {.topic = "work", .principal = "agent.x", .key = "k", .headers = headers});
  append("poison");
  auto leases = receive();
  ASSERT_EQ(leases.size(), 2U);
  EXPECT_EQ(leases[0].reject("cannot be parsed"), LeaseOutcome::dead);
  EXPECT_EQ(leases[1].nack({}, "first"), LeaseOutcome::done);
  for (int attempt = 2; attempt <= 5; ++attempt) {
    clock.advance(1h);
    auto again = receive();
    ASSERT_EQ(again.size(), 1U) << attempt;
    EXPECT_EQ(again[0].nack({}, "error " + std::to_string(attempt)),
              attempt == 5 ? LeaseOutcome::dead : LeaseOutcome::done);
  }
  clock.advance(1h);
  EXPECT_TRUE(receive().empty());
  ASSERT_FALSE(group->sync());
  const auto dead = on_topic("busbar.dead.*");
  ASSERT_EQ(dead.size(), 2U);
  EXPECT_EQ(dead[0].text(), "bad");
  EXPECT_EQ(dead[0].principal(), "agent.x");
  EXPECT_EQ(dead[0].key(), "k");
  EXPECT_EQ(header(dead[0], "mine"), "yes");
  EXPECT_EQ(header(dead[0], dead_reason_header), "cannot be parsed");
  EXPECT_EQ(header(dead[0], dead_attempts_header), "1");
  EXPECT_EQ(header(dead[0], dead_offset_header), "0");
  EXPECT_EQ(header(dead[0], dead_topic_header), "work");
  EXPECT_EQ(header(dead[1], dead_reason_header), "out of attempts");
  EXPECT_EQ(header(dead[1], dead_attempts_header), "5");
  EXPECT_EQ(header(dead[1], dead_first_error_header), "first");
  EXPECT_EQ(header(dead[1], dead_last_error_header), "error 5");
  EXPECT_TRUE(receive().empty());
  while (group->stats().dead != 0) std::this_thread::yield();  // whoever commits tells the group after it has told us
  EXPECT_EQ(group->stats().floor, log->next_offset());
  // They are read like any topic, by those who ask for them.
  join({.name = "undertaker", .patterns = {"busbar.dead.workers"}, .start = GroupStart::oldest});
  EXPECT_EQ(finish(), (Texts{"bad", "poison"}));
}

TEST_F(Groups, bury_each_dead_message_once_wherever_a_crash_strikes) {
  for (std::uint64_t calls = 0;; ++calls) {
    SCOPED_TRACE(calls);
    SimDisk fresh(1000 + calls);
    open_on(fresh);
    join(workers);
    for (int i = 0; i < 5; ++i) append(std::to_string(i));
    ASSERT_FALSE(group->sync());
    fresh.power_off_after(calls);
    if (auto received = member->try_receive(5)) {
      for (Lease& lease : received->leases) (void)lease.reject("no");
      (void)group->sync();
    }
    const bool through = !fresh.power_is_off();
    fresh.crash();
    open_on(fresh);
    join(workers);
    clock.advance(1h);
    for (Lease& lease : receive()) EXPECT_EQ(lease.reject("no"), LeaseOutcome::dead);
    ASSERT_FALSE(group->sync());
    EXPECT_TRUE(receive().empty());
    std::multiset<std::string> dead;
    for (const RecordView& record : on_topic("busbar.dead.*")) dead.emplace(record.text());
    EXPECT_EQ(dead, (std::multiset<std::string>{"0", "1", "2", "3", "4"}));
    close();
    if (through) break;
  }
}

class DeadLetters : public Groups {
 protected:
  /// Rejects all there is, with its text as the reason.
  void reject_all() {
    for (Lease& lease : receive()) EXPECT_EQ(lease.reject(lease.record().text()), LeaseOutcome::dead);
    settle();
  }
  /// Until all that is on its way to the dead letters is there.
  void settle() {
    ASSERT_FALSE(group->sync());
    while (group->stats().dead != 0) std::this_thread::yield();
  }
  Texts undertake() {
    Group dead = group->dead_letters().value();
    Member undertaker = dead.join().value();
    Texts all;
    for (;;) {
      auto received = undertaker.try_receive(100).value();
      missed += received.missed;
      if (received.leases.empty()) return all;
      for (Lease& lease : received.leases) {
        all.emplace_back(lease.record().text());
        EXPECT_EQ(lease.ack(), LeaseOutcome::done);
      }
    }
  }
};

TEST_F(DeadLetters, go_back_whence_they_came) {
  open();
  join(workers);
  const std::vector<Header> headers{{"mine", "yes"}};
  append("a", {.topic = "work.x", .principal = "agent.x", .key = "k", .headers = headers, .priority = 2});
  append("b", {.topic = "work.y"});
  append("c", {.topic = "work.x"});
  reject_all();
  EXPECT_EQ(group->stats().dead_letters, 3U);
  EXPECT_EQ(group->redrive({.reason = "nothing like it"}).value(), 0U);
  EXPECT_EQ(group->redrive({.topics = {"work.x"}, .reason = "a"}).value(), 1U);
  EXPECT_EQ(group->stats().dead_letters, 2U);
  {
    auto again = receive();
    ASSERT_EQ(texts(again), (Texts{"a"}));
    const RecordView& record = again[0].record();
    EXPECT_EQ(record.topic(), "work.x");
    EXPECT_EQ(record.principal(), "agent.x");
    EXPECT_EQ(record.key(), "k");
    EXPECT_EQ(record.priority(), 2);
    int count = 0;
    record.for_each_header([&](const Header& header) { count += header == headers[0] ? 1 : 100; });
    EXPECT_EQ(count, 1) << "why it died is no part of it";
    EXPECT_EQ(again[0].attempt(), 1U);
    EXPECT_EQ(again[0].ack(), LeaseOutcome::done);
  }
  EXPECT_EQ(group->drop_dead({.topics = {"work.y"}}).value(), 1U);
  crash();
  join(workers);
  EXPECT_EQ(group->stats().dead_letters, 1U);
  EXPECT_EQ(group->redrive().value(), 1U);
  EXPECT_EQ(finish(), (Texts{"c"}));
  EXPECT_EQ(group->redrive().value(), 0U);
}

TEST_F(DeadLetters, go_back_once_wherever_a_crash_strikes) {
  for (std::uint64_t calls = 0;; ++calls) {
    SCOPED_TRACE(calls);
    SimDisk fresh(2000 + calls);
    open_on(fresh);
    join(workers);
    for (int i = 0; i < 5; ++i) append(std::to_string(i));
    reject_all();
    fresh.power_off_after(calls);
    (void)group->redrive();
    const bool through = !fresh.power_is_off();
    fresh.crash();
    open_on(fresh);
    join(workers);
    clock.advance(1h);
    (void)group->redrive().value();
    std::multiset<std::string> sent;
    for (const RecordView& record : on_topic("work")) sent.emplace(record.text());
    EXPECT_EQ(sent, (std::multiset<std::string>{"0", "0", "1", "1", "2", "2", "3", "3", "4", "4"}));
    EXPECT_EQ(group->stats().dead_letters, 0U);
    close();
    if (through) break;
  }
}

TEST_F(DeadLetters, are_messages_of_a_group_of_their_own) {
  open();
  join(workers);
  append("a");
  append("b");
  reject_all();
  Group dead = group->dead_letters().value();
  EXPECT_EQ(dead.dead_letters().error(), sys::invalid_argument);
  EXPECT_EQ(dead.remove(), sys::invalid_argument);
  EXPECT_EQ(Group::open(*log, {.name = "busbar.dead.workers"}).error(), sys::invalid_argument);
  {
    Member undertaker = dead.join().value();
    auto first = undertaker.try_receive(1).value();
    ASSERT_EQ(texts(first.leases), (Texts{"a"}));
    EXPECT_EQ(group->redrive().value(), 1U) << "the one that nobody has";
    EXPECT_EQ(first.leases[0].reject("not to be helped"), LeaseOutcome::dead);
  }
  EXPECT_EQ(dead.stats().dead_letters, 0U);
  EXPECT_EQ(on_topic("busbar.dead.>").size(), 2U) << "what dies twice is gone";
  EXPECT_EQ(finish(), (Texts{"b"}));
}

TEST_F(DeadLetters, make_room_by_the_oldest) {
  open();
  GroupOptions bounded = workers;
  bounded.dead.most = 3;
  join(bounded);
  for (const char* text : {"a", "b", "c", "d", "e"}) append(text);
  reject_all();
  EXPECT_EQ(group->stats().dead_letters, 3U);
  EXPECT_EQ(group->stats().dead_letters_missed, 2U);
  EXPECT_EQ(group->stats().missed, 0U) << "its own messages";
  EXPECT_EQ(undertake(), (Texts{"c", "d", "e"}));
  EXPECT_EQ(missed, 2U);
  EXPECT_EQ(group->stats().dead_letters_missed, 2U) << "those that were taken are not";
  ASSERT_FALSE(group->sync());
  crash();
  join(bounded);
  EXPECT_EQ(undertake(), Texts());
}

TEST_F(DeadLetters, are_held_by_the_group_until_there_is_room) {
  open();
  GroupOptions bounded = workers;
  bounded.dead = {.most = 3, .full = FullDeadLetters::hold};
  join(bounded);
  for (const char* text : {"a", "b", "c", "d", "e"}) append(text);
  for (Lease& lease : receive()) EXPECT_EQ(lease.reject("no"), LeaseOutcome::dead);
  ASSERT_FALSE(group->sync());
  EXPECT_EQ(on_topic("busbar.dead.*").size(), 3U);
  while (group->stats().dead_letters < 3) std::this_thread::yield();  // who commits tells the group after us
  EXPECT_EQ(group->stats().dead, 2U);
  EXPECT_EQ(group->drop_dead({.last = on_topic("busbar.dead.*")[1].offset()}).value(), 2U);
  EXPECT_TRUE(receive().empty());
  settle();
  EXPECT_EQ(undertake(), (Texts{"c", "d", "e"}));
  EXPECT_EQ(missed, 0U);
}

TEST_F(DeadLetters, are_known_by_the_snapshot_of_a_segment_though_nobody_has_read_them) {
  open();
  join(workers);
  EXPECT_EQ(undertake(), Texts()) << "who reads has come so far";
  append("bad");
  reject_all();
  const std::string payload(1000, 'x');
  while (log->stats().segments < 3) append(payload);
  (void)finish();
  ASSERT_FALSE(group->sync());
  crash();
  join(workers);
  EXPECT_EQ(group->stats().dead_letters, 1U);
  EXPECT_EQ(undertake(), (Texts{"bad"}));
}

TEST_F(DeadLetters, are_not_missed_behind_those_who_read_them) {
  open();
  join(workers);
  Group dead = group->dead_letters().value();
  Member undertaker = dead.join().value();
  EXPECT_TRUE(undertaker.try_receive(1)->leases.empty());
  const std::string payload(1000, 'x');
  while (log->stats().segments < 3) append(payload);
  (void)finish();
  ASSERT_GT(log->drop_before(log->next_offset()).value(), 0U);
  EXPECT_EQ(undertaker.try_receive(1)->missed, 0U);
}

TEST_F(DeadLetters, that_are_gone_hold_nothing_back) {
  open();
  GroupOptions unlimited = workers;
  unlimited.dead.lag_bytes = {};
  join(unlimited);
  append("bad");
  reject_all();
  ASSERT_FALSE(log->close());
  open();
  const std::string payload(1000, 'x');
  while (log->stats().segments < 3) append(payload);
  ASSERT_GT(log->drop_before(log->next_offset()).value(), 1U);  // by hand, and nobody has the group open
  join(unlimited);
  EXPECT_GE(group->dead_letters()->stats().floor, log->first_offset());
}

TEST_F(DeadLetters, are_known_though_the_log_was_closed_while_they_were_on_their_way) {
  options.clock = &clock;
  auto storage = disk.mount();
  auto core = detail::LogCore::open(storage, options, detail::LogCore::Threads::none).value();
  const auto queue = core->groups()->open(workers, "").value();
  const std::string payload(4000, 'x');
  const auto hand_over = [&](const Record& record) {
    return core->hand_over({&record, 1}, Durability::written, false, nullptr);
  };
  ASSERT_TRUE(core->wait(hand_over({.topic = "work"}).value(), 1, Durability::written, nullptr));
  const auto now = std::chrono::steady_clock::time_point::min();
  auto received = queue->receive(queue->join({}), 1, &now).value();
  EXPECT_EQ(received.leases.at(0).reject("no"), LeaseOutcome::dead);
  while (hand_over({.topic = "t", .payload = as_payload(payload)})) {  // more than a segment, and nobody commits it
  }
  ASSERT_FALSE(core->close());
  received = {};
  core.reset();
  open();
  ASSERT_GT(log->stats().segments, 1U);
  join(workers);
  EXPECT_EQ(group->stats().dead_letters, 1U);
  EXPECT_EQ(undertake().size(), 1U);
}

TEST_F(DeadLetters, are_not_missed_where_there_never_were_any) {
  open();
  join(workers);
  const std::string payload(1000, 'x');
  while (log->stats().segments < 3) append(payload);
  (void)finish();
  ASSERT_GT(log->drop_before(log->next_offset()).value(), 0U);
  EXPECT_EQ(undertake(), Texts());
  EXPECT_EQ(missed, 0U);
}

TEST_F(DeadLetters, LOG_9_hold_the_log_back_while_there_are_any) {
  open();
  join(workers);
  append("bad");
  reject_all();
  const std::uint64_t letter = on_topic("busbar.dead.*")[0].offset();
  const std::string payload(1000, 'x');
  while (log->stats().segments < 4) append(payload);
  (void)finish();
  ASSERT_FALSE(group->sync());
  open();
  options.retention.records = 10;
  options.timer = 1ms;
  open();
  join(workers);
  append("goes on");
  EXPECT_EQ(finish(), (Texts{"goes on"}));
  EXPECT_LE(log->first_offset(), letter);
  EXPECT_EQ(undertake(), (Texts{"bad"}));
  while (log->first_offset() <= letter) std::this_thread::yield();  // the timer
  EXPECT_EQ(missed, 0U);
}

}  // namespace
}  // namespace bus
