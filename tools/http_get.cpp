// SPDX-License-Identifier: MIT OR Apache-2.0
#include "http_get.hpp"

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <boost/url/src.hpp>  // Boost.URL has no library of its own here

#include <atomic>
#include <cerrno>
#include <exception>
#include <memory>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <utility>

#include <sys/eventfd.h>
#include <unistd.h>

namespace busbar {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;

using asio::ip::tcp;
using Deadline = std::chrono::steady_clock::time_point;

constexpr std::string_view scheme = "http://";

bool is_ipv6(const std::string& host) { return host.find(':') != host.npos; }

std::string authority(const HttpAddress& address) {
  return (is_ipv6(address.host) ? '[' + address.host + ']' : address.host) + ':' + address.port;
}

/// A name that is looked up. Shared by who asks and who waits, as either may be the last.
struct LookUp {
  LookUp() : told(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (told < 0) throw std::system_error(errno, std::generic_category(), "cannot look up a name");
  }
  ~LookUp() { ::close(told); }
  LookUp(const LookUp&) = delete;
  LookUp& operator=(const LookUp&) = delete;

  const int told;  // can be read once it is done
  std::vector<tcp::endpoint> found;
  std::exception_ptr fault;
  std::atomic<bool> is_done{false};
};

/// The system cannot be asked to give up, nor would Asio's resolver let its context go meanwhile: so the thread is let
/// go instead.
asio::awaitable<std::vector<tcp::endpoint>> look_up(HttpAddress address, NameService names, Deadline deadline) {
  using asio::experimental::awaitable_operators::operator||;
  const auto executor = co_await asio::this_coro::executor;
  const auto look_up = std::make_shared<LookUp>();
  std::thread([look_up, address = std::move(address), names = std::move(names)] {
    try {
      look_up->found = names(address);
    } catch (...) {
      look_up->fault = std::current_exception();
    }
    look_up->is_done.store(true, std::memory_order_release);
    ::eventfd_write(look_up->told, 1);
  }).detach();
  asio::posix::stream_descriptor told(executor, ::dup(look_up->told));
  asio::steady_timer late(executor, deadline);
  co_await (told.async_wait(told.wait_read, asio::use_awaitable) || late.async_wait(asio::use_awaitable));
  if (!look_up->is_done.load(std::memory_order_acquire)) throw boost::system::system_error(beast::error::timeout);
  if (look_up->fault) std::rethrow_exception(look_up->fault);
  co_return std::move(look_up->found);
}

/// Fetches it, and says what went wrong as it happened.
asio::awaitable<std::string> fetch(const HttpAddress& address, std::chrono::steady_clock::duration timeout,
                                   std::size_t max_bytes, NameService names) {
  const Deadline deadline = std::chrono::steady_clock::now() + timeout;
  const auto endpoints = co_await look_up(address, std::move(names), deadline);
  beast::tcp_stream stream(co_await asio::this_coro::executor);
  stream.expires_at(deadline);  // for all that follows
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

std::vector<tcp::endpoint> ask_the_system(const HttpAddress& address) {
  asio::io_context context;
  const auto found = tcp::resolver(context).resolve(address.host, address.port);
  return {found.begin(), found.end()};
}

asio::awaitable<std::string> http_get(HttpAddress address, std::chrono::steady_clock::duration timeout,
                                      std::size_t max_bytes, NameService names) {
  try {
    co_return co_await fetch(address, timeout, max_bytes, std::move(names));
  } catch (const boost::system::system_error& error) {
    if (error.code() == beast::error::timeout) throw std::runtime_error("no answer in time");
    if (error.code() == http::error::body_limit) {
      throw std::runtime_error("the page has more than " + std::to_string(max_bytes) + " bytes");
    }
    throw std::runtime_error(error.code().message());
  }
}

}  // namespace busbar
