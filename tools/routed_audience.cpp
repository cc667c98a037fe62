// SPDX-License-Identifier: MIT OR Apache-2.0
#include "routed_audience.hpp"

#include "pacer.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>

namespace busbar {

namespace {

using std::chrono::steady_clock;

/// The longest that a publish waits for room.
constexpr auto patience = std::chrono::minutes(1);

/// How often a slow reader looks whether the run was interrupted.
constexpr auto glance = std::chrono::milliseconds(50);

constexpr std::size_t batch_size = 64;

std::uint64_t refused(const bus::RouteStats& stats) {
  return stats.lost_in_all() - stats.lost_for(bus::Loss::evicted) - stats.lost_for(bus::Loss::coalesced) -
         stats.lost_for(bus::Loss::rate_limited);
}

void demand_equal(const std::string& route, const char* what, std::uint64_t counted, std::uint64_t expected) {
  if (counted == expected) return;
  throw std::runtime_error("route " + route + " does not balance: " + what + " are " + std::to_string(counted) +
                           ", which should be " + std::to_string(expected));
}

}  // namespace

RoutedAudience::RoutedAudience(bus::Bus& hub, const std::vector<RouteSpec>& routes, const Interrupt& interrupt)
    : interrupt_(interrupt), router_(hub), sender_(router_.sender("replay")) {
  for (const RouteSpec& spec : routes) {
    Member& member = members_.emplace_back(spec);
    member.rx = router_.subscribe(spec.options);
    waits_ |= spec.options.overflow == bus::Overflow::wait;
  }
  try {
    for (Member& member : members_) {
      readers_.emplace_back([this, &member](std::stop_token hurry) { read(member, std::move(hurry)); });
    }
  } catch (...) {
    stop();
    throw;
  }
}

RoutedAudience::~RoutedAudience() { stop(); }

void RoutedAudience::stop() {
  for (std::jthread& reader : readers_) reader.request_stop();
  router_.close();
  readers_.clear();
}

// --- The publisher. ---

/// Whether the route is offered it. One that has ended is not: only a publish ends one, and there is one publisher.
bool RoutedAudience::is_for(const Member& member, const bus::Message& message) {
  const bus::RouteOptions& options = member.spec.options;
  const auto matches = [&](const bus::TopicPattern& pattern) { return pattern.matches(message.topic); };
  return std::ranges::any_of(options.patterns, matches) && options.scope.admits(message.principal.view()) &&
         !(options.overflow == bus::Overflow::detach && member.rx.stats().detached);
}

bus::result<void> RoutedAudience::publish(const bus::Message& message, const bus::Attributes& attributes) {
  for (Member& member : members_) member.offered = is_for(member, message);
  const auto outcome = waits_ ? sender_.publish_until(message, steady_clock::now() + patience, attributes)
                              : sender_.publish(message, attributes);
  if (!outcome) return outcome.error();
  for (Member& member : members_) {
    if (!member.offered) continue;
    ++member.published[message.principal];
    if (attributes.terminal) ++member.terminals_published;
  }
  if (attributes.terminal) {
    for (const auto& refusal : outcome->refusals()) {
      const auto by = std::ranges::find(members_, refusal.route, [](const Member& member) { return member.rx.id(); });
      ++by->terminals_refused;
    }
  }
  return {};
}

// --- The readers. ---

void RoutedAudience::read(Member& member, std::stop_token hurry) const {
  if (member.spec.events_per_second) read_slowly(member, hurry);
  for (;;) {
    const bus::RouteBatch batch = member.rx.recv_batch(batch_size);
    for (const bus::RouteReceived& got : batch) count(member, got);
    if (!batch) return;
  }
}

/// At the pace asked for, until there is reason to hurry: everything has been published, or the run was interrupted
/// and the publisher may be waiting for room.
void RoutedAudience::read_slowly(Member& member, std::stop_token hurry) const {
  std::optional<Pacer> pacer;
  if (*member.spec.events_per_second > 0) pacer.emplace(*member.spec.events_per_second);
  std::mutex mutex;
  std::condition_variable_any told;
  std::unique_lock lock(mutex);
  while (!hurry.stop_requested() && !interrupt_.requested()) {
    const auto now = steady_clock::now();
    if (!pacer || pacer->due() > now) {
      const auto next = pacer ? std::min(pacer->due(), now + glance) : now + glance;
      told.wait_until(lock, hurry, next, [&] { return hurry.stop_requested(); });
    } else {
      const bus::RouteReceived got = member.rx.recv(hurry);
      if (!got) return;
      count(member, got);
      pacer->step();
    }
  }
}

void RoutedAudience::count(Member& member, const bus::RouteReceived& got) {
  Received& received = member.received[got->principal];
  ++received.delivered;
  received.missed += got.missed();
  received.bytes += got.charged();
  member.missed_of_forgotten += got.missed_of_forgotten();
  if (got.event().terminal()) ++member.terminals_delivered;
}

// --- The report. ---

std::vector<RouteReport> RoutedAudience::finish() {
  stop();
  std::vector<RouteReport> reports;
  for (const Member& member : members_) reports.push_back(report(member));
  return reports;
}

/// What each principal got and lost. Losses that the route had to forget before it could tell them show in what is left
/// of those published.
std::vector<PrincipalReport> RoutedAudience::principals(const Member& member) {
  std::map<std::string, bus::PrincipalBacklog> backlogs;
  for (bus::PrincipalBacklog& backlog : member.rx.backlogs()) backlogs[backlog.principal] = std::move(backlog);
  std::vector<PrincipalReport> reports;
  std::uint64_t forgotten = 0;
  for (const auto& [principal, published] : member.published) {
    PrincipalReport one{.name = std::string(principal.view()), .published = published};
    if (const auto got = member.received.find(principal); got != member.received.end()) {
      one.delivered = got->second.delivered;
      one.missed = got->second.missed;
      one.bytes = got->second.bytes;
    }
    if (const auto left = backlogs.find(one.name); left != backlogs.end()) {
      one.pending = left->second.pending;
      one.missed += left->second.untold;
    }
    const std::uint64_t known = one.delivered + one.missed + one.pending;
    const bool may_forget = member.published.size() > bus::limits::max_untold_principals && known < published;
    if (!may_forget) demand_equal(member.spec.options.owner, "the messages of a principal", known, published);
    one.missed += published - known;
    forgotten += published - known;
    reports.push_back(std::move(one));
  }
  if (member.missed_of_forgotten > forgotten) {
    demand_equal(member.spec.options.owner, "the losses forgotten", member.missed_of_forgotten, forgotten);
  }
  return reports;
}

RouteReport RoutedAudience::report(const Member& member) {
  const bus::RouteStats stats = member.rx.stats();
  const std::uint64_t rate_limited = stats.lost_for(bus::Loss::rate_limited);
  RouteReport report{
      .name = stats.name,
      .taken = stats.offered - refused(stats) - rate_limited,
      .delivered = stats.delivered,
      .pending = stats.pending,
      .lost = {.evicted = stats.lost_for(bus::Loss::evicted),
               .coalesced = stats.lost_for(bus::Loss::coalesced),
               .refused = refused(stats),
               .gated = stats.gated,
               .rate_limited = rate_limited},
      .bytes_peak = stats.bytes_peak,
      .budget_bytes = stats.budget_bytes,
      .detached = stats.detached,
      .terminals = {.published = member.terminals_published,
                    .delivered = member.terminals_delivered,
                    .refused = member.terminals_refused},
      .principals = principals(member),
  };

  // What publisher and reader counted must be what the route counted, and nothing may go unaccounted for.
  const auto sum = [&](std::uint64_t PrincipalReport::* field) {
    std::uint64_t total = 0;
    for (const PrincipalReport& one : report.principals) total += one.*field;
    return total;
  };
  const auto& lost = report.lost;
  demand_equal(report.name, "the messages offered", stats.offered, sum(&PrincipalReport::published));
  demand_equal(report.name, "the messages delivered", stats.delivered, sum(&PrincipalReport::delivered));
  demand_equal(report.name, "the messages pending", stats.pending, sum(&PrincipalReport::pending));
  demand_equal(report.name, "the messages lost", stats.lost_in_all(), sum(&PrincipalReport::missed));
  demand_equal(report.name, "the messages taken", report.taken,
               report.delivered + report.pending + lost.evicted + lost.coalesced);
  demand_equal(report.name, "the terminals", report.terminals.delivered + report.terminals.refused,
               report.terminals.published);
  return report;
}

}  // namespace busbar
