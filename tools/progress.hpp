// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string_view>
#include <thread>

namespace busbar {

/// What a person sees on standard error while something goes on, such as publishing: remarks, and below them a bar if
/// standard error is a terminal. The bar is drawn by a thread of its own, so that publishing pays one store an event
/// for it.
/// Threads: `start` and `published` by one thread, `remark` by any.
class Progress {
 public:
  /// `unit` is the word for what is counted. Lifetime: it must outlive this.
  explicit Progress(const char* unit = "events") noexcept : unit_(unit) {}
  ~Progress();

  /// Begins to draw, if there is a terminal. `expected` is 0 if nobody knows how many there will be.
  void start(std::uint64_t expected);

  /// The number so far.
  void published(std::uint64_t count) noexcept { published_.store(count, std::memory_order_relaxed); }

  /// Prints a line of its own.
  void remark(std::string_view line);

 private:
  void draw_until(std::stop_token stop);
  void draw(double seconds);
  void clear();

  const char* const unit_;
  std::uint64_t expected_ = 0;
  std::atomic<std::uint64_t> published_{0};
  std::mutex mutex_;      // guards standard error and what follows
  bool drawn_ = false;
  std::jthread painter_;  // last: it uses the rest
};

}  // namespace busbar
