// SPDX-License-Identifier: MIT OR Apache-2.0
#include "persistence/record_body.hpp"

#include "persistence/nanoseconds.hpp"

#include <bus/limits.hpp>

#include <lz4.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <new>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace bus::detail {
namespace {

std::optional<std::int64_t> nanoseconds(const std::optional<std::chrono::system_clock::time_point>& time) noexcept {
  return time ? std::optional(in_ns(*time)) : std::nullopt;
}

}  // namespace

error_code RecordBody::prepare(const Record& record, std::size_t compress_from_bytes,
                               const std::optional<Settles>& settles) noexcept try {
  if (record.topic.empty()) return errc::topic_invalid;
  if (record.key.size() > limits::max_key_bytes) return errc::key_too_long;
  if (record.schema.size() > limits::max_name_bytes || record.source.size() > limits::max_name_bytes) {
    return errc::name_invalid;
  }
  if (record.payload.size() >= std::numeric_limits<std::uint32_t>::max() / 2) return errc::payload_too_large;
  fields_ = {.time_ns = nanoseconds(record.time),
             .source = record.source,
             .correlation = record.correlation,
             .trace = record.trace,
             .terminal = record.terminal,
             .key = record.key,
             .priority = record.priority,
             .due_ns = nanoseconds(record.due),
             .expiry_ns = nanoseconds(record.expiry),
             .message_id = record.message_id,
             .producer = record.producer,
             .settles = settles,
             .new_headers = record.headers};
  const bool named = std::ranges::all_of(record.headers, [](const Header& header) {
    return !header.name.empty() && std::max(header.name.size(), header.value.size()) <= 0xFFFF;
  });
  if (!named || !fields_fit(fields_)) return errc::name_invalid;
  payload_ = record.payload;
  if (compress_from_bytes != 0 && payload_.size() >= compress_from_bytes && compress(payload_)) {
    fields_.lz4_bytes = static_cast<std::uint32_t>(record.payload.size());
  }
  if (payload_.size() >= digest_from_bytes) fields_.digest = XXH3_64bits(payload_.data(), payload_.size());
  fields_bytes_ = fields_bytes(fields_);
  return {};
} catch (const std::bad_alloc&) {
  return errc::out_of_memory;
}

/// Returns: whether it has got shorter by more than what saying so costs.
bool RecordBody::compress(std::span<const std::byte> payload) {
  if (payload.size() > LZ4_MAX_INPUT_SIZE) return false;
  constexpr std::size_t cost_of_field = 16;
  if (payload.size() <= cost_of_field) return false;
  const std::size_t most = payload.size() - cost_of_field;
  compressed_ = std::make_unique_for_overwrite<std::byte[]>(most);
  const int size =
      LZ4_compress_default(reinterpret_cast<const char*>(payload.data()), reinterpret_cast<char*>(compressed_.get()),
                           static_cast<int>(payload.size()), static_cast<int>(most));
  if (size <= 0) return false;
  payload_ = {compressed_.get(), static_cast<std::size_t>(size)};
  return true;
}

std::uint32_t RecordBody::write(std::byte* out) const noexcept {
  const std::size_t size = bytes();
  encode_fields(fields_, {out, fields_bytes_});
  if (!payload_.empty()) std::memcpy(out + fields_bytes_, payload_.data(), payload_.size());
  if (padded(size) != size) std::memset(out + size, 0, padded(size) - size);
  return crc32c({out, size});
}

bool digest_holds(const RecordFields& fields, std::span<const std::byte> payload) noexcept {
  return !fields.digest || *fields.digest == XXH3_64bits(payload.data(), payload.size());
}

bool decompress(std::span<const std::byte> payload, std::span<std::byte> out) noexcept {
  if (payload.size() > LZ4_MAX_INPUT_SIZE || out.size() > LZ4_MAX_INPUT_SIZE) return false;
  const int size =
      LZ4_decompress_safe(reinterpret_cast<const char*>(payload.data()), reinterpret_cast<char*>(out.data()),
                          static_cast<int>(payload.size()), static_cast<int>(out.size()));
  return size >= 0 && static_cast<std::size_t>(size) == out.size();
}

}  // namespace bus::detail
