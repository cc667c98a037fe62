// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include "exit_status.hpp"
#include "serve.hpp"

#include <CLI/CLI.hpp>

namespace busbar {

/// The command line of `busbar serve`.
class ServeCommand {
 public:
  explicit ServeCommand(CLI::App& parent);
  ServeCommand(const ServeCommand&) = delete;
  ServeCommand& operator=(const ServeCommand&) = delete;

  /// Whether the command line asks for it.
  bool chosen() const { return app_.parsed(); }

  /// Errors: as `serve`.
  Exit run() const { return serve(options_); }

 private:
  CLI::App& app_;
  ServeOptions options_;
};

}  // namespace busbar
