// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A small segment, and what a fuzzer's bytes do to it: what disks do, and what somebody does who knows the salt.
#pragma once

#include "choices.hpp"
#include "persistence/test_segment.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace bus::detail {

/// A segment with a few batches of small records, and names and perhaps a footer, both also in its mirror.
struct WholeSegment {
  SegmentHeader header;
  Bytes content;
  Bytes before;  ///< as it was some batches earlier
  std::uint32_t records = 0;
};

inline std::vector<std::byte> body_of_names() {
  std::vector<std::byte> body;
  std::uint16_t id = 1;
  for (const auto kind : {NameKind::topic, NameKind::principal, NameKind::schema}) {
    for (const std::string_view text : {"agent.v1.done", "a"}) {
      const std::size_t at = body.size();
      body.resize(at + name_bytes(text));
      encode_name({.kind = kind, .id = id, .version = 1, .text = text}, body.data() + at);
      id = id % 2 + 1;
    }
  }
  return body;
}

inline std::vector<std::byte> body_of_footer(const TestSegment& segment) {
  const std::array index{IndexEntry{.position = page_bytes / frame_alignment, .number = 0, .time = 1},
                         IndexEntry{.position = page_bytes / frame_alignment + 20, .number = 3, .time = 2}};
  std::vector<std::byte> body(footer_bytes(index.size()));
  const Footer footer{
      .end = segment.place.position, .records = segment.place.next_record, .controls = segment.place.next_control};
  encode_footer(footer, index, body.data());
  return body;
}

/// Writes a genuine frame. Returns: where it ends.
inline std::uint64_t put_frame(const SegmentHeader& header, Bytes& content, std::uint64_t at, FrameHead head,
                               std::span<const std::byte> body) {
  head.body_bytes = static_cast<std::uint32_t>(body.size());
  head.body_check = salted(crc32c(body), header.salt);
  if (at > content.size() || head.frame_bytes() > content.size() - at) return at;
  const auto frame = std::span(content).subspan(static_cast<std::size_t>(at));
  encode_head(head, header.salt, at, frame.first<head_bytes>());
  std::ranges::copy(body, frame.begin() + head_bytes);
  return at + head.frame_bytes();
}

inline WholeSegment make_segment(bool reused, bool sealed) {
  constexpr std::uint64_t mirror = 8 * 1024;
  TestSegment segment(mirror);
  const auto fill = [](TestSegment& one, std::size_t first) {
    for (std::size_t batch = 0; batch < 4; ++batch) {
      one.append(std::vector<std::string>(first + 3 * batch, std::string(5 + 7 * batch, 'x')));
    }
  };
  if (reused) {
    fill(segment, 5);
    segment = TestSegment::reused(segment, 0x1234'5678'9ABC'DEF0);
  }
  segment.append({std::string(40, 'y')});
  const auto names = body_of_names();
  segment.append_frame(FrameKind::names, names);
  WholeSegment whole;
  whole.before = segment.file.content;
  fill(segment, 2);
  const auto footer = body_of_footer(segment);
  if (sealed) segment.append_frame(FrameKind::footer, footer);
  whole.header = segment.header;
  whole.header.capacity = mirror + 2 * page_bytes;
  whole.records = segment.records();
  whole.content = segment.file.content;
  whole.content.resize(whole.header.capacity);
  fill_blank(whole.header.salt, mirror, std::span(whole.content).subspan(mirror));
  std::uint64_t at = put_frame(whole.header, whole.content, mirror, {.kind = FrameKind::names, .number = 2}, names);
  if (sealed) at = put_frame(whole.header, whole.content, at, {.kind = FrameKind::footer, .number = 9}, footer);
  whole.before.resize(whole.content.size());
  return whole;
}

/// What becomes of it: each byte chooses what is done next, and where.
inline MemoryFile damage(const WholeSegment& whole, Choices& choices) {
  MemoryFile file(whole.content);
  Bytes& content = file.content;
  const auto place = [&] { return choices.take(2) % whole.content.size(); };
  const auto sectors = [&](std::size_t& begin, std::size_t& size) {
    begin = place() / sector_bytes * sector_bytes;
    size = std::min((choices.take() % 4 + 1) * sector_bytes, whole.content.size() - begin);
  };
  std::size_t begin = 0;
  std::size_t size = 0;
  for (int steps = 0; steps < 16 && !choices.empty(); ++steps) {
    const auto what = choices.take() % 9;
    if (content.size() < whole.content.size() && what != 6) content.resize(whole.content.size());
    switch (what) {
      case 0: {  // other bytes
        begin = place();
        const auto bytes = choices.take_bytes(choices.take() % 32);
        std::ranges::copy(bytes.first(std::min(bytes.size(), content.size() - begin)),
                          content.begin() + static_cast<std::ptrdiff_t>(begin));
        break;
      }
      case 1:  // one bit
        content[place()] ^= static_cast<std::byte>(1U << choices.take() % 8);
        break;
      case 2:  // sectors that were never written
        sectors(begin, size);
        fill_blank(whole.header.salt, begin, std::span(content).subspan(begin, size));
        break;
      case 3:  // or not lately
        sectors(begin, size);
        std::copy_n(whole.before.begin() + static_cast<std::ptrdiff_t>(begin), size,
                    content.begin() + static_cast<std::ptrdiff_t>(begin));
        break;
      case 4:  // that came from elsewhere
        sectors(begin, size);
        std::copy_n(
            whole.content.begin() + static_cast<std::ptrdiff_t>(place() / 2 / frame_alignment * frame_alignment),
            std::min(size, whole.content.size() / 2), content.begin() + static_cast<std::ptrdiff_t>(begin));
        break;
      case 5:  // that cannot be read
        file.unreadable.insert(place() / sector_bytes);
        break;
      case 6:  // the end of the file
        content.resize(std::min<std::size_t>(content.size(), place()));
        break;
      case 7:  // a frame that is genuine, and lies
      case 8: {
        begin = page_bytes + place() % (whole.content.size() - page_bytes) / frame_alignment * frame_alignment;
        FrameHead head{.kind = static_cast<FrameKind>(choices.take() % 14), .number = choices.take(what == 7 ? 1 : 4)};
        head.number &= max_frame_number;
        if (!is_record(head.kind)) head.next_record = choices.take(what == 7 ? 1 : 4);
        (void)put_frame(whole.header, content, begin, head, choices.take_bytes(choices.take() % 64));
        break;
      }
      default: break;
    }
  }
  return file;
}

/// One of the four kinds of segment, chosen by the first byte.
inline const WholeSegment& choose_segment(std::uint32_t choice) {
  static const std::array segments{make_segment(false, false), make_segment(false, true), make_segment(true, false),
                                   make_segment(true, true)};
  return segments[choice % segments.size()];
}

}  // namespace bus::detail
