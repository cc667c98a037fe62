// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What leases and acks cost, alone and behind a publisher that waits for the disk.
#include <bus/persistence/group.hpp>

#include "log_bench.hpp"

#include <atomic>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

namespace bench {
namespace {

constexpr std::size_t at_once = 64;  // leases of one `receive`

/// A group of which one member receives.
struct Consumer {
  Consumer(bus::Log& log, int number, bus::GroupStart start = bus::GroupStart::oldest)
      : group(bus::Group::open(log, {.name = "g" + std::to_string(number), .start = start}).value()),
        member(group.join({.in_flight_messages = 4096}).value()) {}

  /// Acks what there is. Returns: how many.
  std::size_t turn() {
    auto received = member.try_receive(at_once);
    if (!received) check(received.error());
    if (bus::ack_all(received->leases) != received->leases.size()) fail("an ack was refused");
    return received->leases.size();
  }

  bus::Group group;
  bus::Member member;
};

}  // namespace

// --- D8: leases and acks ---

namespace {

/// Each worker makes each ack durable before it takes the next message: so one waits for a sync for each.
bool workers_of_one_group(const Options& options, int workers) {
  const Scratch scratch(options.directory);
  bus::Log log = bus::Log::open(scratch.folder("log")).value();
  bus::Group group = bus::Group::open(log, {.name = "g", .start = bus::GroupStart::oldest}).value();
  fill(log, brief(options) ? 2'000 : 200'000);
  const bus::LogStats before = log.stats();
  std::atomic<std::uint64_t> finished{0};
  const std::uint64_t begin = now_ns();
  const std::uint64_t end = begin + to_ns(options.seconds);
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < workers; ++i) {
      threads.emplace_back([&] {
        bus::Member member = group.join().value();
        while (now_ns() < end) {
          auto received = member.try_receive(1);
          if (!received) check(received.error());
          if (received->leases.empty()) return;
          if (bus::ack_all(received->leases) != 1) fail("an ack was refused");
          check(group.sync());
          finished.fetch_add(1, std::memory_order_relaxed);
        }
      });
    }
  }
  const std::uint64_t ns = now_ns() - begin;
  const bool sound = group.stats().acked == finished.load();
  Line("D8")
      .param("workers", workers)
      .metric("synced_acks_per_s", per_second(finished.load(), ns))
      .count("syncs", log.stats().syncs - before.syncs)
      .count("accounted", sound)
      .print(options);
  return sound;
}

}  // namespace

/// Each group gets all messages. Beside them somebody appends, whose commits the acks join.
bool d8(const Options& options) {
  const std::uint64_t messages = brief(options) ? 2'000 : 100'000;
  bool sound = true;
  for (const int groups : {1, 10, 100}) {
    const Scratch scratch(options.directory);
    bus::Log log = bus::Log::open(scratch.folder("log")).value();
    std::vector<std::unique_ptr<Consumer>> consumers;
    for (int i = 0; i < groups; ++i) consumers.push_back(std::make_unique<Consumer>(log, i));
    const std::uint64_t each = std::max<std::uint64_t>(messages / static_cast<std::uint64_t>(groups), 1);
    fill(log, each);

    std::atomic<bool> stop{false};
    Appender<Durability::synced> appender(log, {});
    const bus::LogStats before = log.stats();
    std::uint64_t finished = 0;
    const std::uint64_t begin = now_ns();
    {
      std::jthread publisher([&] {
        while (!stop.load(std::memory_order_relaxed)) appender.run_until(now_ns() + 100'000);
      });
      const std::uint64_t all = each * static_cast<std::uint64_t>(groups);
      while (finished < all) {
        for (const auto& consumer : consumers) finished += consumer->turn();
      }
      stop = true;
    }
    const std::uint64_t ns = now_ns() - begin;
    appender.check_sound();
    const bus::LogStats after = log.stats();
    for (const auto& consumer : consumers) {
      while (consumer->turn() != 0) {
      }
      sound &= consumer->group.stats().acked == log.next_offset();
    }
    Line("D8")
        .param("groups", groups)
        .metric("acked_per_s", per_second(finished, ns))
        .count("appends", appender.messages())
        .count("syncs", after.syncs - before.syncs)
        .metric("control_bytes_per_ack",
                static_cast<double>(after.frame_bytes - before.frame_bytes) / static_cast<double>(finished))
        .count("accounted", sound)
        .print(options);
  }
  for (const int workers : {1, 8, 64}) sound &= workers_of_one_group(options, workers);
  return sound;
}

// --- D10: from publisher to worker ---

namespace {

bool d10(const Options& options, bool reused) {
  const Scratch scratch(options.directory);
  bus::Log log = open_log(scratch.folder("log"), reused, options);
  const bus::LogStats before = log.stats();
  Consumer consumer(log, 0, bus::GroupStart::next);
  constexpr std::size_t in_flight = 1024;
  const bus::Topic topic("bench.t0");

  std::atomic<std::uint64_t> sent{0};
  std::atomic<bool> stop{false};
  bus::error_code error;
  const std::uint64_t begin = now_ns();
  std::jthread publisher([&] {
    Payload payload(usual_payload);
    std::vector<bus::PendingReceipt<bus::Durability::synced>> pending;
    pending.reserve(in_flight);
    std::size_t oldest = 0;
    std::vector<std::byte> bytes(usual_payload);
    for (std::uint64_t i = 0; !stop.load(std::memory_order_relaxed) && !error; ++i) {
      if (pending.size() == in_flight) {
        if (const auto receipt = pending[oldest].wait(); !receipt) error = receipt.error();
      }
      std::ranges::copy(payload.of(i), bytes.begin());
      const std::uint64_t now = now_ns();
      std::memcpy(bytes.data(), &now, sizeof now);
      const auto next = log.submit({.topic = topic, .payload = bytes});
      if (!next) {
        error = next.error();
      } else if (pending.size() < in_flight) {
        pending.push_back(*next);
      } else {
        pending[oldest] = *next;
        if (++oldest == in_flight) oldest = 0;
      }
      if (!error) sent.fetch_add(1, std::memory_order_release);
    }
    for (const auto& one : pending) {
      if (const auto receipt = one.wait(); !receipt) error = receipt.error();
    }
  });

  std::vector<std::uint64_t> latencies;
  const std::uint64_t end = begin + to_ns(options.seconds);
  std::uint64_t last = begin;
  const auto consume = [&] {
    auto received = consumer.member.receive_until(
        at_once * 4, std::chrono::steady_clock::now() + std::chrono::milliseconds(stop.load() ? 0 : 20));
    if (!received) check(received.error());
    last = now_ns();
    for (const bus::Lease& lease : received->leases) {
      std::uint64_t then;
      std::memcpy(&then, lease.record().payload().data(), sizeof then);
      latencies.push_back(last - then);
    }
    if (bus::ack_all(received->leases) != received->leases.size()) fail("an ack was refused");
    return received->leases.size();
  };
  while (last < end) (void)consume();
  const std::uint64_t delivered = latencies.size();
  const std::uint64_t ns = last - begin;
  stop = true;
  publisher.join();
  check(error);
  const auto until_now = std::vector(latencies);
  while (consume() != 0) {
  }
  const bool sound = latencies.size() == sent.load() && log.next_offset() == before.next_offset + sent.load();
  latencies = until_now;
  const bus::LogStats stats = log.stats();
  Line("D10")
      .param("in_flight", static_cast<int>(in_flight))
      .param("segments", reused ? "reused" : "fresh")
      .metric("msgs_per_s", per_second(delivered, ns))
      .metric("batch",
              static_cast<double>(stats.records - before.records) / static_cast<double>(stats.commits - before.commits))
      .latencies(latencies)
      .count("accounted", sound)
      .print(options);
  return sound;
}

}  // namespace

bool d10(const Options& options) {
  const bool fresh = d10(options, false);
  return d10(options, true) && fresh;
}

}  // namespace bench
