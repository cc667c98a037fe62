// SPDX-License-Identifier: MIT OR Apache-2.0
#include "routing/route.hpp"

#include "routing/router_core.hpp"

#include <boost/container_hash/hash.hpp>

#include <algorithm>
#include <cassert>
#include <limits>
#include <new>
#include <thread>
#include <utility>

namespace bus::detail {
namespace {

using Deadline = std::chrono::steady_clock::time_point;

constexpr std::size_t any_charge = std::numeric_limits<std::size_t>::max();

/// Entries kept for the next messages.
constexpr std::size_t most_spare = 64;

/// Spinning before sleep; a publish that is under way is over within a fraction of that, if its thread runs.
constexpr int pauses_per_round = 32;
constexpr int spin_rounds = 16;

bool passed(const Deadline* deadline) noexcept {
  return deadline != nullptr && std::chrono::steady_clock::now() >= *deadline;
}

FairQueue::Config queue_config(const RouteOptions& options) {
  return {.budget_bytes = options.budget_bytes,
          .quantum_bytes = options.quantum_bytes,
          .principal_messages = options.principal_messages,
          .credits = options.credits,
          .weights = options.weights,
          .overflow = options.overflow};
}

}  // namespace

Route::Route(std::shared_ptr<RouterCore> router, RouteId id, RouteOptions options)
    : router_(std::move(router)),
      bus_(router_->bus),
      id_(id),
      options_(std::move(options)),
      record_(router_->readers.acquire()),
      unconditional_(options_.gate == nullptr && options_.rate_limiter == nullptr && options_.scope.is_all()),
      overflow_(options_.overflow),
      ticks_(options_.ticks),
      queue_(queue_config(options_)) {
  recycle(first_entry_);
}

Route::~Route() {
  spare_.clear_and_dispose([this](Entry* entry) {
    if (entry != &first_entry_) delete entry;
  });
}

void Route::release_reader() noexcept {
  if (readers_.fetch_sub(1, sync::acq_rel) != 1) return;  // sync ROUTE-DROP
  const std::shared_ptr<RouterCore> router = std::move(router_);
  router->held.disarm(record_);
  router->readers.release(record_);
  release();
}

void Route::Wakes::wake() noexcept {
  if (reader != nullptr) reader->wake();
  while (!granted.empty()) {
    RoomWait& wait = granted.front();
    granted.pop_front();
    wait.granted();
  }
}

// --- For publishers. ---

bool Route::would_admit(const Principal& principal) const noexcept {
  return (options_.gate == nullptr || options_.gate->open()) && options_.scope.admits(principal.view());
}

Route::Answer Route::offer(const Offer& offer, RoomWait* room, Loss* reason) noexcept {
  const auto give_up = [&](Answer answer) {
    bus_->release_event_to(*offer.publisher, *offer.event);
    return answer;
  };
  bool limited = false;
  if (!unconditional_) {
    if (!options_.scope.admits(offer.message->principal.view())) return give_up(Answer::not_for_it);
    if (options_.gate != nullptr && !options_.gate->open()) {
      gated_.fetch_add(1, sync::relaxed);
      return give_up(Answer::gated);
    }
  }
  if (!unconditional_ && options_.rate_limiter != nullptr) {
    try {
      limited = !options_.rate_limiter->admit(options_.owner, offer.message->principal.view(), offer.charge);
    } catch (const std::bad_alloc&) {
      limited = true;
    }
  }

  std::chrono::steady_clock::time_point now;
  if (ticks_ || overflow_ == Overflow::detach) now = bus_->options.clock->steady();
  FairQueue::Dropped dropped;
  Wakes wakes;
  Answer answer = Answer::refused;
  {
    const std::lock_guard lock(mutex_);
    const bool reserved = room != nullptr && take_room(*room);
    if (reserved) queue_.unreserve(offer.charge);
    if (closed_) {
      answer = Answer::not_for_it;
    } else if (++offered_; limited) {
      *reason = Loss::rate_limited;
      queue_.count_refused(offer.principal, *reason);
    } else if (Entry* const entry = new_entry(offer, now); entry == nullptr) {
      *reason = Loss::out_of_memory;
      queue_.count_refused(offer.principal, *reason);
    } else if (!reserved && !waits_.empty() && offer.charge <= queue_.budget()) {
      recycle(*entry);  // who waits was first
      *reason = Loss::over_budget;
      queue_.count_refused(offer.principal, *reason);
    } else {
      const FairQueue::Pushed pushed = queue_.push(*entry, offer.principal, dropped);
      if (pushed.refused) {
        recycle(*entry);
        *reason = *pushed.refused;
      } else {
        answer = Answer::taken;
        claim_reader(wakes);
      }
      if (over_for_too_long(pushed, now)) {
        detached_.store(true, sync::relaxed);
        closed_ = true;
        claim_reader(wakes);
      }
      assert(queue_.bytes() <= queue_.budget());
    }
    if (reserved && answer != Answer::taken) grant_room(wakes);
    told_available();
  }
  wakes.wake();
  end_dropped(dropped, offer.publisher);
  if (answer != Answer::taken) return give_up(answer);
  return answer;
}

/// For `Overflow::detach`: whether there has been no room for longer than allowed.
bool Route::over_for_too_long(const FairQueue::Pushed& pushed, std::chrono::steady_clock::time_point now) noexcept {
  if (overflow_ != Overflow::detach) return false;
  if (!pushed.made_room) {
    // What fits where something larger has gone is no sign of a reader.
    if (!pushed.refused && reader_took_) no_room_since_.reset();
    return false;
  }
  if (!no_room_since_) {
    no_room_since_ = now;
    reader_took_ = false;
  }
  return now - *no_room_since_ >= options_.detach_after;
}

Entry* Route::new_entry(const Offer& offer, std::chrono::steady_clock::time_point now) noexcept {
  Entry* entry = nullptr;
  if (spare_.empty()) {
    entry = new (std::nothrow) Entry;
    if (entry == nullptr) return nullptr;
  } else {
    entry = &spare_.front();
    spare_.pop_front();
    --spare_count_;
  }
  entry->event = offer.event;
  entry->sequence = offer.event->sequence();
  entry->charge = offer.charge;
  entry->protects = offer.event->terminal();
  if (ticks_) entry->tick = now.time_since_epoch().count();
  if (overflow_ == Overflow::coalesce) {
    try {
      if (entry->key == nullptr) entry->key = std::make_unique<std::string>();
      *entry->key = offer.key;
      entry->key_hash = offer.principal.hash;
      boost::hash_combine(entry->key_hash, offer.message->topic.view());
      boost::hash_combine(entry->key_hash, offer.key);
    } catch (const std::bad_alloc&) {
      recycle(*entry);
      return nullptr;
    }
  }
  return entry;
}

void Route::recycle(Entry& entry) noexcept {
  if (spare_count_ == most_spare && &entry != &first_entry_) {
    delete &entry;
    return;
  }
  spare_.push_front(entry);
  ++spare_count_;
}

/// Ends messages that had to go, which may run foreign code. Their nodes go to the publisher whose thread this is, if
/// any.
void Route::end_dropped(FairQueue::Dropped& dropped, PublisherRecord* publisher) noexcept {
  if (dropped.empty()) return;
  for (const Entry& entry : dropped) {
    if (publisher != nullptr) {
      bus_->release_event_to(*publisher, *entry.event);
    } else {
      bus_->release_event(*entry.event);
    }
  }
  const std::lock_guard lock(mutex_);
  while (!dropped.empty()) {
    Entry& entry = dropped.front();
    dropped.pop_front();
    recycle(entry);
  }
}

void Route::claim_reader(Wakes& wakes) noexcept {
  if (std::exchange(sleeping_, false)) wakes.reader = &record_;
}

bool Route::reserve(std::size_t charge, RoomWait& wait) noexcept {
  const std::lock_guard lock(mutex_);
  if (closed_ || charge > queue_.budget()) return false;
  wait.charge_ = charge;
  wait.has_room_ = waits_.empty() && queue_.reserve(charge);
  if (wait.has_room_) return false;
  wait.queued_ = true;
  waits_.push_back(wait);
  ++waiting_;
  return true;
}

void Route::unreserve(RoomWait& wait) noexcept {
  if (!take_room(wait)) return;
  Wakes wakes;
  {
    const std::lock_guard lock(mutex_);
    queue_.unreserve(wait.charge_);
    grant_room(wakes);
  }
  wakes.wake();
}

bool Route::withdraw(RoomWait& wait) noexcept {
  Wakes wakes;
  {
    const std::lock_guard lock(mutex_);
    if (!std::exchange(wait.queued_, false)) return false;
    waits_.erase(waits_.iterator_to(wait));
    --waiting_;
    grant_room(wakes);  // a smaller one may stand behind
  }
  wakes.wake();
  return true;
}

/// Sets room aside for those who wait, in their order.
void Route::grant_room(Wakes& wakes) noexcept {
  while (!waits_.empty() && queue_.reserve(waits_.front().charge_)) {
    RoomWait& wait = waits_.front();
    waits_.pop_front();
    --waiting_;
    wait.queued_ = false;
    wait.has_room_ = true;
    wakes.granted.push_back(wait);
  }
}

void Route::refuse_waits(Wakes& wakes) noexcept {
  for (RoomWait& wait : waits_) wait.queued_ = false;
  wakes.granted.splice(wakes.granted.end(), waits_);
  waiting_ = 0;
}

// --- For the reader. ---

bool Route::must_wait(const Backlog& backlog, const Entry& first) noexcept {
  return first.sequence > settled_ && router_->under_way(backlog.hash, first.sequence, settled_);
}

FairQueue::Served Route::pop(std::size_t quantum, std::size_t limit, RouteReceived& got) noexcept {
  Entry* entry = nullptr;
  const auto held = [this](const Backlog& backlog, const Entry& first) { return must_wait(backlog, first); };
  const FairQueue::Served served = queue_.pop(quantum, limit, held, &entry);
  if (served != FairQueue::Served::entry) return served;
  bus_->retain();
  got.event_ = EventAccess::adopt(entry->event, bus_.get());
  got.missed_ = queue_.take_untold(*entry);
  got.forgotten_ = queue_.take_forgotten();
  got.charged_ = entry->charge;
  if (options_.ticks) {
    got.queued_ = std::chrono::steady_clock::time_point(std::chrono::steady_clock::duration(entry->tick));
  }
  got.outcome_ = Outcome::event;
  ++delivered_;
  reader_took_ = true;
  recycle(*entry);
  return served;
}

RouteReceived Route::attempt() noexcept {
  RouteReceived got;
  Wakes wakes;
  {
    const std::lock_guard lock(mutex_);
    not_held();
    if (pop(options_.quantum_bytes, any_charge, got) == FairQueue::Served::nothing && closed_) {
      got.outcome_ = Outcome::closed;
    }
    grant_room(wakes);
    told_available();
  }
  wakes.wake();
  return got;
}

RouteBatch Route::attempt_batch(std::size_t max, std::size_t bytes) {
  RouteBatch batch;
  {
    const std::lock_guard lock(mutex_);
    max = std::clamp<std::size_t>(max, 1, std::max<std::size_t>(queue_.messages(), 1));
  }
  if (bytes != any_charge) max = std::min(max, bytes / route_entry_bytes + 1);
  batch.messages_.reserve(max);  // memory is got while nothing can be lost
  Wakes wakes;
  {
    const std::lock_guard lock(mutex_);
    not_held();
    const std::size_t quantum = bytes == any_charge ? options_.quantum_bytes : queue_.quantum_for(bytes);
    while (batch.messages_.size() < max) {
      RouteReceived got;
      if (pop(quantum, batch.messages_.empty() ? any_charge : bytes, got) != FairQueue::Served::entry) break;
      if (bytes != any_charge) bytes -= std::min(bytes, got.charged_);
      batch.messages_.push_back(std::move(got));
    }
    if (!batch.messages_.empty()) {
      batch.outcome_ = Outcome::event;
    } else if (closed_ && queue_.messages() == 0) {
      batch.outcome_ = Outcome::closed;
    }
    grant_room(wakes);
    told_available();
  }
  wakes.wake();
  return batch;
}

/// Returns: whether there is something to take that does not wait for a publish under way.
bool Route::ready() noexcept {
  const std::lock_guard lock(mutex_);
  if (queue_.messages() == 0) return closed_;
  return queue_.any_servable([this](const Backlog& backlog, const Entry& first) { return must_wait(backlog, first); });
}

RouteReceived Route::try_recv() noexcept {
  RouteReceived got = attempt();
  for (int i = 0; got.outcome_ == Outcome::empty && available_.load(sync::acquire) && i < pauses_per_round; ++i) {
    sync::pause();  // held by a publish that is under way: as a rule not for long
    got = attempt();
  }
  return got;
}

/// From now on who brings something wakes the reader. Returns: whether there is something already.
bool Route::going_to_sleep() noexcept {
  {
    const std::lock_guard lock(mutex_);
    sleeping_ = true;
    if (queue_.messages() == 0) return closed_;
    held_ = true;
  }
  // Something is there. If it waits for a publish under way, it is that one's end that wakes the reader.
  router_->held.arm(record_);
  return ready();
}

/// The reader looks for itself.
void Route::not_held() noexcept {
  if (std::exchange(held_, false)) router_->held.disarm(record_);
}

void Route::park(const Deadline* deadline) noexcept {
  if (!going_to_sleep()) {
    if (deadline != nullptr) {
      record_.sleep.wait_until(*deadline);
    } else {
      record_.sleep.wait();
    }
  }
  const std::lock_guard lock(mutex_);
  sleeping_ = false;
  not_held();
}

template <class T, class Attempt>
T Route::wait_for(Attempt attempt_one, const Deadline* deadline, const std::stop_token* stop) {
  for (int rounds = 0;; ++rounds) {
    T got;
    if (available_.load(sync::acquire)) got = attempt_one();
    if (got.outcome_ != Outcome::empty) return got;
    const bool stopped = stop != nullptr && stop->stop_requested();
    if (stopped || passed(deadline)) {
      got = attempt_one();  // a message that is there wins
      if (got.outcome_ == Outcome::empty) got.outcome_ = stopped ? Outcome::stopped : Outcome::timed_out;
      return got;
    }
    for (int i = 0; i < pauses_per_round && !available_.load(sync::relaxed); ++i) sync::pause();
    if (options_.waiting == Waiting::spin || (rounds < spin_rounds && available_.load(sync::relaxed))) continue;
    if (options_.waiting == Waiting::park && rounds >= spin_rounds) {
      park(deadline);
    } else {
      std::this_thread::yield();
    }
  }
}

RouteReceived Route::recv(const Deadline* deadline, const std::stop_token* stop) noexcept {
  return wait_for<RouteReceived>([this] { return try_recv(); }, deadline, stop);
}

RouteBatch Route::recv_batch(std::size_t max) {
  return wait_for<RouteBatch>([this, max] { return attempt_batch(max, any_charge); }, nullptr, nullptr);
}

void Route::arm(AsyncWait& wait) noexcept {
  retain_reader();  // from the moment the wait is given away the operation may end
  // sync WAIT-GIVE, before WAKE-ARM; pairs with WAIT-TAKE. Nothing is there, unless a second receive breaks the rule.
  if (AsyncWait* const displaced = record_.wait.exchange(&wait, sync::seq_cst)) {
    displaced->resume(AsyncWait::Reason::cancelled);
  }
  const bool there = going_to_sleep();
  const bool gone = abandoned_.load(sync::seq_cst);  // sync WAIT-ABANDON: it or `abandon` sees the other
  if (gone || there) {
    if (AsyncWait* const mine = take_wait()) {
      mine->resume(gone ? AsyncWait::Reason::cancelled : AsyncWait::Reason::look_again);
    }
  }
  release_reader();
}

void Route::abandon() noexcept {
  abandoned_.store(true, sync::seq_cst);  // sync WAIT-ABANDON, before WAIT-TAKE
  FairQueue::Dropped dropped;
  Wakes wakes;
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    sleeping_ = false;
    refuse_waits(wakes);
  }
  wakes.wake();
  router_->remove(*this);  // before it is cleared: what is gone without a loss is not to be seen in its figures
  {
    const std::lock_guard lock(mutex_);
    queue_.clear(dropped);
  }
  end_dropped(dropped, nullptr);
  if (AsyncWait* const wait = take_wait()) wait->resume(AsyncWait::Reason::cancelled);
  release_reader();
}

// --- For the router. ---

void Route::close() noexcept {
  Wakes wakes;
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    claim_reader(wakes);
    refuse_waits(wakes);
    told_available();
  }
  wakes.wake();
}

void Route::set_weights(Weights weights) noexcept {
  const std::lock_guard lock(mutex_);
  queue_.swap_weights(weights);
}

RouteStats Route::stats() const {
  RouteStats stats;
  stats.id = id_;
  stats.owner = options_.owner;
  stats.name = options_.name;
  stats.budget_bytes = options_.budget_bytes;
  stats.gated = gated_.load(sync::relaxed);
  stats.detached = detached();
  const std::lock_guard lock(mutex_);
  stats.offered = offered_;
  stats.delivered = delivered_;
  stats.pending = queue_.messages();
  stats.bytes = queue_.bytes();
  stats.bytes_peak = queue_.bytes_peak();
  stats.principals = queue_.principals();
  stats.quantum_starved = queue_.starved();
  stats.waiting_publishers = waiting_;
  stats.forgotten = queue_.forgotten();
  stats.lost = queue_.lost();
  return stats;
}

void Route::add_to(RouteNameStats& sum) const noexcept {
  ++sum.routes;
  sum.detached += detached() ? 1 : 0;
  sum.gated += gated_.load(sync::relaxed);
  sum.budget_bytes += options_.budget_bytes;
  const std::lock_guard lock(mutex_);
  sum.offered += offered_;
  sum.delivered += delivered_;
  sum.quantum_starved += queue_.starved();
  sum.pending += queue_.messages();
  sum.bytes += queue_.bytes();
  sum.principals += queue_.principals();
  sum.waiting_publishers += waiting_;
  for (std::size_t reason = 0; reason < loss_reasons; ++reason) {
    for (std::size_t of = 0; of < sum.lost[reason].size(); ++of) sum.lost[reason][of] += queue_.lost()[reason][of];
  }
}

std::vector<PrincipalBacklog> Route::backlogs() const {
  std::vector<PrincipalBacklog> all;
  const std::lock_guard lock(mutex_);
  queue_.for_each_backlog([&](const Backlog& backlog) {
    all.push_back({std::string(backlog.principal.view()), backlog.messages, backlog.bytes, backlog.untold});
  });
  return all;
}

}  // namespace bus::detail
