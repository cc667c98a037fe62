// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Times as numbers of nanoseconds, and sums of them that end at the border.
#pragma once

#include <bus/options.hpp>

#include <chrono>
#include <cstdint>
#include <limits>

namespace bus::detail {

template <class Time>
std::int64_t in_ns(Time time) noexcept {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
}

inline std::int64_t wall_ns(const Clock& clock) noexcept { return in_ns(clock.wall()); }

inline std::int64_t plus(std::int64_t a, std::int64_t b) noexcept {
  std::int64_t sum = 0;
  if (!__builtin_add_overflow(a, b, &sum)) return sum;
  return b > 0 ? std::numeric_limits<std::int64_t>::max() : std::numeric_limits<std::int64_t>::min();
}

inline std::int64_t less(std::int64_t a, std::int64_t b) noexcept {
  std::int64_t difference = 0;
  if (!__builtin_sub_overflow(a, b, &difference)) return difference;
  return b < 0 ? std::numeric_limits<std::int64_t>::max() : std::numeric_limits<std::int64_t>::min();
}

}  // namespace bus::detail
