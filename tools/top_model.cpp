// SPDX-License-Identifier: MIT OR Apache-2.0
#include "top_model.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>
#include <map>
#include <set>
#include <unordered_map>
#include <utility>

namespace busbar {
namespace {

using enum Take;
using enum Unit;
using enum Alarm;

/// Which series it is, in words that no other has.
std::string identity(const MetricSample& sample) {
  std::string text = sample.name;
  for (const MetricLabel& label : sample.labels) text.append("\n").append(label.name).append("\n").append(label.value);
  return text;
}

bool is_counter(std::string_view name) {
  return name.ends_with("_total") || name.ends_with("_count") || name.ends_with("_bucket");
}

/// A sample and how much it has grown since the last page.
struct Series {
  const MetricSample* sample;
  Figure growth;
};

/// The series of a page, or of a row of a table, by their names.
using SeriesByName = std::unordered_map<std::string, std::vector<Series>>;

/// What is on a page.
class Page {
 public:
  Page(const Scrape* before, const Scrape& now, std::string_view name_space) {
    if (!name_space.empty()) prefix_.append(name_space).append("_");
    std::unordered_map<std::string, double> old;
    if (before != nullptr) {
      for (const MetricSample& sample : before->page.samples) old.emplace(identity(sample), sample.value);
    }
    for (const MetricSample& sample : now.page.samples) {
      if (!sample.name.starts_with(prefix_ + "bus_")) {
        ++foreign_;
        continue;
      }
      Series one{&sample, {}};
      if (const auto found = old.find(identity(sample)); found != old.end()) one.growth = sample.value - found->second;
      restarted_ |= is_counter(sample.name) && one.growth && *one.growth < 0;
      series_[sample.name.substr(prefix_.size())].push_back(one);
    }
    if (!restarted_) return;
    for (auto& [name, all] : series_) {
      for (Series& one : all) one.growth.reset();
    }
  }

  /// The series of a section's metrics, by the names of its rows.
  std::map<std::vector<std::string>, SeriesByName> rows_of(const TopSection& section) const {
    std::set<std::string> metrics;
    for (const TopColumn& column : section.columns) {
      for (const char* suffix : {"", "_bucket", "_sum", "_count"}) metrics.insert(column.metric + std::string(suffix));
      metrics.insert(column.whole);
    }
    std::map<std::vector<std::string>, SeriesByName> rows;
    for (const std::string& metric : metrics) {
      const auto found = series_.find(metric);
      if (found == series_.end()) continue;
      for (const Series& one : found->second) {
        std::vector<std::string> names;
        for (const char* label : section.labels) names.emplace_back(one.sample->label(label));
        rows[std::move(names)][metric].push_back(one);
      }
    }
    return rows;
  }

  bool restarted() const { return restarted_; }
  std::size_t foreign() const { return foreign_; }

 private:
  std::string prefix_;
  SeriesByName series_;
  bool restarted_ = false;
  std::size_t foreign_ = 0;
};

/// Makes figures of the series of one row.
class RowReader {
 public:
  RowReader(const SeriesByName& series, Figure seconds) : series_(series), seconds_(seconds) {}

  Figure read(const TopColumn& column) const {
    switch (column.take) {
      case sum: return sum_of(column, column.metric, {}, false);
      case largest: return largest_of(column);
      case part: return ratio(sum_of(column, column.metric, {}, false), sum_of(column, column.whole, {}, false));
      case rate: return ratio(sum_of(column, column.metric, {}, true), seconds_);
      case p50: return quantile_of(buckets_of(column), 0.5);
      case p99: return quantile_of(buckets_of(column), 0.99);
      case mean: break;
    }
    return ratio(sum_of(column, column.metric, "_sum", true), sum_of(column, column.metric, "_count", true));
  }

 private:
  static Figure ratio(Figure some, Figure whole) {
    if (!some || !whole || !(*whole > 0)) return std::nullopt;
    return *some / *whole;
  }

  /// Those of the column's metric with the label that it asks for.
  std::vector<Series> of(const TopColumn& column, const char* metric, std::string_view suffix) const {
    std::vector<Series> matching;
    const auto found = series_.find(metric + std::string(suffix));
    if (found == series_.end()) return matching;
    std::ranges::copy_if(found->second, std::back_inserter(matching), [&column](const Series& one) {
      return *column.label == '\0' || one.sample->label(column.label) == column.value;
    });
    return matching;
  }

  Figure sum_of(const TopColumn& column, const char* metric, std::string_view suffix, bool of_growth) const {
    Figure all;
    for (const auto& [sample, growth] : of(column, metric, suffix)) {
      const Figure one = of_growth ? growth : Figure(sample->value);
      if (one) all = all.value_or(0) + *one;
    }
    return all;
  }

  Figure largest_of(const TopColumn& column) const {
    Figure most;
    for (const Series& one : of(column, column.metric, {})) {
      most = std::max(most.value_or(one.sample->value), one.sample->value);
    }
    return most;
  }

  std::vector<Bucket> buckets_of(const TopColumn& column) const {
    std::map<double, double> counts;
    for (const auto& [sample, growth] : of(column, column.metric, "_bucket")) {
      std::string_view text = sample->label("le");
      if (text.starts_with('+')) text.remove_prefix(1);
      double bound = 0;
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), bound);
      const bool is_number = error == std::errc() && end == text.data() + text.size() && !std::isnan(bound);
      if (growth && is_number) counts[bound] += *growth;
    }
    std::vector<Bucket> buckets;
    for (const auto& [bound, count] : counts) buckets.push_back({bound, count});
    return buckets;
  }

  const SeriesByName& series_;
  Figure seconds_;
};

TopTable table_of(const Page& page, const TopSection& section, Figure seconds) {
  TopTable table{&section, {}};
  for (const auto& [names, series] : page.rows_of(section)) {
    const RowReader reader(series, seconds);
    TopRow row{names, {}};
    for (const TopColumn& column : section.columns) row.figures.push_back(reader.read(column));
    table.rows.push_back(std::move(row));
  }
  const auto badness = [&section](const TopRow& row) {
    const double figure = row.figures[section.worst].value_or(0);
    return std::isnan(figure) ? 0 : figure;  // what is no number would leave no order
  };
  std::ranges::sort(table.rows, [&badness](const TopRow& a, const TopRow& b) {
    const double of_a = badness(a);
    const double of_b = badness(b);
    return of_a != of_b ? of_a > of_b : a.names < b.names;
  });
  return table;
}

constexpr const char* lost = "bus_route_lost_total";
constexpr const char* evictions = "bus_route_byte_evictions_total";
constexpr const char* messages = "bus_group_messages";
constexpr const char* outcomes = "bus_group_outcomes_total";
constexpr const char* commit = "bus_log_commit_seconds";

const std::vector<TopSection> sections{
    {"buses",
     "BUS",
     {"bus"},
     2,
     {{"published_per_second", "published/s", rate, "bus_published_total"},
      {"dropped_per_second", "dropped/s", rate, "bus_overflow_dropped_total", count, above_zero},
      {"lag", "lag", largest, "bus_queue_depth"},
      {"lag_share", "of ring", part, "bus_queue_depth", share, nearly_full, "", "", "bus_capacity"},
      {"dropped", "dropped", sum, "bus_overflow_dropped_total"},
      {"receivers", "receivers", sum, "bus_receivers"},
      {"routed_per_second", "routed/s", rate, "bus_router_published_total"},
      {"unrouted_per_second", "unrouted/s", rate, "bus_router_unrouted_total"},
      {"rate_limited_per_second", "limited/s", rate, "bus_router_rate_limited_total", count, above_zero},
      {"wakeups_per_second", "wakeups/s", rate, "bus_wakeups_total"},
      {"nodes", "nodes", sum, "bus_nodes"},
      {"published", "published", sum, "bus_published_total"},
      {"capacity", "capacity", largest, "bus_capacity"},
      {"closed", "closed", largest, "bus_closed"}}},
    {"receivers",
     "RECEIVER",
     {"bus", "receiver"},
     1,
     {{"delivered_per_second", "delivered/s", rate, "bus_receiver_delivered_total"},
      {"lag", "lag", largest, "bus_receiver_lag"},
      {"missed_per_second", "missed/s", rate, "bus_receiver_missed_total", count, above_zero},
      {"missed", "missed", sum, "bus_receiver_missed_total"},
      {"filtered_per_second", "filtered/s", rate, "bus_receiver_filtered_total"},
      {"receivers", "receivers", sum, "bus_receivers"},
      {"delivered", "delivered", sum, "bus_receiver_delivered_total"}}},
    {"routes",
     "ROUTE",
     {"bus", "route"},
     0,
     {{"budget_share", "budget", part, "bus_route_budget_bytes_in_use", share, nearly_full, "", "",
       "bus_route_budget_bytes"},
      {"delivered_per_second", "delivered/s", rate, "bus_route_delivered_total"},
      {"lost_per_second", "lost/s", rate, lost, count, above_zero},
      {"pending", "pending", sum, "bus_route_pending"},
      {"principals", "princip.", sum, "bus_route_active_principals"},
      {"starved_per_second", "starved/s", rate, "bus_route_quantum_starved_total"},
      {"lost", "lost", sum, lost},
      {"evicted_system_per_second", "ev.system/s", rate, evictions, count, never, "class", "system"},
      {"evicted_agent_per_second", "ev.agent/s", rate, evictions, count, never, "class", "agent"},
      {"evicted_user_per_second", "ev.user/s", rate, evictions, count, never, "class", "user"},
      {"bytes_in_use", "in use", sum, "bus_route_budget_bytes_in_use", bytes},
      {"budget_bytes", "of", sum, "bus_route_budget_bytes", bytes},
      {"waiting_publishers", "waiting", sum, "bus_route_waiting_publishers"},
      {"detached", "detached", sum, "bus_routes_detached", count, above_zero},
      {"offered_per_second", "offered/s", rate, "bus_route_offered_total"},
      {"gated_per_second", "gated/s", rate, "bus_route_gated_total"},
      {"over_budget_per_second", "refused/s", rate, lost, count, never, "reason", "over_budget"},
      {"routes", "routes", sum, "bus_routes"}}},
    {"durable_topics",
     "DURABLE",
     {"bus"},
     1,
     {{"committed_per_second", "committed/s", rate, "bus_durable_committed_total"},
      {"undelivered", "undeliv.", sum, "bus_durable_undelivered"},
      {"refused_per_second", "refused/s", rate, "bus_durable_refused_total", count, above_zero},
      {"overloads_per_second", "overload/s", rate, "bus_durable_overloads_total", count, above_zero},
      {"undelivered_bytes", "bytes", sum, "bus_durable_undelivered_bytes", bytes},
      {"undeliverable", "untaken", sum, "bus_durable_undeliverable_total"}}},
    {"logs",
     "LOG",
     {"log"},
     4,
     {{"records_per_second", "records/s", rate, "bus_log_records_total"},
      {"commits_per_second", "commits/s", rate, "bus_log_commits_total"},
      {"commit_p50_seconds", "commit p50", p50, commit, seconds},
      {"commit_p99_seconds", "p99", p99, commit, seconds},
      {"lost_records", "lost", sum, "bus_log_lost_records", count, above_zero},
      {"read_only", "readonly", largest, "bus_log_read_only", count, above_zero},
      {"full", "full", largest, "bus_log_full", count, above_zero},
      {"payload_bytes_per_second", "payload/s", rate, "bus_log_payload_bytes_total", bytes},
      {"batch_records", "batch", mean, "bus_log_batch_records"},
      {"disk_bytes", "disk", sum, "bus_log_disk_bytes", bytes},
      {"unsynced_bytes", "unsynced", sum, "bus_log_unsynced_bytes", bytes},
      {"rejected_per_second", "rejected/s", rate, "bus_log_rejected_total", count, above_zero},
      {"syncs_per_second", "syncs/s", rate, "bus_log_syncs_total"},
      {"sync_failures", "failed", sum, "bus_log_sync_failures_total", count, above_zero},
      {"overloads_per_second", "overload/s", rate, "bus_log_overloads_total", count, above_zero},
      {"duplicates_per_second", "dupl./s", rate, "bus_log_duplicates_total"},
      {"segments", "segments", sum, "bus_log_segments"},
      {"dropped_records", "dropped", sum, "bus_log_dropped_records_total"},
      {"next_offset", "next", largest, "bus_log_next_offset"}}},
    {"groups",
     "GROUP",
     {"group"},
     0,
     {{"lag", "lag", largest, "bus_group_lag"},
      {"leased", "leased", sum, messages, count, never, "state", "leased"},
      {"delivered_per_second", "leases/s", rate, "bus_group_delivered_total"},
      {"acked_per_second", "acked/s", rate, outcomes, count, never, "outcome", "acked"},
      {"dead_letters", "dead", sum, "bus_group_dead_letters", count, above_zero},
      {"missed", "missed", sum, "bus_group_missed_total", count, above_zero},
      {"ran_out_per_second", "ran out/s", rate, outcomes, count, above_zero, "outcome", "ran_out"},
      {"redelivered_per_second", "again/s", rate, "bus_group_redelivered_total"},
      {"ready", "ready", sum, messages, count, never, "state", "ready"},
      {"delayed", "delayed", sum, messages, count, never, "state", "delayed"},
      {"nacked_per_second", "nacked/s", rate, outcomes, count, never, "outcome", "nacked"},
      {"rejected_per_second", "rejected/s", rate, outcomes, count, never, "outcome", "rejected"},
      {"released_per_second", "released/s", rate, outcomes, count, never, "outcome", "released"},
      {"stale_per_second", "stale/s", rate, "bus_group_stale_total"},
      {"expired", "expired", sum, "bus_group_expired_total"}}}};

}  // namespace

std::span<const TopSection> top_sections() { return sections; }

bool TopView::is_empty() const {
  return std::ranges::all_of(tables, [](const TopTable& table) { return table.rows.empty(); });
}

TopView top_view(const Scrape* before, const Scrape& now, std::string_view name_space) {
  const Page page(before, now, name_space);
  TopView view;
  if (before != nullptr) view.seconds = std::chrono::duration<double>(now.time - before->time).count();
  view.restarted = page.restarted();
  view.damaged_lines = now.page.damaged_lines;
  view.foreign_samples = page.foreign();
  for (const TopSection& section : sections) view.tables.push_back(table_of(page, section, view.seconds));
  return view;
}

Figure total_of(const TopView& view, std::string_view section, std::string_view column) {
  Figure total;
  for (const TopTable& table : view.tables) {
    if (table.section->key != section) continue;
    const auto& columns = table.section->columns;
    const auto found = std::ranges::find(columns, column, [](const TopColumn& c) { return std::string_view(c.key); });
    const auto at = static_cast<std::size_t>(found - columns.begin());
    for (const TopRow& row : table.rows) {
      if (at < row.figures.size() && row.figures[at]) total = total.value_or(0) + *row.figures[at];
    }
  }
  return total;
}

Figure quantile_of(std::vector<Bucket> buckets, double quantile) {
  if (buckets.empty() || !std::isinf(buckets.back().bound)) return std::nullopt;
  // A page need not be of one moment, so that a bucket may be ahead of the next one.
  double count = 0;
  for (Bucket& bucket : buckets) count = bucket.count = std::max(bucket.count, count);
  if (!(count > 0)) return std::nullopt;
  const double rank = quantile * count;
  const auto found = std::ranges::find_if(buckets, [rank](const Bucket& bucket) { return bucket.count >= rank; });
  const bool is_first = found == buckets.begin();
  if (std::isinf(found->bound)) return is_first ? Figure() : Figure(std::prev(found)->bound);
  const double low = is_first ? 0 : std::prev(found)->bound;
  const double below = is_first ? 0 : std::prev(found)->count;
  return low + (found->bound - low) * (rank - below) / (found->count - below);
}

std::string as_json(const TopView& view, const std::string& address) {
  using nlohmann::ordered_json;
  const auto number_or_null = [](const Figure& figure) {
    return figure ? ordered_json(*figure) : ordered_json(nullptr);
  };
  ordered_json object{{"address", address},
                      {"seconds", number_or_null(view.seconds)},
                      {"restarted", view.restarted},
                      {"damaged_lines", view.damaged_lines},
                      {"foreign_samples", view.foreign_samples}};
  for (const TopTable& table : view.tables) {
    auto rows = ordered_json::array();
    for (const TopRow& row : table.rows) {
      ordered_json one = ordered_json::object();
      for (std::size_t i = 0; i < row.names.size(); ++i) one[table.section->labels[i]] = row.names[i];
      for (std::size_t i = 0; i < row.figures.size(); ++i) {
        one[table.section->columns[i].key] = number_or_null(row.figures[i]);
      }
      rows.push_back(std::move(one));
    }
    object[table.section->key] = std::move(rows);
  }
  // A label is the page's bytes and need not be UTF-8.
  return object.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + '\n';
}

}  // namespace busbar
