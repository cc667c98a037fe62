// SPDX-License-Identifier: MIT OR Apache-2.0
#include <bus/config/reload.hpp>

#include "config/contradictions.hpp"
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

/// Whether there is an object to which a section's live keys can be applied.
bool has_object(Part part, const std::string& name, const RunningHost& host) {
  switch (part) {
    case Part::bus: return host.bus != nullptr;
    case Part::rate_limits: return find(host.rate_limits, name) != nullptr;
    case Part::routes: return find(host.routes, name) != nullptr;
    case Part::logs: return find(host.logs, name) != nullptr;
    default: return false;
  }
}

/// Makes the object, which must be there, what its section says.
void apply(Part part, const std::string& name, const Config& next, const RunningHost& host) {
  switch (part) {
    case Part::bus: return host.bus->set_warnings_per_minute(next.bus.warnings_per_minute);
    case Part::rate_limits: return find(host.rate_limits, name)->set_limit(next.rate_limits.find(name)->second);
    case Part::routes: return find(host.routes, name)->set_weights(next.routes.find(name)->second.options.weights);
    case Part::logs: {
      Log& log = *find(host.logs, name);
      const LogOptions& options = next.logs.find(name)->second.options;
      log.set_retention(options.retention);
      log.set_full_disk(options.full_disk);
      return log.set_spare_segments(options.spare_segments);
    }
    default: return;
  }
}

/// What will be in force: the running configuration with the live changes for which there is an object. A change that
/// contradicts what stays is taken back, and `can_change` with it. Two that contradict each other both are.
template <class HasObject>
Config in_force(const Config& running, const Config& wanted, const std::vector<Difference>& all,
                std::vector<bool>& can_change, HasObject has_object) {
  Config next = running;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Difference& one = all[i];
    can_change.push_back(one.key != nullptr && one.key->is_live && has_object(one.part, one.instance));
    if (can_change[i]) one.key->set(next, one.instance, one.key->get(wanted, one.instance));
  }
  for (bool is_settled = false; !is_settled;) {
    is_settled = true;
    for (const Contradiction& wrong : contradictions(next)) {
      for (std::size_t i = 0; i < all.size(); ++i) {
        const Difference& one = all[i];
        const bool has_share = can_change[i] && one.part == wrong.part && one.instance == wrong.instance &&
                               contains(wrong.keys, one.key->name);
        if (!has_share) continue;
        one.key->set(next, one.instance, one.key->get(running, one.instance));
        can_change[i] = is_settled = false;
      }
    }
  }
  return next;
}

/// Tells them apart, in their order.
ConfigChange told(std::vector<Difference>&& all, const std::vector<bool>& can_change) {
  ConfigChange change;
  for (std::size_t i = 0; i < all.size(); ++i) {
    (can_change[i] ? change.live : change.restart).push_back(std::move(all[i].item));
  }
  return change;
}

}  // namespace

ConfigChange diff(const Config& running, const Config& wanted) {
  std::vector<Difference> all = differences(running, wanted);
  std::vector<bool> can_change;
  (void)in_force(running, wanted, all, can_change, [](Part, const std::string&) { return true; });
  return told(std::move(all), can_change);
}

ConfigChange reload(Config& running, const Config& wanted, const RunningHost& host) {
  std::vector<Difference> all = differences(running, wanted);
  std::vector<bool> can_change;
  const Config next = in_force(running, wanted, all, can_change,
                               [&](Part part, const std::string& name) { return has_object(part, name, host); });
  std::set<std::pair<Part, std::string>> applied;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Difference& one = all[i];
    if (!can_change[i]) continue;
    if (applied.emplace(one.part, one.instance).second) apply(one.part, one.instance, next, host);
    one.key->set(running, one.instance, one.key->get(next, one.instance));
  }
  return told(std::move(all), can_change);
}

}  // namespace bus
