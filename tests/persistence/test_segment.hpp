// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What the tests of segments share: a file in memory, and a segment in it whose every frame the test knows.
#pragma once

#include <bus/persistence/storage.hpp>

#include "persistence/batch_encoder.hpp"
#include "persistence/format.hpp"
#include "persistence/frame_scanner.hpp"
#include "persistence/window.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bus::detail {

using Bytes = std::vector<std::byte>;

/// A file that is a vector. Sectors named in `unreadable` give an error.
class MemoryFile final : public File {
 public:
  explicit MemoryFile(Bytes bytes = {}) : content(std::move(bytes)) {}

  result<std::size_t> read(std::uint64_t position, std::span<std::byte> out) noexcept override {
    if (position >= content.size()) return std::size_t{0};
    const std::size_t size = std::min<std::size_t>(out.size(), content.size() - position);
    for (std::uint64_t sector = position / sector_bytes; sector * sector_bytes < position + size; ++sector) {
      if (unreadable.contains(sector)) return make_error_code(boost::system::errc::io_error);
    }
    std::memcpy(out.data(), content.data() + position, size);
    return size;
  }
  result<std::size_t> write(std::uint64_t position,
                            std::span<const std::span<const std::byte>> parts) noexcept override {
    std::size_t written = 0;
    for (const auto part : parts) {
      if (content.size() < position + written + part.size()) content.resize(position + written + part.size());
      std::ranges::copy(part, content.begin() + static_cast<std::ptrdiff_t>(position + written));
      written += part.size();
    }
    return written;
  }
  error_code sync() noexcept override { return {}; }
  result<std::uint64_t> size() noexcept override { return content.size(); }
  error_code resize(std::uint64_t size) noexcept override {
    content.resize(size);
    return {};
  }
  error_code reserve(std::uint64_t) noexcept override { return {}; }

  Bytes content;
  std::set<std::uint64_t> unreadable;
};

/// A small segment, written batch by batch as a log does.
class TestSegment {
 public:
  struct Frame {
    std::uint64_t begin;
    std::uint64_t end;       ///< with the padding
    std::uint64_t body_end;  ///< without it
    FrameKind kind;
    std::uint32_t record;  ///< its number, or that of the next one
    std::size_t batch;
  };
  struct Batch {
    std::uint64_t begin;
    std::uint64_t end;
    std::uint32_t end_record;
  };

  /// The file ends where its mirror would begin.
  explicit TestSegment(std::uint64_t mirror = 16 * 1024, std::uint64_t salt = 0x5EED'0000'1111'2222,
                       std::uint64_t previous_salt = 0)
      : header{.serial = 1,
               .salt = salt,
               .capacity = min_segment_bytes,
               .mirror = mirror,
               .previous_salt = previous_salt} {
    file.content.resize(mirror);
    if (previous_salt == 0) {
      fill_blank(salt, page_bytes, std::span(file.content).subspan(page_bytes));
    }
  }

  /// The file of an earlier life, taken over by a new one.
  static TestSegment reused(const TestSegment& earlier, std::uint64_t salt) {
    TestSegment segment(earlier.header.mirror, salt, earlier.header.salt);
    std::ranges::copy(std::span(earlier.file.content).subspan(page_bytes),
                      segment.file.content.begin() + static_cast<std::ptrdiff_t>(page_bytes));
    fill_blank(salt, page_bytes, std::span(segment.file.content).subspan(page_bytes, frame_alignment));
    return segment;
  }

  /// One batch with a record for each payload; `fields` with every second one.
  void append(const std::vector<std::string>& payloads) {
    encoder.begin(header, place);
    const RecordFields fields{.terminal = true, .key = "k"};
    for (const std::string& payload : payloads) {
      const bool tagged = encoder.place().next_record % 2 == 1;
      encoder.add(1, no_name, 0, tagged ? fields : RecordFields(), std::as_bytes(std::span(payload)));
    }
    write(payloads.size());
  }

  void append_frame(FrameKind kind, std::span<const std::byte> body) {
    encoder.begin(header, place);
    encoder.add(kind, body);
    write(0);
  }

  /// What would be there had the sectors in `missing` of the last batch's write, counted from its first, not been done.
  Bytes without_sectors(const std::vector<bool>& missing) const {
    Bytes torn = file.content;
    const std::uint64_t first = batches.back().begin / sector_bytes;
    for (std::size_t i = 0; i < missing.size(); ++i) {
      if (!missing[i]) continue;
      const auto at = static_cast<std::ptrdiff_t>((first + i) * sector_bytes);
      std::copy_n(before_last.begin() + at, sector_bytes, torn.begin() + at);
    }
    return torn;
  }
  std::size_t sectors_of_last_write() const {
    return (batches.back().end + frame_alignment - 1) / sector_bytes - batches.back().begin / sector_bytes + 1;
  }

  std::uint32_t records() const { return place.next_record; }

  SegmentHeader header;
  MemoryFile file;
  std::vector<Frame> frames;
  std::vector<Batch> batches;
  WritePlace place;
  Bytes before_last;

 private:
  void write(std::size_t records) {
    before_last = file.content;
    const auto bytes = encoder.finish(place.position, 0);
    std::ranges::copy(bytes, file.content.begin() + static_cast<std::ptrdiff_t>(place.position));
    batches.push_back({place.position, encoder.place().position, encoder.place().next_record});
    MemoryFile copy(file.content);
    Window window(copy);
    FrameScanner scanner(window, header, place.position, header.mirror, place.next_record, place.next_control);
    for (std::size_t i = 0; scanner.next() == FrameScanner::Found::frame; ++i) {
      const FoundFrame& frame = scanner.frame();
      const bool record = is_record(frame.head.kind);
      frames.push_back({frame.position, frame.end(), frame.position + head_bytes + frame.head.body_bytes,
                        frame.head.kind, record ? frame.head.number : frame.head.next_record, batches.size() - 1});
      if (i > records + 2) break;
    }
    place = encoder.place();
  }

  BatchEncoder encoder;
};

/// The numbers of the records that a scan finds.
inline std::vector<std::uint32_t> records_in(const SegmentHeader& header, const Bytes& content,
                                             std::optional<std::uint64_t> limit = {}) {
  MemoryFile file(content);
  Window window(file);
  FrameScanner scanner(window, header, page_bytes, limit.value_or(header.mirror));
  std::vector<std::uint32_t> records;
  for (auto found = scanner.next(); found != FrameScanner::Found::end; found = scanner.next()) {
    if (found == FrameScanner::Found::frame && is_record(scanner.frame().head.kind)) {
      records.push_back(scanner.frame().head.number);
    }
  }
  return records;
}

}  // namespace bus::detail
