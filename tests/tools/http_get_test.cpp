// SPDX-License-Identifier: MIT OR Apache-2.0
#include "http_get.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <exception>
#include <latch>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace busbar {
namespace {

using namespace std::chrono_literals;
using boost::asio::ip::tcp;

/// What went wrong.
std::string error_of(NameService names, std::chrono::milliseconds timeout) {
  boost::asio::io_context io(1);
  std::string told;
  boost::asio::co_spawn(io, http_get({"a.host", "9464", "/metrics"}, timeout, 1000, std::move(names)),
                        [&](std::exception_ptr fault, const std::string&) {
                          try {
                            if (fault) std::rethrow_exception(fault);
                          } catch (const std::runtime_error& error) {
                            told = error.what();
                          }
                        });
  io.run();
  return told;
}

TEST(HttpGet, waits_for_a_name_no_longer_than_for_all_else) {
  const auto answer = std::make_shared<std::latch>(1);
  const NameService silent = [answer](const HttpAddress&) {
    answer->wait();
    return std::vector<tcp::endpoint>();
  };
  EXPECT_EQ(error_of(silent, 10ms), "no answer in time");
  answer->count_down();
}

TEST(HttpGet, says_why_a_name_is_not_known) {
  const NameService ignorant = [](const HttpAddress& address) -> std::vector<tcp::endpoint> {
    throw std::runtime_error("nobody knows " + address.host);
  };
  EXPECT_EQ(error_of(ignorant, 1h), "nobody knows a.host");
}

}  // namespace
}  // namespace busbar
