// SPDX-License-Identifier: MIT OR Apache-2.0
#include <bus/bus.hpp>
#include <bus/metrics/prometheus.hpp>
#include <bus/persistence/group.hpp>
#include <bus/persistence/log.hpp>
#include <bus/routing/router.hpp>

#include "metrics/table.hpp"
#include "simulation/sim_disk.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/wait.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace bus {
namespace {

using simulation::SimDisk;
using testing::HasSubstr;

/// Samples by `name{label="value",…}`; of histograms the buckets, `_sum` and `_count`.
using Samples = std::map<std::string, double>;

std::string with_labels(std::string name, const std::vector<prometheus::ClientMetric::Label>& labels) {
  std::string text;
  for (const auto& [label, value] : labels) {
    text += text.empty() ? "{" : ",";
    text += label + "=\"" + value + '"';
  }
  return name + text + (text.empty() ? "" : "}");
}

Samples samples(const Metrics& metrics, bool counts_only = false) {
  using enum prometheus::MetricType;
  Samples samples;
  const auto add = [&](const std::string& name, double value) {
    EXPECT_TRUE(samples.emplace(name, value).second) << name << " is there twice";
  };
  for (const auto& family : metrics.Collect()) {
    for (const auto& metric : family.metric) {
      if (family.type == Counter) {
        add(with_labels(family.name, metric.label), metric.counter.value);
      } else if (family.type == Gauge) {
        if (!counts_only) add(with_labels(family.name, metric.label), metric.gauge.value);
      } else {
        add(with_labels(family.name + "_sum", metric.label), metric.histogram.sample_sum);
        add(with_labels(family.name + "_count", metric.label), static_cast<double>(metric.histogram.sample_count));
        for (const auto& bucket : metric.histogram.bucket) {
          auto labels = metric.label;
          labels.push_back({"le", std::to_string(bucket.upper_bound)});
          add(with_labels(family.name + "_bucket", labels), static_cast<double>(bucket.cumulative_count));
        }
      }
    }
  }
  return samples;
}

/// Without `amnesia`, for short.
MetricsOptions plain() { return {.amnesia_label = false}; }

Message message(std::string_view text, Topic topic = "a.b") {
  return {.topic = std::move(topic), .principal = "agent.x", .payload = Payload::copy(text)};
}

void send(Bus& hub, int events) {
  for (int i = 0; i < events; ++i) ASSERT_TRUE(hub.send(ConfigUpdated{}));
}

LogOptions small_log() {
  LogOptions options;
  options.segment_bytes = std::uint64_t{256} << 10;
  options.uncommitted_bytes = std::size_t{256} << 10;
  options.spare_segments = 0;
  return options;
}

// --- What is shown. ---

TEST(Metrics, show_a_slow_receiver_so_that_an_alert_can_see_it) {
  Bus hub{{.capacity = 8}};
  Metrics metrics{{.labels = {{"service", "gateway"}}}};
  const Measured measured = metrics.add(hub);
  auto slow = hub.subscribe("slow");
  send(hub, 100);
  const Samples now = samples(metrics);
  const std::string labels = R"({service="gateway",amnesia="off"})";
  EXPECT_EQ(now.at("bus_capacity" + labels), 8);
  EXPECT_EQ(now.at("bus_queue_depth" + labels), 8);
  EXPECT_GE(now.at("bus_overflow_dropped_total" + labels), 100 - 8 - 64) << "but for what it may be taking";
  EXPECT_EQ(now.at("bus_published_total" + labels), 100);
  EXPECT_EQ(now.at(R"(bus_receiver_lag{service="gateway",amnesia="off",receiver="slow"})"), 8);
  EXPECT_EQ(slow.try_recv().missed(), 92U);
  EXPECT_EQ(samples(metrics).at("bus_overflow_dropped_total" + labels), 92);
}

TEST(Metrics, show_routes_by_their_names_and_principals_by_their_class) {
  Bus hub;
  Router router(hub);
  Metrics metrics(plain());
  const Measured measured = metrics.add(router, "main");
  auto inbox = router.subscribe({.owner = "o", .patterns = {"a.>"}, .budget_bytes = 2 * (route_entry_bytes + 8)});
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(router.publish(message("text")));
  ASSERT_TRUE(router.publish(message("text", "elsewhere")));
  const Samples now = samples(metrics);
  EXPECT_EQ(now.at(R"(bus_router_published_total{bus="main"})"), 6);
  EXPECT_EQ(now.at(R"(bus_router_unrouted_total{bus="main"})"), 1);
  EXPECT_EQ(now.at(R"(bus_route_active_principals{bus="main",route="o"})"), 1);
  EXPECT_EQ(now.at(R"(bus_route_budget_bytes_in_use{bus="main",route="o"})"), 2 * (route_entry_bytes + 7));
  EXPECT_EQ(now.at(R"(bus_route_byte_evictions_total{bus="main",route="o",class="agent"})"), 3);
  EXPECT_EQ(now.at(R"(bus_route_byte_evictions_total{bus="main",route="o",class="user"})"), 0) << "visible at zero";
  EXPECT_EQ(now.at(R"(bus_route_lost_total{bus="main",route="o",reason="evicted"})"), 3);
  for (const auto& [name, value] : now) EXPECT_THAT(name, testing::Not(HasSubstr("agent.x")));
}

TEST(Metrics, show_logs_and_groups) {
  SimDisk disk{1};
  Log log = Log::open(disk.mount(), small_log()).value();
  Group group = Group::open(log, {.name = "workers", .start = GroupStart::oldest}).value();
  Member member = group.join().value();
  Metrics metrics(plain());
  const Measured of_log = metrics.add(log, "events");
  const Measured of_group = metrics.add(group, "workers");
  for (const char* text : {"a", "b", "c"}) ASSERT_TRUE(log.append({.topic = "work", .payload = as_payload(text)}));
  auto leases = std::move(member.try_receive(2)->leases);
  ASSERT_EQ(leases.size(), 2U);
  EXPECT_EQ(leases[0].ack(), LeaseOutcome::done);
  const Samples now = samples(metrics);
  EXPECT_EQ(now.at(R"(bus_log_records_total{log="events"})"), 3);
  EXPECT_GE(now.at(R"(bus_log_commit_seconds_count{log="events"})"), 3) << "and what groups did";
  EXPECT_EQ(now.at(R"(bus_log_batch_records_sum{log="events"})"), 3);
  EXPECT_EQ(now.at(R"(bus_log_batch_records_bucket{log="events",le="1.000000"})"), 3);
  EXPECT_EQ(now.at(R"(bus_log_batch_records_bucket{log="events",le="inf"})"), 3) << "buckets add up";
  EXPECT_EQ(now.count(R"(bus_log_commit_seconds_bucket{log="events",le="0.000050"})"), 1U) << "microseconds as seconds";
  EXPECT_EQ(now.at(R"(bus_log_disk_bytes{log="events",part="segments"})"), 256 << 10);
  EXPECT_EQ(now.at(R"(bus_log_read_only{log="events"})"), 0);
  EXPECT_EQ(now.at(R"(bus_group_lag{group="workers"})"), 2);
  EXPECT_EQ(now.at(R"(bus_group_messages{group="workers",state="leased"})"), 1);
  EXPECT_EQ(now.at(R"(bus_group_messages{group="workers",state="ready"})"), 1);
  EXPECT_EQ(now.at(R"(bus_group_outcomes_total{group="workers",outcome="acked"})"), 1);
}

TEST(Metrics, show_dead_letters_that_make_room_for_others) {
  SimDisk disk{1};
  Log log = Log::open(disk.mount(), small_log()).value();
  Group group = Group::open(log, {.name = "workers", .start = GroupStart::oldest, .dead = {.most = 2}}).value();
  Member member = group.join().value();
  Metrics metrics(plain());
  const Measured measured = metrics.add(group, "workers");
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(log.append({.topic = "work"}));
  auto leases = std::move(member.try_receive(5)->leases);
  ASSERT_EQ(leases.size(), 5U);
  for (Lease& lease : leases) EXPECT_EQ(lease.reject("no"), LeaseOutcome::dead);
  ASSERT_FALSE(group.sync());
  while (group.stats().dead != 0) std::this_thread::yield();  // who commits tells the group after us
  const Samples now = samples(metrics);
  EXPECT_EQ(now.at(R"(bus_group_dead_letters{group="workers"})"), 2);
  EXPECT_EQ(now.at(R"(bus_group_dead_letters_missed_total{group="workers"})"), 3);
}

TEST(Metrics, say_which_bus_has_amnesia_and_stand_behind_a_prefix) {
  Bus forgets{{.amnesia = true}};
  Bus hub;
  Metrics metrics{{.name_space = "ron"}};
  const Measured one = metrics.add(forgets, "a");
  const Measured two = metrics.add(hub, "b");
  const Samples now = samples(metrics);
  EXPECT_EQ(now.count(R"(ron_bus_capacity{amnesia="on",bus="a"})"), 1U);
  EXPECT_EQ(now.count(R"(ron_bus_capacity{amnesia="off",bus="b"})"), 1U);
}

TEST(Metrics, sum_up_names_beyond_those_that_they_tell_apart) {
  Bus hub;
  Metrics metrics{{.amnesia_label = false, .max_names = 2}};
  const Measured measured = metrics.add(hub);
  std::vector<Receiver> receivers;
  for (const char* name : {"d", "c", "b", "a"}) {
    receivers.push_back(hub.subscribe(name));
    (void)metrics.Collect();  // so that the first two are the first two
  }
  send(hub, 10);
  for (Receiver& receiver : receivers) ASSERT_TRUE(receiver.try_recv());
  ASSERT_TRUE(receivers.back().try_recv());
  const Samples now = samples(metrics);
  EXPECT_EQ(now.at(R"(bus_receiver_delivered_total{receiver="d"})"), 1);
  EXPECT_EQ(now.at(R"(bus_receiver_delivered_total{receiver="c"})"), 1);
  EXPECT_EQ(now.at(R"(bus_receiver_delivered_total{receiver="other"})"), 3);
  EXPECT_EQ(now.at(R"(bus_receivers{receiver="other"})"), 2);
  EXPECT_EQ(now.at(R"(bus_receiver_lag{receiver="other"})"), 9) << "the largest";
  EXPECT_EQ(now.count(R"(bus_receivers{receiver="a"})"), 0U);
}

TEST(Metrics, make_text_of_names_that_are_none) {
  Bus hub;
  Metrics metrics(plain());
  const Measured measured = metrics.add(hub);
  const auto receiver = hub.subscribe("bad\xFFname");
  EXPECT_THAT(metrics.render(), HasSubstr("bus_receivers{receiver=\"bad\xEF\xBF\xBDname\"} 1\n"));
}

// --- What is refused. ---

template <class Call>
std::string error_of(Call&& call) {
  try {
    call();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "none";
}

TEST(Metrics, refuse_impossible_options) {
  const auto error = [](MetricsOptions options) { return error_of([&] { Metrics metrics(std::move(options)); }); };
  EXPECT_EQ(
      error({.name_space = "ron-bus"}),
      "MetricsOptions::name_space has \"ron-bus\"; allowed are letters, digits and underscores, not a digit or two "
      "underscores first");
  EXPECT_THAT(error({.name_space = "__ron"}), HasSubstr("MetricsOptions::name_space has \"__ron\""));
  EXPECT_THAT(error({.labels = {{"1st", "x"}}}), HasSubstr("MetricsOptions::labels has \"1st\""));
  for (const char* taken : {"receiver", "le", "reason", "amnesia"}) {
    EXPECT_EQ(error({.labels = {{taken, "x"}}}), "MetricsOptions::labels has \"" + std::string(taken) +
                                                     "\"; allowed are names that neither the metrics nor others have");
  }
  EXPECT_THAT(error({.labels = {{"twice", "x"}, {"twice", "y"}}}), HasSubstr("\"twice\""));
  EXPECT_THAT(error({.labels = {{"service", "\xFF"}}}), HasSubstr("UTF-8"));
  EXPECT_EQ(error({.labels = {{"amnesia", "x"}}, .amnesia_label = false}), "none");
}

TEST(Metrics, have_the_labels_that_nobody_else_may_have) {
  std::set<std::string_view> own{"le", "quantile"};
  for (const detail::Subject* subject : detail::metric_subjects()) {
    own.insert(subject->labels.begin(), subject->labels.end());
    for (const detail::Metric& metric : subject->metrics) {
      if (!metric.label.name.empty()) own.insert(metric.label.name);
    }
  }
  EXPECT_THAT(metric_labels, testing::ElementsAreArray(own));
}

TEST(Metrics, refuse_what_they_measure_already) {
  Bus hub;
  Metrics metrics;
  Measured measured = metrics.add(hub, "main");
  EXPECT_EQ(error_of([&] { (void)metrics.add(hub, "again"); }),
            "what is to be measured as \"again\" is measured already");
  measured.reset();
  measured = metrics.add(hub, "again");
  EXPECT_THAT(error_of([&] { (void)metrics.add(Bus(), "two words"); }), HasSubstr("\"two words\""));
}

// --- What comes and goes. ---

TEST(Metrics, keep_the_counts_of_what_is_gone_and_let_its_gauges_go) {
  Metrics metrics(plain());
  {
    Bus hub;
    send(hub, 7);
    const Measured measured = metrics.add(hub, "main");
    EXPECT_EQ(samples(metrics).at(R"(bus_published_total{bus="main"})"), 0) << "counted from now on";
    auto receiver = hub.subscribe("r");
    send(hub, 5);
    ASSERT_TRUE(receiver.try_recv());
  }
  Samples now = samples(metrics);
  EXPECT_EQ(now.at(R"(bus_published_total{bus="main"})"), 5) << "though nobody looked meanwhile";
  EXPECT_EQ(now.at(R"(bus_receiver_delivered_total{bus="main",receiver="r"})"), 1);
  EXPECT_EQ(now.count(R"(bus_capacity{bus="main"})"), 0U);

  Bus next;
  Measured measured = metrics.add(next, "main");
  send(next, 2);
  EXPECT_EQ(samples(metrics).at(R"(bus_published_total{bus="main"})"), 7);
  measured.reset();
  measured = metrics.add(next, "main");
  EXPECT_EQ(samples(metrics).at(R"(bus_published_total{bus="main"})"), 7) << "nothing is counted twice";
}

TEST(Metrics, keep_what_they_saw_of_a_group_that_is_removed) {
  SimDisk disk{1};
  Log log = Log::open(disk.mount(), small_log()).value();
  Group group = Group::open(log, {.name = "g", .start = GroupStart::oldest}).value();
  Metrics metrics(plain());
  const Measured measured = metrics.add(group, "g");
  const auto work = [&] {
    Member member = group.join().value();
    ASSERT_TRUE(log.append({.topic = "work"}));
    const auto received = std::move(member.try_receive().value().leases);
    ASSERT_EQ(received.size(), 1U);
  };
  work();
  EXPECT_EQ(samples(metrics).at(R"(bus_group_delivered_total{group="g"})"), 1);
  ASSERT_FALSE(group.remove());
  EXPECT_EQ(samples(metrics).at(R"(bus_group_delivered_total{group="g"})"), 1);
}

/// Objects come, work and go, as a seed says.
class Churn {
 public:
  explicit Churn(std::uint64_t seed) : random_(seed) {
    for (int i = 0; i < 2; ++i) start_host();
  }

  void step() {
    const std::size_t i = pick(hosts_.size());
    Host& host = *hosts_[i];
    switch (pick(12)) {
      case 0:
        hosts_.erase(hosts_.begin() + static_cast<std::ptrdiff_t>(i));
        start_host();
        break;
      case 1:
        host.measured.clear();
        measure(host);
        break;
      case 2: host.receivers.push_back(host.hub.subscribe(name("r"))); break;
      case 3: drop_one(host.receivers); break;
      case 4:
        host.routes.push_back(
            host.router.subscribe({.owner = name("o"), .patterns = {"a.>"}, .budget_bytes = 4 * route_entry_bytes}));
        break;
      case 5: drop_one(host.routes); break;
      case 6: host.leases.clear(); break;
      case 7: {
        auto received = host.member.try_receive(pick(5) + 1).value();
        for (Lease& lease : received.leases) host.leases.push_back(std::move(lease));
      } break;
      case 8:
        if (!host.leases.empty()) host.leases.front().ack();
        drop_one(host.leases);
        break;
      case 9: EXPECT_TRUE(host.log.append({.topic = "work", .payload = as_payload("text")})); break;
      default:
        for (std::size_t n = pick(40); n != 0; --n) {
          EXPECT_TRUE(host.router.publish(message("text")));
          ++published_;
        }
        for (Receiver& receiver : host.receivers) {
          while (pick(20) != 0 && receiver.try_recv()) ++received_;
        }
        for (RouteReceiver& route : host.routes) {
          while (pick(4) != 0 && route.try_recv()) ++routed_;
        }
    }
  }

  std::uint64_t published() const { return published_; }
  std::uint64_t received() const { return received_; }
  std::uint64_t routed() const { return routed_; }

  Metrics metrics{{.amnesia_label = false, .max_names = 3}};

 private:
  struct Host {
    Bus hub{{.capacity = 16}};
    Router router{hub};
    SimDisk disk{1};
    Log log = Log::open(disk.mount(), small_log()).value();
    Group group = Group::open(log, {.name = "g", .start = GroupStart::oldest}).value();
    Member member = group.join().value();
    std::vector<Receiver> receivers;
    std::vector<RouteReceiver> routes;
    std::vector<Lease> leases;
    std::vector<Measured> measured;
  };

  std::size_t pick(std::size_t below) { return random_() % below; }
  std::string name(std::string_view of) { return std::string(of) + std::to_string(pick(6)); }
  template <class T>
  static void drop_one(std::vector<T>& all) {
    if (!all.empty()) all.erase(all.begin());
  }
  void start_host() {
    hosts_.push_back(std::make_unique<Host>());
    measure(*hosts_.back());
  }
  void measure(Host& host) {
    const std::string as = name("h");
    host.measured.push_back(metrics.add(host.hub, as));
    host.measured.push_back(metrics.add(host.router, as));
    host.measured.push_back(metrics.add(host.log, as));
    host.measured.push_back(metrics.add(host.group, as));
  }

  std::mt19937_64 random_;
  std::vector<std::unique_ptr<Host>> hosts_;
  std::uint64_t published_ = 0;
  std::uint64_t received_ = 0;
  std::uint64_t routed_ = 0;
};

double sum_of(const Samples& all, std::string_view name) {
  double sum = 0;
  for (const auto& [sample, value] : all) {
    if (sample.starts_with(name) && sample[name.size()] == '{') sum += value;
  }
  return sum;
}

TEST(Metrics, never_go_back_and_forget_nothing_whatever_comes_and_goes) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Churn churn(seed);
    Samples before;
    for (int i = 0; i < 300; ++i) {
      churn.step();
      if (i % 3 != 0) continue;  // what happens between two scrapes counts too
      Samples now = samples(churn.metrics, true);
      for (const auto& [name, value] : before) {
        ASSERT_TRUE(now.contains(name)) << name;
        ASSERT_GE(now[name], value) << name;
      }
      before = std::move(now);
    }
    const Samples now = samples(churn.metrics, true);
    EXPECT_EQ(sum_of(now, "bus_published_total"), churn.published());
    EXPECT_EQ(sum_of(now, "bus_router_published_total"), churn.published());
    EXPECT_EQ(sum_of(now, "bus_receiver_delivered_total"), churn.received());
    EXPECT_EQ(sum_of(now, "bus_route_delivered_total"), churn.routed());
  }
}

TEST(Metrics, are_read_while_objects_come_and_go) {
  Metrics metrics(plain());
  std::atomic<bool> done{false};
  std::thread scraper([&] {
    while (!done) (void)metrics.render();
  });
  constexpr int rounds = 200;
  for (int i = 0; i < rounds; ++i) {
    Bus hub{{.capacity = 4}};
    Router router(hub);
    const Measured of_bus = metrics.add(hub, "main");
    const Measured of_router = metrics.add(router, "main");
    auto receiver = hub.subscribe("r");
    auto route = router.subscribe({.owner = "o", .patterns = {"a.>"}});
    for (int n = 0; n < 10; ++n) ASSERT_TRUE(router.publish(message("text")));
    ASSERT_EQ(receiver.try_recv().missed(), 6U);
    ASSERT_TRUE(route.try_recv());
  }
  done = true;
  scraper.join();
  const Samples now = samples(metrics);
  EXPECT_EQ(now.at(R"(bus_published_total{bus="main"})"), 10 * rounds);
  EXPECT_EQ(now.at(R"(bus_overflow_dropped_total{bus="main"})"), 6 * rounds);
  EXPECT_EQ(now.at(R"(bus_route_delivered_total{bus="main",route="o"})"), rounds);
  EXPECT_EQ(now.at(R"(bus_route_abandoned_total{bus="main",route="o"})"), 9 * rounds);
}

TEST(Metrics, go_before_what_they_measure) {
  Bus hub;
  std::optional<Metrics> metrics(std::in_place);
  Measured measured = metrics->add(hub);
  metrics.reset();
  measured.reset();
  measured.reset();
}

// --- What others say to it. ---

TEST(Metrics, pass_promtool) {
  Churn churn(1);
  for (int i = 0; i < 300; ++i) churn.step();
  FILE* const promtool = ::popen(PROMTOOL " check metrics", "w");
  ASSERT_NE(promtool, nullptr);
  const std::string page = churn.metrics.render();
  EXPECT_EQ(std::fwrite(page.data(), 1, page.size(), promtool), page.size());
  const int status = ::pclose(promtool);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0) << "what it found is above";
}

}  // namespace
}  // namespace bus
