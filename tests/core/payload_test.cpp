// SPDX-License-Identifier: MIT OR Apache-2.0
#include <bus/payload.hpp>

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace bus {
namespace {

// --- Types that travel ---

/// A plain object of `Bytes` bytes.
template <std::size_t Bytes, std::size_t Align = 1>
struct Plain {
  alignas(Align) std::array<char, Bytes> bytes{};
};

struct Point {
  std::int32_t x = 0;
  std::int32_t y = 0;
};
struct LaterPoint : Point {};
struct WiderPoint : Point {
  std::int32_t z = 0;
};
struct AlignedPoint {
  alignas(8) Point point;
};
struct OtherPoint : Point {};
/// What a second shared library would make of Point.
struct SamePoint : Point {};

/// Is not trivially copyable; tells of its destruction.
struct Counted {
  explicit Counted(std::atomic<int>& destroyed_count) : destroyed(&destroyed_count) {}
  Counted(Counted&& other) noexcept : destroyed(std::exchange(other.destroyed, nullptr)) {}
  Counted& operator=(Counted&&) = delete;
  ~Counted() {
    if (destroyed != nullptr) ++*destroyed;
  }
  std::atomic<int>* destroyed;
};

struct Note {
  std::string text;
};

/// Holds another payload.
struct Envelope {
  Payload inner;
};

}  // namespace

template <std::size_t Bytes, std::size_t Align>
struct Schema<Plain<Bytes, Align>> : PlainSchema<Plain<Bytes, Align>> {
  static constexpr std::string_view name = "test.plain";
  static constexpr std::uint32_t version = Align;
};

template <class T, std::uint32_t Version>
struct PointSchema : PlainSchema<T> {
  static constexpr std::string_view name = "test.point";
  static constexpr std::uint32_t version = Version;
};
template <>
struct Schema<Point> : PointSchema<Point, 1> {};
template <>
struct Schema<SamePoint> : PointSchema<SamePoint, 1> {};
template <>
struct Schema<LaterPoint> : PointSchema<LaterPoint, 2> {};
template <>
struct Schema<WiderPoint> : PointSchema<WiderPoint, 1> {};
template <>
struct Schema<AlignedPoint> : PointSchema<AlignedPoint, 1> {};
template <>
struct Schema<OtherPoint> : PlainSchema<OtherPoint> {
  static constexpr std::string_view name = "test.pointer";
  static constexpr std::uint32_t version = 1;
};

/// For types that are not meant to be encoded.
template <class T>
struct InProcessOnly {
  static constexpr std::uint32_t version = 1;
  static std::size_t size(const T&) { return 100; }
  static void encode(const T&, std::span<std::byte>) { throw std::runtime_error("encode"); }
  static result<T> decode(std::span<const std::byte>) { return make_error_code(errc::decode_failed); }
};
template <>
struct Schema<Counted> : InProcessOnly<Counted> {
  static constexpr std::string_view name = "test.counted";
};
template <>
struct Schema<Envelope> : InProcessOnly<Envelope> {
  static constexpr std::string_view name = "test.envelope";
};

template <>
struct Schema<Note> {
  static constexpr std::string_view name = "test.note";
  static constexpr std::uint32_t version = 1;
  static std::size_t size(const Note& note) { return note.text.size(); }
  static void encode(const Note& note, std::span<std::byte> out) {
    std::memcpy(out.data(), note.text.data(), note.text.size());
  }
  static result<Note> decode(std::span<const std::byte> in) {
    if (in.empty()) return make_error_code(errc::decode_failed);
    return Note{{reinterpret_cast<const char*>(in.data()), in.size()}};
  }
};

namespace {

bool lies_inside(const Payload& payload, const void* contents) {
  const auto begin = reinterpret_cast<std::uintptr_t>(&payload);
  const auto at = reinterpret_cast<std::uintptr_t>(contents);
  return at >= begin && at < begin + sizeof payload;
}

// --- Bytes ---

TEST(Payload, without_contents_is_empty) {
  const Payload payload;
  EXPECT_TRUE(payload.empty());
  EXPECT_EQ(payload.size(), 0U);
  EXPECT_EQ(payload.text(), "");
  EXPECT_EQ(payload.schema(), nullptr);
  EXPECT_EQ(payload.get_if<Point>(), nullptr);
  EXPECT_TRUE(Payload::copy("").empty());
  EXPECT_TRUE(Payload::copy(std::span<const std::byte>()).empty());
  EXPECT_TRUE(Payload::wrap({}, nullptr).empty());
}

TEST(Payload, with_a_byte_or_an_object_is_not_empty) {
  EXPECT_FALSE(Payload::copy("x").empty());
  EXPECT_FALSE(Payload::copy(std::string(100, 'x')).empty());
  EXPECT_FALSE(Payload::object(Point{}).empty());
  EXPECT_FALSE(Payload::object(Note{}).empty());
}

TEST(Payload, copies_the_bytes) {
  for (const std::size_t size : {1U, 47U, 48U, 49U, 1000U, 1U << 20}) {
    std::string text(size, 'x');
    text.back() = 'y';
    const std::string expected = text;
    const Payload payload = Payload::copy(text);
    text.assign(size, '-');
    EXPECT_EQ(payload.text(), expected);
    EXPECT_EQ(payload.size(), size);
  }
}

TEST(Payload, of_48_bytes_lies_in_place_and_of_49_does_not) {
  const std::string text(49, 'x');
  const Payload small = Payload::copy(std::string_view(text).substr(1));
  const Payload copy_of_small = small;
  const Payload large = Payload::copy(text);
  const Payload copy_of_large = large;
  EXPECT_FALSE(small.is_shared());
  EXPECT_TRUE(large.is_shared());
  EXPECT_TRUE(lies_inside(small, small.text().data()));
  EXPECT_TRUE(lies_inside(copy_of_small, copy_of_small.text().data()));
  EXPECT_EQ(copy_of_small.text(), small.text());
  EXPECT_FALSE(lies_inside(large, large.text().data()));
  EXPECT_EQ(copy_of_large.text().data(), large.text().data());
}

TEST(Payload, contents_of_a_block_are_aligned_for_words) {
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(Payload::copy(std::string(49, 'x')).bytes().data()) % 8, 0U);
}

TEST(Payload, of_impossible_size_is_bad_alloc) {
  const volatile std::size_t impossible = SIZE_MAX;  // volatile: the compiler would rightly warn
  const std::span<const std::byte> everything(static_cast<const std::byte*>(nullptr), impossible);
  EXPECT_THROW((void)Payload::copy(everything), std::bad_alloc);
}

// --- Values ---

constexpr int kinds = 5;

Payload make(int kind) {
  switch (kind) {
    case 0: return Payload::copy("small");
    case 1: return Payload::copy(std::string(100, 'l'));
    case 2: return Payload::object(Point{1, 2});
    case 3: return Payload::object(Note{std::string(100, 'n')});
    default: return Payload::wrap(std::as_bytes(std::span("foreign")), [] {});
  }
}

class PayloadOfAnyKind : public ::testing::TestWithParam<int> {
 protected:
  const Payload value = make(GetParam());
  const std::string expected = std::string(value.encoded().text());

  void expect_value(const Payload& payload) const {
    EXPECT_EQ(payload.encoded().text(), expected);
    EXPECT_EQ(payload.schema(), value.schema());
    EXPECT_EQ(payload.size(), expected.size());
  }
  static void expect_nothing(const Payload& payload) {
    EXPECT_TRUE(payload.empty());
    EXPECT_EQ(payload.size(), 0U);
    EXPECT_EQ(payload.schema(), nullptr);
    EXPECT_EQ(payload.text(), "");
  }
};

TEST_P(PayloadOfAnyKind, a_copy_outlives_the_original) {
  auto original = std::make_unique<Payload>(value);
  const Payload copy = *original;
  original.reset();
  expect_value(copy);
  expect_value(value);
}

TEST_P(PayloadOfAnyKind, a_move_leaves_nothing_behind) {
  Payload from = value;
  Payload to = std::move(from);
  expect_value(to);
  expect_nothing(from);
  from = std::move(to);
  expect_value(from);
  expect_nothing(to);
}

TEST_P(PayloadOfAnyKind, is_assigned_over_every_other_kind) {
  for (int kind = 0; kind < kinds; ++kind) {
    Payload target = make(kind);
    target = value;
    expect_value(target);
    target = make(kind);
    target = Payload(value);
    expect_value(target);
  }
  expect_value(value);
}

TEST_P(PayloadOfAnyKind, survives_assignment_to_itself) {
  Payload payload = value;
  Payload& same = payload;
  payload = same;
  expect_value(payload);
  payload = std::move(same);
  expect_value(payload);
}

INSTANTIATE_TEST_SUITE_P(Payload, PayloadOfAnyKind, ::testing::Range(0, kinds));

TEST(Payload, may_be_replaced_by_a_payload_that_it_holds) {
  for (const bool move : {false, true}) {
    Payload payload = Payload::object(Envelope{Payload::copy(std::string(100, 'i'))});
    auto& inner = const_cast<Payload&>(payload.get_if<Envelope>()->inner);
    if (move) {
      payload = std::move(inner);
    } else {
      payload = inner;
    }
    EXPECT_EQ(payload.text(), std::string(100, 'i'));
  }
}

// --- Foreign memory ---

TEST(Payload, refers_to_foreign_memory_without_copying_it) {
  const std::string foreign(1000, 'f');
  const Payload payload = Payload::wrap(std::as_bytes(std::span(foreign)), nullptr);
  EXPECT_EQ(payload.text().data(), foreign.data());
  EXPECT_EQ(payload.size(), 1000U);
}

TEST(Payload, calls_the_releaser_once_when_the_last_copy_is_gone) {
  const std::string foreign = "foreign";
  int released = 0;
  {
    std::optional<Payload> first = Payload::wrap(std::as_bytes(std::span(foreign)), [&] { ++released; });
    std::optional<Payload> second = first;
    Payload third = std::move(*first);
    first.reset();
    second.reset();
    EXPECT_EQ(released, 0);
    EXPECT_EQ(third.text(), "foreign");
    third = Payload();
    EXPECT_EQ(released, 1);
  }
  EXPECT_EQ(released, 1);
}

TEST(Payload, calls_the_releaser_of_no_bytes_too) {
  int released = 0;
  {
    const Payload payload = Payload::wrap({}, [&] { ++released; });
  }
  EXPECT_EQ(released, 1);
}

TEST(Payload, destroys_the_releaser_after_calling_it) {
  auto token = std::make_shared<int>(0);
  {
    const Payload payload = Payload::wrap({}, [token] { ++*token; });
  }
  EXPECT_EQ(*token, 1);
  EXPECT_EQ(token.use_count(), 1);
}

TEST(Payload, calls_the_releaser_when_an_exception_passes) {
  int released = 0;
  EXPECT_THROW(
      {
        const Payload payload = Payload::wrap({}, [&] { ++released; });
        throw std::runtime_error("passing");
      },
      std::runtime_error);
  EXPECT_EQ(released, 1);
}

// --- Objects ---

TEST(Payload, a_plain_object_of_40_bytes_lies_in_place_and_of_41_does_not) {
  const Payload small = Payload::object(Plain<40>{});
  const Payload large = Payload::object(Plain<41>{});
  EXPECT_TRUE(lies_inside(small, small.get_if<Plain<40>>()));
  EXPECT_FALSE(lies_inside(large, large.get_if<Plain<41>>()));
}

TEST(Payload, a_plain_object_aligned_to_8_lies_in_place_and_to_16_does_not) {
  const Payload eight = Payload::object(Plain<8, 8>{});
  const Payload sixteen = Payload::object(Plain<8, 16>{});
  EXPECT_TRUE(lies_inside(eight, (eight.get_if<Plain<8, 8>>())));
  EXPECT_FALSE(lies_inside(sixteen, (sixteen.get_if<Plain<8, 16>>())));
}

TEST(Payload, an_object_keeps_its_alignment) {
  const Payload payload = Payload::object(Plain<8, 64>{});
  const auto* object = payload.get_if<Plain<8, 64>>();
  ASSERT_NE(object, nullptr);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(object) % 64, 0U);
}

TEST(Payload, an_object_is_found_by_its_schema) {
  const Payload payload = Payload::object(Point{3, 4});
  ASSERT_NE(payload.get_if<Point>(), nullptr);
  EXPECT_EQ(payload.get_if<Point>()->x, 3);
  EXPECT_EQ(payload.get_if<Point>()->y, 4);
  EXPECT_TRUE(payload.bytes().empty());
  EXPECT_EQ(payload.text(), "");
  EXPECT_EQ(payload.schema()->name, "test.point");
}

TEST(Payload, an_object_of_the_same_schema_is_found_under_another_type) {
  const Payload payload = Payload::object(Point{3, 4});
  ASSERT_NE(payload.get_if<SamePoint>(), nullptr);
  EXPECT_EQ(payload.get_if<SamePoint>()->y, 4);
}

TEST(Payload, an_object_of_another_schema_is_not_found) {
  for (const Payload& payload :
       {Payload::object(Point{}), Payload::copy("bytes"), Payload::copy(std::string(99, 'x'))}) {
    EXPECT_EQ(payload.get_if<OtherPoint>(), nullptr) << "another name";
    EXPECT_EQ(payload.get_if<LaterPoint>(), nullptr) << "another version";
    EXPECT_EQ(payload.get_if<WiderPoint>(), nullptr) << "another size";
    EXPECT_EQ(payload.get_if<AlignedPoint>(), nullptr) << "another alignment";
  }
}

TEST(Payload, an_object_is_destroyed_once_with_the_last_copy) {
  std::atomic<int> destroyed = 0;
  Payload payload = Payload::object(Counted(destroyed));
  Payload copy = payload;
  payload = Payload();
  EXPECT_EQ(destroyed, 0);
  copy = Payload();
  EXPECT_EQ(destroyed, 1);
}

// --- Encoding ---

TEST(Payload, encoded_bytes_are_the_bytes) {
  const Payload payload = Payload::copy(std::string(100, 'x'));
  EXPECT_EQ(payload.encoded().text().data(), payload.text().data());
}

TEST(Payload, an_object_comes_back_from_its_bytes) {
  const Payload point = Payload::object(Point{5, 6}).encoded();
  EXPECT_EQ(point.schema(), nullptr);
  EXPECT_EQ(point.size(), sizeof(Point));
  EXPECT_EQ(point.decode<Point>().value().y, 6);
  for (const std::size_t size : {1U, 48U, 49U, 5000U}) {
    const Payload object = Payload::object(Note{std::string(size, 'n')});
    EXPECT_EQ(object.size(), size);
    EXPECT_EQ(object.encoded().size(), size);
    EXPECT_EQ(object.encoded().decode<Note>().value().text, std::string(size, 'n'));
  }
}

TEST(Payload, decode_copies_the_object_if_it_is_one) {
  EXPECT_EQ(Payload::object(Note{"here"}).decode<Note>().value().text, "here");
}

TEST(Payload, decode_says_why_it_could_not) {
  EXPECT_EQ(Payload::object(Point{}).decode<LaterPoint>().error(), errc::schema_mismatch);
  EXPECT_EQ(Payload::copy("short").decode<Point>().error(), errc::decode_failed);
  EXPECT_EQ(Payload().decode<Note>().error(), errc::decode_failed);
}

// --- Wiping ---

TEST(Payload, does_not_wipe_foreign_memory) {
  const std::string foreign = "foreign";
  {
    Payload payload = Payload::wrap(std::as_bytes(std::span(foreign)), nullptr);
    payload.wipe_on_release();
  }
  EXPECT_EQ(foreign, "foreign");
}

TEST(Payload, may_be_told_to_wipe_what_lies_in_place) {
  Payload small = Payload::copy("small");
  small.wipe_on_release();
  EXPECT_EQ(small.text(), "small");
  Payload object = Payload::object(Point{1, 2});
  object.wipe_on_release();
  EXPECT_EQ(object.get_if<Point>()->y, 2);
}

// --- Threads ---

TEST(Payload, is_copied_and_dropped_by_several_threads_and_destroyed_once) {
  std::atomic<int> destroyed = 0;
  std::atomic<int> seen_destroyed_early = 0;
  {
    std::vector<std::jthread> threads;
    Payload shared = Payload::object(Counted(destroyed));
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([mine = shared, &destroyed, &seen_destroyed_early]() mutable {
        for (int i = 0; i < 2000; ++i) {
          Payload copy = mine;
          Payload second = copy;
          mine = std::move(second);
          if (destroyed != 0) ++seen_destroyed_early;
        }
      });
    }
    shared = Payload();
  }
  EXPECT_EQ(seen_destroyed_early, 0);
  EXPECT_EQ(destroyed, 1);
}

// Under the thread sanitizer: reading in one thread comes before releasing in another.
TEST(Payload, the_last_holder_releases_what_others_have_read) {
  for (int round = 0; round < 100; ++round) {
    std::string foreign(64, 'f');
    std::atomic<int> read_right = 0;
    {
      std::vector<std::jthread> threads;
      Payload shared = Payload::wrap(std::as_bytes(std::span(foreign)), [&] { foreign.assign(64, 'g'); });
      for (int t = 0; t < 3; ++t) {
        threads.emplace_back([mine = shared, &read_right]() mutable {
          if (mine.text().find_first_not_of('f') == std::string_view::npos) {
            read_right.fetch_add(1, std::memory_order_relaxed);
          }
          mine = Payload();
        });
      }
      shared = Payload();
    }
    EXPECT_EQ(read_right.load(), 3);
    EXPECT_EQ(foreign, std::string(64, 'g'));
  }
}

}  // namespace
}  // namespace bus
