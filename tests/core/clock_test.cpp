// SPDX-License-Identifier: MIT OR Apache-2.0
#include <bus/options.hpp>

#include <gtest/gtest.h>

#include <chrono>

namespace bus {
namespace {

using namespace std::chrono_literals;

TEST(Clock, of_the_system_tells_wall_and_steady_time) {
  const auto wall = std::chrono::system_clock::now();
  const auto steady = std::chrono::steady_clock::now();
  const auto told = Clock::system().steady();
  EXPECT_LE(steady, told);
  EXPECT_LE(told, std::chrono::steady_clock::now());
  EXPECT_LT(std::chrono::abs(Clock::system().wall() - wall), 1h);
}

TEST(Clock, of_the_system_tells_coarse_time_in_the_same_unit) {
  EXPECT_LT(std::chrono::abs(Clock::system().coarse_wall() - std::chrono::system_clock::now()), 1h);
}

TEST(Clock, is_as_coarse_as_its_wall_unless_it_says_otherwise) {
  class Fixed final : public Clock {
    std::chrono::system_clock::time_point wall() const noexcept override {
      return std::chrono::system_clock::time_point(42s);
    }
    std::chrono::steady_clock::time_point steady() const noexcept override { return {}; }
  };
  const Fixed fixed;
  EXPECT_EQ(static_cast<const Clock&>(fixed).coarse_wall(), std::chrono::system_clock::time_point(42s));
}

}  // namespace
}  // namespace bus
