// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace busbar {

/// Counts durations in buckets that grow with them: 32 to each power of two, so a percentile is off by at most
/// 1.6 %, half a bucket's width. Below 64 ns every value has a bucket of its own.
/// Threads: one at a time. Cost: 15 KiB, no allocation.
class LatencyHistogram {
 public:
  void record(std::int64_t nanoseconds) noexcept {
    ++buckets_[bucket_of(static_cast<std::uint64_t>(std::max<std::int64_t>(nanoseconds, 0)))];
    ++count_;
  }

  std::uint64_t count() const noexcept { return count_; }

  /// The duration that a share `fraction` (0 to 1) of all that was recorded does not exceed, in nanoseconds.
  /// Returns: nothing if nothing was recorded.
  std::optional<std::uint64_t> percentile(double fraction) const noexcept {
    if (count_ == 0) return std::nullopt;
    const auto rank = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(std::ceil(fraction * double(count_))));
    std::uint64_t seen = 0;
    std::size_t bucket = 0;
    while ((seen += buckets_[bucket]) < rank) ++bucket;
    return middle_of(bucket);
  }

 private:
  static constexpr unsigned fine_bits = 5;
  static constexpr std::uint64_t fine = 1U << fine_bits;

  // A value is its power of two, `shift` above the fine ones, and the five bits that follow the leading one.
  static constexpr std::size_t bucket_of(std::uint64_t value) noexcept {
    if (value < 2 * fine) return static_cast<std::size_t>(value);
    const unsigned shift = static_cast<unsigned>(std::bit_width(value)) - fine_bits - 1;
    return static_cast<std::size_t>(shift * fine + (value >> shift));
  }

  static constexpr std::uint64_t middle_of(std::size_t bucket) noexcept {
    if (bucket < 2 * fine) return bucket;
    const std::uint64_t shift = bucket / fine - 1;
    return ((bucket % fine + fine) << shift) + (std::uint64_t{1} << shift) / 2;
  }

  static constexpr std::size_t bucket_count = (64 - fine_bits + 1) * fine;

  std::array<std::uint64_t, bucket_count> buckets_{};
  std::uint64_t count_ = 0;
};

}  // namespace busbar
