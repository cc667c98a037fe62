// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Readers of a segment of which the fuzzer has damaged parts: they come to an end, show nothing that does not stand in
// the file, and count on without a gap.
#include "damaged_segment.hpp"

#include "persistence/segment_file.hpp"

namespace {

using namespace bus::detail;

/// The bytes of a file as a reader gets them: a sector that cannot be read is zeros.
Bytes as_read(const MemoryFile& file) {
  Bytes content = file.content;
  for (const std::uint64_t sector : file.unreadable) {
    const auto begin = std::min<std::size_t>(sector * sector_bytes, content.size());
    std::fill(content.begin() + static_cast<std::ptrdiff_t>(begin),
              content.begin() + static_cast<std::ptrdiff_t>(std::min(begin + sector_bytes, content.size())),
              std::byte{0});
  }
  return content;
}

void scan(MemoryFile& file, const SegmentHeader& header, std::size_t chunk_bytes, std::uint64_t limit) {
  const Bytes content = as_read(file);
  Window window(file, chunk_bytes);
  FrameScanner scanner(window, header, page_bytes, limit);
  std::uint64_t position = page_bytes;
  std::uint32_t next_record = 0;
  std::uint32_t next_control = 0;
  for (auto found = scanner.next(); found != FrameScanner::Found::end; found = scanner.next()) {
    if (found == FrameScanner::Found::damage) {
      const DamagedRegion& region = scanner.damage();
      require(region.begin == position && region.end > region.begin && region.end <= limit);
      require(region.first_record == next_record && region.first_control >= next_control);
      require(region.records <= (region.end - region.begin) / head_bytes);
      require(region.first_mark == 0 || (region.first_mark >= region.begin && region.first_mark < region.end));
      position = region.end;
      next_control = region.first_control;
      next_record += region.records;
      continue;
    }
    const FoundFrame& frame = scanner.frame();
    require(frame.position == position && frame.end() <= limit);
    require(frame.position + head_bytes + frame.body.size() <= content.size());
    require(frame.body.size() == frame.head.body_bytes);
    require(std::ranges::equal(
        frame.body,
        std::span(content).subspan(static_cast<std::size_t>(frame.position) + head_bytes, frame.body.size())));
    if (is_record(frame.head.kind)) {
      require(frame.head.number == next_record);
      ++next_record;
    } else {
      require(frame.head.next_record == next_record && frame.head.number >= next_control);
      next_control = frame.head.number + 1;
    }
    position = frame.end();
    require(scanner.position() == position && scanner.next_record() == next_record);
  }
  require(scanner.position() == position && position <= limit);
  require(scanner.next_record() == next_record);
}

void read_mirror_of(MemoryFile& file, const SegmentHeader& header, std::size_t chunk_bytes) {
  Window window(file, chunk_bytes);
  Names names;
  const Mirror mirror = read_mirror(window, header, names);
  require(mirror.end >= header.mirror && mirror.end <= second_header(header.capacity));
  read_names(window, header, header.mirror, names);
  std::size_t bytes = 0;
  for (std::uint16_t id = 0; id < 8; ++id) {
    if (const auto topic = names.topic(id)) bytes += topic->size();
    if (const auto principal = names.principal(id)) bytes += principal->size();
    if (const auto schema = names.schema(id)) bytes += schema->name.size();
  }
  require(bytes < 1'000'000);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Choices choices(data, size);
  const WholeSegment& whole = choose_segment(choices.take());
  const std::uint32_t seen = choices.take();
  MemoryFile file = damage(whole, choices);
  const std::size_t chunk_bytes = seen % 2 == 0 ? 4096 : sector_bytes;
  // A reader of a live segment sees as much as is committed, which need not be a whole frame.
  const std::uint64_t limit = seen % 4 == 2 ? page_bytes + seen * 16 : whole.header.mirror;
  scan(file, whole.header, chunk_bytes, limit);
  read_mirror_of(file, whole.header, chunk_bytes);
  return 0;
}
