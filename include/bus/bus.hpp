// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The bus: a bounded broadcast that may lose, but never silently.
//
//   bus::Bus hub{{.capacity = 256}};
//   auto rx = hub.subscribe("auditor");
//   auto tx = hub.sender();
//   tx.send(bus::ConfigUpdated{.version = 42});
//   while (auto got = rx.recv()) {
//     if (got.missed()) …                                   // lost just before this one
//     bus::match(*got, [](const bus::Message& m) { … }, [](const auto&) {});
//   }
//
// Loss
//   The ring retains the last `capacity` events. A publish never waits; it overwrites the oldest. A receiver
//   that is overtaken goes on at the oldest event still retained, and the next thing a receive returns, be it
//   an event, empty, timed out, stopped or closed, says how many it missed. Nothing else is ever lost: not by
//   lagging, not by cancelling a wait, not by closing. (A program that adds up what it missed adds the last
//   one, `closed`, too: a filter may have skipped what came after the gap.)
//
// Order
//   Every event has a sequence, 1, 2, 3, …; each receiver sees strictly increasing sequences. What one thread
//   publishes before another publish begins has the lower sequence.
//
// Threads
//   A Bus may be used from any thread. A Sender, a Receiver and what a receive returned belong to one thread
//   at a time; hand them over with whatever orders the two threads. All of them may outlive the Bus, whose
//   destruction closes it.
#pragma once

#include <bus/error.hpp>
#include <bus/event.hpp>
#include <bus/export.hpp>
#include <bus/options.hpp>
#include <bus/stats.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <iterator>
#include <memory>
#include <stop_token>
#include <string_view>
#include <utility>

namespace bus {

class Bus;
template <HasSchema T>
class Typed;

namespace detail {

class Core;
class ReceiverState;
struct AsyncAccess;
struct BusAccess;
struct ObserverRecord;
struct PublisherRecord;

/// Counted ownership of the part of a bus that its senders, receivers and events share.
class BUSBAR_EXPORT CoreRef {
 public:
  CoreRef() noexcept = default;
  explicit CoreRef(Core* adopted) noexcept : core_(adopted) {}
  CoreRef(const CoreRef& other) noexcept;
  CoreRef(CoreRef&& other) noexcept : core_(std::exchange(other.core_, nullptr)) {}
  CoreRef& operator=(CoreRef other) noexcept {
    std::swap(core_, other.core_);
    return *this;
  }
  ~CoreRef();
  Core* get() const noexcept { return core_; }
  Core* operator->() const noexcept { return core_; }
  explicit operator bool() const noexcept { return core_ != nullptr; }

 private:
  Core* core_ = nullptr;
};

}  // namespace detail

/// A publish that happened.
struct Sent {
  std::uint64_t sequence = 0;
  std::uint64_t receivers = 0;  ///< alive at that moment; 0 is not an error
};

/// Why a receive returned.
enum class Outcome : std::uint8_t {
  event,      ///< one or more events
  empty,      ///< nothing to read now (the non-blocking forms)
  timed_out,  ///< the deadline passed
  stopped,    ///< the stop token was triggered
  closed,     ///< the bus is closed and everything retained has been read; so it stays
};

/// The word for it: "event", "timed_out", …
BUSBAR_EXPORT std::string_view to_string(Outcome outcome) noexcept;

/// What a receive returned: perhaps an event, and always how many were missed just before it.
/// Lifetime: the event is read in place. It stays readable until the next receive on the same receiver, or the
///           receiver's destruction; `keep()` makes it stay longer.
class [[nodiscard]] BUSBAR_EXPORT Received {
 public:
  Received() noexcept = default;

  /// Whether there is an event.
  explicit operator bool() const noexcept { return event_ != nullptr; }
  const Event& operator*() const noexcept { return *event_; }
  const Event* operator->() const noexcept { return event_; }

  /// Events overwritten since the last receive, before this receiver could read them.
  std::uint64_t missed() const noexcept { return missed_; }

  /// Why the receive returned.
  Outcome outcome() const noexcept { return outcome_; }
  /// Whether no event will come any more.
  bool closed() const noexcept { return outcome_ == Outcome::closed; }

  /// A counted reference that outlives the next receive; empty if there is no event.
  /// Cost: two atomic increments, and one node of the ring's pool for as long as it is held.
  EventRef keep() const noexcept;

 private:
  friend class detail::ReceiverState;
  friend struct detail::AsyncAccess;
  const Event* event_ = nullptr;
  detail::Core* core_ = nullptr;
  std::uint64_t missed_ = 0;
  Outcome outcome_ = Outcome::empty;
};

/// What a batch receive returned: a range of events, oldest first, and how many were missed before the first.
/// Lifetime: as for `Received`.
class [[nodiscard]] BUSBAR_EXPORT Batch {
 public:
  /// Goes along the events of a batch.
  class iterator {
   public:
    using value_type = Event;
    using reference = const Event&;
    using pointer = const Event*;
    using difference_type = std::ptrdiff_t;
    using iterator_category = std::forward_iterator_tag;

    iterator() noexcept = default;
    explicit iterator(const Event* const* at) noexcept : at_(at) {}  ///< by the batch
    reference operator*() const noexcept { return **at_; }
    pointer operator->() const noexcept { return *at_; }
    iterator& operator++() noexcept {
      ++at_;
      return *this;
    }
    iterator operator++(int) noexcept { return iterator(at_++); }
    friend bool operator==(iterator, iterator) noexcept = default;

   private:
    const Event* const* at_ = nullptr;
  };

  Batch() noexcept = default;

  /// Whether there is an event.
  explicit operator bool() const noexcept { return size_ != 0; }
  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  iterator begin() const noexcept { return iterator(events_); }
  iterator end() const noexcept { return iterator(events_ + size_); }
  const Event& operator[](std::size_t i) const noexcept { return *events_[i]; }

  /// Events overwritten since the last receive; all of them came before the first event of the batch.
  std::uint64_t missed() const noexcept { return missed_; }

  /// Why the receive returned.
  Outcome outcome() const noexcept { return outcome_; }
  /// Whether no event will come any more.
  bool closed() const noexcept { return outcome_ == Outcome::closed; }

  /// As `Received::keep`, for event `i`.
  EventRef keep(std::size_t i) const noexcept;

 private:
  friend class detail::ReceiverState;
  friend struct detail::AsyncAccess;
  const Event* const* events_ = nullptr;
  std::size_t size_ = 0;
  detail::Core* core_ = nullptr;
  std::uint64_t missed_ = 0;
  Outcome outcome_ = Outcome::empty;
};

/// Publishes. Cheap to copy; each copy is a publisher of its own.
/// Threads:  one at a time. Lifetime: may outlive the bus; sends then return errc::closed.
class BUSBAR_EXPORT Sender {
 public:
  /// A sender of no bus: every send returns errc::closed.
  Sender() noexcept = default;
  Sender(const Sender& other) noexcept;
  Sender(Sender&& other) noexcept;
  Sender& operator=(Sender other) noexcept;
  ~Sender();

  /// Publishes one event.
  /// Returns:  its sequence and the number of receivers.
  /// Blocks:   never: not for a reader, not for another publisher wherever that one was stopped.
  /// Cost:     O(1); allocates in a sender's first sends and while users hold events, else never; a system call only
  ///           to wake receivers that sleep.
  /// Errors:   closed, topic_invalid (a message without a topic), payload_too_large (a crash reason too), name_invalid
  ///           (a service name over 64 bytes, or with a space or control byte), observer_too_deep, nodes_exhausted,
  ///           out_of_memory; nothing was published then, and a body that was moved in is whole, unless the bus was
  ///           closed in the middle of the call.
  /// Ordering: what this thread did before is seen by whoever receives the event.
  template <class B>
    requires EventBody<std::remove_cvref_t<B>>
  result<Sent> send(B&& body, const Attributes& attributes = {}) {
    using Body = std::remove_cvref_t<B>;
    if constexpr (std::is_lvalue_reference_v<B>) {
      return publish<Body>(static_cast<const Body&>(body), attributes);
    } else {
      return publish<Body>(std::move(body), attributes);
    }
  }

 private:
  friend class Bus;
  Sender(detail::CoreRef core, const std::string* source) noexcept;
  bool take_place() noexcept;

  // Not constrained: compilers do not agree on the name of a function that is.
  template <class B>
  result<Sent> publish(const B& body, const Attributes& attributes);
  template <class B>
  result<Sent> publish(B&& body, const Attributes& attributes);

  detail::CoreRef core_;
  detail::PublisherRecord* record_ = nullptr;  // acquired by the first send
  const std::string* source_ = nullptr;
};

/// One subscriber's cursor on a bus.
/// Threads:  one at a time, calls of `stats` and `name` included.
/// Lifetime: may outlive the bus; it then reads what is retained and after that `closed`.
class BUSBAR_EXPORT Receiver {
 public:
  /// Largest number of events one batch holds.
  static constexpr std::size_t max_batch = 64;

  /// A receiver of no bus: every receive returns closed.
  Receiver() noexcept = default;
  Receiver(Receiver&& other) noexcept;
  Receiver& operator=(Receiver&& other) noexcept;
  ~Receiver();

  /// The next event, if there is one now.
  /// Returns:  event, empty or closed. Blocks: never; having just caught up with a publisher in full run it stands back
  ///           for less than a microsecond before it says empty. Cost: O(1) plus what its filter skips; no allocation.
  Received try_recv() noexcept;

  /// The next event.
  /// Returns:  event or closed. Blocks: until then, as `SubscribeOptions::waiting` says.
  Received recv() noexcept;

  /// As `recv`, until `stop` is requested. Returns: event, stopped or closed; an event that is there wins.
  Received recv(std::stop_token stop) noexcept;

  /// As `recv`, until `deadline`. Returns: event, timed_out or closed; an event that is there wins over a
  /// deadline that has passed.
  Received recv_until(std::chrono::steady_clock::time_point deadline) noexcept;
  Received recv_until(std::chrono::steady_clock::time_point deadline, std::stop_token stop) noexcept;

  /// Up to `max` events at once, at least 1 and at most 64, as many as are there. A batch does not reach across a gap,
  /// and may end early where the receiver renews its protection of the ring: an empty one alone means "nothing there".
  Batch try_recv_batch(std::size_t max = max_batch) noexcept;
  Batch recv_batch(std::size_t max = max_batch) noexcept;
  Batch recv_batch(std::size_t max, std::stop_token stop) noexcept;
  Batch recv_batch_until(std::chrono::steady_clock::time_point deadline, std::size_t max = max_batch) noexcept;
  Batch recv_batch_until(std::chrono::steady_clock::time_point deadline, std::size_t max,
                         std::stop_token stop) noexcept;

  /// The next event, for a Boost.Asio completion token of signature `void(error_code, Received)`.
  /// Defined in <bus/asio.hpp>, which says the rest.
  template <class CompletionToken>
  auto async_recv(CompletionToken&& token);  // needs #include <bus/asio.hpp>

  /// The batch form, of signature `void(error_code, Batch)`. Defined in <bus/asio.hpp>.
  template <class CompletionToken>
  auto async_recv_batch(std::size_t max, CompletionToken&& token);  // needs #include <bus/asio.hpp>

  /// The name it subscribed with; "untagged" if it has none.
  std::string_view name() const noexcept;

  /// What it has counted. Errors: throws std::bad_alloc.
  ReceiverStats stats() const;

  /// Events retained and not yet looked at. Cost: O(1), no allocation.
  std::uint64_t pending() const noexcept;

 private:
  friend class Bus;
  friend struct detail::AsyncAccess;
  explicit Receiver(detail::ReceiverState* adopted) noexcept : state_(adopted) {}
  detail::ReceiverState* state_ = nullptr;
};

/// Keeps an observer attached. See `Bus::observe`.
class BUSBAR_EXPORT Observer {
 public:
  Observer() noexcept = default;
  Observer(Observer&& other) noexcept : core_(std::move(other.core_)), record_(std::exchange(other.record_, nullptr)) {}
  Observer& operator=(Observer&& other) noexcept {
    if (this != &other) {
      reset();
      core_ = std::move(other.core_);
      record_ = std::exchange(other.record_, nullptr);
    }
    return *this;
  }
  ~Observer() { reset(); }

  /// Detaches. Afterwards the function is not running in any other thread and will not run again.
  /// Blocks: until calls in other threads have ended; from inside the function itself it returns at once, and
  ///         the function is destroyed when the last running call ends.
  void reset() noexcept;

 private:
  friend class Bus;
  Observer(detail::CoreRef core, detail::ObserverRecord* record) noexcept : core_(std::move(core)), record_(record) {}
  detail::CoreRef core_;
  detail::ObserverRecord* record_ = nullptr;
};

/// A bounded broadcast of events. See the head of this file for loss, order and threads.
class BUSBAR_EXPORT Bus {
 public:
  /// Options are a struct of their own: `Bus hub{{.capacity = 256}}`.
  /// Cost: three allocations; memory for `capacity` events is first touched as the ring fills.
  /// Errors: throws std::invalid_argument naming an option out of range, std::bad_alloc.
  explicit Bus(BusOptions options = {});

  /// Closes. What was made from the bus goes on living and sees `closed`.
  ~Bus();
  Bus(const Bus&) = delete;
  Bus& operator=(const Bus&) = delete;

  /// A new receiver, active when this returns: an event whose publish begins afterwards is its to see.
  /// Threads: any. Cost: one allocation. Errors: throws std::invalid_argument (a name over 64 bytes or with a
  /// space), std::bad_alloc.
  Receiver subscribe(SubscribeOptions options);
  Receiver subscribe(std::string_view name = {}) {
    SubscribeOptions options;
    options.name = name;
    return subscribe(std::move(options));
  }

  /// A new sender. `source` names it in its events; at most 64 bytes.
  /// Threads: any. Errors: throws std::invalid_argument (the name), std::bad_alloc.
  Sender sender(std::string_view source = {});

  /// Publishes without a sender of one's own; as `Sender::send`, from any thread.
  /// Cost: a little more than a sender's, which keeps its place between publishes.
  template <class B>
    requires EventBody<std::remove_cvref_t<B>>
  result<Sent> send(B&& body, const Attributes& attributes = {}) {
    return Sender(core_, nullptr).send(std::forward<B>(body), attributes);
  }

  /// Typed publishing and receiving on one topic; `source` as in `sender`. Defined in <bus/typed.hpp>.
  template <HasSchema T>
  Typed<T> typed(Topic topic, std::string_view source = {});

  /// Calls `function` for each event, in the publisher's thread, after publication: possibly by several threads
  /// at once and out of order. An exception is caught and counted. `function` may publish on this bus, nested
  /// at most 16 deep, and may subscribe, close or detach; no lock is held while it runs. One attached while an event
  /// is being published may or may not be called for it.
  /// Threads:  any. Returns: a handle that detaches when destroyed.
  /// Lifetime: the event is valid during the call only.
  /// Errors:   throws std::invalid_argument (the name, or a function that is empty), std::bad_alloc.
  [[nodiscard]] Observer observe(std::string_view name, std::function<void(const Event&)> function);

  /// No publish succeeds any more; receivers get what is retained, then `closed`; sleepers wake.
  /// Threads: any, any number of times. Blocks: for short locks only, which `stats` and subscribing take too.
  void close() noexcept;
  /// Whether it has been closed. Threads: any.
  bool closed() const noexcept;

  /// Closes, then waits until every receiver has read everything or is gone.
  /// Blocks:  until then, or until `deadline`. Do not call it from a thread that a receiver needs.
  /// Returns: what each receiver that was there had and had not got when the wait ended, or when it went.
  /// Errors:  throws std::bad_alloc.
  DrainReport drain(std::chrono::steady_clock::time_point deadline);

  /// Events that the ring retains. Threads: any.
  std::uint64_t capacity() const noexcept;

  /// Changes `BusOptions::warnings_per_minute`, at once: what was told in this minute counts. Threads: any.
  void set_warnings_per_minute(std::uint32_t most) noexcept;

  /// What the bus and its receivers have counted. Threads: any, at any time. Cost: O(receivers), allocates. Errors:
  /// throws std::bad_alloc.
  BusStats stats() const;

 private:
  friend struct detail::BusAccess;
  detail::CoreRef core_;
};

}  // namespace bus
