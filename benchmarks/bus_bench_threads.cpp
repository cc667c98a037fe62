// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Publishers and receivers as threads, none of them pinned.
#include "bus_bench.hpp"

#include <algorithm>
#include <cstdio>
#include <thread>
#include <utility>

namespace bench {
namespace {

/// Between two looks, `Wait` waits.
template <class Wait, class Sink>
void receive_polling(bus::Receiver& receiver, Sink& sink) {
  Wait wait;
  for (;;) {
    const bus::Received got = receiver.try_recv();
    sink.missed(got.missed());
    if (got) {
      wait.reset();
      sink.take(*got);
    } else if (got.closed()) {
      return;
    } else {
      wait.wait();
    }
  }
}

template <class Wait, class Sink>
void receive_batches(bus::Receiver& receiver, Sink& sink) {
  Wait wait;
  for (;;) {
    const bus::Batch batch = receiver.try_recv_batch();
    sink.missed(batch.missed());
    if (batch) {
      wait.reset();
      sink.take(batch);
    } else if (batch.closed()) {
      return;
    } else {
      wait.wait();
    }
  }
}

template <class Sink>
void receive_blocking(bus::Receiver& receiver, Sink& sink) {
  for (;;) {
    const bus::Received got = receiver.recv();
    sink.missed(got.missed());
    if (!got) return;  // closed: the only other way out of recv
    sink.take(*got);
  }
}

template <class Wait, class Sink>
void receive(bus::Receiver& receiver, Sink& sink, Mode mode) {
  switch (mode) {
    case Mode::poll: return receive_polling<Wait>(receiver, sink);
    case Mode::batch: return receive_batches<Wait>(receiver, sink);
    case Mode::blocking: return receive_blocking(receiver, sink);
    case Mode::async:
    case Mode::async_batch: return receive_in_coroutine(receiver, sink, mode);
  }
}

/// For latencies: stays on its core.
struct Spin {
  void wait() { bus::sync::pause(); }
  void reset() {}
};

void publish_held(HeldRun& run, int number) {
  ++run.ready;
  while (!run.go.load(std::memory_order_acquire)) std::this_thread::yield();
  HeldPublisher publisher(run, number);
  for (; !publisher.time_is_up(); publisher.publish()) {
    for (Backoff backoff; publisher.held();) backoff.wait();
  }
}

void run_in_threads(HeldRun& run, Mode mode) {
  std::vector<std::thread> publishers, receivers;
  for (std::size_t i = 0; i < run.receivers.size(); ++i) {
    receivers.emplace_back([&run, mode, i] {
      Tally tally = run.tallies[i];  // its own, on its own stack
      ++run.ready;
      receive<Backoff>(run.receivers[i], tally, mode);
      run.tallies[i] = tally;
    });
  }
  for (int i = 0; i < run.publishers; ++i) publishers.emplace_back([&run, i] { publish_held(run, i); });
  while (run.ready != run.publishers + static_cast<int>(run.receivers.size())) std::this_thread::yield();
  const std::uint64_t start = now_ns();
  run.go.store(true, std::memory_order_release);
  for (std::thread& publisher : publishers) publisher.join();
  run.hub.close();
  for (std::thread& receiver : receivers) receiver.join();
  run.elapsed_ns = now_ns() - start;
}

}  // namespace

void run(HeldRun& run, Mode mode) { in_coroutines(mode) ? run_in_coroutines(run, mode) : run_in_threads(run, mode); }

void run(OverrunRun& run, Mode mode) {
  std::atomic<bool> ready{false};
  std::thread receiver([&] {
    Tally tally = run.tally;
    ready = true;
    receive<Backoff>(run.receiver, tally, mode);
    run.tally = tally;
  });
  while (!ready) std::this_thread::yield();
  bus::Sender sender = run.hub.sender();
  Content content;
  const std::uint64_t start = now_ns();
  while ((content.sequence & 1023) != 0 || now_ns() - start < run.publishing_ns) {
    (void)sender.send(message(content));  // one refused is one that the bus does not count, which `sound` sees
    ++content.sequence;
  }
  run.elapsed_ns = now_ns() - start;
  run.published = content.sequence;
  run.hub.close();
  receiver.join();
}

void receive_latencies(bus::Receiver& receiver, Latencies& latencies, Mode mode) {
  receive<Spin>(receiver, latencies, mode);
}

bool HeldRun::sound(std::string_view workload, std::uint64_t others) const {
  const std::uint64_t expected = published + others;
  const std::uint64_t counted = hub.stats().published;
  bool right = refused == 0 && counted == expected;
  for (const Tally& tally : tallies) right &= tally.missed() == 0 && tally.accounts_for(expected);
  if (right) return true;
  std::fprintf(stderr, "%.*s does not add up: published %llu, refused %llu, counted by the bus %llu\n",
               static_cast<int>(workload.size()), workload.data(), as_printed(expected), as_printed(refused.load()),
               as_printed(counted));
  for (const Tally& tally : tallies) tally.print(stderr);
  return false;
}

bool OverrunRun::sound(std::string_view workload, std::uint64_t others) const {
  const std::uint64_t expected = published + others;
  const std::uint64_t counted = hub.stats().published;
  if (counted == expected && tally.accounts_for(expected)) return true;
  std::fprintf(stderr, "%.*s does not add up: published %llu, counted by the bus %llu\n",
               static_cast<int>(workload.size()), workload.data(), as_printed(expected), as_printed(counted));
  tally.print(stderr);
  return false;
}

}  // namespace bench
