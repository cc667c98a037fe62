// SPDX-License-Identifier: MIT OR Apache-2.0
#include "http_get.hpp"

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <boost/url/src.hpp>  // Boost.URL has no library of its own here

#include <stdexcept>
#include <utility>

namespace busbar {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;

constexpr std::string_view scheme = "http://";

bool is_ipv6(const std::string& host) { return host.find(':') != host.npos; }

std::string authority(const HttpAddress& address) {
  return (is_ipv6(address.host) ? '[' + address.host + ']' : address.host) + ':' + address.port;
}

/// Fetches it, and says what went wrong as it happened.
asio::awaitable<std::string> fetch(const HttpAddress& address, std::chrono::steady_clock::duration timeout,
                                   std::size_t max_bytes) {
  const auto executor = co_await asio::this_coro::executor;
  beast::tcp_stream stream(executor);
  stream.expires_after(timeout);  // for all that follows
  asio::ip::tcp::resolver resolver(executor);
  const auto endpoints = co_await resolver.async_resolve(address.host, address.port, asio::use_awaitable);
  co_await stream.async_connect(endpoints, asio::use_awaitable);

  http::request<http::empty_body> request(http::verb::get, address.target, 11);
  request.set(http::field::host, authority(address));
  request.set(http::field::user_agent, "busbar");
  request.set(http::field::accept, "text/plain;version=0.0.4");
  request.set(http::field::connection, "close");
  co_await http::async_write(stream, request, asio::use_awaitable);

  beast::flat_buffer buffer;
  http::response_parser<http::string_body> parser;
  parser.body_limit(max_bytes);
  co_await http::async_read(stream, buffer, parser, asio::use_awaitable);
  auto& response = parser.get();
  if (response.result() != http::status::ok) {
    throw std::runtime_error("the server answers " + std::to_string(response.result_int()) + ' ' +
                             std::string(response.reason()));
  }
  co_return std::move(response.body());
}

}  // namespace

std::string HttpAddress::text() const { return std::string(scheme) + authority(*this) + target; }

HttpAddress parse_http_address(std::string_view text) {
  const auto fault = [text](const char* what) {
    return std::invalid_argument("'" + std::string(text) + "': no address: " + what);
  };
  const bool has_scheme = text.find("://") != text.npos;
  const std::string url = has_scheme ? std::string(text) : std::string(scheme) + std::string(text);
  const auto parsed = boost::urls::parse_uri(url);
  if (!parsed) throw fault("it must be http://HOST:PORT/PATH, or HOST:PORT");
  if (parsed->scheme_id() != boost::urls::scheme::http) throw fault("only http is known");
  if (parsed->has_userinfo()) throw fault("it must name nobody");
  HttpAddress address{parsed->host_address(), parsed->port(), std::string(parsed->encoded_target())};
  if (address.host.empty()) throw fault("there is no host");
  if (address.port.empty()) address.port = "9464";
  if (address.target.empty() || address.target == "/") address.target = "/metrics";
  if (address.target.starts_with('?')) address.target.insert(0, "/metrics");
  if (!address.target.starts_with('/')) throw fault("a port is a number");
  return address;
}

asio::awaitable<std::string> http_get(HttpAddress address, std::chrono::steady_clock::duration timeout,
                                      std::size_t max_bytes) {
  try {
    co_return co_await fetch(address, timeout, max_bytes);
  } catch (const boost::system::system_error& error) {
    if (error.code() == beast::error::timeout) throw std::runtime_error("no answer in time");
    if (error.code() == http::error::body_limit) {
      throw std::runtime_error("the page has more than " + std::to_string(max_bytes) + " bytes");
    }
    throw std::runtime_error(error.code().message());
  }
}

}  // namespace busbar
