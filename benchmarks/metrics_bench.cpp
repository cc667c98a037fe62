// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What a scrape takes, and what it costs publishers.
#include "bench_common.hpp"

#include <bus/bus.hpp>
#include <bus/metrics/prometheus.hpp>
#include <bus/routing/router.hpp>

#include <time.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

namespace bench {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t route_count = 1000;
constexpr auto scrape_every = 1s;  // usually it is 15 s
constexpr int turns = 5;

/// A router with routes of as many names, all of which are shown.
class Host {
 public:
  Host() {
    for (std::size_t i = 0; i < route_count; ++i) {
      const std::string number = std::to_string(i);
      routes_.push_back(router_.subscribe({.owner = "owner-" + number,
                                           .patterns = {bus::TopicPattern::parse("a." + number).value()},
                                           .budget_bytes = 16 << 10}));
      topics_.push_back(bus::Topic::parse("a." + number).value());
    }
  }

  void publish(std::uint64_t i) {
    (void)sender_.publish(
        {.topic = topics_[i % route_count], .principal = "agent.x", .payload = bus::Payload::copy("some text")});
  }
  std::string scrape() const { return metrics_.render(); }

 private:
  bus::Bus hub_{{.capacity = 4096}};
  bus::Router router_{hub_};
  std::vector<bus::RouteReceiver> routes_;
  std::vector<bus::Topic> topics_;
  bus::RouteSender sender_ = router_.sender();
  bus::Metrics metrics_{{.max_names = route_count}};
  const bus::Measured of_bus_ = metrics_.add(hub_);
  const bus::Measured of_router_ = metrics_.add(router_);
};

std::uint64_t thread_ns() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(time.tv_nsec);
}

/// By the time that the thread had a core: the scrape's own core time is not what is asked.
double publish_for(Host& host, std::uint64_t ns) {
  const std::uint64_t end = now_ns() + ns;
  const std::uint64_t begun = thread_ns();
  std::uint64_t published = 0;
  do {
    for (int i = 0; i < 256; ++i) host.publish(published++);
  } while (now_ns() < end);
  return per_second(published, thread_ns() - begun);
}

bool m1(const Options& options) {
  Host host;
  for (std::uint64_t i = 0; i < 100 * route_count; ++i) host.publish(i);
  std::vector<std::uint64_t> samples;
  std::size_t bytes = 0;
  const std::uint64_t end = now_ns() + to_ns(options.seconds);
  do {
    const std::uint64_t begun = now_ns();
    bytes = host.scrape().size();
    samples.push_back(now_ns() - begun);
  } while (now_ns() < end);
  Line("M1")
      .param("routes", int{route_count})
      .latencies(samples)
      .count("page_bytes", std::uint64_t{bytes})
      .print(options);
  return true;
}

/// By turns, as a machine does not stay as it is.
bool m2(const Options& options) {
  Host host;
  const std::uint64_t ns = to_ns(options.seconds);
  (void)publish_for(host, ns / 10);
  double alone = 0;
  double beside = 0;
  for (int turn = 0; turn < turns; ++turn) {
    alone += publish_for(host, ns) / turns;
    std::jthread scraper([&](const std::stop_token& stop) {
      for (auto next = std::chrono::steady_clock::now(); !stop.stop_requested(); std::this_thread::sleep_for(1ms)) {
        if (std::chrono::steady_clock::now() < next) continue;
        (void)host.scrape();
        next += scrape_every;
      }
    });
    beside += publish_for(host, ns) / turns;
  }
  Line("M2")
      .param("routes", int{route_count})
      .metric("alone_per_s", alone)
      .metric("scraped_per_s", beside)
      .metric("ratio", beside / alone)
      .print(options);
  return true;
}

constexpr Workload workloads[] = {
    {"M1", "a scrape of a router with 1,000 routes", m1},
    {"M2", "publishing beside somebody who scrapes", m2},
};

}  // namespace
}  // namespace bench

int main(int argc, char** argv) { return bench::run_workloads(argc, argv, bench::workloads); }
