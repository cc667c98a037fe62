// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The queue of a group's dead letters. What it owes is told to it as it comes to be, so that it need not read the log
// to know what it holds back; it reads it when somebody receives.
#include "persistence/queue_core.hpp"

#include "persistence/log_core.hpp"
#include "persistence/make_room.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <new>
#include <stdexcept>
#include <string>

namespace bus::detail {

/// Tells a queue that a dead letter is in the log.
class QueueCore::Burial final : public Completion {
 public:
  Burial(std::shared_ptr<QueueCore> queue, std::uint64_t offset, std::string_view reason)
      : queue_(std::move(queue)), offset_(offset), reason_(reason) {
    letter_.insert(0);
  }
  void complete(error_code error, std::uint64_t letter) noexcept override {
    std::unique_ptr<Burial> self(this);
    // It is among the dead letters before it is not among the dead any more, so that it is always somewhere.
    if (!error) {
      queue_->dead_->learn(letter, letter_.extract(letter_.begin()));
    } else {
      queue_->dead_->forget_coming();
    }
    queue_->buried(offset_, error, std::move(reason_));
  }

 private:
  const std::shared_ptr<QueueCore> queue_;
  const std::uint64_t offset_;
  std::string reason_;
  Letters letter_;
};

namespace {

constexpr std::size_t taken_at_once = 64;
constexpr std::string_view own_headers = "busbar-dead-";

/// What a dead letter was, and why it is one.
struct Origin {
  explicit Origin(const RecordView& letter) {
    letter.for_each_header([&](const Header& header) {
      if (header.name == dead_topic_header) topic = header.value;
      if (header.name == dead_reason_header) reason = header.value;
      if (header.name == dead_cut_header) is_whole = is_whole && header.value != "payload";
      if (!header.name.starts_with(own_headers)) headers.push_back(header);
    });
  }
  std::string_view topic;
  std::string_view reason;
  bool is_whole = true;
  std::vector<Header> headers;
};

bool fits(const DeadFilter& filter, std::uint64_t offset, const Origin& origin) noexcept {
  const auto matches = [&](const TopicPattern& pattern) { return topic_matches(pattern.view(), origin.topic); };
  return offset >= filter.first && offset <= filter.last && origin.reason.find(filter.reason) != origin.reason.npos &&
         (filter.topics.empty() || std::ranges::any_of(filter.topics, matches));
}

}  // namespace

// --- Of a queue whose messages die. ---

/// Sends a copy to the dead letters; the same record says that the message is finished. What is one already is gone.
/// Returns: false if that is to be tried again.
bool QueueCore::bury(const RecordView& dead, const Progress& progress, std::string_view reason) noexcept try {
  if (has_dead_letters()) {
    if (note_done(dead.offset(), dead.offset() + 1)) return false;
    (void)table_.finish(dead.offset());
    forget(dead.offset());
    return true;
  }
  const std::string attempts = std::to_string(progress.attempts);
  const std::string offset = std::to_string(dead.offset());
  std::array<Header, 7> own{{{dead_reason_header, cut(reason)},
                             {dead_attempts_header, attempts},
                             {dead_first_error_header, progress.first_error},
                             {dead_last_error_header, progress.last_error},
                             {dead_offset_header, offset},
                             {dead_topic_header, dead.topic()},
                             {dead_cut_header, {}}}};
  std::vector<Header> headers(own.begin(), own.end() - 1);
  dead.for_each_header([&](const Header& header) { headers.push_back(header); });
  Record record = copy_of(dead, Topic::parse(std::string(dead_prefix) + state_.spec.group).value(), headers);
  const Settles settles{.queue = state_.spec.id, .offset = dead.offset()};
  auto burial = std::make_unique<Burial>(shared_from_this(), dead.offset(), cut(reason));
  if (!dead_->expect()) return false;
  const auto send = [&] {
    return log_->hand_over({&record, 1}, Durability::synced, false, nullptr, burial.get(), settles);
  };
  auto ticket = send();
  const auto is_too_long = [&] {
    return !ticket && (ticket.error() == errc::payload_too_large || ticket.error() == errc::name_invalid);
  };
  if (is_too_long()) {  // its headers leave no room for these
    own.back().value = "headers";
    record.headers = own;
    ticket = send();
  }
  if (is_too_long()) {  // nor does its payload
    own.back().value = "payload";
    record.payload = {};
    ticket = send();
  }
  if (!ticket) {
    dead_->forget_coming();
    return false;
  }
  (void)burial.release();
  ++burials_;
  return true;
} catch (const std::bad_alloc&) {
  return false;
}

void QueueCore::buried(std::uint64_t offset, error_code error, std::string reason) noexcept {
  const std::lock_guard lock(mutex_);
  --burials_;
  if (!error) {
    (void)table_.finish(offset);
    tried_.erase(offset);
    last_finished_ = std::max(last_finished_, offset);
  } else if (table_.has(offset)) {
    try {
      unburied_[offset] = std::move(reason);
    } catch (const std::bad_alloc&) {
      dead_unlisted_ = true;
    }
  }
  if (log_ != nullptr) made_ready();
}

/// What could not be sent to the dead letters when it died.
void QueueCore::bury_rest() {
  if (dead_unlisted_ && burials_ == 0) list_dead();
  if (unburied_.empty() || (dead_ != nullptr && !dead_->has_room())) return;
  for (auto one = unburied_.begin(); one != unburied_.end();) {
    const auto record = read(one->first);
    if (!record) return;
    if (*record) {
      if (!bury(**record, tried_[one->first].progress, one->second)) return;
    } else {
      miss(one->first);
    }
    one = unburied_.erase(one);
  }
}

/// Those that are dead, and nobody knew for want of memory.
void QueueCore::list_dead() {
  table_.for_each_dead([&](std::uint64_t offset) { unburied_.try_emplace(offset, "out of attempts, or rejected"); });
  dead_unlisted_ = false;
}

// --- Of a queue of dead letters. ---

void QueueCore::add_letters_to(GroupStats& stats) const noexcept {
  const std::lock_guard lock(mutex_);
  stats.dead_letters += letters_.size();
  stats.dead_letters_missed += stats_.missed;
}

bool QueueCore::has_room_locked() const noexcept {
  return dead_rules_.full != FullDeadLetters::hold || letters_.size() + coming_ < dead_rules_.most;
}

bool QueueCore::has_room() const noexcept {
  const std::lock_guard lock(mutex_);
  return has_room_locked();
}

bool QueueCore::expect() noexcept {
  const std::lock_guard lock(mutex_);
  if (!has_room_locked()) return false;
  ++coming_;
  return true;
}

void QueueCore::forget_coming() noexcept {
  const std::lock_guard lock(mutex_);
  --coming_;
}

void QueueCore::learn(std::uint64_t offset, Letters::node_type letter) noexcept {
  const std::lock_guard lock(mutex_);
  --coming_;
  if (offset >= state_.next) {  // else it was read already, and may be finished
    letter.value() = offset;
    letters_.insert(std::move(letter));
  }
  if (log_ == nullptr) return;  // but the last commits may begin a segment, which says what there is
  drop_letters_locked();
  made_ready();
}

void QueueCore::drop_letters() noexcept {
  const std::lock_guard lock(mutex_);
  if (has_dead_letters() && log_ != nullptr) drop_letters_locked();
}

void QueueCore::drop_letters_locked() noexcept try {
  while (dead_rules_.full == FullDeadLetters::drop_oldest && letters_.size() > dead_rules_.most) {
    if (drop_letter(*letters_.begin())) return;
  }
} catch (const std::bad_alloc&) {
  // With the next one.
}

/// Errors: as `note_done`; throws std::bad_alloc. It is there still then.
error_code QueueCore::drop_letter(std::uint64_t offset) {
  if (const error_code error = note_done(offset, offset + 1)) return error;
  if (offset >= state_.next) state_.done.add(offset, offset + 1);
  ++stats_.missed;
  ++missed_untold_;
  state_.open.erase(offset);
  (void)table_.finish(offset);
  forget(offset);
  return {};
}

/// What an outcome was not taken for.
error_code QueueCore::why_unlogged() const noexcept {
  const std::lock_guard lock(mutex_);
  if (log_ == nullptr) return errc::closed;
  return log_->read_only() ? errc::log_read_only : errc::out_of_memory;
}

result<std::uint64_t> QueueCore::take_dead(const DeadFilter& filter, bool send_back) noexcept try {
  /// One that may have all on lease.
  struct Taker {
    QueueCore& queue;
    const std::uint16_t id = queue.join({.in_flight_messages = std::numeric_limits<std::uint32_t>::max(),
                                         .in_flight_bytes = std::numeric_limits<std::uint64_t>::max()});
    std::vector<LeaseName> others = {};  // that do not fit
    ~Taker() {
      for (const LeaseName& lease : others) (void)queue.release(lease);
      queue.leave(id);
    }
  };
  struct Sent {
    Lease lease;
    std::uint64_t ticket;
  };
  LogCore* log = nullptr;
  {
    const std::lock_guard lock(mutex_);
    log = log_;
  }
  if (log == nullptr) return make_error_code(errc::closed);
  constexpr auto now = Deadline::min();
  Taker taker{*this};
  std::uint64_t count = 0;
  error_code error;
  while (!error) {
    std::vector<Sent> sent;
    sent.reserve(taken_at_once);
    make_room(taker.others, taken_at_once);
    auto batch = receive(taker.id, taken_at_once, &now);
    if (!batch) return batch.error();
    if (batch->missed != 0) {
      const std::lock_guard lock(mutex_);
      missed_untold_ += batch->missed;  // for those who receive
    }
    if (batch->leases.empty()) break;
    for (Lease& lease : batch->leases) try {
        const RecordView& letter = lease.record();
        const Origin origin(letter);
        const auto topic = Topic::parse(origin.topic);
        if (!fits(filter, letter.offset(), origin) || (send_back && (!topic || !origin.is_whole))) {
          taker.others.push_back({letter.offset(), lease.token_});
          lease.queue_.reset();
        } else if (!send_back) {
          const LeaseOutcome outcome = lease.ack();
          if (outcome == LeaseOutcome::done) ++count;
          if (outcome == LeaseOutcome::unlogged) error = why_unlogged();
        } else if (!error) {
          const Record record = copy_of(letter, *topic, origin.headers);
          const auto ticket = log->hand_over({&record, 1}, Durability::synced, true, nullptr, nullptr,
                                             Settles{.queue = state_.spec.id, .offset = letter.offset()});
          if (ticket) {
            sent.push_back({std::move(lease), *ticket});
          } else if (ticket.error() != errc::overloaded || sent.empty()) {
            error = ticket.error();
          }
        }
        if (lease.queue_ != nullptr) (void)lease.release();
      } catch (const std::bad_alloc&) {
        (void)lease.release();
        error = errc::out_of_memory;  // for what was handed over is waited all the same
      }
    for (Sent& one : sent) {
      const auto offset = log->wait(one.ticket, 1, Durability::synced, nullptr);
      if (offset) {
        finish_sent(one.lease.offset());
        one.lease.queue_.reset();
        ++count;
      } else {
        (void)one.lease.release();
        error = offset.error();
      }
    }
  }
  if (!error && !send_back && count != 0) error = log->sync_items();
  if (error) return error;
  return count;
} catch (const std::bad_alloc&) {
  return make_error_code(errc::out_of_memory);
} catch (const std::length_error&) {
  return make_error_code(errc::overloaded);
}

/// Its record, which says so, is in the log.
void QueueCore::finish_sent(std::uint64_t offset) noexcept {
  const std::lock_guard lock(mutex_);
  (void)table_.finish(offset);
  last_finished_ = std::max(last_finished_, offset);
  drop_kept(offset);
}

}  // namespace bus::detail
