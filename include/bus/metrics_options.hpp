// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What a host says about its metrics. A plain struct, so that a configuration can hold it where metrics are not built.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace bus {

struct MetricsOptions {
  /// Stands before every name, with an underscore between. Empty: names are as documented.
  std::string name_space = {};

  /// Labels of every sample, such as {"service", "gateway"}. Names as Prometheus has them, none of which the metrics
  /// use themselves.
  std::vector<std::pair<std::string, std::string>> labels = {};

  /// Whether every sample says amnesia="on" or "off".
  bool amnesia_label = true;

  /// Distinct values of the labels that carry names the program gave; samples beyond are summed as "other".
  std::size_t max_names = 100;
};

}  // namespace bus
