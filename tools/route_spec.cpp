// SPDX-License-Identifier: MIT OR Apache-2.0
#include "route_spec.hpp"

#include "text.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace busbar {
namespace {

constexpr std::array<std::pair<std::string_view, bus::Overflow>, 6> policies{{
    {"evict_oldest_head", bus::Overflow::evict_oldest_head},
    {"evict_fair_share", bus::Overflow::evict_fair_share},
    {"reject_new", bus::Overflow::reject_new},
    {"wait", bus::Overflow::wait},
    {"detach", bus::Overflow::detach},
    {"coalesce", bus::Overflow::coalesce},
}};

constexpr std::array<std::pair<std::string_view, std::uint64_t>, 3> units{
    {{"", 1}, {"KiB", std::uint64_t{1} << 10}, {"MiB", std::uint64_t{1} << 20}}};

constexpr const char* option_rule = "an option is budget=BYTES, principal=P, policy=NAME or rate=EVENTS_PER_SECOND";

[[noreturn]] void fail(std::string_view given, const std::string& rule) {
  throw std::invalid_argument("'" + std::string(given) + "': " + rule);
}

/// The parts between the separators, one more than there are of these.
std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const std::size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == text.npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::optional<std::uint64_t> parse_bytes(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  for (const auto& [name, bytes] : units) {
    if (text == name && number <= std::numeric_limits<std::uint64_t>::max() / bytes) return number * bytes;
  }
  return std::nullopt;
}

std::optional<double> parse_rate(std::string_view text) {
  double rate = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), rate);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(rate) || rate < 0) return std::nullopt;
  return rate;
}

/// `option` is `key`=`value`.
void apply(RouteSpec& spec, std::string_view option, std::string_view key, std::string_view value) {
  if (key == "budget") {
    const auto bytes = parse_bytes(value);
    if (!bytes || *bytes <= bus::route_entry_bytes || *bytes > bus::limits::max_route_budget_bytes) {
      fail(option, "a budget is " + with_separators(bus::route_entry_bytes + 1) + " to " +
                       with_separators(bus::limits::max_route_budget_bytes) + " bytes, as 65536, 256KiB or 1MiB");
    }
    spec.options.budget_bytes = *bytes;
  } else if (key == "principal") {
    auto principal = bus::Principal::parse(value);
    if (!principal) {
      fail(option, "a principal has at most 128 bytes and no spaces or control bytes; none is the system");
    }
    spec.options.scope = bus::Scope::principal(std::move(*principal));
  } else if (key == "policy") {
    const auto* const found = std::ranges::find(policies, value, [](const auto& policy) { return policy.first; });
    if (found == policies.end()) {
      std::string allowed;
      for (const auto& [name, policy] : policies) allowed += (allowed.empty() ? "" : ", ") + std::string(name);
      fail(option, "a policy is one of " + allowed);
    }
    spec.options.overflow = found->second;
  } else if (key == "rate") {
    spec.events_per_second = parse_rate(value);
    if (!spec.events_per_second) {
      fail(option, "a rate is a number of events a second; with 0 the route reads once everything has been published");
    }
  } else {
    fail(option, option_rule);
  }
}

}  // namespace

RouteSpec parse_route(std::string_view text) try {
  const std::vector<std::string_view> parts = split(text, ';');
  const std::size_t colon = parts.front().find(':');
  if (colon == parts.front().npos) fail(text, "a route is NAME:PATTERN[,PATTERN]...[;OPTION=VALUE]...");

  RouteSpec spec;
  spec.options.owner = parts.front().substr(0, colon);
  if (spec.options.owner.empty() || !bus::detail::name_fault(spec.options.owner, bus::limits::max_name_bytes).empty()) {
    fail(spec.options.owner, "a name has 1 to 64 bytes and no spaces or control bytes");
  }
  for (const std::string_view given : split(parts.front().substr(colon + 1), ',')) {
    auto pattern = bus::TopicPattern::parse(given);
    if (!pattern) fail(given, "no pattern: " + std::string(bus::detail::topic_fault(given, true)));
    spec.options.patterns.push_back(std::move(*pattern));
  }

  std::set<std::string_view> seen;
  for (const std::string_view option : std::span(parts).subspan(1)) {
    const std::size_t equals = option.find('=');
    if (equals == option.npos) fail(option, option_rule);
    const std::string_view key = option.substr(0, equals);
    if (!seen.insert(key).second) fail(option, std::string(key) + " is given twice");
    apply(spec, option, key, option.substr(equals + 1));
  }
  if (spec.options.overflow == bus::Overflow::wait && spec.events_per_second == 0.0) {
    fail(text, "policy=wait waits for a reader, and with rate=0 there is none; give a rate above 0, or none");
  }
  return spec;
} catch (const std::invalid_argument& error) {
  throw std::invalid_argument(std::string(error.what()) + " (in '" + std::string(text) + "')");
}

}  // namespace busbar
