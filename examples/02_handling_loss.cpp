// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A publisher never waits, so a receiver that falls behind loses the oldest events. It is told how many, together
// with the next thing it receives, and it goes on: loss is neither an error nor the end.
#include <bus/bus.hpp>

#include <iostream>

int main() {
  bus::Bus hub{{.capacity = 4}};
  auto rx = hub.subscribe("slow-reader");

  for (std::uint64_t version = 1; version <= 10; ++version) hub.send(bus::ConfigUpdated{version});
  hub.close();

  std::uint64_t delivered = 0;
  std::uint64_t missed = 0;
  for (;;) {
    const auto got = rx.recv();
    if (got.missed() != 0) {
      missed += got.missed();
      std::cout << got.missed() << " events were overwritten; a snapshot would be read again here\n";
    }
    if (!got) break;  // the end may carry a count as well, so look at it first
    ++delivered;
    std::cout << "configuration " << got->get_if<bus::ConfigUpdated>()->version << '\n';
  }

  // The ring kept the last four. Nothing is unaccounted for, and the bus counted the same.
  const auto stats = rx.stats();
  std::cout << delivered << " delivered + " << missed << " missed == " << stats.published << " published\n";
  const bool balances = stats.delivered + stats.filtered + stats.missed + stats.pending == stats.published;
  return delivered == 4 && missed == 6 && balances ? 0 : 1;
}
