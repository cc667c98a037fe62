// SPDX-License-Identifier: MIT OR Apache-2.0
#include <bus/payload.hpp>

#include <limits>

namespace bus {

std::byte* Payload::make_block(std::size_t bytes) {
  if (bytes > std::numeric_limits<std::size_t>::max() - sizeof(Block)) throw std::bad_alloc();
  void* memory = ::operator new(sizeof(Block) + bytes);
  auto* contents = static_cast<std::byte*>(memory) + sizeof(Block);
  auto* block = ::new (memory) Block;
  block->data = contents;
  block->size = bytes;
  block->destroy = [](Block* self) noexcept {
    const std::size_t total = sizeof(Block) + self->size;
    const bool wipe = self->wipe.load(sync::relaxed);
    self->~Block();
    finish(self, total, alignof(Block), wipe);
  };
  hold(block, Kind::block);
  return contents;
}

Payload Payload::wrap(std::span<const std::byte> bytes, std::function<void()> release) {
  struct ForeignBlock : Block {
    std::function<void()> release;
  };
  auto* block = new (std::nothrow) ForeignBlock;
  if (block == nullptr) {
    if (release) release();
    throw std::bad_alloc();
  }
  block->release = std::move(release);
  block->data = bytes.data();
  block->size = bytes.size();
  block->destroy = [](Block* base) noexcept {
    auto* self = static_cast<ForeignBlock*>(base);
    if (self->release) self->release();
    delete self;
  };
  Payload payload;
  payload.hold(block, Kind::block);
  return payload;
}

Payload Payload::encoded() const {
  const SchemaInfo* info = schema();
  if (info == nullptr) return *this;
  const void* object = object_address();
  const std::size_t bytes = size();
  Payload payload;
  std::byte* room = payload.storage_;
  if (bytes <= in_place_bytes) {
    payload.size_ = static_cast<std::uint32_t>(bytes);
  } else {
    room = payload.make_block(bytes);
  }
  if (is_shared() ? block()->wipe.load(sync::relaxed) : wipe_) payload.wipe_on_release();  // before `encode` may throw
  info->encode(object, {room, bytes});
  return payload;
}

// sync PAYLOAD-WIPE: relaxed; whoever sets it holds a count, so PAYLOAD-DROP shows it to the last holder.
void Payload::wipe_on_release() noexcept {
  if (is_shared()) {
    block()->wipe.store(true, sync::relaxed);
  } else {
    wipe_ = true;
  }
}

// sync PAYLOAD-DROP: acq_rel; pairs with itself: the last holder sees what all others did before.
void Payload::release_block(Block* block) noexcept {
  if (block->references.fetch_sub(1, sync::acq_rel) == 1) block->destroy(block);
}

void Payload::finish(void* memory, std::size_t bytes, std::size_t align, bool wipe) noexcept {
  if (wipe) detail::wipe_memory(memory, bytes);
  if (align > __STDCPP_DEFAULT_NEW_ALIGNMENT__) {
    ::operator delete(memory, std::align_val_t(align));
  } else {
    ::operator delete(memory);
  }
}

void detail::wipe_memory(void* memory, std::size_t bytes) noexcept {
  std::memset(memory, 0, bytes);
  asm volatile("" : : "r"(memory) : "memory");  // somebody looks, as far as the compiler knows
}

}  // namespace bus
