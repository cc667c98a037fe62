// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A program of one's own, in a project of its own.
#include <bus/bus.hpp>

#include <iostream>

int main() {
  bus::Bus hub{{.capacity = 256}};
  auto rx = hub.subscribe("printer");  // sees what is sent from here on
  hub.send(bus::Message{.topic = "greeting.v1.new", .payload = bus::Payload::copy("good morning")});
  hub.close();

  while (auto got = rx.recv()) {  // false once the bus is closed and all is read
    if (const auto* message = got->get_if<bus::Message>()) {
      std::cout << got->sequence() << ' ' << message->topic.view() << ": " << message->payload.text() << '\n';
    }
  }
}
