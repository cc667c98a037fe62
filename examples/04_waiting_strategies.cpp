// SPDX-License-Identifier: MIT OR Apache-2.0
//
// How a receiver waits is its own choice. What it gets does not depend on it.
//
//   spin   burns a core for the lowest latency
//   yield  looks again and again, but lets others run in between
//   park   sleeps; the publisher that ends the lull pays for one wake-up
#include <bus/bus.hpp>

#include <chrono>
#include <iostream>
#include <thread>
#include <utility>

namespace {

constexpr std::uint64_t events = 200;

std::uint64_t count_all(bus::Receiver rx) {
  std::uint64_t count = 0;
  while (auto got = rx.recv()) ++count;
  return count;
}

/// A wait can also be ended by the clock or by a stop token. It loses nothing: the next receive goes on where it was.
bool gives_up_when_told(bus::Receiver rx) {
  const auto late = rx.recv_until(std::chrono::steady_clock::now()).outcome();
  auto stopped = bus::Outcome::event;
  std::jthread waiter([&](std::stop_token stop) { stopped = rx.recv(stop).outcome(); });
  waiter.request_stop();
  waiter.join();
  return late == bus::Outcome::timed_out && stopped == bus::Outcome::stopped;
}

}  // namespace

int main() {
  bus::Bus hub{{.capacity = 256}};  // room for all 200 events: nobody can miss one here
  if (!gives_up_when_told(hub.subscribe("impatient"))) return 1;

  std::uint64_t spun = 0;
  std::uint64_t yielded = 0;
  std::uint64_t parked = 0;
  {
    const auto reader = [&](std::uint64_t& count, bus::Waiting waiting) {
      return std::jthread(
          [&count, rx = hub.subscribe({.waiting = waiting})]() mutable { count = count_all(std::move(rx)); });
    };
    const auto first = reader(spun, bus::Waiting::spin);
    const auto second = reader(yielded, bus::Waiting::yield);
    const auto third = reader(parked, bus::Waiting::park);

    auto tx = hub.sender();
    for (std::uint64_t i = 0; i < events; ++i) tx.send(bus::Health{.service = "kitchen", .ok = true});
    hub.close();
  }  // joins the readers

  std::cout << "spin " << spun << ", yield " << yielded << ", park " << parked << " of " << events << " events\n";
  return spun == events && yielded == events && parked == events ? 0 : 1;
}
