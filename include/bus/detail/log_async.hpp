// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <bus/export.hpp>
#include <bus/persistence/log.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>

namespace bus::detail {

class Groups;

/// An append that somebody is told of instead of waiting.
class Completion {
 public:
  /// In the thread that committed it. Must not block or throw; may end the object.
  virtual void complete(error_code error, std::uint64_t offset) noexcept = 0;

  /// Likewise, if the log had it already, at that offset.
  virtual void complete_duplicate(std::uint64_t offset) noexcept { complete({}, offset); }

 protected:
  ~Completion() = default;
};

/// What the asynchronous forms may do with a log.
struct BUSBAR_EXPORT LogAccess {
  /// Errors: as `Log::submit`; nothing is completed then.
  static error_code submit(Log& log, const Record& record, Durability durability, Completion& completion) noexcept;

  /// As `submit`, for somebody who may wait by the ticket that it returns, and does so if `will_wait`. With a deadline
  /// it waits for room.
  static result<std::uint64_t> hand_over(Log& log, const Record& record, Durability durability, bool will_wait,
                                         const std::chrono::steady_clock::time_point* deadline,
                                         Completion& completion) noexcept;

  /// Until it is as durable as asked, or has failed. May commit in this thread. The completion is called besides,
  /// perhaps later. Errors: timed_out; and what became of it.
  static result<Appended> wait(Log& log, std::uint64_t ticket, Durability durability,
                               const std::chrono::steady_clock::time_point* deadline) noexcept;

  static const std::array<std::uint8_t, 16>& id(const Log& log) noexcept;

  static const std::shared_ptr<Groups>& groups(Log& log) noexcept;

  template <Durability D>
  static Receipt<D> receipt(std::uint64_t offset, bool duplicate) noexcept {
    return Receipt<D>(offset, 1, duplicate);
  }
};

}  // namespace bus::detail
