// SPDX-License-Identifier: MIT OR Apache-2.0
#include "top_screen.hpp"

#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include <curses.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace busbar {
namespace {

constexpr short warning_colour = 1;
constexpr short alarm_colour = 2;

/// See no-color.org.
bool may_have_colour() {
  const char* no_colour = std::getenv("NO_COLOR");
  return (no_colour == nullptr || *no_colour == '\0') && has_colors();
}

}  // namespace

struct TopScreen::Terminal {
  Terminal() : screen(newterm(nullptr, stdout, stdin)) {
    if (screen == nullptr) {
      const char* kind = std::getenv("TERM");
      throw std::runtime_error("the terminal's kind, TERM='" + std::string(kind == nullptr ? "" : kind) +
                               "', is not known");
    }
  }
  ~Terminal() {
    endwin();
    delscreen(screen);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  SCREEN* screen;
  bool has_colour = false;
};

TopScreen::TopScreen() {
  std::setlocale(LC_CTYPE, "");  // so that names in UTF-8 are drawn as such
  terminal_ = std::make_unique<Terminal>();
  cbreak();
  noecho();
  nonl();
  curs_set(0);
  keypad(stdscr, TRUE);
  nodelay(stdscr, TRUE);
  set_escdelay(25);  // an arrow key is sent in one piece
  terminal_->has_colour = may_have_colour();
  if (!terminal_->has_colour) return;
  start_color();
  use_default_colors();
  init_pair(warning_colour, COLOR_YELLOW, -1);
  init_pair(alarm_colour, COLOR_RED, -1);
}

TopScreen::~TopScreen() = default;

ScreenSize TopScreen::size() const {
  return {static_cast<std::size_t>(getmaxy(stdscr)), static_cast<std::size_t>(getmaxx(stdscr))};
}

void TopScreen::fit() {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row != 0) resizeterm(size.ws_row, size.ws_col);
}

void TopScreen::draw(const std::vector<TopLine>& lines) {
  const auto attribute_of = [this](Look look) -> attr_t {
    const bool colour = terminal_->has_colour;
    switch (look) {
      case Look::plain: return A_NORMAL;
      case Look::strong: return A_BOLD;
      case Look::faint: return A_DIM;
      case Look::warning: return colour ? A_BOLD | static_cast<attr_t>(COLOR_PAIR(warning_colour)) : A_BOLD;
      case Look::alarm: break;
    }
    return colour ? A_BOLD | static_cast<attr_t>(COLOR_PAIR(alarm_colour)) : A_REVERSE;
  };
  erase();
  for (std::size_t row = 0; row < lines.size(); ++row) {
    for (const TopSpan& span : lines[row]) {
      attrset(static_cast<int>(attribute_of(span.look)));
      mvaddstr(static_cast<int>(row), static_cast<int>(span.column), span.text.c_str());
    }
  }
  attrset(A_NORMAL);
  refresh();
}

std::optional<TopKey> TopScreen::key() {
  switch (const int key = getch(); key) {
    case ERR: return std::nullopt;
    case 'q':
    case 'Q': return TopKey::quit;
    case 'p':
    case 'P':
    case ' ': return TopKey::pause;
    case '\t':
    case KEY_RIGHT: return TopKey::next_table;
    case KEY_BTAB:
    case KEY_LEFT: return TopKey::previous_table;
    case KEY_UP: return TopKey::up;
    case KEY_DOWN: return TopKey::down;
    case KEY_PPAGE: return TopKey::page_up;
    case KEY_NPAGE: return TopKey::page_down;
    default: return TopKey::other;
  }
}

}  // namespace busbar
