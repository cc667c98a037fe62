// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The trie against the matcher: the input is a series of subscribing, unsubscribing and looking up, no byte of it
// without a meaning. After each change a second trie that others may still be reading answers as before.
#include <bus/topic.hpp>

#include "routing/trie.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using bus::detail::Route;
using bus::detail::TrieNode;
using Routes = std::vector<Route*>;

void require(bool holds) {
  if (!holds) std::abort();
}

/// What the fuzzer has to say; zeros when it has said all.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : data_(data), left_(size) {}

  bool done() const { return left_ == 0; }
  std::size_t choice(std::size_t of) {
    if (left_ == 0) return 0;
    --left_;
    return *data_++ % of;
  }

  /// As many segments as come before one that ends it: `.` or `>`.
  std::string text(bool pattern) {
    static constexpr std::array words{"a", "b", "ab", "*", ".", ">"};
    std::string text;
    for (int segments = 0; segments < 20; ++segments) {
      const std::string_view word = words[choice(words.size())];
      if (word == "." && !text.empty()) break;
      if (!text.empty()) text += '.';
      const bool is_word = word == "a" || word == "b" || word == "ab" || (word == "*" && pattern);
      text += is_word ? word : word == ">" && pattern ? ">" : "c";
      if (word == ">" && pattern) break;
      if (done()) break;
    }
    return text;
  }

 private:
  const std::uint8_t* data_;
  std::size_t left_;
};

/// Routes are only told apart by their addresses.
Route* route(std::size_t number) {
  static std::array<std::max_align_t, 4> places;
  return reinterpret_cast<Route*>(&places[number]);
}

Routes found_in(const TrieNode& root, std::string_view topic) {
  Routes routes;
  root.match(topic, [&](Route* one) { routes.push_back(one); });
  std::ranges::sort(routes);
  return routes;
}

class Subject {
 public:
  ~Subject() { TrieNode::destroy_all(root_); }

  void subscribe(const std::string& pattern, Route* one) {
    require(bus::TopicPattern::parse(pattern).has_value());
    patterns_.emplace_back(pattern, one);
    replace([&](auto& replaced) { return TrieNode::with(*root_, pattern, one, replaced); });
  }

  void unsubscribe(std::size_t index) {
    if (patterns_.empty()) return;
    std::swap(patterns_[index % patterns_.size()], patterns_.back());
    const auto [pattern, one] = patterns_.back();
    patterns_.pop_back();
    replace([&](auto& replaced) { return TrieNode::without(*root_, pattern, one, replaced); });
    if (patterns_.empty()) require(root_->nodes() == 1);
  }

  void look_up(const std::string& topic) {
    require(bus::Topic::parse(topic).has_value());
    require(found_in(*root_, topic) == expected(topic));
    last_topic_ = topic;
  }

  void unsubscribe_all() {
    while (!patterns_.empty()) unsubscribe(0);
  }

 private:
  Routes expected(std::string_view topic) const {
    Routes routes;
    for (const auto& [pattern, one] : patterns_) {
      if (bus::topic_matches(pattern, topic)) routes.push_back(one);
    }
    std::ranges::sort(routes);
    return routes;
  }

  template <class Make>
  void replace(Make make) {
    const Routes before = found_in(*root_, last_topic_);
    TrieNode::Replaced replaced;
    const TrieNode* const old = std::exchange(root_, make(replaced).release());
    require(found_in(*old, last_topic_) == before);
    require(found_in(*root_, last_topic_) == expected(last_topic_));
  }

  const TrieNode* root_ = std::make_unique<TrieNode>().release();
  std::vector<std::pair<std::string, Route*>> patterns_;
  std::string last_topic_ = "a";
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input(data, size);
  Subject subject;
  while (!input.done()) {
    switch (input.choice(4)) {
      case 0: subject.unsubscribe(input.choice(256)); break;
      case 1: subject.look_up(input.text(false)); break;
      default: {
        Route* const one = route(input.choice(4));
        subject.subscribe(input.text(true), one);
      }
    }
  }
  subject.unsubscribe_all();
  return 0;
}
