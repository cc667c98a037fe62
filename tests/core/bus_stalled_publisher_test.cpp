// SPDX-License-Identifier: MIT OR Apache-2.0
//
// BUS-1 with real threads: a publisher descheduled half-way through a publish, or a reader in the middle of reading,
// delays nobody, costs nobody an event, and lets no memory grow.
#include "core/seams.hpp"

#include <bus/bus.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <latch>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace {

/// Where one thread is to stop, once.
class Stop {
 public:
  explicit Stop(std::string_view seam) : seam_(seam) {}
  void at(std::string_view seam) {
    if (seam != seam_ || std::exchange(over_, true)) return;
    reached_.count_down();
    go_on_.wait();
  }
  void wait_until_reached() { reached_.wait(); }
  void go_on() { go_on_.count_down(); }

 private:
  const std::string_view seam_;
  bool over_ = false;
  std::latch reached_{1}, go_on_{1};
};

using bus::ConfigUpdated;
using bus::errc;

constexpr std::string_view before_swap = "publish:before-swap";
constexpr std::string_view after_swap = "publish:after-swap";
constexpr std::uint64_t of_the_stopped = 1'000'000;  // its version; the others' are below

std::uint64_t version_of(const bus::Event& event) { return event.get_if<ConfigUpdated>()->version; }

/// A publisher in a thread of its own, stopped half-way through its one publish.
class StoppedPublisher {
 public:
  StoppedPublisher(bus::Bus& hub, std::string_view seam) : stop_(seam) {
    thread_ = std::jthread([this, tx = hub.sender()]() mutable {
      bus_test::at_seam = [this](std::string_view name) { stop_.at(name); };
      sent_ = tx.send(ConfigUpdated{of_the_stopped});
    });
    stop_.wait_until_reached();
  }
  ~StoppedPublisher() {
    if (thread_.joinable()) go_on();
  }

  bus::result<bus::Sent> go_on() {
    stop_.go_on();
    thread_.join();
    return sent_;
  }

 private:
  Stop stop_;
  bus::result<bus::Sent> sent_ = bus::make_error_code(errc::closed);
  std::jthread thread_;
};

/// `publishers` threads publish `each` events; returns when all have.
void publish_many(bus::Bus& hub, std::uint64_t publishers, std::uint64_t each) {
  std::vector<std::jthread> threads;
  for (std::uint64_t p = 0; p < publishers; ++p) {
    threads.emplace_back([each, tx = hub.sender()]() mutable {
      std::uint64_t last = 0;
      for (std::uint64_t i = 0; i < each; ++i) {
        const auto sent = tx.send(ConfigUpdated{i});
        ASSERT_TRUE(sent);
        ASSERT_GT(sent->sequence, last);
        last = sent->sequence;
      }
    });
  }
}

struct Count {
  std::uint64_t delivered = 0, missed = 0, last = 0, of_the_stopped_at = 0;
};

/// Reads all there is, or until the bus is closed.
Count read(bus::Receiver& rx, bool blocking) {
  Count count;
  for (;;) {
    const bus::Received got = blocking ? rx.recv() : rx.try_recv();
    count.missed += got.missed();
    if (!got) return count;
    EXPECT_GT(got->sequence(), count.last);
    count.last = got->sequence();
    ++count.delivered;
    if (version_of(*got) == of_the_stopped) count.of_the_stopped_at = got->sequence();
  }
}

class Bus1APublisherStopped : public testing::TestWithParam<std::string_view> {};

INSTANTIATE_TEST_SUITE_P(HalfWay, Bus1APublisherStopped, testing::Values(before_swap, after_swap),
                         [](const auto& tested) { return tested.param == before_swap ? "BeforeSwap" : "AfterSwap"; });

TEST_P(Bus1APublisherStopped, DelaysNoPublisherAndNoReaderAndCostsNobodyAnEvent) {
  constexpr std::uint64_t publishers = 3, each = 3000, others = publishers * each;
  bus::Bus hub{{.capacity = 16384}};
  bus::Receiver rx = hub.subscribe();
  StoppedPublisher stopped(hub, GetParam());
  const bool is_out = GetParam() == after_swap;

  publish_many(hub, publishers, each);
  const Count meanwhile = read(rx, false);
  EXPECT_EQ(meanwhile.delivered, others + is_out);
  EXPECT_EQ(meanwhile.missed, 0u);
  EXPECT_EQ(meanwhile.last, others + is_out) << "sequences have a gap";
  EXPECT_EQ(meanwhile.of_the_stopped_at, is_out ? 1u : 0u);
  EXPECT_EQ(rx.stats().pending, 0u);

  const auto sent = stopped.go_on();
  ASSERT_TRUE(sent);
  const Count afterwards = read(rx, false);
  if (is_out) {
    EXPECT_EQ(sent->sequence, 1u);
    EXPECT_EQ(afterwards.delivered, 0u);
  } else {
    EXPECT_EQ(sent->sequence, others + 1);
    EXPECT_EQ(afterwards.of_the_stopped_at, others + 1);
    EXPECT_EQ(afterwards.delivered, 1u);
  }
  EXPECT_EQ(hub.stats().published, others + 1);
}

TEST_P(Bus1APublisherStopped, LeavesAllCountsExactWhileReadersAreOvertaken) {
  constexpr std::uint64_t publishers = 3, each = 4000;
  for (const std::uint64_t capacity : {2u, 7u, 64u}) {
    bus::Bus hub{{.capacity = capacity}};
    std::vector<bus::Receiver> receivers;
    for (int i = 0; i < 2; ++i) receivers.push_back(hub.subscribe());
    std::vector<Count> counts(receivers.size());
    std::vector<std::jthread> readers;
    for (std::size_t i = 0; i < receivers.size(); ++i) {
      readers.emplace_back([&, i] { counts[i] = read(receivers[i], true); });
    }
    {
      StoppedPublisher stopped(hub, GetParam());
      publish_many(hub, publishers, each);
      EXPECT_TRUE(stopped.go_on());
      publish_many(hub, publishers, each);
    }
    hub.close();
    readers.clear();
    const std::uint64_t published = 2 * publishers * each + 1;
    for (std::size_t i = 0; i < receivers.size(); ++i) {
      EXPECT_EQ(counts[i].delivered + counts[i].missed, published);
      const bus::ReceiverStats stats = receivers[i].stats();
      EXPECT_EQ(stats.published, published);
      EXPECT_EQ(stats.delivered, counts[i].delivered);
      EXPECT_EQ(stats.missed, counts[i].missed);
      EXPECT_EQ(stats.pending, 0u);
    }
  }
}

TEST_P(Bus1APublisherStopped, DoesNotKeepTheBusFromClosing) {
  bus::Bus hub{{.capacity = 64}};
  bus::Receiver rx = hub.subscribe();
  bus::Receiver sleeping = hub.subscribe();
  Count count;
  std::jthread reader([&] { count = read(sleeping, true); });
  StoppedPublisher stopped(hub, GetParam());
  publish_many(hub, 1, 10);
  hub.close();
  reader.join();
  EXPECT_TRUE(hub.closed());
  EXPECT_EQ(hub.send(ConfigUpdated{1}).error(), errc::closed);
  const bool is_out = GetParam() == after_swap;
  EXPECT_EQ(count.delivered, 10u + is_out);

  const auto sent = stopped.go_on();
  if (is_out) {
    ASSERT_TRUE(sent);
    EXPECT_EQ(sent->sequence, 1u);
  } else {
    EXPECT_EQ(sent.error(), errc::closed);
  }
  EXPECT_EQ(read(rx, false).delivered, 10u + is_out) << "closed means: nothing more";
  EXPECT_TRUE(rx.try_recv().closed());
}

TEST_P(Bus1APublisherStopped, MayOutliveTheBus) {
  std::optional<bus::Bus> hub(std::in_place);
  bus::Receiver rx = hub->subscribe();
  StoppedPublisher stopped(*hub, GetParam());
  hub.reset();
  EXPECT_EQ(read(rx, true).delivered, GetParam() == after_swap ? 1u : 0u);
  EXPECT_EQ(stopped.go_on().has_value(), GetParam() == after_swap);
}

TEST_P(Bus1APublisherStopped, LetsNoMemoryGrow) {
  bus::Bus hub{{.capacity = 64}};
  bus::Receiver rx = hub.subscribe();
  bus::Sender tx = hub.sender();
  StoppedPublisher stopped(hub, GetParam());
  const auto lap = [&] {
    for (std::uint64_t i = 0; i < 10'000; ++i) ASSERT_TRUE(tx.send(ConfigUpdated{i}));
    (void)rx.try_recv();
  };
  lap();
  const bus::BusStats warm = hub.stats();
  for (int i = 0; i < 5; ++i) lap();
  EXPECT_EQ(hub.stats().nodes, warm.nodes);
  EXPECT_EQ(hub.stats().node_growths, warm.node_growths);
}

TEST(Bus1PublishersStopped, AtEverySeamAtOnceAreAllPublishedOrderedAndCounted) {
  constexpr std::uint64_t others = 5000;
  bus::Bus hub{{.capacity = 8192}};
  bus::Receiver rx = hub.subscribe();
  std::optional<StoppedPublisher> stopped[6];
  for (int i = 0; i < 6; ++i) stopped[i].emplace(hub, i % 2 == 0 ? before_swap : after_swap);
  publish_many(hub, 1, others);
  EXPECT_EQ(read(rx, false).delivered, others + 3);
  std::uint64_t last = others + 3;
  for (int i = 0; i < 6; ++i) {
    const auto sent = stopped[i]->go_on();
    ASSERT_TRUE(sent);
    if (i % 2 == 0) {
      EXPECT_EQ(sent->sequence, ++last);
    }
  }
  EXPECT_EQ(read(rx, false).delivered, 3u);
}

// --- Readers ---

/// A message whose contents tell whether it is still what it was.
bus::Message marked(std::uint64_t n) {
  const std::string text = std::to_string(n) + ":" + std::string(16 + n % 100, static_cast<char>('a' + n % 26));
  return {.topic = "stalled.reader", .payload = bus::Payload::copy(text)};
}

bool is_marked(const bus::Event& event, std::uint64_t n) {
  const auto* message = event.get_if<bus::Message>();
  return message != nullptr && message->payload.text() == marked(n).payload.text() && event.sequence() == n + 1;
}

TEST(Bus1AReaderStopped, HoldingAnEventDelaysNobodyAndWhatItHoldsStaysIntact) {
  constexpr std::uint64_t publishers = 2, each = 5000;
  for (const std::uint64_t capacity : {2u, 7u, 64u, 1024u}) {
    bus::Bus hub{{.capacity = capacity}};
    bus::Receiver rx = hub.subscribe();
    ASSERT_TRUE(hub.send(marked(0)));
    const bus::Received held = rx.recv();
    publish_many(hub, publishers, each);
    ASSERT_TRUE(held);
    EXPECT_TRUE(is_marked(*held, 0)) << "capacity " << capacity;
    EXPECT_EQ(rx.stats().pending, capacity);
    const Count rest = read(rx, false);
    EXPECT_EQ(rest.delivered, capacity);
    EXPECT_EQ(rest.missed, publishers * each - capacity);
  }
}

TEST(Bus1AReaderStopped, HoldingABatchDelaysNobodyAndWhatItHoldsStaysIntact) {
  constexpr std::uint64_t each = 10'000;
  for (const std::uint64_t capacity : {2u, 7u, 64u, 1024u}) {
    bus::Bus hub{{.capacity = capacity}};
    bus::Receiver rx = hub.subscribe();
    for (std::uint64_t n = 0; n < std::min<std::uint64_t>(capacity, 64); ++n) ASSERT_TRUE(hub.send(marked(n)));
    const bus::Batch held = rx.recv_batch();
    ASSERT_EQ(held.size(), std::min<std::uint64_t>(capacity, 64));
    publish_many(hub, 2, each);
    for (std::size_t n = 0; n < held.size(); ++n) EXPECT_TRUE(is_marked(held[n], n)) << "capacity " << capacity;
  }
}

TEST(Bus1AReaderStopped, InTheMiddleOfReadingLetsNoMemoryGrow) {
  bus::Bus hub{{.capacity = 64}};
  std::vector<bus::Receiver> stopped;
  for (int i = 0; i < 8; ++i) stopped.push_back(hub.subscribe());
  bus::Sender tx = hub.sender();
  ASSERT_TRUE(tx.send(ConfigUpdated{0}));
  for (bus::Receiver& rx : stopped) ASSERT_TRUE(rx.recv());  // each holds its event and reads no more
  const auto lap = [&] {
    for (std::uint64_t i = 0; i < 10'000; ++i) ASSERT_TRUE(tx.send(ConfigUpdated{i}));
  };
  lap();
  const bus::BusStats warm = hub.stats();
  for (int i = 0; i < 5; ++i) lap();
  EXPECT_EQ(hub.stats().nodes, warm.nodes);
  EXPECT_EQ(hub.stats().node_growths, warm.node_growths);
}

// The reader stops in the middle of what it does with an event while publishers reuse every node they may.
TEST(Bus1AReaderStopped, AgainAndAgainAmongPublishersSeesOnlyWholeEvents) {
  bus::Bus hub{{.capacity = 7}};
  bus::Receiver rx = hub.subscribe();
  std::atomic<std::uint64_t> laps{0};
  std::jthread publisher([&](std::stop_token done) {
    bus::Sender tx = hub.sender();
    for (std::uint64_t n = 0; !done.stop_requested(); ++n) {
      EXPECT_TRUE(tx.send(marked(n)));
      laps.store(n / 7);
    }
  });
  std::uint64_t missed = 0;
  for (int round = 0; round < 30; ++round) {
    const bus::Received got = rx.recv();
    ASSERT_TRUE(got);
    missed += got.missed();
    const std::uint64_t n = got->sequence() - 1;
    EXPECT_EQ(n, missed + static_cast<std::uint64_t>(round)) << "what was missed is exact";
    EXPECT_TRUE(is_marked(*got, n));
    const std::uint64_t before = laps.load();
    while (laps.load() < before + 20) std::this_thread::yield();  // the ring is overwritten many times
    EXPECT_TRUE(is_marked(*got, n));
  }
}

}  // namespace
