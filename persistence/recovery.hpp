// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What an opening makes of a segment's bytes, and of nothing else.
//
// The frames say of themselves whether they are genuine; this says of what is missing between them whether anybody had
// been told that it was durable. The evidence is on the disk: marks, which say up to where the segment had been durable
// when they were written; how long each batch was; and bytes that only stand where nothing was ever written.
#pragma once

#include "persistence/frame_scanner.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

namespace bus::detail {

// --- The table. ---

/// What is known of a damaged region.
struct Evidence {
  bool proven = false;  ///< it lies in front of what a mark, a footer or a later segment proves durable
  bool unwritten = false;  ///< a part of its batch was never written
  bool followed = false;  ///< genuine frames stand behind it
};

struct Ruling {
  Verdict verdict;
  bool cut;  ///< the segment ends here: what stands behind was never acknowledged either
};

/// One row for each combination, so that none is decided by accident.
struct RecoveryRow {
  Evidence evidence;
  Ruling ruling;
};
inline constexpr std::array<RecoveryRow, 8> recovery_table{{
    // clang-format off
    // proven  unwritten followed   verdict             cut
    {{false,   false,    false},   {Verdict::unproven,  false}},  // its offsets are not given to others
    {{false,   false,    true},    {Verdict::unproven,  false}},  // as what follows, it may have been acknowledged
    {{false,   true,     false},   {Verdict::torn,      true}},
    {{false,   true,     true},    {Verdict::torn,      true}},   // the disk wrote the end of a batch before its middle
    {{true,    false,    false},   {Verdict::lost,      false}},
    {{true,    false,    true},    {Verdict::lost,      false}},
    {{true,    true,     false},   {Verdict::lost,      false}},  // a write that the disk said it had done, and had not
    {{true,    true,     true},    {Verdict::lost,      false}},
    // clang-format on
}};
Ruling rule(const Evidence& evidence) noexcept;

// --- A segment. ---

struct JudgedRegion {
  DamagedRegion region;
  Verdict verdict = Verdict::lost;
  bool counted = true;  ///< `region.records` is exact; else nothing on disk says how many there were
  bool known = false;  ///< an earlier opening judged it, and said so in the segment
  friend bool operator==(const JudgedRegion&, const JudgedRegion&) = default;
};

struct SegmentState {
  std::uint64_t end = 0;  ///< where the next batch begins
  std::uint32_t next_record = 0;
  std::uint32_t next_control = 0;
  std::uint64_t proven = 0;  ///< durable for sure; what lies between here and `end` is to be written again
  std::uint64_t dirty_end = 0;  ///< from `end` to here is to be made blank; what stands behind is harmless
  std::vector<JudgedRegion> damage;  ///< in order
  std::optional<Footer> footer;
};

/// Is shown each genuine frame, in order, while a segment is examined; also those behind where it will be cut off.
class FrameVisitor {
 public:
  virtual void visit(const FoundFrame& frame) = 0;

 protected:
  ~FrameVisitor() = default;
};

/// Examines the frames of a segment. `expected_records` is what a later segment's name says that this one holds; such a
/// segment was sealed, and so durable as a whole.
/// Returns: a function of the bytes alone. Cost: reads the segment once, damage some times more.
/// Errors: throws std::bad_alloc.
SegmentState examine_segment(Window& window, const SegmentHeader& header,
                             std::optional<std::uint32_t> expected_records = {}, FrameVisitor* visitor = nullptr);

/// What is told of a damaged region.
LogLoss loss_of(const std::string& segment, const SegmentHeader& header, const JudgedRegion& region);

}  // namespace bus::detail
