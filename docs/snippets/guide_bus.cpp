// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What docs/guide.md shows of the bus.
#include "snippet.hpp"

#include <bus/asio.hpp>
#include <bus/bus.hpp>
#include <bus/typed.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <span>
#include <stop_token>
#include <vector>

using snippet::expect;

namespace {

// --- Loss. ---

int snapshots = 0;
std::uint64_t seen = 0;
void read_snapshot_again() { ++snapshots; }
void apply(const bus::Event&) { ++seen; }

void handle_loss() {
  bus::Bus hub{{.capacity = 4}};
  auto rx = hub.subscribe("settings");
  for (std::uint64_t version = 1; version <= 10; ++version) hub.send(bus::ConfigUpdated{version});
  hub.close();
  //! [guide_loss]
  for (;;) {
    const auto got = rx.recv();
    if (got.missed() != 0) read_snapshot_again();  // the count comes with whatever a receive returns
    if (!got) break;                               // closed, and all that was retained is read
    apply(*got);
  }
  //! [guide_loss]
  expect(snapshots == 1 && seen == 4);
}

void count_loss() {
  bus::Bus hub{{.capacity = 4}};
  auto rx = hub.subscribe("settings");
  for (std::uint64_t version = 1; version <= 10; ++version) hub.send(bus::ConfigUpdated{version});
  //! [guide_stats]
  for (const bus::ReceiverStats& each : hub.stats().receivers) {
    std::cout << each.name << ": " << each.missed << " of " << each.published << " missed, " << each.pending
              << " waiting\n";
  }
  //! [guide_stats]
  expect(rx.stats().missed == 6 && rx.stats().pending == 4);
}

}  // namespace

// --- Types. ---

//! [guide_schema]
struct Reading {
  std::uint64_t sensor = 0;
  double celsius = 0;
};

template <>
struct bus::Schema<Reading> : bus::PlainSchema<Reading> {
  static constexpr std::string_view name = "sensor.reading";  // stable: it is the type's identity
  static constexpr std::uint32_t version = 1;                 // raised when the bytes change
};
//! [guide_schema]

namespace {

void send_typed() {
  double warmest = 0;
  //! [guide_typed]
  bus::Bus hub;
  auto readings = hub.typed<Reading>("sensor.v1.reading");
  auto rx = readings.subscribe("thermostat");

  readings.send(Reading{.sensor = 7, .celsius = 21.5});
  if (const auto got = rx.try_recv()) warmest = std::max(warmest, got->celsius);
  //! [guide_typed]
  expect(warmest == 21.5 && rx.mismatched() == 0);
}

// --- Waiting. ---

void wait_for_a_time() {
  bus::Bus hub;
  auto rx = hub.subscribe("worker");
  hub.send(bus::Shutdown{});
  bool flushed = false;
  const auto flush = [&] { flushed = true; };
  std::stop_source source;
  const std::stop_token stop = source.get_token();
  //! [guide_wait]
  for (bool done = false; !done;) {
    const auto got = rx.recv_until(std::chrono::steady_clock::now() + std::chrono::milliseconds(50), stop);
    switch (got.outcome()) {
      case bus::Outcome::event: apply(*got); break;
      case bus::Outcome::timed_out: flush(); break;  // nothing for 50 ms
      default: done = true;                          // closed, or stopped
    }
    //! [guide_wait]
    if (flushed) source.request_stop();
    //! [guide_wait]
  }
  //! [guide_wait]
  expect(flushed);
}

void wait_for_many() {
  bus::Bus hub{{.capacity = 1024}};
  auto rx = hub.subscribe("writer");
  for (int i = 0; i < 1000; ++i) hub.send(bus::Health{.service = "kitchen", .ok = true});
  hub.close();
  std::uint64_t missed = 0;
  seen = 0;
  //! [guide_batch]
  for (bool open = true; open;) {
    const auto batch = rx.recv_batch();  // waits for the first, and takes up to 64 that are there
    missed += batch.missed();            // the last one, which says `closed`, may have a count, too
    for (const bus::Event& event : batch) apply(event);
    open = !batch.closed();
  }
  //! [guide_batch]
  expect(seen == 1000 && missed == 0);
}

//! [guide_async]
boost::asio::awaitable<void> listen(bus::Receiver rx) {
  for (;;) {
    const auto [error, got] = co_await rx.async_recv(boost::asio::as_tuple(boost::asio::use_awaitable));
    if (!got) co_return;  // closed, or `error` says that the wait was cancelled
    apply(*got);
  }
}
//! [guide_async]

void wait_in_coroutines() {
  bus::Bus hub;
  boost::asio::io_context io;
  boost::asio::co_spawn(io, listen(hub.subscribe("listener")), boost::asio::detached);
  seen = 0;
  hub.send(bus::Shutdown{});
  hub.close();
  io.run();
  expect(seen == 1);
}

// --- Another capacity. ---

void cut_over() {
  bus::Bus small{{.capacity = 2}};
  bus::Bus large{{.capacity = 1024}};
  std::vector<bus::Receiver> in_turn;
  in_turn.push_back(small.subscribe("reader"));
  in_turn.push_back(large.subscribe("reader"));
  small.send(bus::ConfigUpdated{1});
  small.close();
  large.send(bus::ConfigUpdated{2});
  large.close();
  std::uint64_t last = 0;
  const auto apply = [&](const bus::Event& event) { last = event.get_if<bus::ConfigUpdated>()->version; };
  //! [guide_cutover]
  for (bus::Receiver& rx : in_turn) {  // the old bus first, to its end; then the one that has taken over
    while (const auto got = rx.recv()) apply(*got);
  }
  //! [guide_cutover]
  expect(last == 2);
}

}  // namespace

int main() {
  handle_loss();
  count_loss();
  send_typed();
  wait_for_a_time();
  wait_for_many();
  wait_in_coroutines();
  cut_over();
}
