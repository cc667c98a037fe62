// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The laws of routes, each by its name, through the public interface. The fair queue has its own tests.
#include <bus/routing/router.hpp>

#include "routing/router_fixture.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <latch>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace {

/// A payload that counts how often it is measured and encoded.
struct Counted {
  static inline int measured = 0;
  static inline int encoded = 0;
};

}  // namespace

template <>
struct bus::Schema<Counted> {
  static constexpr std::string_view name = "test.counted";
  static constexpr std::uint32_t version = 1;
  static std::size_t size(const Counted&) {
    ++Counted::measured;
    return 100;
  }
  static void encode(const Counted&, std::span<std::byte>) { ++Counted::encoded; }
  static result<Counted> decode(std::span<const std::byte>) { return Counted{}; }
};

namespace bus {
namespace {

using bus_test::charge;
using bus_test::message;
using bus_test::Reading;

std::string agent(int i) { return "agent." + std::to_string(i); }

// --- ROUTE-1: budget ---

TEST(Route1, a_route_never_holds_more_than_its_budget) {
  for (const Overflow overflow : {Overflow::evict_oldest_head, Overflow::evict_fair_share, Overflow::reject_new,
                                  Overflow::coalesce, Overflow::wait}) {
    Bus hub;
    Router router(hub);
    auto route = router.subscribe({.owner = "o", .patterns = {"a.>"}, .budget_bytes = 10'000, .overflow = overflow});
    std::mt19937 random(1);
    Reading reading;
    for (int i = 0; i < 2000; ++i) {
      const std::string text(random() % 3000, 'x');
      ASSERT_TRUE(router.publish(message("a.b", agent(static_cast<int>(random() % 7)), text),
                                 {.terminal = random() % 10 == 0}));
      ASSERT_LE(route.stats().bytes, 10'000U);
      if (random() % 3 == 0) {
        if (const auto got = route.try_recv()) reading.take(got);
      }
    }
    EXPECT_LE(route.stats().bytes_peak, 10'000U);
    reading.drain(route);
    EXPECT_EQ(route.stats().bytes, 0U) << "accounting returns to zero";
    EXPECT_EQ(route.stats().principals, 0U);
    EXPECT_EQ(reading.accounted(route), route.stats().offered);
  }
}

TEST(Route1, a_message_is_charged_payload_topic_and_a_constant) {
  Bus hub;
  Router router(hub);
  auto route = router.subscribe({.owner = "o", .patterns = {"a.>"}});
  ASSERT_TRUE(router.publish(message("a.bc", "", "12345")));
  EXPECT_EQ(route.stats().bytes, 5 + 4 + route_entry_bytes);
  EXPECT_EQ(route.try_recv().charged(), charge("a.bc", 5));
}

TEST(Route1, a_message_is_measured_once_for_all_routes_and_never_encoded_for_it) {
  Bus hub;
  Router router(hub);
  std::vector<RouteReceiver> routes;
  for (int i = 0; i < 5; ++i) routes.push_back(router.subscribe({.owner = "o", .patterns = {"a.>"}}));
  ASSERT_TRUE(router.publish({"a.b", {}, Payload::object(Counted{})}));
  for (auto& route : routes) EXPECT_EQ(route.try_recv().charged(), charge("a.b", 100));
  EXPECT_EQ(Counted::measured, 1);
  EXPECT_EQ(Counted::encoded, 0);
}

// --- ROUTE-2: fairness ---

/// Serves by `receive` and checks the bound of the law over every interval that begins with the first message.
template <class Receive>
void expect_fair(std::size_t quantum, Receive receive) {
  Bus hub;
  Router router(hub);
  auto route = router.subscribe(
      {.owner = "o", .patterns = {"a.>"}, .budget_bytes = std::size_t{1} << 24, .quantum_bytes = quantum});
  // One sends many small ones, the other few large ones; both have always more.
  constexpr std::size_t small = 10;
  constexpr std::size_t large = 3000;
  for (int i = 0; i < 3000; ++i) ASSERT_TRUE(router.publish(message("a.b", "agent.small", std::string(small, 's'))));
  for (int i = 0; i < 400; ++i) ASSERT_TRUE(router.publish(message("a.b", "agent.large", std::string(large, 'l'))));
  std::int64_t ahead = 0;
  std::int64_t most = 0;
  std::int64_t least = 0;
  const auto note = [&](const RouteReceived& got) {
    const auto bytes = static_cast<std::int64_t>(got.charged());
    ahead += got->principal.view() == "agent.small" ? bytes : -bytes;
    most = std::max(most, ahead);
    least = std::min(least, ahead);
  };
  const std::size_t largest_quantum = receive(route, note);
  const auto bound = static_cast<std::int64_t>(largest_quantum + 2 * charge("a.b", large));
  EXPECT_LE(most - least, bound);
}

TEST(Route2, single_receives_are_fair_in_bytes) {
  for (const std::size_t quantum : {std::size_t{64}, std::size_t{4096}, std::size_t{20'000}}) {
    expect_fair(quantum, [&](RouteReceiver& route, const auto& note) {
      for (int i = 0; i < 1000; ++i) note(route.try_recv());
      return quantum;
    });
  }
}

TEST(Route2, drains_are_fair_in_bytes) {
  expect_fair(4096, [&](RouteReceiver& route, const auto& note) {
    for (int i = 0; i < 50; ++i) {
      for (const RouteReceived& got : route.drain(16'000)) note(got);
    }
    return std::size_t{8000};  // 16,000 shared by two
  });
}

TEST(Route2, a_quantum_that_is_too_small_is_counted_as_starving_and_one_that_suffices_is_not) {
  for (const bool suffices : {false, true}) {
    Bus hub;
    Router router(hub);
    auto route =
        router.subscribe({.owner = "o", .patterns = {"a.>"}, .quantum_bytes = suffices ? 4096U : route_entry_bytes});
    for (int i = 0; i < 10; ++i) ASSERT_TRUE(router.publish(message("a.b", agent(i % 2), "text")));
    for (int i = 0; i < 5; ++i) EXPECT_EQ(route.drain(1).size(), 1U) << "what the caller allows starves nobody";
    EXPECT_EQ(route.stats().quantum_starved != 0, !suffices);
  }
}

// --- ROUTE-3: the oldest goes first ---

TEST(Route3, the_victim_is_the_earliest_by_publish_order_whoever_was_read_in_between) {
  Bus hub;
  Router router(hub);
  auto route = router.subscribe({.owner = "o", .patterns = {"a.>"}, .budget_bytes = 6 * charge("a.b", 1)});
  // alice: 1 3 5, bob: 2 4 6. Reading alice's first must not make her next younger than bob's.
  for (int i = 0; i < 6; ++i) {
    ASSERT_TRUE(router.publish(message("a.b", i % 2 == 0 ? "agent.alice" : "agent.bob", std::to_string(i + 1))));
  }
  EXPECT_EQ(route.try_recv()->payload.text(), "1");
  for (const char* text : {"7", "8", "9"}) ASSERT_TRUE(router.publish(message("a.b", "agent.carol", text)));
  std::vector<std::string> left;
  while (const auto got = route.try_recv()) left.emplace_back(got->payload.text());
  std::ranges::sort(left);
  EXPECT_EQ(left, (std::vector<std::string>{"4", "5", "6", "7", "8", "9"})) << "2 and 3 went, in that order";
}

TEST(Route3, with_fair_share_the_earliest_of_the_heaviest_goes_the_newcomer_included) {
  Bus hub;
  Router router(hub);
  auto route = router.subscribe({.owner = "o",
                                 .patterns = {"a.>"},
                                 .budget_bytes = 10 * charge("a.b", 1),
                                 .overflow = Overflow::evict_fair_share});
  ASSERT_TRUE(router.publish(message("a.b", "agent.quiet", "q")));
  for (int i = 0; i < 30; ++i) ASSERT_TRUE(router.publish(message("a.b", "agent.loud", "x")));
  EXPECT_EQ(route.stats().lost_for(Loss::evicted), 21U);
  const auto outcome = router.publish(message("a.b", "agent.huge", std::string(9 * charge("a.b", 1), 'h')));
  ASSERT_EQ(outcome->refused, 1U);
  EXPECT_EQ(outcome->refusals()[0].reason, Loss::over_share);
  EXPECT_EQ(route.stats().pending, 10U) << "a publish that is refused evicts nothing";
  EXPECT_EQ(route.try_recv()->principal.view(), "agent.quiet");
}

TEST(Route3, if_all_that_may_go_would_not_make_room_nothing_is_evicted) {
  Bus hub;
  Router router(hub);
  auto route = router.subscribe({.owner = "o", .patterns = {"a.>"}, .budget_bytes = 6 * charge("a.b", 1)});
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(router.publish(message("a.b", agent(i), "t"), {.terminal = true}));
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(router.publish(message("a.b", agent(i), "x")));
  const auto outcome = router.publish(message("a.b", "agent.big", std::string(3 * charge("a.b", 1) + 1, 'b')));
  ASSERT_EQ(outcome->refused, 1U);
  EXPECT_EQ(outcome->refusals()[0].reason, Loss::over_budget);
  EXPECT_EQ(outcome->refusals()[0].route, route.id());
  EXPECT_EQ(route.stats().pending, 6U);
  EXPECT_EQ(route.stats().lost_for(Loss::evicted), 0U);
}

TEST(Route3, what_could_never_fit_is_told_to_its_publisher_and_is_no_eviction) {
  Bus hub;
  Router router(hub);
  auto small = router.subscribe({.owner = "small", .patterns = {"a.>"}, .budget_bytes = 1000});
  auto large = router.subscribe({.owner = "large", .patterns = {"a.>"}});
  ASSERT_TRUE(router.publish(message("a.b", "", "before")));
  // It is within the limit of the payload; only topic and bookkeeping make it too large.
  const auto outcome = router.publish(message("a.b", "", std::string(1000 - route_entry_bytes - 2, 'x')));
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->taken, 1U);
  ASSERT_EQ(outcome->refusals().size(), 1U);
  EXPECT_EQ(outcome->refusals()[0].reason, Loss::too_large);
  EXPECT_EQ(router.route_name(outcome->refusals()[0].route), "small");
  EXPECT_EQ(small.stats().lost_for(Loss::evicted), 0U);
  EXPECT_EQ(small.stats().pending, 1U);
  EXPECT_EQ(large.stats().pending, 2U);
}

// --- ROUTE-4: terminals survive ---

TEST(Route4, a_terminal_is_never_evicted) {
  for (const Overflow overflow : {Overflow::evict_oldest_head, Overflow::evict_fair_share, Overflow::coalesce}) {
    Bus hub;
    Router router(hub);
    auto route = router.subscribe(
        {.owner = "o", .patterns = {"a.>"}, .budget_bytes = 8 * charge("a.b", 4), .overflow = overflow});
    ASSERT_TRUE(router.publish(message("a.b", "agent.alice", "done"), {.terminal = true}));
    for (int i = 0; i < 100; ++i) {
      ASSERT_TRUE(router.publish(message("a.b", i % 2 == 0 ? "agent.alice" : "agent.bob", "more")));
    }
    int terminals = 0;
    while (const auto got = route.try_recv()) terminals += got.event().terminal() ? 1 : 0;
    EXPECT_EQ(terminals, 1);
  }
}

TEST(Route4, what_only_terminals_stand_in_the_way_of_is_refused_and_told) {
  Bus hub;
  Router router(hub);
  auto route = router.subscribe({.owner = "o", .patterns = {"a.>"}, .budget_bytes = 4 * charge("a.b", 1)});
  for (int i = 0; i < 4; ++i) {
    ASSERT_EQ(router.publish(message("a.b", agent(i / 2), "t"), {.terminal = true})->taken, 1U);
  }
  const auto outcome = router.publish(message("a.b", "agent.late", "x"));
  EXPECT_EQ(outcome->refused, 1U);
  EXPECT_EQ(outcome->refusals()[0].reason, Loss::over_budget);
  EXPECT_EQ(route.stats().lost_for(Loss::over_budget), 1U);
}

TEST(Route4, the_terminals_of_one_principal_hold_at_most_half_of_the_budget) {
  Bus hub;
  Router router(hub);
  auto route = router.subscribe({.owner = "o", .patterns = {"a.>"}, .budget_bytes = 10 * charge("a.b", 1)});
  std::uint32_t taken = 0;
  for (int i = 0; i < 10; ++i) {
    taken += router.publish(message("a.b", "agent.alice", "t"), {.terminal = true})->taken;
  }
  EXPECT_EQ(taken, 5U);
  EXPECT_EQ(route.stats().lost_for(Loss::terminals), 5U);
  EXPECT_EQ(router.publish(message("a.b", "agent.bob", "t"), {.terminal = true})->taken, 1U);
}

// --- ROUTE-5: loss is attributed ---

TEST(Route5, the_next_message_of_a_principal_says_how_many_went_missing_before_it) {
  Bus hub;
  Router router(hub);
  auto route = router.subscribe({.owner = "o", .patterns = {"a.>"}, .budget_bytes = 4 * charge("a.b", 1)});
  for (int i = 0; i < 7; ++i) ASSERT_TRUE(router.publish(message("a.b", "agent.alice", "a")));
  ASSERT_TRUE(router.publish(message("a.b", "agent.bob", "b")));
  Reading reading;
  reading.drain(route);
  EXPECT_EQ(reading.missed["agent.alice"], 4U);
  EXPECT_EQ(reading.missed["agent.bob"], 0U);
  const auto stats = route.stats();
  EXPECT_EQ(stats.lost[static_cast<std::size_t>(Loss::evicted)][static_cast<std::size_t>(PrincipalClass::agent)], 4U);
  EXPECT_EQ(stats.lost_in_all(), 4U);
}

TEST(Route5, a_loss_is_told_by_the_message_right_behind_it) {
  Bus hub;
  Router router(hub);
  auto route = router.subscribe({.owner = "o", .patterns = {"a.>"}, .budget_bytes = 4 * charge("a.b", 1)});
  const auto publish = [&](const char* text, bool terminal = false) {
    ASSERT_TRUE(router.publish(message("a.b", "agent.alice", text), {.terminal = terminal}));
  };
  publish("1", true);
  publish("2");  // evicted: behind it stands 3
  publish("3", true);
  publish("4");
  ASSERT_TRUE(router.publish(message("a.b", "agent.bob", "b")));
  publish("5", true);  // refused: over the half that terminals may hold
  ASSERT_EQ(route.stats().lost_for(Loss::terminals), 1U);
  std::vector<std::pair<std::string, std::uint64_t>> got;
  for (int i = 0; i < 3; ++i) {
    const auto one = route.try_recv();
    if (one->principal.view() == "agent.alice") got.emplace_back(one->payload.text(), one.missed());
  }
  publish("6");
  while (const auto one = route.try_recv()) {
    if (one->principal.view() == "agent.alice") got.emplace_back(one->payload.text(), one.missed());
  }
  EXPECT_EQ(got, (std::vector<std::pair<std::string, std::uint64_t>>{{"1", 0}, {"3", 1}, {"4", 0}, {"6", 1}}));
}

TEST(Route5, a_loss_is_told_however_long_its_principal_was_silent) {
  Bus hub;
  Router router(hub);
  auto route = router.subscribe({.owner = "o", .patterns = {"a.>"}, .budget_bytes = 2 * charge("a.b", 1)});
  for (const char* who : {"agent.alice", "agent.bob", "agent.bob"})
    ASSERT_TRUE(router.publish(message("a.b", who, "x")));
  Reading reading;
  reading.drain(route);
  EXPECT_EQ(reading.missed["agent.alice"], 0U);
  ASSERT_EQ(route.backlogs().size(), 1U);
  EXPECT_EQ(route.backlogs()[0].untold, 1U);
  ASSERT_TRUE(router.publish(message("a.b", "agent.alice", "y")));
  EXPECT_EQ(route.try_recv().missed(), 1U);
  EXPECT_TRUE(route.backlogs().empty()) << "an idle principal costs nothing";
}

TEST(Route5, losses_of_too_many_principals_are_told_as_one_sum) {
  Bus hub;
  Router router(hub);
  auto route = router.subscribe({.owner = "o", .patterns = {"a.>"}, .budget_bytes = charge("a.b", 1)});
  const int principals = static_cast<int>(limits::max_untold_principals) + 100;
  for (int i = 0; i < principals; ++i) ASSERT_TRUE(router.publish(message("a.b", agent(i), "x")));
  EXPECT_EQ(route.stats().forgotten, 99U);
  const auto got = route.try_recv();
  EXPECT_EQ(got.missed(), 0U);
  EXPECT_EQ(got.missed_of_forgotten(), 99U);
  EXPECT_EQ(route.backlogs().size(), limits::max_untold_principals);
}

// --- ROUTE-6: order ---

TEST(Route6, a_receiver_sees_rising_sequences_of_each_principal_whoever_publishes) {
  constexpr std::uint64_t each = 5000;
  Bus hub;
  Router router(hub);
  auto route = router.subscribe({.owner = "o", .patterns = {"a.>"}, .budget_bytes = std::size_t{1} << 26});
  Reading reading;
  std::jthread reader([&] {
    while (const auto got = route.recv()) reading.take(got);
  });
  {
    std::vector<std::jthread> publishers;
    for (int thread = 0; thread < 3; ++thread) {
      publishers.emplace_back([&] {
        auto sender = router.sender();
        for (std::uint64_t i = 0; i < each; ++i) {
          EXPECT_TRUE(sender.publish(message("a.b", i % 2 == 0 ? "" : "agent.shared", "x")));
        }
      });
    }
  }
  router.close();
  reader.join();
  EXPECT_EQ(reading.out_of_order, 0U);
  EXPECT_EQ(reading.sum(reading.delivered), 3 * each);
}

// --- ROUTE-7: cost ---

/// That it does not look at them either is measured: `router_bench --filter R1`.
TEST(Route7, a_publish_is_not_offered_to_routes_that_do_not_match) {
  Bus hub;
  Router router(hub);
  std::vector<RouteReceiver> others;
  for (int i = 0; i < 100; ++i) {
    others.push_back(router.subscribe({.owner = "o", .patterns = {*TopicPattern::parse("a.b" + std::to_string(i))}}));
  }
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 100; i += 10) ASSERT_EQ(router.publish(message("a.b" + std::to_string(i), "", "x"))->taken, 1U);
  }
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(others[static_cast<std::size_t>(i)].stats().offered, i % 10 == 0 ? 3U : 0U);
  }
}

TEST(Route7, a_hundred_principals_at_once_lose_nothing_that_the_budget_holds) {
  constexpr int principals = 100;
  constexpr int each = 20;
  Bus hub;
  Router router(hub);
  auto route =
      router.subscribe({.owner = "o", .patterns = {"a.>"}, .budget_bytes = principals * each * charge("a.b", 2)});
  for (int i = 0; i < each; ++i) {
    for (int who = 0; who < principals; ++who) {
      ASSERT_EQ(router.publish(message("a.b", agent(who), "xy"))->taken, 1U);
    }
  }
  EXPECT_EQ(route.stats().principals, 100U);
  Reading reading;
  reading.drain(route);
  EXPECT_EQ(reading.sum(reading.missed), 0U);
  for (int who = 0; who < principals; ++who) EXPECT_EQ(reading.delivered[agent(who)], 20U);
  EXPECT_EQ(reading.out_of_order, 0U);
}

// --- ROUTE-8: scope is admission ---

TEST(Route8, what_is_out_of_scope_or_gated_never_touches_the_budget) {
  Bus hub;
  Router router(hub);
  auto gate = std::make_shared<Gate>();
  auto gated = router.subscribe({.owner = "gated", .patterns = {"a.>"}, .gate = gate});
  auto scoped =
      router.subscribe({.owner = "scoped", .patterns = {"a.>"}, .scope = Scope::principal_or_system("agent.alice")});
  const auto publish = [&](std::string_view who) { return *router.publish(message("a.b", who, "x")); };

  EXPECT_EQ(publish("agent.bob").gated, 1U);
  EXPECT_EQ(publish("agent.alice").taken, 1U);
  EXPECT_EQ(publish("").taken, 1U);
  EXPECT_EQ(scoped.stats().offered, 2U);
  EXPECT_EQ(gated.stats().offered, 0U);
  EXPECT_EQ(gated.stats().gated, 3U);
  EXPECT_EQ(gated.stats().bytes_peak, 0U);

  ASSERT_TRUE(gate->publish());
  EXPECT_EQ(gate->publish().error(), errc::gate_not_staged);
  EXPECT_EQ(publish("agent.bob").taken, 1U);
  gate->retire();
  EXPECT_EQ(publish("agent.bob").gated, 1U);
  EXPECT_EQ(gated.stats().offered, 1U);
}

TEST(Route8, a_scoped_route_that_loses_its_own_messages_says_so) {
  Bus hub;
  Router router(hub);
  auto route = router.subscribe(
      {.owner = "o", .patterns = {"a.>"}, .budget_bytes = charge("a.b", 1), .scope = Scope::principal("agent.alice")});
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(router.publish(message("a.b", "agent.alice", "x")));
  EXPECT_EQ(route.try_recv().missed(), 2U);
}

// --- ROUTE-9: one copy ---

TEST(Route9, overlapping_patterns_deliver_once) {
  Bus hub;
  Router router(hub);
  auto route = router.subscribe({.owner = "o", .patterns = {"a.b", "a.*", "a.>", "a.b", "*.b"}});
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(router.route_count("a.b"), 1U);
    ASSERT_EQ(router.publish(message("a.b", "", "x"))->taken, 1U);
  }
  EXPECT_EQ(route.stats().pending, 3U);
  route = {};
  EXPECT_FALSE(router.has_interest("a.b"));
}

// --- All of it under fire. ---

TEST(Routes, that_come_and_go_while_many_publish_lose_count_of_nothing) {
  constexpr int each = 4000;
  Bus hub{{.capacity = 64}};
  Router router(hub);
  std::atomic<bool> done = false;
  std::atomic<int> wrong = 0;
  std::latch subscribed(4);
  const auto read = [&](Overflow overflow, auto receive) {
    return [&, overflow, receive] {
      auto route = router.subscribe(
          {.owner = "reader", .patterns = {"a.>", "a.*.x"}, .budget_bytes = 20'000, .overflow = overflow});
      subscribed.count_down();
      Reading reading;
      while (receive(route, reading)) {
      }
      if (reading.out_of_order != 0 || reading.accounted(route) != route.stats().offered) ++wrong;
    };
  };
  const auto one = [](RouteReceiver& route, Reading& reading) {
    const auto got = route.recv();
    if (got) reading.take(got);
    return !got.closed();
  };
  const auto some = [](RouteReceiver& route, Reading& reading) {
    const auto batch = route.recv_batch(7);
    for (const auto& got : batch) reading.take(got);
    return !batch.closed();
  };
  const auto bytes = [](RouteReceiver& route, Reading& reading) {
    const auto batch = route.drain(3000);
    for (const auto& got : batch) reading.take(got);
    if (batch.empty()) std::this_thread::yield();
    return !batch.closed();
  };
  {
    std::vector<std::jthread> readers;
    readers.emplace_back(read(Overflow::evict_oldest_head, one));
    readers.emplace_back(read(Overflow::evict_fair_share, some));
    readers.emplace_back(read(Overflow::reject_new, bytes));
    readers.emplace_back(read(Overflow::coalesce, one));
    subscribed.wait();
    std::jthread passer_by([&] {
      while (!done) {
        auto route = router.subscribe({.owner = "passer-by", .patterns = {"a.>"}});
        (void)route.try_recv();
      }
    });
    std::vector<std::jthread> publishers;
    for (int thread = 0; thread < 3; ++thread) {
      publishers.emplace_back([&] {
        auto sender = router.sender();
        for (int i = 0; i < each; ++i) {
          const std::string topic = "a.b" + std::to_string(i % 17) + (i % 2 == 0 ? "" : ".x");
          const auto outcome = sender.publish(message(topic, i % 3 == 0 ? "" : agent(i % 5), "payload"),
                                              {.terminal = i % 50 == 0, .key = i % 4 == 0 ? "j" : "k"});
          if (!outcome) ++wrong;
        }
      });
    }
    publishers.clear();
    done = true;
    passer_by.join();
    router.close();
  }
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace bus
