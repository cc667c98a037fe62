// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What a fuzzer's bytes choose, and what must hold whatever they choose.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <source_location>
#include <span>

namespace bus::detail {

inline void require(bool holds, std::source_location at = std::source_location::current()) {
  if (holds) return;
  std::cerr << at.file_name() << ':' << at.line() << ": does not hold" << std::endl;
  std::abort();
}

/// Takes numbers off the front of the fuzzer's bytes; zeros when there are no more.
class Choices {
 public:
  Choices(const std::uint8_t* data, std::size_t size) : rest_(reinterpret_cast<const std::byte*>(data), size) {}

  bool empty() const { return rest_.empty(); }
  std::uint32_t take(std::size_t bytes = 1) {
    std::uint32_t number = 0;
    for (std::size_t i = 0; i < bytes; ++i) {
      number = number << 8 | (rest_.empty() ? 0 : std::to_integer<std::uint32_t>(rest_.front()));
      if (!rest_.empty()) rest_ = rest_.subspan(1);
    }
    return number;
  }
  std::span<const std::byte> take_bytes(std::size_t most) {
    const auto taken = rest_.first(std::min(most, rest_.size()));
    rest_ = rest_.subspan(taken.size());
    return taken;
  }

 private:
  std::span<const std::byte> rest_;
};

}  // namespace bus::detail
