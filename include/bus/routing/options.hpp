// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What is chosen when a route is subscribed.
#pragma once

#include <bus/options.hpp>
#include <bus/principal.hpp>
#include <bus/routing/gate.hpp>
#include <bus/routing/rate_limiter.hpp>
#include <bus/topic.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace bus {

/// What a route does with a message for which it has no room; and `coalesce` with every message. A message marked
/// `terminal` is never evicted.
enum class Overflow : std::uint8_t {
  evict_oldest_head,  ///< the earliest message of the route goes
  evict_fair_share,  ///< the earliest message of the principal with the most bytes for its weight goes, the newcomer's
                     ///< included; a principal within its share loses nothing to others, save to terminals
  reject_new,  ///< the newcomer is refused
  wait,  ///< as `reject_new`; but `publish_until` and `async_publish` wait for room
  detach,  ///< the earliest goes; a route that has had no room for `detach_after` ends
  coalesce,  ///< with room or without, a message takes the place of an earlier one with its principal, topic and key
             ///< (none is a key, too), and goes to the tail; without room and such a one the earliest goes
};

/// Whose messages a route admits.
class Scope {
 public:
  /// Everybody's.
  static Scope all() { return Scope(Kind::all, {}); }
  /// Those of one principal.
  static Scope principal(Principal only) { return Scope(Kind::principal, std::move(only)); }
  /// Those of one principal, and the system's.
  static Scope principal_or_system(Principal only) { return Scope(Kind::principal_or_system, std::move(only)); }

  /// Whether it admits everybody's.
  bool is_all() const noexcept { return kind_ == Kind::all; }

  /// Whose messages it admits, unless all.
  const Principal& only() const noexcept { return only_; }
  /// Whether it admits the system's besides.
  bool with_system() const noexcept { return kind_ == Kind::principal_or_system; }

  /// Whether it admits a message of this principal; empty is the system.
  bool admits(std::string_view principal) const noexcept {
    if (kind_ == Kind::all) return true;
    return principal == only_.view() || (kind_ == Kind::principal_or_system && principal.empty());
  }

 private:
  enum class Kind : std::uint8_t { all, principal, principal_or_system };
  Scope(Kind kind, Principal only) : kind_(kind), only_(std::move(only)) {}
  Kind kind_;
  Principal only_;
};

/// Shares of a route, 1 to 64: a principal of weight 2 is served twice the bytes of one of weight 1.
struct Weights {
  std::uint32_t system = 1;
  std::uint32_t agent = 1;
  std::uint32_t user = 1;
  std::vector<std::pair<Principal, std::uint32_t>> principals = {};  ///< these go before their class
};

/// What is chosen when a route is subscribed.
struct RouteOptions {
  /// Who reads; at most 64 bytes. Required.
  std::string owner;

  /// A message that matches any of them is the route's, once. At least one.
  std::vector<TopicPattern> patterns;

  /// Labels the route's counters; at most 64 bytes. The owner if empty.
  std::string name = {};

  /// The most bytes the route holds, each message charged with its payload, its topic and `route_entry_bytes`.
  std::size_t budget_bytes = std::size_t{1} << 20;

  /// What one turn gives to a principal of weight 1.
  std::size_t quantum_bytes = 4096;

  /// The most messages of one principal; beyond it the principal loses its own earliest, or is refused.
  std::size_t principal_messages = 16'384;

  /// Credits: the most messages pending in the route; 0 is no limit.
  std::size_t credits = 0;

  /// How the route is shared among principals. `RouteReceiver::set_weights` changes it.
  Weights weights = {};

  /// Whose messages it admits.
  Scope scope = Scope::all();

  /// If given, nothing is admitted unless it is published.
  std::shared_ptr<const Gate> gate = {};

  /// If given, what the route's owner takes from each principal is limited; what exceeds it is lost.
  std::shared_ptr<RateLimiter> rate_limiter = {};

  /// What it does with a message for which it has no room.
  Overflow overflow = Overflow::evict_oldest_head;

  /// For `Overflow::detach`.
  std::chrono::nanoseconds detach_after = std::chrono::seconds(10);

  /// Whether messages remember when they were queued. Costs a reading of the clock for each.
  bool ticks = false;

  /// How a receiver that finds nothing waits.
  Waiting waiting = Waiting::park;
};

/// What a route charges for each message besides payload and topic: its bookkeeping and its place in the ring's pool.
inline constexpr std::size_t route_entry_bytes = 384;

namespace limits {

inline constexpr std::uint32_t max_weight = 64;
inline constexpr std::size_t max_route_budget_bytes = std::size_t{1} << 40;

/// Principals whose losses a route remembers one by one until it can tell them; older ones are told as one sum.
inline constexpr std::size_t max_untold_principals = 4096;

}  // namespace limits
}  // namespace bus
