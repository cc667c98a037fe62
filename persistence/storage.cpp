// SPDX-License-Identifier: MIT OR Apache-2.0
#include <bus/persistence/storage.hpp>

#include <algorithm>
#include <array>

namespace bus {

result<std::size_t> read_at(File& file, std::uint64_t position, std::span<std::byte> out) noexcept {
  std::size_t done = 0;
  while (done < out.size()) {
    const auto got = file.read(position + done, out.subspan(done));
    if (!got) return got.error();
    if (*got == 0) break;
    done += *got;
  }
  return done;
}

error_code write_at(File& file, std::uint64_t position, std::span<const std::byte> bytes) noexcept {
  return write_at(file, position, std::span(&bytes, 1));
}

error_code write_at(File& file, std::uint64_t position, std::span<const std::span<const std::byte>> parts) noexcept {
  std::array<std::span<const std::byte>, File::max_parts> group;
  while (!parts.empty()) {
    auto left = std::span(group).first(std::min(parts.size(), group.size()));
    std::ranges::copy(parts.first(left.size()), left.begin());
    parts = parts.subspan(left.size());
    for (;;) {
      while (!left.empty() && left.front().empty()) left = left.subspan(1);
      if (left.empty()) break;
      const auto written = file.write(position, left);
      if (!written) return written.error();
      if (*written == 0) return make_error_code(boost::system::errc::io_error);
      position += *written;
      for (std::size_t done = *written; done != 0;) {
        const std::size_t of_part = std::min(done, left.front().size());
        left.front() = left.front().subspan(of_part);
        done -= of_part;
        while (!left.empty() && left.front().empty()) left = left.subspan(1);
      }
    }
  }
  return {};
}

}  // namespace bus
