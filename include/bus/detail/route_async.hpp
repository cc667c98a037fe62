// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What <bus/routing/asio.hpp> needs of a route, in the words of `AsyncAccess`.
#pragma once

#include <bus/detail/async.hpp>
#include <bus/routing/router.hpp>

#include <cstddef>

namespace bus::detail {

struct RouteAccess {
  using State = Route;

  static Route* retain(RouteReceiver& receiver) noexcept;
  static void release(Route* route) noexcept;
  static bool has_state(const RouteReceiver& receiver) noexcept { return receiver.route_ != nullptr; }

  template <class Result>
  static Result closed() noexcept {
    Result result;
    result.outcome_ = Outcome::closed;
    return result;
  }

  /// Takes what is there: a RouteReceived, or a RouteBatch of up to `max`.
  template <class Result>
  static Result attempt(Route& route, std::size_t max);

  /// Losses are told by the messages themselves.
  template <class Result>
  static void tell_missed(Route&, Result&) noexcept {}

  static bool ready(Route& route) noexcept;
  static bool abandoned(const Route& route) noexcept;
  static void arm(Route& route, AsyncWait& wait) noexcept;
  static AsyncWait* take(Route& route) noexcept;
};

template <>
RouteReceived RouteAccess::attempt<RouteReceived>(Route& route, std::size_t max);
template <>
RouteBatch RouteAccess::attempt<RouteBatch>(Route& route, std::size_t max);

}  // namespace bus::detail
