// SPDX-License-Identifier: MIT OR Apache-2.0
//
// `busbar sub` with a word of what becomes of messages, `ack-through`, and `dead redrive` and `drop`: the log is open
// to write meanwhile.
#pragma once

#include "exit_status.hpp"
#include "group_view.hpp"

#include <bus/persistence/group.hpp>

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace busbar {

enum class Settle { ack, nack, release, reject };

inline constexpr std::uint8_t max_attempts = std::numeric_limits<std::uint8_t>::max();

struct WorkOptions {
  std::string directory;
  std::string group;
  std::string member = {};  ///< in broadcast mode
  Settle settle = Settle::ack;
  std::string reason = {};  ///< of a `reject`
  std::optional<std::uint64_t> max = {};  ///< stop after so many messages
  bool follow = false;  ///< wait for those that are delayed, until SIGINT or SIGTERM
  /// Before a message is dead. As many as can be unless somebody says so: those who work in the group may allow more
  /// than this command knows.
  std::uint8_t attempts = max_attempts;

  // Of a group that is made; of one that exists they must be so if they are given.
  std::optional<bus::GroupMode> mode = {};
  std::vector<bus::TopicPattern> patterns = {};
  bus::GroupStart start = bus::GroupStart::next;  ///< of a broadcast's member that is new, too
};

/// Leases messages, prints each on a line, and settles what was printed; at the end it is durable. What is nacked or
/// released is on lease until the end, at most `most_held` messages, so that it is not given twice.
/// Errors: throws std::runtime_error and std::system_error; what could not be printed is released.
Exit work(const WorkOptions& options);
inline constexpr std::uint32_t most_held = 4096;

struct FinishOptions {
  std::string directory;
  std::string group;
  std::uint64_t up_to = 0;
  bool json = false;
};

/// Finishes all that the group owes up to that offset, of each of its members, and prints how many messages that were.
/// Errors: throws std::runtime_error.
Exit finish(const FinishOptions& options);

/// Sends dead letters back, or drops them, and prints how many. Errors: throws std::runtime_error.
Exit redrive(const DeadOptions& options);
Exit drop_dead(const DeadOptions& options);

}  // namespace busbar
