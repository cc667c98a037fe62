// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include "exit_status.hpp"

#include <CLI/CLI.hpp>

#include <string>

namespace busbar {

/// The command line of `busbar top`.
class TopCommand {
 public:
  explicit TopCommand(CLI::App& parent);
  TopCommand(const TopCommand&) = delete;
  TopCommand& operator=(const TopCommand&) = delete;

  /// Whether the command line asks for it.
  bool chosen() const { return app_.parsed(); }

  /// Does what was asked for. Errors: throws CLI::ValidationError, for what CLI11 cannot check; std::runtime_error.
  Exit run() const;

 private:
  CLI::App& app_;
  std::string address_ = "http://127.0.0.1:9464/metrics";
  std::string name_space_;
  double interval_ = 2;
  double timeout_ = 5;
  bool once_ = false;
  bool json_ = false;
};

}  // namespace busbar
