// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Fetches a page over HTTP.
#pragma once

#include <boost/asio/awaitable.hpp>

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

namespace busbar {

struct HttpAddress {
  std::string host;
  std::string port;
  std::string target;  ///< path and query

  /// As a URL.
  std::string text() const;
};

/// Reads "http://host:port/path", or any front of it behind the scheme; what is missing is port 9464 and /metrics.
/// Errors: throws std::invalid_argument.
HttpAddress parse_http_address(std::string_view text);

/// The body of the answer, if it is one of status 200.
/// Blocks:   in no call; the whole takes at most `timeout`, save that looking up a name ends when the system says so.
/// Errors:   throws std::runtime_error: nobody is there, another answer, or more than `max_bytes`.
boost::asio::awaitable<std::string> http_get(HttpAddress address, std::chrono::steady_clock::duration timeout,
                                             std::size_t max_bytes);

}  // namespace busbar
