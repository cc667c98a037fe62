// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <bus/detail/sync.hpp>

#include "core/registry.hpp"

#include <cstdint>

namespace bus::detail {

/// The memory orders of going to sleep and of waking. Each mutant of the model weakens one.
struct SleepersTraits {
  /// WAKE-ARM, a waiter makes itself known. In the total order before its last look at what it waits for (WAIT-CHECK).
  static constexpr auto arm = sync::seq_cst;
  /// WAKE-CHECK, a waker's look for waiters. In the total order after what it has to tell (RING-PUBLISH): either it
  /// sees the waiter, or the waiter's last look sees what was told.
  static constexpr auto check = sync::seq_cst;
};

/// Who sleeps, so that a publisher pays for waking only when somebody does.
///
/// A waiter arms, looks once more, and only then sleeps. A waker claims each armed waiter and wakes those it
/// has claimed: one waker for each sleeper, however many events a burst has. A claim that comes after the
/// waiter gave up does no harm: its wake is a spurious one for a later sleep.
///
/// Threads: all functions from any thread; for one record, `arm` and `disarm` from its owner's. Nobody waits.
template <class Record, unsigned RecordsPerBlock = 32, class Traits = SleepersTraits>
class Sleepers {
 public:
  using Records = Registry<Record, RecordsPerBlock>;

  explicit Sleepers(Records& records) : records_(records) {}

  /// From now on a waker will claim this record.
  void arm(Record& record) noexcept {
    armed_.fetch_add(1, Traits::arm);  // sync WAKE-ARM: counted before it is marked, so never marked and uncounted
    if (!records_.mark(record)) armed_.fetch_sub(1, Traits::arm);
  }

  /// Takes that back, whether or not a waker was faster.
  void disarm(Record& record) noexcept {
    if (records_.unmark(record)) armed_.fetch_sub(1, Traits::arm);
  }

  /// Calls `wake(record)` once for each record that was armed, after claiming it.
  template <class Wake>
  void wake_all(Wake&& wake) {
    if (armed_.load(Traits::check) == 0) return;  // sync WAKE-CHECK
    records_.unmark_each([&](Record& record) {
      armed_.fetch_sub(1, Traits::arm);
      wake(record);
    });
  }

 private:
  Records& records_;
  alignas(64) sync::atomic<std::uint32_t> armed_{0};
};

}  // namespace bus::detail
