// SPDX-License-Identifier: MIT OR Apache-2.0
#include <bus/metrics/prometheus.hpp>

#include "metrics/table.hpp"

#include <bus/bus.hpp>

#include <prometheus/check_names.h>
#include <prometheus/text_serializer.h>

#include <boost/nowide/utf/convert.hpp>

#include <algorithm>
#include <functional>
#include <limits>
#include <map>
#include <mutex>
#include <new>
#include <set>
#include <stdexcept>
#include <tuple>

namespace bus {
namespace detail {
namespace {

constexpr std::string_view other_names = "other";

/// With what is no UTF-8 replaced: one such label makes a whole page unreadable.
std::string as_utf8(std::string_view text) {
  return boost::nowide::utf::convert_string<char>(text.data(), text.data() + text.size());
}

[[noreturn]] void throw_wrong(std::string_view option, std::string_view given, std::string_view allowed) {
  throw std::invalid_argument("MetricsOptions::" + std::string(option) + " has \"" + as_utf8(given) +
                              "\"; allowed are " + std::string(allowed));
}

MetricsOptions checked(MetricsOptions options) {
  const auto is_name = [](const std::string& name) { return prometheus::CheckLabelName(name); };
  if (!options.name_space.empty() && !is_name(options.name_space)) {
    throw_wrong("name_space", options.name_space,
                "letters, digits and underscores, not a digit or two underscores first");
  }
  std::set<std::string_view> taken(metric_labels.begin(), metric_labels.end());
  if (options.amnesia_label) taken.insert(amnesia_label_name);
  for (const auto& [name, value] : options.labels) {
    if (!is_name(name)) {
      throw_wrong("labels", name, "letters, digits and underscores, not a digit or two underscores first");
    }
    if (!taken.insert(name).second) throw_wrong("labels", name, "names that neither the metrics nor others have");
    if (as_utf8(value) != value) throw_wrong("labels", value, "values in UTF-8");
  }
  return options;
}

}  // namespace

class MetricsCore {
 public:
  explicit MetricsCore(MetricsOptions options) : options_(checked(std::move(options))) {}

  /// What has the same labels: the values of the subject's labels, in their order.
  struct Series {
    const Subject* subject;
    bool amnesia;
    std::vector<std::string> names;
    friend auto operator<=>(const Series&, const Series&) = default;
  };
  using Page = std::map<Series, MetricValues>;

  /// Takes what a source has.
  class Reading {
   public:
    template <class Stats>
    void add(const SubjectOf<Stats>& subject, const Stats& stats, std::initializer_list<std::string_view> names,
             bool amnesia = false) {
      Series series{&subject, amnesia, {}};
      auto label = subject.labels.begin();
      for (const std::string_view name : names) series.names.push_back(core_.known_name(*label++, name));
      const MetricValues values = subject.read(stats);
      const auto [found, is_new] = page_.try_emplace(std::move(series), values);
      if (!is_new) join(subject, found->second, values);
    }

   private:
    friend class MetricsCore;
    explicit Reading(MetricsCore& core) : core_(core) {}
    MetricsCore& core_;
    Page page_;
  };
  using Read = std::function<void(Reading&)>;

  /// Errors: throws std::invalid_argument, std::bad_alloc.
  std::uint64_t add(const void* object, std::string_view name, Read read);
  void remove(std::uint64_t number) noexcept;
  std::vector<prometheus::MetricFamily> collect();

 private:
  struct Source {
    const void* object;
    Read read;
    Page last = {};
  };

  /// Into the values of a subject those of another object with the same labels.
  static void join(const Subject& subject, MetricValues& into, const MetricValues& from) noexcept {
    subject.for_each([&](const Metric& metric, std::size_t first) {
      for (std::size_t i = first; i < first + metric.size(); ++i) {
        into[i] = metric.kind == MetricKind::largest ? std::max(into[i], from[i]) : into[i] + from[i];
      }
    });
  }
  template <class Each>
  static void for_each_count(const Subject& subject, Each&& each) {
    subject.for_each([&](const Metric& metric, std::size_t first) {
      for (std::size_t i = first; metric.grows() && i < first + metric.size(); ++i) each(i);
    });
  }

  std::string known_name(std::string_view label, std::string_view name);
  Page read(const Source& source);
  void look_at(Source& source);
  prometheus::MetricFamily family(const Subject& subject, const Metric& metric, std::size_t first, const Page& page,
                                  const std::set<const Series*>& alive) const;
  void add_samples(prometheus::MetricFamily& family, const Series& series, const Metric& metric,
                   std::span<const std::uint64_t> values) const;

  const MetricsOptions options_;
  std::mutex mutex_;
  std::map<std::string_view, std::set<std::string, std::less<>>> known_names_;  // by label
  std::map<std::uint64_t, Source> sources_;
  std::uint64_t last_number_ = 0;

  /// What is added to the counts of the sources: what others have left behind, less what each had when it came, modulo
  /// 2^64. Has every series that a source has had, with zeros for gauges.
  Page left_;
};

// --- Sources. ---

/// The name itself, or "other" if there are too many.
std::string MetricsCore::known_name(std::string_view label, std::string_view name) {
  std::string text = as_utf8(name);
  auto& known = known_names_[label];
  if (text.empty() || known.contains(text)) return text;
  if (known.size() >= options_.max_names) return std::string(other_names);
  known.insert(text);
  return text;
}

MetricsCore::Page MetricsCore::read(const Source& source) {
  Reading reading(*this);
  source.read(reading);
  for (const auto& [series, values] : reading.page_) left_.try_emplace(series, values.size());
  return std::move(reading.page_);
}

/// Reads it. What began to count anew since, as a group that was removed, keeps what it had when it was read last.
/// Errors: throws std::bad_alloc; it is as it was then.
void MetricsCore::look_at(Source& source) {
  Page page = read(source);
  for (const auto& [series, values] : page) {
    const auto before = source.last.find(series);
    if (before == source.last.end()) continue;
    MetricValues& left = left_.find(series)->second;
    for_each_count(*series.subject, [&](std::size_t i) {
      if (values[i] < before->second[i]) left[i] += before->second[i];
    });
  }
  source.last = std::move(page);
}

std::uint64_t MetricsCore::add(const void* object, std::string_view name, Read read) {
  if (const auto wrong = name_fault(name, limits::max_name_bytes); !name.empty() && !wrong.empty()) {
    throw std::invalid_argument("the name \"" + as_utf8(name) +
                                "\" of what is to be measured is wrong: " + std::string(wrong));
  }
  const std::lock_guard lock(mutex_);
  if (std::ranges::any_of(sources_, [&](const auto& one) { return one.second.object == object; })) {
    throw std::invalid_argument("what is to be measured as \"" + as_utf8(name) + "\" is measured already");
  }
  Source source{object, std::move(read)};
  source.last = this->read(source);
  const auto added = sources_.emplace(last_number_ + 1, std::move(source)).first;
  for (const auto& [series, values] : added->second.last) {
    MetricValues& left = left_.find(series)->second;
    for_each_count(*series.subject, [&](std::size_t i) { left[i] -= values[i]; });
  }
  return ++last_number_;
}

void MetricsCore::remove(std::uint64_t number) noexcept {
  const std::lock_guard lock(mutex_);
  const auto source = sources_.find(number);
  try {
    look_at(source->second);
  } catch (const std::bad_alloc&) {
    // What it had when it was read last stays.
  }
  for (const auto& [series, values] : source->second.last) {
    MetricValues& left = left_.find(series)->second;
    for_each_count(*series.subject, [&](std::size_t i) { left[i] += values[i]; });
  }
  sources_.erase(source);
}

// --- A scrape. ---

std::vector<prometheus::MetricFamily> MetricsCore::collect() {
  const std::lock_guard lock(mutex_);
  for (auto& [number, source] : sources_) look_at(source);
  Page page = left_;
  std::set<const Series*> alive;
  for (const auto& [number, source] : sources_) {
    for (const auto& [series, values] : source.last) {
      const auto found = page.find(series);
      join(*series.subject, found->second, values);
      alive.insert(&found->first);
    }
  }
  std::vector<prometheus::MetricFamily> families;
  for (const Subject* subject : metric_subjects()) {
    subject->for_each([&](const Metric& metric, std::size_t first) {
      auto one = family(*subject, metric, first, page, alive);
      if (!one.metric.empty()) families.push_back(std::move(one));
    });
  }
  return families;
}

prometheus::MetricFamily MetricsCore::family(const Subject& subject, const Metric& metric, std::size_t first,
                                             const Page& page, const std::set<const Series*>& alive) const {
  using enum prometheus::MetricType;
  prometheus::MetricFamily family;
  family.name =
      options_.name_space.empty() ? std::string(metric.name) : options_.name_space + "_" + std::string(metric.name);
  family.help = metric.help;
  family.type = metric.kind == MetricKind::histogram ? Histogram : metric.grows() ? Counter : Gauge;
  for (const auto& [series, values] : page) {
    if (series.subject != &subject || (!metric.grows() && !alive.contains(&series))) continue;
    add_samples(family, series, metric, std::span(values).subspan(first, metric.size()));
  }
  return family;
}

void MetricsCore::add_samples(prometheus::MetricFamily& family, const Series& series, const Metric& metric,
                              std::span<const std::uint64_t> values) const {
  std::vector<prometheus::ClientMetric::Label> labels;
  const auto label = [&](std::string_view name, std::string_view value) {
    if (!value.empty()) labels.push_back({std::string(name), std::string(value)});
  };
  for (const auto& [name, value] : options_.labels) label(name, value);
  if (options_.amnesia_label) label(amnesia_label_name, series.amnesia ? "on" : "off");
  for (std::size_t i = 0; i < series.names.size(); ++i) label(series.subject->labels[i], series.names[i]);

  if (metric.kind == MetricKind::histogram) {
    prometheus::ClientMetric& sample = family.metric.emplace_back();
    sample.label = std::move(labels);
    auto& histogram = sample.histogram;
    for (std::size_t i = 0; i <= metric.bounds.size(); ++i) {
      histogram.sample_count += values[i];
      const bool is_last = i == metric.bounds.size();
      const double bound = is_last ? std::numeric_limits<double>::infinity() : static_cast<double>(metric.bounds[i]);
      histogram.bucket.push_back({histogram.sample_count, bound / metric.divisor});
    }
    histogram.sample_sum = static_cast<double>(values.back()) / metric.divisor;
    return;
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    prometheus::ClientMetric& sample = family.metric.emplace_back();
    sample.label = labels;
    if (!metric.label.values.empty()) {
      sample.label.push_back({std::string(metric.label.name), std::string(metric.label.values[i])});
    }
    (metric.grows() ? sample.counter.value : sample.gauge.value) = static_cast<double>(values[i]);
  }
}

}  // namespace detail

// --- The handles. ---

void Measured::reset() noexcept {
  if (const auto core = std::move(core_); core != nullptr) core->remove(number_);
}

Metrics::Metrics(MetricsOptions options) : core_(std::make_shared<detail::MetricsCore>(std::move(options))) {}
Metrics::~Metrics() = default;

Measured Metrics::add(const Bus& bus, std::string_view name) {
  return {core_, core_->add(&bus, name, [&bus, label = std::string(name)](detail::MetricsCore::Reading& reading) {
            const BusStats stats = bus.stats();
            reading.add(detail::bus_metrics(), stats, {label}, stats.amnesia);
            for (const NameStats& one : stats.names) {
              reading.add(detail::receiver_metrics(), one, {label, one.name}, stats.amnesia);
            }
          })};
}

Measured Metrics::add(const Router& router, std::string_view bus_name) {
  return {core_, core_->add(&router, bus_name, [&router, label = std::string(bus_name)](auto& reading) {
            const RouterStats stats = router.stats();
            reading.add(detail::router_metrics(), stats, {label}, stats.amnesia);
            for (const RouteNameStats& one : stats.names) {
              reading.add(detail::route_metrics(), one, {label, one.name}, stats.amnesia);
            }
          })};
}

Measured Metrics::add(const DurableTopics& topics, std::string_view bus_name) {
  return {core_, core_->add(&topics, bus_name, [&topics, label = std::string(bus_name)](auto& reading) {
            reading.add(detail::durable_metrics(), topics.stats(), {label});
          })};
}

Measured Metrics::add(const Log& log, std::string_view name) {
  return {core_, core_->add(&log, name, [&log, label = std::string(name)](auto& reading) {
            reading.add(detail::log_metrics(), log.stats(), {label});
          })};
}

Measured Metrics::add(const Group& group, std::string_view name) {
  return {core_, core_->add(&group, name, [&group, label = std::string(name)](auto& reading) {
            reading.add(detail::group_metrics(), group.stats(), {label});
          })};
}

std::vector<prometheus::MetricFamily> Metrics::Collect() const { return core_->collect(); }

std::string Metrics::render() const { return prometheus::TextSerializer().Serialize(Collect()); }

}  // namespace bus
