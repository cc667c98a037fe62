// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <bus/stats.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace bus::detail {

/// A histogram that grows. Threads: one adds at a time, any read.
template <const auto& Bounds>
class HistogramCount {
 public:
  void add(std::uint64_t value) noexcept {
    const auto bound = std::ranges::lower_bound(Bounds, value);
    counts_[static_cast<std::size_t>(bound - Bounds.begin())].fetch_add(1, std::memory_order_relaxed);
    sum_.fetch_add(value, std::memory_order_relaxed);
  }
  Histogram<Bounds> read() const noexcept {
    Histogram<Bounds> histogram;
    for (std::size_t i = 0; i < counts_.size(); ++i) histogram.counts[i] = counts_[i].load(std::memory_order_relaxed);
    histogram.sum = sum_.load(std::memory_order_relaxed);
    return histogram;
  }

 private:
  std::array<std::atomic<std::uint64_t>, Bounds.size() + 1> counts_{};
  std::atomic<std::uint64_t> sum_{0};
};

}  // namespace bus::detail
