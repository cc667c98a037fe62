// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What a bus, its senders, its receivers and the events that users keep have in common.
//
// What the router, a library of its own, calls is marked with BUSBAR_EXPORT; it is no interface for others.
#pragma once

#include <bus/bus.hpp>
#include <bus/detail/async.hpp>
#include <bus/export.hpp>

#include "core/observers.hpp"
#include "core/registry.hpp"
#include "core/ring.hpp"
#include "core/semaphore.hpp"
#include "core/sleepers.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bus::detail {

/// Reaches into an Event for the ring and for publishing.
struct EventAccess {
  static sync::atomic<std::uint32_t>& references(Event& event) noexcept { return event.references_; }
  static void set_link(Event& event, std::uint32_t link) noexcept { event.sequence_ = link; }
  static std::uint32_t link(const Event& event) noexcept { return static_cast<std::uint32_t>(event.sequence_); }
  static void set_sequence(Event& event, std::uint64_t sequence) noexcept { event.sequence_ = sequence; }
  static void make(void* at) { ::new (at) Event; }
  static void unmake(Event& event) noexcept { clear(event); }
  static void clear(Event& event) noexcept {
    if ((event.present_ & Event::must_end) != 0) end_body(event);
    event.present_ = 0;
  }

  template <class B>
  static void begin_body(Event& event, B&& body, bool wipe) {
    using Body = std::remove_cvref_t<B>;
    static_assert(sizeof(Body) <= Event::body_bytes && alignof(Body) <= 8);
    ::new (static_cast<void*>(event.body_)) Body(std::forward<B>(body));
    event.kind_ = kind_of<Body>;
    event.present_ = 0;
    if constexpr (std::is_same_v<Body, Message>) {
      auto& message = *reinterpret_cast<Message*>(event.body_);
      if (wipe) message.payload.wipe_on_release();
      if (message.topic.is_shared() || message.principal.is_shared() || message.payload.is_shared()) {
        event.present_ = Event::must_end;
      }
    } else if constexpr (!std::is_trivially_destructible_v<Body>) {
      event.present_ = Event::must_end;
    }
    if (wipe) event.present_ |= Event::must_end | Event::wipe;
  }

  static void set_source(Event& event, const std::string* source) noexcept {
    event.source_ = source;
    event.present_ |= Event::has_source;
  }
  static void set_time(Event& event, std::chrono::system_clock::time_point time) noexcept {
    event.time_ns_ = std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
    event.present_ |= Event::has_time;
  }
  static void set_attributes(Event& event, const Attributes& attributes) noexcept;
  static void set_place(Event& event, const LogPlace& place) noexcept {
    event.log_ = place.log;
    event.offset_ = place.offset;
    event.present_ |= Event::has_place;
  }

  static EventRef adopt(const Event* event, Core* core) noexcept {
    EventRef ref;
    ref.event_ = event;
    ref.core_ = core;
    return ref;
  }

 private:
  BUSBAR_EXPORT static void end_body(Event& event) noexcept;
};

using EventRing = Ring<Event, EventAccess>;

/// A sender's place. Given back with its nodes, which serve the next sender.
struct alignas(64) PublisherRecord : EventRing::Publisher, Registry<PublisherRecord>::Entry {};

/// What others see of a receiver: publishers its announcement and its sleep, `stats` its counters.
struct alignas(64) ReceiverRecord : EventRing::Announcement, Registry<ReceiverRecord>::Entry {
  // Written by the receiver, read by snapshots: a line of their own. Each only grows, and together they are how far the
  // receiver has come since its start; so a snapshot of them is never torn.
  alignas(64) sync::atomic<std::uint64_t> delivered{0};
  sync::atomic<std::uint64_t> filtered{0};
  sync::atomic<std::uint64_t> missed{0};

  alignas(64) Semaphore sleep;
  sync::atomic<AsyncWait*> wait{nullptr};  // taken out by exchange: whoever gets it resumes it
};

/// Tells a host what it may want to log, at most so many times a minute.
class Warnings {
 public:
  Warnings(std::function<void(const Warning&)> tell, std::uint32_t per_minute, const Clock& clock)
      : tell_(std::move(tell)), per_minute_(per_minute), clock_(clock) {}

  /// Threads: any; calls the host in this one, under no lock. A host that throws ends the program.
  void warn(Warning::Kind kind, std::string_view subject, std::uint64_t count) noexcept;
  std::uint64_t suppressed() const noexcept { return suppressed_total_.load(sync::relaxed); }
  void set_per_minute(std::uint32_t per_minute) noexcept { per_minute_.store(per_minute, sync::relaxed); }

 private:
  const std::function<void(const Warning&)> tell_;
  sync::atomic<std::uint32_t> per_minute_;
  const Clock& clock_;
  sync::atomic<std::int64_t> minute_{-1};
  sync::atomic<std::uint32_t> told_{0};
  sync::atomic<std::uint64_t> suppressed_{0};
  sync::atomic<std::uint64_t> suppressed_total_{0};
};

/// What has been counted under one name by receivers that are gone.
struct NameTotals {
  std::uint64_t receivers = 0;  // alive
  std::uint64_t delivered = 0, filtered = 0, missed = 0;
};

/// `ReceiverStats` without the name, which costs memory.
struct ReceiverCounts {
  std::uint64_t published, delivered, filtered, missed, pending;
  std::uint64_t surely_missed;  ///< of `missed`, without what the receiver may be taking just now
};

/// What a router is to a bus: it is handed each event it publishes, and told of the end.
class RouteSink {
 public:
  virtual void published(const Event& event) noexcept = 0;

 protected:
  ~RouteSink() = default;
};
class CloseListener {
 public:
  virtual ~CloseListener() = default;
  virtual void bus_closed() noexcept = 0;
};

class Core {
 public:
  explicit Core(BusOptions options);
  ~Core();

  void retain() noexcept { references_.fetch_add(1, sync::relaxed); }
  void release() noexcept {
    // sync CORE-DROP: acq_rel; pairs with itself: the last one out comes after all others.
    if (references_.fetch_sub(1, sync::acq_rel) == 1) delete this;
  }

  /// Publishes, calls `then(event)` with the event on the ring, and only then wakes and tells others. The event is kept
  /// `keep` times, for whoever `then` hands it to. `finish(event)` may add to it before anybody sees it.
  template <class B, class Finish, class Then>
  result<Sent> publish(PublisherRecord& publisher, const std::string* source, B&& body, const Attributes& attributes,
                       std::uint32_t keep, Finish&& finish, Then&& then);

  /// What a publish of the message would be refused for, as far as the message itself goes; errc{} if for nothing.
  BUSBAR_EXPORT errc fault_of(const Message& message) const noexcept;

  /// `place`: where the message stands in a log, if it does.
  BUSBAR_EXPORT result<Sent> publish_routed(PublisherRecord& publisher, const std::string* source, Message&& message,
                                            const Attributes& attributes, const LogPlace* place, std::uint32_t keep,
                                            RouteSink& sink);

  /// Errors: throws std::invalid_argument if there is one.
  BUSBAR_EXPORT void attach(std::shared_ptr<CloseListener> listener);
  BUSBAR_EXPORT void detach_listener() noexcept;

  void close() noexcept;
  bool closed() const noexcept { return closed_.load(sync::acquire); }

  ReceiverState* subscribe(SubscribeOptions options);
  void unsubscribe(ReceiverState& state) noexcept;
  BUSBAR_EXPORT const std::string* intern_source(std::string_view name);
  BusStats stats();
  DrainReport drain(std::chrono::steady_clock::time_point deadline);

  /// A receiver got to the end of a closed bus, or is gone.
  void note_progress() noexcept {
    if (draining_.load(sync::seq_cst) != 0) drain_progress_.post();
  }

  void release_event(const Event& event) noexcept { ring.release(const_cast<Event&>(event)); }
  void release_event_to(PublisherRecord& publisher, const Event& event) noexcept {
    ring.release_to(publisher, const_cast<Event&>(event));
  }

  const BusOptions options;
  Warnings warnings;
  EventRing ring;
  Registry<ReceiverRecord> receivers;
  Registry<PublisherRecord> publishers;
  Observers observers;
  Sleepers<ReceiverRecord> sleepers{receivers};

 private:
  /// A drain that waits: what is known of the receivers that were there when it began.
  struct Drain {
    DrainReport report;
    std::vector<std::uint64_t> numbers;  // of report.receivers, in the same order

    void note(const ReceiverState& state) noexcept;
  };

  void wake_sleepers() noexcept;
  void tell_growth() noexcept;
  result<Sent> refused() const noexcept;

  sync::atomic<std::uint64_t> references_{1};
  sync::atomic<bool> closed_{false};
  sync::atomic<std::uint64_t> receiver_count_{0};
  sync::atomic<std::uint64_t> wakeups_{0};
  sync::atomic<std::uint64_t> growths_told_{0};
  sync::atomic<std::uint32_t> draining_{0};
  Semaphore drain_progress_;

  // Guards what follows; held for bookkeeping only, never by a publish or a receive, never while calling out.
  std::mutex mutex_;
  std::vector<ReceiverState*> live_;
  std::uint64_t subscribed_ = 0;
  std::map<std::string, NameTotals, std::less<>> totals_;
  std::set<std::string, std::less<>> sources_;
  std::vector<Drain*> drains_;
  std::shared_ptr<CloseListener> close_listener_;
};

/// What the layers above reach of a bus.
struct BusAccess {
  static const CoreRef& core(const Bus& bus) noexcept { return bus.core_; }
};

/// One subscription: cursor, filter, waiting. One thread at a time, but for `abandon`.
class ReceiverState {
 public:
  ReceiverState(CoreRef core, NameTotals& totals, SubscribeOptions options, std::uint64_t number);
  ~ReceiverState();

  void retain() noexcept { references_.fetch_add(1, sync::relaxed); }
  void release() noexcept {
    if (references_.fetch_sub(1, sync::acq_rel) == 1) delete this;  // sync CORE-DROP
  }

  Received try_recv() noexcept;
  Batch try_recv_batch(std::size_t max) noexcept;

  /// As these, but they leave what was missed to `take_untold`, and after many events skipped by the filter they
  /// return `empty` although there is more to look at.
  Received attempt() noexcept;
  Batch attempt_batch(std::size_t max) noexcept;

  /// Receives by `T attempt()` what is there.
  template <class T, class Attempt>
  T try_for(Attempt&& attempt) noexcept;

  /// Receives by `T attempt()`, waiting until there is something, the deadline passes or a stop is asked for.
  template <class T, class Attempt>
  T wait_for(Attempt&& attempt, const std::chrono::steady_clock::time_point* deadline,
             const std::stop_token* stop) noexcept;

  /// What was missed and no receive has told yet.
  std::uint64_t take_untold() noexcept { return std::exchange(untold_, 0); }

  bool ready() const noexcept { return core_->ring.ready(reader_.next); }
  void arm(AsyncWait& wait) noexcept;
  AsyncWait* take_wait() noexcept { return record_.wait.exchange(nullptr, sync::seq_cst); }  // sync WAIT-TAKE
  bool take_wait(AsyncWait& mine) noexcept {
    AsyncWait* found = &mine;
    return record_.wait.compare_exchange_strong(found, nullptr, sync::seq_cst, sync::seq_cst);  // sync WAIT-TAKE
  }
  void abandon() noexcept;
  bool abandoned() const noexcept { return abandoned_.load(sync::acquire); }

  /// Threads: any. They always balance; what is published or received meanwhile may or may not be in them.
  ReceiverCounts counts() const noexcept;
  ReceiverStats stats(const ReceiverCounts& counts) const;

  /// What was missed, as counters tell it, which never go back: what was delivered may be counted before what was
  /// missed in front of it. Threads: one at a time, under the bus's mutex.
  std::uint64_t tell_missed(std::uint64_t missed) noexcept { return told_missed_ = std::max(told_missed_, missed); }

  const std::string& name() const noexcept { return name_; }
  std::uint64_t number() const noexcept { return number_; }
  NameTotals& totals() const noexcept { return totals_; }
  Core& core() const noexcept { return *core_.get(); }
  ReceiverRecord& record() const noexcept { return record_; }

 private:
  friend class Core;
  enum class Scan { event, empty, closed, unfinished };

  Scan scan(Event** found) noexcept;
  bool accepts(const Event& event) const noexcept;
  void count_missed() noexcept;
  bool let_run_ahead() noexcept;
  void count_delivered(std::uint64_t events) noexcept { record_.delivered.store(delivered_ += events, sync::relaxed); }
  void count_filtered() noexcept { record_.filtered.store(++filtered_, sync::relaxed); }
  void note_closed() noexcept;
  bool spin(const std::chrono::steady_clock::time_point* deadline) noexcept;
  void park(const std::chrono::steady_clock::time_point* deadline) noexcept;

  // Touched by each receive.
  const CoreRef core_;
  ReceiverRecord& record_;
  EventRing::Reader reader_;
  std::uint64_t delivered_ = 0;
  std::uint64_t filtered_ = 0;
  std::uint64_t untold_ = 0;
  std::uint32_t empty_looks_ = 0;  // since the last event
  std::uint32_t looks_before_event_ = ~0U;  // how many there were before it
  const bool selective_;
  bool seen_closed_ = false;
  bool unfinished_ = false;  // the last attempt stopped at its limit of skipped events
  const Waiting waiting_;
  std::uint32_t spin_rounds_;

  const Bodies bodies_;
  const std::vector<TopicPattern> patterns_;
  NameTotals& totals_;
  const std::string name_;
  const std::uint64_t number_;
  std::uint64_t start_ = 0;
  std::uint64_t missed_ = 0;
  std::uint64_t told_missed_ = 0;
  sync::atomic<std::uint32_t> references_{1};
  sync::atomic<bool> abandoned_{false};
  const Event* batch_[Receiver::max_batch];
};

}  // namespace bus::detail
