// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Typed publishing and receiving on one topic: a thin layer over the bus.
//
//   auto thoughts = hub.typed<Thought>("agent.v1.thought");
//   auto rx = thoughts.subscribe("critic");
//   thoughts.send(Thought{"the door is open", 0.9});
//   while (auto got = rx.recv()) judge(got->text);
//
// Loss, order and threads are those of <bus/bus.hpp>.
#pragma once

#include <bus/bus.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>

namespace bus {

/// What a typed receive returned: perhaps a T, and always how many events were missed just before it.
/// Lifetime: as for `Received`. A value that had to be decoded lies in here, not in the event.
template <HasSchema T>
class [[nodiscard]] TypedReceived {
 public:
  TypedReceived() noexcept = default;

  /// Whether there is a value.
  explicit operator bool() const noexcept { return outcome_ == Outcome::event; }
  const T& operator*() const noexcept { return decoded_ ? *decoded_ : *object_; }
  const T* operator->() const noexcept { return std::addressof(**this); }

  /// What it came in. Only if there is a value.
  const Event& event() const noexcept { return *received_; }
  /// The message with its topic, principal and payload. Only if there is a value.
  const Message& message() const noexcept { return *received_->template get_if<Message>(); }

  /// Events overwritten since the last receive told of any.
  std::uint64_t missed() const noexcept { return missed_; }
  /// Why the receive returned.
  Outcome outcome() const noexcept { return outcome_; }
  /// Whether no value will come any more.
  bool closed() const noexcept { return outcome_ == Outcome::closed; }

  /// As `Received::keep`: keeps the event, and with it a value that was not decoded.
  EventRef keep() const noexcept { return received_.keep(); }

 private:
  template <HasSchema>
  friend class TypedReceiver;

  /// Returns: whether the message carries a T.
  bool read() {
    const Payload& payload = message().payload;
    object_ = payload.template get_if<T>();
    if (object_ != nullptr || payload.schema() != nullptr) return object_ != nullptr;
    result<T> decoded = Schema<T>::decode(payload.bytes());
    if (decoded) decoded_.emplace(std::move(*decoded));
    return decoded.has_value();
  }

  Outcome outcome_ = Outcome::empty;
  Received received_;
  const T* object_ = nullptr;
  std::optional<T> decoded_;
  std::uint64_t missed_ = 0;
};

/// A receiver of the messages of one topic that carry a T: the object itself, or bytes that its schema can read.
/// Whatever else is sent on that topic is skipped and counted.
/// Threads:  one at a time. Lifetime: as for `Receiver`.
/// Errors:   a receive throws what `Schema<T>::decode` throws; that message is spent, its losses are told next.
template <HasSchema T>
class TypedReceiver {
 public:
  /// A receiver of no bus: every receive returns closed.
  TypedReceiver() noexcept = default;

  /// As the function of that name in `Receiver`. What has to be skipped costs no more than what was there when the
  /// call began, the deadline passed or the stop was requested.
  TypedReceived<T> try_recv() { return take_present(Outcome::empty); }
  TypedReceived<T> recv() {
    return next([](Receiver& rx) { return rx.recv(); }, [] { return Outcome::empty; });
  }
  TypedReceived<T> recv(std::stop_token stop) {
    return next([&](Receiver& rx) { return rx.recv(stop); },
                [&] { return stop.stop_requested() ? Outcome::stopped : Outcome::empty; });
  }
  TypedReceived<T> recv_until(std::chrono::steady_clock::time_point deadline) {
    return recv_until(deadline, std::stop_token());
  }
  TypedReceived<T> recv_until(std::chrono::steady_clock::time_point deadline, std::stop_token stop) {
    return next([&](Receiver& rx) { return rx.recv_until(deadline, stop); },
                [&] {
                  if (stop.stop_requested()) return Outcome::stopped;
                  return std::chrono::steady_clock::now() >= deadline ? Outcome::timed_out : Outcome::empty;
                });
  }

  /// For a Boost.Asio completion token of signature `void(error_code, TypedReceived<T>)`.
  /// Defined in <bus/asio.hpp>, which says the rest.
  template <class CompletionToken>
  auto async_recv(CompletionToken&& token);

  /// As `Receiver::pending`, skipped ones included.
  std::uint64_t pending() const noexcept { return receiver_.pending(); }

  /// Messages of the topic that were skipped: of another schema, or bytes that could not be read.
  std::uint64_t mismatched() const noexcept { return mismatched_; }

  /// The name it subscribed with; "untagged" if it has none.
  std::string_view name() const noexcept { return receiver_.name(); }

  /// Those of the receiver underneath: `delivered` includes what was skipped here.
  ReceiverStats stats() const { return receiver_.stats(); }

 private:
  template <HasSchema>
  friend class Typed;
  explicit TypedReceiver(Receiver receiver) noexcept : receiver_(std::move(receiver)) {}

  /// Receives until there is a T, or something else to say, or `why_end()` is no longer `empty`.
  template <class Receive, class WhyEnd>
  TypedReceived<T> next(Receive&& receive, WhyEnd&& why_end) {
    for (;;) {
      TypedReceived<T> got;
      if (accept(receive(receiver_), got)) return got;
      if (const Outcome why = why_end(); why != Outcome::empty) return take_present(why);
    }
  }

  /// A T among what is there now. Returns: `otherwise` if there is none.
  TypedReceived<T> take_present(Outcome otherwise) {
    for (std::uint64_t present = 0;;) {
      TypedReceived<T> got;
      if (accept(receiver_.try_recv(), got)) {
        if (got.outcome_ == Outcome::empty) got.outcome_ = otherwise;
        return got;
      }
      if (present == 0) present = receiver_.pending() + 2;  // and a look at what stands behind them
      if (--present == 0) {
        got = {};
        got.outcome_ = otherwise;
        got.missed_ = std::exchange(missed_, 0);
        return got;
      }
    }
  }

  /// Returns: whether `received` is something to return, then in `got`; else it was skipped.
  bool accept(const Received& received, TypedReceived<T>& got) {
    got.received_ = received;
    got.outcome_ = received.outcome();
    missed_ += received.missed();
    if (received && !got.read()) {
      ++mismatched_;
      return false;
    }
    got.missed_ = std::exchange(missed_, 0);
    return true;
  }

  Receiver receiver_;
  std::uint64_t missed_ = 0;  // not yet told
  std::uint64_t mismatched_ = 0;
};

/// One topic of a bus, and the type that travels on it. Cheap to copy; each copy is a publisher of its own.
/// Threads:  one at a time. Lifetime: `send` may outlive the bus, `subscribe` may not.
template <HasSchema T>
class Typed {
 public:
  /// As `Sender::send`. Cost and errors: as `Payload::object` besides.
  result<Sent> send(T value, Principal principal = {}, const Attributes& attributes = {}) {
    return sender_.send(Message{topic_, std::move(principal), Payload::object(std::move(value))}, attributes);
  }

  /// As `Bus::subscribe`, for this topic's messages. Errors: throws std::invalid_argument besides if the options have
  /// bodies or patterns of their own.
  TypedReceiver<T> subscribe(SubscribeOptions options) {
    if (options.bodies != Bodies::all() || !options.patterns.empty()) {
      throw std::invalid_argument("a typed subscription has the bodies and the pattern of its topic");
    }
    options.bodies = {BodyKind::message};
    options.patterns = {TopicPattern(topic_)};
    return TypedReceiver<T>(bus_->subscribe(std::move(options)));
  }
  TypedReceiver<T> subscribe(std::string_view name = {}) {
    return subscribe(SubscribeOptions{.name = std::string(name)});
  }

  /// The topic it is for.
  const Topic& topic() const noexcept { return topic_; }

 private:
  friend class Bus;
  Typed(Bus& bus, Topic topic, std::string_view source)
      : bus_(&bus), sender_(bus.sender(source)), topic_(std::move(topic)) {}

  Bus* bus_;
  Sender sender_;
  Topic topic_;
};

template <HasSchema T>
Typed<T> Bus::typed(Topic topic, std::string_view source) {
  return Typed<T>(*this, std::move(topic), source);
}

}  // namespace bus
