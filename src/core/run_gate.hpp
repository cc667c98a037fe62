// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <bus/detail/sync.hpp>

#include <cstdint>

namespace bus::detail {

/// The memory orders of a gate. Each mutant of the model weakens one.
struct RunGateTraits {
  /// GATE-OPEN releases what is behind the gate to GATE-ENTER.
  static constexpr auto open = sync::release;
  static constexpr auto enter = sync::acquire;
  /// GATE-LEAVE and GATE-CLOSE: who ends what is behind the gate comes after all who were inside.
  static constexpr auto leave = sync::acq_rel;
  static constexpr auto close = sync::acq_rel;
  static constexpr auto quiet = sync::acquire;
};

/// Something that many threads may run until one thread says no more: open, entered any number of times at
/// once, closed. Entering and leaving are one atomic addition each and wait for nobody.
///
/// Exactly one thread learns that it is to end what the gate guards: the closer, once nobody is inside; or,
/// if it was closed from inside, the last one to leave.
template <class Traits = RunGateTraits>
class RunGate {
 public:
  void open() noexcept { state_.fetch_or(is_open, Traits::open); }  // sync GATE-OPEN

  enum class Entry {
    inside,   ///< the caller has to leave
    refused,  ///< the gate is closed
    ends,     ///< the gate is closed, and the caller was the last one there: it is to end what the gate guards
  };

  Entry enter() noexcept {
    if ((state_.load(sync::relaxed) & is_open) == 0) return Entry::refused;
    if ((state_.fetch_add(one_run, Traits::enter) & is_open) != 0) return Entry::inside;  // sync GATE-ENTER
    return leave() ? Entry::ends : Entry::refused;
  }

  /// Returns: whether the caller is to end what the gate guards.
  bool leave() noexcept {
    std::uint32_t left = state_.fetch_sub(one_run, Traits::leave) - one_run;  // sync GATE-LEAVE
    if ((left & is_open) != 0) return false;
    sync::notify(state_);
    // Who comes too late is inside for an instant: so "the last one out" is whoever takes `doomed` away.
    return left == doomed && state_.compare_exchange_strong(left, 0, Traits::leave, sync::relaxed);
  }

  /// No further entry succeeds; returns when nobody is inside. Not from inside.
  void close() noexcept {
    std::uint32_t inside = state_.fetch_and(~is_open, Traits::close) & ~is_open;  // sync GATE-CLOSE
    while (inside != 0) {
      sync::wait_while(state_, inside);
      inside = state_.load(Traits::quiet);  // sync GATE-CLOSE
    }
  }

  /// As `close`, from inside: returns at once, and the last one to leave is told to end what the gate guards.
  void close_from_inside() noexcept { state_.fetch_add(doomed - is_open, Traits::close); }  // sync GATE-CLOSE

 private:
  static constexpr std::uint32_t is_open = 1;
  static constexpr std::uint32_t doomed = 2;
  static constexpr std::uint32_t one_run = 4;

  sync::atomic<std::uint32_t> state_{0};
};

}  // namespace bus::detail
