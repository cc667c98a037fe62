// SPDX-License-Identifier: MIT OR Apache-2.0
#include <bus/config/load.hpp>
#include <bus/config/reload.hpp>
#include <bus/persistence/durable_topics.hpp>
#include <bus/persistence/group.hpp>
#include <bus/persistence/log.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bus {
namespace {

using testing::ElementsAre;
using testing::EndsWith;
using testing::IsEmpty;
using testing::StartsWith;

/// The errors of a file named "f", as lines.
std::vector<std::string> errors_of(std::string_view text, const Environment& environment = {}) {
  const ConfigResult loaded = parse_config(text, "f", environment);
  std::vector<std::string> lines;
  if (loaded) return lines;
  for (const ConfigError& error : loaded.error()) lines.push_back(to_string(error));
  return lines;
}

Config config_of(std::string_view text, const Environment& environment = {}) {
  return parse_config(text, "f", environment).value().config;
}

/// As "bus.capacity = 256 # default".
std::string shown(const LoadedConfig& loaded, std::string_view section, std::string_view key) {
  for (const Setting& one : loaded.settings) {
    if (one.section == section && one.key == key) return one.toml + " # " + to_string(one.origin);
  }
  return "not there";
}

/// The keys of a section, as "pattern, durability or delivery".
std::string keys_of(std::string_view section) {
  std::vector<std::string> names;
  for (const ConfigKey& key : config_keys()) {
    if (key.section == section) names.push_back(key.name);
  }
  std::string text = names.front();
  for (std::size_t i = 1; i < names.size(); ++i) text += (i + 1 < names.size() ? ", " : " or ") + names[i];
  return text;
}

constexpr std::string_view host = R"(
[bus]
capacity = 1024
timestamps = "coarse"
[router]
max_routes_per_owner = 4
rate_limit = "slow"
[receivers.auditor]
start = "oldest"
consumer = "print"
[rate_limits.slow]
bytes_per_second = 1000
[routes.screen]
owner = "panel"
patterns = ["agent.v1.>", "llm.*"]
budget_bytes = 262_144
weights.system = 4
weights.principals = {"agent.x" = 2, bob = 3}
scope = "principal_or_system"
principal = "agent.x"
rate_limit = "slow"
overflow = "detach"
detach_after_ms = 250
consumer = "slow"
consumer_delay_ms = 5
[logs.events]
directory = "events"
segment_age_s = 60
[logs.events.retention]
age_s = 604_800
[logs.events.dedup]
enabled = false
[groups.archive]
log = "events"
mode = "key_ordered"
patterns = ["agent.>"]
backoff_ms = [1, 2]
dead.lag_bytes = "none"
[durable_topics]
log = "events"
[[durable_topics.table]]
pattern = "agent.v1.done"
durability = "interval"
[[durable_topics.table]]
pattern = "audit.>"
delivery = "at_once"
[metrics]
namespace = "host"
listen_port = 9464
[metrics.labels]
service = "gateway"
[serve]
input = "follow"
file = "in.ndjson"
)";

TEST(LoadConfig, fills_the_structs_of_a_host) {
  using namespace std::chrono_literals;
  const Config config = config_of(host);
  EXPECT_EQ(config.bus.capacity, 1024U);
  EXPECT_EQ(config.bus.timestamps, Timestamps::coarse);
  EXPECT_EQ(config.router.options.max_routes_per_owner, 4U);
  EXPECT_EQ(config.router.rate_limit, "slow");
  EXPECT_EQ(config.rate_limits.at("slow").bytes_per_second, 1000U);
  const RouteConfig& route = config.routes.at("screen");
  EXPECT_EQ(route.options.owner, "panel");
  EXPECT_EQ(route.options.name, "screen");
  ASSERT_EQ(route.options.patterns.size(), 2U);
  EXPECT_EQ(route.options.patterns[1].view(), "llm.*");
  EXPECT_EQ(route.options.budget_bytes, 262'144U);
  EXPECT_EQ(route.options.weights.system, 4U);
  ASSERT_EQ(route.options.weights.principals.size(), 2U);
  EXPECT_EQ(route.options.weights.principals[1].first.view(), "bob");
  EXPECT_EQ(route.options.weights.principals[1].second, 3U);
  EXPECT_TRUE(route.options.scope.admits("agent.x") && route.options.scope.admits(""));
  EXPECT_FALSE(route.options.scope.admits("bob"));
  EXPECT_EQ(route.options.overflow, Overflow::detach);
  EXPECT_EQ(route.options.detach_after, 250ms);
  EXPECT_EQ(route.consumer.kind, Consumer::slow);
  EXPECT_EQ(route.consumer.delay, 5ms);
  const ReceiverConfig& receiver = config.receivers.at("auditor");
  EXPECT_EQ(receiver.options.name, "auditor");
  EXPECT_EQ(receiver.options.start, Start::oldest);
  EXPECT_EQ(receiver.consumer.kind, Consumer::print);
  const LogConfig& log = config.logs.at("events");
  EXPECT_EQ(log.directory, "events");
  EXPECT_EQ(log.options.segment_age, 60s);
  EXPECT_EQ(log.options.retention, (Retention{.age = 168h}));
  EXPECT_FALSE(log.options.dedup);
  const GroupConfig& group = config.groups.at("archive");
  EXPECT_EQ(group.options.name, "archive");
  EXPECT_EQ(group.options.mode, GroupMode::key_ordered);
  EXPECT_THAT(group.options.backoff, ElementsAre(1ms, 2ms));
  EXPECT_FALSE(group.options.dead.lag_bytes);
  EXPECT_EQ(group.consumer.kind, Consumer::none) << "it would ack what others are to do";
  ASSERT_TRUE(config.durable_topics);
  const auto& table = config.durable_topics->options.table;
  ASSERT_EQ(table.size(), 2U);
  EXPECT_EQ(table[0].durability, Durability::interval);
  EXPECT_EQ(table[1].pattern.view(), "audit.>");
  EXPECT_EQ(table[1].delivery, Delivery::at_once);
  EXPECT_EQ(config.metrics.options.name_space, "host");
  EXPECT_EQ(config.metrics.listen_port, 9464);
  EXPECT_THAT(config.metrics.options.labels, ElementsAre(std::pair<std::string, std::string>("service", "gateway")));
  EXPECT_EQ(config.serve.input, Input::follow);
  EXPECT_EQ(config.serve.file, "in.ndjson");
}

TEST(LoadConfig, has_the_defaults_of_the_options_if_nothing_is_said) {
  const Config config = config_of("");
  EXPECT_EQ(config.bus.capacity, BusOptions().capacity);
  EXPECT_TRUE(config.routes.empty() && config.logs.empty() && config.groups.empty() && !config.durable_topics);
  const Config one = config_of("[logs.a]\ndirectory = \"d\"\n[groups.g]\nlog = \"a\"\n[rate_limits.r]");
  EXPECT_EQ(one.logs.at("a").options.segment_bytes, LogOptions().segment_bytes);
  EXPECT_EQ(one.logs.at("a").options.dedup->ids, DedupOptions().ids);
  EXPECT_EQ(one.groups.at("g").options.visibility, GroupOptions().visibility);
  EXPECT_EQ(one.groups.at("g").options.backoff, GroupOptions().backoff);
  EXPECT_EQ(one.rate_limits.at("r").burst_bytes, RateLimit().burst_bytes);
}

TEST(LoadConfig, what_is_shown_loads_as_the_same) {
  for (const std::string_view profile : {"", "profile = \"edge\"\n", "profile = \"throughput\"\n"}) {
    const LoadedConfig loaded = parse_config(std::string(profile) + std::string(host), "f").value();
    const std::string text = to_toml(loaded);
    const ConfigResult again = parse_config(text, "f");
    ASSERT_TRUE(again) << text << '\n' << testing::PrintToString(errors_of(text));
    const ConfigChange change = diff(loaded.config, again->config);
    EXPECT_TRUE(change.live.empty() && change.restart.empty());
    ASSERT_EQ(again->settings.size(), loaded.settings.size());
    for (std::size_t i = 0; i < loaded.settings.size(); ++i) {
      EXPECT_EQ(again->settings[i].toml, loaded.settings[i].toml);
    }
  }
}

// --- Errors. ---

TEST(ConfigErrors, are_told_all_at_once_in_the_order_of_their_places) {
  EXPECT_THAT(
      errors_of("[bus]\ncapasity = 1\ncapacity = 1\n[routes.r]\npatterns = [\"a..b\", 3]\nbudget = 1\n",
                {{"BUSBAR_METRICS_NAMESPACE", "1"}}),
      ElementsAre("f:2:1: bus.capasity: found an unknown key (did you mean capacity?); allowed: " + keys_of("bus"),
                  "f:3:12: bus.capacity: found 1; allowed: an integer, 2 to 1048576",
                  "f:5:13: routes.r.patterns: found \"a..b\" (a segment is empty); allowed: a list of one or "
                  "more, each a topic with the wildcards * and, at its end, >",
                  "f:5:21: routes.r.patterns: found 3; allowed: a list of one or more, each a topic with the "
                  "wildcards * and, at its end, >",
                  "f:6:1: routes.r.budget: found an unknown key (did you mean budget_bytes?); allowed: " +
                      keys_of("routes.NAME"),
                  "environment: BUSBAR_METRICS_NAMESPACE: found \"1\" (it holds another character); allowed: "
                  "letters, digits and underscores, or nothing"));
}

TEST(ConfigErrors, of_a_file_that_is_no_toml_say_where) {
  const auto errors = errors_of("[bus]\ncapacity = = 3\n");
  ASSERT_EQ(errors.size(), 1U);
  EXPECT_TRUE(errors[0].starts_with("f:2:12: found ")) << errors[0];
  EXPECT_THAT(errors[0], EndsWith("; allowed: TOML"));
}

TEST(ConfigErrors, take_no_letter_for_a_blank) {
  const auto errors = errors_of("[bus]\ncapacity \xC3\xA9 = 3\n");
  ASSERT_EQ(errors.size(), 1U);
  EXPECT_TRUE(errors[0].starts_with("f:2:10: found ")) << errors[0];
  const Config folded = config_of("[logs.x]\ndirectory = \"\"\"\\\n  \xC2\xA7\"\"\"\n");
  EXPECT_EQ(folded.logs.at("x").directory, "\xC2\xA7");
}

TEST(ConfigErrors, name_the_key_that_was_meant) {
  const auto meant = [](const std::string& section, const std::string& key) {
    const auto loaded = parse_config(section + key + " = 1\n", "f");
    return loaded ? "" : loaded.error().begin()->found;
  };
  const std::string log = "[logs.x]\ndirectory = \"d\"\n";
  EXPECT_EQ(meant("", "profil"), "an unknown key (did you mean profile?)");
  EXPECT_EQ(meant("", "rate_limit"), "an unknown key (did you mean rate_limits?)");
  EXPECT_EQ(meant(log, "segment_age"), "an unknown key (did you mean segment_age_s?)") << "the unit was left out";
  EXPECT_EQ(meant(log, "retention_bytes"), "an unknown key (did you mean retention.bytes?)");
  EXPECT_EQ(meant(log, "retention"),
            "an unknown key (did you mean retention.bytes, retention.age_s or retention.records?)");
  EXPECT_EQ(meant("[serve]\n", "something_else"), "an unknown key") << "nothing is near";
}

TEST(ConfigErrors, tell_all_the_keys_there_are_whichever_was_meant) {
  EXPECT_THAT(errors_of("[serve]\nimput = 1\n"),
              ElementsAre("f:2:1: serve.imput: found an unknown key (did you mean input?); allowed: input, file or "
                          "drain_ms"));
  EXPECT_THAT(errors_of("[serve]\nsomething_else = 1\n"),
              ElementsAre("f:2:1: serve.something_else: found an unknown key; allowed: input, file or drain_ms"));
  EXPECT_THAT(errors_of("[logs.events]\ndirectory = \"d\"\n[logs.audit]\ndirectory = \"e\"\n[groups.g]\nlog = "
                        "\"event\"\n"),
              ElementsAre("f:6:7: groups.g.log: found \"event\" (did you mean \"events\"?); allowed: \"audit\" or "
                          "\"events\""));
}

TEST(ConfigErrors, take_a_key_with_a_dot_in_its_name_for_no_table) {
  EXPECT_THAT(errors_of("[logs.x]\ndirectory = \"d\"\n\"retention.bytes\" = 1\n"),
              ElementsAre("f:3:1: logs.x.\"retention.bytes\": found an unknown key (did you mean retention.bytes?); "
                          "allowed: " +
                          keys_of("logs.NAME")));
}

TEST(ConfigErrors, of_sections) {
  EXPECT_THAT(
      errors_of("bus = 1\nroutes = []\nlogs.x = 2026-01-01\n[rate_limits.\"a b\"]\n[groups.busbar]\nlog=\"x\"\n"),
      ElementsAre("f:1:7: bus: found 1; allowed: a section: [bus]",
                  "f:2:10: routes: found a list; allowed: a section: [routes.NAME]",
                  "f:3:10: logs.x: found a date or a time; allowed: a section: [logs.x]",
                  "f:4:14: rate_limits.\"a b\": found \"a b\" (it holds a space or a control byte); allowed: a "
                  "name of 1 to 64 bytes without spaces",
                  "f:6:5: groups.busbar.log: found \"x\"; allowed: a name of [logs.NAME], of which there is "
                  "none"));
  EXPECT_THAT(
      errors_of("[groups.\"a.>\"]\nlog = \"x\"\n[groups.\"busbar.dead.x\"]\nlog = \"x\"\n"),
      ElementsAre("f:1:9: groups.\"a.>\": found \"a.>\" (wildcards belong in patterns); allowed: a name of 1 to 64 "
                  "bytes that could stand in a topic",
                  "f:3:9: groups.\"busbar.dead.x\": found \"busbar.dead.x\" (it begins as the names of dead "
                  "letters do); allowed: a name of 1 to 64 bytes that could stand in a topic"));
}

TEST(ConfigErrors, of_rows) {
  const std::string log = "[logs.x]\ndirectory = \"d\"\n[durable_topics]\nlog = \"x\"\n";
  EXPECT_THAT(errors_of(log), ElementsAre("f:3:1: durable_topics.table: found no row; allowed: one or more "
                                          "[[durable_topics.table]]"));
  EXPECT_THAT(errors_of(log + "table = 3\n"),
              ElementsAre("f:5:9: durable_topics.table: found 3; allowed: rows: [[durable_topics.table]]"));
  EXPECT_THAT(
      errors_of(log + "table = [{pattern = \"a\"}, {durability = \"synced\"}, {pattern = \"a\", delivry = 1}]\n"),
      ElementsAre("f:5:27: durable_topics.table[2].pattern: found nothing; allowed: a topic with the wildcards "
                  "* and, at its end, >",
                  "f:5:63: durable_topics.table[3].pattern: found \"a\"; allowed: a pattern of its own: row 1 "
                  "has this one",
                  "f:5:68: durable_topics.table[3].delivry: found an unknown key (did you mean delivery?); allowed: "
                  "pattern, durability or delivery"));
}

TEST(ConfigErrors, of_values_that_contradict_each_other) {
  const std::string log = "[logs.x]\ndirectory = \"d\"\n";
  EXPECT_THAT(errors_of("[rate_limits.x]\nburst_bytes = 10\nmax_message_bytes = 11\n"),
              ElementsAre("f:3:21: rate_limits.x.max_message_bytes: found 11; allowed: at most burst_bytes, 10: no "
                          "larger message can ever come"));
  EXPECT_THAT(errors_of("[rate_limits.x]\n[routes.r]\npatterns = [\">\"]\nrate_limit = \"y\"\n"),
              ElementsAre("f:4:14: routes.r.rate_limit: found \"y\"; allowed: \"x\""))
      << "nothing of it is the same";
  EXPECT_THAT(
      errors_of("[router]\nmax_routes_per_owner = 1\n[routes.a]\npatterns = [\">\"]\nowner = \"o\"\n[routes.b]\n"
                "patterns = [\">\"]\nowner = \"o\"\n"),
      ElementsAre("f:8:9: routes.b.owner: found \"o\" once more; allowed: at most 1 routes of one owner: "
                  "router.max_routes_per_owner"));
  EXPECT_THAT(errors_of(log + "segment_bytes = 524_288\ndisk_bytes = 262_144\n"),
              ElementsAre("f:4:14: logs.x.disk_bytes: found 262144; allowed: at least segment_bytes, 524288"));
  EXPECT_THAT(errors_of(log + "disk_bytes = 100_000_000\nretention.bytes = 100_000_001\n"),
              ElementsAre("f:4:19: logs.x.retention.bytes: found 100000001; allowed: at most disk_bytes, 100000000"));
  const std::uint64_t least = least_memory_bytes(LogOptions());
  EXPECT_THAT(errors_of(log + "memory_bytes = " + std::to_string(least - 1) + "\n"),
              ElementsAre("f:3:16: logs.x.memory_bytes: found " + std::to_string(least - 1) + "; allowed: at least " +
                          std::to_string(least) + " with the other options of this log"));
  EXPECT_THAT(errors_of(log + "memory_bytes = " + std::to_string(least) + "\n"), IsEmpty());
  EXPECT_THAT(errors_of(log + "[logs.y]\ndirectory = \"./d/\"\n"),
              ElementsAre("f:4:13: logs.y.directory: found \"./d/\"; allowed: a directory of its own: logs.x has this "
                          "one"));
  EXPECT_THAT(errors_of(log + "[groups.g]\nlog = \"x\"\nceiling_ms = 29_999\n"),
              ElementsAre("f:5:14: groups.g.ceiling_ms: found 29999; allowed: at least visibility_ms, 30000"));
  EXPECT_THAT(errors_of(log + "[durable_topics]\nlog = \"x\"\ntable = [{pattern = \"a\"}]\n[bus]\namnesia = true\n"),
              ElementsAre("f:7:11: bus.amnesia: found true; allowed: false: with [durable_topics] messages are written "
                          "to a log"));
  const std::string label = "[metrics]\nlabels = {amnesia = \"x\"}\n";
  EXPECT_THAT(errors_of(label), ElementsAre("f:2:10: metrics.labels: found \"amnesia\" (the metrics use it "
                                            "themselves); allowed: it only with amnesia_label = false"));
  EXPECT_THAT(errors_of(label + "amnesia_label = false\n"), IsEmpty());
}

TEST(ConfigErrors, of_more_patterns_than_a_group_may_have) {
  std::string patterns;
  for (int i = 0; i < 41; ++i) patterns += "\"" + std::string(200, 'a') + "." + std::to_string(i) + "\", ";
  const auto errors =
      errors_of("[logs.x]\ndirectory = \"d\"\n[groups.g]\nlog = \"x\"\npatterns = [" + patterns + "]\n");
  EXPECT_THAT(errors,
              ElementsAre("f:5:12: groups.g.patterns: found patterns of 8354 bytes; allowed: at most 8192 bytes, "
                          "each with one more"));
}

TEST(ConfigErrors, of_values_without_a_meaning_where_they_stand) {
  const std::string route = "[routes.r]\npatterns = [\">\"]\n";
  EXPECT_THAT(errors_of(route + "detach_after_ms = 1\n"),
              ElementsAre("f:3:19: routes.r.detach_after_ms: found a value; allowed: only with overflow = \"detach\""));
  EXPECT_THAT(errors_of(route + "consumer_delay_ms = 1\nconsumer = \"print\"\n"),
              ElementsAre("f:3:21: routes.r.consumer_delay_ms: found a value; allowed: only with consumer = \"slow\""));
  EXPECT_THAT(errors_of(route + "principal = \"p\"\n"),
              ElementsAre("f:3:13: routes.r.principal: found a value; allowed: only with scope = \"principal\" or "
                          "\"principal_or_system\""));
  EXPECT_THAT(errors_of("[logs.x]\ndirectory = \"d\"\nfull_disk_wait_ms = 1\ndedup.enabled = false\ndedup.ids = 1\n"),
              ElementsAre("f:3:21: logs.x.full_disk_wait_ms: found a value; allowed: only with full_disk = \"wait\"",
                          "f:5:13: logs.x.dedup.ids: found a value; allowed: only with dedup.enabled = true"));
  EXPECT_THAT(errors_of("", {{"BUSBAR_SERVE_FILE", "f"}}),
              ElementsAre("environment: BUSBAR_SERVE_FILE: found a value; allowed: only with input = \"file\" or "
                          "\"follow\""));
}

TEST(ConfigErrors, that_follow_from_others_are_not_told) {
  EXPECT_THAT(errors_of("[routes.r]\npatterns = [\">\"]\noverflow = \"detch\"\ndetach_after_ms = 1\n").size(), 1U);
  EXPECT_THAT(errors_of("[logs.x]\ndirectory = \"d\"\nsegment_bytes = 1\ndisk_bytes = 300_000\n").size(), 1U);
}

TEST(ConfigErrors, come_as_an_exception_where_a_value_is_taken_for_granted) {
  try {
    (void)parse_config("[bus]\ncapacity = 1\ntimestamps = 1\n", "f").value();
    FAIL();
  } catch (const std::invalid_argument& error) {
    EXPECT_STREQ(error.what(),
                 "f:2:12: bus.capacity: found 1; allowed: an integer, 2 to 1048576\n"
                 "f:3:14: bus.timestamps: found 1; allowed: \"none\", \"coarse\" or \"precise\"");
  }
}

TEST(ConfigErrors, are_of_one_line_whatever_is_written) {
  for (const std::string& line : errors_of("\"a\\nb\" = 1\n[metrics]\nnamespace = \"a\\n\\u007Fb\"\n")) {
    EXPECT_EQ(line.find('\n'), line.npos) << line;
    EXPECT_EQ(line.find('\x7F'), line.npos) << line;
  }
  const std::string shown = to_toml(parse_config("[bus]\ncapacity = 2\n", "a\nb").value());
  EXPECT_THAT(shown, testing::HasSubstr("# a b:2:12\n"));
}

// --- The environment, and profiles. ---

TEST(ConfigEnvironment, goes_before_the_file_and_the_profile) {
  const Environment environment{{"BUSBAR_CAPACITY", "512"},
                                {"BUSBAR_OVERFLOW_WARN_PER_MIN", "7"},
                                {"BUSBAR_METRICS_NAMESPACE", "ronbus"},
                                {"BUSBAR_EMIT_AMNESIA_LABEL", "false"},
                                {"BUSBAR_PROFILE", "throughput"},
                                {"PATH", "/bin"}};
  const LoadedConfig loaded = parse_config("profile = \"edge\"\n[bus]\ncapacity = 4\n", "f", environment).value();
  EXPECT_EQ(loaded.config.bus.capacity, 512U);
  EXPECT_EQ(loaded.config.bus.warnings_per_minute, 7U);
  EXPECT_EQ(loaded.config.metrics.options.name_space, "ronbus");
  EXPECT_FALSE(loaded.config.metrics.options.amnesia_label);
  EXPECT_EQ(loaded.config.profile, Profile::throughput);
  EXPECT_EQ(shown(loaded, "bus", "capacity"), "512 # BUSBAR_CAPACITY");
}

TEST(ConfigEnvironment, does_not_make_a_wrong_file_right) {
  EXPECT_THAT(errors_of("[bus]\ncapacity = 1\n", {{"BUSBAR_CAPACITY", "2"}}),
              ElementsAre("f:2:12: bus.capacity: found 1; allowed: an integer, 2 to 1048576"))
      << "a file is right or wrong whatever the environment says";
}

TEST(ConfigEnvironment, has_no_variables_but_those_that_are_known) {
  const std::string found = ": found an unknown variable (did you mean BUSBAR_CAPACITY?); allowed: BUSBAR_PROFILE, ";
  EXPECT_THAT(errors_of("", {{"BUSBAR_CAPACTIY", "2"}, {"BUSBAR_BUS_CAPACITY", "2"}, {"OTHER", ""}}),
              ElementsAre(StartsWith("environment: BUSBAR_BUS_CAPACITY" + found),
                          StartsWith("environment: BUSBAR_CAPACTIY" + found)));
}

TEST(ConfigEnvironment, must_be_utf_8) {
  EXPECT_THAT(errors_of("[serve]\ninput = \"file\"\n", {{"BUSBAR_SERVE_FILE", "a\xFF"}}),
              ElementsAre("environment: BUSBAR_SERVE_FILE: found bytes that are no UTF-8; allowed: a path"));
}

TEST(ConfigEnvironment, of_the_process_is_what_begins_as_it_should) {
  ::setenv("BUSBAR_TEST_OF_CONFIG", "a=b", 1);
  const Environment environment = process_environment();
  EXPECT_EQ(environment.at("BUSBAR_TEST_OF_CONFIG"), "a=b");
  for (const auto& [name, text] : environment) EXPECT_TRUE(name.starts_with("BUSBAR_"));
  ::unsetenv("BUSBAR_TEST_OF_CONFIG");
}

TEST(ConfigProfiles, change_what_is_not_said) {
  const std::string log = "[logs.x]\ndirectory = \"d\"\nquarantine_bytes = 67_108_864\n";
  const LoadedConfig edge = parse_config("profile = \"edge\"\n" + log, "f").value();
  EXPECT_EQ(edge.config.logs.at("x").options.segment_bytes, LogOptions::edge().segment_bytes);
  EXPECT_EQ(edge.config.logs.at("x").options.memory_bytes, LogOptions::edge().memory_bytes);
  EXPECT_EQ(shown(edge, "logs.x", "segment_bytes"), "8388608 # profile edge");
  EXPECT_EQ(shown(edge, "logs.x", "batch_bytes"), "1048576 # default");
  EXPECT_EQ(shown(edge, "logs.x", "quarantine_bytes"), "67108864 # f:4:20");
  EXPECT_EQ(shown(edge, "", "profile"), "\"edge\" # f:1:11");
  const LoadedConfig throughput = parse_config("profile = \"throughput\"\n" + log, "f").value();
  EXPECT_GT(throughput.config.bus.capacity, BusOptions().capacity);
  EXPECT_EQ(shown(throughput, "bus", "capacity"), "65536 # profile throughput");
}

// --- Files. ---

class ConfigFile : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(directory);
    std::filesystem::create_directories(directory);
  }
  void TearDown() override { std::filesystem::remove_all(directory); }

  std::filesystem::path write(std::string_view text) const {
    std::ofstream(directory / "host.toml", std::ios::binary) << text;
    return directory / "host.toml";
  }

  const std::filesystem::path directory =
      std::filesystem::path(testing::TempDir()) /
      (std::string("busbar-") + testing::UnitTest::GetInstance()->current_test_info()->name());
};

TEST_F(ConfigFile, is_read) {
  const auto path = write("[bus]\ncapacity = 3\n");
  const LoadedConfig loaded = load_config(path).value();
  EXPECT_EQ(loaded.config.bus.capacity, 3U);
  EXPECT_EQ(shown(loaded, "bus", "capacity"), "3 # " + path.string() + ":2:12");
}

TEST_F(ConfigFile, that_cannot_be_read_is_an_error_of_its_own) {
  const std::string none = (directory / "none").string();
  const auto why = [](const std::filesystem::path& path) { return to_string(*load_config(path).error().begin()); };
  EXPECT_EQ(why(none), none + ": found no file that can be opened; allowed: a file that can be read");
  EXPECT_EQ(why(directory), directory.string() + ": found a directory; allowed: a file that can be read");
  const auto large = write(std::string(limits::max_config_bytes + 1, '\n'));
  EXPECT_EQ(why(large), large.string() + ": found a file of more bytes; allowed: at most 1048576 bytes");
  EXPECT_TRUE(load_config(write(std::string(limits::max_config_bytes, '\n'))));
}

/// What loads must be good enough for the objects that are made from it.
TEST_F(ConfigFile, makes_a_host_with_every_profile) {
  for (const std::string profile : {"default", "edge", "throughput"}) {
    const Config config = config_of("profile = \"" + profile +
                                    "\"\n[rate_limits.slow]\n[routes.r]\npatterns = [\">\"]\n[logs.l]\ndirectory = \"" +
                                    (directory / profile).string() +
                                    "\"\nspare_segments = 0\n[groups.g]\nlog = \"l\"\n[durable_topics]\nlog = \"l\"\n"
                                    "table = [{pattern = \"a\"}]\n");
    Bus hub(config.bus);
    Router router(hub, config.router.options);
    const auto route = router.subscribe(config.routes.at("r").options);
    const RateLimiter limiter(config.rate_limits.at("slow"));
    const LogConfig& of_log = config.logs.at("l");
    auto log = Log::open(of_log.directory, of_log.options);
    ASSERT_TRUE(log) << profile << log.error().message();
    EXPECT_TRUE(Group::open(*log, config.groups.at("g").options));
    DurableTopics topics(router, *log, config.durable_topics->options);
    EXPECT_TRUE(topics.publish({.topic = "a"}));
  }
}

// --- The bounds of the keys are those of the objects. ---

TEST(ConfigBounds, of_rates_are_those_of_the_limiter) {
  const auto most = limits::max_rate_bytes;
  EXPECT_NO_THROW(RateLimiter({.bytes_per_second = most, .burst_bytes = most, .max_message_bytes = most}));
  EXPECT_NO_THROW(RateLimiter({.bytes_per_second = 1, .burst_bytes = 1, .max_message_bytes = 1, .max_buckets = 1}));
  EXPECT_THROW(RateLimiter({.bytes_per_second = most + 1}), std::invalid_argument);
  EXPECT_THROW(RateLimiter({.max_buckets = limits::max_rate_buckets + 1}), std::invalid_argument);
}

TEST_F(ConfigFile, has_the_bounds_of_the_log) {
  using Change = std::function<void(LogOptions&)>;
  const std::vector<Change> right{
      [](LogOptions& o) { o.segment_bytes = limits::min_segment_bytes; },
      [](LogOptions& o) { o.uncommitted_bytes = limits::min_uncommitted_bytes; },
      [](LogOptions& o) { o.sync_every = limits::longest_log_wait; },
      [](LogOptions& o) { o.timer = std::chrono::milliseconds(1); },
      [](LogOptions& o) { o.full_disk_wait = std::chrono::milliseconds(0); },
      [](LogOptions& o) { o.batch_bytes = 1; },
      [](LogOptions& o) { o.sync_every_bytes = 1; },
      [](LogOptions& o) { o.max_loss_share = 1; },
      [](LogOptions& o) { o.memory_bytes = least_memory_bytes(o); },
      [](LogOptions& o) { o.disk_bytes = o.segment_bytes; },
  };
  const std::vector<Change> wrong{
      [](LogOptions& o) { o.segment_bytes = limits::min_segment_bytes - limits::segment_bytes_step; },
      [](LogOptions& o) { o.segment_bytes = limits::max_segment_bytes + limits::segment_bytes_step; },
      [](LogOptions& o) { o.segment_bytes = limits::min_segment_bytes + 1; },
      [](LogOptions& o) { o.uncommitted_bytes = limits::min_uncommitted_bytes + 1; },
      [](LogOptions& o) { o.uncommitted_bytes = limits::max_uncommitted_bytes * 2; },
      [](LogOptions& o) { o.spare_segments = limits::max_spare_segments + 1; },
      [](LogOptions& o) { o.sync_every = limits::longest_log_wait + std::chrono::milliseconds(1); },
      [](LogOptions& o) { o.timer = std::chrono::milliseconds(0); },
      [](LogOptions& o) { o.batch_bytes = 0; },
      [](LogOptions& o) { o.max_loss_share = 1.01; },
      [](LogOptions& o) { o.memory_bytes = least_memory_bytes(o) - 1; },
      [](LogOptions& o) { o.disk_bytes = o.segment_bytes - 1; },
  };
  const auto opens = [&](const Change& change) {
    LogOptions options;
    options.segment_bytes = limits::min_segment_bytes;
    options.spare_segments = 0;
    change(options);
    return Log::open(directory / "log", options).has_value();
  };
  for (std::size_t i = 0; i < right.size(); ++i) EXPECT_TRUE(opens(right[i])) << i;
  for (std::size_t i = 0; i < wrong.size(); ++i) EXPECT_FALSE(opens(wrong[i])) << i;
}

}  // namespace
}  // namespace bus
