// SPDX-License-Identifier: MIT OR Apache-2.0
#include <bus/options.hpp>

#include <ctime>

namespace bus {
namespace {

class SystemClock final : public Clock {
 public:
  std::chrono::system_clock::time_point wall() const noexcept override { return std::chrono::system_clock::now(); }

  std::chrono::steady_clock::time_point steady() const noexcept override { return std::chrono::steady_clock::now(); }

#ifdef CLOCK_REALTIME_COARSE
  std::chrono::system_clock::time_point coarse_wall() const noexcept override {
    std::timespec now{};
    if (::clock_gettime(CLOCK_REALTIME_COARSE, &now) != 0) return wall();
    return std::chrono::system_clock::time_point(std::chrono::duration_cast<std::chrono::system_clock::duration>(
        std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec)));
  }
#endif
};

/// Keeps its value from being destroyed: a bus may outlive main().
union Immortal {
  constexpr Immortal() noexcept : clock() {}
  constexpr ~Immortal() {}  // NOLINT(modernize-use-equals-default): that would be deleted
  SystemClock clock;
};
constinit const Immortal immortal;

}  // namespace

const Clock& Clock::system() noexcept { return immortal.clock; }

}  // namespace bus
