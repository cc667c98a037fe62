// SPDX-License-Identifier: MIT OR Apache-2.0
#include "persistence/make_room.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <vector>

namespace bus::detail {
namespace {

TEST(MakeRoom, for_one_after_the_other_moves_them_seldom) {
  std::vector<int> numbers;
  int moves = 0;
  for (int i = 0; i < 100'000; ++i) {
    const std::size_t before = numbers.capacity();
    make_room(numbers, 1);
    if (numbers.capacity() != before) ++moves;
    const int* const place = numbers.data();
    numbers.push_back(i);
    ASSERT_EQ(numbers.data(), place);
  }
  EXPECT_LE(moves, 18);
}

TEST(MakeRoom, for_many_makes_it_for_all) {
  std::vector<int> numbers(3);
  make_room(numbers, 1000);
  EXPECT_GE(numbers.capacity(), 1003U);
}

}  // namespace
}  // namespace bus::detail
