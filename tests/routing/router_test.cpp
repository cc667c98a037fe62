// SPDX-License-Identifier: MIT OR Apache-2.0
#include <bus/routing/asio.hpp>
#include <bus/routing/router.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/io_context.hpp>

#include <gtest/gtest.h>

#include <boost/system/system_error.hpp>

#include "core/bus_fixture.hpp"
#include "routing/router_fixture.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <latch>
#include <memory>
#include <semaphore>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace bus {
namespace {

using bus_test::message;

TEST(Router, delivers_what_matches_and_nothing_else) {
  Bus hub;
  Router router(hub);
  auto inbox = router.subscribe({.owner = "capsule-7", .patterns = {"llm.v1.>"}});
  auto plain = hub.subscribe();
  auto outcome = router.publish(message("llm.v1.stream", "agent.alice", "hello"));
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->sequence, 1U);
  EXPECT_EQ(outcome->taken, 1U);
  EXPECT_EQ(outcome->receivers, 1U);
  outcome = router.publish(message("other.topic", "agent.alice", "not for you"));
  EXPECT_TRUE(outcome->nobody_interested());
  ASSERT_TRUE(hub.send(message("llm.v1.stream", "agent.alice", "past the router")));
  const auto got = inbox.try_recv();
  ASSERT_TRUE(got);
  EXPECT_EQ(got->payload.text(), "hello");
  EXPECT_EQ(got.event().sequence(), 1U);
  EXPECT_FALSE(inbox.try_recv());
  EXPECT_EQ(hub.stats().published, 3U);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(plain.try_recv());
}

TEST(Router, waits_asynchronously) {
  Bus hub;
  Router router(hub);
  auto inbox = router.subscribe({.owner = "capsule-7", .patterns = {"a.>"}});
  boost::asio::io_context io;
  std::string text;
  inbox.async_recv(boost::asio::bind_executor(io, [&](error_code code, RouteReceived got) {
    EXPECT_FALSE(code);
    text = got->payload.text();
  }));
  io.poll();
  EXPECT_EQ(text, "");
  ASSERT_TRUE(router.publish(message("a.b", "", "x")));
  io.restart();
  io.run();
  EXPECT_EQ(text, "x");
}

TEST(Router, tells_what_was_evicted) {
  Bus hub;
  Router router(hub);
  auto inbox = router.subscribe({.owner = "o", .patterns = {"a.>"}, .budget_bytes = 3 * (route_entry_bytes + 4)});
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(router.publish(message("a.b", "agent.x", std::to_string(i))));
  std::vector<std::string> texts;
  std::uint64_t missed = 0;
  while (auto got = inbox.try_recv()) {
    texts.emplace_back(got->payload.text());
    missed += got.missed();
  }
  EXPECT_EQ(texts, (std::vector<std::string>{"2", "3", "4"}));
  EXPECT_EQ(missed, 2U);
  EXPECT_EQ(inbox.stats().lost_for(Loss::evicted), 2U);
  hub.close();
  EXPECT_TRUE(inbox.try_recv().closed());
  EXPECT_EQ(router.publish(message("a.b", "", "")).error(), errc::closed);
}

TEST(Router, keeps_the_counts_of_routes_that_are_gone_by_their_names) {
  Bus hub;
  Router router(hub);
  const auto send = [&](int messages) {
    for (int i = 0; i < messages; ++i) ASSERT_TRUE(router.publish(message("a.b", "agent.x", "text")));
  };
  {
    auto first = router.subscribe({.owner = "o", .patterns = {"a.>"}, .budget_bytes = 3 * (route_entry_bytes + 7)});
    auto second = router.subscribe({.owner = "p", .patterns = {"a.b"}, .name = "o"});
    send(5);
    ASSERT_TRUE(first.try_recv());
    const auto names = router.stats().names;
    ASSERT_EQ(names.size(), 1U);
    EXPECT_EQ(names[0].routes, 2U);
    EXPECT_EQ(names[0].offered, 10U);
    EXPECT_EQ(names[0].pending, 7U);
    EXPECT_EQ(names[0].abandoned, 0U);
  }
  auto third = router.subscribe({.owner = "o", .patterns = {"a.b"}, .budget_bytes = 4096});
  send(1);
  const auto names = router.stats().names;
  ASSERT_EQ(names.size(), 1U);
  EXPECT_EQ(names[0].name, "o");
  EXPECT_EQ(names[0].routes, 1U);
  EXPECT_EQ(names[0].offered, 11U);
  EXPECT_EQ(names[0].delivered, 1U);
  EXPECT_EQ(names[0].abandoned, 7U);
  EXPECT_EQ(names[0].lost_in_all(), 2U);
  EXPECT_EQ(names[0].pending, 1U);
  EXPECT_EQ(names[0].budget_bytes, 4096U);
}

TEST(Router, sums_up_names_beyond_those_that_it_tells_apart) {
  Bus hub;
  Router router(hub);
  for (std::size_t i = 0; i < limits::max_accounted_names + 3; ++i) {
    auto route = router.subscribe({.owner = "o" + std::to_string(i), .patterns = {"a.b"}});
    ASSERT_TRUE(router.publish(message("a.b", "agent.x", "text")));
  }
  const auto names = router.stats().names;
  ASSERT_EQ(names.size(), limits::max_accounted_names + 1);
  const auto other = std::ranges::find(names, "other", &RouteNameStats::name);
  ASSERT_NE(other, names.end());
  EXPECT_EQ(other->abandoned, 3U);
}

/// A route with room for one message at a time.
class AsyncPublish : public testing::Test {
 protected:
  auto note() {
    return boost::asio::bind_cancellation_slot(
        signal.slot(), boost::asio::bind_executor(io, [this](error_code code, PublishOutcome out) {
          ++calls;
          last = code;
          outcome = out;
        }));
  }
  void run() {
    io.restart();
    io.poll();
  }

  boost::asio::io_context io;
  boost::asio::cancellation_signal signal;
  Bus hub;
  Router router{hub};
  RouteReceiver inbox = router.subscribe(
      {.owner = "slow", .patterns = {"a.>"}, .budget_bytes = route_entry_bytes + 10, .overflow = Overflow::wait});
  int calls = 0;
  error_code last;
  PublishOutcome outcome;
};

TEST_F(AsyncPublish, WaitsForRoom) {
  ASSERT_EQ(router.publish(message("a.b", "", "1"))->taken, 1U);
  router.async_publish(message("a.b", "", "2"), {}, note());
  run();
  EXPECT_EQ(calls, 0);
  EXPECT_EQ(inbox.stats().waiting_publishers, 1U);
  EXPECT_EQ(hub.stats().published, 1U) << "it has no sequence before it has room";
  EXPECT_EQ(inbox.try_recv()->payload.text(), "1");
  EXPECT_EQ(router.publish(message("a.b", "", "3"))->refused, 1U) << "the room is spoken for";
  run();
  ASSERT_EQ(calls, 1);
  EXPECT_FALSE(last);
  EXPECT_EQ(outcome.taken, 1U);
  EXPECT_EQ(inbox.try_recv()->payload.text(), "2");
}

TEST_F(AsyncPublish, ThatNeedsNoWaitIsPostedAllTheSame) {
  router.async_publish(message("a.b", "", "1"), {}, note());
  EXPECT_EQ(calls, 0);
  run();
  EXPECT_EQ(outcome.taken, 1U);
}

TEST_F(AsyncPublish, CancelledHasPublishedNothingAndGivesItsRoomBack) {
  ASSERT_TRUE(router.publish(message("a.b", "", "1")));
  router.async_publish(message("a.b", "", "2"), {}, note());
  run();
  signal.emit(boost::asio::cancellation_type::total);
  run();
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(last, boost::asio::error::operation_aborted);
  EXPECT_EQ(hub.stats().published, 1U);
  EXPECT_EQ(inbox.stats().waiting_publishers, 0U);
  EXPECT_TRUE(inbox.try_recv());
  EXPECT_EQ(router.publish(message("a.b", "", "3"))->taken, 1U);
}

TEST_F(AsyncPublish, CancelledWithItsRoomOnTheWayGivesItBack) {
  ASSERT_TRUE(router.publish(message("a.b", "", "1")));
  router.async_publish(message("a.b", "", "2"), {}, note());
  run();
  EXPECT_TRUE(inbox.try_recv());  // grants it
  signal.emit(boost::asio::cancellation_type::total);
  run();
  EXPECT_EQ(last, boost::asio::error::operation_aborted);
  EXPECT_EQ(router.publish(message("a.b", "", "3"))->taken, 1U);
}

TEST_F(AsyncPublish, IsRefusedByARouteThatEnds) {
  ASSERT_TRUE(router.publish(message("a.b", "", "1")));
  router.async_publish(message("a.b", "", "2"), {}, note());
  run();
  inbox = {};
  run();
  EXPECT_EQ(calls, 1);
  EXPECT_FALSE(last);
  EXPECT_TRUE(outcome.nobody_interested());
}

TEST_F(AsyncPublish, OnAClosedRouterFails) {
  ASSERT_TRUE(router.publish(message("a.b", "", "1")));
  router.async_publish(message("a.b", "", "2"), {}, note());
  run();
  router.close();
  run();
  EXPECT_EQ(last, errc::closed);
}

TEST_F(AsyncPublish, EndsWithItsContextAndGivesItsRoomToTheNext) {
  ASSERT_TRUE(router.publish(message("a.b", "", "1")));
  {
    boost::asio::io_context ends;
    const auto never = [](error_code, PublishOutcome) { ADD_FAILURE() << "called"; };
    for (int i = 0; i < 3; ++i) {
      router.async_publish(message("a.b", "", "2"), {}, boost::asio::bind_executor(ends, never));
    }
    router.async_publish(message("a.b", "", "4"), {}, note());
    ends.poll();
    run();
    EXPECT_EQ(inbox.stats().waiting_publishers, 4U);
    EXPECT_TRUE(inbox.try_recv());  // grants the first of those that end
  }
  run();
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(inbox.try_recv()->payload.text(), "4");
}

TEST_F(AsyncPublish, RefusedAfterItsWaitLeavesItsRoomToTheNext) {
  ASSERT_TRUE(router.publish(message("a.b", "", "1")));
  PublishOutcome first;
  router.async_publish(message("a.b", "", "2"), {.terminal = true},  // over half of the budget
                       boost::asio::bind_executor(io, [&](error_code, PublishOutcome out) { first = out; }));
  router.async_publish(message("a.b", "", "3"), {}, note());
  run();
  EXPECT_EQ(inbox.stats().waiting_publishers, 2U);
  EXPECT_TRUE(inbox.try_recv());
  run();
  EXPECT_EQ(first.refused, 1U);
  EXPECT_EQ(first.refusals()[0].reason, Loss::terminals);
  EXPECT_EQ(calls, 1) << "nobody else would grant it";
  EXPECT_EQ(inbox.try_recv()->payload.text(), "3");
  EXPECT_EQ(router.publish(message("a.b", "", "4"))->taken, 1U) << "all room is free again";
}

TEST_F(AsyncPublish, GatedAfterItsWaitLeavesItsRoomToTheNext) {
  const auto gate = std::make_shared<Gate>();
  ASSERT_TRUE(gate->publish());
  RouteOptions options{.owner = "gated", .patterns = {"a.>"}, .budget_bytes = route_entry_bytes + 10};
  options.overflow = Overflow::wait;
  options.gate = gate;
  inbox = router.subscribe(options);
  ASSERT_TRUE(router.publish(message("a.b", "", "1")));
  for (int i = 0; i < 2; ++i) router.async_publish(message("a.b", "", "2"), {}, note());
  run();
  gate->retire();
  EXPECT_TRUE(inbox.try_recv());
  run();
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(outcome.gated, 1U);
}

TEST_F(AsyncPublish, OfWhatIsOverARateNeverTakesAPlaceAmongThoseWhoWait) {
  bus_test::ManualClock clock;
  Bus limited_bus;
  Router limited(limited_bus, {.rate_limiter = std::make_shared<RateLimiter>(
                                   RateLimit{.bytes_per_second = 1, .burst_bytes = 1, .max_message_bytes = 1}, clock)});
  auto full = limited.subscribe(
      {.owner = "o", .patterns = {"a.>"}, .budget_bytes = route_entry_bytes + 4, .overflow = Overflow::wait});
  ASSERT_TRUE(limited.publish(message("a.b", "agent.x", "1")));
  limited.async_publish(message("a.b", "agent.x", "2"), {}, note());
  run();
  EXPECT_EQ(last, errc::rate_limited);
  EXPECT_EQ(full.stats().waiting_publishers, 0U);
}

// --- Bad input. ---

template <class Call>
std::string refusal(Call call) {
  try {
    call();
  } catch (const std::invalid_argument& wrong) {
    return wrong.what();
  }
  return "";
}

TEST(RouterInput, options_that_are_wrong_are_named_with_what_is_allowed) {
  Bus hub;
  Router router(hub);
  const auto with = [&](auto change) {
    return refusal([&] {
      RouteOptions options{.owner = "o", .patterns = {"a.>"}};
      change(options);
      (void)router.subscribe(std::move(options));
    });
  };
  EXPECT_EQ(with([](RouteOptions&) {}), "");
  EXPECT_EQ(with([](RouteOptions& o) { o.owner = ""; }), "RouteOptions::owner is empty; allowed are 1 to 64 bytes");
  EXPECT_EQ(
      with([](RouteOptions& o) { o.owner = "a b"; }),
      "RouteOptions::owner is \"a b\" (it holds a space or a control byte); allowed are 1 to 64 bytes, no space or "
      "control byte");
  EXPECT_EQ(with([](RouteOptions& o) { o.name = std::string(65, 'n'); }).substr(0, 18), "RouteOptions::name");
  EXPECT_EQ(with([](RouteOptions& o) { o.overflow = static_cast<Overflow>(77); }),
            "RouteOptions::overflow is 77; allowed are the enumerators of Overflow");
  EXPECT_EQ(with([](RouteOptions& o) { o.weights.principals = {{"bob", 6}, {"bob", 7}}; }),
            "RouteOptions::weights.principals is two weights for \"bob\"; allowed are one for each");
  EXPECT_EQ(with([](RouteOptions& o) { o.patterns = {}; }),
            "RouteOptions::patterns is empty; allowed are one or more patterns");
  EXPECT_EQ(with([](RouteOptions& o) { o.patterns = {TopicPattern()}; }),
            "RouteOptions::patterns is a list with an empty pattern; allowed are one or more patterns");
  EXPECT_EQ(with([](RouteOptions& o) { o.budget_bytes = 0; }),
            "RouteOptions::budget_bytes is 0; allowed are 385 (a message of one byte) to 1099511627776");
  EXPECT_NE(with([](RouteOptions& o) { o.budget_bytes = route_entry_bytes; }), "");
  EXPECT_EQ(with([](RouteOptions& o) { o.quantum_bytes = 0; }),
            "RouteOptions::quantum_bytes is 0; allowed are 1 to 1099511627776");
  EXPECT_EQ(with([](RouteOptions& o) { o.principal_messages = 0; }),
            "RouteOptions::principal_messages is 0; allowed are 1 and more");
  EXPECT_EQ(with([](RouteOptions& o) { o.weights.user = 0; }), "RouteOptions::weights.user is 0; allowed are 1 to 64");
  EXPECT_EQ(with([](RouteOptions& o) { o.weights.principals = {{"agent.x", 65}}; }),
            "RouteOptions::weights of agent.x is 65; allowed are 1 to 64");
  EXPECT_EQ(with([](RouteOptions& o) { o.detach_after = std::chrono::seconds(-1); }),
            "RouteOptions::detach_after is negative; allowed are 0 and more");
  EXPECT_EQ(router.stats().routes, 0U);
  EXPECT_FALSE(TopicPattern::parse("a.>.b"));
  EXPECT_FALSE(Principal::parse(std::string(129, 'p')));
  EXPECT_FALSE(Principal::parse("a\nb"));
}

TEST(RouteWeights, can_be_changed_while_the_route_is_read) {
  Bus hub;
  Router router{hub};
  auto route = router.subscribe({.owner = "o", .patterns = {">"}, .quantum_bytes = 1024});
  const std::string text(1024 - bus_test::charge("t", 0), 'x');
  for (int i = 0; i < 40; ++i) {
    ASSERT_TRUE(router.publish(message("t", "a", text)));
    ASSERT_TRUE(router.publish(message("t", "b", text)));
  }
  EXPECT_THROW(route.set_weights({.user = 65}), std::invalid_argument);
  route.set_weights({.principals = {{"b", 3}}});
  bus_test::Reading reading;
  for (int i = 0; i < 40; ++i) reading.take(route.try_recv());
  EXPECT_EQ(reading.delivered["b"], 30U);
}

TEST(RouterInput, a_second_router_on_a_bus_is_refused_until_the_first_is_gone) {
  Bus hub;
  {
    Router router(hub);
    EXPECT_EQ(refusal([&] { Router second(hub); }), "the bus has a router already");
  }
  Router third(hub);
}

TEST(RouterInput, an_owner_has_no_more_routes_than_it_may) {
  Bus hub;
  Router router(hub, {.max_routes_per_owner = 3});
  std::vector<RouteReceiver> routes;
  const auto subscribe = [&](const char* owner) {
    try {
      routes.push_back(router.subscribe({.owner = owner, .patterns = {"a.>"}}));
      return error_code();
    } catch (const boost::system::system_error& refused) {
      return refused.code();
    }
  };
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(subscribe("o"));
  EXPECT_EQ(subscribe("o"), errc::too_many_routes);
  EXPECT_FALSE(subscribe("p"));
  routes.erase(routes.begin());
  EXPECT_FALSE(subscribe("o"));
  router.close();
  EXPECT_EQ(subscribe("q"), errc::closed);
}

TEST(Router, publishes_nothing_once_it_or_its_bus_is_closed) {
  for (const bool the_bus : {false, true}) {
    Bus hub;
    Router router(hub);
    auto sender = router.sender("source");
    auto inbox = router.subscribe({.owner = "o", .patterns = {"a.>"}});
    ASSERT_TRUE(sender.publish(message("a.b", "", "x")));
    if (the_bus) {
      hub.close();
    } else {
      router.close();
    }
    EXPECT_TRUE(router.closed());
    EXPECT_EQ(sender.publish(message("a.b", "", "y")).error(), errc::closed);
    EXPECT_EQ(inbox.recv().event().source(), "source") << "what is there may still be read";
    EXPECT_TRUE(inbox.recv().closed());
    EXPECT_TRUE(inbox.recv_batch(5).closed());
    EXPECT_TRUE(inbox.drain(100).closed());
  }
}

TEST(Router, may_go_before_its_senders_and_receivers) {
  RouteSender sender;
  RouteReceiver inbox;
  EXPECT_EQ(sender.publish(message("a.b", "", "x")).error(), errc::closed);
  EXPECT_TRUE(inbox.recv().closed());
  {
    Bus hub;
    Router router(hub);
    sender = router.sender();
    inbox = router.subscribe({.owner = "o", .patterns = {"a.>"}});
    ASSERT_TRUE(sender.publish(message("a.b", "", "x")));
  }
  EXPECT_EQ(sender.publish(message("a.b", "", "y")).error(), errc::closed);
  EXPECT_EQ(inbox.try_recv()->payload.text(), "x");
  EXPECT_TRUE(inbox.try_recv().closed());
}

// --- Policies. ---

TEST(RoutePolicy, reject_new_keeps_what_is_there) {
  Bus hub;
  Router router(hub);
  auto inbox = router.subscribe({.owner = "o",
                                 .patterns = {"a.>"},
                                 .budget_bytes = 2 * (route_entry_bytes + 4),
                                 .overflow = Overflow::reject_new});
  for (const char* text : {"1", "2", "3"}) ASSERT_TRUE(router.publish(message("a.b", "", text)));
  EXPECT_EQ(inbox.try_recv()->payload.text(), "1");
  EXPECT_EQ(inbox.stats().lost_for(Loss::over_budget), 1U);
}

TEST(RoutePolicy, credits_and_messages_of_a_principal_are_limits_too) {
  Bus hub;
  Router router(hub);
  auto credited = router.subscribe({.owner = "o", .patterns = {"a.>"}, .credits = 2});
  auto capped = router.subscribe({.owner = "p", .patterns = {"a.>"}, .principal_messages = 2});
  for (const char* text : {"1", "2", "3"}) ASSERT_TRUE(router.publish(message("a.b", "agent.x", text)));
  ASSERT_TRUE(router.publish(message("a.b", "agent.y", "4")));
  EXPECT_EQ(credited.stats().pending, 2U);
  EXPECT_EQ(capped.stats().pending, 3U);
  EXPECT_EQ(capped.try_recv()->payload.text(), "2");
}

TEST(RoutePolicy, coalescing_keeps_the_latest_of_each_key_at_the_tail) {
  Bus hub;
  Router router(hub);
  auto inbox = router.subscribe({.owner = "o", .patterns = {"a.>"}, .overflow = Overflow::coalesce});
  const auto publish = [&](const char* key, const char* text) {
    ASSERT_TRUE(router.publish(message("a.b", "agent.x", text), {.key = key}));
  };
  publish("k", "k1");
  publish("l", "l1");
  publish("k", "k2");
  ASSERT_TRUE(router.publish(message("a.b", "agent.y", "other principal"), {.key = "k"}));
  EXPECT_EQ(inbox.stats().lost_for(Loss::coalesced), 1U);
  std::vector<std::string> texts;
  while (const auto got = inbox.try_recv()) texts.emplace_back(got->payload.text());
  EXPECT_EQ(texts, (std::vector<std::string>{"l1", "k2", "other principal"}));
}

TEST(RoutePolicy, detach_ends_a_route_that_has_had_no_room_for_too_long) {
  bus_test::ManualClock clock;
  Bus hub{{.clock = &clock}};
  Router router(hub);
  auto inbox = router.subscribe({.owner = "o",
                                 .patterns = {"a.>"},
                                 .budget_bytes = route_entry_bytes + 4,
                                 .overflow = Overflow::detach,
                                 .detach_after = std::chrono::seconds(1)});
  const auto publish = [&] { return router.publish(message("a.b", "", "x"))->taken; };
  EXPECT_EQ(publish() + publish(), 2U);  // without room from now on
  clock.advance(std::chrono::milliseconds(900));
  EXPECT_EQ(publish(), 1U);
  EXPECT_TRUE(inbox.try_recv());
  EXPECT_EQ(publish(), 1U);  // there was room
  clock.advance(std::chrono::milliseconds(900));
  EXPECT_EQ(publish(), 1U);
  EXPECT_FALSE(inbox.detached());
  clock.advance(std::chrono::seconds(1));
  (void)publish();
  EXPECT_TRUE(inbox.detached());
  EXPECT_EQ(publish(), 0U);
  EXPECT_TRUE(inbox.try_recv());
  EXPECT_TRUE(inbox.try_recv().closed());
}

TEST(RoutePolicy, detach_counts_on_while_messages_are_refused_for_other_reasons) {
  bus_test::ManualClock clock;
  Bus hub{{.clock = &clock}};
  Router router(hub);
  auto inbox = router.subscribe({.owner = "o",
                                 .patterns = {"a.>"},
                                 .budget_bytes = route_entry_bytes + 4,
                                 .overflow = Overflow::detach,
                                 .detach_after = std::chrono::seconds(1)});
  for (int i = 0; i < 12; ++i) {
    ASSERT_TRUE(router.publish(message("a.b", "", "x")));
    ASSERT_TRUE(router.publish(message("a.b", "", "too large")));
    clock.advance(std::chrono::milliseconds(100));
  }
  EXPECT_TRUE(inbox.detached());
}

TEST(RoutePolicy, detach_is_not_put_off_by_small_messages_that_fit_where_a_large_one_has_gone) {
  bus_test::ManualClock clock;
  Bus hub{{.clock = &clock}};
  Router router(hub);
  auto inbox = router.subscribe({.owner = "o",
                                 .patterns = {"a.>"},
                                 .budget_bytes = 4 * route_entry_bytes,
                                 .overflow = Overflow::detach,
                                 .detach_after = std::chrono::seconds(1)});
  for (int i = 0; i < 40; ++i) {
    (void)router.publish(message("a.b", "", std::string(i % 5 == 0 ? 2 * route_entry_bytes : 1, 'x')));
    clock.advance(std::chrono::milliseconds(50));
  }
  EXPECT_TRUE(inbox.detached());
}

TEST(RoutePolicy, a_key_has_at_most_255_bytes) {
  Bus hub;
  Router router(hub);
  const std::string key(256, 'k');
  EXPECT_EQ(router.publish(message("a.b", "", "x"), {.key = key}).error(), errc::key_too_long);
  EXPECT_TRUE(router.publish(message("a.b", "", "x"), {.key = std::string_view(key).substr(1)}));
  EXPECT_EQ(hub.stats().published, 1U);
}

TEST(RoutePolicy, ticks_say_when_a_message_was_queued) {
  bus_test::ManualClock clock;
  Bus hub{{.clock = &clock}};
  Router router(hub);
  auto ticking = router.subscribe({.owner = "o", .patterns = {"a.>"}, .ticks = true});
  auto plain = router.subscribe({.owner = "p", .patterns = {"a.>"}});
  const auto queued = clock.steady();
  ASSERT_TRUE(router.publish(message("a.b", "", "x")));
  clock.advance(std::chrono::seconds(5));
  EXPECT_EQ(ticking.try_recv().queued(), queued);
  EXPECT_FALSE(plain.try_recv().queued());
}

TEST(RoutePolicy, a_limiter_refuses_for_its_route_or_for_all) {
  bus_test::ManualClock clock;
  Bus hub{{.clock = &clock}};
  const RateLimit limit{.bytes_per_second = 1000, .burst_bytes = 1000, .max_message_bytes = 1000};
  Router router(hub, {.rate_limiter = std::make_shared<RateLimiter>(limit, clock)});
  auto limited = router.subscribe(
      {.owner = "o", .patterns = {"a.>"}, .rate_limiter = std::make_shared<RateLimiter>(limit, clock)});
  const auto publish = [&](std::string_view who) { return router.publish(message("a.b", who, std::string(400, 'x'))); };
  EXPECT_EQ(publish("agent.x")->taken, 1U);
  const auto second = publish("agent.x");
  EXPECT_EQ(second->refused, 1U) << "the route charges bookkeeping, the router does not";
  EXPECT_EQ(second->refusals()[0].reason, Loss::rate_limited);
  EXPECT_EQ(publish("agent.x").error(), errc::rate_limited);
  EXPECT_EQ(publish("agent.y")->taken, 1U);
  EXPECT_EQ(hub.stats().published, 3U) << "what the router's limiter refuses is not published";
  EXPECT_EQ(router.stats().rate_limited, 1U);
  EXPECT_EQ(limited.stats().lost_for(Loss::rate_limited), 1U);
  clock.advance(std::chrono::seconds(1));
  EXPECT_EQ(publish("agent.x")->taken, 1U);
  bus_test::Reading reading;
  reading.drain(limited);
  EXPECT_EQ(reading.missed["agent.x"], 1U);
}

// --- Waiting for room with a thread. ---

TEST(RouteWait, a_publish_waits_for_room_until_its_deadline) {
  Bus hub;
  Router router(hub);
  auto inbox = router.subscribe(
      {.owner = "o", .patterns = {"a.>"}, .budget_bytes = route_entry_bytes + 4, .overflow = Overflow::wait});
  auto other = router.subscribe({.owner = "p", .patterns = {"a.>"}});
  ASSERT_TRUE(router.publish(message("a.b", "", "1")));
  const auto late = router.publish_until(message("a.b", "", "2"), bus_test::in_the_past);
  EXPECT_EQ(late->taken, 1U) << "the other route has room";
  EXPECT_EQ(late->refused, 1U);
  std::jthread publisher([&] {
    const auto outcome = router.publish_until(message("a.b", "", "3"), bus_test::never);
    EXPECT_EQ(outcome->taken, 2U);
  });
  while (inbox.stats().waiting_publishers == 0) std::this_thread::yield();
  EXPECT_EQ(inbox.recv()->payload.text(), "1");
  EXPECT_EQ(inbox.recv()->payload.text(), "3");
  publisher.join();
  EXPECT_EQ(inbox.stats().waiting_publishers, 0U);
  EXPECT_EQ(other.stats().pending, 3U);
}

TEST(RouteWait, what_can_never_fit_is_told_so_though_somebody_waits) {
  Bus hub;
  Router router(hub);
  auto inbox = router.subscribe(
      {.owner = "o", .patterns = {"a.>"}, .budget_bytes = route_entry_bytes + 4, .overflow = Overflow::wait});
  ASSERT_TRUE(router.publish(message("a.b", "", "1")));
  std::jthread publisher([&] { (void)router.publish_until(message("a.b", "", "2"), bus_test::never); });
  while (inbox.stats().waiting_publishers == 0) std::this_thread::yield();
  EXPECT_EQ(router.publish(message("a.b", "", "too large"))->refusals()[0].reason, Loss::too_large);
  EXPECT_EQ(router.publish(message("a.b", "", "3"))->refusals()[0].reason, Loss::over_budget);
  inbox = {};
}

TEST(RouteWait, ends_with_the_route_and_with_the_router) {
  for (const bool the_router : {false, true}) {
    Bus hub;
    Router router(hub);
    auto inbox = router.subscribe(
        {.owner = "o", .patterns = {"a.>"}, .budget_bytes = route_entry_bytes + 4, .overflow = Overflow::wait});
    ASSERT_TRUE(router.publish(message("a.b", "", "1")));
    std::jthread publisher([&] {
      const auto outcome = router.publish_until(message("a.b", "", "2"), bus_test::never);
      if (the_router) {
        EXPECT_EQ(outcome.error(), errc::closed);
      } else {
        EXPECT_TRUE(outcome->nobody_interested());
      }
    });
    while (inbox.stats().waiting_publishers == 0) std::this_thread::yield();
    if (the_router) {
      hub.close();
    } else {
      inbox = {};
    }
  }
}

TEST(RouteReceive, waits_until_a_deadline_or_a_stop) {
  Bus hub;
  Router router(hub);
  auto inbox = router.subscribe({.owner = "o", .patterns = {"a.>"}});
  EXPECT_EQ(inbox.try_recv().outcome(), Outcome::empty);
  EXPECT_EQ(inbox.recv_until(bus_test::in_the_past).outcome(), Outcome::timed_out);
  EXPECT_EQ(inbox.recv_until(std::chrono::steady_clock::now() + std::chrono::milliseconds(5)).outcome(),
            Outcome::timed_out);
  std::stop_source stop;
  std::jthread stops([&] { stop.request_stop(); });
  EXPECT_EQ(inbox.recv(stop.get_token()).outcome(), Outcome::stopped);
  ASSERT_TRUE(router.publish(message("a.b", "", "x")));
  EXPECT_TRUE(inbox.recv_until(bus_test::in_the_past, stop.get_token())) << "a message that is there wins";
}

TEST(RouteReceive, in_batches_takes_what_is_there) {
  Bus hub;
  Router router(hub);
  auto inbox = router.subscribe({.owner = "o", .patterns = {"a.>"}});
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(router.publish(message("a.b", "", "x")));
  EXPECT_EQ(inbox.try_recv_batch(3).size(), 3U);
  EXPECT_EQ(inbox.drain(2 * (route_entry_bytes + 4)).size(), 2U);
  EXPECT_EQ(inbox.drain(0).size(), 1U) << "at least one";
  EXPECT_EQ(inbox.recv_batch(100).size(), 4U);
  EXPECT_EQ(inbox.try_recv_batch(1).outcome(), Outcome::empty);
}

TEST(RouteReceive, of_a_batch_of_none_takes_one) {
  Bus hub;
  Router router(hub);
  auto inbox = router.subscribe({.owner = "o", .patterns = {"a.>"}});
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(router.publish(message("a.b", "", "x")));
  EXPECT_EQ(inbox.recv_batch(0).size(), 1U);
  EXPECT_EQ(inbox.try_recv_batch(0).size(), 1U);
  EXPECT_EQ(inbox.try_recv_batch(0).outcome(), Outcome::empty);
}

/// Stops whoever reads it, once.
class StoppingClock final : public Clock {
 public:
  std::chrono::system_clock::time_point wall() const noexcept override { return Clock::system().wall(); }
  std::chrono::steady_clock::time_point steady() const noexcept override {
    if (armed.exchange(false)) {
      entered.count_down();
      go_on.wait();
    }
    return Clock::system().steady();
  }
  mutable std::atomic<bool> armed{false};
  mutable std::latch entered{1};
  mutable std::latch go_on{1};
};

/// A message waits while one of its principal's that was published before is on its way into routes; not longer.
TEST(RouteReceive, waits_for_a_publish_but_not_for_its_observers) {
  StoppingClock clock;
  Bus hub;
  Router router(hub);
  const auto limiter = std::make_shared<RateLimiter>(RateLimit{}, clock);
  auto stops = router.subscribe({.owner = "o", .patterns = {"stops"}, .rate_limiter = limiter});
  auto inbox = router.subscribe({.owner = "o", .patterns = {"a.>"}});
  std::binary_semaphore received{0};
  std::atomic<bool> in_time{false};
  auto observer = hub.observe("slow", [&](const Event& event) {
    if (event.sequence() != 1) return;
    in_time = received.try_acquire_for(std::chrono::seconds(10));
  });
  clock.armed = true;
  std::jthread first([&] { (void)router.publish(message("stops", "agent.x", "1")); });
  clock.entered.wait();
  ASSERT_TRUE(router.publish(message("a.b", "agent.x", "2")));
  EXPECT_EQ(inbox.try_recv().outcome(), Outcome::empty);
  std::jthread reader([&] {
    EXPECT_EQ(inbox.recv()->payload.text(), "2");
    received.release();
  });
  clock.go_on.count_down();
  first.join();
  EXPECT_TRUE(in_time);
}

// --- Interest. ---

TEST(RouteInterest, is_told_when_the_first_route_comes_and_the_last_one_goes) {
  Bus hub;
  Router router(hub);
  std::vector<bool> told;
  auto watch = router.watch_interest("a.b", [&](bool interested) { told.push_back(interested); });
  EXPECT_TRUE(told.empty());
  auto one = router.subscribe({.owner = "o", .patterns = {"a.*"}});
  auto two = router.subscribe({.owner = "o", .patterns = {"a.>"}});
  auto elsewhere = router.subscribe({.owner = "o", .patterns = {"b"}});
  EXPECT_EQ(router.route_count("a.b"), 2U);
  one = {};
  EXPECT_TRUE(router.has_interest("a.b"));
  two = {};
  EXPECT_FALSE(router.has_interest("a.b"));
  EXPECT_EQ(told, (std::vector{true, false}));
  one = router.subscribe({.owner = "o", .patterns = {"a.b"}});
  std::vector<bool> later;
  auto second = router.watch_interest("a.b", [&](bool interested) { later.push_back(interested); });
  EXPECT_EQ(later, (std::vector{true}));
  watch.reset();
  one = {};
  EXPECT_EQ(told, (std::vector{true, false, true}));
  EXPECT_EQ(later, (std::vector{true, false}));
  EXPECT_EQ(refusal([&] { (void)router.watch_interest("a.b", {}); }), "a watch of \"a.b\" has an empty function");
}

TEST(RouteInterest, may_end_a_watch_in_its_own_call_and_what_the_watch_holds_with_it) {
  Bus hub;
  Router router(hub);
  auto elsewhere = std::make_shared<RouteReceiver>(router.subscribe({.owner = "o", .patterns = {"b"}}));
  int told = 0;
  InterestWatch watch;
  watch = router.watch_interest("a.b", [&told, &watch, held = std::move(elsewhere)](bool) {
    ++told;
    watch.reset();
  });
  auto one = router.subscribe({.owner = "o", .patterns = {"a.*"}});
  EXPECT_EQ(told, 1);
  EXPECT_EQ(router.stats().routes, 1U) << "the other went with the watch";
}

// --- From within. ---

TEST(Router, may_be_published_on_from_an_observer_and_from_what_a_message_owned) {
  bool over = false;
  int released = 0;
  Bus hub{{.capacity = 4}};  // what a message owned is released when its node is filled again
  Router router(hub);
  auto inbox = router.subscribe({.owner = "o", .patterns = {"a.>"}, .budget_bytes = 2 * (route_entry_bytes + 4)});
  auto sender = router.sender();
  int nested = 0;
  auto observer = hub.observe("nests", [&](const Event& event) {
    if (event.sequence() % 2 == 1 && nested < 50) {
      ++nested;
      EXPECT_TRUE(sender.publish(message("a.c", "", "o")));
    }
  });
  for (int i = 0; i < 300; ++i) {
    const auto owned = Payload::wrap({}, [&] {
      if (!over) released += sender.publish(message("a.d", "", "d")) ? 1 : 0;
    });
    ASSERT_TRUE(sender.publish({"a.b", {}, owned}));
  }
  observer.reset();
  bus_test::Reading reading;
  reading.drain(inbox);
  EXPECT_EQ(reading.out_of_order, 0U);
  EXPECT_EQ(reading.accounted(inbox), inbox.stats().offered);
  EXPECT_GT(nested, 0);
  EXPECT_GT(released, 0);
  over = true;  // what is left is released with the bus, after the sender
  inbox = {};
}

}  // namespace
}  // namespace bus
