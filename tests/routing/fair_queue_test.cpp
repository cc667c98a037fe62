// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The queue of a route by itself, and the laws ROUTE-1 to ROUTE-5 as far as it is the queue that keeps them.
#include "routing/fair_queue_model.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <ranges>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace bus::detail::queue_test {
namespace {

// --- Random traffic ---

class FairQueueTraffic : public testing::TestWithParam<Overflow> {};

/// One queue and its model, on the same way.
class Pair {
 public:
  Pair(Overflow overflow, std::uint32_t seed)
      : traffic_(seed), config_(some_config(overflow)), model_(config_), subject_(config_, seed % 4 == 0) {}

  void step(std::uint64_t push_percent) {
    const auto choice = traffic_.roll(100);
    if (choice < push_percent) {
      push();
    } else if (choice < 88) {
      pop(config_.quantum_bytes, any_charge);
    } else if (choice < 93) {
      drain(1 + traffic_.roll(2 * config_.budget_bytes));
    } else if (choice < 95) {
      const std::string name = traffic_.one_of<const char*>({"", "agent.a", "erin", "frank", "grace"});
      subject_.refuse(name, Loss::rate_limited);
      model_.lose(name, Loss::rate_limited);
    } else if (choice < 97) {
      reserve(1 + traffic_.roll(config_.budget_bytes / 2));
    } else if (choice < 99) {
      unreserve();
    } else if (traffic_.roll(10) == 0) {
      subject_.clear();
      model_.clear();
    }
    model_.compare(subject_);
  }

  void finish() {
    while (!reserved_.empty()) unreserve();
    while (pop(config_.quantum_bytes, any_charge)) model_.compare(subject_);
    EXPECT_EQ(subject_.queue.messages(), 0U);
  }

 private:
  FairQueue::Config some_config(Overflow overflow) {
    FairQueue::Config some = config(500 + traffic_.roll(3000), overflow);
    some.quantum_bytes = traffic_.one_of<std::size_t>({1, 50, 300, 5000});
    some.principal_messages = traffic_.one_of<std::size_t>({3, 12, 1000});
    some.credits = traffic_.one_of<std::size_t>({0, 0, 9});
    some.max_untold = traffic_.one_of<std::size_t>({0, 1, 2, 1000});
    some.weights.system = traffic_.one_of({1U, 2U});
    some.weights.user = traffic_.one_of({1U, 3U});
    if (traffic_.roll(2) == 0) some.weights.principals = {{"agent.a", 64}, {"dave", 2}};
    return some;
  }

  void push() {
    const Item item = traffic_.item(config_.budget_bytes / traffic_.one_of<std::size_t>({3, 10, 30}));
    const auto subjects = subject_.push(item);
    const auto models = model_.push(item);
    EXPECT_EQ(subjects.refused, models.refused);
    EXPECT_EQ(subjects.dropped, models.dropped);
  }

  /// Returns: the charge of what was popped, or 0.
  std::size_t pop(std::size_t quantum, std::size_t limit) {
    const auto subjects = subject_.pop(quantum, limit);
    const auto models = model_.pop(quantum, limit);
    EXPECT_EQ(bool(subjects), bool(models));
    if (!subjects || !models) {
      EXPECT_EQ(subjects.served, subject_.queue.messages() == 0 ? Served::nothing : Served::over_limit);
      return 0;
    }
    EXPECT_EQ(subjects.item.sequence, models->item.sequence);
    EXPECT_EQ(subjects.missed, models->missed);
    EXPECT_EQ(subjects.forgotten, models->forgotten);
    return subjects.item.charge;
  }

  /// As a route does it.
  void drain(std::size_t bytes) {
    const std::size_t quantum = subject_.queue.quantum_for(bytes);
    EXPECT_EQ(quantum, model_.quantum_for(bytes));
    std::size_t limit = any_charge;
    while (const std::size_t charge = pop(quantum, limit)) {
      model_.compare(subject_);
      bytes -= std::min(bytes, charge);
      limit = bytes;
    }
  }

  void reserve(std::size_t charge) {
    const bool reserved = subject_.queue.reserve(charge);
    EXPECT_EQ(reserved, model_.reserve(charge));
    if (reserved) reserved_.push_back(charge);
  }
  void unreserve() {
    if (reserved_.empty()) return;
    subject_.queue.unreserve(reserved_.back());
    model_.unreserve(reserved_.back());
    reserved_.pop_back();
  }

  Traffic traffic_;
  const FairQueue::Config config_;
  Model model_;
  Queue subject_;
  std::vector<std::size_t> reserved_;
};

TEST_P(FairQueueTraffic, goes_the_way_of_the_model) {
  for (std::uint32_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Pair pair(GetParam(), seed);
    for (std::uint64_t i = 0; i < 300 && !HasFailure(); ++i) pair.step(std::array{80U, 40U, 60U}[i / 40 % 3]);
    pair.finish();
    if (HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Overflow, FairQueueTraffic, testing::ValuesIn(all_policies),
                         [](const auto& p) { return name_of(p.param); });

// --- ROUTE-1 ---

TEST(FairQueue, ROUTE_1_holds_its_budget_to_the_byte_and_no_byte_more) {
  for (const Overflow overflow : all_policies) {
    SCOPED_TRACE(name_of(overflow));
    Queue queue(config(300, overflow));
    for (std::uint64_t i = 1; i <= 3; ++i) {
      const auto pushed = queue.push({.principal = "a", .sequence = i, .key = std::to_string(i)});
      EXPECT_FALSE(pushed.refused || pushed.made_room);
    }
    EXPECT_EQ(queue.queue.bytes(), 300U);
    const auto pushed = queue.push({.principal = "a", .sequence = 4, .charge = 1, .key = "4"});
    EXPECT_TRUE(pushed.made_room);
    EXPECT_EQ(pushed.refused, evicts(overflow) ? std::nullopt : std::optional(Loss::over_budget));
    EXPECT_EQ(pushed.dropped, evicts(overflow) ? Sequences{1} : Sequences{});
    EXPECT_EQ(queue.queue.bytes(), evicts(overflow) ? 201U : 300U);
    EXPECT_EQ(queue.queue.bytes_peak(), 300U);
    EXPECT_EQ(queue.lost(Loss::evicted), evicts(overflow) ? 1U : 0U);
  }
}

TEST(FairQueue, ROUTE_1_a_message_that_can_never_fit_is_refused_and_evicts_nothing) {
  for (const Overflow overflow : all_policies) {
    SCOPED_TRACE(name_of(overflow));
    Queue queue(config(300, overflow));
    queue.push({.principal = "a", .sequence = 1});
    const auto pushed = queue.push({.principal = "a", .sequence = 2, .charge = 301});
    EXPECT_EQ(pushed.refused, Loss::too_large);
    EXPECT_FALSE(pushed.made_room);
    EXPECT_FALSE(queue.push({.principal = "a", .sequence = 3, .charge = 200}).refused);
    EXPECT_EQ(queue.lost(Loss::too_large), 1U);
    queue.clear();
    EXPECT_FALSE(queue.push({.principal = "a", .sequence = 4, .charge = 300}).refused);
  }
}

TEST(FairQueue, accounting_is_zero_when_nothing_is_there) {
  for (const bool by_clear : {false, true}) {
    Queue queue(config(10'000));
    for (std::uint64_t i = 1; i <= 50; ++i) {
      queue.push({.principal = std::to_string(i % 7), .sequence = i, .terminal = i % 5 == 0});
    }
    EXPECT_EQ(queue.queue.principals(), 7U);
    if (by_clear) {
      queue.clear();
    } else {
      EXPECT_EQ(queue.pop_all().size(), 50U);
    }
    EXPECT_EQ(queue.queue.messages(), 0U);
    EXPECT_EQ(queue.queue.bytes(), 0U);
    EXPECT_EQ(queue.queue.bytes_peak(), 5000U);
    EXPECT_EQ(queue.queue.principals(), 0U);
    EXPECT_TRUE(queue.backlogs().empty());
    EXPECT_EQ(queue.pop().served, Served::nothing);
    // No principal's terminals are left in the books either.
    EXPECT_FALSE(queue.push({.principal = "0", .sequence = 51, .charge = 5000, .terminal = true}).refused);
  }
}

// --- ROUTE-2 ---

TEST(FairQueue, serves_by_bytes_and_weight) {
  FairQueue::Config weighted = config(100'000);
  weighted.weights = {.system = 1, .agent = 2, .user = 3, .principals = {{"agent.first", 4}}};
  Queue queue(weighted);
  std::uint64_t sequence = 0;
  for (const auto name : {"", "agent.a", "carol", "agent.first"}) {
    for (int i = 0; i < 40; ++i) queue.push({.principal = name, .sequence = ++sequence, .charge = 50});
  }
  std::map<std::string, int> served;
  for (int i = 0; i < 60; ++i) ++served[queue.pop().item.principal];
  EXPECT_EQ(served, (std::map<std::string, int>{{"", 6}, {"agent.a", 12}, {"carol", 18}, {"agent.first", 24}}));
}

TEST(FairQueue, a_principal_is_served_in_the_order_of_sequences) {
  Queue queue(config(10'000));
  for (const std::uint64_t sequence : Sequences{5, 2, 9, 1, 7}) queue.push({.principal = "a", .sequence = sequence});
  queue.push({.principal = "a", .sequence = 4, .terminal = true});
  EXPECT_EQ(sequences_of(queue.pop_all()), (Sequences{1, 2, 4, 5, 7, 9}));
}

TEST(FairQueue, a_principal_that_has_nothing_left_saves_nothing_up) {
  Queue queue(config(10'000));
  queue.push({.principal = "a", .sequence = 1, .charge = 1});
  EXPECT_TRUE(queue.pop(5000));
  for (std::uint64_t i = 2; i < 8; ++i) queue.push({.principal = i % 2 == 0 ? "a" : "b", .sequence = i, .charge = 100});
  EXPECT_EQ(sequences_of(queue.pop_all(100)), (Sequences{2, 3, 4, 5, 6, 7}));
}

/// Two principals that always have something, among others that come and go. How far the bytes served to the two are
/// apart at the end of any interval compared with its beginning is how far their difference ever swings.
class Swing {
 public:
  Swing(const FairQueue::Config& config, std::uint32_t seed) : config_(config), queue_(config), traffic_(seed) {}

  void serve(bool drains) {
    const std::size_t bytes = drains && traffic_.roll(3) == 0 ? 1 + traffic_.roll(10 * most) : 0;
    top_up("agent.a", 1 + traffic_.roll(most), bytes);
    top_up("agent.b", 1 + traffic_.roll(most / 4), bytes);
    if (traffic_.roll(3) == 0) push(traffic_.one_of<const char*>({"", "carol", "dave", "agent.c"}), most);
    if (bytes == 0) {
      note(queue_.pop(config_.quantum_bytes));
      return;
    }
    const std::size_t quantum = queue_.queue.quantum_for(bytes);
    largest_quantum_ = std::max(largest_quantum_, quantum);
    std::size_t limit = any_charge;
    for (std::size_t left = bytes; const auto popped = queue_.pop(quantum, limit); limit = left) {
      note(popped);
      left -= std::min(left, popped.item.charge);
    }
  }

  std::uint64_t longest() const { return longest_; }

  static constexpr std::size_t most = 1000;  // bytes of a message

 private:
  std::uint64_t bytes_of(std::string_view name) const {
    std::uint64_t bytes = 0;
    queue_.queue.for_each_backlog([&](const Backlog& one) { bytes += one.principal.view() == name ? one.bytes : 0; });
    return bytes;
  }

  void push(const char* name, std::size_t largest) {
    queue_.push({.principal = name, .sequence = traffic_.sequence(), .charge = 1 + traffic_.roll(largest)});
    watch();
  }
  void top_up(const char* name, std::size_t largest, std::size_t bytes) {
    for (int i = 0; i < 500 && bytes_of(name) <= bytes + most; ++i) push(name, largest);
  }

  void note(const Queue::Popped& popped) {
    ASSERT_TRUE(popped);
    if (popped.item.principal == "agent.a") lead_ += static_cast<std::int64_t>(popped.item.charge);
    if (popped.item.principal == "agent.b") lead_ -= static_cast<std::int64_t>(popped.item.charge);
    watch();
    longest_ = std::max(longest_, ++length_);
  }

  void watch() {
    if (bytes_of("agent.a") == 0 || bytes_of("agent.b") == 0) {  // another interval
      lowest_ = highest_ = lead_;
      length_ = 0;
    }
    lowest_ = std::min(lowest_, lead_);
    highest_ = std::max(highest_, lead_);
    const std::size_t turn = largest_quantum_ * config_.weights.agent;
    EXPECT_LE(static_cast<std::size_t>(highest_ - lowest_), turn + 2 * most);
  }

  const FairQueue::Config config_;
  Queue queue_;
  Traffic traffic_;
  std::size_t largest_quantum_ = config_.quantum_bytes;
  std::int64_t lead_ = 0;
  std::int64_t lowest_ = 0;
  std::int64_t highest_ = 0;
  std::uint64_t length_ = 0;
  std::uint64_t longest_ = 0;
};

TEST(FairQueue, ROUTE_2_two_that_always_wait_are_never_apart_by_more_than_a_quantum_and_two_messages) {
  for (std::uint32_t seed = 1; seed <= 16; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const bool tight = seed % 3 == 0;
    FairQueue::Config some = config(tight ? 12'000 : 100'000, tight ? evict_fair_share : evict_oldest_head);
    some.quantum_bytes = std::array{10U, 500U, 3000U, 1000U}[seed % 4];
    some.weights.agent = seed % 5 == 0 ? 3 : 1;
    Swing swing(some, seed);
    for (int i = 0; i < 600 && !HasFailure(); ++i) swing.serve(seed % 2 == 0);
    if (HasFailure()) return;
    EXPECT_GT(swing.longest(), 500U);
  }
}

TEST(FairQueue, ROUTE_2_receives_and_drains_in_turns_favour_nobody) {
  FairQueue::Config roomy = config(1'000'000);
  roomy.quantum_bytes = 500;
  Queue queue(roomy);
  for (std::uint64_t i = 1; i <= 2000; ++i) {
    queue.push({.principal = i % 2 == 0 ? "a" : "b", .sequence = i, .charge = 500});
  }
  std::map<std::string, std::int64_t> served;
  for (int i = 0; i < 50; ++i) {
    for (const Item& item : queue.drain(8000)) served[item.principal] += 500;
    for (int single = 0; single < 3; ++single) served[queue.pop(500).item.principal] += 500;
    ASSERT_LE(std::abs(served["a"] - served["b"]), 8000 / 2 + 2 * 500) << "after " << i + 1;
  }
}

TEST(FairQueue, ROUTE_2_of_a_burst_of_100_principals_none_is_ahead_of_another) {
  constexpr std::uint32_t seed = 100;
  SCOPED_TRACE("seed " + std::to_string(seed));
  Traffic traffic(seed);
  FairQueue::Config roomy = config(10'000'000);
  roomy.quantum_bytes = 1000;
  Queue queue(roomy);
  for (int again = 0; again < 2; ++again) {
    for (int i = 0; i < 100; ++i) {
      for (int message = 0; message < 20; ++message) {
        queue.push({.principal = "agent." + std::to_string(i),
                    .sequence = traffic.sequence(),
                    .charge = 1 + traffic.roll(1000)});
      }
    }
    EXPECT_EQ(queue.queue.principals(), 100U);
    std::map<std::string, std::uint64_t> served;
    for (bool all_wait = true; all_wait;) {
      const auto popped = queue.pop(1000);
      ASSERT_TRUE(popped);
      served[popped.item.principal] += popped.item.charge;
      all_wait = queue.queue.principals() == 100;
      if (served.size() < 100) {
        EXPECT_LE(served[popped.item.principal], 2000U);
      } else {
        const auto [least, most] = std::ranges::minmax(served | std::views::values);
        EXPECT_LE(most - least, 1000U + 2 * 1000U);
      }
    }
    queue.pop_all(1000);
    EXPECT_TRUE(queue.backlogs().empty());
    EXPECT_EQ(queue.queue.starved(), 0U);
  }
}

TEST(FairQueue, a_drain_of_any_size_serves) {
  FairQueue::Config weighted = config(1000);
  weighted.weights.principals = {{"a", 64}, {"b", 2}};
  for (int bits = 0; bits < 64; ++bits) {
    SCOPED_TRACE(bits);
    Queue queue(weighted);
    queue.push({.principal = "a", .sequence = 1});
    queue.push({.principal = "a", .sequence = 2});
    queue.push({.principal = "b", .sequence = 3});
    const std::size_t quantum = queue.queue.quantum_for(std::size_t{1} << bits);
    for (const std::uint64_t sequence : Sequences{1, 2, 3}) EXPECT_EQ(queue.pop(quantum).item.sequence, sequence);
  }
}

TEST(FairQueue, a_huge_drain_that_ends_in_mid_turn_leaves_no_more_than_the_budget_to_serve_ahead) {
  Queue queue(config(10'000));
  for (std::uint64_t i = 1; i <= 4; ++i) queue.push({.principal = i % 2 == 0 ? "b" : "a", .sequence = i});
  EXPECT_EQ(queue.pop(queue.queue.quantum_for(std::size_t{1} << 40)).item.principal, "a");
  std::uint64_t ahead = 0;
  for (std::uint64_t i = 5; queue.pop().item.principal == "a" && ahead <= 20'000; i += 2, ahead += 100) {
    queue.push({.principal = "a", .sequence = i});
  }
  EXPECT_LE(ahead, 10'000U);
}

TEST(FairQueue, a_quantum_is_starved_only_when_the_deficit_did_not_cover_the_first_message) {
  Queue covered(config(10'000));
  for (std::uint64_t i = 1; i <= 30; ++i) {
    covered.push({.principal = std::to_string(i % 3), .sequence = i, .charge = 34 + i % 67});
  }
  EXPECT_EQ(covered.pop(100, 1).served, Served::over_limit);
  EXPECT_EQ(covered.pop_all(100).size(), 30U);
  EXPECT_EQ(covered.queue.starved(), 0U);  // though turns ended with a message that did not fit their rest

  Queue starved(config(10'000));
  starved.push({.principal = "a", .sequence = 1, .charge = 101});
  starved.push({.principal = "b", .sequence = 2, .charge = 100});
  EXPECT_EQ(starved.pop(100).item.sequence, 2U);
  EXPECT_EQ(starved.queue.starved(), 1U);
  EXPECT_EQ(starved.pop(100).item.sequence, 1U);
  EXPECT_EQ(starved.queue.starved(), 1U);
}

TEST(FairQueue, a_message_over_the_limit_stays_first) {
  Queue queue(config(10'000));
  queue.push({.principal = "a", .sequence = 1, .charge = 90});
  queue.push({.principal = "b", .sequence = 2, .charge = 10});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(queue.pop(100, 89).served, Served::over_limit);
  EXPECT_EQ(queue.pop(100, 90).item.sequence, 1U);
  EXPECT_EQ(queue.pop(100, 90).item.sequence, 2U);
}

TEST(FairQueue, who_must_wait_keeps_nobody_else_waiting) {
  Queue queue(config(10'000));
  for (std::uint64_t i = 1; i <= 9; ++i) queue.push({.principal = std::string(1, "abc"[i % 3]), .sequence = i});
  const auto wait_for = [](std::string names) {
    return [names](const Backlog& backlog, const Entry& first) {
      EXPECT_EQ(&first, &backlog.fifo.front());
      return names.find(backlog.principal.view()) != std::string::npos;
    };
  };
  EXPECT_TRUE(queue.queue.any_servable(wait_for("ab")));
  EXPECT_FALSE(queue.queue.any_servable(wait_for("abc")));
  EXPECT_EQ(queue.pop(100, any_charge, wait_for("abc")).served, Served::held);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(queue.pop(10, any_charge, wait_for("ab")).item.principal, "c");
  EXPECT_EQ(queue.pop(100, any_charge, wait_for("ab")).served, Served::held);
  EXPECT_EQ(queue.pop_all().size(), 6U);
  EXPECT_FALSE(queue.queue.any_servable(wait_for("")));
}

TEST(FairQueue, a_look_that_finds_all_waiting_changes_nothing) {
  Queue queue(config(100'000));
  for (std::uint64_t i = 1; i <= 40; ++i) queue.push({.principal = i % 2 == 0 ? "a" : "b", .sequence = i});
  std::map<std::string, int> served;
  const auto all_wait = [](const Backlog&, const Entry&) { return true; };
  for (int i = 0; i < 20; ++i) {
    const std::string who = queue.pop(100).item.principal;
    ++served[who];
    if (who == "a") {
      EXPECT_EQ(queue.pop(100, any_charge, all_wait).served, Served::held);
    }
  }
  EXPECT_EQ(served["a"], served["b"]);
}

TEST(FairQueue, who_waits_at_random_loses_neither_place_nor_order) {
  for (std::uint32_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Traffic traffic(seed);
    Queue queue(config(20'000));
    std::map<std::string, std::uint64_t> last;
    for (std::uint64_t i = 1; i <= 300 && !HasFailure(); ++i) {
      Item item = traffic.item(500);
      item.sequence = i;
      if (i <= 250) queue.push(item);
      const std::string waits = traffic.one_of<const char*>({"", "agent.a", "agent:b", "carol", "dave", "agent.e"});
      const auto held = [&](const Backlog& backlog, const Entry&) { return backlog.principal.view() == waits; };
      const bool servable = queue.queue.any_servable(held);
      const auto popped = queue.pop(100, any_charge, held);
      EXPECT_EQ(popped.served, servable ? Served::entry : queue.queue.messages() == 0 ? Served::nothing : Served::held);
      if (!popped) continue;
      EXPECT_NE(popped.item.principal, waits);
      EXPECT_GT(popped.item.sequence, std::exchange(last[popped.item.principal], popped.item.sequence));
    }
    if (HasFailure()) return;
  }
}

// --- ROUTE-3 ---

TEST(FairQueue, ROUTE_3_eviction_goes_by_sequence_whatever_the_order_of_arrival) {
  for (std::uint32_t seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Traffic traffic(seed);
    Queue queue(config(20'000, traffic.one_of({evict_oldest_head, detach, coalesce})));
    std::vector<Item> may_go;
    for (int i = 0; i < 100; ++i) {
      Item item = traffic.item(1);
      item.charge = 200;
      item.terminal = i % 9 == 0;
      item.key = std::to_string(i);
      EXPECT_FALSE(queue.push(item).refused);
      if (!item.terminal) may_go.push_back(item);
    }
    std::ranges::sort(may_go, {}, &Item::sequence);
    for (std::size_t gone = 0; gone != may_go.size();) {
      const std::size_t count = std::min<std::size_t>(1 + traffic.roll(4), may_go.size() - gone);
      Item newcomer{"agent.z", 100'000 + gone, 200 * count, false, std::to_string(gone)};
      newcomer.terminal = true;  // so that it is not evicted itself
      newcomer.principal = "agent.z" + std::to_string(gone);
      const auto pushed = queue.push(newcomer);
      EXPECT_FALSE(pushed.refused);
      EXPECT_EQ(pushed.dropped, sequences_of({may_go.begin() + static_cast<std::ptrdiff_t>(gone),
                                              may_go.begin() + static_cast<std::ptrdiff_t>(gone + count)}));
      gone += count;
    }
    EXPECT_EQ(queue.push({.principal = "y", .sequence = 200'000}).refused, Loss::over_budget);
  }
}

TEST(FairQueue, ROUTE_3_if_all_that_may_go_would_not_make_room_nothing_goes) {
  for (const Overflow overflow : that_evict) {
    SCOPED_TRACE(name_of(overflow));
    Queue queue(config(1000, overflow));
    queue.push({.principal = "a", .sequence = 1, .charge = 400, .terminal = true});
    queue.push({.principal = "b", .sequence = 2, .charge = 300, .terminal = true});
    queue.push({.principal = "c", .sequence = 3, .key = "3"});
    queue.push({.principal = "a", .sequence = 4, .key = "4"});
    queue.push({.principal = "c", .sequence = 5, .key = "5"});
    const auto refused = queue.push({.principal = "c", .sequence = 6, .charge = 301, .key = "3"});
    EXPECT_EQ(refused.refused, Loss::over_budget);
    EXPECT_TRUE(refused.made_room);
    EXPECT_EQ(queue.lost(Loss::evicted) + queue.lost(Loss::coalesced), 0U);
    EXPECT_EQ(sequences_of(queue.pop_all(400)), (Sequences{1, 2, 3, 5, 4}));
  }
}

TEST(FairQueue, ROUTE_3_who_is_spared_is_evicted_in_its_old_order) {
  // The room of two or three is found before it turns out that the newcomer is over its share.
  FairQueue::Config shared = config(1000, evict_fair_share);
  Queue queue(shared);
  for (const std::uint64_t sequence : Sequences{4, 2, 3}) queue.push({.principal = "a", .sequence = sequence});
  queue.push({.principal = "a", .sequence = 1, .charge = 300, .terminal = true});
  queue.push({.principal = "b", .sequence = 5, .charge = 300});
  for (std::uint64_t i = 6; i < 9; ++i) {
    EXPECT_EQ(queue.push({.principal = "a", .sequence = i, .charge = 450}).refused, Loss::over_share);
  }
  EXPECT_EQ(queue.lost(Loss::over_share), 3U);
  EXPECT_EQ(queue.lost(Loss::evicted), 0U);
  EXPECT_EQ(queue.push({.principal = "c", .sequence = 9, .charge = 200}).dropped, (Sequences{2}));
  EXPECT_EQ(queue.push({.principal = "c", .sequence = 10, .charge = 101}).dropped, (Sequences{3, 4}));
  EXPECT_EQ(queue.pop(1000).missed, 0U) << "what was lost came after";
  EXPECT_EQ(std::get<2>(queue.backlogs()["a"]), 6U);
}

TEST(FairQueue, ROUTE_3_fair_share_takes_from_the_principal_with_the_most_bytes_for_its_weight) {
  FairQueue::Config shared = config(1000, evict_fair_share);
  shared.weights.principals = {{"heavy", 4}};
  Queue queue(shared);
  queue.push({.principal = "first", .sequence = 1});
  for (std::uint64_t i = 2; i <= 4; ++i) queue.push({.principal = "many", .sequence = i});
  for (std::uint64_t i = 5; i <= 10; ++i) queue.push({.principal = "heavy", .sequence = i});
  // 100, 300 and 600 for a weight of 4.
  EXPECT_EQ(queue.push({.principal = "new", .sequence = 11}).dropped, (Sequences{2}));
  EXPECT_EQ(queue.push({.principal = "new", .sequence = 12}).dropped, (Sequences{3}));  // many has 200, so does new
  EXPECT_EQ(queue.push({.principal = "new", .sequence = 13}).dropped, (Sequences{11}));  // 300 with the newcomer
  EXPECT_EQ(queue.push({.principal = "heavy", .sequence = 14}).dropped, (Sequences{12}));  // 175 for a weight of 1
  EXPECT_EQ(queue.push({.principal = "heavy", .sequence = 15}).dropped, (Sequences{5}));  // 200
}

TEST(FairQueue, ROUTE_3_fair_share_goes_by_new_weights_at_once) {
  Queue queue(config(1000, evict_fair_share));
  for (std::uint64_t i = 1; i <= 6; ++i) queue.push({.principal = "heavy", .sequence = i});
  for (std::uint64_t i = 7; i <= 10; ++i) queue.push({.principal = "many", .sequence = i});
  Weights weights{.principals = {{"heavy", 4}}};
  queue.queue.swap_weights(weights);
  EXPECT_TRUE(weights.principals.empty());
  EXPECT_TRUE(queue.queue.consistent());
  EXPECT_EQ(queue.push({.principal = "new", .sequence = 11}).dropped, (Sequences{7}))
      << "400, and 600 for a weight of 4";
}

TEST(FairQueue, serves_by_new_weights_from_the_next_turn_on) {
  Queue queue(config(100'000));
  std::uint64_t sequence = 0;
  for (const auto name : {"a", "b"}) {
    for (int i = 0; i < 40; ++i) queue.push({.principal = name, .sequence = ++sequence});
  }
  Weights weights{.principals = {{"b", 3}}};
  queue.queue.swap_weights(weights);
  std::map<std::string, int> served;
  for (int i = 0; i < 40; ++i) ++served[queue.pop().item.principal];
  EXPECT_EQ(served, (std::map<std::string, int>{{"a", 10}, {"b", 30}}));
}

TEST(FairQueue, ROUTE_3_who_is_within_its_share_loses_nothing_to_others) {
  Queue queue(config(1000, evict_fair_share));
  for (std::uint64_t i = 1; i <= 3; ++i) queue.push({.principal = "quiet", .sequence = i});
  for (std::uint64_t i = 4; i <= 500; ++i) {
    queue.push({.principal = "loud", .sequence = i});
    if (i > 400) queue.push({.principal = "louder", .sequence = i + 1000, .charge = 200, .terminal = i % 7 == 0});
  }
  EXPECT_EQ(std::get<0>(queue.backlogs()["quiet"]), 3U);
  EXPECT_EQ(std::get<2>(queue.backlogs()["quiet"]), 0U);
}

TEST(FairQueue, ROUTE_3_a_newcomer_over_its_share_with_nothing_else_to_give_is_refused) {
  Queue queue(config(1000, evict_fair_share));
  for (std::uint64_t i = 1; i <= 10; ++i) queue.push({.principal = std::to_string(i % 2), .sequence = i});
  const auto pushed = queue.push({.principal = "new", .sequence = 11, .charge = 501});
  EXPECT_EQ(pushed.refused, Loss::over_share);
  EXPECT_TRUE(pushed.made_room);
  EXPECT_EQ(queue.queue.messages(), 10U);
  EXPECT_EQ(queue.push({.principal = "new", .sequence = 12, .charge = 400}).dropped, (Sequences{1, 2, 3, 4}));
}

// --- ROUTE-4 ---

TEST(FairQueue, ROUTE_4_terminals_of_one_principal_hold_at_most_half_of_the_budget) {
  for (const Overflow overflow : all_policies) {
    SCOPED_TRACE(name_of(overflow));
    Queue queue(config(1001, overflow));
    EXPECT_EQ(queue.push({.principal = "a", .sequence = 1, .charge = 501, .terminal = true}).refused, Loss::terminals);
    EXPECT_FALSE(queue.push({.principal = "a", .sequence = 2, .charge = 400, .terminal = true}).refused);
    EXPECT_EQ(queue.push({.principal = "a", .sequence = 3, .charge = 101, .terminal = true}).refused, Loss::terminals);
    EXPECT_FALSE(queue.push({.principal = "a", .sequence = 4, .charge = 100, .terminal = true}).refused);
    EXPECT_FALSE(queue.push({.principal = "b", .sequence = 5, .charge = 500, .terminal = true}).refused);
    EXPECT_EQ(queue.lost(Loss::terminals), 2U);
    EXPECT_EQ(queue.pop(1000).item.sequence, 2U);
    EXPECT_FALSE(queue.push({.principal = "a", .sequence = 6, .charge = 400, .terminal = true}).refused);
  }
}

TEST(FairQueue, ROUTE_4_what_only_terminals_stand_in_the_way_of_is_refused) {
  for (const Overflow overflow : all_policies) {
    SCOPED_TRACE(name_of(overflow));
    Queue queue(config(1000, overflow));
    queue.push({.principal = "a", .sequence = 1, .charge = 500, .terminal = true});
    queue.push({.principal = "b", .sequence = 2, .charge = 450, .terminal = true});
    EXPECT_EQ(queue.push({.principal = "c", .sequence = 3, .charge = 51}).refused, Loss::over_budget);
    EXPECT_EQ(queue.push({.principal = "c", .sequence = 4, .charge = 51, .terminal = true}).refused, Loss::over_budget);
    EXPECT_EQ(sequences_of(queue.pop_all()), (Sequences{1, 2}));
  }
}

TEST(FairQueue, ROUTE_4_no_limit_makes_a_terminal_go) {
  FairQueue::Config few = config(10'000);
  few.principal_messages = 2;
  few.credits = 3;
  Queue queue(few);
  for (std::uint64_t i = 1; i <= 2; ++i) queue.push({.principal = "a", .sequence = i, .terminal = true});
  EXPECT_EQ(queue.push({.principal = "a", .sequence = 3}).refused, Loss::over_count);
  EXPECT_EQ(queue.push({.principal = "a", .sequence = 4, .terminal = true}).refused, Loss::over_count);
  queue.push({.principal = "b", .sequence = 5, .terminal = true});
  EXPECT_EQ(queue.push({.principal = "c", .sequence = 6}).refused, Loss::over_count);
  EXPECT_EQ(queue.lost(Loss::over_count), 3U);
  EXPECT_EQ(sequences_of(queue.pop_all()), (Sequences{1, 5, 2}));
}

// --- Other limits ---

TEST(FairQueue, a_principal_with_too_many_messages_loses_its_own_earliest) {
  for (const Overflow overflow : that_evict) {
    SCOPED_TRACE(name_of(overflow));
    FairQueue::Config few = config(10'000, overflow);
    few.principal_messages = 3;
    Queue queue(few);
    queue.push({.principal = "b", .sequence = 1});
    queue.push({.principal = "a", .sequence = 2, .terminal = true});
    for (std::uint64_t i = 3; i <= 4; ++i) queue.push({.principal = "a", .sequence = i, .key = std::to_string(i)});
    const auto pushed = queue.push({.principal = "a", .sequence = 5, .key = "5"});
    EXPECT_EQ(pushed.dropped, (Sequences{3}));
    EXPECT_FALSE(pushed.made_room);
    EXPECT_EQ(queue.lost(Loss::evicted), 1U);
  }
}

TEST(FairQueue, a_principal_with_too_many_messages_is_refused_by_a_route_that_evicts_nothing) {
  for (const Overflow overflow : that_refuse) {
    FairQueue::Config few = config(10'000, overflow);
    few.principal_messages = 2;
    Queue queue(few);
    for (std::uint64_t i = 1; i <= 2; ++i) queue.push({.principal = "a", .sequence = i});
    EXPECT_EQ(queue.push({.principal = "a", .sequence = 3}).refused, Loss::over_count);
    EXPECT_FALSE(queue.push({.principal = "b", .sequence = 4}).refused);
  }
}

TEST(FairQueue, credits_bound_the_messages_of_the_route) {
  for (const Overflow overflow : all_policies) {
    SCOPED_TRACE(name_of(overflow));
    FairQueue::Config few = config(10'000, overflow);
    few.credits = 3;
    Queue queue(few);
    for (std::uint64_t i = 1; i <= 3; ++i) queue.push({.principal = "a", .sequence = i, .key = std::to_string(i)});
    const auto pushed = queue.push({.principal = "b", .sequence = 4});
    EXPECT_EQ(pushed.refused, evicts(overflow) ? std::nullopt : std::optional(Loss::over_count));
    EXPECT_TRUE(pushed.made_room);
    EXPECT_EQ(queue.queue.messages(), 3U);
  }
}

TEST(FairQueue, what_is_reserved_is_room_for_nobody_else) {
  FairQueue::Config waits = config(1000, wait);
  waits.credits = 4;
  Queue queue(waits);
  EXPECT_TRUE(queue.queue.reserve(400));
  EXPECT_FALSE(queue.push({.principal = "a", .sequence = 1, .charge = 600}).refused);
  EXPECT_EQ(queue.push({.principal = "a", .sequence = 2, .charge = 1}).refused, Loss::over_budget);
  EXPECT_FALSE(queue.queue.reserve(1));
  queue.queue.unreserve(400);
  EXPECT_FALSE(queue.push({.principal = "a", .sequence = 3, .charge = 400}).refused);
  EXPECT_FALSE(queue.queue.reserve(1));
  EXPECT_TRUE(queue.pop(1000));
  EXPECT_TRUE(queue.queue.reserve(100));
  EXPECT_TRUE(queue.queue.reserve(100));
  EXPECT_TRUE(queue.queue.reserve(100));
  EXPECT_FALSE(queue.queue.reserve(100));  // no credit
  EXPECT_EQ(queue.push({.principal = "a", .sequence = 4}).refused, Loss::over_count);
  for (int i = 0; i < 3; ++i) queue.queue.unreserve(100);
  EXPECT_FALSE(queue.push({.principal = "a", .sequence = 5}).refused);
}

// --- Coalescing ---

TEST(FairQueue, a_message_takes_the_place_of_an_earlier_one_with_its_principal_topic_and_key) {
  for (const bool same_hash : {false, true}) {
    Queue queue(config(10'000, coalesce), same_hash);
    queue.push({.principal = "a", .sequence = 1, .key = "k"});
    queue.push({.principal = "b", .sequence = 2, .key = "k"});
    queue.push({.principal = "a", .sequence = 3, .key = "l"});
    queue.push({.principal = "a", .sequence = 4, .key = "k", .topic = "u"});
    EXPECT_EQ(queue.lost(Loss::coalesced), 0U);
    EXPECT_EQ(queue.push({.principal = "a", .sequence = 5, .key = "k"}).dropped, (Sequences{1}));
    EXPECT_EQ(queue.push({.principal = "a", .sequence = 6, .key = "k"}).dropped, (Sequences{5}));
    EXPECT_EQ(queue.lost(Loss::coalesced), 2U);
    EXPECT_EQ(queue.lost(Loss::evicted), 0U);
    const auto first = queue.pop(1000);
    EXPECT_EQ(first.item.sequence, 3U);  // 6 went to the tail
    EXPECT_EQ(first.missed, 1U);
    EXPECT_EQ(queue.pop(1000).missed, 0U);
    const auto last = queue.pop(1000);
    EXPECT_EQ(last.item.sequence, 6U);
    EXPECT_EQ(last.missed, 1U);
    EXPECT_EQ(sequences_of(queue.pop_all(1000)), (Sequences{2}));
    EXPECT_TRUE(queue.push({.principal = "a", .sequence = 7, .key = "k"}).dropped.empty());
  }
}

TEST(FairQueue, a_replacement_needs_no_other_room) {
  Queue queue(config(300, coalesce));
  for (std::uint64_t i = 1; i <= 3; ++i) queue.push({.principal = "a", .sequence = i, .key = std::to_string(i)});
  const auto fits = queue.push({.principal = "a", .sequence = 4, .key = "3"});
  EXPECT_EQ(fits.dropped, (Sequences{3}));
  EXPECT_FALSE(fits.made_room);
  const auto larger = queue.push({.principal = "a", .sequence = 5, .charge = 101, .key = "3"});
  EXPECT_EQ(larger.dropped, (Sequences{1, 4}));
  EXPECT_EQ(queue.lost(Loss::coalesced), 2U);
  EXPECT_EQ(queue.lost(Loss::evicted), 1U);
}

TEST(FairQueue, an_evicted_message_is_no_longer_replaced) {
  Queue queue(config(200, coalesce));
  for (std::uint64_t i = 1; i <= 3; ++i) queue.push({.principal = "a", .sequence = i, .key = std::to_string(i)});
  EXPECT_EQ(queue.push({.principal = "a", .sequence = 4, .key = "1"}).dropped, (Sequences{2}));
  EXPECT_EQ(queue.lost(Loss::coalesced), 0U);
}

TEST(FairQueue, a_terminal_replaces_and_is_not_replaced) {
  Queue queue(config(10'000, coalesce));
  queue.push({.principal = "a", .sequence = 1, .key = "k"});
  EXPECT_EQ(queue.push({.principal = "a", .sequence = 2, .terminal = true, .key = "k"}).dropped, (Sequences{1}));
  EXPECT_TRUE(queue.push({.principal = "a", .sequence = 3, .key = "k"}).dropped.empty());
  EXPECT_EQ(sequences_of(queue.pop_all()), (Sequences{2, 3}));
}

TEST(FairQueue, of_messages_with_one_key_the_latest_stays_whichever_arrives_last) {
  Queue queue(config(10'000, coalesce));
  queue.push({.principal = "a", .sequence = 6, .key = "k"});
  EXPECT_EQ(queue.push({.principal = "a", .sequence = 5, .key = "k"}).refused, Loss::coalesced);
  EXPECT_FALSE(queue.push({.principal = "a", .sequence = 4, .terminal = true, .key = "k"}).refused);
  EXPECT_EQ(sequences_of(queue.pop_all()), (Sequences{4, 6}));
}

// --- ROUTE-5 ---

TEST(FairQueue, ROUTE_5_every_loss_is_counted_by_reason_and_class) {
  Queue queue(config(100));
  const std::array names{"", "agent.a", "carol"};
  for (std::size_t reason = 0; reason < loss_reasons; ++reason) {
    for (std::size_t category = 0; category < names.size(); ++category) {
      for (std::size_t times = 0; times <= reason + category; ++times) {
        queue.refuse(names[category], static_cast<Loss>(reason));
      }
      EXPECT_EQ(queue.queue.lost()[reason][category], reason + category + 1);
    }
  }
}

TEST(FairQueue, ROUTE_5_the_message_right_behind_it_tells_a_loss_and_once) {
  Queue queue(config(300));
  queue.refuse("b", Loss::rate_limited);
  for (std::uint64_t i = 1; i <= 5; ++i) queue.push({.principal = i % 2 == 0 ? "b" : "a", .sequence = i});
  queue.refuse("c", Loss::rate_limited);
  auto popped = queue.pop();
  EXPECT_EQ(popped.item.sequence, 3U);
  EXPECT_EQ(popped.missed, 1U);
  EXPECT_EQ(popped.forgotten, 0U);
  popped = queue.pop();
  EXPECT_EQ(popped.item.sequence, 4U);
  EXPECT_EQ(popped.missed, 2U);
  EXPECT_EQ(queue.pop().missed, 0U);
  EXPECT_EQ(queue.backlogs(), (Queue::Backlogs{{"c", {0, 0, 1}}}));
  queue.push({.principal = "c", .sequence = 6});
  EXPECT_EQ(queue.pop().missed, 1U);
  EXPECT_TRUE(queue.backlogs().empty());
}

TEST(FairQueue, ROUTE_5_one_that_is_late_does_not_tell_what_was_lost_behind_it) {
  Queue queue(config(300));
  queue.push({.principal = "a", .sequence = 6});
  queue.refuse("a", Loss::rate_limited);
  queue.push({.principal = "a", .sequence = 5});
  queue.push({.principal = "a", .sequence = 8});
  for (const std::uint64_t missed : Sequences{0, 0, 1}) EXPECT_EQ(queue.pop().missed, missed);
}

TEST(FairQueue, ROUTE_5_losses_outlive_the_messages_of_their_principal) {
  Queue queue(config(200));
  queue.push({.principal = "a", .sequence = 1});
  for (std::uint64_t i = 2; i <= 4; ++i) queue.push({.principal = "b", .sequence = i});
  EXPECT_EQ(queue.backlogs(), (Queue::Backlogs{{"a", {0, 0, 1}}, {"b", {2, 200, 1}}}));
  queue.clear();
  EXPECT_EQ(queue.backlogs(), (Queue::Backlogs{{"a", {0, 0, 1}}, {"b", {0, 0, 1}}}));
}

TEST(FairQueue, ROUTE_5_the_losses_of_principals_beyond_the_limit_are_told_as_one_sum) {
  FairQueue::Config forgetful = config(10'000);
  EXPECT_EQ(forgetful.max_untold, 4096U);
  forgetful.max_untold = 3;
  Queue queue(forgetful);
  queue.refuse("busy", Loss::rate_limited);
  queue.push({.principal = "busy", .sequence = 1});  // has a message to tell it with, so it is not one of the three
  for (const auto name : {"a", "a", "b", "b", "b", "c", "a", "d", "e"}) queue.refuse(name, Loss::rate_limited);
  // b and then c had lost nothing for the longest time.
  EXPECT_EQ(queue.backlogs(),
            (Queue::Backlogs{{"a", {0, 0, 3}}, {"busy", {1, 100, 1}}, {"d", {0, 0, 1}}, {"e", {0, 0, 1}}}));
  queue.push({.principal = "b", .sequence = 2});
  auto popped = queue.pop();
  EXPECT_EQ(popped.missed, 1U);
  EXPECT_EQ(popped.forgotten, 4U);
  popped = queue.pop();
  EXPECT_EQ(popped.missed, 0U);
  EXPECT_EQ(popped.forgotten, 0U);
}

TEST(FairQueue, ROUTE_5_of_5000_principals_that_lost_the_latest_4096_are_told_one_by_one) {
  FairQueue queue(config(100));
  for (int i = 0; i < 5000; ++i) {
    const Principal principal = Principal::parse(std::to_string(i)).value();
    queue.count_refused({&principal, std::hash<std::string_view>()(principal.view())}, Loss::rate_limited);
  }
  EXPECT_TRUE(queue.consistent());
  int remembered = 0;
  queue.for_each_backlog([&](const Backlog& backlog) {
    EXPECT_EQ(backlog.untold, 1U);
    EXPECT_GE(std::stoi(std::string(backlog.principal.view())), 5000 - 4096);
    ++remembered;
  });
  EXPECT_EQ(remembered, 4096);
  EXPECT_EQ(queue.take_forgotten(), 5000U - 4096U);
}

}  // namespace
}  // namespace bus::detail::queue_test
