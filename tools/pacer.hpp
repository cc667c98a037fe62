// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>

namespace busbar {

/// Spaces steps evenly by deadlines, so that the time a step takes does not add up. Who falls behind by more than
/// 10 ms does not make up for it: the rate is a ceiling.
/// Threads: one at a time.
class Pacer {
 public:
  using Clock = std::chrono::steady_clock;

  explicit Pacer(double steps_per_second)
      : interval_(std::chrono::duration_cast<Clock::duration>(
            std::chrono::duration<double>(std::min(1 / steps_per_second, longest_seconds)))) {}

  /// When the next step may be taken.
  Clock::time_point due() const noexcept { return due_; }

  /// A step was taken.
  void step() noexcept { due_ = std::max(due_ + interval_, Clock::now() - std::chrono::milliseconds(10)); }

 private:
  static constexpr double longest_seconds = 1e9;  // of years; what matters is that it fits the clock
  Clock::duration interval_;
  Clock::time_point due_ = Clock::now();
};

}  // namespace busbar
