// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What the tests of a route's queue share: a queue whose entries are looked after and whose sums are checked at every
// step, random traffic for it, and a model of it that is obviously right: one vector, searched from end to end for
// every answer.
#pragma once

#include <bus/bus.hpp>

#include "routing/fair_queue.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace bus::detail::queue_test {

using Sequences = std::vector<std::uint64_t>;
using Served = FairQueue::Served;
using enum Overflow;

inline constexpr std::size_t any_charge = std::numeric_limits<std::size_t>::max();

inline constexpr std::array that_evict{evict_oldest_head, evict_fair_share, detach, coalesce};
inline constexpr std::array that_refuse{reject_new, wait};
inline constexpr std::array all_policies{evict_oldest_head, evict_fair_share, reject_new, wait, detach, coalesce};

inline bool evicts(Overflow overflow) { return overflow != reject_new && overflow != wait; }

inline std::string name_of(Overflow overflow) {
  switch (overflow) {
    case evict_oldest_head: return "evict_oldest_head";
    case evict_fair_share: return "evict_fair_share";
    case reject_new: return "reject_new";
    case wait: return "wait";
    case detach: return "detach";
    case coalesce: break;
  }
  return "coalesce";
}

/// A message as a test gives it.
struct Item {
  std::string principal;
  std::uint64_t sequence = 0;
  std::size_t charge = 100;
  bool terminal = false;
  std::string key = {};
  std::string topic = "t";
};

inline FairQueue::Config config(std::size_t budget, Overflow overflow = evict_oldest_head) {
  return {.budget_bytes = budget,
          .quantum_bytes = 100,
          .principal_messages = 1000,
          .credits = 0,
          .weights = {},
          .overflow = overflow};
}

/// A FairQueue and what it leaves to its owner: the entries, and for a policy that looks at them the events.
/// Every change is followed by a look at all sums.
class Queue {
 public:
  explicit Queue(const FairQueue::Config& config, bool same_hash = false)
      : queue(config), looks_at_events_(config.overflow == coalesce), same_hash_(same_hash) {}
  ~Queue() { clear(); }

  struct Pushed {
    std::optional<Loss> refused;
    bool made_room = false;
    Sequences dropped;
  };

  Pushed push(const Item& item) {
    auto entry = std::make_unique<Entry>();
    entry->event = looks_at_events_ ? event_of(item) : nullptr;
    entry->sequence = item.sequence;
    entry->charge = item.charge;
    entry->protects = item.terminal;
    entry->key = std::make_unique<std::string>(item.key);
    entry->key_hash = hash_of(item.principal + '\n' + item.topic + '\n' + item.key);
    const Principal principal = Principal::parse(item.principal).value();
    FairQueue::Dropped gone;
    const FairQueue::Pushed pushed = queue.push(*entry, {&principal, hash_of(item.principal)}, gone);
    if (!pushed.refused) {
      (void)entry.release();
    } else {
      EXPECT_TRUE(gone.empty());
      EXPECT_EQ(entry->backlog, nullptr);
    }
    Pushed result{pushed.refused, pushed.made_room, {}};
    gone.clear_and_dispose([&](Entry* one) {
      EXPECT_FALSE(one->protects || one->doomed || one->keyed);
      result.dropped.push_back(one->sequence);
      delete one;
    });
    std::ranges::sort(result.dropped);
    ++offered_;
    check();
    return result;
  }

  void refuse(const std::string& name, Loss reason) {
    const Principal principal = Principal::parse(name).value();
    queue.count_refused({&principal, hash_of(name)}, reason);
    ++offered_;
    check();
  }

  struct Popped {
    Served served{};
    Item item;
    std::uint64_t missed = 0;
    std::uint64_t forgotten = 0;
    explicit operator bool() const { return served == Served::entry; }
  };

  template <class Held>
  Popped pop(std::size_t quantum, std::size_t limit, Held held) {
    Entry* entry = nullptr;
    Popped popped{queue.pop(quantum, limit, held, &entry), {}, 0, 0};
    if (popped) {
      popped.item = {std::string(entry->backlog->principal.view()), entry->sequence, entry->charge, entry->protects,
                     entry->key != nullptr ? *entry->key : std::string()};
      popped.missed = queue.take_untold(*entry);
      popped.forgotten = queue.take_forgotten();
      EXPECT_EQ(entry->backlog, nullptr);
      delete entry;
      ++delivered_;
    }
    check();
    return popped;
  }
  Popped pop(std::size_t quantum = 100, std::size_t limit = any_charge) {
    return pop(quantum, limit, [](const Backlog&, const Entry&) { return false; });
  }

  /// Everything, by single pops.
  std::vector<Item> pop_all(std::size_t quantum = 100) {
    std::vector<Item> all;
    while (const Popped popped = pop(quantum)) all.push_back(popped.item);
    return all;
  }

  /// Up to so many bytes but at least one message, as a route does it.
  std::vector<Item> drain(std::size_t bytes) {
    std::vector<Item> all;
    const std::size_t quantum = queue.quantum_for(bytes);
    while (const Popped popped = pop(quantum, all.empty() ? any_charge : bytes)) {
      bytes -= std::min(bytes, popped.item.charge);
      all.push_back(popped.item);
    }
    return all;
  }

  void clear() {
    FairQueue::Dropped gone;
    queue.clear(gone);
    gone.clear_and_dispose([this](Entry* one) {
      EXPECT_EQ(one->backlog, nullptr);
      ++cleared_;
      delete one;
    });
    check();
  }

  std::uint64_t lost(Loss reason) const {
    const auto& by_class = queue.lost()[static_cast<std::size_t>(reason)];
    return by_class[0] + by_class[1] + by_class[2];
  }

  /// Messages, bytes and losses to be told, by principal.
  using Backlogs = std::map<std::string, std::tuple<std::uint64_t, std::uint64_t, std::uint64_t>>;
  Backlogs backlogs() const {
    Backlogs all;
    queue.for_each_backlog([&](const Backlog& backlog) {
      EXPECT_TRUE(all.insert({std::string(backlog.principal.view()), {backlog.messages, backlog.bytes, backlog.untold}})
                      .second);
    });
    return all;
  }

  FairQueue queue;

 private:
  std::size_t hash_of(const std::string& text) const { return same_hash_ ? 7 : std::hash<std::string>()(text); }

  /// An event with the topic and the principal, published once.
  const Event* event_of(const Item& item) {
    EventRef& event = events_[{item.topic, item.principal}];
    if (!event) {
      EXPECT_TRUE(hub_.send(Message{Topic::parse(item.topic).value(), Principal::parse(item.principal).value(), {}}));
      event = receiver_.try_recv().keep();
    }
    return event.get();
  }

  void check() const {
    EXPECT_TRUE(queue.consistent());
    std::uint64_t lost_in_all = 0;
    for (std::size_t i = 0; i < loss_reasons; ++i) lost_in_all += lost(static_cast<Loss>(i));
    EXPECT_EQ(offered_, delivered_ + queue.messages() + cleared_ + lost_in_all);
    EXPECT_LE(queue.bytes(), queue.bytes_peak());
    EXPECT_LE(queue.bytes_peak(), queue.budget());
    if (queue.messages() == 0) {
      EXPECT_EQ(queue.bytes(), 0U);
      EXPECT_EQ(queue.principals(), 0U);
    }
  }

  const bool looks_at_events_;
  const bool same_hash_;
  Bus hub_{{.capacity = 2}};
  Receiver receiver_ = hub_.subscribe();
  std::map<std::pair<std::string, std::string>, EventRef> events_;
  std::uint64_t offered_ = 0;
  std::uint64_t delivered_ = 0;
  std::uint64_t cleared_ = 0;
};

inline Sequences sequences_of(const std::vector<Item>& items) {
  Sequences sequences;
  for (const Item& item : items) sequences.push_back(item.sequence);
  return sequences;
}

// --- The model ---

class Model {
 public:
  explicit Model(FairQueue::Config config) : config_(std::move(config)) {}

  struct Pushed {
    std::optional<Loss> refused;
    Sequences dropped;
  };

  Pushed push(const Item& item) {
    Victims victims;
    Pushed pushed{make_room(item, victims), {}};
    if (pushed.refused) {
      lose(item.principal, *pushed.refused);
      return pushed;
    }
    const bool latest = std::ranges::none_of(
        pending_, [&](const Item& one) { return one.principal == item.principal && one.sequence > item.sequence; });
    pending_.push_back(item);
    before_[item.sequence] = latest ? std::exchange(books_[item.principal].lost_since, 0) : 0;
    settle(item.principal);
    // Of the victims of one publish the last chosen is the first that is lost.
    for (; !victims.empty(); victims.pop_back()) {
      const auto& [victim, reason] = victims.back();
      std::erase_if(pending_, [&](const Item& one) { return one.sequence == victim.sequence; });
      const auto behind = earliest(pending_, [&, after = victim.sequence](const Item& one) {
        return one.principal == victim.principal && one.sequence > after;
      });
      // It is told by the one behind it, with what it would have told itself.
      Books& books = books_[victim.principal];
      const std::uint64_t carried = before_[victim.sequence];
      before_.erase(victim.sequence);
      (behind != pending_.end() ? before_[behind->sequence] : books.lost_since) += carried;
      if (behind != pending_.end()) {
        ++before_[behind->sequence];
        --books.lost_since;  // which `lose` counts
      }
      lose(victim.principal, reason);
      pushed.dropped.push_back(victim.sequence);
    }
    std::ranges::sort(pushed.dropped);
    return pushed;
  }

  void lose(const std::string& principal, Loss reason) {
    const PrincipalClass category = Principal::parse(principal)->classify();
    ++lost_[static_cast<std::size_t>(reason)][static_cast<std::size_t>(category)];
    ++books_[principal].untold;
    ++books_[principal].lost_since;
    settle(principal);
  }

  struct Popped {
    Item item;
    std::uint64_t missed = 0;
    std::uint64_t forgotten = 0;
  };

  /// Deficit round robin, one turn after the other. Who has something when a round begins has one turn in it, and what
  /// that is worth is said when the round begins.
  std::optional<Popped> pop(std::size_t quantum, std::size_t limit) {
    while (!round_.empty()) {
      const std::string name = round_.front();
      Books& books = books_[name];
      if (!std::exchange(books.in_turn, true)) {
        if (std::exchange(books.in_round, true)) {
          for (auto& [other, its] : books_) its.in_round = other == name;
          quantum_ = quantum;
        }
        books.deficit += quantum_ * weight_of(name);
        books.served_in_turn = false;
      }
      const auto first = earliest(pending_, [&](const Item& one) { return one.principal == name; });
      if (first->charge <= books.deficit) {
        if (first->charge > limit) return std::nullopt;
        books.deficit -= first->charge;
        books.served_in_turn = true;
        Popped popped{*first, before_[first->sequence]};
        books.untold -= popped.missed;
        before_.erase(first->sequence);
        pending_.erase(first);
        settle(name);
        popped.forgotten = std::exchange(forgotten_, 0);
        return popped;
      }
      if (!books.served_in_turn) ++starved_;
      books.in_turn = false;
      std::ranges::rotate(round_, round_.begin() + 1);
    }
    return std::nullopt;
  }

  bool reserve(std::size_t charge) {
    if (bytes_of(pending_) + reserved_ + charge > config_.budget_bytes) return false;
    if (config_.credits != 0 && pending_.size() + reservations_ + 1 > config_.credits) return false;
    reserved_ += charge;
    ++reservations_;
    return true;
  }
  void unreserve(std::size_t charge) {
    reserved_ -= charge;
    --reservations_;
  }

  void clear() {
    for (const Item& item : pending_) books_[item.principal].lost_since += before_[item.sequence];
    before_.clear();
    pending_.clear();
    while (!round_.empty()) settle(std::string(round_.front()));
  }

  std::size_t quantum_for(std::size_t drained) const {
    if (round_.empty()) return config_.quantum_bytes;
    return std::max(config_.quantum_bytes, std::min(drained, config_.budget_bytes) / round_.size());
  }

  /// Whether the queue is in the same state, as far as it can be seen.
  void compare(const Queue& subject) const {
    EXPECT_EQ(subject.queue.messages(), pending_.size());
    EXPECT_EQ(subject.queue.bytes(), bytes_of(pending_));
    EXPECT_EQ(subject.queue.principals(), round_.size());
    EXPECT_EQ(subject.queue.lost(), lost_);
    // Turns of rounds that were skipped because nobody could be served in them are not counted.
    EXPECT_LE(subject.queue.starved(), starved_);
    EXPECT_EQ(subject.queue.starved() == 0, starved_ == 0);
    Queue::Backlogs backlogs;
    for (const auto& [name, books] : books_) {
      const auto its = items_of(name);
      backlogs[name] = {its.size(), bytes_of(its), books.untold};
    }
    EXPECT_EQ(subject.backlogs(), backlogs);
  }

 private:
  using Items = std::vector<Item>;
  using Victims = std::vector<std::pair<Item, Loss>>;
  struct Books {
    std::uint64_t deficit = 0;
    bool in_round = true;  // has had its turn in this round, or came during it
    bool in_turn = false;
    bool served_in_turn = false;
    std::uint64_t untold = 0;
    std::uint64_t lost_since = 0;  // of these, since its last message
  };

  static std::uint64_t bytes_of(const Items& items) {
    std::uint64_t sum = 0;
    for (const Item& item : items) sum += item.charge;
    return sum;
  }
  template <class Is>
  static Items::iterator earliest(Items& items, Is is) {
    auto found = items.end();
    for (auto at = items.begin(); at != items.end(); ++at) {
      if (is(*at) && (found == items.end() || at->sequence < found->sequence)) found = at;
    }
    return found;
  }
  Items items_of(const std::string& principal) const {
    Items its;
    for (const Item& item : pending_) {
      if (item.principal == principal) its.push_back(item);
    }
    return its;
  }
  std::uint64_t weight_of(const std::string& principal) const {
    for (const auto& [named, weight] : config_.weights.principals) {
      if (named.view() == principal) return weight;
    }
    if (principal.empty()) return config_.weights.system;
    return principal.starts_with("agent") ? config_.weights.agent : config_.weights.user;
  }

  /// Of what is left, the next that has to go; the end if that is the newcomer itself, or nothing may go.
  Items::iterator next_victim(Items& left, const Item& newcomer) const {
    const auto may_go = [](const Item& one) { return !one.terminal; };
    if (config_.overflow != evict_fair_share) return earliest(left, may_go);
    std::map<std::string, std::uint64_t> loads;
    for (const Item& item : left) loads[item.principal] += item.charge;
    loads[newcomer.principal] += newcomer.charge;
    auto victim = left.end();
    std::pair heaviest{std::uint64_t{0}, std::uint64_t{1}};  // bytes and weight
    for (const auto& [name, load] : loads) {
      const auto first = earliest(left, [&](const Item& one) { return may_go(one) && one.principal == name; });
      if (first == left.end() && (name != newcomer.principal || newcomer.terminal)) continue;
      const auto weight = weight_of(name);
      const auto mine = load * heaviest.second;
      const auto most = heaviest.first * weight;
      const bool earlier = first != left.end() && (victim == left.end() || first->sequence < victim->sequence);
      if (mine > most || (mine == most && earlier)) {
        heaviest = {load, weight};
        victim = first;
      }
    }
    return victim;
  }

  std::optional<Loss> make_room(const Item& item, Victims& victims) const {
    const auto of_same = [&](const Item& one) { return one.principal == item.principal; };
    Items left = pending_;
    const auto let_go = [&](Items::iterator victim, Loss reason) {
      victims.emplace_back(*victim, reason);
      left.erase(victim);
    };
    if (item.charge > config_.budget_bytes) return Loss::too_large;
    std::uint64_t protected_bytes = 0;
    for (const Item& one : items_of(item.principal)) protected_bytes += one.terminal ? one.charge : 0;
    if (item.terminal && protected_bytes + item.charge > config_.budget_bytes / 2) return Loss::terminals;
    if (config_.overflow == coalesce) {
      const auto same = earliest(left, [&](const Item& one) {
        return !one.terminal && of_same(one) && one.topic == item.topic && one.key == item.key;
      });
      if (same != left.end() && same->sequence < item.sequence) {
        let_go(same, Loss::coalesced);
      } else if (same != left.end() && !item.terminal) {
        return Loss::coalesced;
      }
    }
    const bool may_evict = evicts(config_.overflow);
    if (static_cast<std::size_t>(std::ranges::count_if(left, of_same)) == config_.principal_messages) {
      const auto first = earliest(left, [&](const Item& one) { return of_same(one) && !one.terminal; });
      if (!may_evict || first == left.end()) return Loss::over_count;
      let_go(first, Loss::evicted);
    }
    std::uint64_t stays = reserved_ + item.charge;
    for (const Item& one : left) stays += one.terminal || !may_evict ? one.charge : 0;
    if (stays > config_.budget_bytes) return Loss::over_budget;
    for (;;) {
      const bool over_bytes = bytes_of(left) + reserved_ + item.charge > config_.budget_bytes;
      if (!over_bytes && (config_.credits == 0 || left.size() + reservations_ < config_.credits)) return std::nullopt;
      const auto victim = may_evict ? next_victim(left, item) : left.end();
      if (victim == left.end()) return over_bytes ? Loss::over_share : Loss::over_count;
      let_go(victim, Loss::evicted);
    }
  }

  /// Puts a principal into the round, among the idle, or away.
  void settle(const std::string& name) {
    const bool active = !items_of(name).empty();
    const auto place = std::ranges::find(round_, name);
    if (active && place != round_.end()) return;
    if (place != round_.end()) round_.erase(place);
    std::erase(idle_, name);
    Books& books = books_[name];
    books.deficit = 0;
    books.in_round = true;
    books.in_turn = false;
    if (active) {
      round_.push_back(name);
    } else if (books.untold == 0) {
      books_.erase(name);
    } else {
      idle_.push_back(name);
      if (idle_.size() <= config_.max_untold) return;
      forgotten_ += books_[idle_.front()].untold;
      books_.erase(idle_.front());
      idle_.erase(idle_.begin());
    }
  }

  const FairQueue::Config config_;
  Items pending_;
  std::map<std::uint64_t, std::uint64_t> before_;  // losses that each pending message tells, by sequence
  std::map<std::string, Books> books_;
  std::vector<std::string> round_;
  std::size_t quantum_ = 0;
  std::vector<std::string> idle_;
  std::uint64_t reserved_ = 0;
  std::uint64_t reservations_ = 0;
  std::uint64_t starved_ = 0;
  std::uint64_t forgotten_ = 0;
  std::array<std::array<std::uint64_t, 3>, loss_reasons> lost_{};
};

// --- Random traffic ---

class Traffic {
 public:
  explicit Traffic(std::uint32_t seed) : random_(seed) {}

  std::uint64_t roll(std::uint64_t below) { return random_() % below; }
  template <class T>
  T one_of(std::initializer_list<T> choices) {
    return choices.begin()[roll(choices.size())];
  }

  /// Rising numbers, of which those close to each other change places.
  std::uint64_t sequence() {
    if (upcoming_.empty()) {
      for (auto count = 1 + roll(6); count != 0; --count) upcoming_.push_back(++last_);
      std::ranges::shuffle(upcoming_, random_);
    }
    const auto next = upcoming_.back();
    upcoming_.pop_back();
    return next;
  }

  Item item(std::size_t largest) {
    return {.principal = one_of<const char*>({"", "agent.a", "agent:b", "carol", "dave", "agent.e"}),
            .sequence = sequence(),
            .charge = 1 + roll(roll(10) == 0 ? 2 * largest : largest),
            .terminal = roll(8) == 0,
            .key = one_of<const char*>({"", "k", "l"}),
            .topic = one_of<const char*>({"t", "u"})};
  }

 private:
  std::mt19937 random_;
  Sequences upcoming_;
  std::uint64_t last_ = 0;
};

}  // namespace bus::detail::queue_test
