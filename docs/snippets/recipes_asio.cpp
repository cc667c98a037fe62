// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What docs/recipes.md shows of a service on Boost.Asio.
#include "snippet.hpp"

#include <bus/asio.hpp>
#include <bus/bus.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/connect_pair.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include <string>
#include <string_view>
#include <utility>

namespace asio = boost::asio;
using snippet::expect;
using Socket = asio::local::stream_protocol::socket;

namespace {

//! [recipe_bridge_in]
asio::awaitable<void> to_the_bus(Socket& socket, bus::Sender tx) {
  std::string lines;
  for (;;) {
    const auto [error, bytes] = co_await asio::async_read_until(socket, asio::dynamic_buffer(lines, 64 * 1024), '\n',
                                                                asio::as_tuple(asio::use_awaitable));
    if (error) co_return;
    const auto text = std::string_view(lines).substr(0, bytes - 1);
    const auto space = text.find(' ');
    const auto topic = bus::Topic::parse(text.substr(0, space));  // text from outside may be wrong
    if (topic && space != text.npos) {
      tx.send(bus::Message{.topic = *topic, .payload = bus::Payload::copy(text.substr(space + 1))});
    }
    lines.erase(0, bytes);
  }
}
//! [recipe_bridge_in]

//! [recipe_bridge_out]
asio::awaitable<void> from_the_bus(bus::Receiver rx, Socket& socket) {
  for (;;) {
    const auto [error, got] = co_await rx.async_recv(asio::as_tuple(asio::use_awaitable));
    if (!got) co_return;
    std::string line;
    if (got.missed() != 0) line = "missed " + std::to_string(got.missed()) + '\n';  // who reads there wants to know
    if (const auto* message = got->get_if<bus::Message>()) {
      line += std::string(message->topic.view()) + ' ' + std::string(message->payload.text()) + '\n';
    }
    co_await asio::async_write(socket, asio::buffer(line), asio::use_awaitable);
  }
}
//! [recipe_bridge_out]

asio::awaitable<void> talk(Socket& client, bus::Bus& hub, std::string& heard) {
  co_await asio::async_write(client, asio::buffer(std::string_view("a.b one\nbad..topic x\na.c two\n")),
                             asio::use_awaitable);
  std::string buffer;
  for (int i = 0; i < 2; ++i) {
    const auto bytes = co_await asio::async_read_until(client, asio::dynamic_buffer(buffer), '\n', asio::use_awaitable);
    heard += buffer.substr(0, bytes);
    buffer.erase(0, bytes);
  }
  hub.close();
  client.close();
}

}  // namespace

int main() {
  asio::io_context io;
  bus::Bus hub;
  Socket server{io};
  Socket client{io};
  asio::local::connect_pair(server, client);
  std::string heard;
  asio::co_spawn(io, from_the_bus(hub.subscribe("bridge"), server), asio::detached);
  asio::co_spawn(io, to_the_bus(server, hub.sender("bridge")), asio::detached);
  asio::co_spawn(io, talk(client, hub, heard), asio::detached);
  io.run();
  expect(heard == "a.b one\na.c two\n");
}
