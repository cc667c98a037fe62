// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Deficit round robin: who is served next of several that wait. Source: M. Shreedhar and G. Varghese, "Efficient fair
// queueing using deficit round-robin", SIGCOMM 1995.
//
// Each of them may spend a quantum for its weight in every round, and keeps what it could not spend. No thread safety
// and no time in here.
#pragma once

#include <bus/export.hpp>
#include <bus/principal.hpp>
#include <bus/routing/options.hpp>

#include <boost/intrusive/list.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace bus::detail {

using Hook = boost::intrusive::list_member_hook<boost::intrusive::link_mode<boost::intrusive::normal_link>>;

/// The share of a principal: its own, or else that of its class.
BUSBAR_EXPORT std::uint32_t weight_of(const Weights& weights, const Principal& principal) noexcept;

/// What a round knows of one that takes turns in it.
struct FairTurn {
  std::uint64_t deficit = 0;
  std::uint64_t round = 0;  ///< in which it had its last turn, or came
  bool begun = false;  ///< has got its quantum for this turn
  bool served = false;  ///< and something was served in it
};

/// A member has a `weight`, a `turn`, the hook `Place`, and at least one message while it is in here, of which
/// `first_charge()` is what the first one costs.
template <class Member, Hook Member::* Place>
class FairRound {
 public:
  using List = boost::intrusive::list<Member, boost::intrusive::member_hook<Member, Hook, Place>,
                                      boost::intrusive::constant_time_size<false>>;

  void join(Member& member) noexcept {
    members_.push_back(member);
    member.turn.round = rounds_;
    ++size_;
  }
  void leave(Member& member) noexcept {
    members_.erase(members_.iterator_to(member));
    member.turn.deficit = 0;
    member.turn.begun = false;
    --size_;
  }

  template <class Dispose>
  void clear_and_dispose(Dispose&& dispose) noexcept {
    members_.clear_and_dispose(dispose);
    size_ = 0;
  }

  enum class Next { member, nobody, held, over_limit };

  /// Finds whose first message is served next, and charges it. `quantum` is what each turn of a round is worth that
  /// begins here. `held(member)` says whether it must wait; a message larger than `limit` is not served.
  template <class Held>
  Next next(std::size_t quantum, std::size_t limit, Held&& held, Member** out) noexcept {
    std::size_t waiting = 0;  // visited in a row, all held
    std::size_t fruitless = 0;  // visited in a row, none served
    while (!members_.empty()) {
      Member& member = members_.front();
      if (held(member)) {
        pass_on();
        if (++waiting == size_) return Next::held;  // and the round is as it was
        continue;
      }
      if (!member.turn.begun) begin_turn(member, quantum);
      const std::uint64_t charge = member.first_charge();
      if (charge <= member.turn.deficit) {
        if (charge > limit) return Next::over_limit;
        member.turn.deficit -= charge;
        member.turn.served = true;
        *out = &member;
        return Next::member;
      }
      if (!member.turn.served) ++starved_;
      member.turn.begun = false;
      waiting = 0;
      pass_on();
      if (++fruitless >= size_ && quantum_ == quantum) {
        skip_fruitless_rounds();
        fruitless = 0;
      }
    }
    return Next::nobody;
  }

  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return members_.empty(); }
  Member& front() noexcept { return members_.front(); }
  auto begin() noexcept { return members_.begin(); }
  auto end() noexcept { return members_.end(); }

  /// Turns that ended because the deficit did not cover the first message.
  std::uint64_t starved() const noexcept { return starved_; }

 private:
  void pass_on() noexcept { members_.splice(members_.end(), members_, members_.begin()); }

  /// A round begins with whoever has had a turn in the one before. To all of it a turn is worth the same, whatever is
  /// asked for in its midst: else who asks for more now and then would serve those more whose turn it just is.
  void begin_turn(Member& member, std::size_t quantum) noexcept {
    if (member.turn.round == rounds_) {
      ++rounds_;
      quantum_ = quantum;
    }
    member.turn.round = rounds_;
    member.turn.deficit += quantum_ * member.weight;
    member.turn.begun = true;
    member.turn.served = false;
  }

  /// A whole round served nobody: gives everyone at once what the rounds would have given it until the first of them,
  /// but for its last one, can be served.
  void skip_fruitless_rounds() noexcept {
    std::uint64_t rounds = std::numeric_limits<std::uint64_t>::max();
    for (const Member& member : members_) {
      const std::uint64_t charge = member.first_charge();
      const std::uint64_t turn = quantum_ * member.weight;
      rounds = std::min(rounds, charge <= member.turn.deficit ? 1 : (charge - member.turn.deficit + turn - 1) / turn);
    }
    if (rounds <= 1) return;
    for (Member& member : members_) member.turn.deficit += (rounds - 1) * quantum_ * member.weight;
  }

  List members_;  // in the order of service
  std::size_t size_ = 0;
  std::uint64_t rounds_ = 0;  // that have begun
  std::size_t quantum_ = 0;  // of this round
  std::uint64_t starved_ = 0;
};

}  // namespace bus::detail
