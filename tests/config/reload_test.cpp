// SPDX-License-Identifier: MIT OR Apache-2.0
#include "core/bus_fixture.hpp"

#include <bus/config/load.hpp>
#include <bus/config/reload.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace bus {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Config config_of(std::string_view text) { return parse_config(text, "f").value().config; }

std::vector<std::string> lines(const std::vector<ConfigChange::Item>& items) {
  std::vector<std::string> all;
  for (const auto& one : items) all.push_back(one.key + ": " + one.before + " -> " + one.after);
  return all;
}

constexpr std::string_view before = R"(
[bus]
capacity = 2
[rate_limits.slow]
[routes.r]
patterns = [">"]
[logs.l]
directory = "d"
)";

constexpr std::string_view after = R"(
[bus]
capacity = 4
warnings_per_minute = 1
[rate_limits.slow]
bytes_per_second = 7
[routes.r]
patterns = [">"]
weights.principals = {bob = 3}
overflow = "wait"
[logs.l]
directory = "d"
retention.records = 5
full_disk = "wait"
spare_segments = 0
segment_bytes = 262_144
[groups.g]
log = "l"
)";

TEST(ConfigDiff, tells_what_can_change_and_what_needs_a_restart) {
  const ConfigChange change = diff(config_of(before), config_of(after));
  EXPECT_THAT(lines(change.live),
              ElementsAre("bus.warnings_per_minute: 60 -> 1", "rate_limits.slow.bytes_per_second: 10485760 -> 7",
                          "routes.r.weights.principals: {} -> {bob = 3}", "logs.l.retention.records: \"none\" -> 5",
                          "logs.l.full_disk: \"reject\" -> \"wait\"", "logs.l.spare_segments: 1 -> 0"));
  EXPECT_THAT(lines(change.restart),
              ElementsAre("bus.capacity: 2 -> 4", "routes.r.overflow: \"evict_oldest_head\" -> \"wait\"",
                          "logs.l.segment_bytes: 67108864 -> 262144", "groups.g:  -> a section"));
}

TEST(ConfigDiff, of_sections_that_go) {
  const ConfigChange change = diff(config_of(after), config_of(""));
  EXPECT_THAT(lines(change.live), ElementsAre("bus.warnings_per_minute: 1 -> 60"));
  EXPECT_THAT(lines(change.restart),
              ElementsAre("bus.capacity: 4 -> 256", "rate_limits.slow: a section -> ", "routes.r: a section -> ",
                          "logs.l: a section -> ", "groups.g: a section -> "));
}

TEST(ConfigDiff, of_what_is_the_same_is_nothing) {
  const ConfigChange change = diff(config_of(after), config_of(after));
  EXPECT_TRUE(change.live.empty() && change.restart.empty());
}

constexpr std::string_view small_disk = R"(
[logs.l]
directory = "d"
segment_bytes = 262_144
spare_segments = 0
disk_bytes = 10_000_000
)";

constexpr std::string_view large_disk = R"(
[logs.l]
directory = "d"
segment_bytes = 262_144
spare_segments = 0
disk_bytes = 40_000_000
retention.bytes = 20_000_000
retention.records = 5
)";

TEST(ConfigDiff, takes_what_contradicts_a_restart_for_one) {
  const ConfigChange change = diff(config_of(small_disk), config_of(large_disk));
  EXPECT_THAT(lines(change.live), ElementsAre("logs.l.retention.records: \"none\" -> 5"));
  EXPECT_THAT(lines(change.restart),
              ElementsAre("logs.l.retention.bytes: \"none\" -> 20000000", "logs.l.disk_bytes: 10000000 -> 40000000"));
  const ConfigChange back = diff(config_of(large_disk), config_of(small_disk));
  EXPECT_THAT(lines(back.live),
              ElementsAre("logs.l.retention.bytes: 20000000 -> \"none\"", "logs.l.retention.records: 5 -> \"none\""))
      << "that contradicts nothing";
}

class Reload : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::remove_all(directory); }
  void TearDown() override { std::filesystem::remove_all(directory); }

  const std::filesystem::path directory =
      std::filesystem::path(testing::TempDir()) /
      (std::string("busbar-reload-") + testing::UnitTest::GetInstance()->current_test_info()->name());
};

TEST_F(Reload, changes_what_runs_and_notes_it) {
  Config running = config_of(before);
  const Config wanted = config_of(after);

  bus_test::ManualClock clock;
  std::uint64_t told = 0;
  Bus hub({.capacity = 2, .on_warning = [&](const Warning&) { ++told; }, .clock = &clock});
  Router router(hub);
  RouteReceiver route = router.subscribe(running.routes.at("r").options);
  RateLimiter limiter(running.rate_limits.at("slow"));
  LogOptions small = running.logs.at("l").options;
  small.segment_bytes = limits::min_segment_bytes;
  small.spare_segments = 0;
  Log log = Log::open(directory, small).value();

  const RunningHost host{
      .bus = &hub, .rate_limits = {{"slow", &limiter}}, .routes = {{"r", &route}}, .logs = {{"l", &log}}};
  const ConfigChange change = reload(running, wanted, host);
  EXPECT_EQ(change.live.size(), 6U);
  EXPECT_EQ(change.restart.size(), 4U);

  EXPECT_EQ(limiter.limit().bytes_per_second, 7U);
  const std::string text(3700, 'x');
  for (int i = 0; i < 8; ++i) {
    ASSERT_TRUE(router.publish({.topic = "t", .principal = "ann", .payload = Payload::copy(text)}));
    ASSERT_TRUE(router.publish({.topic = "t", .principal = "bob", .payload = Payload::copy(text)}));
  }
  int of_bob = 0;
  for (int i = 0; i < 8; ++i) of_bob += route.try_recv()->principal.view() == "bob" ? 1 : 0;
  EXPECT_EQ(of_bob, 6) << "three turns of four";
  Receiver slow = hub.subscribe({.name = "slow", .start = Start::oldest});
  for (int lag = 0; lag < 3; ++lag) {
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(hub.send(Message{.topic = "t"}));
    while (slow.try_recv()) {
    }
  }
  EXPECT_EQ(told, 1U) << "one a minute";

  EXPECT_THAT(lines(diff(running, wanted).live), IsEmpty()) << "what was applied is noted";
  EXPECT_EQ(diff(running, wanted).restart, change.restart) << "what was not comes up again";
  EXPECT_EQ(running.bus.capacity, 2U);
  EXPECT_EQ(running.logs.at("l").options.retention.records, 5U);
}

TEST_F(Reload, reports_what_it_has_no_object_for_as_not_applied) {
  Config running = config_of(before);
  Bus hub;
  const ConfigChange change = reload(running, config_of(after), {.bus = &hub});
  EXPECT_THAT(lines(change.live), ElementsAre("bus.warnings_per_minute: 60 -> 1"));
  EXPECT_EQ(change.restart.size(), 9U);
  EXPECT_THAT(lines(diff(running, config_of(after)).live),
              ElementsAre("rate_limits.slow.bytes_per_second: 10485760 -> 7",
                          "routes.r.weights.principals: {} -> {bob = 3}", "logs.l.retention.records: \"none\" -> 5",
                          "logs.l.full_disk: \"reject\" -> \"wait\"", "logs.l.spare_segments: 1 -> 0"));
}

TEST_F(Reload, leaves_for_the_restart_what_contradicts_what_is_in_force) {
  Config running = config_of(small_disk);
  const Config wanted = config_of(large_disk);
  Log log = Log::open(directory, running.logs.at("l").options).value();
  const RunningHost host{.logs = {{"l", &log}}};
  const ConfigChange change = reload(running, wanted, host);
  EXPECT_EQ(change, diff(config_of(small_disk), wanted));
  EXPECT_FALSE(running.logs.at("l").options.retention.bytes) << "with 10,000,000 bytes of disk";
  EXPECT_EQ(running.logs.at("l").options.retention.records, 5U);
  EXPECT_EQ(reload(running, wanted, host).restart, change.restart) << "it comes up again";

  Config raised = running;  // as after the restart
  raised.logs.at("l").options.disk_bytes = 40'000'000;
  EXPECT_THAT(lines(reload(raised, wanted, host).live), ElementsAre("logs.l.retention.bytes: \"none\" -> 20000000"));
}

TEST_F(Reload, has_a_log_keep_less) {
  Config running =
      config_of("[logs.l]\ndirectory = \"d\"\nsegment_bytes = 262_144\nspare_segments = 0\ntimer_ms = 1\n");
  Config wanted = running;
  wanted.logs.at("l").options.retention.bytes = 0;
  Log log = Log::open(directory, running.logs.at("l").options).value();
  const std::string text(100'000, 'x');
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(log.append({.topic = "t", .payload = as_payload(text)}));
  EXPECT_EQ(log.first_offset(), 0U);
  (void)reload(running, wanted, {.logs = {{"l", &log}}});
  // What is appended next ends a segment, and the log looks then.
  for (int i = 0; i < 1000 && log.first_offset() == 0; ++i) {
    ASSERT_TRUE(log.append({.topic = "t", .payload = as_payload(text)}));
  }
  EXPECT_GT(log.first_offset(), 0U);
}

}  // namespace
}  // namespace bus
