// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include "latency_histogram.hpp"
#include "pacer.hpp"
#include "replay.hpp"

#include <bus/bus.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/strand.hpp>

#include <cstdint>
#include <deque>
#include <latch>
#include <optional>
#include <stop_token>
#include <thread>
#include <vector>

namespace busbar {

/// The receivers of one replay, each reading in a thread of its own or as a coroutine, and keeping its own count.
/// Threads: one at a time.
class Audience {
 public:
  /// Everyone is subscribed and reading when this returns.
  /// Lifetime: `hub` must outlive it. Errors: throws std::system_error (no more threads), std::bad_alloc.
  Audience(bus::Bus& hub, const ReplayOptions& options);

  /// Closes the bus and waits for everyone to end.
  ~Audience();
  Audience(const Audience&) = delete;
  Audience& operator=(const Audience&) = delete;

  /// Stops the slow receivers, closes the bus, lets the others read what it retains.
  /// Returns: one report each, in the order of subscription.
  /// Errors:  throws std::runtime_error if one does not balance against `published`.
  std::vector<ReceiverReport> finish(std::uint64_t published);

 private:
  using Strand = boost::asio::strand<boost::asio::io_context::executor_type>;

  struct Member {
    Member(bus::Receiver receiver, std::optional<Pacer> pace, boost::asio::io_context& io)
        : rx(std::move(receiver)), pacer(pace), strand(io.get_executor()) {}

    bus::Receiver rx;
    std::optional<Pacer> pacer;  // of a slow one
    std::uint64_t delivered = 0;
    std::uint64_t missed = 0;  // as the receives told
    bool read_to_the_end = false;
    LatencyHistogram latency;
    Strand strand;                            // where its coroutine runs
    boost::asio::cancellation_signal cancel;  // of its coroutine; emitted in the strand
  };

  void start_threads();
  void start_coroutines();
  void stop();

  static void read(Member& member);
  static void read_slowly(Member& member, std::stop_token stop);
  static boost::asio::awaitable<void> async_read(Member& member);
  static boost::asio::awaitable<void> async_read_slowly(Member& member);
  static void count(Member& member, const bus::Received& got);
  static void count(Member& member, const bus::Batch& batch);
  static ReceiverReport report(const Member& member, std::uint64_t published);

  bus::Bus& hub_;
  boost::asio::io_context io_;
  std::deque<Member> members_;  // never moved: threads refer to them
  std::latch reading_;          // counts down as threads begin to read
  std::stop_source slow_ones_;
  std::vector<std::jthread> threads_;
};

}  // namespace busbar
