// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <bus/persistence/storage.hpp>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bus::simulation {

/// A storage whose syncs wait while a test says so.
class GatedStorage final : public Storage {
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

  GatedStorage(std::unique_ptr<Storage> inner, Gate& gate) : inner_(std::move(inner)), gate_(gate) {}

  result<std::unique_ptr<File>> open(std::string_view name, Open how) noexcept override {
    auto file = inner_->open(name, how);
    if (!file) return file.error();
    return std::unique_ptr<File>(std::make_unique<GatedFile>(std::move(*file), gate_));
  }
  result<std::vector<std::string>> list() noexcept override { return inner_->list(); }
  error_code rename(std::string_view from, std::string_view to) noexcept override { return inner_->rename(from, to); }
  error_code remove(std::string_view name) noexcept override { return inner_->remove(name); }
  error_code sync_names() noexcept override { return inner_->sync_names(); }
  result<std::unique_ptr<StorageLock>> lock(std::string_view name) noexcept override { return inner_->lock(name); }
  result<std::unique_ptr<Storage>> directory(std::string_view name) noexcept override {
    return inner_->directory(name);
  }
  result<std::uint64_t> free_bytes() noexcept override { return inner_->free_bytes(); }
  std::uint64_t random() noexcept override { return inner_->random(); }
  std::string describe() const override { return inner_->describe(); }

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

  const std::unique_ptr<Storage> inner_;
  Gate& gate_;
};

}  // namespace bus::simulation
