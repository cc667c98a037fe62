// SPDX-License-Identifier: MIT OR Apache-2.0
#include "persistence/frame_scanner.hpp"

#include <algorithm>
#include <cstring>

namespace bus::detail {

/// Whether there is a head that proves itself at `position`, seen from where the scanner is.
std::optional<FrameHead> FrameScanner::genuine_head(std::uint64_t position) {
  if (limit_ - position < head_bytes) return std::nullopt;
  const auto bytes = window_.at(position, head_bytes);
  if (bytes.size() < head_bytes) return std::nullopt;
  const auto head = decode_head(bytes.first<head_bytes>(), salt_, position, limit_);
  if (!head) return std::nullopt;
  // What is missing in front of it was there, 24 bytes each at least.
  const std::uint64_t most = (position - position_) / head_bytes;
  const auto fits = [](std::uint32_t number, std::uint32_t next, std::uint64_t missing) {
    return number >= next && number - next <= missing;
  };
  const bool plausible = is_record(head->kind) ? fits(head->number, next_record_, most)
                                               : fits(head->number, next_control_, most + missing_controls_) &&
                                                     fits(head->next_record, next_record_, most);
  return plausible ? head : std::nullopt;
}

std::optional<std::span<const std::byte>> FrameScanner::whole_body(std::uint64_t position, const FrameHead& head) {
  const auto frame = window_.at(position, head_bytes + head.body_bytes);
  if (frame.size() < head_bytes + head.body_bytes) return std::nullopt;
  const auto body = frame.subspan(head_bytes);
  if (salted(crc32c(body), salt_) != head.body_check) return std::nullopt;
  return body;
}

/// The first place at or behind `from` where a genuine head stands.
std::optional<std::uint64_t> FrameScanner::search(std::uint64_t from) {
  for (std::uint64_t at = from; at < limit_; at += frame_alignment) {
    if (genuine_head(at)) return at;
  }
  return std::nullopt;
}

void FrameScanner::pass(const FrameHead& head) noexcept {
  if (is_record(head.kind)) {
    next_record_ = head.number + 1;
  } else {
    next_record_ = head.next_record;
    next_control_ = head.number + 1;
    missing_controls_ = 0;
  }
}

FrameScanner::Found FrameScanner::next() {
  auto head = genuine_head(position_);
  if (head) {
    if (const auto body = whole_body(position_, *head)) {
      frame_ = {position_, *head, *body};
      position_ = frame_.end();
      pass(*head);
      return Found::frame;
    }
  }
  // Over damaged frames whose heads are whole, and to the next head where one is not.
  damage_ = {.begin = position_, .end = position_, .first_record = next_record_, .first_control = next_control_};
  for (;;) {
    if (head) {
      if (head->kind == FrameKind::mark && damage_.first_mark == 0) damage_.first_mark = position_;
      pass(*head);
      position_ += head->frame_bytes();
    } else {
      const auto found = search(position_ + frame_alignment);
      if (!found) break;
      head = genuine_head(*found);
      missing_controls_ += (*found - position_) / head_bytes;
      position_ = *found;
      next_record_ = is_record(head->kind) ? head->number : head->next_record;
    }
    damage_.end = position_;
    head = genuine_head(position_);
    if (head && whole_body(position_, *head)) break;
  }
  if (damage_.end == damage_.begin) return Found::end;
  damage_.records = next_record_ - damage_.first_record;
  return Found::damage;
}

bool unwritten_at(Window& window, const SegmentHeader& header, std::uint64_t position, std::uint64_t end) {
  if (position >= end || end - position < frame_alignment) return false;
  const auto bytes = window.at(position, static_cast<std::size_t>(std::min<std::uint64_t>(head_bytes, end - position)));
  if (bytes.size() < frame_alignment) return false;
  if (is_blank(header.salt, position, bytes.first(frame_alignment))) return true;
  return header.previous_salt != 0 && bytes.size() == head_bytes &&
         decode_head(bytes.first<head_bytes>(), header.previous_salt, position, second_header(header.capacity));
}

bool holds_unwritten(Window& window, const SegmentHeader& header, std::uint64_t begin, std::uint64_t end) {
  for (std::uint64_t at = padded(begin); at < end; at += frame_alignment) {
    if (unwritten_at(window, header, at, end)) return true;
  }
  return false;
}

}  // namespace bus::detail
