// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What the plugins have in common: one type that lies in a payload itself, one that does not.
#pragma once

#include <bus/payload.hpp>

#include <cstring>
#include <string>

struct Stamp {
  std::uint64_t number = 0;
};

struct Letter {
  std::string text;
};

template <>
struct bus::Schema<Stamp> : bus::PlainSchema<Stamp> {
  static constexpr std::string_view name = "plugin.stamp";
  static constexpr std::uint32_t version = 1;
};

template <>
struct bus::Schema<Letter> {
  static constexpr std::string_view name = "plugin.letter";
  static constexpr std::uint32_t version = 1;
  static std::size_t size(const Letter& letter) noexcept { return letter.text.size(); }
  static void encode(const Letter& letter, std::span<std::byte> out) noexcept {
    std::memcpy(out.data(), letter.text.data(), out.size());
  }
  static bus::result<Letter> decode(std::span<const std::byte> in) {
    return Letter{std::string(reinterpret_cast<const char*>(in.data()), in.size())};
  }
};

// What each plugin shows: make in one, read in the other.
extern "C" {
[[gnu::visibility("default")]] void plugin_make(bus::Payload& stamp, bus::Payload& letter);
[[gnu::visibility("default")]] bool plugin_read(const bus::Payload& stamp, const bus::Payload& letter);
}
