// SPDX-License-Identifier: MIT OR Apache-2.0
#include "top_layout.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <iterator>
#include <string>

namespace busbar {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;

const TopStatus status{.address = "http://host:1/metrics", .right = "every 2 s", .complaint = {}, .keys = "q quit"};

TopView recorded() {
  const auto page = [](const char* path) {
    std::ifstream file(path);
    return parse_exposition(std::string(std::istreambuf_iterator<char>(file), {}));
  };
  const Scrape before{page(METRICS_BEFORE), {}};
  return top_view(&before, {page(METRICS_AFTER), std::chrono::steady_clock::time_point(1s)});
}

TopView view_of(const std::string& page) { return top_view(nullptr, {parse_exposition(page), {}}); }

TopView routes(int count) {
  std::string page;
  for (int i = 0; i < count; ++i) {
    page += "bus_route_pending{route=\"r" + std::to_string(i / 10) + std::to_string(i % 10) + "\"} 1\n";
  }
  return view_of(page + "bus_capacity 8\nbus_group_lag{group=\"g\"} 1\n");
}

std::string text(const TopView& view, ScreenSize size, TopPosition position = {}) {
  return as_text(lay_out(view, status, size, position).lines);
}

std::size_t columns_of(const std::string& text) {
  std::size_t columns = 0;
  for (const char c : text) columns += (static_cast<unsigned char>(c) & 0xC0U) != 0x80U ? 1 : 0;
  return columns;
}

TEST(TopLayout, keeps_to_a_screen_of_any_size) {
  TopView view = recorded();
  view.tables[0].rows[0].names[0] = "ein sehr langer Name, der nirgends hinpasst, und ü";
  for (std::size_t rows = 0; rows < 66; ++rows) {
    for (std::size_t columns = 0; columns < 210; columns += 3) {
      const auto lines = lay_out(view, status, {rows, columns}, {rows % 7, columns % 30}).lines;
      ASSERT_LE(lines.size(), rows);
      for (const TopLine& line : lines) {
        std::size_t end = 0;
        for (const TopSpan& span : line) {
          ASSERT_GE(span.column, end) << rows << "x" << columns << ": " << span.text << " covers another";
          end = span.column + columns_of(span.text);
        }
        ASSERT_LE(end, columns) << rows << "x" << columns;
      }
    }
  }
}

TEST(TopLayout, shows_every_table_at_80x24) {
  const std::string seen = text(recorded(), {24, 80});
  for (const char* words : {"published/s", "RECEIVER", "lag", "ROUTE", "budget", "princip.", "LOG", "commit p50",
                            "GROUP", "leased", "dead", "lost", "q quit", "records lost"}) {
    EXPECT_THAT(seen, HasSubstr(words));
  }
}

TEST(TopLayout, shows_every_row_and_bars_at_200x60) {
  const std::string seen = text(recorded(), {60, 200});
  for (int i = 0; i < 12; ++i) EXPECT_THAT(seen, HasSubstr("agents/session-" + std::to_string(i) + " "));
  EXPECT_THAT(seen, HasSubstr("ev.user/s"));
  EXPECT_THAT(seen, testing::ContainsRegex("session-3 .*\\[####"));
  EXPECT_THAT(seen, Not(HasSubstr("1-")));
}

TEST(TopLayout, the_chosen_table_gets_room_and_says_what_is_left_out) {
  const TopView view = routes(40);
  EXPECT_THAT(text(view, {14, 80}), HasSubstr("ROUTE 1-"));
  const std::string chosen = text(view, {14, 80}, {1, 12});
  EXPECT_THAT(chosen, HasSubstr("> ROUTE 13-17/40"));
  EXPECT_THAT(chosen, HasSubstr("r12"));
  EXPECT_THAT(chosen, Not(HasSubstr("r11")));
  EXPECT_THAT(chosen, HasSubstr("BUS"));
  EXPECT_THAT(chosen, HasSubstr("GROUP")) << "the others stay, be they small";
  EXPECT_THAT(text(view, {14, 80}, {1, 39}), HasSubstr("> ROUTE 36-40/40")) << "no scrolling past the end";
  EXPECT_EQ(lay_out(view, status, {14, 80}, {1, 39}).position.first_row, 35U) << "so that a step back is seen";
}

TEST(TopLayout, moves_stay_with_what_there_is) {
  const TopView view = routes(12);
  using enum TopMove;
  EXPECT_EQ(moved({0, 0}, next_table, view).table, 1U);
  EXPECT_EQ(moved({2, 0}, next_table, view).table, 0U) << "round, past tables without rows";
  EXPECT_EQ(moved({0, 0}, previous_table, view).table, 2U);
  EXPECT_EQ(moved({1, 0}, up, view).first_row, 0U);
  EXPECT_EQ(moved({1, 3}, up, view).first_row, 2U);
  EXPECT_EQ(moved({1, 3}, down, view).first_row, 4U);
  EXPECT_EQ(moved({1, 11}, down, view).first_row, 11U);
  EXPECT_EQ(moved({1, 3}, page_down, view).first_row, 11U);
  EXPECT_EQ(moved({1, 3}, page_up, view).first_row, 0U);
  EXPECT_EQ(moved({9, 9}, down, TopView{}).table, 0U) << "nothing is there";
  EXPECT_EQ(moved({9, 0}, up, view).table, 2U) << "a table that was chosen is gone";
}

TEST(TopLayout, losses_and_full_budgets_stand_out) {
  const auto looks = [](const std::string& page, const std::string& of) {
    for (const TopLine& line : lay_out(view_of(page), status, {24, 200}).lines) {
      for (const TopSpan& span : line) {
        if (span.text == of) return span.look;
      }
    }
    ADD_FAILURE() << of << " is not there";
    return Look::plain;
  };
  const auto budget = [](int used) {
    return "bus_route_budget_bytes 100\nbus_route_budget_bytes_in_use " + std::to_string(used) + "\n";
  };
  EXPECT_EQ(looks(budget(85), "85%"), Look::warning);
  EXPECT_EQ(looks(budget(80), "80%"), Look::plain);
  EXPECT_EQ(looks("bus_log_lost_records 4711\n", "4711"), Look::alarm);
  EXPECT_EQ(looks("bus_log_lost_records 4711\n", "4711 records lost"), Look::alarm);
  EXPECT_EQ(looks("bus_log_lost_records 0\n", "0 records lost"), Look::plain);
  EXPECT_EQ(looks("bus_log_next_offset 4711\n", "4711"), Look::plain);
}

TEST(TopLayout, says_what_is_wrong) {
  TopStatus gone = status;
  gone.complaint = "No answer: Connection refused.";
  EXPECT_THAT(as_text(lay_out({}, gone, {24, 80}).lines), HasSubstr("Connection refused"));
  EXPECT_THAT(as_text(lay_out(recorded(), gone, {24, 80}).lines), HasSubstr("Connection refused"));
  EXPECT_THAT(text(view_of("bus_capacity 8\n?\n"), {24, 80}), HasSubstr("1 line that cannot be read"));
  TopView restarted = view_of("bus_capacity 8\n");
  restarted.restarted = true;
  EXPECT_THAT(text(restarted, {24, 80}), HasSubstr("began anew"));
}

TEST(TopLayout, a_name_cannot_reach_the_terminal_as_anything_but_text) {
  const std::string seen = text(view_of("bus_closed{bus=\"a\x1b[2J\\n\xff\"} 1\n"), {24, 80});
  EXPECT_THAT(seen, Not(HasSubstr("\x1b")));
  EXPECT_THAT(seen, Not(HasSubstr("\xff")));
  EXPECT_THAT(seen, HasSubstr("a\\x1"));
}

TEST(TopLayout, figures_have_three_digits_that_matter) {
  EXPECT_EQ(shown(std::nullopt, Unit::count), "-");
  EXPECT_EQ(shown(0, Unit::count), "0");
  EXPECT_EQ(shown(9999, Unit::count), "9999");
  EXPECT_EQ(shown(10000, Unit::count), "10.0k");
  EXPECT_EQ(shown(999'999, Unit::count), "1.00M");
  EXPECT_EQ(shown(0.25, Unit::count), "0.25");
  EXPECT_EQ(shown(1e30, Unit::count), "1000000000000000P");
  EXPECT_EQ(shown(512, Unit::bytes), "512 B");
  EXPECT_EQ(shown(1536, Unit::bytes), "1.50 KiB");
  EXPECT_EQ(shown(0.0025, Unit::seconds), "2.50 ms");
  EXPECT_EQ(shown(-1, Unit::seconds), "0 ns");
  EXPECT_EQ(shown(0.525, Unit::share), "53%");
  EXPECT_EQ(shown(NAN, Unit::count), "nan");
  EXPECT_EQ(shown(INFINITY, Unit::seconds), "inf");
}

}  // namespace
}  // namespace busbar
