// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A bus has one capacity for life. To change it, cut over to a new bus while everything runs:
//
//   1. make the new bus, and subscribe every receiver to it;
//   2. switch the publishers;
//   3. close the old bus.
//
// Each receiver reads the old bus until it is closed and drained, and then goes on with the new one. What was
// published before the switch is read before what was published after it, and nothing falls in between.
#include <bus/bus.hpp>

#include <iostream>
#include <thread>
#include <utility>

namespace {

constexpr std::uint64_t before = 50;
constexpr std::uint64_t after = 500;

struct Log {
  std::uint64_t last = 0;
  bool in_order = true;
  std::uint64_t missed = 0;
};

/// Reads one bus to its end. The versions that arrive count up by one.
void read_all(bus::Receiver& rx, Log& log) {
  for (;;) {
    const auto got = rx.recv();
    log.missed += got.missed();
    if (!got) return;
    const std::uint64_t version = got->get_if<bus::ConfigUpdated>()->version;
    log.in_order = log.in_order && version == log.last + 1;
    log.last = version;
  }
}

}  // namespace

int main() {
  bus::Bus small{{.capacity = 64}};
  auto tx = small.sender();
  auto from_small = small.subscribe("reader");

  bus::Bus large{{.capacity = 1024}};
  auto from_large = large.subscribe("reader");  // 1. subscribed before the first publish on the new bus

  Log log;
  std::thread reader([&] {
    read_all(from_small, log);
    read_all(from_large, log);
  });

  for (std::uint64_t version = 1; version <= before; ++version) tx.send(bus::ConfigUpdated{version});
  tx = large.sender();  // 2. with several publishers: each switches when it comes by
  small.close();        // 3. only now, when the last publisher has left
  for (std::uint64_t version = before + 1; version <= before + after; ++version) tx.send(bus::ConfigUpdated{version});
  large.close();
  reader.join();

  std::cout << "read up to version " << log.last << ", missed " << log.missed << ", capacity " << small.capacity()
            << " -> " << large.capacity() << '\n';
  return log.in_order && log.last == before + after && log.missed == 0 ? 0 : 1;
}
