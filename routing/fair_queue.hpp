// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The queues of one route: a FIFO for each principal, served by deficit round robin, bounded in bytes.
//
// Everything a principal has here hangs on its `Backlog`. One is made when the principal's first message comes, and
// goes when nothing is pending and no loss is untold; with nothing pending but losses to tell it is idle, and the idle
// ones beyond a limit are forgotten, oldest first, their losses told as one sum.
//
// Entries stand in up to three orders, all by sequence: in their principal's FIFO, and if they may be evicted in that
// principal's list of such and, but for fair share, in the route's. Sequences come almost in order, so an entry is
// sorted in from the tail.
//
// No thread safety and no time in here, and no calling out: the route locks, and ends what has been dropped.
#pragma once

#include "routing/fair_round.hpp"

#include <bus/principal.hpp>
#include <bus/routing/options.hpp>
#include <bus/routing/router.hpp>

#include <boost/intrusive/list.hpp>
#include <boost/intrusive/set.hpp>
#include <boost/unordered/unordered_flat_set.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bus::detail {

struct Backlog;

/// One message in a route.
struct alignas(64) Entry {
  const Event* event = nullptr;
  std::uint64_t sequence = 0;
  std::size_t charge = 0;
  Backlog* backlog = nullptr;
  Hook in_fifo, in_evictable, in_age;
  bool protects = false;  ///< a terminal: never evicted
  bool doomed = false;    ///< chosen to make room, unless the newcomer is refused after all
  bool keyed = false;     ///< stands in the table of keys
  Entry* next_doomed = nullptr;
  std::int64_t tick = 0;
  std::size_t key_hash = 0;          ///< of principal, topic and key; only looked at by a route that coalesces
  std::unique_ptr<std::string> key;  ///< with such a route
  std::uint64_t lost_before = 0;     ///< messages of the principal lost between the one before and this one
};
static_assert(sizeof(Entry) == 128);

template <Hook Entry::* Member>
using EntryList = boost::intrusive::list<Entry, boost::intrusive::member_hook<Entry, Hook, Member>,
                                         boost::intrusive::constant_time_size<false>>;

/// What a route has of one principal.
struct alignas(64) Backlog : boost::intrusive::set_base_hook<> {
  Principal principal;
  std::size_t hash = 0;
  std::uint32_t weight = 1;
  PrincipalClass category = PrincipalClass::system;
  enum class Where : std::uint8_t { nowhere, round, idle };
  Where where = Where::nowhere;
  FairTurn turn;
  bool ranked = false;
  EntryList<&Entry::in_fifo> fifo;
  EntryList<&Entry::in_evictable> evictable;
  std::uint64_t messages = 0;
  std::uint64_t bytes = 0;
  std::uint64_t protected_bytes = 0;
  std::uint64_t load = 0;  ///< bytes, less what is doomed, and with the newcomer's; what fair share ranks by
  std::uint64_t earliest = 0;  ///< sequence of the first message that may be evicted; with a load
  std::uint64_t untold = 0;      ///< all losses not told yet
  std::uint64_t lost_since = 0;  ///< of these, since its last message here
  Hook place;  ///< in the round of those served, among the idle, or among the spare

  std::size_t first_charge() const noexcept { return fifo.front().charge; }
};

/// A principal as the publisher knows it, hashed outside of any lock.
struct PrincipalKey {
  const Principal* principal;
  std::size_t hash;
};

class FairQueue {
 public:
  using Dropped = EntryList<&Entry::in_fifo>;

  struct Config {
    std::size_t budget_bytes;
    std::size_t quantum_bytes;
    std::size_t principal_messages;
    std::size_t credits;
    Weights weights;
    Overflow overflow;
    std::size_t max_untold = limits::max_untold_principals;
  };

  explicit FairQueue(Config config);
  ~FairQueue();
  FairQueue(const FairQueue&) = delete;
  FairQueue& operator=(const FairQueue&) = delete;

  struct Pushed {
    std::optional<Loss> refused;  ///< none: it is in the queue, and the entry is the queue's
    bool made_room = false;       ///< or would have had to
  };

  /// Puts an entry, all but its backlog filled in, at its place. `dropped` gets what had to go.
  /// Cost: O(1), and O(1) for each entry dropped; with fair share O(log principals) for each.
  Pushed push(Entry& entry, const PrincipalKey& key, Dropped& dropped) noexcept;

  /// Counts a message that did not even get to `push`.
  void count_refused(const PrincipalKey& key, Loss reason) noexcept;

  enum class Served { entry, nothing, held, over_limit };

  /// Takes out the next entry by fair turn. `quantum` is what each turn of a round is worth that begins here.
  /// `held(backlog, first)` says whether the first message of a principal must wait; one larger than `limit` is not
  /// taken.
  template <class Held>
  Served pop(std::size_t quantum, std::size_t limit, Held&& held, Entry** out) noexcept;

  /// Whether `pop` with this `held` would find an entry. Cost: O(principals).
  template <class Held>
  bool any_servable(Held&& held) noexcept {
    for (Backlog& backlog : round_) {
      if (!held(backlog, backlog.fifo.front())) return true;
    }
    return false;
  }

  /// Losses of the principal right before an entry popped, now told; and the sum of those forgotten.
  /// Must follow each `pop`.
  std::uint64_t take_untold(Entry& popped) noexcept;
  std::uint64_t take_forgotten() noexcept { return std::exchange(forgotten_, 0); }

  /// Everything, in no particular order. Nothing of it is counted as lost.
  void clear(Dropped& dropped) noexcept;

  /// Bytes that are spoken for by publishers that wait.
  bool reserve(std::size_t charge) noexcept;
  void unreserve(std::size_t charge) noexcept {
    reserved_ -= charge;
    --reserved_messages_;
  }

  /// What a turn is worth in a drain. More than the budget would only be saved up.
  std::size_t quantum_for(std::size_t drained) const noexcept {
    if (round_.empty()) return config_.quantum_bytes;
    return std::max(config_.quantum_bytes, std::min(drained, config_.budget_bytes) / round_.size());
  }

  std::uint64_t bytes() const noexcept { return bytes_; }
  std::uint64_t bytes_peak() const noexcept { return bytes_peak_; }
  std::uint64_t messages() const noexcept { return messages_; }
  std::uint64_t principals() const noexcept { return round_.size(); }
  std::uint64_t starved() const noexcept { return round_.starved(); }
  std::uint64_t forgotten() const noexcept { return forgotten_; }
  const auto& lost() const noexcept { return lost_; }
  std::size_t budget() const noexcept { return config_.budget_bytes; }
  template <class Visit>
  void for_each_backlog(Visit&& visit) const {
    if (first_used_) visit(first_);
    for (const Backlog* backlog : backlogs_) visit(*backlog);
  }

  /// Asks for the cache lines that `push` will need first.
  void prefetch() const noexcept {
    const auto* const begin = reinterpret_cast<const std::byte*>(this);
    const auto* const end = reinterpret_cast<const std::byte*>(&lost_);
    for (const std::byte* line = begin; line < end; line += 64) sync::prefetch_write(line);
  }

  /// Shares from now on; what a principal has saved up it keeps. Swaps, so that the caller frees the old ones.
  /// Cost: O(principals), with fair share times their logarithm.
  void swap_weights(Weights& weights) noexcept;

  /// Whether every sum is what its parts make, and zero where nothing is. For tests and debug builds: O(entries).
  bool consistent() const noexcept;

 private:
  struct HashBacklog {
    using is_transparent = void;
    std::size_t operator()(const Backlog* backlog) const noexcept { return backlog->hash; }
    std::size_t operator()(const PrincipalKey& key) const noexcept { return key.hash; }
  };
  struct SameBacklog {
    using is_transparent = void;
    bool operator()(const Backlog* a, const Backlog* b) const noexcept { return a == b; }
    bool operator()(const PrincipalKey& key, const Backlog* b) const noexcept {
      return key.hash == b->hash && *key.principal == b->principal;
    }
    bool operator()(const Backlog* b, const PrincipalKey& key) const noexcept { return (*this)(key, b); }
  };
  struct HashKeyed {
    using is_transparent = void;
    std::size_t operator()(const Entry* entry) const noexcept { return entry->key_hash; }
  };
  struct SameKeyed {
    using is_transparent = void;
    bool operator()(const Entry* a, const Entry* b) const noexcept;
  };
  /// Lighter for its weight; of two that are equally heavy, the one whose earliest message is the later.
  struct Lighter {
    bool operator()(const Backlog& a, const Backlog& b) const noexcept {
      const std::uint64_t of_a = a.load * b.weight;
      const std::uint64_t of_b = b.load * a.weight;
      return of_a != of_b ? of_a < of_b : a.earliest > b.earliest;
    }
  };
  using Round = FairRound<Backlog, &Backlog::place>;
  using BacklogList = Round::List;
  using Ranking = boost::intrusive::multiset<Backlog, boost::intrusive::compare<Lighter>>;

  Backlog* find_or_make(const PrincipalKey& key) noexcept;
  void lose(Backlog& backlog, Loss reason) noexcept;
  void lose_entry(Entry& entry, Loss reason) noexcept;
  void settle(Backlog& backlog) noexcept;
  void end(Backlog& backlog) noexcept;
  void link(Entry& entry) noexcept;
  void unlink(Entry& entry) noexcept;
  void set_load(Backlog& backlog, std::uint64_t load, bool newcomer = false) noexcept;
  void doom(Entry& victim) noexcept;
  void spare_doomed() noexcept;
  Entry* next_victim(const Entry& newcomer) noexcept;
  bool by_age() const noexcept { return config_.overflow != Overflow::evict_fair_share; }
  bool share_allows(const Entry& newcomer, std::uint64_t needed) const noexcept;
  std::optional<Loss> make_room(Entry& entry, bool& had_to) noexcept;

  // What every message touches comes first. The first principal needs no table: a route often has but one.
  std::size_t idle_count_ = 0;
  std::uint64_t bytes_ = 0;
  std::uint64_t bytes_peak_ = 0;
  std::uint64_t evictable_bytes_ = 0;
  std::uint64_t evictable_messages_ = 0;
  std::uint64_t reserved_ = 0;
  std::uint64_t reserved_messages_ = 0;
  std::uint64_t messages_ = 0;
  Round round_;  // principals with something pending
  EntryList<&Entry::in_age> age_;  // all that may be evicted; not with fair share
  Entry* doomed_ = nullptr;
  Entry* replaced_ = nullptr;  // the one among the doomed whose key the newcomer has
  bool first_used_ = false;
  boost::unordered_flat_set<Backlog*, HashBacklog, SameBacklog> backlogs_;  // all but `first_`
  Config config_;  // its weights may change
  Backlog first_;
  std::array<std::array<std::uint64_t, 3>, loss_reasons> lost_{};
  std::uint64_t forgotten_ = 0;
  boost::unordered_flat_set<Entry*, HashKeyed, SameKeyed> keyed_;
  BacklogList idle_;  // principals with losses to tell only, the longest idle first
  BacklogList spare_;  // for the next principals that come
  std::size_t spare_count_ = 0;
  Ranking ranking_;  // with fair share: principals that can be evicted from, and the newcomer's
};

template <class Held>
FairQueue::Served FairQueue::pop(std::size_t quantum, std::size_t limit, Held&& held, Entry** out) noexcept {
  Backlog* backlog = nullptr;
  const auto is_held = [&](const Backlog& one) { return held(one, one.fifo.front()); };
  switch (round_.next(quantum, limit, is_held, &backlog)) {
    case Round::Next::nobody: return Served::nothing;
    case Round::Next::held: return Served::held;
    case Round::Next::over_limit: return Served::over_limit;
    case Round::Next::member: break;
  }
  Entry& first = backlog->fifo.front();
  unlink(first);
  *out = &first;
  return Served::entry;
}

}  // namespace bus::detail
