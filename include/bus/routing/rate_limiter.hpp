// SPDX-License-Identifier: MIT OR Apache-2.0
//
// How fast an owner may send on behalf of each principal.
#pragma once

#include <bus/error.hpp>
#include <bus/export.hpp>
#include <bus/options.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace bus {

/// How fast one owner may send on behalf of one principal.
struct RateLimit {
  std::uint64_t bytes_per_second = 10 * 1024 * 1024;  ///< at least 1
  std::uint64_t burst_bytes = 10 * 1024 * 1024;       ///< what may come at once after a pause; at least 1
  std::uint64_t max_message_bytes = 5 * 1024 * 1024;  ///< a larger message is refused whatever has been saved up
  std::size_t max_buckets = 65'536;                   ///< pairs of owner and principal told apart at a time
};

namespace limits {

/// Of every figure of a RateLimit but the last, and of that.
inline constexpr std::uint64_t max_rate_bytes = std::uint64_t{1} << 40;
inline constexpr std::size_t max_rate_buckets = std::size_t{1} << 32;

}  // namespace limits

/// A token bucket for each pair of owner and principal. Full buckets are forgotten: they are as good as new ones.
///
/// Should more pairs than `max_buckets` be short of tokens at the same time, a new pair is refused until one of them
/// has recovered. Pairs are shared out to the shards by hash, so one shard may refuse a little before all are full;
/// each holds at least one pair.
///
/// Threads: any; short critical sections, for 16 shards of pairs each its own.
/// Cost:    one look-up and one reading of the clock; allocates for a pair that has no bucket.
class BUSBAR_EXPORT RateLimiter {
 public:
  /// A limiter with all its buckets full. Lifetime: the clock must outlive it.
  /// Errors: throws std::invalid_argument naming a figure out of range.
  explicit RateLimiter(RateLimit limit = {}, const Clock& clock = Clock::system());
  ~RateLimiter();
  RateLimiter(const RateLimiter&) = delete;
  RateLimiter& operator=(const RateLimiter&) = delete;

  /// Takes `bytes` tokens.
  /// Errors: rate_limited (later it may succeed), payload_too_large (over the ceiling of a message, or a burst). No
  /// token is taken then. Throws std::bad_alloc.
  result<void> admit(std::string_view owner, std::string_view principal, std::uint64_t bytes);

  /// Gives back what `admit` took for what was not sent after all, soon after it: what has come back with time by then
  /// comes back twice. For want of memory it comes back with time only.
  void give_back(std::string_view owner, std::string_view principal, std::uint64_t bytes) noexcept;

  /// Buckets that are remembered. Cost: O(1).
  std::size_t buckets() const noexcept;

  /// The limit that is in force. Threads: any.
  RateLimit limit() const noexcept;

  /// Changes how fast senders may be from now on. What a bucket lacks, in bytes, it lacks under the new limit too.
  /// Threads: any; a call of `admit` beside it goes by the old limit or the new one. Cost: O(buckets).
  /// Errors: as the constructor; nothing has changed then.
  void set_limit(const RateLimit& limit);

 private:
  struct Shard;
  Shard& shard_of(const std::string& key) const noexcept;

  static constexpr std::size_t shard_count = 16;
  const Clock& clock_;
  std::unique_ptr<Shard[]> shards_;
};

}  // namespace bus
