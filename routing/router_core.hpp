// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <bus/routing/router.hpp>

#include "core/core.hpp"
#include "core/sleepers.hpp"
#include "routing/flights.hpp"
#include "routing/route.hpp"
#include "routing/trie.hpp"

#include <boost/container/small_vector.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace bus::detail {

/// What publishers read.
struct RouteTable {
  std::uint64_t version = 0;
  const TrieNode* root = nullptr;
};

using RouteList = boost::container::small_vector<Route*, 8>;

/// What a publisher has found out about topics, for as long as its table is the current one. One place for each of a
/// fixed number of hashes: a topic that needs a taken place takes it.
class RouteMemo {
 public:
  /// The routes of a topic, each once. Lifetime: until the next call, and in flight only.
  const RouteList& find(const RouteTable& table, std::string_view topic);

 private:
  static constexpr std::size_t places = 1024;
  static constexpr std::size_t most_routes = 64;
  struct Place {
    std::uint64_t version = 0;  // no table has it
    std::string topic;
    RouteList routes;
  };
  std::unique_ptr<Place[]> places_;
  RouteList other_;
};

/// A publisher's place in the router. Given back with its memo, which serves the next.
struct alignas(64) RoutePublisher : Registry<RoutePublisher>::Entry {
  Flight<> flight;
  std::uint64_t seen = 0;  // for the table's owner
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

  RoutePublisher& acquire_publisher();
  void release_publisher(RoutePublisher& publisher) noexcept;

  result<PublishOutcome> publish(RoutePublisher& publisher, const std::string* source, Message&& message,
                                 const Attributes& attributes, const Deadline* deadline);

  /// Whether a publish of a principal with this hash is under way that may get a sequence below `sequence`; and, in
  /// `settled`, up to which sequence none of any principal is.
  bool under_way(std::size_t hash, std::uint64_t sequence, std::uint64_t& settled) noexcept;

  std::size_t route_count(std::string_view topic);
  std::uint64_t watch(Topic topic, std::function<void(bool)> changed);
  void unwatch(std::uint64_t id) noexcept;
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
    bool interested = false;
    sync::atomic<bool> ended{false};
  };
  struct Room;
  using ChangeTrie = std::unique_ptr<const TrieNode>(const TrieNode&, std::string_view, Route*, TrieNode::Replaced&);

  void change_table(Route& route, ChangeTrie* change, std::unique_ptr<Route, ReleaseRoute> last);
  void note_interest();
  void tell_interest() noexcept;
  std::vector<std::unique_ptr<Room>> reserve_room(const Message& message, std::size_t charge, RoutePublisher& publisher,
                                                  Deadline deadline);

  sync::atomic<bool> closed_{false};
  sync::atomic<std::uint64_t> rate_limited_{0};

  // Guards what follows; never taken by a publish, never held while calling out.
  std::mutex mutex_;
  std::unique_ptr<const RouteTable> table_;
  FlightTable<const RouteTable, Garbage, RoutePublisher> tables_;
  std::map<RouteId, Route*> routes_;
  std::map<std::string, std::size_t, std::less<>> routes_of_owner_;
  std::uint64_t last_id_ = 0;
  std::map<std::uint64_t, std::shared_ptr<Watch>> watches_;
  std::uint64_t last_watch_ = 0;
  std::deque<std::pair<std::shared_ptr<Watch>, bool>> untold_interest_;
  bool telling_ = false;
};

}  // namespace bus::detail
