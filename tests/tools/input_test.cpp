// SPDX-License-Identifier: MIT OR Apache-2.0
#include "input.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

namespace busbar {
namespace {

using Change = FollowedFile::Change;

class Following : public testing::Test {
 protected:
  Following() {
    std::string name = std::filesystem::temp_directory_path() / "busbar-input-XXXXXX";
    folder = mkdtemp(name.data());
    path = folder / "events";
    write(path, "");
  }
  ~Following() override { std::filesystem::remove_all(folder); }

  static void write(const std::filesystem::path& file, std::string_view text) {
    std::ofstream(file, std::ios::app) << text;
  }

  /// Another program puts a new file in the place of this one.
  void replace(std::string_view text) {
    std::filesystem::rename(path, folder / "old");
    write(folder / "new", text);
    std::filesystem::rename(folder / "new", path);
  }

  /// What is there now.
  static std::vector<std::string> read(LineReader& lines) {
    std::vector<std::string> all;
    std::string_view line;
    while (lines.try_next(line) == LineReader::Status::line) all.emplace_back(line);
    return all;
  }

  using Lines = std::vector<std::string>;
  const Interrupt interrupt;
  std::filesystem::path folder;
  std::filesystem::path path;
};

TEST(Interrupts, that_come_when_the_work_is_done_do_not_end_the_process) {
  for (int i = 0; i < 100; ++i) {
    const Interrupt interrupt;
    ASSERT_EQ(kill(getpid(), i % 2 == 0 ? SIGINT : SIGTERM), 0);
  }
}

TEST_F(Following, goes_on_where_the_file_ended) {
  FollowedFile file(path);
  LineReader lines(file, interrupt, 100);
  write(path, "one\ntw");
  EXPECT_EQ(read(lines), Lines{"one"});
  write(path, "o\nthree\n");
  EXPECT_EQ(read(lines), (Lines{"two", "three"}));
  EXPECT_EQ(read(lines), Lines());
}

TEST_F(Following, begins_anew_when_the_file_is_cut) {
  FollowedFile file(path);
  LineReader lines(file, interrupt, 100);
  write(path, "one\ntwo\nthr");
  EXPECT_EQ(read(lines), (Lines{"one", "two"}));
  std::filesystem::resize_file(path, 0);
  write(path, "four\n");
  EXPECT_EQ(read(lines), (Lines{"thr", "four"})) << "what was written of a line is one, as it can never be more";
}

TEST_F(Following, reads_a_file_that_is_replaced_to_its_end_and_then_the_other) {
  FollowedFile file(path);
  LineReader lines(file, interrupt, 100);
  write(path, "one\n");
  EXPECT_EQ(read(lines), Lines{"one"});
  replace("three\n");
  write(folder / "old", "two");
  EXPECT_EQ(read(lines), (Lines{"two", "three"}));
  write(path, "four\n");
  EXPECT_EQ(read(lines), Lines{"four"});
}

/// Whoever writes may not have noticed yet, and have written since the end was seen.
TEST_F(Following, has_a_last_look_at_a_file_that_is_replaced) {
  FollowedFile file(path);
  replace("");
  EXPECT_EQ(file.look(), Change::going);
  EXPECT_EQ(file.look(), Change::begun_anew);
  EXPECT_EQ(file.look(), Change::none);
  replace("");
  EXPECT_EQ(file.look(), Change::going) << "so each time";
}

TEST_F(Following, waits_for_a_file_that_is_gone_to_come_back) {
  FollowedFile file(path);
  LineReader lines(file, interrupt, 100);
  std::filesystem::remove(path);
  EXPECT_EQ(read(lines), Lines());
  write(path, "one\n");
  EXPECT_EQ(read(lines), Lines{"one"});
}

}  // namespace
}  // namespace busbar
