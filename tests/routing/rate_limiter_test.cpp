// SPDX-License-Identifier: MIT OR Apache-2.0
#include "core/bus_fixture.hpp"

#include <bus/routing/rate_limiter.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

namespace bus {
namespace {

using namespace std::chrono_literals;
using bus_test::ManualClock;

/// A byte takes a microsecond, and a hundred of them are saved up.
constexpr RateLimit slow{.bytes_per_second = 1'000'000, .burst_bytes = 100, .max_message_bytes = 100};

bool admits(RateLimiter& limiter, std::uint64_t bytes, std::string_view principal = "agent.a",
            std::string_view owner = "o") {
  const auto admitted = limiter.admit(owner, principal, bytes);
  if (!admitted) {
    EXPECT_EQ(admitted.error(), errc::rate_limited);
  }
  return admitted.has_value();
}

TEST(RateLimiter, has_the_figures_of_the_guide_unless_given_others) {
  const RateLimiter limiter;
  EXPECT_EQ(limiter.limit().bytes_per_second, 10U << 20);
  EXPECT_EQ(limiter.limit().burst_bytes, 10U << 20);
  EXPECT_EQ(limiter.limit().max_message_bytes, 5U << 20);
  EXPECT_EQ(limiter.limit().max_buckets, 65'536U);
  EXPECT_EQ(limiter.buckets(), 0U);
}

TEST(RateLimiter, takes_back_what_was_not_sent) {
  ManualClock clock;
  RateLimiter limiter(slow, clock);
  EXPECT_TRUE(admits(limiter, 60));
  EXPECT_TRUE(admits(limiter, 40));
  limiter.give_back("o", "agent.a", 40);
  EXPECT_FALSE(admits(limiter, 41));
  EXPECT_TRUE(admits(limiter, 40));
  clock.advance(1ms);
  EXPECT_TRUE(admits(limiter, 100));
  clock.advance(100us);
  limiter.give_back("o", "agent.a", 100);
  limiter.give_back("o", "agent.b", 100);
  EXPECT_TRUE(admits(limiter, 100));
  EXPECT_FALSE(admits(limiter, 1)) << "no more than a burst is saved up";
  EXPECT_TRUE(admits(limiter, 100, "agent.b"));
  EXPECT_FALSE(admits(limiter, 1, "agent.b"));
}

TEST(RateLimiter, names_a_figure_that_is_out_of_range) {
  const auto what = [](const RateLimit& limit) -> std::string {
    try {
      const RateLimiter limiter(limit);
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "nothing thrown";
  };
  constexpr auto above = (std::uint64_t{1} << 40) + 1;
  EXPECT_EQ(what({.bytes_per_second = 0}), "RateLimit::bytes_per_second is 0; allowed are 1 to 1099511627776");
  EXPECT_EQ(what({.burst_bytes = above}), "RateLimit::burst_bytes is 1099511627777; allowed are 1 to 1099511627776");
  EXPECT_EQ(what({.max_message_bytes = 0}), "RateLimit::max_message_bytes is 0; allowed are 1 to 1099511627776");
  EXPECT_EQ(what({.max_buckets = 0}), "RateLimit::max_buckets is 0; allowed are 1 to 4294967296");
  EXPECT_EQ(what({.bytes_per_second = above - 1, .burst_bytes = above - 1, .max_message_bytes = above - 1}),
            "nothing thrown");
  EXPECT_EQ(what({.bytes_per_second = 1, .burst_bytes = 1, .max_message_bytes = 1, .max_buckets = 1}),
            "nothing thrown");
}

TEST(RateLimiter, admits_a_burst_and_then_the_rate) {
  ManualClock clock;
  RateLimiter limiter(slow, clock);
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(admits(limiter, 10));
  EXPECT_FALSE(admits(limiter, 1));
  clock.advance(999ns);
  EXPECT_FALSE(admits(limiter, 1));
  clock.advance(1ns);
  EXPECT_FALSE(admits(limiter, 2));
  EXPECT_TRUE(admits(limiter, 1));
  EXPECT_FALSE(admits(limiter, 1));
  clock.advance(50us);
  EXPECT_TRUE(admits(limiter, 50));
  EXPECT_FALSE(admits(limiter, 1));
}

TEST(RateLimiter, saves_up_no_more_than_a_burst) {
  ManualClock clock;
  RateLimiter limiter(slow, clock);
  EXPECT_TRUE(admits(limiter, 1));
  clock.advance(1h);
  EXPECT_TRUE(admits(limiter, 100));
  EXPECT_FALSE(admits(limiter, 1));
}

TEST(RateLimiter, takes_no_token_for_what_it_refuses) {
  ManualClock clock;
  RateLimiter limiter(slow, clock);
  EXPECT_TRUE(admits(limiter, 60));
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(admits(limiter, 41));
  EXPECT_EQ(limiter.admit("o", "agent.a", 101).error(), errc::payload_too_large);
  EXPECT_TRUE(admits(limiter, 40));
}

TEST(RateLimiter, refuses_a_message_over_the_ceiling_or_over_a_burst_for_good) {
  ManualClock clock;
  RateLimiter ceiling({.bytes_per_second = 1000, .burst_bytes = 100, .max_message_bytes = 50}, clock);
  EXPECT_EQ(ceiling.admit("o", "p", 51).error(), errc::payload_too_large);
  EXPECT_TRUE(ceiling.admit("o", "p", 50));
  RateLimiter burst({.bytes_per_second = 1000, .burst_bytes = 100, .max_message_bytes = 500}, clock);
  EXPECT_EQ(burst.admit("o", "p", 101).error(), errc::payload_too_large);
  EXPECT_EQ(burst.buckets(), 0U);
  EXPECT_TRUE(burst.admit("o", "p", 100));
  clock.advance(1h);
  EXPECT_EQ(burst.admit("o", "p", 101).error(), errc::payload_too_large);
}

TEST(RateLimiter, tells_every_pair_of_owner_and_principal_apart) {
  ManualClock clock;
  RateLimiter limiter(slow, clock);
  EXPECT_TRUE(admits(limiter, 100, "bc", "a"));
  EXPECT_TRUE(admits(limiter, 100, "c", "ab"));
  EXPECT_TRUE(admits(limiter, 100, "abc", ""));
  EXPECT_TRUE(admits(limiter, 100, "", "abc"));
  EXPECT_TRUE(admits(limiter, 100, "", ""));
  EXPECT_EQ(limiter.buckets(), 5U);
  EXPECT_FALSE(admits(limiter, 1, "bc", "a"));
  EXPECT_FALSE(admits(limiter, 1, "", "abc"));
}

__extension__ using Wide = __int128;

/// What a bucket holds, in billionths of a token: the textbook's way.
class Bucket {
 public:
  explicit Bucket(const RateLimit& limit) : limit_(limit) {}

  void advance(std::chrono::nanoseconds by) {
    tokens_ += static_cast<Wide>(by.count()) * static_cast<Wide>(limit_.bytes_per_second);
    if (surely_has(limit_.burst_bytes)) rounded_ = 0;
    tokens_ = std::min(tokens_, full());
  }
  void take(std::uint64_t bytes) {
    tokens_ -= billionths(bytes);
    ++rounded_;
  }
  /// By more than a nanosecond's worth, which is how exactly times are kept.
  bool overdrawn() const { return tokens_ < -static_cast<Wide>(limit_.bytes_per_second); }

  /// Whether there are tokens for so many bytes, though each message may have cost up to a nanosecond more.
  bool surely_has(std::uint64_t bytes) const {
    return tokens_ >= billionths(bytes) + (rounded_ + 1) * static_cast<Wide>(limit_.bytes_per_second);
  }

 private:
  static Wide billionths(std::uint64_t bytes) { return static_cast<Wide>(bytes) * 1'000'000'000; }
  Wide full() const { return billionths(limit_.burst_bytes); }

  const RateLimit limit_;
  Wide tokens_ = full();
  std::int64_t rounded_ = 0;  // messages since it was surely full
};

TEST(RateLimiter, never_admits_more_than_the_rate_nor_refuses_what_is_within_it) {
  for (std::uint32_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    const auto some = [&](std::uint64_t most) { return 1 + random() % (std::uint64_t{1} << random() % most); };
    RateLimit limit{.bytes_per_second = some(34), .burst_bytes = some(24), .max_message_bytes = 1 << 20};
    ManualClock clock;
    RateLimiter limiter(limit, clock);
    Bucket bucket(limit);
    const std::uint64_t refill_ns = limit.burst_bytes * 1'000'000'000 / limit.bytes_per_second;
    const std::uint64_t longest = std::min<std::uint64_t>(2 + 4 * refill_ns, 1'000'000'000'000'000);
    int admitted = 0;
    for (int i = 0; i < 3000 && !HasFailure(); ++i) {
      const std::chrono::nanoseconds pause(random() % (1 + longest / some(12)));
      clock.advance(pause);
      bucket.advance(pause);
      const std::uint64_t bytes = random() % (1 + std::min(limit.burst_bytes, limit.max_message_bytes) / some(5));
      const bool sure = bucket.surely_has(bytes);
      if (admits(limiter, bytes)) {
        bucket.take(bytes);
        ++admitted;
        EXPECT_FALSE(bucket.overdrawn());
      } else {
        EXPECT_FALSE(sure);
      }
    }
    EXPECT_GT(admitted, 100);
    if (HasFailure()) return;
  }
}

TEST(RateLimiter, forgets_buckets_that_are_full_again) {
  ManualClock clock;
  RateLimiter limiter(slow, clock);
  for (int i = 0; i < 100'000; ++i) {
    ASSERT_TRUE(admits(limiter, 100, "agent." + std::to_string(i)));
    clock.advance(100us);  // and it is full
    ASSERT_LE(limiter.buckets(), 16U * 16U);
  }
}

TEST(RateLimiter, keeps_no_more_buckets_than_it_may_and_refuses_new_pairs_until_one_is_full_again) {
  ManualClock clock;
  RateLimit few = slow;
  few.max_buckets = 160;
  RateLimiter limiter(few, clock);
  int known = 0;
  for (int i = 0; i < 10'000; ++i) known += admits(limiter, 100, "agent." + std::to_string(i)) ? 1 : 0;
  EXPECT_EQ(known, 160);
  EXPECT_EQ(limiter.buckets(), 160U);
  clock.advance(50us);
  EXPECT_FALSE(admits(limiter, 1, "new"));
  EXPECT_TRUE(admits(limiter, 50, "agent.0"));  // who has a bucket goes on
  clock.advance(50us);
  EXPECT_TRUE(admits(limiter, 100, "new"));
  EXPECT_LT(limiter.buckets(), 160U);
  EXPECT_FALSE(admits(limiter, 51, "agent.0"));  // its bucket is not full
}

TEST(RateLimiter, does_not_forget_a_bucket_that_lacks_tokens) {
  ManualClock clock;
  RateLimiter limiter(slow, clock);
  EXPECT_TRUE(admits(limiter, 100, "short"));
  for (int i = 0; i < 10'000; ++i) {
    clock.advance(9ns);
    admits(limiter, 1, "agent." + std::to_string(i));
  }
  EXPECT_FALSE(admits(limiter, 91, "short"));
  EXPECT_TRUE(admits(limiter, 90, "short"));
}

TEST(RateLimiter, goes_by_a_new_limit_at_once) {
  ManualClock clock;
  RateLimiter limiter(slow, clock);
  EXPECT_TRUE(admits(limiter, 100));
  limiter.set_limit({.bytes_per_second = 2'000'000, .burst_bytes = 100, .max_message_bytes = 50});
  EXPECT_EQ(limiter.limit().max_message_bytes, 50U);
  EXPECT_FALSE(admits(limiter, 1)) << "what was lacking lacks";
  clock.advance(25us);
  EXPECT_TRUE(admits(limiter, 50)) << "two bytes a microsecond";
  EXPECT_FALSE(admits(limiter, 1)) << "and no more";
  EXPECT_EQ(limiter.admit("o", "agent.a", 51).error(), errc::payload_too_large);
}

TEST(RateLimiter, keeps_its_limit_if_the_new_one_is_out_of_range) {
  RateLimiter limiter(slow);
  EXPECT_THROW(limiter.set_limit({.bytes_per_second = 0}), std::invalid_argument);
  EXPECT_EQ(limiter.limit().bytes_per_second, slow.bytes_per_second);
}

TEST(RateLimiter, lets_two_threads_have_no_more_than_one) {
  ManualClock clock;
  RateLimiter limiter({.bytes_per_second = 1'000'000'000, .burst_bytes = 100'000}, clock);
  std::barrier start(2);
  std::array<std::uint64_t, 2> admitted{};
  const auto run = [&](std::uint64_t& mine) {
    start.arrive_and_wait();
    for (int i = 0; i < 20'000; ++i) {
      if (admits(limiter, 10, "both")) mine += 10;
      admits(limiter, 1, std::to_string(i % 500));
    }
  };
  std::thread other([&] { run(admitted[1]); });
  run(admitted[0]);
  other.join();
  EXPECT_EQ(admitted[0] + admitted[1], 100'000U);
  EXPECT_EQ(limiter.buckets(), 501U);
}

}  // namespace
}  // namespace bus
