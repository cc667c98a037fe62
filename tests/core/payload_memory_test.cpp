// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What payloads take from the heap, give back, and leave in it, seen by operators new and delete that count, fail and
// look into blocks for the whole executable. That is why these tests have one of their own.
#include <bus/bus.hpp>
#include <bus/payload.hpp>

#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace {

struct Heap {
  std::uint64_t allocated = 0;
  std::uint64_t freed = 0;
  bool fail_next = false;
  std::string_view needle;
  int freed_with_needle = 0;  ///< blocks that were given back with the needle still in them
};
constinit Heap heap;

void* allocate(std::size_t bytes, std::size_t align) {
  void* memory = nullptr;
  if (std::exchange(heap.fail_next, false) || ::posix_memalign(&memory, align, std::max<std::size_t>(bytes, 1)) != 0) {
    throw std::bad_alloc();
  }
  ++heap.allocated;
  return memory;
}

void give_back(void* memory) noexcept {
  if (memory == nullptr) return;
  ++heap.freed;
  if (!heap.needle.empty()) {
    const std::string_view block(static_cast<const char*>(memory), ::malloc_usable_size(memory));
    if (block.find(heap.needle) != std::string_view::npos) ++heap.freed_with_needle;
  }
  std::free(memory);
}

}  // namespace

// The other forms call these.
void* operator new(std::size_t bytes) { return allocate(bytes, alignof(std::max_align_t)); }
void* operator new(std::size_t bytes, std::align_val_t align) {
  return allocate(bytes, static_cast<std::size_t>(align));
}
void operator delete(void* memory) noexcept { give_back(memory); }
void operator delete(void* memory, std::size_t) noexcept { give_back(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { give_back(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { give_back(memory); }

namespace bus {
namespace {

template <std::size_t Bytes, std::size_t Align = 1>
struct Plain {
  alignas(Align) std::array<char, Bytes> bytes{};
};

struct Note {
  std::string text;
};

constexpr std::string_view secret = "a secret of thirty-one letters.";

/// Lies in place, but takes a block once encoded.
struct Wide {
  std::uint64_t value = 0;
};

/// Throws when copied, and when encoded.
struct Bad {
  Bad() = default;
  Bad(Bad&&) = default;
  Bad(const Bad&) { throw std::runtime_error("copy"); }
  std::string text = std::string(100, 'b');
};

}  // namespace

template <std::size_t Bytes, std::size_t Align>
struct Schema<Plain<Bytes, Align>> : PlainSchema<Plain<Bytes, Align>> {
  static constexpr std::string_view name = "test.plain";
  static constexpr std::uint32_t version = 1;
};
template <>
struct Schema<Note> {
  static constexpr std::string_view name = "test.note";
  static constexpr std::uint32_t version = 1;
  static std::size_t size(const Note& note) { return note.text.size(); }
  static void encode(const Note& note, std::span<std::byte> out) {
    std::memcpy(out.data(), note.text.data(), note.text.size());
  }
  static result<Note> decode(std::span<const std::byte>) { return make_error_code(errc::decode_failed); }
};
template <>
struct Schema<Wide> {
  static constexpr std::string_view name = "test.wide";
  static constexpr std::uint32_t version = 1;
  static std::size_t size(const Wide&) { return 200; }
  static void encode(const Wide&, std::span<std::byte> out) {
    // At the end: the allocator writes into the front of what it gets back.
    std::ranges::copy(std::as_bytes(std::span(secret)), out.end() - std::ssize(secret));
  }
  static result<Wide> decode(std::span<const std::byte>) { return make_error_code(errc::decode_failed); }
};
template <>
struct Schema<Bad> {
  static constexpr std::string_view name = "test.bad";
  static constexpr std::uint32_t version = 1;
  static std::size_t size(const Bad&) { return 100; }
  static void encode(const Bad&, std::span<std::byte>) { throw std::runtime_error("encode"); }
  static result<Bad> decode(std::span<const std::byte>) { return make_error_code(errc::decode_failed); }
};

namespace {

std::int64_t blocks_held() noexcept { return static_cast<std::int64_t>(heap.allocated - heap.freed); }

// --- Taking and giving back ---

TEST(PayloadMemory, is_one_allocation_above_48_bytes_and_none_for_a_copy) {
  const std::string text(49, 'x');
  const auto before = heap.allocated;
  const Payload small = Payload::copy(std::string_view(text).substr(1));
  EXPECT_EQ(heap.allocated, before);
  const Payload large = Payload::copy(text);
  EXPECT_EQ(heap.allocated, before + 1);
  const Payload copies[] = {small, large};
  EXPECT_EQ(heap.allocated, before + 1);
  EXPECT_EQ(copies[1].text(), text);
}

TEST(PayloadMemory, is_one_allocation_for_an_object_above_40_bytes) {
  const auto before = heap.allocated;
  const Payload small = Payload::object(Plain<40>{});
  EXPECT_EQ(heap.allocated, before);
  const Payload large = Payload::object(Plain<41>{});
  EXPECT_EQ(heap.allocated, before + 1);
}

TEST(PayloadMemory, is_one_allocation_for_foreign_bytes_however_many) {
  const std::string foreign(1000, 'f');
  const auto before = heap.allocated;
  const Payload payload = Payload::wrap(std::as_bytes(std::span(foreign)), nullptr);
  EXPECT_EQ(heap.allocated, before + 1);
}

TEST(PayloadMemory, is_given_back) {
  const std::function<Payload()> kinds[] = {
      [] { return Payload::copy("small"); },
      [] { return Payload::copy(std::string(100, 'l')); },
      [] { return Payload::object(Plain<8>{}); },
      [] { return Payload::object(Plain<128, 64>{}); },
      [] { return Payload::object(Note{std::string(100, 'n')}); },
      [] { return Payload::wrap({}, [held = std::string(100, 'h')] {}); },
  };
  for (const auto& make : kinds) {
    const auto before = blocks_held();
    {
      const Payload payload = make();
      Payload copy = payload;
      Payload assigned = make();
      assigned = copy;
      copy = Payload();
      copy = assigned.encoded();
    }
    EXPECT_EQ(blocks_held(), before);
  }
}

TEST(PayloadMemory, that_runs_out_in_wrap_calls_the_releaser_once) {
  int released = 0;
  std::function<void()> release = [&] { ++released; };
  heap.fail_next = true;
  EXPECT_THROW((void)Payload::wrap({}, std::move(release)), std::bad_alloc);
  EXPECT_EQ(released, 1);
}

TEST(PayloadMemory, that_runs_out_in_wrap_without_a_releaser_is_bad_alloc) {
  heap.fail_next = true;
  EXPECT_THROW((void)Payload::wrap({}, nullptr), std::bad_alloc);
}

TEST(PayloadMemory, that_runs_out_in_copy_is_bad_alloc) {
  const std::string text(49, 'x');
  heap.fail_next = true;
  EXPECT_THROW((void)Payload::copy(text), std::bad_alloc);
}

TEST(PayloadMemory, is_given_back_when_copying_an_object_in_throws) {
  const Bad bad;
  const auto before = blocks_held();
  EXPECT_THROW((void)Payload::object(bad), std::runtime_error);
  EXPECT_EQ(blocks_held(), before);
}

TEST(PayloadMemory, is_given_back_when_encoding_throws) {
  const Payload payload = Payload::object(Bad());
  const auto before = blocks_held();
  EXPECT_THROW((void)payload.encoded(), std::runtime_error);
  EXPECT_EQ(blocks_held(), before);
}

// --- Wiping ---

/// How many blocks come back with the secret in them when `payload` is dropped.
int blocks_left_readable(Payload payload) {
  heap.needle = secret;
  heap.freed_with_needle = 0;
  payload = Payload();
  heap.needle = {};
  return heap.freed_with_needle;
}

Payload wiping(Payload payload) {
  payload.wipe_on_release();
  return payload;
}

Payload secret_bytes() {
  std::string text(100, '.');
  text.replace(60, secret.size(), secret);
  return Payload::copy(text);
}

template <std::size_t Align>
Payload secret_object() {
  Plain<128, Align> object;
  std::copy(secret.begin(), secret.end(), object.bytes.end() - secret.size());
  return Payload::object(object);
}

TEST(PayloadMemory, is_wiped_if_told_to) {
  EXPECT_EQ(blocks_left_readable(wiping(secret_bytes())), 0);
  EXPECT_EQ(blocks_left_readable(wiping(secret_object<1>())), 0);
  EXPECT_EQ(blocks_left_readable(wiping(secret_object<64>())), 0);
}

TEST(PayloadMemory, is_not_wiped_unless_told_to) {
  EXPECT_EQ(blocks_left_readable(secret_bytes()), 1);
  EXPECT_EQ(blocks_left_readable(secret_object<1>()), 1);
  EXPECT_EQ(blocks_left_readable(secret_object<64>()), 1);
}

TEST(PayloadMemory, is_wiped_for_all_copies_if_one_was_told_to_and_no_earlier) {
  Payload last = secret_bytes();
  EXPECT_EQ(blocks_left_readable(wiping(last)), 0);
  EXPECT_NE(last.text().find(secret), std::string_view::npos);
  EXPECT_EQ(blocks_left_readable(std::move(last)), 0);
}

/// How many blocks of a message come back with the secret in them when its bus is gone.
int blocks_left_readable_by_a_bus(bool amnesia) {
  heap.freed_with_needle = 0;
  {
    bus::Bus hub{{.capacity = 2, .amnesia = amnesia}};
    EXPECT_TRUE(hub.send(bus::Message{.topic = "a", .payload = secret_bytes()}));
    heap.needle = secret;
  }
  heap.needle = {};
  return heap.freed_with_needle;
}

TEST(PayloadMemory, is_wiped_by_a_bus_with_amnesia_and_by_no_other) {
  EXPECT_EQ(blocks_left_readable_by_a_bus(false), 1);
  EXPECT_EQ(blocks_left_readable_by_a_bus(true), 0);
}

TEST(PayloadMemory, of_the_encoding_is_wiped_if_that_of_the_object_is) {
  EXPECT_EQ(blocks_left_readable(secret_object<1>().encoded()), 1);
  EXPECT_EQ(blocks_left_readable(wiping(secret_object<1>()).encoded()), 0);
  const Payload in_place = Payload::object(Wide{1});
  EXPECT_EQ(blocks_left_readable(in_place.encoded()), 1);
  EXPECT_EQ(blocks_left_readable(wiping(Payload(in_place)).encoded()), 0);
}

}  // namespace
}  // namespace bus
