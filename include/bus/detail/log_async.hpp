// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <bus/persistence/log.hpp>

#include <cstdint>
#include <memory>

namespace bus::detail {

class Groups;

/// An append that somebody is told of instead of waiting.
class Completion {
 public:
  /// In the thread that committed it. Must not block or throw; may end the object.
  virtual void complete(error_code error, std::uint64_t offset) noexcept = 0;

 protected:
  ~Completion() = default;
};

/// What the asynchronous forms may do with a log.
struct LogAccess {
  /// Errors: as `Log::submit`; nothing is completed then.
  static error_code submit(Log& log, const Record& record, Durability durability, Completion& completion) noexcept;

  static const std::shared_ptr<Groups>& groups(Log& log) noexcept;

  template <Durability D>
  static Receipt<D> receipt(std::uint64_t offset) noexcept {
    return Receipt<D>(offset, 1);
  }
};

}  // namespace bus::detail
