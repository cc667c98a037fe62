// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What README.md shows.
#include "snippet.hpp"

//! [readme_bus]
#include <bus/bus.hpp>

#include <iostream>
//! [readme_bus]

using snippet::expect;

namespace {

void bus_with_one_receiver() {
  //! [readme_bus]
  bus::Bus hub{{.capacity = 256}};
  auto rx = hub.subscribe("auditor");           // active when this returns
  auto tx = hub.sender();                       // cheap to copy, one thread at a time

  tx.send(bus::Message{.topic = "agent.v1.thought", .payload = bus::Payload::copy("look before you write")});
  hub.close();

  while (auto got = rx.recv()) {                // false once closed and drained
    if (got.missed()) std::cerr << got.missed() << " lost just before this one\n";
    bus::match(
        *got, [](const bus::Message& m) { std::cout << m.topic.view() << ": " << m.payload.text() << '\n'; },
        [](const auto&) {});
  }
  //! [readme_bus]
  expect(rx.stats().delivered == 1);
}

}  // namespace

int main() { bus_with_one_receiver(); }
