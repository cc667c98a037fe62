// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include "exit_status.hpp"

#include <CLI/CLI.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace busbar {

/// The command line of `busbar log`.
class LogCommands {
 public:
  explicit LogCommands(CLI::App& parent);
  LogCommands(const LogCommands&) = delete;
  LogCommands& operator=(const LogCommands&) = delete;

  /// Whether the command line asks for it.
  bool chosen() const { return log_.parsed(); }

  /// Does what was asked for. Errors: throws CLI::ValidationError, for what CLI11 cannot check; std::runtime_error.
  Exit run() const;

 private:
  CLI::App& add(const char* name, const char* what);
  void add_append();
  void add_peek();
  void add_dump();
  void add_info();
  void add_scrub();
  void add_repair();
  void add_from(CLI::App& command);
  Exit run_append() const;
  Exit run_view(bool json) const;
  Exit run_scrub() const;

  CLI::App& log_;
  std::string directory_;
  std::string durability_ = "synced";
  std::string from_ = "oldest";
  std::vector<std::string> topics_;
  std::size_t in_flight_ = 1024;
  std::uint64_t segment_mib_ = 64;
  std::optional<std::uint64_t> to_;
  std::optional<std::uint64_t> max_;
  bool follow_ = false;
  double mib_per_second_ = 32;
  bool accept_ = false;
  bool keep_duplicates_ = false;
  bool json_ = false;
};

}  // namespace busbar
