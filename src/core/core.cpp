// SPDX-License-Identifier: MIT OR Apache-2.0
#include "core/core.hpp"

#include <bus/limits.hpp>

#include <algorithm>
#include <new>
#include <stdexcept>
#include <utility>

namespace bus {
namespace detail {
namespace {

constexpr std::string_view untagged = "untagged";
constexpr std::string_view other = "other";

BusOptions checked(BusOptions options) {
  if (options.capacity < limits::min_capacity || options.capacity > limits::max_capacity) {
    throw std::invalid_argument("BusOptions::capacity is " + std::to_string(options.capacity) +
                                "; allowed are 2 to 1048576");
  }
  if (options.max_payload_bytes > limits::max_payload_bytes) {
    throw std::invalid_argument("BusOptions::max_payload_bytes is " + std::to_string(options.max_payload_bytes) +
                                "; allowed are 0 to 16777216");
  }
  if (options.clock == nullptr) throw std::invalid_argument("BusOptions::clock is null");
  return options;
}

constexpr errc nothing_wrong{};

errc fault_of_service(std::string_view name) noexcept {
  return name_fault(name, limits::max_name_bytes).empty() ? nothing_wrong : errc::name_invalid;
}

/// What a body breaks.
errc fault(const Message& message, std::size_t max_payload_bytes) noexcept {
  if (message.topic.empty()) return errc::topic_invalid;
  return message.payload.size() > max_payload_bytes ? errc::payload_too_large : nothing_wrong;
}
errc fault(const Health& health, std::size_t) noexcept { return fault_of_service(health.service); }
errc fault(const ServiceCrashed& crashed, std::size_t max_payload_bytes) noexcept {
  return crashed.reason.size() > max_payload_bytes ? errc::payload_too_large : fault_of_service(crashed.service);
}
errc fault(const ConfigUpdated&, std::size_t) noexcept { return nothing_wrong; }
errc fault(const Shutdown&, std::size_t) noexcept { return nothing_wrong; }

}  // namespace

void EventAccess::end_body(Event& event) noexcept {
  switch (event.kind_) {
    case BodyKind::health: reinterpret_cast<Health*>(event.body_)->~Health(); break;
    case BodyKind::service_crashed: reinterpret_cast<ServiceCrashed*>(event.body_)->~ServiceCrashed(); break;
    case BodyKind::message: reinterpret_cast<Message*>(event.body_)->~Message(); break;
    case BodyKind::config_updated:
    case BodyKind::shutdown: break;
  }
  if ((event.present_ & Event::wipe) != 0) wipe_memory(event.body_, sizeof event.body_);
}

void EventAccess::set_attributes(Event& event, const Attributes& attributes) noexcept {
  if (attributes.terminal) event.present_ |= Event::is_terminal;
  if (attributes.correlation) {
    event.correlation_ = *attributes.correlation;
    event.present_ |= Event::has_correlation;
  }
  if (attributes.trace) {
    event.trace_id_ = attributes.trace->trace_id;
    event.span_id_ = attributes.trace->span_id;
    event.trace_flags_ = attributes.trace->flags;
    event.present_ |= Event::has_trace;
  }
}

void Warnings::warn(Warning::Kind kind, std::string_view subject, std::uint64_t count) noexcept {
  if (!tell_) return;
  const auto minute = std::chrono::duration_cast<std::chrono::minutes>(clock_.steady().time_since_epoch()).count();
  if (std::int64_t counted = minute_.load(sync::relaxed); counted != minute) {
    if (minute_.compare_exchange_strong(counted, minute, sync::relaxed, sync::relaxed)) told_.store(0, sync::relaxed);
  }
  if (told_.fetch_add(1, sync::relaxed) >= per_minute_.load(sync::relaxed)) {
    suppressed_.fetch_add(1, sync::relaxed);
    suppressed_total_.fetch_add(1, sync::relaxed);
    return;
  }
  tell_({.kind = kind, .subject = subject, .count = count, .suppressed = suppressed_.exchange(0, sync::relaxed)});
}

Core::Core(BusOptions given)
    : options(checked(std::move(given))),
      warnings(options.on_warning, options.warnings_per_minute, *options.clock),
      ring(options.capacity) {}

Core::~Core() = default;

void Core::wake_sleepers() noexcept {
  sleepers.wake_all([this](ReceiverRecord& record) {
    wakeups_.fetch_add(1, sync::relaxed);
    if (AsyncWait* wait = record.wait.exchange(nullptr, sync::seq_cst)) {  // sync WAIT-TAKE
      wait->resume(AsyncWait::Reason::look_again);
    } else {
      record.sleep.post();
    }
  });
}

errc Core::fault_of(const Message& message) const noexcept { return fault(message, options.max_payload_bytes); }

template <class B, class Finish, class Then>
[[gnu::always_inline]] inline result<Sent> Core::publish(PublisherRecord& publisher, const std::string* source,
                                                         B&& body, const Attributes& attributes, std::uint32_t keep,
                                                         Finish&& finish, Then&& then) {
  if (closed()) return make_error_code(errc::closed);
  if (const errc wrong = fault(body, options.max_payload_bytes); wrong != nothing_wrong) return make_error_code(wrong);
  const bool watched = observers.any();
  if (watched && observers.depth() > limits::max_observer_depth) return make_error_code(errc::observer_too_deep);

  const EventRing::Taken taken = ring.take(publisher, receivers);
  Event* const event = taken.node;
  if (event == nullptr) return refused();
  EventAccess::clear(*event);
  try {
    EventAccess::begin_body(*event, std::forward<B>(body), options.amnesia);
  } catch (const std::bad_alloc&) {
    ring.put_back(publisher, taken);
    return make_error_code(errc::out_of_memory);
  }
  if (source != nullptr) EventAccess::set_source(*event, source);
  if (attributes.correlation || attributes.trace || attributes.terminal) {
    EventAccess::set_attributes(*event, attributes);
  }
  if (options.timestamps != Timestamps::none) {
    EventAccess::set_time(
        *event, options.timestamps == Timestamps::coarse ? options.clock->coarse_wall() : options.clock->wall());
  }
  finish(*event);

  // An event that observers will see is kept for the length of their calls.
  const auto published = ring.publish(publisher, receivers, taken, keep + (watched ? 1 : 0));
  if (!published.ok) {
    EventAccess::clear(*event);
    ring.put_back(publisher, taken);
    return make_error_code(errc::closed);
  }
  then(*event);
  wake_sleepers();
  if (watched) {
    observers.run(*event, warnings);
    ring.release(*event);
  }
  if (ring.growths() != growths_told_.load(sync::relaxed)) [[unlikely]]
    tell_growth();
  return Sent{published.position + 1, receiver_count_.load(sync::relaxed)};
}

result<Sent> Core::publish_routed(PublisherRecord& publisher, const std::string* source, Message&& message,
                                  const Attributes& attributes, const LogPlace* place, std::uint32_t keep,
                                  RouteSink& sink) {
  const auto finish = [place](Event& event) {
    if (place != nullptr) EventAccess::set_place(event, *place);
  };
  return publish(publisher, source, std::move(message), attributes, keep, finish,
                 [&sink](const Event& event) { sink.published(event); });
}

void Core::attach(std::shared_ptr<CloseListener> listener) {
  const std::lock_guard lock(mutex_);
  if (close_listener_ != nullptr) throw std::invalid_argument("the bus has a router already");
  close_listener_ = std::move(listener);
}

void Core::detach_listener() noexcept {
  std::shared_ptr<CloseListener> ended;
  const std::lock_guard lock(mutex_);
  ended.swap(close_listener_);
}

void Core::tell_growth() noexcept {
  const std::uint64_t growths = ring.growths();
  if (growths_told_.exchange(growths, sync::relaxed) != growths) {
    warnings.warn(Warning::Kind::nodes_grew, {}, growths);
  }
}

result<Sent> Core::refused() const noexcept {
  return make_error_code(ring.nodes_made() + RingTraits::retire_batch >= EventRing::no_node ? errc::nodes_exhausted
                                                                                            : errc::out_of_memory);
}

void Core::close() noexcept {
  // A second caller does all of it again: it may be ahead of the first.
  ring.close();
  closed_.store(true, sync::release);
  wake_sleepers();
  std::shared_ptr<CloseListener> listener;
  {
    const std::lock_guard lock(mutex_);
    listener = close_listener_;
  }
  if (listener != nullptr) listener->bus_closed();
}

ReceiverState* Core::subscribe(SubscribeOptions given) {
  if (const auto wrong = name_fault(given.name, limits::max_name_bytes); !wrong.empty()) {
    throw_invalid("subscriber name", given.name, wrong);
  }
  if (given.name.empty()) given.name = untagged;
  bool folded = false;
  std::unique_ptr<ReceiverState> state;
  {
    const std::lock_guard lock(mutex_);
    auto totals = totals_.find(given.name);
    if (totals == totals_.end()) {
      folded = totals_.size() >= limits::max_accounted_names;
      totals = totals_.try_emplace(folded ? std::string(other) : given.name).first;
    }
    retain();
    state = std::make_unique<ReceiverState>(CoreRef(this), totals->second, std::move(given), subscribed_);
    live_.push_back(state.get());
    ++subscribed_;
    ++totals->second.receivers;
  }
  if (folded) warnings.warn(Warning::Kind::names_folded, state->name(), 1);
  receiver_count_.fetch_add(1, sync::relaxed);
  return state.release();
}

void Core::unsubscribe(ReceiverState& state) noexcept {
  {
    const std::lock_guard lock(mutex_);
    if (std::erase(live_, &state) == 0) return;  // done before, or its making failed
    receiver_count_.fetch_sub(1, sync::relaxed);
    const ReceiverCounts last = state.counts();
    NameTotals& totals = state.totals();
    --totals.receivers;
    totals.delivered += last.delivered;
    totals.filtered += last.filtered;
    totals.missed += state.tell_missed(last.missed);
    for (Drain* drain : drains_) drain->note(state);
  }
  note_progress();
}

void Core::Drain::note(const ReceiverState& state) noexcept {
  const auto found = std::ranges::find(numbers, state.number());
  if (found == numbers.end()) return;
  DrainReport::Receiver& told = report.receivers[static_cast<std::size_t>(found - numbers.begin())];
  const ReceiverCounts counts = state.counts();
  told.published = counts.published;
  told.delivered = counts.delivered;
  told.filtered = counts.filtered;
  told.missed = counts.missed;
  told.undelivered = counts.pending;
}

const std::string* Core::intern_source(std::string_view name) {
  if (name.empty()) return nullptr;
  if (const auto wrong = name_fault(name, limits::max_name_bytes); !wrong.empty()) {
    throw_invalid("sender name", name, wrong);
  }
  bool folded = false;
  const std::string* kept = nullptr;
  {
    const std::lock_guard lock(mutex_);
    auto found = sources_.find(name);
    if (found == sources_.end()) {
      folded = sources_.size() >= limits::max_source_names;
      found = sources_.emplace(folded ? other : name).first;
    }
    kept = &*found;
  }
  if (folded) warnings.warn(Warning::Kind::names_folded, name, 1);
  return kept;
}

BusStats Core::stats() {
  BusStats stats;
  stats.capacity = options.capacity;
  stats.published = ring.end().position;
  stats.closed = closed();
  stats.amnesia = options.amnesia;
  stats.wakeups = wakeups_.load(sync::relaxed);
  stats.nodes = ring.nodes_made();
  stats.node_growths = ring.growths();
  stats.observer_exceptions = observers.exceptions();
  stats.warnings_suppressed = warnings.suppressed();

  const std::lock_guard lock(mutex_);
  stats.names.reserve(totals_.size());
  std::map<const NameTotals*, std::size_t> places;
  for (const auto& [name, totals] : totals_) {
    places[&totals] = stats.names.size();
    stats.names.push_back({name, totals.receivers, totals.delivered, totals.filtered, totals.missed, 0});
  }
  for (ReceiverState* state : live_) {
    const ReceiverCounts one = state->counts();
    stats.receivers.push_back(state->stats(one));
    NameStats& sum = stats.names[places[&state->totals()]];
    sum.delivered += one.delivered;
    sum.filtered += one.filtered;
    sum.missed += state->tell_missed(one.surely_missed);
    sum.pending = std::max(sum.pending, one.pending);
  }
  return stats;
}

DrainReport Core::drain(std::chrono::steady_clock::time_point deadline) {
  using namespace std::chrono_literals;
  Drain drain;
  {
    const std::lock_guard lock(mutex_);
    for (const ReceiverState* state : live_) {
      drain.report.receivers.push_back({.name = state->name()});
      drain.numbers.push_back(state->number());
    }
    drains_.push_back(&drain);
  }
  draining_.fetch_add(1, sync::seq_cst);
  close();
  // Nothing throws from here on. A receiver tells when it finds the bus closed, which may be long after it took the
  // last event: so look now and then as well.
  auto patience = 1ms;
  for (;;) {
    const bool late = std::chrono::steady_clock::now() >= deadline;
    {
      const std::lock_guard lock(mutex_);
      const bool done = std::ranges::all_of(live_, [&](const ReceiverState* state) {
        return state->counts().pending == 0 || std::ranges::find(drain.numbers, state->number()) == drain.numbers.end();
      });
      if (done || late) {
        for (const ReceiverState* state : live_) drain.note(*state);
        std::erase(drains_, &drain);
        break;
      }
    }
    drain_progress_.wait_until(std::min(deadline, std::chrono::steady_clock::now() + patience));
    patience = std::min(2 * patience, 64ms);
  }
  draining_.fetch_sub(1, sync::seq_cst);
  drain.report.published = ring.end().position;
  drain.report.complete = std::ranges::all_of(drain.report.receivers, [](const auto& r) { return r.undelivered == 0; });
  return std::move(drain.report);
}

}  // namespace detail

// Here, so that publishing is one call.

bool Sender::take_place() noexcept try {
  record_ = &core_->publishers.acquire();
  return true;
} catch (const std::bad_alloc&) {
  return false;
}

template <class B>
result<Sent> Sender::publish(const B& body, const Attributes& attributes) {
  if (!core_) return make_error_code(errc::closed);
  if (record_ == nullptr && !take_place()) return make_error_code(errc::out_of_memory);
  return core_->publish(*record_, source_, body, attributes, 0, [](Event&) {}, [](const Event&) {});
}

template <class B>
result<Sent> Sender::publish(B&& body, const Attributes& attributes) {
  if (!core_) return make_error_code(errc::closed);
  if (record_ == nullptr && !take_place()) return make_error_code(errc::out_of_memory);
  return core_->publish(*record_, source_, std::move(body), attributes, 0, [](Event&) {}, [](const Event&) {});
}

template result<Sent> Sender::publish<Health>(const Health&, const Attributes&);
template result<Sent> Sender::publish<ConfigUpdated>(const ConfigUpdated&, const Attributes&);
template result<Sent> Sender::publish<ServiceCrashed>(const ServiceCrashed&, const Attributes&);
template result<Sent> Sender::publish<Shutdown>(const Shutdown&, const Attributes&);
template result<Sent> Sender::publish<Message>(const Message&, const Attributes&);
template result<Sent> Sender::publish<Health>(Health&&, const Attributes&);
template result<Sent> Sender::publish<ConfigUpdated>(ConfigUpdated&&, const Attributes&);
template result<Sent> Sender::publish<ServiceCrashed>(ServiceCrashed&&, const Attributes&);
template result<Sent> Sender::publish<Shutdown>(Shutdown&&, const Attributes&);
template result<Sent> Sender::publish<Message>(Message&&, const Attributes&);

}  // namespace bus
