// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <bus/detail/sync.hpp>

#include <bit>
#include <cstdint>

namespace bus::detail {

/// Records that come and go while others walk over them without a lock.
///
/// Records live in blocks that are never freed before the registry: a walker may look at a record that has
/// just been given back, or given to somebody else, and finds a record of the same type. Besides "taken",
/// each record has one bit, its mark, for the use of the registry's owner.
///
/// Threads: all functions from any thread, constructor and destructor excepted. No call waits for another.
///
/// Every access to the bitmaps and links is sequentially consistent: the protocols built on this registry
/// (announcements against reclamation, arming against waking) argue with the single total order of such
/// accesses, and none of them is on a path where that costs anything.
template <class Record, unsigned RecordsPerBlock = 32>
class Registry {
  static_assert(RecordsPerBlock >= 1 && RecordsPerBlock <= 32);

 public:
  class Entry;

 private:
  struct Block;

 public:
  /// Base of a record: where it stands.
  class Entry {
    friend class Registry;
    Block* block_ = nullptr;
    std::uint32_t bit_ = 0;
  };

  Registry() = default;
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  ~Registry() {
    for (Block* block = first_.load(sync::relaxed); block != nullptr;) {
      Block* next = block->next.load(sync::relaxed);
      delete block;
      block = next;
    }
  }

  /// A record nobody else has: a used one if there is any, in the state in which it was given back.
  /// Cost: allocates a block when all are taken. Errors: throws std::bad_alloc.
  Record& acquire() {
    sync::atomic<Block*>* link = &first_;
    for (;;) {
      Block* block = link->load(sync::seq_cst);
      if (block == nullptr) block = append(*link);
      std::uint32_t taken = block->taken.load(sync::seq_cst);
      while (taken != Block::all) {
        const std::uint32_t bit = ~taken & (taken + 1);  // the lowest that is free
        if (block->taken.compare_exchange_strong(taken, taken | bit, sync::seq_cst, sync::seq_cst)) {
          return block->records[std::countr_zero(bit)];
        }
      }
      link = &block->next;
    }
  }

  /// Gives a record back. Its mark must not be set.
  void release(Record& record) noexcept { entry(record).block_->taken.fetch_and(~entry(record).bit_, sync::seq_cst); }

  /// Calls `visit(record)` for every record that is taken, in no particular order.
  template <class Visit>
  void for_each(Visit&& visit) {
    for (Block* block = first_.load(sync::seq_cst); block != nullptr; block = block->next.load(sync::seq_cst)) {
      for (std::uint32_t bits = block->taken.load(sync::seq_cst); bits != 0; bits &= bits - 1) {
        visit(block->records[std::countr_zero(bits)]);
      }
    }
  }

  /// As `for_each`, over all records that ever existed.
  template <class Visit>
  void for_all(Visit&& visit) {
    for (Block* block = first_.load(sync::seq_cst); block != nullptr; block = block->next.load(sync::seq_cst)) {
      for (Record& record : block->records) visit(record);
    }
  }

  /// Sets the mark. Returns: whether it was clear.
  bool mark(Record& record) noexcept {
    return (entry(record).block_->marked.fetch_or(entry(record).bit_, sync::seq_cst) & entry(record).bit_) == 0;
  }

  /// Clears the mark. Returns: whether it was set, which of several callers is told to one.
  bool unmark(Record& record) noexcept {
    return (entry(record).block_->marked.fetch_and(~entry(record).bit_, sync::seq_cst) & entry(record).bit_) != 0;
  }

  /// Unmarks the marked records one by one, each followed by `claimed(record)` if this call cleared the mark.
  template <class Claimed>
  void unmark_each(Claimed&& claimed) {
    for (Block* block = first_.load(sync::seq_cst); block != nullptr; block = block->next.load(sync::seq_cst)) {
      for (std::uint32_t bits = block->marked.load(sync::seq_cst); bits != 0; bits &= bits - 1) {
        Record& record = block->records[std::countr_zero(bits)];
        if (unmark(record)) claimed(record);
      }
    }
  }

 private:
  struct Block {
    static constexpr std::uint32_t all = RecordsPerBlock == 32 ? ~0U : (1U << RecordsPerBlock) - 1;

    Block() {
      std::uint32_t bit = 1;
      for (Record& record : records) {
        entry(record).block_ = this;
        entry(record).bit_ = bit;
        bit <<= 1;
      }
    }

    sync::atomic<std::uint32_t> taken{0};
    sync::atomic<std::uint32_t> marked{0};
    sync::atomic<Block*> next{nullptr};
    Record records[RecordsPerBlock];
  };

  static Entry& entry(Record& record) noexcept { return record; }

  static Block* append(sync::atomic<Block*>& link) {
    Block* mine = new Block;
    Block* found = nullptr;
    if (link.compare_exchange_strong(found, mine, sync::seq_cst, sync::seq_cst)) return mine;
    delete mine;
    return found;
  }

  sync::atomic<Block*> first_{nullptr};
};

}  // namespace bus::detail
