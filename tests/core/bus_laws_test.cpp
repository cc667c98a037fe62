// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The laws BUS-1 to BUS-8, each broken by at least one test that carries its name. Random schedules run against
// a model that is obviously right: the last `capacity` events in a deque.
#include "core/bus_fixture.hpp"

#include <bus/bus.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <barrier>
#include <csignal>
#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <random>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

namespace {

using bus::Outcome;
using bus_test::balances;
using bus_test::drain_now;
using bus_test::in_the_past;
using bus_test::publish;
using bus_test::range;

// --- The model ---

enum class What { config, health, crash, shutdown, ab, ac, d };

struct Entry {
  std::uint64_t sequence;
  What what;
};

bool same(const bus::Event& event, const Entry& entry) {
  return event.sequence() == entry.sequence &&
         bus::match(
             event,
             [&](const bus::ConfigUpdated& e) { return entry.what == What::config && e.version == entry.sequence; },
             [&](const bus::Health&) { return entry.what == What::health; },
             [&](const bus::ServiceCrashed& e) {
               return entry.what == What::crash && e.reason == std::to_string(entry.sequence);
             },
             [&](const bus::Shutdown&) { return entry.what == What::shutdown; },
             [&](const bus::Message& m) {
               const auto topic = entry.what == What::ab ? "a.b" : entry.what == What::ac ? "a.c" : "d";
               return m.topic.view() == topic && m.payload.text() == std::to_string(entry.sequence);
             },
             [](const auto&) { return false; });
}

using Accepts = bool (*)(What);

struct Filter {
  bus::Bodies bodies;
  std::vector<bus::TopicPattern> patterns;
  Accepts accepts;
};

std::vector<Filter> filters() {
  using enum bus::BodyKind;
  return {
      {bus::Bodies::all(), {}, [](What) { return true; }},
      {{config_updated}, {}, [](What w) { return w == What::config; }},
      {bus::Bodies::all(), {"a.*"}, [](What w) { return w != What::d; }},
      {{message, shutdown}, {"a.c", "d"}, [](What w) { return w == What::ac || w == What::d || w == What::shutdown; }},
      {{}, {}, [](What) { return false; }},
  };
}

/// A receiver, and what the law says it must have seen.
struct Subject {
  bus::Receiver rx;
  Accepts accepts;
  std::uint64_t start;  // the sequence it began with
  std::uint64_t next;   // the sequence it looks at next
  std::uint64_t delivered = 0, filtered = 0, told = 0;
};

class Model {
 public:
  Model(std::uint64_t capacity, std::uint32_t seed) : capacity_(capacity), bus_({.capacity = capacity}), random_(seed) {
    tx_ = bus_.sender();
  }

  void step() {
    const auto choice = roll(100);
    if (choice < 45) {
      publish_burst();
    } else if (choice < 90) {
      receive();
    } else if (choice < 95) {
      subscribe();
    } else if (choice < 97) {
      if (!subjects_.empty()) subjects_.erase(subjects_.begin() + static_cast<std::ptrdiff_t>(roll(subjects_.size())));
    } else {
      tx_ = bus_.sender();
    }
    check_all();
  }

  void close() {
    bus_.close();
    closed_ = true;
    check_all();
  }

  /// Every receiver reads to its end.
  void finish() {
    for (Subject& subject : subjects_) {
      for (bool ended = false; !ended;) {
        const auto got = subject.rx.recv();
        ended = got.closed();
        account(subject, got ? std::vector{&*got} : std::vector<const bus::Event*>{}, got.missed());
      }
      EXPECT_EQ(subject.next, published_ + 1);
    }
    check_all();
  }

 private:
  std::uint64_t roll(std::uint64_t below) { return random_() % below; }
  std::uint64_t oldest() const { return retained_.empty() ? published_ + 1 : retained_.front().sequence; }
  const Entry& entry(std::uint64_t sequence) const { return retained_[sequence - oldest()]; }

  void publish_burst() {
    const std::uint64_t longest = roll(10) == 0 ? 3 * capacity_ : std::min<std::uint64_t>(capacity_, 70);
    for (std::uint64_t burst = 1 + roll(longest); burst != 0; --burst) publish_one();
  }

  void publish_one() {
    const Entry next{published_ + 1, static_cast<What>(roll(7))};
    const auto number = std::to_string(next.sequence);
    const auto payload = bus::Payload::copy(number);
    const auto send = [&](auto&& body) { return roll(8) == 0 ? bus_.send(body) : tx_.send(body); };
    const auto sent = [&] {
      switch (next.what) {
        case What::config: return send(bus::ConfigUpdated{next.sequence});
        case What::health: return send(bus::Health{"s", true});
        case What::crash: return send(bus::ServiceCrashed{"s", number});
        case What::shutdown: return send(bus::Shutdown{});
        case What::ab: return send(bus::Message{"a.b", {}, payload});
        case What::ac: return send(bus::Message{"a.c", {}, payload});
        case What::d: break;
      }
      return send(bus::Message{"d", {}, payload});
    }();
    if (closed_) {
      ASSERT_EQ(sent.error(), bus::errc::closed);
      return;
    }
    ASSERT_TRUE(sent);
    ASSERT_EQ(sent->sequence, next.sequence);
    ASSERT_EQ(sent->receivers, subjects_.size());
    ++published_;
    retained_.push_back(next);
    if (retained_.size() > capacity_) retained_.pop_front();
  }

  void subscribe() {
    if (subjects_.size() >= 6) return;
    const auto all = filters();
    const Filter& filter = all[roll(all.size())];
    const auto start = roll(2) == 0 ? bus::Start::next : bus::Start::oldest;
    const std::uint64_t first = start == bus::Start::next ? published_ + 1 : oldest();
    auto rx = bus_.subscribe({.start = start, .bodies = filter.bodies, .patterns = filter.patterns});
    subjects_.push_back({std::move(rx), filter.accepts, first, first});
  }

  bool event_for(const Subject& subject) const {
    return std::ranges::any_of(retained_,
                               [&](const Entry& e) { return e.sequence >= subject.next && subject.accepts(e.what); });
  }

  void receive() {
    if (subjects_.empty()) return;
    Subject& subject = subjects_[roll(subjects_.size())];
    bus::Receiver& rx = subject.rx;
    const std::size_t max = 1 + roll(80);
    const bool sure = closed_ || event_for(subject);
    std::stop_source stop;
    stop.request_stop();
    switch (roll(9)) {
      case 0: return one(subject, rx.try_recv(), Outcome::empty);
      case 1: return one(subject, rx.recv_until(in_the_past), Outcome::timed_out);
      case 2: return one(subject, rx.recv(stop.get_token()), Outcome::stopped);
      case 3: return one(subject, sure ? rx.recv() : rx.try_recv(), Outcome::empty);
      case 4: return one(subject, rx.recv_until(in_the_past, stop.get_token()), Outcome::stopped);
      case 5: return batch(subject, rx.try_recv_batch(max), max, Outcome::empty);
      case 6: return batch(subject, rx.recv_batch_until(in_the_past, max), max, Outcome::timed_out);
      case 7: return batch(subject, rx.recv_batch(max, stop.get_token()), max, Outcome::stopped);
      default: return batch(subject, sure ? rx.recv_batch(max) : rx.try_recv_batch(max), max, Outcome::empty);
    }
  }

  void one(Subject& subject, const bus::Received& got, Outcome otherwise) {
    check_outcome(subject, got.outcome(), otherwise);
    account(subject, got ? std::vector{&*got} : std::vector<const bus::Event*>{}, got.missed());
  }

  void batch(Subject& subject, const bus::Batch& got, std::size_t max, Outcome otherwise) {
    check_outcome(subject, got.outcome(), otherwise);
    EXPECT_LE(got.size(), std::min(max, bus::Receiver::max_batch));
    std::vector<const bus::Event*> events;
    for (const bus::Event& event : got) events.push_back(&event);
    account(subject, events, got.missed());
  }

  void check_outcome(const Subject& subject, Outcome outcome, Outcome otherwise) const {
    EXPECT_EQ(outcome, event_for(subject) ? Outcome::event : closed_ ? Outcome::closed : otherwise);
  }

  void account(Subject& subject, const std::vector<const bus::Event*>& events, std::uint64_t missed) {
    const std::uint64_t lost = oldest() > subject.next ? oldest() - subject.next : 0;
    EXPECT_EQ(missed, lost);
    subject.told += lost;
    subject.next += lost;
    for (const bus::Event* event : events) {
      skip_until(subject, published_ + 1);
      ASSERT_LE(subject.next, published_) << "an event nobody published";
      EXPECT_TRUE(same(*event, entry(subject.next))) << "got " << event->sequence() << ", expected " << subject.next;
      ++subject.delivered;
      ++subject.next;
    }
    // What was filtered behind the last event may have been looked at already or not.
    skip_until(subject, events.empty() ? published_ + 1 : published_ + 1 - subject.rx.stats().pending);
  }

  void skip_until(Subject& subject, std::uint64_t end) {
    while (subject.next < end && !subject.accepts(entry(subject.next).what)) {
      ++subject.filtered;
      ++subject.next;
    }
  }

  void check_all() {
    for (const Subject& subject : subjects_) {
      const std::uint64_t lost = oldest() > subject.next ? oldest() - subject.next : 0;
      const bus::ReceiverStats expected{.name = "untagged",
                                        .published = published_ + 1 - subject.start,
                                        .delivered = subject.delivered,
                                        .filtered = subject.filtered,
                                        .missed = subject.told + lost,
                                        .pending = published_ + 1 - subject.next - lost};
      ASSERT_EQ(subject.rx.stats(), expected);
      ASSERT_TRUE(balances(expected));
    }
    ASSERT_EQ(bus_.stats().published, published_);
  }

  const std::uint64_t capacity_;
  bus::Bus bus_;
  bus::Sender tx_;
  std::mt19937 random_;
  std::deque<Entry> retained_;
  std::vector<Subject> subjects_;
  std::uint64_t published_ = 0;
  bool closed_ = false;
};

class BusLawsSchedule : public testing::TestWithParam<std::uint64_t> {};

TEST_P(BusLawsSchedule, BUS_2_every_event_is_delivered_filtered_missed_or_pending) {
  for (std::uint32_t seed = 1; seed <= 5; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Model model(GetParam(), seed);
    for (int i = 0; i < 1000 && !HasFailure(); ++i) model.step();
    if (HasFailure()) return;
    model.close();
    for (int i = 0; i < 100 && !HasFailure(); ++i) model.step();
    model.finish();
    if (HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Capacity, BusLawsSchedule, testing::Values(2, 3, 7, 64, 100, 1000),
                         testing::PrintToStringParamName());

// --- BUS-1 ---

/// Runs something of the test's own in the middle of a publish: the bus asks for the time when it has begun to
/// fill the event and has not yet published it.
class InterruptingClock final : public bus::Clock {
 public:
  std::chrono::system_clock::time_point wall() const noexcept override {
    if (auto run = std::exchange(interrupt, nullptr)) run();
    return {};
  }
  std::chrono::steady_clock::time_point steady() const noexcept override { return {}; }

  mutable std::function<void()> interrupt;
};

TEST(BusLaws, BUS_1_a_publisher_stopped_half_way_delays_no_other) {
  const InterruptingClock clock;
  bus::Bus hub{{.capacity = 4, .timestamps = bus::Timestamps::precise, .clock = &clock}};
  auto rx = hub.subscribe();
  auto stopped = hub.sender();
  auto other = hub.sender();
  publish(stopped, 3);

  clock.interrupt = [&] {
    publish(other, 50);
    EXPECT_EQ(hub.stats().published, 53U);
    const auto got = rx.try_recv();  // readers see what the others have published
    EXPECT_EQ(got.missed(), 49U);
    EXPECT_EQ(got->sequence(), 50U);
  };
  EXPECT_EQ(stopped.send(bus::Shutdown{})->sequence, 54U);
  EXPECT_EQ(drain_now(rx), range(51, 54));
}

TEST(BusLaws, BUS_1_a_close_in_the_middle_of_a_publish_refuses_it_whole) {
  const InterruptingClock clock;
  bus::Bus hub{{.capacity = 4, .timestamps = bus::Timestamps::precise, .clock = &clock}};
  auto rx = hub.subscribe();
  publish(hub, 2);
  clock.interrupt = [&] { hub.close(); };
  EXPECT_EQ(hub.send(bus::Shutdown{}).error(), bus::errc::closed);
  EXPECT_EQ(drain_now(rx), range(1, 2));
}

TEST(BusLaws, BUS_1_a_publisher_never_waits_for_readers_that_hold_events_in_place) {
  bus::Bus hub{{.capacity = 4}};
  auto slow = hub.subscribe();
  auto batched = hub.subscribe();
  auto idle = hub.subscribe();
  publish(hub, 4);
  const auto held = slow.try_recv();
  const auto batch = batched.try_recv_batch();
  publish(hub, 10'000);
  EXPECT_EQ(held->sequence(), 1U);
  EXPECT_EQ(batch.size(), 4U);
  EXPECT_EQ(batch[3].sequence(), 4U);
  EXPECT_EQ(idle.try_recv().missed(), 10'000U);
}

// --- BUS-2 ---

TEST(BusLaws, BUS_2_sums_balance_for_concurrent_publishers_and_receivers) {
  constexpr std::uint64_t each = 20'000;
  bus::Bus hub{{.capacity = 7}};
  std::vector<bus::Receiver> receivers;
  for (int i = 0; i < 2; ++i) receivers.push_back(hub.subscribe());
  receivers.push_back(hub.subscribe({.bodies = {bus::BodyKind::shutdown}}));

  std::vector<std::thread> readers;
  std::array<std::uint64_t, 3> got{};
  std::array<std::uint64_t, 3> missed{};
  for (std::size_t i = 0; i < receivers.size(); ++i) {
    readers.emplace_back([&, i] {
      for (;;) {
        const auto batch = receivers[i].recv_batch(1 + i * 9);
        got[i] += batch.size();
        missed[i] += batch.missed();
        if (batch.closed()) return;
      }
    });
  }
  std::thread second([&] { publish(hub, each); });
  auto tx = hub.sender();
  for (std::uint64_t i = 0; i < each; ++i) {
    if (i % 2 == 0) {
      EXPECT_TRUE(tx.send(bus::Shutdown{}));
    } else {
      EXPECT_TRUE(tx.send(bus::Health{}));
    }
  }
  second.join();
  hub.close();
  for (auto& reader : readers) reader.join();
  for (std::size_t i = 0; i < receivers.size(); ++i) {
    const auto stats = receivers[i].stats();
    EXPECT_EQ(stats.published, 2 * each);
    EXPECT_EQ(stats.delivered, got[i]);
    EXPECT_EQ(stats.missed, missed[i]);
    EXPECT_EQ(stats.pending, 0U);
    EXPECT_TRUE(balances(stats)) << bus_test::text(stats);
  }
}

TEST(BusLaws, BUS_2_what_was_overwritten_unread_is_missed_whatever_the_filter_says) {
  bus::Bus hub{{.capacity = 4}};
  auto rx = hub.subscribe({.bodies = {bus::BodyKind::shutdown}});
  publish(hub, 10);  // none of them passes the filter: 6 are overwritten, 4 can be looked at
  const auto got = rx.try_recv();
  EXPECT_EQ(got.outcome(), Outcome::empty);
  EXPECT_EQ(got.missed(), 6U);
  EXPECT_EQ(rx.stats().filtered, 4U);
  EXPECT_EQ(rx.stats().missed, 6U);
  EXPECT_TRUE(balances(rx.stats()));
}

// --- BUS-3 ---

TEST(BusLaws, BUS_3_loss_is_told_by_whatever_the_next_receive_returns) {
  struct Case {
    const char* name;
    bool filtered;
    bool close;
    Outcome outcome;
    std::function<std::pair<Outcome, std::uint64_t>(bus::Receiver&)> receive;
  };
  const auto told = [](const auto& got) { return std::pair(got.outcome(), got.missed()); };
  std::stop_source stop;
  stop.request_stop();
  const Case cases[] = {
      {"event", false, false, Outcome::event, [&](auto& rx) { return told(rx.try_recv()); }},
      {"event, closed", false, true, Outcome::event, [&](auto& rx) { return told(rx.recv()); }},
      {"batch", false, false, Outcome::event, [&](auto& rx) { return told(rx.try_recv_batch()); }},
      {"empty", true, false, Outcome::empty, [&](auto& rx) { return told(rx.try_recv()); }},
      {"empty batch", true, false, Outcome::empty, [&](auto& rx) { return told(rx.try_recv_batch()); }},
      {"timed out", true, false, Outcome::timed_out, [&](auto& rx) { return told(rx.recv_until(in_the_past)); }},
      {"stopped", true, false, Outcome::stopped, [&](auto& rx) { return told(rx.recv(stop.get_token())); }},
      {"closed", true, true, Outcome::closed, [&](auto& rx) { return told(rx.recv()); }},
      {"closed batch", true, true, Outcome::closed, [&](auto& rx) { return told(rx.recv_batch()); }},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    bus::Bus hub{{.capacity = 3}};
    auto rx = one.filtered ? hub.subscribe({.bodies = {bus::BodyKind::shutdown}}) : hub.subscribe();
    publish(hub, 8);
    if (one.close) hub.close();
    EXPECT_EQ(one.receive(rx), std::pair(one.outcome, std::uint64_t{5}));
    EXPECT_EQ(rx.try_recv().missed(), 0U) << "told twice";
  }
}

TEST(BusLaws, BUS_3_lag_is_not_the_end_of_the_stream) {
  bus::Bus hub{{.capacity = 2}};
  auto rx = hub.subscribe();
  for (int round = 0; round < 100; ++round) {
    publish(hub, 5);
    EXPECT_EQ(drain_now(rx).size(), 2U);  // a reader that ignores losses still gets every later event
  }
  EXPECT_EQ(rx.stats().missed, 300U);
}

// --- BUS-4 ---

TEST(BusLaws, BUS_4_each_receiver_sees_strictly_increasing_sequences) {
  bus::Bus hub{{.capacity = 16}};
  std::vector<std::thread> threads;
  std::array<bool, 2> in_order{true, true};
  for (std::size_t i = 0; i < in_order.size(); ++i) {
    threads.emplace_back([&, i, rx = hub.subscribe()]() mutable {
      std::uint64_t last = 0;
      std::array<std::uint64_t, 2> of_publisher{};
      for (;;) {
        const auto batch = rx.recv_batch(8);
        for (const bus::Event& event : batch) {
          const std::uint64_t version = event.get_if<bus::ConfigUpdated>()->version;
          std::uint64_t& before = of_publisher[version % 2];
          in_order[i] = in_order[i] && event.sequence() > last && version > before;
          last = event.sequence();
          before = version;
        }
        if (batch.closed()) return;
      }
    });
  }
  const auto work = [&](std::uint64_t first) {
    auto tx = hub.sender();
    for (std::uint64_t i = 0; i < 20'000; ++i) EXPECT_TRUE(tx.send(bus::ConfigUpdated{first + 2 * i}));
  };
  std::thread odd(work, 3);
  work(2);
  odd.join();
  hub.close();
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(in_order, (std::array{true, true}));
}

TEST(BusLaws, BUS_4_what_was_published_before_has_the_lower_sequence) {
  bus::Bus hub{{.capacity = 5}};
  std::vector<bus::Sender> senders;
  for (int i = 0; i < 4; ++i) senders.push_back(hub.sender());
  for (std::uint64_t i = 1; i <= 1000; ++i) {
    EXPECT_EQ(senders[i * i % 4].send(bus::Shutdown{})->sequence, i);  // no gaps
  }
}

// --- BUS-5: a test that loses a wake-up does not end. ---

class BusLawsWaiting : public testing::TestWithParam<bus::Waiting> {};

/// Takes a while, so that who waits gets to every stage of waiting.
void dawdle(std::mt19937& random) {
  for (auto n = random() % 200; n != 0; --n) std::this_thread::yield();
}

TEST_P(BusLawsWaiting, BUS_5_no_wake_up_is_lost_between_two_threads_that_answer_each_other) {
  constexpr std::uint32_t seed = 5;
  SCOPED_TRACE("seed " + std::to_string(seed));
  const bool spins = GetParam() == bus::Waiting::spin;  // who spins keeps a core from who answers
  const std::uint64_t rounds = spins ? 100 : 1'000;
  const std::uint64_t sleeps = GetParam() == bus::Waiting::park ? 100 : 0;
  bus::Bus there{{.capacity = 2}};
  bus::Bus back{{.capacity = 2}};
  auto question = there.subscribe({.waiting = GetParam()});
  auto answer = back.subscribe({.waiting = GetParam()});
  std::thread echo([&] {
    std::mt19937 random(seed);
    auto tx = back.sender();
    while (const auto got = question.recv()) {
      if (!spins) dawdle(random);
      EXPECT_TRUE(tx.send(*got->get_if<bus::ConfigUpdated>()));
    }
  });
  std::mt19937 random(seed + 1);
  auto tx = there.sender();
  for (std::uint64_t i = 1; i <= rounds || there.stats().wakeups + back.stats().wakeups < sleeps; ++i) {
    if (!spins) dawdle(random);
    EXPECT_TRUE(tx.send(bus::ConfigUpdated{i}));
    EXPECT_EQ(answer.recv()->get_if<bus::ConfigUpdated>()->version, i);
  }
  there.close();
  echo.join();
}

TEST_P(BusLawsWaiting, BUS_5_close_wakes_every_waiter) {
  for (int round = 0; round < 100; ++round) {
    bus::Bus hub;
    std::vector<std::thread> waiters;
    std::barrier start(4);
    for (int i = 0; i < 3; ++i) {
      waiters.emplace_back([&, rx = hub.subscribe({.waiting = GetParam()})]() mutable {
        start.arrive_and_wait();
        EXPECT_TRUE(rx.recv().closed());
      });
    }
    start.arrive_and_wait();
    hub.close();
    for (auto& waiter : waiters) waiter.join();
  }
}

TEST_P(BusLawsWaiting, BUS_5_a_cancelled_wait_loses_no_event) {
  const std::uint64_t rounds = GetParam() == bus::Waiting::spin ? 200 : 1'000;
  bus::Bus hub;
  auto rx = hub.subscribe({.waiting = GetParam()});
  std::vector<std::stop_source> stops(rounds);
  std::barrier step(3);
  std::thread canceller([&] {
    for (auto& stop : stops) {
      step.arrive_and_wait();
      stop.request_stop();
      step.arrive_and_wait();
    }
  });
  std::thread publisher([&] {
    for (std::uint64_t i = 0; i < rounds; ++i) {
      step.arrive_and_wait();
      publish(hub, 1);
      step.arrive_and_wait();
    }
  });
  for (std::uint64_t i = 0; i < rounds; ++i) {
    step.arrive_and_wait();
    std::uint64_t got = 0;
    if (const auto first = rx.recv(stops[i].get_token())) {
      got = first->sequence();
    } else {
      EXPECT_EQ(first.outcome(), Outcome::stopped);
    }
    step.arrive_and_wait();
    if (got == 0) got = rx.recv()->sequence();
    EXPECT_EQ(got, i + 1);
    EXPECT_EQ(rx.try_recv().outcome(), Outcome::empty);
  }
  canceller.join();
  publisher.join();
}

INSTANTIATE_TEST_SUITE_P(Waiting, BusLawsWaiting,
                         testing::Values(bus::Waiting::spin, bus::Waiting::yield, bus::Waiting::park),
                         [](const auto& p) {
                           return p.param == bus::Waiting::spin    ? "spin"
                                  : p.param == bus::Waiting::yield ? "yield"
                                                                   : "park";
                         });

// --- BUS-6 ---

TEST(BusLaws, BUS_6_after_close_a_receiver_gets_what_is_retained_then_closed_for_ever) {
  for (const std::uint64_t capacity : {2U, 3U, 7U, 64U, 100U}) {
    for (const std::uint64_t count :
         {std::uint64_t{0}, std::uint64_t{1}, capacity - 1, capacity, 2 * capacity, 3 * capacity + 1}) {
      SCOPED_TRACE("capacity " + std::to_string(capacity) + ", events " + std::to_string(count));
      bus::Bus hub{{.capacity = capacity}};
      auto rx = hub.subscribe();
      publish(hub, count);
      hub.close();
      const std::uint64_t lost = count - std::min(count, capacity);
      EXPECT_EQ(drain_now(rx), range(lost + 1, count));
      EXPECT_EQ(rx.stats().missed, lost);
      for (int i = 0; i < 3; ++i) {
        EXPECT_TRUE(rx.try_recv().closed());
        EXPECT_TRUE(rx.recv().closed());
        EXPECT_TRUE(rx.recv_until(in_the_past).closed());
        EXPECT_TRUE(rx.recv_batch().closed());
      }
    }
  }
}

TEST(BusLaws, BUS_6_destroying_the_bus_is_close) {
  auto hub = std::make_unique<bus::Bus>(bus::BusOptions{.capacity = 3});
  auto rx = hub->subscribe();
  auto tx = hub->sender();
  publish(tx, 5);
  hub.reset();
  EXPECT_EQ(tx.send(bus::Shutdown{}).error(), bus::errc::closed);
  EXPECT_EQ(drain_now(rx), range(3, 5));
  EXPECT_TRUE(rx.recv().closed());
}

TEST(BusLaws, BUS_6_a_close_against_a_publish_keeps_the_event_if_the_publish_succeeded) {
  for (int round = 0; round < 500; ++round) {
    bus::Bus hub{{.capacity = 2}};
    auto rx = hub.subscribe();
    publish(hub, 2);
    std::barrier start(2);
    std::thread closer([&] {
      start.arrive_and_wait();
      hub.close();
    });
    start.arrive_and_wait();
    const bool sent = hub.send(bus::Shutdown{}).has_value();
    closer.join();
    ASSERT_EQ(drain_now(rx), sent ? range(2, 3) : range(1, 2));
    ASSERT_TRUE(rx.try_recv().closed());
  }
}

// --- BUS-7 ---

TEST(BusLaws, BUS_7_capacity_is_exactly_what_was_asked) {
  for (const std::uint64_t capacity : {2U, 3U, 7U, 64U, 100U, 1000U}) {
    SCOPED_TRACE("capacity " + std::to_string(capacity));
    bus::Bus hub{{.capacity = capacity}};
    EXPECT_EQ(hub.capacity(), capacity);
    auto full = hub.subscribe();
    publish(hub, 1);
    auto over = hub.subscribe({.start = bus::Start::oldest});
    publish(hub, capacity - 1);
    EXPECT_EQ(full.stats().pending, capacity);
    EXPECT_EQ(drain_now(full), range(1, capacity));
    EXPECT_EQ(full.stats().missed, 0U);
    publish(hub, 1);
    EXPECT_EQ(over.try_recv().missed(), 1U);
  }
}

TEST(BusLaws, BUS_7_the_pool_of_nodes_stays_as_made_while_nobody_keeps_events) {
  for (const std::uint64_t capacity : {2U, 7U, 1000U}) {
    SCOPED_TRACE("capacity " + std::to_string(capacity));
    bus::Bus hub{{.capacity = capacity}};
    auto slow = hub.subscribe();
    auto fast = hub.subscribe();
    auto tx = hub.sender();
    const auto round = [&] {
      for (int i = 0; i < 5000; ++i) {
        publish(tx, 1);
        EXPECT_TRUE(fast.try_recv().keep());  // kept for an instant
        if (i % 50 == 0) {
          EXPECT_TRUE(slow.try_recv_batch());
        }
      }
    };
    round();
    const auto before = hub.stats();
    for (int i = 0; i < 4; ++i) round();
    EXPECT_EQ(hub.stats().nodes, before.nodes);
    EXPECT_EQ(hub.stats().node_growths, 0U);
    EXPECT_LE(before.nodes, capacity + 128);
  }
}

TEST(BusLaws, BUS_7_senders_and_receivers_that_come_and_go_leave_nothing_behind) {
  bus::Bus hub{{.capacity = 8}};
  const auto visit = [&] {
    auto tx = hub.sender();
    auto rx = hub.subscribe();
    publish(tx, 20);
    drain_now(rx);
  };
  for (int i = 0; i < 100; ++i) visit();
  const auto nodes = hub.stats().nodes;
  for (int i = 0; i < 1000; ++i) visit();
  EXPECT_EQ(hub.stats().nodes, nodes);
  EXPECT_TRUE(hub.stats().receivers.empty());
}

// --- BUS-8 ---

#ifdef __linux__
std::size_t threads_alive() {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator("/proc/self/task"), {}));
}

TEST(BusLaws, BUS_8_the_core_starts_no_thread_and_installs_no_signal_handler) {
  const auto handlers = [] {
    std::vector<void (*)(int)> all;
    for (int signal = 1; signal < 32; ++signal) {
      struct sigaction action{};
      sigaction(signal, nullptr, &action);
      all.push_back(action.sa_handler);
    }
    return all;
  };
  const auto threads = threads_alive();
  const auto before = handlers();
  bus::Bus hub{{.capacity = 4}};
  auto rx = hub.subscribe();
  const auto watching = hub.observe("o", [](const bus::Event&) {});
  publish(hub, 10);
  drain_now(rx);
  EXPECT_EQ(threads_alive(), threads);
  EXPECT_EQ(hub.drain(in_the_past).receivers.size(), 1U);
  EXPECT_EQ(threads_alive(), threads);
  EXPECT_EQ(handlers(), before);
}
#endif

TEST(BusLaws, BUS_8_buses_share_nothing) {
  bus::Bus one{{.capacity = 2}};
  bus::Bus two{{.capacity = 3}};
  auto rx = two.subscribe("reader");
  publish(one, 10);
  one.close();
  EXPECT_EQ(two.stats().published, 0U);
  EXPECT_FALSE(two.closed());
  EXPECT_EQ(rx.try_recv().outcome(), Outcome::empty);
  EXPECT_EQ(bus_test::find(one.stats(), "reader"), nullptr);
}

/// Everything that takes the bus's lock somewhere, or might. Under a lock it would not return.
void use_all_of(bus::Bus& hub) {
  auto rx = hub.subscribe("visitor");
  auto tx = hub.sender("visitor");
  const auto watching = hub.observe("visitor", [](const bus::Event&) {});
  EXPECT_GE(hub.stats().receivers.size(), 1U);
}

TEST(BusLaws, BUS_8_an_observer_runs_under_no_lock) {
  bus::Bus hub;
  int calls = 0;
  const auto watching = hub.observe("o", [&](const bus::Event&) {
    ++calls;
    use_all_of(hub);
  });
  publish(hub, 3);
  EXPECT_EQ(calls, 3);
}

TEST(BusLaws, BUS_8_the_warning_callback_runs_under_no_lock) {
  bus::Bus* self = nullptr;
  int calls = 0;
  bus::Bus hub{{.capacity = 2, .on_warning = [&](const bus::Warning&) {
                  ++calls;
                  use_all_of(*self);
                }}};
  self = &hub;
  auto rx = hub.subscribe("slow");
  publish(hub, 5);
  EXPECT_EQ(rx.try_recv().missed(), 3U);  // lagged
  const auto watching = hub.observe("thrower", [](const bus::Event&) { throw 1; });
  publish(hub, 1);  // observer_threw
  EXPECT_EQ(calls, 2);
}

TEST(BusLaws, BUS_8_a_payload_is_released_under_no_lock) {
  int released = 0;
  auto hub = std::make_unique<bus::Bus>(bus::BusOptions{.capacity = 2});
  const auto release = [&] {
    ++released;
    if (hub != nullptr) use_all_of(*hub);
  };
  for (int i = 0; i < 500; ++i) ASSERT_TRUE(hub->send(bus::Message{"a", {}, bus::Payload::wrap({}, release)}));
  EXPECT_GT(released, 0);
  hub.reset();
  EXPECT_EQ(released, 500);
}

}  // namespace
