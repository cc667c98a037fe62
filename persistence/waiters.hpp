// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <bus/detail/sync.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace bus::detail {

/// The memory orders of waiting. Each mutant of the model weakens one.
struct WaitersTraits {
  /// CELL-ARM, a waiter says that it may sleep. In the total order in front of its last look at what it waits for.
  static constexpr auto arm = sync::seq_cst;
  /// CELL-CHECK, the look for waiters. In the total order behind the change that they wait for: either it sees the
  /// waiter, or the waiter's last look sees the change.
  static constexpr auto check = sync::seq_cst;

  static constexpr std::size_t cells = 16;
};

/// Those who wait for a number to rise, so that a rise wakes many with few system calls: numbers that are near each
/// other share a place to sleep.
/// Threads: any; one raises. What they look at changes by sequentially consistent stores, and is looked at by
/// sequentially consistent loads: else a waiter can sleep on, though what it waits for has happened.
/// `Bed` is what they sleep on: see `ThreadBed`.
template <class Bed, class Traits = WaitersTraits>
class WaitersOn {
 public:
  /// Returns: false if the deadline passed before `done()`.
  template <class Done>
  bool wait(std::uint64_t number, const typename Bed::Deadline* deadline, Done&& done) {
    Cell& cell = cells_[number / numbers_in_cell % cells_.size()];
    cell.sleepers.fetch_add(1, Traits::arm);  // sync CELL-ARM
    auto lock = cell.bed.lock();
    bool in_time = true;
    bool is_done = done();  // and not looked at again: it may be so for a moment only
    while (!is_done && in_time) {
      in_time = cell.bed.sleep(lock, deadline);
      is_done = done();
    }
    lock.unlock();
    cell.sleepers.fetch_sub(1, sync::relaxed);
    return is_done;
  }

  /// Wakes those who wait for numbers in `[from, to)`, after what they look at has changed.
  void wake(std::uint64_t from, std::uint64_t to) noexcept {
    if (from >= to) return;
    const std::uint64_t first = from / numbers_in_cell;
    const std::uint64_t last = std::min<std::uint64_t>((to - 1) / numbers_in_cell, first + cells_.size() - 1);
    for (std::uint64_t i = first; i <= last; ++i) wake(cells_[i % cells_.size()]);
  }
  void wake_all() noexcept {
    for (Cell& cell : cells_) wake(cell);
  }

 private:
  static constexpr std::uint64_t numbers_in_cell = 64;
  struct alignas(64) Cell {
    sync::atomic<std::uint32_t> sleepers{0};
    Bed bed;
  };
  static void wake(Cell& cell) noexcept {
    if (cell.sleepers.load(Traits::check) != 0) cell.bed.wake();  // sync CELL-CHECK
  }

  std::array<Cell, Traits::cells> cells_;
};

}  // namespace bus::detail
