// SPDX-License-Identifier: MIT OR Apache-2.0
//
// `busbar log scrub` and `repair`: what is missing from a log.
#pragma once

#include "exit_status.hpp"

#include <bus/persistence/loss.hpp>

#include <cstdint>
#include <string>

namespace busbar {

/// Whether anything is missing that was durable, or may have been.
bool is_missing_any(const bus::LossReport& losses) noexcept;

/// For people: a row for each place, nothing if there is none.
std::string loss_table(const bus::LossReport& losses);

/// "nothing is missing" or how much is, as a line.
std::string loss_summary(const bus::LossReport& losses);

/// Reads all of a log at this rate, 0 for no limit, and prints what is missing. Changes nothing.
/// Errors: throws std::runtime_error, also if it is interrupted.
Exit scrub(const std::string& directory, std::uint64_t bytes_per_second, bool json);

/// Opens a log as its writer, which judges and repairs it, and prints what that found. `accept` lets a log go on that
/// takes nothing more because too much is missing. Errors: throws std::runtime_error.
Exit repair(const std::string& directory, bool accept, bool json);

}  // namespace busbar
