// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Which routes a topic goes to, in time that does not depend on how many it does not go to.
#pragma once

#include <bus/limits.hpp>

#include <boost/unordered/unordered_flat_map.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace bus::detail {

class Route;

/// Immutable. A change makes new nodes from the root to where it happens and shares all others; who makes it gets the
/// nodes that have been replaced, to destroy them when nobody reads them any more.
///
/// Threads: reading from any; changing by one at a time.
class TrieNode {
 public:
  /// Nodes of an old trie that the new one does not share. Destroying them does not destroy their children.
  using Replaced = std::vector<std::unique_ptr<const TrieNode>>;

  /// The trie in which `route` has `pattern` (once more). Errors: throws std::bad_alloc; nothing has changed then.
  static std::unique_ptr<const TrieNode> with(const TrieNode& root, std::string_view pattern, Route* route,
                                              Replaced& replaced);
  static std::unique_ptr<const TrieNode> without(const TrieNode& root, std::string_view pattern, Route* route,
                                                 Replaced& replaced);

  /// Calls `found(route)` for each pattern that matches, so possibly several times for one route.
  /// Cost: O(segments) look-ups, times the ways in which `*` can stand for segments.
  template <class Found>
  void match(std::string_view topic, Found&& found) const {
    walk(topic, found);
  }

  /// Destroys the node and all below it.
  static void destroy_all(const TrieNode* root) noexcept;

  std::size_t nodes() const noexcept;

 private:
  struct Change;

  template <class Found>
  void walk(std::string_view rest, Found& found) const {
    for (Route* route : below_) found(route);
    const std::size_t dot = rest.find('.');
    const std::string_view segment = rest.substr(0, dot);
    const auto step = [&](const TrieNode& child) {
      if (dot != std::string_view::npos) return child.walk(rest.substr(dot + 1), found);
      for (Route* route : child.here_) found(route);
    };
    if (!literals_.empty()) {
      if (const auto child = literals_.find(segment); child != literals_.end()) step(*child->second);
    }
    if (star_ != nullptr) step(*star_);
  }

  bool empty() const noexcept { return here_.empty() && below_.empty() && star_ == nullptr && literals_.empty(); }
  static std::unique_ptr<TrieNode> changed(const TrieNode* old, std::string_view segment, std::string_view rest,
                                           const Change& change);

  std::string segment_;  // which the parent's key refers to
  boost::unordered_flat_map<std::string_view, const TrieNode*> literals_;
  const TrieNode* star_ = nullptr;
  std::vector<Route*> here_;   // patterns that end here
  std::vector<Route*> below_;  // patterns that end in `>` here
};

}  // namespace bus::detail
