// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The seam for atomics. Concurrent code of the library names its shared state through `bus::sync` and
// nothing else, so that the model checker can run the shipped templates: with BUS_MODEL defined the
// names stand for the checker's types, and `plain` data is checked for races.
#pragma once

#ifdef BUS_MODEL

#include "model_sync.hpp"  // relacy/model_sync.hpp, on the include path of the models only

#else

#include <atomic>
#include <utility>

namespace bus::sync {

template <class T>
using atomic = std::atomic<T>;

inline constexpr std::memory_order relaxed = std::memory_order_relaxed;
inline constexpr std::memory_order acquire = std::memory_order_acquire;
inline constexpr std::memory_order release = std::memory_order_release;
inline constexpr std::memory_order acq_rel = std::memory_order_acq_rel;
inline constexpr std::memory_order seq_cst = std::memory_order_seq_cst;

/// Tells the processor that this is a waiting loop.
inline void pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Blocks while `value` is `old`, unless woken spuriously; `notify` wakes who waits so.
template <class T>
void wait_while(const atomic<T>& value, T old) noexcept {
  value.wait(old, acquire);
}
template <class T>
void notify(atomic<T>& value) noexcept {
  value.notify_all();
}

/// Asks for the cache line at `address` in a state that can be written. A hint: any address is allowed.
inline void prefetch_write(const void* address) noexcept {
#if defined(__x86_64__)
  // What the builtin becomes only when the target is told: without it the line comes in a state that has to be
  // upgraded. Processors that lack the instruction take it for none.
  asm volatile("prefetchw %0" : : "m"(*static_cast<const char*>(address)));
#else
  __builtin_prefetch(address, 1, 3);
#endif
}

/// A named point inside an operation at which a test build can stop a thread. Nothing in a release.
#ifdef BUS_TEST_SEAMS
void at_seam(const char* name) noexcept;
#else
inline void at_seam(const char*) noexcept {}
#endif

}  // namespace bus::sync

#endif
