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
  const auto ahead = static_cast<std::size_t>(std::min<std::uint64_t>(chunk_bytes_, end_ > begin ? end_ - begin : 0));
  const std::size_t wanted = std::max(lead + bytes, ahead);
  size_ = 0;
  if (block_ == nullptr || wanted > block_->room() || !block_->is_held_by(own_references_)) {
    block_ = BlockRef(new Block(std::max(wanted, chunk_bytes_)));
    data_ = block_->data();
  }
  begin_ = begin;
  size_ = read(begin, {block_->data(), wanted});
  at_end_ = size_ < wanted;
  if (size_ < lead) {  // looked at behind the end
    begin_ = position;
    size_ = 0;
  }
}

/// Reads on into what is left of the block: nobody looks at that yet. Returns: false if there is too little.
bool Window::extend(std::uint64_t position, std::size_t bytes) {
  const auto wanted = static_cast<std::size_t>(position - begin_) + bytes;
  if (block_ == nullptr || wanted > block_->room()) return false;
  const auto ahead =
      static_cast<std::size_t>(std::min<std::uint64_t>(block_->room(), end_ > begin_ ? end_ - begin_ : 0));
  const std::size_t more = std::max(wanted, ahead) - size_;
  const std::size_t got = read(begin_ + size_, {block_->data() + size_, more});
  at_end_ = got < more;
  size_ += got;
  return true;
}

std::size_t Window::read(std::uint64_t position, std::span<std::byte> out) noexcept {
  const auto got = read_at(file_, position, out);
  return got ? *got : read_by_sectors(position, out);
}

std::size_t Window::read_by_sectors(std::uint64_t position, std::span<std::byte> out) noexcept {
  const auto file_bytes = file_.size();
  const std::uint64_t end = file_bytes ? *file_bytes : position + out.size();
  std::size_t done = 0;
  while (done < out.size() && position + done < end) {
    const auto to_border = static_cast<std::size_t>(sector_bytes - (position + done) % sector_bytes);
    const auto sector = out.subspan(done, std::min(to_border, out.size() - done));
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
