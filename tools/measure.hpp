// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What is needed to measure, by the benchmarks and by `busbar bench`: a clock, one way of waiting, a place on the disk.
#pragma once

#include <bus/detail/sync.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

namespace bench {

namespace fs = std::filesystem;

inline std::uint64_t now_ns() {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
          .count());
}

inline std::uint64_t to_ns(double seconds) { return static_cast<std::uint64_t>(seconds * 1e9); }

inline double per_second(std::uint64_t events, std::uint64_t ns) {
  return static_cast<double>(events) / static_cast<double>(ns) * 1e9;
}

/// The one way in which a benchmark waits: 64 pauses, then the core is offered to others each time.
class Backoff {
 public:
  void wait() {
    if (pauses_ < 64) {
      ++pauses_;
      bus::sync::pause();
    } else {
      std::this_thread::yield();
    }
  }
  void reset() { pauses_ = 0; }

 private:
  int pauses_ = 0;
};

/// A counter that shares its cache line with nobody.
struct alignas(64) PaddedCounter {
  std::atomic<std::uint64_t> value{0};
};

/// Makes the compiler believe that somebody looks at `value`.
template <class T>
inline void keep(const T& value) {
  asm volatile("" : : "g"(&value) : "memory");
}

/// The smallest of the `sorted` samples that a share of `quantile` of them lies below; 0 if there are none.
inline std::uint64_t percentile(const std::vector<std::uint64_t>& sorted, double quantile) {
  if (sorted.empty()) return 0;
  const auto rank = static_cast<std::size_t>(quantile * static_cast<double>(sorted.size()));
  return sorted[std::min(rank, sorted.size() - 1)];
}

/// Of samples that are there: the middle one, of an even number the higher.
inline double median(std::vector<double> samples) {
  std::sort(samples.begin(), samples.end());
  return samples[samples.size() / 2];
}

/// A fresh directory that is gone at the end, with all in it.
class Scratch {
 public:
  /// Errors: throws std::system_error.
  explicit Scratch(const fs::path& directory) {
    fs::create_directories(directory);
    std::string name = directory / "busbar_bench.XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw std::system_error(errno, std::generic_category(), name);
    path_ = name;
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }

  const fs::path& path() const { return path_; }

  /// A directory in it.
  fs::path folder(std::string_view name) const {
    fs::create_directory(path_ / name);
    return path_ / name;
  }

 private:
  fs::path path_;
};

/// Payloads that do not compress, and differ from record to record.
class Payload {
 public:
  explicit Payload(std::size_t bytes) : words_(bytes / 8) {}

  /// Lifetime: until the next call.
  std::span<const std::byte> of(std::uint64_t sequence) {
    std::uint64_t x = sequence * 0x9E3779B97F4A7C15ULL + 1;
    for (std::uint64_t& word : words_) {
      x ^= x << 13;
      x ^= x >> 7;
      x ^= x << 17;
      word = x;
    }
    return std::as_bytes(std::span(words_));
  }

 private:
  std::vector<std::uint64_t> words_;
};

}  // namespace bench
