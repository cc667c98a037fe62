// SPDX-License-Identifier: MIT OR Apache-2.0
//
// How a program makes one of its types travel on the bus.
//
//   struct Thought { std::string text; double confidence; };
//
//   template <>
//   struct bus::Schema<Thought> {
//     static constexpr std::string_view name = "agent.thought";   // stable, yours
//     static constexpr std::uint32_t version = 1;                 // raised when the bytes change
//     static std::size_t size(const Thought&);                    // bytes that encode() will write; asked once
//     static void encode(const Thought&, std::span<std::byte>);   // into exactly size() bytes
//     static bus::result<Thought> decode(std::span<const std::byte>);
//   };
//
// In the process the object itself travels, shared and immutable; it is encoded only when it leaves
// (to a log, a bridge, a tool). A type is known by its schema's name and version, checked with size and
// alignment, and never by its C++ type: the same type built into two shared libraries is one type.
#pragma once

#include <bus/error.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <type_traits>

namespace bus {

/// Specialise it for each type that travels. The primary template is not defined.
template <class T>
struct Schema;

/// A type for which a program has declared a schema.
template <class T>
concept HasSchema =
    std::is_object_v<T> && requires(const T& value, std::span<std::byte> out, std::span<const std::byte> in) {
      { Schema<T>::name } -> std::convertible_to<std::string_view>;
      { Schema<T>::version } -> std::convertible_to<std::uint32_t>;
      { Schema<T>::size(value) } -> std::same_as<std::size_t>;
      { Schema<T>::encode(value, out) } -> std::same_as<void>;
      { Schema<T>::decode(in) } -> std::same_as<result<T>>;
    };

/// The functions of a schema for a type whose bytes are its value: derive from it and add name and version.
/// The encoding is the object as it lies in memory, padding included: it does not travel between byte orders, and a
/// type with padding should fill it, or name it.
template <class T>
  requires std::is_trivially_copyable_v<T>
struct PlainSchema {
  /// What `Schema` asks for.
  /// @{
  static std::size_t size(const T&) noexcept { return sizeof(T); }
  static void encode(const T& value, std::span<std::byte> out) noexcept {
    std::memcpy(out.data(), std::addressof(value), sizeof(T));
  }
  static result<T> decode(std::span<const std::byte> in) noexcept {
    if (in.size() != sizeof(T)) return make_error_code(errc::decode_failed);
    std::array<std::byte, sizeof(T)> bytes;
    std::copy(in.begin(), in.end(), bytes.begin());
    return std::bit_cast<T>(bytes);
  }
  /// @}
};

/// What a payload knows of the type of the object in it.
struct SchemaInfo {
  std::string_view name;
  std::uint32_t version;
  std::size_t object_size;
  std::size_t object_align;
  void (*encode)(const void* object, std::span<std::byte> out);

  /// Whether an object of one can be read as one of the other.
  bool same_as(const SchemaInfo& other) const noexcept {
    return this == &other || (version == other.version && object_size == other.object_size &&
                              object_align == other.object_align && name == other.name);
  }
};

/// The one description of T in this library or program.
template <HasSchema T>
inline constexpr SchemaInfo schema_info{
    Schema<T>::name,
    Schema<T>::version,
    sizeof(T),
    alignof(T),
    [](const void* object, std::span<std::byte> out) { Schema<T>::encode(*static_cast<const T*>(object), out); },
};

}  // namespace bus
