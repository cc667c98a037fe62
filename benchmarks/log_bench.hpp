// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What the workloads of the log share.
#pragma once

#include <bus/persistence/log.hpp>

#include "bench_common.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace bench {

using bus::Durability;

inline constexpr std::size_t usual_payload = 256;

/// Only whether it runs is asked, so sizes are small.
inline bool brief(const Options& options) { return options.seconds < 0.1; }

[[noreturn]] inline void fail(const std::string& what) { throw std::runtime_error(what); }

inline void check(const bus::error_code& code) {
  if (code) throw boost::system::system_error(code);
}

inline void check(bool done, const fs::path& file) {
  if (!done) throw std::system_error(errno, std::generic_category(), file.string());
}

class File {
 public:
  File(fs::path path, int flags) : path_(std::move(path)), fd_(::open(path_.c_str(), flags | O_CLOEXEC, 0600)) {
    check(fd_ >= 0, path_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() { ::close(fd_); }

  void write(std::span<const std::byte> bytes, std::uint64_t at) {
    const ssize_t done = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(at));
    check(done == static_cast<ssize_t>(bytes.size()), path_);
  }
  void read(std::span<std::byte> bytes, std::uint64_t at) {
    const ssize_t done = ::pread(fd_, bytes.data(), bytes.size(), static_cast<off_t>(at));
    check(done == static_cast<ssize_t>(bytes.size()), path_);
  }
  void sync() { check(::fdatasync(fd_) == 0, path_); }

 private:
  fs::path path_;
  int fd_;
};

/// Calls `slice(ns)` for `--seconds` in all, at most 100 ms at a time. Those who take turns within it meet the same
/// moods of the disk.
template <class Slice>
void in_slices(const Options& options, Slice slice) {
  const double slices = std::max(5.0, std::ceil(options.seconds / 0.1));
  for (double n = 0; n < slices; ++n) slice(to_ns(options.seconds / slices));
}

// --- Appending ---

struct Load {
  int threads = 1;
  int in_flight = 1;  ///< of each thread
  std::size_t payload_bytes = usual_payload;
  int topics = 1;  ///< by turns
  bool reused = false;  ///< in segments that were used before, as in a log that has run for a while
};

/// One thread's appending. One in flight is awaited, and timed; more are handed over, and the oldest is waited for.
template <Durability D>
class Appender {
 public:
  Appender(bus::Log& log, const Load& load, int number = 0)
      : log_(&log),
        depth_(static_cast<std::size_t>(load.in_flight)),
        payload_(load.payload_bytes),
        first_(static_cast<std::uint64_t>(number) << 40) {
    for (int i = 0; i < load.topics; ++i) {
      records_.push_back({.topic = *bus::Topic::parse("bench.t" + std::to_string(i))});
    }
    pending_.reserve(depth_);
  }

  void run_until(std::uint64_t end) {
    if (depth_ == 1) {
      for (std::uint64_t last = now_ns(); last < end && !error_;) {
        settle(log_->append<D>(next()));
        const std::uint64_t now = now_ns();
        latencies_.push_back(now - last);
        last = now;
      }
    } else {
      while (now_ns() < end && !error_) submit(64);
      drain();
    }
  }

  /// Hands so many over.
  void submit(std::uint64_t count) {
    for (; count != 0 && !error_; --count) {
      if (pending_.size() == depth_) settle(pending_[oldest_].wait());
      const auto pending = log_->submit<D>(next());
      if (!pending) {
        error_ = pending.error();
      } else if (pending_.size() < depth_) {
        pending_.push_back(*pending);
      } else {
        pending_[oldest_] = *pending;
        if (++oldest_ == depth_) oldest_ = 0;
      }
    }
  }

  /// Waits for all that was handed over.
  void drain() {
    for (std::size_t i = 0; i < pending_.size() && !error_; ++i) {
      settle(pending_[oldest_].wait());
      if (++oldest_ == pending_.size()) oldest_ = 0;
    }
    pending_.clear();
    oldest_ = 0;
  }

  /// Records that have their receipt.
  std::uint64_t messages() const { return messages_; }
  const std::vector<std::uint64_t>& latencies() const { return latencies_; }

  void check_sound() const {
    check(error_);
    if (!in_order_) fail("offsets out of order");
  }

 private:
  const bus::Record& next() {
    bus::Record& record = records_[topic_];
    if (++topic_ == records_.size()) topic_ = 0;
    record.payload = payload_.of(first_ + sequence_++);
    return record;
  }

  void settle(const bus::result<bus::Receipt<D>>& receipt) {
    if (!receipt) {
      error_ = receipt.error();
      return;
    }
    in_order_ &= messages_ == 0 || receipt->offset() > last_offset_;
    last_offset_ = receipt->offset();
    ++messages_;
  }

  bus::Log* log_;
  std::size_t depth_;
  Payload payload_;
  std::uint64_t first_;
  std::uint64_t sequence_ = 0;
  std::vector<bus::Record> records_;
  std::size_t topic_ = 0;
  std::vector<bus::PendingReceipt<D>> pending_;
  std::size_t oldest_ = 0;
  std::uint64_t last_offset_ = 0;
  bool in_order_ = true;
  bus::error_code error_;
  std::uint64_t messages_ = 0;
  std::vector<std::uint64_t> latencies_;
};

/// So many records, on the disk.
inline void fill(bus::Log& log, std::uint64_t records) {
  Appender<Durability::written> appender(log, {.in_flight = 4096});
  appender.submit(records);
  appender.drain();
  appender.check_sound();
  check(log.sync());
}

/// A log; or one that retention has brought to where segments are used again.
inline bus::Log open_log(const fs::path& directory, bool reused, const Options& options) {
  bus::LogOptions log_options;
  if (!reused) return bus::Log::open(directory, log_options).value();
  log_options.segment_bytes = std::uint64_t{brief(options) ? 1U : 64U} << 20;
  log_options.retention.bytes = 3 * log_options.segment_bytes;
  bus::Log log = bus::Log::open(directory, log_options).value();
  while (log.stats().reused_segments < 2) fill(log, log_options.segment_bytes / 4 / usual_payload);
  return log;
}

/// Of groups: see log_bench_groups.cpp.
bool d8(const Options& options);
bool d10(const Options& options);

}  // namespace bench
