// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What Prometheus sees of a bus with a slow receiver and of a route that is full. The objects do nothing for it: the
// page is made from the counters that they have anyway.
#include <bus/bus.hpp>
#include <bus/metrics/prometheus.hpp>
#include <bus/routing/router.hpp>

#include <iostream>

int main() {
  bus::Bus hub{{.capacity = 16}};
  bus::Router router{hub};

  bus::Metrics metrics{{.labels = {{"service", "gateway"}}}};
  const bus::Measured measured_bus = metrics.add(hub);
  const bus::Measured measured_router = metrics.add(router);

  auto auditor = hub.subscribe("auditor");  // never looks
  auto inbox = router.subscribe({.owner = "capsule-7", .patterns = {"llm.v1.>"}, .budget_bytes = 8192});
  for (int i = 0; i < 100; ++i) {
    const auto sent = router.publish(
        {.topic = "llm.v1.stream", .principal = "agent.alice", .payload = bus::Payload::copy("a few words")});
    if (!sent) return 1;
  }
  while (inbox.try_recv()) {
  }

  // A server would give this to whoever asks for /metrics, with `bus::Metrics::content_type`.
  std::cout << metrics.render();
}
