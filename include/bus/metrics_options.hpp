// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What a host says about its metrics. A plain struct, so that a configuration can hold it where metrics are not built.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bus {

/// The labels that metrics have themselves, so that no other one may be called so. `amnesia_label_name` is theirs with
/// `MetricsOptions::amnesia_label`.
inline constexpr auto metric_labels =
    std::to_array<std::string_view>({"bus", "class", "group", "le", "log", "outcome", "part", "purpose", "quantile",
                                     "reason", "receiver", "route", "state"});
inline constexpr std::string_view amnesia_label_name = "amnesia";

/// How metrics are named and labelled.
struct MetricsOptions {
  /// Stands in front of every name, with an underscore between: letters, digits and underscores, with no digit and no
  /// two underscores first. Empty: names are as documented.
  std::string name_space = {};

  /// Labels of every sample, such as {"service", "gateway"}. Names are letters, digits and underscores, with no digit
  /// and no two underscores first, and none that the metrics have themselves; values are UTF-8.
  std::vector<std::pair<std::string, std::string>> labels = {};

  /// Whether every sample says amnesia="on" or "off".
  bool amnesia_label = true;

  /// Values of each label that carries names the program gave, at most. The first ones have samples of their own; those
  /// that come later are one, "other".
  std::size_t max_names = 100;
};

}  // namespace bus
