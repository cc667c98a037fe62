// SPDX-License-Identifier: MIT OR Apache-2.0
#include <bus/principal.hpp>
#include <bus/topic.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace bus {
namespace {

using namespace std::literals;

/// `count` segments of one letter: "s.s.s".
std::string segments(std::size_t count) {
  std::string text = "s";
  for (std::size_t i = 1; i < count; ++i) text += ".s";
  return text;
}

bool is_topic(std::string_view text) {
  const result<Topic> parsed = Topic::parse(text);
  if (parsed) {
    EXPECT_EQ(parsed->view(), text);
  } else {
    EXPECT_EQ(parsed.error(), errc::topic_invalid);
  }
  return parsed.has_value();
}

bool is_pattern(std::string_view text) {
  const result<TopicPattern> parsed = TopicPattern::parse(text);
  if (parsed) {
    EXPECT_EQ(parsed->view(), text);
  } else {
    EXPECT_EQ(parsed.error(), errc::pattern_invalid);
  }
  return parsed.has_value();
}

bool matches(std::string_view pattern, std::string_view topic) {
  return TopicPattern::parse(pattern).value().matches(Topic::parse(topic).value());
}

template <class Make>
std::string what_is_thrown(Make make) {
  try {
    make();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "nothing thrown";
}

// --- Grammar ---

static_assert(!std::is_constructible_v<Topic, std::string> && !std::is_constructible_v<Topic, std::string_view>);
static_assert(!std::is_constructible_v<Topic, char (&)[8]> && std::is_constructible_v<Topic, const char (&)[8]>);
static_assert(!std::is_constructible_v<TopicPattern, std::string> &&
              !std::is_constructible_v<TopicPattern, char (&)[8]>);
static_assert(!std::is_constructible_v<Principal, std::string> && !std::is_constructible_v<Principal, char (&)[8]>);

TEST(Topic, that_is_wrong_says_which_rule_it_breaks) {
  EXPECT_EQ(Topic::fault("a.b"), "");
  EXPECT_EQ(Topic::fault("a..b"), "a segment is empty");
  EXPECT_EQ(Topic::fault("a.*"), "wildcards belong in patterns");
  EXPECT_EQ(TopicPattern::fault("a.*"), "");
  EXPECT_EQ(TopicPattern::fault("a.>.b"), "'>' must be the last segment");
  EXPECT_EQ(Principal::fault("agent.alice"), "");
  EXPECT_EQ(Principal::fault("a b"), "it holds a space or a control byte");
}

TEST(Topic, holds_what_it_was_given) {
  EXPECT_TRUE(is_topic("a"));
  EXPECT_TRUE(is_topic("agent.v1.thought"));
  EXPECT_TRUE(is_topic("A-Z_0/9:+#$%!~"));
}

TEST(Topic, may_not_be_empty) {
  EXPECT_FALSE(is_topic(""));
  EXPECT_FALSE(is_pattern(""));
}

TEST(Topic, a_segment_may_not_be_empty) {
  for (const auto text : {".", "..", ".a", "a.", "a..b", "a.b..c", "a.b."}) {
    EXPECT_FALSE(is_topic(text)) << text;
    EXPECT_FALSE(is_pattern(text)) << text;
  }
}

TEST(Topic, is_at_most_255_bytes_long) {
  EXPECT_TRUE(is_topic(std::string(255, 'a')));
  EXPECT_FALSE(is_topic(std::string(256, 'a')));
  EXPECT_TRUE(is_pattern(std::string(253, 'a') + ".>"));
  EXPECT_FALSE(is_pattern(std::string(254, 'a') + ".>"));
  EXPECT_FALSE(is_topic(std::string(1'000'000, 'a')));
}

TEST(Topic, has_at_most_20_segments) {
  EXPECT_TRUE(is_topic(segments(20)));
  EXPECT_FALSE(is_topic(segments(21)));
  EXPECT_TRUE(is_pattern(segments(19) + ".>"));
  EXPECT_FALSE(is_pattern(segments(20) + ".>"));
  EXPECT_FALSE(is_pattern(segments(20) + ".*"));
}

TEST(Topic, holds_neither_spaces_nor_control_bytes) {
  for (int byte = 0; byte < 256; ++byte) {
    const std::string text = "a.b"s + static_cast<char>(byte) + "b.c";
    const bool allowed = byte > 0x20 && byte != 0x7F;
    EXPECT_EQ(is_pattern(text), allowed && byte != '*' && byte != '>') << byte;
    EXPECT_EQ(is_topic(text), allowed && byte != '*' && byte != '>') << byte;
  }
}

TEST(Topic, lets_bytes_from_0x80_on_through_as_they_are) {
  EXPECT_TRUE(is_topic("\xC3\xA4.\xFF\x80"));
  EXPECT_FALSE(matches("\xC3\xA4", "\xC3\x84"));
}

TEST(Topic, holds_no_wildcard) {
  for (const auto text : {"*", ">", "a.*", "*.a", "a.>", "a*", ">a", "a.b*c"}) EXPECT_FALSE(is_topic(text)) << text;
}

TEST(TopicPattern, a_wildcard_is_a_whole_segment) {
  for (const auto text : {"*", "a.*", "*.a", "*.*", "a.*.b"}) EXPECT_TRUE(is_pattern(text)) << text;
  for (const auto text : {"a*", "*a", "a.b*", "**", ">>", "*>", ">*", "a.>b", "a.b>", "a.**"}) {
    EXPECT_FALSE(is_pattern(text)) << text;
  }
}

TEST(TopicPattern, the_rest_wildcard_comes_last) {
  for (const auto text : {">", "a.>", "*.>"}) EXPECT_TRUE(is_pattern(text)) << text;
  for (const auto text : {">.a", "a.>.b", ">.>", ">.*"}) EXPECT_FALSE(is_pattern(text)) << text;
}

TEST(Topic, can_be_a_constant) {
  static constexpr Topic topic("agent.v1.thought");
  static constexpr TopicPattern pattern("agent.*.>");
  static_assert(topic.view() == "agent.v1.thought" && !topic.empty());
  static_assert(pattern.view() == "agent.*.>" && !pattern.empty());
  static_assert(Topic().empty() && TopicPattern().empty());
  static constexpr Topic longest_constant("a23456789.b23456789.c23456789.d");
  static_assert(longest_constant.view().size() == 31);
  static_assert(detail::topic_fault("a..b", false) == "a segment is empty");
  static_assert(detail::topic_fault("a.>", true).empty());
  EXPECT_TRUE(pattern.matches(topic));
}

TEST(Topic, a_wrong_literal_is_refused_with_the_text_and_the_rule) {
  EXPECT_EQ(what_is_thrown([] { Topic("a..b"); }), "topic 'a..b': a segment is empty");
  EXPECT_EQ(what_is_thrown([] { Topic(""); }), "topic '': it is empty");
  EXPECT_EQ(what_is_thrown([] { Topic("a.*"); }), "topic 'a.*': wildcards belong in patterns");
  EXPECT_EQ(what_is_thrown([] { TopicPattern("a.b*"); }), "pattern 'a.b*': a wildcard must be a whole segment");
  EXPECT_EQ(what_is_thrown([] { TopicPattern("a.>.b"); }), "pattern 'a.>.b': '>' must be the last segment");
  EXPECT_EQ(what_is_thrown([] { Topic("1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.16.17.18.19.20.21"); }),
            "topic '1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.16.17.18.19.20.21': it has more than 20 segments");
}

TEST(Topic, a_refusal_escapes_what_a_terminal_would_obey) {
  EXPECT_EQ(what_is_thrown([] { Topic("a\n\x1B\x7F\x80z"); }),
            R"(topic 'a\x0A\x1B\x7F\x80z': it holds a space or a control byte)");
  EXPECT_EQ(what_is_thrown([] { Topic("a\0b"); }), R"(topic 'a\x00b': it holds a space or a control byte)");
}

TEST(Topic, a_refusal_shows_64_bytes_and_says_how_many_there_were) {
  const std::string most(64, 'x');
  EXPECT_EQ(what_is_thrown([&] { detail::throw_invalid("topic", most, "no"); }), "topic '" + most + "': no");
  EXPECT_EQ(what_is_thrown([&] { detail::throw_invalid("topic", most + "y", "no"); }),
            "topic '" + most + "'... (65 bytes): no");
}

// --- Matching ---

TEST(TopicMatches, a_pattern_without_wildcards_matches_itself_only) {
  EXPECT_TRUE(matches("a", "a"));
  EXPECT_TRUE(matches("agent.v1.thought", "agent.v1.thought"));
  EXPECT_FALSE(matches("a.b", "a.c"));
  EXPECT_FALSE(matches("a.b", "b.b"));
  EXPECT_FALSE(matches("a.b", "a.bb"));
  EXPECT_FALSE(matches("a.bb", "a.b"));
  EXPECT_FALSE(matches("a.b", "A.b"));
}

TEST(TopicMatches, a_pattern_longer_than_the_topic_does_not_match) {
  EXPECT_FALSE(matches("a.b", "a"));
  EXPECT_FALSE(matches("a.b.c", "a.b"));
  EXPECT_FALSE(matches("*.*", "a"));
  EXPECT_FALSE(matches("a.*.>", "a.b"));
}

TEST(TopicMatches, a_topic_longer_than_the_pattern_does_not_match) {
  EXPECT_FALSE(matches("a", "a.b"));
  EXPECT_FALSE(matches("a.b", "a.b.c"));
  EXPECT_FALSE(matches("*", "a.b"));
  EXPECT_FALSE(matches("a.*", "a.b.c"));
}

TEST(TopicMatches, star_is_exactly_one_segment) {
  EXPECT_TRUE(matches("*", "a"));
  EXPECT_TRUE(matches("*", "abc"));
  EXPECT_TRUE(matches("a.*", "a.b"));
  EXPECT_TRUE(matches("*.b", "a.b"));
  EXPECT_TRUE(matches("a.*.c", "a.bbb.c"));
  EXPECT_TRUE(matches("*.*.*", "a.b.c"));
  EXPECT_FALSE(matches("a.*", "a"));
  EXPECT_FALSE(matches("*.b", "a.c"));
  EXPECT_FALSE(matches("a.*.c", "a.b.d"));
  EXPECT_FALSE(matches("a.*.c", "a.c"));
  EXPECT_FALSE(matches("a.*.c", "a.b.b.c"));
}

TEST(TopicMatches, rest_is_one_segment_or_more) {
  EXPECT_TRUE(matches(">", "a"));
  EXPECT_TRUE(matches(">", "a.b.c"));
  EXPECT_TRUE(matches("a.>", "a.b"));
  EXPECT_TRUE(matches("a.>", "a.b.c.d"));
  EXPECT_TRUE(matches("*.>", "a.b"));
  EXPECT_TRUE(matches("a.*.>", "a.b.c"));
  EXPECT_FALSE(matches("a.>", "a"));
  EXPECT_FALSE(matches("a.>", "ab.c"));
  EXPECT_FALSE(matches("a.>", "b.a.c"));
  EXPECT_FALSE(matches("*.>", "a"));
}

TEST(TopicMatches, a_prefix_counts_by_segments_and_not_by_bytes) {
  EXPECT_FALSE(matches("agent.>", "agents.a"));
  EXPECT_FALSE(matches("agent.v1.>", "agent.v10.a"));
}

TEST(TopicMatches, the_largest_topics_match) {
  const std::string longest = std::string(127, 'a') + "." + std::string(127, 'b');
  EXPECT_TRUE(matches(longest, longest));
  EXPECT_TRUE(matches(std::string(127, 'a') + ".*", longest));
  EXPECT_FALSE(matches(std::string(126, 'a') + "c.*", longest));
  EXPECT_TRUE(matches(segments(19) + ".>", segments(20)));
  EXPECT_FALSE(matches(segments(19) + ".>", segments(19)));
}

TEST(TopicMatches, nothing_matches_an_empty_pattern) {
  EXPECT_FALSE(TopicPattern().matches(Topic("a")));
  EXPECT_FALSE(TopicPattern().matches(Topic()));
  EXPECT_FALSE(TopicPattern(">").matches(Topic()));
  EXPECT_FALSE(TopicPattern("*").matches(Topic()));
}

TEST(TopicPattern, made_from_a_topic_matches_that_topic_only) {
  const TopicPattern pattern = Topic("a.b");
  EXPECT_EQ(pattern, TopicPattern("a.b"));
  EXPECT_TRUE(pattern.matches("a.b"));
  EXPECT_FALSE(pattern.matches("a.c"));
}

// --- Values ---

TEST(Topic, compares_by_its_text) {
  EXPECT_EQ(Topic("a.b"), Topic::parse("a.b").value());
  EXPECT_NE(Topic("a.b"), Topic("a.c"));
  EXPECT_LT(Topic("a.b"), Topic("a.c"));
  EXPECT_LT(Topic("a"), Topic("a.b"));
}

class TopicOfLength : public testing::TestWithParam<std::size_t> {
 protected:
  const std::string text = std::string(GetParam(), 't');
  const std::string other_text = "other." + std::string(1 + GetParam() / 2, 'o');
};

TEST_P(TopicOfLength, a_copy_outlives_the_original) {
  auto original = std::make_unique<Topic>(Topic::parse(text).value());
  const Topic copy = *original;
  original.reset();
  EXPECT_EQ(copy.view(), text);
}

TEST_P(TopicOfLength, shares_a_block_if_longer_than_31_bytes) {
  EXPECT_EQ(Topic::parse(text).value().is_shared(), text.size() > 31);
}

TEST_P(TopicOfLength, a_move_leaves_an_empty_topic) {
  Topic from = Topic::parse(text).value();
  Topic to = std::move(from);
  EXPECT_EQ(to.view(), text);
  EXPECT_TRUE(from.empty());
  EXPECT_EQ(from.view(), "");
  from = std::move(to);
  EXPECT_EQ(from.view(), text);
  EXPECT_TRUE(to.empty());
}

TEST_P(TopicOfLength, is_assigned_over_short_and_long_alike) {
  const Topic value = Topic::parse(text).value();
  Topic target = Topic::parse(other_text).value();
  target = value;
  EXPECT_EQ(target.view(), text);
  target = Topic::parse(other_text).value();
  EXPECT_EQ(target.view(), other_text);
  EXPECT_EQ(value.view(), text);
}

TEST_P(TopicOfLength, survives_assignment_to_itself) {
  Topic topic = Topic::parse(text).value();
  Topic& same = topic;
  topic = same;
  EXPECT_EQ(topic.view(), text);
  topic = std::move(same);
  EXPECT_EQ(topic.view(), text);
}

// Under the thread sanitizer: the last to drop it comes after all that others have read.
TEST_P(TopicOfLength, is_copied_and_dropped_by_several_threads) {
  std::vector<std::jthread> threads;
  std::atomic<int> wrong = 0;
  Topic shared = Topic::parse(text).value();
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([mine = shared, &wrong, this]() mutable {
      for (int i = 0; i < 1000; ++i) {
        Topic copy = mine;
        if (copy.view() != text) wrong.fetch_add(1, std::memory_order_relaxed);
        mine = std::move(copy);
      }
      mine = Topic();
    });
  }
  shared = Topic();
  threads.clear();
  EXPECT_EQ(wrong, 0);
}

INSTANTIATE_TEST_SUITE_P(Topic, TopicOfLength, testing::Values(1, 30, 31, 32, 33, 255),
                         testing::PrintToStringParamName());

}  // namespace
}  // namespace bus
