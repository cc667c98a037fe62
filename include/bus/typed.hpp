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
  explicit operator bool() const noexcept { return static_cast<bool>(received_); }
  const T& operator*() const noexcept { return decoded_ ? *decoded_ : *object_; }
  const T* operator->() const noexcept { return std::addressof(**this); }

  /// What it came in. Only if there is a value.
  const Event& event() const noexcept { return *received_; }
  const Message& message() const noexcept { return *received_->template get_if<Message>(); }

  std::uint64_t missed() const noexcept { return missed_; }
  Outcome outcome() const noexcept { return received_.outcome(); }
  bool closed() const noexcept { return received_.closed(); }

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

  /// As the function of that name in `Receiver`.
  TypedReceived<T> try_recv() {
    return next([](Receiver& rx) { return rx.try_recv(); });
  }
  TypedReceived<T> recv() {
    return next([](Receiver& rx) { return rx.recv(); });
  }
  TypedReceived<T> recv(std::stop_token stop) {
    return next([&](Receiver& rx) { return rx.recv(stop); });
  }
  TypedReceived<T> recv_until(std::chrono::steady_clock::time_point deadline) {
    return next([&](Receiver& rx) { return rx.recv_until(deadline); });
  }
  TypedReceived<T> recv_until(std::chrono::steady_clock::time_point deadline, std::stop_token stop) {
    return next([&](Receiver& rx) { return rx.recv_until(deadline, stop); });
  }

  /// Messages of the topic that were skipped: of another schema, or bytes that could not be read.
  std::uint64_t mismatched() const noexcept { return mismatched_; }

  std::string_view name() const noexcept { return receiver_.name(); }

  /// Those of the receiver underneath: `delivered` includes what was skipped here.
  ReceiverStats stats() const { return receiver_.stats(); }

 private:
  template <HasSchema>
  friend class Typed;
  explicit TypedReceiver(Receiver receiver) noexcept : receiver_(std::move(receiver)) {}

  template <class Receive>
  TypedReceived<T> next(Receive receive) {
    for (;;) {
      TypedReceived<T> got;
      got.received_ = receive(receiver_);
      missed_ += got.received_.missed();
      if (!got || got.read()) {
        got.missed_ = std::exchange(missed_, 0);
        return got;
      }
      ++mismatched_;
    }
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
  /// As `Sender::send`. Cost: as `Payload::object` besides. Errors: throws std::bad_alloc besides.
  result<Sent> send(T value, Principal principal = {}, const Attributes& attributes = {}) {
    return sender_.send(Message{topic_, std::move(principal), Payload::object(std::move(value))}, attributes);
  }

  /// As `Bus::subscribe`; `bodies` and `patterns` are set to this topic's messages.
  TypedReceiver<T> subscribe(SubscribeOptions options) {
    options.bodies = {BodyKind::message};
    options.patterns = {TopicPattern(topic_)};
    return TypedReceiver<T>(bus_->subscribe(std::move(options)));
  }
  TypedReceiver<T> subscribe(std::string_view name = {}) {
    return subscribe(SubscribeOptions{.name = std::string(name)});
  }

  const Topic& topic() const noexcept { return topic_; }

 private:
  friend class Bus;
  Typed(Bus& bus, Topic topic) : bus_(&bus), sender_(bus.sender()), topic_(std::move(topic)) {}

  Bus* bus_;
  Sender sender_;
  Topic topic_;
};

template <HasSchema T>
Typed<T> Bus::typed(Topic topic) {
  return Typed<T>(*this, std::move(topic));
}

}  // namespace bus
