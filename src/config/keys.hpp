// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The one table of what may stand in a configuration: loading, showing, comparing and the documentation go by it.
#pragma once

#include "config/value.hpp"

#include <bus/config/config.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bus::detail {

/// The sections, in the order in which they are told.
enum class Part : std::uint8_t {
  head,
  bus,
  router,
  receivers,
  rate_limits,
  routes,
  logs,
  groups,
  durable_topics,
  durable_rows,
  metrics,
  serve,
};
inline constexpr std::size_t part_count = 12;

/// How often a section may stand in a file.
enum class Times : std::uint8_t { once, named, rows };

Times times(Part part) noexcept;

/// "bus", "routes", "durable_topics.table".
std::string_view name_of(Part part) noexcept;

/// "bus", "routes.screen", "durable_topics.table[1]".
std::string section_name(Part part, std::string_view instance);

/// "routes.screen.budget_bytes".
std::string full_name(Part part, std::string_view instance, std::string_view key);

/// Which of a section there are: names, numbers from 1, or one empty text.
std::vector<std::string> instances(const Config& config, Part part);

/// Adds one, with the values of the model.
void add_instance(Config& config, Part part, const std::string& instance, const Config& model);

/// A configuration with the values of the profile, and with one of each section: "" is its name.
const Config& model(Profile profile);

enum class Type : std::uint8_t { boolean, integer, number, word, text, integers, texts, integer_table, text_table };

/// What an integer may be.
struct Range {
  std::int64_t least = 0;
  std::int64_t most = std::numeric_limits<std::int64_t>::max();
  std::int64_t step = 1;
  bool power_of_two = false;
};

/// Which rule a text breaks; empty if none.
using TextFault = std::string_view (*)(std::string_view);

/// What another key of the section must be for this one to mean anything.
struct Condition {
  std::string key;
  std::vector<std::string> values;  ///< as TOML
};

struct Key {
  Part part{};
  std::string name;
  Type type{};
  std::string help = {};

  Range range = {};
  double most_number = 0;
  std::vector<std::string> words = {};
  std::string what = {};  ///< what a text is, as "a topic"
  TextFault fault = nullptr;
  TextFault name_fault = nullptr;  ///< of the names in a table

  bool is_optional = false;  ///< "none" is allowed
  bool is_required = false;
  bool is_live = false;
  std::optional<Condition> only_with = {};
  std::string variable = {};

  /// The value that a configuration has; none, if that cannot be said.
  std::function<Value(const Config&, const std::string& instance)> get = {};

  /// Errors: none; the value must have no fault.
  std::function<void(Config&, const std::string& instance, const Value&)> set = {};
};

/// In the order in which values must be set.
const std::vector<Key>& keys();

/// Nothing, if there is none.
const Key* find_key(Part part, std::string_view name);

/// Whether the key means anything there.
bool applies(const Key& key, const Config& config, const std::string& instance);

/// "an integer, 2 to 1048576".
std::string allowed(const Key& key);

/// One thing that is wrong with a value.
struct Fault {
  std::optional<std::size_t> at = {};  ///< in a list or a table
  std::string found;
  std::string allowed;
};
std::vector<Fault> faults_of(const Key& key, const Value& value);

/// What stands in a file where something else is allowed.
std::string describe(const Value& value);

/// Which rule the name of such a section breaks; empty if none.
std::string_view instance_fault(Part part, const std::string& name);

std::string_view name_of(Profile profile) noexcept;

}  // namespace bus::detail
