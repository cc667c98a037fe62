// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The queue of a group's dead letters. What it owes is told to it as it comes to be, so that it need not read the log
// to know what it holds back; it reads it when somebody receives.
#include "persistence/queue_core.hpp"

#include "persistence/log_core.hpp"

#include <algorithm>
#include <limits>
#include <new>
#include <stdexcept>
#include <string>

namespace bus::detail {
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

std::uint64_t QueueCore::letters() const noexcept {
  const std::lock_guard lock(mutex_);
  return letters_.size();
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
    drop_letter(*letters_.begin());
  }
} catch (const std::bad_alloc&) {
  // With the next one.
}

void QueueCore::drop_letter(std::uint64_t offset) {
  if (offset >= state_.next) state_.done.add(offset, offset + 1);
  ++stats_.missed;
  ++missed_untold_;
  state_.open.erase(offset);
  (void)table_.finish(offset);
  forget(offset);
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
    auto batch = receive(taker.id, taken_at_once, &now);
    if (!batch) return batch.error();
    if (batch->missed != 0) {
      const std::lock_guard lock(mutex_);
      missed_untold_ += batch->missed;  // for those who receive
    }
    if (batch->leases.empty()) break;
    std::vector<Sent> sent;
    sent.reserve(batch->leases.size());
    taker.others.reserve(taker.others.size() + batch->leases.size());
    for (Lease& lease : batch->leases) try {
        const RecordView& letter = lease.record();
        const Origin origin(letter);
        const auto topic = Topic::parse(origin.topic);
        if (!fits(filter, letter.offset(), origin) || (send_back && (!topic || !origin.is_whole))) {
          taker.others.push_back({letter.offset(), lease.token_});
          lease.queue_.reset();
        } else if (!send_back) {
          if (lease.ack() == LeaseOutcome::done) ++count;
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
