// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A way along the records of a log, for commands that look on.
#pragma once

#include <bus/persistence/log.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace busbar {

/// Opens a log to look at. Errors: throws std::runtime_error, also if there is none; nothing is made.
bus::LogSnapshot open_snapshot(const std::string& directory);

/// Tells on standard error what is missing on its way. The log must outlive it.
class RecordWalk {
 public:
  /// Goes up to `to`, if it is given. Errors: throws std::runtime_error.
  RecordWalk(bus::LogSnapshot& log, const std::string& directory, const bus::ReadOptions& options,
             std::optional<std::uint64_t> to = {});

  /// Returns: nullptr when there is no further one yet, or none in front of `to`. Lifetime: until the next call.
  /// Errors: throws std::runtime_error.
  const bus::RecordView* next();

  /// The offset that comes next.
  std::uint64_t offset() const noexcept { return reader_.offset(); }

  /// Whether something was missing.
  bool has_gaps() const noexcept { return gaps_; }

 private:
  void tell_gap(std::string_view what, std::uint64_t count);

  const std::string directory_;
  const std::optional<std::uint64_t> to_;
  bus::LogReader reader_;
  bool gaps_ = false;
};

}  // namespace busbar
