// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Those who wait for a queue and have no thread that sleeps: asynchronous receives.
#pragma once

#include <bus/detail/async.hpp>

#include <boost/intrusive/list.hpp>

#include <atomic>
#include <cstddef>
#include <mutex>

namespace bus::detail {

/// One of them.
class QueueWait : public boost::intrusive::list_base_hook<> {
 public:
  /// Whether looking again is worth it. What it looks at changes by sequentially consistent stores, and is looked at by
  /// sequentially consistent loads. Called under a lock: must not call the queue.
  virtual bool is_over() const noexcept = 0;

 protected:
  ~QueueWait() = default;

 private:
  friend class QueueWaits;
  AsyncWait* wait_ = nullptr;
  bool armed_ = false;
  bool hurried_ = false;  // it is not to be armed any more
};

/// Those of one log.
///
/// No wake-up is missed. A wait is counted, and then looks at what it waits for; whoever changes that does so, and then
/// looks at the count. All four are in the one order of sequential consistency, so that at least one of them sees the
/// other: the change, and the wait is not armed; or the count, and then the wait is in the list as soon as the list's
/// lock is free.
///
/// Threads: any. Cost: where nobody waits, `wake` is one load.
class QueueWaits {
 public:
  /// Gives `wait` to the next `wake` that finds `one` to be over.
  /// Returns: false if it is by now, or was hurried; `wait` is still the caller's then. Otherwise neither may be
  /// touched any more, but by `withdraw`.
  bool arm(QueueWait& one, AsyncWait& wait) noexcept {
    const std::lock_guard lock(mutex_);
    if (one.hurried_) return false;
    count_.fetch_add(1, std::memory_order_seq_cst);  // sync QUEUE-ARM
    if (one.is_over()) {
      count_.fetch_sub(1, std::memory_order_relaxed);
      return false;
    }
    one.wait_ = &wait;
    one.armed_ = true;
    waits_.push_back(one);
    return true;
  }

  /// Takes a wait back; one that is not there is not armed either, until it is `renew`ed.
  /// Returns: whether it was there, and is now the caller's.
  bool withdraw(QueueWait& one) noexcept {
    const std::lock_guard lock(mutex_);
    one.hurried_ = true;
    if (!one.armed_) return false;
    take(one);
    return true;
  }

  /// It may be armed again. Its owner's, while it is not armed.
  static void renew(QueueWait& one) noexcept { one.hurried_ = false; }

  /// Resumes those that are over, after what they look at has changed.
  void wake() noexcept {
    if (count_.load(std::memory_order_seq_cst) == 0) return;  // sync QUEUE-ARM
    List over;
    {
      const std::lock_guard lock(mutex_);
      for (auto next = waits_.begin(); next != waits_.end();) {
        QueueWait& one = *next++;
        if (!one.is_over()) continue;
        take(one);
        over.push_back(one);
      }
    }
    while (!over.empty()) {
      AsyncWait& wait = *over.front().wait_;
      over.pop_front();
      wait.resume(AsyncWait::Reason::look_again);
    }
  }

 private:
  using List = boost::intrusive::list<QueueWait>;

  void take(QueueWait& one) noexcept {
    waits_.erase(waits_.iterator_to(one));
    one.armed_ = false;
    count_.fetch_sub(1, std::memory_order_relaxed);
  }

  std::mutex mutex_;
  List waits_;
  std::atomic<std::size_t> count_{0};
};

}  // namespace bus::detail
