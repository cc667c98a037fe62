// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What a live writer tells tools that look on: how far it has committed. In the page cache, and never synced: when no
// writer lives, the segments say it themselves.
#pragma once

#include <bus/persistence/storage.hpp>

#include <cstdint>
#include <memory>
#include <optional>

namespace bus::detail {

struct CommitHint {
  std::uint64_t serial = 0;  ///< of the last segment
  std::uint64_t end = 0;     ///< its frames in front of this are committed
  std::uint64_t next_offset = 0;
  friend bool operator==(const CommitHint&, const CommitHint&) = default;
};

/// Returns: nullptr if it cannot be had, and then tools see less.
std::unique_ptr<File> open_hint(Storage& storage) noexcept;
void write_hint(File& file, const CommitHint& hint) noexcept;
/// Returns: nothing if there is none, or it is being written.
std::optional<CommitHint> read_hint(Storage& storage) noexcept;

}  // namespace bus::detail
