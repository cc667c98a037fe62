// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <bus/export.hpp>
#include <bus/routing/router.hpp>

#include "core/core.hpp"
#include "core/sleepers.hpp"
#include "routing/flights.hpp"
#include "routing/route.hpp"
#include "routing/trie.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bus::detail {

/// Topics on which only who reserved them publishes.
using ReservedTopics = std::vector<TopicPattern>;

/// What publishers read.
struct RouteTable {
  std::uint64_t version = 0;
  const TrieNode* root = nullptr;
  std::shared_ptr<const ReservedTopics> reserved;
};

using Routes = std::span<Route* const>;

/// What a publisher has found out about topics, for as long as its table is the current one. Two places for each of a
/// number of hashes: a topic that finds both taken takes one. There are the more places the more often that happens, up
/// to a limit.
class RouteMemo {
 public:
  /// The routes of a topic, each once. Lifetime: until the next call, and in flight only.
  /// Errors: throws std::bad_alloc.
  Routes find(const RouteTable& table, const Topic& topic);

 private:
  static constexpr std::size_t least_places = 256;
  static constexpr std::size_t most_places = 16'384;
  static constexpr std::size_t most_routes = 64;

  struct alignas(64) Place {
    std::uint64_t version = 0;  // no table has it
    Topic topic;
    Route* one = nullptr;
    std::unique_ptr<std::vector<Route*>> several;
    Routes routes() const noexcept {
      return several != nullptr ? Routes(*several) : Routes(&one, one != nullptr ? 1 : 0);
    }
  };
  static_assert(sizeof(Place) == 64);

  std::unique_ptr<Place[]> places_;
  std::size_t size_ = 0;
  std::size_t displaced_ = 0;  // since there have been so many places
  std::uint32_t turn_ = 0;
  std::vector<Route*> found_;
};

/// A publisher's place in the router. Given back with its memo, which serves the next.
struct alignas(64) RoutePublisher : Registry<RoutePublisher>::Entry {
  Flight<> flight;
  std::uint64_t seen = 0;  // for the table's owner
  bool in_use = false;  // by its own thread: what a publish ends or tells may publish in turn
  alignas(64) PublisherRecord* on_bus = nullptr;
  sync::atomic<std::uint64_t> published{0};
  sync::atomic<std::uint64_t> nobody_interested{0};
  RouteMemo memo;
};

class RouterCore final : public CloseListener, public std::enable_shared_from_this<RouterCore> {
 public:
  using Deadline = std::chrono::steady_clock::time_point;

  RouterCore(CoreRef bus, RouterOptions options);
  ~RouterCore() override;

  Route* subscribe(RouteOptions options);
  void remove(Route& route) noexcept;

  BUSBAR_EXPORT RoutePublisher& acquire_publisher();
  BUSBAR_EXPORT void release_publisher(RoutePublisher& publisher) noexcept;

  BUSBAR_EXPORT result<PublishOutcome> publish(RoutePublisher& publisher, const std::string* source, Message&& message,
                                               const Attributes& attributes, const Deadline* deadline);

  BUSBAR_EXPORT error_code admit(const std::string* source, const Message& message, const Attributes& attributes);

  /// A message that was admitted is not published after all.
  BUSBAR_EXPORT void take_back(const std::string* source, const Message& message) noexcept;

  /// Whether the topic is reserved, and a publish on it is to be refused.
  bool is_reserved(const Topic& topic, RoutePublisher& publisher) noexcept;

  /// What every route charges for a message.
  BUSBAR_EXPORT static std::size_t charge_for(const Message& message) noexcept;

  /// Room set aside in one route for a message that is about to be published, and who waits for it.
  struct Room;
  using Rooms = std::vector<std::unique_ptr<Room>>;

  /// The routes in which a message would wait for room, in the order of their numbers, so that no two publishers wait
  /// for each other's.
  Rooms rooms_for(const Message& message, RoutePublisher& publisher);
  result<PublishOutcome> publish(RoutePublisher& publisher, const std::string* source, Message&& message,
                                 const Attributes& attributes, Rooms& rooms, const LogPlace* place = nullptr);

  /// Whether a publish of a principal with this hash is under way that may get a sequence below `sequence`; and, in
  /// `settled`, up to which sequence none of any principal is.
  bool under_way(std::size_t hash, std::uint64_t sequence, std::uint64_t& settled) noexcept;

  std::size_t route_count(const Topic& topic);
  std::uint64_t watch(Topic topic, std::function<void(bool)> changed);
  void unwatch(std::uint64_t id) noexcept;

  /// From now on publishes on topics that any of these match are refused, but for `publish_reserved`. What that
  /// publishes stands in the log of this id.
  /// Returns: the number of that log. Errors: throws std::invalid_argument if topics are reserved; std::bad_alloc.
  BUSBAR_EXPORT std::uint8_t reserve(ReservedTopics topics, const std::array<std::uint8_t, 16>& log);

  /// A message that `admit` has admitted. `place`: where it stands in the log, if that is known.
  BUSBAR_EXPORT result<PublishOutcome> publish_reserved(RoutePublisher& publisher, Message&& message,
                                                        const Attributes& attributes, const LogPlace* place) noexcept;
  void end_reservation() noexcept { reserved_.store(false, sync::release); }

  void close() noexcept;
  bool closed() const noexcept { return closed_.load(sync::acquire); }
  void bus_closed() noexcept override { close(); }
  RouterStats stats();
  std::string route_name(RouteId id);

  const CoreRef bus;
  const RouterOptions options;
  Registry<RoutePublisher> publishers;
  Registry<ReaderRecord> readers;
  Sleepers<ReaderRecord> held{readers};  // who wait for a publish that is under way

 private:
  /// What a change of the table leaves behind. Whatever destroys it may destroy a route.
  struct ReleaseRoute {
    void operator()(Route* route) const noexcept { route->release(); }
  };
  struct Garbage {
    std::unique_ptr<const RouteTable> table;
    TrieNode::Replaced nodes;
    std::unique_ptr<Route, ReleaseRoute> route;
  };
  struct Watch {
    Watch(Topic on, std::function<void(bool)> call) : topic(std::move(on)), changed(std::move(call)) {}
    const Topic topic;
    const std::function<void(bool)> changed;
    bool told = false;
    sync::atomic<bool> ended{false};
  };
  using NameTotals = std::map<std::string, RouteNameStats, std::less<>>;
  using ChangeTrie = std::unique_ptr<const TrieNode>(const TrieNode&, std::string_view, Route*, TrieNode::Replaced&);

  static RouteNameStats& totals_of(NameTotals& totals, const Route& route) noexcept;
  static void leave_counts(const Route& route, RouteNameStats& totals) noexcept;
  void change_table(Route& route, ChangeTrie* change, std::unique_ptr<Route, ReleaseRoute> last);
  void replace_table(std::unique_ptr<RouteTable> next, Garbage& garbage);
  void tell_interest() noexcept;

  sync::atomic<bool> closed_{false};
  sync::atomic<bool> reserved_{false};  // those of the table count
  sync::atomic<std::uint64_t> rate_limited_{0};

  // Guards what follows; never taken by a publish, never held while calling out.
  std::mutex mutex_;
  std::unique_ptr<const RouteTable> table_;
  FlightTable<const RouteTable, Garbage, RoutePublisher> tables_;
  std::map<RouteId, Route*> routes_;
  std::map<std::string, std::size_t, std::less<>> routes_of_owner_;
  NameTotals totals_;  // of routes that are gone; each name that there was has its place
  std::uint64_t last_id_ = 0;
  std::map<std::uint64_t, std::shared_ptr<Watch>> watches_;
  std::uint64_t last_watch_ = 0;
  bool telling_ = false;
  std::vector<std::array<std::uint8_t, 16>> logs_;  // by number
};

/// A publisher's place for the length of one call.
class BorrowedPublisher {
 public:
  explicit BorrowedPublisher(RouterCore& core) : core_(core), publisher_(core.acquire_publisher()) {}
  ~BorrowedPublisher() { core_.release_publisher(publisher_); }
  BorrowedPublisher(const BorrowedPublisher&) = delete;
  BorrowedPublisher& operator=(const BorrowedPublisher&) = delete;
  RoutePublisher& operator*() const noexcept { return publisher_; }

 private:
  RouterCore& core_;
  RoutePublisher& publisher_;
};

}  // namespace bus::detail
