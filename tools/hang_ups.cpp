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

[[noreturn]] void throw_errno() { throw std::system_error(errno, std::generic_category(), "cannot wait for signals"); }

}  // namespace

HangUps::HangUps() : signals_(hang_up()), signal_(signalfd(-1, &signals_, SFD_CLOEXEC | SFD_NONBLOCK)) {
  if (signal_ < 0) throw_errno();
  pthread_sigmask(SIG_BLOCK, &signals_, &previous_);
}

HangUps::~HangUps() {
  // One that nobody has answered must not end the process now.
  for (signalfd_siginfo one; read(signal_, &one, sizeof one) > 0;) {
  }
  pthread_sigmask(SIG_SETMASK, &previous_, nullptr);
  close(signal_);
}

OnHangUp::OnHangUp(const HangUps& signals, std::function<void()> answer)
    : answer_(std::move(answer)), end_(eventfd(0, EFD_CLOEXEC)) {
  if (end_ < 0) throw_errno();
  try {
    thread_ = std::thread([this, descriptor = signals.descriptor()] { answer_all(descriptor); });
  } catch (...) {
    close(end_);
    throw;
  }
}

OnHangUp::~OnHangUp() {
  eventfd_write(end_, 1);
  thread_.join();
  close(end_);
}

void OnHangUp::answer_all(int signals) const noexcept {
  for (;;) {
    pollfd either[2] = {{end_, POLLIN, 0}, {signals, POLLIN, 0}};
    while (poll(either, 2, -1) < 0) {
    }
    if (either[0].revents != 0) return;
    signalfd_siginfo one;
    if (read(signals, &one, sizeof one) == sizeof one) answer_();
  }
}

}  // namespace busbar
