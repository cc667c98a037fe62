// SPDX-License-Identifier: MIT OR Apache-2.0
#include "input.hpp"

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

namespace busbar {
namespace {

[[noreturn]] void throw_errno(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

sigset_t stop_signals() noexcept {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  return signals;
}

}  // namespace

Interrupt::Descriptor::Descriptor(int number) : number_(number) {
  if (number_ < 0) throw_errno("cannot wait for signals");
}
Interrupt::Descriptor::~Descriptor() { close(number_); }

Interrupt::Interrupt()
    : signals_(stop_signals()),
      signal_(signalfd(-1, &signals_, SFD_CLOEXEC | SFD_NONBLOCK)),
      request_(eventfd(0, EFD_CLOEXEC)),
      end_(eventfd(0, EFD_CLOEXEC)) {
  pthread_sigmask(SIG_BLOCK, &signals_, &previous_);
  watcher_ = std::thread([this] { watch(); });
}

Interrupt::~Interrupt() {
  eventfd_write(end_.get(), 1);
  watcher_.join();
  // One that came when the work was done anyway must not end the process now.
  for (signalfd_siginfo one; read(signal_.get(), &one, sizeof one) > 0;) {
  }
  pthread_sigmask(SIG_SETMASK, &previous_, nullptr);
}

void Interrupt::watch() noexcept {
  pollfd either[2] = {{end_.get(), POLLIN, 0}, {signal_.get(), POLLIN, 0}};
  while (poll(either, 2, -1) < 0) {
  }
  if (either[0].revents != 0) return;
  signalfd_siginfo first;
  static_cast<void>(!read(signal_.get(), &first, sizeof first));
  requested_.store(true, std::memory_order_relaxed);
  eventfd_write(request_.get(), 1);  // stays unread for ever: the request does not pass
  pthread_sigmask(SIG_UNBLOCK, &signals_, nullptr);
  while (poll(either, 1, -1) < 0) {
  }
}

bool Interrupt::wait_until(std::chrono::steady_clock::time_point deadline) const noexcept {
  using namespace std::chrono;
  pollfd stop{descriptor(), POLLIN, 0};
  while (!requested()) {
    const auto left = deadline - steady_clock::now();
    if (left <= left.zero()) return false;
    const auto whole = duration_cast<seconds>(left);
    const timespec timeout{static_cast<time_t>(whole.count()),
                           static_cast<long>(duration_cast<nanoseconds>(left - whole).count())};
    ppoll(&stop, 1, &timeout, nullptr);
  }
  return true;
}

File::File(const std::string& path) : descriptor_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
  if (descriptor_ < 0) throw_errno("cannot open '" + path + "'");
  struct stat status{};
  if (fstat(descriptor_, &status) == 0 && S_ISDIR(status.st_mode)) {
    close(descriptor_);
    errno = EISDIR;
    throw_errno("cannot read '" + path + "'");
  }
}

File::~File() {
  if (descriptor_ > 0) close(descriptor_);
}

bool File::is_regular() const noexcept {
  struct stat about = {};
  return fstat(descriptor_, &about) == 0 && S_ISREG(about.st_mode);
}

FollowedFile::Change FollowedFile::look() noexcept {
  struct stat named = {};
  struct stat current = {};
  if (fstat(descriptor(), &current) != 0) return Change::none;
  if (stat(path_.c_str(), &named) == 0 && (named.st_ino != current.st_ino || named.st_dev != current.st_dev)) {
    if (!std::exchange(is_going_, true)) return Change::going;
    const int next = open(path_.c_str(), O_RDONLY | O_CLOEXEC);
    if (next < 0) return Change::none;
    const bool is_taken = dup3(next, descriptor(), O_CLOEXEC) >= 0;
    close(next);
    is_going_ = !is_taken;
    return is_taken ? Change::begun_anew : Change::none;
  }
  if (current.st_size >= lseek(descriptor(), 0, SEEK_CUR)) return Change::none;
  lseek(descriptor(), 0, SEEK_SET);
  return Change::begun_anew;
}

LineReader::Status LineReader::next(std::string_view& line) {
  for (;;) {
    if (const auto status = advance(line, true)) return *status;
  }
}

std::optional<LineReader::Status> LineReader::try_next(std::string_view& line) { return advance(line, false); }

std::optional<LineReader::Status> LineReader::advance(std::string_view& line, bool waits) {
  for (;;) {
    const std::string_view unread(buffer_.data() + begin_, end_ - begin_);
    if (const auto newline = unread.find('\n', searched_); newline != std::string_view::npos) {
      ++line_number_;
      begin_ += newline + 1;
      searched_ = 0;
      line = unread.substr(0, newline);
      return std::exchange(too_long_, false) || newline > max_line_bytes_ ? Status::too_long : Status::line;
    }
    searched_ = unread.size();
    if (unread.size() > max_line_bytes_) {
      too_long_ = true;
      begin_ = end_;
      searched_ = 0;
    }
    switch (fill(waits)) {
      case Filled::more: break;
      case Filled::nothing: return std::nullopt;
      case Filled::interrupted: return Status::interrupted;
      case Filled::end:
        if (begin_ == end_ && !too_long_) return Status::end;
        ++line_number_;
        line = {buffer_.data() + begin_, end_ - begin_};
        begin_ = end_;
        searched_ = 0;
        return std::exchange(too_long_, false) ? Status::too_long : Status::line;
    }
  }
}

LineReader::Filled LineReader::fill(bool waits) {
  constexpr std::size_t chunk_bytes = 64 * 1024;
  if (begin_ != 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  if (buffer_.size() < end_ + chunk_bytes) buffer_.resize(end_ + chunk_bytes);

  for (;;) {
    pollfd ready[2] = {{descriptor_, POLLIN, 0}, {interrupt_.descriptor(), POLLIN, 0}};
    if (poll(ready, 2, waits ? -1 : 0) < 0 && errno != EINTR) throw_errno("cannot wait for input");
    if (interrupt_.requested()) return Filled::interrupted;
    if (ready[0].revents == 0) {
      if (waits) continue;
      return Filled::nothing;
    }
    const ssize_t got = read(descriptor_, buffer_.data() + end_, chunk_bytes);
    if (got > 0) {
      end_ += static_cast<std::size_t>(got);
      return Filled::more;
    }
    if (got == 0) {
      const Filled filled = followed_ != nullptr ? wait_at_end(waits) : Filled::end;
      if (filled != Filled::more) return filled;
      continue;
    }
    if (errno != EINTR && errno != EAGAIN) throw_errno("cannot read");
  }
}

/// Returns: more, if it is worth another look; end, if what has come so far of a line is all that will come.
LineReader::Filled LineReader::wait_at_end(bool waits) {
  constexpr auto glance = std::chrono::milliseconds(100);
  switch (followed_->look()) {
    case FollowedFile::Change::begun_anew: return begin_ != end_ || too_long_ ? Filled::end : Filled::more;
    case FollowedFile::Change::going: return Filled::more;
    case FollowedFile::Change::none: break;
  }
  if (!waits) return Filled::nothing;
  interrupt_.wait_until(std::chrono::steady_clock::now() + glance);
  return Filled::more;
}

}  // namespace busbar
