// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Publishes that are under way, as others have to know them: who removes a table that publishers read must wait until
// none can still be reading it, and who delivers a message must know that no earlier one of its principal is still on
// its way to the queue.
#pragma once

#include <bus/detail/sync.hpp>

#include "core/registry.hpp"

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace bus::detail {

/// The memory orders of flights. Each mutant of the model weakens one.
struct FlightTraits {
  /// FLIGHT-BEGIN. In the total order before TABLE-READ, and before the sequence that the publish will get is taken.
  static constexpr auto begin = sync::seq_cst;
  /// FLIGHT-END. Releases what the publish read and queued; in the total order before the look for those it held up.
  static constexpr auto end = sync::seq_cst;
  /// FLIGHT-SCAN. Either it sees the flight, or the flight began later and TABLE-READ sees the new table. Acquires from
  /// FLIGHT-END.
  static constexpr auto scan = sync::seq_cst;
  /// FLIGHT-STAMP. Who sees the stamp of a later flight knows that the earlier one has ended.
  static constexpr auto stamp = sync::release;
  static constexpr auto stamp_read = sync::acquire;
  /// TABLE-SWAP and TABLE-READ, the pointer to the table.
  static constexpr auto swap = sync::seq_cst;
  static constexpr auto read = sync::seq_cst;
};

/// One publisher's place.
///
/// Its word is 0 when nothing is under way; else a bit that says so, 15 bits of the principal's hash and 48 bits of
/// the position at which the ring ended when the publish began: the publish gets a later sequence. Positions are
/// compared modulo 2^48, which at 100 million events a second takes a month to go round.
template <class Traits = FlightTraits>
class Flight {
 public:
  static constexpr std::uint64_t position_mask = (std::uint64_t{1} << 48) - 1;

  void begin(std::uint64_t position, std::size_t hash) noexcept {
    sequence_.store(0, sync::relaxed);
    // sync FLIGHT-BEGIN
    word_.store(position << 16 | (hash & 0x7FFF) << 1 | 1, Traits::begin);
  }

  /// The sequence is known, and what waits for lower ones need not wait for this flight.
  void stamp(std::uint64_t sequence) noexcept { sequence_.store(sequence, Traits::stamp); }  // sync FLIGHT-STAMP

  void end() noexcept { word_.store(0, Traits::end); }  // sync FLIGHT-END

  std::uint64_t word() const noexcept { return word_.load(Traits::scan); }  // sync FLIGHT-SCAN

  /// What a look at a flight found: that nothing is under way, or a sequence that it cannot get below. `end` is a
  /// position at which the ring ended before the look.
  struct Seen {
    bool under_way;
    bool same_hash;
    std::uint64_t least_sequence;
  };
  Seen look(std::size_t hash, std::uint64_t end) const noexcept {
    const std::uint64_t word = this->word();
    if (word == 0) return {false, false, 0};
    const bool same_hash = ((word >> 1) & 0x7FFF) == (hash & 0x7FFF);
    if (const std::uint64_t exact = sequence_.load(Traits::stamp_read); exact != 0) return {true, same_hash, exact};
    const std::uint64_t behind = (end - (word >> 16)) & position_mask;
    // One that began at a later end than ours gets a later sequence than any there was.
    return {true, same_hash, behind > position_mask / 2 ? end + 1 : end - behind + 1};
  }

 private:
  sync::atomic<std::uint64_t> word_{0};
  sync::atomic<std::uint64_t> sequence_{0};  // of the flight under way, once known
};

/// A table that publishers read while they are in flight, and that others replace. What an old table had for itself,
/// its garbage, is destroyed once no flight can be reading it.
///
/// `Record` has a `flight`, and for the use of this class a `std::uint64_t seen`.
///
/// Threads: `read` in flight; all else by one thread at a time.
template <class Table, class Garbage, class Record, unsigned RecordsPerBlock = 32, class Traits = FlightTraits>
class FlightTable {
 public:
  using Records = Registry<Record, RecordsPerBlock>;

  FlightTable(Records& records, Table* first) noexcept : records_(records), current_(first) {}

  Table* read() const noexcept { return current_.load(Traits::read); }  // sync TABLE-READ

  /// Errors: throws std::bad_alloc; the table is then the old one still, and the garbage the caller's.
  void replace(Table* next, Garbage& garbage) {
    waiting_.reserve(waiting_.size() + 1);
    current_.store(next, Traits::swap);  // sync TABLE-SWAP
    waiting_.push_back(std::move(garbage));
    reclaim();
  }

  /// Destroys what nobody can read any more.
  void reclaim() noexcept {
    for (;;) {
      if (!scanned_.empty()) {
        bool read_still = false;
        records_.for_all([&](Record& record) {
          if (record.seen != 0 && record.flight.word() == record.seen) read_still = true;
        });
        if (read_still) return;
        scanned_.clear();
      }
      if (waiting_.empty()) return;
      scanned_.swap(waiting_);
      records_.for_all([](Record& record) { record.seen = record.flight.word(); });
    }
  }

  /// Garbage that somebody may still be reading.
  std::size_t unreclaimed() const noexcept { return waiting_.size() + scanned_.size(); }

 private:
  Records& records_;
  sync::atomic<Table*> current_;
  std::vector<Garbage> waiting_;  // since the last scan
  std::vector<Garbage> scanned_;  // before it; waits for the flights that it saw
};

}  // namespace bus::detail
