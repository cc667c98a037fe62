// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Messages that a queue has read past and left in the log, as their principal has its share of the lease table: so that
// one who is far behind does not keep those of others out. They are read again, in order, when it has room.
#pragma once

#include <bus/principal.hpp>

#include <boost/unordered/unordered_flat_map.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <map>
#include <string_view>
#include <utility>

namespace bus::detail {

class PutOff {
 public:
  /// A principal all of whose messages from `first` on are put off, as far as the queue has read.
  struct Front {
    std::uint64_t first = 0;
    bool has_place = false;  ///< noted by who reads again
  };
  struct HashPrincipal {
    std::size_t operator()(const Principal& principal) const noexcept {
      return std::hash<std::string_view>()(principal.view());
    }
  };
  using Fronts = boost::unordered_flat_map<Principal, Front, HashPrincipal>;

  /// Offsets must rise. Errors: throws std::bad_alloc; then it may be among the fronts, and nothing else has changed.
  void add(const Principal& principal, std::uint64_t offset) {
    fronts_.try_emplace(principal, Front{.first = offset});
    if (!runs_.empty() && std::prev(runs_.end())->second == offset) {
      ++std::prev(runs_.end())->second;
    } else {
      runs_.emplace_hint(runs_.end(), offset, offset + 1);
    }
    ++size_;
  }

  bool has(const Principal& principal) const noexcept { return !fronts_.empty() && fronts_.contains(principal); }
  Fronts& fronts() noexcept { return fronts_; }

  bool contains(std::uint64_t offset) const noexcept { return next_from(offset) == offset; }

  /// Whether a run begins there, so that taking it away makes no more of them.
  bool begins_at(std::uint64_t offset) const noexcept { return runs_.contains(offset); }

  /// The first at or behind `offset`. Returns: the highest number if there is none.
  std::uint64_t next_from(std::uint64_t offset) const noexcept {
    const auto behind = runs_.upper_bound(offset);
    if (behind != runs_.begin() && std::prev(behind)->second > offset) return offset;
    return behind == runs_.end() ? ~std::uint64_t{0} : behind->first;
  }

  /// Has to come before `remove` of what begins with one that it contains. Errors: throws std::bad_alloc; nothing has
  /// changed then.
  void prepare_to_remove(std::uint64_t offset) {
    const auto run = std::prev(runs_.upper_bound(offset));
    if (run->first == offset) return;
    runs_.emplace_hint(std::next(run), offset, run->second);
    run->second = offset;
  }
  /// Takes away `offset`, and what follows it without a gap in front of `end`. Returns: the first that it left.
  std::uint64_t remove(std::uint64_t offset, std::uint64_t end) noexcept {
    const auto run = runs_.find(offset);
    end = std::min(run->second, end);
    size_ -= static_cast<std::size_t>(end - offset);
    if (run->second == end) {
      runs_.erase(run);
    } else {
      begin_at(run, end);
    }
    return end;
  }

  /// Returns: how many there were. Cost: O(runs).
  std::size_t remove_below(std::uint64_t offset) noexcept {
    const std::size_t before = size_;
    for (auto run = runs_.begin(); run != runs_.end() && run->first < offset;) {
      size_ -= static_cast<std::size_t>(std::min(run->second, offset) - run->first);
      if (run->second <= offset) {
        run = runs_.erase(run);
      } else {
        begin_at(run, offset);
        break;
      }
    }
    for (auto& [principal, front] : fronts_) front.first = std::max(front.first, offset);
    return before - size_;
  }

  bool empty() const noexcept { return runs_.empty(); }
  std::size_t size() const noexcept { return size_; }
  /// Begin and end, in order; they may touch each other.
  const std::map<std::uint64_t, std::uint64_t>& runs() const noexcept { return runs_; }

 private:
  using Runs = std::map<std::uint64_t, std::uint64_t>;
  void begin_at(Runs::iterator run, std::uint64_t offset) noexcept {
    auto node = runs_.extract(run);
    node.key() = offset;
    runs_.insert(std::move(node));
  }

  Fronts fronts_;
  Runs runs_;
  std::size_t size_ = 0;
};

}  // namespace bus::detail
