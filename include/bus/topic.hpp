// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Topics, patterns, and the one function that says whether they match.
//
//   topic    segments joined by dots, `agent.v1.thought`; 1 to 255 bytes, 1 to 20 segments; a segment is
//            not empty and holds no space, control byte (below 0x21, 0x7F), `*` or `>`
//   pattern  a topic in which any segment may be `*`, which stands for exactly one segment, and the last
//            may be `>`, which stands for one or more
//
// Bytes from 0x80 on are let through as they are; nothing is folded or normalised.
#pragma once

#include <bus/detail/text.hpp>
#include <bus/error.hpp>
#include <bus/export.hpp>

#include <compare>
#include <cstddef>
#include <string_view>
#include <utility>

namespace bus {

/// Whether `topic` falls under `pattern`. The only matcher: delivery, filters and scopes all ask it.
/// Both arguments are taken to be well formed, as `Topic` and `TopicPattern` guarantee.
/// Threads: any. Cost: O(bytes), no allocation.
BUSBAR_EXPORT bool topic_matches(std::string_view pattern, std::string_view topic) noexcept;

/// A well-formed topic, immutable. Default-constructed it is empty, which no publish accepts.
/// Up to 31 bytes are held in place: copying such a topic shares nothing.
/// Threads: distinct objects may be used at the same time.
class BUSBAR_EXPORT Topic {
 public:
  constexpr Topic() noexcept = default;

  /// A topic written in the program. In a constant expression it is at most 31 bytes, and a wrong one does not compile.
  /// Errors: throws std::invalid_argument, naming the topic and the rule it breaks.
  template <std::size_t N>
  constexpr Topic(const char (&literal)[N])  // NOLINT(google-explicit-constructor)
      : text_(checked(std::string_view(literal, N - 1))) {}

  /// Text that the program did not write may be wrong: it goes through `parse`.
  template <std::size_t N>
  Topic(char (&buffer)[N]) = delete;  // NOLINT(google-explicit-constructor)
  Topic(std::string_view text) = delete;  // NOLINT(google-explicit-constructor)

  /// A topic that came from outside.
  /// Errors: errc::topic_invalid.
  static result<Topic> parse(std::string_view text);

  /// Which rule `text` breaks, for people; empty if it is a topic.
  static std::string_view fault(std::string_view text) noexcept;

  constexpr std::string_view view() const noexcept { return text_.view(); }  ///< its text
  constexpr bool empty() const noexcept { return text_.empty(); }

  /// Whether copies share a counted block: longer than what is held in place.
  constexpr bool is_shared() const noexcept { return text_.is_shared(); }

  friend bool operator==(const Topic& a, const Topic& b) noexcept { return a.view() == b.view(); }
  friend auto operator<=>(const Topic& a, const Topic& b) noexcept { return a.view() <=> b.view(); }

 private:
  constexpr explicit Topic(detail::Text<32> text) noexcept : text_(std::move(text)) {}
  static constexpr std::string_view checked(std::string_view text);

  detail::Text<32> text_;
};

/// A well-formed pattern, immutable. Default-constructed it is empty and matches nothing.
/// Threads: distinct objects may be used at the same time.
class BUSBAR_EXPORT TopicPattern {
 public:
  constexpr TopicPattern() noexcept = default;

  /// A pattern written in the program. In a constant expression it is at most 31 bytes, and a wrong one does not
  /// compile.
  /// Errors: throws std::invalid_argument, naming the pattern and the rule it breaks.
  template <std::size_t N>
  constexpr TopicPattern(const char (&literal)[N])  // NOLINT(google-explicit-constructor)
      : text_(checked(std::string_view(literal, N - 1))) {}

  /// Text that the program did not write may be wrong: it goes through `parse`.
  template <std::size_t N>
  TopicPattern(char (&buffer)[N]) = delete;  // NOLINT(google-explicit-constructor)
  TopicPattern(std::string_view text) = delete;  // NOLINT(google-explicit-constructor)

  /// Every topic is a pattern that matches itself.
  TopicPattern(const Topic& topic) : text_(topic.view()) {}  // NOLINT(google-explicit-constructor)

  /// A pattern that came from outside.
  /// Errors: errc::pattern_invalid.
  static result<TopicPattern> parse(std::string_view text);

  /// Which rule `text` breaks, for people; empty if it is a pattern.
  static std::string_view fault(std::string_view text) noexcept;

  /// As `topic_matches`.
  bool matches(const Topic& topic) const noexcept { return topic_matches(view(), topic.view()); }

  constexpr std::string_view view() const noexcept { return text_.view(); }  ///< its text
  constexpr bool empty() const noexcept { return text_.empty(); }

  friend bool operator==(const TopicPattern& a, const TopicPattern& b) noexcept { return a.view() == b.view(); }

 private:
  constexpr explicit TopicPattern(detail::Text<32> text) noexcept : text_(std::move(text)) {}
  static constexpr std::string_view checked(std::string_view text);

  detail::Text<32> text_;
};

namespace detail {

/// Which rule of the grammar `text` breaks; empty when it breaks none.
constexpr std::string_view topic_fault(std::string_view text, bool wildcards) noexcept;

/// Throws std::invalid_argument: "topic 'a..b': a segment is empty".
[[noreturn]] BUSBAR_EXPORT void throw_invalid(std::string_view what, std::string_view given, std::string_view rule);

}  // namespace detail
}  // namespace bus

#include <bus/detail/topic_grammar.hpp>
