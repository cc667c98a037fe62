// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include "exit_status.hpp"

#include <CLI/CLI.hpp>

#include <string>
#include <vector>

namespace busbar {

/// The command lines of `busbar completion` and `busbar man`, which tell of all others.
class ManualCommands {
 public:
  explicit ManualCommands(CLI::App& root);
  ManualCommands(const ManualCommands&) = delete;
  ManualCommands& operator=(const ManualCommands&) = delete;

  /// Whether the command line asks for one of them.
  bool chosen() const { return completion_.parsed() || man_.parsed(); }

  /// Does what was asked for. Errors: throws CLI::ValidationError; std::runtime_error.
  Exit run(const std::string& version) const;

 private:
  CLI::App& root_;
  CLI::App& completion_;
  CLI::App& man_;
  std::string shell_;
  std::vector<std::string> command_;
  bool json_ = false;
};

}  // namespace busbar
