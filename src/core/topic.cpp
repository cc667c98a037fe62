// SPDX-License-Identifier: MIT OR Apache-2.0
#include <bus/topic.hpp>

#include <stdexcept>
#include <string>

namespace bus {

// Well-formed text lets this go byte by byte: a wildcard is always a whole segment, so both cursors stand at the
// start of a segment when the pattern's meets one, and `>` has at least one segment left to stand for.
bool topic_matches(std::string_view pattern, std::string_view topic) noexcept {
  std::size_t p = 0;
  std::size_t t = 0;
  while (p < pattern.size() && t < topic.size()) {
    if (pattern[p] == '>') return true;
    if (pattern[p] == '*') {
      ++p;
      while (t < topic.size() && topic[t] != '.') ++t;
    } else if (pattern[p++] != topic[t++]) {
      return false;
    }
  }
  return p == pattern.size() && t == topic.size() && p != 0;
}

result<Topic> Topic::parse(std::string_view text) {
  if (!detail::topic_fault(text, false).empty()) return make_error_code(errc::topic_invalid);
  return Topic(detail::Text<32>(text));
}

result<TopicPattern> TopicPattern::parse(std::string_view text) {
  if (!detail::topic_fault(text, true).empty()) return make_error_code(errc::pattern_invalid);
  return TopicPattern(detail::Text<32>(text));
}

void detail::throw_invalid(std::string_view what, std::string_view given, std::string_view rule) {
  constexpr std::size_t most_shown = 64;
  std::string text(what);
  text += " '";
  for (const char c : given.substr(0, most_shown)) {
    constexpr char digits[] = "0123456789ABCDEF";
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7F) {
      text += c;
    } else {
      text += {'\\', 'x', digits[byte >> 4], digits[byte & 0xF]};
    }
  }
  text += given.size() > most_shown ? "'... (" + std::to_string(given.size()) + " bytes)" : "'";
  text += ": ";
  text += rule;
  throw std::invalid_argument(text);
}

std::string_view Topic::fault(std::string_view text) noexcept { return detail::topic_fault(text, false); }
std::string_view TopicPattern::fault(std::string_view text) noexcept { return detail::topic_fault(text, true); }

}  // namespace bus
