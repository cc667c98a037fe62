// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What a receiver sees: loss, starts, names, ends, batches, kept events, and what an event carries.
#include "core/bus_fixture.hpp"

#include <bus/bus.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <iterator>
#include <memory>
#include <span>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace receiver_test {

struct Tracked {
  std::shared_ptr<int> alive;
};

struct Secret {
  std::array<std::uint64_t, 4> words;
};

}  // namespace receiver_test

template <>
struct bus::Schema<receiver_test::Tracked> {
  static constexpr std::string_view name = "test.tracked";
  static constexpr std::uint32_t version = 1;
  static std::size_t size(const receiver_test::Tracked&) { return 4; }
  static void encode(const receiver_test::Tracked&, std::span<std::byte>) {}
  static result<receiver_test::Tracked> decode(std::span<const std::byte>) { return receiver_test::Tracked{}; }
};

template <>
struct bus::Schema<receiver_test::Secret> : bus::PlainSchema<receiver_test::Secret> {
  static constexpr std::string_view name = "test.secret";
  static constexpr std::uint32_t version = 1;
};

namespace {

using bus::Outcome;
using bus_test::balances;
using bus_test::drain_now;
using bus_test::in_the_past;
using bus_test::ManualClock;
using bus_test::publish;
using bus_test::range;
using receiver_test::Secret;
using receiver_test::Tracked;

// --- Outcomes and loss ---

TEST(Receiver, an_open_bus_with_nothing_to_read_says_empty_or_timed_out_or_stopped) {
  bus::Bus hub;
  auto rx = hub.subscribe();
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(rx.try_recv().outcome(), Outcome::empty);
  EXPECT_EQ(rx.try_recv_batch().outcome(), Outcome::empty);
  EXPECT_EQ(rx.recv_until(in_the_past).outcome(), Outcome::timed_out);
  EXPECT_EQ(rx.recv_until(std::chrono::steady_clock::time_point::min()).outcome(), Outcome::timed_out);
  EXPECT_EQ(rx.recv_batch_until(in_the_past).outcome(), Outcome::timed_out);
  EXPECT_EQ(rx.recv(stop.get_token()).outcome(), Outcome::stopped);
  EXPECT_EQ(rx.recv_batch(4, stop.get_token()).outcome(), Outcome::stopped);
  EXPECT_EQ(rx.recv_until(bus_test::never, stop.get_token()).outcome(), Outcome::stopped);
}

TEST(Receiver, an_event_that_is_there_wins_over_a_deadline_and_over_a_stop) {
  bus::Bus hub;
  auto rx = hub.subscribe();
  std::stop_source stop;
  stop.request_stop();
  publish(hub, 4);
  EXPECT_EQ(rx.recv_until(in_the_past)->sequence(), 1U);
  EXPECT_EQ(rx.recv(stop.get_token())->sequence(), 2U);
  EXPECT_EQ(rx.recv_until(in_the_past, stop.get_token())->sequence(), 3U);
  EXPECT_EQ(rx.recv_batch(1, stop.get_token())[0].sequence(), 4U);
}

TEST(Receiver, a_stop_token_that_can_never_stop_is_a_plain_receive) {
  bus::Bus hub;
  auto rx = hub.subscribe();
  publish(hub, 1);
  EXPECT_EQ(rx.recv(std::stop_token{})->sequence(), 1U);
  hub.close();
  EXPECT_TRUE(rx.recv(std::stop_token{}).closed());
}

TEST(Receiver, closed_wins_over_a_deadline_and_over_a_stop) {
  bus::Bus hub;
  auto rx = hub.subscribe();
  std::stop_source stop;
  stop.request_stop();
  hub.close();
  EXPECT_TRUE(rx.recv_until(in_the_past).closed());
  EXPECT_TRUE(rx.recv(stop.get_token()).closed());
}

TEST(Receiver, a_lagged_receiver_resumes_at_the_oldest_retained) {
  bus::Bus hub{{.capacity = 4}};
  auto rx = hub.subscribe();
  publish(hub, 11);
  const auto got = rx.try_recv();
  EXPECT_EQ(got.missed(), 7U);
  EXPECT_EQ(got->sequence(), 8U);
  EXPECT_EQ(drain_now(rx), range(9, 11));
}

TEST(Receiver, lag_is_per_receiver) {
  bus::Bus hub{{.capacity = 3}};
  auto fast = hub.subscribe("fast");
  auto slow = hub.subscribe("slow");
  for (int i = 0; i < 10; ++i) {
    publish(hub, 1);
    EXPECT_EQ(fast.try_recv().missed(), 0U);
  }
  EXPECT_EQ(slow.try_recv().missed(), 7U);
  EXPECT_EQ(fast.stats().missed, 0U);
}

TEST(Receiver, a_receiver_that_lags_again_before_reading_what_was_retained_is_told_each_gap_once) {
  bus::Bus hub{{.capacity = 3}};
  auto rx = hub.subscribe();
  publish(hub, 5);
  EXPECT_EQ(rx.stats().missed, 2U);
  publish(hub, 2);  // again, before it read anything
  const auto first = rx.try_recv();
  EXPECT_EQ(first.missed(), 4U);
  EXPECT_EQ(first->sequence(), 5U);
  publish(hub, 2);  // 6 is overwritten, after the receiver had looked at 5
  const auto second = rx.try_recv();
  EXPECT_EQ(second.missed(), 1U);
  EXPECT_EQ(second->sequence(), 7U);
}

TEST(Receiver, an_exactly_full_ring_has_lost_nothing) {
  bus::Bus hub{{.capacity = 3}};
  auto rx = hub.subscribe();
  publish(hub, 3);
  EXPECT_EQ(rx.try_recv().missed(), 0U);
  publish(hub, 1);
  EXPECT_EQ(rx.try_recv().missed(), 0U);
  EXPECT_EQ(drain_now(rx), range(3, 4));
}

TEST(Receiver, missed_counts_in_the_snapshot_before_it_is_told) {
  bus::Bus hub{{.capacity = 2}};
  auto rx = hub.subscribe();
  publish(hub, 6);
  EXPECT_EQ(rx.stats().missed, 4U);
  EXPECT_EQ(rx.stats().pending, 2U);
  EXPECT_EQ(rx.stats().delivered, 0U);
}

TEST(Receiver, a_filter_skips_and_counts_and_tells_the_lag_with_the_event_it_accepts) {
  bus::Bus hub{{.capacity = 5}};
  auto rx = hub.subscribe({.bodies = {bus::BodyKind::message}, .patterns = {"agent.*.thought"}});
  const auto message = [&](const bus::Topic& topic) { EXPECT_TRUE(hub.send(bus::Message{topic, {}, {}})); };
  message("agent.v1.thought");  // overwritten: missed, though it would have passed
  message("other");             // overwritten: missed, though it would not
  message("other");
  message("agent.v1.action");
  EXPECT_TRUE(hub.send(bus::Shutdown{}));
  message("agent.v2.thought");
  message("other");
  const auto got = rx.try_recv();
  EXPECT_EQ(got.missed(), 2U);
  EXPECT_EQ(got->sequence(), 6U);
  EXPECT_EQ(rx.try_recv().outcome(), Outcome::empty);
  EXPECT_EQ(rx.stats(), (bus::ReceiverStats{"untagged", 7, 1, 4, 2, 0}));
}

TEST(Receiver, patterns_leave_bodies_that_are_not_messages_alone) {
  bus::Bus hub;
  auto rx = hub.subscribe({.patterns = {"a.>"}});
  EXPECT_TRUE(hub.send(bus::Health{}));
  EXPECT_TRUE(hub.send(bus::Message{"b", {}, {}}));
  EXPECT_TRUE(hub.send(bus::Message{"a.b.c", {}, {}}));
  EXPECT_EQ(drain_now(rx), (std::vector<std::uint64_t>{1, 3}));
}

TEST(Receiver, thousands_of_filtered_events_are_one_receive) {
  bus::Bus hub{{.capacity = 5000}};
  auto rx = hub.subscribe({.bodies = {bus::BodyKind::shutdown}});
  publish(hub, 4500);
  EXPECT_TRUE(hub.send(bus::Shutdown{}));
  EXPECT_EQ(rx.try_recv()->sequence(), 4501U);
  EXPECT_EQ(rx.stats().filtered, 4500U);
  publish(hub, 3000);
  EXPECT_EQ(rx.recv_until(in_the_past).outcome(), Outcome::timed_out);
  EXPECT_EQ(rx.stats().filtered, 7500U);
}

// --- Starts and names ---

TEST(Receiver, starts_at_the_next_event_or_at_the_oldest_retained) {
  for (const std::uint64_t before : {0U, 1U, 3U, 4U, 5U, 8U, 100U}) {
    SCOPED_TRACE(before);
    bus::Bus hub{{.capacity = 4}};
    publish(hub, before);
    auto next = hub.subscribe();
    auto oldest = hub.subscribe({.start = bus::Start::oldest});
    const std::uint64_t first = before < 4 ? 1 : before - 3;
    EXPECT_EQ(next.stats().published, 0U);
    EXPECT_EQ(oldest.stats().published, before + 1 - first);
    EXPECT_EQ(drain_now(oldest), range(first, before));
    publish(hub, 1);
    EXPECT_EQ(drain_now(next), range(before + 1, before + 1));
    EXPECT_EQ(drain_now(oldest), range(before + 1, before + 1));
    EXPECT_EQ(oldest.stats().missed, 0U);
  }
}

TEST(Receiver, a_subscription_is_active_when_subscribe_returns) {
  // Whatever another thread publishes meanwhile, the receiver sees all that follows its start, without a gap.
  bus::Bus hub{{.capacity = 1 << 16}};
  std::atomic<bool> go_on{true};
  std::thread publisher([&] {
    auto tx = hub.sender();
    for (int i = 0; i < 50'000 && go_on; ++i) EXPECT_TRUE(tx.send(bus::Shutdown{}));
  });
  for (int i = 0; i < 200; ++i) {
    const auto before = hub.stats().published;
    auto rx = hub.subscribe();
    const auto mine = hub.send(bus::Health{})->sequence;
    const auto sequences = drain_now(rx);
    ASSERT_FALSE(sequences.empty());
    EXPECT_GT(sequences.front(), before);
    EXPECT_LE(sequences.front(), mine);
    EXPECT_GE(sequences.back(), mine);
    EXPECT_EQ(sequences, range(sequences.front(), sequences.back()));
  }
  go_on = false;
  publisher.join();
}

TEST(Receiver, has_the_name_it_was_given_or_is_untagged) {
  bus::Bus hub;
  EXPECT_EQ(hub.subscribe("auditor").name(), "auditor");
  EXPECT_EQ(hub.subscribe().name(), "untagged");
  EXPECT_EQ(hub.subscribe("").stats().name, "untagged");
  EXPECT_EQ(hub.subscribe(std::string(64, 'n')).name(), std::string(64, 'n'));
}

TEST(Receiver, a_name_that_is_too_long_or_holds_a_space_is_refused_with_the_reason) {
  bus::Bus hub;
  for (const std::string& name : {std::string(65, 'n'), std::string("a b"), std::string("a\nb"), std::string("\x7F")}) {
    try {
      auto rx = hub.subscribe(name);
      ADD_FAILURE() << "accepted '" << name << "'";
    } catch (const std::invalid_argument& wrong) {
      const std::string text = wrong.what();
      EXPECT_NE(text.find("subscriber name"), std::string::npos) << text;
      EXPECT_NE(text.find(name.size() > 64 ? "longer than 64 bytes" : "space"), std::string::npos) << text;
    }
  }
  EXPECT_TRUE(hub.stats().receivers.empty());
  EXPECT_EQ(hub.send(bus::Shutdown{})->receivers, 0U);
}

// --- Ends ---

TEST(Receiver, receive_on_a_closed_bus_is_closed_whatever_made_the_receiver) {
  bus::Bus hub{{.capacity = 4}};
  auto before = hub.subscribe();
  auto other = hub.subscribe();
  hub.close();
  auto next = hub.subscribe();
  auto oldest = hub.subscribe({.start = bus::Start::oldest});
  auto filtered = hub.subscribe({.bodies = {bus::BodyKind::health}});
  auto moved = std::move(before);
  other = hub.subscribe();
  bus::Receiver none;
  for (bus::Receiver* rx : {&before, &other, &next, &oldest, &filtered, &moved, &none}) {
    EXPECT_TRUE(rx->try_recv().closed());
    EXPECT_TRUE(rx->recv().closed());
    EXPECT_TRUE(rx->recv(std::stop_source().get_token()).closed());
    EXPECT_TRUE(rx->recv_until(bus_test::never).closed());
    EXPECT_TRUE(rx->try_recv_batch().closed());
    EXPECT_TRUE(rx->recv_batch().closed());
    EXPECT_TRUE(rx->recv_batch_until(bus_test::never).closed());
  }
}

TEST(Receiver, a_subscription_to_a_closed_bus_can_still_read_what_is_retained) {
  bus::Bus hub{{.capacity = 4}};
  publish(hub, 6);
  hub.close();
  auto oldest = hub.subscribe({.start = bus::Start::oldest});
  auto next = hub.subscribe();
  EXPECT_EQ(drain_now(oldest), range(3, 6));
  EXPECT_TRUE(oldest.recv().closed());
  EXPECT_TRUE(next.recv().closed());
}

TEST(Receiver, outlives_the_bus_and_reads_what_is_retained) {
  bus::Receiver rx;
  bus::Sender tx;
  {
    bus::Bus hub{{.capacity = 4}};
    rx = hub.subscribe("survivor");
    tx = hub.sender();
    publish(tx, 5);
  }
  EXPECT_EQ(tx.send(bus::Shutdown{}).error(), bus::errc::closed);
  const auto first = rx.recv();
  EXPECT_EQ(first.missed(), 1U);
  EXPECT_EQ(first->sequence(), 2U);
  EXPECT_EQ(rx.stats(), (bus::ReceiverStats{"survivor", 5, 1, 0, 1, 3}));
  EXPECT_EQ(drain_now(rx), range(3, 5));
  EXPECT_TRUE(rx.recv().closed());
}

TEST(Receiver, a_default_constructed_one_is_closed_and_has_nothing) {
  bus::Receiver rx;
  EXPECT_TRUE(rx.recv().closed());
  EXPECT_EQ(rx.recv().missed(), 0U);
  EXPECT_FALSE(rx.recv().keep());
  EXPECT_EQ(rx.name(), "");
  EXPECT_EQ(rx.stats(), bus::ReceiverStats{});
}

TEST(Receiver, is_moved_with_its_place_and_counts) {
  bus::Bus hub;
  auto rx = hub.subscribe("traveller");
  publish(hub, 3);
  EXPECT_EQ(rx.try_recv()->sequence(), 1U);
  bus::Receiver second(std::move(rx));
  EXPECT_EQ(second.try_recv()->sequence(), 2U);
  rx = std::move(second);
  EXPECT_EQ(rx.try_recv()->sequence(), 3U);
  EXPECT_EQ(rx.stats(), (bus::ReceiverStats{"traveller", 3, 3, 0, 0, 0}));
  EXPECT_TRUE(second.recv().closed());  // NOLINT(bugprone-use-after-move): what is left is no bus's receiver
  EXPECT_EQ(hub.stats().receivers.size(), 1U);
}

TEST(Receiver, assigning_over_a_receiver_unsubscribes_it) {
  bus::Bus hub;
  auto one = hub.subscribe("one");
  auto two = hub.subscribe("two");
  one = std::move(two);
  EXPECT_EQ(one.name(), "two");
  EXPECT_EQ(hub.stats().receivers.size(), 1U);
  auto& same = one;
  one = std::move(same);
  EXPECT_EQ(one.name(), "two");
  EXPECT_EQ(hub.send(bus::Shutdown{})->receivers, 1U);
  static_assert(!std::is_copy_constructible_v<bus::Receiver> && !std::is_copy_assignable_v<bus::Receiver>);
}

TEST(Receiver, can_be_handed_to_another_thread) {
  bus::Bus hub;
  auto rx = hub.subscribe();
  publish(hub, 2);
  EXPECT_EQ(rx.try_recv()->sequence(), 1U);
  std::thread([rx = std::move(rx)]() mutable { EXPECT_EQ(rx.try_recv()->sequence(), 2U); }).join();
}

// --- Batches ---

TEST(ReceiverBatch, holds_at_most_what_was_asked_and_never_more_than_64) {
  static_assert(bus::Receiver::max_batch == 64);
  bus::Bus hub{{.capacity = 1000}};
  auto rx = hub.subscribe();
  publish(hub, 500);
  EXPECT_EQ(rx.try_recv_batch(1).size(), 1U);
  EXPECT_EQ(rx.try_recv_batch(0).size(), 1U);  // none would be no receive
  EXPECT_LE(rx.try_recv_batch(7).size(), 7U);
  std::uint64_t next = rx.try_recv()->sequence() + 1;
  std::size_t longest = 0;
  while (const auto batch = rx.try_recv_batch(1'000'000)) {
    EXPECT_LE(batch.size(), 64U);
    longest = std::max(longest, batch.size());
    for (const bus::Event& event : batch) EXPECT_EQ(event.sequence(), next++);
  }
  EXPECT_EQ(next, 501U);
  EXPECT_EQ(longest, 64U);
}

TEST(ReceiverBatch, does_not_cross_a_gap) {
  bus::Bus hub{{.capacity = 8}};
  auto rx = hub.subscribe();
  publish(hub, 3);
  EXPECT_EQ(rx.try_recv()->sequence(), 1U);
  publish(hub, 10);  // 2 to 5 are gone
  std::uint64_t next = 6;
  std::uint64_t missed = 0;
  while (const auto batch = rx.try_recv_batch()) {
    missed += batch.missed();
    for (const bus::Event& event : batch) EXPECT_EQ(event.sequence(), next++);
    EXPECT_EQ(missed, 4U) << "told with the first event after it";
  }
  EXPECT_EQ(next, 14U);
}

TEST(ReceiverBatch, its_events_stay_valid_together_while_the_ring_is_overwritten) {
  bus::Bus hub{{.capacity = 100}};
  auto rx = hub.subscribe();
  const auto send = [&](std::uint64_t n) {
    EXPECT_TRUE(hub.send(bus::ServiceCrashed{"s", "reason " + std::to_string(n) + std::string(40, '.')}));
  };
  for (std::uint64_t n = 1; n <= 100; ++n) send(n);
  const auto batch = rx.try_recv_batch();
  ASSERT_EQ(batch.size(), 64U);
  for (std::uint64_t n = 101; n <= 1000; ++n) send(n);
  for (std::size_t i = 0; i < batch.size(); ++i) {
    EXPECT_EQ(batch[i].sequence(), i + 1);
    EXPECT_EQ(batch[i].get_if<bus::ServiceCrashed>()->reason, "reason " + std::to_string(i + 1) + std::string(40, '.'));
  }
}

TEST(ReceiverBatch, skips_what_the_filter_skips) {
  bus::Bus hub;
  auto rx = hub.subscribe({.bodies = {bus::BodyKind::shutdown}});
  for (int i = 0; i < 60; ++i) {
    if (i % 3 == 0) {
      EXPECT_TRUE(hub.send(bus::Shutdown{}));
    } else {
      EXPECT_TRUE(hub.send(bus::Health{}));
    }
  }
  std::size_t got = 0;
  while (const auto batch = rx.try_recv_batch()) {
    for (const bus::Event& event : batch) EXPECT_EQ(event.kind(), bus::BodyKind::shutdown);
    got += batch.size();
  }
  EXPECT_EQ(got, 20U);
  EXPECT_EQ(rx.stats(), (bus::ReceiverStats{"untagged", 60, 20, 40, 0, 0}));
}

TEST(ReceiverBatch, each_event_can_be_kept) {
  bus::Bus hub{{.capacity = 4}};
  auto rx = hub.subscribe();
  publish(hub, 4);
  const auto batch = rx.try_recv_batch();
  ASSERT_EQ(batch.size(), 4U);
  const bus::EventRef second = batch.keep(1);
  const bus::EventRef fourth = batch.keep(3);
  publish(hub, 1000);
  drain_now(rx);
  EXPECT_EQ(second->sequence(), 2U);
  EXPECT_EQ(fourth->sequence(), 4U);
}

// --- Events in place and kept ---

TEST(ReceiverKeep, an_event_in_place_is_readable_until_the_next_receive) {
  bus::Bus hub{{.capacity = 2}};
  auto rx = hub.subscribe();
  EXPECT_TRUE(hub.send(bus::ServiceCrashed{"service", std::string(100, 'x')}));
  const auto got = rx.try_recv();
  publish(hub, 5000);
  EXPECT_EQ(got->get_if<bus::ServiceCrashed>()->reason, std::string(100, 'x'));
}

TEST(ReceiverKeep, a_kept_event_survives_overwriting_receiver_close_and_bus) {
  auto hub = std::make_unique<bus::Bus>(bus::BusOptions{.capacity = 2});
  auto tx = hub->sender("source");
  bus::EventRef kept;
  {
    auto rx = hub->subscribe();
    EXPECT_TRUE(tx.send(bus::Message{"a.topic", "agent.alice", bus::Payload::copy(std::string(100, 'p'))}));
    kept = rx.try_recv().keep();
    publish(tx, 1000);
  }
  hub->close();
  hub.reset();
  tx = {};
  const bus::EventRef copy = kept;
  kept = {};
  ASSERT_TRUE(copy);
  EXPECT_FALSE(kept);
  EXPECT_EQ(copy->sequence(), 1U);
  EXPECT_EQ(copy->source(), "source");
  EXPECT_EQ(copy->get_if<bus::Message>()->payload.text(), std::string(100, 'p'));
}

TEST(ReceiverKeep, references_can_be_copied_moved_and_assigned) {
  bus::Bus hub{{.capacity = 2}};
  auto rx = hub.subscribe();
  const auto alive = std::make_shared<int>();
  EXPECT_TRUE(hub.send(bus::Message{"a", {}, bus::Payload::object(Tracked{alive})}));
  bus::EventRef one = rx.try_recv().keep();
  bus::EventRef two = one;
  bus::EventRef three = std::move(one);
  EXPECT_FALSE(one);  // NOLINT(bugprone-use-after-move): it is empty
  EXPECT_EQ(two.get(), three.get());
  auto& same = two;
  two = same;
  publish(hub, 1000);
  drain_now(rx);  // what it read in place is no longer protected
  publish(hub, 1000);
  EXPECT_EQ(alive.use_count(), 2);
  two = std::move(three);
  EXPECT_EQ(alive.use_count(), 2);
  two = {};
  EXPECT_EQ(alive.use_count(), 1) << "the last reference ends the event";
}

TEST(ReceiverKeep, nothing_received_keeps_nothing) {
  bus::Bus hub;
  auto rx = hub.subscribe();
  EXPECT_FALSE(rx.try_recv().keep());
}

TEST(ReceiverKeep, many_kept_events_grow_the_pool_and_are_counted_and_told) {
  std::vector<bus::Warning::Kind> warnings;
  bus::Bus hub{{.capacity = 2, .on_warning = [&](const bus::Warning& w) { warnings.push_back(w.kind); }}};
  auto rx = hub.subscribe();
  std::vector<bus::EventRef> kept;
  for (int i = 0; i < 1000; ++i) {
    publish(hub, 1);
    kept.push_back(rx.try_recv().keep());
  }
  for (std::size_t i = 0; i < kept.size(); ++i) EXPECT_EQ(kept[i]->sequence(), i + 1);
  const auto stats = hub.stats();
  EXPECT_GE(stats.nodes, 1000U);
  EXPECT_LE(stats.nodes, 1000U + 2 + 2 * 128);
  EXPECT_GT(stats.node_growths, 0U);
  EXPECT_EQ(warnings.size(), stats.node_growths);
  EXPECT_EQ(std::ranges::count(warnings, bus::Warning::Kind::nodes_grew), std::ssize(warnings));
}

TEST(ReceiverKeep, nodes_of_kept_events_come_back_for_reuse) {
  bus::Bus hub{{.capacity = 2}};
  auto rx = hub.subscribe();
  const auto keep_many = [&] {
    std::vector<bus::EventRef> kept;
    for (int i = 0; i < 1000; ++i) {
      publish(hub, 1);
      kept.push_back(rx.try_recv().keep());
    }
  };
  keep_many();
  keep_many();
  const auto before = hub.stats();
  for (int i = 0; i < 20; ++i) keep_many();
  EXPECT_EQ(hub.stats().nodes, before.nodes);
  EXPECT_EQ(hub.stats().node_growths, before.node_growths);
}

/// What readers pinned of one sender serves the next one once they let go.
TEST(Bus7, senders_share_what_readers_let_go) {
  constexpr int readers = 32;
  constexpr int window = 64;
  bus::Bus hub{{.capacity = 2}};
  const auto let_readers_pin_what = [&](bus::Sender& sends) {
    std::vector<bus::Receiver> pinning;
    for (int i = 0; i < readers; ++i) {
      pinning.push_back(hub.subscribe());
      publish(sends, 1);
      EXPECT_TRUE(pinning.back().try_recv());
      publish(sends, window);
    }
    const auto nodes = hub.stats().nodes;
    pinning.clear();
    publish(sends, 3 * window);
    return nodes;
  };
  std::vector<bus::Sender> senders;
  std::uint64_t most = 0;
  for (int i = 0; i < 8; ++i) {
    senders.push_back(hub.sender());
    most = std::max(most, let_readers_pin_what(senders.back()));
  }
  EXPECT_GT(most, readers * (window - 2) + 2U) << "nothing was pinned";
  EXPECT_LT(most, 2 * readers * window + 8 * 320U) << "each sender keeps what was pinned of it";
}

TEST(ReceiverKeep, references_dropped_in_other_threads_come_back_too) {
  bus::Bus hub{{.capacity = 4}};
  auto rx = hub.subscribe();
  const auto alive = std::make_shared<int>();
  for (int round = 0; round < 50; ++round) {
    std::vector<bus::EventRef> kept;
    for (int i = 0; i < 100; ++i) {
      EXPECT_TRUE(hub.send(bus::Message{"a", {}, bus::Payload::object(Tracked{alive})}));
      kept.push_back(rx.try_recv().keep());
    }
    std::vector<bus::EventRef> copies = kept;
    std::thread other([&copies] { copies.clear(); });
    kept.clear();
    other.join();
  }
  EXPECT_LE(hub.stats().nodes, 4U + 100 + 4 * 128);
  EXPECT_LE(alive.use_count(), 1 + 4 + 2 * 128);
}

// --- Payloads: moved in, destroyed once ---

TEST(ReceiverPayload, a_moved_in_object_is_destroyed_exactly_once) {
  const auto alive = std::make_shared<int>();
  {
    bus::Bus hub{{.capacity = 3}};
    auto rx = hub.subscribe();
    bus::Message message{"a", {}, bus::Payload::object(Tracked{alive})};
    EXPECT_TRUE(hub.send(std::move(message)));
    EXPECT_EQ(alive.use_count(), 2) << "moved, not copied";
    EXPECT_TRUE(message.payload.empty());  // NOLINT(bugprone-use-after-move)
    EXPECT_EQ(rx.try_recv()->get_if<bus::Message>()->payload.get_if<Tracked>()->alive, alive);
    for (int i = 0; i < 500; ++i) {
      EXPECT_TRUE(hub.send(bus::Message{"a", {}, bus::Payload::object(Tracked{alive})}));
    }
    hub.close();
    EXPECT_TRUE(hub.send(bus::Message{"a", {}, bus::Payload::object(Tracked{alive})}).has_error());
    EXPECT_EQ(drain_now(rx).size(), 3U);
  }
  EXPECT_EQ(alive.use_count(), 1);
}

TEST(ReceiverPayload, foreign_memory_is_released_exactly_once) {
  int sent = 0;
  int released = 0;
  {
    bus::Bus hub{{.capacity = 3}};
    auto one = hub.subscribe();
    auto two = hub.subscribe();
    const std::array<std::byte, 4> foreign{};
    for (; sent < 500; ++sent) {
      EXPECT_TRUE(hub.send(bus::Message{"a", {}, bus::Payload::wrap(foreign, [&] { ++released; })}));
      const auto got = one.try_recv();
      EXPECT_EQ(got->get_if<bus::Message>()->payload.bytes().data(), foreign.data());
      EXPECT_TRUE(two.try_recv().keep());
    }
    EXPECT_LT(released, sent);
  }
  EXPECT_EQ(released, sent);
}

// --- What an event carries ---

TEST(ReceiverEvent, carries_all_five_bodies_and_match_calls_their_arm) {
  bus::Bus hub;
  auto rx = hub.subscribe();
  EXPECT_TRUE(hub.send(bus::Health{"disk", false}));
  EXPECT_TRUE(hub.send(bus::ConfigUpdated{.version = 42}));
  EXPECT_TRUE(hub.send(bus::ServiceCrashed{"llm", "out of memory"}));
  EXPECT_TRUE(hub.send(bus::Shutdown{}));
  EXPECT_TRUE(hub.send(bus::Message{"a.b", "agent.alice", bus::Payload::copy("hello")}));
  const auto next = [&] {
    return bus::match(
        *rx.recv(), [](const bus::Health& e) { return e.service + (e.ok ? " well" : " ill"); },
        [](const bus::ConfigUpdated& e) { return std::to_string(e.version); },
        [](const bus::ServiceCrashed& e) { return e.service + ": " + e.reason; },
        [](const bus::Shutdown&) { return std::string("shutdown"); },
        [](const bus::Message& m) {
          return std::string(m.topic.view()) + " " + std::string(m.principal.view()) + " " +
                 std::string(m.payload.text());
        },
        [](const auto&) { return std::string("later"); });
  };
  EXPECT_EQ(next(), "disk ill");
  EXPECT_EQ(next(), "42");
  EXPECT_EQ(next(), "llm: out of memory");
  EXPECT_EQ(next(), "shutdown");
  EXPECT_EQ(next(), "a.b agent.alice hello");
}

TEST(ReceiverEvent, match_falls_to_the_default_arm) {
  bus::Bus hub;
  auto rx = hub.subscribe();
  EXPECT_TRUE(hub.send(bus::Health{}));
  const auto got = rx.recv();
  EXPECT_EQ(bus::match(*got, [](const bus::Message&) { return 1; }, [](const auto&) { return 2; }), 2);
  EXPECT_EQ(got->get_if<bus::Message>(), nullptr);
  EXPECT_NE(got->get_if<bus::Health>(), nullptr);
  EXPECT_EQ(got->kind(), bus::BodyKind::health);
}

TEST(ReceiverEvent, carries_no_metadata_that_nobody_gave) {
  bus::Bus hub{{.capacity = 2}};
  auto rx = hub.subscribe();
  const bus::Attributes attributes{.correlation = bus::CorrelationId{1, 2}, .trace = bus::TraceContext{}};
  auto named = hub.sender("named");
  for (int i = 0; i < 300; ++i) {  // nodes are reused: nothing of their past shows
    EXPECT_TRUE(named.send(bus::Shutdown{}, attributes));
    EXPECT_TRUE(hub.send(bus::Shutdown{}));
    EXPECT_EQ(rx.recv()->source(), "named");
    const auto plain = rx.recv();
    EXPECT_EQ(plain->source(), "");
    EXPECT_FALSE(plain->time());
    EXPECT_FALSE(plain->correlation());
    EXPECT_FALSE(plain->trace());
  }
}

TEST(ReceiverEvent, carries_source_correlation_and_trace) {
  bus::Bus hub;
  auto rx = hub.subscribe();
  auto tx = hub.sender("planner");
  const bus::CorrelationId id{7, 9};
  const bus::TraceContext trace{{1, 2, 3}, {4, 5}, 1};
  EXPECT_TRUE(tx.send(bus::Shutdown{}, {.correlation = id}));
  EXPECT_TRUE(tx.send(bus::Shutdown{}, {.trace = trace}));
  EXPECT_TRUE(tx.send(bus::Shutdown{}, {.correlation = id, .trace = trace}));
  {
    const auto got = rx.recv();
    EXPECT_EQ(got->source(), "planner");
    EXPECT_EQ(got->correlation(), id);
    EXPECT_FALSE(got->trace());
  }
  {
    const auto got = rx.recv();
    EXPECT_FALSE(got->correlation());
    EXPECT_EQ(got->trace(), trace);
  }
  const auto got = rx.recv();
  EXPECT_EQ(got->correlation(), id);
  EXPECT_EQ(got->trace(), trace);
}

TEST(ReceiverEvent, carries_the_time_that_the_options_ask_for) {
  const ManualClock clock;
  const auto stamp = [&](bus::Timestamps timestamps) {
    bus::Bus hub{{.timestamps = timestamps, .clock = &clock}};
    auto rx = hub.subscribe();
    publish(hub, 1);
    return rx.recv()->time();
  };
  EXPECT_EQ(stamp(bus::Timestamps::none), std::nullopt);
  EXPECT_EQ(stamp(bus::Timestamps::coarse), clock.coarse_wall());
  EXPECT_EQ(stamp(bus::Timestamps::precise), clock.wall());
}

// --- Amnesia ---

TEST(ReceiverAmnesia, the_snapshot_says_whether_it_is_on) {
  EXPECT_TRUE(bus::Bus({.amnesia = true}).stats().amnesia);
  EXPECT_FALSE(bus::Bus().stats().amnesia);
}

bool all_zero(std::span<const std::byte> memory) {
  return std::ranges::all_of(memory, [](const volatile std::byte& b) { return b == std::byte{0}; });
}

TEST(ReceiverAmnesia, what_lies_in_the_event_itself_is_zeroed_when_the_event_ends) {
  // The bytes lie in a node of the ring, which the bus owns before and after: so they may be looked at.
  for (const bool amnesia : {true, false}) {
    SCOPED_TRACE(amnesia);
    bus::Bus hub{{.capacity = 2, .amnesia = amnesia}};
    auto rx = hub.subscribe();
    EXPECT_TRUE(hub.send(bus::Message{"a", {}, bus::Payload::copy("the small secret")}));
    EXPECT_TRUE(hub.send(bus::Message{"a", {}, bus::Payload::object(Secret{{1, 2, 3, 4}})}));
    bus::EventRef bytes = rx.recv().keep();
    bus::EventRef object = rx.recv().keep();
    const std::span text = bytes->get_if<bus::Message>()->payload.bytes();
    const std::span words = std::as_bytes(std::span(object->get_if<bus::Message>()->payload.get_if<Secret>()->words));
    publish(hub, 300);
    drain_now(rx);
    publish(hub, 300);
    EXPECT_FALSE(all_zero(text));
    EXPECT_FALSE(all_zero(words));
    bytes = {};  // the last references: the events end here
    object = {};
    EXPECT_EQ(all_zero(text), amnesia);
    EXPECT_EQ(all_zero(words), amnesia);
  }
}

}  // namespace
