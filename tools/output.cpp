// SPDX-License-Identifier: MIT OR Apache-2.0
#include "output.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <mutex>
#include <stdexcept>

#include <poll.h>
#include <unistd.h>

namespace busbar {
namespace {

/// How often who waits for room in standard output asks whether to go on.
constexpr int glance_ms = 100;

std::atomic<std::chrono::milliseconds> remark_patience{std::chrono::milliseconds::max()};
std::mutex remarking;
bool is_unheard = false;  // somebody's patience has ended; guarded by the mutex

std::mutex writing;
bool is_cut = false;  // the last line was begun and given up; guarded by the mutex

/// Returns: what is not written. A pipe that has room takes PIPE_BUF bytes without waiting.
std::string_view write_while(int file, std::string_view text, const std::function<bool()>& go_on) {
  while (!text.empty()) {
    pollfd output{file, POLLOUT, 0};
    const bool may_wait = go_on();
    const int ready = ::poll(&output, 1, may_wait ? glance_ms : 0);
    if (ready <= 0 && !may_wait) break;
    if (ready <= 0) continue;
    const ssize_t written = ::write(file, text.data(), std::min<std::size_t>(text.size(), PIPE_BUF));
    if (written < 0 && errno != EINTR && errno != EAGAIN) throw std::runtime_error("cannot write to standard output");
    if (written > 0) text.remove_prefix(static_cast<std::size_t>(written));
  }
  return text;
}

}  // namespace

void print(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) {
    throw std::runtime_error("cannot write to standard output");
  }
}

void flush() {
  if (std::fflush(stdout) != 0) throw std::runtime_error("cannot write to standard output");
}

bool print_while(std::string_view text, const std::function<bool()>& go_on) {
  const std::lock_guard lock(writing);
  if (is_cut && !write_while(STDOUT_FILENO, "\n", go_on).empty()) return false;
  is_cut = false;
  const std::string_view rest = write_while(STDOUT_FILENO, text, go_on);
  is_cut = !rest.empty() && rest.size() < text.size();
  return rest.empty();
}

void set_remark_patience(std::chrono::milliseconds patience) { remark_patience = patience; }

void remark(const std::string& line) { write_error("busbar: " + line + "\n"); }

void write_error(const std::string& text) {
  const auto patience = remark_patience.load();
  if (patience == std::chrono::milliseconds::max()) {
    std::fputs(text.c_str(), stderr);
    return;
  }
  const std::lock_guard lock(remarking);
  const auto begin = std::chrono::steady_clock::now();
  const auto go_on = [&] { return !is_unheard && std::chrono::steady_clock::now() - begin < patience; };
  try {
    is_unheard = !write_while(STDERR_FILENO, text, go_on).empty();
  } catch (const std::runtime_error&) {
    // There is nobody to tell.
  }
}

void throw_error(const std::string& what, const std::string& path, const bus::error_code& error) {
  throw std::runtime_error(what + " '" + path + "': " + error.message());
}

}  // namespace busbar
