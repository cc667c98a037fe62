// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What the tests of the bus share.
#pragma once

#include <bus/bus.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace bus_test {

inline constexpr std::chrono::steady_clock::time_point in_the_past{};
inline constexpr auto never = std::chrono::steady_clock::time_point::max();

/// Time stands still until the test moves it.
class ManualClock final : public bus::Clock {
 public:
  std::chrono::system_clock::time_point wall() const noexcept override {
    return at<std::chrono::system_clock>(wall_ns);
  }
  std::chrono::system_clock::time_point coarse_wall() const noexcept override {
    return at<std::chrono::system_clock>(coarse_ns);
  }
  std::chrono::steady_clock::time_point steady() const noexcept override {
    return at<std::chrono::steady_clock>(steady_ns);
  }

  void advance(std::chrono::nanoseconds by) { steady_ns += by.count(); }

  std::atomic<std::int64_t> wall_ns{1'700'000'000'123'456'789};
  std::atomic<std::int64_t> coarse_ns{1'700'000'000'120'000'000};
  std::atomic<std::int64_t> steady_ns{std::chrono::nanoseconds(std::chrono::hours(1)).count()};

 private:
  template <class C>
  static typename C::time_point at(std::int64_t ns) {
    return typename C::time_point(std::chrono::duration_cast<typename C::duration>(std::chrono::nanoseconds(ns)));
  }
};

/// Publishes `count` events whose versions are their sequences, as long as nothing else is published.
template <class Publisher>
void publish(Publisher& publisher, std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto sent = publisher.send(bus::ConfigUpdated{});
    ASSERT_TRUE(sent) << sent.error().message();
  }
}

inline bool balances(const bus::ReceiverStats& s) {
  return s.delivered + s.filtered + s.missed + s.pending == s.published;
}

inline std::string text(const bus::ReceiverStats& s) {
  return s.name + ": published " + std::to_string(s.published) + ", delivered " + std::to_string(s.delivered) +
         ", filtered " + std::to_string(s.filtered) + ", missed " + std::to_string(s.missed) + ", pending " +
         std::to_string(s.pending);
}

/// Reads what there is without waiting. Returns: the sequences.
inline std::vector<std::uint64_t> drain_now(bus::Receiver& rx) {
  std::vector<std::uint64_t> sequences;
  while (const auto got = rx.try_recv()) sequences.push_back(got->sequence());
  return sequences;
}

inline std::vector<std::uint64_t> range(std::uint64_t first, std::uint64_t last) {
  std::vector<std::uint64_t> numbers;
  for (std::uint64_t n = first; n <= last; ++n) numbers.push_back(n);
  return numbers;
}

inline const bus::NameStats* find(const bus::BusStats& stats, std::string_view name) {
  for (const auto& one : stats.names) {
    if (one.name == name) return &one;
  }
  return nullptr;
}

}  // namespace bus_test

namespace bus {

inline void PrintTo(const ReceiverStats& stats, std::ostream* out) { *out << bus_test::text(stats); }

}  // namespace bus
