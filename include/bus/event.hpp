// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What the bus carries: one event = metadata + one of a closed set of bodies.
#pragma once

#include <bus/detail/sync.hpp>
#include <bus/export.hpp>
#include <bus/payload.hpp>
#include <bus/principal.hpp>
#include <bus/topic.hpp>

#include <array>
#include <chrono>
#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace bus {

// --- Bodies. More may be added in a minor version, so `match` asks for a default arm. ---

/// A service tells whether it is well.
struct Health {
  std::string service = {};  ///< at most 64 bytes
  bool ok = true;
};

/// A new configuration is in force.
struct ConfigUpdated {
  std::uint64_t version = 0;
};

/// A service ended unexpectedly.
struct ServiceCrashed {
  std::string service = {};  ///< at most 64 bytes
  std::string reason = {};  ///< at most `BusOptions::max_payload_bytes`
};

/// The host is going down. The bus stays open until `Bus::close`.
struct Shutdown {};

/// Everything else: a topic, on whose behalf, and a payload.
struct Message {
  Topic topic = {};          ///< required
  Principal principal = {};  ///< none means the system
  Payload payload = {};
};

/// Which of the bodies an event has.
enum class BodyKind : std::uint8_t { health, config_updated, service_crashed, shutdown, message };

/// The word for it: "health", "config_updated", …
BUSBAR_EXPORT std::string_view to_string(BodyKind kind) noexcept;

template <class B>
inline constexpr bool is_event_body = false;
template <>
inline constexpr bool is_event_body<Health> = true;
template <>
inline constexpr bool is_event_body<ConfigUpdated> = true;
template <>
inline constexpr bool is_event_body<ServiceCrashed> = true;
template <>
inline constexpr bool is_event_body<Shutdown> = true;
template <>
inline constexpr bool is_event_body<Message> = true;

/// A type that an event can have as its body.
template <class B>
concept EventBody = is_event_body<B>;

template <EventBody B>
inline constexpr BodyKind kind_of = std::same_as<B, Health>           ? BodyKind::health
                                    : std::same_as<B, ConfigUpdated>  ? BodyKind::config_updated
                                    : std::same_as<B, ServiceCrashed> ? BodyKind::service_crashed
                                    : std::same_as<B, Shutdown>       ? BodyKind::shutdown
                                                                      : BodyKind::message;

// --- Metadata. ---

/// Ties events of one piece of work together; 128 bits of the program's own choosing.
struct CorrelationId {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  friend auto operator<=>(const CorrelationId&, const CorrelationId&) = default;
};

/// W3C trace context, carried through unread.
struct TraceContext {
  std::array<std::uint8_t, 16> trace_id{};
  std::array<std::uint8_t, 8> span_id{};
  std::uint8_t flags = 0;
  friend bool operator==(const TraceContext&, const TraceContext&) = default;
};

/// What a publisher may say about an event besides its body.
struct Attributes {
  std::optional<CorrelationId> correlation = {};
  std::optional<TraceContext> trace = {};

  /// The end of a stream: no route evicts it.
  bool terminal = false;

  /// Of messages with the same principal, topic and key, a route that coalesces keeps the latest. At most 255
  /// bytes. Not carried on the bus.
  std::string_view key = {};
};

/// Where a message stands in a log.
struct LogPlace {
  std::uint8_t log = 0;  ///< which of the logs that the bus was bound to, from 1 on: see `DurableTopics::number`
  std::uint64_t offset = 0;
  friend bool operator==(const LogPlace&, const LogPlace&) = default;
};

namespace detail {

class Core;
struct EventAccess;

}  // namespace detail

/// One event as receivers see it: immutable, in the ring's own memory, never copied.
/// Threads:  any number may read it at the same time.
/// Lifetime: until the next receive on the same receiver, or as long as an `EventRef` to it exists.
class Event {
 public:
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  /// The number the bus gave it: 1, 2, 3, …
  std::uint64_t sequence() const noexcept { return sequence_; }

  /// Which body it has.
  BodyKind kind() const noexcept { return kind_; }

  /// The body, if it is of type B; else nullptr.
  template <EventBody B>
  const B* get_if() const noexcept {
    return kind_ == kind_of<B> ? std::launder(reinterpret_cast<const B*>(body_)) : nullptr;
  }

  /// Wall time of publication; none unless `BusOptions::timestamps` asks for it.
  std::optional<std::chrono::system_clock::time_point> time() const noexcept {
    if ((present_ & has_time) == 0) return std::nullopt;
    return std::chrono::system_clock::time_point(
        std::chrono::duration_cast<std::chrono::system_clock::duration>(std::chrono::nanoseconds(time_ns_)));
  }

  /// The name of the sender; empty if it has none.
  /// Lifetime: as long as the event.
  std::string_view source() const noexcept {
    return (present_ & has_source) != 0 ? std::string_view(*source_) : std::string_view();
  }

  /// As in `Attributes`; none if it was not given.
  std::optional<CorrelationId> correlation() const noexcept {
    if ((present_ & has_correlation) == 0) return std::nullopt;
    return correlation_;
  }

  /// Whether it was marked as the end of a stream.
  bool terminal() const noexcept { return (present_ & is_terminal) != 0; }

  /// As in `Attributes`; none if it was not given.
  std::optional<TraceContext> trace() const noexcept {
    if ((present_ & has_trace) == 0) return std::nullopt;
    return TraceContext{trace_id_, span_id_, trace_flags_};
  }

  /// Where it stands in a log; none unless it was delivered after it was committed there.
  std::optional<LogPlace> place() const noexcept {
    if ((present_ & has_place) == 0) return std::nullopt;
    return LogPlace{log_, offset_};
  }

 private:
  friend struct detail::EventAccess;
  enum : std::uint8_t {
    has_time = 1,
    has_source = 2,
    has_correlation = 4,
    has_trace = 8,
    is_terminal = 16,
    must_end = 32,
    wipe = 64,
    has_place = 128,
  };
  static constexpr std::size_t body_bytes = 112;

  Event() noexcept {}
  ~Event() = default;

  // Three cache lines. All that every publish writes and a receiver looks at lies in the first two; what is rarely
  // set lies in the third and is written only when `present_` says so.
  sync::atomic<std::uint32_t> references_{0};  // the ring's count of who may still read; see src/core/ring.hpp
  BodyKind kind_ = BodyKind::shutdown;
  std::uint8_t present_ = 0;
  std::uint8_t trace_flags_ = 0;
  std::uint8_t log_;
  alignas(8) std::byte body_[body_bytes];
  std::uint64_t sequence_ = 0;

  std::int64_t time_ns_ = 0;
  const std::string* source_ = nullptr;  // owned by the bus, kept as long as the ring
  CorrelationId correlation_;
  std::array<std::uint8_t, 16> trace_id_;
  std::array<std::uint8_t, 8> span_id_;
  std::uint64_t offset_;
};
static_assert(sizeof(Event) <= 192);

/// A counted reference to an event: keeps it readable for as long as the reference lives, whatever becomes
/// of the receiver and the bus. Held events take nodes from the ring's pool, which grows to replace them.
/// Threads: distinct references may be used at the same time.
class BUSBAR_EXPORT EventRef {
 public:
  EventRef() noexcept = default;
  EventRef(const EventRef& other) noexcept;
  EventRef(EventRef&& other) noexcept
      : event_(std::exchange(other.event_, nullptr)), core_(std::exchange(other.core_, nullptr)) {}
  EventRef& operator=(EventRef other) noexcept {
    std::swap(event_, other.event_);
    std::swap(core_, other.core_);
    return *this;
  }
  ~EventRef();

  explicit operator bool() const noexcept { return event_ != nullptr; }
  const Event& operator*() const noexcept { return *event_; }
  const Event* operator->() const noexcept { return event_; }
  const Event* get() const noexcept { return event_; }

 private:
  friend struct detail::EventAccess;
  const Event* event_ = nullptr;
  detail::Core* core_ = nullptr;
};

namespace detail {

/// Stands for a body that a later version may add.
struct LaterBody {};

template <class... Arms>
struct Overloaded : Arms... {
  using Arms::operator()...;
};
template <class... Arms>
Overloaded(Arms...) -> Overloaded<Arms...>;

}  // namespace detail

/// Calls the arm that takes the event's body. All arms return the same type; one of them takes anything:
///
///     bus::match(event, [](const bus::Message& m) { … }, [](const auto&) {});
///
/// Threads: calls in the caller's thread. Returns: what the arm returns. Errors: what the arm throws.
template <class... Arms>
decltype(auto) match(const Event& event, Arms&&... arms) {
  const auto visitor = detail::Overloaded{std::forward<Arms>(arms)...};
  static_assert(std::invocable<decltype(visitor), const detail::LaterBody&>,
                "match needs a default arm, [](const auto&) { … }: later versions add bodies");
  switch (event.kind()) {
    case BodyKind::health: return visitor(*event.get_if<Health>());
    case BodyKind::config_updated: return visitor(*event.get_if<ConfigUpdated>());
    case BodyKind::service_crashed: return visitor(*event.get_if<ServiceCrashed>());
    case BodyKind::message: return visitor(*event.get_if<Message>());
    case BodyKind::shutdown: break;
  }
  return visitor(*event.get_if<Shutdown>());
}

}  // namespace bus
