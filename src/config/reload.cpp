// SPDX-License-Identifier: MIT OR Apache-2.0
#include <bus/config/reload.hpp>

#include "config/keys.hpp"

#include <algorithm>
#include <cstddef>
#include <set>
#include <utility>

namespace bus {
namespace {

using namespace detail;

/// A value that differs.
struct Difference {
  const Key* key = nullptr;  ///< none: the section comes or goes
  Part part{};
  std::string instance;
  ConfigChange::Item item;
};

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::ranges::find(names, name) != names.end();
}

std::vector<Difference> differences(const Config& running, const Config& wanted) {
  std::vector<Difference> all;
  for (std::size_t i = 0; i < part_count; ++i) {
    const Part part = static_cast<Part>(i);
    const std::vector<std::string> before = instances(running, part);
    const std::vector<std::string> after = instances(wanted, part);
    for (const std::string& name : before) {
      if (!contains(after, name)) all.push_back({nullptr, part, name, {section_name(part, name), "a section", ""}});
    }
    for (const std::string& name : after) {
      if (!contains(before, name)) {
        all.push_back({nullptr, part, name, {section_name(part, name), "", "a section"}});
        continue;
      }
      for (const Key& key : keys()) {
        if (key.part != part) continue;
        std::string was = as_toml(key.get(running, name));
        std::string is = as_toml(key.get(wanted, name));
        if (was == is) continue;
        all.push_back({&key, part, name, {full_name(part, name, key.name), std::move(was), std::move(is)}});
      }
    }
  }
  return all;
}

template <class T>
T* find(const Config::Named<T*>& named, const std::string& name) {
  const auto found = named.find(name);
  return found != named.end() ? found->second : nullptr;
}

/// Makes an object what its section says. Returns: whether there is one.
bool apply(Part part, const std::string& name, const Config& wanted, const RunningHost& host) {
  switch (part) {
    case Part::bus:
      if (host.bus == nullptr) return false;
      host.bus->set_warnings_per_minute(wanted.bus.warnings_per_minute);
      return true;
    case Part::rate_limits: {
      RateLimiter* const limiter = find(host.rate_limits, name);
      if (limiter != nullptr) limiter->set_limit(wanted.rate_limits.find(name)->second);
      return limiter != nullptr;
    }
    case Part::routes: {
      RouteReceiver* const route = find(host.routes, name);
      if (route != nullptr) route->set_weights(wanted.routes.find(name)->second.options.weights);
      return route != nullptr;
    }
    case Part::logs: {
      Log* const log = find(host.logs, name);
      if (log == nullptr) return false;
      const LogOptions& options = wanted.logs.find(name)->second.options;
      log->set_retention(options.retention);
      log->set_full_disk(options.full_disk);
      log->set_spare_segments(options.spare_segments);
      return true;
    }
    default: return false;
  }
}

}  // namespace

ConfigChange diff(const Config& running, const Config& wanted) {
  ConfigChange change;
  for (Difference& one : differences(running, wanted)) {
    const bool is_live = one.key != nullptr && one.key->is_live;
    (is_live ? change.live : change.restart).push_back(std::move(one.item));
  }
  return change;
}

ConfigChange reload(Config& running, const Config& wanted, const RunningHost& host) {
  ConfigChange change;
  std::set<std::pair<Part, std::string>> applied;
  for (Difference& one : differences(running, wanted)) {
    const bool can_change = one.key != nullptr && one.key->is_live;
    if (can_change && !applied.contains({one.part, one.instance}) && apply(one.part, one.instance, wanted, host)) {
      applied.emplace(one.part, one.instance);
    }
    const bool is_live = can_change && applied.contains({one.part, one.instance});
    if (is_live) one.key->set(running, one.instance, one.key->get(wanted, one.instance));
    (is_live ? change.live : change.restart).push_back(std::move(one.item));
  }
  return change;
}

}  // namespace bus
