// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A gate lets several routes begin and end together.
#pragma once

#include <bus/detail/sync.hpp>
#include <bus/error.hpp>

#include <cstdint>
#include <string_view>

namespace bus {
namespace detail {

/// The memory orders of a gate. Each mutant of the model weakens one.
struct GateTraits {
  /// ROUTE-GATE. What was done before it was published is seen by whoever is let in.
  static constexpr auto open = sync::release;
  static constexpr auto look = sync::acquire;
};

}  // namespace detail

/// A door that the routes of one runtime share: they are subscribed while it is staged, begin together when it is
/// published, and end together when it is retired. A route whose gate is not published admits nothing.
///
/// Threads:  any. A message whose publish begins after `publish` has returned is admitted, one whose publish begins
///           after `retire` has returned is not; one that is under way may be either.
/// Ordering: what a thread did before `publish` is seen by whoever's message is admitted.
template <class Traits>
class BasicGate {
 public:
  /// How far it has come. There is no way back.
  enum State : std::uint32_t { staged, published, retired };

  BasicGate() = default;
  BasicGate(const BasicGate&) = delete;
  BasicGate& operator=(const BasicGate&) = delete;

  /// Opens it. Errors: gate_not_staged, if it was published or retired before.
  result<void> publish() noexcept {
    std::uint32_t found = staged;
    // sync ROUTE-GATE
    if (state_.compare_exchange_strong(found, published, Traits::open, sync::relaxed)) return {};
    return make_error_code(errc::gate_not_staged);
  }

  /// Shuts it for good, whatever it was.
  void retire() noexcept { state_.store(retired, Traits::open); }

  /// What it is now.
  State state() const noexcept { return static_cast<State>(state_.load(Traits::look)); }  // sync ROUTE-GATE
  /// Whether it admits messages.
  bool open() const noexcept { return state() == published; }

 private:
  sync::atomic<std::uint32_t> state_{staged};
};

/// The gate that `RouteOptions::gate` takes.
using Gate = BasicGate<detail::GateTraits>;

}  // namespace bus
