// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The router: each subscription has its own budget, and in it each principal its own queue.
//
//   bus::Router router{hub};
//   auto inbox = router.subscribe({.owner = "capsule-7", .patterns = {"llm.v1.>"}, .budget_bytes = 1 << 20});
//   router.publish({.topic = "llm.v1.stream.groq", .principal = "agent.alice", .payload = chunk});
//   while (auto got = inbox.recv()) {
//     if (got.missed()) …                               // messages of this principal lost before this one
//     handle(got->payload);
//   }
//
// Delivery
//   A publish gives the event its sequence once, puts it on the bus and into every route that admits it. Only the
//   router feeds routes: what is sent on the bus alone reaches none. Overlapping patterns of a route deliver once.
//
// Order
//   Of each principal a route delivers rising sequences, and what happened before is delivered before. A message whose
//   forerunner of the same principal is still on its way waits for it.
//
// Fairness
//   Principals are served by deficit round robin (M. Shreedhar, G. Varghese, "Efficient Fair Queuing Using Deficit
//   Round Robin", IEEE/ACM ToN 4(3), 1996), by charged bytes and weight, whether received singly or many at once.
//
// Loss
//   A route that has no room does as its `overflow` says. Whatever it loses is counted by reason and class, and the
//   next message of that principal says how many went missing before it. A publisher is told of every route that
//   refused its message. A message marked `terminal` is never evicted.
//
// Threads
//   A Router may be used from any thread. A RouteSender, a RouteReceiver and what a receive returned belong to one
//   thread at a time. All of them may outlive the router, whose destruction closes it, and the bus.
//   A publish waits for no reader to come. It holds one lock at a time, a route's, for O(1) steps (O(log principals)
//   with `evict_fair_share`) and none while it wakes or calls out; a reader holds that lock for what one call takes.
//   Subscribing and unsubscribing never stop a publisher.
#pragma once

#include <bus/bus.hpp>
#include <bus/export.hpp>
#include <bus/routing/options.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bus {

class Router;

namespace detail {

class Route;
class RouterCore;
struct PublishAccess;
struct RouteAccess;
struct RoutePublisher;

}  // namespace detail

/// Identifies a route of one router; never reused.
enum class RouteId : std::uint64_t {};

/// Why a message is missing in a route.
enum class Loss : std::uint8_t {
  evicted,       ///< it was there, and had to make room
  coalesced,     ///< a later one took its place
  over_budget,   ///< no room, and nothing that may be evicted would make enough
  too_large,     ///< it could never fit the budget
  over_share,    ///< its principal is the one above its share, and has nothing else to give
  terminals,     ///< the terminals of its principal would take more than half of the budget
  over_count,    ///< too many messages of its principal or, with credits, of the route
  rate_limited,  ///< its principal has sent faster than the owner of the route allows
  out_of_memory,
};
inline constexpr std::size_t loss_reasons = 9;

/// The word for it, as in metrics and tools.
BUSBAR_EXPORT std::string_view to_string(Loss reason) noexcept;

/// What became of a publish.
class PublishOutcome {
 public:
  /// One route that refused the message.
  struct Refusal {
    RouteId route{};
    Loss reason{};
  };
  static constexpr std::size_t max_refusals = 8;

  std::uint64_t sequence = 0;
  std::uint64_t receivers = 0;  ///< alive on the bus
  std::uint32_t taken = 0;      ///< routes that took it
  std::uint32_t refused = 0;    ///< routes that refused it
  std::uint32_t gated = 0;      ///< routes whose gate was closed

  /// Whether it was for no route: none took it, refused it, or had its gate closed.
  bool nobody_interested() const noexcept { return taken == 0 && refused == 0 && gated == 0; }

  /// Which routes refused it and why; the first 8 of `refused`.
  std::span<const Refusal> refusals() const noexcept {
    return {refusals_.data(), refused < max_refusals ? refused : max_refusals};
  }

  /// Counts a refusal, and notes it if there is room. By the router.
  void add_refusal(RouteId route, Loss reason) noexcept {
    if (refused < max_refusals) refusals_[refused] = {route, reason};
    ++refused;
  }

 private:
  std::array<Refusal, max_refusals> refusals_{};
};

/// What a receive returned: perhaps a message, and what of its principal was lost before it. Losses that no message
/// follows are told by none: they stay in `RouteReceiver::backlogs`, closed or not.
/// Lifetime: owns the event; independent of the receiver.
class [[nodiscard]] RouteReceived {
 public:
  RouteReceived() noexcept = default;

  /// Whether there is a message.
  explicit operator bool() const noexcept { return outcome_ == Outcome::event; }
  const Message& operator*() const noexcept { return *event_->get_if<Message>(); }
  const Message* operator->() const noexcept { return event_->get_if<Message>(); }
  const Event& event() const noexcept { return *event_; }  ///< what it came in; only if there is a message
  EventRef keep() const noexcept { return event_; }  ///< a reference that outlives this

  /// Messages of this principal lost between its message before and this one. With no message: 0.
  std::uint64_t missed() const noexcept { return missed_; }

  /// Losses of principals that were forgotten before they could be told; see `limits::max_untold_principals`.
  std::uint64_t missed_of_forgotten() const noexcept { return forgotten_; }

  /// What the route charged for it, in bytes.
  std::size_t charged() const noexcept { return charged_; }

  /// When it was queued; none without `RouteOptions::ticks`.
  std::optional<std::chrono::steady_clock::time_point> queued() const noexcept { return queued_; }

  /// Why the receive returned.
  Outcome outcome() const noexcept { return outcome_; }
  /// Whether no message will come any more.
  bool closed() const noexcept { return outcome_ == Outcome::closed; }

 private:
  friend class detail::Route;
  friend struct detail::RouteAccess;
  EventRef event_;
  std::uint64_t missed_ = 0;
  std::uint64_t forgotten_ = 0;
  std::size_t charged_ = 0;
  std::optional<std::chrono::steady_clock::time_point> queued_;
  Outcome outcome_ = Outcome::empty;
};

/// Several messages at once, in the order of service.
class [[nodiscard]] RouteBatch {
 public:
  RouteBatch() noexcept = default;
  auto begin() const noexcept { return messages_.begin(); }
  auto end() const noexcept { return messages_.end(); }
  std::size_t size() const noexcept { return messages_.size(); }
  bool empty() const noexcept { return messages_.empty(); }
  const RouteReceived& operator[](std::size_t i) const noexcept { return messages_[i]; }
  explicit operator bool() const noexcept { return !messages_.empty(); }
  /// Why the receive returned.
  Outcome outcome() const noexcept { return outcome_; }
  /// Whether no message will come any more.
  bool closed() const noexcept { return outcome_ == Outcome::closed; }

 private:
  friend class detail::Route;
  friend struct detail::RouteAccess;
  std::vector<RouteReceived> messages_;
  Outcome outcome_ = Outcome::empty;
};

/// One route. `offered == delivered + pending + lost_in_all()`, at any time.
struct RouteStats {
  RouteId id{};
  std::string owner;
  std::string name;
  std::uint64_t offered = 0;    ///< messages that matched, in scope, through the gate
  std::uint64_t delivered = 0;
  std::uint64_t pending = 0;    ///< messages in the route now
  std::uint64_t bytes = 0;      ///< charged now
  std::uint64_t bytes_peak = 0;
  std::uint64_t budget_bytes = 0;
  std::uint64_t principals = 0;      ///< that have messages in the route now
  std::uint64_t gated = 0;           ///< not offered: the gate was closed
  std::uint64_t quantum_starved = 0;  ///< turns in which a principal's deficit did not cover its first message
  std::uint64_t waiting_publishers = 0;
  std::uint64_t forgotten = 0;  ///< losses of principals no longer remembered, to be told with the next message
  bool detached = false;
  /// Messages lost, by reason and by class of principal: `lost[reason][class]`.
  std::array<std::array<std::uint64_t, 3>, loss_reasons> lost{};

  /// Messages lost for this reason.
  std::uint64_t lost_for(Loss reason) const noexcept {
    const auto& by_class = lost[static_cast<std::size_t>(reason)];
    return by_class[0] + by_class[1] + by_class[2];
  }

  /// Messages lost for any reason.
  std::uint64_t lost_in_all() const noexcept {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < loss_reasons; ++i) sum += lost_for(static_cast<Loss>(i));
    return sum;
  }
};

/// All routes that carry or carried one name, those that are gone included: what it counts only grows.
/// `offered == delivered + pending + abandoned + lost_in_all()`, at any time.
struct RouteNameStats {
  std::string name;
  std::uint64_t offered = 0;
  std::uint64_t delivered = 0;
  std::uint64_t abandoned = 0;  ///< messages that were in a route when its receiver went
  std::uint64_t gated = 0;
  std::uint64_t quantum_starved = 0;
  std::array<std::array<std::uint64_t, 3>, loss_reasons> lost{};  ///< as in `RouteStats`

  // Of the routes that are there, as sums.
  std::uint64_t routes = 0;
  std::uint64_t detached = 0;  ///< of these
  std::uint64_t pending = 0;
  std::uint64_t bytes = 0;
  std::uint64_t budget_bytes = 0;
  std::uint64_t principals = 0;
  std::uint64_t waiting_publishers = 0;

  /// Messages lost for any reason.
  std::uint64_t lost_in_all() const noexcept {
    std::uint64_t sum = 0;
    for (const auto& by_class : lost) sum += by_class[0] + by_class[1] + by_class[2];
    return sum;
  }
};

/// One principal of a route: what it has there, and what its reader has yet to be told.
struct PrincipalBacklog {
  std::string principal;
  std::uint64_t pending = 0;
  std::uint64_t bytes = 0;
  std::uint64_t untold = 0;  ///< lost since its last message was received
};

/// Publishes through a router, keeping its place between publishes. Cheap to copy.
/// Threads: one at a time. Lifetime: may outlive the router; publishes then return errc::closed.
class BUSBAR_EXPORT RouteSender {
 public:
  RouteSender() noexcept = default;
  RouteSender(const RouteSender& other) noexcept : core_(other.core_), source_(other.source_) {}
  RouteSender(RouteSender&& other) noexcept;
  RouteSender& operator=(RouteSender other) noexcept;
  ~RouteSender();

  /// Publishes a message: on the bus, and into every route that admits it.
  /// Blocks: never for a reader. Cost: O(1) in routes that do not match; for each that does, a short critical section.
  /// Errors: those of `Sender::send`; rate_limited if the router has a limiter; topic_durable if it is bound to a log
  ///         and the topic is published through its `DurableTopics`. Nothing was published then.
  result<PublishOutcome> publish(Message message, const Attributes& attributes = {});

  /// As `publish`, but waits for room in routes with `Overflow::wait`, until `deadline`. What has no room by then is
  /// refused by that route, and delivered to the others.
  result<PublishOutcome> publish_until(Message message, std::chrono::steady_clock::time_point deadline,
                                       const Attributes& attributes = {});

  /// As `publish_until` without a deadline, for a Boost.Asio completion token of signature
  /// `void(error_code, PublishOutcome)`. Needs <bus/routing/asio.hpp>, which says the rest.
  template <class CompletionToken>
  auto async_publish(Message message, const Attributes& attributes, CompletionToken&& token);

 private:
  friend class Router;
  friend struct detail::PublishAccess;
  RouteSender(std::shared_ptr<detail::RouterCore> core, const std::string* source) noexcept;
  bool take_place() noexcept;
  std::shared_ptr<detail::RouterCore> core_;
  detail::RoutePublisher* place_ = nullptr;  // acquired by the first publish
  const std::string* source_ = nullptr;
};

/// Reads one route. Destroying it ends the route; what is in it then is gone.
/// Threads: one at a time; `stats`, `backlogs`, `set_weights` and `detached` from any. Lifetime: may outlive the
/// router, then reads what is left.
class BUSBAR_EXPORT RouteReceiver {
 public:
  /// A receiver of no route: every receive returns closed.
  RouteReceiver() noexcept = default;
  RouteReceiver(RouteReceiver&& other) noexcept : route_(std::exchange(other.route_, nullptr)) {}
  RouteReceiver& operator=(RouteReceiver&& other) noexcept;
  ~RouteReceiver();

  /// The next message by fair turn, if there is one. Returns: event, empty or closed. Blocks: never.
  RouteReceived try_recv() noexcept;

  /// The next message. Returns: event or closed; with the deadline or the token also timed_out or stopped. A message
  /// that is there wins.
  RouteReceived recv() noexcept;
  RouteReceived recv(std::stop_token stop) noexcept;
  RouteReceived recv_until(std::chrono::steady_clock::time_point deadline) noexcept;
  RouteReceived recv_until(std::chrono::steady_clock::time_point deadline, std::stop_token stop) noexcept;

  /// Up to `max` messages at once, waiting for the first as `recv` does. Errors: throws std::bad_alloc; nothing is
  /// lost.
  RouteBatch recv_batch(std::size_t max);
  RouteBatch try_recv_batch(std::size_t max);

  /// What is there, up to `bytes` charged bytes but at least one message. A turn is worth `bytes` shared by the
  /// principals that have messages, if that is more than the quantum. Errors: as `recv_batch`.
  RouteBatch drain(std::size_t bytes);

  /// For Boost.Asio completion tokens, `void(error_code, RouteReceived)` and `void(error_code, RouteBatch)`.
  /// Defined in <bus/routing/asio.hpp>.
  template <class CompletionToken>
  auto async_recv(CompletionToken&& token);
  template <class CompletionToken>
  auto async_recv_batch(std::size_t max, CompletionToken&& token);

  RouteId id() const noexcept;  ///< as in a `Refusal`
  std::string_view name() const noexcept;  ///< `RouteOptions::name`, or else the owner

  /// Whether the route ended because it had no room for too long. From then on it takes and refuses nothing.
  /// Threads: any.
  bool detached() const noexcept;

  /// What the route has counted. Threads: any. Errors: throws std::bad_alloc.
  RouteStats stats() const;

  /// Changes `RouteOptions::weights`, from the next turn of each principal on. Threads: any.
  /// Cost: O(principals), under the lock of the route.
  /// Errors: throws std::invalid_argument naming the weight that is out of range; nothing has changed then.
  void set_weights(Weights weights);

  /// Every principal that has messages in the route or losses not yet told. Cost: O(principals), allocates.
  std::vector<PrincipalBacklog> backlogs() const;

 private:
  friend class Router;
  friend struct detail::RouteAccess;
  explicit RouteReceiver(detail::Route* adopted) noexcept : route_(adopted) {}
  detail::Route* route_ = nullptr;
};

/// What is chosen when a router is made.
struct RouterOptions {
  /// Routes that one owner may have at a time; 0 is no limit.
  std::size_t max_routes_per_owner = 0;

  /// If given, each publish passes it first, with the sender's name as owner. Where there is no sender, as in
  /// `Router::publish` and `DurableTopics`, it is empty, and those share what one owner may send.
  std::shared_ptr<RateLimiter> rate_limiter = {};
};

/// What a router has counted, and each of its routes.
struct RouterStats {
  bool amnesia = false;  ///< the bus has it
  std::uint64_t routes = 0;  ///< whose receivers are alive, detached ones included
  std::uint64_t published = 0;  ///< through this router
  std::uint64_t nobody_interested = 0;  ///< of these
  std::uint64_t rate_limited = 0;  ///< refused by the router's limiter
  std::vector<RouteStats> each;  ///< sorted by id
  std::vector<RouteNameStats> names;  ///< sorted by name; beyond `limits::max_accounted_names` they are one, "other"
};

/// Keeps a topic watched. See `Router::watch_interest`.
class BUSBAR_EXPORT InterestWatch {
 public:
  InterestWatch() noexcept = default;
  InterestWatch(InterestWatch&&) noexcept = default;
  InterestWatch& operator=(InterestWatch&& other) noexcept;
  ~InterestWatch() { reset(); }

  /// Ends it. A call that is under way in another thread may still finish.
  void reset() noexcept;

 private:
  friend class Router;
  InterestWatch(std::weak_ptr<detail::RouterCore> core, std::uint64_t id) noexcept : core_(std::move(core)), id_(id) {}
  std::weak_ptr<detail::RouterCore> core_;
  std::uint64_t id_ = 0;
};

/// Gives each subscription its own budget, and in it each principal its own queue. See the head of this file.
class BUSBAR_EXPORT Router {
 public:
  /// One bus has one router.
  /// Errors: throws std::invalid_argument if the bus has one already, std::bad_alloc.
  explicit Router(Bus& bus, RouterOptions options = {});

  /// Closes. The bus goes on.
  ~Router();
  Router(const Router&) = delete;
  Router& operator=(const Router&) = delete;

  /// A new route, active when this returns: a message whose publish begins afterwards is its to see.
  /// Threads: any. Cost: O(patterns x their neighbours in the trie).
  /// Errors: throws std::invalid_argument naming the option that is wrong, boost::system::system_error with
  /// errc::too_many_routes or errc::closed, std::bad_alloc.
  RouteReceiver subscribe(RouteOptions options);

  /// A new sender; `source` names it in its events, at most 64 bytes. Errors: as `Bus::sender`.
  RouteSender sender(std::string_view source = {});

  /// As `RouteSender::publish`, from any thread. Cost: a little more than a sender's.
  result<PublishOutcome> publish(Message message, const Attributes& attributes = {});
  result<PublishOutcome> publish_until(Message message, std::chrono::steady_clock::time_point deadline,
                                       const Attributes& attributes = {});

  /// As `RouteSender::async_publish`, from any thread.
  template <class CompletionToken>
  auto async_publish(Message message, const Attributes& attributes, CompletionToken&& token);

  /// Whether a message on this topic would come to a route now, gates and scopes aside. Threads: any.
  bool has_interest(const Topic& topic) const;

  /// How many routes it would come to.
  std::size_t route_count(const Topic& topic) const;

  /// Calls `changed(true)` when the first route for this topic comes and `changed(false)` when the last one goes, in
  /// turns, in a thread that subscribes, watches or ends a route, under no lock. If there is a route now, `true` is the
  /// first call. Coming and going that is over before it could be told is not told. An exception from it ends the
  /// program.
  [[nodiscard]] InterestWatch watch_interest(Topic topic, std::function<void(bool)> changed);

  /// No publish succeeds any more; receivers get what is left, then `closed`; who waits wakes. Closing the bus does
  /// this too. Threads: any, any number of times.
  void close() noexcept;
  /// Whether it has been closed. Threads: any.
  bool closed() const noexcept;

  /// The name of a route, for a `Refusal`; empty if it has ended.
  std::string route_name(RouteId route) const;

  /// What it has counted. Threads: any. Cost: O(routes), allocates; each route is looked at under its own lock.
  RouterStats stats() const;

 private:
  friend struct detail::PublishAccess;
  std::shared_ptr<detail::RouterCore> core_;
};

}  // namespace bus
