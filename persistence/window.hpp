// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A file seen through a buffer that moves along it.
#pragma once

#include "persistence/block.hpp"

#include <bus/persistence/storage.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

namespace bus::detail {

/// Threads: one at a time. The file must outlive it.
class Window {
 public:
  /// Reads `chunk_bytes` at a time, or as much as is looked at. Of the references to the block that it looks through
  /// `own_references` are the caller's and its own; while there are more, it goes on in another one.
  explicit Window(File& file, std::size_t chunk_bytes = std::size_t{256} * 1024,
                  std::uint32_t own_references = 1) noexcept
      : file_(file), chunk_bytes_(chunk_bytes), own_references_(own_references) {}

  /// Returns: the bytes at `position`, fewer than asked for only where the file ends; valid until the next call.
  /// A sector that the file cannot read shows as zeros and is counted: it is damage like any other.
  /// Errors: throws std::bad_alloc.
  std::span<const std::byte> at(std::uint64_t position, std::size_t bytes) {
    const bool here = position >= begin_ && position - begin_ <= size_;
    if (!here || (size_ - (position - begin_) < bytes && !at_end_ && !extend(position, bytes))) load(position, bytes);
    const auto skipped = static_cast<std::size_t>(position - begin_);
    return {data_ + skipped, std::min(bytes, size_ - skipped)};
  }

  /// Bytes at and behind `end` are not read before they are asked for: they may change.
  void set_end(std::uint64_t end) noexcept { end_ = end; }

  /// The bytes that `at` returned last lie in this one.
  const BlockRef& block() const noexcept { return block_; }

  /// Sectors that could not be read, each as often as it was tried.
  std::uint64_t unreadable() const noexcept { return unreadable_; }

 private:
  void load(std::uint64_t position, std::size_t bytes);
  bool extend(std::uint64_t position, std::size_t bytes);
  std::size_t read(std::uint64_t position, std::span<std::byte> out) noexcept;
  std::size_t read_by_sectors(std::uint64_t position, std::span<std::byte> out) noexcept;

  File& file_;
  const std::size_t chunk_bytes_;
  const std::uint32_t own_references_;
  BlockRef block_;
  const std::byte* data_ = nullptr;
  std::uint64_t begin_ = 0;  // of what the block holds
  std::size_t size_ = 0;
  bool at_end_ = false;      // nothing comes behind it
  std::uint64_t end_ = ~std::uint64_t{0};
  std::uint64_t unreadable_ = 0;
};

}  // namespace bus::detail
