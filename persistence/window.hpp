// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A file seen through a buffer that moves along it.
#pragma once

#include <bus/persistence/storage.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace bus::detail {

/// Threads: one at a time. The file must outlive it.
class Window {
 public:
  /// Reads `chunk_bytes` at a time, or as much as is looked at.
  explicit Window(File& file, std::size_t chunk_bytes = std::size_t{256} * 1024) noexcept
      : file_(file), chunk_bytes_(chunk_bytes) {}

  /// Returns: the bytes at `position`, fewer than asked for only where the file ends; valid until the next call.
  /// A sector that the file cannot read shows as zeros and is counted: it is damage like any other.
  /// Errors: throws std::bad_alloc.
  std::span<const std::byte> at(std::uint64_t position, std::size_t bytes);

  /// The file may have changed.
  void forget() noexcept {
    size_ = 0;
    at_end_ = false;
  }

  /// Sectors that could not be read, each as often as it was tried.
  std::uint64_t unreadable() const noexcept { return unreadable_; }

 private:
  void load(std::uint64_t position, std::size_t bytes);
  std::size_t read_by_sectors(std::uint64_t position, std::span<std::byte> out) noexcept;

  File& file_;
  const std::size_t chunk_bytes_;
  std::unique_ptr<std::byte[]> buffer_;
  std::size_t room_ = 0;
  std::uint64_t begin_ = 0;  // of what the buffer holds
  std::size_t size_ = 0;
  bool at_end_ = false;      // nothing comes behind it
  std::uint64_t unreadable_ = 0;
};

}  // namespace bus::detail
