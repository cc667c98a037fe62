// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

namespace bus::detail {

/// What waiters sleep on: whoever has looked under its lock, and sleeps, is woken by a `wake` that comes after the
/// look.
class ThreadBed {
 public:
  using Deadline = std::chrono::steady_clock::time_point;
  using Lock = std::unique_lock<std::mutex>;
  Lock lock() { return Lock(mutex_); }

  /// Returns: false if the deadline has passed. May wake without reason.
  bool sleep(Lock& lock, const Deadline* deadline) {
    if (deadline != nullptr) return changed_.wait_until(lock, *deadline) == std::cv_status::no_timeout;
    changed_.wait(lock);
    return true;
  }

  void wake() noexcept {
    {
      const std::lock_guard lock(mutex_);
    }
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
};

}  // namespace bus::detail
