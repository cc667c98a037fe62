// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include "input.hpp"
#include "replay.hpp"

#include <bus/routing/router.hpp>

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <stop_token>
#include <thread>
#include <vector>

namespace busbar {

/// The routes of one replay, each read by a thread of its own, and the publisher's and the readers' own count of what
/// went into them and what came out.
/// Threads: one at a time.
class RoutedAudience {
 public:
  /// A `PublishOutcome` names no more refusals, so with more routes it could not be said which refused a terminal.
  static constexpr std::size_t max_routes = bus::PublishOutcome::max_refusals;

  /// All routes are active when this returns.
  /// Lifetime: `hub` and `interrupt` must outlive it.
  /// Errors:   throws std::system_error (no more threads), std::bad_alloc.
  RoutedAudience(bus::Bus& hub, const std::vector<RouteSpec>& routes, const Interrupt& interrupt);

  /// Closes the router and waits for the readers to end.
  ~RoutedAudience();
  RoutedAudience(const RoutedAudience&) = delete;
  RoutedAudience& operator=(const RoutedAudience&) = delete;

  /// Publishes on the bus and into the routes.
  /// Blocks: while a route with `Overflow::wait` has no room, a minute at most.
  bus::result<void> publish(const bus::Message& message, const bus::Attributes& attributes);

  /// Closes the router and lets every reader read to the end, the slow ones at full speed.
  /// Returns: one report each, in the order given.
  /// Errors:  throws std::runtime_error if one does not balance.
  std::vector<RouteReport> finish();

 private:
  /// What the reader got of one principal.
  struct Received {
    std::uint64_t delivered = 0;
    std::uint64_t missed = 0;  ///< as the receives told
    std::uint64_t bytes = 0;
  };

  struct Member {
    explicit Member(const RouteSpec& with) : spec(with) {}

    const RouteSpec spec;
    bus::RouteReceiver rx;

    // The publisher's.
    bool offered = false;                               // the message being published
    std::map<bus::Principal, std::uint64_t> published;  // messages that matched, in scope
    std::uint64_t terminals_published = 0;
    std::uint64_t terminals_refused = 0;

    // The reader's.
    std::map<bus::Principal, Received> received;
    std::uint64_t missed_of_forgotten = 0;
    std::uint64_t terminals_delivered = 0;
  };

  void stop();
  void read(Member& member, std::stop_token hurry) const;
  void read_slowly(Member& member, std::stop_token hurry) const;
  static bool is_for(const Member& member, const bus::Message& message);
  static void count(Member& member, const bus::RouteReceived& got);
  static std::vector<PrincipalReport> principals(const Member& member);
  static RouteReport report(const Member& member);

  const Interrupt& interrupt_;
  bus::Router router_;
  bus::RouteSender sender_;
  std::deque<Member> members_;  // never moved: threads refer to them
  bool waits_ = false;  // any of them has Overflow::wait
  std::vector<std::jthread> readers_;
};

}  // namespace busbar
