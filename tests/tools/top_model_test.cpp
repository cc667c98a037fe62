// SPDX-License-Identifier: MIT OR Apache-2.0
#include "top_model.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <fstream>
#include <iterator>
#include <string>

namespace busbar {
namespace {

using namespace std::chrono_literals;

Scrape look(const std::string& page, std::chrono::seconds at = 0s) {
  return {parse_exposition(page), std::chrono::steady_clock::time_point(at)};
}

/// What two looks say that are two seconds apart.
TopView view(const std::string& before, const std::string& now) {
  const Scrape first = look(before);
  return top_view(&first, look(now, 2s));
}

nlohmann::json as_object(const TopView& view) { return nlohmann::json::parse(as_json(view, "here")); }

TEST(TopModel, rates_are_growth_by_time) {
  const auto seen = as_object(view("bus_published_total{bus=\"a\"} 100\nbus_published_total{bus=\"b\"} 5\n",
                                   "bus_published_total{bus=\"a\"} 150\nbus_published_total{bus=\"b\"} 5\n"));
  EXPECT_EQ(seen["seconds"], 2);
  ASSERT_EQ(seen["buses"].size(), 2U);
  EXPECT_EQ(seen["buses"][0]["bus"], "a");
  EXPECT_EQ(seen["buses"][0]["published_per_second"], 25);
  EXPECT_EQ(seen["buses"][0]["published"], 150);
  EXPECT_EQ(seen["buses"][1]["published_per_second"], 0);
}

TEST(TopModel, one_look_has_no_rates_but_all_gauges) {
  const auto seen = as_object(top_view(nullptr, look("bus_published_total 7\nbus_queue_depth 3\nbus_capacity 4\n")));
  EXPECT_TRUE(seen["seconds"].is_null());
  EXPECT_TRUE(seen["buses"][0]["published_per_second"].is_null());
  EXPECT_EQ(seen["buses"][0]["lag"], 3);
  EXPECT_EQ(seen["buses"][0]["lag_share"], 0.75);
}

TEST(TopModel, a_counter_that_went_back_is_a_restart_and_nothing_has_a_rate) {
  // The second counter is past where it was, which says nothing: it began at zero too.
  const TopView seen =
      view("bus_published_total 100\nbus_wakeups_total 1\n", "bus_published_total 9\nbus_wakeups_total 5\n");
  EXPECT_TRUE(seen.restarted);
  EXPECT_FALSE(total_of(seen, "buses", "published_per_second"));
  EXPECT_FALSE(total_of(seen, "buses", "wakeups_per_second"));
  EXPECT_EQ(total_of(seen, "buses", "published"), 9);
  EXPECT_FALSE(view("bus_queue_depth 9\n", "bus_queue_depth 1\n").restarted) << "gauges may go back";
}

TEST(TopModel, a_series_that_was_not_there_before_has_no_rate) {
  const TopView seen = view("bus_capacity 4\n", "bus_capacity 4\nbus_published_total 1000000\n");
  EXPECT_FALSE(total_of(seen, "buses", "published_per_second"));
}

TEST(TopModel, rows_are_told_apart_by_their_labels_only) {
  const auto seen =
      as_object(view("",
                     "bus_route_lost_total{bus=\"m\",route=\"r\",reason=\"evicted\"} 3\n"
                     "bus_route_lost_total{bus=\"m\",route=\"r\",reason=\"over_budget\"} 4\n"
                     "bus_route_lost_total{bus=\"n\",route=\"r\",reason=\"evicted\",amnesia=\"on\"} 1\n"
                     "bus_route_lost_total{bus=\"n\",route=\"r\",reason=\"evicted\",amnesia=\"off\"} 1\n"));
  ASSERT_EQ(seen["routes"].size(), 2U);
  EXPECT_EQ(seen["routes"][0]["lost"], 7);
  EXPECT_EQ(seen["routes"][1]["lost"], 2) << "what is of one row is one figure";
}

TEST(TopModel, largest_is_not_summed) {
  const TopView seen = view("", "bus_queue_depth{amnesia=\"on\"} 3\nbus_queue_depth{amnesia=\"off\"} 5\n");
  EXPECT_EQ(total_of(seen, "buses", "lag"), 5);
}

TEST(TopModel, labels_choose_samples_within_a_row) {
  const auto seen = as_object(view("",
                                   "bus_group_messages{group=\"g\",state=\"ready\"} 3\n"
                                   "bus_group_messages{group=\"g\",state=\"leased\"} 4\n"));
  EXPECT_EQ(seen["groups"][0]["ready"], 3);
  EXPECT_EQ(seen["groups"][0]["leased"], 4);
  EXPECT_TRUE(seen["groups"][0]["delayed"].is_null());
}

TEST(TopModel, those_worst_off_come_first) {
  const auto seen = as_object(view("",
                                   "bus_group_lag{group=\"a\"} 1\nbus_group_lag{group=\"b\"} 9\n"
                                   "bus_group_lag{group=\"c\"} NaN\nbus_group_lag{group=\"d\"} 9\n"));
  std::string order;
  for (const auto& row : seen["groups"]) order += row["group"].get<std::string>();
  EXPECT_EQ(order, "bdac");
}

TEST(TopModel, metrics_of_others_are_counted_and_a_name_space_is_taken_off) {
  const std::string page = "go_threads 3\nx_bus_published_total 4\nbus_published_total 5\n";
  const TopView plain = top_view(nullptr, look(page));
  EXPECT_EQ(plain.foreign_samples, 2U);
  EXPECT_EQ(total_of(plain, "buses", "published"), 5);
  const TopView spaced = top_view(nullptr, look(page), "x");
  EXPECT_EQ(spaced.foreign_samples, 2U);
  EXPECT_EQ(total_of(spaced, "buses", "published"), 4);
  EXPECT_TRUE(top_view(nullptr, look(page), "y").is_empty());
}

TEST(TopModel, quantiles_are_of_what_came_between_the_looks) {
  const auto histogram = [](int quick, int slow, double sum) {
    return "bus_log_commit_seconds_bucket{le=\"0.001\"} " + std::to_string(quick) +
           "\nbus_log_commit_seconds_bucket{le=\"0.01\"} " + std::to_string(quick + slow) +
           "\nbus_log_commit_seconds_bucket{le=\"+Inf\"} " + std::to_string(quick + slow) +
           "\nbus_log_commit_seconds_count " + std::to_string(quick + slow) +  //
           "\nbus_log_commit_seconds_sum " + std::to_string(sum) + "\n";
  };
  // 1000 quick ones went before; of the 100 that came, half were slow.
  const TopView seen = view(histogram(1000, 0, 0.5), histogram(1050, 50, 1));
  EXPECT_NEAR(*total_of(seen, "logs", "commit_p50_seconds"), 0.001, 1e-9);
  EXPECT_NEAR(*total_of(seen, "logs", "commit_p99_seconds"), 0.001 + 0.009 * 0.98, 1e-9);
  EXPECT_FALSE(total_of(view(histogram(9, 9, 1), histogram(9, 9, 1)), "logs", "commit_p99_seconds")) << "nothing came";
}

TEST(TopModel, means_are_of_what_came_between_the_looks) {
  const TopView seen = view("bus_log_batch_records_sum 100\nbus_log_batch_records_count 100\n",
                            "bus_log_batch_records_sum 140\nbus_log_batch_records_count 110\n");
  EXPECT_EQ(total_of(seen, "logs", "batch_records"), 4);
}

TEST(TopModel, a_quantile_above_the_last_bound_is_that_bound) {
  EXPECT_EQ(quantile_of({{1, 10}, {2, 20}, {INFINITY, 100}}, 0.5), 2);
  EXPECT_EQ(quantile_of({{1, 10}, {2, 20}, {INFINITY, 20}}, 0.5), 1);
  EXPECT_EQ(quantile_of({{1, 10}, {2, 20}, {INFINITY, 20}}, 0.25), 0.5);
  EXPECT_EQ(quantile_of({{1, 20}, {2, 10}, {4, 28}, {INFINITY, 28}}, 0.75), 2.25) << "a bucket ahead of the next one";
  EXPECT_FALSE(quantile_of({{1, 10}, {2, 20}}, 0.5)) << "nobody knows how many there were";
  EXPECT_FALSE(quantile_of({{INFINITY, 20}}, 0.5));
  EXPECT_FALSE(quantile_of({{1, 0}, {INFINITY, 0}}, 0.5));
  EXPECT_FALSE(quantile_of({}, 0.5));
}

TEST(TopModel, a_budget_of_zero_has_no_share) {
  const TopView seen =
      view("", "bus_route_budget_bytes{route=\"r\"} 0\nbus_route_budget_bytes_in_use{route=\"r\"} 0\n");
  EXPECT_FALSE(total_of(seen, "routes", "budget_share"));
}

TEST(TopModel, json_holds_any_name) {
  const auto seen = as_object(view("", "bus_closed{bus=\"\xff\\\"\"} NaN\n"));
  EXPECT_EQ(seen["buses"][0]["bus"], "\xEF\xBF\xBD\"");
  EXPECT_TRUE(seen["buses"][0]["closed"].is_null());
}

/// The documented type of a metric; empty if it is not documented.
std::string documented_type(const std::string& metric) {
  static const std::string page = [] {
    std::ifstream file(METRICS_PAGE);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }();
  const std::string front = "| `" + metric + "` | ";
  const std::size_t at = page.find(front);
  if (at == page.npos) return {};
  return page.substr(at + front.size(), page.find(' ', at + front.size()) - at - front.size());
}

TEST(TopModel, looks_only_at_metrics_that_are_documented_and_as_what_they_are) {
  for (const TopSection& section : top_sections()) {
    for (const TopColumn& column : section.columns) {
      std::string type = documented_type(column.metric);
      if (type.ends_with(',')) type.pop_back();
      switch (column.take) {
        case Take::rate: EXPECT_EQ(type, "counter") << column.metric; break;
        case Take::sum: EXPECT_TRUE(type == "counter" || type == "gauge") << column.metric; break;
        case Take::largest: EXPECT_EQ(type, "gauge") << column.metric; break;
        case Take::part:
          EXPECT_EQ(type, "gauge") << column.metric;
          EXPECT_NE(documented_type(column.whole), "") << column.whole;
          break;
        default: EXPECT_EQ(type, "histogram") << column.metric;
      }
    }
    EXPECT_LT(section.worst, section.columns.size());
  }
}

}  // namespace
}  // namespace busbar
