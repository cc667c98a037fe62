// SPDX-License-Identifier: MIT OR Apache-2.0
#include "top_layout.hpp"

#include "bytes.hpp"
#include "text.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <numeric>
#include <string_view>
#include <utility>

namespace busbar {
namespace {

constexpr std::size_t gap = 2;
constexpr std::size_t least_cell = 6;  // so that columns do not jump about with every figure
constexpr std::size_t bar_width = 22;
constexpr std::size_t wide = 120;  // columns of a screen on which a bar says more than further figures do
constexpr double nearly = 0.8;

bool continues(char byte) { return (static_cast<unsigned char>(byte) & 0xC0U) == 0x80U; }

std::size_t width_of(std::string_view text) {
  return text.size() - static_cast<std::size_t>(std::ranges::count_if(text, continues));
}

/// Cut down to so many columns, with a mark where it was cut.
std::string fitted(std::string text, std::size_t columns) {
  if (width_of(text) <= columns) return text;
  if (columns == 0) return {};
  std::size_t end = 0;
  for (std::size_t taken = 0; taken < columns; ++taken) {
    do ++end;
    while (end < text.size() && continues(text[end]));
  }
  do --end;  // room for the mark
  while (continues(text[end]));
  text.resize(end);
  return text + '~';
}

std::string format(const char* pattern, double value, const char* unit) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), pattern, value, unit);
  return text.data();
}

/// Three digits that matter.
std::string three_digits(double value, const char* unit) {
  const double size = std::abs(value);
  return format(size < 9.995 ? "%.2f%s" : size < 99.95 ? "%.1f%s" : "%.0f%s", value, unit);
}

std::string scaled(double value, double step, std::span<const char* const> units) {
  std::size_t unit = 0;
  for (; std::abs(value) >= 0.9995 * step && unit + 1 < units.size(); ++unit) value /= step;
  return three_digits(value, units[unit]);
}

std::string as_count(double value) {
  static constexpr std::array units{"", "k", "M", "G", "T", "P"};
  if (std::abs(value) < 10'000 && value == std::floor(value)) return format("%.0f%s", value, "");
  return scaled(value, 1000, units);
}

std::string as_bytes(double value) {
  static constexpr std::array units{" B", " KiB", " MiB", " GiB", " TiB", " PiB"};
  if (std::abs(value) < 1000 && value == std::floor(value)) return format("%.0f%s", value, " B");
  return scaled(value, 1024, units);
}

std::string as_seconds(double value) {
  constexpr double longest = 1e9;  // seconds, which nanoseconds still count
  return as_duration(static_cast<std::uint64_t>(std::clamp(value, 0.0, longest) * 1e9 + 0.5));
}

Look look_of(const Figure& figure, Alarm alarm) {
  if (!figure) return Look::faint;
  if (alarm == Alarm::above_zero && *figure > 0) return Look::alarm;
  if (alarm == Alarm::nearly_full && *figure > nearly) return Look::warning;
  return Look::plain;
}

std::string name_of(const TopRow& row) {
  std::string name;
  for (const std::string& part : row.names) {
    if (!part.empty()) name += (name.empty() ? "" : "/") + part;
  }
  return name.empty() ? "-" : printable(name);
}

/// Tables that have rows.
std::vector<const TopTable*> filled(const TopView& view) {
  std::vector<const TopTable*> tables;
  for (const TopTable& table : view.tables) {
    if (!table.rows.empty()) tables.push_back(&table);
  }
  return tables;
}

/// How many lines each table gets, its head included.
std::vector<std::size_t> shares(const std::vector<const TopTable*>& tables, std::size_t lines, std::size_t chosen) {
  std::vector<std::size_t> given(tables.size());
  const auto needs = [&](std::size_t i) { return tables[i]->rows.size() + 1; };
  const auto give = [&](std::size_t i, std::size_t most) {
    const std::size_t more = std::min({most, needs(i) - given[i], lines});
    given[i] += more;
    lines -= more;
    return more != 0;
  };
  give(chosen, 2);
  for (std::size_t i = 0; i < tables.size(); ++i) give(i, i == chosen ? 0 : 2);
  for (bool any = true; any;) {  // by turns, two lines to the one that was chosen
    any = false;
    for (std::size_t i = 0; i < tables.size(); ++i) any |= give(i, i == chosen ? 2 : 1);
  }
  return given;
}

/// Draws one table.
class TablePainter {
 public:
  TablePainter(const TopTable& table, std::size_t columns, std::size_t first, std::size_t rows, bool is_chosen)
      : table_(table), columns_(columns), first_(first), rows_(rows), is_chosen_(is_chosen) {
    name_width_ = width_of(title());
    for (const TopRow& row : table.rows) name_width_ = std::max(name_width_, width_of(name_of(row)));
    name_width_ = std::min(name_width_, std::max(columns / 4, std::size_t{12}));
    name_width_ = std::min(std::max(name_width_, std::min(width_of(title()), columns / 2)), columns);
    const bool has_share = std::ranges::count(table.section->columns, Unit::share, &TopColumn::unit) != 0;
    const std::size_t room = has_share && columns >= wide ? columns - gap - bar_width : columns;
    std::size_t end = name_width_;
    for (std::size_t i = 0; i < table.section->columns.size(); ++i) {
      end += gap + width_of_column(i);
      if (end > room) break;
      ends_.push_back(end);
    }
  }

  void paint(std::vector<TopLine>& lines) const {
    TopLine head{{0, fitted(title(), name_width_), Look::strong}};
    for (std::size_t i = 0; i < ends_.size(); ++i) {
      put(head, i, table_.section->columns[i].head, is_chosen_ ? Look::strong : Look::faint);
    }
    lines.push_back(std::move(head));
    for (std::size_t i = first_; i < first_ + rows_; ++i) lines.push_back(line_of(table_.rows[i]));
  }

 private:
  std::string title() const {
    const std::size_t all = table_.rows.size();
    std::string title = (is_chosen_ ? "> " : "") + std::string(table_.section->title);
    if (rows_ == all) return title;
    title += ' ';
    if (rows_ != 0) title += std::to_string(first_ + 1) + '-' + std::to_string(first_ + rows_) + '/';
    return title + std::to_string(all);
  }

  std::size_t width_of_column(std::size_t i) const {
    const TopColumn& column = table_.section->columns[i];
    std::size_t width = std::max(least_cell, width_of(column.head));
    for (const TopRow& row : table_.rows) width = std::max(width, width_of(shown(row.figures[i], column.unit)));
    return width;
  }

  void put(TopLine& line, std::size_t i, std::string text, Look look) const {
    line.push_back({ends_[i] - width_of(text), std::move(text), look});
  }

  TopLine line_of(const TopRow& row) const {
    TopLine line{{0, fitted(name_of(row), name_width_), Look::plain}};
    for (std::size_t i = 0; i < ends_.size(); ++i) {
      const TopColumn& column = table_.section->columns[i];
      put(line, i, shown(row.figures[i], column.unit), look_of(row.figures[i], column.alarm));
    }
    add_bar(line, row);
    return line;
  }

  /// The share that the table has, if there is room for it.
  void add_bar(TopLine& line, const TopRow& row) const {
    const auto& columns = table_.section->columns;
    const auto found = std::ranges::find(columns, Unit::share, &TopColumn::unit);
    const std::size_t begin = (ends_.empty() ? name_width_ : ends_.back()) + gap;
    if (found == columns.end() || begin + bar_width > columns_) return;
    const Figure& share = row.figures[static_cast<std::size_t>(found - columns.begin())];
    if (!share || !std::isfinite(*share)) return;
    const std::size_t inside = bar_width - 2;
    const double marks = std::clamp(*share, 0.0, 1.0) * static_cast<double>(inside);
    std::string bar(static_cast<std::size_t>(std::round(marks)), '#');
    bar.resize(inside, ' ');
    line.push_back({begin, '[' + bar + ']', look_of(share, found->alarm)});
  }

  const TopTable& table_;
  std::size_t columns_;
  std::size_t first_;
  std::size_t rows_;
  bool is_chosen_;
  std::size_t name_width_ = 0;
  std::vector<std::size_t> ends_;  // of the columns that fit
};

/// A few figures of the whole.
TopLine overview(const TopView& view) {
  struct Total {
    const char* words;
    const char* section;
    const char* column;
    Alarm alarm;
  };
  static constexpr std::array totals{
      Total{" published/s", "buses", "published_per_second", Alarm::never},
      Total{" dropped/s", "buses", "dropped_per_second", Alarm::above_zero},
      Total{" lost in routes/s", "routes", "lost_per_second", Alarm::above_zero},
      Total{" records lost", "logs", "lost_records", Alarm::above_zero},
      Total{" dead letters", "groups", "dead_letters", Alarm::above_zero},
  };
  TopLine line;
  std::size_t column = 0;
  for (const auto& [words, section, key, alarm] : totals) {
    const Figure total = total_of(view, section, key);
    std::string text = shown(total, Unit::count) + words;
    const std::size_t width = width_of(text);
    line.push_back({column, std::move(text), look_of(total, alarm)});
    column += width + 3;
  }
  return line;
}

TopLine message(const TopView& view, const TopStatus& status) {
  if (!status.complaint.empty()) return {{0, printable(status.complaint), Look::alarm}};
  if (view.restarted)
    return {{0, "Counters went back: the program began anew. Rates come with the next look.", Look::warning}};
  if (view.damaged_lines != 0) {
    return {{0, "The page has " + counted(view.damaged_lines, "line") + " that cannot be read.", Look::warning}};
  }
  return {};
}

TopLine first_line(const TopStatus& status, std::size_t columns) {
  TopLine line{{0, "busbar top", Look::strong}, {12, printable(status.address), Look::plain}};
  const std::size_t width = width_of(status.right);
  if (12 + width_of(line.back().text) + gap + width <= columns) {
    line.push_back({columns - width, status.right, Look::plain});
  }
  return line;
}

void paint_tables(TopPage& page, const TopView& view, std::size_t room, std::size_t columns) {
  const auto tables = filled(view);
  if (tables.empty()) return;
  const std::size_t chosen = page.position.table = std::min(page.position.table, tables.size() - 1);
  const std::vector<std::size_t> given = shares(tables, room, chosen);
  const std::size_t taken = std::accumulate(given.begin(), given.end(), std::size_t{0});
  const bool has_blanks = taken + tables.size() - 1 <= room;
  for (std::size_t i = 0; i < tables.size(); ++i) {
    if (given[i] == 0) continue;
    if (has_blanks && i != 0) page.lines.emplace_back();
    const std::size_t rows = given[i] - 1;
    std::size_t first = 0;
    if (i == chosen) {
      first = page.position.first_row = std::min(page.position.first_row, tables[i]->rows.size() - rows);
    }
    TablePainter(*tables[i], columns, first, rows, i == chosen).paint(page.lines);
  }
}

/// Whatever a line became, it stays on the screen.
void clip(TopLine& line, std::size_t columns) {
  std::erase_if(line, [columns](const TopSpan& span) { return span.column >= columns || span.text.empty(); });
  for (TopSpan& span : line) span.text = fitted(std::move(span.text), columns - span.column);
}

}  // namespace

std::string shown(const Figure& figure, Unit unit) {
  if (!figure) return "-";
  if (!std::isfinite(*figure)) return format("%.0f%s", *figure, "");
  switch (unit) {
    case Unit::count: return as_count(*figure);
    case Unit::bytes: return as_bytes(*figure);
    case Unit::seconds: return as_seconds(*figure);
    case Unit::share: break;
  }
  return as_count(std::round(*figure * 100)) + '%';
}

TopPosition moved(TopPosition from, TopMove move, const TopView& view) {
  const auto tables = filled(view);
  if (tables.empty()) return {};
  constexpr std::size_t page = 10;
  const std::size_t count = tables.size();
  const std::size_t table = std::min(from.table, count - 1);
  const std::size_t last = tables[table]->rows.size() - 1;
  const std::size_t row = std::min(from.first_row, last);
  switch (move) {
    case TopMove::next_table: return {(table + 1) % count, 0};
    case TopMove::previous_table: return {(table + count - 1) % count, 0};
    case TopMove::up: return {table, row - std::min<std::size_t>(row, 1)};
    case TopMove::down: return {table, std::min(row + 1, last)};
    case TopMove::page_up: return {table, row - std::min(row, page)};
    case TopMove::page_down: break;
  }
  return {table, std::min(row + page, last)};
}

TopPage lay_out(const TopView& view, const TopStatus& status, ScreenSize size, TopPosition position) {
  TopPage page{{first_line(status, size.columns), overview(view), message(view, status)}, position};
  std::vector<TopLine>& lines = page.lines;
  const std::size_t below = status.keys.empty() ? 0 : 1;
  if (size.rows > lines.size() + below) {
    paint_tables(page, view, size.rows - lines.size() - below, size.columns);
  }
  if (below != 0) {
    lines.resize(std::max(size.rows, below) - below);
    lines.push_back({{0, status.keys, Look::faint}});
  }
  lines.resize(std::min(lines.size(), size.rows));
  for (TopLine& line : lines) clip(line, size.columns);
  return page;
}

std::string as_text(const std::vector<TopLine>& lines) {
  std::string text;
  for (const TopLine& line : lines) {
    std::size_t column = 0;
    for (const TopSpan& span : line) {
      if (span.column > column) text.append(span.column - column, ' ');
      text += span.text;
      column = std::max(column, span.column) + width_of(span.text);
    }
    text.erase(text.find_last_not_of(' ') + 1);
    text += '\n';
  }
  return text;
}

}  // namespace busbar
