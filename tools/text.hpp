// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Figures as people read them.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace busbar {

/// 1234567 as "1,234,567".
std::string with_separators(std::uint64_t value);

/// "1 record", "1,234 records".
std::string counted(std::uint64_t value, std::string_view noun);

/// A duration with three digits that matter: "412 ns", "12.4 us", "1.05 s".
std::string as_duration(std::uint64_t nanoseconds);

/// A time as ISO 8601 in UTC, to the nanosecond: "2026-03-01T12:00:00.000000000Z".
std::string as_utc(std::chrono::system_clock::time_point time);

/// Reads what `as_utc` writes, with fewer digits or without the time of day too: "2026-03-01", "2026-03-01T12:00Z",
/// "2026-03-01T12:00:00.5Z". Returns: nothing for anything else, and for a time the clock cannot hold.
std::optional<std::chrono::system_clock::time_point> parse_utc(std::string_view text);

using Row = std::vector<std::string>;

/// The first column to the left, figures to the right, each as wide as its widest cell. The rows are of one length;
/// the first one is the head of the table, which is left out if there are no others.
std::string aligned(const std::vector<Row>& rows);

}  // namespace busbar
