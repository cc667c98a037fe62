// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The other side of the seam in include/bus/detail/sync.hpp: the same names, standing for the model checker's
// types. What is written against the seam runs here unmodified.
#pragma once

#include <relacy/relacy.hpp>

#include <cstddef>
#include <cstdint>
#include <source_location>

// The checker renames parts of the language to learn source positions; shipped headers come after it and mean
// the language. Plain `new` still goes through the checker, which replaces the global operators.
#undef new
#undef delete
#undef malloc
#undef calloc
#undef realloc
#undef free
#undef assert
#undef errno
#undef memory_order_relaxed
#undef memory_order_consume
#undef memory_order_acquire
#undef memory_order_release
#undef memory_order_acq_rel
#undef memory_order_seq_cst

namespace bus::sync {

inline rl::debug_info here(const std::source_location& at) {
  return rl::debug_info(at.function_name(), at.file_name(), at.line());
}

inline constexpr rl::memory_order relaxed = rl::mo_relaxed;
inline constexpr rl::memory_order acquire = rl::mo_acquire;
inline constexpr rl::memory_order release = rl::mo_release;
inline constexpr rl::memory_order acq_rel = rl::mo_acq_rel;
inline constexpr rl::memory_order seq_cst = rl::mo_seq_cst;

template <class T>
class atomic {
 public:
  atomic() { value_.store(T(), rl::mo_relaxed, here(std::source_location::current())); }
  atomic(T value) { value_.store(value, rl::mo_relaxed, here(std::source_location::current())); }

  T load(rl::memory_order order, std::source_location w = std::source_location::current()) const {
    return value_.load(order, here(w));
  }
  void store(T value, rl::memory_order order, std::source_location w = std::source_location::current()) {
    value_.store(value, order, here(w));
  }
  T exchange(T value, rl::memory_order order, std::source_location w = std::source_location::current()) {
    return value_.exchange(value, order, here(w));
  }
  bool compare_exchange_strong(T& expected, T desired, rl::memory_order success, rl::memory_order failure,
                               std::source_location w = std::source_location::current()) {
    return value_.compare_exchange(rl::bool_t<false>(), expected, desired, success, failure, here(w));
  }
  bool compare_exchange_weak(T& expected, T desired, rl::memory_order success, rl::memory_order failure,
                             std::source_location w = std::source_location::current()) {
    return value_.compare_exchange(rl::bool_t<true>(), expected, desired, success, failure, here(w));
  }
  T fetch_add(T value, rl::memory_order order, std::source_location w = std::source_location::current()) {
    return value_.fetch_add(value, order, here(w));
  }
  T fetch_sub(T value, rl::memory_order order, std::source_location w = std::source_location::current()) {
    return value_.fetch_sub(value, order, here(w));
  }
  T fetch_and(T value, rl::memory_order order, std::source_location w = std::source_location::current()) {
    return value_.fetch_and(value, order, here(w));
  }
  T fetch_or(T value, rl::memory_order order, std::source_location w = std::source_location::current()) {
    return value_.fetch_or(value, order, here(w));
  }

 private:
  rl::atomic<T> value_;
};

/// Data that is not atomic: the checker reports two accesses that nothing orders, if one of them writes.
template <class T>
class plain {
 public:
  void set(T value, std::source_location w = std::source_location::current()) { value_(here(w)).store(value); }
  T get(std::source_location w = std::source_location::current()) const { return value_(here(w)).load(); }

 private:
  rl::var<T> value_;
};

/// Waiting in a loop: lets others run.
inline void pause(std::source_location w = std::source_location::current()) { rl::yield(1, here(w)); }

template <class T>
void wait_while(const atomic<T>&, T) {
  pause();
}
template <class T>
void notify(atomic<T>&) {}

inline void prefetch_write(const void*) noexcept {}
inline void at_seam(const char*) noexcept {}

}  // namespace bus::sync
