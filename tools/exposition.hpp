// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The text format in which Prometheus reads metrics, version 0.0.4.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace busbar {

struct MetricLabel {
  std::string name;
  std::string value;

  bool operator==(const MetricLabel&) const = default;
};

/// One line of a page. Of a histogram each bucket is one, and so are its sum and its count.
struct MetricSample {
  std::string name;
  std::vector<MetricLabel> labels;  ///< sorted by name, none twice
  double value = 0;                 ///< may be infinite, or no number

  /// The value of a label, empty if there is none.
  std::string_view label(std::string_view label_name) const;
};

struct Exposition {
  std::vector<MetricSample> samples;  ///< as they stand on the page
  std::size_t damaged_lines = 0;      ///< lines that are neither samples nor comments
};

/// Reads a page, and skips lines that it does not understand. So is a last line without its end, of which nobody knows
/// what is missing. Cost: O(bytes); the result is a small multiple of the page.
Exposition parse_exposition(std::string_view page);

}  // namespace busbar
