// SPDX-License-Identifier: MIT OR Apache-2.0
#include <bus/bus.hpp>
#include <bus/metrics/prometheus.hpp>

#include <string>

int main() {
  const bus::Bus hub{{.capacity = 16}};
  bus::Metrics metrics{{.labels = {{"service", "package"}}}};
  const bus::Measured measured = metrics.add(hub);
  return metrics.render().find("bus_capacity{") != std::string::npos ? 0 : 1;
}
