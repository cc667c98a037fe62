// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <bus/detail/sync.hpp>
#include <bus/error.hpp>

#include <cstdint>
#include <string_view>

namespace bus {

/// A door that the routes of one runtime share: they are subscribed while it is staged, begin together when it is
/// published, and end together when it is retired. A route whose gate is not published admits nothing.
///
/// Threads:  any. A message whose publish begins after `publish` has returned is admitted, one whose publish begins
///           after `retire` has returned is not; one that is under way may be either.
/// Ordering: what a thread did before `publish` is seen by whoever's message is admitted.
class Gate {
 public:
  enum class State : std::uint8_t { staged, published, retired };

  Gate() = default;
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  /// Opens it. Errors: gate_not_staged, if it was published or retired before.
  result<void> publish() noexcept {
    State found = State::staged;
    // sync ROUTE-GATE: release; pairs with the acquire in `state`.
    if (state_.compare_exchange_strong(found, State::published, sync::release, sync::relaxed)) return {};
    return make_error_code(errc::gate_not_staged);
  }

  /// Shuts it for good, whatever it was.
  void retire() noexcept { state_.store(State::retired, sync::release); }

  State state() const noexcept { return state_.load(sync::acquire); }  // sync ROUTE-GATE
  bool open() const noexcept { return state() == State::published; }

 private:
  sync::atomic<State> state_{State::staged};
};

}  // namespace bus
