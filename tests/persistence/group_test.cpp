// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Groups as a program uses them, on a simulated disk: the laws LOG-7 to LOG-10.
#include <bus/persistence/group.hpp>
#include <bus/persistence/log.hpp>

#include "persistence/groups.hpp"
#include "persistence/log_core.hpp"
#include "persistence/segment_file.hpp"

#include "persistence/group_fixture.hpp"
#include "simulation/sim_disk.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <latch>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace bus {
namespace {

TEST_F(Groups, give_each_message_once_and_remember_what_was_acked) {
  open();
  join(workers);
  for (const char* text : {"a", "b", "c"}) append(text);
  auto leases = receive(2);
  EXPECT_EQ(texts(leases), (Texts{"a", "b"}));
  EXPECT_EQ(leases[0].attempt(), 1U);
  EXPECT_EQ(group->stats().lag, 3U);
  EXPECT_EQ(leases[0].ack(), LeaseOutcome::done);
  EXPECT_EQ(leases[0].ack(), LeaseOutcome::stale);
  EXPECT_EQ(group->stats().lag, 2U);
  EXPECT_EQ(texts(receive()), (Texts{"c"}));  // and drops it
  EXPECT_TRUE(receive().empty());
  leases.clear();
  open();
  join(workers);
  clock.advance(1h);
  EXPECT_EQ(finish(), (Texts{"b", "c"}));
  open();
  join(workers);
  EXPECT_TRUE(receive().empty());
  EXPECT_EQ(group->stats().floor, log->next_offset());
}

TEST_F(Groups, are_behind_though_nobody_reads) {
  open();
  for (const char* text : {"a", "b", "c"}) append(text);
  {
    const Group alone = Group::open(*log, workers).value();
    EXPECT_EQ(alone.stats().lag, 3U);
    EXPECT_EQ(alone.stats().floor, 0U);
  }
  join(workers);
  auto leases = receive(2);
  EXPECT_EQ(leases[0].ack(), LeaseOutcome::done);
  leases.clear();
  ASSERT_FALSE(group->sync());
  open();
  const Group again = Group::open(*log, workers).value();
  EXPECT_EQ(again.stats().floor, 1U);
  EXPECT_EQ(again.stats().lag, 2U);
  EXPECT_EQ(Group::open(*log, {.name = "all", .mode = GroupMode::broadcast}).value().stats().lag, 0U);
}

TEST_F(Groups, ack_many_at_once) {
  open();
  join(workers);
  for (const char* text : {"a", "b", "c", "d"}) append(text);
  auto leases = receive();
  EXPECT_EQ(leases[1].ack(), LeaseOutcome::done);
  EXPECT_EQ(ack_all(leases), 3U);
  EXPECT_EQ(ack_all(leases), 0U);
  EXPECT_EQ(group->stats().acked, 4U);
  append("late");
  leases = receive();
  clock.advance(1min);
  EXPECT_EQ(ack_all(leases), 0U);
  ASSERT_FALSE(group->sync());
  crash();
  join(workers);
  EXPECT_EQ(finish(), (Texts{"late"}));
}

TEST_F(Groups, begin_where_they_were_told) {
  open();
  append("old");
  join({.name = "late"});
  append("new");
  EXPECT_EQ(finish(), (Texts{"new"}));
  join({.name = "early", .start = GroupStart::oldest});
  EXPECT_EQ(finish(), (Texts{"old", "new"}));
  join({.name = "some", .patterns = {"agent.>"}, .start = GroupStart::oldest});
  append("other");
  append("mine", {.topic = "agent.x"});
  EXPECT_EQ(finish(), (Texts{"mine"}));
  EXPECT_EQ(Group::open(*log, {.name = "some", .patterns = {"user.>"}}).error(), sys::invalid_argument);
  EXPECT_EQ(Group::open(*log, {.name = ""}).error(), sys::invalid_argument);
  EXPECT_EQ(Group::open(*log, {.name = "x", .attempts = 0}).error(), sys::invalid_argument);
}

TEST_F(Groups, LOG_7_what_was_not_acked_comes_again_after_a_crash_at_any_instant) {
  for (std::uint64_t calls = 1;; ++calls) {
    SCOPED_TRACE(calls);
    member.reset();
    group.reset();
    log.reset();
    SimDisk fresh(calls);
    const auto open_it = [&] {
      options.clock = &clock;
      log.emplace(Log::open(fresh.mount(), options).value());
      join(workers);
    };
    open_it();
    std::set<std::string> sent;
    for (int i = 0; i < 20; ++i) {
      append(std::to_string(i));
      sent.insert(std::to_string(i));
    }
    ASSERT_FALSE(group->sync());
    fresh.power_off_after(calls);
    std::set<std::string> acked_durably;
    std::set<std::string> acked;
    for (int round = 0; round < 5; ++round) {
      auto received = member->try_receive(4);
      if (!received) break;
      for (Lease& lease : received->leases) {
        const std::string text(lease.record().text());
        if (lease.ack() == LeaseOutcome::done) acked.insert(text);
      }
      if (group->sync()) break;
      acked_durably = acked;
    }
    const bool through = !fresh.power_is_off();
    fresh.crash();
    member.reset();
    group.reset();
    log.reset();
    open_it();
    clock.advance(1h);
    std::set<std::string> again;
    for (const std::string& text : finish()) again.insert(text);
    for (const std::string& text : sent) {
      EXPECT_TRUE(acked.contains(text) || again.contains(text)) << text << " is lost";
      EXPECT_FALSE(acked_durably.contains(text) && again.contains(text)) << text << " was acked";
    }
    close();
    if (through) break;
  }
}

TEST_F(Groups, LOG_7_a_message_that_brings_the_process_down_runs_out_of_attempts) {
  open();
  join(workers);
  append("poison");
  ASSERT_FALSE(group->sync());
  unsigned last = 0;
  for (int life = 0; life < 10; ++life) {
    const auto leases = receive();
    if (leases.empty()) break;
    EXPECT_LE(leases[0].attempt(), 5U);
    EXPECT_GE(leases[0].attempt(), last);
    last = leases[0].attempt();
    disk.crash({.keep = 0.0});
    open();
    clock.advance(1h);
    join(workers);
  }
  EXPECT_TRUE(receive().empty());
  ASSERT_FALSE(group->sync());
  const auto dead = on_topic("busbar.dead.workers");
  ASSERT_EQ(dead.size(), 1U);
  EXPECT_EQ(dead[0].text(), "poison");
}

TEST_F(Groups, LOG_8_a_late_ack_is_refused) {
  open();
  join(workers);
  append("slow");
  auto late = receive();
  clock.advance(30s);
  EXPECT_EQ(late[0].ack(), LeaseOutcome::stale);
  EXPECT_TRUE(receive().empty()) << "it waits for its backoff";
  clock.advance(100ms);
  auto again = receive();
  ASSERT_EQ(again.size(), 1U);
  EXPECT_EQ(again[0].attempt(), 2U);
  const auto until = again[0].extend(1min);
  EXPECT_EQ(until, clock.steady() + 1min);
  EXPECT_EQ(again[0].deadline(), until);
  clock.advance(59s);
  EXPECT_EQ(again[0].ack(), LeaseOutcome::done);
  const GroupStats stats = group->stats();
  EXPECT_EQ(stats.ran_out, 1U);
  EXPECT_EQ(stats.stale, 1U);
  EXPECT_EQ(stats.redelivered, 1U);
}

TEST_F(Groups, nack_what_is_dropped_and_release_what_is_not_theirs) {
  open();
  join(workers);
  append("a");
  {
    const auto dropped = receive();
  }
  EXPECT_TRUE(receive().empty());
  clock.advance(100ms);
  auto again = receive();
  ASSERT_EQ(again.size(), 1U);
  EXPECT_EQ(again[0].attempt(), 2U);
  EXPECT_EQ(again[0].release(), LeaseOutcome::done);
  again = receive();
  ASSERT_EQ(again.size(), 1U);
  EXPECT_EQ(again[0].attempt(), 2U);
  EXPECT_EQ(again[0].nack(7s), LeaseOutcome::done);
  clock.advance(7s - 1ns);
  EXPECT_TRUE(receive().empty());
  clock.advance(1ns);
  EXPECT_EQ(receive().size(), 1U);
}

TEST_F(Groups, LOG_10_delays_outlive_the_process_and_are_never_longer_than_asked_for) {
  open();
  join(workers);
  append("a");
  append("later", {.topic = "work", .due = clock.wall() + 1h});
  EXPECT_EQ(receive()[0].nack(10min), LeaseOutcome::done);
  ASSERT_FALSE(group->sync());
  clock.wall_ns -= std::chrono::nanoseconds(100h).count();  // somebody sets it
  crash();
  join(workers);
  EXPECT_TRUE(receive().empty());
  clock.advance(10min);
  EXPECT_EQ(finish(), (Texts{"a"}));
  clock.advance(50min);
  EXPECT_EQ(finish(), (Texts{"later"}));
}

TEST_F(Groups, pass_over_what_has_expired) {
  open();
  join(workers);
  append("stale", {.topic = "work", .expiry = clock.wall() + 1s});
  append("fresh", {.topic = "work", .expiry = clock.wall() + 1h});
  clock.advance(2s);
  EXPECT_EQ(finish(), (Texts{"fresh"}));
  EXPECT_EQ(group->stats().expired, 1U);
  open();
  join(workers);
  EXPECT_TRUE(receive().empty());
}

// --- What they hold back. ---

TEST_F(Groups, LOG_9_past_their_limit_are_told_exactly_what_they_lost) {
  options.retention.records = 10;
  options.timer = 1ms;
  open();
  GroupOptions limited = workers;
  limited.patterns = {"work"};
  limited.lag_bytes = 2 * segment_bytes;
  join(limited);
  const std::string payload(1000, 'x');
  append("on lease");
  const auto leases = receive(1);
  append("done");
  EXPECT_EQ(finish(), (Texts{"done"}));
  std::uint64_t sent = 2;
  for (; log->stats().segments + log->stats().dropped_segments < 6; ++sent) {
    append(payload);
    append(payload, {.topic = "not.for.it"});
  }
  while (log->stats().segments > 2) std::this_thread::yield();  // the timer
  ASSERT_GT(log->first_offset(), 100U);
  const std::size_t rest = finish().size();
  EXPECT_GT(rest, 10U);
  EXPECT_EQ(2 + rest + missed, sent);
  EXPECT_EQ(group->stats().missed, missed);
}

TEST_F(Groups, LOG_9_are_held_to_their_limit_while_nobody_has_them_open) {
  open();
  GroupOptions limited = workers;
  limited.lag_bytes = 2 * segment_bytes;
  join(limited);
  ASSERT_FALSE(group->sync());
  options.retention.records = 10;
  options.timer = 1ms;
  crash();
  const std::string payload(1000, 'x');
  while (log->stats().segments + log->stats().dropped_segments < 6) append(payload);
  while (log->stats().segments > 2) std::this_thread::yield();  // the timer
  join(limited);
  EXPECT_EQ(finish().size() + missed, log->next_offset());
  EXPECT_GE(missed, log->first_offset());
}

TEST_F(Groups, finish_what_they_are_told_to_whoever_has_it) {
  open();
  for (const char* text : {"leased", "delayed", "ready", "not read", "last"}) append(text);
  join({.name = "workers", .start = GroupStart::oldest, .read_ahead = 3});
  auto leases = receive(2);
  ASSERT_EQ(leases.size(), 2U);
  EXPECT_EQ(leases[1].nack(1h), LeaseOutcome::done);
  ASSERT_FALSE(group->finish_through(3));
  EXPECT_EQ(leases[0].ack(), LeaseOutcome::stale);
  EXPECT_EQ(group->stats().floor, 4U);
  ASSERT_FALSE(group->finish_through(2)) << "it is finished";
  clock.advance(2h);
  auto last = receive();
  EXPECT_EQ(texts(last), (Texts{"last"}));
  EXPECT_EQ(group->stats().leased, 1U);
  EXPECT_EQ(group->stats().ready + group->stats().delayed + group->stats().dead, 0U);
  EXPECT_EQ(last[0].release(), LeaseOutcome::done);
  ASSERT_FALSE(group->finish_through(~std::uint64_t{0}));
  append("later");
  EXPECT_EQ(texts(receive()), (Texts{"later"})) << "what came afterwards is owed";
  ASSERT_FALSE(group->sync());
  crash();
  clock.advance(1h);
  join(workers);
  EXPECT_EQ(finish(), (Texts{"later"}));
}

TEST_F(Groups, finish_what_they_are_told_to_over_segments_and_for_each_member) {
  open();
  const GroupOptions all{.name = "all", .mode = GroupMode::broadcast, .start = GroupStart::oldest};
  for (int i = 0; i < 10; ++i) append(std::to_string(i));
  join(all, {.name = "one"});
  join(all, {.name = "two"});
  EXPECT_EQ(receive(5).size(), 5U);
  open();  // nobody has joined
  Group again = Group::open(*log, all).value();
  ASSERT_FALSE(again.finish_through(7));
  const std::string payload(1000, 'x');
  while (log->stats().segments < 3) append(payload, {.topic = "fill"});
  crash();
  for (const char* name : {"one", "two"}) {
    join(all, {.name = name});
    clock.advance(1h);
    EXPECT_EQ(texts(receive(2)), (Texts{"8", "9"})) << name;
  }
}

// --- Modes. ---

TEST_F(Groups, keep_the_order_of_each_key) {
  open();
  join({.name = "keyed", .mode = GroupMode::key_ordered, .start = GroupStart::oldest});
  Member other = group->join().value();
  for (const char* text : {"a1", "b1", "a2", "a3", "b2"}) append(text, {.topic = "work", .key = {text, 1}});
  append("no key");
  append("nor this");
  auto mine = receive(3);
  EXPECT_EQ(texts(mine), (Texts{"a1", "a2", "a3"})) << "a run of a key";
  auto others = std::move(other.try_receive(100)->leases);
  EXPECT_EQ(texts(others), (Texts{"b1", "b2", "no key", "nor this"}));
  append("a4", {.topic = "work", .key = "a"});
  EXPECT_TRUE(other.try_receive(100)->leases.empty()) << "the key is with somebody";
  EXPECT_EQ(mine[0].ack(), LeaseOutcome::done);
  EXPECT_EQ(mine[1].nack(0s), LeaseOutcome::done);
  EXPECT_EQ(mine[2].ack(), LeaseOutcome::stale) << "it would have overtaken";
  EXPECT_EQ(texts(other.try_receive(100)->leases), (Texts{"a2", "a3", "a4"}));
}

TEST_F(Groups, broadcast_to_each_member_by_its_name) {
  open();
  GroupOptions all{.name = "all", .mode = GroupMode::broadcast, .start = GroupStart::oldest};
  append("a");
  join(all, {.name = "one"});
  EXPECT_EQ(group->join().error(), sys::invalid_argument);
  Member two = group->join({.name = "two"}).value();
  append("b");
  EXPECT_EQ(finish(), (Texts{"a", "b"}));
  EXPECT_EQ(texts(two.try_receive(1)->leases), (Texts{"a"}));
  open();
  clock.advance(1h);
  join(all, {.name = "one"});
  EXPECT_TRUE(receive().empty());
  join(all, {.name = "two"});
  EXPECT_EQ(finish(), (Texts{"a", "b"}));
}

// --- Segments come and go. ---

TEST_F(Groups, LOG_9_retention_leaves_what_they_owe) {
  options.retention.records = 10;
  options.timer = 1ms;
  open();
  join(workers);
  const std::string payload(1000, 'x');
  while (log->stats().segments < 4) append(payload);
  EXPECT_EQ(log->first_offset(), 0U);
  const std::size_t count = finish().size();
  EXPECT_EQ(count, log->next_offset());
  while (log->first_offset() == 0) std::this_thread::yield();  // the timer
  EXPECT_EQ(missed, 0U);
}

TEST_F(Groups, LOG_9_are_told_exactly_what_was_dropped_all_the_same) {
  open();
  join(workers);
  const std::string payload(1000, 'x');
  while (log->stats().segments < 4) append(payload);
  const std::uint64_t first = log->drop_before(log->next_offset()).value();
  ASSERT_GT(first, 0U);
  const std::size_t rest = finish().size();
  EXPECT_EQ(missed, first);
  EXPECT_EQ(rest + missed, log->next_offset());
  EXPECT_EQ(group->stats().missed, first);
}

TEST_F(Groups, are_known_when_the_segment_they_were_made_in_is_gone) {
  open();
  join(workers);
  append("stuck");
  const std::string payload(1000, 'x');
  const auto stuck = receive(1);
  while (log->stats().segments < 5) append(payload);
  const std::size_t done = finish().size();
  EXPECT_EQ(done + 1, log->next_offset());
  append("last");
  ASSERT_TRUE(log->drop_before(log->next_offset()));
  ASSERT_FALSE(group->sync());
  crash();
  join(workers);
  clock.advance(1h);
  EXPECT_EQ(finish(), (Texts{"last"})) << "what was acked does not come again";
  EXPECT_EQ(missed, 1U) << "the one that was stuck";
}

TEST_F(Groups, are_known_though_an_opening_has_begun_the_segment) {
  options.segment_age = options.timer = 1ms;
  open();
  join(workers);
  append("a");
  EXPECT_EQ(finish(), (Texts{"a"}));
  ASSERT_FALSE(group->sync());
  clock.advance(1s);
  const auto is_sealed = [&] { return LogSnapshot::open(disk.mount())->segments()->back().sealed; };
  while (!is_sealed()) std::this_thread::yield();  // the timer
  options.segment_age = 0s;
  open();
  join(workers);
  append("b");
  EXPECT_EQ(finish(), (Texts{"b"}));
  ASSERT_FALSE(group->sync());
  EXPECT_GT(log->drop_before(log->next_offset()).value(), 0U);
  crash();
  append("c");
  join({.name = "workers", .start = GroupStart::next});
  EXPECT_EQ(finish(), (Texts{"c"}));
}

TEST_F(Groups, LOG_7_attempts_are_counted_however_often_the_log_rolls) {
  open();
  append("poison");
  const std::string payload(1000, 'x');
  for (int life = 0;; ++life) {
    ASSERT_LT(life, 12) << "it is given in each life";
    join({.name = "workers", .start = GroupStart::oldest, .read_ahead = 1'000'000});
    append("first", {.topic = "work", .priority = std::uint8_t{3}});
    auto first = receive(1);
    if (!first.empty() && first[0].record().text() == "first") {
      EXPECT_EQ(first[0].ack(), LeaseOutcome::done);
    }
    const std::uint64_t segments = log->stats().segments;
    while (log->stats().segments == segments) append(payload, {.topic = "fill"});
    const auto given = receive(1);
    if (!on_topic("busbar.dead.workers").empty()) break;
    disk.crash({.keep = 0.0});
    open();
    clock.advance(1h);
  }
}

/// Says how often it was asked for the time.
class CountingClock final : public Clock {
 public:
  std::chrono::system_clock::time_point wall() const noexcept override { return Clock::system().wall(); }
  std::chrono::steady_clock::time_point steady() const noexcept override {
    calls.fetch_add(1);
    calls.notify_all();
    return Clock::system().steady();
  }
  void await(int count) const {
    for (int seen = calls; seen < count; seen = calls) calls.wait(seen);
  }
  mutable std::atomic<int> calls{0};
};

TEST_F(Groups, that_are_removed_wake_who_waits) {
  CountingClock counting;
  options.clock = &counting;
  log.emplace(Log::open(disk.mount(), options).value());
  join(workers);
  std::thread worker([&] {
    // A deadline, so that a failure ends.
    EXPECT_EQ(member->receive_until(1, std::chrono::steady_clock::now() + 30s).error(), errc::closed);
  });
  counting.await(2);  // it has found nothing, and seen that there is time left
  EXPECT_FALSE(group->remove());
  worker.join();
  member.reset();
  group.reset();
  log.reset();
}

TEST_F(Groups, that_are_all_removed_hold_nothing_back) {
  open();
  join(workers);
  ASSERT_FALSE(group->remove());
  const std::string payload(1000, 'x');
  while (log->stats().segments < 4) append(payload);
  EXPECT_GT(log->drop_before(log->next_offset()).value(), 0U);
}

TEST_F(Groups, may_be_asked_by_who_is_told_of_a_loss) {
  std::atomic<int> told = 0;
  options.on_loss = [&](const LogLoss&) {
    if (group) (void)group->stats();
    ++told;
  };
  open();
  const std::string payload(1000, 'x');
  while (log->stats().segments < 2) append(payload);
  join(workers);
  auto names = disk.mount()->list().value();
  std::erase_if(names, [](const std::string& name) { return !detail::parse_segment_name(name); });
  disk.flip_bit(std::ranges::min(names), 50'000 * 8);
  EXPECT_EQ(finish().size() + missed, log->next_offset());
  EXPECT_EQ(missed, 1U);
  while (told == 0) std::this_thread::yield();  // another thread tells
}

TEST_F(Groups, LOG_7_an_attempt_counts_though_its_lease_was_given_back_and_a_segment_began) {
  open();
  join(workers);
  append("poison");
  receive(1);  // and drops it
  clock.advance(1h);
  for (Lease& lease : receive(1)) EXPECT_EQ(lease.release(), LeaseOutcome::done);
  const std::string payload(1000, 'x');
  while (log->stats().segments < 3) ASSERT_TRUE(log->append({.topic = "t", .payload = as_payload(payload)}));
  auto second = receive(1);
  ASSERT_EQ(second.size(), 1U);
  EXPECT_EQ(second[0].attempt(), 2U);
  disk.crash();  // in the hands of whoever has it
  second.clear();
  open();
  join(workers);
  clock.advance(1h);
  EXPECT_EQ(receive(1)[0].attempt(), 3U);
}

TEST_F(Groups, ask_for_room_for_an_attempt_once) {
  open();
  join(workers);
  append("a");
  receive(1);  // and drops it
  clock.advance(1h);
  disk.set_faults({.capacity_bytes = 1});
  while (log->append({.topic = "t"})) {
  }
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(member->try_receive(1).error(), sys::no_space_on_device);
  disk.set_faults({});
  const std::uint64_t before = log->stats().frame_bytes;
  EXPECT_EQ(receive(1)[0].attempt(), 2U);
  EXPECT_LT(log->stats().frame_bytes - before, 16'000U) << "what was noted once is not noted again";
}

TEST_F(Groups, write_any_number_of_acks) {
  open();
  join(workers, {.in_flight_messages = 20'000, .in_flight_bytes = std::uint64_t{1} << 30});
  const std::vector<Record> batch(100, Record{.topic = "work"});
  for (int i = 0; i < 160; ++i) ASSERT_TRUE(log->append<Durability::written>(batch));
  auto leases = receive(16'000);
  ASSERT_EQ(leases.size(), 16'000U);
  std::vector<Lease> every_other;
  for (std::size_t i = 0; i < leases.size(); i += 2) every_other.push_back(std::move(leases[i]));
  EXPECT_EQ(ack_all(every_other), 8000U);  // more than a segment has room for
  append("goes on");
  ASSERT_FALSE(group->sync());
  crash({.keep = 0.0});
  join(workers);
  clock.advance(1h);
  EXPECT_EQ(finish().size(), 8001U);
}

TEST_F(Groups, that_were_removed_are_new_when_they_are_made_again) {
  open();
  join(workers);
  append("a");
  EXPECT_EQ(finish(), (Texts{"a"}));
  ASSERT_FALSE(group->remove());
  EXPECT_EQ(member->try_receive().error(), errc::closed);
  join(workers);
  EXPECT_EQ(finish(), (Texts{"a"}));
  ASSERT_FALSE(group->remove());
  open();
  join({.name = "workers", .start = GroupStart::next});
  EXPECT_TRUE(receive().empty());
}

// --- Waiting. ---

TEST_F(Groups, wake_who_waits_when_something_comes) {
  options.clock = &Clock::system();
  auto opened = Log::open(disk.mount(), options);
  log.emplace(std::move(*opened));
  join(workers);
  std::thread worker([&] {
    const auto received = member->receive(10);
    ASSERT_TRUE(received);
    ASSERT_EQ(received->leases.size(), 1U);
    EXPECT_EQ(received->leases[0].record().text(), "a");
  });
  append("a");
  worker.join();
  // It was dropped, so it is nacked, and comes again by itself.
  const auto again = member->receive(10);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->leases.at(0).attempt(), 2U);
  EXPECT_TRUE(member->receive_until(1, std::chrono::steady_clock::now() + 1ms)->leases.empty());
  std::thread closer([&] { EXPECT_FALSE(log->close()); });
  EXPECT_EQ(member->receive().error(), errc::closed);
  closer.join();
}

TEST_F(Groups, take_nothing_of_a_log_that_has_failed) {
  open();
  join(workers);
  append("a");
  append("b");
  auto leases = receive();
  disk.fail({.call = simulation::Call::sync, .for_good = true});
  EXPECT_FALSE(log->append({.topic = "work"}));
  EXPECT_EQ(leases[0].ack(), LeaseOutcome::unlogged);
  EXPECT_EQ(member->try_receive().error(), errc::log_read_only);
}

TEST_F(Groups, tell_those_who_wait_that_the_log_has_failed) {
  open();
  join(workers);
  std::latch begun(1);
  std::thread worker([&] {
    begun.count_down();
    EXPECT_EQ(member->receive().error(), errc::log_read_only);
  });
  begun.wait();
  disk.fail({.call = simulation::Call::sync, .for_good = true});
  EXPECT_FALSE(log->append({.topic = "work"}));
  worker.join();
}

}  // namespace
}  // namespace bus
