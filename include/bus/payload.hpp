// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What a message carries: bytes, or one typed object.
#pragma once

#include <bus/detail/sync.hpp>
#include <bus/export.hpp>
#include <bus/schema.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <new>
#include <span>
#include <stdexcept>
#include <string_view>
#include <type_traits>
#include <utility>

namespace bus {
namespace detail {

/// Zeroes memory in a way that no optimiser removes.
BUSBAR_EXPORT void wipe_memory(void* memory, std::size_t bytes) noexcept;

/// Copies whole words, one at a time. What is published has often been written a moment ago, field by field: a wider
/// load would have to wait until those stores have reached the cache.
inline void copy_words(std::byte* to, const std::byte* from, std::size_t words) noexcept {
  for (; words != 0; --words, to += sizeof(std::uint64_t), from += sizeof(std::uint64_t)) {
    std::uint64_t word;
    std::memcpy(&word, from, sizeof word);
    asm("" : "+r"(word));  // keeps the compiler from widening
    std::memcpy(to, &word, sizeof word);
  }
}

}  // namespace detail

/// What a message carries: bytes, or one typed object. Immutable and shared: a copy is a copy of the handle.
///
/// Up to 48 bytes, and trivially copyable objects of up to 40, lie in the payload itself: they need no
/// allocation and copying them shares nothing. Anything larger lives in one counted block.
///
/// Threads:  distinct payloads may be used at the same time, whether or not they share a block. The last
///           holder destroys the object or calls the releaser, in its own thread: on a bus that is often a
///           publisher that reuses the node. Neither may block or throw.
/// Lifetime: what `bytes()` and `get_if()` point to lives as long as this payload, unmoved. Small contents lie
///           inside it, so keep the payload (or the event), not the pointer.
class BUSBAR_EXPORT Payload {
 public:
  static constexpr std::size_t in_place_bytes = 48;
  static constexpr std::size_t in_place_object_bytes = 40;

  /// No bytes.
  Payload() noexcept { std::memset(storage_, 0, sizeof(void*)); }  // GCC takes block() to read it, under sanitizers

  /// Copies `bytes`.
  /// Cost: no allocation up to 48 bytes, else one. Errors: throws std::bad_alloc.
  static Payload copy(std::span<const std::byte> bytes);
  static Payload copy(std::string_view text) { return copy(std::as_bytes(std::span(text.data(), text.size()))); }

  /// Refers to memory of somebody else. `release` is called once, when the last copy is gone.
  /// Cost: one allocation, and what `release` needs. Errors: throws std::bad_alloc, after calling `release`.
  static Payload wrap(std::span<const std::byte> bytes, std::function<void()> release);

  /// Takes a typed object, and measures once what it takes when encoded.
  /// Cost: no allocation if T is trivially copyable, at most 40 bytes, and aligned to at most 8; else one.
  /// Errors: throws std::bad_alloc, std::length_error if it takes 4 GiB or more, and what T's constructor and the
  /// schema's `size` throw.
  template <class T>
    requires HasSchema<std::remove_cvref_t<T>>
  static Payload object(T&& value);

  Payload(const Payload& other) noexcept { copy_from(other); }
  Payload(Payload&& other) noexcept { take_from(other); }
  Payload& operator=(const Payload& other) noexcept;
  Payload& operator=(Payload&& other) noexcept;
  ~Payload() { drop(); }

  /// The bytes; empty if this is an object (see `encoded()`).
  std::span<const std::byte> bytes() const noexcept;

  /// The bytes as text; empty if this is an object.
  std::string_view text() const noexcept {
    const auto view = bytes();
    return {reinterpret_cast<const char*>(view.data()), view.size()};
  }

  /// The schema of the object; nullptr if these are bytes.
  const SchemaInfo* schema() const noexcept;

  /// The object, if it is one with the schema of T; else nullptr.
  template <HasSchema T>
  const T* get_if() const noexcept {
    const SchemaInfo* info = schema();
    return info != nullptr && info->same_as(schema_info<T>) ? static_cast<const T*>(object_address()) : nullptr;
  }

  /// A copy of the object, or what the schema of T makes of the bytes.
  /// Errors: errc::schema_mismatch for an object of another schema; what `decode` returns.
  template <HasSchema T>
  result<T> decode() const {
    if (const T* object = get_if<T>()) return *object;
    if (schema() != nullptr) return make_error_code(errc::schema_mismatch);
    return Schema<T>::decode(bytes());
  }

  /// These bytes, or the object encoded by its schema.
  /// Cost: encoding an object allocates as `copy` does. Errors: throws std::bad_alloc, and what `encode` throws.
  Payload encoded() const;

  /// Bytes, or bytes the object takes once encoded. What size limits look at.
  std::size_t size() const noexcept { return is_shared() ? block()->size : size_; }

  /// Whether copies share a counted block.
  bool is_shared() const noexcept { return kind_ >= Kind::block; }

  /// Whether there is neither a byte nor an object.
  bool empty() const noexcept {
    return kind_ == Kind::in_place ? size_ == 0 : kind_ == Kind::block && block()->size == 0;
  }

  /// From now on, memory the library allocated for these contents is zeroed before it is given back.
  void wipe_on_release() noexcept;

 private:
  enum class Kind : std::uint8_t { in_place, in_place_object, block, object_block };

  /// What lies in front of the contents of a shared block.
  struct Block {
    sync::atomic<std::uint32_t> references{1};
    sync::atomic<bool> wipe{false};
    const std::byte* data = nullptr;
    std::size_t size = 0;
    const SchemaInfo* schema = nullptr;
    void (*destroy)(Block*) noexcept = nullptr;  ///< ends the contents and frees the block
  };
  template <class T>
  struct ObjectBlock;

  Block* block() const noexcept {
    Block* block;
    std::memcpy(&block, storage_, sizeof block);
    return block;
  }
  void hold(Block* block, Kind kind) noexcept {
    std::memcpy(storage_, &block, sizeof block);
    kind_ = kind;
  }
  const void* object_address() const noexcept {
    return kind_ == Kind::in_place_object ? storage_ + sizeof(void*) : static_cast<const void*>(block()->data);
  }

  void copy_bits(const Payload& other) noexcept {
    detail::copy_words(storage_, other.storage_, in_place_bytes / sizeof(std::uint64_t));
    size_ = other.size_;
    kind_ = other.kind_;
    wipe_ = other.wipe_;
  }
  void copy_from(const Payload& other) noexcept {
    copy_bits(other);
    if (is_shared()) block()->references.fetch_add(1, sync::relaxed);
  }
  void take_from(Payload& other) noexcept {
    copy_bits(other);
    other.size_ = 0;
    other.kind_ = Kind::in_place;
    other.wipe_ = false;
  }
  void drop() noexcept {
    if (is_shared()) release_block(block());
  }
  /// Room for `bytes` bytes of contents, in a payload that has none yet.
  std::byte* make_block(std::size_t bytes);
  template <class T>
  static std::uint32_t measure(const T& value) {
    const std::size_t size = Schema<T>::size(value);
    if (size > std::numeric_limits<std::uint32_t>::max()) throw std::length_error("a payload of 4 GiB or more");
    return static_cast<std::uint32_t>(size);
  }
  static void release_block(Block* block) noexcept;
  /// Gives memory back whose contents have ended, zeroed first if asked.
  static void finish(void* memory, std::size_t bytes, std::size_t align, bool wipe) noexcept;

  alignas(8) std::byte storage_[in_place_bytes];
  std::uint32_t size_ = 0;
  Kind kind_ = Kind::in_place;
  bool wipe_ = false;  // of contents in place: `encoded` may need a block for them; a block has its own
};
static_assert(sizeof(Payload) == 56 && sizeof(void*) == 8);

template <class T>
struct Payload::ObjectBlock : Block {
  template <class U>
  explicit ObjectBlock(U&& from) : value(std::forward<U>(from)) {}
  T value;
};

template <class T>
  requires HasSchema<std::remove_cvref_t<T>>
Payload Payload::object(T&& value) {
  using Object = std::remove_cvref_t<T>;
  Payload payload;
  if constexpr (std::is_trivially_copyable_v<Object> && sizeof(Object) <= in_place_object_bytes &&
                alignof(Object) <= 8) {
    const SchemaInfo* info = &schema_info<Object>;
    std::memcpy(payload.storage_, &info, sizeof info);
    std::memcpy(payload.storage_ + sizeof info, std::addressof(value), sizeof value);
    payload.size_ = measure<Object>(value);
    payload.kind_ = Kind::in_place_object;
  } else {
    const std::uint32_t size = measure<Object>(value);
    auto* block = new ObjectBlock<Object>(std::forward<T>(value));
    block->data = reinterpret_cast<const std::byte*>(std::addressof(block->value));
    block->size = size;
    block->schema = &schema_info<Object>;
    block->destroy = [](Block* base) noexcept {
      auto* self = static_cast<ObjectBlock<Object>*>(base);
      const bool wipe = self->wipe.load(sync::relaxed);
      self->~ObjectBlock<Object>();
      finish(self, sizeof *self, alignof(ObjectBlock<Object>), wipe);
    };
    payload.hold(block, Kind::object_block);
  }
  return payload;
}

inline Payload Payload::copy(std::span<const std::byte> bytes) {
  Payload payload;
  const std::size_t size = bytes.size();
  if (size <= in_place_bytes) [[likely]] {
    payload.size_ = static_cast<std::uint32_t>(size);
    const std::size_t whole = size / sizeof(std::uint64_t);
    detail::copy_words(payload.storage_, bytes.data(), whole);
    for (std::size_t i = whole * sizeof(std::uint64_t); i < size; ++i) payload.storage_[i] = bytes[i];
  } else {
    std::memcpy(payload.make_block(size), bytes.data(), size);
  }
  return payload;
}

inline Payload& Payload::operator=(const Payload& other) noexcept {
  if (this != &other) {
    const Payload old(std::move(*this));  // `other` may lie in the object that goes with it
    copy_from(other);
  }
  return *this;
}

inline Payload& Payload::operator=(Payload&& other) noexcept {
  if (this != &other) {
    const Payload old(std::move(*this));
    take_from(other);
  }
  return *this;
}

inline std::span<const std::byte> Payload::bytes() const noexcept {
  switch (kind_) {
    case Kind::in_place: return {storage_, size_};
    case Kind::block: return {block()->data, block()->size};
    default: return {};
  }
}

inline const SchemaInfo* Payload::schema() const noexcept {
  if (kind_ == Kind::in_place_object) {
    const SchemaInfo* info;
    std::memcpy(&info, storage_, sizeof info);
    return info;
  }
  return kind_ == Kind::object_block ? block()->schema : nullptr;
}

}  // namespace bus
