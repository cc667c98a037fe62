// SPDX-License-Identifier: MIT OR Apache-2.0
#include "persistence/groups.hpp"

#include "persistence/group_replay.hpp"
#include "persistence/log_core.hpp"

#include <boost/system/errc.hpp>

#include <algorithm>
#include <string>
#include <utility>

namespace bus::detail {
namespace {

constexpr std::size_t snapshot_frame_bytes = max_control_bytes;

error_code invalid() noexcept { return {boost::system::errc::invalid_argument, boost::system::system_category()}; }

bool is_sound(const GroupOptions& options) noexcept {
  const auto positive = [](std::chrono::nanoseconds time) {
    return time > std::chrono::nanoseconds(0) && time <= std::chrono::hours(24 * 20);
  };
  return positive(options.visibility) && positive(options.ceiling) && options.attempts != 0 &&
         options.read_ahead != 0 && options.quantum_bytes != 0 &&
         std::ranges::all_of(options.backoff, [&](auto step) { return step == step.zero() || positive(step); }) &&
         name_fault(options.name, limits::max_name_bytes).empty() && !options.name.empty() &&
         Topic::parse(std::string(dead_prefix) + options.name).has_value();
}

}  // namespace

error_code Groups::recover(const GroupsPlace& place) {
  if (place.serial == 0) return {};
  auto state = replay_groups(log_->storage(), log_->segments().all(), place);
  if (!state) return state.error();
  state_ = std::move(*state);
  return {};
}

result<std::shared_ptr<QueueCore>> Groups::open(const GroupOptions& options, std::string_view member) {
  const bool broadcast = options.mode == GroupMode::broadcast;
  if (!is_sound(options) || broadcast == member.empty()) return invalid();
  if (broadcast && !name_fault(member, limits::max_name_bytes).empty()) return invalid();
  const std::lock_guard lock(mutex_);
  if (log_ == nullptr) return make_error_code(errc::closed);
  const auto mode = static_cast<QueueMode>(options.mode);
  for (const auto& [id, queue] : state_.queues) {
    if (queue.spec.group != options.name) continue;
    if (queue.spec.mode != mode || queue.spec.patterns != options.patterns) return invalid();
    if (queue.spec.member != member) continue;
    if (const auto live = live_.find(id); live != live_.end()) return live->second;
    return live_.emplace(id, std::make_shared<QueueCore>(*log_, options, queue)).first->second;
  }
  const std::uint64_t begin =
      options.start == GroupStart::oldest ? log_->segments().first_offset() : log_->segments().committed();
  QueueState made{.spec = {.id = state_.next_id,
                           .mode = mode,
                           .group = options.name,
                           .member = std::string(member),
                           .patterns = options.patterns,
                           .begin = begin},
                  .next = begin};
  auto queue = std::make_shared<QueueCore>(*log_, options, made);
  const std::uint32_t id = made.spec.id;
  state_.queues.emplace(id, made);
  try {
    live_.emplace(id, queue);
  } catch (const std::bad_alloc&) {
    state_.queues.erase(id);
    throw;
  }
  const auto number = log_->post_items([&](GroupItems& items) { items.made(made.spec); });
  if (!number) {
    live_.erase(id);
    state_.queues.erase(id);
    return number.error();
  }
  ++state_.next_id;
  return queue;
}

error_code Groups::remove(std::string_view group) {
  const std::lock_guard lock(mutex_);
  if (log_ == nullptr) return errc::closed;
  for (auto one = state_.queues.begin(); one != state_.queues.end();) {
    if (one->second.spec.group != group) {
      ++one;
      continue;
    }
    const std::uint32_t id = one->first;
    const auto number = log_->post_items([&](GroupItems& items) { items.deleted(id); });
    if (!number) return number.error();
    if (const auto live = live_.find(id); live != live_.end()) {
      live->second->close();
      live_.erase(live);
    }
    one = state_.queues.erase(one);
  }
  log_->wake_readers();
  return {};
}

void Groups::add_to(std::string_view group, GroupStats& stats) const noexcept {
  const std::lock_guard lock(mutex_);
  for (const auto& [id, queue] : live_) {
    if (queue->spec().group == group) queue->add_to(stats);
  }
}

std::vector<std::vector<std::byte>> Groups::snapshot() const {
  const std::lock_guard lock(mutex_);
  if (state_.next_id == GroupState().next_id) return {};  // there never was one
  GroupState state = state_;
  for (const auto& [id, queue] : live_) state.queues[id] = queue->state();
  return encode_snapshot(state, snapshot_frame_bytes);
}

std::optional<std::uint64_t> Groups::owed_from() const noexcept {
  const std::lock_guard lock(mutex_);
  std::optional<std::uint64_t> from;
  const auto note = [&](std::uint64_t floor) { from = std::min(from.value_or(floor), floor); };
  for (const auto& [id, queue] : state_.queues) {
    if (const auto live = live_.find(id); live != live_.end()) {
      note(live->second->floor());
    } else {
      note(queue.open.empty() ? queue.next : std::min(queue.next, queue.open.begin()->first));
    }
  }
  return from;
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
  const auto queue = std::move(queue_);
  return queue == nullptr ? LeaseOutcome::stale : queue->ack({offset(), token_});
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
    for (Lease& lease : leases.first(run)) lease.queue_.reset();
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
  auto queue = open_->groups->open(open_->options, options.name);
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
  open_->groups->add_to(open_->options.name, stats);
  if (stats.next == 0) stats.floor = 0;  // nobody reads
  return stats;
}

error_code Group::remove() noexcept try {
  return open_->groups->remove(open_->options.name);
} catch (const std::bad_alloc&) {
  return errc::out_of_memory;
}

}  // namespace bus
