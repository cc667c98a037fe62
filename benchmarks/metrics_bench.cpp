// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What a scrape takes, and what it costs publishers.
#include "bench_common.hpp"

#include <bus/bus.hpp>
#include <bus/metrics/prometheus.hpp>
#include <bus/routing/router.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

namespace bench {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t route_count = 1000;
constexpr auto scrape_every = 150ms;  // usually it is 15 s

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

double publish_for(Host& host, std::uint64_t ns) {
  const std::uint64_t begun = now_ns();
  std::uint64_t published = 0;
  std::uint64_t now = begun;
  for (; now - begun < ns; now = now_ns()) {
    for (int i = 0; i < 256; ++i) host.publish(published++);
  }
  return per_second(published, now - begun);
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

bool m2(const Options& options) {
  Host host;
  const std::uint64_t ns = to_ns(options.seconds);
  (void)publish_for(host, ns / 10);
  const double alone = publish_for(host, ns);
  std::atomic<bool> done{false};
  std::thread scraper([&] {
    while (!done) {
      (void)host.scrape();
      std::this_thread::sleep_for(scrape_every);
    }
  });
  const double beside = publish_for(host, ns);
  done = true;
  scraper.join();
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
