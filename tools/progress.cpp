// SPDX-License-Identifier: MIT OR Apache-2.0
#include "progress.hpp"

#include "text.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <string>

#include <unistd.h>

namespace busbar {

void Progress::start(std::uint64_t expected) {
  expected_ = expected;
  if (isatty(STDERR_FILENO) == 1) {
    painter_ = std::jthread([this](std::stop_token stop) { draw_until(stop); });
  }
}

Progress::~Progress() {
  if (painter_.joinable()) {
    painter_.request_stop();
    painter_.join();
  }
  clear();
}

void Progress::remark(std::string_view line) {
  const std::lock_guard lock(mutex_);
  clear();
  std::fprintf(stderr, "%.*s\n", static_cast<int>(line.size()), line.data());
}

void Progress::draw_until(std::stop_token stop) {
  using namespace std::chrono;
  const auto start = steady_clock::now();
  std::unique_lock lock(mutex_);
  std::condition_variable_any stopped;
  while (!stopped.wait_for(lock, stop, milliseconds(100), [&] { return stop.stop_requested(); })) {
    draw(duration<double>(steady_clock::now() - start).count());
  }
}

void Progress::draw(double seconds) {
  constexpr int width = 30;
  const std::uint64_t count = published_.load(std::memory_order_relaxed);
  std::string bar;
  if (expected_ != 0) {
    const double part = std::min(1.0, static_cast<double>(count) / static_cast<double>(expected_));
    const auto filled = static_cast<std::size_t>(part * width);
    bar = '[' + std::string(filled, '#') + std::string(width - filled, '-') + "] " +
          std::to_string(static_cast<int>(part * 100)) + " %  ";
  }
  std::fprintf(stderr, "\r\033[K%s%s %s  %s/s", bar.c_str(), with_separators(count).c_str(), unit_,
               with_separators(static_cast<std::uint64_t>(static_cast<double>(count) / seconds)).c_str());
  std::fflush(stderr);
  drawn_ = true;
}

void Progress::clear() {
  if (drawn_) std::fputs("\r\033[K", stderr);
  drawn_ = false;
}

}  // namespace busbar
