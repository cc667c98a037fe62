// SPDX-License-Identifier: MIT OR Apache-2.0
//
// `busbar serve`: a host that stands by itself, made from a configuration.
#pragma once

#include "exit_status.hpp"

#include <string>

namespace busbar {

struct ServeOptions {
  std::string file;  ///< the configuration
  bool stay = false;  ///< goes on when the input has ended
  bool json = false;
};

/// Publishes the input of the configuration, and serves metrics and health if it says where, until the input ends or
/// SIGINT or SIGTERM comes; then drains, and prints the report. SIGHUP reads the configuration again and applies what
/// can change. Says on standard error when it is ready, and where. Errors of the configuration are told there, too.
/// Blocks: until then. Errors: throws std::runtime_error and std::system_error, as `Host` and `HttpServer` do, or if
///         the input or the report fails.
Exit serve(const ServeOptions& options);

}  // namespace busbar
