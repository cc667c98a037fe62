// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The commands as data. The command line is their one definition; whatever tells of them is made from this.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace busbar {

struct CommandOption {
  std::vector<std::string> names;  ///< "-h", "--help"; of an argument without dashes, the name it goes by
  bool is_argument = false;        ///< told by where it stands
  bool is_required = false;
  bool repeats = false;
  std::string value;                 ///< what stands for its value; empty for a flag, or where the name says it
  std::vector<std::string> choices;  ///< the words that the value may be, if they are known
  std::string description;
  std::string fallback;  ///< the value if it is not given, if that is worth saying
};

struct CommandNode {
  std::vector<std::string> path;  ///< "busbar", "log", "append"
  std::string summary;
  std::string footer;  ///< paragraphs: an example, what else there is to say, the exit statuses
  std::vector<CommandOption> options;
  std::vector<CommandNode> commands;

  std::string name(std::string_view separator = " ") const;
};

/// The words that may stand for a value: those of "spin|yield", and none of "BYTES".
std::vector<std::string> choices_in(std::string_view value);

/// Whether a value is a path; `is_directory` if it is one of a directory.
bool is_path(const CommandOption& option);
bool is_directory(const CommandOption& option);

/// The node and all below it, each after the one that it belongs to.
std::vector<const CommandNode*> all_of(const CommandNode& root);

/// The node with this path behind the root. Returns: nullptr if there is none.
const CommandNode* find_command(const CommandNode& root, const std::vector<std::string>& path);

/// One JSON object on one line.
std::string as_json(const CommandNode& node);

// --- completion.cpp ---

inline constexpr std::string_view completion_shells = "bash|zsh|fish";

/// What a shell reads to complete the commands. `shell` is one of the above.
std::string completion(const CommandNode& root, std::string_view shell);

// --- man_page.cpp ---

/// The page of one command for `man`, in roff.
std::string man_page(const CommandNode& node, const std::string& version);

}  // namespace busbar
