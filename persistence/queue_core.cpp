// SPDX-License-Identifier: MIT OR Apache-2.0
#include "persistence/queue_core.hpp"

#include "persistence/log_core.hpp"
#include "persistence/make_room.hpp"
#include "persistence/nanoseconds.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <limits>
#include <new>
#include <stdexcept>

namespace bus::detail {
namespace {

constexpr std::int64_t bury_again_ns = 100'000'000;

LeaseRules rules_of(const GroupOptions& options) {
  LeaseRules rules{.visibility_ns = options.visibility.count(),
                   .ceiling_ns = options.ceiling.count(),
                   .attempts = options.attempts,
                   .quantum_bytes = options.quantum_bytes,
                   .weights = options.weights};
  rules.backoff_ns.clear();
  for (const std::chrono::nanoseconds step : options.backoff) rules.backoff_ns.push_back(step.count());
  return rules;
}

}  // namespace

Principal principal_of(const RecordView& record) {
  auto principal = Principal::parse(record.principal());
  return principal ? std::move(*principal) : Principal();  // the log took none that is not one
}

Record copy_of(const RecordView& record, const Topic& topic, std::span<const Header> headers) {
  return {.topic = topic,
          .principal = principal_of(record),
          .payload = record.payload(),
          .key = record.key(),
          .headers = headers,
          .source = record.source(),
          .correlation = record.correlation(),
          .trace = record.trace(),
          .terminal = record.terminal(),
          .schema = record.schema(),
          .schema_version = record.schema_version(),
          .message_id = record.message_id(),
          .priority = record.priority()};
}

// --- What its readers see. ---

Storage& QueueCore::Source::storage() noexcept { return log_.storage(); }
SegmentList& QueueCore::Source::segments() noexcept { return log_.segments(); }
const LogId& QueueCore::Source::log_id() const noexcept { return log_.log_id(); }
void QueueCore::Source::found_missing(LogLoss&& loss) noexcept { log_.found_missing_later(std::move(loss)); }
ReadOutcome QueueCore::Source::wait_for(std::uint64_t offset, const Deadline* deadline) noexcept {
  return log_.wait_for(offset, deadline);
}
bool QueueCore::Source::is_closed() const noexcept { return log_.is_closed(); }
const std::shared_ptr<MemoryBudget>& QueueCore::Source::memory() noexcept { return log_.memory(); }

// --- Opening and closing. ---

QueueCore::QueueCore(LogCore& log, const GroupOptions& options, QueueState state, std::shared_ptr<QueueCore> dead)
    : dead_(std::move(dead)),
      dead_rules_(options.dead),
      window_(options.read_ahead),
      share_(std::min(options.principal_read_ahead, options.read_ahead / 2)),
      cache_bytes_(options.read_ahead_bytes),
      log_(&log),
      source_(log),
      waits_(log.queue_waits()),
      table_(rules_of(options)),
      state_(std::move(state)),
      reads_dead_(asks_for_dead_letters(state_.spec.patterns)),
      read_before_(state_.next),
      may_have_been_out_(state_.in_use ? log.segments().committed() : 0) {
  if (!has_dead_letters()) return;
  for (const auto& [offset, progress] : state_.open) letters_.insert(letters_.end(), offset);
}

std::int64_t QueueCore::now_ns() const noexcept { return in_ns(log_->clock().steady()); }
std::int64_t QueueCore::wall_ns() const noexcept { return in_ns(log_->clock().wall()); }

void QueueCore::close() noexcept {
  const std::lock_guard lock(mutex_);
  if (log_ == nullptr) return;
  if (use_item_ != 0) {
    // What is out on lease counts as tried, as nobody can say what becomes of it.
    table_.for_each([&](const Owed& owed) {
      if (owed.attempts == 0) return;
      (void)log_->post_items([&](GroupItems& items) { items.tried(state_.spec.id, owed.offset, progress_of(owed)); });
    });
    // Of what was out when an earlier process ended, some may not have been given again yet.
    if (floor_locked() >= may_have_been_out_) {
      (void)log_->post_items([&](GroupItems& items) { items.used(state_.spec.id, false); });
      state_.in_use = false;
    }
  }
  log_ = nullptr;
  changes_.fetch_add(1, std::memory_order_seq_cst);
  reader_.reset();
  again_.reset();
  late_.reset();
  views_.clear();
}

// --- Members. ---

std::uint16_t QueueCore::join(const MemberOptions& options) {
  const std::lock_guard lock(mutex_);
  const std::uint16_t member = table_.join({.messages = options.in_flight_messages, .bytes = options.in_flight_bytes});
  if (log_ != nullptr) (void)note_use();  // so that it is durable, as a rule, when it has to be
  return member;
}

void QueueCore::leave(std::uint16_t member) noexcept {
  const std::lock_guard lock(mutex_);
  table_.leave(member);
  if (log_ != nullptr) made_ready();  // what it still waits for comes to nothing
}

result<LeaseBatch> QueueCore::receive(std::uint16_t member, std::size_t most, const Deadline* deadline) noexcept {
  for (;;) {
    Batch batch;
    LeaseBatch received;
    Waited waited;
    try {
      error_code error;
      {
        const std::lock_guard lock(mutex_);
        error = lease(member, most, batch, waited);
      }
      // A further attempt is known to be one before anybody makes it.
      if (!error && batch.items) error = waited.log->wait_items(*batch.items);
      if (error) {
        give_back(batch);
        return error;
      }
      received = hand_out(batch);
    } catch (const std::bad_alloc&) {
      give_back(batch);
      return make_error_code(errc::out_of_memory);
    }
    if (!received.leases.empty() || received.missed != 0) return received;
    if (waited.more) mutex_.let_others();
    if (!waited.more && deadline != nullptr && waited.log->clock().steady() >= *deadline) return received;
    std::optional<Deadline> until = waited.until;
    if (deadline != nullptr) until = until ? std::min(*until, *deadline) : *deadline;
    waited.log->wait_as_reader(until ? &*until : nullptr, [&] {
      return changes_.load(std::memory_order_seq_cst) != waited.changes ||
             waited.log->segments().committed() > waited.next;
    });
  }
}

/// Leases what there is; `Batch::items` are to be durable before anybody gets it. What is in the batch when it fails is
/// on lease all the same. Errors: as `receive`.
error_code QueueCore::lease(std::uint16_t member, std::size_t most, Batch& batch, Waited& waited) noexcept try {
  waited = {};
  waited.log = log_;
  if (log_ == nullptr) return errc::closed;
  if (log_->read_only()) return errc::log_read_only;
  waited.changes = changes_.load(std::memory_order_seq_cst);
  waited.now = log_->clock().steady();
  const std::int64_t now = in_ns(waited.now);
  take_back_late(now);
  // What is passed over makes room for more.
  for (std::uint64_t finished = 0; batch.taken.empty();) {
    bool more = false;
    const error_code unread = read_ahead(now, most, more);
    if (const error_code error = take(member, most, now, batch)) return error;
    bury_rest();
    if (unread && batch.taken.empty() && !batch.no_credit) return unread;  // else there is no hurry
    const std::uint64_t before = std::exchange(finished, stats_.expired + stats_.missed);
    waited.more = more && batch.taken.empty() && !batch.no_credit;
    if (batch.no_credit || more || finished == before) break;
  }
  batch.missed = std::exchange(missed_untold_, 0);
  // With no room for more, or no credit, what is committed is no news.
  if (batch.taken.empty() && !batch.no_credit && may_read_ahead()) waited.next = reader_->offset();
  if (waited.more) waited.next = 0;
  auto time = table_.next_time();
  if (!unburied_.empty()) time = std::min(time.value_or(plus(now, bury_again_ns)), plus(now, bury_again_ns));
  if (time) waited.until = Deadline(std::chrono::nanoseconds(*time));
  return {};
} catch (const std::bad_alloc&) {
  dead_unlisted_ = true;
  return errc::out_of_memory;
}

/// What is in the batch, now that its items are durable. Errors: throws std::bad_alloc; it is still in the batch then.
LeaseBatch QueueCore::hand_out(Batch& batch) {
  LeaseBatch received;
  received.missed = batch.missed;
  received.leases.reserve(batch.taken.size());
  if (batch.items) {
    const std::lock_guard lock(mutex_);
    use_noted_ = true;
  }
  const auto self = shared_from_this();
  for (std::size_t i = 0; i < batch.taken.size(); ++i) {
    const LeaseTable::Taken& taken = batch.taken[i];
    received.leases.push_back(Lease(self, std::move(batch.records[i]), taken.lease.token, taken.attempt,
                                    Deadline(std::chrono::nanoseconds(taken.deadline_ns))));
  }
  batch = {};
  return received;
}

/// Leases that have run out, and delays.
void QueueCore::take_back_late(std::int64_t now) {
  while (const auto late = table_.next_ran_out(now)) {
    ++stats_.ran_out;
    (void)note_error(late->offset, late->attempts, "the lease ran out");
    if (late->dead) {
      unburied_[late->offset] = "out of attempts";
    } else {
      (void)note_delay(late->offset, late->due_ns, now);
    }
  }
}

// --- Leasing. ---

error_code QueueCore::take(std::uint16_t member, std::size_t most, std::int64_t now, Batch& batch) {
  LeaseTable::Taken taken;
  while (batch.taken.size() < most) {
    const LeaseTable::Take took = table_.take(member, now, taken);
    batch.no_credit = took == LeaseTable::Take::no_credit;
    if (took == LeaseTable::Take::nothing || batch.no_credit) break;
    if (const error_code error = take_one(took, taken, batch)) return error;
    if (took == LeaseTable::Take::dead) continue;
    // What follows it with its key goes with it; looked for from the last of them on.
    LeaseName last = taken.lease;
    while (took == LeaseTable::Take::leased && batch.taken.size() < most) {
      const LeaseTable::Take more = table_.take_same_key(last, now, taken);
      if (more == LeaseTable::Take::nothing || more == LeaseTable::Take::no_credit) break;
      const std::size_t before = batch.taken.size();
      if (const error_code error = take_one(more, taken, batch)) return error;
      if (batch.taken.size() != before) last = taken.lease;
    }
  }
  return note_attempts(batch);
}

error_code QueueCore::take_one(LeaseTable::Take took, const LeaseTable::Taken& taken, Batch& batch) {
  const std::uint64_t offset = taken.lease.offset;
  if (took == LeaseTable::Take::expired) {
    ++stats_.expired;
    (void)note_done(offset, offset + 1);
    forget(offset);
    return {};
  }
  if (took == LeaseTable::Take::dead) {
    unburied_[offset] = "out of attempts";
    return {};
  }
  auto record = [&] {
    try {
      make_room(batch.taken, 1);
      make_room(batch.records, 1);
      return read(offset);
    } catch (const std::bad_alloc&) {
      return result<std::optional<RecordView>>(make_error_code(errc::out_of_memory));
    }
  }();
  if (!record) {
    (void)table_.release(taken.lease, now_ns());
    return record.error();
  }
  if (!*record) {
    miss(offset);
    return {};
  }
  batch.taken.push_back(taken);
  batch.records.push_back(std::move(**record));
  ++stats_.delivered;
  if (taken.attempt > 1) ++stats_.redelivered;
  return {};
}

/// Says in the log, once, that there will be leases.
error_code QueueCore::note_use() noexcept {
  if (use_noted_ || use_item_ != 0) return {};
  const auto number = log_->post_items([&](GroupItems& items) { items.used(state_.spec.id, true); });
  if (!number) return number.error();
  use_item_ = *number;
  state_.in_use = true;
  return {};
}

/// Says in the log which of them are not the first attempt, or may not be. What is on its way already, as there was no
/// room for it on the disk, is not said again.
error_code QueueCore::note_attempts(Batch& batch) {
  const auto note = [&](std::uint64_t& item, auto&& add) {
    if (item == 0) {
      const auto number = log_->post_items(add);
      if (!number) return number.error();
      item = *number;
    }
    batch.items = std::max(batch.items.value_or(0), item);
    return error_code();
  };
  if (!batch.taken.empty() && !use_noted_) {
    if (const error_code error = note_use()) return error;
    batch.items = use_item_;
  }
  for (const LeaseTable::Taken& taken : batch.taken) {
    if (taken.attempt == 1 && taken.lease.offset >= may_have_been_out_) continue;
    auto& [progress, item] = tried_[taken.lease.offset];
    if (progress.attempts != taken.attempt || progress.due_ns != 0) item = 0;
    progress.attempts = taken.attempt;
    progress.due_ns = progress.delay_ns = 0;
    const error_code error =
        note(item, [&](GroupItems& items) { items.tried(state_.spec.id, taken.lease.offset, progress); });
    if (error) return error;
  }
  return {};
}

void QueueCore::give_back(Batch& batch) noexcept {
  const std::lock_guard lock(mutex_);
  missed_untold_ += batch.missed;
  if (log_ == nullptr) return;
  for (const LeaseTable::Taken& taken : batch.taken) (void)table_.release(taken.lease, now_ns());
  made_ready();
}

// --- Outcomes. ---

/// Damage or retention has it: nobody will ever see it.
void QueueCore::miss(std::uint64_t offset) noexcept {
  ++stats_.missed;
  ++missed_untold_;
  (void)table_.finish(offset);
  (void)note_done(offset, offset + 1);
  forget(offset);
}

/// Says in the log that those in `[begin, end)` are finished. If that fails, and is not tried again, they are owed
/// again when the log is opened again. Errors: as `LogCore::post_items`.
error_code QueueCore::note_done(std::uint64_t begin, std::uint64_t end) noexcept {
  const auto number = log_->post_items([&](GroupItems& items) { items.done(state_.spec.id, begin, end); });
  return number ? error_code() : number.error();
}

/// The message is finished: nothing of it is kept.
void QueueCore::forget(std::uint64_t offset) noexcept {
  last_finished_ = std::max(last_finished_, offset);
  drop_kept(offset);
}

void QueueCore::drop_kept(std::uint64_t offset) noexcept {
  if (!tried_.empty()) tried_.erase(offset);
  if (!letters_.empty()) letters_.erase(offset);
  if (views_.empty()) return;
  const auto kept = views_.find(offset);
  if (kept == views_.end()) return;
  view_bytes_ -= kept->second.payload().size();
  views_.erase(kept);
}

/// Whoever waits looks again.
void QueueCore::made_ready() noexcept {
  changes_.fetch_add(1, std::memory_order_seq_cst);
  log_->wake_readers();
}

Progress& QueueCore::note_error(std::uint64_t offset, std::uint8_t attempts, std::string_view error) {
  auto& [progress, item] = tried_[offset];
  item = 0;
  progress.attempts = attempts;
  progress.last_error = cut(error);
  if (progress.first_error.empty()) progress.first_error = progress.last_error;
  return progress;
}

/// The message waits until `due_ns`, by the wall too.
LeaseOutcome QueueCore::note_delay(std::uint64_t offset, std::int64_t due_ns, std::int64_t now) noexcept {
  auto& [progress, item] = tried_.find(offset)->second;
  progress.delay_ns = std::max<std::int64_t>(due_ns - now, 0);
  progress.due_ns = progress.delay_ns == 0 ? 0 : plus(wall_ns(), progress.delay_ns);
  const auto number = log_->post_items([&](GroupItems& items) { items.tried(state_.spec.id, offset, progress); });
  item = number ? *number : 0;
  return number ? LeaseOutcome::done : LeaseOutcome::unlogged;
}

LeaseOutcome QueueCore::ack(const LeaseName& lease) noexcept {
  const std::lock_guard lock(mutex_);
  if (log_ == nullptr || log_->read_only()) return LeaseOutcome::unlogged;
  const std::int64_t now = now_ns();
  if (!table_.is_held(lease, now)) {
    ++stats_.stale;
    return LeaseOutcome::stale;
  }
  if (note_done(lease.offset, lease.offset + 1)) return LeaseOutcome::unlogged;
  (void)table_.ack(lease, now);
  ++stats_.acked;
  forget(lease.offset);
  made_ready();  // the next one with its key, or one for which there was no room
  return LeaseOutcome::done;
}

std::size_t QueueCore::ack_all(std::span<Lease> leases) noexcept {
  const std::lock_guard lock(mutex_);
  if (log_ == nullptr || log_->read_only()) return 0;
  const std::int64_t now = now_ns();
  std::size_t done = 0;
  while (!leases.empty()) {
    const auto part = leases.first(std::min(acked_together, leases.size()));
    leases = leases.subspan(part.size());
    std::array<LeaseName, acked_together> names;
    std::size_t held = 0;
    for (Lease& lease : part) {
      const LeaseName name{lease.offset(), lease.token_};
      if (table_.is_held(name, now)) {
        names[held++] = name;
      } else {
        ++stats_.stale;
        lease.queue_.reset();
      }
    }
    if (ack_held(std::span(names).first(held), now)) break;
    for (Lease& lease : part) lease.queue_.reset();
    done += held;
  }
  made_ready();
  return done;
}

/// Acks them all, or none: no more than `acked_together`. Errors: as `LogCore::post_items`.
error_code QueueCore::ack_held(std::span<const LeaseName> leases, std::int64_t now) noexcept {
  const auto number = log_->post_items([&](GroupItems& items) {
    for (const LeaseName& lease : leases) items.done(state_.spec.id, lease.offset, lease.offset + 1);
  });
  if (!number) return number.error();
  for (const LeaseName& lease : leases) {
    (void)table_.ack(lease, now);
    forget(lease.offset);
  }
  stats_.acked += leases.size();
  return {};
}

LeaseOutcome QueueCore::release(const LeaseName& lease) noexcept {
  const std::lock_guard lock(mutex_);
  if (log_ == nullptr) return LeaseOutcome::unlogged;
  if (table_.release(lease, now_ns()) == LeaseTable::Settled::stale) {
    ++stats_.stale;
    return LeaseOutcome::stale;
  }
  ++stats_.released;
  made_ready();
  return LeaseOutcome::done;
}

LeaseOutcome QueueCore::nack(const LeaseName& lease, const RecordView& record, std::uint8_t attempts,
                             std::optional<std::chrono::nanoseconds> delay, std::string_view error) noexcept {
  const std::lock_guard lock(mutex_);
  if (log_ == nullptr) return LeaseOutcome::unlogged;
  const std::int64_t now = now_ns();
  std::optional<std::int64_t> delay_ns;
  if (delay) delay_ns = std::max<std::int64_t>(delay->count(), 0);
  const auto settled = table_.nack(lease, now, delay_ns);
  if (settled == LeaseTable::Settled::stale) {
    ++stats_.stale;
    return LeaseOutcome::stale;
  }
  ++stats_.nacked;
  const bool dead = settled == LeaseTable::Settled::dead;
  LeaseOutcome outcome = dead ? LeaseOutcome::dead : LeaseOutcome::done;
  try {
    const Progress& progress = note_error(lease.offset, attempts, error.empty() ? "nack" : error);
    if (!dead) {
      outcome = note_delay(lease.offset, table_.due(lease.offset).value_or(now), now);
    } else if (!bury(record, progress, "out of attempts")) {
      unburied_[lease.offset] = "out of attempts";
    }
  } catch (const std::bad_alloc&) {
    dead_unlisted_ = true;
    if (!dead) outcome = LeaseOutcome::unlogged;  // the log knows neither the error nor the delay
  }
  made_ready();
  return outcome;
}

LeaseOutcome QueueCore::reject(const LeaseName& lease, const RecordView& record, std::uint8_t attempts,
                               std::string_view reason) noexcept {
  const std::lock_guard lock(mutex_);
  if (log_ == nullptr || log_->read_only()) return LeaseOutcome::unlogged;
  if (table_.reject(lease, now_ns()) == LeaseTable::Settled::stale) {
    ++stats_.stale;
    return LeaseOutcome::stale;
  }
  ++stats_.rejected;
  try {
    if (!bury(record, note_error(lease.offset, attempts, reason), reason)) unburied_[lease.offset] = cut(reason);
  } catch (const std::bad_alloc&) {
    dead_unlisted_ = true;
  }
  made_ready();
  return LeaseOutcome::dead;
}

std::optional<QueueCore::Deadline> QueueCore::extend(const LeaseName& lease, std::chrono::nanoseconds by) noexcept {
  const std::lock_guard lock(mutex_);
  if (log_ == nullptr) return std::nullopt;
  const auto until = table_.extend(lease, now_ns(), std::max<std::int64_t>(by.count(), 0));
  if (until) return Deadline(std::chrono::nanoseconds(*until));
  ++stats_.stale;
  return std::nullopt;
}

result<std::size_t> QueueCore::ack_through(std::uint16_t member, std::uint64_t offset) noexcept try {
  const std::lock_guard lock(mutex_);
  if (log_ == nullptr) return make_error_code(errc::closed);
  if (log_->read_only()) return make_error_code(errc::log_read_only);
  const std::int64_t now = now_ns();
  const std::vector<LeaseName> held = table_.held_through(member, offset, now);
  error_code error;
  for (std::span rest = held; !rest.empty() && !error;) {
    const auto part = rest.first(std::min(acked_together, rest.size()));
    rest = rest.subspan(part.size());
    error = ack_held(part, now);
  }
  made_ready();
  if (error) return error;
  return held.size();
} catch (const std::bad_alloc&) {
  return make_error_code(errc::out_of_memory);
}

error_code QueueCore::finish_before(std::uint64_t end) noexcept {
  const std::lock_guard lock(mutex_);
  if (log_ == nullptr) return errc::closed;
  if (log_->read_only()) return errc::log_read_only;
  end = std::min(end, log_->segments().committed());
  const std::uint64_t begin = floor_locked();
  if (begin >= end) return {};
  if (const error_code error = note_done(begin, end)) return error;
  come_to(state_, end);  // reading passes over what is in front
  state_.open.erase(state_.open.begin(), state_.open.lower_bound(end));
  (void)put_off_.remove_below(end);
  unburied_.erase(unburied_.begin(), unburied_.lower_bound(end));
  while (table_.floor().value_or(end) < end) {
    const std::uint64_t offset = *table_.floor();
    (void)table_.finish(offset);
    drop_kept(offset);
  }
  last_finished_ = std::max(last_finished_, end - 1);
  made_ready();
  return {};
}

// --- Where it stands. ---

QueueState QueueCore::state() const {
  const std::lock_guard lock(mutex_);
  QueueState state = state_;  // also of one that is closed: the last commits may begin a segment
  table_.for_each([&](const Owed& owed) { state.open[owed.offset] = progress_of(owed); });
  if (has_dead_letters()) {
    // All of them are told, read or not: nobody reads for them what is in front of a snapshot.
    for (const std::uint64_t letter : letters_) state.open.try_emplace(letter);
    if (!letters_.empty()) come_to(state, *letters_.rbegin() + 1);
  } else if (!put_off_.empty()) {
    go_back(state, put_off_.runs());
  } else if (state_.open.empty()) {
    // What has only been read ahead is as if it had not been: there may be very much of it.
    std::uint64_t next = std::max(read_before_, last_finished_ + 1);
    for (auto one = state.open.rbegin(); one != state.open.rend() && one->first >= next; ++one) {
      if (one->second != Progress()) next = one->first + 1;
    }
    if (next < state.next) {
      state.open.erase(state.open.lower_bound(next), state.open.end());
      state.next = next;
    }
  }
  return state;
}

Progress QueueCore::progress_of(const Owed& owed) const {
  Progress progress;
  if (const auto tried = tried_.find(owed.offset); tried != tried_.end()) {
    progress = tried->second.progress;
    // What an item has said already counts, though the lease came back uncounted since: it is not said again.
    if (tried->second.item != 0) return progress;
  }
  progress.attempts = owed.attempts;
  return progress;
}

std::uint64_t QueueCore::floor() const noexcept {
  const std::lock_guard lock(mutex_);
  return floor_locked();
}

std::uint64_t QueueCore::floor_locked() const noexcept {
  if (has_dead_letters() && log_ != nullptr) {
    const auto letter = letters_.lower_bound(log_->segments().first_offset());
    return letter == letters_.end() ? log_->segments().committed() : *letter;
  }
  std::uint64_t floor = first_not_done(state_);
  if (!state_.open.empty()) floor = std::min(floor, state_.open.begin()->first);
  if (!put_off_.empty()) floor = std::min(floor, put_off_.runs().begin()->first);
  return std::min(floor, table_.floor().value_or(floor));
}

void QueueCore::add_to(GroupStats& stats) const noexcept {
  const std::uint64_t floor = this->floor();
  const std::lock_guard lock(mutex_);
  stats.floor = std::min(stats.floor, floor);
  stats.next = std::max(stats.next, state_.next);
  stats.ready += table_.ready();
  stats.leased += table_.leased();
  stats.delayed += table_.delayed();
  stats.put_off += put_off_.size();
  stats.dead += table_.dead();
  stats.delivered += stats_.delivered;
  stats.redelivered += stats_.redelivered;
  stats.acked += stats_.acked;
  stats.released += stats_.released;
  stats.nacked += stats_.nacked;
  stats.rejected += stats_.rejected;
  stats.ran_out += stats_.ran_out;
  stats.stale += stats_.stale;
  stats.expired += stats_.expired;
  stats.missed += stats_.missed;
}

}  // namespace bus::detail
