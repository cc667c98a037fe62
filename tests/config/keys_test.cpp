// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Every key: its default, what it takes, what it refuses and with which words.
#include <bus/config/load.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

namespace bus {
namespace {

struct Wrong {
  std::string value;
  std::string found;  ///< as the error has it
};

struct Row {
  std::string section;
  std::string name;
  std::string standard;  ///< the default; empty: required
  std::string allowed;
  std::string variable;
  bool live;
  std::string beside;  ///< what must stand in the section besides
  std::vector<std::string> right;
  std::vector<Wrong> wrong;
};

// clang-format off
const std::vector<Row> rows{
    {"", "profile", R"("default")", R"("default", "edge" or "throughput")", "BUSBAR_PROFILE", false, "",
     {R"("default")", R"("edge")", R"("throughput")"},
     {{R"("other")", R"("other")"}, {"1", "1"}}},
    {"bus", "capacity", "256", "an integer, 2 to 1048576", "BUSBAR_CAPACITY", false, "",
     {"2", "1048576"},
     {{"1", "1"}, {"1048577", "1048577"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"}, {"[1]", "a list"}}},
    {"bus", "max_payload_bytes", "1048576", "an integer, 0 to 16777216", "BUSBAR_BUS_MAX_PAYLOAD_BYTES", false, "",
     {"0", "16777216"},
     {{"-1", "-1"}, {"16777217", "16777217"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"},
      {"[1]", "a list"}}},
    {"bus", "timestamps", R"("none")", R"("none", "coarse" or "precise")", "BUSBAR_BUS_TIMESTAMPS", false, "",
     {R"("none")", R"("coarse")", R"("precise")"},
     {{R"("other")", R"("other")"}, {"1", "1"}}},
    {"bus", "amnesia", "false", "true or false", "BUSBAR_BUS_AMNESIA", false, "",
     {"true", "false"},
     {{"1", "1"}, {R"("true")", R"("true")"}}},
    {"bus", "warnings_per_minute", "60", "an integer, 0 to 4294967295", "BUSBAR_OVERFLOW_WARN_PER_MIN", true, "",
     {"0", "4294967295"},
     {{"-1", "-1"}, {"4294967296", "4294967296"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"},
      {"[1]", "a list"}}},
    {"router", "max_routes_per_owner", "0", "an integer, 0 and more", "BUSBAR_ROUTER_MAX_ROUTES_PER_OWNER", false, "",
     {"0", "9223372036854775807"},
     {{"-1", "-1"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"}, {"[1]", "a list"}}},
    {"router", "rate_limit", R"("")", "the name of one of rate_limits", "BUSBAR_ROUTER_RATE_LIMIT", false, "",
     {R"("x")", R"("")"},
     {{R"("a b")", R"("a b" (it holds a space or a control byte))"}, {"1", "1"}}},
    {"receivers.NAME", "patterns", "[]", "a list, each a topic with the wildcards * and, at its end, >", "", false, "",
     {"[]", R"(["a", "b.>"])"},
     {{R"(["a..b"])", R"("a..b" (a segment is empty))"}, {"[1]", "1"}, {R"("a")", R"("a")"}}},
    {"receivers.NAME", "start", R"("next")", R"("next" or "oldest")", "", false, "",
     {R"("next")", R"("oldest")"},
     {{R"("other")", R"("other")"}, {"1", "1"}}},
    {"receivers.NAME", "waiting", R"("park")", R"("spin", "yield" or "park")", "", false, "",
     {R"("spin")", R"("yield")", R"("park")"},
     {{R"("other")", R"("other")"}, {"1", "1"}}},
    {"receivers.NAME", "consumer", R"("count")", R"("none", "count", "print" or "slow")", "", false, "",
     {R"("none")", R"("count")", R"("print")", R"("slow")"},
     {{R"("other")", R"("other")"}, {"1", "1"}}},
    {"receivers.NAME", "consumer_delay_ms", "10", "an integer, 0 to 3600000", "", false, R"(consumer = "slow")",
     {"0", "3600000"},
     {{"-1", "-1"}, {"3600001", "3600001"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"},
      {"[1]", "a list"}}},
    {"rate_limits.NAME", "bytes_per_second", "10485760", "an integer, 1 to 1099511627776", "", true, "",
     {"1", "1099511627776"},
     {{"0", "0"}, {"1099511627777", "1099511627777"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"},
      {"[1]", "a list"}}},
    {"rate_limits.NAME", "burst_bytes", "10485760", "an integer, 1 to 1099511627776", "", true, "",
     {"1", "1099511627776"},
     {{"0", "0"}, {"1099511627777", "1099511627777"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"},
      {"[1]", "a list"}}},
    {"rate_limits.NAME", "max_message_bytes", "5242880", "an integer, 1 to 1099511627776", "", true,
     "burst_bytes = 1_099_511_627_776",
     {"1", "1099511627776"},
     {{"0", "0"}, {"1099511627777", "1099511627777"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"},
      {"[1]", "a list"}}},
    {"rate_limits.NAME", "max_buckets", "65536", "an integer, 1 to 4294967296", "", true, "",
     {"1", "4294967296"},
     {{"0", "0"}, {"4294967297", "4294967297"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"},
      {"[1]", "a list"}}},
    {"routes.NAME", "owner", R"("")", "a name of 1 to 64 bytes without spaces", "", false, "",
     {R"("n")"},
     {{R"("")", R"("" (it is empty))"}, {R"("a b")", R"("a b" (it holds a space or a control byte))"}, {"1", "1"}}},
    {"routes.NAME", "patterns", "", "a list of one or more, each a topic with the wildcards * and, at its end, >", "",
     false, "",
     {R"(["a.b", "c.>"])"},
     {{R"(["a..b"])", R"("a..b" (a segment is empty))"}, {"[1]", "1"}, {R"("a")", R"("a")"},
      {"[]", "an empty list"}}},
    {"routes.NAME", "budget_bytes", "1048576", "an integer, 385 to 1099511627776", "", false, "",
     {"385", "1099511627776"},
     {{"384", "384"}, {"1099511627777", "1099511627777"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"},
      {"[1]", "a list"}}},
    {"routes.NAME", "quantum_bytes", "4096", "an integer, 1 to 1099511627776", "", false, "",
     {"1", "1099511627776"},
     {{"0", "0"}, {"1099511627777", "1099511627777"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"},
      {"[1]", "a list"}}},
    {"routes.NAME", "principal_messages", "16384", "an integer, 1 and more", "", false, "",
     {"1", "9223372036854775807"},
     {{"0", "0"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"}, {"[1]", "a list"}}},
    {"routes.NAME", "credits", "0", "an integer, 0 and more", "", false, "",
     {"0", "9223372036854775807"},
     {{"-1", "-1"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"}, {"[1]", "a list"}}},
    {"routes.NAME", "weights.system", "1", "an integer, 1 to 64", "", true, "",
     {"1", "64"},
     {{"0", "0"}, {"65", "65"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"}, {"[1]", "a list"}}},
    {"routes.NAME", "weights.agent", "1", "an integer, 1 to 64", "", true, "",
     {"1", "64"},
     {{"0", "0"}, {"65", "65"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"}, {"[1]", "a list"}}},
    {"routes.NAME", "weights.user", "1", "an integer, 1 to 64", "", true, "",
     {"1", "64"},
     {{"0", "0"}, {"65", "65"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"}, {"[1]", "a list"}}},
    {"routes.NAME", "weights.principals", "{}",
     "a table of integers, each 1 to 64; each name a principal of 0 to 128 bytes without spaces", "", true, "",
     {"{}", R"({"agent.a" = 1, b = 64})"},
     {{"{a = 0}", "0"}, {"{a = 65}", "65"}, {R"({"a b" = 1})", R"("a b" (it holds a space or a control byte))"},
      {"1", "1"}}},
    {"routes.NAME", "scope", R"("all")", R"("all", "principal" or "principal_or_system")", "", false, "",
     {R"("all")", R"("principal")", R"("principal_or_system")"},
     {{R"("other")", R"("other")"}, {"1", "1"}}},
    {"routes.NAME", "principal", R"("")", "a principal of 0 to 128 bytes without spaces", "", false,
     R"(scope = "principal")",
     {R"("")", R"("agent.a")"},
     {{R"("a b")", R"("a b" (it holds a space or a control byte))"}, {"1", "1"}}},
    {"routes.NAME", "rate_limit", R"("")", "the name of one of rate_limits", "", false, "",
     {R"("x")", R"("")"},
     {{R"("a b")", R"("a b" (it holds a space or a control byte))"}, {"1", "1"}}},
    {"routes.NAME", "overflow", R"("evict_oldest_head")",
     R"("evict_oldest_head", "evict_fair_share", "reject_new", "wait", "detach" or "coalesce")", "", false, "",
     {R"("evict_oldest_head")", R"("evict_fair_share")", R"("reject_new")", R"("wait")", R"("detach")",
      R"("coalesce")"},
     {{R"("other")", R"("other")"}, {"1", "1"}}},
    {"routes.NAME", "detach_after_ms", "10000", "an integer, 0 to 315360000000", "", false, R"(overflow = "detach")",
     {"0", "315360000000"},
     {{"-1", "-1"}, {"315360000001", "315360000001"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"},
      {"[1]", "a list"}}},
    {"routes.NAME", "ticks", "false", "true or false", "", false, "",
     {"true", "false"},
     {{"1", "1"}, {R"("true")", R"("true")"}}},
    {"routes.NAME", "waiting", R"("park")", R"("spin", "yield" or "park")", "", false, "",
     {R"("spin")", R"("yield")", R"("park")"},
     {{R"("other")", R"("other")"}, {"1", "1"}}},
    {"routes.NAME", "consumer", R"("count")", R"("none", "count", "print" or "slow")", "", false, "",
     {R"("none")", R"("count")", R"("print")", R"("slow")"},
     {{R"("other")", R"("other")"}, {"1", "1"}}},
    {"routes.NAME", "consumer_delay_ms", "10", "an integer, 0 to 3600000", "", false, R"(consumer = "slow")",
     {"0", "3600000"},
     {{"-1", "-1"}, {"3600001", "3600001"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"},
      {"[1]", "a list"}}},
    {"logs.NAME", "directory", "", "a path", "", false, "",
     {R"("d/e")"},
     {{R"("")", R"("" (it is empty))"}, {"1", "1"}}},
    {"logs.NAME", "segment_bytes", "67108864", "an integer, 262144 to 4294967296, a multiple of 4096", "", false, "",
     {"262144", "4294967296"},
     {{"262143", "262143"}, {"4294967297", "4294967297"}, {"262145", "262145"}, {R"("5")", R"("5")"}, {"1.5", "1.5"},
      {"true", "true"}, {"[1]", "a list"}}},
    {"logs.NAME", "segment_age_s", "0", "an integer, 0 to 315360000", "", false, "",
     {"0", "315360000"},
     {{"-1", "-1"}, {"315360001", "315360001"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"},
      {"[1]", "a list"}}},
    {"logs.NAME", "uncommitted_bytes", "16777216", "an integer, 65536 to 1073741824, a power of two", "", false, "",
     {"65536", "1073741824"},
     {{"65535", "65535"}, {"1073741825", "1073741825"}, {"65537", "65537"}, {R"("5")", R"("5")"}, {"1.5", "1.5"},
      {"true", "true"}, {"[1]", "a list"}}},
    {"logs.NAME", "batch_bytes", "1048576", "an integer, 1 to 1073741824", "", false, "",
     {"1", "1073741824"},
     {{"0", "0"}, {"1073741825", "1073741825"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"},
      {"[1]", "a list"}}},
    {"logs.NAME", "sync_every_ms", "1000", "an integer, 1 to 315360000000", "", false, "",
     {"1", "315360000000"},
     {{"0", "0"}, {"315360000001", "315360000001"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"},
      {"[1]", "a list"}}},
    {"logs.NAME", "sync_every_bytes", "1048576", "an integer, 1 and more", "", false, "",
     {"1", "9223372036854775807"},
     {{"0", "0"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"}, {"[1]", "a list"}}},
    {"logs.NAME", "retention.bytes", R"("none")", R"(an integer, 0 and more, or "none")", "", true, "",
     {"0", "9223372036854775807", R"("none")"},
     {{"-1", "-1"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"}, {"[1]", "a list"}}},
    {"logs.NAME", "retention.age_s", R"("none")", R"(an integer, 0 to 315360000, or "none")", "", true, "",
     {"0", "315360000", R"("none")"},
     {{"-1", "-1"}, {"315360001", "315360001"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"},
      {"[1]", "a list"}}},
    {"logs.NAME", "retention.records", R"("none")", R"(an integer, 0 and more, or "none")", "", true, "",
     {"0", "9223372036854775807", R"("none")"},
     {{"-1", "-1"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"}, {"[1]", "a list"}}},
    {"logs.NAME", "timer_ms", "1000", "an integer, 1 to 315360000000", "", false, "",
     {"1", "315360000000"},
     {{"0", "0"}, {"315360000001", "315360000001"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"},
      {"[1]", "a list"}}},
    {"logs.NAME", "disk_bytes", R"("none")", R"(an integer, 262144 and more, or "none")", "", false,
     "segment_bytes = 262_144",
     {"262144", "9223372036854775807", R"("none")"},
     {{"262143", "262143"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"}, {"[1]", "a list"}}},
    {"logs.NAME", "full_disk", R"("reject")", R"("reject", "drop_oldest" or "wait")", "", true, "",
     {R"("reject")", R"("drop_oldest")", R"("wait")"},
     {{R"("other")", R"("other")"}, {"1", "1"}}},
    {"logs.NAME", "full_disk_wait_ms", "5000", "an integer, 0 to 315360000000", "", false, R"(full_disk = "wait")",
     {"0", "315360000000"},
     {{"-1", "-1"}, {"315360000001", "315360000001"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"},
      {"[1]", "a list"}}},
    {"logs.NAME", "spare_segments", "1", "an integer, 0 to 64", "", true, "",
     {"0", "64"},
     {{"-1", "-1"}, {"65", "65"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"}, {"[1]", "a list"}}},
    {"logs.NAME", "compress_from_bytes", "0", "an integer, 0 and more", "", false, "",
     {"0", "9223372036854775807"},
     {{"-1", "-1"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"}, {"[1]", "a list"}}},
    {"logs.NAME", "dedup.enabled", "true", "true or false", "", false, "",
     {"true", "false"},
     {{"1", "1"}, {R"("true")", R"("true")"}}},
    {"logs.NAME", "dedup.ids_per_sender", "100000", "an integer, 0 to 1000000000", "", false, "",
     {"0", "1000000000"},
     {{"-1", "-1"}, {"1000000001", "1000000001"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"},
      {"[1]", "a list"}}},
    {"logs.NAME", "dedup.id_age_s", "120", "an integer, 0 to 315360000", "", false, "",
     {"0", "315360000"},
     {{"-1", "-1"}, {"315360001", "315360001"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"},
      {"[1]", "a list"}}},
    {"logs.NAME", "dedup.ids", "200000", "an integer, 0 to 1000000000", "", false, "",
     {"0", "1000000000"},
     {{"-1", "-1"}, {"1000000001", "1000000001"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"},
      {"[1]", "a list"}}},
    {"logs.NAME", "dedup.producers", "10000", "an integer, 0 to 1000000000", "", false, "",
     {"0", "1000000000"},
     {{"-1", "-1"}, {"1000000001", "1000000001"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"},
      {"[1]", "a list"}}},
    {"logs.NAME", "verify", "false", "true or false", "", false, "",
     {"true", "false"},
     {{"1", "1"}, {R"("true")", R"("true")"}}},
    {"logs.NAME", "max_loss_bytes", "67108864", "an integer, 0 and more", "", false, "",
     {"0", "9223372036854775807"},
     {{"-1", "-1"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"}, {"[1]", "a list"}}},
    {"logs.NAME", "max_loss_share", "0.01", "a number, 0.0 to 1.0", "", false, "",
     {"0.0", "1.0", "0.5"},
     {{"-0.01", "-0.01"}, {"1.01", "1.01"}, {"nan", "nan"}, {R"("1")", R"("1")"}}},
    {"logs.NAME", "quarantine_bytes", "67108864", "an integer, 0 and more", "", false, "",
     {"0", "9223372036854775807"},
     {{"-1", "-1"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"}, {"[1]", "a list"}}},
    {"logs.NAME", "memory_bytes", R"("none")", R"(an integer, 1 and more, or "none")", "", false, "",
     {"1073741824", R"("none")"},
     {{"0", "0"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"}, {"[1]", "a list"}}},
    {"groups.NAME", "log", "", "the name of one of logs", "", false, "",
     {R"("x")"},
     {{R"("a b")", R"("a b" (it holds a space or a control byte))"}, {"1", "1"}, {R"("")", R"("" (it is empty))"}}},
    {"groups.NAME", "mode", R"("competing")", R"("competing", "key_ordered" or "broadcast")", "", false, "",
     {R"("competing")", R"("key_ordered")", R"("broadcast")"},
     {{R"("other")", R"("other")"}, {"1", "1"}}},
    {"groups.NAME", "patterns", "[]", "a list, each a topic with the wildcards * and, at its end, >", "", false, "",
     {R"(["a.b", "c.>"])", "[]"},
     {{R"(["a..b"])", R"("a..b" (a segment is empty))"}, {"[1]", "1"}, {R"("a")", R"("a")"}}},
    {"groups.NAME", "start", R"("next")", R"("next" or "oldest")", "", false, "",
     {R"("next")", R"("oldest")"},
     {{R"("other")", R"("other")"}, {"1", "1"}}},
    {"groups.NAME", "visibility_ms", "30000", "an integer, 1 to 1728000000", "", false, "ceiling_ms = 1_728_000_000",
     {"1", "1728000000"},
     {{"0", "0"}, {"1728000001", "1728000001"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"},
      {"[1]", "a list"}}},
    {"groups.NAME", "ceiling_ms", "300000", "an integer, 1 to 1728000000", "", false, "visibility_ms = 1",
     {"1", "1728000000"},
     {{"0", "0"}, {"1728000001", "1728000001"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"},
      {"[1]", "a list"}}},
    {"groups.NAME", "attempts", "5", "an integer, 1 to 255", "", false, "",
     {"1", "255"},
     {{"0", "0"}, {"256", "256"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"}, {"[1]", "a list"}}},
    {"groups.NAME", "backoff_ms", "[100, 500, 2000, 10000, 30000]", "a list of integers, each 0 to 1728000000", "",
     false, "",
     {"[]", "[0, 1728000000]"},
     {{"[1, -1]", "-1"}, {"[1728000001]", "1728000001"}, {R"(["1"])", R"("1")"}, {"1", "1"}}},
    {"groups.NAME", "read_ahead", "100000", "an integer, 1 to 4294967295", "", false, "",
     {"1", "4294967295"},
     {{"0", "0"}, {"4294967296", "4294967296"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"},
      {"[1]", "a list"}}},
    {"groups.NAME", "principal_read_ahead", "25000", "an integer, 1 to 4294967295", "", false, "",
     {"1", "4294967295"},
     {{"0", "0"}, {"4294967296", "4294967296"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"},
      {"[1]", "a list"}}},
    {"groups.NAME", "read_ahead_bytes", "8388608", "an integer, 0 and more", "", false, "",
     {"0", "9223372036854775807"},
     {{"-1", "-1"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"}, {"[1]", "a list"}}},
    {"groups.NAME", "quantum_bytes", "4096", "an integer, 1 to 1099511627776", "", false, "",
     {"1", "1099511627776"},
     {{"0", "0"}, {"1099511627777", "1099511627777"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"},
      {"[1]", "a list"}}},
    {"groups.NAME", "weights.system", "1", "an integer, 1 to 64", "", false, "",
     {"1", "64"},
     {{"0", "0"}, {"65", "65"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"}, {"[1]", "a list"}}},
    {"groups.NAME", "weights.agent", "1", "an integer, 1 to 64", "", false, "",
     {"1", "64"},
     {{"0", "0"}, {"65", "65"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"}, {"[1]", "a list"}}},
    {"groups.NAME", "weights.user", "1", "an integer, 1 to 64", "", false, "",
     {"1", "64"},
     {{"0", "0"}, {"65", "65"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"}, {"[1]", "a list"}}},
    {"groups.NAME", "weights.principals", "{}",
     "a table of integers, each 1 to 64; each name a principal of 0 to 128 bytes without spaces", "", false, "",
     {"{}", R"({"agent.a" = 1, b = 64})"},
     {{"{a = 0}", "0"}, {"{a = 65}", "65"}, {R"({"a b" = 1})", R"("a b" (it holds a space or a control byte))"},
      {"1", "1"}}},
    {"groups.NAME", "lag_bytes", R"("none")", R"(an integer, 1 and more, or "none")", "", false, "",
     {"1", "9223372036854775807", R"("none")"},
     {{"0", "0"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"}, {"[1]", "a list"}}},
    {"groups.NAME", "dead.most", "100000", "an integer, 1 and more", "", false, "",
     {"1", "9223372036854775807"},
     {{"0", "0"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"}, {"[1]", "a list"}}},
    {"groups.NAME", "dead.full", R"("drop_oldest")", R"("drop_oldest" or "hold")", "", false, "",
     {R"("drop_oldest")", R"("hold")"},
     {{R"("other")", R"("other")"}, {"1", "1"}}},
    {"groups.NAME", "dead.lag_bytes", "1073741824", R"(an integer, 1 and more, or "none")", "", false, "",
     {"1", "9223372036854775807", R"("none")"},
     {{"0", "0"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"}, {"[1]", "a list"}}},
    {"groups.NAME", "consumer", R"("none")", R"("none", "count", "print" or "slow")", "", false, "",
     {R"("none")", R"("count")", R"("print")", R"("slow")"},
     {{R"("other")", R"("other")"}, {"1", "1"}}},
    {"groups.NAME", "consumer_delay_ms", "10", "an integer, 0 to 3600000", "", false, R"(consumer = "slow")",
     {"0", "3600000"},
     {{"-1", "-1"}, {"3600001", "3600001"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"},
      {"[1]", "a list"}}},
    {"durable_topics", "log", "", "the name of one of logs", "", false, "",
     {R"("x")"},
     {{R"("a b")", R"("a b" (it holds a space or a control byte))"}, {"1", "1"}, {R"("")", R"("" (it is empty))"}}},
    {"durable_topics", "undelivered_bytes", "16777216", "an integer, 1 and more", "", false, "",
     {"1", "9223372036854775807"},
     {{"0", "0"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"}, {"[1]", "a list"}}},
    {"durable_topics.table[N]", "pattern", "", "a topic with the wildcards * and, at its end, >", "", false, "",
     {R"("a.>")"},
     {{R"("a..b")", R"("a..b" (a segment is empty))"}, {"1", "1"}}},
    {"durable_topics.table[N]", "durability", R"("synced")", R"("buffered", "written", "interval" or "synced")", "",
     false, "",
     {R"("buffered")", R"("written")", R"("interval")", R"("synced")"},
     {{R"("other")", R"("other")"}, {"1", "1"}}},
    {"durable_topics.table[N]", "delivery", R"("after_commit")", R"("after_commit" or "at_once")", "", false, "",
     {R"("after_commit")", R"("at_once")"},
     {{R"("other")", R"("other")"}, {"1", "1"}}},
    {"metrics", "namespace", R"("")", "letters, digits and underscores, or nothing", "BUSBAR_METRICS_NAMESPACE",
     false, "",
     {R"("")", R"("a_1")"},
     {{R"("a-b")", R"("a-b" (it holds another character))"},
      {R"("__a")", R"("__a" (two underscores are for Prometheus itself))"}, {"1", "1"}}},
    {"metrics", "labels", "{}",
     "a table of texts; each name letters, digits and underscores, but not bus, class, group, le, log, outcome, part, "
     "purpose, quantile, reason, receiver, route or state",
     "", false, "",
     {"{}", R"({service = "gateway"})"},
     {{R"({"1a" = "x"})", R"("1a" (it holds another character))"},
      {R"({__a = "x"})", R"("__a" (two underscores are for Prometheus itself))"},
      {R"({receiver = "x"})", R"("receiver" (the metrics use it themselves))"},
      {R"({le = "x"})", R"("le" (the metrics use it themselves))"}, {"{a = 1}", "1"}, {"1", "1"}}},
    {"metrics", "amnesia_label", "true", "true or false", "BUSBAR_EMIT_AMNESIA_LABEL", false, "",
     {"true", "false"},
     {{"1", "1"}, {R"("true")", R"("true")"}}},
    {"metrics", "max_names", "100", "an integer, 0 and more", "BUSBAR_METRICS_MAX_NAMES", false, "",
     {"0", "9223372036854775807"},
     {{"-1", "-1"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"}, {"[1]", "a list"}}},
    {"metrics", "listen_address", R"("127.0.0.1")", "an address or a host name of 1 to 64 bytes",
     "BUSBAR_METRICS_LISTEN_ADDRESS", false, "",
     {R"("n")"},
     {{R"("")", R"("" (it is empty))"}, {R"("a b")", R"("a b" (it holds a space or a control byte))"}, {"1", "1"}}},
    {"metrics", "listen_port", R"("none")", R"(an integer, 0 to 65535, or "none")", "BUSBAR_METRICS_LISTEN_PORT",
     false, "",
     {"0", "65535", R"("none")"},
     {{"-1", "-1"}, {"65536", "65536"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"}, {"[1]", "a list"}}},
    {"serve", "input", R"("none")", R"("none", "stdin", "file" or "follow")", "BUSBAR_SERVE_INPUT", false, "",
     {R"("none")", R"("stdin")"},
     {{R"("other")", R"("other")"}, {"1", "1"}}},
    {"serve", "file", "", "a path", "BUSBAR_SERVE_FILE", false, R"(input = "file")",
     {R"("d/e")"},
     {{R"("")", R"("" (it is empty))"}, {"1", "1"}}},
    {"serve", "drain_ms", "5000", "an integer, 0 to 3600000", "BUSBAR_SERVE_DRAIN_MS", false, "",
     {"0", "3600000"},
     {{"-1", "-1"}, {"3600001", "3600001"}, {R"("5")", R"("5")"}, {"1.5", "1.5"}, {"true", "true"},
      {"[1]", "a list"}}},
};
// clang-format on

/// The least that a file needs in which `line` stands in the row's section.
std::string file_with(const Row& row, const std::string& line) {
  const std::string mine = (row.beside.empty() ? "" : row.beside + "\n") + line + "\n";
  const std::string log = "[logs.x]\ndirectory = \"d\"\n";
  if (row.section.empty()) return mine;
  if (row.section == "router") return "[rate_limits.x]\n[router]\n" + mine;
  if (row.section == "receivers.NAME") return "[receivers.x]\n" + mine;
  if (row.section == "rate_limits.NAME") return "[rate_limits.x]\n" + mine;
  if (row.section == "routes.NAME") {
    return "[rate_limits.x]\n[routes.x]\n" + (row.name == "patterns" ? "" : std::string("patterns = [\">\"]\n")) + mine;
  }
  if (row.section == "logs.NAME") return (row.name == "directory" ? "[logs.x]\n" : log) + mine;
  if (row.section == "groups.NAME") return log + "[groups.x]\n" + (row.name == "log" ? "" : "log = \"x\"\n") + mine;
  const std::string topics = "[durable_topics]\n";
  const std::string topics_row = "[[durable_topics.table]]\n";
  if (row.section == "durable_topics") {
    return log + topics + (row.name == "log" ? "" : "log = \"x\"\n") + mine + topics_row + "pattern = \"a\"\n";
  }
  if (row.section == "durable_topics.table[N]") {
    return log + topics + "log = \"x\"\n" + topics_row + (row.name == "pattern" ? "" : "pattern = \"a\"\n") + mine;
  }
  return "[" + row.section + "]\n" + mine;
}

std::string section_of(const Row& row) {
  std::string section = row.section;
  if (const auto at = section.find("NAME"); at != section.npos) section.replace(at, 4, "x");
  if (const auto at = section.find("[N]"); at != section.npos) section.replace(at, 3, "[1]");
  return section;
}

/// Nothing, if the file is refused or does not have it.
const Setting* setting_of(const ConfigResult& loaded, const Row& row) {
  if (!loaded) return nullptr;
  const auto found = std::ranges::find_if(
      loaded->settings, [&](const Setting& one) { return one.section == section_of(row) && one.key == row.name; });
  return found != loaded->settings.end() ? &*found : nullptr;
}

std::string lines_of(const ConfigResult& loaded) {
  std::string lines;
  if (loaded) return "no error\n";
  for (const ConfigError& error : loaded.error()) lines += to_string(error) + "\n";
  return lines;
}

std::size_t line_of(const std::string& text, const std::string& line) {
  return static_cast<std::size_t>(
             std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(text.find(line)), '\n')) +
         1;
}

TEST(ConfigKeys, are_those_that_are_tested_here) {
  const std::vector<ConfigKey> keys = config_keys();
  ASSERT_EQ(keys.size(), rows.size());
  for (std::size_t i = 0; i < keys.size(); ++i) {
    EXPECT_EQ(keys[i].section, rows[i].section);
    EXPECT_EQ(keys[i].name, rows[i].name);
    EXPECT_EQ(keys[i].standard, rows[i].standard) << rows[i].section << '.' << rows[i].name;
    EXPECT_EQ(keys[i].allowed, rows[i].allowed) << rows[i].section << '.' << rows[i].name;
    EXPECT_EQ(keys[i].variable, rows[i].variable);
    EXPECT_EQ(keys[i].live, rows[i].live) << rows[i].section << '.' << rows[i].name;
    EXPECT_FALSE(keys[i].help.empty());
  }
}

TEST(ConfigKeys, have_their_defaults_where_nothing_is_said) {
  for (const Row& row : rows) {
    if (row.standard.empty() || row.name == "owner") continue;  // required; the name of the route
    const ConfigResult loaded = parse_config(file_with(row, ""), "f");
    const Setting* const setting = setting_of(loaded, row);
    ASSERT_NE(setting, nullptr) << row.section << '.' << row.name << '\n' << lines_of(loaded);
    EXPECT_EQ(setting->toml, row.standard) << row.section << '.' << row.name;
    EXPECT_EQ(to_string(setting->origin), "default") << row.section << '.' << row.name;
  }
}

TEST(ConfigKeys, that_are_required_are_missed) {
  for (const Row& row : rows) {
    if (!row.standard.empty()) continue;
    const ConfigResult loaded = parse_config(file_with(row, ""), "f");
    ASSERT_FALSE(loaded) << row.section << '.' << row.name;
    ASSERT_EQ(loaded.error().size(), 1U) << lines_of(loaded);
    const ConfigError error = *loaded.error().begin();
    EXPECT_EQ(error.key, section_of(row) + "." + row.name);
    EXPECT_EQ(error.found, "nothing");
    EXPECT_EQ(error.allowed, row.allowed);
    EXPECT_NE(error.line, 0U);
  }
}

TEST(ConfigKeys, take_what_is_in_their_bounds) {
  for (const Row& row : rows) {
    for (const std::string& value : row.right) {
      const std::string line = row.name + " = " + value;
      const std::string text = file_with(row, line);
      const ConfigResult loaded = parse_config(text, "f");
      const Setting* const setting = setting_of(loaded, row);
      ASSERT_NE(setting, nullptr) << text << lines_of(loaded);
      EXPECT_EQ(setting->toml, value) << row.section;
      EXPECT_EQ(to_string(setting->origin),
                "f:" + std::to_string(line_of(text, line)) + ":" + std::to_string(row.name.size() + 4));
    }
  }
}

TEST(ConfigKeys, refuse_what_is_not_with_its_place_and_what_is_allowed) {
  for (const Row& row : rows) {
    for (const Wrong& wrong : row.wrong) {
      const std::string line = row.name + " = " + wrong.value;
      const std::string text = file_with(row, line);
      const ConfigResult loaded = parse_config(text, "f");
      ASSERT_FALSE(loaded) << text;
      ASSERT_EQ(loaded.error().size(), 1U) << text << lines_of(loaded);
      const ConfigError error = *loaded.error().begin();
      const std::string key = (row.section.empty() ? "" : section_of(row) + ".") + row.name;
      EXPECT_EQ(to_string(error), "f:" + std::to_string(line_of(text, line)) + ":" + std::to_string(error.column) +
                                      ": " + key + ": found " + wrong.found + "; allowed: " + row.allowed);
      EXPECT_GE(error.column, row.name.size() + 4) << text;
    }
  }
}

TEST(ConfigKeys, that_have_a_variable_take_it_from_there_too) {
  for (const Row& row : rows) {
    if (row.variable.empty()) continue;
    for (const std::string& value : row.right) {
      std::string text = value;
      std::erase(text, '"');
      const ConfigResult loaded = parse_config(file_with(row, ""), "f", {{row.variable, text}});
      const Setting* const setting = setting_of(loaded, row);
      ASSERT_NE(setting, nullptr) << row.variable << lines_of(loaded);
      EXPECT_EQ(setting->toml, value);
      EXPECT_EQ(to_string(setting->origin), row.variable);
    }
    for (const Wrong& wrong : row.wrong) {
      std::string text = wrong.value;
      std::erase(text, '"');
      const ConfigResult loaded = parse_config(file_with(row, ""), "f", {{row.variable, text}});
      // In quotes it was another type, and what is no name for a file may be one for a variable.
      if (loaded || text.empty() || row.name == "rate_limit") continue;
      ASSERT_EQ(loaded.error().size(), 1U) << lines_of(loaded);
      const ConfigError error = *loaded.error().begin();
      EXPECT_TRUE(to_string(error).starts_with("environment: " + row.variable + ": found ")) << to_string(error);
      EXPECT_EQ(error.allowed, row.allowed);
    }
  }
}

TEST(ConfigKeys, are_in_the_reference_as_they_are) {
  std::ifstream file(CONFIGURATION_MD);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  EXPECT_EQ(text, config_reference()) << "write it anew: busbar config reference > docs/configuration.md";
}

TEST(ConfigKeys, are_shown_in_the_reference_by_an_example_that_loads) {
  const std::string text = config_reference();
  constexpr std::string_view begin = "```toml\n";
  const std::size_t at = text.find(begin) + begin.size();
  const ConfigResult loaded = parse_config(std::string_view(text).substr(at, text.find("```\n", at) - at), "f");
  ASSERT_TRUE(loaded) << lines_of(loaded);
  EXPECT_EQ(loaded->config.routes.size(), 1U);
}

}  // namespace
}  // namespace bus
