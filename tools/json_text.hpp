// SPDX-License-Identifier: MIT OR Apache-2.0
//
// JSON as it stands in a line: checked, and cut up without changing a byte.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace busbar {

/// Which rule of JSON the text breaks, if any. Never quotes the text.
/// Cost: O(bytes), on the heap and not on the stack however deeply it is nested.
std::optional<std::string> json_fault(std::string_view text);

/// A line cut down to the object that it holds, if it is one. `fault` says why it is none.
std::optional<std::string_view> as_object(std::string_view line, std::string& fault);

/// Walks over the members of an object that is known to be JSON, and cuts them out as they stand.
class JsonMembers {
 public:
  explicit JsonMembers(std::string_view object) : rest_(object) { rest_.remove_prefix(1); }

  /// The next key, in its quotes, and its value; false after the last one.
  bool next(std::string_view& key, std::string_view& value);

 private:
  void skip(std::string_view characters) { rest_.remove_prefix(rest_.find_first_not_of(characters)); }
  std::string_view cut();
  std::size_t past_string(std::size_t at) const;

  std::string_view rest_;
};

/// Of a value that is known to be JSON.
inline bool is_json_string(std::string_view value) { return value.front() == '"'; }

/// The text that a JSON string stands for.
std::string text_of(std::string_view string);

}  // namespace busbar
