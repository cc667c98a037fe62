// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include "exit_status.hpp"

#include <CLI/CLI.hpp>

#include <string>
#include <vector>

namespace busbar {

/// The command line of `busbar bench`.
class BenchCommand {
 public:
  explicit BenchCommand(CLI::App& parent);
  BenchCommand(const BenchCommand&) = delete;
  BenchCommand& operator=(const BenchCommand&) = delete;

  /// Whether the command line asks for it.
  bool chosen() const { return app_.parsed(); }

  /// Does what was asked for. Errors: throws CLI::ValidationError, for what CLI11 cannot check; std::runtime_error.
  Exit run() const;

 private:
  CLI::App& app_;
  std::vector<std::string> only_;
  double seconds_ = 6;
  std::string directory_ = ".";
  bool json_ = false;
};

}  // namespace busbar
