// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Snapshots: plain structs of what a bus has counted. Taking one stops nobody.
#pragma once

#include <array>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

namespace bus {

/// How many values were how large: `counts[i]` at most `bounds[i]` and above the bound in front of it, the last one
/// above them all.
template <const auto& Bounds>
struct Histogram {
  static constexpr const auto& bounds = Bounds;
  std::array<std::uint64_t, Bounds.size() + 1> counts{};
  std::uint64_t sum = 0;  ///< of the values

  /// How many values there were.
  std::uint64_t count() const noexcept { return std::accumulate(counts.begin(), counts.end(), std::uint64_t{0}); }
};

/// One receiver. `delivered + filtered + missed + pending == published`, always; exact when its bus is quiet.
struct ReceiverStats {
  std::string name;              ///< "untagged" if it has none
  std::uint64_t published = 0;   ///< events since its start
  std::uint64_t delivered = 0;   ///< handed to the program
  std::uint64_t filtered = 0;    ///< seen and skipped by its filter
  std::uint64_t missed = 0;      ///< overwritten before it looked at them, told or not yet told
  std::uint64_t pending = 0;     ///< retained and not yet looked at; never above the capacity

  friend bool operator==(const ReceiverStats&, const ReceiverStats&) = default;
};

/// All receivers that carry or carried one name, those that are gone included: its counters only grow.
struct NameStats {
  std::string name;
  std::uint64_t receivers = 0;  ///< alive now
  std::uint64_t delivered = 0;
  std::uint64_t filtered = 0;
  /// Of a gap that its receiver has yet to come upon, the last `Receiver::max_batch` do not count: it may be taking
  /// them.
  std::uint64_t missed = 0;
  std::uint64_t pending = 0;  ///< the largest of the receivers alive
};

/// One bus, and all its receivers.
struct BusStats {
  std::uint64_t capacity = 0;
  std::uint64_t published = 0;
  bool closed = false;
  bool amnesia = false;
  std::uint64_t wakeups = 0;              ///< sleeping receivers that publishers woke
  std::uint64_t nodes = 0;                ///< nodes allocated: ring, spare and held
  std::uint64_t node_growths = 0;         ///< times the pool had to grow
  std::uint64_t observer_exceptions = 0;  ///< thrown by observers, and caught
  std::uint64_t warnings_suppressed = 0;
  std::vector<ReceiverStats> receivers;   ///< alive now
  std::vector<NameStats> names;           ///< sorted by name
};

/// What `Bus::drain` left behind. For each receiver
/// `delivered + filtered + missed + undelivered == published`. What a filter would have skipped counts as undelivered
/// until its receiver has looked at it.
struct DrainReport {
  /// One receiver.
  struct Receiver {
    std::string name;
    std::uint64_t published = 0;
    std::uint64_t delivered = 0;
    std::uint64_t filtered = 0;
    std::uint64_t missed = 0;
    std::uint64_t undelivered = 0;
  };
  std::uint64_t published = 0;
  bool complete = false;  ///< no receiver has anything undelivered
  std::vector<Receiver> receivers;
};

}  // namespace bus
