// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Operators new and delete that count and fail, for the whole executable: that is why tests which need them have one of
// their own. Threads: one.
#pragma once

#include <cstddef>

namespace bus::scarce_memory {

extern std::size_t heap_bytes;
extern std::size_t allocations;
extern std::size_t fails_at;  ///< the how manieth allocation; 0: none
extern std::size_t fails_for;  ///< so many of them

/// Calls until `is_done(outcome)`, each time with a later allocation failing, or that one and all after it. Returns:
/// how often it was not done.
template <class Call, class IsDone>
int with_each_failing(Call&& call, IsDone&& is_done, std::size_t in_a_row = 1) {
  struct Window {
    Window(std::size_t at, std::size_t most) noexcept {
      fails_for = most;
      fails_at = allocations + at;
    }
    ~Window() { fails_at = 0; }
  };
  constexpr int most = 10'000;
  for (int at = 1; at < most; ++at) {
    const auto outcome = [&] {
      const Window window(static_cast<std::size_t>(at), in_a_row);
      return call();
    }();
    if (is_done(outcome)) return at - 1;
  }
  return most;
}

inline constexpr std::size_t all = ~std::size_t{0};

}  // namespace bus::scarce_memory
