// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What <bus/asio.hpp> needs of the core: to try, to be called when trying again is worth it, and to stop.
#pragma once

#include <bus/bus.hpp>
#include <bus/export.hpp>

#include <cstddef>
#include <cstdint>

namespace bus::detail {

/// An asynchronous receive that waits. Whoever takes it out of its receiver owns it and calls `resume` once.
class AsyncWait {
 public:
  enum class Reason { look_again, cancelled };

  /// Goes on in the operation's own executor; never inline.
  /// Threads: whichever published, closed, cancelled or destroyed the receiver.
  virtual void resume(Reason reason) noexcept = 0;

 protected:
  ~AsyncWait() = default;
};

struct BUSBAR_EXPORT AsyncAccess {
  using State = ReceiverState;

  /// Shares the state of a receiver, so that it outlives the receiver for the length of an operation. The receiver
  /// must have one.
  static ReceiverState* retain(Receiver& receiver) noexcept;
  static void release(ReceiverState* state) noexcept;
  static bool has_state(const Receiver& receiver) noexcept { return receiver.state_ != nullptr; }

  template <class Result>
  static Result closed() noexcept {
    Result result;
    result.outcome_ = Outcome::closed;
    return result;
  }

  /// Takes what is there: a Received, or a Batch of up to `max`. What was missed stays for `tell_missed`. It may be
  /// `empty` although there is more to look at, when a filter has skipped very many: `ready` then says so.
  template <class Result>
  static Result attempt(ReceiverState& state, std::size_t max) noexcept;

  template <class Result>
  static void tell_missed(ReceiverState& state, Result& result) noexcept {
    result.missed_ = take_untold(state);
  }

  /// Whether there is something to look at.
  static bool ready(const ReceiverState& state) noexcept;

  /// Whether the receiver was destroyed meanwhile.
  static bool abandoned(const ReceiverState& state) noexcept;

  /// Gives `wait` away: to the next publish or close, or, if there is something to look at by now, back through
  /// `resume` at once. The caller must not touch it any more.
  static void arm(ReceiverState& state, AsyncWait& wait) noexcept;

  /// Returns: whether `wait` was still there, and is now the caller's.
  static bool take(ReceiverState& state, AsyncWait& wait) noexcept;

 private:
  static std::uint64_t take_untold(ReceiverState& state) noexcept;
};

template <>
Received AsyncAccess::attempt<Received>(ReceiverState& state, std::size_t max) noexcept;
template <>
Batch AsyncAccess::attempt<Batch>(ReceiverState& state, std::size_t max) noexcept;

}  // namespace bus::detail
