// SPDX-License-Identifier: MIT OR Apache-2.0
//
// `busbar replay`: recorded events on one bus, read by receivers that keep count.
#pragma once

#include "route_spec.hpp"

#include <bus/topic.hpp>

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace busbar {

/// How receivers wait: in threads of their own, or as coroutines on a few threads.
enum class Wait { spin, yield, park, async };

/// A receiver that reads at most so many events a second.
struct SlowReceiver {
  std::string name;
  double events_per_second = 0;
};

struct ReplayOptions {
  std::string input = "-";             ///< a path; "-" is standard input
  unsigned receivers = 2;              ///< as fast as they can, named receiver-1, receiver-2, …
  std::vector<SlowReceiver> slow;      ///< besides them
  std::uint64_t capacity = 4096;       ///< of the bus
  double events_per_second = 0;        ///< at which to publish; 0 is as fast as it goes
  Wait wait = Wait::park;
  std::optional<std::uint64_t> repeat; ///< publish the input so many times; of a regular file only
  std::vector<RouteSpec> routes;       ///< at most 8; with any, events are published through a router
  std::vector<bus::TopicPattern> terminal;  ///< events on these topics are marked as terminal
};

/// What became of the events of one receiver: delivered + missed + pending == published.
struct ReceiverReport {
  std::string name;
  std::uint64_t delivered = 0;
  std::uint64_t missed = 0;   ///< overwritten before it read them
  std::uint64_t pending = 0;  ///< retained, and not read when the run ended
  // From publication to receipt, in nanoseconds; none if nothing was delivered.
  std::optional<std::uint64_t> p50;
  std::optional<std::uint64_t> p95;
  std::optional<std::uint64_t> p99;
};

/// What became of the messages of one principal in one route: delivered + missed + pending == published.
struct PrincipalReport {
  std::string name;             ///< empty: the system
  std::uint64_t published = 0;  ///< that matched the route, in its scope
  std::uint64_t delivered = 0;
  std::uint64_t missed = 0;
  std::uint64_t pending = 0;
  std::uint64_t bytes = 0;  ///< that the route charged for those delivered
};

/// What became of the messages of one route: delivered + pending + evicted + coalesced == taken. Nothing is pending, as
/// routes are read to the end.
struct RouteReport {
  struct Lost {
    std::uint64_t evicted = 0;
    std::uint64_t coalesced = 0;
    std::uint64_t refused = 0;  ///< for whatever reason, but for a rate limit
    std::uint64_t gated = 0;
    std::uint64_t rate_limited = 0;
  };
  /// delivered + refused == published: none is evicted.
  struct Terminals {
    std::uint64_t published = 0;
    std::uint64_t delivered = 0;
    std::uint64_t refused = 0;  ///< as the publisher was told
  };

  std::string name;
  std::uint64_t taken = 0;
  std::uint64_t delivered = 0;
  std::uint64_t pending = 0;
  Lost lost;
  std::uint64_t bytes_peak = 0;
  std::uint64_t budget_bytes = 0;
  bool detached = false;  ///< it ended while events were published; what came later was not for it
  Terminals terminals;
  std::vector<PrincipalReport> principals;  ///< by name
};

struct ReplayReport {
  std::uint64_t events = 0;  ///< read from the input
  std::uint64_t published = 0;  ///< events times repeats, fewer if the run was interrupted
  std::uint64_t skipped_lines = 0;  ///< that were no events
  double seconds = 0;  ///< from the first publish to the end of the last
  std::vector<ReceiverReport> receivers;
  std::vector<RouteReport> routes;
};

/// The options ask for something that cannot be, which shows only once the input is open.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Publishes the input and reports once every receiver is done. A regular file is parsed before the first publish, so
/// that the pace is the bus's; anything else is published as its lines arrive. SIGINT and SIGTERM end publishing
/// early, and the report follows. Once publishing is over the bus closes: receivers read what it retains, slow
/// ones stop where they are; routes are read to the end, slow ones at full speed. Bad lines are told on standard error,
/// the first ten with their number and fault. Blocks: for as long as it takes. Errors: throws UsageError,
/// std::system_error if the input cannot be read, std::runtime_error if the bus refuses
///         an event or the count of a receiver or a route does not balance.
ReplayReport replay(const ReplayOptions& options);

}  // namespace busbar
