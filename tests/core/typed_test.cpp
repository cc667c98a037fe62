// SPDX-License-Identifier: MIT OR Apache-2.0
#include <bus/typed.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

namespace bus {
namespace {

struct Reading {
  std::uint64_t value = 0;
};
struct LaterReading {
  std::uint64_t value = 0;
};

/// Too large to lie in place.
struct Story {
  std::string text;
};

/// Cannot be copied.
struct Sealed {
  std::unique_ptr<std::string> text;
};

/// Its decoding does what a test asks for.
struct Scripted {
  std::uint64_t value = 0;
  static inline std::function<result<Scripted>()> decode;
};

}  // namespace

template <>
struct Schema<Reading> : PlainSchema<Reading> {
  static constexpr std::string_view name = "test.reading";
  static constexpr std::uint32_t version = 1;
};
template <>
struct Schema<LaterReading> : PlainSchema<LaterReading> {
  static constexpr std::string_view name = "test.reading";
  static constexpr std::uint32_t version = 2;
};
template <>
struct Schema<Scripted> : PlainSchema<Scripted> {
  static constexpr std::string_view name = "test.scripted";
  static constexpr std::uint32_t version = 1;
  static result<Scripted> decode(std::span<const std::byte>) { return Scripted::decode(); }
};
template <>
struct Schema<Story> {
  static constexpr std::string_view name = "test.story";
  static constexpr std::uint32_t version = 1;
  static std::size_t size(const Story& story) { return story.text.size(); }
  static void encode(const Story& story, std::span<std::byte> out) {
    std::memcpy(out.data(), story.text.data(), story.text.size());
  }
  static result<Story> decode(std::span<const std::byte> in) {
    return Story{{reinterpret_cast<const char*>(in.data()), in.size()}};
  }
};
template <>
struct Schema<Sealed> {
  static constexpr std::string_view name = "test.sealed";
  static constexpr std::uint32_t version = 1;
  static std::size_t size(const Sealed& sealed) { return sealed.text->size(); }
  static void encode(const Sealed& sealed, std::span<std::byte> out) {
    std::memcpy(out.data(), sealed.text->data(), sealed.text->size());
  }
  static result<Sealed> decode(std::span<const std::byte> in) {
    return Sealed{std::make_unique<std::string>(reinterpret_cast<const char*>(in.data()), in.size())};
  }
};

namespace {

using std::chrono::steady_clock;

constexpr Topic readings("test.readings");

Message bytes_on(const Topic& topic, std::string_view bytes) { return {topic, {}, Payload::copy(bytes)}; }

TEST(Typed, what_was_sent_is_received) {
  Bus hub;
  auto typed = hub.typed<Reading>(readings);
  auto rx = typed.subscribe("meter");
  EXPECT_EQ(typed.topic(), readings);
  EXPECT_EQ(rx.name(), "meter");

  const auto sent = typed.send({7}, "agent.alice", {.correlation = CorrelationId{1, 2}});
  ASSERT_TRUE(sent);
  EXPECT_EQ(sent->receivers, 1U);

  const auto got = rx.try_recv();
  ASSERT_TRUE(got);
  EXPECT_EQ(got.outcome(), Outcome::event);
  EXPECT_EQ(got->value, 7U);
  EXPECT_EQ((*got).value, 7U);
  EXPECT_EQ(got.missed(), 0U);
  EXPECT_EQ(got.message().topic, readings);
  EXPECT_EQ(got.message().principal, Principal("agent.alice"));
  EXPECT_EQ(got.event().sequence(), sent->sequence);
  EXPECT_EQ(got.event().correlation(), (CorrelationId{1, 2}));
  EXPECT_EQ(rx.mismatched(), 0U);
}

TEST(Typed, the_object_itself_travels) {
  Bus hub;
  auto typed = hub.typed<Story>("test.stories");
  auto rx = typed.subscribe();
  auto other_rx = typed.subscribe();
  const std::string text(1000, 's');
  Story story{text};
  const char* characters = story.text.data();
  ASSERT_TRUE(typed.send(std::move(story)));
  const auto got = rx.recv();
  const auto other_got = other_rx.recv();
  ASSERT_TRUE(got && other_got);
  EXPECT_EQ(got->text, text);
  EXPECT_EQ(got->text.data(), characters);
  EXPECT_EQ(&*got, &*other_got);
}

TEST(Typed, bytes_of_its_schema_are_decoded) {
  Bus hub;
  auto rx = hub.typed<Story>("test.stories").subscribe();
  ASSERT_TRUE(hub.send(bytes_on("test.stories", "once")));
  ASSERT_TRUE(hub.send(bytes_on("test.stories", "twice")));
  auto got = rx.recv();
  ASSERT_TRUE(got);
  EXPECT_EQ(got->text, "once");

  auto moved = std::move(got);
  const auto next = rx.recv();
  ASSERT_TRUE(next);
  EXPECT_EQ(next->text, "twice");
  EXPECT_EQ(moved->text, "once") << "a decoded value does not lie in the event";
}

TEST(Typed, a_type_that_cannot_be_copied_travels_as_object_and_as_bytes) {
  Bus hub;
  auto typed = hub.typed<Sealed>("test.sealed");
  auto rx = typed.subscribe();
  ASSERT_TRUE(typed.send({std::make_unique<std::string>("object")}));
  ASSERT_TRUE(hub.send(bytes_on("test.sealed", "bytes")));
  for (const auto expected : {"object", "bytes"}) {
    const auto got = rx.recv();
    ASSERT_TRUE(got);
    EXPECT_EQ(*got->text, expected);
  }
}

TEST(Typed, other_topics_and_other_bodies_are_filtered) {
  Bus hub;
  auto typed = hub.typed<Reading>(readings);
  auto rx = typed.subscribe();
  ASSERT_TRUE(hub.typed<Reading>("test.readings.more").send({1}));
  ASSERT_TRUE(hub.typed<Reading>("test").send({2}));
  ASSERT_TRUE(hub.send(ConfigUpdated{3}));
  ASSERT_TRUE(hub.send(Shutdown{}));
  ASSERT_TRUE(typed.send({4}));
  const auto got = rx.try_recv();
  ASSERT_TRUE(got);
  EXPECT_EQ(got->value, 4U);
  EXPECT_EQ(rx.mismatched(), 0U);
  EXPECT_EQ(rx.stats().filtered, 4U);
  EXPECT_EQ(rx.stats().delivered, 1U);
}

TEST(Typed, a_filter_of_its_own_is_refused) {
  Bus hub;
  auto typed = hub.typed<Reading>(readings);
  EXPECT_THROW((void)typed.subscribe({.bodies = {BodyKind::health}}), std::invalid_argument);
  EXPECT_THROW((void)typed.subscribe({.patterns = {"something.else"}}), std::invalid_argument);
  EXPECT_TRUE(hub.stats().receivers.empty());
}

TEST(Typed, may_name_its_source) {
  Bus hub;
  auto typed = hub.typed<Reading>(readings, "meter");
  auto rx = typed.subscribe();
  ASSERT_TRUE(typed.send({2}));
  EXPECT_EQ(rx.try_recv().event().source(), "meter");
}

TEST(Typed, other_options_are_kept) {
  Bus hub;
  auto typed = hub.typed<Reading>(readings);
  ASSERT_TRUE(typed.send({1}));
  auto rx = typed.subscribe({.name = "late", .start = Start::oldest});
  EXPECT_EQ(rx.name(), "late");
  const auto got = rx.try_recv();
  ASSERT_TRUE(got);
  EXPECT_EQ(got->value, 1U);
}

TEST(Typed, what_is_not_of_its_schema_is_skipped_and_counted) {
  Bus hub;
  auto typed = hub.typed<Reading>(readings);
  auto rx = typed.subscribe();
  ASSERT_TRUE(hub.typed<LaterReading>(readings).send({1}));
  ASSERT_TRUE(hub.typed<Story>(readings).send({"another schema"}));
  ASSERT_TRUE(hub.send(bytes_on(readings, "not 8 bytes")));
  ASSERT_TRUE(hub.send(bytes_on(readings, "")));
  ASSERT_TRUE(typed.send({5}));
  const auto got = rx.try_recv();
  ASSERT_TRUE(got);
  EXPECT_EQ(got->value, 5U);
  EXPECT_EQ(rx.mismatched(), 4U);
  EXPECT_FALSE(rx.try_recv());
  EXPECT_EQ(rx.mismatched(), 4U);
}

TEST(Typed, an_object_of_another_schema_is_not_taken_for_no_bytes) {
  Bus hub;
  auto rx = hub.typed<Story>(readings).subscribe();
  ASSERT_TRUE(hub.typed<Reading>(readings).send({1}));
  EXPECT_FALSE(rx.try_recv());
  EXPECT_EQ(rx.mismatched(), 1U);
  ASSERT_TRUE(hub.send(bytes_on(readings, "")));
  EXPECT_TRUE(rx.try_recv()) << "the schema of stories can read no bytes";
}

TEST(Typed, a_receive_that_only_skipped_says_why_it_returned) {
  Bus hub;
  auto rx = hub.typed<Reading>(readings).subscribe();
  auto skipped = [&] { ASSERT_TRUE(hub.send(bytes_on(readings, "no"))); };
  skipped();
  EXPECT_EQ(rx.try_recv().outcome(), Outcome::empty);
  skipped();
  EXPECT_EQ(rx.recv_until(steady_clock::now()).outcome(), Outcome::timed_out);
  std::stop_source stop;
  stop.request_stop();
  skipped();
  EXPECT_EQ(rx.recv(stop.get_token()).outcome(), Outcome::stopped);
  skipped();
  EXPECT_EQ(rx.recv_until(steady_clock::time_point::max(), stop.get_token()).outcome(), Outcome::stopped);
  skipped();
  hub.close();
  EXPECT_TRUE(rx.recv().closed());
  EXPECT_TRUE(rx.try_recv().closed());
  EXPECT_EQ(rx.mismatched(), 5U);
}

TEST(Typed, a_receive_that_finds_a_value_returns_it_in_every_form) {
  Bus hub;
  auto typed = hub.typed<Reading>(readings);
  auto rx = typed.subscribe();
  for (std::uint64_t i = 1; i <= 5; ++i) ASSERT_TRUE(typed.send({i}));
  const std::stop_token never;
  const auto late = steady_clock::time_point::max();
  EXPECT_EQ(rx.try_recv()->value, 1U);
  EXPECT_EQ(rx.recv()->value, 2U);
  EXPECT_EQ(rx.recv(never)->value, 3U);
  EXPECT_EQ(rx.recv_until(late)->value, 4U);
  EXPECT_EQ(rx.recv_until(late, never)->value, 5U);
}

TEST(Typed, a_loss_is_told_once) {
  Bus hub({.capacity = 2});
  auto typed = hub.typed<Reading>(readings);
  auto rx = typed.subscribe();
  for (std::uint64_t i = 1; i <= 5; ++i) ASSERT_TRUE(typed.send({i}));
  auto got = rx.try_recv();
  ASSERT_TRUE(got);
  EXPECT_EQ(got->value, 4U);
  EXPECT_EQ(got.missed(), 3U);
  got = rx.try_recv();
  ASSERT_TRUE(got);
  EXPECT_EQ(got->value, 5U);
  EXPECT_EQ(got.missed(), 0U);
}

TEST(Typed, a_loss_before_what_is_skipped_is_told_with_what_comes_next) {
  Bus hub({.capacity = 2});
  auto typed = hub.typed<Reading>(readings);
  auto rx = typed.subscribe();
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(hub.send(bytes_on(readings, "no")));
  const auto nothing = rx.try_recv();
  EXPECT_EQ(nothing.outcome(), Outcome::empty);
  EXPECT_EQ(nothing.missed(), 3U);

  for (int i = 0; i < 5; ++i) ASSERT_TRUE(hub.send(bytes_on(readings, "no")));
  ASSERT_TRUE(typed.send({1}));
  const auto got = rx.try_recv();
  ASSERT_TRUE(got);
  EXPECT_EQ(got.missed(), 4U);
}

TEST(Typed, losses_in_the_course_of_one_receive_add_up) {
  Bus hub({.capacity = 2});
  auto rx = hub.typed<Scripted>(readings).subscribe();
  int decoded = 0;
  const auto send_five = [&] {
    for (int i = 0; i < 5; ++i) EXPECT_TRUE(hub.send(bytes_on(readings, "bytes")));
  };
  Scripted::decode = [&]() -> result<Scripted> {
    if (++decoded > 2) return Scripted{42};
    send_five();
    return make_error_code(errc::decode_failed);
  };
  send_five();

  auto got = rx.try_recv();
  ASSERT_TRUE(got);
  EXPECT_GT(got.missed(), 3U) << "no further loss happened inside the receive";
  EXPECT_EQ(got.missed(), rx.stats().missed);
  EXPECT_EQ(rx.mismatched(), 2U);

  std::uint64_t told = got.missed();
  std::uint64_t values = 1;
  while ((got = rx.try_recv())) {
    told += got.missed();
    ++values;
  }
  EXPECT_EQ(values + rx.mismatched() + told + got.missed(), 15U);
  Scripted::decode = nullptr;
}

TEST(Typed, a_decoding_that_throws_spends_its_message_and_no_loss) {
  Bus hub({.capacity = 2});
  auto rx = hub.typed<Scripted>(readings).subscribe();
  Scripted::decode = []() -> result<Scripted> { throw std::runtime_error("decode"); };
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(hub.send(bytes_on(readings, "bytes")));
  EXPECT_THROW((void)rx.try_recv(), std::runtime_error);
  Scripted::decode = []() -> result<Scripted> { return Scripted{9}; };
  const auto got = rx.try_recv();
  ASSERT_TRUE(got);
  EXPECT_EQ(got->value, 9U);
  EXPECT_EQ(got.missed(), 3U);
  EXPECT_EQ(got.event().sequence(), 5U);
  Scripted::decode = nullptr;
}

/// A flood: whoever reads what cannot be decoded finds more of it behind.
TEST(Typed, a_flood_of_what_has_to_be_skipped_holds_no_receive) {
  Bus hub{{.capacity = 8}};
  auto rx = hub.typed<Scripted>("t").subscribe();
  int decoded = 0;
  const auto bad = [&] { ASSERT_TRUE(hub.send(Message{"t", {}, Payload::copy("bad")})); };
  Scripted::decode = [&]() -> result<Scripted> {
    bad();
    if (++decoded == 100'000) hub.close();
    return make_error_code(errc::decode_failed);
  };
  const auto no_time = std::chrono::steady_clock::now();
  std::stop_source stop;
  for (int i = 0; i < 3; ++i) bad();
  EXPECT_EQ(rx.try_recv().outcome(), Outcome::empty);
  EXPECT_EQ(rx.recv_until(no_time).outcome(), Outcome::timed_out);
  stop.request_stop();
  EXPECT_EQ(rx.recv(stop.get_token()).outcome(), Outcome::stopped);
  EXPECT_EQ(rx.recv_until(no_time + std::chrono::hours(1), stop.get_token()).outcome(), Outcome::stopped);
  EXPECT_LT(decoded, 100);
  EXPECT_EQ(rx.mismatched(), static_cast<std::uint64_t>(decoded));
  Scripted::decode = nullptr;
}

TEST(Typed, a_value_behind_what_has_to_be_skipped_wins_over_a_deadline_that_has_passed) {
  Bus hub;
  auto typed = hub.typed<Reading>("t");
  auto rx = typed.subscribe();
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(hub.send(Message{"t", {}, Payload::copy("bad")}));
  ASSERT_TRUE(typed.send(Reading{9}));
  const auto got = rx.recv_until(std::chrono::steady_clock::time_point());
  ASSERT_TRUE(got);
  EXPECT_EQ(got->value, 9U);
}

TEST(Typed, a_kept_event_keeps_the_value) {
  Bus hub({.capacity = 2});
  auto typed = hub.typed<Reading>(readings);
  auto rx = typed.subscribe();
  ASSERT_TRUE(typed.send({7}));
  const auto got = rx.try_recv();
  ASSERT_TRUE(got);
  const Reading& value = *got;
  const EventRef kept = got.keep();
  for (std::uint64_t i = 0; i < 100; ++i) {
    ASSERT_TRUE(typed.send({i}));
    ASSERT_TRUE(rx.try_recv());
  }
  EXPECT_EQ(value.value, 7U);
  EXPECT_EQ(kept->sequence(), 1U);
  EXPECT_FALSE(rx.try_recv().keep());
}

TEST(Typed, refusals_are_those_of_a_send) {
  Bus hub({.max_payload_bytes = 10});
  auto typed = hub.typed<Story>("test.stories");
  ASSERT_TRUE(typed.send({std::string(10, 's')}));
  EXPECT_EQ(typed.send({std::string(11, 's')}).error(), errc::payload_too_large);
  EXPECT_EQ(hub.typed<Story>(Topic()).send({"x"}).error(), errc::topic_invalid);
  hub.close();
  EXPECT_EQ(typed.send({"x"}).error(), errc::closed);
}

TEST(Typed, may_send_after_the_bus_is_gone) {
  auto hub = std::make_unique<Bus>();
  auto typed = hub->typed<Reading>(readings);
  auto copy = typed;
  auto rx = typed.subscribe();
  ASSERT_TRUE(typed.send({1}));
  ASSERT_TRUE(copy.send({2}));
  hub.reset();
  EXPECT_EQ(typed.send({3}).error(), errc::closed);
  EXPECT_EQ(copy.send({3}).error(), errc::closed);
  EXPECT_EQ(rx.recv()->value, 1U);
  EXPECT_EQ(rx.recv()->value, 2U);
  EXPECT_TRUE(rx.recv().closed());
}

TEST(Typed, a_receiver_of_no_bus_is_closed) {
  TypedReceiver<Reading> rx;
  EXPECT_TRUE(rx.try_recv().closed());
  EXPECT_TRUE(rx.recv().closed());
  EXPECT_EQ(rx.mismatched(), 0U);
}

TEST(Typed, a_sleeping_receiver_sees_everything_that_another_thread_sends) {
  Bus hub({.capacity = 1024});
  auto typed = hub.typed<Reading>(readings);
  auto rx = typed.subscribe();
  std::jthread sender([typed, &hub]() mutable {
    for (std::uint64_t i = 1; i <= 1000; ++i) {
      if (i % 10 == 0) (void)hub.send(bytes_on(readings, "no"));
      (void)typed.send({i});
    }
    hub.close();
  });
  std::uint64_t last = 0;
  std::uint64_t received = 0;
  std::uint64_t missed = 0;
  for (;;) {
    const auto got = rx.recv();
    missed += got.missed();
    if (!got) break;
    EXPECT_GT(got->value, last);
    last = got->value;
    ++received;
  }
  EXPECT_EQ(received + missed + rx.mismatched(), 1100U);
}

}  // namespace
}  // namespace bus
