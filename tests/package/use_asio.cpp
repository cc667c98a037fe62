// SPDX-License-Identifier: MIT OR Apache-2.0
#include <bus/asio.hpp>

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/io_context.hpp>

int main() {
  boost::asio::io_context loop;
  bus::Bus hub;
  auto rx = hub.subscribe("package");
  std::uint64_t version = 0;
  rx.async_recv(boost::asio::bind_executor(loop, [&](bus::error_code, const bus::Received& got) {
    if (got) version = got->get_if<bus::ConfigUpdated>()->version;
  }));
  hub.send(bus::ConfigUpdated{.version = 42});
  loop.run();
  return version == 42 ? 0 : 1;
}
