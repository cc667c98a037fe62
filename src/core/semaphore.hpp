// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <semaphore.h>

#include <cerrno>
#include <chrono>
#include <ctime>

// Thread sanitizers know the semaphore of the C library, but not its wait by the steady clock: tell them what a post
// and the wait that takes it order.
#if defined(__SANITIZE_THREAD__)
#define BUS_TELL_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define BUS_TELL_TSAN 1
#endif
#endif
#ifdef BUS_TELL_TSAN
#include <sanitizer/tsan_interface.h>
#endif

namespace bus::detail {

/// What a receiver sleeps on: the semaphore of the C library, timed by the steady clock.
/// Threads: any. Memory it was posted in may be posted to again, spuriously: waiters look for themselves.
class Semaphore {
 public:
  Semaphore() noexcept { sem_init(&semaphore_, 0, 0); }
  ~Semaphore() { sem_destroy(&semaphore_); }
  Semaphore(const Semaphore&) = delete;
  Semaphore& operator=(const Semaphore&) = delete;

  /// Cost: a system call if somebody waits.
  void post() noexcept {
#ifdef BUS_TELL_TSAN
    __tsan_release(&semaphore_);
#endif
    sem_post(&semaphore_);
  }

  void wait() noexcept {
    while (sem_wait(&semaphore_) != 0 && errno == EINTR) {
    }
  }

  /// Returns: whether it took a post; else the deadline has passed.
  bool wait_until(std::chrono::steady_clock::time_point deadline) noexcept {
    using namespace std::chrono;
    const auto since_epoch = deadline.time_since_epoch();
    if (since_epoch.count() < 0) return sem_trywait(&semaphore_) == 0;
    const auto whole = duration_cast<seconds>(since_epoch);
    const timespec until{static_cast<std::time_t>(whole.count()),
                         static_cast<long>(duration_cast<nanoseconds>(since_epoch - whole).count())};
    while (sem_clockwait(&semaphore_, CLOCK_MONOTONIC, &until) != 0) {
      if (errno != EINTR) return false;
    }
#ifdef BUS_TELL_TSAN
    __tsan_acquire(&semaphore_);
#endif
    return true;
  }

 private:
  sem_t semaphore_;
};

}  // namespace bus::detail
