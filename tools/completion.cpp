// SPDX-License-Identifier: MIT OR Apache-2.0
#include "command_tree.hpp"

#include <algorithm>
#include <stdexcept>

namespace busbar {
namespace {

std::string shell_quoted(std::string_view text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + '\'';
}

/// As it fits into a list of what may come next.
std::string on_one_line(std::string text) {
  std::ranges::replace(text, '\n', ' ');
  return text;
}

std::string joined(const std::vector<std::string>& words, std::string_view separator) {
  std::string text;
  for (const std::string& word : words) text.append(text.empty() ? "" : separator).append(word);
  return text;
}

bool takes_value(const CommandOption& option) { return !option.is_argument && !option.value.empty(); }

/// The commands below the root, as the words of a `case` that matches their names.
std::string command_pattern(const CommandNode& root, std::string_view separator) {
  std::vector<std::string> names;
  for (const CommandNode* node : all_of(root)) {
    if (node->path.size() > 1) names.push_back(shell_quoted(node->name()));
  }
  return joined(names, separator);
}

// --- bash ---

/// What compgen is asked for paths; empty for what is no path.
std::string compgen_action(const CommandOption& option) {
  if (is_directory(option)) return "-d";
  return is_path(option) ? "-f" : "";
}

std::string bash_values(const CommandNode& node) {
  std::string text;
  for (const CommandOption& option : node.options) {
    if (!takes_value(option)) continue;
    std::vector<std::string> patterns;
    for (const std::string& name : option.names) patterns.push_back(shell_quoted(node.name() + ':' + name));
    text += "    " + joined(patterns, "|") + ") words=" + shell_quoted(joined(option.choices, " ")) +
            " paths=" + compgen_action(option) + " ;;\n";
  }
  return text;
}

std::string bash_words(const CommandNode& node) {
  std::vector<std::string> options;
  std::vector<std::string> words;
  std::string paths;
  for (const CommandOption& option : node.options) {
    if (option.is_argument) {
      words.insert(words.end(), option.choices.begin(), option.choices.end());
      if (paths.empty()) paths = compgen_action(option);
    } else {
      options.insert(options.end(), option.names.begin(), option.names.end());
    }
  }
  for (const CommandNode& command : node.commands) words.push_back(command.path.back());
  return "        " + shell_quoted(node.name()) +
         ")\n          if [[ $cur == -* ]]; then words=" + shell_quoted(joined(options, " ")) +
         "; else words=" + shell_quoted(joined(words, " ")) + " paths=" + paths + "; fi ;;\n";
}

std::string bash(const CommandNode& root) {
  std::string values;
  std::string words;
  for (const CommandNode* node : all_of(root)) {
    values += bash_values(*node);
    words += bash_words(*node);
  }
  return R"(# Completion of busbar in bash. Made by `busbar completion bash`.
_busbar() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command=busbar words='' paths='' i
  if [[ $cur == = ]]; then
    cur=''
  elif [[ $prev == = ]]; then
    prev=${COMP_WORDS[COMP_CWORD - 2]}
  fi
  for ((i = 1; i < COMP_CWORD; ++i)); do
    case "$command ${COMP_WORDS[i]}" in
      )" +
         command_pattern(root, "|") + R"() command+=" ${COMP_WORDS[i]}" ;;
    esac
  done
  case "$command:$prev" in
)" + values +
         R"(    *)
      case "$command" in
)" + words +
         R"(      esac ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur"; [[ -z $paths ]] || compgen "$paths" -- "$cur")
  [[ -z $paths ]] || compopt -o filenames 2>/dev/null
}
complete -F _busbar busbar
)";
}

// --- zsh ---

/// Inside a specification of `_arguments`, where a colon ends a field and a bracket the description.
std::string zsh_text(const std::string& text) {
  std::string escaped;
  for (const char c : on_one_line(text)) {
    if (c == ':' || c == '[' || c == ']' || c == '\\') escaped += '\\';
    escaped += c;
  }
  return escaped;
}

std::string zsh_action(const CommandOption& option) {
  if (!option.choices.empty()) return '(' + joined(option.choices, " ") + ')';
  if (is_directory(option)) return "_files -/";
  return is_path(option) ? "_files" : " ";
}

std::string zsh_option(const CommandOption& option) {
  const std::string value =
      takes_value(option) ? ':' + zsh_text(option.value) + ':' + zsh_action(option) : std::string();
  std::string text;
  for (const std::string& name : option.names) {
    const bool is_long = name.starts_with("--");
    const std::string excluded = option.repeats ? "*" : '(' + joined(option.names, " ") + ')';
    const std::string equals = value.empty() ? "" : is_long ? "=" : "+";
    text += " \\\n    " + shell_quoted(excluded + name + equals + '[' + zsh_text(option.description) + ']' + value);
  }
  return text;
}

std::string zsh_function(const CommandNode& node) {
  std::string text = '_' + node.name("_") + "() {\n";
  if (!node.commands.empty()) text += "  local curcontext=$curcontext state line\n";
  text += std::string("  _arguments -s -S") + (node.commands.empty() ? "" : " -C");
  std::size_t arguments = 0;
  for (const CommandOption& option : node.options) {
    if (!option.is_argument) {
      text += zsh_option(option);
      continue;
    }
    const std::string place = option.repeats ? "*" : std::to_string(++arguments);
    text += " \\\n    " + shell_quoted(place + ':' + zsh_text(option.names.front()) + ':' + zsh_action(option));
  }
  if (node.commands.empty()) return text + "\n}\n";
  text += " \\\n    '" + std::to_string(arguments + 1) + ": :->command' \\\n    '*:: :->rest'\n";
  text += "  case $state in\n    command)\n      local -a commands=(";
  for (const CommandNode& command : node.commands) {
    text += "\n        " + shell_quoted(command.path.back() + ':' + zsh_text(command.summary));
  }
  text += ")\n      _describe command commands ;;\n    rest)\n";
  if (arguments != 0) {
    const std::string many = std::to_string(arguments);
    text += "      shift " + many + " words\n      ((CURRENT -= " + many + "))\n";
  }
  text += "      case $words[1] in\n";
  for (const CommandNode& command : node.commands) {
    text += "        " + command.path.back() + ") _" + command.name("_") + " ;;\n";
  }
  return text + "      esac ;;\n  esac\n}\n";
}

std::string zsh(const CommandNode& root) {
  std::string text = "#compdef busbar\n# Completion of busbar in zsh. Made by `busbar completion zsh`.\n";
  for (const CommandNode* node : all_of(root)) text += zsh_function(*node);
  return text +
         "if [[ $zsh_eval_context[-1] == loadautofunc ]]; then\n  _busbar \"$@\"\nelse\n  compdef _busbar busbar\nfi\n";
}

// --- fish ---

std::string fish_quoted(std::string_view text) {
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + '\'';
}

std::string fish_values(const CommandOption& option) {
  if (!option.choices.empty()) return " -x -a " + fish_quoted(joined(option.choices, " "));
  if (is_directory(option)) return " -x -a '(__fish_complete_directories)'";
  return is_path(option) ? " -r -F" : " -x";
}

std::string fish_lines(const CommandNode& node) {
  const std::string front = "complete -c busbar -n " + fish_quoted("__busbar_is " + fish_quoted(node.name()));
  std::string text;
  for (const CommandNode& command : node.commands) {
    text += front + " -a " + command.path.back() + " -d " + fish_quoted(command.summary) + '\n';
  }
  for (const CommandOption& option : node.options) {
    if (option.is_argument) {
      // Not -x and -r: these are for the values of options.
      const std::string values = fish_values(option);
      if (is_path(option) && !is_directory(option)) text += front + " -F\n";
      if (const auto at = values.find("-a"); at != values.npos) text += front + ' ' + values.substr(at) + '\n';
      continue;
    }
    text += front;
    for (const std::string& name : option.names) {
      text += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
    }
    if (takes_value(option)) text += fish_values(option);
    text += " -d " + fish_quoted(on_one_line(option.description)) + '\n';
  }
  return text;
}

std::string fish(const CommandNode& root) {
  std::string text = R"(# Completion of busbar in fish. Made by `busbar completion fish`.
function __busbar_is
    set -l command busbar
    for word in (commandline -opc)
        switch "$command $word"
            case )" + command_pattern(root, " ") +
                     R"(
                set command "$command $word"
        end
    end
    test "$command" = "$argv[1]"
end
complete -c busbar -f
)";
  for (const CommandNode* node : all_of(root)) text += fish_lines(*node);
  return text;
}

}  // namespace

std::string completion(const CommandNode& root, std::string_view shell) {
  if (shell == "bash") return bash(root);
  if (shell == "zsh") return zsh(root);
  if (shell == "fish") return fish(root);
  throw std::invalid_argument("no completion for this shell");
}

}  // namespace busbar
