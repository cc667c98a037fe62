// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Writes docs/metrics.md, or with --check compares it with what would be written.
#include "metrics/table.hpp"

#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>
#include <string>

namespace {

using bus::detail::Metric;
using bus::detail::MetricKind;
using bus::detail::Subject;

constexpr std::string_view head = R"(<!-- SPDX-License-Identifier: MIT OR Apache-2.0 -->
<!-- Made from src/metrics/table.cpp: `cmake --build build/dev --target metrics_page` writes it anew. -->

# Metrics

What `bus::Metrics` (`bus/metrics/prometheus.hpp`) shows of the objects that were added to it. With
`MetricsOptions::name_space` each name begins with that and an underscore. Besides the labels below every sample has those
of `MetricsOptions::labels`, and `amnesia`, which is `on` for a bus that has it. `bus`, `log` and `group` are the names
under which objects were added, and are not there if they had none; `receiver` and `route` are the names that the program
gave to these. Names beyond the first `MetricsOptions::max_names` are one, `other`. A principal is never a label.

Counters begin at zero when the object is added, and never go back: what is gone leaves its counts behind. Gauges of objects with the same labels are summed, or
where it says `largest`, it is the largest of them.

The three at the head have the same labels, so that an alert can say what follows. What was overwritten counts at once but
for the last 64 events of each receiver, which count when it looks again.

    rate(bus_overflow_dropped_total[5m]) > 100 and bus_queue_depth > 0.8 * bus_capacity
)";

std::string_view word_for(MetricKind kind) {
  switch (kind) {
    case MetricKind::counter: return "counter";
    case MetricKind::gauge: return "gauge";
    case MetricKind::largest: return "gauge, largest";
    case MetricKind::histogram: break;
  }
  return "histogram";
}

std::string page() {
  std::ostringstream out;
  out << head;
  for (const Subject* subject : bus::detail::metric_subjects()) {
    out << "\n## " << subject->title << "\n\nLabels:";
    for (const std::string_view label : subject->labels) out << " `" << label << '`';
    out << "\n\n| name | type | unit | meaning |\n|---|---|---|---|\n";
    for (const Metric& metric : subject->metrics) {
      out << "| `" << metric.name << "` | " << word_for(metric.kind) << " | " << metric.unit << " | " << metric.help;
      if (!metric.label.values.empty()) {
        out << " `" << metric.label.name << "`:";
        for (const std::string_view value : metric.label.values) out << " `" << value << '`';
      }
      out << " |\n";
    }
  }
  return out.str();
}

}  // namespace

int main(int argc, char** argv) {
  const bool is_check = argc == 3 && std::string_view(argv[1]) == "--check";
  if (argc != 2 && !is_check) {
    std::cerr << "usage: metrics_page [--check] FILE\n";
    return 2;
  }
  const char* const path = argv[argc - 1];
  if (is_check) {
    std::ifstream file(path);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    if (text == page()) return 0;
    std::cerr << path << " is not what the table says; the target metrics_page writes it anew\n";
    return 1;
  }
  std::ofstream file(path);
  file << page() << std::flush;
  if (!file) std::cerr << path << " cannot be written\n";
  return file ? 0 : 1;
}
