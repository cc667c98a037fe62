// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What the bus benchmarks in threads and in coroutines have in common: the message, the accounts, the pacing.
#pragma once

#include <bus/bus.hpp>

#include "bench_common.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

namespace bench {

inline constexpr std::uint64_t capacity = 1024;
inline constexpr int max_publishers = 5;

enum class Mode { poll, batch, blocking, async, async_batch };

constexpr std::string_view name_of(Mode mode) {
  switch (mode) {
    case Mode::poll: return "poll";
    case Mode::batch: return "batch";
    case Mode::blocking: return "blocking";
    case Mode::async: return "async";
    case Mode::async_batch: break;
  }
  return "async-batch";
}

constexpr bool in_coroutines(Mode mode) { return mode == Mode::async || mode == Mode::async_batch; }

/// The 48 bytes that every message carries.
struct Content {
  std::uint64_t sequence = 0;  ///< of its publisher, from 0
  std::uint64_t sent_ns = 0;   ///< 0 unless latency is measured
  std::uint64_t publisher = 0;
  std::uint64_t words[3] = {1, 2, 3};
};
static_assert(sizeof(Content) == 48);

inline bus::Message message(const Content& content) {
  static const bus::Topic topic{"bench.v1.event"};
  return {topic, {}, bus::Payload::copy(std::as_bytes(std::span(&content, 1)))};
}

inline Content content_of(const bus::Event& event) {
  Content content;
  std::memcpy(&content, event.get_if<bus::Message>()->payload.bytes().data(), sizeof content);
  return content;
}

/// Counts allocations while it is told to; see the operators new in bus_bench.cpp.
struct Allocations {
  static inline std::atomic<bool> counting{false};
  static inline std::atomic<std::uint64_t> counted{0};
};

/// How far each receiver has come with each publisher. A bus does not hold publishers back; these counters do, so
/// that nothing is lost, and their cost is part of what is measured.
class Pace {
 public:
  /// `stopped` further publishers are counted, but publish so little that nobody need hold them.
  Pace(int publishers, int receivers, int stopped)
      : window_(capacity / 2 / static_cast<std::uint64_t>(publishers)),
        counters_each_(static_cast<std::size_t>(publishers + stopped)),
        taken_(counters_each_ * static_cast<std::size_t>(receivers)) {}

  /// How far a publisher may be ahead of the slowest receiver: together they fill half of the ring.
  std::uint64_t window() const { return window_; }

  std::uint64_t slowest(int publisher) const {
    std::uint64_t least = ~std::uint64_t{0};
    for (std::size_t i = static_cast<std::size_t>(publisher); i < taken_.size(); i += counters_each_) {
      least = std::min(least, taken_[i].value.load(std::memory_order_acquire));
    }
    return least;
  }

  /// The counters of one receiver, one for each publisher.
  std::span<PaddedCounter> of(int receiver) {
    return std::span(taken_).subspan(static_cast<std::size_t>(receiver) * counters_each_, counters_each_);
  }

 private:
  std::uint64_t window_;
  std::size_t counters_each_;
  std::vector<PaddedCounter> taken_;
};

/// What a receiver has seen, checked against the sequences of the publishers.
class alignas(64) Tally {
 public:
  Tally(Pace& pace, int receiver) : taken_(pace.of(receiver)) {}

  void missed(std::uint64_t events) { missed_ += events; }

  void take(const bus::Event& event) { tell(note(event)); }

  /// Publishers learn of a batch once.
  void take(const bus::Batch& batch) {
    std::array<bool, max_publishers> seen{};
    for (const bus::Event& event : batch) seen[note(event)] = true;
    for (std::size_t publisher = 0; publisher < taken_.size(); ++publisher) {
      if (seen[publisher]) tell(publisher);
    }
  }

  std::uint64_t delivered() const { return delivered_; }
  std::uint64_t missed() const { return missed_; }

  /// Whether exactly what was reported missed is missing from what was published.
  bool accounts_for(std::uint64_t published) const { return delivered_ + missed_ == published && gaps_ == missed_; }

  void print(std::FILE* to) const {
    std::fprintf(to, "  a receiver: delivered %llu, missed %llu, missing by sequence %llu\n", as_printed(delivered_),
                 as_printed(missed_), as_printed(gaps_));
  }

 private:
  std::size_t note(const bus::Event& event) {
    const Content content = content_of(event);
    std::uint64_t& next = next_[content.publisher];
    gaps_ += content.sequence - next;
    next = content.sequence + 1;
    ++delivered_;
    return content.publisher;
  }
  void tell(std::size_t publisher) { taken_[publisher].value.store(next_[publisher], std::memory_order_release); }

  std::array<std::uint64_t, max_publishers> next_{};
  std::uint64_t delivered_ = 0;
  std::uint64_t gaps_ = 0;
  std::uint64_t missed_ = 0;
  std::span<PaddedCounter> taken_;
};

/// One run of P publishers and S receivers in which publishers are held so that nothing is lost.
struct HeldRun {
  HeldRun(int publishing, int receiving, double seconds, int stopped = 0)
      : publishers(publishing), pace(publishing, receiving, stopped), publishing_ns(to_ns(seconds)) {
    for (int i = 0; i < receiving; ++i) {
      receivers.push_back(hub.subscribe());
      tallies.emplace_back(pace, i);
    }
  }

  /// Whether nothing was lost, and the bus, the publishers and each receiver counted the same. `others` were published
  /// by publishers that are not of the run. Says on standard error what is wrong.
  bool sound(std::string_view workload, std::uint64_t others = 0) const;

  const int publishers;
  bus::Bus hub{{.capacity = capacity}};
  Pace pace;
  std::vector<bus::Receiver> receivers;
  std::vector<Tally> tallies;
  std::uint64_t publishing_ns;
  bool count_allocations = false;  ///< in the second half of the run

  std::atomic<int> ready{0};
  std::atomic<bool> go{false};
  std::atomic<std::uint64_t> published{0};
  std::atomic<std::uint64_t> refused{0};
  std::uint64_t counted_events = 0;  ///< those published while allocations were counted
  std::uint64_t elapsed_ns = 0;  ///< from the start until the last receiver had everything
};

/// One publisher of such a run; a thread and a coroutine differ only in how they wait while `held`.
class HeldPublisher {
 public:
  HeldPublisher(HeldRun& run, int number)
      : run_(run), number_(number), end_ns_(now_ns() + run.publishing_ns), window_(run.pace.window()), limit_(window_) {
    content_.publisher = static_cast<std::uint64_t>(number);
  }
  HeldPublisher(const HeldPublisher&) = delete;
  HeldPublisher& operator=(const HeldPublisher&) = delete;

  /// Adds what it did to the accounts of the run.
  ~HeldPublisher() {
    run_.published += content_.sequence;
    run_.refused += refused_;
  }

  bool time_is_up() { return (content_.sequence & 1023) == 0 && look_at_clock(); }

  bool held() {
    if (content_.sequence < limit_) return false;
    limit_ = run_.pace.slowest(number_) + window_;
    return content_.sequence >= limit_;
  }

  void publish() {
    if (!sender_.send(message(content_))) ++refused_;
    ++content_.sequence;
  }

 private:
  bool look_at_clock() {
    const std::uint64_t now = now_ns();
    if (run_.count_allocations && !counting_ && now >= end_ns_ - run_.publishing_ns / 2) {
      counting_ = true;
      counted_from_ = content_.sequence;
      Allocations::counting = true;
    }
    if (now < end_ns_) return false;
    if (counting_) {
      Allocations::counting = false;
      run_.counted_events = content_.sequence - counted_from_;
    }
    return true;
  }

  HeldRun& run_;
  const int number_;
  const std::uint64_t end_ns_;
  const std::uint64_t window_;
  std::uint64_t limit_;
  bus::Sender sender_ = run_.hub.sender();
  Content content_;
  std::uint64_t refused_ = 0;
  bool counting_ = false;
  std::uint64_t counted_from_ = 0;
};

/// What is received of the latency of publishes.
class Latencies {
 public:
  Latencies(std::uint64_t warm_up, std::uint64_t samples) : warm_up_(warm_up) { samples_.reserve(samples); }

  void missed(std::uint64_t events) { missed_ += events; }
  void take(const bus::Event& event) {
    const std::uint64_t now = now_ns();
    const Content content = content_of(event);
    if (content.sequence >= warm_up_) samples_.push_back(now - content.sent_ns);
  }
  void take(const bus::Batch& batch) {
    for (const bus::Event& event : batch) take(event);
  }

  std::vector<std::uint64_t>& samples() { return samples_; }
  std::uint64_t missed() const { return missed_; }

 private:
  std::uint64_t warm_up_;
  std::vector<std::uint64_t> samples_;
  std::uint64_t missed_ = 0;
};

/// One run in which a publisher never waits, and one receiver reads as fast as it can.
struct OverrunRun {
  explicit OverrunRun(double seconds, int stopped = 0) : pace(1, 1, stopped), publishing_ns(to_ns(seconds)) {}

  /// Whether every event was either delivered or reported missed. `others` as for a held run.
  bool sound(std::string_view workload, std::uint64_t others = 0) const;

  bus::Bus hub{{.capacity = capacity}};
  Pace pace;
  bus::Receiver receiver = hub.subscribe();
  Tally tally{pace, 0};
  std::uint64_t publishing_ns;
  std::uint64_t published = 0;
  std::uint64_t elapsed_ns = 0;  ///< of publishing
};

// --- bus_bench_threads.cpp ---

/// Runs publishers and receivers as threads, or as coroutines if the mode says so.
void run(HeldRun& run, Mode mode);

/// Publishes in this thread and receives in another, or in a coroutine if the mode says so.
void run(OverrunRun& run, Mode mode);

/// Receives in this thread until the bus is closed; in coroutines if the mode says so. Spinning, a thread never offers
/// its core to others.
void receive_latencies(bus::Receiver& receiver, Latencies& latencies, Mode mode);

// --- bus_bench_async.cpp ---

/// Publishers and receivers are coroutines on an io_context of two threads.
void run_in_coroutines(HeldRun& run, Mode mode);

/// One coroutine on an io_context of two threads, of which the calling one is one; until the bus is closed.
void receive_in_coroutine(bus::Receiver& receiver, Tally& tally, Mode mode);
void receive_in_coroutine(bus::Receiver& receiver, Latencies& latencies, Mode mode);

}  // namespace bench
