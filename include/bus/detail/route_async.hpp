// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What <bus/routing/asio.hpp> needs of a route, in the words of `AsyncAccess`.
#pragma once

#include <bus/detail/async.hpp>
#include <bus/export.hpp>
#include <bus/routing/router.hpp>

#include <cstddef>
#include <memory>
#include <string>

namespace bus::detail {

struct BUSBAR_EXPORT RouteAccess {
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
  static bool take(Route& route, AsyncWait& wait) noexcept;
};

template <>
RouteReceived RouteAccess::attempt<RouteReceived>(Route& route, std::size_t max);
template <>
RouteBatch RouteAccess::attempt<RouteBatch>(Route& route, std::size_t max);

/// A publish that sets room aside in one route after the other before it happens, and waits where there is none.
class BUSBAR_EXPORT PendingPublish {
 public:
  /// Errors: throws std::bad_alloc.
  static std::unique_ptr<PendingPublish> make(std::shared_ptr<RouterCore> router, const std::string* source,
                                              Message message, const Attributes& attributes);
  virtual ~PendingPublish() = default;

  /// Returns: whether it can be published. If not, `wait` has been given away, and is resumed once.
  virtual bool advance(AsyncWait& wait) noexcept = 0;

  /// Returns: whether the wait was still there, and is now the caller's.
  virtual bool withdraw() noexcept = 0;

  virtual result<PublishOutcome> publish() = 0;
};

struct PublishAccess {
  static const std::shared_ptr<RouterCore>& router(const Router& router) noexcept { return router.core_; }
  static const std::shared_ptr<RouterCore>& router(const RouteSender& sender) noexcept { return sender.core_; }
  static const std::string* source(const RouteSender& sender) noexcept { return sender.source_; }
};

}  // namespace bus::detail
