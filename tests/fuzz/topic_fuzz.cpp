// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The grammar and the matcher of topics against a second, obvious pair, and against rules that must hold whatever
// the topic. The input is a pattern and a topic with a line feed between them; a line without one is both.
#include <bus/topic.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using Segments = std::vector<std::string>;

void require(bool holds) {
  if (!holds) std::abort();
}

Segments split(std::string_view text) {
  Segments segments(1);
  for (const char c : text) {
    if (c == '.') {
      segments.emplace_back();
    } else {
      segments.back() += c;
    }
  }
  return segments;
}

std::string join(const Segments& segments) {
  std::string text;
  for (const std::string& segment : segments) text += (text.empty() ? "" : ".") + segment;
  return text;
}

bool is_word(const std::string& segment) {
  for (const char c : segment) {
    const int byte = static_cast<unsigned char>(c);
    if (byte < 33 || byte == 127 || byte == '*' || byte == '>') return false;
  }
  return !segment.empty();
}

bool well_formed(std::string_view text, bool pattern) {
  const Segments segments = split(text);
  if (text.size() > 255 || segments.size() > 20) return false;
  for (std::size_t i = 0; i < segments.size(); ++i) {
    const bool wildcard = segments[i] == "*" || (segments[i] == ">" && i + 1 == segments.size());
    if (!is_word(segments[i]) && !(pattern && wildcard)) return false;
  }
  return true;
}

bool matches(const Segments& pattern, const Segments& topic, std::size_t at = 0) {
  if (at == pattern.size()) return at == topic.size();
  if (at == topic.size()) return false;
  if (pattern[at] == ">") return true;
  return (pattern[at] == "*" || pattern[at] == topic[at]) && matches(pattern, topic, at + 1);
}

/// Matches both ways, which agree; false too if `pattern` is not one.
bool agreed_match(std::string_view pattern, const bus::Topic& topic) {
  const auto parsed = bus::TopicPattern::parse(pattern);
  require(parsed.has_value() == well_formed(pattern, true));
  if (!parsed) {
    require(parsed.error() == bus::errc::pattern_invalid);
    return false;
  }
  require(parsed->view() == pattern);
  const bool matched = parsed->matches(topic);
  require(matched == bus::topic_matches(pattern, topic.view()));
  require(matched == matches(split(pattern), split(topic.view())));
  return matched;
}

void check_rules(const bus::Topic& topic) {
  const std::string text(topic.view());
  const Segments segments = split(text);
  require(agreed_match(text, topic));
  require(agreed_match(">", topic));
  require(bus::TopicPattern(topic).matches(topic));
  require(!agreed_match(text + ".>", topic));
  require(!agreed_match(text + ".*", topic));
  require(!agreed_match(text + "x", topic));

  if (const auto child = bus::Topic::parse(text + ".child")) {
    require(agreed_match(text + ".>", *child));
    require(agreed_match(text + ".*", *child));
    require(!agreed_match(text, *child));
  }
  for (std::size_t i = 0; i < segments.size(); ++i) {
    Segments changed = segments;
    changed[i] = "*";
    require(agreed_match(join(changed), topic));
    changed.resize(i + 1);
    require(agreed_match(join(changed), topic) == (i + 1 == segments.size()));
    changed[i] = ">";
    require(agreed_match(join(changed), topic));
  }
}

void check_copies(const bus::Topic& topic, std::string_view text) {
  bus::Topic copy = topic;
  const bus::Topic moved = std::move(copy);
  require(copy.empty() && moved.view() == text && topic == moved);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t line_feed = input.find('\n');
  const std::string_view pattern = input.substr(0, line_feed);
  const std::string_view text = line_feed == std::string_view::npos ? input : input.substr(line_feed + 1);

  const auto topic = bus::Topic::parse(text);
  require(topic.has_value() == well_formed(text, false));
  if (!topic) {
    require(topic.error() == bus::errc::topic_invalid);
    (void)agreed_match(pattern, bus::Topic("a.b.c"));
    return 0;
  }
  require(topic->view() == text);
  check_copies(*topic, text);
  (void)agreed_match(pattern, *topic);
  check_rules(*topic);
  return 0;
}
