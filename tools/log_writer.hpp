// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A log that a command opens to write: there is one writer at a time.
#pragma once

#include "exit_status.hpp"

#include <bus/persistence/log.hpp>

#include <string>

namespace busbar {

struct OpenLog {
  bus::Log log;
  bool is_missing = false;  ///< the opening found records missing, and said so on standard error
};

/// Errors: throws std::runtime_error, also if somebody else writes it, or it takes nothing before what is missing is
/// accepted.
OpenLog open_to_write(const std::string& directory, const bus::LogOptions& options = {});

/// Closes it. Returns: the status, or incomplete if all went well and records are missing.
/// Errors: throws std::runtime_error, unless the status tells of a failure already.
Exit close(OpenLog& open, const std::string& directory, Exit status);

}  // namespace busbar
