// SPDX-License-Identifier: MIT OR Apache-2.0
#include <bus/routing/rate_limiter.hpp>

#include <boost/container_hash/hash.hpp>
#include <boost/unordered/unordered_flat_map.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

namespace bus {
namespace {

using Time = std::chrono::steady_clock::time_point;

constexpr std::uint64_t long_time = 1'000'000'000;  // in seconds; what takes longer is as good as for ever

/// Owner and principal. Neither holds a NUL.
std::string key_of(std::string_view owner, std::string_view principal) {
  std::string key;
  key.reserve(owner.size() + 1 + principal.size());
  key.append(owner).push_back('\0');
  return key.append(principal);
}

RateLimit checked(const RateLimit& limit) {
  const auto check = [](std::string_view name, std::uint64_t value, std::uint64_t most) {
    if (value != 0 && value <= most) return;
    throw std::invalid_argument("RateLimit::" + std::string(name) + " is " + std::to_string(value) +
                                "; allowed are 1 to " + std::to_string(most));
  };
  check("bytes_per_second", limit.bytes_per_second, limits::max_rate_bytes);
  check("burst_bytes", limit.burst_bytes, limits::max_rate_bytes);
  check("max_message_bytes", limit.max_message_bytes, limits::max_rate_bytes);
  check("max_buckets", limit.max_buckets, limits::max_rate_buckets);
  return limit;
}

/// How long so many tokens take to come. Rounded up: what is sent over a long time never exceeds the rate.
std::chrono::nanoseconds time_for(std::uint64_t tokens, const RateLimit& limit) {
  using namespace std::chrono;
  const std::uint64_t whole = std::min(tokens / limit.bytes_per_second, long_time);
  const auto rest = static_cast<double>(tokens % limit.bytes_per_second);
  return seconds(whole) +
         nanoseconds(static_cast<std::int64_t>(std::ceil(rest * 1e9 / static_cast<double>(limit.bytes_per_second))));
}

}  // namespace

/// What a bucket lacks is remembered as the moment at which it will be full again (the form of the algorithm known as
/// virtual scheduling: ITU-T I.371, generic cell rate algorithm).
struct alignas(64) RateLimiter::Shard {
  mutable std::mutex mutex;
  RateLimit limit;
  boost::unordered_flat_map<std::string, Time> full_at;
  std::size_t swept_at_size = 16;
};

RateLimiter::Shard& RateLimiter::shard_of(const std::string& key) const noexcept {
  return shards_[boost::hash<std::string>()(key) / 64 % shard_count];
}

RateLimiter::RateLimiter(RateLimit limit, const Clock& clock)
    : clock_(clock), shards_(std::make_unique<Shard[]>(shard_count)) {
  set_limit(limit);
}

RateLimiter::~RateLimiter() = default;

RateLimit RateLimiter::limit() const noexcept {
  const std::lock_guard lock(shards_[0].mutex);
  return shards_[0].limit;
}

void RateLimiter::set_limit(const RateLimit& limit) {
  using namespace std::chrono;
  (void)checked(limit);
  const Time now = clock_.steady();
  for (std::size_t i = 0; i < shard_count; ++i) {
    Shard& shard = shards_[i];
    const std::lock_guard lock(shard.mutex);
    const double slower =
        static_cast<double>(shard.limit.bytes_per_second) / static_cast<double>(limit.bytes_per_second);
    shard.limit = limit;
    for (auto& [key, full_at] : shard.full_at) {
      if (full_at <= now) continue;
      const double ns = static_cast<double>(nanoseconds(full_at - now).count()) * slower;
      full_at = now + nanoseconds(static_cast<std::int64_t>(std::ceil(std::min(ns, 1e9 * long_time))));
    }
  }
}

result<void> RateLimiter::admit(std::string_view owner, std::string_view principal, std::uint64_t bytes) {
  std::string key = key_of(owner, principal);
  Shard& shard = shard_of(key);
  const Time now = clock_.steady();
  const std::lock_guard lock(shard.mutex);
  const RateLimit& limit = shard.limit;
  if (bytes > limit.max_message_bytes || bytes > limit.burst_bytes) return make_error_code(errc::payload_too_large);
  const auto found = shard.full_at.find(key);
  const Time full_at = found != shard.full_at.end() ? std::max(found->second, now) : now;
  const Time after = full_at + time_for(bytes, limit);
  if (after - now > time_for(limit.burst_bytes, limit)) return make_error_code(errc::rate_limited);
  if (found != shard.full_at.end()) {
    found->second = after;
    return {};
  }
  const std::size_t most = std::max<std::size_t>(limit.max_buckets / shard_count, 1);
  if (shard.full_at.size() >= std::min(shard.swept_at_size, most)) {
    erase_if(shard.full_at, [&](const auto& one) { return one.second <= now; });
    if (shard.full_at.size() >= most) return make_error_code(errc::rate_limited);
    shard.swept_at_size = std::max<std::size_t>(16, 2 * shard.full_at.size());
  }
  shard.full_at.emplace(std::move(key), after);
  return {};
}

void RateLimiter::give_back(std::string_view owner, std::string_view principal, std::uint64_t bytes) noexcept try {
  const std::string key = key_of(owner, principal);
  Shard& shard = shard_of(key);
  const std::lock_guard lock(shard.mutex);
  const auto found = shard.full_at.find(key);
  if (found != shard.full_at.end()) found->second -= time_for(bytes, shard.limit);  // else it is full by now
} catch (const std::bad_alloc&) {
  // As the header says.
}

std::size_t RateLimiter::buckets() const noexcept {
  std::size_t sum = 0;
  for (std::size_t i = 0; i < shard_count; ++i) {
    const std::lock_guard lock(shards_[i].mutex);
    sum += shards_[i].full_at.size();
  }
  return sum;
}

}  // namespace bus
