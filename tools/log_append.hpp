// SPDX-License-Identifier: MIT OR Apache-2.0
//
// `busbar log append` and `pub`: lines from standard input, or one message, become records of a log.
#pragma once

#include "exit_status.hpp"

#include <bus/persistence/log_options.hpp>
#include <bus/persistence/record.hpp>

#include <cstddef>
#include <cstdint>
#include <string>

namespace busbar {

struct AppendOptions {
  std::string directory;
  bus::Durability durability = bus::Durability::synced;
  std::size_t in_flight = 1024;  ///< lines that were handed over and not answered, at most
  std::uint64_t segment_bytes = bus::LogOptions().segment_bytes;
  bool keep_duplicates = false;  ///< write also what the log has already, as a copy must
  bool json = false;
};

/// Appends each line and prints its receipt, in order. What is in flight is committed together; it is answered at the
/// latest when no further line has come. SIGINT and SIGTERM end it after what is in flight. Lines that are no records
/// are told on standard error. What the log fails at ends it.
/// Blocks: until the input ends. Errors: throws std::runtime_error and std::system_error.
Exit append(const AppendOptions& options);

/// Appends one record, and prints its offset when it is on the disk. Errors: throws std::runtime_error.
Exit append_one(const std::string& directory, const bus::Record& record, bool json);

}  // namespace busbar
