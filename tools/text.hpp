// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Figures as people read them.
#pragma once

#include <cstdint>
#include <string>

namespace busbar {

/// 1234567 as "1,234,567".
std::string with_separators(std::uint64_t value);

/// A duration with three digits that matter: "412 ns", "12.4 us", "1.05 s".
std::string as_duration(std::uint64_t nanoseconds);

}  // namespace busbar
