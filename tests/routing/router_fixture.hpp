// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What the tests of routes share.
#pragma once

#include <bus/routing/router.hpp>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bus_test {

/// A message whose parts may come from anywhere.
inline bus::Message message(std::string_view topic, std::string_view principal, std::string_view text) {
  return {*bus::Topic::parse(topic), *bus::Principal::parse(principal), bus::Payload::copy(text)};
}

/// What a route charges for a message.
inline std::size_t charge(std::string_view topic, std::size_t payload) {
  return topic.size() + payload + bus::route_entry_bytes;
}

/// What a reader has had of a route, checked as it comes.
struct Reading {
  std::map<std::string, std::uint64_t> last;       ///< sequence, by principal
  std::map<std::string, std::uint64_t> delivered;  ///< messages, by principal
  std::map<std::string, std::uint64_t> missed;     ///< told, by principal
  std::uint64_t forgotten = 0;
  std::uint64_t out_of_order = 0;

  void take(const bus::RouteReceived& got) {
    const std::string principal(got->principal.view());
    if (got.event().sequence() <= last[principal]) ++out_of_order;
    last[principal] = got.event().sequence();
    ++delivered[principal];
    missed[principal] += got.missed();
    forgotten += got.missed_of_forgotten();
  }

  /// All that is there.
  void drain(bus::RouteReceiver& route) {
    while (const auto got = route.try_recv()) take(got);
  }

  std::uint64_t sum(const std::map<std::string, std::uint64_t>& counts) const {
    std::uint64_t all = 0;
    for (const auto& [principal, count] : counts) all += count;
    return all;
  }

  /// Delivered, missed, and what the route has yet to tell: everything that was offered, once nothing is pending.
  std::uint64_t accounted(const bus::RouteReceiver& route) const {
    std::uint64_t untold = route.stats().forgotten;
    for (const auto& one : route.backlogs()) untold += one.untold;
    return sum(delivered) + sum(missed) + forgotten + untold;
  }
};

}  // namespace bus_test
