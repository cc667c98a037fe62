// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Integers and texts as they stand on disk.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstring>
#include <span>
#include <string_view>

namespace bus::detail {

template <std::integral T>
T to_little(T value) noexcept {
  if constexpr (std::endian::native == std::endian::little || sizeof(T) == 1) {
    return value;
  } else {
    auto bytes = std::bit_cast<std::array<std::byte, sizeof(T)>>(value);
    std::ranges::reverse(bytes);
    return std::bit_cast<T>(bytes);
  }
}

/// Writes one value behind the other; the caller has made room.
class Writer {
 public:
  explicit Writer(std::byte* out) noexcept : out_(out) {}

  template <std::integral T>
  Writer& put(T value) noexcept {
    value = to_little(value);
    std::memcpy(out_, &value, sizeof value);
    out_ += sizeof value;
    return *this;
  }
  Writer& put(std::span<const std::byte> bytes) noexcept {
    if (!bytes.empty()) std::memcpy(out_, bytes.data(), bytes.size());
    out_ += bytes.size();
    return *this;
  }
  Writer& zeros(std::size_t count) noexcept {
    std::memset(out_, 0, count);
    out_ += count;
    return *this;
  }
  std::byte* at() const noexcept { return out_; }

 private:
  std::byte* out_;
};

/// Takes values off the front; the caller has looked at the length.
template <std::integral T>
T take(std::span<const std::byte>& in) noexcept {
  T value;
  std::memcpy(&value, in.data(), sizeof value);
  in = in.subspan(sizeof value);
  return to_little(value);
}

template <std::integral T>
T read_at_byte(std::span<const std::byte> in, std::size_t at) noexcept {
  in = in.subspan(at);
  return take<T>(in);
}

inline std::span<const std::byte> bytes_of(std::string_view text) noexcept { return std::as_bytes(std::span(text)); }
inline std::string_view text_of(std::span<const std::byte> bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace bus::detail
