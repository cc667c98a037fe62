// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A record's body on its way into the log and out of it: made by the appender, so that whoever commits only copies it.
#pragma once

#include "persistence/format.hpp"

#include <bus/persistence/record.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

namespace bus::detail {

/// From so many bytes on a stored payload has a second check.
inline constexpr std::size_t digest_from_bytes = 64 * 1024;

/// One record's body, measured, and to be written where there is room for it.
/// Lifetime: refers to the record, which must stay.
class RecordBody {
 public:
  /// Errors: topic_invalid, key_too_long, name_invalid, payload_too_large (4 GiB); out_of_memory, for compression.
  error_code prepare(const Record& record, std::size_t compress_from_bytes,
                     const std::optional<Settles>& settles = {}) noexcept;

  std::size_t bytes() const noexcept { return fields_bytes_ + payload_.size(); }
  bool tagged() const noexcept { return fields_bytes_ != 0; }

  /// Writes it, and zeros up to the next multiple of eight. Returns: its CRC-32C.
  std::uint32_t write(std::byte* out) const noexcept;

 private:
  bool compress(std::span<const std::byte> payload);

  RecordFields fields_;
  std::size_t fields_bytes_ = 0;
  std::span<const std::byte> payload_;
  std::unique_ptr<std::byte[]> compressed_;
};

/// Whether the payload of a record that says so is what was stored. Costs a read of it.
bool digest_holds(const RecordFields& fields, std::span<const std::byte> payload) noexcept;

/// Undoes the compression. Returns: whether it could; `out` is as long as the record says.
bool decompress(std::span<const std::byte> payload, std::span<std::byte> out) noexcept;

}  // namespace bus::detail
