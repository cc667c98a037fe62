// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A host that stands by itself: all that a configuration asks for, made in order and taken down in order.
#pragma once

#include "consumers.hpp"
#include "input.hpp"
#include "vitals.hpp"

#include <bus/bus.hpp>
#include <bus/config/config.hpp>
#include <bus/config/reload.hpp>
#include <bus/metrics/prometheus.hpp>
#include <bus/persistence/durable_topics.hpp>
#include <bus/persistence/group.hpp>
#include <bus/persistence/log.hpp>
#include <bus/routing/rate_limiter.hpp>
#include <bus/routing/router.hpp>

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace busbar {

/// What a host leaves behind. For each receiver delivered + filtered + missed + pending == published; for each route
/// delivered + pending + lost == offered.
struct HostReport {
  struct Group {
    std::string name;
    std::uint64_t acked = 0;
    std::uint64_t lag = 0;
  };
  struct Log {
    std::string name;
    std::uint64_t records = 0;  ///< committed while it was open
    std::uint64_t next_offset = 0;
    std::uint64_t lost_records = 0;
    std::string fault = {};  ///< why it did not close well
  };
  std::uint64_t published = 0;  ///< events on the bus, the host's own among them
  std::map<std::string, std::uint64_t> refused = {};  ///< messages that were not published, by why
  std::uint64_t unsettled =
      0;  ///< messages that were handed to their log, which had not committed them by the deadline
  std::uint64_t undelivered = 0;  ///< messages that are in their log, and the router did not take
  bool complete = false;  ///< everything was committed, and everyone who reads had read everything by the deadline
  std::vector<bus::ReceiverStats> receivers = {};
  std::vector<bus::RouteStats> routes = {};
  std::vector<Group> groups = {};
  std::vector<Log> logs = {};
};

/// Threads: one at a time, but `reload`, which may be called by another one.
class Host {
 public:
  /// Opens everything. `vitals` says meanwhile what it is about, and `metrics` shows what is there. What people should
  /// know, as of records that are missing, is told on standard error.
  /// Lifetime: both must outlive it. Errors: throws std::runtime_error, naming what cannot be opened; what else
  /// constructors throw.
  Host(const bus::Config& config, bus::Metrics& metrics, Vitals& vitals);

  /// Ends without waiting for readers, if it has not been drained.
  ~Host();
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  /// Publishes a message, into its log too if its topic is durable. What is refused is counted, and told the first time
  /// for each reason.
  /// Blocks: while its log has no room for it, until a second after a request to stop; and up to a second while a route
  /// that has publishers wait has none.
  void publish(const bus::Message& message, const Interrupt& interrupt);

  /// Waits until what was published is in the logs, or a stop is requested.
  void settle(const Interrupt& interrupt);

  /// Applies what can change. If anything does, receivers are told by `bus::ConfigUpdated`.
  bus::ConfigChange reload(const bus::Config& wanted);

  /// Takes nothing more; waits for logs, and for readers, as long as the configuration says; closes everything. Once.
  HostReport drain();

 private:
  using Deadline = std::chrono::steady_clock::time_point;

  void open_logs();
  void make_routes();
  void open_groups();
  void show(bus::Metrics& metrics);
  bool settle_front(Deadline deadline);
  void refuse(const bus::error_code& why);
  void close_logs(HostReport& report);

  bus::Config config_;
  Vitals& vitals_;
  std::map<std::string, std::uint64_t> refused_;
  std::uint64_t undelivered_ = 0;
  std::uint64_t reloads_ = 0;

  // In the order in which they need each other.
  bus::Config::Named<bus::Log> logs_;
  bus::Config::Named<std::shared_ptr<bus::RateLimiter>> limiters_;
  std::optional<bus::Bus> hub_;
  std::optional<bus::Router> router_;
  bus::Config::Named<bus::Receiver> receivers_;
  bus::Config::Named<bus::RouteReceiver> routes_;
  std::optional<bus::DurableTopics> topics_;
  bus::RouteSender sender_;
  std::deque<bus::PendingPublishReceipt> in_flight_;
  bus::Config::Named<bus::Group> groups_;
  std::vector<bus::Measured> measured_;
  Consumers consumers_;
};

}  // namespace busbar
