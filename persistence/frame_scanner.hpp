// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Walks along the frames of a segment, over damage too: what is not genuine costs itself and nothing else.
//
// After damage the scanner looks at every place where a frame could begin, until one proves itself. A head proves
// itself by its check, under a salt that no producer knows, and by its numbers: they must be such that what is missing
// would have fitted into the damage.
#pragma once

#include "persistence/format.hpp"
#include "persistence/window.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace bus::detail {

/// A genuine frame. What it refers to is valid until the scanner goes on.
struct FoundFrame {
  std::uint64_t position = 0;
  FrameHead head;
  std::span<const std::byte> body;
  std::uint64_t end() const noexcept { return position + head.frame_bytes(); }
};

/// Bytes that are no frames, or frames that are damaged.
struct DamagedRegion {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  std::uint32_t first_record = 0;  ///< number of the first record that is missing
  std::uint32_t records = 0;       ///< missing
  std::uint32_t first_control = 0;  ///< number of the first control frame that may be missing
  std::uint64_t first_mark = 0;     ///< where the first mark stands whose head is whole, if there is one
  friend bool operator==(const DamagedRegion&, const DamagedRegion&) = default;
};

class FrameScanner {
 public:
  /// Scans `[begin, limit)` of a segment, where `next_record` and `next_control` are the numbers expected at `begin`.
  FrameScanner(Window& window, const SegmentHeader& header, std::uint64_t begin, std::uint64_t limit,
               std::uint32_t next_record = 0, std::uint32_t next_control = 0) noexcept
      : window_(window),
        salt_(header.salt),
        limit_(limit),
        position_(begin),
        next_record_(next_record),
        next_control_(next_control) {}

  enum class Found {
    frame,  ///< `frame()`
    damage,  ///< `damage()`
    end,  ///< nothing genuine from `position()` on
  };
  /// Errors: throws std::bad_alloc.
  Found next();

  const FoundFrame& frame() const noexcept { return frame_; }
  const DamagedRegion& damage() const noexcept { return damage_; }

  /// Begins in the middle of a segment, at a record of that number, where it is not known how many other frames there
  /// were in front of it.
  static FrameScanner from_record(Window& window, const SegmentHeader& header, std::uint64_t begin, std::uint64_t limit,
                                  std::uint32_t number) noexcept {
    FrameScanner scanner(window, header, begin, limit, number, 0);
    scanner.missing_controls_ = max_frame_number;
    return scanner;
  }

  /// Goes on up to there. What stood behind the old limit is to be looked at anew.
  void extend(std::uint64_t limit) noexcept { limit_ = limit; }

  /// Behind the last genuine frame or damaged one whose head was.
  std::uint64_t position() const noexcept { return position_; }

  /// The numbers that are next.
  std::uint32_t next_record() const noexcept { return next_record_; }
  std::uint32_t next_control() const noexcept { return next_control_; }

 private:
  std::optional<FrameHead> genuine_head(std::uint64_t position);
  std::optional<std::span<const std::byte>> whole_body(std::uint64_t position, const FrameHead& head);
  std::optional<std::uint64_t> search(std::uint64_t from);
  void pass(const FrameHead& head) noexcept;

  Window& window_;
  const std::uint64_t salt_;
  std::uint64_t limit_;
  std::uint64_t position_;
  std::uint32_t next_record_;
  std::uint32_t next_control_;
  std::uint64_t missing_controls_ = 0;  // at most, since the last one
  FoundFrame frame_;
  DamagedRegion damage_;
};

/// Whether at `position` stands, in front of `end`, what only stands where nothing was written in this life of the
/// file: a blank word, or a genuine head of the earlier life.
bool unwritten_at(Window& window, const SegmentHeader& header, std::uint64_t position, std::uint64_t end);

/// Whether it does anywhere in `[begin, end)`.
bool holds_unwritten(Window& window, const SegmentHeader& header, std::uint64_t begin, std::uint64_t end);

}  // namespace bus::detail
