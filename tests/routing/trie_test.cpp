// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The trie against the matcher, asked for every pattern one by one.
#include "routing/trie.hpp"

#include <bus/topic.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bus::detail {
namespace {

/// Routes are only told apart by their addresses; nothing is ever looked up behind one.
Route* route(std::size_t number) {
  static std::array<std::max_align_t, 16> places;
  return reinterpret_cast<Route*>(&places[number]);
}

using Routes = std::vector<Route*>;  // sorted, each as often as it was found

Routes found_in(const TrieNode& root, std::string_view topic) {
  Routes routes;
  root.match(topic, [&](Route* one) { routes.push_back(one); });
  std::ranges::sort(routes);
  return routes;
}

/// A trie with its root, as its owner keeps it, and the subscriptions it must hold.
class Trie {
 public:
  ~Trie() { TrieNode::destroy_all(root_); }

  void add(const std::string& pattern, Route* one) {
    patterns_.emplace_back(pattern, one);
    replace([&](TrieNode::Replaced& replaced) { return TrieNode::with(*root_, pattern, one, replaced); });
  }
  void remove(std::size_t index) {
    const auto [pattern, one] = patterns_[index];
    patterns_.erase(patterns_.begin() + static_cast<std::ptrdiff_t>(index));
    replace([&](TrieNode::Replaced& replaced) { return TrieNode::without(*root_, pattern, one, replaced); });
  }

  std::size_t size() const { return patterns_.size(); }
  std::size_t nodes() const { return root_->nodes(); }
  Routes found(std::string_view topic) const { return found_in(*root_, topic); }

  void check(std::string_view topic) const {
    Routes expected;
    for (const auto& [pattern, one] : patterns_) {
      if (topic_matches(pattern, topic)) expected.push_back(one);
    }
    std::ranges::sort(expected);
    EXPECT_EQ(found(topic), expected) << topic;
  }

  /// One node for each different beginning of a pattern, the last `>` aside, and the root.
  void check_nodes() const {
    std::set<std::string> beginnings{""};
    for (const auto& [pattern, one] : patterns_) {
      const std::string words = pattern == ">"            ? ""
                                : pattern.ends_with(".>") ? pattern.substr(0, pattern.size() - 2)
                                                          : pattern;
      for (std::size_t end = 0; end <= words.size(); ++end) {
        if (end == words.size() || words[end] == '.') beginnings.insert(words.substr(0, end));
      }
    }
    EXPECT_EQ(nodes(), beginnings.size());
  }

 private:
  /// The old trie answers as before until what has been replaced is destroyed.
  template <class Make>
  void replace(Make make) {
    static constexpr std::array topics{"a", "b.a", "a.b.c", "c.c.c.c"};
    std::vector<Routes> before;
    for (const auto topic : topics) before.push_back(found(topic));
    TrieNode::Replaced replaced;
    const TrieNode* const old = std::exchange(root_, make(replaced).release());
    for (std::size_t i = 0; i < topics.size(); ++i) EXPECT_EQ(found_in(*old, topics[i]), before[i]);
  }

  const TrieNode* root_ = std::make_unique<TrieNode>().release();
  std::vector<std::pair<std::string, Route*>> patterns_;
};

TEST(Trie, with_no_pattern_finds_nothing) {
  const Trie trie;
  EXPECT_TRUE(trie.found("a").empty());
  EXPECT_EQ(trie.nodes(), 1U);
}

TEST(Trie, finds_exactly_what_the_matcher_says) {
  Trie trie;
  const std::array patterns{"a",   "*",   ">",     "a.b",   "a.*",   "a.>",    "*.b",
                            "*.*", "*.>", "a.b.c", "a.*.c", "a.*.>", "*.*.*.>"};
  for (std::size_t i = 0; i < patterns.size(); ++i) trie.add(patterns[i], route(i));
  EXPECT_EQ(trie.found("a"), (Routes{route(0), route(1), route(2)}));
  EXPECT_EQ(trie.found("b"), (Routes{route(1), route(2)}));
  EXPECT_EQ(trie.found("a.b"), (Routes{route(2), route(3), route(4), route(5), route(6), route(7), route(8)}));
  EXPECT_EQ(trie.found("x.y.z"), (Routes{route(2), route(8)}));
  EXPECT_EQ(trie.found("a.x.c"), (Routes{route(2), route(5), route(8), route(10), route(11)}));
  EXPECT_EQ(trie.found("x.y.z.w"), (Routes{route(2), route(8), route(12)}));
  for (const auto topic : {"a", "b", "a.b", "b.b", "a.b.c", "a.b.d", "a.b.c.d", "aa", "a.bb"}) trie.check(topic);
  trie.check_nodes();
}

TEST(Trie, holds_a_pattern_as_often_as_it_was_added) {
  Trie trie;
  for (const auto pattern : {"a.b", "a.>", "*"}) {
    for (int i = 0; i < 3; ++i) trie.add(pattern, route(1));
    trie.add(pattern, route(2));
  }
  EXPECT_EQ(trie.found("a.b"),
            (Routes{route(1), route(1), route(1), route(1), route(1), route(1), route(2), route(2)}));
  EXPECT_EQ(trie.nodes(), 4U);
  while (trie.size() != 0) {
    trie.remove(trie.size() / 2);
    for (const auto topic : {"a.b", "a.c", "x"}) trie.check(topic);
    trie.check_nodes();
  }
  EXPECT_EQ(trie.nodes(), 1U);
}

TEST(Trie, takes_patterns_of_every_length) {
  Trie trie;
  std::string topic = "s";
  std::string stars = "*";
  for (std::size_t i = 0; i < 20; ++i) {
    trie.add(topic, route(0));
    trie.add(stars, route(1));
    if (i != 19) trie.add(topic + ".>", route(2));
    trie.check(topic);
    trie.check_nodes();
    if (i == 19) break;
    topic += ".s";
    stars += ".*";
  }
  trie.check(topic);
  trie.add(std::string(255, 'x'), route(3));
  trie.check(std::string(255, 'x'));
  trie.check(std::string(254, 'x'));
  while (trie.size() != 0) trie.remove(0);
  EXPECT_EQ(trie.nodes(), 1U);
}

TEST(Trie, comes_down_whole_whatever_is_left_in_it) {
  Trie trie;
  for (const auto pattern : {"a.b.c", "a.*.c", "*.>", ">", "d"}) trie.add(pattern, route(0));
  trie.remove(1);
  EXPECT_EQ(trie.nodes(), 6U);
}  // the sanitizer counts what is destroyed

/// A segment of few, so that patterns meet.
std::string random_text(std::mt19937& random, bool pattern) {
  std::string text;
  const auto longest = random() % 20 == 0 ? 20 : 5;
  const auto segments = 1 + static_cast<int>(random() % static_cast<unsigned>(longest));
  for (int i = 0; i < segments; ++i) {
    if (i != 0) text += '.';
    const auto choice = random() % 12;
    if (pattern && choice < 3) {
      text += '*';
    } else if (pattern && i + 1 == segments && choice < 6) {
      text += '>';
    } else {
      text += std::array{"a", "b", "c", "a-segment-too-long-to-lie-in-place"}[choice < 11 ? choice % 3 : 3];
    }
  }
  return text;
}

TEST(Trie, goes_the_way_of_the_matcher_while_patterns_come_and_go) {
  for (std::uint32_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    Trie trie;
    for (int step = 0; step < 300 && !HasFailure(); ++step) {
      const bool grows = step / 100 % 2 == 0;
      if (trie.size() == 0 || random() % 10 < (grows ? 7U : 3U)) {
        trie.add(random_text(random, true), route(random() % 16));
      } else {
        trie.remove(random() % trie.size());
      }
      for (int i = 0; i < 4; ++i) trie.check(random_text(random, false));
      trie.check_nodes();
    }
    while (trie.size() != 0 && !HasFailure()) {
      trie.remove(random() % trie.size());
      trie.check(random_text(random, false));
      trie.check_nodes();
    }
    EXPECT_EQ(trie.nodes(), 1U);
    EXPECT_TRUE(trie.found("a").empty());
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace bus::detail
