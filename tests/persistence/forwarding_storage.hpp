// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <bus/persistence/storage.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bus::simulation {

/// A storage that passes all on to another: for those that change one thing.
class ForwardingStorage : public Storage {
 public:
  explicit ForwardingStorage(std::unique_ptr<Storage> inner) : inner_(std::move(inner)) {}

  result<std::unique_ptr<File>> open(std::string_view name, Open how) noexcept override {
    return inner_->open(name, how);
  }
  result<std::vector<std::string>> list() noexcept override { return inner_->list(); }
  error_code rename(std::string_view from, std::string_view to) noexcept override { return inner_->rename(from, to); }
  error_code remove(std::string_view name) noexcept override { return inner_->remove(name); }
  error_code sync_names() noexcept override { return inner_->sync_names(); }
  result<std::unique_ptr<StorageLock>> lock(std::string_view name) noexcept override { return inner_->lock(name); }
  error_code check_lock(std::string_view name) noexcept override { return inner_->check_lock(name); }
  result<std::unique_ptr<Storage>> directory(std::string_view name) noexcept override {
    return inner_->directory(name);
  }
  result<std::unique_ptr<Storage>> existing_directory(std::string_view name) noexcept override {
    return inner_->existing_directory(name);
  }
  result<std::uint64_t> free_bytes() noexcept override { return inner_->free_bytes(); }
  std::uint64_t random() noexcept override { return inner_->random(); }
  std::string describe() const override { return inner_->describe(); }

 private:
  const std::unique_ptr<Storage> inner_;
};

}  // namespace bus::simulation
