// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The log as a program uses it, with its threads, on a simulated disk.
#include <bus/persistence/asio.hpp>
#include <bus/persistence/log.hpp>

#include "engine_fixture.hpp"
#include "forwarding_storage.hpp"
#include "gated_storage.hpp"

#include "persistence/log_core.hpp"

#include "simulation/sim_disk.hpp"

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

namespace bus {
namespace {

using detail::read_all;
using detail::Sent;
using simulation::Call;
using simulation::GatedStorage;
using simulation::SimDisk;
using namespace std::chrono_literals;
namespace sys = boost::system::errc;

constexpr std::uint64_t segment_bytes = std::uint64_t{256} << 10;

LogOptions small_log() {
  LogOptions options;
  options.segment_bytes = segment_bytes;
  options.uncommitted_bytes = std::size_t{256} << 10;
  options.spare_segments = 0;
  return options;
}

/// A clock that a test sets.
class SetClock final : public Clock {
 public:
  std::chrono::system_clock::time_point wall() const noexcept override {
    return std::chrono::system_clock::time_point(std::chrono::nanoseconds(now_ns.load()));
  }
  std::chrono::steady_clock::time_point steady() const noexcept override { return std::chrono::steady_clock::now(); }
  void advance(std::chrono::nanoseconds time) { now_ns += time.count(); }
  std::atomic<std::int64_t> now_ns{1'700'000'000'000'000'000};
};

/// A disk with a log on it, which may be opened again and again.
class PublicLog : public testing::Test {
 protected:
  error_code open(const LogOptions& options = small_log()) {
    log.reset();
    auto opened = Log::open(disk.mount(), options);
    if (!opened) return opened.error();
    log.emplace(std::move(*opened));
    return {};
  }
  result<Receipt<Durability::synced>> append(std::string_view payload, std::string_view topic = "agent.v1.done") {
    return log->append({.topic = Topic::parse(topic).value(), .principal = "agent.x", .payload = as_payload(payload)});
  }
  /// Appends records of a thousand bytes until there are so many segments.
  void fill(std::size_t count) {
    const std::string payload(1000, 'x');
    while (log->stats().segments < count) ASSERT_TRUE(append(payload));
  }
  std::vector<std::string> segments() {
    auto names = disk.mount()->list().value();
    std::erase_if(names, [](const std::string& name) { return !detail::parse_segment_name(name); });
    std::ranges::sort(names);
    return names;
  }
  detail::Content content(const ReadOptions& options = {}) {
    LogReader reader = log->read(options).value();
    return read_all(reader);
  }

  SetClock clock;
  SimDisk disk{1};
  std::optional<Log> log;
};

/// Where making it durable fails that a name is gone, it may be back after a crash; what followed must be there then.
class DroppedSegments : public testing::TestWithParam<std::tuple<bool, unsigned>> {
 protected:
  void open() {
    core.reset();
    LogOptions options = small_log();
    options.spare_segments = std::get<1>(GetParam());
    auto storage = disk.mount();
    core = detail::LogCore::open(storage, options, detail::LogCore::Threads::none).value();
  }
  void fill(std::size_t segments) {
    const std::string payload(1000, 'x');
    const Record record{.topic = "t", .payload = as_payload(payload)};
    while (core->segments().size() < segments) {
      const auto ticket = core->hand_over({&record, 1}, Durability::synced, true, nullptr).value();
      ASSERT_TRUE(core->wait(ticket, 1, Durability::synced, nullptr));
    }
  }

  SimDisk disk{1};
  std::unique_ptr<detail::LogCore> core;
};
INSTANTIATE_TEST_SUITE_P(OrKilled, DroppedSegments, testing::Combine(testing::Bool(), testing::Values(0U, 2U)));

TEST_P(DroppedSegments, LOG_4_do_not_come_back_without_those_behind_them) {
  open();
  fill(6);
  const std::uint64_t second = core->segments().all()[1]->name.base_offset;
  const std::uint64_t third = core->segments().all()[2]->name.base_offset;
  disk.fail({.call = Call::sync_names});
  EXPECT_EQ(core->drop_before(second).error(), sys::io_error);
  if (std::get<0>(GetParam())) {  // the next process knows nothing of it
    core.reset();
    disk.kill();
    open();
  }
  EXPECT_EQ(core->drop_before(third).value(), third);
  fill(6);  // of what was dropped, if it is to be used again
  EXPECT_GE(core->stats().reused_segments, std::get<1>(GetParam()));
  const std::uint64_t committed = core->segments().committed();
  core.reset();
  disk.crash({.keep = 0.0});
  open();
  EXPECT_EQ(core->losses().records(), 0U);
  EXPECT_EQ(core->segments().first_offset(), third);
  EXPECT_EQ(core->segments().committed(), committed);
  auto reader = detail::ReaderCore::make(*core, {.from = From::oldest()}).value();
  for (std::uint64_t offset = third; offset < committed; ++offset) {
    ASSERT_EQ(reader->next()->outcome(), ReadOutcome::record) << offset;
  }
}

TEST_F(PublicLog, gives_back_all_that_a_record_says) {
  ASSERT_FALSE(open());
  const std::vector<Header> headers{{"content-type", "text/plain"}, {"empty", ""}};
  const auto time = std::chrono::system_clock::time_point(1'600'000'000'123'456'789ns);
  const Record record{.topic = "agent.v1.done",
                      .principal = "agent.x",
                      .payload = as_payload("hello"),
                      .key = "k",
                      .headers = headers,
                      .time = time,
                      .source = "worker",
                      .correlation = CorrelationId{1, 2},
                      .trace = TraceContext{{1}, {2}, 3},
                      .terminal = true,
                      .schema = "busbar.test.Done",
                      .schema_version = 7,
                      .message_id = "m-1",
                      .producer = Producer{5, 6, 7},
                      .priority = std::uint8_t{2},
                      .due = time + 1s,
                      .expiry = time + 2s};
  const auto receipt = log->append(record);
  ASSERT_TRUE(receipt) << receipt.error().message();
  EXPECT_EQ(receipt->offset(), 0U);
  ASSERT_TRUE(log->append({.topic = "plain"}));
  for (int again = 0; again < 2; ++again) {
    LogReader reader = log->read().value();
    ASSERT_EQ(reader.next()->outcome(), ReadOutcome::record);
    const RecordView view = reader.record();
    ASSERT_EQ(reader.next()->outcome(), ReadOutcome::record);
    EXPECT_EQ(reader.record().topic(), "plain");
    EXPECT_EQ(reader.record().key(), "");
    EXPECT_EQ(reader.record().schema(), "");
    EXPECT_FALSE(reader.record().priority());
    EXPECT_EQ(reader.next()->outcome(), ReadOutcome::end);
    EXPECT_EQ(view.offset(), 0U);
    EXPECT_EQ(view.topic(), "agent.v1.done");
    EXPECT_EQ(view.principal(), "agent.x");
    EXPECT_EQ(view.text(), "hello");
    EXPECT_EQ(view.key(), "k");
    EXPECT_EQ(view.time(), time);
    EXPECT_EQ(view.source(), "worker");
    EXPECT_EQ(view.correlation(), (CorrelationId{1, 2}));
    EXPECT_EQ(view.trace(), record.trace);
    EXPECT_TRUE(view.terminal());
    EXPECT_EQ(view.schema(), "busbar.test.Done");
    EXPECT_EQ(view.schema_version(), 7U);
    EXPECT_EQ(view.message_id(), "m-1");
    EXPECT_EQ(view.producer(), (Producer{5, 6, 7}));
    EXPECT_EQ(view.priority(), std::uint8_t{2});
    EXPECT_EQ(view.due(), time + 1s);
    EXPECT_EQ(view.expiry(), time + 2s);
    std::vector<Header> got;
    view.for_each_header([&](const Header& header) { got.push_back(header); });
    EXPECT_EQ(got, headers);
    ASSERT_FALSE(open());
  }
}

TEST_F(PublicLog, refuses_what_is_no_record) {
  ASSERT_FALSE(open());
  EXPECT_EQ(log->append(Record{}).error(), errc::topic_invalid);
  EXPECT_EQ(log->append({.topic = "t", .key = std::string(256, 'k')}).error(), errc::key_too_long);
  EXPECT_EQ(log->append({.topic = "t", .schema = std::string(65, 's')}).error(), errc::name_invalid);
  const std::vector<Header> nameless{{"", "value"}};
  EXPECT_EQ(log->append({.topic = "t", .headers = nameless}).error(), errc::name_invalid);
  const std::string huge(segment_bytes, 'x');
  EXPECT_EQ(log->append({.topic = "t", .payload = as_payload(huge)}).error(), errc::payload_too_large);
  EXPECT_EQ(log->append(std::span<const Record>()).error(), sys::invalid_argument);
  EXPECT_EQ(log->next_offset(), 0U);
}

TEST_F(PublicLog, refuses_impossible_options) {
  const auto refused = [&](auto&& change) {
    LogOptions options = small_log();
    change(options);
    return open(options) == sys::invalid_argument;
  };
  EXPECT_TRUE(refused([](LogOptions& o) { o.segment_bytes = 100'000; }));
  EXPECT_TRUE(refused([](LogOptions& o) { o.segment_bytes += 1; }));
  EXPECT_TRUE(refused([](LogOptions& o) { o.uncommitted_bytes = 100'000; }));
  EXPECT_TRUE(refused([](LogOptions& o) { o.batch_bytes = 0; }));
  EXPECT_TRUE(refused([](LogOptions& o) { o.timer = 0ns; }));
  EXPECT_TRUE(refused([](LogOptions& o) { o.sync_every = 0ns; }));
  EXPECT_TRUE(refused([](LogOptions& o) { o.disk_bytes = 1000; }));
  EXPECT_TRUE(refused([](LogOptions& o) { o.max_loss_share = 2; }));
  EXPECT_TRUE(refused([](LogOptions& o) { o.memory_bytes = 1000; })) << "what the limits imply cannot fit under it";
  EXPECT_FALSE(open());
}

TEST_F(PublicLog, appends_a_batch_as_one) {
  ASSERT_FALSE(open());
  ASSERT_TRUE(append("zero"));
  std::vector<Record> batch(10, Record{.topic = "t", .payload = as_payload("b")});
  const auto before = log->stats();
  const auto receipt = log->append(batch);
  ASSERT_TRUE(receipt);
  EXPECT_EQ(receipt->offset(), 1U);
  EXPECT_EQ(receipt->records(), 10U);
  EXPECT_EQ(log->stats().commits, before.commits + 1);
  EXPECT_EQ(log->next_offset(), 11U);
  const std::string big(20'000, 'x');
  batch.assign(10, Record{.topic = "t", .payload = as_payload(big)});
  EXPECT_EQ(log->append(batch).error(), errc::payload_too_large);
  EXPECT_EQ(log->next_offset(), 11U) << "all of it or nothing";
}

TEST_F(PublicLog, says_in_the_receipt_what_it_promises) {
  ASSERT_FALSE(open());
  const auto synced = log->append({.topic = "t"});
  const Receipt<Durability::written> weaker = *synced;
  EXPECT_EQ(weaker.offset(), 0U);
  static_assert(!std::is_convertible_v<Receipt<Durability::written>, Receipt<Durability::synced>>);
  const auto syncs = log->stats().syncs;
  EXPECT_EQ(log->append<Durability::written>({.topic = "t"})->offset(), 1U);
  EXPECT_EQ(log->append<Durability::interval>({.topic = "t"})->offset(), 2U);
  EXPECT_EQ(log->stats().syncs, syncs);
  EXPECT_EQ(content().records.size(), 3U);
  EXPECT_FALSE(log->sync());
  EXPECT_EQ(log->stats().syncs, syncs + 1);
  disk.crash();
  log.reset();
  ASSERT_FALSE(open());
  EXPECT_EQ(content().records.size(), 3U);
}

TEST_F(PublicLog, commits_what_is_buffered_though_nobody_waits_for_it) {
  ASSERT_FALSE(open());
  ASSERT_TRUE(log->append<Durability::buffered>({.topic = "t"}));
  while (log->next_offset() != 1) std::this_thread::yield();  // for ever, if it does not
}

TEST_F(PublicLog, syncs_an_interval_within_its_bytes) {
  LogOptions options = small_log();
  options.sync_every = 1h;
  options.sync_every_bytes = 10'000;
  ASSERT_FALSE(open(options));
  const std::string payload(1000, 'x');
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(log->append<Durability::interval>({.topic = "t", .payload = as_payload(payload)}));
    ASSERT_LT(log->stats().unsynced_bytes, 10'000U);
  }
}

TEST_F(PublicLog, syncs_an_interval_within_its_time) {
  LogOptions options = small_log();
  options.sync_every = 1ms;
  ASSERT_FALSE(open(options));
  ASSERT_TRUE(log->append<Durability::interval>({.topic = "t"}));
  while (log->stats().unsynced_bytes != 0) std::this_thread::yield();  // for ever, if it does not
  disk.crash({.keep = 0});
  log.reset();
  ASSERT_FALSE(open());
  EXPECT_EQ(log->next_offset(), 1U);
}

// --- LOG-1, and the order of offsets ---

TEST_F(PublicLog, LOG_1_what_many_threads_were_given_receipts_for_survives) {
  ASSERT_FALSE(open());
  constexpr int threads = 8;
  constexpr int appends = 100;
  std::vector<std::vector<std::uint64_t>> offsets(threads);
  std::vector<std::thread> running;
  for (int who = 0; who < threads; ++who) {
    running.emplace_back([&, who] {
      for (int i = 0; i < appends; ++i) {
        const auto receipt = append(std::to_string(who) + "." + std::to_string(i));
        ASSERT_TRUE(receipt) << receipt.error().message();
        offsets[static_cast<std::size_t>(who)].push_back(receipt->offset());
      }
    });
  }
  for (std::thread& thread : running) thread.join();
  disk.crash({.keep = 0});
  log.reset();
  ASSERT_FALSE(open());
  const auto read = content();
  ASSERT_EQ(read.records.size(), std::size_t{threads} * appends);
  for (std::size_t who = 0; who < threads; ++who) {
    EXPECT_TRUE(std::ranges::is_sorted(offsets[who]));
    for (std::size_t i = 0; i < appends; ++i) {
      EXPECT_EQ(read.records.at(offsets[who][i]).second.payload, std::to_string(who) + "." + std::to_string(i));
    }
  }
}

TEST_F(PublicLog, LOG_1_no_receipt_comes_before_the_sync_has_returned) {
  GatedStorage::Gate gate;
  auto opened = Log::open(std::make_unique<GatedStorage>(disk.mount(), gate), small_log());
  ASSERT_TRUE(opened);
  gate.set(true);
  const auto pending = opened->submit({.topic = "t"});
  ASSERT_TRUE(pending);
  gate.await_one();  // the sync is under way
  EXPECT_FALSE(pending->ready());
  EXPECT_EQ(opened->next_offset(), 0U) << "and readers do not see it";
  gate.set(false);
  EXPECT_EQ(pending->wait()->offset(), 0U);
  EXPECT_TRUE(pending->ready());
  EXPECT_EQ(opened->next_offset(), 1U);
}

TEST_F(PublicLog, commits_together_what_came_while_a_sync_was_under_way) {
  GatedStorage::Gate gate;
  auto opened = Log::open(std::make_unique<GatedStorage>(disk.mount(), gate), small_log());
  ASSERT_TRUE(opened);
  gate.set(true);
  const auto first = opened->submit({.topic = "t"});
  gate.await_one();
  std::vector<PendingReceipt<Durability::synced>> others;
  for (int i = 0; i < 50; ++i) others.push_back(opened->submit({.topic = "t"}).value());
  gate.set(false);
  for (const auto& one : others) ASSERT_TRUE(one.wait());
  ASSERT_TRUE(first->wait());
  EXPECT_EQ(opened->stats().commits, 2U);
}

TEST_F(PublicLog, counts_how_long_commits_take_until_they_are_synced) {
  class HandClock final : public Clock {
   public:
    std::chrono::system_clock::time_point wall() const noexcept override { return Clock::system().wall(); }
    std::chrono::steady_clock::time_point steady() const noexcept override {
      return std::chrono::steady_clock::time_point(now.load());
    }
    std::atomic<std::chrono::nanoseconds> now{1h};
  };
  HandClock hand;
  GatedStorage::Gate gate;
  LogOptions options = small_log();
  options.clock = &hand;
  Log timed = Log::open(std::make_unique<GatedStorage>(disk.mount(), gate), options).value();
  gate.set(true);
  std::thread appender([&] { EXPECT_TRUE(timed.append({.topic = "t"})); });
  gate.await_one();
  hand.now = 1h + 3ms;
  gate.set(false);
  appender.join();
  ASSERT_TRUE(timed.append<Durability::written>({.topic = "t"}));
  const LogStats stats = timed.stats();
  EXPECT_EQ(stats.commits, 2U);
  EXPECT_EQ(stats.commit_us.count(), 1U) << "the other has not been synced";
  EXPECT_EQ(stats.commit_us.sum, 3000U);
  ASSERT_EQ(commit_us_bounds[6], 5000U);
  EXPECT_EQ(stats.commit_us.counts[6], 1U);
}

TEST_F(PublicLog, is_overloaded_beyond_its_memory_and_goes_on) {
  GatedStorage::Gate gate;
  LogOptions options = small_log();
  options.uncommitted_bytes = std::size_t{64} << 10;
  auto opened = Log::open(std::make_unique<GatedStorage>(disk.mount(), gate), options);
  ASSERT_TRUE(opened);
  gate.set(true);
  const std::string payload(1000, 'x');
  const Record record{.topic = "t", .payload = as_payload(payload)};
  std::vector<PendingReceipt<Durability::synced>> taken;
  for (;;) {
    const auto pending = opened->submit(record);
    if (!pending) {
      EXPECT_EQ(pending.error(), errc::overloaded);
      EXPECT_TRUE(is_retryable(pending.error()));
      break;
    }
    taken.push_back(*pending);
    ASSERT_LT(taken.size(), 100U);
  }
  EXPECT_GE(taken.size(), 50U);
  EXPECT_GE(opened->stats().overloads, 1U);
  EXPECT_EQ(opened->append_until(record, std::chrono::steady_clock::now() + 1ms).error(), errc::timed_out);
  std::thread late([&] { EXPECT_TRUE(opened->append_until(record, std::chrono::steady_clock::now() + 1h)); });
  gate.set(false);
  late.join();
  for (const auto& one : taken) EXPECT_TRUE(one.wait());
  EXPECT_EQ(opened->next_offset(), taken.size() + 1);
}

TEST_F(PublicLog, takes_a_record_that_is_longer_than_its_memory) {
  LogOptions options = small_log();
  options.segment_bytes = std::uint64_t{2} << 20;
  options.uncommitted_bytes = std::size_t{64} << 10;
  ASSERT_FALSE(open(options));
  const std::string payload(1'000'000, 'y');
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(append(payload));
  ASSERT_TRUE(append("short"));
  ASSERT_FALSE(open(options));
  const auto read = content();
  ASSERT_EQ(read.records.size(), 4U);
  EXPECT_EQ(read.records[2].second.payload, payload);
}

// --- Reading ---

TEST_F(PublicLog, is_followed_from_history_to_live_until_it_is_closed) {
  ASSERT_FALSE(open());
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(append(std::to_string(i)));
  std::vector<std::string> got;
  LogReader reader = log->read().value();
  std::thread follower([&] {
    for (;;) {
      const auto found = reader.wait_next();
      ASSERT_TRUE(found);
      if (found->outcome() == ReadOutcome::closed) return;
      ASSERT_EQ(found->outcome(), ReadOutcome::record);
      got.emplace_back(reader.record().text());
    }
  });
  for (int i = 100; i < 300; ++i) ASSERT_TRUE(append(std::to_string(i)));
  EXPECT_FALSE(log->close());
  follower.join();
  ASSERT_EQ(got.size(), 300U);
  for (std::size_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i], std::to_string(i));
  EXPECT_EQ(append("late").error(), errc::closed);
}

TEST_F(PublicLog, waits_for_the_next_record_no_longer_than_told) {
  ASSERT_FALSE(open());
  LogReader reader = log->read({.from = From::next()}).value();
  EXPECT_EQ(reader.wait_next_until(std::chrono::steady_clock::now() + 1ms)->outcome(), ReadOutcome::timed_out);
  ASSERT_TRUE(append("x"));
  EXPECT_EQ(reader.wait_next_until(std::chrono::steady_clock::now() + 1h)->outcome(), ReadOutcome::record);
}

TEST_F(PublicLog, reads_by_offset_pattern_and_cursor) {
  ASSERT_FALSE(open());
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(append(std::to_string(i), i % 10 == 0 ? "tick.ten" : i % 2 == 0 ? "tick.even" : "tock"));
  }
  EXPECT_EQ(content({.from = From::offset(900)}).records.front().first, 900U);
  EXPECT_EQ(content({.patterns = {"tick.*"}}).records.size(), 500U);
  const auto tens = content({.from = From::offset(501), .patterns = {"tick.ten"}});
  ASSERT_EQ(tens.records.size(), 49U);
  EXPECT_EQ(tens.records.front().first, 510U);
  EXPECT_EQ(tens.missing, 0U);
  EXPECT_EQ(content({.patterns = {"nothing.>"}}).records.size(), 0U);

  LogReader reader = log->read({.patterns = {"tick.ten"}}).value();
  for (int i = 0; i < 5; ++i) ASSERT_EQ(reader.next()->outcome(), ReadOutcome::record);
  const std::string place = reader.cursor().to_string();
  EXPECT_LE(place.size(), 64U);
  const Cursor cursor = Cursor::parse(place).value();
  EXPECT_EQ(cursor, reader.cursor());
  ASSERT_FALSE(open());
  EXPECT_EQ(content({.from = From::cursor(cursor), .patterns = {"tick.ten"}}).records.front().first, 50U);
  EXPECT_EQ(content({.from = From::cursor(Cursor())}).records.size(), 1000U);
  EXPECT_FALSE(Cursor::parse("nonsense"));
  SimDisk other(2);
  Log another = Log::open(other.mount(), small_log()).value();
  EXPECT_EQ(another.read({.from = From::cursor(cursor)}).error(), sys::invalid_argument);
  EXPECT_EQ(log->read({.block_bytes = 1}).error(), sys::invalid_argument);
}

TEST_F(PublicLog, reads_by_time) {
  LogOptions options = small_log();
  options.clock = &clock;
  ASSERT_FALSE(open(options));
  const std::string payload(500, 'x');
  std::vector<std::chrono::system_clock::time_point> times;
  for (int i = 0; i < 1500; ++i) {  // several segments
    clock.advance(1s);
    times.push_back(clock.wall());
    ASSERT_TRUE(append(payload));
  }
  ASSERT_GT(log->stats().segments, 3U);
  for (int again = 0; again < 2; ++again) {
    for (const std::size_t wanted : {0U, 1U, 77U, 400U, 750U, 751U, 1100U, 1499U}) {
      const auto read = content({.from = From::time(times[wanted])});
      ASSERT_FALSE(read.records.empty());
      EXPECT_EQ(read.records.front().first, wanted);
      EXPECT_EQ(read.missing, 0U);
    }
    EXPECT_EQ(content({.from = From::time(times.front() - 1h)}).records.size(), 1500U);
    EXPECT_EQ(content({.from = From::time(times.back() + 1h)}).records.size(), 0U);
    ASSERT_FALSE(open(options));
  }
}

TEST_F(PublicLog, compresses_what_gets_shorter) {
  LogOptions options = small_log();
  options.compress_from_bytes = 100;
  ASSERT_FALSE(open(options));
  const std::string text(50'000, 'a');
  std::string noise(1000, '\0');
  std::uint64_t state = 1;
  for (char& c : noise) c = static_cast<char>(detail::blank_word(state++, 0));
  ASSERT_TRUE(append(text));
  ASSERT_TRUE(append(noise));
  ASSERT_TRUE(append("short"));
  EXPECT_LT(log->stats().record_bytes, 3000U);
  ASSERT_FALSE(open()) << "what is stored says how to read it";
  LogReader reader = log->read().value();
  ASSERT_EQ(reader.next()->outcome(), ReadOutcome::record);
  const RecordView held = reader.record();
  ASSERT_EQ(reader.next()->outcome(), ReadOutcome::record);
  EXPECT_EQ(reader.record().text(), noise);
  ASSERT_EQ(reader.next()->outcome(), ReadOutcome::record);
  EXPECT_EQ(reader.record().text(), "short");
  EXPECT_EQ(held.text(), text);
}

// --- Retention ---

class LogCare : public testing::Test {
 protected:
  /// Without threads: what the timer does is done by hand.
  void open(LogOptions options) {
    core.reset();
    options.clock = &clock;
    auto storage = disk.mount();
    core = detail::LogCore::open(storage, options, detail::LogCore::Threads::none).value();
  }
  error_code append(std::size_t bytes = 1000, Durability durability = Durability::synced) {
    const std::string payload(bytes, 'x');
    const Record record{.topic = "t", .payload = as_payload(payload)};
    const auto ticket = core->hand_over({&record, 1}, durability, true, nullptr);
    if (!ticket) return ticket.error();
    const auto offset = core->wait(*ticket, 1, durability, nullptr);
    return offset ? error_code() : offset.error();
  }
  void fill(std::size_t count) {
    while (core->stats().segments < count) ASSERT_FALSE(append());
  }
  std::unique_ptr<detail::ReaderCore> reader(const ReadOptions& options = {}) {
    return detail::ReaderCore::make(*core, options).value();
  }

  SetClock clock;
  SimDisk disk{1};
  std::unique_ptr<detail::LogCore> core;
};

TEST_F(LogCare, retains_so_many_bytes) {
  LogOptions options = small_log();
  options.retention.bytes = 3 * segment_bytes;
  open(options);
  fill(6);
  core->care();
  const LogStats stats = core->stats();
  EXPECT_EQ(stats.segments, 3U);
  EXPECT_EQ(stats.dropped_segments, 3U);
  EXPECT_EQ(stats.dropped_records, stats.first_offset);
  EXPECT_EQ(read_all(*reader()).records.size(), stats.next_offset - stats.first_offset);
}

TEST_F(LogCare, counts_what_commits_hold) {
  open(small_log());
  ASSERT_FALSE(append());
  const std::vector<Record> five(5, Record{.topic = "t"});
  const auto ticket = core->hand_over(five, Durability::synced, true, nullptr).value();
  ASSERT_TRUE(core->wait(ticket, 5, Durability::synced, nullptr));
  const LogStats stats = core->stats();
  EXPECT_EQ(stats.batch_records.counts, (std::array<std::uint64_t, 8>{1, 0, 1}));
  EXPECT_EQ(stats.batch_records.sum, 6U);
  EXPECT_EQ(stats.batch_bytes.counts, (std::array<std::uint64_t, 10>{1, 1})) << "the short ones come first";
  EXPECT_EQ(stats.batch_bytes.sum, stats.record_bytes);
}

TEST_F(LogCare, says_what_takes_its_disk) {
  LogOptions options = small_log();
  options.spare_segments = 2;
  open(options);
  fill(3);
  core->care();
  const LogStats stats = core->stats();
  EXPECT_EQ(stats.segment_bytes, 3 * segment_bytes);
  EXPECT_EQ(stats.spare_bytes, 2 * segment_bytes);
  EXPECT_EQ(stats.disk_bytes, stats.segment_bytes + stats.spare_bytes);
}

TEST_F(LogCare, holds_more_spares_ready_when_it_is_told_to) {
  LogOptions options = small_log();
  options.spare_segments = 0;
  open(options);
  core->care();
  EXPECT_EQ(core->stats().spares, 0U);
  core->set_spare_segments(2);
  core->care();
  EXPECT_EQ(core->stats().spares, 2U);
  EXPECT_EQ(core->current_options().spare_segments, 2U) << "also when it is opened again";
  core->set_spare_segments(1);
  core->care();
  EXPECT_EQ(core->stats().spares, 2U) << "they stay until they are used";
}

TEST_F(LogCare, retains_so_many_records_and_so_long) {
  LogOptions options = small_log();
  options.retention.records = 300;
  open(options);
  fill(5);
  core->care();
  const LogStats stats = core->stats();
  EXPECT_GE(stats.next_offset - stats.first_offset, 300U) << "no more goes than may";
  EXPECT_LT(stats.next_offset - stats.first_offset, 300U + 200U);

  core->set_retention({.age = 1h});
  core->care();
  EXPECT_EQ(core->stats().segments, stats.segments);
  clock.advance(2h);
  open(small_log());  // what is not known any more is read from the segments
  core->set_retention({.age = 1h});
  core->care();
  EXPECT_EQ(core->stats().segments, 1U) << "the active one stays";
}

TEST_F(LogCare, ends_a_segment_by_its_age) {
  LogOptions options = small_log();
  options.segment_age = 1h;
  open(options);
  ASSERT_FALSE(append());
  core->care();
  ASSERT_FALSE(append());
  EXPECT_EQ(core->stats().segments, 1U);
  clock.advance(2h);
  core->care();
  ASSERT_FALSE(append());
  ASSERT_FALSE(append());
  EXPECT_EQ(core->stats().segments, 2U);
  EXPECT_EQ(read_all(*reader()).records.size(), 4U);
}

TEST_F(LogCare, LOG_9_a_reader_that_was_overtaken_is_told_exactly) {
  open(small_log());
  fill(2);
  const auto late = reader();
  ASSERT_EQ(late->next()->outcome(), ReadOutcome::record);
  fill(6);
  const auto dropped = core->drop_before(core->segments().committed());
  ASSERT_TRUE(dropped);
  // The file that it has begun to read stays as long as it does.
  const auto content = read_all(*late);
  EXPECT_EQ(content.missing, 0U);
  EXPECT_GT(content.overrun, 0U);
  EXPECT_EQ(1 + content.records.size() + content.overrun, core->segments().committed());
  const auto from_start = reader({.from = From::offset(1)});
  EXPECT_EQ(read_all(*from_start).overrun, *dropped - 1);
}

TEST_F(LogCare, keeps_a_view_as_long_as_somebody_holds_it) {
  LogOptions options = small_log();
  options.spare_segments = 2;
  open(options);
  fill(3);
  std::vector<RecordView> held;
  {
    const auto from_start = reader({.block_bytes = 4096});
    while (held.size() < 50 && from_start->next()->outcome() == ReadOutcome::record) {
      held.push_back(from_start->record());
    }
  }
  ASSERT_EQ(held.size(), 50U);
  ASSERT_TRUE(core->drop_before(core->segments().committed()));
  fill(4);
  EXPECT_EQ(core->stats().reused_segments, 1U) << "the file that views are of is left alone";
  for (std::size_t i = 0; i < held.size(); ++i) {
    EXPECT_EQ(held[i].offset(), i);
    EXPECT_EQ(held[i].topic(), "t");
    EXPECT_EQ(held[i].text(), std::string(1000, 'x'));
  }
}

TEST_F(LogCare, uses_retired_segments_again) {
  LogOptions options = small_log();
  options.spare_segments = 1;
  options.retention.bytes = 2 * segment_bytes;
  open(options);
  std::uint64_t reused = 0;
  for (std::uint64_t i = 0; i < 3000; ++i) {
    ASSERT_FALSE(append());
    core->care();
    if (i % 500 == 0) {
      reused += core->stats().reused_segments;
      open(options);  // spares are found again
    }
  }
  const LogStats stats = core->stats();
  EXPECT_GT(reused + stats.reused_segments, 12U) << "of 17 that were begun";
  EXPECT_LE(stats.disk_bytes, 4 * segment_bytes);
  const auto content = read_all(*reader());
  EXPECT_EQ(content.missing, 0U);
  EXPECT_EQ(content.records.size(), stats.next_offset - stats.first_offset);
}

// --- LOG-5, LOG-6 ---

TEST_F(PublicLog, LOG_5_a_failed_sync_is_final_and_the_log_can_be_opened_again) {
  ASSERT_FALSE(open());
  ASSERT_TRUE(append("one"));
  disk.fail({.call = Call::sync});
  EXPECT_EQ(append("two").error(), errc::log_read_only);
  EXPECT_TRUE(log->read_only());
  EXPECT_EQ(append("three").error(), errc::log_read_only);
  EXPECT_EQ(log->sync(), errc::log_read_only);
  EXPECT_EQ(log->stats().sync_failures, 1U);
  EXPECT_EQ(content().records.size(), 1U) << "it is read on";
  ASSERT_FALSE(log->reopen());
  EXPECT_FALSE(log->read_only());
  const std::uint64_t next = log->next_offset();
  EXPECT_EQ(append("four")->offset(), next);
}

TEST_F(PublicLog, LOG_5_all_who_wait_are_told) {
  GatedStorage::Gate gate;
  auto opened = Log::open(std::make_unique<GatedStorage>(disk.mount(), gate), small_log());
  ASSERT_TRUE(opened);
  gate.set(true);
  std::vector<PendingReceipt<Durability::synced>> pending;
  pending.push_back(opened->submit({.topic = "t"}).value());
  gate.await_one();
  for (int i = 0; i < 20; ++i) pending.push_back(opened->submit({.topic = "t"}).value());
  disk.fail({.call = Call::sync, .for_good = true});
  gate.set(false);
  for (const auto& one : pending) EXPECT_EQ(one.wait().error(), errc::log_read_only);
}

TEST_F(LogCare, LOG_6_a_full_disk_refuses_and_goes_on_when_there_is_room) {
  disk.set_faults({.capacity_bytes = 2 * segment_bytes + 64 * 1024});
  open(small_log());
  error_code error;
  while (!(error = append())) ASSERT_LT(core->stats().next_offset, 10'000U);
  EXPECT_EQ(error, sys::no_space_on_device);
  EXPECT_TRUE(is_retryable(error));
  const LogStats stats = core->stats();
  EXPECT_TRUE(stats.full);
  EXPECT_FALSE(stats.read_only);
  EXPECT_EQ(append(), sys::no_space_on_device);
  EXPECT_EQ(core->stats().rejected, 2U);
  disk.set_faults({});
  ASSERT_FALSE(append());
  const auto content = read_all(*reader());
  EXPECT_EQ(content.records.size(), stats.next_offset + 1) << "refused ones leave no gap";
  EXPECT_EQ(content.missing, 0U);
}

/// Hands over a record, and when that is refused the next one, so many times.
class Insistent final : public detail::Completion {
 public:
  Insistent(detail::LogCore& core, int times, std::size_t bytes = 100) : core_(core), left_(times), text_(bytes, 'x') {}
  void insist() {
    const Record record{.topic = "t", .payload = as_payload(text_)};
    while (left_-- > 0 && !core_.hand_over({&record, 1}, Durability::written, false, nullptr, this)) {
    }
  }
  void complete(error_code, std::uint64_t) noexcept override { insist(); }
  /// Returns: how often it still would have.
  int stop() noexcept { return std::exchange(left_, 0); }

 private:
  detail::LogCore& core_;
  int left_;
  const std::string text_;
};

TEST_F(LogCare, LOG_6_what_was_taken_is_synced_though_others_are_refused_without_end) {
  disk.set_faults({.capacity_bytes = 2 * segment_bytes + 64 * 1024});
  open(small_log());
  while (!append(1000, Durability::written)) ASSERT_LT(core->stats().next_offset, 10'000U);
  Insistent publisher(*core, 1000);
  publisher.insist();
  EXPECT_FALSE(core->sync());
  EXPECT_GT(publisher.stop(), 900) << "it did not wait for them to give up";
  core.reset();
}

TEST_F(LogCare, items_are_written_beside_records_that_fill_their_commits) {
  LogOptions options = small_log();
  options.batch_bytes = 4096;
  open(options);
  Insistent publisher(*core, 1000, 8000);
  publisher.insist();
  const auto number = core->post_items([](detail::GroupItems& items) { items.deleted(1); });
  ASSERT_TRUE(number);
  EXPECT_FALSE(core->wait_items(*number));
  EXPECT_GT(publisher.stop(), 900);
  core.reset();
}

TEST_F(LogCare, LOG_6_drops_the_oldest_where_that_was_asked_for) {
  LogOptions options = small_log();
  options.disk_bytes = 3 * segment_bytes;
  options.full_disk = FullDisk::drop_oldest;
  open(options);
  for (int i = 0; i < 2000; ++i) ASSERT_FALSE(append());
  const LogStats stats = core->stats();
  EXPECT_GT(stats.dropped_segments, 3U);
  EXPECT_LE(stats.disk_bytes, 3 * segment_bytes);
  EXPECT_EQ(read_all(*reader()).records.size(), stats.next_offset - stats.first_offset);
}

TEST_F(PublicLog, LOG_6_waits_for_room_where_that_was_asked_for) {
  disk.set_faults({.capacity_bytes = 2 * segment_bytes + 64 * 1024});
  LogOptions options = small_log();
  ASSERT_FALSE(open(options));
  const std::string payload(1000, 'x');
  while (append(payload)) {
  }
  options.full_disk = FullDisk::wait;
  options.full_disk_wait = 1ms;
  ASSERT_FALSE(open(options));
  EXPECT_EQ(append(payload).error(), sys::no_space_on_device);
  options.full_disk_wait = 1h;
  ASSERT_FALSE(open(options));
  const auto pending = log->submit({.topic = "t", .payload = as_payload(payload)});
  disk.set_faults({});
  EXPECT_TRUE(pending->wait());
}

TEST_F(PublicLog, LOG_6_holds_up_nobody_with_a_deadline_while_it_waits_for_room) {
  disk.set_faults({.capacity_bytes = 2 * segment_bytes + 64 * 1024});
  LogOptions options = small_log();
  ASSERT_FALSE(open(options));
  const std::string payload(1000, 'x');
  while (append(payload)) {
  }
  options.full_disk = FullDisk::wait;
  options.full_disk_wait = 1h;
  ASSERT_FALSE(open(options));
  const std::uint64_t next = log->next_offset();
  const Record record{.topic = "t", .payload = as_payload(payload), .message_id = "once"};
  for (int i = 0; i < 3; ++i) {
    const auto late = log->append_until(record, std::chrono::steady_clock::now() + 5ms);
    EXPECT_EQ(late.error(), errc::timed_out);
  }
  EXPECT_EQ(log->next_offset(), next);
  disk.set_faults({});
  const auto receipt = log->append(record);
  ASSERT_TRUE(receipt);
  EXPECT_TRUE(receipt->duplicate()) << "the first one was waiting still";
  EXPECT_EQ(receipt->offset(), next);
  EXPECT_EQ(log->next_offset(), next + 1);
}

// --- LOG-3, LOG-4: what is missing is told ---

TEST_F(PublicLog, LOG_4_each_loss_is_told_once_and_kept_in_a_report) {
  ASSERT_FALSE(open());
  fill(3);
  const std::uint64_t count = log->next_offset();
  log.reset();
  disk.flip_bit(segments()[0], 50'000 * 8);
  std::vector<LogLoss> told;
  LogOptions options = small_log();
  options.on_loss = [&](const LogLoss& loss) { told.push_back(loss); };
  ASSERT_FALSE(open(options));
  for (int again = 0; again < 2; ++again) {
    const auto read = content();
    EXPECT_EQ(read.missing, 1U);
    EXPECT_EQ(read.records.size(), count - 1);
  }
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].records, 1U);
  EXPECT_EQ(told[0].verdict, Verdict::lost);
  EXPECT_EQ(told[0].segment, segments()[0]);
  EXPECT_LE(told[0].begin, 50'000U);
  EXPECT_GT(told[0].end, 50'000U);
  EXPECT_EQ(log->losses().records(), 1U);
  EXPECT_EQ(log->stats().lost_records, 1U);
  log.reset();
  const auto report = disk.durable("losses.json");
  const std::string text(reinterpret_cast<const char*>(report.data()), report.size());
  EXPECT_NE(text.find("\"verdict\":\"lost\""), std::string::npos) << text;
  EXPECT_NE(text.find(segments()[0]), std::string::npos) << text;
}

TEST_F(PublicLog, LOG_3_a_scrub_finds_what_nobody_has_read) {
  ASSERT_FALSE(open());
  fill(4);
  const std::uint64_t count = log->next_offset();
  ASSERT_TRUE(log->scrub({.bytes_per_second = 0})->losses.empty());
  disk.flip_bit(segments()[1], 60'000 * 8);
  disk.zero_sector(segments()[2], 100);
  std::uint64_t records = 0;
  const auto report = log->scrub({.bytes_per_second = 0, .on_progress = [&](const ScrubProgress& progress) {
                                    records = progress.records;
                                    return true;
                                  }});
  ASSERT_TRUE(report);
  ASSERT_EQ(report->losses.size(), 2U);
  EXPECT_EQ(records + report->records(), count);
  EXPECT_EQ(log->scrub({.bytes_per_second = 0})->losses.size(), 2U) << "each is told once";
  EXPECT_EQ(log->scrub({.on_progress = [](const ScrubProgress&) { return false; }}).error(), sys::operation_canceled);
}

TEST_F(PublicLog, LOG_3_verify_looks_at_everything_when_opening) {
  ASSERT_FALSE(open());
  fill(3);
  log.reset();
  disk.flip_bit(segments()[0], 60'000 * 8);
  ASSERT_FALSE(open());
  EXPECT_TRUE(log->losses().losses.empty());
  LogOptions options = small_log();
  options.verify = true;
  ASSERT_FALSE(open(options));
  EXPECT_EQ(log->losses().records(), 1U);
}

TEST_F(PublicLog, keeps_damaged_bytes_of_the_active_segment_for_somebody_to_look_at) {
  ASSERT_FALSE(open());
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(append(std::string(1000, static_cast<char>('a' + i))));
  log.reset();
  disk.flip_bit(segments()[0], 10'000 * 8);
  ASSERT_FALSE(open());
  ASSERT_EQ(log->losses().losses.size(), 1U);
  const LogLoss loss = log->losses().losses[0];
  EXPECT_EQ(log->stats().quarantine_bytes, loss.end - loss.begin);
  const auto kept = disk.mount()->directory("quarantine").value();
  const auto names = kept->list().value();
  ASSERT_EQ(names.size(), 1U);
  EXPECT_EQ(kept->open(names[0], Storage::Open::existing_to_read).value()->size().value(), loss.end - loss.begin);
  log.reset();
  ASSERT_FALSE(open());
  EXPECT_EQ(log->stats().quarantine_bytes, loss.end - loss.begin) << "as long as they are there";
}

TEST_F(PublicLog, counts_damaged_bytes_that_it_keeps_as_part_of_its_disk) {
  LogOptions options = small_log();
  options.disk_bytes = 2 * options.segment_bytes;
  const auto make_quarantine = [&](std::size_t bytes) {
    const auto kept = disk.mount()->directory("quarantine").value();
    const auto file = kept->open("old", Storage::Open::create).value();
    const std::vector<std::byte> old(bytes);
    const std::span<const std::byte> part(old);
    ASSERT_EQ(file->write(0, {&part, 1}).value(), bytes);
  };
  make_quarantine(1000);
  ASSERT_FALSE(open(options));
  EXPECT_EQ(log->stats().quarantine_bytes, 1000U);
  auto appended = append("x");
  while (appended) appended = append(std::string(1000, 'x'));
  EXPECT_EQ(appended.error(), boost::system::errc::no_space_on_device);
  EXPECT_EQ(log->stats().segments, 1U) << "there is no room for two beside them";
}

TEST_F(PublicLog, that_has_lost_much_takes_nothing_until_that_is_accepted) {
  ASSERT_FALSE(open());
  const std::string payload(1000, 'x');
  for (int i = 0; i < 150; ++i) ASSERT_TRUE(append(payload));
  log.reset();
  for (std::uint64_t sector = 20; sector < 220; ++sector) disk.zero_sector(segments()[0], sector);
  for (int again = 0; again < 2; ++again) {
    ASSERT_FALSE(open());
    EXPECT_TRUE(log->read_only()) << again;
    EXPECT_EQ(append("x").error(), errc::log_read_only);
    EXPECT_GT(content().records.size(), 10U) << "it is read";
  }
  ASSERT_FALSE(log->accept_losses());
  EXPECT_FALSE(log->read_only());
  EXPECT_TRUE(append("x"));
  ASSERT_FALSE(open());
  EXPECT_FALSE(log->read_only());
}

TEST_F(LogCare, LOG_4_asks_for_consent_wherever_the_opening_is_cut_off) {
  const std::string payload(1000, 'x');
  bool through = false;
  for (std::uint64_t calls = 1; !through; ++calls) {
    SimDisk damaged(1);
    const auto open_it = [&]() -> result<std::unique_ptr<detail::LogCore>> {
      auto storage = damaged.mount();
      return detail::LogCore::open(storage, small_log(), detail::LogCore::Threads::none);
    };
    core = open_it().value();
    for (int i = 0; i < 150; ++i) ASSERT_FALSE(append());
    core.reset();
    const auto names = damaged.mount()->list().value();
    const auto segment = std::ranges::find_if(
        names, [](const std::string& name) { return detail::parse_segment_name(name).has_value(); });
    ASSERT_NE(segment, names.end());
    for (std::uint64_t sector = 20; sector < 220; ++sector) damaged.zero_sector(*segment, sector);
    damaged.power_off_after(calls);
    (void)open_it();
    through = !damaged.power_is_off();
    damaged.crash({.keep = 1.0});
    core = open_it().value();
    EXPECT_TRUE(core->read_only()) << calls;
    core.reset();
  }
}

TEST_F(LogCare, drops_nothing_of_a_log_that_somebody_should_look_at) {
  open(small_log());
  fill(4);
  core.reset();
  const auto names = disk.mount()->list().value();
  std::string last;
  for (const std::string& name : names) {
    if (detail::parse_segment_name(name)) last = std::max(last, name);
  }
  for (std::uint64_t sector = 0; sector < segment_bytes / SimDisk::sector_bytes; ++sector)
    disk.zero_sector(last, sector);
  LogOptions options = small_log();
  options.retention.records = 1;
  open(options);
  ASSERT_TRUE(core->read_only());
  const std::uint64_t segments = core->stats().segments;
  core->care();
  EXPECT_EQ(core->stats().segments, segments);
  ASSERT_FALSE(core->accept_losses());
  core->care();
  EXPECT_LT(core->stats().segments, segments);
}

TEST_F(PublicLog, LOG_4_offsets_that_may_never_have_been_are_not_counted_as_lost) {
  ASSERT_FALSE(open());
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(append("x"));
  log.reset();
  const std::string segment = segments().front();
  for (const std::uint64_t copy : {std::uint64_t{0}, segment_bytes - detail::page_bytes}) {
    disk.zero_sector(segment, copy / SimDisk::sector_bytes);
  }
  for (int again = 0; again < 2; ++again) {
    ASSERT_FALSE(open());
    const auto read = content();
    EXPECT_GT(read.missing, 10U) << "a reader is told each offset that is passed over";
    const LossReport report = log->losses();
    ASSERT_EQ(report.losses.size(), 1U);
    EXPECT_FALSE(report.losses[0].counted);
    EXPECT_EQ(report.losses[0].records, 0U);
    EXPECT_EQ(report.losses[0].end, segment_bytes);
    EXPECT_EQ(log->stats().lost_records, 0U);
  }
}

TEST_F(PublicLog, refuses_a_segment_of_another_log) {
  ASSERT_FALSE(open());
  fill(3);
  const auto names = segments();
  const auto serial = detail::parse_segment_name(names.back())->serial;
  const auto next = log->next_offset();
  log.reset();
  SimDisk other(2);
  {
    Log another = Log::open(other.mount(), small_log()).value();
    ASSERT_TRUE(another.append({.topic = "t"}));
  }
  auto theirs = other.durable(detail::segment_name(0, 1));
  disk.put_file(detail::segment_name(next, serial + 1), theirs);
  EXPECT_FALSE(open()) << "it is not even the segment that its name says: its records are missing";
  EXPECT_EQ(log->losses().losses.size(), 1U);
}

// --- The edge profile ---

TEST_F(PublicLog, keeps_to_its_memory) {
  LogOptions options = LogOptions::edge();
  options.spare_segments = 0;
  ASSERT_FALSE(open(options));
  std::vector<LogReader> readers;
  for (;;) {
    auto reader = log->read({.block_bytes = std::size_t{8} << 20});
    if (!reader) {
      EXPECT_EQ(reader.error(), errc::out_of_memory);
      break;
    }
    readers.push_back(std::move(*reader));
    ASSERT_LT(readers.size(), 8U);
  }
  readers.pop_back();
  EXPECT_TRUE(log->read({.block_bytes = std::size_t{8} << 20}));
}

// --- Asynchronous ---

TEST_F(PublicLog, appends_asynchronously) {
  ASSERT_FALSE(open());
  boost::asio::io_context context;
  std::vector<std::uint64_t> offsets;
  error_code refused;
  const auto work = [&]() -> boost::asio::awaitable<void> {
    for (int i = 0; i < 20; ++i) {
      const Record record{.topic = "t", .payload = as_payload("async")};
      const auto receipt = co_await log->async_append(record, boost::asio::use_awaitable);
      offsets.push_back(receipt.offset());
    }
    const Record wrong;
    log->async_append(wrong, boost::asio::bind_executor(
                                 context, [&](error_code error, Receipt<Durability::synced>) { refused = error; }));
  };
  boost::asio::co_spawn(context, work, [](std::exception_ptr error) {
    if (error) std::rethrow_exception(error);
  });
  context.run();
  ASSERT_EQ(offsets.size(), 20U);
  for (std::size_t i = 0; i < offsets.size(); ++i) EXPECT_EQ(offsets[i], i);
  EXPECT_EQ(refused, errc::topic_invalid);
}

TEST_F(PublicLog, ends_a_context_while_an_append_waits_in_it) {
  GatedStorage::Gate gate;
  auto opened = Log::open(std::make_unique<GatedStorage>(disk.mount(), gate), small_log());
  ASSERT_TRUE(opened);
  gate.set(true);
  bool called = false;
  std::thread ending;
  {
    auto context = std::make_unique<boost::asio::io_context>();
    const Record record{.topic = "t"};
    opened->async_append(record,
                         boost::asio::bind_executor(context->get_executor(),
                                                    [&](error_code, Receipt<Durability::synced>) { called = true; }));
    gate.await_one();
    ending = std::thread([context = std::move(context)]() mutable { context.reset(); });
  }
  gate.set(false);
  ending.join();
  EXPECT_FALSE(called);
  EXPECT_TRUE(opened->append({.topic = "t"}));
}

// --- Beside a live writer ---

TEST_F(PublicLog, is_looked_at_beside_its_writer) {
  ASSERT_FALSE(open());
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(append(std::to_string(i)));
  LogSnapshot snapshot = LogSnapshot::open(disk.mount()).value();
  EXPECT_TRUE(snapshot.has_writer());
  EXPECT_EQ(snapshot.next_offset(), 10U);
  LogReader reader = snapshot.read().value();
  EXPECT_EQ(read_all(reader).records.size(), 10U);
  fill(4);  // and rolls
  EXPECT_EQ(read_all(reader).records.size(), 0U);
  ASSERT_FALSE(snapshot.refresh());
  EXPECT_EQ(snapshot.next_offset(), log->next_offset());
  EXPECT_EQ(read_all(reader).records.size(), log->next_offset() - 10);
  EXPECT_TRUE(snapshot.scrub({.bytes_per_second = 0})->losses.empty());
  const auto described = snapshot.segments().value();
  ASSERT_EQ(described.size(), 4U);
  EXPECT_TRUE(described[0].sealed);
  EXPECT_FALSE(described[3].sealed);
  std::uint64_t records = 0;
  for (const auto& segment : described) records += segment.records;
  EXPECT_EQ(records, log->next_offset());
  const std::uint64_t next = log->next_offset();
  log.reset();
  ASSERT_FALSE(snapshot.refresh());
  EXPECT_FALSE(snapshot.has_writer());
  EXPECT_EQ(snapshot.next_offset(), next);
  EXPECT_TRUE(snapshot.losses().losses.empty());
}

TEST_F(PublicLog, can_be_opened_while_others_look_at_it) {
  ASSERT_FALSE(open());
  log.reset();
  class Unlocked final : public simulation::ForwardingStorage {
   public:
    using ForwardingStorage::ForwardingStorage;
    result<std::unique_ptr<StorageLock>> lock(std::string_view) noexcept override {
      ADD_FAILURE() << "the writer's lock is taken";
      return error_code(sys::device_or_resource_busy, boost::system::system_category());
    }
  };
  LogSnapshot snapshot = LogSnapshot::open(std::make_unique<Unlocked>(disk.mount())).value();
  EXPECT_FALSE(snapshot.has_writer());
  ASSERT_FALSE(open());
  ASSERT_FALSE(snapshot.refresh());
  EXPECT_TRUE(snapshot.has_writer());
}

TEST_F(PublicLog, is_not_judged_by_one_who_looks_on_while_it_is_reused) {
  LogOptions options = small_log();
  options.spare_segments = 1;
  options.timer = 1h;
  ASSERT_FALSE(open(options));
  fill(3);
  LogSnapshot snapshot = LogSnapshot::open(disk.mount()).value();
  LogReader reader = snapshot.read({.block_bytes = 4096}).value();
  ASSERT_EQ(reader.next()->outcome(), ReadOutcome::record);
  ASSERT_TRUE(log->drop_before(log->next_offset()));
  fill(3);  // in the files that the reader is reading
  const auto read = read_all(reader);
  EXPECT_EQ(read.missing, 0U);
  EXPECT_GT(read.overrun, 0U);
  EXPECT_TRUE(snapshot.losses().losses.empty());
}

TEST_F(PublicLog, is_not_made_by_looking_for_it) {
  EXPECT_EQ(LogSnapshot::open(disk.mount()).error(), sys::no_such_file_or_directory);
  EXPECT_TRUE(disk.mount()->list()->empty());
  EXPECT_EQ(LogSnapshot::open("/nonexistent/busbar").error(), sys::no_such_file_or_directory);
}

}  // namespace
}  // namespace bus
