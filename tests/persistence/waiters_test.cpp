// SPDX-License-Identifier: MIT OR Apache-2.0
#include "persistence/waiters.hpp"

#include "persistence/thread_bed.hpp"

#include <gtest/gtest.h>

#include <chrono>

namespace bus::detail {
namespace {

TEST(Waiters, look_at_what_they_wait_for_once) {
  WaitersOn<ThreadBed> waiters;
  int looks = 0;
  EXPECT_TRUE(waiters.wait(0, nullptr, [&] { return ++looks == 1; })) << "it was so, if only for a moment";
  EXPECT_EQ(looks, 1);
}

TEST(Waiters, do_not_wait_past_their_deadline) {
  WaitersOn<ThreadBed> waiters;
  const auto past = std::chrono::steady_clock::now();
  EXPECT_FALSE(waiters.wait(0, &past, [] { return false; }));
  EXPECT_TRUE(waiters.wait(0, &past, [] { return true; })) << "what has happened counts";
}

}  // namespace
}  // namespace bus::detail
