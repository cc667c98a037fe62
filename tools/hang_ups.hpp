// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <functional>
#include <thread>

#include <signal.h>

namespace busbar {

/// Takes SIGHUP, for as long as it lives: none ends the process, and none is lost that comes before it is answered.
/// Threads: one at a time; constructed before the other threads of the program. There is one at a time.
class HangUps {
 public:
  /// Errors: throws std::system_error.
  HangUps();
  ~HangUps();
  HangUps(const HangUps&) = delete;
  HangUps& operator=(const HangUps&) = delete;

  /// Calls `answer` for each from now on, in a thread of its own; those that come while it runs are one. Once. It must
  /// not throw. Errors: throws std::system_error.
  void answer_with(std::function<void()> answer);

  /// Answers no more. Blocks: until an answer that is under way has ended.
  void stop() noexcept;

 private:
  const sigset_t signals_;
  sigset_t previous_;
  const int signal_;
  const int end_;
  std::thread thread_;
};

}  // namespace busbar
