// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

namespace busbar {

struct HttpPage {
  unsigned status = 200;
  std::string type = "text/plain; charset=utf-8";
  std::string body;
};

/// Serves a few pages to who comes by, in one thread: GET and HEAD, one request a connection. A request has 8 KiB of
/// header at most, and five seconds; so has its answer. There are 64 connections at a time, and more are turned away.
class HttpServer {
 public:
  /// What makes the pages, by their paths. Called in the server's thread. Must not throw anything but std::exception,
  /// which is answered with 500.
  using Pages = std::map<std::string, std::function<HttpPage()>, std::less<>>;

  /// Listens; port 0 is one that is free. Errors: throws std::runtime_error naming the address, as when it is in use.
  HttpServer(const std::string& address, std::uint16_t port, Pages pages);

  /// Ends it; who waits for an answer gets none.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  /// "127.0.0.1:9464".
  const std::string& address() const noexcept;

 private:
  class Core;
  const std::unique_ptr<Core> core_;
};

}  // namespace busbar
