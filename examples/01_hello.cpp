// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Hello: one bus, one sender, one receiver.
#include <bus/bus.hpp>

#include <iostream>

int main() {
  bus::Bus hub{{.capacity = 256}};
  auto rx = hub.subscribe("auditor");  // sees what is published from here on
  auto tx = hub.sender("config");

  tx.send(bus::ConfigUpdated{.version = 42});
  tx.send(bus::Message{
      .topic = "agent.v1.thought",
      .principal = "agent.alice",
      .payload = bus::Payload::copy("what is for lunch?"),
  });
  hub.close();  // receivers still get what is there, then the loop below ends

  int understood = 0;
  while (auto got = rx.recv()) {
    std::cout << "event " << got->sequence() << ": ";
    bus::match(
        *got,
        [&](const bus::ConfigUpdated& update) {
          std::cout << "configuration " << update.version << '\n';
          ++understood;
        },
        [&](const bus::Message& message) {
          std::cout << message.principal.view() << " says: " << message.payload.text() << '\n';
          ++understood;
        },
        [](const auto&) {});  // later versions may add bodies
  }
  return understood == 2 ? 0 : 1;
}
