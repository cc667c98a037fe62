// SPDX-License-Identifier: MIT OR Apache-2.0
//
// `busbar sub --peek`, `groups`, `lag` and `dead list`: what groups of a log owe, seen without a change to it and
// beside its writer.
#pragma once

#include "exit_status.hpp"

#include <bus/persistence/group.hpp>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace busbar {

struct PeekOptions {
  std::string directory;
  std::string group;
  std::string member = {};  ///< in broadcast mode
  std::optional<std::uint64_t> max = {};  ///< stop after so many messages
  bool follow = false;  ///< wait for more, until SIGINT or SIGTERM
};

/// Prints what is not finished, one message a line. Errors: throws std::runtime_error.
Exit peek(const PeekOptions& options);

/// Prints the groups. Errors: throws std::runtime_error.
Exit groups(const std::string& directory, bool json);

/// Prints how much each group has to do, and since when. Cost: reads the log from the oldest message on that is not
/// finished. Errors: throws std::runtime_error.
Exit lag(const std::string& directory, bool json);

/// Which dead letters of a group.
struct DeadOptions {
  std::string directory;
  std::string group;
  bus::DeadFilter filter = {};
  bool json = false;
};

/// Prints them, one a line. Errors: throws std::runtime_error.
Exit list_dead(const DeadOptions& options);

// --- What commands on groups need besides. ---

/// Where the group stands, each of its members if it is a broadcast. Errors: throws std::runtime_error.
std::vector<bus::GroupPosition> positions_of(bus::LogSnapshot& log, const std::string& directory,
                                             const std::string& group);

/// The one of that member. Errors: throws std::runtime_error, if there is no such group or member, or a broadcast and
/// no member is named.
const bus::GroupPosition& position_of(const std::vector<bus::GroupPosition>& positions, const std::string& group,
                                      const std::string& member);

/// Errors: throws std::runtime_error, if a broadcast is asked for without a member, or another group with one.
void check_member(const std::string& group, bool is_broadcast, const std::string& member);

/// Where to begin to read what they owe. What retention has taken in front of it need not have been theirs.
std::uint64_t begin_of(const bus::LogSnapshot& log, std::span<const bus::GroupPosition> positions);

}  // namespace busbar
