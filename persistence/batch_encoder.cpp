// SPDX-License-Identifier: MIT OR Apache-2.0
#include "persistence/batch_encoder.hpp"

#include <algorithm>
#include <cstring>

namespace bus::detail {

void BatchEncoder::begin(const SegmentHeader& header, const WritePlace& place) {
  header_ = header;
  first_ = place_ = place;
  bytes_.clear();
  bytes_.resize(head_bytes + mark_bytes);  // the mark is written last
  place_.position += bytes_.size();
  ++place_.next_control;
}

void BatchEncoder::seal_frame(FrameHead head, std::span<std::byte> frame, std::uint64_t position) noexcept {
  const auto body = frame.subspan(head_bytes, head.body_bytes);
  head.body_check = salted(crc32c(body), header_.salt);
  encode_head(head, header_.salt, position, frame.first<head_bytes>());
}

void BatchEncoder::add(const Record& record) {
  const auto frame = room_for(record.body.size());
  if (!record.body.empty()) std::memcpy(frame.data() + head_bytes, record.body.data(), record.body.size());
  encode_head({.kind = record.tagged ? FrameKind::tagged_record : FrameKind::record,
               .number = place_.next_record,
               .body_bytes = static_cast<std::uint32_t>(record.body.size()),
               .body_check = salted(record.body_crc, header_.salt),
               .time = frame_time(header_, record.wall_ns),
               .topic = record.topic,
               .principal = record.principal},
              header_.salt, place_.position, frame.first<head_bytes>());
  place_.position += frame.size();
  ++place_.next_record;
}

void BatchEncoder::add(std::uint16_t topic, std::uint16_t principal, std::int64_t wall_ns, const RecordFields& fields,
                       std::span<const std::byte> payload) {
  const std::size_t bytes = fields_bytes(fields);
  const auto frame = room_for(bytes + payload.size());
  encode_fields(fields, frame.subspan(head_bytes, bytes));
  std::ranges::copy(payload, frame.begin() + static_cast<std::ptrdiff_t>(head_bytes + bytes));
  seal_frame({.kind = bytes != 0 ? FrameKind::tagged_record : FrameKind::record,
              .number = place_.next_record,
              .body_bytes = static_cast<std::uint32_t>(bytes + payload.size()),
              .time = frame_time(header_, wall_ns),
              .topic = topic,
              .principal = principal},
             frame, place_.position);
  place_.position += frame.size();
  ++place_.next_record;
}

/// At the end of the batch, for a frame with so long a body; its padding is zeros.
std::span<std::byte> BatchEncoder::room_for(std::size_t body_bytes) {
  const std::size_t at = bytes_.size();
  bytes_.resize(at + head_bytes + padded(body_bytes));
  return std::span(bytes_).subspan(at);
}

void BatchEncoder::add(FrameKind kind, std::span<const std::byte> body) {
  const auto frame = room_for(body.size());
  std::ranges::copy(body, frame.begin() + head_bytes);
  seal_frame({.kind = kind,
              .number = place_.next_control,
              .body_bytes = static_cast<std::uint32_t>(body.size()),
              .time = unknown_time,
              .next_record = place_.next_record},
             frame, place_.position);
  place_.position += frame.size();
  ++place_.next_control;
}

std::span<const std::byte> BatchEncoder::finish(std::uint64_t proven, std::int64_t wall_ns) {
  bytes_.resize(bytes_.size() + frame_alignment);
  const auto all = std::span(bytes_);
  fill_blank(header_.salt, place_.position, all.last(frame_alignment));
  const auto frame = all.first(head_bytes + mark_bytes);
  encode_mark({.proven = proven,
               .batch_bytes = bytes(),
               .records = place_.next_record - first_.next_record,
               .controls = place_.next_control - first_.next_control,
               .written_ns = wall_ns},
              frame.subspan<head_bytes, mark_bytes>());
  seal_frame({.kind = FrameKind::mark,
              .number = first_.next_control,
              .body_bytes = mark_bytes,
              .time = frame_time(header_, wall_ns),
              .next_record = first_.next_record},
             frame, first_.position);
  return all;
}

}  // namespace bus::detail
