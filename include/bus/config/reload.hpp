// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Another configuration for a host that runs.
//
//   const auto wanted = bus::load_config("host.toml", environment);
//   if (!wanted) …
//   const bus::RunningHost host{.bus = &hub, .logs = {{"events", &log}}};
//   const bus::ConfigChange change = bus::reload(running, wanted->config, host);
//   for (const auto& one : change.live) …one.key, one.before, one.after…     // applied
//   for (const auto& one : change.restart) …one.key, one.before, one.after…  // with the next start
#pragma once

#include <bus/bus.hpp>
#include <bus/config/config.hpp>
#include <bus/export.hpp>
#include <bus/persistence/log.hpp>
#include <bus/routing/rate_limiter.hpp>
#include <bus/routing/router.hpp>

#include <map>
#include <string>
#include <vector>

namespace bus {

/// What two configurations differ in.
struct ConfigChange {
  /// One key with different values.
  struct Item {
    std::string key;  ///< "logs.events.retention.bytes"; of a section that comes or goes its name, "routes.screen"
    std::string before;  ///< as TOML; empty if there was none
    std::string after;
    friend bool operator==(const Item&, const Item&) = default;
  };
  std::vector<Item> live;  ///< can change while the host runs
  std::vector<Item> restart;  ///< needs another start
  friend bool operator==(const ConfigChange&, const ConfigChange&) = default;
};

/// Changes nothing. The keys come in the order of docs/configuration.md. What could change while the host runs but
/// contradicts what cannot, as more retention than `disk_bytes` has been so far, is under `restart` with it.
/// Errors: throws std::bad_alloc.
BUSBAR_EXPORT ConfigChange diff(const Config& running, const Config& wanted);

/// What a configuration was made into, by the names there. What is not said is not there.
/// Lifetime: as long as `reload` uses it.
struct RunningHost {
  Bus* bus = nullptr;
  Config::Named<RateLimiter*> rate_limits = {};
  Config::Named<RouteReceiver*> routes = {};
  Config::Named<Log*> logs = {};
};

/// Applies what can change, notes it in `running`, and reports as `diff` does: `live` was applied. What belongs to an
/// object that `host` has not got is reported under `restart`, and comes up again at the next reload. So `running`
/// never contradicts itself, whatever waits for the restart. Threads: one at a time for a host. Errors: throws
/// std::bad_alloc; what was noted was applied. Throws std::invalid_argument for figures that no loader lets pass.
BUSBAR_EXPORT ConfigChange reload(Config& running, const Config& wanted, const RunningHost& host);

}  // namespace bus
