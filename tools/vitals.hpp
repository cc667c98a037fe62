// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include "http_server.hpp"

#include <bus/persistence/log.hpp>

#include <atomic>
#include <map>
#include <mutex>
#include <string>
#include <utility>

namespace busbar {

/// How a host is, for those who look after it. Threads: any.
class Vitals {
 public:
  /// What the host is about, until it is ready.
  void set_busy(std::string with) {
    const std::lock_guard lock(mutex_);
    busy_ = std::move(with);
  }
  void set_ready() {
    set_busy({});
    is_open_ = true;
  }
  /// Whether it has ever been ready.
  bool is_open() const noexcept { return is_open_; }

  /// Lifetime: until it is forgotten; meanwhile it must not be moved.
  void watch(const std::string& name, const bus::Log& log) {
    const std::lock_guard lock(mutex_);
    logs_[name] = &log;
  }
  void forget_logs() {
    const std::lock_guard lock(mutex_);
    logs_.clear();
  }

  /// 200 if everything is open and nothing is ending, else 503 and what the host is about.
  HttpPage readiness() const {
    const std::lock_guard lock(mutex_);
    return busy_.empty() ? HttpPage{.body = "ready\n"} : HttpPage{.status = 503, .body = busy_ + '\n'};
  }

  /// 200 if every log takes appends, else 503 and which do not.
  HttpPage health() const {
    const std::lock_guard lock(mutex_);
    std::string faults;
    for (const auto& [name, log] : logs_) {
      if (log->read_only()) faults += "log " + name + " is read-only\n";
    }
    return faults.empty() ? HttpPage{.body = "healthy\n"} : HttpPage{.status = 503, .body = std::move(faults)};
  }

 private:
  mutable std::mutex mutex_;
  std::string busy_ = "starting";
  std::map<std::string, const bus::Log*> logs_;
  std::atomic<bool> is_open_{false};
};

}  // namespace busbar
