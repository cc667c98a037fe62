// SPDX-License-Identifier: MIT OR Apache-2.0
#include "group_work.hpp"

#include "group_view.hpp"
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
#include <stdexcept>
#include <utility>

namespace busbar {
namespace {

using Positions = std::vector<bus::GroupPosition>;

/// A log that is there, open to write, and where a group of it stands.
struct OpenGroup {
  OpenLog open;
  Positions positions;
};

OpenGroup open_group(const std::string& directory, const std::string& group) {
  bus::LogSnapshot seen = open_snapshot(directory);  // a log is not made for what reads it
  OpenLog open = open_to_write(directory, {.spare_segments = 0});
  if (const auto error = seen.refresh()) throw_error("cannot read the log in", directory, error);
  return {std::move(open), positions_of(seen, directory, group)};
}

/// The options of a group that is there, or those to make it with.
bus::GroupOptions group_options(const WorkOptions& options, const Positions& positions) {
  bus::GroupOptions made{.name = options.group,
                         .mode = options.mode.value_or(bus::GroupMode::competing),
                         .patterns = options.patterns,
                         .start = options.start};
  if (!positions.empty()) {
    const bus::GroupPosition& there = positions.front();
    const bool is_other = (options.mode && *options.mode != there.mode()) ||
                          (!options.patterns.empty() && options.patterns != there.patterns());
    if (is_other) {
      throw std::runtime_error("the group '" + options.group + "' is there, of another mode or with other patterns");
    }
    made.mode = there.mode();
    made.patterns = there.patterns();
  }
  const bool is_broadcast = made.mode == bus::GroupMode::broadcast;
  if (is_broadcast && options.member.empty()) {
    throw std::runtime_error("the group '" + options.group + "' is a broadcast: say which --member");
  }
  if (!is_broadcast && !options.member.empty()) {
    throw std::runtime_error("the group '" + options.group + "' is no broadcast: its members have no names");
  }
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
        throw std::runtime_error("the log in '" + options_.directory + "' takes nothing more");
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

}  // namespace

Exit work(const WorkOptions& options) {
  const Interrupt interrupt;
  OpenGroup open = open_group(options.directory, options.group);
  auto group = bus::Group::open(open.open.log, group_options(options, open.positions));
  if (!group) throw_error("cannot open the group '" + options.group + "' in", options.directory, group.error());
  auto member = group->join(
      {.name = options.member, .in_flight_messages = most_held, .in_flight_bytes = std::uint64_t{64} << 20});
  if (!member) throw_error("cannot join the group '" + options.group + "' in", options.directory, member.error());
  const Exit status = Worker(std::move(*member), options, interrupt).run();
  if (const auto error = group->sync()) throw_error("cannot sync the log in", options.directory, error);
  return close(open.open, options.directory, status);
}

Exit finish(const FinishOptions& options) {
  auto [open, positions] = open_group(options.directory, options.group);
  if (positions.empty()) throw std::runtime_error("there is no group '" + options.group + "'");
  const std::uint64_t finished = owed_through(options, positions);
  auto group = bus::Group::open(
      open.log, {.name = options.group, .mode = positions.front().mode(), .patterns = positions.front().patterns()});
  if (!group) throw_error("cannot open the group '" + options.group + "' in", options.directory, group.error());
  bus::error_code error = group->finish_through(options.up_to);
  if (!error) error = group->sync();
  if (error) throw_error("cannot write to the log in", options.directory, error);
  print(options.json ? "{\"finished\":" + std::to_string(finished) + "}\n"
                     : "finished " + counted(finished, "message") + '\n');
  flush();
  return close(open, options.directory, success);
}

}  // namespace busbar
