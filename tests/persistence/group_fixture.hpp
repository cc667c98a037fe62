// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A log on a simulated disk and a group on it, as a program has them.
#pragma once

#include <bus/persistence/group.hpp>
#include <bus/persistence/log.hpp>

#include "simulation/sim_disk.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bus {

using simulation::SimDisk;
using namespace std::chrono_literals;
namespace sys = boost::system::errc;

constexpr std::uint64_t segment_bytes = std::uint64_t{256} << 10;

/// Both clocks, as a test sets them.
class TestClock final : public Clock {
 public:
  std::chrono::system_clock::time_point wall() const noexcept override {
    return std::chrono::system_clock::time_point(std::chrono::nanoseconds(wall_ns.load()));
  }
  std::chrono::steady_clock::time_point steady() const noexcept override {
    return std::chrono::steady_clock::time_point(std::chrono::nanoseconds(steady_ns.load()));
  }
  void advance(std::chrono::nanoseconds time) {
    wall_ns += time.count();
    steady_ns += time.count();
  }
  std::atomic<std::int64_t> wall_ns{1'700'000'000'000'000'000};
  std::atomic<std::int64_t> steady_ns{1'000'000'000'000};
};

using Texts = std::vector<std::string>;

class Groups : public testing::Test {
 protected:
  void close() {
    member.reset();
    group.reset();
    log.reset();
  }
  void open() { open_on(disk); }
  void open_on(SimDisk& on) {
    close();
    options.clock = &clock;
    auto opened = Log::open(on.mount(), options);
    ASSERT_TRUE(opened) << opened.error().message();
    log.emplace(std::move(*opened));
  }
  void crash(const simulation::CrashOptions& how = {}) {
    disk.crash(how);
    open();
  }
  void join(const GroupOptions& of, const MemberOptions& as = {}) {
    member.reset();
    auto made = Group::open(*log, of);
    ASSERT_TRUE(made) << made.error().message();
    group.emplace(std::move(*made));
    auto joined = group->join(as);
    ASSERT_TRUE(joined) << joined.error().message();
    member.emplace(std::move(*joined));
  }
  void append(std::string_view text, const Record& like = {}) {
    Record record = like;
    if (record.topic.empty()) record.topic = "work";
    record.payload = as_payload(text);
    ASSERT_TRUE(log->append(record));
  }
  std::vector<Lease> receive(std::size_t most = 100) {
    auto received = member->try_receive(most);
    EXPECT_TRUE(received) << received.error().message();
    if (!received) return {};
    missed += received->missed;
    return std::move(received->leases);
  }
  static Texts texts(const std::vector<Lease>& leases) {
    Texts texts;
    for (const Lease& lease : leases) texts.emplace_back(lease.record().text());
    return texts;
  }
  /// Receives all there is, and acks it.
  Texts finish() {
    Texts all;
    for (;;) {
      auto leases = receive();
      if (leases.empty()) return all;
      for (const std::string& text : texts(leases)) all.push_back(text);
      for (Lease& lease : leases) EXPECT_EQ(lease.ack(), LeaseOutcome::done);
    }
  }
  /// What stands in the log on the topic.
  std::vector<RecordView> on_topic(const char* pattern) {
    LogReader reader = log->read({.patterns = {TopicPattern::parse(pattern).value()}}).value();
    std::vector<RecordView> found;
    while (reader.next()->outcome() == ReadOutcome::record) found.push_back(reader.record());
    return found;
  }

  TestClock clock;
  SimDisk disk{1};
  LogOptions options = [] {
    LogOptions small;
    small.segment_bytes = segment_bytes;
    small.uncommitted_bytes = std::size_t{256} << 10;
    small.spare_segments = 0;
    return small;
  }();
  std::optional<Log> log;
  std::optional<Group> group;
  std::optional<Member> member;
  std::uint64_t missed = 0;
};

inline const GroupOptions workers{.name = "workers", .start = GroupStart::oldest};

}  // namespace bus
