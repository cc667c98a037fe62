// SPDX-License-Identifier: MIT OR Apache-2.0
#include <bus/principal.hpp>

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace bus {
namespace {

using namespace std::literals;

bool is_principal(std::string_view text) {
  const result<Principal> parsed = Principal::parse(text);
  if (parsed) {
    EXPECT_EQ(parsed->view(), text);
  } else {
    EXPECT_EQ(parsed.error(), errc::principal_invalid);
  }
  return parsed.has_value();
}

PrincipalClass class_of(std::string_view text) { return Principal::parse(text).value().classify(); }

TEST(Principal, none_is_the_system) {
  EXPECT_TRUE(Principal().is_system());
  EXPECT_TRUE(Principal("").is_system());
  EXPECT_TRUE(Principal::parse("").value().is_system());
  EXPECT_EQ(class_of(""), PrincipalClass::system);
  EXPECT_FALSE(Principal("s").is_system());
}

TEST(Principal, the_prefix_makes_an_agent) {
  EXPECT_EQ(class_of("agent.alice"), PrincipalClass::agent);
  EXPECT_EQ(class_of("agent:alice"), PrincipalClass::agent);
  EXPECT_EQ(class_of("agent."), PrincipalClass::agent);
  EXPECT_EQ(class_of("agent:"), PrincipalClass::agent);
}

TEST(Principal, everybody_else_is_a_user) {
  for (const auto text : {"alice", "agent", "agents.a", "agent-a", "Agent.a", "AGENT:a", "my.agent.a", "system"}) {
    EXPECT_EQ(class_of(text), PrincipalClass::user) << text;
  }
}

TEST(Principal, classes_are_named_as_in_metrics) {
  EXPECT_EQ(to_string(PrincipalClass::system), "system");
  EXPECT_EQ(to_string(PrincipalClass::agent), "agent");
  EXPECT_EQ(to_string(PrincipalClass::user), "user");
}

TEST(Principal, is_at_most_128_bytes_long) {
  EXPECT_TRUE(is_principal(std::string(128, 'p')));
  EXPECT_FALSE(is_principal(std::string(129, 'p')));
}

TEST(Principal, holds_neither_spaces_nor_control_bytes) {
  for (int byte = 0; byte < 256; ++byte) {
    const std::string text = "a"s + static_cast<char>(byte) + "b";
    EXPECT_EQ(is_principal(text), byte > 0x20 && byte != 0x7F) << byte;
  }
}

TEST(Principal, is_free_to_use_what_topics_may_not) {
  for (const auto text : {"*", ">", "a..b", "..", "user@example.org", "\xC3\xA4"})
    EXPECT_TRUE(is_principal(text)) << text;
}

TEST(Principal, can_be_a_constant) {
  static constexpr Principal alice("agent.alice");
  static_assert(alice.view() == "agent.alice");
  static_assert(alice.classify() == PrincipalClass::agent);
  static_assert(Principal().classify() == PrincipalClass::system);
  static constexpr Principal longest_constant("12345678901234567890123");
  static_assert(longest_constant.view().size() == 23);
  static_assert(longest_constant.classify() == PrincipalClass::user);
}

TEST(Principal, a_wrong_literal_is_refused_with_the_text_and_the_rule) {
  try {
    Principal("a b\t");
    FAIL() << "accepted";
  } catch (const std::invalid_argument& error) {
    EXPECT_STREQ(error.what(), R"(principal 'a b\x09': it holds a space or a control byte)");
  }
}

TEST(Principal, a_fault_names_the_limit) {
  EXPECT_EQ(detail::name_fault(std::string(129, 'p'), limits::max_principal_bytes), "it is longer than 128 bytes");
  EXPECT_EQ(detail::name_fault(std::string(65, 'n'), limits::max_name_bytes), "it is longer than 64 bytes");
  EXPECT_EQ(detail::name_fault(std::string(64, 'n'), limits::max_name_bytes), "");
}

TEST(Principal, copies_and_moves_whatever_its_length) {
  for (const std::size_t length : {0U, 1U, 22U, 23U, 24U, 25U, 128U}) {
    const std::string text(length, 'p');
    Principal from = Principal::parse(text).value();
    const Principal copy = from;
    const Principal moved = std::move(from);
    EXPECT_EQ(copy.view(), text);
    EXPECT_EQ(copy.is_shared(), length > 23);
    EXPECT_EQ(moved, copy);
    EXPECT_TRUE(from.is_system());
  }
}

TEST(Principal, compares_by_its_text) {
  EXPECT_EQ(Principal("a"), Principal::parse("a").value());
  EXPECT_NE(Principal("a"), Principal("b"));
  EXPECT_LT(Principal("a"), Principal("b"));
  EXPECT_LT(Principal(), Principal("a"));
}

}  // namespace
}  // namespace bus
