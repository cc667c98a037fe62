// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Receivers as coroutines: three of them on one thread, none of which blocks it.
#include <bus/asio.hpp>
#include <bus/bus.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <iostream>
#include <string>
#include <utility>

namespace asio = boost::asio;

namespace {

constexpr int events = 5;

asio::awaitable<void> listen(bus::Receiver rx, int& heard) {
  for (;;) {
    const auto [error, got] = co_await rx.async_recv(asio::as_tuple(asio::use_awaitable));
    if (!got) co_return;  // closed, or the wait was cancelled
    if (const auto* message = got->get_if<bus::Message>()) {
      std::cout << rx.name() << " heard " << message->payload.text() << '\n';
      ++heard;
    }
  }
}

asio::awaitable<void> speak(bus::Bus& hub) {
  auto tx = hub.sender();
  for (int i = 1; i <= events; ++i) {
    tx.send(bus::Message{
        .topic = "llm.v1.stream.aster",
        .principal = "agent.alice",
        .payload = bus::Payload::copy("word " + std::to_string(i)),
    });
    co_await asio::post(asio::use_awaitable);  // let the others have their turn
  }
  hub.close();
}

}  // namespace

int main() {
  asio::io_context io;
  bus::Bus hub;
  int heard = 0;

  for (const char* name : {"ann", "ben", "cleo"}) {
    asio::co_spawn(io, listen(hub.subscribe(name), heard), asio::detached);
  }
  asio::co_spawn(io, speak(hub), asio::detached);
  io.run();  // returns when everyone has heard the end

  return heard == 3 * events ? 0 : 1;
}
