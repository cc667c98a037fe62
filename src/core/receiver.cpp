// SPDX-License-Identifier: MIT OR Apache-2.0
#include "core/core.hpp"

#include <algorithm>
#include <thread>
#include <utility>

namespace bus {
namespace detail {
namespace {

using Deadline = std::chrono::steady_clock::time_point;

/// Filters look at so many events before a receive looks at its deadline again.
constexpr int scan_limit = 1024;

/// Spinning before sleep, in rounds of `pauses_per_round` pauses, each followed by an offer of the core to others. The
/// most is about what a sleep and a wake cost together.
constexpr std::uint32_t pauses_per_round = 32;
constexpr std::uint32_t least_rounds = 1;
constexpr std::uint32_t most_rounds = 32;
constexpr auto worth_spinning = std::chrono::microseconds(60);

/// A stream is in full run while the receiver finds the next event within so many looks; it then stands back for so
/// many pauses, under a microsecond.
constexpr std::uint32_t full_run_looks = 4;
constexpr int run_ahead_pauses = 32;

bool passed(const Deadline* deadline) noexcept {
  return deadline != nullptr && std::chrono::steady_clock::now() >= *deadline;
}

}  // namespace

ReceiverState::ReceiverState(CoreRef core, NameTotals& totals, SubscribeOptions options, std::uint64_t number)
    : core_(std::move(core)),
      record_(core_->receivers.acquire()),
      selective_(options.bodies != Bodies::all() || !options.patterns.empty()),
      waiting_(options.waiting),
      spin_rounds_(most_rounds),
      bodies_(options.bodies),
      patterns_(std::move(options.patterns)),
      totals_(totals),
      name_(std::move(options.name)),
      number_(number) {
  record_.delivered.store(0, sync::relaxed);
  record_.filtered.store(0, sync::relaxed);
  record_.missed.store(0, sync::relaxed);
  EventRing& ring = core_->ring;
  if (options.start == Start::oldest) {
    ring.start_oldest(reader_, record_);
  } else {
    ring.start(reader_, record_, ring.end());
  }
  start_ = reader_.next.position;
}

ReceiverState::~ReceiverState() {
  core_->unsubscribe(*this);
  core_->sleepers.disarm(record_);
  core_->ring.stop(reader_);
  core_->receivers.release(record_);
}

bool ReceiverState::accepts(const Event& event) const noexcept {
  if (!bodies_.contains(event.kind())) return false;
  if (patterns_.empty()) return true;
  const Message* message = event.get_if<Message>();
  return message == nullptr ||
         std::ranges::any_of(patterns_, [&](const TopicPattern& pattern) { return pattern.matches(message->topic); });
}

ReceiverState::Scan ReceiverState::scan(Event** found) noexcept {
  EventRing& ring = core_->ring;
  for (int skipped = 0; skipped < scan_limit; ++skipped) {
    switch (ring.look(reader_, found)) {
      case EventRing::Look::empty: return Scan::empty;
      case EventRing::Look::closed: note_closed(); return Scan::closed;
      case EventRing::Look::event: break;
    }
    if (!selective_ || accepts(**found)) return Scan::event;
    ring.step_over(reader_);
    count_missed();
    count_filtered();
  }
  return Scan::unfinished;
}

void ReceiverState::note_closed() noexcept {
  if (std::exchange(seen_closed_, true)) return;
  core_->note_progress();
}

void ReceiverState::count_missed() noexcept {
  if (reader_.missed == 0) [[likely]]
    return;
  const std::uint64_t missed = std::exchange(reader_.missed, 0);
  untold_ += missed;
  missed_ += missed;
  record_.missed.store(missed_, sync::relaxed);
  core_->warnings.warn(Warning::Kind::lagged, name_, missed);
}

/// A receiver that has caught up with a publisher in full run takes away the line of the next slot just when the
/// publisher wants it, event by event. Standing back for a moment, once, lets the publisher fill many slots
/// undisturbed. A stream in which the receiver usually waits for the next event is left alone: there it would only cost
/// time. Returns: whether it stood back, and should look again.
bool ReceiverState::let_run_ahead() noexcept {
  if (empty_looks_++ != 0 || looks_before_event_ >= full_run_looks) return false;
  for (int i = 0; i < run_ahead_pauses; ++i) sync::pause();
  return true;
}

Received ReceiverState::attempt() noexcept {
  Received received;
  Event* event = nullptr;
  Scan scanned = scan(&event);
  if (scanned == Scan::empty && let_run_ahead()) scanned = scan(&event);
  if (scanned == Scan::event) looks_before_event_ = std::exchange(empty_looks_, 0);
  unfinished_ = scanned == Scan::unfinished;
  received.core_ = core_.get();
  if (scanned == Scan::event) {
    core_->ring.step_over(reader_);
    received.event_ = event;
    received.outcome_ = Outcome::event;
    count_delivered(1);
    sync::at_seam("receive:before-missed");
  } else {
    received.outcome_ = scanned == Scan::closed ? Outcome::closed : Outcome::empty;
  }
  count_missed();
  return received;
}

Batch ReceiverState::attempt_batch(std::size_t max) noexcept {
  const Received first = attempt();
  Batch batch;
  batch.core_ = first.core_;
  batch.outcome_ = first.outcome_;
  if (!first) return batch;
  batch_[0] = first.event_;
  std::size_t size = 1;
  max = std::clamp<std::size_t>(max, 1, Receiver::max_batch);
  EventRing& ring = core_->ring;
  for (Event* event = nullptr; size < max && ring.look_further(reader_, &event);) {
    ring.step_over(reader_);
    if (selective_ && !accepts(*event)) {
      count_filtered();
    } else {
      batch_[size++] = event;
    }
  }
  count_delivered(size - 1);
  batch.events_ = batch_;
  batch.size_ = size;
  return batch;
}

template <class T, class Attempt>
T ReceiverState::try_for(Attempt&& attempt) noexcept {
  T got = attempt();
  if (unfinished_) {
    // What was there when the call began is looked at in full; what a publisher adds meanwhile is for the next call.
    const std::uint64_t horizon = core_->ring.end().position;
    while (unfinished_ && reader_.next.position < horizon) got = attempt();
  }
  got.missed_ = take_untold();
  return got;
}

Received ReceiverState::try_recv() noexcept {
  return try_for<Received>([this] { return attempt(); });
}

Batch ReceiverState::try_recv_batch(std::size_t max) noexcept {
  return try_for<Batch>([this, max] { return attempt_batch(max); });
}

/// Waits a little while for something to come. Returns: whether it came.
bool ReceiverState::spin(const Deadline* deadline) noexcept {
  const EventRing& ring = core_->ring;
  for (std::uint32_t round = 0; round < spin_rounds_; ++round) {
    for (std::uint32_t i = 0; i < pauses_per_round; ++i) {
      if (ring.ready(reader_.next)) return true;
      sync::pause();
    }
    if (passed(deadline)) return false;
    if (round != 0) std::this_thread::yield();
  }
  return false;
}

void ReceiverState::park(const Deadline* deadline) noexcept {
  const auto begin = std::chrono::steady_clock::now();
  auto& sleepers = core_->sleepers;
  sleepers.arm(record_);
  if (!core_->ring.ready(reader_.next)) {
    if (deadline != nullptr) {
      record_.sleep.wait_until(*deadline);
    } else {
      record_.sleep.wait();
    }
  }
  sleepers.disarm(record_);
  // A lull that was over this soon would have been cheaper to spin through.
  const bool short_lull = std::chrono::steady_clock::now() - begin < worth_spinning;
  spin_rounds_ = short_lull ? most_rounds : std::max(least_rounds, spin_rounds_ / 2);
}

template <class T, class Attempt>
T ReceiverState::wait_for(Attempt&& attempt, const Deadline* deadline, const std::stop_token* stop) noexcept {
  for (std::uint32_t rounds = 0;; ++rounds) {
    T got = attempt();
    if (got.outcome_ != Outcome::empty) {
      got.missed_ = take_untold();
      return got;
    }
    const bool stopped = stop != nullptr && stop->stop_requested();
    if (stopped || passed(deadline)) {
      got = try_for<T>(attempt);  // an event that is there wins
      if (got.outcome_ == Outcome::empty) got.outcome_ = stopped ? Outcome::stopped : Outcome::timed_out;
      return got;
    }
    if (unfinished_) continue;
    switch (waiting_) {
      case Waiting::spin: sync::pause(); break;
      case Waiting::yield:
        if (rounds < pauses_per_round) {
          sync::pause();
        } else {
          std::this_thread::yield();
        }
        break;
      case Waiting::park:
        if (!spin(deadline)) park(deadline);
        break;
    }
  }
}

void ReceiverState::arm(AsyncWait& wait) noexcept {
  // From the moment the wait is given away the operation may end and take the receiver with it.
  retain();
  const EventRing::Place next = reader_.next;
  // sync WAIT-GIVE, before WAKE-ARM; pairs with WAIT-TAKE. Nothing is there, unless a second receive breaks the rule.
  if (AsyncWait* const displaced = record_.wait.exchange(&wait, sync::seq_cst)) {
    displaced->resume(AsyncWait::Reason::cancelled);
  }
  core_->sleepers.arm(record_);
  const bool abandoned = abandoned_.load(sync::seq_cst);  // sync WAIT-ABANDON: it or `abandon` sees the other
  if (abandoned || core_->ring.ready(next)) {
    if (AsyncWait* mine = take_wait()) {
      mine->resume(abandoned ? AsyncWait::Reason::cancelled : AsyncWait::Reason::look_again);
    }
  }
  release();
}

void ReceiverState::abandon() noexcept {
  abandoned_.store(true, sync::seq_cst);  // sync WAIT-ABANDON, before WAIT-TAKE
  // Not left to the destructor: an operation that its executor has yet to run keeps this object, but nothing is owed
  // to it any more.
  core_->unsubscribe(*this);
  if (AsyncWait* wait = take_wait()) wait->resume(AsyncWait::Reason::cancelled);
  release();
}

ReceiverCounts ReceiverState::counts() const noexcept {
  // The end first: what is published and received between the two looks would else count as overwritten unread.
  const std::uint64_t published = core_->ring.end().position;
  sync::at_seam("counts:after-end");
  const std::uint64_t missed = record_.missed.load(sync::relaxed);
  const std::uint64_t filtered = record_.filtered.load(sync::relaxed);
  const std::uint64_t delivered = record_.delivered.load(sync::relaxed);
  const std::uint64_t position = start_ + delivered + filtered + missed;
  const std::uint64_t end = std::max(position, published);
  const std::uint64_t capacity = core_->ring.capacity();
  const std::uint64_t behind = end - position;
  const std::uint64_t uncounted = behind > capacity ? behind - capacity : 0;
  return {.published = end - start_,
          .delivered = delivered,
          .filtered = filtered,
          .missed = missed + uncounted,
          .pending = behind - uncounted,
          .surely_missed = missed + (uncounted > Receiver::max_batch ? uncounted - Receiver::max_batch : 0)};
}

ReceiverStats ReceiverState::stats(const ReceiverCounts& counts) const {
  return {name_, counts.published, counts.delivered, counts.filtered, counts.missed, counts.pending};
}

ReceiverState* AsyncAccess::retain(Receiver& receiver) noexcept {
  receiver.state_->retain();
  return receiver.state_;
}
void AsyncAccess::release(ReceiverState* state) noexcept { state->release(); }
template <>
Received AsyncAccess::attempt<Received>(ReceiverState& state, std::size_t) noexcept {
  return state.attempt();
}
template <>
Batch AsyncAccess::attempt<Batch>(ReceiverState& state, std::size_t max) noexcept {
  return state.attempt_batch(max);
}
std::uint64_t AsyncAccess::take_untold(ReceiverState& state) noexcept { return state.take_untold(); }
bool AsyncAccess::ready(const ReceiverState& state) noexcept { return state.ready(); }
bool AsyncAccess::abandoned(const ReceiverState& state) noexcept { return state.abandoned(); }
void AsyncAccess::arm(ReceiverState& state, AsyncWait& wait) noexcept { state.arm(wait); }
bool AsyncAccess::take(ReceiverState& state, AsyncWait& wait) noexcept { return state.take_wait(wait); }

/// Receives with `attempt`, waking up when a stop is asked for.
template <class T, class Try>
static T receive(ReceiverState* state, Try&& attempt, const Deadline* deadline, const std::stop_token* stop) {
  if (stop == nullptr || !stop->stop_possible()) return state->wait_for<T>(attempt, deadline, nullptr);
  const std::stop_callback wake(*stop, [state] { state->record().sleep.post(); });
  return state->wait_for<T>(attempt, deadline, stop);
}

static Received receive_one(ReceiverState* state, const Deadline* deadline, const std::stop_token* stop) {
  if (state == nullptr) return AsyncAccess::closed<Received>();
  return receive<Received>(state, [state] { return state->attempt(); }, deadline, stop);
}

static Batch receive_batch(ReceiverState* state, std::size_t max, const Deadline* deadline,
                           const std::stop_token* stop) {
  if (state == nullptr) return AsyncAccess::closed<Batch>();
  return receive<Batch>(state, [state, max] { return state->attempt_batch(max); }, deadline, stop);
}

}  // namespace detail

Receiver::Receiver(Receiver&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}

Receiver& Receiver::operator=(Receiver&& other) noexcept {
  std::swap(state_, other.state_);
  if (&other != this && other.state_ != nullptr) std::exchange(other.state_, nullptr)->abandon();
  return *this;
}

Receiver::~Receiver() {
  if (state_ != nullptr) state_->abandon();
}

std::string_view Receiver::name() const noexcept { return state_ != nullptr ? state_->name() : std::string_view(); }

ReceiverStats Receiver::stats() const { return state_ != nullptr ? state_->stats(state_->counts()) : ReceiverStats{}; }

std::uint64_t Receiver::pending() const noexcept { return state_ != nullptr ? state_->counts().pending : 0; }

Received Receiver::try_recv() noexcept {
  return state_ != nullptr ? state_->try_recv() : detail::AsyncAccess::closed<Received>();
}

Batch Receiver::try_recv_batch(std::size_t max) noexcept {
  return state_ != nullptr ? state_->try_recv_batch(max) : detail::AsyncAccess::closed<Batch>();
}

Received Receiver::recv() noexcept { return detail::receive_one(state_, nullptr, nullptr); }

Received Receiver::recv(std::stop_token stop) noexcept { return detail::receive_one(state_, nullptr, &stop); }

Received Receiver::recv_until(std::chrono::steady_clock::time_point deadline) noexcept {
  return detail::receive_one(state_, &deadline, nullptr);
}

Received Receiver::recv_until(std::chrono::steady_clock::time_point deadline, std::stop_token stop) noexcept {
  return detail::receive_one(state_, &deadline, &stop);
}

Batch Receiver::recv_batch(std::size_t max) noexcept { return detail::receive_batch(state_, max, nullptr, nullptr); }

Batch Receiver::recv_batch(std::size_t max, std::stop_token stop) noexcept {
  return detail::receive_batch(state_, max, nullptr, &stop);
}

Batch Receiver::recv_batch_until(std::chrono::steady_clock::time_point deadline, std::size_t max) noexcept {
  return detail::receive_batch(state_, max, &deadline, nullptr);
}

Batch Receiver::recv_batch_until(std::chrono::steady_clock::time_point deadline, std::size_t max,
                                 std::stop_token stop) noexcept {
  return detail::receive_batch(state_, max, &deadline, &stop);
}

}  // namespace bus
