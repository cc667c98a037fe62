// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The terminal of `busbar top`.
#pragma once

#include "top_layout.hpp"

#include <memory>
#include <optional>
#include <vector>

namespace busbar {

enum class TopKey { quit, pause, next_table, previous_table, up, down, page_up, page_down, other };

/// Has the terminal for itself as long as it lives; then the terminal is as it was. There is one at a time.
/// Threads: one.
class TopScreen {
 public:
  /// Errors: throws std::runtime_error if the terminal is of a kind that nobody knows.
  TopScreen();
  ~TopScreen();
  TopScreen(const TopScreen&) = delete;
  TopScreen& operator=(const TopScreen&) = delete;

  ScreenSize size() const;

  /// To be called when the terminal has another size.
  void fit();

  void draw(const std::vector<TopLine>& lines);

  /// Returns: nothing, if none was pressed.
  std::optional<TopKey> key();

 private:
  struct Terminal;
  std::unique_ptr<Terminal> terminal_;
};

}  // namespace busbar
