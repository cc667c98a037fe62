// SPDX-License-Identifier: MIT OR Apache-2.0
#include "manual_commands.hpp"

#include "command_tree.hpp"
#include "output.hpp"

#include <nlohmann/json.hpp>

#include <set>
#include <utility>

namespace busbar {
namespace {

const std::set<std::string> shells{"bash", "zsh", "fish"};

CommandOption option_of(const CLI::Option& option) {
  CommandOption one;
  for (const std::string& name : option.get_snames()) one.names.push_back('-' + name);
  for (const std::string& name : option.get_lnames()) one.names.push_back("--" + name);
  one.is_argument = one.names.empty();
  if (one.is_argument) one.names.push_back(option.get_name(true));
  one.is_required = option.get_required();
  one.repeats = option.get_items_expected_max() > 1;
  if (option.get_items_expected_max() != 0) one.value = option.get_type_name();
  one.choices = choices_in(one.value);
  one.description = option.get_description();
  one.fallback = option.get_default_str();
  return one;
}

CommandNode node_of(const CLI::App& app, std::vector<std::string> path) {
  path.push_back(app.get_name());
  CommandNode node{path, app.get_description(), app.get_footer(), {}, {}};
  for (const CLI::Option* option : app.get_options()) {
    if (!option->get_group().empty()) node.options.push_back(option_of(*option));  // those of no group are hidden
  }
  for (const CLI::App* command : app.get_subcommands([](const CLI::App* one) { return !one->get_group().empty(); })) {
    node.commands.push_back(node_of(*command, path));
  }
  return node;
}

/// `busbar man` takes the words of a command, which only the whole tree knows.
void name_commands(CommandNode& root) {
  std::set<std::string> words;
  for (const CommandNode* node : all_of(root)) words.insert(node->path.begin() + 1, node->path.end());
  for (CommandNode& node : root.commands) {
    for (CommandOption& option : node.options) {
      if (node.path.back() == "man" && option.is_argument) option.choices.assign(words.begin(), words.end());
    }
  }
}

}  // namespace

ManualCommands::ManualCommands(CLI::App& root)
    : root_(root),
      completion_(*root.add_subcommand("completion", "Print what a shell reads to complete the commands")),
      man_(*root.add_subcommand("man", "Print the manual page of a command")) {
  completion_.add_option("SHELL", shell_, "The shell")
      ->check(CLI::IsMember(shells).description(""))
      ->type_name(std::string(completion_shells))
      ->required();
  completion_.add_flag("--json", json_, "Print it as a JSON object, with the name of the shell");
  completion_.footer(
      "Example: complete in this bash, and from now on in fish:\n"
      "  source <(busbar completion bash)\n"
      "  busbar completion fish > ~/.config/fish/completions/busbar.fish\n\n"
      "For zsh it is a file named _busbar in a directory of fpath.\n\n"
      "Exit status: 0; 2 for wrong usage; 1 for any other failure.");
  man_.add_option("COMMAND", command_, "The words of the command; without any it is the page of busbar itself")
      ->type_name("");
  man_.add_flag("--json", json_, "Print the command and those below it as one JSON object instead of a page");
  man_.footer(
      "Example: read a page, and keep it where man finds it:\n"
      "  busbar man log append | man -l -\n"
      "  mkdir -p ~/.local/share/man/man1\n"
      "  busbar man log append > ~/.local/share/man/man1/busbar-log-append.1\n\n"
      "A page says what --help says.\n\n"
      "Exit status: 0; 2 for wrong usage, as of a command that is not there; 1 for any other failure.");
}

Exit ManualCommands::run(const std::string& version) const {
  CommandNode root = node_of(root_, {});
  name_commands(root);
  if (completion_.parsed()) {
    const std::string script = completion(root, shell_);
    print(json_ ? nlohmann::ordered_json{{"shell", shell_}, {"script", script}}.dump() + '\n' : script);
  } else {
    const CommandNode* node = find_command(root, command_);
    if (node == nullptr) {
      std::string words;
      for (const std::string& word : command_) words += ' ' + word;
      throw CLI::ValidationError("man", "there is no 'busbar" + words + "'");
    }
    print(json_ ? as_json(*node) : man_page(*node, version));
  }
  flush();
  return success;
}

}  // namespace busbar
