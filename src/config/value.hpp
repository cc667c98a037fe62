// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A value of a configuration, whatever its type.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace bus::detail {

struct Value {
  using List = std::vector<Value>;
  using Table = std::vector<std::pair<std::string, Value>>;

  /// The first one stands for none.
  std::variant<std::monostate, bool, std::int64_t, double, std::string, List, Table> data = {};

  bool is_none() const noexcept { return data.index() == 0; }
  template <class T>
  const T& as() const {
    return std::get<T>(data);
  }
  friend bool operator==(const Value& a, const Value& b) { return a.data == b.data; }
};

/// In one line: texts in quotes, without control bytes.
std::string as_toml(const Value& value);
std::string as_json(const Value& value);

/// Text in quotes, as in TOML and JSON.
std::string in_quotes(std::string_view text);

/// A key of TOML: bare if it can be.
std::string as_toml_key(std::string_view key);

/// "a", "a or b", "a, b or c".
std::string any_of(const std::vector<std::string>& words);

}  // namespace bus::detail
