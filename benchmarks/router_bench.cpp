// SPDX-License-Identifier: MIT OR Apache-2.0
//
// router_bench: what routes cost a publisher, and how fairly they serve.
//
// R1, R2 and R5 are timed; R3 and R4 count, in a time of their own, so that they give the same on every machine. R4
// reads a recording of streams of tokens, BUSBAR_STREAMS in the environment, and is left out without one.
#include <bus/routing/router.hpp>

#include "bench_common.hpp"
#include "ndjson.hpp"

#include <array>
#include <barrier>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace bench {
namespace {

/// A small generator, so that the choice of a topic is no part of what is measured.
class Random {
 public:
  std::uint64_t operator()() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_;
  }

 private:
  std::uint64_t state_ = 88172645463325252ULL;
};

bus::Payload payload_of(std::size_t bytes) { return bus::Payload::copy(std::string(bytes, 'x')); }

// --- R1: routes that do not match ---

bool r1(const Options& options) {
  bool sound = true;
  for (const int routes : {10, 100, 1000, 10'000}) {
    if (routes > 1000 && options.seconds < 0.1) break;  // subscribing them takes longer than such a run is meant to
    bus::Bus hub;
    bus::Router router(hub);
    std::vector<bus::RouteReceiver> receivers;
    std::vector<bus::Topic> topics;
    for (int i = 0; i < routes; ++i) {
      const std::string stem = "a.b" + std::to_string(i);
      receivers.push_back(router.subscribe({.owner = "bench", .patterns = {*bus::TopicPattern::parse(stem + ".>")}}));
      topics.push_back(*bus::Topic::parse(stem + ".x"));
    }
    auto sender = router.sender();
    const bus::Payload payload = payload_of(48);
    Random random;
    constexpr std::size_t batch = 256;
    std::array<std::size_t, batch> pick{};
    std::uint64_t ns = 0;
    std::uint64_t published = 0;
    std::uint64_t delivered = 0;
    const std::uint64_t end = now_ns() + to_ns(options.seconds);
    for (bool warm = false; !warm || now_ns() < end; warm = true) {
      for (std::size_t& one : pick) one = random() % static_cast<std::size_t>(routes);
      const std::uint64_t begin = now_ns();
      for (const std::size_t one : pick) {
        const auto outcome = sender.publish({topics[one], {}, payload});
        if (!outcome || outcome->taken != 1) sound = false;
      }
      if (warm) {
        ns += now_ns() - begin;
        published += batch;
      }
      for (const std::size_t one : pick) {
        while (receivers[one].try_recv()) delivered += warm ? 1 : 0;
      }
    }
    Line("R1")
        .param("routes", routes)
        .metric("ns_per_op", static_cast<double>(ns) / static_cast<double>(published))
        .count("accounted", delivered == published)
        .print(options);
    sound &= delivered == published;
  }
  return sound;
}

// --- R2: a publish that evicts ---

bool r2(const Options& options) {
  bool sound = true;
  for (const auto overflow : {bus::Overflow::evict_oldest_head, bus::Overflow::evict_fair_share}) {
    for (const int principals : {10, 100, 1000, 5000}) {
      bus::Bus hub;
      bus::Router router(hub);
      auto receiver = router.subscribe({.owner = "bench", .patterns = {"a.b.>"}, .overflow = overflow});
      std::vector<bus::Principal> who;
      for (int i = 0; i < principals; ++i) {
        char name[32];
        std::snprintf(name, sizeof name, "agent.principal-%05d", i);
        who.push_back(*bus::Principal::parse(name));
      }
      auto sender = router.sender();
      const bus::Payload payload = payload_of(512);
      const bus::Topic topic("a.b.x");
      Random random;
      const auto publish = [&] {
        return sender.publish({topic, who[random() % static_cast<std::size_t>(principals)], payload});
      };
      const std::size_t warm_up = (std::size_t{1} << 20) / 512 + 2 * static_cast<std::size_t>(principals) + 1000;
      for (std::size_t i = 0; i < warm_up; ++i) (void)publish();
      const std::uint64_t evicted_before = receiver.stats().lost_for(bus::Loss::evicted);
      std::uint64_t published = 0;
      const std::uint64_t begin = now_ns();
      do {
        for (int i = 0; i < 1000; ++i) (void)publish();
        published += 1000;
      } while (now_ns() - begin < to_ns(options.seconds));
      const std::uint64_t ns = now_ns() - begin;
      const std::uint64_t evicted = receiver.stats().lost_for(bus::Loss::evicted) - evicted_before;
      Line("R2")
          .param("principals", principals)
          .param("overflow", overflow == bus::Overflow::evict_oldest_head ? "evict_oldest_head" : "evict_fair_share")
          .metric("ns_per_op", static_cast<double>(ns) / static_cast<double>(published))
          .count("accounted", evicted == published)
          .print(options);
      sound &= evicted == published;
    }
  }
  return sound;
}

// --- R3: a quiet principal among those who flood ---

struct Fairness {
  const char* sizes;
  std::size_t budget;
  std::size_t small;
  std::size_t large;
};

bool r3_one(const Options& options, const Fairness& fairness, bus::Overflow overflow) {
  constexpr std::size_t flooders = 99;
  constexpr int flood = 4;  // messages of each flooder in a millisecond; the quiet one sends one
  // Ten seconds of a time of its own; a shorter run asked for is a shorter time.
  const int milliseconds = static_cast<int>(10'000 * std::min(1.0, 2 * options.seconds));
  constexpr std::size_t quantum = 4096;
  bus::Bus hub;
  bus::Router router(hub);
  auto receiver = router.subscribe({.owner = "bench",
                                    .patterns = {"a.>"},
                                    .budget_bytes = fairness.budget,
                                    .quantum_bytes = quantum,
                                    .overflow = overflow});
  auto sender = router.sender();
  const bus::Topic topic("a.b");
  const bus::Principal quiet("agent.quiet");
  std::vector<bus::Principal> who;
  std::vector<bus::Payload> payloads;
  std::size_t offered_each_ms = 0;
  const auto charge = [&](std::size_t bytes) { return bytes + topic.view().size() + bus::route_entry_bytes; };
  for (std::size_t i = 0; i < flooders; ++i) {
    who.push_back(*bus::Principal::parse("agent.flood-" + std::to_string(i)));
    payloads.push_back(payload_of(i % 2 == 0 ? fairness.large : fairness.small));
    offered_each_ms += charge(payloads.back().size());
  }
  const bus::Payload word = payload_of(fairness.small);
  offered_each_ms = offered_each_ms * flood + charge(word.size());

  std::map<std::string, std::uint64_t, std::less<>> served;
  std::deque<std::uint64_t> sent_at;  // how much had been served in all when each quiet message was sent
  std::vector<std::uint64_t> delays;
  std::uint64_t served_in_all = 0;
  std::uint64_t quiet_missed = 0;
  std::size_t allowance = 0;
  for (int now = 0; now < milliseconds; ++now) {
    for (std::size_t i = 0; i < flooders; ++i) {
      for (int n = 0; n < flood; ++n) {
        if (!sender.publish({topic, who[i], payloads[i]})) return false;
      }
      if (i == static_cast<std::size_t>(now) % flooders) {
        if (!sender.publish({topic, quiet, word})) return false;
        sent_at.push_back(served_in_all);
      }
    }
    for (allowance += offered_each_ms / 2; allowance > 0;) {
      const auto got = receiver.try_recv();
      if (!got) break;
      allowance -= std::min(allowance, got.charged());
      served_in_all += got.charged();
      if (got->principal == quiet) {
        quiet_missed += got.missed();
        for (std::uint64_t lost = got.missed(); lost != 0; --lost) sent_at.pop_front();
        delays.push_back(served_in_all - sent_at.front());
        sent_at.pop_front();
      } else {
        served[std::string(got->principal.view())] += got.charged();
      }
    }
  }
  // Jain's index over those who always had more to be served: here, the ones of the larger messages.
  double sum = 0;
  double squares = 0;
  std::size_t count = 0;
  std::uint64_t quiet_told = 0;
  for (const auto& one : receiver.backlogs()) quiet_told += one.principal == quiet.view() ? one.untold : 0;
  for (std::size_t i = 0; i < flooders; i += fairness.small == fairness.large ? 1 : 2) {
    const auto bytes = static_cast<double>(served[std::string(who[i].view())]);
    sum += bytes;
    squares += bytes * bytes;
    ++count;
  }
  const double jain = sum * sum / (static_cast<double>(count) * squares);
  std::sort(delays.begin(), delays.end());
  const double round = static_cast<double>(std::max(quantum, charge(fairness.large)) * (flooders + 1));
  const double rounds = static_cast<double>(percentile(delays, 0.99)) / round;
  Line("R3")
      .param("sizes", fairness.sizes)
      .param("overflow", overflow == bus::Overflow::evict_fair_share ? "evict_fair_share" : "evict_oldest_head")
      .metric("jain", jain)
      .metric("quiet_p99_rounds", rounds)
      .count("quiet_lost", quiet_missed + quiet_told)
      .count("quiet_delivered", std::uint64_t{delays.size()})
      .print(options);
  return true;
}

bool r3(const Options& options) {
  constexpr Fairness cases[] = {{"equal", std::size_t{1} << 20, 512, 512},
                                {"64 B against 64 KiB", std::size_t{64} << 20, 64, 65'536}};
  bool sound = true;
  for (const Fairness& one : cases) {
    for (const auto overflow : {bus::Overflow::evict_oldest_head, bus::Overflow::evict_fair_share}) {
      sound &= r3_one(options, one, overflow);
    }
  }
  return sound;
}

// --- R4: the ends of streams ---

bool r4(const Options& options) {
  const char* const file = std::getenv("BUSBAR_STREAMS");
  if (file == nullptr) {
    std::fprintf(stderr, "R4 is left out: BUSBAR_STREAMS names no recording\n");
    return true;
  }
  std::vector<bus::Message> messages;
  std::ifstream input(file);
  for (std::string line; std::getline(input, line);) {
    auto parsed = busbar::parse_event(line, bus::limits::max_payload_bytes);
    if (auto* message = std::get_if<bus::Message>(&parsed)) messages.push_back(std::move(*message));
  }
  if (messages.empty()) {
    std::fprintf(stderr, "R4: %s has no events\n", file);
    return false;
  }
  const bus::TopicPattern done("llm.v1.done.>");
  bool sound = true;
  for (const int kib : {16, 64, 256, 1024}) {
    for (const bool at_the_end : {false, true}) {
      bus::Bus hub;
      bus::Router router(hub);
      auto receiver = router.subscribe(
          {.owner = "bench", .patterns = {"llm.v1.>"}, .budget_bytes = static_cast<std::size_t>(kib) * 1024});
      auto sender = router.sender();
      std::uint64_t terminals = 0;
      std::uint64_t refused = 0;
      std::uint64_t delivered = 0;
      std::uint64_t missed = 0;
      std::uint64_t delivered_terminals = 0;
      std::uint64_t evicted_terminals = 0;
      const auto read = [&] {
        const auto got = receiver.try_recv();
        if (!got) return false;
        ++delivered;
        missed += got.missed() + got.missed_of_forgotten();
        delivered_terminals += got.event().terminal() ? 1 : 0;
        return true;
      };
      std::size_t n = 0;
      for (const bus::Message& message : messages) {
        const bool terminal = done.matches(message.topic);
        const auto outcome = sender.publish(message, {.terminal = terminal});
        if (!outcome) return false;
        terminals += terminal ? 1 : 0;
        refused += terminal ? outcome->refused : 0;
        if (!at_the_end && ++n % 10 == 0) read();
      }
      while (read()) {
      }
      for (const auto& one : receiver.backlogs()) missed += one.untold;
      evicted_terminals = terminals - refused - delivered_terminals;
      const bool accounted = delivered + missed == messages.size();
      Line("R4")
          .param("budget_kib", kib)
          .param("reader", at_the_end ? "at the end" : "a tenth")
          .count("terminals", terminals)
          .count("terminals_delivered", delivered_terminals)
          .count("terminals_refused", refused)
          .count("terminals_evicted", evicted_terminals)
          .count("delivered", delivered)
          .count("lost", missed)
          .count("accounted", accounted)
          .print(options);
      sound &= accounted && evicted_terminals == 0 && (kib < 256 || refused == 0);
    }
  }
  return sound;
}

// --- R5: threads that publish to routes of their own ---

bool r5(const Options& options) {
  for (const int threads : {1, 2, 4}) {
    bus::Bus hub;
    bus::Router router(hub);
    std::vector<bus::RouteReceiver> receivers;
    for (int i = 0; i < threads; ++i) {
      const auto pattern = bus::TopicPattern::parse("a.b" + std::to_string(i) + ".>");
      receivers.push_back(router.subscribe({.owner = "bench", .patterns = {*pattern}}));
    }
    std::atomic<bool> stop = false;
    std::vector<PaddedCounter> published(static_cast<std::size_t>(threads));
    std::barrier begin(threads + 1);
    std::vector<std::jthread> publishers;
    for (int i = 0; i < threads; ++i) {
      publishers.emplace_back([&, i] {
        auto sender = router.sender();
        const auto topic = *bus::Topic::parse("a.b" + std::to_string(i) + ".x");
        const auto principal = *bus::Principal::parse("agent.of-" + std::to_string(i));
        const bus::Payload payload = payload_of(48);
        auto& mine = published[static_cast<std::size_t>(i)].value;
        begin.arrive_and_wait();
        while (!stop.load(std::memory_order_relaxed)) {
          for (int n = 0; n < 64; ++n) (void)sender.publish({topic, principal, payload});
          mine.store(mine.load(std::memory_order_relaxed) + 64, std::memory_order_relaxed);
        }
      });
    }
    begin.arrive_and_wait();
    const std::uint64_t start = now_ns();
    std::this_thread::sleep_for(std::chrono::duration<double>(options.seconds));
    stop = true;
    publishers.clear();
    const std::uint64_t ns = now_ns() - start;
    std::uint64_t sum = 0;
    for (const auto& one : published) sum += one.value.load();
    Line("R5").param("threads", threads).metric("published_per_s", per_second(sum, ns)).print(options);
  }
  return true;
}

constexpr Workload workloads[] = {
    {"R1", "a publish that matches one of many routes", r1},
    {"R2", "a publish that evicts, among many principals", r2},
    {"R3", "a quiet principal among 99 that flood", r3},
    {"R4", "the ends of recorded streams under small budgets", r4},
    {"R5", "threads that publish to routes of their own", r5},
};

}  // namespace
}  // namespace bench

int main(int argc, char** argv) { return bench::run_workloads(argc, argv, bench::workloads); }
