// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What is chosen when a bus is made and when a receiver subscribes.
#pragma once

#include <bus/event.hpp>
#include <bus/export.hpp>
#include <bus/limits.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace bus {

/// Where time stamps, the throttle of warnings, rate limits, `Overflow::detach` and the leases of groups take the time
/// from. The default is the system's. Deadlines are points of std::chrono::steady_clock itself, as a thread can sleep
/// until no other's; only those of `Member::receive_until` are the clock's.
/// Threads: every function may be called from any thread at the same time.
class BUSBAR_EXPORT Clock {
 public:
  virtual ~Clock() = default;
  /// For `Timestamps::precise`, and what a log notes.
  virtual std::chrono::system_clock::time_point wall() const noexcept = 0;
  /// For `Timestamps::coarse`: may be behind, and should cost less.
  virtual std::chrono::system_clock::time_point coarse_wall() const noexcept { return wall(); }
  /// For intervals: never goes back.
  virtual std::chrono::steady_clock::time_point steady() const noexcept = 0;

  /// The clocks of the operating system. Lifetime: for ever.
  static const Clock& system() noexcept;
};

/// Whether events carry the time of their publication.
enum class Timestamps : std::uint8_t {
  none,  ///< costs nothing
  coarse,  ///< to the tick of the kernel (1 to 4 ms); a few ns a publish
  precise,  ///< to the ns; about the cost of three to four publishes
};

/// Something a host may want to put in its own log. Never carries a payload.
struct Warning {
  /// What has happened.
  enum class Kind : std::uint8_t {
    lagged,  ///< `subject` is a receiver that missed `count` events
    nodes_grew,  ///< the node pool has grown `count` times: many senders, or users hold events
    observer_threw,  ///< `subject` is an observer that threw `count` times so far
    names_folded,  ///< more distinct names than are told apart; `subject` is counted as "other"
  };
  Kind kind{};
  std::string_view subject;  ///< a subscriber's or observer's name
  std::uint64_t count = 0;
  std::uint64_t suppressed = 0;  ///< warnings swallowed by the throttle since the last one told
};

/// The word for it: "lagged", "nodes_grew", …
BUSBAR_EXPORT std::string_view to_string(Warning::Kind kind) noexcept;

/// What is chosen when a bus is made.
struct BusOptions {
  /// Events the ring retains, exactly: 2 to 1,048,576. Memory is about 200 bytes each, taken at construction
  /// and first touched as the ring fills. To change it, cut over to a new bus.
  std::uint64_t capacity = 256;

  /// Largest payload a publish accepts, in bytes; at most 16 MiB. Above 64 KiB, prefer a reference to the data.
  std::size_t max_payload_bytes = limits::default_max_payload_bytes;

  /// Whether events carry the time of their publication, and how exactly.
  Timestamps timestamps = Timestamps::none;

  /// Nothing leaves memory: no component persists or prints payloads of this bus, and memory the library
  /// allocated for payloads is zeroed before it is given back. Costs a write of each payload on release.
  bool amnesia = false;

  /// Told of lag, growth and throwing observers. Called in the thread in which it happened, possibly by several
  /// at once, never under a lock. Must not throw.
  std::function<void(const Warning&)> on_warning = {};

  /// At most this many calls of `on_warning` in each minute; 0 silences it.
  std::uint32_t warnings_per_minute = 60;

  /// Must outlive the bus and everything made from it.
  const Clock* clock = &Clock::system();
};

/// How a receiver that finds nothing waits in `recv` and `recv_until`.
enum class Waiting : std::uint8_t {
  spin,  ///< burns its core; lowest latency; nothing for the publisher to do
  yield,  ///< spins briefly, then offers its core to others each round; nothing for the publisher to do
  park,  ///< spins as long as that has lately been worth it, then sleeps; the publisher that ends a lull pays one wake
};

/// Where a subscription begins.
enum class Start : std::uint8_t {
  next,  ///< the first event published after `subscribe` returns
  oldest,  ///< the oldest event still retained
};

/// A set of body kinds.
class Bodies {
 public:
  /// Those named: `{BodyKind::message, BodyKind::shutdown}`.
  constexpr Bodies(std::initializer_list<BodyKind> kinds) noexcept {
    for (const BodyKind kind : kinds) bits_ |= bit(kind);
  }
  /// Every kind, those included that later versions add.
  static constexpr Bodies all() noexcept {
    Bodies everything{};
    everything.bits_ = 0xFF;
    return everything;
  }
  /// Whether `kind` is in the set.
  constexpr bool contains(BodyKind kind) const noexcept { return (bits_ & bit(kind)) != 0; }
  friend bool operator==(Bodies, Bodies) = default;

 private:
  static constexpr std::uint8_t bit(BodyKind kind) noexcept {
    return static_cast<std::uint8_t>(1U << static_cast<unsigned>(kind));
  }
  std::uint8_t bits_ = 0;
};

/// What is chosen when a receiver subscribes.
struct SubscribeOptions {
  /// Labels the receiver's counters; at most 64 bytes, no spaces. Unnamed ones are counted as "untagged".
  std::string name = {};

  /// Which event is its first one.
  Start start = Start::next;

  /// Bodies of other kinds are skipped and counted as filtered.
  Bodies bodies = Bodies::all();

  /// If any are given, messages whose topic matches none of them are skipped and counted as filtered.
  /// Bodies that are not messages are not affected.
  std::vector<TopicPattern> patterns = {};

  /// How the receiver waits when it finds nothing.
  Waiting waiting = Waiting::park;
};

}  // namespace bus
