// SPDX-License-Identifier: MIT OR Apache-2.0
#include <bus/error.hpp>

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <utility>

namespace bus {
namespace {

constexpr std::pair<errc, int> numbered[] = {
    {errc::closed, 1},
    {errc::topic_invalid, 2},
    {errc::pattern_invalid, 3},
    {errc::principal_invalid, 4},
    {errc::payload_too_large, 5},
    {errc::name_invalid, 6},
    {errc::nodes_exhausted, 7},
    {errc::observer_too_deep, 8},
    {errc::schema_mismatch, 9},
    {errc::decode_failed, 10},
    {errc::out_of_memory, 11},
    {errc::rate_limited, 12},
    {errc::gate_not_staged, 13},
    {errc::too_many_routes, 14},
    {errc::log_damaged, 15},
    {errc::log_version_unsupported, 16},
    {errc::key_too_long, 17},
    {errc::log_locked, 18},
    {errc::log_read_only, 19},
    {errc::overloaded, 20},
    {errc::log_foreign, 21},
    {errc::timed_out, 22},
    {errc::topic_durable, 23},
    {errc::producer_fenced, 24},
    {errc::sequence_gap, 25},
    {errc::batch_mixed, 26},
    {errc::outcome_forgotten, 27},
};
constexpr int first_free_number = 28;

std::string unknown_message() { return bus_category().message(1'000'000); }

// Asked before main(), perhaps before any constructor of the library could have run.
const std::string message_before_main = make_error_code(errc::closed).message();

TEST(Error, numbers_are_part_of_the_interface) {
  for (const auto& [value, number] : numbered) EXPECT_EQ(static_cast<int>(value), number);
}

TEST(Error, category_is_named_bus) { EXPECT_STREQ(bus_category().name(), "bus"); }

TEST(Error, each_value_has_a_message_of_its_own) {
  std::set<std::string> seen{unknown_message()};
  for (const auto& [value, number] : numbered) {
    const std::string message = make_error_code(value).message();
    EXPECT_FALSE(message.empty()) << number;
    EXPECT_TRUE(seen.insert(message).second) << number << " repeats: " << message;
  }
}

TEST(Error, a_number_without_a_value_says_that_it_is_unknown) {
  EXPECT_EQ(unknown_message(), "unknown error of the bus");
  EXPECT_EQ(bus_category().message(first_free_number), unknown_message()) << "a new value needs a line in this test";
  EXPECT_EQ(bus_category().message(-1), unknown_message());
  EXPECT_EQ(bus_category().message(0), "success");
}

TEST(Error, message_into_a_buffer_says_the_same) {
  char buffer[8];
  for (const auto& [value, number] : numbered) {
    EXPECT_EQ(bus_category().message(number, buffer, sizeof buffer), make_error_code(value).message());
  }
}

TEST(Error, messages_can_be_told_before_main) {
  EXPECT_EQ(message_before_main, make_error_code(errc::closed).message());
  EXPECT_FALSE(message_before_main.empty());
}

TEST(Error, a_value_becomes_a_code_of_this_category) {
  const error_code code = errc::decode_failed;
  EXPECT_EQ(code.category(), bus_category());
  EXPECT_EQ(code.value(), 10);
  EXPECT_TRUE(code.failed());
  EXPECT_EQ(code, errc::decode_failed);
  EXPECT_NE(code, errc::closed);
  EXPECT_NE(code, error_code(10, boost::system::generic_category()));
}

TEST(Error, only_shortages_are_retryable) {
  for (const auto& [value, number] : numbered) {
    EXPECT_EQ(is_retryable(value), value == errc::nodes_exhausted || value == errc::out_of_memory ||
                                       value == errc::rate_limited || value == errc::overloaded)
        << number;
  }
}

TEST(Error, the_same_number_of_another_category_is_not_retryable) {
  EXPECT_FALSE(is_retryable(error_code()));
  EXPECT_FALSE(is_retryable(error_code(7, boost::system::generic_category())));
  EXPECT_FALSE(is_retryable(error_code(11, boost::system::generic_category())));
  EXPECT_TRUE(is_retryable({boost::system::errc::no_space_on_device, boost::system::generic_category()}));
}

}  // namespace
}  // namespace bus
