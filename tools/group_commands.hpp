// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include "exit_status.hpp"
#include "group_view.hpp"
#include "group_work.hpp"

#include <CLI/CLI.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace busbar {

/// The command lines of those who publish to a log and read it in groups: `busbar pub`, `sub`, `ack-through`, `groups`,
/// `lag` and `dead`.
class GroupCommands {
 public:
  explicit GroupCommands(CLI::App& parent);
  GroupCommands(const GroupCommands&) = delete;
  GroupCommands& operator=(const GroupCommands&) = delete;

  /// Does what was asked for. Errors: throws CLI::ValidationError, for what CLI11 cannot check; std::runtime_error.
  Exit run() const;

 private:
  CLI::App& add(const char* name, const char* what);
  void add_group(CLI::App& command);
  void add_topics(CLI::App& command, const char* name, const char* what);
  void add_pub();
  void add_sub();
  void add_ack_through();
  void add_groups();
  void add_lag();
  void add_dead();
  CLI::App& add_dead(CLI::App& parent, const char* name, const char* what);
  Exit run_pub() const;
  Exit run_sub() const;
  Exit run_dead() const;

  CLI::App& parent_;
  CLI::App* pub_ = nullptr;
  CLI::App* sub_ = nullptr;
  CLI::App* ack_through_ = nullptr;
  CLI::App* groups_ = nullptr;
  CLI::App* lag_ = nullptr;
  CLI::App* dead_ = nullptr;

  std::string directory_;
  std::string group_;
  bool json_ = false;

  std::optional<std::string> message_;
  std::optional<std::string> topic_;
  std::optional<std::string> key_;
  std::optional<std::string> principal_;

  bool peek_ = false;
  bool ack_ = false;
  bool nack_ = false;
  bool release_ = false;
  std::optional<std::string> reject_;
  std::string member_;
  std::optional<std::uint64_t> max_;
  bool follow_ = false;
  std::vector<std::string> patterns_;
  std::optional<std::string> mode_;
  std::optional<std::string> from_;
  unsigned attempts_ = max_attempts;

  std::uint64_t up_to_ = 0;

  std::string reason_;
  std::uint64_t first_ = bus::DeadFilter().first;
  std::uint64_t last_ = bus::DeadFilter().last;
  bool all_ = false;
};

}  // namespace busbar
