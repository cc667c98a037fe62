// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What `busbar top` makes of two looks at a page of metrics. It knows neither a terminal nor a server.
#pragma once

#include "exposition.hpp"

#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace busbar {

/// How a column comes from the samples of its metric that belong to a row.
enum class Take {
  sum,      ///< of gauges, or of what counters have come to
  largest,  ///< of gauges
  part,     ///< their sum as a part of the sum of another metric
  rate,     ///< by how much counters grew, each second
  p50,      ///< of what a histogram took in between the two looks
  p99,
  mean,
};

enum class Unit { count, bytes, seconds, share };

/// When a figure is worth a look.
enum class Alarm { never, above_zero, nearly_full };

struct TopColumn {
  const char* key;   ///< in JSON
  const char* head;  ///< in a table
  Take take;
  const char* metric;
  Unit unit = Unit::count;
  Alarm alarm = Alarm::never;
  const char* label = "";  ///< if there is one, only samples where it has `value`
  const char* value = "";
  const char* whole = "";  ///< of a part: what it is a part of
};

struct TopSection {
  const char* key;
  const char* title;
  std::vector<const char*> labels;  ///< which tell its rows apart
  std::size_t worst;                ///< the column whose largest figures come first
  std::vector<TopColumn> columns;   ///< the ones that matter most come first
};

/// All that is shown, and the one list of it.
std::span<const TopSection> top_sections();

/// Nothing where the page does not say, or what it says needs a look before this one.
using Figure = std::optional<double>;

struct TopRow {
  std::vector<std::string> names;  ///< values of the section's labels
  std::vector<Figure> figures;     ///< of its columns
};

struct TopTable {
  const TopSection* section;
  std::vector<TopRow> rows;
};

struct TopView {
  Figure seconds;                   ///< between the two looks
  bool restarted = false;           ///< a counter went back, so the program began anew, and nothing has a rate
  std::size_t damaged_lines = 0;
  std::size_t foreign_samples = 0;  ///< those of others
  std::vector<TopTable> tables;     ///< one for each section, in their order

  bool is_empty() const;
};

struct Scrape {
  Exposition page;
  std::chrono::steady_clock::time_point time = {};
};

/// `name_space` is that of the metrics, as in `bus::MetricsOptions`. A series that was not there before has no rate.
TopView top_view(const Scrape* before, const Scrape& now, std::string_view name_space = {});

/// The sum of a column over its rows. Returns: nothing if no row has a figure.
Figure total_of(const TopView& view, std::string_view section, std::string_view column);

/// The value that a share `quantile` of what a histogram took in does not exceed, taken to be spread evenly within each
/// bucket; above the last one, its bound. Returns: nothing if it took in nothing, or has no bucket without a bound.
struct Bucket {
  double bound = 0;
  double count = 0;  ///< up to the bound
};
Figure quantile_of(std::vector<Bucket> buckets, double quantile);

/// One JSON object on one line.
std::string as_json(const TopView& view, const std::string& address);

}  // namespace busbar
