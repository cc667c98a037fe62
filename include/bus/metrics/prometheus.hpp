// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Buses, routers, logs and groups as Prometheus sees them.
//
//   auto metrics = std::make_shared<bus::Metrics>(bus::MetricsOptions{.labels = {{"service", "gateway"}}});
//   const bus::Measured of_bus = metrics->add(hub);
//   const bus::Measured of_log = metrics->add(log, "events");
//
//   prometheus::Exposer exposer{"127.0.0.1:9464"};
//   exposer.RegisterCollectable(metrics);       // or a server of one's own offers metrics->render()
//
// Cost     Nothing is done for a publish, or a commit: a scrape reads the counters that are there anyway.
// Counts   A counter stands at zero when its object is added, and never goes back: what is gone, be it a receiver, a
//          route, or an object that is no longer measured, leaves its counts behind. A gauge goes with its object.
// Names    Objects that are added under one name are shown as one: counters and amounts are added, and of depths,
//          lags and capacities it is the largest. So a bus that takes over from another may have its name.
//
// docs/metrics.md lists all metrics.
#pragma once

#include <bus/export.hpp>
#include <bus/metrics_options.hpp>

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bus {

class Bus;
class DurableTopics;
class Group;
class Log;
class Router;

namespace detail {
class MetricsCore;
}

/// Keeps an object measured. Lifetime: may outlive the metrics; must go before what it measures is destroyed or moved,
/// or a log is opened again.
class [[nodiscard]] BUSBAR_EXPORT Measured {
 public:
  Measured() noexcept = default;
  Measured(Measured&& other) noexcept : core_(std::move(other.core_)), number_(other.number_) {}
  Measured& operator=(Measured&& other) noexcept {
    if (this != &other) {
      reset();
      core_ = std::move(other.core_);
      number_ = other.number_;
    }
    return *this;
  }
  ~Measured() { reset(); }

  /// Ends it, and keeps what was counted until now. Blocks: until a scrape that is under way has ended.
  void reset() noexcept;

 private:
  friend class Metrics;
  Measured(std::shared_ptr<detail::MetricsCore> core, std::uint64_t number) noexcept
      : core_(std::move(core)), number_(number) {}
  std::shared_ptr<detail::MetricsCore> core_;
  std::uint64_t number_ = 0;
};

/// All that is measured in a process, or in a part of it. See the head of this file.
/// Threads: all functions from any thread.
class BUSBAR_EXPORT Metrics final : public prometheus::Collectable {
 public:
  /// Metrics of nothing yet. Errors: throws std::invalid_argument naming the option that is wrong, std::bad_alloc.
  explicit Metrics(MetricsOptions options = {});
  ~Metrics() override;
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  /// Shows it from now on. `name` is the value of its label, `bus`, `log` or `group`; without one it has no such label.
  /// Errors: throws std::invalid_argument, for a name over 64 bytes or with a space or control byte, or an object that
  ///         is measured already; std::bad_alloc.
  Measured add(const Bus& bus, std::string_view name = {});
  Measured add(const Router& router, std::string_view bus_name = {});
  Measured add(const DurableTopics& topics, std::string_view bus_name = {});
  Measured add(const Log& log, std::string_view name = {});
  Measured add(const Group& group, std::string_view name = {});

  /// What there is now. Errors: throws std::bad_alloc.
  std::vector<prometheus::MetricFamily> Collect() const override;

  /// The same as a page of text, and what HTTP calls its type. Errors: as `Collect`.
  std::string render() const;
  static constexpr std::string_view content_type = "text/plain; version=0.0.4; charset=utf-8";

 private:
  const std::shared_ptr<detail::MetricsCore> core_;
};

}  // namespace bus
