// SPDX-License-Identifier: MIT OR Apache-2.0
#include <bus/bus.hpp>
#include <bus/typed.hpp>

struct Reading {
  double value = 0;
};

template <>
struct bus::Schema<Reading> : bus::PlainSchema<Reading> {
  static constexpr std::string_view name = "package.reading";
  static constexpr std::uint32_t version = 1;
};

int main() {
  bus::Bus hub{{.capacity = 4}};
  auto readings = hub.typed<Reading>("package.v1.reading");
  auto rx = readings.subscribe("package");
  for (int i = 0; i < 6; ++i) {
    if (!readings.send(Reading{21.5 + i})) return 1;
  }
  const auto got = rx.recv();
  return got && got.missed() == 2 && got->value == 23.5 ? 0 : 2;
}
