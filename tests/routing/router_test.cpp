// SPDX-License-Identifier: MIT OR Apache-2.0
#include <bus/routing/asio.hpp>
#include <bus/routing/router.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/io_context.hpp>

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace bus {
namespace {

Message message(Topic topic, std::string_view principal, std::string_view text) {
  return {std::move(topic), *Principal::parse(principal), Payload::copy(text)};
}

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

}  // namespace
}  // namespace bus
