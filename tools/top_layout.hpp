// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Where on a screen `busbar top` puts what it shows. It knows no terminal.
#pragma once

#include "top_model.hpp"

#include <cstddef>
#include <string>
#include <vector>

namespace busbar {

enum class Look { plain, strong, faint, warning, alarm };

/// A piece of a line.
struct TopSpan {
  std::size_t column = 0;
  std::string text;  ///< UTF-8 without control characters; a character is taken to be one column wide
  Look look = Look::plain;
};

using TopLine = std::vector<TopSpan>;

struct ScreenSize {
  std::size_t rows = 0;
  std::size_t columns = 0;
};

/// What is chosen: a table, which gets room before the others, and how far it is scrolled.
struct TopPosition {
  std::size_t table = 0;  ///< of those that have rows
  std::size_t first_row = 0;
};

enum class TopMove { next_table, previous_table, up, down, page_up, page_down };

/// Where a move leads; it stays with what there is.
TopPosition moved(TopPosition from, TopMove move, const TopView& view);

/// What is said beside the figures.
struct TopStatus {
  std::string address;
  std::string right;      ///< at the end of the first line
  std::string complaint;  ///< why there are no new figures, if there are none
  std::string keys;       ///< in the last line; empty: there is none
};

struct TopPage {
  std::vector<TopLine> lines;
  TopPosition position;  ///< the one that was asked for, or the last one before it that leaves no room empty
};

/// At most so many lines, each at most so many columns wide. What does not fit is left out: columns from the right, and
/// rows from the bottom, of which the head of their table says how many there are.
TopPage lay_out(const TopView& view, const TopStatus& status, ScreenSize size, TopPosition position = {});

/// The lines as text, without what is only looks.
std::string as_text(const std::vector<TopLine>& lines);

/// A figure in a few characters: "12.3k", "1.50 MiB", "2.31 ms", "52%"; "-" for nothing.
std::string shown(const Figure& figure, Unit unit);

}  // namespace busbar
