// SPDX-License-Identifier: MIT OR Apache-2.0
#include "command_tree.hpp"

#include "bytes.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>

namespace busbar {
namespace {

constexpr std::string_view example_word = "Example";
constexpr std::string_view status_word = "Exit status: ";

/// The code point at the front of a text that is UTF-8, and how many bytes it takes.
std::pair<std::uint32_t, std::size_t> code_point(std::string_view text) {
  const auto first = static_cast<unsigned char>(text.front());
  const std::size_t bytes = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  std::uint32_t value = bytes == 1 ? first : first & (0x7FU >> bytes);
  for (std::size_t i = 1; i < bytes; ++i) value = (value << 6) | (static_cast<unsigned char>(text[i]) & 0x3FU);
  return {value, bytes};
}

/// Text that roff sets as it stands.
std::string escaped(std::string_view text) {
  std::string roff;
  while (!text.empty()) {
    const auto [value, bytes] = code_point(text);
    if (roff.empty() || roff.back() == '\n') {
      if (value == '.' || value == '\'') roff += "\\&";  // or the line would be a request
    }
    if (value == '\\') {
      roff += "\\e";
    } else if (value == '-') {
      roff += "\\-";
    } else if (value == '\'') {
      roff += "\\(aq";
    } else if (value == '`') {
      roff += "\\(ga";
    } else if (value == '^') {
      roff += "\\(ha";
    } else if (value == '~') {
      roff += "\\(ti";
    } else if (value < 0x80) {
      roff += static_cast<char>(value);
    } else {
      std::array<char, 16> name{};
      std::snprintf(name.data(), name.size(), "\\[u%04X]", value);
      roff += name.data();
    }
    text.remove_prefix(bytes);
  }
  return roff;
}

std::string bold(std::string_view text) { return "\\fB" + escaped(text) + "\\fR"; }
std::string italic(std::string_view text) { return "\\fI" + escaped(text) + "\\fR"; }

/// "--topic PATTERN", or "FILE".
std::string term(const CommandOption& option) {
  std::string text;
  for (const std::string& name : option.names) {
    text += (text.empty() ? "" : ", ") + (option.is_argument ? italic(name) : bold(name));
  }
  return option.value.empty() || option.is_argument ? text : text + ' ' + italic(option.value);
}

std::string synopsis(const CommandNode& node) {
  std::string text = ".nh\n.B " + escaped(node.name()) + '\n';
  const bool has_options = std::ranges::any_of(node.options, [](const auto& one) { return !one.is_argument; });
  if (has_options) text += "[" + italic("OPTION") + "]...\\&\n";
  for (const CommandOption& option : node.options) {
    if (!option.is_argument && !option.is_required) continue;
    CommandOption shortly = option;
    shortly.names = {option.names.back()};
    const std::string what = term(shortly);
    text += (option.is_required ? what : "[" + what + "]") + (option.repeats && option.is_argument ? "...\\&\n" : "\n");
  }
  if (!node.commands.empty()) text += italic("COMMAND") + " ...\\&\n";
  return text + ".hy\n";
}

/// Lines as they are, up to an empty one.
std::string literal(std::string_view lines) { return ".RS 4\n.nf\n" + escaped(lines) + ".fi\n.RE\n"; }

std::vector<std::string> paragraphs(std::string_view text) {
  std::vector<std::string> all;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find("\n\n"), text.size());
    std::string one(text.substr(0, end));
    text.remove_prefix(std::min(end + 2, text.size()));
    if (one.empty()) continue;
    if (one.back() != '\n') one += '\n';
    all.push_back(std::move(one));
  }
  return all;
}

/// Indented lines stand as they are, the others are filled.
std::string set_paragraph(std::string_view text) {
  std::string roff;
  std::string block;
  const auto flush = [&] {
    if (!block.empty()) roff += literal(block);
    block.clear();
  };
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n') + 1);
    text.remove_prefix(line.size());
    if (line.starts_with("  ")) {
      block += line.substr(2);
    } else {
      flush();
      roff += escaped(line);
    }
  }
  flush();
  return roff;
}

/// Behind "Example", which the heading says; nothing is left of "Example:" alone.
std::string without_example(std::string text) {
  text.erase(0, std::min(text.find(':') + 1, text.size()));
  text.erase(0, text.find_first_not_of(text.starts_with('\n') ? "\n" : " "));
  if (!text.empty() && text.front() >= 'a' && text.front() <= 'z') {
    text.front() = static_cast<char>(text.front() - 'a' + 'A');
  }
  return text;
}

/// A default that is longer than this is one that somebody wrote into the description.
std::string described(const CommandOption& option) {
  std::string text = escaped(option.description);
  if (text.empty()) text = escaped(option.names.back());
  if (!option.fallback.empty()) text += "; by default " + escaped(option.fallback);
  return text + ".\n";
}

std::string option_list(const CommandNode& node, bool arguments) {
  std::string text;
  for (const CommandOption& option : node.options) {
    if (option.is_argument == arguments) text += ".TP\n" + term(option) + '\n' + described(option);
  }
  return text;
}

void add(std::string& page, const char* heading, const std::string& text) {
  if (!text.empty()) page.append(".SH ").append(heading).append("\n").append(text);
}

}  // namespace

std::string man_page(const CommandNode& node, const std::string& version) {
  std::string title = node.name("-");
  std::ranges::transform(title, title.begin(),
                         [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; });
  std::string page = ".TH \"" + title + "\" 1 \"\" \"busbar " + version + "\" \"Busbar\"\n";
  add(page, "NAME", escaped(node.name("-")) + " \\- " + escaped(node.summary) + '\n');
  add(page, "SYNOPSIS", synopsis(node));

  std::string notes;
  std::string examples;
  std::string statuses;
  for (const std::string& paragraph : paragraphs(node.footer)) {
    if (paragraph.starts_with(example_word)) {
      examples += (examples.empty() ? "" : ".PP\n") + set_paragraph(without_example(paragraph));
    } else if (paragraph.starts_with(status_word)) {
      statuses += set_paragraph(std::string_view(paragraph).substr(status_word.size()));
    } else {
      notes += ".PP\n" + set_paragraph(paragraph);
    }
  }
  add(page, "DESCRIPTION", escaped(node.summary) + ".\n" + notes + option_list(node, true));
  std::string commands;
  for (const CommandNode& command : node.commands) {
    commands += ".TP\n" + bold(command.path.back()) + '\n' + escaped(command.summary) + ".\n";
  }
  add(page, "COMMANDS", commands);
  add(page, "OPTIONS", option_list(node, false));
  add(page, "EXAMPLES", examples);
  add(page, "\"EXIT STATUS\"", statuses);

  std::string others;
  const auto refer = [&others](const std::string& name) {
    others += std::string(others.empty() ? "" : ",\n") + ".BR " + escaped(name) + " (1)";
  };
  if (node.path.size() > 1) {
    CommandNode parent;
    parent.path.assign(node.path.begin(), node.path.end() - 1);
    refer(parent.name("-"));
  }
  for (const CommandNode& command : node.commands) refer(command.name("-"));
  if (!others.empty()) add(page, "\"SEE ALSO\"", others + '\n');
  return page;
}

}  // namespace busbar
