// SPDX-License-Identifier: MIT OR Apache-2.0
#include "persistence/lease_table.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace bus::detail {
namespace {

using Settled = LeaseTable::Settled;
using Take = LeaseTable::Take;
using Taken = LeaseTable::Taken;

constexpr std::int64_t ms = 1'000'000;
constexpr std::int64_t second = 1000 * ms;

Principal principal(std::size_t i) { return Principal::parse("agent." + std::to_string(i)).value(); }

LeaseRules rules() {
  return {.visibility_ns = 10 * second, .ceiling_ns = 60 * second, .attempts = 3, .backoff_ns = {second, 5 * second}};
}

class Leases : public testing::Test {
 protected:
  void add(Owed message, std::size_t of = 0) {
    message.offset = next_++;
    table.add(message, principal(of));
  }
  void add_keyed(std::uint64_t key) { add({.key = key}); }
  std::optional<Taken> take(LeaseTable::Member who) {
    Taken taken;
    if (table.take(who, now, taken) != Take::leased) return std::nullopt;
    return taken;
  }
  std::uint64_t take_offset(LeaseTable::Member who) {
    const auto taken = take(who);
    return taken ? taken->lease.offset : nobody;
  }
  void run_out() {
    while (const auto one = table.next_ran_out(now)) ran_out.push_back(*one);
  }
  void TearDown() override { EXPECT_TRUE(table.consistent()); }

  static constexpr std::uint64_t nobody = ~std::uint64_t{0};
  LeaseTable table{rules()};
  std::int64_t now = 1000 * second;
  std::uint64_t next_ = 0;
  std::vector<LeaseTable::RanOut> ran_out;
  const LeaseTable::Member a = table.join({});
  const LeaseTable::Member b = table.join({});
};

TEST_F(Leases, may_come_late_among_those_of_others) {
  std::set<std::uint64_t> there;
  const auto add_at = [&](std::uint64_t offset, std::size_t of) {
    table.add({.offset = offset}, principal(of));
    there.insert(offset);
  };
  const auto finish = [&](std::uint64_t offset) {
    EXPECT_TRUE(table.finish(offset));
    there.erase(offset);
  };
  for (std::uint64_t offset = 0; offset < 100; offset += 2) add_at(offset, 0);
  for (std::uint64_t offset = 51; offset < 100; offset += 4) add_at(offset, 1);
  finish(95);  // the last that came late
  for (std::uint64_t offset = 1; offset < 90; offset += 8) add_at(offset, 2);
  for (const std::uint64_t offset : {0U, 81U, 84U, 79U, 2U}) finish(offset);
  for (std::uint64_t offset = 53; offset < 120; offset += 16) add_at(offset, 1);
  std::vector<std::uint64_t> listed;
  table.for_each([&](const Owed& owed) { listed.push_back(owed.offset); });
  EXPECT_EQ(listed, std::vector<std::uint64_t>(there.begin(), there.end()));
  EXPECT_EQ(table.floor(), 1U);
  EXPECT_EQ(table.messages_of(principal(0)), 47U);
  EXPECT_EQ(table.messages_of(principal(9)), 0U);
}

TEST_F(Leases, are_given_once_and_end_with_an_ack) {
  add({});
  add({});
  const auto first = take(a);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->lease.offset, 0U);
  EXPECT_EQ(first->attempt, 1U);
  EXPECT_EQ(first->deadline_ns, now + 10 * second);
  EXPECT_EQ(take_offset(b), 1U);
  EXPECT_FALSE(take(a));
  EXPECT_EQ(table.floor(), 0U);
  EXPECT_EQ(table.ack(first->lease, now), Settled::done);
  EXPECT_EQ(table.ack(first->lease, now), Settled::stale);
  EXPECT_EQ(table.floor(), 1U);
  EXPECT_EQ(table.leased(), 1U);
}

TEST_F(Leases, LOG_8_that_have_run_out_settle_nothing) {
  add({});
  const auto first = take(a);
  ASSERT_TRUE(first);
  now += 10 * second;
  EXPECT_EQ(table.ack(first->lease, now), Settled::stale) << "also before anybody has looked";
  run_out();
  ASSERT_EQ(ran_out.size(), 1U);
  EXPECT_EQ(ran_out[0].attempts, 1U);
  EXPECT_EQ(ran_out[0].due_ns, now + second);
  EXPECT_FALSE(take(b)) << "not before it is due";
  now += second;
  run_out();
  const auto second_lease = take(b);
  ASSERT_TRUE(second_lease);
  EXPECT_EQ(second_lease->attempt, 2U);
  EXPECT_EQ(table.ack(first->lease, now), Settled::stale) << "the message has moved on";
  EXPECT_EQ(table.nack(first->lease, now, {}), Settled::stale);
  EXPECT_EQ(table.release(first->lease, now), Settled::stale);
  EXPECT_EQ(table.reject(first->lease, now), Settled::stale);
  EXPECT_FALSE(table.extend(first->lease, now, second));
  EXPECT_EQ(table.ack(second_lease->lease, now), Settled::done);
}

TEST_F(Leases, LOG_7_a_message_that_keeps_failing_is_dead_after_its_attempts) {
  add({});
  for (const std::int64_t wait : {second, 5 * second}) {
    const auto taken = take(a);
    ASSERT_TRUE(taken);
    EXPECT_EQ(table.nack(taken->lease, now, {}), Settled::done);
    EXPECT_EQ(table.next_time(), now + wait);
    now += wait;
    run_out();
  }
  const auto last = take(a);
  ASSERT_TRUE(last);
  EXPECT_EQ(last->attempt, 3U);
  EXPECT_EQ(table.nack(last->lease, now, {}), Settled::dead);
  EXPECT_EQ(table.dead(), 1U);
  EXPECT_EQ(table.floor(), 0U) << "until it is with the dead letters";
  EXPECT_FALSE(take(a));
  EXPECT_TRUE(table.finish(0));
  EXPECT_FALSE(table.finish(0));
  EXPECT_FALSE(table.floor());
}

TEST_F(Leases, that_run_out_use_attempts_up_too) {
  add({});
  for (int attempt = 1; attempt <= 3; ++attempt) {
    ASSERT_TRUE(take(a)) << attempt;
    now += 10 * second;
    run_out();
    now += 5 * second;
    run_out();
  }
  ASSERT_EQ(ran_out.size(), 3U);
  EXPECT_FALSE(ran_out[1].dead);
  EXPECT_TRUE(ran_out[2].dead);
}

TEST_F(Leases, are_not_given_of_what_had_no_attempt_left_when_it_was_added) {
  add({.key = 7, .attempts = 2});
  add({.key = 7, .attempts = 3});
  add({.key = 7});
  const auto taken = take(a);
  EXPECT_EQ(taken->attempt, 3U);
  EXPECT_EQ(table.ack(taken->lease, now), Settled::done);
  Taken none;
  EXPECT_EQ(table.take(a, now, none), Take::dead);
  EXPECT_EQ(none.lease.offset, 1U);
  EXPECT_EQ(take_offset(a), 2U);
  EXPECT_TRUE(table.finish(1));
}

TEST_F(Leases, released_are_ready_at_once_and_first_and_not_counted) {
  add({});
  add({});
  const auto taken = take(a);
  EXPECT_EQ(table.release(taken->lease, now), Settled::done);
  const auto again = take(b);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->lease.offset, 0U);
  EXPECT_EQ(again->attempt, 1U);
  EXPECT_NE(again->lease, taken->lease);
}

TEST_F(Leases, nacked_with_a_delay_wait_that_long) {
  add({});
  EXPECT_EQ(table.nack(take(a)->lease, now, 7 * ms), Settled::done);
  EXPECT_EQ(table.next_time(), now + 7 * ms);
  now += 7 * ms;
  run_out();
  EXPECT_EQ(table.nack(take(a)->lease, now, 0), Settled::done);
  EXPECT_EQ(take(a)->attempt, 3U) << "at once";
}

TEST_F(Leases, are_extended_up_to_the_ceiling) {
  add({});
  const auto taken = take(a);
  const std::int64_t began = now;
  EXPECT_EQ(table.extend(taken->lease, now, second), began + 10 * second) << "never shorter";
  now += 5 * second;
  EXPECT_EQ(table.extend(taken->lease, now, 20 * second), now + 20 * second);
  now += 15 * second;
  EXPECT_EQ(table.extend(taken->lease, now, 1000 * second), began + 60 * second);
  now = began + 60 * second - 1;
  EXPECT_EQ(table.ack(taken->lease, now), Settled::done);
}

TEST_F(Leases, one_that_is_stuck_holds_up_no_other) {
  for (int i = 0; i < 1000; ++i) add({});
  ASSERT_EQ(take_offset(a), 0U);
  for (std::uint64_t i = 1; i < 1000; ++i) {
    const auto taken = take(b);
    ASSERT_TRUE(taken);
    ASSERT_EQ(table.ack(taken->lease, now), Settled::done);
  }
  EXPECT_EQ(table.size(), 1U);
  EXPECT_EQ(table.floor(), 0U);
}

TEST_F(Leases, in_front_are_told_to_their_own_member_only) {
  for (int i = 0; i < 6; ++i) add({});
  std::vector<std::uint64_t> of_a;
  for (int i = 0; i < 6; ++i) {
    const std::uint64_t offset = take_offset(i % 2 == 0 ? a : b);
    if (i % 2 == 0) of_a.push_back(offset);
  }
  const auto held = table.held_through(a, 3, now);
  ASSERT_EQ(held.size(), 2U) << "what another member has is not told";
  EXPECT_EQ(held[0].offset, 0U);
  EXPECT_EQ(held[1].offset, 2U);
  for (const LeaseName& lease : held) {
    EXPECT_TRUE(table.is_held(lease, now));
    EXPECT_EQ(table.ack(lease, now), Settled::done);
    EXPECT_FALSE(table.is_held(lease, now));
  }
  EXPECT_EQ(table.leased(), 4U);
  EXPECT_EQ(table.floor(), 1U);
  now += 10 * second;
  EXPECT_TRUE(table.held_through(a, 100, now).empty()) << "what has run out is not told";
}

TEST_F(Leases, are_no_longer_to_be_had_of_what_was_given_up) {
  for (int i = 0; i < 3; ++i) add({});
  add({.due_ns = now + second});
  add_keyed(7);
  add_keyed(7);
  const std::uint64_t leased = take_offset(a);
  const auto rejected = take(b);
  ASSERT_TRUE(rejected);
  ASSERT_EQ(table.reject(rejected->lease, now), Settled::dead);
  constexpr std::uint64_t behind = 5;
  std::vector<std::uint64_t> gone;
  table.give_up_before(behind, [&](std::uint64_t offset) { gone.push_back(offset); });
  EXPECT_EQ(gone, (std::vector<std::uint64_t>{2, 3, 4})) << "neither what is on lease nor what is dead";
  EXPECT_TRUE(table.consistent());
  EXPECT_EQ(take_offset(b), behind);
  EXPECT_EQ(table.floor(), leased);
  EXPECT_EQ(table.dead(), 1U);
}

TEST_F(Leases, end_with_the_credits_of_a_member) {
  const auto small = table.join({.messages = 2, .bytes = 100});
  for (int i = 0; i < 4; ++i) add({.charge = 60});
  const auto one = take(small);
  ASSERT_TRUE(one);
  Taken taken;
  EXPECT_EQ(table.take(small, now, taken), Take::no_credit) << "of bytes";
  EXPECT_EQ(take_offset(a), 1U);
  EXPECT_EQ(table.ack(one->lease, now), Settled::done);
  add({.charge = 1000});
  while (take(a)) {
  }
  add({.charge = 1000});
  EXPECT_TRUE(take(small)) << "however long, if it has none";
  add({.charge = 0});
  add({.charge = 0});
  const auto tiny = table.join({.messages = 1, .bytes = 100});
  EXPECT_TRUE(take(tiny));
  EXPECT_EQ(table.take(tiny, now, taken), Take::no_credit) << "of messages";
  EXPECT_TRUE(take(a));
  EXPECT_EQ(table.take(tiny, now, taken), Take::nothing);
}

TEST_F(Leases, go_round_the_principals_by_weight) {
  LeaseRules weighted = rules();
  weighted.quantum_bytes = 100;
  weighted.weights.principals = {{principal(1), 3}};
  LeaseTable fair(weighted);
  const auto all = fair.join({.messages = 1000});
  for (std::uint64_t i = 0; i < 400; ++i) fair.add({.offset = i, .charge = 100}, principal(0));  // one floods
  for (std::uint64_t i = 400; i < 500; ++i) fair.add({.offset = i, .charge = 100}, principal(1));
  std::map<bool, int> served;
  Taken taken;
  for (int i = 0; i < 80; ++i) {
    ASSERT_EQ(fair.take(all, now, taken), Take::leased);
    ++served[taken.lease.offset >= 400];
  }
  EXPECT_EQ(served[true], 60);
  EXPECT_EQ(served[false], 20);
  EXPECT_TRUE(fair.consistent());
}

TEST_F(Leases, of_one_principal_go_by_priority) {
  for (const int priority : {3, 1, 0, 2, 0}) add({.priority = static_cast<std::uint8_t>(priority)});
  std::vector<std::uint64_t> order;
  for (int i = 0; i < 5; ++i) order.push_back(take_offset(a));
  EXPECT_EQ(order, (std::vector<std::uint64_t>{2, 4, 1, 3, 0}));
}

TEST_F(Leases, wait_for_what_is_not_due_and_pass_over_what_has_expired) {
  add({.due_ns = now + second});
  add({.expires_ns = now + second});
  add({});
  EXPECT_EQ(take_offset(a), 1U);
  EXPECT_EQ(take_offset(a), 2U) << "what is not due holds up nothing";
  EXPECT_FALSE(take(a));
  now += second;
  run_out();
  EXPECT_EQ(take_offset(a), 0U);
  add({.expires_ns = now});
  Taken taken;
  EXPECT_EQ(table.take(a, now, taken), Take::expired);
  EXPECT_EQ(taken.lease.offset, 3U);
  EXPECT_EQ(table.size(), 3U);
}

// --- Keys. ---

TEST_F(Leases, of_a_key_are_with_one_member_in_order) {
  for (const std::uint64_t key : {7U, 7U, 8U, 7U, 0U, 0U}) add_keyed(key);
  const auto first = take(a);
  EXPECT_EQ(first->lease.offset, 0U);
  EXPECT_EQ(take_offset(b), 2U) << "another key goes in parallel";
  EXPECT_EQ(take_offset(b), 4U) << "and what has none";
  EXPECT_EQ(take_offset(b), 5U);
  EXPECT_FALSE(take(b));
  EXPECT_EQ(table.ack(first->lease, now), Settled::done);
  EXPECT_EQ(take_offset(b), 1U) << "the next one goes to whoever asks";
  EXPECT_FALSE(take(a));
}

TEST_F(Leases, of_a_key_come_in_batches) {
  for (const std::uint64_t key : {7U, 8U, 7U, 7U}) add_keyed(key);
  const auto first = take(a);
  Taken more;
  ASSERT_EQ(table.take_same_key(first->lease, now, more), Take::leased);
  EXPECT_EQ(more.lease.offset, 2U);
  ASSERT_EQ(table.take_same_key(first->lease, now, more), Take::leased);
  EXPECT_EQ(more.lease.offset, 3U);
  EXPECT_EQ(table.take_same_key(first->lease, now, more), Take::nothing);
  EXPECT_TRUE(table.consistent());
  EXPECT_EQ(take_offset(b), 1U);
  EXPECT_FALSE(take(b));
}

TEST_F(Leases, of_a_key_come_back_with_the_one_in_front) {
  for (int i = 0; i < 4; ++i) add_keyed(7);
  const auto first = take(a);
  Taken taken[3];
  for (Taken& one : taken) ASSERT_EQ(table.take_same_key(first->lease, now, one), Take::leased);
  EXPECT_EQ(table.nack(taken[0].lease, now, second), Settled::done);
  EXPECT_EQ(table.ack(taken[1].lease, now), Settled::stale) << "it would overtake";
  EXPECT_EQ(table.ack(first->lease, now), Settled::done) << "the one in front of it stays";
  EXPECT_FALSE(take(b)) << "the key waits for it";
  now += second;
  run_out();
  const auto again = take(b);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->lease.offset, 1U);
  EXPECT_EQ(again->attempt, 2U);
  ASSERT_EQ(table.take_same_key(again->lease, now, taken[1]), Take::leased);
  EXPECT_EQ(taken[1].lease.offset, 2U);
  EXPECT_EQ(taken[1].attempt, 1U) << "that one was not counted";
}

TEST_F(Leases, of_a_key_do_not_wait_for_one_that_is_dead) {
  add_keyed(7);
  add_keyed(7);
  EXPECT_EQ(table.reject(take(a)->lease, now), Settled::dead);
  EXPECT_EQ(take_offset(a), 1U);
  EXPECT_EQ(table.dead(), 1U);
}

TEST_F(Leases, of_a_key_that_are_not_due_take_their_place_when_they_are) {
  add({.key = 7, .due_ns = now + second});
  add_keyed(7);
  add_keyed(7);
  const auto first = take(a);
  EXPECT_EQ(first->lease.offset, 1U);
  now += second;
  run_out();
  EXPECT_EQ(table.ack(first->lease, now), Settled::done);
  const auto second_one = take(a);
  EXPECT_EQ(second_one->lease.offset, 2U);
  EXPECT_EQ(table.ack(second_one->lease, now), Settled::done);
  EXPECT_EQ(take_offset(a), 0U);
}

TEST_F(Leases, of_a_key_wait_for_one_that_was_tried_before_and_is_not_due) {
  add({.key = 7, .attempts = 1, .due_ns = now + second});
  add_keyed(7);
  EXPECT_FALSE(take(a));
  now += second;
  run_out();
  EXPECT_EQ(take_offset(a), 0U);
}

// --- All of it, against a model. ---

/// The same, written down as simply as possible, and slow.
struct Model {
  struct Message {
    Owed owed;
    enum { waiting, leased, delayed, dead } state = waiting;
    std::uint32_t token = 0;
    LeaseTable::Member member = 0;
    std::int64_t until = 0;
    int attempts = 0;
  };
  std::map<std::uint64_t, Message> messages;

  bool key_is_free(std::uint64_t offset) const {
    const std::uint64_t key = messages.at(offset).owed.key;
    if (key == 0) return true;
    for (const auto& [other, message] : messages) {
      if (message.owed.key != key || message.state == Message::dead) continue;
      if (message.state == Message::leased || other < offset) return false;
    }
    return true;
  }
  bool anything_ready() const {
    return std::ranges::any_of(
        messages, [&](const auto& one) { return one.second.state == Message::waiting && key_is_free(one.first); });
  }
};

class LeasesAtRandom : public testing::TestWithParam<std::uint64_t> {};

TEST_P(LeasesAtRandom, are_what_a_simple_model_says) {
  std::mt19937_64 random(GetParam());
  const auto pick = [&](std::uint64_t n) { return random() % n; };
  LeaseTable table(rules());
  Model model;
  std::vector<LeaseTable::Member> members;
  for (int i = 0; i < 3; ++i) members.push_back(table.join({.messages = 8, .bytes = 1000}));
  std::vector<std::pair<LeaseName, std::uint64_t>> known;  // leases ever given
  std::map<std::uint64_t, std::uint64_t> last_of_key;      // the offset that was leased last, with attempt 1
  std::int64_t now = 1000 * second;
  std::uint64_t next = 0;
  for (int step = 0; step < 4000; ++step) {
    const auto holds = [&](const LeaseName& lease) {
      const auto found = model.messages.find(lease.offset);
      return found != model.messages.end() && found->second.state == Model::Message::leased &&
             found->second.token == lease.token && found->second.until > now;
    };
    const auto come_back = [&](std::uint64_t offset, std::int64_t delay) {
      auto& message = model.messages.at(offset);
      message.state = delay > 0 ? Model::Message::delayed : Model::Message::waiting;
      message.until = now + delay;
      if (message.owed.key == 0) return;
      for (auto& [other, behind] : model.messages) {
        if (other <= offset || behind.owed.key != message.owed.key || behind.state != Model::Message::leased) continue;
        behind.state = Model::Message::waiting;
        --behind.attempts;
      }
    };
    switch (pick(10)) {
      case 0:
      case 1:
      case 2: {
        if (table.size() > 60) break;
        const Owed owed{.offset = next += 1 + pick(3),
                        .key = pick(2) == 0 ? 0 : 1 + pick(5),
                        .charge = static_cast<std::uint32_t>(pick(400)),
                        .priority = static_cast<std::uint8_t>(pick(4))};
        table.add(owed, principal(pick(4)));
        model.messages[owed.offset] = {.owed = owed};
        break;
      }
      case 3:
      case 4:
      case 5: {
        const auto member = members[pick(3)];
        Taken taken;
        const auto outcome = table.take(member, now, taken);
        if (outcome == Take::nothing) {
          ASSERT_FALSE(model.anything_ready());
        }
        if (outcome != Take::leased) break;
        for (;;) {
          auto& message = model.messages.at(taken.lease.offset);
          ASSERT_EQ(message.state, Model::Message::waiting);
          message.state = Model::Message::leased;
          message.token = taken.lease.token;
          message.member = member;
          message.until = taken.deadline_ns;
          ASSERT_EQ(taken.attempt, ++message.attempts);
          ASSERT_EQ(taken.deadline_ns, now + 10 * second);
          known.emplace_back(taken.lease, taken.lease.offset);
          for (const auto& [other, earlier] : model.messages) {
            if (other >= taken.lease.offset || message.owed.key == 0 || earlier.owed.key != message.owed.key) continue;
            ASSERT_TRUE(earlier.state == Model::Message::dead ||
                        (earlier.state == Model::Message::leased && earlier.member == member))
                << "order of a key";
          }
          if (pick(2) == 0 || table.take_same_key(taken.lease, now, taken) != Take::leased) break;
        }
        break;
      }
      case 6:
        now += static_cast<std::int64_t>(pick(3 * second));
        while (const auto out = table.next_ran_out(now)) {
          auto& message = model.messages.at(out->offset);
          ASSERT_EQ(message.state, Model::Message::leased);
          ASSERT_LE(message.until, now);
          ASSERT_EQ(out->attempts, message.attempts);
          ASSERT_EQ(out->dead, message.attempts >= 3);
          if (out->dead) {
            message.state = Model::Message::dead;
          } else {
            come_back(out->offset, out->due_ns - now);
          }
        }
        for (auto& [offset, message] : model.messages) {
          if (message.state == Model::Message::leased) {
            ASSERT_GT(message.until, now);
          }
          if (message.state == Model::Message::delayed && message.until <= now) message.state = Model::Message::waiting;
        }
        break;
      case 7: {  // what is dead goes
        const auto dead = std::ranges::find_if(
            model.messages, [](const auto& one) { return one.second.state == Model::Message::dead; });
        if (dead == model.messages.end()) break;
        ASSERT_TRUE(table.finish(dead->first));
        model.messages.erase(dead);
        break;
      }
      default: {
        if (known.empty()) break;
        const std::size_t recent = std::min<std::size_t>(known.size(), 20);
        const LeaseName lease = known[known.size() - 1 - pick(recent)].first;
        const bool held = holds(lease);
        Settled settled{};
        const auto action = pick(5);
        if (action == 0) {
          settled = table.release(lease, now);
          if (held) {
            --model.messages.at(lease.offset).attempts;
            come_back(lease.offset, 0);
          }
        } else if (action == 1) {
          const bool dies = held && model.messages.at(lease.offset).attempts >= 3;
          settled = table.nack(lease, now, 2 * second);
          ASSERT_EQ(settled == Settled::dead, dies);
          if (dies) {
            model.messages.at(lease.offset).state = Model::Message::dead;
          } else if (held) {
            come_back(lease.offset, 2 * second);
          }
        } else if (action == 2) {
          settled = table.reject(lease, now);
          if (held) model.messages.at(lease.offset).state = Model::Message::dead;
        } else {
          settled = table.ack(lease, now);
          if (held) model.messages.erase(lease.offset);
        }
        ASSERT_EQ(settled != Settled::stale, held) << "action " << action;
      }
    }
    ASSERT_TRUE(table.consistent()) << "step " << step;
    ASSERT_EQ(table.size(), model.messages.size());
    ASSERT_EQ(table.floor(), model.messages.empty() ? std::nullopt : std::optional(model.messages.begin()->first));
  }
}
INSTANTIATE_TEST_SUITE_P(Seeds, LeasesAtRandom, testing::Range<std::uint64_t>(1, 21));

}  // namespace
}  // namespace bus::detail
