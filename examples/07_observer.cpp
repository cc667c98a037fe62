// SPDX-License-Identifier: MIT OR Apache-2.0
//
// An observer is called in the publisher's own thread, as soon as the event is out: good for a counter or a reflex
// that must not wait for another thread. It delays that publisher and nobody else, so it is kept short.
#include <bus/bus.hpp>

#include <iostream>
#include <stdexcept>

int main() {
  bus::Bus hub;
  auto rx = hub.subscribe("operator");

  // A reflex: the first crash turns into an alarm on the same bus. Observers may run in several threads at once; here
  // there is one publisher.
  int crashes = 0;
  bus::Observer reflex = hub.observe("reflex", [&](const bus::Event& event) {
    const auto* crash = event.get_if<bus::ServiceCrashed>();
    if (crash == nullptr) return;
    ++crashes;
    hub.send(bus::Health{.service = crash->service, .ok = false});
  });

  // Whatever goes wrong in an observer stays there: it is caught and counted.
  bus::Observer clumsy = hub.observe("clumsy", [](const bus::Event&) { throw std::runtime_error("oops"); });

  hub.send(bus::ServiceCrashed{.service = "kitchen", .reason = "out of flour"});
  reflex.reset();  // from here on it is not running and will not run
  clumsy.reset();
  hub.send(bus::ServiceCrashed{.service = "kitchen", .reason = "out of sugar"});
  hub.close();

  int alarms = 0;
  while (auto got = rx.recv()) {
    if (const auto* health = got->get_if<bus::Health>(); health != nullptr && !health->ok) {
      std::cout << "alarm: " << health->service << '\n';
      ++alarms;
    }
  }

  const auto exceptions = hub.stats().observer_exceptions;  // one for the crash, one for the alarm
  std::cout << crashes << " crash observed, " << exceptions << " exceptions caught\n";
  return crashes == 1 && alarms == 1 && exceptions == 2 ? 0 : 1;
}
