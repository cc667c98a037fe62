// SPDX-License-Identifier: MIT OR Apache-2.0
#include "routing/trie.hpp"

#include <algorithm>
#include <utility>

namespace bus::detail {

/// One pattern of one route, coming or going, and the nodes that a change of it makes and replaces.
struct TrieNode::Change {
  Route* route;
  bool comes;
  Replaced& replaced;
};

/// What becomes of `old` (nullptr: there was none), the child called `segment`, when the rest of the pattern comes or
/// goes below it. Returns: the new node, or nullptr if it would be empty. All that may throw comes before the nodes
/// below are made, so a change that fails leaves nothing behind.
std::unique_ptr<TrieNode> TrieNode::changed(const TrieNode* old, std::string_view segment, std::string_view rest,
                                            const Change& change) {
  auto node = old != nullptr ? std::make_unique<TrieNode>(*old) : std::make_unique<TrieNode>();
  node->segment_ = segment;
  const auto put = [&](std::vector<Route*>& routes) {
    if (change.comes) return routes.push_back(change.route);
    if (const auto found = std::ranges::find(routes, change.route); found != routes.end()) routes.erase(found);
  };
  if (rest == ">") {
    put(node->below_);
  } else if (rest.empty()) {
    put(node->here_);
  } else {
    const std::size_t dot = rest.find('.');
    const std::string_view next = rest.substr(0, dot);
    const std::string_view further = dot == std::string_view::npos ? std::string_view() : rest.substr(dot + 1);
    if (next == "*") {
      node->star_ = changed(node->star_, next, further, change).release();
    } else {
      node->literals_.reserve(node->literals_.size() + 1);
      const auto found = node->literals_.find(next);
      const TrieNode* before = found != node->literals_.end() ? found->second : nullptr;
      const TrieNode* after = changed(before, next, further, change).release();
      if (before != nullptr) node->literals_.erase(next);  // its key lies in the node that goes
      if (after != nullptr) node->literals_.emplace(after->segment_, after);
    }
  }
  if (old != nullptr) change.replaced.emplace_back(old);
  if (node->empty()) return nullptr;
  return node;
}

std::unique_ptr<const TrieNode> TrieNode::with(const TrieNode& root, std::string_view pattern, Route* route,
                                               Replaced& replaced) {
  replaced.reserve(replaced.size() + limits::max_topic_segments + 1);
  return changed(&root, {}, pattern, {route, true, replaced});
}

std::unique_ptr<const TrieNode> TrieNode::without(const TrieNode& root, std::string_view pattern, Route* route,
                                                  Replaced& replaced) {
  replaced.reserve(replaced.size() + limits::max_topic_segments + 1);
  auto empty = std::make_unique<TrieNode>();
  auto node = changed(&root, {}, pattern, {route, false, replaced});
  return node != nullptr ? std::move(node) : std::move(empty);
}

void TrieNode::destroy_all(const TrieNode* root) noexcept {
  if (root == nullptr) return;
  for (const auto& [segment, child] : root->literals_) destroy_all(child);
  destroy_all(root->star_);
  delete root;
}

std::size_t TrieNode::nodes() const noexcept {
  std::size_t sum = 1 + (star_ != nullptr ? star_->nodes() : 0);
  for (const auto& [segment, child] : literals_) sum += child->nodes();
  return sum;
}

}  // namespace bus::detail
