// SPDX-License-Identifier: MIT OR Apache-2.0
#include "host.hpp"

#include "output.hpp"
#include "text.hpp"

#include <utility>

namespace busbar {
namespace {

using std::chrono::steady_clock;
using namespace std::chrono_literals;

/// How long a message waits for a route that has publishers wait; and how often a publish that waits for a log looks
/// whether it is to stop. Not more often: each look counts as an overload.
constexpr auto patience = 1s;

/// Messages that are on their way to the log, at most.
constexpr std::size_t most_in_flight = 1024;

/// Who sends, to the rate limiters.
constexpr const char* source = "serve";

void tell(const bus::Warning& warning) {
  const std::string count = std::to_string(warning.count);
  const std::string subject(warning.subject);
  std::string text;
  switch (warning.kind) {
    case bus::Warning::Kind::lagged: text = "receiver " + subject + " missed " + count; break;
    case bus::Warning::Kind::nodes_grew: text = "the bus has taken more memory, time " + count; break;
    case bus::Warning::Kind::observer_threw: text = "observer " + subject + " threw, time " + count; break;
    case bus::Warning::Kind::names_folded: text = "too many names: " + subject + " is counted as other"; break;
  }
  if (warning.suppressed != 0) text += "; " + counted(warning.suppressed, "warning") + " not told before";
  remark(text);
}

bus::BusOptions with_warnings(bus::BusOptions options) {
  options.on_warning = tell;
  return options;
}

}  // namespace

// --- From the configuration to what it says. ---

Host::Host(const bus::Config& config, bus::Metrics& metrics, Vitals& vitals)
    : config_(config), vitals_(vitals), consumers_(!config.bus.amnesia) {
  try {
    open_logs();
    vitals_.set_busy("starting");
    for (const auto& [name, limit] : config_.rate_limits) {
      limiters_.emplace(name, std::make_shared<bus::RateLimiter>(limit));
    }
    hub_.emplace(with_warnings(config_.bus));
    make_routes();
    open_groups();
    show(metrics);
  } catch (...) {
    vitals_.forget_logs();
    throw;
  }
}

Host::~Host() {
  vitals_.forget_logs();
  if (router_) router_->close();
}

void Host::open_logs() {
  for (const auto& [name, log] : config_.logs) {
    vitals_.set_busy("opening log " + name);
    bus::LogOptions options = log.options;
    options.on_loss = [label = "log " + name](const bus::LogLoss& loss) {
      remark(label + ": missing from " + loss.segment + ": " + counted(loss.records, "record") + ", " + loss.reason);
    };
    auto opened = bus::Log::open(log.directory, options);
    if (!opened) throw_error("cannot open log " + name + " in", log.directory.string(), opened.error());
    const bus::Log& open = logs_.emplace(name, std::move(*opened)).first->second;
    if (open.read_only()) remark("log " + name + " takes nothing before a loss is accepted; see `busbar log repair`");
    vitals_.watch(name, open);
  }
}

void Host::make_routes() {
  const auto shared = [this](const std::string& name) { return name.empty() ? nullptr : limiters_.at(name); };
  bus::RouterOptions options = config_.router.options;
  options.rate_limiter = shared(config_.router.rate_limit);
  router_.emplace(*hub_, options);
  sender_ = router_->sender(source);
  for (const auto& [name, receiver] : config_.receivers) {
    bus::Receiver& rx = receivers_.emplace(name, hub_->subscribe(receiver.options)).first->second;
    consumers_.read(rx, name, receiver.consumer);
  }
  for (const auto& [name, route] : config_.routes) {
    bus::RouteOptions of_route = route.options;
    of_route.rate_limiter = shared(route.rate_limit);
    bus::RouteReceiver& rx = routes_.emplace(name, router_->subscribe(std::move(of_route))).first->second;
    consumers_.read(rx, name, route.consumer);
  }
  if (config_.durable_topics) {
    topics_.emplace(*router_, logs_.at(config_.durable_topics->log), config_.durable_topics->options);
  }
}

/// A log that takes nothing has no groups: the rest of the host goes on without them.
void Host::open_groups() {
  for (const auto& [name, group] : config_.groups) {
    auto opened = bus::Group::open(logs_.at(group.log), group.options);
    if (!opened && opened.error() == bus::errc::log_read_only) {
      remark("group " + name + " is not there: log " + group.log + " is read-only");
      continue;
    }
    if (!opened) throw_error("cannot open group", name, opened.error());
    bus::Group& open = groups_.emplace(name, std::move(*opened)).first->second;
    consumers_.read(open, name, group.options.mode, group.consumer);
  }
}

void Host::show(bus::Metrics& metrics) {
  measured_.push_back(metrics.add(*hub_));
  measured_.push_back(metrics.add(*router_));
  if (topics_) measured_.push_back(metrics.add(*topics_));
  for (const auto& [name, log] : logs_) measured_.push_back(metrics.add(log, name));
  for (const auto& [name, group] : groups_) measured_.push_back(metrics.add(group, name));
}

// --- While it runs. ---

void Host::publish(const bus::Message& message, const Interrupt& interrupt) {
  if (!topics_) {
    const auto outcome = sender_.publish_until(message, steady_clock::now() + patience);
    if (!outcome) refuse(outcome.error());
    return;
  }
  for (;;) {
    auto receipt = topics_->submit_until(message, steady_clock::now() + patience);
    const bool has_no_room = !receipt && receipt.error() == bus::errc::timed_out;  // it was not taken
    if (has_no_room && !interrupt.requested()) continue;
    if (receipt) {
      in_flight_.push_back(std::move(*receipt));
    } else {
      refuse(receipt.error());
    }
    break;
  }
  while (in_flight_.size() > most_in_flight || (!in_flight_.empty() && in_flight_.front().ready())) {
    if (!settle_front(steady_clock::now() + patience) && interrupt.requested()) return;
  }
}

void Host::settle(const Interrupt& interrupt) {
  while (!in_flight_.empty() && !interrupt.requested()) settle_front(steady_clock::now() + patience);
}

/// Returns: false if it is still on its way by then.
bool Host::settle_front(Deadline deadline) {
  const auto receipt = in_flight_.front().wait_until(deadline);
  if (!receipt && receipt.error() == bus::errc::timed_out) return false;
  in_flight_.pop_front();
  if (!receipt) {
    refuse(receipt.error());
  } else if (!receipt->delivery()) {
    ++undelivered_;
  }
  return true;
}

void Host::refuse(const bus::error_code& why) {
  if (refused_[why.message()]++ == 0) remark("a message was not published: " + why.message());
}

bus::ConfigChange Host::reload(const bus::Config& wanted) {
  bus::RunningHost running{.bus = &*hub_};
  for (const auto& [name, limiter] : limiters_) running.rate_limits.emplace(name, limiter.get());
  for (auto& [name, route] : routes_) running.routes.emplace(name, &route);
  for (auto& [name, log] : logs_) running.logs.emplace(name, &log);
  bus::ConfigChange change = bus::reload(config_, wanted, running);
  if (!change.live.empty()) static_cast<void>(hub_->send(bus::ConfigUpdated{.version = ++reloads_}));
  return change;
}

// --- The end. ---

HostReport Host::drain() {
  vitals_.set_busy("draining");
  const Deadline deadline = steady_clock::now() + config_.serve.drain;
  HostReport report;
  while (!in_flight_.empty() && settle_front(deadline)) {
  }
  report.unsettled = in_flight_.size();
  report.undelivered = undelivered_;
  in_flight_.clear();
  const bool is_committed = !topics_ || !topics_->close_until(deadline);
  static_cast<void>(hub_->send(bus::Shutdown{}));
  router_->close();
  hub_->close();
  const bool is_read = consumers_.wait_until(deadline);
  consumers_.stop();

  const bus::BusStats stats = hub_->stats();
  report.published = stats.published;
  report.refused = refused_;
  report.complete = is_committed && is_read;
  report.receivers = stats.receivers;
  for (const auto& [name, route] : routes_) report.routes.push_back(route.stats());
  for (const auto& [name, group] : groups_) {
    const bus::GroupStats of_group = group.stats();
    report.groups.push_back({.name = name, .acked = of_group.acked, .lag = of_group.lag});
  }
  measured_.clear();
  close_logs(report);
  return report;
}

void Host::close_logs(HostReport& report) {
  vitals_.forget_logs();
  for (auto& [name, log] : logs_) {
    const bus::error_code error = log.close();
    const bus::LogStats stats = log.stats();
    report.logs.push_back({.name = name,
                           .records = stats.records,
                           .next_offset = stats.next_offset,
                           .lost_records = stats.lost_records,
                           .fault = error ? error.message() : ""});
  }
}

}  // namespace busbar
