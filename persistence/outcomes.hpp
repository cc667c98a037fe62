// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <bus/error.hpp>
#include <bus/persistence/log.hpp>

#include <boost/circular_buffer.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>

namespace bus::detail {

/// What became of tickets: most get the next offset. Those that write no record are noted here, so that offsets have no
/// gaps: they were refused, or stand elsewhere already.
/// Threads: `of` any, beside one that notes. Who asks has learned that the ticket is settled from whoever noted it.
class Outcomes {
  /// Tickets that follow each other.
  struct Run {
    std::uint64_t begin;
    std::uint64_t end;
    std::uint64_t before;  // that wrote no record, in front of it
    std::uint64_t offset;
    error_code error;
    std::uint64_t skipped_up_to_end() const noexcept { return before + (end - begin); }
  };

 public:
  /// So many runs of them are remembered, and the memory for them is taken at once: so none is wanting later.
  /// Errors: throws std::bad_alloc.
  explicit Outcomes(std::size_t most) : runs_(most) {}
  static constexpr std::size_t memory_for(std::size_t most) noexcept { return most * sizeof(Run); }

  /// The offset of ticket 0. In front of everything else.
  void begin_at(std::uint64_t offset) noexcept { base_offset_ = offset; }

  /// Tickets from `begin` to `end`, behind those that were noted before.
  void refuse(std::uint64_t begin, std::uint64_t end, error_code error) noexcept;
  /// That they stand in the log already, the first at `offset`, or where is not known.
  void find(std::uint64_t begin, std::uint64_t end, std::uint64_t offset) noexcept;

  /// Of a ticket that is settled: its offset, or why it has none.
  /// Cost: one load, until there is any that wrote no record. Errors: outcome_forgotten, if it is in front of those
  /// that are remembered; what it was refused for.
  result<Appended> of(std::uint64_t ticket) const noexcept;

 private:
  void note(Run run) noexcept;

  std::uint64_t base_offset_ = 0;
  mutable std::mutex mutex_;
  boost::circular_buffer<Run> runs_;
  std::uint64_t known_from_ = 0;  // what is in front of this ticket is forgotten
  std::atomic<bool> any_{false};
};

}  // namespace bus::detail
