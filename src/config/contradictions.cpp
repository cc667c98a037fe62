// SPDX-License-Identifier: MIT OR Apache-2.0
#include "config/contradictions.hpp"

#include "config/nearest.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <utility>

namespace bus::detail {
namespace {

class Finder {
 public:
  explicit Finder(const Config& config) : config_(config) {}

  std::vector<Contradiction> find() {
    look_at_rates();
    look_at_routes();
    look_at_logs();
    look_at_groups();
    look_at_durable_topics();
    look_at_metrics();
    return std::move(found_);
  }

 private:
  void add(Part part, const std::string& instance, std::vector<std::string> keys, std::string found,
           std::string allowed) {
    found_.push_back({part, instance, std::move(keys), std::move(found), std::move(allowed)});
  }

  template <class T>
  void refer(Part part, const std::string& instance, const char* key, const std::string& name,
             const Config::Named<T>& named, const char* section) {
    if (named.contains(name)) return;
    std::vector<std::string> names;
    for (const auto& [one, value] : named) names.push_back(one);
    const std::string_view near = nearest(name, names);
    const std::string guess = near.empty() ? "" : did_you_mean(in_quotes(near));
    for (std::string& one : names) one = in_quotes(one);
    const std::string none = "a name of [" + std::string(section) + ".NAME], of which there is none";
    add(part, instance, {key}, in_quotes(name) + guess, names.empty() ? none : any_of(names));
  }

  void look_at_rates() {
    for (const auto& [name, limit] : config_.rate_limits) {
      const bool is_said = limit.max_message_bytes != model(config_.profile).rate_limits.at("").max_message_bytes;
      if (!is_said || limit.max_message_bytes <= limit.burst_bytes) continue;
      add(Part::rate_limits, name, {"max_message_bytes", "burst_bytes"}, std::to_string(limit.max_message_bytes),
          "at most burst_bytes, " + std::to_string(limit.burst_bytes) + ": no larger message can ever come");
    }
    const std::string& of_router = config_.router.rate_limit;
    if (!of_router.empty()) refer(Part::router, "", "rate_limit", of_router, config_.rate_limits, "rate_limits");
  }

  void look_at_routes() {
    std::map<std::string, std::size_t> by_owner;
    const std::size_t most = config_.router.options.max_routes_per_owner;
    for (const auto& [name, route] : config_.routes) {
      if (!route.rate_limit.empty()) {
        refer(Part::routes, name, "rate_limit", route.rate_limit, config_.rate_limits, "rate_limits");
      }
      if (++by_owner[route.options.owner] <= most || most == 0) continue;
      add(Part::routes, name, {"owner"}, in_quotes(route.options.owner) + " once more",
          "at most " + std::to_string(most) + " routes of one owner: router.max_routes_per_owner");
    }
  }

  void look_at_logs() {
    std::map<std::filesystem::path, std::string> directories;
    for (const auto& [name, log] : config_.logs) {
      const LogOptions& options = log.options;
      if (options.disk_bytes && *options.disk_bytes < options.segment_bytes) {
        add(Part::logs, name, {"disk_bytes", "segment_bytes"}, std::to_string(*options.disk_bytes),
            "at least segment_bytes, " + std::to_string(options.segment_bytes));
      }
      if (options.disk_bytes && options.retention.bytes && *options.retention.bytes > *options.disk_bytes) {
        add(Part::logs, name, {"retention.bytes", "disk_bytes"}, std::to_string(*options.retention.bytes),
            "at most disk_bytes, " + std::to_string(*options.disk_bytes));
      }
      if (const std::uint64_t least = least_memory_bytes(options);
          options.memory_bytes && *options.memory_bytes < least) {
        add(Part::logs, name, {"memory_bytes", "uncommitted_bytes", "batch_bytes", "segment_bytes"},
            std::to_string(*options.memory_bytes),
            "at least " + std::to_string(least) + " with the other options of this log");
      }
      if (log.directory.empty()) continue;
      const auto path = (log.directory / "").lexically_normal();
      const auto [other, is_new] = directories.try_emplace(path, name);
      if (is_new) continue;
      add(Part::logs, name, {"directory"}, in_quotes(log.directory.string()),
          "a directory of its own: " + section_name(Part::logs, other->second) + " has this one");
    }
  }

  void look_at_groups() {
    for (const auto& [name, group] : config_.groups) {
      const GroupOptions& options = group.options;
      if (!group.log.empty()) refer(Part::groups, name, "log", group.log, config_.logs, "logs");
      const auto in_ms = [](std::chrono::nanoseconds time) {
        return std::to_string(time / std::chrono::milliseconds(1));
      };
      if (options.ceiling < options.visibility) {
        add(Part::groups, name, {"ceiling_ms", "visibility_ms"}, in_ms(options.ceiling),
            "at least visibility_ms, " + in_ms(options.visibility));
      }
      std::size_t bytes = 0;
      for (const TopicPattern& pattern : options.patterns) bytes += 1 + pattern.view().size();
      if (bytes <= limits::max_group_patterns_bytes) continue;
      add(Part::groups, name, {"patterns"}, "patterns of " + std::to_string(bytes) + " bytes",
          "at most " + std::to_string(limits::max_group_patterns_bytes) + " bytes, each with one more");
    }
  }

  void look_at_durable_topics() {
    if (!config_.durable_topics) return;
    const DurableTopicsConfig& topics = *config_.durable_topics;
    if (!topics.log.empty()) refer(Part::durable_topics, "", "log", topics.log, config_.logs, "logs");
    if (config_.bus.amnesia) {
      add(Part::bus, "", {"amnesia"}, "true", "false: with [durable_topics] messages are written to a log");
    }
    const auto& table = topics.options.table;
    if (table.empty()) add(Part::durable_topics, "", {"table"}, "no row", "one or more [[durable_topics.table]]");
    for (auto row = table.begin(); row != table.end(); ++row) {
      const auto first = std::ranges::find(table.begin(), row, row->pattern, &DurableTopic::pattern);
      if (first == row || row->pattern.empty()) continue;
      add(Part::durable_rows, std::to_string(row - table.begin() + 1), {"pattern"}, in_quotes(row->pattern.view()),
          "a pattern of its own: row " + std::to_string(first - table.begin() + 1) + " has this one");
    }
  }

  void look_at_metrics() {
    const MetricsOptions& options = config_.metrics.options;
    const auto is_amnesia = [](const auto& label) { return label.first == amnesia_label_name; };
    if (!options.amnesia_label || std::ranges::none_of(options.labels, is_amnesia)) return;
    add(Part::metrics, "", {"labels", "amnesia_label"},
        in_quotes(amnesia_label_name) + " (the metrics use it themselves)", "it only with amnesia_label = false");
  }

  const Config& config_;
  std::vector<Contradiction> found_;
};

}  // namespace

std::vector<Contradiction> contradictions(const Config& config) { return Finder(config).find(); }

}  // namespace bus::detail
