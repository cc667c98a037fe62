// SPDX-License-Identifier: MIT OR Apache-2.0
#include "persistence/window.hpp"

#include "persistence/format.hpp"

#include <algorithm>
#include <cstring>

namespace bus::detail {

/// From the sector that `position` is in, so that the reads of a walk along the file meet no sector twice.
void Window::load(std::uint64_t position, std::size_t bytes) {
  const std::uint64_t begin = position / sector_bytes * sector_bytes;
  const auto lead = static_cast<std::size_t>(position - begin);
  const std::size_t wanted = (std::max(lead + bytes, chunk_bytes_) + sector_bytes - 1) / sector_bytes * sector_bytes;
  size_ = 0;
  if (block_ == nullptr || wanted > block_->room() || !block_->is_held_by(own_references_)) {
    block_ = BlockRef(new Block(wanted));
    data_ = block_->data();
  }
  begin_ = begin;
  const std::span out(block_->data(), wanted);
  const auto got = read_at(file_, begin, out);
  size_ = got ? *got : read_by_sectors(begin, out);
  at_end_ = size_ < wanted;
  if (size_ < lead) {  // looked at behind the end
    begin_ = position;
    size_ = 0;
  }
}

std::size_t Window::read_by_sectors(std::uint64_t position, std::span<std::byte> out) noexcept {
  const auto file_bytes = file_.size();
  const std::uint64_t end = file_bytes ? *file_bytes : position + out.size();
  std::size_t done = 0;
  while (done < out.size() && position + done < end) {
    const auto sector = out.subspan(done, std::min<std::size_t>(sector_bytes, out.size() - done));
    const auto bytes = static_cast<std::size_t>(std::min<std::uint64_t>(sector.size(), end - position - done));
    const auto got = read_at(file_, position + done, sector.first(bytes));
    if (!got || *got < bytes) {
      std::memset(sector.data(), 0, bytes);
      ++unreadable_;
    }
    done += bytes;
  }
  return done;
}

}  // namespace bus::detail
