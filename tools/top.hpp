// SPDX-License-Identifier: MIT OR Apache-2.0
//
// `busbar top`: what the metrics of a running program say, as it goes on.
#pragma once

#include "exit_status.hpp"
#include "http_get.hpp"

#include <chrono>
#include <string>

namespace busbar {

struct TopOptions {
  HttpAddress address;
  std::string name_space;  ///< of the metrics
  std::chrono::milliseconds interval = std::chrono::seconds(2);
  std::chrono::milliseconds timeout = std::chrono::seconds(5);
  bool json = false;
};

/// Shows it in the terminal until a key or a signal ends it, through whatever happens to the server.
/// Errors: throws std::runtime_error if the terminal cannot be used.
Exit watch(const TopOptions& options);

/// Looks twice, prints what there is, and is done. Errors: throws std::runtime_error if it cannot be read.
Exit look_once(const TopOptions& options);

}  // namespace busbar
