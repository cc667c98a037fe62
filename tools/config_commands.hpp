// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include "config_view.hpp"
#include "exit_status.hpp"

#include <CLI/CLI.hpp>

namespace busbar {

/// The command lines of `busbar config check`, `show` and `reference`.
class ConfigCommands {
 public:
  explicit ConfigCommands(CLI::App& parent);
  ConfigCommands(const ConfigCommands&) = delete;
  ConfigCommands& operator=(const ConfigCommands&) = delete;

  /// Whether the command line asks for one of them.
  bool chosen() const { return app_.parsed(); }

  /// Does what was asked for. Errors: throws std::runtime_error.
  Exit run() const;

 private:
  CLI::App& add(const char* name, const char* what);

  CLI::App& app_;
  CLI::App* check_ = nullptr;
  CLI::App* show_ = nullptr;
  ConfigViewOptions options_;
};

}  // namespace busbar
