// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <atomic>
#include <mutex>
#include <thread>

namespace bus::detail {

/// A mutex that somebody who takes it again and again can leave to others. A std::mutex that is let go and taken at
/// once stays with whoever does so: those who sleep for it wake too late, every time.
class QueueMutex {
 public:
  void lock() {
    if (mutex_.try_lock()) return;
    waiting_.fetch_add(1, std::memory_order_relaxed);
    mutex_.lock();
    waiting_.fetch_sub(1, std::memory_order_relaxed);
  }
  void unlock() { mutex_.unlock(); }

  /// For who does not hold it. Blocks: until nobody waits for it, or for some hundred microseconds.
  void let_others() const noexcept {
    for (int i = 0; i < 1000 && waiting_.load(std::memory_order_relaxed) != 0; ++i) std::this_thread::yield();
  }

 private:
  std::mutex mutex_;
  std::atomic<int> waiting_{0};
};

}  // namespace bus::detail
