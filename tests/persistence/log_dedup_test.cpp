// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Messages that are sent again, as a log takes them.
#include <bus/persistence/asio.hpp>
#include <bus/persistence/group.hpp>
#include <bus/persistence/log.hpp>

#include "engine_fixture.hpp"

#include "persistence/groups.hpp"
#include "persistence/log_core.hpp"

#include "simulation/sim_disk.hpp"

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/io_context.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace bus {
namespace {

using detail::Appended;
using detail::LogCore;
using detail::Outcomes;
using simulation::Call;
using simulation::SimDisk;
using namespace std::chrono_literals;
namespace sys = boost::system::errc;

constexpr std::uint64_t segment_bytes = std::uint64_t{256} << 10;

class SetClock final : public Clock {
 public:
  std::chrono::system_clock::time_point wall() const noexcept override {
    return std::chrono::system_clock::time_point(now);
  }
  std::chrono::steady_clock::time_point steady() const noexcept override { return {}; }
  std::chrono::nanoseconds now{1'700'000'000s};
};

Record with_id(std::string_view id, std::string_view source = {}) {
  return {.topic = "t", .payload = as_payload(id), .source = source, .message_id = id};
}
Record with_sequence(std::uint64_t sequence, std::uint32_t epoch = 1, std::uint64_t id = 7) {
  return {.topic = "t", .producer = Producer{.id = id, .epoch = epoch, .sequence = sequence}};
}

/// A log without threads: who waits commits. So what is handed over in front of a wait goes into one commit.
class LogDedup : public testing::Test {
 protected:
  static LogOptions small_log() {
    LogOptions options;
    options.segment_bytes = segment_bytes;
    options.uncommitted_bytes = std::size_t{256} << 10;
    options.spare_segments = 0;
    return options;
  }

  error_code open() {
    core.reset();
    options.clock = &clock;
    auto storage = disk.mount();
    auto opened = LogCore::open(storage, options, LogCore::Threads::none);
    if (!opened) return opened.error();
    core = std::move(*opened);
    return {};
  }
  void SetUp() override { ASSERT_FALSE(open()); }

  std::uint64_t hand_over(std::span<const Record> records, Durability durability = Durability::synced) {
    return core->hand_over(records, durability, true, nullptr).value();
  }
  std::uint64_t hand_over(const Record& record) { return hand_over({&record, 1}); }
  result<Appended> wait(std::uint64_t ticket, std::uint32_t records = 1, Durability durability = Durability::synced) {
    return core->wait(ticket, records, durability, nullptr);
  }
  result<Appended> append(std::span<const Record> records, Durability durability = Durability::synced) {
    const auto ticket = core->hand_over(records, durability, true, nullptr);
    if (!ticket) return ticket.error();
    return wait(*ticket, static_cast<std::uint32_t>(records.size()), durability);
  }
  result<Appended> append(const Record& record, Durability durability = Durability::synced) {
    return append({&record, 1}, durability);
  }

  void expect_fresh(const result<Appended>& appended, std::uint64_t offset) {
    ASSERT_TRUE(appended) << appended.error().message();
    EXPECT_FALSE(appended->duplicate);
    EXPECT_EQ(appended->offset, offset);
  }
  void expect_duplicate(const result<Appended>& appended, std::uint64_t offset) {
    ASSERT_TRUE(appended) << appended.error().message();
    EXPECT_TRUE(appended->duplicate);
    EXPECT_EQ(appended->offset, offset);
  }

  /// Ids by offset, empty for records without one.
  std::map<std::uint64_t, std::string> ids() {
    std::map<std::uint64_t, std::string> found;
    auto reader = detail::ReaderCore::make(*core, {.from = From::oldest()}).value();
    while (reader->next().value().outcome() != ReadOutcome::end) {
      found.emplace(reader->record().offset(), reader->record().message_id());
    }
    return found;
  }
  std::uint64_t next() { return core->segments().committed(); }

  /// Appends records that nobody knows again, until a segment has been ended.
  void roll() {
    const std::string text(1000, 'x');
    for (const std::uint64_t rolls = core->stats().rolls; core->stats().rolls == rolls;) {
      ASSERT_TRUE(append({.topic = "t", .payload = as_payload(text)}));
    }
  }

  SetClock clock;
  SimDisk disk{1};
  LogOptions options = small_log();
  std::unique_ptr<LogCore> core;
};

// --- What is taken once. ---

TEST_F(LogDedup, a_message_that_is_sent_again_is_told_where_the_first_one_stands) {
  expect_fresh(append({.topic = "t"}), 0);
  expect_fresh(append(with_id("a")), 1);
  expect_fresh(append(with_id("b")), 2);
  expect_duplicate(append(with_id("a")), 1);
  expect_duplicate(append(with_id("b")), 2);
  expect_fresh(append(with_id("a", "worker")), 3);  // another sender's
  expect_fresh(append({.topic = "t"}), 4);
  expect_fresh(append(with_sequence(10)), 5);
  expect_fresh(append(with_sequence(11)), 6);
  expect_duplicate(append(with_sequence(10)), 5);
  expect_duplicate(append(with_sequence(11)), 6);
  EXPECT_EQ(next(), 7U);
  EXPECT_EQ(ids().size(), 7U);
  EXPECT_EQ(core->stats().duplicates, 4U);
  EXPECT_EQ(core->stats().records, 7U);
}

TEST_F(LogDedup, a_producer_goes_on_by_one_in_its_latest_epoch) {
  expect_fresh(append(with_sequence(10)), 0);
  EXPECT_EQ(append(with_sequence(12)).error(), errc::sequence_gap);
  expect_fresh(append(with_sequence(11)), 1);
  expect_fresh(append(with_sequence(0, 2)), 2);
  EXPECT_EQ(append(with_sequence(12)).error(), errc::producer_fenced);
  EXPECT_EQ(append(with_sequence(11)).error(), errc::producer_fenced);
  expect_fresh(append(with_sequence(0, 1, 8)), 3);
  ASSERT_FALSE(open());
  EXPECT_EQ(append(with_sequence(12)).error(), errc::producer_fenced);
  EXPECT_EQ(append(with_sequence(2, 2)).error(), errc::sequence_gap);
  expect_fresh(append(with_sequence(1, 2)), 4);
  EXPECT_EQ(core->stats().out_of_sequence, 2U);
  EXPECT_EQ(core->stats().rejected, 0U);
}

TEST_F(LogDedup, what_was_refused_in_front_of_the_first_is_never_said_to_be_there) {
  // The sender's first message did not get in, and its second one did.
  expect_fresh(append(with_sequence(2)), 0);
  EXPECT_EQ(append(with_sequence(1)).error(), errc::sequence_gap);
  const std::uint64_t under_way = hand_over(with_sequence(2, 2));
  const std::uint64_t before = hand_over(with_sequence(1, 2));
  EXPECT_TRUE(wait(under_way));
  EXPECT_EQ(wait(before).error(), errc::sequence_gap);
  ASSERT_FALSE(open());
  EXPECT_EQ(append(with_sequence(1, 2)).error(), errc::sequence_gap);
  EXPECT_EQ(next(), 2U);
}

TEST_F(LogDedup, retention_goes_on_though_records_leave_no_room_for_what_is_known) {
  std::string payload(segment_bytes, 'x');
  const auto large = [&](const std::string& id) {
    return append({.topic = "large", .payload = as_payload(payload), .message_id = id});
  };
  while (!large("0")) {
    ASSERT_GT(payload.size(), 100'000U);
    payload.resize(payload.size() - 8);
  }
  for (std::uint64_t i = 1; i < 20; ++i) expect_fresh(large(std::to_string(i)), i);
  core->set_retention({.records = 4});
  core->care();
  EXPECT_GT(core->stats().dropped_segments, 10U);
  ASSERT_FALSE(open());
  expect_duplicate(large("1"), 1);
  expect_duplicate(large("19"), 19);
}

TEST_F(LogDedup, the_oldest_goes_for_a_large_record_though_no_other_segment_can_be_had) {
  options.disk_bytes = 4 * segment_bytes;
  options.full_disk = FullDisk::drop_oldest;
  ASSERT_FALSE(open());
  std::string large;
  for (std::size_t bytes = segment_bytes; !detail::LogEngine::can_hold(bytes, 64, segment_bytes);) {
    large.resize(bytes -= 8);
  }
  std::uint64_t taken = 0;
  for (int i = 0; i < 20; ++i) {
    const std::string id = std::to_string(i);
    taken += append({.topic = "large", .payload = as_payload(large), .message_id = id}).has_value() ? 1 : 0;
  }
  EXPECT_EQ(taken, 20U);
}

TEST_F(LogDedup, a_reader_pays_for_each_frame) {
  const Record two[] = {{.topic = "t"}, {.topic = "t"}};
  ASSERT_TRUE(append(two));
  ASSERT_TRUE(append(two));
  auto reader = detail::ReaderCore::make(*core, {.from = From::oldest()}).value();
  std::size_t frames = 100;
  for (int i = 0; i < 4; ++i) ASSERT_EQ(reader->next_within(frames).value()->outcome(), ReadOutcome::record);
  EXPECT_LE(frames, 96U);
  frames = 0;
  EXPECT_FALSE(reader->next_within(frames).value());
}

TEST_F(LogDedup, where_a_sequence_stands_is_known_of_the_last_64) {
  for (std::uint64_t i = 0; i < 70; ++i) expect_fresh(append(with_sequence(i)), i);
  expect_duplicate(append(with_sequence(6)), 6);
  expect_duplicate(append(with_sequence(5)), unknown_offset);
  EXPECT_EQ(next(), 70U);
}

TEST_F(LogDedup, what_stands_behind_a_duplicate_in_a_commit_has_the_next_offset) {
  expect_fresh(append(with_id("old")), 0);
  struct Case {
    Record record;
    std::optional<std::uint64_t> fresh = {};
    std::optional<std::uint64_t> duplicate = {};
    error_code error = {};
  };
  const std::vector<Case> cases{
      {.record = with_id("old"), .duplicate = 0},
      {.record = with_id("a"), .fresh = 1},
      {.record = {.topic = "t"}, .fresh = 2},
      {.record = with_id("a"), .duplicate = 1},
      {.record = with_id("old"), .duplicate = 0},
      {.record = with_sequence(0), .fresh = 3},
      {.record = with_sequence(2), .error = errc::sequence_gap},
      {.record = with_sequence(1), .fresh = 4},
      {.record = with_id("b"), .fresh = 5},
      {.record = with_sequence(1), .duplicate = 4},
      {.record = with_sequence(0, 0), .error = errc::producer_fenced},
      {.record = with_id("b"), .duplicate = 5},
      {.record = {.topic = "t"}, .fresh = 6},
  };
  std::vector<std::uint64_t> tickets;
  for (const Case& one : cases) tickets.push_back(hand_over(one.record));
  const std::uint64_t commits = core->stats().commits;
  for (int again = 0; again < 2; ++again) {
    for (std::size_t i = 0; i < cases.size(); ++i) {
      SCOPED_TRACE(i);
      const auto appended = wait(tickets[i]);
      if (cases[i].fresh) expect_fresh(appended, *cases[i].fresh);
      if (cases[i].duplicate) expect_duplicate(appended, *cases[i].duplicate);
      if (cases[i].error) {
        EXPECT_EQ(appended.error(), cases[i].error);
      }
    }
  }
  EXPECT_EQ(core->stats().commits, commits + 1);
  expect_duplicate(append(with_id("a")), 1);
  expect_duplicate(append(with_sequence(1)), 4);
  expect_duplicate(append(with_id("b")), 5);
  EXPECT_EQ(next(), 7U);
  const auto found = ids();
  EXPECT_EQ(found.at(1), "a");
  EXPECT_EQ(found.at(5), "b");
}

TEST_F(LogDedup, an_id_may_come_again_when_it_is_too_old) {
  expect_fresh(append(with_id("a")), 0);
  clock.now += 2min;
  expect_duplicate(append(with_id("a")), 0);
  ASSERT_FALSE(open());
  expect_duplicate(append(with_id("a")), 0);
  clock.now += 1ns;
  expect_fresh(append(with_id("a")), 1);
  expect_duplicate(append(with_id("a")), 1);
}

TEST_F(LogDedup, that_a_sender_says_when_it_happened_makes_no_message_older) {
  Record record = with_id("a");
  record.time = std::chrono::system_clock::time_point(1'000'000'000s);
  expect_fresh(append(record), 0);
  for (int again = 0; again < 2; ++again) {
    expect_duplicate(append(record), 0);
    ASSERT_FALSE(open());
  }
}

TEST_F(LogDedup, as_many_ids_are_known_as_was_asked_for_and_a_segment_has_room_for) {
  options.dedup = DedupOptions{.ids_per_sender = 3};
  ASSERT_FALSE(open());
  for (const std::string_view id : {"a", "b", "c", "d"}) ASSERT_TRUE(append(with_id(id)));
  expect_duplicate(append(with_id("b")), 1);
  expect_fresh(append(with_id("a")), 4);
  options.dedup = DedupOptions();
  ASSERT_FALSE(open());
  std::vector<std::string> many(segment_bytes / 8 / 48 + 1);
  for (std::size_t i = 0; i < many.size(); ++i) many[i] = "many." + std::to_string(i);
  for (const std::string& id : many) ASSERT_TRUE(append(with_id(id), Durability::written));
  EXPECT_EQ(core->dedup()->ids(), many.size() - 1);
  expect_duplicate(append(with_id(many[1])), 6);
  const std::uint64_t end = next();
  expect_fresh(append(with_id(many[0])), end);
}

TEST_F(LogDedup, without_it_what_is_sent_twice_is_written_twice) {
  options.dedup.reset();
  options.retention.bytes = 2 * segment_bytes;
  ASSERT_FALSE(open());
  expect_fresh(append(with_id("a")), 0);
  expect_fresh(append(with_id("a")), 1);
  expect_fresh(append(with_sequence(5)), 2);
  expect_fresh(append(with_sequence(3)), 3);
  EXPECT_EQ(core->dedup(), nullptr);
  for (int i = 0; i < 4; ++i) roll();
  core->care();
  EXPECT_GT(core->stats().dropped_segments, 0U) << "it holds nothing back";
}

TEST_F(LogDedup, impossible_options_are_refused) {
  options.dedup = DedupOptions{.id_age = -1ns};
  EXPECT_EQ(open(), sys::invalid_argument);
}

// --- Several together. ---

TEST_F(LogDedup, records_that_go_together_are_a_duplicate_if_all_are) {
  const std::vector<Record> batch{with_id("a"), with_id("b"), with_sequence(0)};
  expect_fresh(append({.topic = "t"}), 0);
  expect_fresh(append(batch), 1);
  expect_duplicate(append(batch), 1);
  expect_duplicate(append(with_id("b")), 2);
  // Of one in the same commit too.
  const std::vector<Record> other{with_id("c"), with_id("d")};
  const std::uint64_t first = hand_over(other);
  const std::uint64_t second = hand_over(other);
  const std::uint64_t behind = hand_over({.topic = "t"});
  expect_fresh(wait(first, 2), 4);
  expect_duplicate(wait(second, 2), 4);
  expect_fresh(wait(behind), 6);
  EXPECT_EQ(next(), 7U);
}

TEST_F(LogDedup, records_that_go_together_are_refused_if_only_some_are_duplicates) {
  expect_fresh(append(with_id("a")), 0);
  expect_fresh(append(with_id("b")), 1);
  expect_fresh(append({.topic = "t"}), 2);
  expect_fresh(append(with_id("apart")), 3);
  const auto refused = [&](const std::vector<Record>& batch) { return append(batch).error() == errc::batch_mixed; };
  EXPECT_TRUE(refused({with_id("a"), with_id("new")}));
  EXPECT_TRUE(refused({with_id("new"), with_id("a")}));
  EXPECT_TRUE(refused({{.topic = "t"}, with_id("b")})) << "what says nothing is new";
  EXPECT_TRUE(refused({with_id("b"), with_id("a")})) << "they stand in another order";
  EXPECT_TRUE(refused({with_id("b"), with_id("apart")})) << "something stands between them";
  EXPECT_TRUE(refused({with_id("new"), with_id("new")}));
  EXPECT_EQ(append(std::vector<Record>{with_id("new"), with_sequence(4), with_sequence(6)}).error(),
            errc::sequence_gap);
  // One of them is under way.
  const std::uint64_t first = hand_over(with_id("c"));
  const std::vector<Record> batch{with_id("c"), with_id("new")};
  const std::uint64_t second = hand_over(batch);
  expect_fresh(wait(first), 4);
  EXPECT_EQ(wait(second, 2).error(), errc::batch_mixed);
  EXPECT_EQ(next(), 5U);
  // What was refused has left nothing behind.
  expect_fresh(append(with_id("new")), 5);
  expect_fresh(append(with_sequence(9)), 6);
  EXPECT_EQ(core->dedup()->under_way(), 0U);
}

// --- What is refused, and what is durable. ---

TEST_F(LogDedup, what_a_full_disk_refused_may_be_sent_again) {
  const std::string text(3000, 'x');
  disk.set_faults({.capacity_bytes = 2 * segment_bytes + 64 * 1024});
  while (append({.topic = "t", .payload = as_payload(text)})) ASSERT_LT(next(), 1000U);
  Record a = with_id("a");
  Record first = with_sequence(3);
  Record second = with_sequence(4);
  for (Record* record : {&a, &first, &second}) record->payload = as_payload(text);
  const std::uint64_t tickets[] = {hand_over(a), hand_over(first), hand_over(second), hand_over(a)};
  for (const std::uint64_t ticket : tickets) EXPECT_EQ(wait(ticket).error(), sys::no_space_on_device);
  EXPECT_EQ(core->dedup()->under_way(), 0U);
  disk.set_faults({});
  const std::uint64_t offset = next();
  expect_fresh(append(a), offset);
  expect_fresh(append(first), offset + 1);
  expect_fresh(append(second), offset + 2);
  expect_duplicate(append(a), offset);
}

TEST_F(LogDedup, a_duplicate_is_told_when_the_first_is_as_durable_as_was_asked) {
  expect_fresh(append(with_id("a"), Durability::written), 0);
  const std::uint64_t syncs = core->stats().syncs;
  expect_duplicate(append(with_id("a"), Durability::written), 0);
  EXPECT_EQ(core->stats().syncs, syncs);
  expect_duplicate(append(with_id("a")), 0);
  EXPECT_EQ(core->stats().syncs, syncs + 1);
  expect_duplicate(append(with_id("a")), 0);
  EXPECT_EQ(core->stats().syncs, syncs + 1) << "it is on the disk already";
  core.reset();
  disk.crash({.keep = 0});
  ASSERT_FALSE(open());
  EXPECT_EQ(ids().at(0), "a");
}

TEST_F(LogDedup, a_duplicate_is_told_no_offset_that_a_failed_sync_takes_back) {
  expect_fresh(append(with_id("a"), Durability::written), 0);
  disk.fail({.call = Call::sync});
  EXPECT_EQ(append(with_id("a")).error(), errc::log_read_only);
  EXPECT_EQ(append(with_id("a")).error(), errc::log_read_only);
  core.reset();
  disk.crash({.keep = 0});
  ASSERT_FALSE(open());
  expect_fresh(append(with_id("a")), 0);
}

TEST_F(LogDedup, a_record_that_settles_a_message_is_no_duplicate_of_it) {
  expect_fresh(append(with_id("a")), 0);
  for (std::uint64_t offset = 1; offset < 3; ++offset) {
    const Record letter = with_id("a");
    const auto ticket = core->hand_over({&letter, 1}, Durability::synced, true, nullptr, nullptr,
                                        detail::Settles{.queue = 1, .offset = 0});
    expect_fresh(wait(*ticket), offset);
  }
  ASSERT_FALSE(open());
  expect_duplicate(append(with_id("a")), 0);
}

// --- After a restart. ---

TEST_F(LogDedup, what_is_known_outlasts_the_segments_it_stood_in) {
  options.retention.bytes = 2 * segment_bytes;
  ASSERT_FALSE(open());
  std::map<std::string, std::uint64_t> offsets;
  for (int i = 0; i < 5; ++i) {
    for (int j = 0; j < 10; ++j) {
      const std::string id = std::to_string(10 * i + j);
      const auto appended = append(with_id(id, j % 2 == 0 ? "even" : ""));
      ASSERT_TRUE(appended && !appended->duplicate);
      offsets[id] = appended->offset;
      ASSERT_TRUE(append(with_sequence(static_cast<std::uint64_t>(10 * i + j))));
    }
    roll();
    core->care();
  }
  EXPECT_GT(core->stats().dropped_segments, 1U);
  for (int again = 0; again < 3; ++again) {
    for (const auto& [id, offset] : offsets) {
      expect_duplicate(append(with_id(id, std::stoi(id) % 2 == 0 ? "even" : "")), offset);
      expect_duplicate(append(with_sequence(static_cast<std::uint64_t>(std::stoi(id)))), offset + 1);
    }
    ASSERT_FALSE(open());
    EXPECT_TRUE(core->dedup()->consistent());
    if (again == 1) roll();
  }
  // A clean end, a kill and a loss of power leave the same.
  disk.kill();
  ASSERT_FALSE(open());
  expect_duplicate(append(with_id("0", "even")), offsets["0"]);
}

TEST_F(LogDedup, what_is_known_is_found_where_no_segment_had_room_to_say_it) {
  expect_fresh(append(with_id("a")), 0);
  std::string large;
  for (std::size_t bytes = segment_bytes; !detail::LogEngine::can_hold(bytes, 64, segment_bytes);) {
    large.resize(bytes -= 100);
  }
  for (std::uint64_t i = 1; i < 4; ++i) {
    Record record = with_id("large." + std::to_string(i));
    const std::string id = "large." + std::to_string(i);
    record.message_id = id;
    record.payload = as_payload(large);
    expect_fresh(append(record), i);
  }
  EXPECT_EQ(core->stats().segments, 4U);
  ASSERT_FALSE(open());
  expect_duplicate(append(with_id("a")), 0);
  expect_duplicate(append(with_id("large.2")), 2);
}

TEST_F(LogDedup, groups_and_messages_are_told_in_one_snapshot) {
  const auto queue = core->groups()->open({.name = "g", .patterns = {"t"}, .start = GroupStart::oldest}, {});
  ASSERT_TRUE(queue) << queue.error().message();
  expect_fresh(append(with_id("a")), 0);
  roll();
  roll();
  const std::uint64_t b = next();
  expect_fresh(append(with_id("b")), b);
  ASSERT_FALSE(open());
  expect_duplicate(append(with_id("a")), 0);
  expect_duplicate(append(with_id("b")), b);
  core.reset();
  auto beside = LogSnapshot::open(disk.mount()).value();
  const auto groups = beside.groups();
  ASSERT_TRUE(groups);
  EXPECT_EQ(std::ranges::count(*groups, "g", &GroupPosition::group), 1);
}

TEST_F(LogDedup, an_opening_reads_no_more_than_from_the_last_snapshot) {
  expect_fresh(append(with_id("a")), 0);
  for (int i = 0; i < 3; ++i) roll();
  const auto bytes_read = [&] {
    const std::uint64_t before = disk.counters().bytes_read;
    EXPECT_FALSE(open());
    return disk.counters().bytes_read - before;
  };
  const std::uint64_t few = bytes_read();
  for (int i = 0; i < 12; ++i) roll();
  EXPECT_LT(bytes_read(), few + segment_bytes / 2);
  expect_duplicate(append(with_id("a")), 0);
}

TEST_F(LogDedup, what_a_loss_of_power_took_may_be_sent_again) {
  expect_fresh(append(with_id("a")), 0);
  expect_fresh(append(with_id("b"), Durability::written), 1);
  expect_fresh(append(with_sequence(5), Durability::written), 2);
  disk.power_off_after(0);
  core.reset();
  disk.crash({.keep = 0});
  ASSERT_FALSE(open());
  ASSERT_EQ(next(), 1U);
  expect_duplicate(append(with_id("a")), 0);
  expect_fresh(append(with_sequence(5)), 1);
  expect_fresh(append(with_id("b")), 2);
}

/// Sends the same messages until all are on the disk, whatever happens to the power: each stands there once.
class Resender {
 public:
  static constexpr std::uint64_t messages = 16;

  /// In the run the power goes after so many calls.
  static std::string run(std::uint64_t calls, std::optional<double> keep, bool kill) {
    SimDisk disk(calls + 1);
    SetClock clock;
    LogOptions options;
    options.segment_bytes = segment_bytes;
    options.uncommitted_bytes = std::size_t{256} << 10;
    options.spare_segments = 1;
    options.clock = &clock;
    std::map<std::uint64_t, std::uint64_t> promised;  // offsets
    for (int life = 0; life < 4; ++life) {
      auto storage = disk.mount();
      if (life < 3) disk.power_off_after(calls + static_cast<std::uint64_t>(life) * 3);
      auto core = LogCore::open(storage, options, LogCore::Threads::none);
      if (!core) {
        if (life == 3) return "it does not open: " + core.error().message();
      } else if (std::string wrong = send_all(**core, promised, life == 3); !wrong.empty()) {
        return wrong;
      }
      if (life == 3) return look(**core, promised);
      core = make_error_code(errc::closed);
      if (kill) {
        disk.kill();
      } else {
        disk.crash({.keep = keep});
      }
      clock.now += 1s;
    }
    return {};
  }

 private:
  static std::string send_all(LogCore& core, std::map<std::uint64_t, std::uint64_t>& promised, bool must_work) {
    const std::string text(30'000, 'x');
    for (std::uint64_t i = 0; i < messages; ++i) {
      const std::string id = std::to_string(i);
      Record record{.topic = "t", .payload = as_payload(text), .key = id};
      if (i % 2 == 0) {
        record.message_id = id;
      } else {
        record.producer = Producer{.id = i % 4, .epoch = 1, .sequence = i / 4};
      }
      // Some are handed over and forgotten, and may be on the disk or not.
      const bool is_awaited = must_work || i % 5 != 0;
      const auto ticket = core.hand_over({&record, 1}, Durability::synced, true, nullptr);
      if (!ticket) return must_work ? "it takes nothing: " + ticket.error().message() : std::string();
      if (!is_awaited) continue;
      const auto appended = core.wait(*ticket, 1, Durability::synced, nullptr);
      if (!appended) return must_work ? id + " is refused: " + appended.error().message() : std::string();
      const auto [before, is_first] = promised.try_emplace(i, appended->offset);
      if (!is_first && (before->second != appended->offset || !appended->duplicate)) {
        return id + " was promised at " + std::to_string(before->second) + " and is now at " +
               std::to_string(appended->offset);
      }
    }
    return {};
  }

  static std::string look(LogCore& core, const std::map<std::uint64_t, std::uint64_t>& promised) {
    std::map<std::string, std::uint64_t> found;
    auto reader = detail::ReaderCore::make(core, {.from = From::oldest()}).value();
    for (;;) {
      const auto outcome = reader->next().value().outcome();
      if (outcome == ReadOutcome::end) break;
      if (outcome != ReadOutcome::record) continue;
      const std::string key(reader->record().key());
      if (!found.emplace(key, reader->record().offset()).second) return key + " stands in the log twice";
    }
    for (const auto& [i, offset] : promised) {
      if (!found.contains(std::to_string(i))) return std::to_string(i) + " is missing";
      if (found.at(std::to_string(i)) != offset) return std::to_string(i) + " stands elsewhere than was promised";
    }
    return found.size() == messages ? "" : "some are missing";
  }
};

TEST(LogDedupCrash, each_message_stands_in_the_log_once_wherever_the_power_goes) {
  for (std::uint64_t calls = 0; calls < 64; ++calls) {
    for (const std::optional<double> keep :
         {std::optional<double>(0), std::optional<double>(1), std::optional<double>()}) {
      EXPECT_EQ(Resender::run(calls, keep, false), "")
          << "after " << calls << " calls, of which was kept " << keep.value_or(-1);
    }
    EXPECT_EQ(Resender::run(calls, {}, true), "") << "killed after " << calls << " calls";
  }
}

// --- As programs use it. ---

LogOptions with_threads() {
  LogOptions options;
  options.segment_bytes = segment_bytes;
  options.uncommitted_bytes = std::size_t{256} << 10;
  options.spare_segments = 0;
  return options;
}

TEST(LogDedupReceipts, say_whether_the_log_had_it) {
  SimDisk disk(1);
  Log log = Log::open(disk.mount(), with_threads()).value();
  EXPECT_FALSE(log.append(with_id("a"))->duplicate());
  const auto again = log.append<Durability::written>(with_id("a"));
  ASSERT_TRUE(again);
  EXPECT_TRUE(again->duplicate());
  EXPECT_EQ(again->offset(), 0U);
  const auto pending = log.submit(with_id("a"));
  ASSERT_TRUE(pending);
  const auto receipt = pending->wait();
  ASSERT_TRUE(receipt);
  const Receipt<Durability::written> less = *receipt;
  EXPECT_TRUE(less.duplicate());

  boost::asio::io_context context;
  int told = 0;
  for (const std::string_view id : {"a", "b"}) {
    log.async_append(with_id(id), boost::asio::bind_executor(context, [&, id](error_code error, auto got) {
                       EXPECT_FALSE(error) << error.message();
                       EXPECT_EQ(got.duplicate(), id == "a");
                       EXPECT_EQ(got.offset(), id == "a" ? 0U : 1U);
                       ++told;
                     }));
  }
  context.run();
  EXPECT_EQ(told, 2);
}

TEST(LogDedupReceipts, of_a_message_that_several_send_at_once_one_is_for_a_record) {
  constexpr int senders = 4;
  constexpr int messages = 300;
  SimDisk disk(1);
  Log log = Log::open(disk.mount(), with_threads()).value();
  std::atomic<int> fresh{0};
  std::vector<std::vector<std::uint64_t>> offsets(senders);
  std::vector<std::thread> threads;
  for (int sender = 0; sender < senders; ++sender) {
    threads.emplace_back([&, sender] {
      for (int i = 0; i < messages; ++i) {
        const std::string id = std::to_string(i);
        const auto receipt = log.append(with_id(id));
        ASSERT_TRUE(receipt) << receipt.error().message();
        if (!receipt->duplicate()) ++fresh;
        offsets[static_cast<std::size_t>(sender)].push_back(receipt->offset());
        ASSERT_TRUE(log.append<Durability::written>({.topic = "t"}));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(fresh, messages);
  for (const auto& one : offsets) EXPECT_EQ(one, offsets.front());
  EXPECT_EQ(log.next_offset(), static_cast<std::uint64_t>(messages + senders * messages));
  LogReader reader = log.read().value();
  std::map<std::string, std::uint64_t> found;
  while (reader.next()->outcome() == ReadOutcome::record) {
    const std::string id(reader.record().message_id());
    if (id.empty()) continue;
    EXPECT_TRUE(found.emplace(id, reader.record().offset()).second) << id << " stands there twice";
  }
  for (int i = 0; i < messages; ++i) {
    EXPECT_EQ(found[std::to_string(i)], offsets.front()[static_cast<std::size_t>(i)]);
  }
}

// --- What became of tickets. ---

TEST(LogOutcomes, those_that_wrote_no_record_take_no_offset) {
  Outcomes outcomes(100);
  outcomes.begin_at(1000);
  EXPECT_EQ(outcomes.of(7)->offset, 1007U);
  outcomes.refuse(2, 4, errc::sequence_gap);
  outcomes.refuse(4, 5, errc::sequence_gap);
  outcomes.find(6, 7, 40);
  outcomes.find(7, 9, 41);
  outcomes.find(9, 10, 40);
  outcomes.find(12, 13, unknown_offset);
  const auto offset = [&](std::uint64_t ticket) { return outcomes.of(ticket).value().offset; };
  EXPECT_EQ(offset(0), 1000U);
  EXPECT_EQ(offset(1), 1001U);
  for (std::uint64_t ticket = 2; ticket < 5; ++ticket) EXPECT_EQ(outcomes.of(ticket).error(), errc::sequence_gap);
  EXPECT_EQ(offset(5), 1002U);
  EXPECT_EQ(offset(6), 40U);
  EXPECT_EQ(offset(7), 41U);
  EXPECT_EQ(offset(8), 42U);
  EXPECT_EQ(offset(9), 40U);
  EXPECT_EQ(offset(10), 1003U);
  EXPECT_EQ(offset(12), unknown_offset);
  EXPECT_EQ(offset(13), 1005U);
  EXPECT_FALSE(outcomes.of(10)->duplicate);
  EXPECT_TRUE(outcomes.of(9)->duplicate);
  EXPECT_TRUE(outcomes.of(12)->duplicate);
}

TEST(LogOutcomes, the_latest_are_remembered) {
  Outcomes outcomes(2);
  outcomes.find(1, 2, 0);
  outcomes.find(3, 4, 0);
  EXPECT_EQ(outcomes.of(0)->offset, 0U);
  outcomes.find(5, 6, 0);
  EXPECT_EQ(outcomes.of(0).error(), errc::outcome_forgotten);
  EXPECT_EQ(outcomes.of(1).error(), errc::outcome_forgotten);
  EXPECT_EQ(outcomes.of(2)->offset, 1U);
  EXPECT_TRUE(outcomes.of(3)->duplicate);
  EXPECT_EQ(outcomes.of(4)->offset, 2U);
  EXPECT_EQ(outcomes.of(6)->offset, 3U);
}

}  // namespace
}  // namespace bus
