// SPDX-License-Identifier: MIT OR Apache-2.0
//
// `busbar log peek`, `dump` and `info`: what is in a log, seen without a change to it and beside its writer.
#pragma once

#include "exit_status.hpp"

#include <bus/persistence/log.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace busbar {

/// Reads "oldest", "next", an offset or a time in UTC. Returns: nothing for anything else.
std::optional<bus::From> parse_from(std::string_view text);

struct ViewOptions {
  std::string directory;
  bus::From from = bus::From::oldest();
  std::vector<bus::TopicPattern> topics = {};  ///< none: all
  std::optional<std::uint64_t> to = {};        ///< stop in front of this offset
  std::optional<std::uint64_t> max = {};       ///< stop after so many records
  bool follow = false;                         ///< wait for more, until SIGINT or SIGTERM
  bool json = false;
};

/// Prints records, one a line; gaps are told on standard error. Errors: throws std::runtime_error.
Exit view(const ViewOptions& options);

/// Prints segments and losses. Errors: throws std::runtime_error.
Exit info(const std::string& directory, bool json);

}  // namespace busbar
