// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <optional>

namespace bus::detail {

/// Memory that a log may take, and takes. Threads: any.
class MemoryBudget {
 public:
  explicit MemoryBudget(std::optional<std::size_t> most) noexcept : most_(most) {}
  bool take(std::size_t bytes) noexcept {
    std::size_t used = used_.load(std::memory_order_relaxed);
    do {
      if (most_ && (used > *most_ || *most_ - used < bytes)) return false;
    } while (!used_.compare_exchange_weak(used, used + bytes, std::memory_order_relaxed));
    return true;
  }
  void give(std::size_t bytes) noexcept { used_.fetch_sub(bytes, std::memory_order_relaxed); }

 private:
  const std::optional<std::size_t> most_;
  std::atomic<std::size_t> used_{0};
};

}  // namespace bus::detail
