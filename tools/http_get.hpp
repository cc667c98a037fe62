// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Fetches a page over HTTP.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

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

/// Where the host of an address is. May take as long as it likes, in a thread of its own.
/// Errors: throws what says why nobody knows.
using NameService = std::function<std::vector<boost::asio::ip::tcp::endpoint>(const HttpAddress&)>;

/// That of the system.
std::vector<boost::asio::ip::tcp::endpoint> ask_the_system(const HttpAddress& address);

/// The body of the answer, if it is one of status 200.
/// Blocks:   in no call; the whole takes at most `timeout`. A name that is still looked up then leaves a thread behind
///           until the system has an answer.
/// Errors:   throws std::runtime_error: nobody is there, another answer, or more than `max_bytes`.
boost::asio::awaitable<std::string> http_get(HttpAddress address, std::chrono::steady_clock::duration timeout,
                                             std::size_t max_bytes, NameService names = ask_the_system);

}  // namespace busbar
