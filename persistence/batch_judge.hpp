// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Which of the records that are about to be committed the log has already.
#pragma once

#include "persistence/dedup.hpp"
#include "persistence/outcomes.hpp"

#include <bus/error.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace bus::detail {

/// One commit after the other: `begin`, `judge` for each that is ready, in the order of tickets, then `commit` or
/// `cancel`. So nothing is under way between two commits.
/// Threads: one at a time.
class BatchJudge {
 public:
  /// What is known. Null: nothing is judged, and all is fresh.
  void know(std::unique_ptr<Dedup> dedup) noexcept { dedup_ = std::move(dedup); }
  const Dedup* known() const noexcept { return dedup_.get(); }

  void begin(std::uint64_t ticket, std::int64_t now_ns) noexcept;

  /// Judges records that are written together or not at all. Returns: whether they are to be written; not, if some are
  /// fresh and others are not. One without a key is fresh.
  /// Errors: throws std::bad_alloc; then the commit has to be canceled.
  bool judge(std::uint64_t ticket, std::span<const DedupKey> keys);

  /// What was to be written is, from `offset` on. Notes the outcomes of the others.
  void commit(std::uint64_t offset, Outcomes& outcomes) noexcept;

  /// Nothing was written. Passes over it if that has been said.
  void cancel() noexcept;

  std::uint64_t duplicates() const noexcept { return duplicates_; }  ///< of this commit
  std::uint64_t refused() const noexcept { return refused_; }  ///< of this commit

 private:
  /// Tickets that write no record.
  struct Aside {
    std::uint64_t begin;
    std::uint64_t end;
    error_code error;
    std::uint64_t of;  // the offset of the first; or its ticket, if that is of this commit
    bool of_this_commit;
  };
  class Several;

  std::unique_ptr<Dedup> dedup_;
  std::int64_t now_ns_ = 0;
  std::uint64_t first_ = 0;  // ticket
  std::vector<std::uint64_t> fresh_;  // tickets that have a key
  std::vector<Aside> asides_;
  std::uint64_t duplicates_ = 0;
  std::uint64_t refused_ = 0;
};

}  // namespace bus::detail
