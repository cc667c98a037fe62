// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include "forwarding_storage.hpp"

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>
#include <utility>

namespace bus::simulation {

/// A storage whose syncs wait while a test says so.
class GatedStorage final : public ForwardingStorage {
 public:
  struct Gate {
    std::mutex mutex;
    std::condition_variable changed;
    bool closed = false;
    int waiting = 0;

    void pass() {
      std::unique_lock lock(mutex);
      ++waiting;
      changed.notify_all();
      changed.wait(lock, [this] { return !closed; });
      --waiting;
    }
    void set(bool shut) {
      const std::lock_guard lock(mutex);
      closed = shut;
      changed.notify_all();
    }
    void await_one() {
      std::unique_lock lock(mutex);
      changed.wait(lock, [this] { return waiting != 0; });
    }
  };

  GatedStorage(std::unique_ptr<Storage> inner, Gate& gate) : ForwardingStorage(std::move(inner)), gate_(gate) {}

  result<std::unique_ptr<File>> open(std::string_view name, Open how) noexcept override {
    auto file = ForwardingStorage::open(name, how);
    if (!file) return file.error();
    return std::unique_ptr<File>(std::make_unique<GatedFile>(std::move(*file), gate_));
  }

 private:
  class GatedFile final : public File {
   public:
    GatedFile(std::unique_ptr<File> inner, Gate& gate) : inner_(std::move(inner)), gate_(gate) {}
    result<std::size_t> read(std::uint64_t position, std::span<std::byte> out) noexcept override {
      return inner_->read(position, out);
    }
    result<std::size_t> write(std::uint64_t position,
                              std::span<const std::span<const std::byte>> parts) noexcept override {
      return inner_->write(position, parts);
    }
    error_code sync() noexcept override {
      gate_.pass();
      return inner_->sync();
    }
    result<std::uint64_t> size() noexcept override { return inner_->size(); }
    error_code resize(std::uint64_t size) noexcept override { return inner_->resize(size); }
    error_code reserve(std::uint64_t size) noexcept override { return inner_->reserve(size); }

   private:
    const std::unique_ptr<File> inner_;
    Gate& gate_;
  };

  Gate& gate_;
};

}  // namespace bus::simulation
