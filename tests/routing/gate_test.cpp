// SPDX-License-Identifier: MIT OR Apache-2.0
#include <bus/routing/gate.hpp>
#include <bus/routing/router.hpp>

#include <gtest/gtest.h>

#include <barrier>
#include <memory>
#include <thread>
#include <vector>

namespace bus {
namespace {

TEST(Gate, is_staged_then_published_then_retired) {
  Gate gate;
  EXPECT_EQ(gate.state(), Gate::staged);
  EXPECT_FALSE(gate.open());
  EXPECT_TRUE(gate.publish());
  EXPECT_EQ(gate.state(), Gate::published);
  EXPECT_TRUE(gate.open());
  gate.retire();
  EXPECT_EQ(gate.state(), Gate::retired);
  EXPECT_FALSE(gate.open());
}

TEST(Gate, is_published_once) {
  Gate gate;
  ASSERT_TRUE(gate.publish());
  for (int i = 0; i < 2; ++i) EXPECT_EQ(gate.publish().error(), errc::gate_not_staged);
  EXPECT_TRUE(gate.open());
}

TEST(Gate, is_not_published_once_it_is_retired) {
  Gate staged;
  Gate published;
  ASSERT_TRUE(published.publish());
  for (Gate* const gate : {&staged, &published}) {
    for (int i = 0; i < 2; ++i) {
      gate->retire();
      EXPECT_EQ(gate->publish().error(), errc::gate_not_staged);
      EXPECT_EQ(gate->state(), Gate::retired);
    }
  }
}

TEST(Gate, of_two_that_publish_it_one_succeeds) {
  for (int round = 0; round < 200; ++round) {
    Gate gate;
    std::barrier start(2);
    bool other = false;
    std::thread thread([&] {
      start.arrive_and_wait();
      other = gate.publish().has_value();
    });
    start.arrive_and_wait();
    const bool mine = gate.publish().has_value();
    thread.join();
    ASSERT_NE(mine, other);
    ASSERT_TRUE(gate.open());
  }
}

TEST(Gate, shows_what_was_done_before_it_was_published) {
  for (int round = 0; round < 200; ++round) {
    Gate gate;
    int prepared = 0;  // not atomic: the gate orders it
    std::thread thread([&] {
      prepared = 1;
      EXPECT_TRUE(gate.publish());
    });
    while (!gate.open()) std::this_thread::yield();
    ASSERT_EQ(prepared, 1);
    thread.join();
  }
}

TEST(Gate, that_is_closed_admits_nothing_and_touches_no_budget) {
  Bus hub;
  Router router(hub);
  const auto gate = std::make_shared<Gate>();
  std::vector<RouteReceiver> inboxes;
  for (int i = 0; i < 2; ++i) {
    inboxes.push_back(router.subscribe({.owner = "capsule-7", .patterns = {"a.>"}, .gate = gate}));
  }
  const auto publish = [&] { return router.publish({"a.b", "agent.alice", Payload::copy("x")}).value(); };
  for (const bool opens : {false, true, false}) {
    if (opens) {
      ASSERT_TRUE(gate->publish());
    } else if (gate->open()) {
      gate->retire();
    }
    const PublishOutcome outcome = publish();
    EXPECT_EQ(outcome.taken, opens ? 2U : 0U);
    EXPECT_EQ(outcome.gated, opens ? 0U : 2U);
    EXPECT_EQ(outcome.refused, 0U);
    EXPECT_FALSE(outcome.nobody_interested());
  }
  for (RouteReceiver& inbox : inboxes) {
    const RouteStats stats = inbox.stats();
    EXPECT_EQ(stats.offered, 1U);
    EXPECT_EQ(stats.gated, 2U);
    EXPECT_EQ(stats.pending, 1U);
    EXPECT_EQ(stats.bytes, stats.bytes_peak);
    EXPECT_EQ(stats.lost_in_all(), 0U);
    const auto got = inbox.try_recv();
    ASSERT_TRUE(got);
    EXPECT_EQ(got.event().sequence(), 2U);
    EXPECT_EQ(got.missed(), 0U);
    EXPECT_FALSE(inbox.try_recv());
  }
}

}  // namespace
}  // namespace bus
