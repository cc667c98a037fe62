// SPDX-License-Identifier: MIT OR Apache-2.0
//
// bus_bench: what the bus costs its publishers and its receivers.
//
// B1 to B4 hold publishers so that nothing is lost, B6 lets the receiver be overrun: both stop the clock themselves and
// check every account. See bus_bench.hpp for what all have in common.
#include "bus_bench.hpp"

#include <cstdio>
#include <cstdlib>
#include <new>
#include <optional>
#include <thread>
#include <utility>

// Sanitizers bring operators new of their own; then nothing is counted.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define BUS_BENCH_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define BUS_BENCH_SANITIZED 1
#endif
#endif

#ifndef BUS_BENCH_SANITIZED
namespace {

void* allocate(std::size_t bytes, std::size_t align) {
  if (bench::Allocations::counting.load(std::memory_order_relaxed)) {
    bench::Allocations::counted.fetch_add(1, std::memory_order_relaxed);
  }
  const std::size_t size = bytes == 0 ? 1 : bytes;
  void* memory = align <= alignof(std::max_align_t) ? std::malloc(size)
                                                    : std::aligned_alloc(align, (size + align - 1) / align * align);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

// All other forms of new and delete end in these.
void* operator new(std::size_t bytes) { return allocate(bytes, 1); }
void* operator new(std::size_t bytes, std::align_val_t align) {
  return allocate(bytes, static_cast<std::size_t>(align));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
#endif

namespace bench {
namespace {

constexpr Mode all_modes[] = {Mode::poll, Mode::batch, Mode::blocking, Mode::async, Mode::async_batch};

/// Calls `measure(mode)` for each mode asked for. Returns: whether all were sound.
template <class Measure>
bool in_each_mode(const Options& options, std::span<const Mode> modes, Measure measure) {
  bool sound = true;
  for (const Mode mode : modes) {
    if (options.wants_mode(name_of(mode))) sound &= measure(mode);
  }
  return sound;
}

// --- B1 to B4, B9 ---

template <int Publishers, int Receivers>
bool held(const Options& options, const char* id) {
  return in_each_mode(options, all_modes, [&](Mode mode) {
    HeldRun measured(Publishers, Receivers, options.seconds);
    run(measured, mode);
    std::uint64_t delivered = 0, missed = 0;
    for (const Tally& tally : measured.tallies) {
      delivered += tally.delivered();
      missed += tally.missed();
    }
    Line(id)
        .param("pubs", Publishers)
        .param("subs", Receivers)
        .param("recv", name_of(mode))
        .metric("msgs_per_s", per_second(measured.published, measured.elapsed_ns))
        .metric("deliveries_per_s", per_second(delivered, measured.elapsed_ns))
        .count("lost", missed)
        .print(options);
    return measured.sound(id);
  });
}

bool b1(const Options& options) { return held<1, 1>(options, "B1"); }
bool b2(const Options& options) { return held<1, 4>(options, "B2"); }
bool b3(const Options& options) { return held<4, 1>(options, "B3"); }
bool b4(const Options& options) { return held<4, 4>(options, "B4"); }

bool b9(const Options& options) {
#ifdef BUS_BENCH_SANITIZED
  std::fprintf(stderr, "B9 is left out: under a sanitizer allocations are not counted\n");
  return true;
#endif
  return in_each_mode(options, all_modes, [&](Mode mode) {
    HeldRun measured(1, 1, options.seconds);
    measured.count_allocations = true;
    Allocations::counted = 0;
    run(measured, mode);
    const std::uint64_t events = std::max<std::uint64_t>(1, measured.counted_events);
    Line("B9")
        .param("pubs", 1)
        .param("subs", 1)
        .param("recv", name_of(mode))
        .metric("allocations_per_event", static_cast<double>(Allocations::counted) / static_cast<double>(events))
        .count("allocations", Allocations::counted)
        .count("events", measured.counted_events)
        .print(options);
    return measured.sound("B9");
  });
}

// --- B5: a publish, and nobody reads ---

bool b5(const Options& options) {
  constexpr std::uint64_t publishes = 3'000'000, warm_up = publishes / 10;
  bool sound = true;
  for (const int idle : {0, 1, 4}) {
    bus::Bus hub{{.capacity = capacity}};
    std::vector<bus::Receiver> receivers;
    for (int i = 0; i < idle; ++i) receivers.push_back(hub.subscribe());
    bus::Sender sender = hub.sender();
    std::uint64_t start = 0, refused = 0;
    for (Content content; content.sequence < warm_up + publishes; ++content.sequence) {
      if (content.sequence == warm_up) start = now_ns();
      if (!sender.send(message(content))) ++refused;
    }
    const std::uint64_t elapsed = now_ns() - start;
    Line("B5")
        .param("subs", idle)
        .metric("ns_per_op", static_cast<double>(elapsed) / static_cast<double>(publishes))
        .print(options);
    if (refused != 0 || hub.stats().published != warm_up + publishes) {
      std::fprintf(stderr, "B5 does not add up: %llu publishes refused\n", as_printed(refused));
      sound = false;
    }
  }
  return sound;
}

// --- B6: a receiver that is overrun ---

bool b6(const Options& options) {
  return in_each_mode(options, all_modes, [&](Mode mode) {
    OverrunRun measured(options.seconds);
    run(measured, mode);
    Line("B6")
        .param("pubs", 1)
        .param("subs", 1)
        .param("recv", name_of(mode))
        .metric("msgs_per_s", per_second(measured.tally.delivered(), measured.elapsed_ns))
        .metric("published_per_s", per_second(measured.published, measured.elapsed_ns))
        .count("published", measured.published)
        .count("delivered", measured.tally.delivered())
        .count("lost", measured.tally.missed())
        .count("accounted", measured.tally.accounts_for(measured.published))
        .print(options);
    return measured.sound("B6");
  });
}

// --- B7: one-way latency ---

bool b7(const Options& options) {
  constexpr std::uint64_t warm_up = 20'000, samples = 100'000, interval_ns = 10'000;
  constexpr Mode modes[] = {Mode::poll, Mode::blocking, Mode::async};
  return in_each_mode(options, modes, [&](Mode mode) {
    bus::Bus hub{{.capacity = capacity}};
    bus::Receiver receiver = hub.subscribe();
    Latencies latencies(warm_up, samples);
    std::thread reading([&] { receive_latencies(receiver, latencies, mode); });
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // until it waits
    bus::Sender sender = hub.sender();
    const std::uint64_t start = now_ns();
    for (Content content; content.sequence < warm_up + samples; ++content.sequence) {
      while (now_ns() < start + content.sequence * interval_ns) bus::sync::pause();
      content.sent_ns = now_ns();  // so that a delayed publisher is not charged to the bus
      (void)sender.send(message(content));
    }
    const std::uint64_t elapsed = now_ns() - start;
    hub.close();
    reading.join();
    const std::uint64_t got = latencies.samples().size();
    Line("B7")
        .param("recv", name_of(mode))
        .metric("achieved_msgs_per_s", per_second(warm_up + samples, elapsed))
        .latencies(latencies.samples())
        .count("lost", samples - got)
        .print(options);
    // What was missed during the warm-up is in one count only.
    if (samples - got <= latencies.missed() && receiver.stats().missed == latencies.missed()) return true;
    std::fprintf(stderr, "B7 does not add up: %llu samples, %llu missed\n", as_printed(got),
                 as_printed(latencies.missed()));
    return false;
  });
}

// --- B8: construct and destroy ---

bool b8(const Options& options) {
  constexpr int buses = 50'000;
  for (const bool used : {false, true}) {
    const std::uint64_t start = now_ns();
    for (int i = 0; i < buses; ++i) {
      bus::Bus hub{{.capacity = 256}};
      std::optional<bus::Receiver> receiver;
      std::optional<bus::Sender> sender;
      if (used) {
        receiver.emplace(hub.subscribe());
        sender.emplace(hub.sender());
      }
      keep(hub);
    }
    Line("B8")
        .param("capacity", 256)
        .param("what", used ? "with a sender and a receiver" : "the bus alone")
        .metric("ns_per_op", static_cast<double>(now_ns() - start) / buses)
        .print(options);
  }
  return true;
}

constexpr Workload workloads[] = {
    {"B1", "1 publisher, 1 receiver, nothing lost", b1},
    {"B2", "1 publisher, 4 receivers, nothing lost", b2},
    {"B3", "4 publishers, 1 receiver, nothing lost", b3},
    {"B4", "4 publishers, 4 receivers, nothing lost", b4},
    {"B5", "a publish with 0, 1 and 4 receivers that never read", b5},
    {"B6", "a publisher that never waits, a receiver as fast as it can", b6},
    {"B7", "one-way latency at 100,000 events a second", b7},
    {"B8", "constructing and destroying a bus of 256", b8},
    {"B9", "allocations for each event in steady state", b9},
};

}  // namespace
}  // namespace bench

int main(int argc, char** argv) { return bench::run_workloads(argc, argv, bench::workloads); }
