// SPDX-License-Identifier: MIT OR Apache-2.0
#include "http_server.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <exception>
#include <sstream>
#include <stdexcept>
#include <string_view>
#include <thread>
#include <utility>

namespace busbar {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::beast::tcp_stream;
using Request = http::request_parser<http::empty_body>;
using Response = http::response<http::string_body>;

constexpr std::uint32_t max_header_bytes = 8 * 1024;
constexpr std::size_t max_connections = 64;
constexpr auto patience = std::chrono::seconds(5);
constexpr auto pause_without_descriptors = std::chrono::milliseconds(100);

constexpr auto as_result = asio::as_tuple(asio::use_awaitable);

std::string in_words(const tcp::endpoint& endpoint) {
  std::ostringstream text;
  text << endpoint;
  return text.str();
}

[[noreturn]] void throw_cannot_listen(const std::string& where, const boost::system::error_code& error) {
  throw std::runtime_error("cannot listen on " + where + ": " + error.message());
}

tcp::acceptor listen_on(asio::io_context& context, const std::string& address, std::uint16_t port) {
  boost::system::error_code error;
  tcp::resolver resolver(context);
  const auto found = resolver.resolve(address, std::to_string(port), error);
  if (error) throw_cannot_listen(address + ':' + std::to_string(port), error);
  const tcp::endpoint endpoint = *found.begin();
  try {
    return tcp::acceptor(context, endpoint);  // an address that somebody listens on is refused, one left behind is not
  } catch (const boost::system::system_error& failed) {
    throw_cannot_listen(in_words(endpoint), failed.code());
  }
}

HttpPage page(unsigned status, std::string_view text) { return {.status = status, .body = std::string(text) + '\n'}; }

}  // namespace

class HttpServer::Core {
 public:
  Core(const std::string& address, std::uint16_t port, Pages pages)
      : pages_(std::move(pages)),
        acceptor_(listen_on(context_, address, port)),
        address_(in_words(acceptor_.local_endpoint())) {
    asio::co_spawn(context_, accept(), asio::detached);
    thread_ = std::thread([this] { context_.run(); });
  }

  ~Core() {
    context_.stop();
    thread_.join();
  }

  const std::string& address() const noexcept { return address_; }

 private:
  asio::awaitable<void> accept() {
    for (;;) {
      auto [error, socket] = co_await acceptor_.async_accept(as_result);
      if (error) {  // no descriptor is left, or who came has gone again
        asio::steady_timer pause(context_, pause_without_descriptors);
        co_await pause.async_wait(as_result);
      } else if (connections_ < max_connections) {
        ++connections_;
        asio::co_spawn(context_, serve(tcp_stream(std::move(socket))),
                       [this](const std::exception_ptr&) { --connections_; });
      }
    }
  }

  asio::awaitable<void> serve(tcp_stream stream) {
    static const auto& of_protocol = http::make_error_code(http::error::bad_method).category();
    boost::beast::flat_buffer buffer(2 * max_header_bytes);
    Request request;
    request.header_limit(max_header_bytes);
    stream.expires_after(patience);
    const auto [error, bytes] = co_await http::async_read_header(stream, buffer, request, as_result);
    const bool is_gone = error == http::error::end_of_stream || error == http::error::partial_message;
    if (is_gone || (error && error.category() != of_protocol)) co_return;  // also who is too slow

    Response response = error ? as_response(refusal(error)) : answer(request.get());
    response.keep_alive(false);
    response.prepare_payload();
    const bool wants_body = error || request.get().method() != http::verb::head;
    stream.expires_after(patience);
    http::response_serializer<http::string_body> serializer(response);
    const auto [failed, written] = wants_body ? co_await http::async_write(stream, serializer, as_result)
                                              : co_await http::async_write_header(stream, serializer, as_result);
    if (!failed) co_await linger(stream);
  }

  /// Takes what the other side has yet to say, up to a point: closing with bytes unread would take the answer back.
  asio::awaitable<void> linger(tcp_stream& stream) {
    boost::system::error_code ignored;
    stream.socket().shutdown(tcp::socket::shutdown_send, ignored);
    std::array<char, 4096> rest;
    for (std::size_t taken = 0; taken < 16 * rest.size();) {
      const auto [error, bytes] = co_await stream.async_read_some(asio::buffer(rest), as_result);
      if (error) break;
      taken += bytes;
    }
  }

  static HttpPage refusal(const boost::system::error_code& error) {
    if (error == http::error::header_limit || error == http::error::buffer_overflow) {
      return page(431, "the header has more than " + std::to_string(max_header_bytes) + " bytes");
    }
    return page(400, "no HTTP request: " + error.message());
  }

  Response answer(const Request::value_type& request) const {
    if (request.method() != http::verb::get && request.method() != http::verb::head) {
      Response response = as_response(page(405, "only GET and HEAD"));
      response.set(http::field::allow, "GET, HEAD");
      return response;
    }
    const std::string_view target(request.target().data(), request.target().size());
    const auto found = pages_.find(target.substr(0, target.find('?')));
    if (found == pages_.end()) return as_response(page(404, "there is no such page"));
    try {
      return as_response(found->second());
    } catch (const std::exception& error) {
      return as_response(page(500, error.what()));
    }
  }

  static Response as_response(HttpPage page) {
    Response response(http::int_to_status(page.status), 11, std::move(page.body));
    response.set(http::field::content_type, page.type);
    response.set(http::field::cache_control, "no-store");
    return response;
  }

  const Pages pages_;
  asio::io_context context_{1};
  tcp::acceptor acceptor_;
  const std::string address_;
  std::size_t connections_ = 0;  // of the server's thread
  std::thread thread_;
};

HttpServer::HttpServer(const std::string& address, std::uint16_t port, Pages pages)
    : core_(std::make_unique<Core>(address, port, std::move(pages))) {}

HttpServer::~HttpServer() = default;

const std::string& HttpServer::address() const noexcept { return core_->address(); }

}  // namespace busbar
