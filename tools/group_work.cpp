// SPDX-License-Identifier: MIT OR Apache-2.0
#include "group_work.hpp"

#include "input.hpp"
#include "log_record.hpp"
#include "log_writer.hpp"
#include "output.hpp"
#include "record_walk.hpp"
#include "text.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <iterator>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <utility>

namespace busbar {
namespace {

using Positions = std::vector<bus::GroupPosition>;

/// A log that is there, open to write, and where a group of it stands.
struct OpenGroup {
  OpenLog open;
  Positions positions;  // none: there is no such group
  std::optional<std::uint64_t> dead_lag_bytes = bus::DeadLetterOptions().lag_bytes;
};

OpenGroup open_group(const std::string& directory, const std::string& group) {
  bus::LogSnapshot seen = open_snapshot(directory);  // a log is not made for what reads it
  OpenGroup opened{.open = open_to_write(directory, {.spare_segments = 0}), .positions = {}};
  if (const auto error = seen.refresh()) throw_error("cannot read the log in", directory, error);
  opened.positions = positions_of(seen, directory, group);
  const Positions dead = positions_of(seen, directory, std::string(bus::dead_prefix) + group);
  if (!dead.empty()) opened.dead_lag_bytes = dead.front().lag_bytes();
  return opened;
}

/// As the group is. What the log does not say of it is such that those who work in it lose nothing by this command.
bus::GroupOptions options_of(const std::string& group, const OpenGroup& opened) {
  constexpr std::size_t most_dead = 1'000'000;
  bus::GroupOptions options{
      .name = group,
      .attempts = max_attempts,
      .dead = {.most = most_dead, .full = bus::FullDeadLetters::hold, .lag_bytes = opened.dead_lag_bytes}};
  if (opened.positions.empty()) return options;
  const bus::GroupPosition& there = opened.positions.front();
  options.mode = there.mode();
  options.patterns = there.patterns();
  options.lag_bytes = there.lag_bytes();
  return options;
}

bus::Group open_as(OpenGroup& opened, const std::string& directory, const bus::GroupOptions& options) {
  auto group = bus::Group::open(opened.open.log, options);
  if (!group) throw_error("cannot open the group '" + options.name + "' in", directory, group.error());
  return std::move(*group);
}

bus::Group open_existing(OpenGroup& opened, const std::string& directory, const std::string& group) {
  if (opened.positions.empty()) throw std::runtime_error("there is no group '" + group + "'");
  return open_as(opened, directory, options_of(group, opened));
}

/// The options of a group that is there, or those to make it with.
bus::GroupOptions group_options(const WorkOptions& options, const OpenGroup& opened) {
  bus::GroupOptions made = options_of(options.group, opened);
  if (opened.positions.empty()) {
    made.mode = options.mode.value_or(bus::GroupMode::competing);
    made.patterns = options.patterns;
  } else if ((options.mode && *options.mode != made.mode) ||
             (!options.patterns.empty() && options.patterns != made.patterns)) {
    throw std::runtime_error("the group '" + options.group + "' is there, of another mode or with other patterns");
  }
  made.start = options.start;
  made.attempts = options.attempts;
  check_member(options.group, made.mode == bus::GroupMode::broadcast, options.member);
  return made;
}

/// Leases, prints and settles.
class Worker {
 public:
  Worker(bus::Member member, const WorkOptions& options, const Interrupt& interrupt)
      : member_(std::move(member)), options_(options), interrupt_(interrupt) {}

  Exit run() {
    while (left() != 0 && !interrupt_.requested()) {
      bus::LeaseBatch received = receive();
      if (received.missed != 0) {
        missed_ = true;
        remark("the group has missed " + counted(received.missed, "message"));
      }
      if (received.leases.empty() && received.missed == 0 && !options_.follow) break;
      show(received.leases);
      given_ += received.leases.size();
      if (is_held()) {
        std::ranges::move(received.leases, std::back_inserter(held_));
      } else {
        settle(received.leases);
      }
    }
    settle(held_);
    if (late_ != 0) remark(counted(late_, "lease") + " had run out before the outcome: the messages come again");
    return missed_ || late_ != 0 ? incomplete : success;
  }

 private:
  /// What comes back before the end would be given again.
  bool is_held() const noexcept {
    return !options_.follow && (options_.settle == Settle::nack || options_.settle == Settle::release);
  }

  std::uint64_t left() const noexcept {
    const auto most = static_cast<std::uint64_t>(is_held() ? most_held - held_.size() : std::size_t{most_held});
    return options_.max ? std::min(most, *options_.max - given_) : most;
  }

  bus::LeaseBatch receive() {
    using namespace std::chrono_literals;
    constexpr std::uint64_t together = 64;
    const auto most = static_cast<std::size_t>(std::min(left(), together));
    auto received = options_.follow ? member_.receive_until(most, std::chrono::steady_clock::now() + 100ms)
                                    : member_.try_receive(most);
    if (!received) throw_error("cannot receive from the log in", options_.directory, received.error());
    return std::move(*received);
  }

  void show(std::vector<bus::Lease>& leases) try {
    for (const bus::Lease& lease : leases) {
      print(as_json(lease.record(), {{"attempts", lease.attempt()}}) + '\n');
    }
    flush();  // before anything becomes of them
  } catch (...) {
    for (bus::Lease& lease : leases) (void)lease.release();
    for (bus::Lease& lease : held_) (void)lease.release();
    throw;
  }

  void settle(std::vector<bus::Lease>& leases) {
    for (bus::Lease& lease : leases) {
      const bus::LeaseOutcome outcome = settle(lease);
      if (outcome == bus::LeaseOutcome::unlogged) {
        throw std::runtime_error("the log in '" + options_.directory + "' did not take what became of a message");
      }
      if (outcome == bus::LeaseOutcome::stale) ++late_;
    }
  }

  bus::LeaseOutcome settle(bus::Lease& lease) {
    switch (options_.settle) {
      case Settle::nack: return lease.nack();
      case Settle::release: return lease.release();
      case Settle::reject: return lease.reject(options_.reason);
      case Settle::ack: break;
    }
    return lease.ack();
  }

  bus::Member member_;
  const WorkOptions& options_;
  const Interrupt& interrupt_;
  std::vector<bus::Lease> held_;
  std::uint64_t given_ = 0;
  std::uint64_t late_ = 0;
  bool missed_ = false;
};

/// How many messages a group has to finish up to an offset.
std::uint64_t owed_through(const FinishOptions& options, const Positions& positions) {
  bus::LogSnapshot seen = open_snapshot(options.directory);
  const std::uint64_t end = options.up_to < seen.next_offset() ? options.up_to + 1 : seen.next_offset();
  RecordWalk walk(seen, options.directory, {.from = bus::From::offset(begin_of(seen, positions))}, end);
  std::uint64_t owed = 0;
  while (const bus::RecordView* const record = walk.next()) {
    owed += static_cast<std::uint64_t>(
        std::ranges::count_if(positions, [&](const bus::GroupPosition& one) { return one.owes(*record); }));
  }
  return owed;
}

Exit take_dead(const DeadOptions& options,
               bus::result<std::uint64_t> (bus::Group::*take)(const bus::DeadFilter&) noexcept, std::string_view key,
               std::string_view done) {
  OpenGroup opened = open_group(options.directory, options.group);
  bus::Group group = open_existing(opened, options.directory, options.group);
  const auto count = (group.*take)(options.filter);
  if (!count) throw_error("cannot write to the log in", options.directory, count.error());
  print(options.json ? "{\"" + std::string(key) + "\":" + std::to_string(*count) + "}\n"
                     : std::string(done) + counted(*count, "dead letter") + '\n');
  flush();
  return close(opened.open, options.directory, success);
}

}  // namespace

Exit work(const WorkOptions& options) {
  const Interrupt interrupt;
  OpenGroup opened = open_group(options.directory, options.group);
  bus::Group group = open_as(opened, options.directory, group_options(options, opened));
  auto member =
      group.join({.name = options.member, .in_flight_messages = most_held, .in_flight_bytes = std::uint64_t{64} << 20});
  if (!member) throw_error("cannot join the group '" + options.group + "' in", options.directory, member.error());
  const Exit status = Worker(std::move(*member), options, interrupt).run();
  if (const auto error = group.sync()) throw_error("cannot sync the log in", options.directory, error);
  return close(opened.open, options.directory, status);
}

Exit finish(const FinishOptions& options) {
  OpenGroup opened = open_group(options.directory, options.group);
  bus::Group group = open_existing(opened, options.directory, options.group);
  const std::uint64_t finished = owed_through(options, opened.positions);
  bus::error_code error = group.finish_through(options.up_to);
  if (!error) error = group.sync();
  if (error) throw_error("cannot write to the log in", options.directory, error);
  print(options.json ? "{\"finished\":" + std::to_string(finished) + "}\n"
                     : "finished " + counted(finished, "message") + '\n');
  flush();
  return close(opened.open, options.directory, success);
}

Exit redrive(const DeadOptions& options) { return take_dead(options, &bus::Group::redrive, "sent_back", "sent back "); }

Exit drop_dead(const DeadOptions& options) { return take_dead(options, &bus::Group::drop_dead, "dropped", "dropped "); }

}  // namespace busbar
