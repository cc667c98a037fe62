// SPDX-License-Identifier: MIT OR Apache-2.0
#include "output.hpp"

#include <gtest/gtest.h>

#include <climits>
#include <cstddef>
#include <cstdio>
#include <stdexcept>
#include <string>

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

namespace busbar {
namespace {

/// Standard output is a pipe that only the test reads.
class Output : public testing::Test {
 protected:
  void SetUp() override {
    std::fflush(stdout);
    before_ = ::dup(STDOUT_FILENO);
    ASSERT_EQ(::pipe(pipe_), 0);
    ASSERT_EQ(::fcntl(pipe_[0], F_SETFL, O_NONBLOCK), 0);  // of this end alone
    ASSERT_EQ(::dup2(pipe_[1], STDOUT_FILENO), STDOUT_FILENO);
    ::close(pipe_[1]);
    room_ = static_cast<std::size_t>(::fcntl(pipe_[0], F_GETPIPE_SZ));
  }
  void TearDown() override {
    ::dup2(before_, STDOUT_FILENO);
    ::close(before_);
    if (pipe_[0] >= 0) ::close(pipe_[0]);
  }

  /// What is there, up to so many bytes.
  std::string read(std::size_t most) {
    std::string text(most, '?');
    std::size_t size = 0;
    for (ssize_t got = 1; got > 0 && size < most; size += static_cast<std::size_t>(got > 0 ? got : 0)) {
      got = ::read(pipe_[0], text.data() + size, most - size);
    }
    return text.substr(0, size);
  }

  int pipe_[2] = {-1, -1};
  int before_ = -1;
  std::size_t room_ = 0;
};

const auto at_once = [] { return false; };

TEST_F(Output, that_has_room_takes_all_whoever_is_in_a_hurry) {
  EXPECT_TRUE(print_while("a line\n", at_once));
  EXPECT_EQ(read(100), "a line\n");
}

TEST_F(Output, that_is_full_is_waited_for_as_long_as_is_said_and_a_line_that_was_cut_ends) {
  const std::string line(room_ + 1, 'x');
  const std::size_t looks_with_room = room_ / PIPE_BUF;
  std::size_t looks = 0;
  EXPECT_FALSE(print_while(line, [&] { return ++looks < looks_with_room + 2; }));
  EXPECT_EQ(looks, looks_with_room + 2) << "it waited once";
  EXPECT_FALSE(print_while("another\n", at_once)) << "that has no room either";
  EXPECT_EQ(read(line.size()), line.substr(1));
  EXPECT_TRUE(print_while("whole\n", at_once));
  EXPECT_TRUE(print_while("next\n", at_once));
  EXPECT_EQ(read(100), "\nwhole\nnext\n");
}

TEST_F(Output, that_nobody_can_read_is_an_error) {
  ::signal(SIGPIPE, SIG_IGN);
  ::close(pipe_[0]);
  pipe_[0] = -1;
  EXPECT_THROW((void)print_while("a line\n", at_once), std::runtime_error);
}

}  // namespace
}  // namespace busbar
