// SPDX-License-Identifier: MIT OR Apache-2.0
#include <bus/routing/router.hpp>

#include <bus/detail/route_async.hpp>

#include "routing/router_core.hpp"

#include <boost/system/system_error.hpp>

#include <algorithm>
#include <functional>
#include <stdexcept>
#include <utility>

namespace bus {
namespace detail {
namespace {

using Deadline = std::chrono::steady_clock::time_point;

constexpr std::string_view other_names = "other";

/// Who sends, to the limiter.
std::string_view owner_of(const std::string* source) noexcept {
  return source != nullptr ? std::string_view(*source) : std::string_view();
}

std::size_t hash_of(std::string_view text) noexcept { return std::hash<std::string_view>()(text); }

[[noreturn]] void throw_wrong(std::string_view option, std::string_view given, std::string_view allowed) {
  throw std::invalid_argument("RouteOptions::" + std::string(option) + " is " + std::string(given) + "; allowed are " +
                              std::string(allowed));
}

void check_weight(std::string_view option, std::uint32_t weight) {
  if (weight == 0 || weight > limits::max_weight) throw_wrong(option, std::to_string(weight), "1 to 64");
}

void check_weights(const Weights& weights) {
  for (auto one = weights.principals.begin(); one != weights.principals.end(); ++one) {
    const auto is_its = [&](const auto& other) { return other.first == one->first; };
    if (std::any_of(std::next(one), weights.principals.end(), is_its)) {
      throw_wrong("weights.principals", "two weights for \"" + std::string(one->first.view()) + "\"", "one for each");
    }
  }
  check_weight("weights.system", weights.system);
  check_weight("weights.agent", weights.agent);
  check_weight("weights.user", weights.user);
  for (const auto& [principal, weight] : weights.principals) {
    check_weight("weights of " + std::string(principal.view()), weight);
  }
}

RouteOptions checked(RouteOptions options) {
  if (options.owner.empty()) throw_wrong("owner", "empty", "1 to 64 bytes");
  if (const auto wrong = name_fault(options.owner, limits::max_name_bytes); !wrong.empty()) {
    throw_wrong("owner", "\"" + options.owner + "\" (" + std::string(wrong) + ")",
                "1 to 64 bytes, no space or control byte");
  }
  if (const auto wrong = name_fault(options.name, limits::max_name_bytes); !wrong.empty()) {
    throw_wrong("name", "\"" + options.name + "\" (" + std::string(wrong) + ")",
                "0 to 64 bytes, no space or control byte");
  }
  if (options.name.empty()) options.name = options.owner;
  if (options.patterns.empty()) throw_wrong("patterns", "empty", "one or more patterns");
  for (const TopicPattern& pattern : options.patterns) {
    if (pattern.empty()) throw_wrong("patterns", "a list with an empty pattern", "one or more patterns");
  }
  std::ranges::sort(options.patterns, {}, [](const TopicPattern& pattern) { return pattern.view(); });
  const auto same =
      std::ranges::unique(options.patterns, {}, [](const TopicPattern& pattern) { return pattern.view(); });
  options.patterns.erase(same.begin(), same.end());
  if (options.budget_bytes <= route_entry_bytes || options.budget_bytes > limits::max_route_budget_bytes) {
    throw_wrong("budget_bytes", std::to_string(options.budget_bytes),
                std::to_string(route_entry_bytes + 1) + " (a message of one byte) to " +
                    std::to_string(limits::max_route_budget_bytes));
  }
  if (options.quantum_bytes == 0 || options.quantum_bytes > limits::max_route_budget_bytes) {
    throw_wrong("quantum_bytes", std::to_string(options.quantum_bytes),
                "1 to " + std::to_string(limits::max_route_budget_bytes));
  }
  if (options.overflow > Overflow::coalesce) {
    throw_wrong("overflow", std::to_string(static_cast<int>(options.overflow)), "the enumerators of Overflow");
  }
  if (options.principal_messages == 0) throw_wrong("principal_messages", "0", "1 and more");
  if (options.detach_after < std::chrono::nanoseconds(0)) throw_wrong("detach_after", "negative", "0 and more");
  check_weights(options.weights);
  return options;
}

}  // namespace

// --- What a publisher remembers. ---

Routes RouteMemo::find(const RouteTable& table, const Topic& topic) {
  const std::size_t hash = hash_of(topic.view());
  if (size_ != 0) {
    Place* const pair = &places_[hash & (size_ - 2)];
    for (Place* place : {pair, pair + 1}) {
      if (place->version == table.version && place->topic == topic) return place->routes();
    }
    if (pair[0].version == table.version && pair[1].version == table.version) ++displaced_;
  }
  if (size_ == 0 || (displaced_ > size_ && size_ < most_places)) {
    const std::size_t size = size_ == 0 ? least_places : 2 * size_;
    places_ = std::make_unique<Place[]>(size);
    size_ = size;
    displaced_ = 0;
  }

  found_.clear();
  bool several = false;
  table.root->match(topic.view(), [&](Route* route) {
    found_.push_back(route);
    several |= route->several_patterns();
  });
  if (several) {
    std::ranges::sort(found_);
    found_.erase(std::unique(found_.begin(), found_.end()), found_.end());
  }
  if (found_.size() > most_routes) return found_;
  Place* const pair = &places_[hash & (size_ - 2)];
  const bool second = pair[0].version == table.version && (pair[1].version != table.version || ++turn_ % 2 == 0);
  Place& place = pair[second ? 1 : 0];
  place.version = 0;  // should what follows throw
  place.several.reset();
  place.one = nullptr;
  if (found_.size() == 1) place.one = found_.front();
  if (found_.size() > 1) place.several = std::make_unique<std::vector<Route*>>(found_);
  place.topic = topic;
  place.version = table.version;
  return place.routes();
}

// --- Flights. ---

namespace {

/// A publish, or a look at the table, from begin to end.
class InFlight {
 public:
  InFlight(RouterCore& core, RoutePublisher& publisher, std::size_t hash) noexcept
      : core_(core), publisher_(publisher) {
    publisher_.in_use = true;
    publisher_.flight.begin(core.bus->ring.end().position, hash);
  }
  ~InFlight() {
    land();
    publisher_.in_use = false;
  }
  InFlight(const InFlight&) = delete;
  InFlight& operator=(const InFlight&) = delete;

  /// From now on it holds nobody up, and wakes who slept for that.
  void land() noexcept {
    if (std::exchange(landed_, true)) return;
    publisher_.flight.end();
    core_.held.wake_all([](ReaderRecord& record) { record.wake(); });
  }

 private:
  RouterCore& core_;
  RoutePublisher& publisher_;
  bool landed_ = false;
};

}  // namespace

bool RouterCore::under_way(std::size_t hash, std::uint64_t sequence, std::uint64_t& settled) noexcept {
  const std::uint64_t end = bus->ring.end().position;  // first: what begins after the look gets a later sequence
  std::uint64_t least = end + 1;
  bool precedes = false;
  publishers.for_each([&](const RoutePublisher& publisher) {
    const auto seen = publisher.flight.look(hash, end);
    if (!seen.under_way) return;
    least = std::min(least, seen.least_sequence);
    precedes |= seen.same_hash && seen.least_sequence < sequence;
  });
  settled = std::max(settled, least - 1);
  return precedes;
}

// --- Routes that come and go. ---

RouterCore::RouterCore(CoreRef on, RouterOptions given)
    : bus(std::move(on)),
      options(std::move(given)),
      table_(new RouteTable{1, new TrieNode, nullptr}),
      tables_(publishers, table_.get()) {}

RouterCore::~RouterCore() {
  for (const auto& [id, route] : routes_) route->release();  // none but those that `remove` could not take out
  TrieNode::destroy_all(table_->root);
  publishers.for_all([this](RoutePublisher& publisher) {
    if (publisher.on_bus != nullptr) bus->publishers.release(*publisher.on_bus);
  });
}

/// Puts in, or takes out, all patterns of a route at once. `last` is what the table lets go of thereby.
/// Errors: throws std::bad_alloc; the table is then the old one still, and `last` the caller's.
void RouterCore::change_table(Route& route, ChangeTrie* change, std::unique_ptr<Route, ReleaseRoute> last) {
  Garbage garbage;
  try {
    auto next = std::make_unique<RouteTable>(RouteTable{table_->version + 1, table_->root, table_->reserved});
    for (const TopicPattern& pattern : route.options().patterns) {
      next->root = change(*next->root, pattern.view(), &route, garbage.nodes).release();
    }
    garbage.route = std::move(last);
    replace_table(std::move(next), garbage);
  } catch (...) {
    // All of it is in use still. (Nodes made for patterns before the one that failed are not given back.)
    for (auto& node : garbage.nodes) (void)node.release();
    (void)garbage.route.release();
    (void)last.release();
    throw;
  }
}

/// Errors: throws std::bad_alloc; the table is then the old one still, and the garbage the caller's.
void RouterCore::replace_table(std::unique_ptr<RouteTable> next, Garbage& garbage) {
  garbage.table.reset(table_.get());
  const RouteTable* const now = next.get();
  try {
    tables_.replace(now, garbage);
  } catch (...) {
    (void)garbage.table.release();  // in use still
    throw;
  }
  (void)table_.release();
  table_ = std::move(next);
}

std::uint8_t RouterCore::reserve(ReservedTopics topics, const std::array<std::uint8_t, 16>& log) {
  const std::lock_guard lock(mutex_);
  if (reserved_.load(sync::relaxed)) throw std::invalid_argument("the router has DurableTopics already");
  constexpr std::size_t most_logs = 255;  // more than that share the last number
  auto known = std::ranges::find(logs_, log);
  if (known == logs_.end() && logs_.size() < most_logs) known = logs_.insert(known, log);
  const auto number = std::min<std::size_t>(static_cast<std::size_t>(known - logs_.begin()) + 1, most_logs);

  Garbage garbage;
  auto reserved = std::make_shared<const ReservedTopics>(std::move(topics));
  replace_table(std::make_unique<RouteTable>(RouteTable{table_->version + 1, table_->root, std::move(reserved)}),
                garbage);
  reserved_.store(true, sync::release);  // sync TOPICS-RESERVED
  return static_cast<std::uint8_t>(number);
}

bool RouterCore::is_reserved(const Topic& topic, RoutePublisher& publisher) noexcept {
  if (!reserved_.load(sync::acquire)) return false;  // sync TOPICS-RESERVED
  const InFlight flight(*this, publisher, 0);
  return std::ranges::any_of(*tables_.read()->reserved, [&](const auto& pattern) { return pattern.matches(topic); });
}

Route* RouterCore::subscribe(RouteOptions given) {
  given = checked(std::move(given));
  struct ReleaseReader {
    void operator()(Route* route) const noexcept { route->release_reader(); }
  };
  std::unique_ptr<Route, ReleaseReader> route;
  {
    const std::lock_guard lock(mutex_);
    if (closed()) throw boost::system::system_error(make_error_code(errc::closed), "Router::subscribe");
    const auto owner = routes_of_owner_.try_emplace(given.owner, 0).first;
    if (options.max_routes_per_owner != 0 && owner->second >= options.max_routes_per_owner) {
      throw boost::system::system_error(
          make_error_code(errc::too_many_routes),
          "owner \"" + given.owner + "\" has " + std::to_string(owner->second) + " routes");
    }
    if (!totals_.contains(given.name)) {
      const std::string name(totals_.size() < limits::max_accounted_names ? given.name : other_names);
      totals_.try_emplace(name).first->second.name = name;
    }
    route.reset(new Route(shared_from_this(), RouteId{last_id_ + 1}, std::move(given)));
    const auto entry = routes_.emplace(route->id(), route.get()).first;
    try {
      change_table(*route, TrieNode::with, {});
    } catch (...) {
      routes_.erase(entry);
      throw;
    }
    route->retain();  // the table's
    ++last_id_;
    ++owner->second;
  }
  tell_interest();
  return route.release();
}

void RouterCore::remove(Route& route) noexcept {
  {
    const std::lock_guard lock(mutex_);
    const auto owner = routes_of_owner_.find(route.options().owner);
    if (--owner->second == 0) routes_of_owner_.erase(owner);
    try {
      change_table(route, TrieNode::without, std::unique_ptr<Route, ReleaseRoute>(&route));
      routes_.erase(route.id());
      leave_counts(route, totals_of(totals_, route));
    } catch (const std::bad_alloc&) {
      // It stays in the table, where it takes nothing, and goes with the router.
    }
  }
  tell_interest();
}

/// Names that came when there were too many have no place of their own.
RouteNameStats& RouterCore::totals_of(NameTotals& totals, const Route& route) noexcept {
  const auto own = totals.find(route.name());
  return own != totals.end() ? own->second : totals.find(other_names)->second;
}

/// What a route that ends has counted. What it still held is gone with it.
void RouterCore::leave_counts(const Route& route, RouteNameStats& totals) noexcept {
  route.add_to(totals);
  totals.abandoned += std::exchange(totals.pending, 0);
  totals.routes = totals.detached = totals.bytes = totals.budget_bytes = totals.principals = 0;
  totals.waiting_publishers = 0;
}

RoutePublisher& RouterCore::acquire_publisher() {
  RoutePublisher& publisher = publishers.acquire();
  if (publisher.on_bus == nullptr) {
    try {
      publisher.on_bus = &bus->publishers.acquire();
    } catch (...) {
      publishers.release(publisher);
      throw;
    }
  }
  return publisher;
}

void RouterCore::release_publisher(RoutePublisher& publisher) noexcept { publishers.release(publisher); }

// --- Publishing. ---

struct RouterCore::Room final : RoomWait {
  explicit Room(Route& in) : route(in) { route.retain(); }
  ~Room() {
    route.unreserve(*this);
    route.release();
  }
  void granted() noexcept override {
    if (wait != nullptr) return wait->resume(AsyncWait::Reason::look_again);
    told.post();
  }

  Route& route;
  AsyncWait* wait = nullptr;  // who waits; else a thread
  Semaphore told;
};

std::size_t RouterCore::charge_for(const Message& message) noexcept {
  return message.payload.size() + message.topic.view().size() + route_entry_bytes;
}

RouterCore::Rooms RouterCore::rooms_for(const Message& message, RoutePublisher& publisher) {
  Rooms rooms;
  {
    const InFlight flight(*this, publisher, hash_of(message.principal.view()));
    for (Route* route : publisher.memo.find(*tables_.read(), message.topic)) {
      if (route->waits() && route->would_admit(message.principal)) rooms.push_back(std::make_unique<Room>(*route));
    }
  }
  std::ranges::sort(rooms, {}, [](const auto& room) { return room->route.id(); });
  return rooms;
}

result<PublishOutcome> RouterCore::publish(RoutePublisher& publisher, const std::string* source, Message&& message,
                                           const Attributes& attributes, const Deadline* deadline) try {
  if (publisher.in_use) {
    const BorrowedPublisher other(*this);
    return publish(*other, source, std::move(message), attributes, deadline);
  }
  if (is_reserved(message.topic, publisher)) return make_error_code(errc::topic_durable);
  if (const error_code refused = admit(source, message, attributes)) return refused;
  Rooms rooms;
  if (deadline != nullptr) {
    const std::size_t charge = charge_for(message);
    rooms = rooms_for(message, publisher);
    for (const auto& room : rooms) {
      if (!room->route.reserve(charge, *room)) continue;
      const bool told = room->told.wait_until(*deadline);
      if (!room->route.withdraw(*room) && !told) room->told.wait();  // somebody is about to tell it
    }
  }
  return publish(publisher, source, std::move(message), attributes, rooms);
} catch (const std::bad_alloc&) {
  return make_error_code(errc::out_of_memory);  // nothing was published: only what comes before that allocates
}

/// What comes before anything is touched, room in routes for one.
error_code RouterCore::admit(const std::string* source, const Message& message, const Attributes& attributes) {
  if (closed()) return errc::closed;
  if (const errc wrong = bus->fault_of(message); wrong != errc{}) return wrong;
  if (attributes.key.size() > limits::max_key_bytes) return errc::key_too_long;
  if (options.rate_limiter == nullptr) return {};
  const auto admitted = options.rate_limiter->admit(owner_of(source), message.principal.view(), message.payload.size());
  if (admitted) return {};
  rate_limited_.fetch_add(1, sync::relaxed);
  return admitted.error();
}

void RouterCore::take_back(const std::string* source, const Message& message) noexcept {
  if (options.rate_limiter == nullptr) return;
  options.rate_limiter->give_back(owner_of(source), message.principal.view(), message.payload.size());
}

result<PublishOutcome> RouterCore::publish(RoutePublisher& publisher, const std::string* source, Message&& message,
                                           const Attributes& attributes, Rooms& rooms, const LogPlace* place) {
  if (closed()) return make_error_code(errc::closed);
  const std::size_t charge = charge_for(message);

  /// Hands the event to the routes that its topic goes to.
  struct FanOut final : RouteSink {
    void published(const Event& event) noexcept override {
      publisher.flight.stamp(event.sequence());
      const Message& message = *event.get_if<Message>();
      const Offer offer{&event, &message, {&message.principal, hash}, charge, key, publisher.on_bus};
      for (Route* const route : routes) {
        const auto room = std::ranges::find_if(rooms, [&](const auto& one) { return &one->route == route; });
        Loss reason{};
        switch (route->offer(offer, room != rooms.end() ? room->get() : nullptr, &reason)) {
          case Route::Answer::taken: ++outcome.taken; break;
          case Route::Answer::refused: outcome.add_refusal(route->id(), reason); break;
          case Route::Answer::gated: ++outcome.gated; break;
          case Route::Answer::not_for_it: break;
        }
      }
      flight.land();  // what follows, observers for one, holds nobody up
    }

    FanOut(InFlight& in_flight, RoutePublisher& by, Routes to, Rooms& in)
        : flight(in_flight), publisher(by), routes(to), rooms(in) {}
    InFlight& flight;
    RoutePublisher& publisher;
    const Routes routes;
    Rooms& rooms;
    std::size_t hash = 0;
    std::size_t charge = 0;
    std::string_view key;
    PublishOutcome outcome;
  };

  const std::size_t hash = hash_of(message.principal.view());
  InFlight flight(*this, publisher, hash);
  FanOut fan_out(flight, publisher, publisher.memo.find(*tables_.read(), message.topic), rooms);
  for (Route* const route : fan_out.routes.first(std::min<std::size_t>(fan_out.routes.size(), 4))) route->prefetch();
  fan_out.hash = hash;
  fan_out.charge = charge;
  fan_out.key = attributes.key;
  const auto sent = bus->publish_routed(*publisher.on_bus, source, std::move(message), attributes, place,
                                        static_cast<std::uint32_t>(fan_out.routes.size()), fan_out);
  if (!sent) return sent.error();
  PublishOutcome& outcome = fan_out.outcome;
  outcome.sequence = sent->sequence;
  outcome.receivers = sent->receivers;
  publisher.published.fetch_add(1, sync::relaxed);
  if (outcome.nobody_interested()) publisher.nobody_interested.fetch_add(1, sync::relaxed);
  return outcome;
}

result<PublishOutcome> RouterCore::publish_reserved(RoutePublisher& publisher, Message&& message,
                                                    const Attributes& attributes, const LogPlace* place) noexcept try {
  Rooms none;
  return publish(publisher, nullptr, std::move(message), attributes, none, place);
} catch (const std::bad_alloc&) {
  return make_error_code(errc::out_of_memory);
}

// --- Publishing that waits without a thread. ---

namespace {

class Pending final : public PendingPublish {
 public:
  Pending(std::shared_ptr<RouterCore> router, const std::string* source, Message message, const Attributes& attributes)
      : router_(std::move(router)),
        source_(source),
        message_(std::move(message)),
        key_(attributes.key),
        attributes_(attributes),
        charge_(RouterCore::charge_for(message_)) {
    attributes_.key = key_;
    const BorrowedPublisher publisher(*router_);
    refused_ = router_->is_reserved(message_.topic, *publisher) ? make_error_code(errc::topic_durable)
                                                                : router_->admit(source_, message_, attributes_);
    if (refused_) return;
    rooms_ = router_->rooms_for(message_, *publisher);
  }

  bool advance(AsyncWait& wait) noexcept override {
    while (next_ != rooms_.size()) {
      RouterCore::Room& room = *rooms_[next_++];  // before it is given away
      room.wait = &wait;
      if (room.route.reserve(charge_, room)) return false;
    }
    return true;
  }

  bool withdraw() noexcept override { return rooms_[next_ - 1]->route.withdraw(*rooms_[next_ - 1]); }

  result<PublishOutcome> publish() override {
    if (refused_) return refused_;
    const BorrowedPublisher publisher(*router_);
    return router_->publish(*publisher, source_, std::move(message_), attributes_, rooms_);
  }

 private:
  const std::shared_ptr<RouterCore> router_;
  const std::string* const source_;
  Message message_;
  const std::string key_;
  Attributes attributes_;
  const std::size_t charge_;
  error_code refused_;
  RouterCore::Rooms rooms_;
  std::size_t next_ = 0;
};

}  // namespace

std::unique_ptr<PendingPublish> PendingPublish::make(std::shared_ptr<RouterCore> router, const std::string* source,
                                                     Message message, const Attributes& attributes) {
  return std::make_unique<Pending>(std::move(router), source, std::move(message), attributes);
}

// --- Interest. ---

std::size_t RouterCore::route_count(const Topic& topic) {
  const BorrowedPublisher publisher(*this);
  const InFlight flight(*this, *publisher, 0);
  return (*publisher).memo.find(*tables_.read(), topic).size();
}

/// Tells every watch what it has not been told yet. One thread does at a time, so that each is told in order.
void RouterCore::tell_interest() noexcept {
  std::unique_lock lock(mutex_);
  if (std::exchange(telling_, true)) return;
  const auto changed = [this](const auto& watch) {
    bool interested = false;
    table_->root->match(watch.second->topic.view(), [&](Route*) { interested = true; });
    return interested != watch.second->told;
  };
  for (auto next = std::ranges::find_if(watches_, changed); next != watches_.end();
       next = std::ranges::find_if(watches_, changed)) {
    std::shared_ptr<Watch> watch = next->second;
    watch->told = !watch->told;
    const bool interested = watch->told;
    lock.unlock();
    if (!watch->ended.load(sync::acquire)) watch->changed(interested);
    watch.reset();  // perhaps the last to hold it: its function is destroyed under no lock
    lock.lock();
  }
  telling_ = false;
}

std::uint64_t RouterCore::watch(Topic topic, std::function<void(bool)> changed) {
  std::uint64_t id = 0;
  {
    const std::lock_guard lock(mutex_);
    id = ++last_watch_;
    watches_.emplace(id, std::make_shared<Watch>(std::move(topic), std::move(changed)));
  }
  tell_interest();
  return id;
}

void RouterCore::unwatch(std::uint64_t id) noexcept {
  std::shared_ptr<Watch> ended;  // its function is destroyed under no lock
  const std::lock_guard lock(mutex_);
  const auto found = watches_.find(id);
  if (found == watches_.end()) return;
  ended = std::move(found->second);
  ended->ended.store(true, sync::release);
  watches_.erase(found);
}

// --- The whole. ---

void RouterCore::close() noexcept {
  RouteId last{};
  for (;;) {
    Route* route = nullptr;
    {
      const std::lock_guard lock(mutex_);
      closed_.store(true, sync::release);
      const auto next = routes_.upper_bound(last);
      if (next == routes_.end()) return;
      last = next->first;
      route = next->second;
      route->retain();
    }
    route->close();
    route->release();
  }
}

RouterStats RouterCore::stats() {
  RouterStats stats;
  stats.rate_limited = rate_limited_.load(sync::relaxed);
  publishers.for_all([&](const RoutePublisher& publisher) {
    stats.published += publisher.published.load(sync::relaxed);
    stats.nobody_interested += publisher.nobody_interested.load(sync::relaxed);
  });
  stats.amnesia = bus->options.amnesia;
  const std::lock_guard lock(mutex_);
  NameTotals totals = totals_;
  stats.routes = routes_.size();
  for (const auto& [id, route] : routes_) {
    stats.each.push_back(route->stats());
    route->add_to(totals_of(totals, *route));
  }
  for (auto& [name, sum] : totals) stats.names.push_back(std::move(sum));
  return stats;
}

std::string RouterCore::route_name(RouteId id) {
  const std::lock_guard lock(mutex_);
  const auto found = routes_.find(id);
  return found != routes_.end() ? found->second->name() : std::string();
}

}  // namespace detail

// --- The handles. ---

std::string_view to_string(Loss reason) noexcept {
  switch (reason) {
    case Loss::evicted: return "evicted";
    case Loss::coalesced: return "coalesced";
    case Loss::over_budget: return "over_budget";
    case Loss::too_large: return "too_large";
    case Loss::over_share: return "over_share";
    case Loss::terminals: return "terminals";
    case Loss::over_count: return "over_count";
    case Loss::rate_limited: return "rate_limited";
    case Loss::out_of_memory: return "out_of_memory";
  }
  return "unknown";
}

RouteSender::RouteSender(std::shared_ptr<detail::RouterCore> core, const std::string* source) noexcept
    : core_(std::move(core)), source_(source) {}

RouteSender::RouteSender(RouteSender&& other) noexcept
    : core_(std::move(other.core_)), place_(std::exchange(other.place_, nullptr)), source_(other.source_) {}

RouteSender& RouteSender::operator=(RouteSender other) noexcept {
  std::swap(core_, other.core_);
  std::swap(place_, other.place_);
  std::swap(source_, other.source_);
  return *this;
}

RouteSender::~RouteSender() {
  if (place_ != nullptr) core_->release_publisher(*place_);
}

bool RouteSender::take_place() noexcept try {
  if (place_ == nullptr) place_ = &core_->acquire_publisher();
  return true;
} catch (const std::bad_alloc&) {
  return false;
}

result<PublishOutcome> RouteSender::publish(Message message, const Attributes& attributes) {
  if (core_ == nullptr) return make_error_code(errc::closed);
  if (!take_place()) return make_error_code(errc::out_of_memory);
  return core_->publish(*place_, source_, std::move(message), attributes, nullptr);
}

result<PublishOutcome> RouteSender::publish_until(Message message, std::chrono::steady_clock::time_point deadline,
                                                  const Attributes& attributes) {
  if (core_ == nullptr) return make_error_code(errc::closed);
  if (!take_place()) return make_error_code(errc::out_of_memory);
  return core_->publish(*place_, source_, std::move(message), attributes, &deadline);
}

InterestWatch& InterestWatch::operator=(InterestWatch&& other) noexcept {
  if (this != &other) {
    reset();
    core_ = std::move(other.core_);
    id_ = other.id_;
  }
  return *this;
}

void InterestWatch::reset() noexcept {
  if (const auto core = std::exchange(core_, {}).lock()) core->unwatch(id_);
}

Router::Router(Bus& bus, RouterOptions options)
    : core_(std::make_shared<detail::RouterCore>(detail::BusAccess::core(bus), std::move(options))) {
  core_->bus->attach(core_);
  if (core_->bus->closed()) core_->close();
}

Router::~Router() {
  core_->close();
  core_->bus->detach_listener();
}

RouteReceiver Router::subscribe(RouteOptions options) { return RouteReceiver(core_->subscribe(std::move(options))); }

RouteSender Router::sender(std::string_view source) { return {core_, core_->bus->intern_source(source)}; }

result<PublishOutcome> Router::publish(Message message, const Attributes& attributes) {
  return RouteSender(core_, nullptr).publish(std::move(message), attributes);
}

result<PublishOutcome> Router::publish_until(Message message, std::chrono::steady_clock::time_point deadline,
                                             const Attributes& attributes) {
  return RouteSender(core_, nullptr).publish_until(std::move(message), deadline, attributes);
}

bool Router::has_interest(const Topic& topic) const { return core_->route_count(topic) != 0; }
std::size_t Router::route_count(const Topic& topic) const { return core_->route_count(topic); }

InterestWatch Router::watch_interest(Topic topic, std::function<void(bool)> changed) {
  if (!changed) throw std::invalid_argument("a watch of \"" + std::string(topic.view()) + "\" has an empty function");
  const std::uint64_t id = core_->watch(std::move(topic), std::move(changed));
  return {core_, id};
}

void Router::close() noexcept { core_->close(); }
bool Router::closed() const noexcept { return core_->closed(); }
std::string Router::route_name(RouteId route) const { return core_->route_name(route); }
RouterStats Router::stats() const { return core_->stats(); }

// --- RouteReceiver ---

RouteReceiver& RouteReceiver::operator=(RouteReceiver&& other) noexcept {
  std::swap(route_, other.route_);
  if (&other != this && other.route_ != nullptr) std::exchange(other.route_, nullptr)->abandon();
  return *this;
}

RouteReceiver::~RouteReceiver() {
  if (route_ != nullptr) route_->abandon();
}

namespace detail {

Route* RouteAccess::retain(RouteReceiver& receiver) noexcept {
  receiver.route_->retain_reader();
  return receiver.route_;
}
void RouteAccess::release(Route* route) noexcept { route->release_reader(); }
template <>
RouteReceived RouteAccess::attempt<RouteReceived>(Route& route, std::size_t) {
  return route.attempt();
}
template <>
RouteBatch RouteAccess::attempt<RouteBatch>(Route& route, std::size_t max) {
  return route.attempt_batch(max, static_cast<std::size_t>(-1));
}
bool RouteAccess::ready(Route& route) noexcept { return route.ready(); }
bool RouteAccess::abandoned(const Route& route) noexcept { return route.abandoned(); }
void RouteAccess::arm(Route& route, AsyncWait& wait) noexcept { route.arm(wait); }
bool RouteAccess::take(Route& route, AsyncWait& wait) noexcept { return route.take_wait(wait); }

namespace {

constexpr std::size_t any_number = static_cast<std::size_t>(-1);

template <class Result>
Result no_route() {
  return RouteAccess::closed<Result>();
}

RouteReceived receive(Route* route, const std::chrono::steady_clock::time_point* deadline,
                      const std::stop_token* stop) noexcept {
  if (route == nullptr) return no_route<RouteReceived>();
  if (stop == nullptr || !stop->stop_possible()) return route->recv(deadline, nullptr);
  const std::stop_callback wake(*stop, [route] { route->wake_reader(); });
  return route->recv(deadline, stop);
}

}  // namespace
}  // namespace detail

RouteReceived RouteReceiver::try_recv() noexcept {
  return route_ != nullptr ? route_->try_recv() : detail::no_route<RouteReceived>();
}
RouteReceived RouteReceiver::recv() noexcept { return detail::receive(route_, nullptr, nullptr); }
RouteReceived RouteReceiver::recv(std::stop_token stop) noexcept { return detail::receive(route_, nullptr, &stop); }
RouteReceived RouteReceiver::recv_until(std::chrono::steady_clock::time_point deadline) noexcept {
  return detail::receive(route_, &deadline, nullptr);
}
RouteReceived RouteReceiver::recv_until(std::chrono::steady_clock::time_point deadline, std::stop_token stop) noexcept {
  return detail::receive(route_, &deadline, &stop);
}

RouteBatch RouteReceiver::try_recv_batch(std::size_t max) {
  return route_ != nullptr ? route_->attempt_batch(max, detail::any_number) : detail::no_route<RouteBatch>();
}

RouteBatch RouteReceiver::recv_batch(std::size_t max) {
  return route_ != nullptr ? route_->recv_batch(max) : detail::no_route<RouteBatch>();
}

RouteBatch RouteReceiver::drain(std::size_t bytes) {
  return route_ != nullptr ? route_->attempt_batch(detail::any_number, bytes) : detail::no_route<RouteBatch>();
}

RouteId RouteReceiver::id() const noexcept { return route_ != nullptr ? route_->id() : RouteId{}; }
std::string_view RouteReceiver::name() const noexcept {
  return route_ != nullptr ? std::string_view(route_->name()) : std::string_view();
}
bool RouteReceiver::detached() const noexcept { return route_ != nullptr && route_->detached(); }
RouteStats RouteReceiver::stats() const { return route_ != nullptr ? route_->stats() : RouteStats{}; }
void RouteReceiver::set_weights(Weights weights) {
  detail::check_weights(weights);
  if (route_ != nullptr) route_->set_weights(std::move(weights));
}
std::vector<PrincipalBacklog> RouteReceiver::backlogs() const {
  return route_ != nullptr ? route_->backlogs() : std::vector<PrincipalBacklog>{};
}

}  // namespace bus
