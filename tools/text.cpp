// SPDX-License-Identifier: MIT OR Apache-2.0
#include "text.hpp"

#include <array>
#include <cstdio>

namespace busbar {

std::string with_separators(std::uint64_t value) {
  std::string text = std::to_string(value);
  for (auto at = text.size(); at > 3;) text.insert(at -= 3, 1, ',');
  return text;
}

std::string as_duration(std::uint64_t nanoseconds) {
  if (nanoseconds < 1000) return std::to_string(nanoseconds) + " ns";
  auto value = static_cast<double>(nanoseconds);
  const char* unit = "ns";
  for (const char* larger : {"us", "ms", "s"}) {
    if (value < 999.5) break;
    value /= 1000;
    unit = larger;
  }
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%.*f %s", value < 9.995 ? 2 : value < 99.95 ? 1 : 0, value, unit);
  return text.data();
}

}  // namespace busbar
