// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <bus/event.hpp>

#include "core/registry.hpp"
#include "core/run_gate.hpp"

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace bus::detail {

class Core;
class Warnings;

struct ObserverRecord : Registry<ObserverRecord, 8>::Entry {
  RunGate<> gate;
  std::function<void(const Event&)> function;  // behind the gate
  std::string name;                            // behind the gate
  sync::atomic<std::uint64_t> thrown{0};
};

/// The observers of one bus.
class Observers {
 public:
  /// Whether a publish has anybody to call.
  bool any() const noexcept { return attached_.load(sync::acquire) != 0; }

  /// Threads: any.
  ObserverRecord& attach(std::string_view name, std::function<void(const Event&)> function);
  void detach(ObserverRecord& record) noexcept;

  /// Calls all of them in this thread.
  void run(const Event& event, Warnings& warnings) noexcept;

  /// How deep this thread is inside observers of this bus.
  unsigned depth() const noexcept;

  std::uint64_t exceptions() const noexcept { return exceptions_.load(sync::relaxed); }

 private:
  void end(ObserverRecord& record) noexcept;

  Registry<ObserverRecord, 8> records_;
  sync::atomic<std::uint32_t> attached_{0};
  sync::atomic<std::uint64_t> exceptions_{0};
};

}  // namespace bus::detail
