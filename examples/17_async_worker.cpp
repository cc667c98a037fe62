// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Workers of a group as coroutines: two of them on one thread, which waits for neither.
#include <bus/persistence/asio.hpp>
#include <bus/persistence/group.hpp>
#include <bus/persistence/log.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <filesystem>
#include <iostream>
#include <string>

namespace asio = boost::asio;

namespace {

constexpr int documents = 5;

/// Closes the log when all is done, which ends the others.
asio::awaitable<void> work(bus::Log& log, bus::Member member, std::string name, int& done) {
  for (;;) {
    auto [error, received] = co_await member.async_receive(1, asio::as_tuple(asio::use_awaitable));
    if (error) co_return;  // closed, or the wait was cancelled
    for (bus::Lease& lease : received.leases) {
      std::cout << name << " has " << lease.record().text() << '\n';
      lease.ack();
      if (++done == documents) log.close();
    }
  }
}

asio::awaitable<void> send(bus::Log& log) {
  for (int i = 1; i <= documents; ++i) {
    const std::string text = "document " + std::to_string(i);
    const bus::Record record{.topic = "doc.v1.new", .payload = bus::as_payload(text)};
    co_await log.async_append(record, asio::use_awaitable);
  }
}

}  // namespace

int main() {
  const auto directory = std::filesystem::temp_directory_path() / "busbar-example-async-worker";
  std::filesystem::remove_all(directory);
  bus::Log log = bus::Log::open(directory, {.segment_bytes = std::uint64_t{1} << 20, .spare_segments = 0}).value();
  bus::Group group = bus::Group::open(log, {.name = "indexers"}).value();

  asio::io_context io;
  int done = 0;
  for (const char* name : {"ann", "ben"}) {
    asio::co_spawn(io, work(log, group.join().value(), name, done), asio::detached);
  }
  asio::co_spawn(io, send(log), asio::detached);
  io.run();  // returns when the last worker has heard that the log is closed

  std::filesystem::remove_all(directory);
  return done == documents ? 0 : 1;
}
