// SPDX-License-Identifier: MIT OR Apache-2.0
#include "persistence/groups.hpp"

#include "persistence/log_core.hpp"

#include <boost/system/errc.hpp>

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

namespace bus::detail {
namespace {

constexpr std::size_t snapshot_frame_bytes = max_control_bytes;

error_code invalid() noexcept { return {boost::system::errc::invalid_argument, boost::system::system_category()}; }

std::size_t bytes_of(const std::vector<TopicPattern>& patterns) noexcept {
  std::size_t bytes = 0;
  for (const TopicPattern& pattern : patterns) bytes += 1 + pattern.view().size();
  return bytes;
}

bool is_sound(const GroupOptions& options) noexcept {
  const auto positive = [](std::chrono::nanoseconds time) {
    return time > std::chrono::nanoseconds(0) && time <= limits::longest_lease;
  };
  return positive(options.visibility) && positive(options.ceiling) && options.attempts != 0 &&
         options.read_ahead != 0 && options.principal_read_ahead != 0 && options.quantum_bytes != 0 &&
         bytes_of(options.patterns) <= limits::max_group_patterns_bytes &&
         std::ranges::all_of(options.backoff, [&](auto step) { return step == step.zero() || positive(step); }) &&
         name_fault(options.name, limits::max_name_bytes).empty() && !options.name.empty() &&
         !options.name.starts_with(dead_prefix) && options.dead.most != 0 &&
         Topic::parse(std::string(dead_prefix) + options.name).has_value();
}

/// How the queue of a group's dead letters is opened. It reads ahead as many as there are.
GroupOptions dead_options(const GroupOptions& options) {
  const std::string name = std::string(dead_prefix) + options.name;
  return {.name = name,
          .patterns = {TopicPattern::parse(name).value()},
          .visibility = options.visibility,
          .ceiling = options.ceiling,
          .attempts = std::numeric_limits<std::uint8_t>::max(),
          .backoff = options.backoff,
          .read_ahead = std::numeric_limits<std::uint32_t>::max(),
          .read_ahead_bytes = std::size_t{1} << 20,
          .quantum_bytes = options.quantum_bytes,
          .weights = options.weights,
          .lag_bytes = options.dead.lag_bytes,
          .dead = options.dead};
}

}  // namespace

void Groups::recover(GroupState state) {
  state_ = std::move(state);
  // All dead letters are known now.
  for (auto& [id, queue] : state_.queues) {
    if (has_dead_letters(queue.spec)) come_to(queue, log_->segments().committed());
  }
}

result<std::shared_ptr<QueueCore>> Groups::open(const GroupOptions& options, std::string_view member) {
  const bool broadcast = options.mode == GroupMode::broadcast;
  if (!is_sound(options) || broadcast == member.empty()) return invalid();
  if (broadcast && !name_fault(member, limits::max_name_bytes).empty()) return invalid();
  const std::lock_guard lock(mutex_);
  if (log_ == nullptr) return make_error_code(errc::closed);
  // The place for dead letters comes first, so that no message can die and have none.
  const auto dead = open_dead_locked(options);
  if (!dead) return dead.error();
  return open_locked({.spec = {.mode = static_cast<QueueMode>(options.mode),
                               .group = options.name,
                               .member = std::string(member),
                               .patterns = options.patterns},
                      .start = options.start,
                      .lag_bytes = options.lag_bytes.value_or(0)},
                     options, *dead);
}

result<std::shared_ptr<QueueCore>> Groups::open_dead(const GroupOptions& options) {
  if (!is_sound(options)) return invalid();
  const std::lock_guard lock(mutex_);
  if (log_ == nullptr) return make_error_code(errc::closed);
  return open_dead_locked(options);
}

result<std::shared_ptr<QueueCore>> Groups::open_dead_locked(const GroupOptions& options) {
  const GroupOptions of_dead = dead_options(options);
  return open_locked({.spec = {.group = of_dead.name, .patterns = of_dead.patterns},
                      .start = of_dead.start,
                      .lag_bytes = of_dead.lag_bytes.value_or(0)},
                     of_dead, nullptr);
}

result<std::shared_ptr<QueueCore>> Groups::open_locked(Wanted wanted, const GroupOptions& options,
                                                       std::shared_ptr<QueueCore> dead) {
  QueueSpec& spec = wanted.spec;
  for (auto& [id, queue] : state_.queues) {
    if (queue.spec.group != spec.group) continue;
    if (queue.spec.mode != spec.mode || queue.spec.patterns != spec.patterns) return invalid();
    if (queue.spec.member != spec.member) continue;
    if (const auto live = live_.find(id); live != live_.end()) return live->second;
    if (queue.lag_bytes != wanted.lag_bytes) {
      const auto number = log_->post_items([&](GroupItems& items) { items.limited(id, wanted.lag_bytes); });
      if (!number) return number.error();
      queue.lag_bytes = wanted.lag_bytes;
    }
    const auto live =
        live_.emplace(id, std::make_shared<QueueCore>(*log_, options, queue, std::move(dead))).first->second;
    live->drop_letters();
    return live;
  }
  spec.id = state_.next_id;
  spec.begin = wanted.start == GroupStart::oldest ? log_->segments().first_offset() : log_->segments().committed();
  const QueueState made{.spec = spec, .next = spec.begin, .lag_bytes = wanted.lag_bytes};
  auto queue = std::make_shared<QueueCore>(*log_, options, made, std::move(dead));
  state_.queues.emplace(spec.id, made);
  try {
    live_.emplace(spec.id, queue);
  } catch (const std::bad_alloc&) {
    state_.queues.erase(spec.id);
    throw;
  }
  const auto number = log_->post_items([&](GroupItems& items) {
    items.made(spec);
    if (wanted.lag_bytes != 0) items.limited(spec.id, wanted.lag_bytes);
  });
  if (!number) {
    live_.erase(spec.id);
    state_.queues.erase(spec.id);
    return number.error();
  }
  ++state_.next_id;
  return queue;
}

error_code Groups::remove(std::string_view group) {
  const std::string dead = std::string(dead_prefix) + std::string(group);
  const std::lock_guard lock(mutex_);
  if (log_ == nullptr) return errc::closed;
  for (auto one = state_.queues.begin(); one != state_.queues.end();) {
    if (one->second.spec.group != group && one->second.spec.group != dead) {
      ++one;
      continue;
    }
    const std::uint32_t id = one->first;
    const auto number = log_->post_items([&](GroupItems& items) { items.deleted(id); });
    if (!number) {
      log_->wake_readers();
      return number.error();
    }
    if (const auto live = live_.find(id); live != live_.end()) {
      live->second->close();
      live_.erase(live);
    }
    one = state_.queues.erase(one);
  }
  log_->wake_readers();
  return {};
}

error_code Groups::finish_through(const GroupOptions& options, std::uint64_t offset) {
  std::vector<std::string> members;
  {
    const std::lock_guard lock(mutex_);
    if (log_ == nullptr) return errc::closed;
    for (const auto& [id, queue] : state_.queues) {
      if (queue.spec.group == options.name) members.push_back(queue.spec.member);
    }
  }
  const std::uint64_t end = offset + (offset != std::numeric_limits<std::uint64_t>::max() ? 1 : 0);
  for (const std::string& member : members) {
    const auto queue = open(options, member);
    if (!queue) return queue.error();
    if (const error_code error = (*queue)->finish_before(end)) return error;
  }
  return {};
}

void Groups::add_to(std::string_view group, bool dead, GroupStats& stats) const noexcept {
  const std::lock_guard lock(mutex_);
  const auto is_of_group = [&](const QueueSpec& spec) {
    std::string_view name = spec.group;
    if (has_dead_letters(spec)) name.remove_prefix(dead_prefix.size());
    return name == group;
  };
  for (const auto& [id, queue] : live_) {
    if (!is_of_group(queue->spec())) continue;
    const bool is_dead = has_dead_letters(queue->spec());
    if (is_dead == dead) queue->add_to(stats);
    if (is_dead) queue->add_letters_to(stats);
  }
  if (log_ == nullptr) return;
  for (const auto& [id, queue] : state_.queues) {
    if (live_.contains(id) || !is_of_group(queue.spec) || has_dead_letters(queue.spec) != dead) continue;
    stats.floor = std::min(stats.floor, owed_from(queue).value_or(stats.floor));
    stats.next = std::max(stats.next, queue.next);
  }
  const std::uint64_t end = log_->segments().committed();
  stats.lag = end - std::min(end, stats.floor);
}

std::vector<std::vector<std::byte>> Groups::snapshot(std::vector<std::vector<std::byte>> others) const {
  const std::lock_guard lock(mutex_);
  GroupState state = state_;
  for (const auto& [id, queue] : live_) state.queues[id] = queue->state();
  return encode_snapshot(state, snapshot_frame_bytes, std::move(others));
}

/// By a queue that nobody has open. Returns: nothing if it owes nothing, and never will by itself.
std::optional<std::uint64_t> Groups::owed_from(const QueueState& queue) const noexcept {
  const auto open = queue.open.lower_bound(log_->segments().first_offset());
  if (open != queue.open.end()) return open->first;
  if (has_dead_letters(queue.spec)) return std::nullopt;
  return first_not_done(queue);
}

std::optional<std::uint64_t> Groups::owed_from() const noexcept {
  const std::lock_guard lock(mutex_);
  if (log_ == nullptr) return 0;  // it is ending: nobody can say any more
  std::optional<std::uint64_t> from;
  const auto note = [&](std::uint64_t floor, const QueueState& queue) {
    if (queue.lag_bytes != 0) floor = std::max(floor, log_->segments().offset_within(queue.lag_bytes));
    from = std::min(from.value_or(floor), floor);
  };
  for (const auto& [id, queue] : state_.queues) {
    if (const auto live = live_.find(id); live != live_.end()) {
      note(live->second->floor(), queue);
    } else if (const auto owed = owed_from(queue)) {
      note(*owed, queue);
    }
  }
  return from;
}

void Groups::give_up_before(std::uint64_t offset) noexcept {
  const std::lock_guard lock(mutex_);
  for (const auto& [id, queue] : live_) queue->give_up_before(offset);
}

void Groups::close() noexcept {
  const std::lock_guard lock(mutex_);
  for (const auto& [id, queue] : live_) queue->close();
  log_ = nullptr;
}

error_code Groups::sync() noexcept {
  LogCore* log = nullptr;
  {
    const std::lock_guard lock(mutex_);
    log = log_;
  }
  return log == nullptr ? make_error_code(errc::closed) : log->sync();
}

}  // namespace bus::detail

namespace bus {

std::string_view to_string(LeaseOutcome outcome) noexcept {
  switch (outcome) {
    case LeaseOutcome::done: return "done";
    case LeaseOutcome::stale: return "stale";
    case LeaseOutcome::dead: return "dead";
    case LeaseOutcome::unlogged: break;
  }
  return "unlogged";
}

// --- Lease. ---

Lease& Lease::operator=(Lease&& other) noexcept {
  if (this == &other) return *this;
  if (queue_ != nullptr) (void)nack();
  queue_ = std::move(other.queue_);
  record_ = std::move(other.record_);
  token_ = other.token_;
  attempt_ = other.attempt_;
  deadline_ = other.deadline_;
  return *this;
}

Lease::~Lease() {
  if (queue_ != nullptr) (void)nack({}, "it was dropped without an outcome");
}

LeaseOutcome Lease::ack() noexcept {
  if (queue_ == nullptr) return LeaseOutcome::stale;
  const LeaseOutcome outcome = queue_->ack({offset(), token_});
  if (outcome != LeaseOutcome::unlogged) queue_.reset();
  return outcome;
}

LeaseOutcome Lease::release() noexcept {
  const auto queue = std::move(queue_);
  return queue == nullptr ? LeaseOutcome::stale : queue->release({offset(), token_});
}

LeaseOutcome Lease::nack(std::optional<std::chrono::nanoseconds> delay, std::string_view error) noexcept {
  const auto queue = std::move(queue_);
  if (queue == nullptr) return LeaseOutcome::stale;
  return queue->nack({offset(), token_}, record_, attempt_, delay, error);
}

LeaseOutcome Lease::reject(std::string_view reason) noexcept {
  const auto queue = std::move(queue_);
  return queue == nullptr ? LeaseOutcome::stale : queue->reject({offset(), token_}, record_, attempt_, reason);
}

std::optional<std::chrono::steady_clock::time_point> Lease::extend(std::chrono::nanoseconds by) noexcept {
  if (queue_ == nullptr) return std::nullopt;
  const auto until = queue_->extend({offset(), token_}, by);
  if (until) deadline_ = *until;
  return until;
}

std::size_t ack_all(std::span<Lease> leases) noexcept {
  std::size_t done = 0;
  while (!leases.empty()) {
    const auto queue = leases.front().queue_;
    std::size_t run = 1;
    while (run < leases.size() && leases[run].queue_ == queue) ++run;
    if (queue != nullptr) done += queue->ack_all(leases.first(run));
    leases = leases.subspan(run);
  }
  return done;
}

// --- Member. ---

Member::Member(Member&&) noexcept = default;
Member& Member::operator=(Member&& other) noexcept {
  std::swap(queue_, other.queue_);
  std::swap(id_, other.id_);
  return *this;
}
Member::~Member() {
  if (queue_ != nullptr) queue_->leave(id_);
}

result<LeaseBatch> Member::receive(std::size_t most) noexcept { return queue_->receive(id_, most, nullptr); }
result<LeaseBatch> Member::receive_until(std::size_t most, std::chrono::steady_clock::time_point deadline) noexcept {
  return queue_->receive(id_, most, &deadline);
}
result<LeaseBatch> Member::try_receive(std::size_t most) noexcept {
  constexpr auto now = std::chrono::steady_clock::time_point::min();
  return queue_->receive(id_, most, &now);
}
result<std::size_t> Member::ack_through(std::uint64_t offset) noexcept { return queue_->ack_through(id_, offset); }

// --- Group. ---

struct Group::Open {
  std::shared_ptr<detail::Groups> groups;
  GroupOptions options;
  bool is_dead = false;  // these are the dead letters of it
};

Group::Group(std::unique_ptr<Open> open) noexcept : open_(std::move(open)) {}
Group::Group(Group&&) noexcept = default;
Group& Group::operator=(Group&&) noexcept = default;
Group::~Group() = default;

result<Group> Group::open(Log& log, const GroupOptions& options) noexcept try {
  auto open = std::make_unique<Open>(detail::LogAccess::groups(log), options);
  if (options.mode != GroupMode::broadcast) {
    const auto queue = open->groups->open(options, {});
    if (!queue) return queue.error();
  }
  return Group(std::move(open));
} catch (const std::bad_alloc&) {
  return make_error_code(errc::out_of_memory);
}

result<Member> Group::join(const MemberOptions& options) noexcept try {
  auto queue =
      open_->is_dead ? open_->groups->open_dead(open_->options) : open_->groups->open(open_->options, options.name);
  if (!queue) return queue.error();
  const std::uint16_t id = (*queue)->join(options);
  return Member(std::move(*queue), id);
} catch (const std::bad_alloc&) {
  return make_error_code(errc::out_of_memory);
} catch (const std::length_error&) {
  return make_error_code(errc::overloaded);
}

error_code Group::sync() noexcept { return open_->groups->sync(); }

GroupStats Group::stats() const noexcept {
  GroupStats stats;
  stats.floor = ~std::uint64_t{0};
  open_->groups->add_to(open_->options.name, open_->is_dead, stats);
  if (stats.floor == ~std::uint64_t{0}) stats.floor = 0;  // there is nobody to read
  return stats;
}

result<Group> Group::dead_letters() noexcept try {
  if (open_->is_dead) return make_error_code(boost::system::errc::invalid_argument);
  const auto queue = open_->groups->open_dead(open_->options);
  if (!queue) return queue.error();
  return Group(std::make_unique<Open>(open_->groups, open_->options, true));
} catch (const std::bad_alloc&) {
  return make_error_code(errc::out_of_memory);
}

result<std::uint64_t> Group::redrive(const DeadFilter& filter) noexcept { return take_dead(filter, true); }
result<std::uint64_t> Group::drop_dead(const DeadFilter& filter) noexcept { return take_dead(filter, false); }

result<std::uint64_t> Group::take_dead(const DeadFilter& filter, bool send_back) noexcept try {
  const auto queue = open_->groups->open_dead(open_->options);
  if (!queue) return queue.error();
  return (*queue)->take_dead(filter, send_back);
} catch (const std::bad_alloc&) {
  return make_error_code(errc::out_of_memory);
}

error_code Group::finish_through(std::uint64_t offset) noexcept try {
  if (open_->is_dead) return make_error_code(boost::system::errc::invalid_argument);
  return open_->groups->finish_through(open_->options, offset);
} catch (const std::bad_alloc&) {
  return errc::out_of_memory;
}

error_code Group::remove() noexcept try {
  if (open_->is_dead) return make_error_code(boost::system::errc::invalid_argument);
  return open_->groups->remove(open_->options.name);
} catch (const std::bad_alloc&) {
  return errc::out_of_memory;
}

}  // namespace bus
