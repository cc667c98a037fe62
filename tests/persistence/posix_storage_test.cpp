// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The operating system's files, as a log uses them.
#include <bus/persistence/storage.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bus {
namespace {

namespace sys = boost::system::errc;

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

class PosixStorage : public testing::Test {
 protected:
  PosixStorage() {
    std::string pattern = (std::filesystem::temp_directory_path() / "busbar-XXXXXX").string();
    path = ::mkdtemp(pattern.data());
    storage = open_directory(path).value();
  }
  ~PosixStorage() override { std::filesystem::remove_all(path); }

  std::unique_ptr<File> create(std::string_view name) { return storage->open(name, Storage::Open::create).value(); }
  static std::string content(File& file) {
    std::string text(file.size().value(), '\0');
    EXPECT_EQ(read_at(file, 0, std::as_writable_bytes(std::span(text))).value(), text.size());
    return text;
  }

  std::filesystem::path path;
  std::unique_ptr<Storage> storage;
};

TEST_F(PosixStorage, reads_what_was_written) {
  const auto file = create("a");
  ASSERT_FALSE(write_at(*file, 3, bytes_of("defg")));
  ASSERT_FALSE(write_at(*file, 0, bytes_of("abc")));
  EXPECT_FALSE(file->sync());
  EXPECT_EQ(content(*file), "abcdefg");
  std::array<std::byte, 10> out;
  EXPECT_EQ(read_at(*file, 4, out).value(), 3U) << "the rest";
  EXPECT_EQ(read_at(*file, 7, out).value(), 0U) << "the end";
  EXPECT_EQ(read_at(*file, 100, out).value(), 0U);
}

TEST_F(PosixStorage, writes_any_number_of_parts_and_empty_ones) {
  const auto file = create("a");
  std::vector<std::string> texts;
  std::vector<std::span<const std::byte>> parts;
  std::string all;
  for (std::size_t i = 0; i < 3 * File::max_parts + 1; ++i) texts.emplace_back(i % 4, static_cast<char>('a' + i % 26));
  for (const std::string& text : texts) {
    parts.push_back(bytes_of(text));
    all += text;
  }
  ASSERT_FALSE(write_at(*file, 0, parts));
  EXPECT_EQ(content(*file), all);
  EXPECT_FALSE(write_at(*file, 0, std::span<const std::span<const std::byte>>()));
}

TEST_F(PosixStorage, cuts_and_lengthens) {
  const auto file = create("a");
  ASSERT_FALSE(write_at(*file, 0, bytes_of("abc")));
  ASSERT_FALSE(file->resize(2));
  ASSERT_FALSE(file->resize(4));
  EXPECT_EQ(content(*file), std::string("ab\0\0", 4));
  ASSERT_FALSE(file->reserve(1 << 20));
  EXPECT_EQ(file->size().value(), 4U);
}

TEST_F(PosixStorage, lists_files_and_nothing_else) {
  create("a");
  create("b");
  std::filesystem::create_directory(path / "folder");
  std::filesystem::create_symlink("a", path / "link");
  auto names = storage->list().value();
  std::ranges::sort(names);
  EXPECT_EQ(names, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(storage->list().value().size(), 2U) << "again, from the beginning";
}

TEST_F(PosixStorage, renames_and_removes) {
  ASSERT_FALSE(write_at(*create("a"), 0, bytes_of("a")));
  const auto replaced = create("b");
  ASSERT_FALSE(storage->rename("a", "b"));
  EXPECT_EQ(content(*storage->open("b", Storage::Open::existing_to_read).value()), "a");
  EXPECT_EQ(storage->rename("a", "c"), sys::no_such_file_or_directory);
  ASSERT_FALSE(storage->remove("b"));
  EXPECT_EQ(storage->remove("b"), sys::no_such_file_or_directory);
  EXPECT_FALSE(storage->sync_names());
  EXPECT_TRUE(storage->list().value().empty());
}

TEST_F(PosixStorage, opens_what_is_there_and_creates_what_is_not) {
  EXPECT_EQ(storage->open("a", Storage::Open::existing).error(), sys::no_such_file_or_directory);
  create("a");
  EXPECT_EQ(storage->open("a", Storage::Open::create).error(), sys::file_exists);
  const auto to_read = storage->open("a", Storage::Open::existing_to_read).value();
  EXPECT_EQ(write_at(*to_read, 0, bytes_of("x")), sys::bad_file_descriptor);
}

TEST_F(PosixStorage, takes_no_name_that_leads_elsewhere) {
  for (const std::string_view name : {std::string_view(""), std::string_view("."), std::string_view(".."),
                                      std::string_view("a/b"), std::string_view("a\0b", 3)}) {
    EXPECT_EQ(storage->open(name, Storage::Open::create).error(), sys::invalid_argument);
    EXPECT_EQ(storage->remove(name), sys::invalid_argument);
    EXPECT_EQ(storage->rename(name, "a"), sys::invalid_argument);
    EXPECT_EQ(storage->rename("a", name), sys::invalid_argument);
    EXPECT_EQ(storage->lock(name).error(), sys::invalid_argument);
    EXPECT_EQ(storage->check_lock(name), sys::invalid_argument);
    EXPECT_EQ(storage->directory(name).error(), sys::invalid_argument);
  }
  EXPECT_EQ(storage->open(std::string(256, 'a'), Storage::Open::create).error(), sys::invalid_argument);
  EXPECT_TRUE(storage->open(std::string(255, 'a'), Storage::Open::create));
}

TEST_F(PosixStorage, has_one_holder_of_a_lock) {
  auto lock = storage->lock("LOCK");
  ASSERT_TRUE(lock);
  EXPECT_EQ(storage->lock("LOCK").error(), sys::device_or_resource_busy);
  EXPECT_EQ(open_directory(path).value()->lock("LOCK").error(), sys::device_or_resource_busy);
  lock->reset();
  EXPECT_TRUE(storage->lock("LOCK"));
}

TEST_F(PosixStorage, asks_for_a_lock_without_having_it) {
  EXPECT_FALSE(storage->check_lock("LOCK"));
  EXPECT_TRUE(storage->list()->empty());
  auto lock = storage->lock("LOCK");
  ASSERT_TRUE(lock);
  EXPECT_EQ(storage->check_lock("LOCK"), sys::device_or_resource_busy);
  EXPECT_EQ(open_directory(path).value()->check_lock("LOCK"), sys::device_or_resource_busy);
  EXPECT_EQ(storage->lock("LOCK").error(), sys::device_or_resource_busy) << "who asks does not let go";
  lock->reset();
  EXPECT_FALSE(storage->check_lock("LOCK"));
  EXPECT_TRUE(storage->lock("LOCK"));
}

TEST_F(PosixStorage, has_folders) {
  EXPECT_EQ(storage->existing_directory("quarantine").error(), boost::system::errc::no_such_file_or_directory);
  const auto folder = storage->directory("quarantine").value();
  folder->open("a", Storage::Open::create).value();
  EXPECT_TRUE(std::filesystem::exists(path / "quarantine" / "a"));
  EXPECT_TRUE(storage->directory("quarantine"));
  EXPECT_TRUE(storage->existing_directory("quarantine"));
  EXPECT_EQ(folder->describe(), (path / "quarantine").string());
}

TEST_F(PosixStorage, says_what_is_wrong_with_a_directory) {
  create("a");
  EXPECT_EQ(open_directory(path / "a").error(), sys::not_a_directory);
  EXPECT_TRUE(open_directory(path / "x" / "y"));
  EXPECT_TRUE(std::filesystem::is_directory(path / "x" / "y"));
}

TEST_F(PosixStorage, knows_how_much_room_there_is) {
  EXPECT_GT(storage->free_bytes().value(), 0U);
  EXPECT_NE(storage->random(), storage->random());
}

}  // namespace
}  // namespace bus
