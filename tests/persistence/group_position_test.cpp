// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Groups as somebody sees them who does not write the log: beside a live writer, and without one.
#include <bus/persistence/group.hpp>
#include <bus/persistence/log.hpp>

#include "forwarding_storage.hpp"

#include "persistence/group_replay.hpp"
#include "persistence/segment_file.hpp"
#include "simulation/sim_disk.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bus {
namespace {

using simulation::SimDisk;
using namespace std::chrono_literals;

constexpr std::uint64_t segment_bytes = std::uint64_t{256} << 10;

using Offsets = std::vector<std::uint64_t>;

/// Tells when a segment is opened to be read.
class WatchedStorage final : public simulation::ForwardingStorage {
 public:
  using Hook = std::function<void()>;
  WatchedStorage(std::unique_ptr<Storage> inner, Hook& on_open)
      : ForwardingStorage(std::move(inner)), on_open_(on_open) {}

  result<std::unique_ptr<File>> open(std::string_view name, Open how) noexcept override {
    auto file = ForwardingStorage::open(name, how);
    if (on_open_ && detail::parse_segment_name(name)) std::exchange(on_open_, nullptr)();
    return file;
  }

 private:
  Hook& on_open_;
};

class GroupPositions : public testing::Test {
 protected:
  void SetUp() override { open(); }

  void open() {
    log.reset();
    auto opened = Log::open(disk.mount(), options);
    ASSERT_TRUE(opened) << opened.error().message();
    log.emplace(std::move(*opened));
  }
  Group make(const GroupOptions& of) { return Group::open(*log, of).value(); }
  std::uint64_t append(std::string_view topic, std::string_view text = "x") {
    return log->append({.topic = Topic::parse(topic).value(), .payload = as_payload(text)})->offset();
  }
  /// Until there is one segment more.
  void roll() {
    const std::uint64_t segments = log->stats().segments;
    while (log->stats().segments == segments) append("fill", std::string(1000, 'x'));
  }
  static std::vector<Lease> lease(Member& member, std::size_t most = 1) {
    return std::move(member.try_receive(most)->leases);
  }

  LogSnapshot look() { return LogSnapshot::open(disk.mount()).value(); }

  static std::optional<GroupPosition> find(LogSnapshot& seen, std::string_view group, std::string_view member = {}) {
    const auto positions = seen.groups().value();
    const auto found = std::ranges::find_if(
        positions, [&](const GroupPosition& one) { return one.group() == group && one.member() == member; });
    return found == positions.end() ? std::nullopt : std::optional(*found);
  }
  /// All that it owes, on topics that nobody fills segments with.
  static Offsets owed(LogSnapshot& seen, const GroupPosition& position) {
    Offsets offsets;
    LogReader reader = seen.read().value();
    while (reader.next()->outcome() == ReadOutcome::record) {
      const RecordView& record = reader.record();
      if (position.owes(record) && record.topic() != "fill") offsets.push_back(record.offset());
    }
    return offsets;
  }
  Offsets owed(std::string_view group, std::string_view member = {}) {
    LogSnapshot seen = look();
    const auto position = find(seen, group, member);
    if (!position) return {~std::uint64_t{0}};
    const Offsets offsets = owed(seen, *position);
    EXPECT_LE(position->floor(), offsets.empty() ? seen.next_offset() : offsets.front());
    return offsets;
  }

  /// Where reading what groups have done begins, and the segment's name.
  std::pair<detail::GroupsPlace, std::string> place() {
    const auto storage = disk.mount();
    std::vector<detail::SegmentRef> segments;
    for (const std::string& name : storage->list().value()) {
      const auto parsed = detail::parse_segment_name(name);
      if (!parsed) continue;
      segments.push_back(std::make_shared<detail::Segment>());
      segments.back()->name = *parsed;
      segments.back()->end = segment_bytes;
    }
    std::ranges::sort(segments, {}, [](const auto& segment) { return segment->name.serial; });
    const detail::GroupsPlace found = detail::find_groups_place(*storage, segments);
    for (const auto& segment : segments) {
      if (segment->name.serial != found.serial) continue;
      return {found, detail::segment_name(segment->name.base_offset, segment->name.serial)};
    }
    return {found, {}};
  }

  SimDisk disk{1};
  LogOptions options = [] {
    LogOptions small;
    small.segment_bytes = segment_bytes;
    small.uncommitted_bytes = std::size_t{256} << 10;
    small.spare_segments = 0;
    return small;
  }();
  std::optional<Log> log;
};

const GroupOptions workers{.name = "workers", .start = GroupStart::oldest};

TEST_F(GroupPositions, are_seen_beside_the_writer) {
  EXPECT_TRUE(look().groups()->empty());
  for (int i = 0; i < 4; ++i) append("work");
  Group group = make(workers);
  Member member = group.join().value();
  ASSERT_FALSE(group.sync());
  EXPECT_EQ(owed("workers"), (Offsets{0, 1, 2, 3}));
  auto leases = lease(member, 3);
  ASSERT_EQ(leases.size(), 3U);
  EXPECT_EQ(leases[0].ack(), LeaseOutcome::done);
  EXPECT_EQ(leases[2].ack(), LeaseOutcome::done);
  ASSERT_FALSE(group.sync());
  EXPECT_EQ(owed("workers"), (Offsets{1, 3})) << "one of them is on lease";
  LogSnapshot seen = look();
  EXPECT_TRUE(seen.has_writer());
  const auto position = find(seen, "workers");
  ASSERT_TRUE(position);
  EXPECT_EQ(position->floor(), 1U);
  EXPECT_EQ(position->mode(), GroupMode::competing);
  EXPECT_TRUE(position->patterns().empty());
}

TEST_F(GroupPositions, are_those_of_what_is_known_to_be_committed) {
  append("work");
  Group group = make(workers);
  Member member = group.join().value();
  ASSERT_FALSE(group.sync());
  LogSnapshot seen = look();
  EXPECT_EQ(lease(member).at(0).ack(), LeaseOutcome::done);
  ASSERT_FALSE(group.sync());
  const GroupPosition before = find(seen, "workers").value();
  EXPECT_EQ(owed(seen, before), (Offsets{0})) << "the commit that finished it has not been seen";
  ASSERT_FALSE(seen.refresh());
  EXPECT_EQ(owed(seen, find(seen, "workers").value()), Offsets());
  EXPECT_EQ(owed(seen, before), (Offsets{0})) << "a position stays as it is";
}

TEST_F(GroupPositions, say_how_a_message_has_fared) {
  append("work");
  append("work");
  Group group = make(workers);
  Member member = group.join().value();
  EXPECT_EQ(lease(member).at(0).nack(1h, "no room"), LeaseOutcome::done);
  ASSERT_FALSE(group.sync());
  LogSnapshot seen = look();
  const GroupPosition position = find(seen, "workers").value();
  const auto tried = position.tried(0);
  ASSERT_TRUE(tried);
  EXPECT_EQ(tried->attempts, 1U);
  EXPECT_EQ(tried->first_error, "no room");
  EXPECT_EQ(tried->last_error, "no room");
  EXPECT_TRUE(tried->due);
  EXPECT_FALSE(position.tried(1));
  EXPECT_EQ(owed("workers"), (Offsets{0, 1})) << "it is delayed, and not finished";
}

TEST_F(GroupPositions, say_how_much_of_the_log_may_be_held_back) {
  Group group = make({.name = "workers", .lag_bytes = 3 * segment_bytes});
  Group other = make({.name = "other"});
  ASSERT_FALSE(other.sync());
  LogSnapshot seen = look();
  EXPECT_EQ(find(seen, "workers")->lag_bytes(), 3 * segment_bytes);
  EXPECT_EQ(find(seen, "other")->lag_bytes(), std::nullopt);
}

TEST_F(GroupPositions, go_on_over_segments) {
  append("work");
  const std::uint64_t stuck = append("work");
  Group group = make({.name = "workers", .patterns = {"work"}, .start = GroupStart::oldest});
  Member member = group.join().value();
  Offsets expected{stuck};
  auto leases = lease(member, 2);
  EXPECT_EQ(leases.at(0).ack(), LeaseOutcome::done);
  for (int segment = 0; segment < 3; ++segment) {
    const std::uint64_t acked = append("work");
    expected.push_back(append("work"));
    for (Lease& one : lease(member, 10)) {
      if (one.offset() == acked) {
        EXPECT_EQ(one.ack(), LeaseOutcome::done);
      } else {
        EXPECT_EQ(one.nack(1h), LeaseOutcome::done);
      }
    }
    ASSERT_FALSE(group.sync());
    EXPECT_EQ(owed("workers"), expected);
    roll();
    EXPECT_EQ(owed("workers"), expected);
  }
  EXPECT_GT(place().first.serial, 1U) << "a snapshot has been read";
  for (Lease& lease : leases) (void)lease.ack();
  member = group.join().value();
  log.reset();
  EXPECT_EQ(owed("workers"), (Offsets{expected.begin() + 1, expected.end()})) << "without a writer too";
}

TEST_F(GroupPositions, are_one_for_each_member_of_a_broadcast) {
  append("work");
  Group workers_group = make(workers);
  Group all = make({.name = "all", .mode = GroupMode::broadcast, .start = GroupStart::oldest});
  Member two = all.join({.name = "two"}).value();
  Member one = all.join({.name = "one"}).value();
  EXPECT_EQ(lease(one).at(0).ack(), LeaseOutcome::done);
  ASSERT_FALSE(all.sync());
  const auto positions = look().groups().value();
  ASSERT_EQ(positions.size(), 5U);
  std::vector<std::string> names;
  for (const GroupPosition& position : positions) names.push_back(position.group() + ":" + position.member());
  EXPECT_EQ(names,
            (std::vector<std::string>{"all:one", "all:two", "busbar.dead.all:", "busbar.dead.workers:", "workers:"}));
  EXPECT_EQ(positions[0].mode(), GroupMode::broadcast);
  EXPECT_EQ(owed("all", "one"), Offsets());
  EXPECT_EQ(owed("all", "two"), (Offsets{0}));
}

TEST_F(GroupPositions, owe_what_matches_and_dead_letters_only_where_they_are_asked_for) {
  append("work");
  append("other");
  Group picky = make({.name = "picky", .patterns = {"other"}, .start = GroupStart::oldest});
  Group undertaker = make({.name = "undertaker", .patterns = {"busbar.dead.>"}, .start = GroupStart::oldest});
  Group group = make(workers);
  Member member = group.join().value();
  EXPECT_EQ(lease(member).at(0).reject("cannot be parsed"), LeaseOutcome::dead);
  ASSERT_FALSE(group.sync());
  ASSERT_EQ(log->next_offset(), 3U) << "the dead letter";
  EXPECT_EQ(owed("workers"), (Offsets{1})) << "the record of the dead letter says that it is finished";
  EXPECT_EQ(owed("picky"), (Offsets{1}));
  EXPECT_EQ(owed("undertaker"), (Offsets{2}));
  EXPECT_EQ(owed("busbar.dead.workers"), (Offsets{2}));
}

TEST_F(GroupPositions, end_when_the_group_is_removed) {
  append("work");
  Group group = make(workers);
  Group other = make({.name = "other"});
  roll();
  ASSERT_FALSE(group.remove());
  ASSERT_FALSE(other.sync());
  const auto positions = look().groups().value();
  ASSERT_EQ(positions.size(), 2U);
  EXPECT_EQ(positions[0].group(), "busbar.dead.other");
  EXPECT_EQ(positions[1].group(), "other");
  ASSERT_FALSE(other.remove());
  append("work");
  EXPECT_TRUE(look().groups()->empty());
}

TEST_F(GroupPositions, are_known_though_the_snapshot_is_damaged) {
  for (int i = 0; i < 3; ++i) append("work");
  Group group = make({.name = "workers", .patterns = {"work"}, .start = GroupStart::oldest});
  Member member = group.join().value();
  auto leases = lease(member, 3);
  EXPECT_EQ(leases.at(0).ack(), LeaseOutcome::done);
  roll();
  EXPECT_EQ(leases.at(1).ack(), LeaseOutcome::done);
  ASSERT_FALSE(group.sync());
  const auto [found, segment] = place();
  ASSERT_GT(found.serial, 1U);
  disk.flip_bit(segment, (found.position + detail::head_bytes) * 8);
  EXPECT_EQ(owed("workers"), (Offsets{2})) << "what is in front of it says the same";
}

TEST_F(GroupPositions, are_read_again_when_segments_go_meanwhile) {
  Group group = make({.name = "workers", .patterns = {"work"}, .start = GroupStart::oldest});
  Member member = group.join().value();
  append("work");
  append("work");
  auto leases = lease(member, 2);
  EXPECT_EQ(leases.at(0).ack(), LeaseOutcome::done);
  ASSERT_FALSE(group.sync());
  WatchedStorage::Hook on_open;
  LogSnapshot seen = LogSnapshot::open(std::make_unique<WatchedStorage>(disk.mount(), on_open)).value();
  on_open = [&] {  // the writer leaves nothing of what the snapshot knows
    roll();
    EXPECT_EQ(leases[1].ack(), LeaseOutcome::done);
    append("work");
    EXPECT_GT(log->drop_before(log->next_offset()).value(), 0U);
    EXPECT_FALSE(group.sync());
  };
  const auto position = find(seen, "workers");
  ASSERT_TRUE(position) << "it was made in a segment that is gone";
  EXPECT_EQ(owed(seen, *position), (Offsets{log->next_offset() - 1}));
  EXPECT_EQ(seen.first_offset(), log->first_offset());
}

}  // namespace
}  // namespace bus
