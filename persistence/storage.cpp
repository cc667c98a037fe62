// SPDX-License-Identifier: MIT OR Apache-2.0
#include <bus/persistence/storage.hpp>

#include <array>

namespace bus {

result<std::size_t> read_at(File& file, std::uint64_t position, std::span<std::byte> out) noexcept {
  std::size_t done = 0;
  while (done < out.size()) {
    const auto got = file.read(position + done, out.subspan(done));
    if (got.has_error()) return got.error();
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
  std::size_t next = 0;  // the first part that is not written whole
  std::size_t done = 0;  // bytes of it that are
  for (;;) {
    std::size_t count = 0;
    std::size_t skip = done;
    for (std::size_t i = next; i < parts.size() && count < group.size(); ++i) {
      if (const auto rest = parts[i].subspan(skip); !rest.empty()) group[count++] = rest;
      skip = 0;
    }
    if (count == 0) return {};
    const auto written = file.write(position, std::span(group).first(count));
    if (written.has_error()) return written.error();
    if (*written == 0) return {boost::system::errc::io_error, boost::system::system_category()};
    position += *written;
    done += *written;
    while (next < parts.size() && done >= parts[next].size()) done -= parts[next++].size();
  }
}

}  // namespace bus
