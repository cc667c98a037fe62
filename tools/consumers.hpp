// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <bus/bus.hpp>
#include <bus/config/config.hpp>
#include <bus/persistence/group.hpp>
#include <bus/routing/router.hpp>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

namespace busbar {

/// Those who read what a host receives itself, each in a thread of its own, as `ConsumerConfig` says. What is printed
/// is a JSON object a line: of a message, what an input line of that message would be, and whose it is.
/// Threads: one at a time.
class Consumers {
 public:
  /// `prints_payloads`: else of a payload only its size is told.
  explicit Consumers(bool prints_payloads) noexcept : prints_payloads_(prints_payloads) {}

  /// Stops.
  ~Consumers();
  Consumers(const Consumers&) = delete;
  Consumers& operator=(const Consumers&) = delete;

  // Each starts a thread that reads until all is read and closed, or it is stopped. Nobody reads for `Consumer::none`.
  // Lifetime: what is read must outlive its thread. Errors: throws std::system_error, std::bad_alloc; and for a group
  // std::runtime_error, if it cannot be joined.
  void read(bus::Receiver& receiver, const std::string& name, const bus::ConsumerConfig& how);
  void read(bus::RouteReceiver& route, const std::string& name, const bus::ConsumerConfig& how);
  void read(bus::Group& group, const std::string& name, bus::GroupMode mode, const bus::ConsumerConfig& how);

  /// Waits until receivers and routes have been read to the end. Returns: whether they have been by then.
  bool wait_until(std::chrono::steady_clock::time_point deadline);

  /// Ends the threads: what they have not received stays where it is, and what they have on lease goes back.
  void stop() noexcept;

 private:
  /// What one of them does with each message or event.
  class Work;
  template <class Source>
  void read_to_the_end(Source& source, const char* kind, const std::string& name, const bus::ConsumerConfig& how);

  const bool prints_payloads_;
  std::mutex mutex_;
  std::condition_variable ended_;
  std::size_t reading_ = 0;  // receivers and routes that are not at their end; guarded by the mutex
  std::vector<std::jthread> threads_;
};

}  // namespace busbar
