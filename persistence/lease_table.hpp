// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What a group owes of a log, and who has it: the messages it has come upon and not finished, each of them ready, on
// lease, or waiting for a time or for one in front of it with the same key.
//
// Nothing in here knows a clock, a file or a thread: times come with the calls, in nanoseconds of one steady clock, and
// what has to be written down is returned.
//
//                add            take             ack, reject, out of attempts
//     (log) ----------> ready ---------> leased ------------------------------> (finished)
//                         ^                 |
//                         |   due           | release, nack, the lease runs out
//                         +------ delayed <-+
//
// A message with a key is ready only when all in front of it with that key are finished, or on lease to the one member
// that asks: so a key is with one member at a time, and in order. If one comes back, those behind it that the member
// has already come back too, uncounted. One that is not due when it is added takes its place when it is.
#pragma once

#include "routing/fair_round.hpp"

#include <bus/principal.hpp>
#include <bus/routing/options.hpp>

#include <boost/unordered/unordered_flat_map.hpp>
#include <boost/unordered/unordered_flat_set.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

namespace bus::detail {

/// What a table is told of a message.
struct Owed {
  std::uint64_t offset = 0;
  std::uint64_t key = 0;  ///< its hash; 0: none. Two keys with one hash are in order, and no more than that
  std::uint32_t charge = 1;  ///< bytes
  std::uint8_t priority = 0;  ///< of `LeaseTable::priorities`, the highest first
  std::uint8_t attempts = 0;  ///< that were counted already
  std::int64_t due_ns = 0;  ///< not before then: if it was tried before, those behind it with its key wait as well
  std::int64_t expires_ns = 0;  ///< not from then on; 0: whenever
};

/// Says which lease is meant: a later one of the same message has another token.
struct LeaseName {
  std::uint64_t offset = 0;
  std::uint32_t token = 0;
  friend bool operator==(const LeaseName&, const LeaseName&) = default;
};

struct LeaseRules {
  std::int64_t visibility_ns = 30'000'000'000;
  std::int64_t ceiling_ns = 300'000'000'000;  ///< however often a lease is extended
  std::uint8_t attempts = 5;
  std::vector<std::int64_t> backoff_ns = {100'000'000, 500'000'000, 2'000'000'000, 10'000'000'000, 30'000'000'000};
  std::size_t quantum_bytes = 4096;
  Weights weights = {};
};

class LeaseTable {
 public:
  using Member = std::uint16_t;
  static constexpr std::size_t priorities = 4;

  /// What a member may have on lease.
  struct Credits {
    std::uint32_t messages = 64;
    std::uint64_t bytes = std::uint64_t{8} << 20;
  };

  explicit LeaseTable(LeaseRules rules);
  ~LeaseTable();
  LeaseTable(const LeaseTable&) = delete;
  LeaseTable& operator=(const LeaseTable&) = delete;

  // --- Messages and members. ---

  /// Offsets must rise among those of a principal, and among those with a key. Cost: O(1) for the highest of all, and
  /// as a rule for one that follows the last that was not. Errors: throws std::bad_alloc; nothing has changed then.
  void add(const Owed& message, const Principal& principal);

  /// Errors: throws std::bad_alloc; std::length_error, beyond 65,535 of them.
  Member join(const Credits& credits);
  /// Its leases stay until they are settled.
  void leave(Member member) noexcept;
  /// How many have left that had this number.
  std::uint32_t left(Member member) const noexcept { return members_[member].left; }

  // --- Delivery. ---

  struct Taken {
    LeaseName lease;
    std::uint8_t attempt = 1;  ///< this one counted
    std::int64_t deadline_ns = 0;
  };
  enum class Take : std::uint8_t {
    leased,
    expired,  ///< its time had passed: it is finished
    dead,  ///< it had no attempt left when it was added: it stays on hold until `finish`
    nothing,  ///< is ready
    no_credit,  ///< the member has as much as it may
  };
  /// Leases the next message by fair turn, or, if `key_of` is given, the next one with the same key as that lease of
  /// the member. Cost: O(log n).
  Take take(Member member, std::int64_t now_ns, Taken& out) noexcept;
  Take take_same_key(const LeaseName& key_of, std::int64_t now_ns, Taken& out) noexcept;

  // --- Outcomes. All refuse a lease that has run out, or was settled. ---

  enum class Settled : std::uint8_t {
    done,
    stale,  ///< refused: the lease is not the one that the message is on
    dead,  ///< it has no attempt left: it stays on hold until `finish`
  };
  Settled ack(const LeaseName& lease, std::int64_t now_ns) noexcept;

  /// Ready at once, and the attempt is not counted.
  Settled release(const LeaseName& lease, std::int64_t now_ns) noexcept;

  /// Ready after `delay_ns`, or after what the rules say for so many attempts.
  Settled nack(const LeaseName& lease, std::int64_t now_ns, std::optional<std::int64_t> delay_ns) noexcept;

  /// Returns: dead, or stale.
  Settled reject(const LeaseName& lease, std::int64_t now_ns) noexcept;

  /// Returns: the new deadline, at most the ceiling away from when the lease began; nothing if it is stale.
  std::optional<std::int64_t> extend(const LeaseName& lease, std::int64_t now_ns, std::int64_t by_ns) noexcept;

  /// Ends one that is dead, or was finished elsewhere. Returns: whether it was there.
  bool finish(std::uint64_t offset) noexcept;

  /// Ends those in front of `end` that are neither on lease nor dead: `visit(offset)`.
  template <class Visit>
  void give_up_before(std::uint64_t end, Visit&& visit) {
    for (Index i = all_.first, next = none; i != none && entry(i).offset < end; i = next) {
      next = entry(i).newer;
      if (entry(i).state == State::leased || entry(i).state == State::dead) continue;
      const std::uint64_t offset = entry(i).offset;
      (void)finish(offset);
      visit(offset);
    }
  }

  // --- Time. ---

  /// Makes ready what has become due, and takes back the next lease that has run out, which counts as a nack.
  /// Returns: that message, and whether it is dead; nothing when there is no further one.
  struct RanOut {
    std::uint64_t offset;
    std::uint8_t attempts;
    bool dead;
    std::int64_t due_ns;
  };
  std::optional<RanOut> next_ran_out(std::int64_t now_ns) noexcept;

  /// Until when a delayed message waits. Returns: nothing if it does not.
  std::optional<std::int64_t> due(std::uint64_t offset) const noexcept;

  /// When there is something to do next. Returns: nothing if nothing waits for a time.
  std::optional<std::int64_t> next_time() const noexcept;

  // --- Where it stands. ---

  bool has(std::uint64_t offset) const noexcept { return find(offset) != none; }

  /// Whether an outcome would be taken.
  bool is_held(const LeaseName& lease, std::int64_t now_ns) const noexcept {
    return find_leased(lease, now_ns) != none;
  }

  /// What the member has on lease at and below `offset`, in the order of leasing. Cost: O(leases of the member).
  /// Errors: throws std::bad_alloc.
  std::vector<LeaseName> held_through(Member member, std::uint64_t offset, std::int64_t now_ns) const;

  /// The lowest offset that is not finished. Returns: nothing if all are.
  std::optional<std::uint64_t> floor() const noexcept;
  std::size_t size() const noexcept { return size_; }
  std::size_t messages_of(const Principal& principal) const noexcept;
  std::size_t ready() const noexcept { return ready_; }
  std::size_t leased() const noexcept { return leased_; }
  std::size_t delayed() const noexcept { return delayed_; }
  std::size_t dead() const noexcept { return dead_; }
  std::uint64_t starved() const noexcept { return round_.starved(); }

  /// Every message that is not finished, by offset: `visit(Owed)`, with the time that a delayed one waits for.
  template <class Visit>
  void for_each(Visit&& visit) const {
    for (Index i = all_.first; i != none; i = entry(i).newer) visit(owed(entry(i)));
  }

  /// Those that are dead: `visit(offset)`.
  template <class Visit>
  void for_each_dead(Visit&& visit) const {
    for (Index i = all_.first; i != none; i = entry(i).newer) {
      if (entry(i).state == State::dead) visit(entry(i).offset);
    }
  }

  /// Whether every count is what its parts make, and the lists what the states say. For tests: O(n log n).
  bool consistent() const;

 private:
  using Index = std::uint32_t;
  static constexpr Index none = 0xFFFF'FFFF;

  enum class State : std::uint8_t {
    free,
    behind,  ///< of its key others come first
    ready,
    leased,
    delayed,
    dead,
  };

  /// Small, as there may be a million of them.
  struct Entry {
    std::uint64_t offset = 0;
    std::uint64_t key = 0;
    std::int64_t wakes_ns = 0;  // the end of the lease, or of the delay
    std::int64_t expires_ns = 0;
    Index older = none, newer = none;  // of all, by offset
    Index before = none, behind = none;  // in the queue of its principal, or among the member's leases
    Index key_before = none, key_behind = none;  // of the same key, by offset
    Index backlog = none;
    std::uint32_t charge = 0;
    std::uint32_t token = 0;
    std::uint32_t heap_place = none;
    std::uint32_t began_ms = 0;  // of the lease
    Member member = 0;
    std::uint8_t attempts = 0;
    State state : 4 = State::free;
    std::uint8_t priority : 2 = 0;
    bool came_back : 1 = false;  // goes in front of those that were never out
    bool in_key : 1 = false;  // stands among those with its key
  };
  static_assert(sizeof(Entry) == 80);

  struct List {
    Index first = none;
    Index last = none;
  };

  struct Backlog {
    Principal principal;
    std::uint32_t weight = 1;
    std::size_t messages = 0;  // not finished
    std::size_t ready = 0;
    std::uint64_t debt = 0;  // served out of turn
    FairTurn turn;
    Hook place;
    const LeaseTable* table = nullptr;
    std::array<std::array<List, 2>, priorities> queues;  // of each priority: what came back, and what never was out
    std::uint64_t first_charge() const noexcept;
  };

  struct Key {
    List entries;  // in the order of delivery: first what is on lease, all of it to one member
    std::uint32_t not_due = 0;  // not among the entries yet
  };

  struct MemberState {
    Credits credits;
    std::uint32_t messages = 0;
    std::uint64_t bytes = 0;
    List leases;
    std::uint32_t left = 0;
    bool joined = false;
  };

  struct HashOffset {
    using is_transparent = void;
    const LeaseTable* table;
    std::size_t operator()(std::uint64_t offset) const noexcept { return offset; }  // the set mixes it
    std::size_t operator()(Index index) const noexcept { return table->entry(index).offset; }
  };
  struct SameOffset {
    using is_transparent = void;
    const LeaseTable* table;
    bool operator()(Index a, Index b) const noexcept { return a == b; }
    bool operator()(std::uint64_t offset, Index index) const noexcept { return table->entry(index).offset == offset; }
    bool operator()(Index index, std::uint64_t offset) const noexcept { return (*this)(offset, index); }
  };
  struct HashPrincipal {
    std::size_t operator()(const Principal& principal) const noexcept {
      return std::hash<std::string_view>()(principal.view());
    }
  };

  static constexpr std::size_t chunk_entries = 1024;
  Entry& entry(Index i) noexcept { return chunks_[i / chunk_entries][i % chunk_entries]; }
  const Entry& entry(Index i) const noexcept { return chunks_[i / chunk_entries][i % chunk_entries]; }
  Owed owed(const Entry& e) const noexcept;
  Index find(std::uint64_t offset) const noexcept;
  Index find_leased(const LeaseName& lease, std::int64_t now_ns) const noexcept;
  Index backlog_of(const Principal& principal);

  template <Index Entry::* Before, Index Entry::* Behind>
  void push_back(List& list, Index i) noexcept;
  void list_by_offset(Index i) noexcept;
  template <Index Entry::* Before, Index Entry::* Behind>
  void erase(List& list, Index i) noexcept;

  Index first_ready(const Backlog& backlog) const noexcept;
  void forget(Index backlog) noexcept;
  List& queue_of(const Entry& e) noexcept;
  void make_ready(Index i) noexcept;
  void leave_ready(Index i) noexcept;
  void delay(Index i, std::int64_t due_ns) noexcept;
  void offer(Index i) noexcept;
  void offer_first(std::uint64_t key) noexcept;
  void join_key(Index i) noexcept;
  void leave_key(Index i) noexcept;
  bool may_lease(const MemberState& member, const Entry& e) const noexcept;
  Take lease(Index i, Member member, std::int64_t now_ns, Taken& out) noexcept;
  void end_lease(Index i) noexcept;
  void come_back(Index i, std::int64_t due_ns, std::int64_t now_ns) noexcept;
  void hold_dead(Index i) noexcept;
  void remove(Index i) noexcept;
  std::int64_t backoff(std::uint8_t attempts) const noexcept;

  void heap_push(Index i) noexcept;
  void heap_erase(Index i) noexcept;
  void heap_sift(std::size_t place) noexcept;

  const LeaseRules rules_;
  std::vector<std::unique_ptr<Entry[]>> chunks_;
  Index free_ = none;
  boost::unordered_flat_set<Index, HashOffset, SameOffset> by_offset_;
  std::vector<std::unique_ptr<Backlog>> backlogs_;
  std::vector<Index> free_backlogs_;
  boost::unordered_flat_map<Principal, Index, HashPrincipal> by_principal_;
  boost::unordered_flat_map<std::uint64_t, Key> keys_;
  std::vector<MemberState> members_;
  std::vector<Index> heap_;  // by `wakes_ns`
  FairRound<Backlog, &Backlog::place> round_;
  List all_;  // by offset
  Index last_between_ = none;  // that did not go to the end of these, or what is near it now
  std::uint32_t next_token_ = 1;
  std::size_t size_ = 0;
  std::size_t ready_ = 0;
  std::size_t leased_ = 0;
  std::size_t delayed_ = 0;
  std::size_t dead_ = 0;
};

}  // namespace bus::detail
