// SPDX-License-Identifier: MIT OR Apache-2.0
#include "hang_ups.hpp"

#include <cerrno>
#include <system_error>
#include <utility>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

namespace busbar {
namespace {

sigset_t hang_up() noexcept {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGHUP);
  return signals;
}

}  // namespace

HangUps::HangUps()
    : signals_(hang_up()), signal_(signalfd(-1, &signals_, SFD_CLOEXEC | SFD_NONBLOCK)), end_(eventfd(0, EFD_CLOEXEC)) {
  if (signal_ < 0 || end_ < 0) {
    const std::system_error error(errno, std::generic_category(), "cannot wait for signals");
    if (signal_ >= 0) close(signal_);
    throw error;
  }
  pthread_sigmask(SIG_BLOCK, &signals_, &previous_);
}

HangUps::~HangUps() {
  stop();
  pthread_sigmask(SIG_SETMASK, &previous_, nullptr);
  close(signal_);
  close(end_);
}

void HangUps::answer_with(std::function<void()> answer) {
  thread_ = std::thread([this, answer = std::move(answer)] {
    for (;;) {
      pollfd either[2] = {{end_, POLLIN, 0}, {signal_, POLLIN, 0}};
      while (poll(either, 2, -1) < 0) {
      }
      if (either[0].revents != 0) return;
      signalfd_siginfo one;
      if (read(signal_, &one, sizeof one) == sizeof one) answer();
    }
  });
}

void HangUps::stop() noexcept {
  if (!thread_.joinable()) return;
  eventfd_write(end_, 1);
  thread_.join();
}

}  // namespace busbar
