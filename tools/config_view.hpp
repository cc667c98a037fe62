// SPDX-License-Identifier: MIT OR Apache-2.0
//
// `busbar config`: what a configuration says, and what is wrong with it.
#pragma once

#include "exit_status.hpp"

#include <bus/config/load.hpp>

#include <optional>
#include <string>

namespace busbar {

struct ConfigViewOptions {
  std::optional<std::string> file = {};  ///< none: the defaults and the environment alone
  bool json = false;
};

/// Says on standard error what is wrong, one error a line, or in JSON on standard output. Returns: failure, if anything
/// is. Errors: throws std::runtime_error.
Exit check_config(const ConfigViewOptions& options, const bus::Environment& environment);

/// Prints every value, and where it is from. Errors are told as `check_config` does.
Exit show_config(const ConfigViewOptions& options, const bus::Environment& environment);

/// Prints docs/configuration.md.
Exit print_config_reference(bool json);

}  // namespace busbar
