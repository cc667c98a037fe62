// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The blocking receives: what ends a wait, and that no wait loses an event. No test sleeps: where it matters that
// a receiver waits already, the test is right whichever comes first.
#include <bus/bus.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <iterator>
#include <latch>
#include <mutex>
#include <optional>
#include <ostream>
#include <stop_token>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using bus::ConfigUpdated;
using bus::Outcome;
using bus::Waiting;
using Clock = std::chrono::steady_clock;

template <class Condition>
void until(Condition condition) {
  while (!condition()) std::this_thread::yield();
}

bus::SubscribeOptions only_config(Waiting waiting) {
  return {.bodies = {bus::BodyKind::config_updated}, .waiting = waiting};
}

/// What any form of receive returned.
struct Got {
  Outcome outcome{};
  std::uint64_t missed = 0;
  std::vector<std::uint64_t> versions;
};

std::uint64_t version_of(const bus::Event& event) { return event.get_if<ConfigUpdated>()->version; }

Got told(const bus::Received& received) {
  Got got{received.outcome(), received.missed(), {}};
  if (received) got.versions.push_back(version_of(*received));
  return got;
}

Got told(const bus::Batch& batch) {
  Got got{batch.outcome(), batch.missed(), {}};
  for (const bus::Event& event : batch) got.versions.push_back(version_of(event));
  return got;
}

/// One of the blocking receives. Those that take no deadline or no stop token ignore it.
struct Form {
  const char* name;
  bool has_deadline;
  bool has_stop;
  Got (*receive)(bus::Receiver&, Clock::time_point, std::stop_token);
};

/// How the test runner names it.
void PrintTo(const Form& form, std::ostream* out) { *out << form.name; }

using Deadline = Clock::time_point;
using Stop = std::stop_token;

const Form forms[] = {
    {"recv", false, false, [](bus::Receiver& rx, Deadline, Stop) { return told(rx.recv()); }},
    {"recv_stop", false, true, [](bus::Receiver& rx, Deadline, Stop stop) { return told(rx.recv(stop)); }},
    {"recv_until", true, false, [](bus::Receiver& rx, Deadline at, Stop) { return told(rx.recv_until(at)); }},
    {"recv_until_stop", true, true,
     [](bus::Receiver& rx, Deadline at, Stop stop) { return told(rx.recv_until(at, stop)); }},
    {"batch", false, false, [](bus::Receiver& rx, Deadline, Stop) { return told(rx.recv_batch()); }},
    {"batch_stop", false, true, [](bus::Receiver& rx, Deadline, Stop stop) { return told(rx.recv_batch(8, stop)); }},
    {"batch_until", true, false, [](bus::Receiver& rx, Deadline at, Stop) { return told(rx.recv_batch_until(at)); }},
};

const char* name_of(Waiting waiting) {
  return waiting == Waiting::spin ? "spin" : waiting == Waiting::yield ? "yield" : "park";
}

/// Each form of receive, each way of waiting.
class AWait : public testing::TestWithParam<std::tuple<Waiting, Form>> {
 protected:
  Waiting waiting() const { return std::get<0>(GetParam()); }
  const Form& form() const { return std::get<1>(GetParam()); }
  Got receive(bus::Receiver& rx, Deadline at = Deadline::max(), Stop stop = {}) const {
    return form().receive(rx, at, std::move(stop));
  }
  bus::Receiver subscribe(bus::Bus& hub) const { return hub.subscribe({.waiting = waiting()}); }
};

class AWaitWithADeadline : public AWait {};
class AWaitWithAStop : public AWait {};

std::vector<Form> forms_with(bool Form::* property) {
  std::vector<Form> some;
  std::ranges::copy_if(forms, std::back_inserter(some), property);
  return some;
}

const auto each_way = testing::Values(Waiting::spin, Waiting::yield, Waiting::park);
const auto tested_name = [](const auto& tested) {
  return std::string(name_of(std::get<0>(tested.param))) + "_" + std::get<1>(tested.param).name;
};
INSTANTIATE_TEST_SUITE_P(Each, AWait, testing::Combine(each_way, testing::ValuesIn(forms)), tested_name);
INSTANTIATE_TEST_SUITE_P(Each, AWaitWithADeadline,
                         testing::Combine(each_way, testing::ValuesIn(forms_with(&Form::has_deadline))), tested_name);
INSTANTIATE_TEST_SUITE_P(Each, AWaitWithAStop,
                         testing::Combine(each_way, testing::ValuesIn(forms_with(&Form::has_stop))), tested_name);

TEST_P(AWait, EndsWithAnEventOfAnotherThread) {
  constexpr std::uint64_t rounds = 100;
  bus::Bus hub;
  bus::Receiver rx = subscribe(hub);
  std::atomic<std::uint64_t> answered{0};
  std::jthread receiver([&] {
    for (std::uint64_t i = 1; i <= rounds; ++i) {
      const Got got = receive(rx);
      EXPECT_EQ(got.outcome, Outcome::event);
      EXPECT_EQ(got.versions, std::vector{i});
      answered.store(i);
    }
  });
  for (std::uint64_t i = 1; i <= rounds; ++i) {
    ASSERT_TRUE(hub.send(ConfigUpdated{i}));
    until([&] { return answered.load() == i; });  // only then the next one, so that each receive may have to wait
  }
}

TEST_P(AWait, EndsWhenTheBusIsClosed) {
  bus::Bus hub;
  bus::Receiver rx = subscribe(hub);
  std::latch running(2);
  std::jthread receiver([&] {
    running.arrive_and_wait();
    EXPECT_EQ(receive(rx).outcome, Outcome::closed);
    EXPECT_EQ(receive(rx).outcome, Outcome::closed) << "closed is for ever";
  });
  running.arrive_and_wait();
  hub.close();
}

TEST_P(AWait, EndsWhenTheBusIsDestroyed) {
  std::optional<bus::Bus> hub(std::in_place);
  bus::Receiver rx = subscribe(*hub);
  std::latch running(2);
  std::jthread receiver([&] {
    running.arrive_and_wait();
    EXPECT_EQ(receive(rx).outcome, Outcome::closed);
  });
  running.arrive_and_wait();
  hub.reset();
}

TEST_P(AWaitWithAStop, EndsWhenAStopIsRequestedAndLosesNothing) {
  bus::Bus hub;
  bus::Receiver rx = subscribe(hub);
  std::stop_source source;
  std::latch running(2);
  {
    std::jthread receiver([&] {
      running.arrive_and_wait();
      EXPECT_EQ(receive(rx, Deadline::max(), source.get_token()).outcome, Outcome::stopped);
    });
    running.arrive_and_wait();
    source.request_stop();
  }
  ASSERT_TRUE(hub.send(ConfigUpdated{7}));
  EXPECT_EQ(receive(rx, Deadline::max(), source.get_token()).versions, std::vector<std::uint64_t>{7})
      << "an event that is there wins over a stop";
  EXPECT_EQ(receive(rx, Deadline::max(), source.get_token()).outcome, Outcome::stopped);
}

TEST_P(AWaitWithADeadline, OfAPassedDeadlineReturnsAtOnceButAnEventThatIsThereWins) {
  bus::Bus hub;
  bus::Receiver rx = subscribe(hub);
  for (const Deadline past : {Deadline::min(), Deadline{}, Clock::now()}) {
    EXPECT_EQ(receive(rx, past).outcome, Outcome::timed_out);
  }
  ASSERT_TRUE(hub.send(ConfigUpdated{3}));
  EXPECT_EQ(receive(rx, Deadline{}).versions, std::vector<std::uint64_t>{3});
  hub.close();
  EXPECT_EQ(receive(rx, Deadline{}).outcome, Outcome::closed) << "closed wins as well";
}

TEST_P(AWaitWithADeadline, EndsAtItsDeadlineAndNotBefore) {
  bus::Bus hub;
  bus::Receiver rx = subscribe(hub);
  const Deadline soon = Clock::now() + 2ms;
  EXPECT_EQ(receive(rx, soon).outcome, Outcome::timed_out);
  EXPECT_GE(Clock::now(), soon);
}

TEST_P(AWaitWithADeadline, ThatTimesOutAgainAndAgainLosesNothing) {
  constexpr std::uint64_t events = 1000;
  bus::Bus hub{{.capacity = events}};
  bus::Receiver rx = subscribe(hub);
  std::jthread publisher([&] {
    for (std::uint64_t i = 1; i <= events; ++i) {
      EXPECT_TRUE(hub.send(ConfigUpdated{i}));
      if (i % 8 == 0) std::this_thread::yield();
    }
  });
  std::uint64_t last = 0;
  for (int round = 0; last != events; ++round) {
    const Got got = receive(rx, Clock::now() + std::chrono::microseconds(round % 32));
    EXPECT_EQ(got.missed, 0u);
    for (const std::uint64_t version : got.versions) ASSERT_EQ(version, ++last);
    ASSERT_EQ(got.versions.empty(), got.outcome == Outcome::timed_out);
  }
}

TEST_P(AWaitWithAStop, ThatIsStoppedAgainAndAgainLosesNothing) {
  constexpr std::uint64_t events = 1000;
  bus::Bus hub{{.capacity = events}};
  bus::Receiver rx = subscribe(hub);
  std::mutex mutex;
  std::stop_source source;  // of the wait under way
  const auto current = [&] {
    const std::lock_guard lock(mutex);
    return source;
  };
  std::jthread stopper([&](std::stop_token done) {
    while (!done.stop_requested()) {
      current().request_stop();
      std::this_thread::yield();
    }
  });
  std::jthread publisher([&] {
    for (std::uint64_t i = 1; i <= events; ++i) {
      EXPECT_TRUE(hub.send(ConfigUpdated{i}));
      if (i % 8 == 0) std::this_thread::yield();
    }
  });
  for (std::uint64_t last = 0; last != events;) {
    const Got got = receive(rx, Deadline::max(), current().get_token());
    for (const std::uint64_t version : got.versions) ASSERT_EQ(version, ++last);
    if (got.outcome == Outcome::stopped) {
      const std::lock_guard lock(mutex);
      source = std::stop_source();
    }
  }
}

TEST_P(AWait, TellsWhatWasMissedBeforeIt) {
  bus::Bus hub{{.capacity = 4}};
  bus::Receiver rx = subscribe(hub);
  for (std::uint64_t i = 1; i <= 10; ++i) ASSERT_TRUE(hub.send(ConfigUpdated{i}));
  const Got got = receive(rx, Deadline{});
  EXPECT_EQ(got.missed, 6u);
  EXPECT_EQ(got.versions.front(), 7u);
}

TEST_P(AWait, InsideAFilterGetsTheMatchingEventAndIsToldWhatWasMissedOfTheRest) {
  constexpr std::uint64_t others = 500;
  bus::Bus hub{{.capacity = 4}};
  bus::Receiver rx = hub.subscribe(only_config(waiting()));
  std::latch running(2);
  std::jthread receiver([&] {
    running.arrive_and_wait();
    const Got got = receive(rx);
    EXPECT_EQ(got.versions, std::vector<std::uint64_t>{1});
    const bus::ReceiverStats stats = rx.stats();
    EXPECT_EQ(got.missed, stats.missed);
    EXPECT_EQ(stats.delivered, 1u);
    EXPECT_EQ(stats.filtered + stats.missed, others);
  });
  running.arrive_and_wait();
  for (std::uint64_t i = 0; i < others; ++i) ASSERT_TRUE(hub.send(bus::Shutdown{}));
  ASSERT_TRUE(hub.send(ConfigUpdated{1}));
}

// The warning of the losses comes in the middle of the wait: after the look that met them, before the next one.
TEST_P(AWait, SumsUpWhatItMissedBeforeItSleptAndAfter) {
  std::optional<bus::Bus> hub;
  const auto then = [&, told = false](const bus::Warning&) mutable {
    if (std::exchange(told, true)) return;
    EXPECT_TRUE(hub->send(ConfigUpdated{1}));
  };
  hub.emplace(bus::BusOptions{.capacity = 4, .on_warning = then});
  bus::Receiver rx = hub->subscribe(only_config(waiting()));
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(hub->send(bus::Shutdown{}));
  const Got got = receive(rx);
  EXPECT_EQ(got.outcome, Outcome::event);
  EXPECT_EQ(got.missed, 6u);
  EXPECT_EQ(rx.stats().filtered, 4u);
}

TEST_P(AWaitWithADeadline, ThatTimesOutTellsWhatWasMissedInsideItsFilter) {
  bus::Bus hub{{.capacity = 4}};
  bus::Receiver rx = hub.subscribe(only_config(waiting()));
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(hub.send(bus::Shutdown{}));
  const Got got = receive(rx, Deadline{});
  EXPECT_EQ(got.outcome, Outcome::timed_out);
  EXPECT_EQ(got.missed, 6u);
  EXPECT_EQ(rx.stats().filtered, 4u);
  EXPECT_EQ(receive(rx, Deadline{}).missed, 0u) << "told once";
}

TEST_P(AWait, OfAReceiverOfNoBusIsOverAtOnce) {
  bus::Receiver rx;
  EXPECT_EQ(receive(rx).outcome, Outcome::closed);
}

/// Each way of waiting.
class AWaiter : public testing::TestWithParam<Waiting> {};

INSTANTIATE_TEST_SUITE_P(Each, AWaiter, each_way,
                         [](const auto& tested) { return std::string(name_of(tested.param)); });

TEST_P(AWaiter, MayBeMovedBetweenWaitsAndBetweenThreads) {
  constexpr std::uint64_t events = 40;
  bus::Bus hub;
  bus::Receiver rx = hub.subscribe({.waiting = GetParam()});
  std::jthread publisher([&] {
    for (std::uint64_t i = 1; i <= events; ++i) {
      EXPECT_TRUE(hub.send(ConfigUpdated{i}));
      std::this_thread::yield();
    }
  });
  for (std::uint64_t i = 1; i <= events; ++i) {
    bus::Receiver elsewhere(std::move(rx));
    EXPECT_EQ(rx.recv().outcome(), Outcome::closed) << "moved from";  // NOLINT(bugprone-use-after-move)
    std::thread([&] {
      const bus::Received got = elsewhere.recv();
      ASSERT_TRUE(got);
      EXPECT_EQ(version_of(*got), i);
    }).join();
    rx = std::move(elsewhere);
  }
}

TEST_P(AWaiter, WithAPatternWaitsForItsTopicOnly) {
  bus::Bus hub;
  bus::Receiver rx =
      hub.subscribe({.bodies = {bus::BodyKind::message}, .patterns = {"agent.*.done"}, .waiting = GetParam()});
  std::jthread publisher([&] {
    for (int i = 0; i < 200; ++i) EXPECT_TRUE(hub.send(bus::Message{.topic = "agent.a.thought"}));
    EXPECT_TRUE(hub.send(bus::Message{.topic = "agent.a.done"}));
  });
  const bus::Received got = rx.recv();
  ASSERT_TRUE(got);
  EXPECT_EQ(got->get_if<bus::Message>()->topic, bus::Topic("agent.a.done"));
  EXPECT_EQ(got->sequence(), 201u);
  EXPECT_EQ(rx.stats().filtered + got.missed(), 200u);
}

TEST(Waiting, CloseWakesEveryWaiter) {
  bus::Bus hub;
  std::vector<bus::Receiver> receivers;
  for (int i = 0; i < 40; ++i) {  // more than one block of records
    receivers.push_back(hub.subscribe({.waiting = i % 8 == 0 ? Waiting::yield : Waiting::park}));
  }
  std::latch running(41);
  std::atomic<int> closed{0};
  std::vector<std::jthread> threads;
  for (bus::Receiver& rx : receivers) {
    threads.emplace_back([&] {
      running.count_down();
      if (rx.recv().closed()) closed.fetch_add(1);
    });
  }
  running.arrive_and_wait();
  hub.close();
  threads.clear();
  EXPECT_EQ(closed.load(), 40);
}

TEST(Waiting, WithoutSleepingCostsPublishersNoWakeUp) {
  for (const Waiting waiting : {Waiting::spin, Waiting::yield}) {
    bus::Bus hub;
    bus::Receiver rx = hub.subscribe({.waiting = waiting});
    std::atomic<std::uint64_t> answered{0};
    std::jthread receiver([&] {
      while (auto got = rx.recv()) answered.store(got->sequence());
    });
    for (std::uint64_t i = 1; i <= 50; ++i) {
      ASSERT_TRUE(hub.send(ConfigUpdated{i}));
      until([&] { return answered.load() == i; });
    }
    hub.close();
    EXPECT_EQ(hub.stats().wakeups, 0u) << name_of(waiting);
  }
}

// A receiver that is woken has slept, so the counter tells when it does.
TEST(Waiting, GoesOnThroughWakeUpsThatAreAllForFilteredEvents) {
  bus::Bus hub;
  bus::Receiver rx = hub.subscribe(only_config(Waiting::park));
  std::atomic<bool> returned{false};
  std::jthread receiver([&] {
    const bus::Received got = rx.recv();
    returned.store(true);
    ASSERT_TRUE(got);
    EXPECT_EQ(version_of(*got), 5u);
  });
  std::uint64_t others = 0;
  for (int patience = 1; hub.stats().wakeups < 5; patience = std::min(2 * patience, 1000)) {
    for (int i = 0; i < patience; ++i) std::this_thread::yield();
    ASSERT_TRUE(hub.send(bus::Shutdown{}));
    ++others;
  }
  EXPECT_FALSE(returned.load());
  ASSERT_TRUE(hub.send(ConfigUpdated{5}));
  receiver.join();
  const bus::ReceiverStats stats = rx.stats();
  EXPECT_EQ(stats.filtered + stats.missed, others);
}

TEST(Waiting, OfManySleepersIsEndedByOneEvent) {
  constexpr int sleepers = 40;
  bus::Bus hub;
  std::vector<bus::Receiver> receivers;
  for (int i = 0; i < sleepers; ++i) receivers.push_back(hub.subscribe());
  for (std::uint64_t round = 1; round <= 20; ++round) {
    std::atomic<int> got{0};
    std::vector<std::jthread> threads;
    for (bus::Receiver& rx : receivers) {
      threads.emplace_back([&] {
        if (const auto received = rx.recv(); received && version_of(*received) == round) got.fetch_add(1);
      });
    }
    ASSERT_TRUE(hub.send(ConfigUpdated{round}));
    threads.clear();
    EXPECT_EQ(got.load(), sleepers);
  }
  EXPECT_LE(hub.stats().wakeups, 20u * sleepers) << "no sleeper is woken twice for one event";
}

// Publishers that never let the ring run empty must not hold a receiver whose filter takes nothing: here a look at
// its patterns takes it far longer than a publish takes them.
TEST(Waiting, EndsAtItsDeadlineAlsoWhileThereIsAlwaysMoreToSkip) {
  constexpr std::uint64_t give_up = 5'000'000;
  bus::Bus hub{{.capacity = 4096}};
  const std::vector<bus::TopicPattern> none(1000, "a.b.c.*");
  bus::Receiver rx = hub.subscribe({.patterns = none});
  std::atomic<bool> returned{false};
  std::atomic<std::uint64_t> sent{0};
  std::jthread publisher([&] {
    bus::Sender tx = hub.sender();
    const bus::Message other{.topic = "a.b.c"};
    while (!returned.load() && sent.load() < give_up) {
      EXPECT_TRUE(tx.send(other));
      sent.fetch_add(1);
    }
  });
  until([&] { return sent.load() > 4096; });
  EXPECT_EQ(rx.recv_until(Clock::now()).outcome(), Outcome::timed_out);
  returned.store(true);
  EXPECT_LT(sent.load(), give_up) << "it returned only once there was nothing left to skip";
}

}  // namespace
