// SPDX-License-Identifier: MIT OR Apache-2.0
#include "persistence/window.hpp"

#include "persistence/format.hpp"

#include <boost/system/errc.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <vector>

namespace bus::detail {
namespace {

/// Bytes that say where they are, some sectors of which cannot be read.
class NumberedFile final : public File {
 public:
  result<std::size_t> read(std::uint64_t position, std::span<std::byte> out) noexcept override {
    const std::uint64_t end = std::min<std::uint64_t>(position + out.size(), bytes);
    for (const std::uint64_t sector : bad) {
      if (position < (sector + 1) * sector_bytes && end > sector * sector_bytes) {
        return error_code(boost::system::errc::io_error, boost::system::system_category());
      }
    }
    for (std::uint64_t at = position; at < end; ++at) out[static_cast<std::size_t>(at - position)] = byte(at);
    const auto got = static_cast<std::size_t>(end > position ? end - position : 0);
    bytes_read += got;
    return got;
  }
  result<std::size_t> write(std::uint64_t, std::span<const std::span<const std::byte>>) noexcept override { return 0; }
  error_code sync() noexcept override { return {}; }
  result<std::uint64_t> size() noexcept override { return bytes; }
  error_code resize(std::uint64_t) noexcept override { return {}; }
  error_code reserve(std::uint64_t) noexcept override { return {}; }

  static std::byte byte(std::uint64_t at) noexcept { return static_cast<std::byte>(1 + at % 251); }

  std::uint64_t bytes = 1 << 20;
  std::set<std::uint64_t> bad;
  std::uint64_t bytes_read = 0;
};

/// Whether the window shows what is in the file, and zeros where it cannot be read.
void expect_right(Window& window, const NumberedFile& file, std::uint64_t position, std::size_t size) {
  const auto bytes = window.at(position, size);
  ASSERT_EQ(bytes.size(), size);
  for (std::size_t i = 0; i < size; ++i) {
    const bool bad = file.bad.contains((position + i) / sector_bytes);
    ASSERT_EQ(bytes[i], bad ? std::byte{0} : NumberedFile::byte(position + i)) << position + i;
  }
}

TEST(Windows, read_on_where_the_file_grows_and_nothing_twice) {
  NumberedFile file;
  Window window(file, 64 << 10);
  std::uint64_t at = 5000;
  for (int i = 0; i < 100; ++i) {
    window.set_end(at + 300);
    expect_right(window, file, at, 100);
    expect_right(window, file, at + 100, 200);
    at += 300;
  }
  EXPECT_LE(file.bytes_read, at - 5000 + sector_bytes);
}

TEST(Windows, leave_alone_what_views_refer_to) {
  NumberedFile file;
  Window window(file, 64 << 10);
  window.set_end(1000);
  const auto early = window.at(0, 1000);
  const BlockRef held = window.block();
  window.set_end(200'000);
  expect_right(window, file, 1000, 50'000);
  EXPECT_EQ(window.block(), held) << "there was room in it";
  expect_right(window, file, 60'000, 50'000);
  EXPECT_NE(window.block(), held);
  for (std::size_t i = 0; i < early.size(); ++i) ASSERT_EQ(early[i], NumberedFile::byte(i));
}

TEST(Windows, LOG_3_lose_to_a_bad_sector_no_byte_beside_it) {
  for (const std::uint64_t begin : {0U, 100U, 511U, 1000U}) {
    NumberedFile file;
    file.bad = {3, 4, 9};
    Window window(file, 64 << 10);
    window.set_end(begin + 700);
    expect_right(window, file, begin, 700);
    window.set_end(begin + 10'000);  // goes on in the middle of a sector
    expect_right(window, file, begin + 700, 9000);
    EXPECT_GT(window.unreadable(), 0U);
  }
}

TEST(Windows, end_where_the_file_does) {
  NumberedFile file;
  file.bytes = 1000;
  Window window(file);
  EXPECT_EQ(window.at(900, 300).size(), 100U);
  EXPECT_EQ(window.at(1200, 10).size(), 0U);
}

}  // namespace
}  // namespace bus::detail
