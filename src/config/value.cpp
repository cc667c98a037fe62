// SPDX-License-Identifier: MIT OR Apache-2.0
#include "config/value.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>

namespace bus::detail {
namespace {

enum class Form { toml, json };

std::string number(double value) {
  std::array<char, 32> digits{};
  const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), value);
  std::string text(digits.data(), end);
  if (text.find_first_not_of("-0123456789") == text.npos) text += ".0";  // without it TOML has an integer
  return text;
}

std::string render(const Value& value, Form form) {
  struct Renderer {
    Form form;
    std::string operator()(std::monostate) const { return form == Form::toml ? "\"none\"" : "null"; }
    std::string operator()(bool is) const { return is ? "true" : "false"; }
    std::string operator()(std::int64_t integer) const { return std::to_string(integer); }
    std::string operator()(double real) const { return number(real); }
    std::string operator()(const std::string& text) const { return in_quotes(text); }
    std::string operator()(const Value::List& list) const {
      std::string text;
      for (const Value& one : list) text += (text.empty() ? "" : ", ") + render(one, form);
      return "[" + text + "]";
    }
    std::string operator()(const Value::Table& table) const {
      std::string text;
      for (const auto& [name, one] : table) {
        text += (text.empty() ? "" : ", ") + (form == Form::toml ? as_toml_key(name) + " = " : in_quotes(name) + ": ") +
                render(one, form);
      }
      return "{" + text + "}";
    }
  };
  return std::visit(Renderer{form}, value.data);
}

}  // namespace

std::string as_toml(const Value& value) { return render(value, Form::toml); }
std::string as_json(const Value& value) { return render(value, Form::json); }

std::string in_quotes(std::string_view text) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string result = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      result += {'\\', c};
    } else if (byte < 0x20 || byte == 0x7F) {
      result += {'\\', 'u', '0', '0', digits[byte >> 4], digits[byte & 15]};
    } else {
      result += c;
    }
  }
  return result + '"';
}

std::string as_toml_key(std::string_view key) {
  const auto is_bare = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  };
  return !key.empty() && std::ranges::all_of(key, is_bare) ? std::string(key) : in_quotes(key);
}

std::string any_of(const std::vector<std::string>& words) {
  std::string text;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (i != 0) text += i + 1 == words.size() ? " or " : ", ";
    text += words[i];
  }
  return text;
}

}  // namespace bus::detail
