// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What a log tells of records that are missing from it.
#pragma once

#include <bus/export.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace bus {

/// What became of records that cannot be read, by what the disk proves.
enum class Verdict : std::uint8_t {
  torn = 1,      ///< a crash struck while they were written: nobody had been told that they were durable
  lost = 2,      ///< they had been durable, and were damaged later
  unproven = 3,  ///< nothing on the disk says which of the two
};

/// The word for it: "torn", "lost", "unproven".
BUSBAR_EXPORT std::string_view to_string(Verdict verdict) noexcept;

/// Records missing in one place.
struct LogLoss {
  std::string segment = {};  ///< file name; of a segment that is gone, the base offset it would have
  std::uint64_t begin = 0;
  std::uint64_t end = 0;  ///< bytes `[begin, end)` of the file
  std::uint64_t first_offset = 0;
  std::uint64_t records = 0;
  bool counted = true;  ///< `records` is exact; else nothing on disk says how many there were, and this is the least
  Verdict verdict = Verdict::lost;
  bool known = false;  ///< an earlier opening found it
  std::string reason = {};  ///< for people
  friend bool operator==(const LogLoss&, const LogLoss&) = default;
};

/// All that is missing as far as somebody has looked.
struct BUSBAR_EXPORT LossReport {
  std::vector<LogLoss> losses = {};  ///< by offset

  /// Sums of what is `lost` or `unproven`; what is torn was never promised.
  /// @{
  std::uint64_t records() const noexcept;
  std::uint64_t bytes() const noexcept;
  /// @}

  /// The report as JSON, in the form of docs/loss-report.schema.json.
  /// Errors: throws std::bad_alloc.
  std::string to_json() const;
};

}  // namespace bus
