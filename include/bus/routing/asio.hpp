// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Asynchronous receiving from routes for Boost.Asio.
//
//   bus::RouteReceived got = co_await inbox.async_recv(boost::asio::use_awaitable);
//
// Completion, executor, allocator, cancellation, threads and lifetime are as in <bus/asio.hpp>. What was received owns
// its event.
#pragma once

#include <bus/asio.hpp>
#include <bus/detail/route_async.hpp>

#include <cstddef>
#include <utility>

namespace bus {

/// The next message by fair turn: `void(error_code, RouteReceived)`.
template <class CompletionToken>
auto RouteReceiver::async_recv(CompletionToken&& token) {
  return boost::asio::async_initiate<CompletionToken, void(error_code, RouteReceived)>(
      [](auto handler, RouteReceiver* self) {
        detail::AsyncReceive<detail::RouteAccess, RouteReceived, decltype(handler)>::start(*self, 1,
                                                                                           std::move(handler));
      },
      token, this);
}

/// As `async_recv`, up to `max` messages: `void(error_code, RouteBatch)`. Errors: an allocation that fails comes out of
/// the executor; nothing is lost.
template <class CompletionToken>
auto RouteReceiver::async_recv_batch(std::size_t max, CompletionToken&& token) {
  return boost::asio::async_initiate<CompletionToken, void(error_code, RouteBatch)>(
      [](auto handler, RouteReceiver* self, std::size_t most) {
        detail::AsyncReceive<detail::RouteAccess, RouteBatch, decltype(handler)>::start(*self, most,
                                                                                        std::move(handler));
      },
      token, this, max);
}

}  // namespace bus
