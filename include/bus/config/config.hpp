// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What a host is made of: the options of its bus, receivers, routes, logs and groups, and who is connected with whom.
// Plain data, whoever fills it in; <bus/config/load.hpp> does so from a file. Every default is that of the options
// themselves.
#pragma once

#include <bus/metrics_options.hpp>
#include <bus/options.hpp>
#include <bus/persistence/durable_topics.hpp>
#include <bus/persistence/group.hpp>
#include <bus/persistence/log_options.hpp>
#include <bus/routing/options.hpp>
#include <bus/routing/rate_limiter.hpp>
#include <bus/routing/router.hpp>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>

namespace bus {

/// What the defaults are before anything is said.
enum class Profile : std::uint8_t {
  standard,  ///< those of the options; in files "default"
  edge,  ///< for small devices: little memory, small files
  throughput,  ///< for many messages: large buffers and files
};

/// What a host does with what it receives itself.
enum class Consumer : std::uint8_t {
  none,  ///< it does not receive
  count,  ///< nothing but count
  print,  ///< print each, one a line
  slow,  ///< count, and take `ConsumerConfig::delay` for each
};

/// How a host receives by itself.
struct ConsumerConfig {
  Consumer kind = Consumer::count;  ///< what it does with each
  std::chrono::nanoseconds delay = std::chrono::milliseconds(10);  ///< for `Consumer::slow`
};

/// A receiver of the bus.
struct ReceiverConfig {
  SubscribeOptions options = {};
  ConsumerConfig consumer = {};  ///< who reads it
};

/// The router of the bus.
struct RouterConfig {
  RouterOptions options = {};  ///< without `rate_limiter`
  std::string rate_limit = {};  ///< which of `Config::rate_limits` every publish passes; empty: none
};

/// A route of the router.
struct RouteConfig {
  RouteOptions options = {};  ///< without `gate` and `rate_limiter`
  std::string rate_limit = {};  ///< which of `Config::rate_limits` its owner has; empty: none
  ConsumerConfig consumer = {};  ///< who reads it
};

/// A log.
struct LogConfig {
  std::filesystem::path directory = {};  ///< where it is, made if it does not exist; required
  LogOptions options = {};
};

/// A group of one of the logs.
struct GroupConfig {
  std::string log = {};  ///< which of `Config::logs`
  GroupOptions options = {};
  ConsumerConfig consumer = {.kind = Consumer::none};  ///< of what it is done with, it acks
};

/// What binds the router to one of the logs.
struct DurableTopicsConfig {
  std::string log = {};  ///< which of `Config::logs`
  DurableTopicsOptions options = {};
};

/// How a host shows what it counts.
struct MetricsConfig {
  MetricsOptions options = {};
  std::string listen_address = "127.0.0.1";  ///< where metrics are served
  std::optional<std::uint16_t> listen_port = {};  ///< none: metrics are not served; 0: any port that is free
};

/// Where a host that stands by itself takes events from.
enum class Input : std::uint8_t {
  none,  ///< it has none
  standard,  ///< standard input; in files "stdin"
  file,  ///< a file, to its end
  follow,  ///< a file, and what is written to it later
};

/// How a host stands by itself.
struct ServeConfig {
  Input input = Input::none;  ///< where events come from
  std::filesystem::path file = {};  ///< for `Input::file` and `Input::follow`
  std::chrono::nanoseconds drain = std::chrono::seconds(5);  ///< how long readers have to finish when the host ends
};

/// One host: one bus with its router, and what reads it and keeps its messages. A process that wants several buses has
/// a Config for each. The names are those that other parts refer to.
struct Config {
  /// Parts by their names.
  template <class T>
  using Named = std::map<std::string, T, std::less<>>;

  /// What was chosen for each part of the host.
  /// @{
  Profile profile = Profile::standard;
  BusOptions bus = {};
  RouterConfig router = {};
  Named<ReceiverConfig> receivers = {};
  Named<RateLimit> rate_limits = {};
  Named<RouteConfig> routes = {};
  Named<LogConfig> logs = {};
  Named<GroupConfig> groups = {};
  std::optional<DurableTopicsConfig> durable_topics = {};
  MetricsConfig metrics = {};
  ServeConfig serve = {};
  /// @}
};

}  // namespace bus
