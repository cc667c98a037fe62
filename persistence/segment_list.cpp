// SPDX-License-Identifier: MIT OR Apache-2.0
#include "persistence/segment_list.hpp"

#include <algorithm>
#include <string>

namespace bus::detail {

LogLoss loss_of(const Segment& segment, std::uint64_t first, std::uint64_t end_offset, std::string_view reason) {
  const SegmentName& name = segment.name;
  const bool counted = end_offset - name.base_offset < offsets_given_up(segment.file_bytes);
  return {.segment = segment_name(name.base_offset, name.serial),
          .end = segment.file_bytes,
          .first_offset = counted ? first : name.base_offset,
          .records = counted ? end_offset - first : 0,
          .counted = counted,
          .reason = std::string(reason)};
}

std::uint64_t SegmentList::offset_within(std::uint64_t bytes) const {
  const std::lock_guard lock(mutex_);
  std::uint64_t offset = committed();
  for (auto segment = segments_.rbegin(); segment != segments_.rend() && (*segment)->file_bytes <= bytes; ++segment) {
    bytes -= (*segment)->file_bytes;
    offset = (*segment)->name.base_offset;
  }
  return offset;
}

SegmentList::Place SegmentList::find(std::uint64_t offset) const {
  const std::lock_guard lock(mutex_);
  if (segments_.empty()) return {};
  const auto base = [](const SegmentRef& segment) { return segment->name.base_offset; };
  auto behind = std::ranges::upper_bound(segments_, offset, {}, base);
  if (behind == segments_.begin()) ++behind;
  if (behind == segments_.end()) return {*(behind - 1), nullptr, index_};
  return {*(behind - 1), *behind, {}};
}

SegmentRef SegmentList::behind(std::uint64_t serial) const {
  const std::lock_guard lock(mutex_);
  const auto found =
      std::ranges::upper_bound(segments_, serial, {}, [](const SegmentRef& segment) { return segment->name.serial; });
  return found == segments_.end() ? nullptr : *found;
}

}  // namespace bus::detail
