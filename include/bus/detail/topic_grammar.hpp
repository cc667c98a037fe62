// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <bus/limits.hpp>
#include <bus/topic.hpp>

namespace bus {
namespace detail {

constexpr std::string_view topic_fault(std::string_view text, bool wildcards) noexcept {
  if (text.empty()) return "it is empty";
  if (text.size() > limits::max_topic_bytes) return "it is longer than 255 bytes";
  std::size_t segments = 1;
  std::size_t begin = 0;
  for (std::size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size() && text[i] != '.') {
      const auto byte = static_cast<unsigned char>(text[i]);
      if (byte <= 0x20 || byte == 0x7F) return "it holds a space or a control byte";
      continue;
    }
    if (i == begin) return "a segment is empty";
    const std::string_view segment = text.substr(begin, i - begin);
    if (segment.find_first_of("*>") != std::string_view::npos) {
      if (!wildcards) return "wildcards belong in patterns";
      if (segment.size() != 1) return "a wildcard must be a whole segment";
      if (segment == ">" && i != text.size()) return "'>' must be the last segment";
    }
    if (i < text.size()) ++segments;
    begin = i + 1;
  }
  if (segments > limits::max_topic_segments) return "it has more than 20 segments";
  return {};
}

}  // namespace detail

constexpr std::string_view Topic::checked(std::string_view text) {
  const std::string_view fault = detail::topic_fault(text, false);
  if (!fault.empty()) detail::throw_invalid("topic", text, fault);
  return text;
}

constexpr std::string_view TopicPattern::checked(std::string_view text) {
  const std::string_view fault = detail::topic_fault(text, true);
  if (!fault.empty()) detail::throw_invalid("pattern", text, fault);
  return text;
}

}  // namespace bus
