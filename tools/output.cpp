// SPDX-License-Identifier: MIT OR Apache-2.0
#include "output.hpp"

#include <algorithm>
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

std::mutex writing;
bool is_cut = false;  // the last line was begun and given up; guarded by the mutex

/// Returns: what is not written. A pipe that has room takes PIPE_BUF bytes without waiting.
std::string_view write_while(std::string_view text, const std::function<bool()>& go_on) {
  while (!text.empty()) {
    pollfd output{STDOUT_FILENO, POLLOUT, 0};
    const bool may_wait = go_on();
    const int ready = ::poll(&output, 1, may_wait ? glance_ms : 0);
    if (ready <= 0 && !may_wait) break;
    if (ready <= 0) continue;
    const ssize_t written = ::write(STDOUT_FILENO, text.data(), std::min<std::size_t>(text.size(), PIPE_BUF));
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
  if (is_cut && !write_while("\n", go_on).empty()) return false;
  is_cut = false;
  const std::string_view rest = write_while(text, go_on);
  is_cut = !rest.empty() && rest.size() < text.size();
  return rest.empty();
}

void remark(const std::string& line) { std::fprintf(stderr, "busbar: %s\n", line.c_str()); }

void throw_error(const std::string& what, const std::string& path, const bus::error_code& error) {
  throw std::runtime_error(what + " '" + path + "': " + error.message());
}

}  // namespace busbar
