// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Every metric there is: what it is called, and where it is read.
#pragma once

#include <bus/persistence/durable_topics.hpp>
#include <bus/persistence/group.hpp>
#include <bus/persistence/log.hpp>
#include <bus/routing/router.hpp>
#include <bus/stats.hpp>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace bus::detail {

enum class MetricKind : std::uint8_t { counter, gauge, largest, histogram };  ///< `largest`: a gauge that is not summed

/// A label whose values the metric itself gives.
struct ClosedLabel {
  std::string_view name = {};
  std::vector<std::string_view> values = {};
};

struct Metric {
  std::string_view name;
  MetricKind kind;
  std::string_view unit;
  std::string_view help;
  ClosedLabel label = {};
  std::span<const std::uint64_t> bounds = {};  ///< of a histogram
  double divisor = 1;  ///< from what is counted to `unit`

  /// A value for each value of the label; or for each bucket of the histogram, and their sum.
  std::size_t size() const noexcept {
    if (kind == MetricKind::histogram) return bounds.size() + 2;
    return label.values.empty() ? 1 : label.values.size();
  }
  /// Values only grow.
  bool grows() const noexcept { return kind == MetricKind::counter || kind == MetricKind::histogram; }
};

/// Values of all metrics of a subject, one behind the other.
using MetricValues = std::vector<std::uint64_t>;

/// Metrics that are read from one snapshot, and so have the same labels.
struct Subject {
  std::string_view title;
  std::vector<std::string_view> labels;  ///< whose values are names that the program gave
  std::vector<Metric> metrics = {};
  std::size_t size = 0;  ///< of all metrics

  /// Calls `visit(metric, first)` with where its values begin.
  template <class Visit>
  void for_each(Visit&& visit) const {
    std::size_t first = 0;
    for (const Metric& metric : metrics) {
      visit(metric, first);
      first += metric.size();
    }
  }
};

template <class Stats>
class SubjectOf final : public Subject {
 public:
  using Read = void (*)(const Stats&, std::span<std::uint64_t> values);

  struct Row {
    Metric metric;
    Read read;
  };

  SubjectOf(std::string_view head, std::vector<std::string_view> names, std::initializer_list<Row> rows)
      : Subject{head, std::move(names)} {
    for (const Row& row : rows) {
      metrics.push_back(row.metric);
      reads_.push_back(row.read);
      size += row.metric.size();
    }
  }

  MetricValues read(const Stats& stats) const {
    MetricValues values(size);
    auto read = reads_.begin();
    for_each([&](const Metric& metric, std::size_t first) {
      (*read++)(stats, std::span(values).subspan(first, metric.size()));
    });
    return values;
  }

 private:
  std::vector<Read> reads_;
};

const SubjectOf<BusStats>& bus_metrics();
const SubjectOf<NameStats>& receiver_metrics();
const SubjectOf<RouterStats>& router_metrics();
const SubjectOf<RouteNameStats>& route_metrics();
const SubjectOf<DurableTopicsStats>& durable_metrics();
const SubjectOf<LogStats>& log_metrics();
const SubjectOf<GroupStats>& group_metrics();

/// All of them, as they stand on the page.
std::vector<const Subject*> metric_subjects();

}  // namespace bus::detail
