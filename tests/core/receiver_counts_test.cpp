// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What a look at the counts sees that comes in the middle of a receive, or has one in its middle.
#include "core/seams.hpp"

#include <bus/bus.hpp>

#include <gtest/gtest.h>

#include <cstdint>
#include <string_view>
#include <utility>

namespace {

using bus::Bus;
using bus::BusStats;
using bus::ConfigUpdated;
using bus::Receiver;

class ReceiverCounts : public testing::Test {
 protected:
  void TearDown() override { bus_test::at_seam = nullptr; }

  /// Calls `visit` when this thread comes to the seam, once.
  template <class Visit>
  void once_at(std::string_view seam, Visit visit) {
    bus_test::at_seam = [=, over = false](std::string_view name) mutable {
      if (name == seam && !std::exchange(over, true)) visit();
    };
  }

  void send(int events) {
    for (int i = 0; i < events; ++i) ASSERT_TRUE(hub.send(ConfigUpdated{}));
  }
  std::uint64_t missed() { return hub.stats().names.front().missed; }

  Bus hub{{.capacity = 8}};
  Receiver receiver = hub.subscribe("slow");
};

TEST_F(ReceiverCounts, of_what_was_missed_never_go_back) {
  send(200);
  const std::uint64_t before = missed();
  EXPECT_EQ(before, 200U - 8 - Receiver::max_batch);
  std::uint64_t meanwhile = 0;
  once_at("receive:before-missed", [&] { meanwhile = missed(); });
  EXPECT_EQ(receiver.try_recv().missed(), 192U);
  EXPECT_EQ(meanwhile, before) << "an event was counted, and not yet those in front of it";
  EXPECT_EQ(missed(), 192U);
}

TEST_F(ReceiverCounts, take_nothing_for_missed_that_is_received_while_they_are_read) {
  once_at("counts:after-end", [&] {
    for (int i = 0; i < 200; ++i) {
      send(1);
      EXPECT_TRUE(receiver.try_recv());
    }
  });
  const BusStats stats = hub.stats();
  EXPECT_EQ(stats.names.front().missed, 0U);
  EXPECT_EQ(stats.receivers.front().missed, 0U);
  EXPECT_EQ(stats.receivers.front().published, 200U);
}

}  // namespace
