// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <bus/detail/sync.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <string_view>
#include <type_traits>

namespace bus::detail {

/// Immutable text of `Size` bytes: up to `Size - 1` characters in place, longer ones in one shared block.
///
/// Copying text in place is a copy of `Size` bytes; copying longer text is one atomic increment. Topics and
/// principals travel by value with each event, so the common short ones must not share a counter: four
/// publishers incrementing the count of one topic would wait for each other's cache line.
///
/// Threads: distinct objects may be used at the same time, whether or not they share a block.
template <std::size_t Size>
class Text {
 public:
  static constexpr std::size_t in_place_bytes = Size - 1;

  constexpr Text() noexcept = default;

  /// Cost: allocates when `text` is longer than `in_place_bytes`. Throws std::bad_alloc only.
  constexpr explicit Text(std::string_view text) {
    if (text.size() <= in_place_bytes) {
      for (std::size_t i = 0; i < text.size(); ++i) data_[i] = text[i];
      data_[Size - 1] = static_cast<char>(text.size());
    } else {
      share(text);
    }
  }

  constexpr Text(const Text& other) noexcept { copy(other); }

  constexpr Text(Text&& other) noexcept {
    copy_bytes(other);
    other.data_[Size - 1] = 0;
  }

  constexpr Text& operator=(const Text& other) noexcept {
    if (this != &other) {
      drop();
      copy(other);
    }
    return *this;
  }

  constexpr Text& operator=(Text&& other) noexcept {
    if (this != &other) {
      drop();
      copy_bytes(other);
      other.data_[Size - 1] = 0;
    }
    return *this;
  }

  constexpr ~Text() { drop(); }

  constexpr std::string_view view() const noexcept {
    if (!is_shared()) return {data_, static_cast<unsigned char>(data_[Size - 1])};
    const Block* block = this->block();
    return {block->chars(), block->size};
  }

  constexpr bool empty() const noexcept { return data_[Size - 1] == 0; }

  /// Whether the characters lie in a counted block.
  constexpr bool is_shared() const noexcept { return data_[Size - 1] == shared_mark; }

 private:
  static constexpr char shared_mark = static_cast<char>(0xFF);
  static_assert(Size >= 2 * sizeof(void*) && Size < 0xFF);

  struct Block {
    explicit Block(std::size_t bytes) noexcept : size(bytes) {}
    const char* chars() const noexcept { return reinterpret_cast<const char*>(this + 1); }
    char* chars() noexcept { return reinterpret_cast<char*>(this + 1); }
    sync::atomic<std::uint32_t> references{1};
    std::size_t size;
  };

  Block* block() const noexcept {
    Block* block;
    std::memcpy(&block, data_, sizeof block);
    return block;
  }

  void share(std::string_view text) {
    auto* block = new (::operator new(sizeof(Block) + text.size())) Block(text.size());
    std::memcpy(block->chars(), text.data(), text.size());
    std::memcpy(data_, &block, sizeof block);
    data_[Size - 1] = shared_mark;
  }

  constexpr void copy_bytes(const Text& other) noexcept {
    if (std::is_constant_evaluated()) {
      for (std::size_t i = 0; i < Size; ++i) data_[i] = other.data_[i];
    } else {
      std::memcpy(data_, other.data_, Size);
    }
  }

  constexpr void copy(const Text& other) noexcept {
    copy_bytes(other);
    if (is_shared()) block()->references.fetch_add(1, sync::relaxed);
  }

  constexpr void drop() noexcept {
    if (is_shared()) release();
  }

  // sync TEXT-DROP: acq_rel; pairs with itself: the last holder sees what all others did before.
  void release() noexcept {
    Block* block = this->block();
    if (block->references.fetch_sub(1, sync::acq_rel) == 1) {
      block->~Block();
      ::operator delete(block);
    }
  }

  alignas(void*) char data_[Size] = {};
};

}  // namespace bus::detail
