// SPDX-License-Identifier: MIT OR Apache-2.0
#include "persistence/item_queue.hpp"

namespace bus::detail {

std::uint64_t ItemQueue::posted() noexcept {
  const std::lock_guard lock(mutex_);
  return posted_;
}

ItemQueue::Asked ItemQueue::ask_for(std::uint64_t number) noexcept {
  const Asked asked{.number = number, .refusals = refusals_.load(std::memory_order_seq_cst)};
  std::uint64_t wanted = wanted_.load(std::memory_order_relaxed);
  while (wanted < number && !wanted_.compare_exchange_weak(wanted, number, std::memory_order_seq_cst)) {
  }
  return asked;
}

std::span<const LogControl> ItemQueue::gather() {
  controls_.reserve(frames_at_once);
  {
    const std::lock_guard lock(mutex_);
    while (!frames_.empty() && batch_.size() < frames_at_once) {
      batch_.splice(batch_.end(), frames_, frames_.begin());
    }
    left_ = !frames_.empty();
    pending_.store(left_, std::memory_order_relaxed);
  }
  for (const Frame& frame : batch_) controls_.push_back({.body = frame.items.bytes()});
  return controls_;
}

void ItemQueue::give_back() noexcept {
  controls_.clear();
  if (batch_.empty()) return;
  const std::lock_guard lock(mutex_);
  frames_.splice(frames_.begin(), batch_);
  pending_.store(true, std::memory_order_relaxed);
}

void ItemQueue::refuse(bool for_memory) noexcept {
  refused_for_memory_.store(for_memory, std::memory_order_relaxed);
  // In this order: who asks in between has raised what is wanted, or is told.
  std::uint64_t wanted = wanted_.load(std::memory_order_seq_cst);
  (void)wanted_.compare_exchange_strong(wanted, synced(), std::memory_order_seq_cst);
  refusals_.fetch_add(1, std::memory_order_seq_cst);  // in front of CELL-CHECK
  waiters_.wake(0, 1);
}

void ItemQueue::end(bool is_synced) noexcept {
  if (!batch_.empty()) written_ = batch_.back().last;
  controls_.clear();
  batch_.clear();
  if (!is_synced) return;
  synced_.store(written_, std::memory_order_seq_cst);  // in front of CELL-CHECK
  waiters_.wake(0, 1);
}

}  // namespace bus::detail
