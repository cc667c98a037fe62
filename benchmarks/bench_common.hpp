// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What every benchmark program needs: one way of printing, one command line.
#pragma once

#include "measure.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#ifndef BUSBAR_VERSION
#define BUSBAR_VERSION "0.1.0"
#endif

namespace bench {

/// For printf, which knows no std::uint64_t.
inline unsigned long long as_printed(std::uint64_t number) { return number; }

struct Options {
  double seconds = 0.5;
  bool json = false;
  std::vector<std::string> workloads;  ///< empty: all
  std::vector<std::string> modes;      ///< receive modes; empty: all
  std::string directory = ".";         ///< where logs are put
  bool big = false;                    ///< workloads may take many gigabytes of disk

  static bool has(const std::vector<std::string>& list, std::string_view name) {
    return list.empty() || std::find(list.begin(), list.end(), name) != list.end();
  }
  bool wants(std::string_view workload) const { return has(workloads, workload); }
  bool wants_mode(std::string_view mode) const { return has(modes, mode); }
};

/// One measurement: one line of JSON, or one row for people.
class Line {
 public:
  explicit Line(std::string_view workload, std::string_view peer = ours) : workload_(workload), peer_(peer) {}

  Line& param(std::string_view key, std::string_view text) {
    params_.push_back({std::string(key), '"' + std::string(text) + '"', std::string(text)});
    return *this;
  }
  Line& param(std::string_view key, int number) {
    params_.push_back({std::string(key), std::to_string(number), std::string(key) + ' ' + std::to_string(number)});
    return *this;
  }
  Line& metric(std::string_view key, double value) {
    metrics_.push_back({std::string(key), format("%.6g", value), std::string(key) + ' ' + short_form(value)});
    return *this;
  }
  Line& count(std::string_view key, std::uint64_t value) {
    metrics_.push_back({std::string(key), std::to_string(value), std::string(key) + ' ' + std::to_string(value)});
    return *this;
  }
  Line& count(std::string_view key, bool value) { return count(key, std::uint64_t{value}); }

  /// The percentiles of `samples`, which it sorts.
  Line& latencies(std::vector<std::uint64_t>& samples) {
    std::sort(samples.begin(), samples.end());
    return count("p50_ns", percentile(samples, 0.5))
        .count("p95_ns", percentile(samples, 0.95))
        .count("p99_ns", percentile(samples, 0.99))
        .count("p999_ns", percentile(samples, 0.999));
  }

  void print(const Options& options) const {
    if (options.json) {
      std::string line = R"({"workload":")" + workload_ + R"(","peer":")" + peer_ + R"(","version":")";
      line += (peer_ == ours ? BUSBAR_VERSION : "-") + std::string(R"(","params":{)") + joined(params_) + '}';
      if (!metrics_.empty()) line += ',' + joined(metrics_);
      std::printf("%s}\n", line.c_str());
    } else {
      const std::string what = (peer_ == ours ? "" : peer_ + "  ") + listed(params_);
      std::printf("%-4s %-48s %s\n", workload_.c_str(), what.c_str(), listed(metrics_).c_str());
    }
    std::fflush(stdout);  // a run takes minutes, and somebody may be watching
  }

 private:
  static constexpr std::string_view ours = "busbar";

  struct Field {
    std::string key;
    std::string json;
    std::string plain;
  };

  static std::string format(const char* pattern, double value) {
    char text[32];
    std::snprintf(text, sizeof text, pattern, value);
    return text;
  }
  static std::string short_form(double value) {
    for (const auto& [unit, letter] : {std::pair{1e9, "G"}, {1e6, "M"}, {1e3, "k"}}) {
      if (value >= unit) return format("%.3g", value / unit) + letter;
    }
    return format("%.3g", value);
  }
  static std::string joined(const std::vector<Field>& fields) {
    std::string all;
    for (const Field& field : fields) all += (all.empty() ? "\"" : ",\"") + field.key + "\":" + field.json;
    return all;
  }
  static std::string listed(const std::vector<Field>& fields) {
    std::string all;
    for (const Field& field : fields) all += (all.empty() ? "" : "  ") + field.plain;
    return all;
  }

  std::string workload_;
  std::string peer_;
  std::vector<Field> params_;
  std::vector<Field> metrics_;
};

struct Workload {
  const char* id;
  const char* what;
  bool (*run)(const Options&);  ///< false: something did not add up, and standard error says what
};

inline void print_help(std::FILE* to, const char* program, std::span<const Workload> workloads) {
  std::fprintf(to,
               "usage: %s [--json] [--filter ID,...] [--recv MODE,...] [--seconds S] [--dir DIR] [--big]\n\n"
               "  --json      one JSON object a line for each measurement\n"
               "  --filter    only these workloads\n"
               "  --recv      only these ways to receive: poll, batch, blocking, async, async-batch\n"
               "  --seconds   how long a run publishes, where a workload does not fix it; default 0.5\n"
               "  --dir       where logs are put for the time of a run; default: the current directory\n"
               "  --big       also what takes many gigabytes of disk\n\n",
               program);
  for (const Workload& workload : workloads) std::fprintf(to, "  %-4s %s\n", workload.id, workload.what);
}

inline std::vector<std::string> split(std::string_view list) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin <= list.size();) {
    const std::size_t end = std::min(list.find(',', begin), list.size());
    if (end != begin) parts.emplace_back(list.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

/// Returns: whether the command line made sense.
inline bool parse(std::span<char* const> arguments, Options& options) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string_view name = arguments[i];
    if (name == "--json") {
      options.json = true;
      continue;
    }
    if (name == "--big") {
      options.big = true;
      continue;
    }
    if (++i == arguments.size()) return false;
    if (name == "--filter") {
      options.workloads = split(arguments[i]);
    } else if (name == "--recv") {
      options.modes = split(arguments[i]);
    } else if (name == "--dir") {
      options.directory = arguments[i];
    } else if (name == "--seconds") {
      options.seconds = std::strtod(arguments[i], nullptr);
      if (!(options.seconds > 0 && options.seconds < 3600)) return false;
    } else {
      return false;
    }
  }
  return true;
}

/// The whole of `main`. Returns: 0, 1 if a run did not add up, 2 for a wrong command line.
inline int run_workloads(int argc, char** argv, std::span<const Workload> workloads) {
  const auto arguments = std::span<char* const>(argv, static_cast<std::size_t>(argc)).subspan(1);
  Options options;
  if (!arguments.empty() && std::string_view(arguments[0]) == "--help") {
    print_help(stdout, argv[0], workloads);
    return 0;
  }
  bool known = parse(arguments, options);
  for (const std::string& id : options.workloads) {
    known &= std::any_of(workloads.begin(), workloads.end(), [&](const Workload& w) { return id == w.id; });
  }
  if (!known) {
    print_help(stderr, argv[0], workloads);
    return 2;
  }
  bool sound = true;
  for (const Workload& workload : workloads) {
    if (options.wants(workload.id)) sound &= workload.run(options);
  }
  return sound ? 0 : 1;
}

}  // namespace bench
