// SPDX-License-Identifier: MIT OR Apache-2.0
#include "exposition.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

namespace busbar {
namespace {

TEST(Exposition, reads_samples_with_and_without_labels_and_times) {
  const Exposition page = parse_exposition(
      "# HELP a Text.\n# TYPE a counter\n\n"
      "a 1\n"
      "b{y=\"2\",x=\"1\"} 2.5e3 1700000000000\n"
      "\tc:d { x = \"1\" , }\t-0.5\r\n");
  ASSERT_EQ(page.samples.size(), 3U);
  EXPECT_EQ(page.damaged_lines, 0U);
  EXPECT_EQ(page.samples[0].name, "a");
  EXPECT_EQ(page.samples[0].value, 1);
  EXPECT_EQ(page.samples[1].value, 2500);
  EXPECT_EQ(page.samples[1].labels, (std::vector<MetricLabel>{{"x", "1"}, {"y", "2"}})) << "sorted";
  EXPECT_EQ(page.samples[1].label("y"), "2");
  EXPECT_EQ(page.samples[1].label("z"), "");
  EXPECT_EQ(page.samples[2].name, "c:d");
  EXPECT_EQ(page.samples[2].value, -0.5);
}

TEST(Exposition, reads_escapes_and_values_that_are_no_numbers) {
  const Exposition page = parse_exposition("a{l=\"x\\\\y\\\"z\\n\"} +Inf\nb NaN\nc -Inf\nd +3\n");
  ASSERT_EQ(page.samples.size(), 4U);
  EXPECT_EQ(page.samples[0].label("l"), "x\\y\"z\n");
  EXPECT_EQ(page.samples[0].value, INFINITY);
  EXPECT_TRUE(std::isnan(page.samples[1].value));
  EXPECT_EQ(page.samples[2].value, -INFINITY);
  EXPECT_EQ(page.samples[3].value, 3);
}

TEST(Exposition, skips_and_counts_each_kind_of_damage) {
  for (const char* line : {"a",
                           "a one",
                           "a 1 2 3",
                           "a 1 2.5",
                           "a 0x10",
                           "a +-1",
                           "a nan(1)",
                           "a 1e999",
                           "9a 1",
                           "a{l=\"x} 1",
                           "a{l=x} 1",
                           "a{l=\"1\",l=\"2\"} 1",
                           "a{l=\"\\t\"} 1",
                           "a{:=\"1\"} 1",
                           "a{l=\"1\" m=\"2\"} 1",
                           "a{,} 1",
                           "a{",
                           "{} 1",
                           "a{l=\"1\"}",
                           "a{l=\"1\\"}) {
    const Exposition page = parse_exposition("x 1\n" + std::string(line) + "\ny 2\n");
    EXPECT_EQ(page.samples.size(), 2U) << line;
    EXPECT_EQ(page.damaged_lines, 1U) << line;
  }
}

TEST(Exposition, does_not_take_a_line_that_was_cut_for_a_smaller_number) {
  const Exposition page = parse_exposition("a 1234\nb 12");
  EXPECT_EQ(page.samples.size(), 1U);
  EXPECT_EQ(page.damaged_lines, 1U);
}

}  // namespace
}  // namespace busbar
