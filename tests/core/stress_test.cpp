// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Everything at once, with real threads: publishers; receivers of every way of waiting and every form, with and
// without filters; some that come late and leave early; kept events; observers that come and go; snapshots. Then the
// bus is closed, and every sum must balance. What each thread does follows from a seed, which is printed.
#include <bus/asio.hpp>
#include <bus/bus.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <memory>
#include <random>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace {

std::atomic<std::int64_t> live_words{0};

/// An object that counts its copies and whose every word tells which event it belongs to.
class Words {
 public:
  Words(std::uint64_t publisher, std::uint64_t n) : publisher_(publisher), n_(n) {
    live_words.fetch_add(1);
    for (std::size_t i = 0; i < words_.size(); ++i) words_[i] = word(publisher, n, i);
  }
  Words(const Words& other) : publisher_(other.publisher_), n_(other.n_), words_(other.words_) {
    live_words.fetch_add(1);
  }
  Words& operator=(const Words&) = default;
  ~Words() {
    words_.fill(0);  // so that a reader of a dead object notices
    live_words.fetch_sub(1);
  }

  std::uint64_t publisher() const { return publisher_; }
  std::uint64_t n() const { return n_; }
  bool intact() const {
    for (std::size_t i = 0; i < words_.size(); ++i) {
      if (words_[i] != word(publisher_, n_, i)) return false;
    }
    return true;
  }

  static std::uint64_t word(std::uint64_t publisher, std::uint64_t n, std::uint64_t i) {
    std::uint64_t x = (publisher << 48) + (n << 8) + i + 0x9E3779B97F4A7C15;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
    return x ^ (x >> 27);
  }

 private:
  std::uint64_t publisher_, n_;
  std::array<std::uint64_t, 12> words_;
};

}  // namespace

template <>
struct bus::Schema<Words> {
  static constexpr std::string_view name = "stress.words";
  static constexpr std::uint32_t version = 1;
  static std::size_t size(const Words&) { return 16; }
  static void encode(const Words&, std::span<std::byte>) {}
  static bus::result<Words> decode(std::span<const std::byte>) { return make_error_code(errc::decode_failed); }
};

namespace {

namespace asio = boost::asio;
using bus::BodyKind;
using bus::ConfigUpdated;
using bus::Outcome;
using bus::Waiting;

constexpr std::uint64_t publishers = 3, each = 2500, total = publishers * each;

/// Bytes of a length and with contents that follow from publisher and number; short ones lie in the payload itself.
std::vector<std::uint64_t> bytes_of(std::uint64_t publisher, std::uint64_t n) {
  std::vector<std::uint64_t> words{publisher, n};
  for (std::uint64_t i = 0; i < n % 16; ++i) words.push_back(Words::word(publisher, n, i));
  return words;
}

bus::result<bus::Sent> publish(bus::Sender& tx, std::uint64_t publisher, std::uint64_t n) {
  switch (n % 4) {
    case 0: return tx.send(ConfigUpdated{publisher << 32 | n});
    case 1:
      return tx.send(bus::Message{.topic = "stress.v1.words", .payload = bus::Payload::object(Words(publisher, n))});
    case 2: {
      const auto words = bytes_of(publisher, n);
      return tx.send(bus::Message{.topic = "stress.v1.bytes",
                                  .principal = "agent.a",
                                  .payload = bus::Payload::copy(std::as_bytes(std::span(words)))});
    }
    default: return tx.send(bus::ServiceCrashed{"stress", std::to_string(publisher) + " " + std::to_string(n)});
  }
}

/// Which publish an event came from. Fails the test unless every word of it belongs to that publish.
struct Origin {
  std::uint64_t publisher = 0, n = 0;
};
Origin origin_of(const bus::Event& event) {
  Origin origin;
  bool intact = false;
  bus::match(
      event,
      [&](const ConfigUpdated& body) {
        origin = {body.version >> 32, body.version & 0xFFFFFFFF};
        intact = origin.n % 4 == 0;
      },
      [&](const bus::Message& body) {
        if (const Words* words = body.payload.get_if<Words>()) {
          origin = {words->publisher(), words->n()};
          intact = words->intact() && body.topic == bus::Topic("stress.v1.words");
          return;
        }
        std::vector<std::uint64_t> words(body.payload.bytes().size() / 8);
        std::memcpy(words.data(), body.payload.bytes().data(), body.payload.bytes().size());
        if (words.size() < 2) return;
        origin = {words[0], words[1]};
        intact = words == bytes_of(words[0], words[1]) && body.topic == bus::Topic("stress.v1.bytes") &&
                 body.principal == bus::Principal("agent.a");
      },
      [&](const bus::ServiceCrashed& body) {
        const auto space = body.reason.find(' ');
        if (space == std::string::npos) return;
        origin = {std::stoull(body.reason), std::stoull(body.reason.substr(space + 1))};
        intact = body.service == "stress" && origin.n % 4 == 3;
      },
      [](const auto&) {});
  EXPECT_TRUE(intact) << "event " << event.sequence() << " is torn";
  return origin;
}

/// What one receiver saw, checked as it comes.
class Tally {
 public:
  Tally(bus::Receiver receiver, bool filters, std::uint64_t seed)
      : rx(std::move(receiver)), filters_(filters), random(seed) {}

  /// Counts what a receive returned. Returns: whether to go on.
  bool take(const bus::Received& got) {
    begin(got.missed());
    if (got) one(*got);
    if (got && got->sequence() % 16 == 0) keep(got.keep());
    return !got.closed();
  }
  bool take(const bus::Batch& got) {
    begin(got.missed());
    for (const bus::Event& event : got) one(event);
    if (got) keep(got.keep(got.size() - 1));
    return !got.closed();
  }

  /// Once the receiver has been used for the last time.
  void check(bool drained) {
    kept_.clear();
    const bus::ReceiverStats stats = rx.stats();
    EXPECT_EQ(stats.delivered, delivered_);
    EXPECT_EQ(stats.delivered + stats.filtered + stats.missed + stats.pending, stats.published);
    if (!filters_) {
      EXPECT_EQ(stats.filtered, 0u);
    }
    if (!drained) return;
    EXPECT_EQ(stats.missed, missed_) << "every loss was told";
    EXPECT_EQ(stats.pending, 0u);
  }

  /// Whether each event came with the sequence its publisher was told.
  void check_against(const std::vector<Origin>& published) const {
    for (const auto& [sequence, origin] : seen_) {
      ASSERT_LT(sequence, published.size());
      ASSERT_EQ(published[sequence].publisher, origin.publisher) << "sequence " << sequence;
      ASSERT_EQ(published[sequence].n, origin.n) << "sequence " << sequence;
    }
  }

  std::uint64_t delivered() const { return delivered_; }

  bus::Receiver rx;

 private:
  void begin(std::uint64_t missed) {
    missed_ += missed;
    gap_ = missed;
  }

  void one(const bus::Event& event) {
    if (delivered_++ != 0) {
      if (filters_) {
        EXPECT_GT(event.sequence(), last_ + gap_);
      } else {
        EXPECT_EQ(event.sequence(), last_ + gap_ + 1) << "no gap but what was told";
      }
    }
    last_ = event.sequence();
    gap_ = 0;
    const Origin origin = origin_of(event);
    ASSERT_LT(origin.publisher, publishers);
    EXPECT_GE(origin.n, next_[origin.publisher]) << "of one publisher, in order";
    next_[origin.publisher] = origin.n + 1;
    seen_.emplace_back(last_, origin);
  }

  void keep(bus::EventRef event) {
    if (kept_.size() < 24) {
      kept_.push_back({std::move(event), seen_.back().second});
      return;
    }
    Kept& old = kept_[random() % kept_.size()];
    const Origin now = origin_of(*old.event);
    EXPECT_EQ(now.publisher, old.origin.publisher);
    EXPECT_EQ(now.n, old.origin.n);
    old = {std::move(event), seen_.back().second};
  }

  struct Kept {
    bus::EventRef event;
    Origin origin;
  };
  const bool filters_;
  std::uint64_t delivered_ = 0, missed_ = 0, last_ = 0, gap_ = 0;
  std::array<std::uint64_t, publishers> next_{};
  std::vector<std::pair<std::uint64_t, Origin>> seen_;
  std::vector<Kept> kept_;

 public:
  std::minstd_rand random;
};

/// The forms of receive a thread can use; `any` is all of them in turn.
enum class Form { try_recv, recv, recv_until, recv_stop, batch, batch_until, any };

bool receive(Tally& tally, Form form) {
  const auto soon = [&] { return std::chrono::steady_clock::now() + std::chrono::microseconds(tally.random() % 200); };
  switch (form == Form::any ? static_cast<Form>(tally.random() % 6) : form) {
    case Form::try_recv: {
      const bus::Received got = tally.rx.try_recv();
      if (got.outcome() == Outcome::empty) std::this_thread::yield();
      return tally.take(got);
    }
    case Form::recv_until: return tally.take(tally.rx.recv_until(soon()));
    case Form::recv_stop: {
      std::stop_source source;
      if (tally.random() % 4 == 0) source.request_stop();
      return tally.take(tally.rx.recv(source.get_token()));
    }
    case Form::batch: return tally.take(tally.rx.recv_batch(1 + tally.random() % 64));
    case Form::batch_until: return tally.take(tally.rx.recv_batch_until(soon()));
    default: return tally.take(tally.rx.recv());
  }
}

struct Kind {
  Form form;
  bus::SubscribeOptions options;
  bool filters() const { return options.bodies != bus::Bodies::all() || !options.patterns.empty(); }
};

const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all{
      {Form::recv, {.name = "parks", .waiting = Waiting::park}},
      {Form::batch, {.name = "yields", .waiting = Waiting::yield}},
      {Form::recv_until, {.name = "parks", .waiting = Waiting::park}},
      {Form::any, {.name = "spins", .waiting = Waiting::spin}},
      {Form::recv, {.bodies = {BodyKind::config_updated}, .waiting = Waiting::park}},
      {Form::any, {.patterns = {"stress.*.words"}, .waiting = Waiting::park}},
      {Form::any, {.start = bus::Start::oldest, .bodies = {BodyKind::message}, .patterns = {"stress.v1.bytes"}}},
  };
  return all;
}

asio::awaitable<void> receive_singly(Tally& tally) {
  for (bool open = true; open;) {
    const bus::Received got = co_await tally.rx.async_recv(asio::use_awaitable);
    open = tally.take(got);
  }
}

asio::awaitable<void> receive_batches(Tally& tally) {
  for (bool open = true; open;) {
    const bus::Batch got = co_await tally.rx.async_recv_batch(32, asio::use_awaitable);
    open = tally.take(got);
  }
}

/// Subscribes, receives a little and leaves, again and again.
void come_and_go(bus::Bus& hub, std::uint64_t seed, std::vector<std::unique_ptr<Tally>>& tallies) {
  std::minstd_rand random(static_cast<unsigned>(seed));
  for (bool open = true; open;) {
    const Kind& kind = kinds()[random() % kinds().size()];
    Tally& tally =
        *tallies.emplace_back(std::make_unique<Tally>(hub.subscribe(kind.options), kind.filters(), random()));
    for (auto left = random() % 50; open && left != 0; --left) open = receive(tally, Form::any);
    tally.check(!open);
    tally.rx = {};
  }
}

class Stress : public testing::TestWithParam<std::uint64_t> {};

INSTANTIATE_TEST_SUITE_P(OfCapacity, Stress, testing::Values(2, 7, 64, 1024),
                         [](const auto& tested) { return std::to_string(tested.param); });

TEST_P(Stress, BalancesForEveryReceiverAndTearsNoEvent) {
  const std::uint64_t seed = std::random_device{}();
  std::cout << "seed " << seed << "\n";
  std::vector<Origin> published(total + 1, Origin{publishers, 0});
  std::vector<std::unique_ptr<Tally>> tallies;
  std::vector<std::unique_ptr<Tally>> guests[2];
  {
    bus::Bus hub{{.capacity = GetParam()}};
    asio::io_context io(2);
    std::vector<std::jthread> readers;
    for (const Kind& kind : kinds()) {
      tallies.push_back(std::make_unique<Tally>(hub.subscribe(kind.options), kind.filters(), seed + tallies.size()));
    }
    for (std::size_t i = 0; i < kinds().size(); ++i) {
      readers.emplace_back([&tally = *tallies[i], form = kinds()[i].form] {
        while (receive(tally, form)) {
        }
      });
    }
    for (int i = 0; i < 4; ++i) {
      const Kind& kind = kinds()[i < 2 ? 0 : 3 + static_cast<std::size_t>(i)];
      Tally& tally = *tallies.emplace_back(
          std::make_unique<Tally>(hub.subscribe(kind.options), kind.filters(), seed + tallies.size()));
      asio::co_spawn(io, i % 2 == 0 ? receive_singly(tally) : receive_batches(tally), asio::detached);
    }
    for (int i = 0; i < 2; ++i) {
      readers.emplace_back([&] { io.run(); });
      readers.emplace_back(
          [&hub, &mine = guests[i], s = seed + 100 + static_cast<std::uint64_t>(i)] { come_and_go(hub, s, mine); });
    }

    std::jthread observing([&](std::stop_token done) {
      for (std::uint64_t rounds = 1; !done.stop_requested(); ++rounds) {
        std::atomic<std::uint64_t> calls{0};
        const bus::Observer observer = hub.observe("watcher", [&](const bus::Event& event) {
          (void)origin_of(event);
          calls.fetch_add(1);
        });
        while (calls.load() < rounds % 4 && !done.stop_requested()) std::this_thread::yield();
      }
    });
    std::jthread snapshots([&](std::stop_token done) {
      bus::BusStats before;
      while (!done.stop_requested()) {
        const bus::BusStats now = hub.stats();
        EXPECT_GE(now.published, before.published);
        for (const bus::ReceiverStats& receiver : now.receivers) EXPECT_LE(receiver.pending, GetParam());
        before = now;
        std::this_thread::yield();
      }
    });

    std::vector<std::jthread> writers;
    for (std::uint64_t p = 0; p < publishers; ++p) {
      writers.emplace_back([&published, p, tx = hub.sender()]() mutable {
        std::uint64_t last = 0;
        for (std::uint64_t n = 0; n < each; ++n) {
          if (n % 50 == 49) tx = bus::Sender(tx);  // now and then a new place
          const auto sent = publish(tx, p, n);
          ASSERT_TRUE(sent);
          ASSERT_GT(sent->sequence, last);
          ASSERT_LE(sent->sequence, total);
          last = sent->sequence;
          EXPECT_EQ(published[last].publisher, publishers) << "a sequence was given twice";
          published[last] = {p, n};
          if (n % 32 == 0) std::this_thread::yield();
        }
      });
    }
    writers.clear();
    hub.close();
    readers.clear();
    observing = {};
    snapshots = {};

    const bus::BusStats stats = hub.stats();
    EXPECT_EQ(stats.published, total);
    EXPECT_EQ(stats.observer_exceptions, 0u);
    for (std::size_t i = 0; i < tallies.size(); ++i) {
      SCOPED_TRACE("receiver " + std::to_string(i));
      Tally& tally = *tallies[i];
      tally.check(true);
      EXPECT_EQ(tally.rx.stats().published, total);
    }
    std::uint64_t delivered = 0;
    for (const bus::NameStats& name : stats.names) delivered += name.delivered;
    std::uint64_t counted = 0;
    for (const auto* all : {&tallies, &guests[0], &guests[1]}) {
      for (const auto& tally : *all) {
        tally->check_against(published);
        counted += tally->delivered();
      }
    }
    EXPECT_EQ(delivered, counted) << "by name, those that left included";
  }
  tallies.clear();
  for (auto& some : guests) some.clear();
  EXPECT_EQ(live_words.load(), 0) << "objects leaked";
}

// Close races publishers, sleepers and newcomers; nobody may hang, and what was accepted is what is counted.
TEST(StressOfClosing, AcceptsWhatItCountsAndNoMore) {
  const std::uint64_t seed = std::random_device{}();
  std::cout << "seed " << seed << "\n";
  std::minstd_rand random(static_cast<unsigned>(seed));
  for (int round = 0; round < 100; ++round) {
    bus::Bus hub{{.capacity = 2 + random() % 30}};
    std::atomic<std::uint64_t> accepted{0};
    std::vector<std::unique_ptr<Tally>> tallies;
    for (int i = 0; i < 3; ++i) tallies.push_back(std::make_unique<Tally>(hub.subscribe(), false, random()));
    const std::uint64_t close_at = random() % 60;
    {
      std::vector<std::jthread> threads;
      for (const auto& tally : tallies) {
        threads.emplace_back([&] {
          while (receive(*tally, Form::recv)) {
          }
        });
      }
      for (std::uint64_t p = 0; p < 2; ++p) {
        threads.emplace_back([&, p, tx = hub.sender()]() mutable {
          std::uint64_t n = 0;
          while (publish(tx, p, n)) {
            ++n;
            accepted.fetch_add(1);
          }
        });
      }
      while (accepted.load() < close_at) std::this_thread::yield();
      hub.close();
    }
    EXPECT_EQ(hub.stats().published, accepted.load());
    for (const auto& tally : tallies) {
      tally->check(true);
      EXPECT_EQ(tally->rx.stats().published, accepted.load());
    }
  }
  EXPECT_EQ(live_words.load(), 0);
}

}  // namespace
