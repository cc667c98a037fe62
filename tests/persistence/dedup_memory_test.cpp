// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What it takes to know a million messages, and what is left when there is no more memory.
#include "persistence/dedup.hpp"
#include "persistence/log_core.hpp"

#include "persistence/scarce_memory.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <new>
#include <optional>
#include <string>
#include <vector>

namespace bus::detail {
namespace {

using namespace scarce_memory;
using Verdict = Dedup::Verdict;

constexpr std::int64_t start = 1'000'000'000'000'000;

DedupKey key_of(std::uint64_t i, std::string& text) {
  text = "message " + std::to_string(i);
  return {.source = "a", .message_id = text};
}

TEST(DedupMemory, of_a_million_ids_is_at_most_64_bytes_each) {
  const DedupRules rules{.ids_per_sender = 1'000'000};
  const std::size_t before = heap_bytes;
  Dedup table(rules);
  std::string text;
  std::size_t most = 0;
  for (std::uint64_t i = 0; i < 1'500'000; ++i) {
    ASSERT_EQ(table.begin(key_of(i, text), i, start).verdict, Verdict::fresh);
    table.commit(i, i);
    if (i > 90'000) most = std::max(most, (heap_bytes - before) / table.ids());
  }
  EXPECT_LE(most, 64U);
  RecordProperty("bytes_each", static_cast<int>((heap_bytes - before) / table.ids()));
  RecordProperty("most_bytes_each", static_cast<int>(most));
}

TEST(DedupMemory, of_a_producer_is_at_most_620_bytes) {
  const std::size_t before = heap_bytes;
  Dedup table({});
  for (std::uint64_t i = 0; i < 10'000; ++i) {
    ASSERT_EQ(table.begin({.producer = Producer{.id = i * 7919, .epoch = 1}}, i, start).verdict, Verdict::fresh);
    table.commit(i, i);
  }
  EXPECT_LE((heap_bytes - before) / 10'000, 620U);
  RecordProperty("bytes_each", static_cast<int>((heap_bytes - before) / 10'000));
}

TEST(DedupMemory, that_cannot_be_had_changes_nothing) {
  const DedupRules rules{.ids_per_sender = 100, .id_age_ns = 500, .ids = 700, .producers = 20};
  Dedup table(rules);
  std::string text;
  int failed = 0;
  for (std::uint64_t i = 0; i < 4000; ++i) {
    const std::int64_t now = start + static_cast<std::int64_t>(i);
    DedupKey key = key_of(i % 900, text);
    const std::string source = std::to_string(i % 300);
    key.source = source;
    if (i % 3 == 0) key.producer = Producer{.id = i % 2 == 0 ? i : 7, .epoch = 1, .sequence = i / 2 * 2};
    if (key.producer && i % 2 != 0) key.producer->epoch = static_cast<std::uint32_t>(i);
    const bool restored = i < 1000;
    const std::size_t under_way = table.under_way();
    const auto before = table.encode(now, 65536);
    // Each allocation in turn, until the call goes through.
    std::optional<Verdict> verdict;
    for (std::size_t at = 1; !verdict; ++at) {
      fails_at = allocations + at;
      try {
        if (restored) {
          table.restore(key, i, now);
          verdict = Verdict::fresh;
        } else {
          verdict = table.begin(key, i, now).verdict;
        }
        fails_at = 0;
      } catch (const std::bad_alloc&) {
        fails_at = 0;
        ++failed;
        ASSERT_TRUE(table.consistent());
        ASSERT_EQ(table.under_way(), under_way);
        ASSERT_EQ(table.encode(now, 65536), before);
      }
    }
    if (restored) continue;
    if (*verdict == Verdict::fresh && i % 5 != 0) {
      const std::size_t count = allocations;
      if (i % 7 == 0) {
        table.cancel(i);
      } else {
        table.commit(i, i);
      }
      ASSERT_EQ(allocations, count) << "what ends takes no memory";
    }
  }
  EXPECT_TRUE(table.consistent());
  EXPECT_GT(failed, 50);
}

class LogMemory : public testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(Spares, LogMemory, testing::Values(0U, 1U));

TEST_P(LogMemory, what_is_refused_for_want_of_it_is_not_in_the_log) {
  std::string pattern = (std::filesystem::temp_directory_path() / "busbar-XXXXXX").string();
  const std::filesystem::path path = ::mkdtemp(pattern.data());
  LogOptions options;
  options.segment_bytes = limits::min_segment_bytes;
  options.uncommitted_bytes = limits::min_segment_bytes;
  options.spare_segments = GetParam();
  std::unique_ptr<LogCore> log;
  const auto open = [&] {
    log.reset();
    auto storage = open_directory(path).value();
    log = LogCore::open(storage, options, LogCore::Threads::none).value();
  };
  open();
  const std::string payload(3000, 'x');
  std::vector<std::string> taken;
  int refused = 0;
  for (int i = 0; i < 500; ++i) {
    // Each allocation in turn, or all from there on, until the record is taken; and then one that the log has already.
    const std::size_t in_a_row = i % 2 == 0 ? 1 : all;
    std::string id;
    const auto append = [&] {
      const Record record{.topic = "t", .payload = as_payload(payload), .message_id = id};
      auto ticket = log->hand_over({&record, 1}, Durability::synced, true, nullptr);
      return ticket ? log->wait(*ticket, 1, Durability::synced, nullptr) : result<Appended>(ticket.error());
    };
    int attempt = 0;
    const auto new_id = [&] { id = std::to_string(i) + '.' + std::to_string(++attempt); };
    new_id();
    refused += with_each_failing(
        append,
        [&](const result<Appended>& outcome) {
          EXPECT_TRUE(outcome || outcome.error() == errc::out_of_memory) << outcome.error().message();
          EXPECT_FALSE(outcome && outcome->duplicate);
          if (outcome) taken.push_back(id);
          EXPECT_EQ(log->segments().committed(), taken.size());
          new_id();
          return outcome || HasFailure();
        },
        in_a_row);
    id = taken.at(taken.size() * 5 / 7);
    refused += with_each_failing(
        append,
        [&](const result<Appended>& outcome) {
          EXPECT_TRUE(outcome || outcome.error() == errc::out_of_memory) << outcome.error().message();
          EXPECT_TRUE(!outcome || outcome->duplicate);
          EXPECT_EQ(log->segments().committed(), taken.size());
          return outcome || HasFailure();
        },
        in_a_row);
    ASSERT_FALSE(HasFailure()) << i;
    // What goes is a spare, which the next segment is made of.
    if (GetParam() != 0 && log->segments().size() == 3) {
      ASSERT_TRUE(log->drop_before(log->segments().committed()));
    }
    const LogStats stats = log->stats();
    ASSERT_EQ(stats.disk_bytes, log->segments().bytes() + stats.spare_bytes);
  }
  EXPECT_EQ(log->stats().reused_segments != 0, GetParam() != 0);
  for (int again = 0; again < 2; ++again) {
    auto reader = ReaderCore::make(*log, {.from = From::oldest()}).value();
    for (std::uint64_t offset = log->segments().first_offset(); offset < taken.size(); ++offset) {
      ASSERT_EQ(reader->next()->outcome(), ReadOutcome::record);
      ASSERT_EQ(reader->record().message_id(), taken[offset]);
    }
    EXPECT_EQ(reader->next()->outcome(), ReadOutcome::end);
    open();
  }
  EXPECT_GT(refused, 20);
  log.reset();
  std::filesystem::remove_all(path);
}

}  // namespace
}  // namespace bus::detail
