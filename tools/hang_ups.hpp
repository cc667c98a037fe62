// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <functional>
#include <thread>

#include <signal.h>

namespace busbar {

/// Collects SIGHUP, for as long as it lives: none ends the process, and none is lost that comes before somebody
/// answers. Threads: one at a time; constructed before the other threads of the program. There is one at a time.
class HangUps {
 public:
  /// Errors: throws std::system_error.
  HangUps();
  ~HangUps();
  HangUps(const HangUps&) = delete;
  HangUps& operator=(const HangUps&) = delete;

  /// A signalfd that does not block.
  int descriptor() const noexcept { return signal_; }

 private:
  const sigset_t signals_;
  sigset_t previous_;
  const int signal_;
};

/// Calls a function for each SIGHUP, in a thread of its own; those that come while it runs are one.
class OnHangUp {
 public:
  /// `answer` must not throw. Lifetime: the signals must outlive it. Errors: throws std::system_error.
  OnHangUp(const HangUps& signals, std::function<void()> answer);

  /// Blocks: until an answer that is under way has ended.
  ~OnHangUp();
  OnHangUp(const OnHangUp&) = delete;
  OnHangUp& operator=(const OnHangUp&) = delete;

 private:
  void answer_all(int signals) const noexcept;

  const std::function<void()> answer_;
  const int end_;
  std::thread thread_;
};

}  // namespace busbar
