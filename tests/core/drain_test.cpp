// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Draining: close, wait for the receivers, and say what each of them had.
#include "core/bus_fixture.hpp"

#include <bus/bus.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <latch>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace {

using bus_test::drain_now;
using bus_test::in_the_past;
using bus_test::never;
using bus_test::publish;

void expect_balanced(const bus::DrainReport& report) {
  bool complete = true;
  for (const auto& one : report.receivers) {
    EXPECT_EQ(one.delivered + one.filtered + one.missed + one.undelivered, one.published) << one.name;
    complete = complete && one.undelivered == 0;
  }
  EXPECT_EQ(report.complete, complete);
}

const bus::DrainReport::Receiver& find(const bus::DrainReport& report, std::string_view name) {
  static const bus::DrainReport::Receiver none{.name = "not in the report"};
  const auto found = std::ranges::find(report.receivers, name, &bus::DrainReport::Receiver::name);
  EXPECT_NE(found, report.receivers.end()) << name;
  return found == report.receivers.end() ? none : *found;
}

TEST(Drain, with_no_receivers_is_complete_at_once) {
  bus::Bus hub;
  publish(hub, 3);
  const auto report = hub.drain(never);
  EXPECT_TRUE(report.complete);
  EXPECT_EQ(report.published, 3U);
  EXPECT_TRUE(report.receivers.empty());
}

TEST(Drain, closes_the_bus) {
  bus::Bus hub;
  auto rx = hub.subscribe();
  EXPECT_TRUE(hub.drain(in_the_past).complete);
  EXPECT_TRUE(hub.closed());
  EXPECT_EQ(hub.send(bus::Shutdown{}).error(), bus::errc::closed);
  EXPECT_TRUE(rx.recv().closed());
}

TEST(Drain, with_a_deadline_in_the_past_says_what_each_receiver_has_not_got) {
  bus::Bus hub{{.capacity = 4}};
  auto all = hub.subscribe("all");
  auto some = hub.subscribe("some");
  auto none = hub.subscribe("none");
  auto filtered = hub.subscribe({.name = "filtered", .bodies = {bus::BodyKind::shutdown}});
  publish(hub, 2);
  EXPECT_TRUE(some.try_recv());
  EXPECT_EQ(filtered.try_recv().outcome(), bus::Outcome::empty);
  publish(hub, 8);
  EXPECT_EQ(drain_now(all).size(), 4U);
  EXPECT_EQ(drain_now(filtered).size(), 0U);

  const auto report = hub.drain(in_the_past);
  expect_balanced(report);
  EXPECT_FALSE(report.complete);
  EXPECT_EQ(report.published, 10U);
  EXPECT_EQ(report.receivers.size(), 4U);
  EXPECT_EQ(find(report, "all").delivered, 4U);
  EXPECT_EQ(find(report, "all").missed, 6U);
  EXPECT_EQ(find(report, "all").undelivered, 0U);
  EXPECT_EQ(find(report, "some").delivered, 1U);
  EXPECT_EQ(find(report, "some").missed, 5U);
  EXPECT_EQ(find(report, "some").undelivered, 4U);
  EXPECT_EQ(find(report, "none").delivered, 0U);
  EXPECT_EQ(find(report, "none").missed, 6U);
  EXPECT_EQ(find(report, "none").undelivered, 4U);
  EXPECT_EQ(find(report, "filtered").filtered, 6U);
  EXPECT_EQ(find(report, "filtered").missed, 4U);
}

TEST(Drain, is_complete_when_everything_had_been_read_before) {
  bus::Bus hub;
  auto rx = hub.subscribe("reader");
  publish(hub, 5);
  drain_now(rx);
  const auto report = hub.drain(in_the_past);
  expect_balanced(report);
  EXPECT_TRUE(report.complete);
  EXPECT_EQ(find(report, "reader").delivered, 5U);
}

TEST(Drain, twice_reports_what_was_read_in_between) {
  bus::Bus hub;
  auto rx = hub.subscribe("reader");
  publish(hub, 5);
  EXPECT_EQ(find(hub.drain(in_the_past), "reader").undelivered, 5U);
  EXPECT_TRUE(rx.try_recv());
  EXPECT_EQ(find(hub.drain(in_the_past), "reader").undelivered, 4U);
  drain_now(rx);
  const auto report = hub.drain(never);
  EXPECT_TRUE(report.complete);
  EXPECT_EQ(find(report, "reader").delivered, 5U);
}

TEST(Drain, after_close_is_still_a_drain) {
  bus::Bus hub;
  auto rx = hub.subscribe("reader");
  publish(hub, 2);
  hub.close();
  const auto report = hub.drain(in_the_past);
  EXPECT_FALSE(report.complete);
  EXPECT_EQ(find(report, "reader").undelivered, 2U);
}

TEST(Drain, waits_for_receivers_that_finish_in_other_threads) {
  for (const auto waiting : {bus::Waiting::park, bus::Waiting::yield}) {
    bus::Bus hub{{.capacity = 100}};
    std::vector<std::thread> readers;
    std::array<std::uint64_t, 3> got{};
    std::latch draining(1);
    for (std::size_t i = 0; i < got.size(); ++i) {
      readers.emplace_back([&, i, rx = hub.subscribe({.name = std::to_string(i), .waiting = waiting})]() mutable {
        draining.wait();
        while (rx.recv()) ++got[i];
      });
    }
    publish(hub, 150);
    std::thread release([&] {
      while (!hub.closed()) std::this_thread::yield();
      draining.count_down();
    });
    const auto report = hub.drain(never);
    for (auto& reader : readers) reader.join();
    release.join();
    expect_balanced(report);
    EXPECT_TRUE(report.complete);
    EXPECT_EQ(report.receivers.size(), got.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(got[i], 100U);
      EXPECT_EQ(find(report, std::to_string(i)).delivered, 100U);
      EXPECT_EQ(find(report, std::to_string(i)).missed, 50U);
    }
  }
}

TEST(Drain, does_not_need_a_receiver_to_look_again_after_its_last_event) {
  // It has read everything, and keeps the last event in hand without ever seeing `closed`.
  bus::Bus hub;
  auto rx = hub.subscribe("reader");
  publish(hub, 3);
  std::latch drained(1);
  std::thread reader([&] {
    while (!hub.closed()) std::this_thread::yield();
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(rx.try_recv());
    drained.wait();
  });
  EXPECT_TRUE(hub.drain(never).complete);
  drained.count_down();
  reader.join();
}

TEST(Drain, a_receiver_destroyed_while_drain_waits_is_reported_with_what_it_had_not_got) {
  bus::Bus hub;
  publish(hub, 1);
  auto stays = hub.subscribe("stays");
  auto leaves = hub.subscribe({.name = "leaves", .start = bus::Start::oldest});
  publish(hub, 4);
  EXPECT_TRUE(leaves.try_recv());
  EXPECT_EQ(drain_now(stays).size(), 4U);
  std::thread other([&] {
    while (!hub.closed()) std::this_thread::yield();  // the drain has begun
    leaves = {};
  });
  const auto report = hub.drain(never);
  other.join();
  expect_balanced(report);
  EXPECT_FALSE(report.complete);
  EXPECT_EQ(report.receivers.size(), 2U);
  EXPECT_EQ(find(report, "stays").undelivered, 0U);
  EXPECT_EQ(find(report, "leaves").delivered, 1U);
  EXPECT_EQ(find(report, "leaves").undelivered, 4U);
}

TEST(Drain, receivers_that_come_after_closing_are_not_waited_for) {
  bus::Bus hub;
  publish(hub, 3);
  hub.close();
  auto late = hub.subscribe({.name = "late", .start = bus::Start::oldest});
  const auto before = hub.drain(in_the_past);
  EXPECT_EQ(find(before, "late").undelivered, 3U) << "it was there when the drain began";
  drain_now(late);
  EXPECT_TRUE(hub.drain(never).complete);
}

TEST(Drain, several_at_once_all_end) {
  bus::Bus hub;
  auto rx = hub.subscribe("reader");
  publish(hub, 100);
  std::vector<std::thread> drains;
  for (int i = 0; i < 3; ++i) {
    drains.emplace_back([&] {
      const auto report = hub.drain(never);
      expect_balanced(report);
      EXPECT_TRUE(report.complete);
    });
  }
  while (rx.recv()) {
  }
  for (auto& drain : drains) drain.join();
}

TEST(Drain, the_bus_may_be_destroyed_afterwards_while_receivers_live_on) {
  bus::Receiver rx;
  {
    bus::Bus hub;
    rx = hub.subscribe();
    publish(hub, 2);
    EXPECT_FALSE(hub.drain(in_the_past).complete);
  }
  EXPECT_EQ(drain_now(rx).size(), 2U);
  EXPECT_TRUE(rx.recv().closed());
}

}  // namespace
