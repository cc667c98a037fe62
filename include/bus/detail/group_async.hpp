// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <bus/detail/async.hpp>
#include <bus/export.hpp>
#include <bus/persistence/group.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>

namespace bus::detail {

/// A receive of a group's member in parts, none of which waits. What it has leased and not given is released with it.
/// Threads: one at a time, but `withdraw` at any time while it exists.
class BUSBAR_EXPORT PendingReceive {
 public:
  using Deadline = std::chrono::steady_clock::time_point;

  /// Errors: throws std::bad_alloc.
  static std::unique_ptr<PendingReceive> make(const Member& member, std::size_t most,
                                              const std::optional<Deadline>& deadline);
  virtual ~PendingReceive() = default;

  /// Leases what there is. Errors: as `Member::receive`; operation_canceled, if the member is gone.
  /// Returns: nothing if it has to wait: until it is resumed, or for `rest`.
  virtual std::optional<result<LeaseBatch>> advance() noexcept = 0;
  virtual std::optional<std::chrono::nanoseconds> rest() const noexcept = 0;

  /// Gives `wait` away: to the next change, or, if there was one since `advance`, or a `withdraw`, back through
  /// `resume` at once. Until that, only `withdraw` may be called.
  virtual void arm(AsyncWait& wait) noexcept = 0;

  /// Returns: whether `wait` was still there, and is now the caller's.
  virtual bool withdraw() noexcept = 0;
};

/// What the asynchronous forms may do with a member.
struct MemberAccess {
  static const std::shared_ptr<QueueCore>& queue(const Member& member) noexcept { return member.queue_; }
  static std::uint16_t id(const Member& member) noexcept { return member.id_; }
};

}  // namespace bus::detail
