// SPDX-License-Identifier: MIT OR Apache-2.0
#include "command_tree.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace busbar {
namespace {

bool is_word(std::string_view text) {
  return !text.empty() &&
         std::ranges::all_of(text, [](char c) { return (c >= 'a' && c <= 'z') || c == '_' || c == '-'; });
}

nlohmann::ordered_json to_json(const CommandNode& node) {
  using nlohmann::ordered_json;
  auto options = ordered_json::array();
  for (const CommandOption& option : node.options) {
    options.push_back({{"names", option.names},
                       {"argument", option.is_argument},
                       {"required", option.is_required},
                       {"repeats", option.repeats},
                       {"value", option.value},
                       {"choices", option.choices},
                       {"default", option.fallback},
                       {"description", option.description}});
  }
  auto commands = ordered_json::array();
  for (const CommandNode& command : node.commands) commands.push_back(to_json(command));
  return {{"command", node.name()},
          {"summary", node.summary},
          {"notes", node.footer},
          {"options", options},
          {"commands", commands}};
}

}  // namespace

std::string CommandNode::name(std::string_view separator) const {
  std::string text;
  for (const std::string& word : path) text.append(text.empty() ? "" : separator).append(word);
  return text;
}

std::vector<std::string> choices_in(std::string_view value) {
  std::vector<std::string> choices;
  while (!value.empty()) {
    const std::string_view word = value.substr(0, value.find('|'));
    if (!is_word(word)) return {};
    choices.emplace_back(word);
    value.remove_prefix(std::min(word.size() + 1, value.size()));
  }
  return choices;
}

bool is_directory(const CommandOption& option) {
  return option.value == "DIR" || (option.is_argument && option.names.front() == "DIR");
}

bool is_path(const CommandOption& option) {
  return is_directory(option) || option.value == "FILE" || (option.is_argument && option.names.front() == "FILE");
}

std::vector<const CommandNode*> all_of(const CommandNode& root) {
  std::vector<const CommandNode*> all{&root};
  for (const CommandNode& command : root.commands) {
    const auto below = all_of(command);
    all.insert(all.end(), below.begin(), below.end());
  }
  return all;
}

const CommandNode* find_command(const CommandNode& root, const std::vector<std::string>& path) {
  const CommandNode* node = &root;
  for (const std::string& word : path) {
    const auto found = std::ranges::find(node->commands, word, [](const CommandNode& one) { return one.path.back(); });
    if (found == node->commands.end()) return nullptr;
    node = &*found;
  }
  return node;
}

std::string as_json(const CommandNode& node) { return to_json(node).dump() + '\n'; }

}  // namespace busbar
