// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What groups keep when there is no more memory.
#include "persistence/groups.hpp"
#include "persistence/log_core.hpp"
#include "persistence/queue_core.hpp"

#include "persistence/group_fixture.hpp"
#include "persistence/scarce_memory.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace bus::detail {
namespace {

using namespace scarce_memory;

class GroupMemory : public testing::Test {
 protected:
  static constexpr std::size_t count = 3000;

  GroupMemory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "busbar-XXXXXX").string();
    path = ::mkdtemp(pattern.data());
    open();
    for (std::size_t i = 0; i < count; ++i) {
      // Those of one sender are received in turn with those of another: so acks are not of one range.
      const Record record{.topic = "work", .principal = i < count / 2 ? "a" : "b"};
      const auto ticket = log->hand_over({&record, 1}, Durability::written, true, nullptr).value();
      EXPECT_TRUE(log->wait(ticket, 1, Durability::written, nullptr));
    }
  }
  ~GroupMemory() override {
    close();
    std::filesystem::remove_all(path);
  }

  void close() {
    queue.reset();
    dead.reset();
    log.reset();
  }
  void open() {
    LogOptions options;
    options.segment_bytes = std::uint64_t{1} << 20;
    options.spare_segments = 0;
    options.clock = &clock;
    GroupOptions group = workers;
    group.attempts = 100;
    group.backoff = {};
    auto storage = open_directory(path / "log").value();
    log = LogCore::open(storage, options, LogCore::Threads::none).value();
    queue = log->groups()->open(group, "").value();
    dead = log->groups()->open_dead(group).value();
  }
  /// What the log has is there again, and nothing that is only in memory.
  void begin_again() {
    ASSERT_FALSE(log->sync());
    std::filesystem::copy(path / "log", path / "copy");
    close();
    std::filesystem::remove_all(path / "log");
    std::filesystem::rename(path / "copy", path / "log");
    open();
  }
  /// All there is; leases that were not settled have run out.
  std::vector<Lease> receive(QueueCore& from) {
    clock.advance(1h);
    member = from.join({.in_flight_messages = count});
    constexpr auto now = std::chrono::steady_clock::time_point::min();
    return std::move(from.receive(member, count, &now).value().leases);
  }

  TestClock clock;
  std::filesystem::path path;
  std::unique_ptr<LogCore> log;
  std::shared_ptr<QueueCore> queue;
  std::shared_ptr<QueueCore> dead;
  std::uint16_t member = 0;
};

TEST_F(GroupMemory, that_an_ack_lacks_leaves_the_lease_as_it_was) {
  int unlogged = 0;
  for (Lease& lease : receive(*queue)) {
    unlogged += with_each_failing([&] { return lease.ack(); },
                                  [](LeaseOutcome outcome) {
                                    EXPECT_TRUE(outcome == LeaseOutcome::done || outcome == LeaseOutcome::unlogged);
                                    return outcome != LeaseOutcome::unlogged;
                                  });
  }
  EXPECT_GT(unlogged, 5);
  EXPECT_EQ(receive(*queue).size(), 0U);
  begin_again();
  EXPECT_EQ(receive(*queue).size(), 0U);
}

TEST_F(GroupMemory, that_an_ack_lacks_for_good_lets_the_message_come_again) {
  std::size_t unlogged = 0;
  {
    std::vector<Lease> leases = receive(*queue);
    ASSERT_EQ(leases.size(), count);
    for (Lease& lease : leases) {
      fails_at = allocations + 1;
      unlogged += lease.ack() == LeaseOutcome::unlogged ? 1 : 0;
      fails_at = 0;
    }
  }
  EXPECT_GT(unlogged, 5U);
  EXPECT_EQ(receive(*queue).size(), unlogged);
  begin_again();
  EXPECT_EQ(receive(*queue).size(), unlogged);
}

TEST_F(GroupMemory, that_acks_of_many_lack_leaves_the_leases_as_they_were) {
  std::vector<Lease> leases = receive(*queue);
  std::size_t done = 0;
  const int failed = with_each_failing([&] { return ack_all(leases); },
                                       [&](std::size_t acked) {
                                         done += acked;
                                         return done == count;
                                       });
  EXPECT_GT(failed, 2);
  EXPECT_EQ(done, count);
  begin_again();
  EXPECT_EQ(receive(*queue).size(), 0U);
}

TEST_F(GroupMemory, that_an_ack_of_all_in_front_lacks_leaves_the_leases_as_they_were) {
  const std::vector<Lease> leases = receive(*queue);
  const int failed = with_each_failing([&] { return queue->ack_through(member, count - 1); },
                                       [](const result<std::size_t>& acked) {
                                         EXPECT_TRUE(acked || acked.error() == errc::out_of_memory);
                                         return acked.has_value();
                                       });
  EXPECT_GT(failed, 2);
  begin_again();
  EXPECT_EQ(receive(*queue).size(), 0U);
}

TEST_F(GroupMemory, lets_dead_letters_be_dropped_once_there_is_enough) {
  for (Lease& lease : receive(*queue)) ASSERT_EQ(lease.reject("no"), LeaseOutcome::dead);
  ASSERT_FALSE(log->sync());
  const int failed = with_each_failing([&] { return dead->take_dead({}, false); },
                                       [](const result<std::uint64_t>& dropped) {
                                         EXPECT_TRUE(dropped || dropped.error() == errc::out_of_memory);
                                         return dropped.has_value();
                                       },
                                       all);
  EXPECT_GT(failed, 2);
  GroupStats stats;
  dead->add_letters_to(stats);
  EXPECT_EQ(stats.dead_letters, 0U);
  begin_again();
  EXPECT_EQ(receive(*dead).size(), 0U);
}

}  // namespace
}  // namespace bus::detail
