// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What is known to be missing from a log.
#pragma once

#include <bus/error.hpp>
#include <bus/persistence/loss.hpp>
#include <bus/persistence/storage.hpp>

#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

namespace bus::detail {

/// All that anybody has come upon: the opening, readers, scrubs. Each record is missing once, whoever finds it.
/// Threads: any.
class LossLedger {
 public:
  /// Returns: how many of its records were not known to be missing; nothing if none of it is news.
  /// Errors: throws std::bad_alloc.
  std::optional<std::uint64_t> add(const LogLoss& loss);

  /// Errors: throws std::bad_alloc.
  LossReport report() const;

  /// Writes the report into the file `losses.json`, whole or not at all, if there is news since it was last.
  /// Errors: those of the storage, the next call tries again; throws std::bad_alloc.
  error_code write(Storage& storage);

 private:
  mutable std::mutex mutex_;
  std::vector<LogLoss> losses_;  // by offset
  std::uint64_t written_ = 0;  // as many were there when the report was written
};

}  // namespace bus::detail
