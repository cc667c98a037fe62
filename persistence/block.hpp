// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Bytes of a segment as they were read, with what must stay as long as somebody looks at them.
#pragma once

#include "persistence/format.hpp"
#include "persistence/segment_list.hpp"

#include <bus/persistence/record.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

namespace bus::detail {

class Names;

/// Counted by those who hold it.
class Block {
 public:
  explicit Block(std::size_t bytes) : bytes_(std::make_unique_for_overwrite<std::byte[]>(bytes)), room_(bytes) {}

  std::byte* data() const noexcept { return bytes_.get(); }
  std::size_t room() const noexcept { return room_; }

  /// What views of these bytes refer to besides.
  SegmentRef segment;
  std::shared_ptr<const Names> names;

  /// Whether it has at most so many holders. BLOCK-ALONE: its partner is the release of whoever held it besides.
  bool is_held_by(std::uint32_t holders) const noexcept {
    return references_.load(std::memory_order_acquire) <= holders;
  }

 private:
  friend void intrusive_ptr_add_ref(const Block* block) noexcept;
  friend void intrusive_ptr_release(const Block* block) noexcept;
  mutable std::atomic<std::uint32_t> references_{0};
  const std::unique_ptr<std::byte[]> bytes_;
  const std::size_t room_;
};
using BlockRef = boost::intrusive_ptr<Block>;

/// Fills in a view.
struct RecordAccess {
  static void set_block(RecordView& view, const BlockRef& block) noexcept { view.block_ = block; }
  static bool holds(const RecordView& view, const Block* block) noexcept { return view.block_.get() == block; }
  static void set(RecordView& view, std::uint64_t offset, std::string_view topic, std::string_view principal,
                  std::int64_t time_ns, std::span<const std::byte> fields,
                  std::span<const std::byte> payload) noexcept {
    view.offset_ = offset;
    view.topic_ = topic;
    view.principal_ = principal;
    view.time_ns_ = time_ns;
    view.fields_ = fields;
    view.payload_ = payload;
    view.schema_ = {};
    view.schema_version_ = 0;
  }
  static void set_schema(RecordView& view, std::string_view name, std::uint32_t version) noexcept {
    view.schema_ = name;
    view.schema_version_ = version;
  }
};

}  // namespace bus::detail
