// SPDX-License-Identifier: MIT OR Apache-2.0
#include "bytes.hpp"

#include <cstdint>

namespace busbar {
namespace {

constexpr std::string_view base64_digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

unsigned char byte_at(std::string_view bytes, std::size_t i) noexcept { return static_cast<unsigned char>(bytes[i]); }

/// The bytes of the character that begins at `at`; 0 if none does.
std::size_t character_bytes(std::string_view bytes, std::size_t at) noexcept {
  const unsigned char first = byte_at(bytes, at);
  if (first < 0x80) return 1;
  const std::size_t count = first >= 0xC2 && first <= 0xDF   ? 2
                            : first >> 4 == 0xE              ? 3
                            : first >= 0xF0 && first <= 0xF4 ? 4
                                                             : 0;
  if (count == 0 || bytes.size() - at < count) return 0;
  for (std::size_t i = 1; i < count; ++i) {
    if (byte_at(bytes, at + i) >> 6 != 2) return 0;
  }
  const unsigned char second = byte_at(bytes, at + 1);
  const bool too_long = (first == 0xE0 && second < 0xA0) || (first == 0xF0 && second < 0x90);
  const bool surrogate = first == 0xED && second >= 0xA0;
  const bool too_high = first == 0xF4 && second >= 0x90;
  return too_long || surrogate || too_high ? 0 : count;
}

}  // namespace

bool is_utf8(std::string_view bytes) noexcept {
  for (std::size_t i = 0; i < bytes.size();) {
    const std::size_t count = character_bytes(bytes, i);
    if (count == 0) return false;
    i += count;
  }
  return true;
}

std::string to_base64(std::string_view bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t count = bytes.size() - i < 3 ? bytes.size() - i : 3;
    std::uint32_t word = 0;
    for (std::size_t j = 0; j < 3; ++j) word = word << 8 | (j < count ? byte_at(bytes, i + j) : 0U);
    for (std::size_t j = 0; j < 4; ++j) text += j <= count ? base64_digits[word >> (18 - 6 * j) & 63] : '=';
  }
  return text;
}

std::optional<std::string> from_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3);
  std::uint32_t word = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::size_t digit = i + padding < text.size() ? base64_digits.find(text[i]) : 0;
    if (digit == std::string_view::npos) return std::nullopt;
    word = word << 6 | static_cast<std::uint32_t>(digit);
    if (i % 4 != 3) continue;
    for (const int shift : {16, 8, 0}) bytes += static_cast<char>(word >> shift & 0xFF);
  }
  bytes.resize(bytes.size() - padding);
  return bytes;
}

std::string printable(std::string_view bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (std::size_t i = 0; i < bytes.size();) {
    const std::size_t count = character_bytes(bytes, i);
    const unsigned char first = byte_at(bytes, i);
    const bool is_control =
        first < 0x20 || first == 0x7F || (count == 2 && first == 0xC2 && byte_at(bytes, i + 1) < 0xA0);
    if (count != 0 && !is_control) {
      text += bytes.substr(i, count);
      i += count;
      continue;
    }
    for (const std::size_t end = i + (count == 0 ? 1 : count); i < end; ++i) {
      text += "\\x";
      text += digits[byte_at(bytes, i) >> 4];
      text += digits[byte_at(bytes, i) & 15];
    }
  }
  return text;
}

}  // namespace busbar
