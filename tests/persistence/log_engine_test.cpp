// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The log on a simulated disk: what was committed is there whatever happened to the disk, and the laws LOG-1 to LOG-6
// as far as the engine keeps them.
#include "persistence/log_engine.hpp"

#include "engine_fixture.hpp"

#include "simulation/sim_disk.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bus::detail {
namespace {

using simulation::Call;
using simulation::CrashOptions;
using simulation::Faults;
using simulation::SimDisk;
namespace sys = boost::system::errc;

constexpr std::uint64_t segment_bytes = min_segment_bytes;

error_code commit(EngineOnDisk& log, const std::vector<Sent>& batch) { return log.commit(batch); }

Content read(ReaderCore& reader) { return read_all(reader); }
Content read(EngineOnDisk& log, std::uint64_t from = 0) {
  const auto reader = log.reader({.from = From::offset(from)});
  return read_all(*reader);
}

/// A disk with a log on it, which may be opened again and again.
class Log : public testing::Test {
 protected:
  error_code open() {
    log.reset();
    log = std::make_unique<EngineOnDisk>(disk);
    const error_code error = log->open({.segment_bytes = segment_bytes});
    if (error) log.reset();
    return error;
  }
  void restart() {
    log.reset();
    disk.crash();
    ASSERT_FALSE(open());
  }
  std::vector<std::string> segments() {
    auto names = disk.mount()->list().value();
    std::erase_if(names, [](const std::string& name) { return !parse_segment_name(name); });
    std::ranges::sort(names);
    return names;
  }
  /// Commits records of so many bytes until there are so many segments.
  void fill(std::size_t count, std::size_t bytes = 1000) {
    while (segments().size() < count) ASSERT_FALSE(commit(*log, {{.payload = std::string(bytes, 'x')}}));
  }

  SimDisk disk{1};
  std::unique_ptr<EngineOnDisk> log;
};

TEST_F(Log, reads_what_was_committed_now_and_after_it_is_opened_again) {
  ASSERT_FALSE(open());
  EXPECT_EQ((*log)->next_offset(), 0U);
  const std::vector<Sent> batch{{.payload = "one"},
                                {.topic = "other.topic", .principal = "", .key = "k", .payload = ""},
                                {.principal = "carol", .payload = std::string(10'000, 'z')}};
  ASSERT_FALSE(commit(*log, batch));
  ASSERT_FALSE(commit(*log, {{.payload = "four"}}));
  EXPECT_EQ((*log)->next_offset(), 4U);
  for (int again = 0; again < 3; ++again) {
    const Content content = read(*log);
    ASSERT_EQ(content.records.size(), 4U);
    for (std::size_t i = 0; i < 3; ++i) {
      EXPECT_EQ(content.records[i].first, i);
      EXPECT_EQ(content.records[i].second, batch[i]);
    }
    EXPECT_EQ(content.records[3].second.payload, "four");
    EXPECT_EQ(content.missing, 0U);
    EXPECT_EQ(read(*log, 3).records.size(), 1U);
    ASSERT_FALSE(open());
    EXPECT_TRUE((*log)->losses().empty());
    EXPECT_EQ((*log)->next_offset(), 4U);
  }
}

TEST_F(Log, has_one_writer) {
  ASSERT_FALSE(open());
  EngineOnDisk other(disk);
  EXPECT_EQ(other.open({.segment_bytes = segment_bytes}), errc::log_locked);
}

TEST_F(Log, rolls_and_reads_across_segments) {
  ASSERT_FALSE(open());
  fill(4);
  const std::uint64_t count = (*log)->next_offset();
  for (int again = 0; again < 2; ++again) {
    const Content content = read(*log);
    EXPECT_EQ(content.records.size(), count);
    EXPECT_EQ(content.missing, 0U);
    EXPECT_EQ(read(*log, count / 2).records.front().first, count / 2);
    ASSERT_FALSE(open());
    EXPECT_EQ((*log)->next_offset(), count);
  }
}

TEST_F(Log, is_followed_while_it_grows_and_rolls) {
  ASSERT_FALSE(open());
  const auto reader = log->reader();
  std::uint64_t next = 0;
  for (int i = 0; i < 900; ++i) {
    ASSERT_FALSE(
        commit(*log, std::vector<Sent>(static_cast<std::size_t>(1 + i % 3), Sent{.payload = std::string(700, 'x')})));
    if (i % 7 != 0) continue;
    for (const auto& [offset, sent] : read(*reader).records) EXPECT_EQ(offset, next++);
    ASSERT_EQ(next, (*log)->next_offset()) << segments().size();
  }
  EXPECT_GT(segments().size(), 3U);
}

TEST_F(Log, names_any_number_of_topics) {
  ASSERT_FALSE(open());
  std::vector<Sent> sent;
  for (int i = 0; i < 3000; ++i) {
    sent.push_back({.topic = "topic.number." + std::to_string(i), .principal = "p" + std::to_string(i)});
    ASSERT_FALSE(commit(*log, {sent.back()}));
  }
  ASSERT_FALSE(open());
  const Content content = read(*log);
  ASSERT_EQ(content.records.size(), sent.size());
  for (std::size_t i = 0; i < sent.size(); ++i) EXPECT_EQ(content.records[i].second, sent[i]);
}

TEST_F(Log, seals_a_segment_with_an_index_that_leads_to_records) {
  ASSERT_FALSE(open());
  for (std::int64_t i = 0; segments().size() < 2; ++i) {
    ASSERT_FALSE(commit(*log, {{.payload = std::string(1000, 'x'),
                                .time_ns = Clock::system().wall().time_since_epoch().count() + i * 1'000'000'000}}));
    if (i == 100) {
      ASSERT_FALSE(open());  // which makes what there is of the index again
    }
  }
  const auto file = log->storage().open(segments().front(), Storage::Open::existing_to_read).value();
  const SegmentHeader header = read_header(*file).value();
  Window window(*file);
  FrameScanner scanner(window, header, page_bytes, header.mirror);
  std::vector<IndexEntry> expected;
  std::optional<std::vector<IndexEntry>> index;
  while (scanner.next() == FrameScanner::Found::frame) {
    const FoundFrame& frame = scanner.frame();
    if (is_record(frame.head.kind) &&
        (expected.empty() || expected.back().position * 8 / index_stride != frame.position / index_stride)) {
      expected.push_back({static_cast<std::uint32_t>(frame.position / 8), frame.head.number, frame.head.time});
    }
    if (frame.head.kind != FrameKind::footer) continue;
    const auto footer = decode_footer(frame.body);
    ASSERT_TRUE(footer);
    EXPECT_EQ(footer->footer.end + head_bytes + mark_bytes, frame.position);
    EXPECT_EQ(footer->footer.records, parse_segment_name(segments().back())->base_offset);
    index.emplace();
    for (std::size_t i = 0; i < footer->entries(); ++i) index->push_back(footer->entry(i));
  }
  EXPECT_EQ(index, expected);
  EXPECT_EQ(expected.size(), 3U);
}

// --- What groups do. ---

/// All of it that can be read from `place` on: bodies, those of snapshots with a `!` in front.
std::vector<std::string> groups_from(SimDisk& disk, const GroupsPlace& place) {
  std::vector<std::string> found;
  const auto storage = disk.mount();
  auto names = storage->list().value();
  std::ranges::sort(names);
  for (const std::string& name : names) {
    const auto parsed = parse_segment_name(name);
    if (!parsed || parsed->serial < place.serial || place.serial == 0) continue;
    const auto file = storage->open(name, Storage::Open::existing_to_read).value();
    const auto header = read_header(*file);
    if (!header) continue;
    Window window(*file);
    FrameScanner scanner(window, *header, page_bytes, header->mirror);
    for (auto frame = scanner.next(); frame != FrameScanner::Found::end; frame = scanner.next()) {
      if (frame != FrameScanner::Found::frame) continue;
      const FoundFrame& one = scanner.frame();
      if (parsed->serial == place.serial && one.position < place.position) continue;
      if (one.head.kind != FrameKind::control && one.head.kind != FrameKind::snapshot) continue;
      const std::string body(reinterpret_cast<const char*>(one.body.data()), one.body.size());
      found.push_back(one.head.kind == FrameKind::snapshot ? "!" + body : body);
    }
  }
  return found;
}

TEST_F(Log, says_where_reading_what_groups_have_done_begins) {
  ASSERT_FALSE(open());
  fill(3);
  EXPECT_EQ((*log)->groups_place().serial, 0U);
  ASSERT_FALSE(open());
  EXPECT_EQ((*log)->groups_place().serial, 0U) << "they did nothing";
  ASSERT_FALSE(log->commit_control("made"));
  const GroupsPlace first = (*log)->groups_place();
  EXPECT_EQ(first.serial, 3U);
  fill(4);
  ASSERT_FALSE(log->commit_control("done"));
  for (int again = 0; again < 3; ++again) {
    EXPECT_EQ((*log)->groups_place().serial, first.serial);
    EXPECT_EQ((*log)->groups_place().position, first.position);
    EXPECT_EQ(groups_from(disk, first), (std::vector<std::string>{"made", "done"}));
    ASSERT_FALSE(open());
  }
  // Without its footer a segment says it by its frames.
  fill(5);
  log.reset();
  const std::uint64_t mirror = mirror_of(segment_bytes);
  for (std::uint64_t at = mirror; at < second_header(segment_bytes); at += SimDisk::sector_bytes) {
    disk.zero_sector(segments()[3], at / SimDisk::sector_bytes);
  }
  ASSERT_FALSE(open());
  EXPECT_EQ((*log)->groups_place().serial, first.serial);
  EXPECT_EQ((*log)->groups_place().position, first.position);
}

TEST_F(Log, begins_a_segment_with_what_groups_stand_at) {
  const auto bytes_of = [](std::string_view text) {
    const auto bytes = as_payload(text);
    return std::vector<std::byte>(bytes.begin(), bytes.end());
  };
  // A head, which says that one frame follows, and one of a kind that nobody knows.
  std::vector<std::vector<std::byte>> states = encode_snapshot({}, 4096, {bytes_of("one")});
  ASSERT_EQ(states.size(), 2U);
  const std::string head(reinterpret_cast<const char*>(states[0].data()), states[0].size());
  const auto open_it = [&] {
    log.reset();
    log = std::make_unique<EngineOnDisk>(disk);
    return log->open({.segment_bytes = segment_bytes, .snapshot = [&] { return states; }});
  };
  ASSERT_FALSE(open_it());
  ASSERT_FALSE(log->commit_control("made"));
  fill(2);
  ASSERT_FALSE(log->commit_control("done"));
  const GroupsPlace place = (*log)->groups_place();
  EXPECT_EQ(place.serial, 2U);
  const std::vector<std::string> expected{"!" + head, "!one", "done"};
  EXPECT_EQ(groups_from(disk, place), expected);
  ASSERT_FALSE(open_it());
  EXPECT_EQ((*log)->groups_place().serial, place.serial);
  EXPECT_EQ((*log)->groups_place().position, place.position);
  // A record that needs the segment to itself comes first; reading begins where it did.
  states = {bytes_of(std::string(10'000, 'x'))};
  std::string large;
  for (std::size_t bytes = segment_bytes; !LogEngine::can_hold(bytes, 32, segment_bytes);) large.resize(bytes -= 1000);
  ASSERT_FALSE(commit(*log, {{.payload = large}}));
  EXPECT_EQ(segments().size(), 3U);
  EXPECT_EQ((*log)->groups_place().serial, place.serial);
  ASSERT_FALSE(open_it());
  EXPECT_EQ(groups_from(disk, (*log)->groups_place()), expected);
  EXPECT_EQ(read(*log).missing, 0U);
}

TEST_F(Log, takes_no_part_of_a_snapshot_for_all_of_it) {
  const auto one = as_payload("one");
  const auto states = encode_snapshot({}, 4096, {{one.begin(), one.end()}});
  const auto open_it = [&] {
    log.reset();
    log = std::make_unique<EngineOnDisk>(disk);
    return log->open({.segment_bytes = segment_bytes, .snapshot = [&] { return states; }});
  };
  ASSERT_FALSE(open_it());
  ASSERT_FALSE(log->commit_control("made"));
  fill(2);
  const GroupsPlace place = (*log)->groups_place();
  ASSERT_EQ(place.serial, 2U);
  log.reset();
  const std::uint64_t second =
      place.position + FrameHead{.body_bytes = static_cast<std::uint32_t>(states[0].size())}.frame_bytes();
  disk.flip_bit(segments()[1], (second + head_bytes) * 8);
  ASSERT_FALSE(open_it());
  EXPECT_EQ((*log)->groups_place().serial, 1U) << "what is in front is needed still";
  ASSERT_FALSE(log->commit_control("done"));
  EXPECT_EQ((*log)->groups_place().serial, 2U) << "and is said anew";
  EXPECT_GT((*log)->groups_place().position, place.position);
}

TEST_F(Log, refuses_what_could_not_stand_in_a_segment) {
  ASSERT_FALSE(open());
  EXPECT_EQ(commit(*log, {{.payload = std::string(segment_bytes, 'x')}}), errc::payload_too_large);
  EXPECT_FALSE((*log)->read_only());
  ASSERT_FALSE(commit(*log, {{.payload = std::string(100'000, 'x')}}));
  EXPECT_FALSE(commit(*log, {}));
  EXPECT_EQ((*log)->next_offset(), 1U);
}

// --- LOG-1: ack means durable ---

TEST_F(Log, LOG_1_what_was_committed_survives_any_loss_of_power) {
  ASSERT_FALSE(open());
  std::uint64_t count = 0;
  for (int round = 0; round < 40; ++round) {
    for (int i = 0; i < round % 5 + 1; ++i) {
      ASSERT_FALSE(commit(*log, {{.payload = "p" + std::to_string(count++)}}));
    }
    restart();
    ASSERT_EQ((*log)->next_offset(), count);
    const Content content = read(*log);
    ASSERT_EQ(content.records.size(), count);
    for (std::uint64_t i = 0; i < count; ++i) ASSERT_EQ(content.records[i].second.payload, "p" + std::to_string(i));
  }
}

TEST_F(Log, LOG_1_a_commit_whose_sync_fails_is_not_acknowledged) {
  ASSERT_FALSE(open());
  ASSERT_FALSE(commit(*log, {{.payload = "one"}}));
  disk.fail({.call = Call::sync});
  EXPECT_EQ(commit(*log, {{.payload = "two"}}), sys::io_error);
  EXPECT_EQ(log->segments().committed(), 1U);
  EXPECT_EQ(read(*log).records.size(), 1U) << "readers see what is committed";
}

// --- LOG-5: a failed sync is final ---

TEST_F(Log, LOG_5_after_a_failed_sync_nothing_more_is_taken_until_it_is_opened_again) {
  ASSERT_FALSE(open());
  ASSERT_FALSE(commit(*log, {{.payload = "one"}}));
  disk.fail({.call = Call::sync});
  EXPECT_TRUE(commit(*log, {{.payload = "two"}}));
  EXPECT_TRUE((*log)->read_only());
  const auto before = disk.counters();
  EXPECT_EQ(commit(*log, {{.payload = "three"}}), errc::log_read_only);
  EXPECT_EQ(disk.counters(), before) << "it is not even tried";
  EXPECT_EQ(read(*log).records.size(), 1U);
  // The cache shows what never reached the disk. Opening trusts none of it.
  ASSERT_FALSE(open());
  const std::uint64_t count = (*log)->next_offset();
  ASSERT_FALSE(commit(*log, {{.payload = "four"}}));
  restart();
  EXPECT_EQ((*log)->next_offset(), count + 1);
  const Content content = read(*log);
  EXPECT_EQ(content.missing, 0U);
  ASSERT_EQ(content.records.size(), count + 1);
  EXPECT_EQ(content.records.back().second.payload, "four");
}

// --- LOG-6: a full disk loses nothing ---

TEST_F(Log, LOG_6_a_full_disk_refuses_and_goes_on_when_there_is_room) {
  disk.set_faults({.capacity_bytes = 3 * segment_bytes + 64 * 1024});
  ASSERT_FALSE(open());
  const Sent sent{.payload = std::string(1000, 'x')};
  error_code error;
  while (!(error = commit(*log, {sent}))) ASSERT_LT((*log)->next_offset(), 10'000U);
  EXPECT_EQ(error, sys::no_space_on_device);
  EXPECT_FALSE((*log)->read_only());
  const std::uint64_t count = (*log)->next_offset();
  EXPECT_EQ(commit(*log, {sent}), sys::no_space_on_device);
  ASSERT_FALSE(open()) << "and it can be opened";
  EXPECT_EQ((*log)->next_offset(), count);
  EXPECT_EQ(commit(*log, {sent}), sys::no_space_on_device);
  disk.set_faults({});
  ASSERT_FALSE(commit(*log, {sent}));
  restart();
  EXPECT_EQ((*log)->next_offset(), count + 1);
  const Content content = read(*log);
  EXPECT_EQ(content.records.size(), count + 1);
  EXPECT_EQ(content.missing, 0U);
}

// --- LOG-3: damage stays local ---

TEST_F(Log, LOG_3_damage_costs_the_records_it_touches) {
  ASSERT_FALSE(open());
  fill(3);
  for (int i = 0; i < 100; ++i) ASSERT_FALSE(commit(*log, {{.payload = std::string(1000, 'x')}}));
  const std::uint64_t count = (*log)->next_offset();
  log.reset();
  const auto names = segments();
  for (const std::string& name : names) disk.flip_bit(name, 50'000 * 8);
  ASSERT_FALSE(open());
  const Content content = read(*log);
  EXPECT_EQ(content.missing, 3U);
  EXPECT_EQ(content.records.size(), count - 3);
  EXPECT_EQ((*log)->losses().size(), 1U) << "sealed segments are looked at when they are read";
  EXPECT_EQ((*log)->losses()[0].records, 1U);
  EXPECT_EQ((*log)->losses()[0].verdict, Verdict::lost);
  ASSERT_FALSE(commit(*log, {{.payload = "goes on"}}));
  ASSERT_FALSE(open());
  ASSERT_EQ((*log)->losses().size(), 1U);
  EXPECT_TRUE((*log)->losses()[0].known);
  EXPECT_EQ(read(*log).missing, 3U);
}

TEST_F(Log, LOG_3_nothing_is_lost_by_a_flip_in_a_header_a_name_or_a_footer) {
  ASSERT_FALSE(open());
  fill(2, 20'000);
  const std::uint64_t count = (*log)->next_offset();
  log.reset();
  const auto clean = disk.snapshot();
  const auto names = segments();
  // Headers, then the first batch: a mark, and the names.
  for (std::uint64_t byte = 0; byte < page_bytes + head_bytes + mark_bytes + 200;
       byte = byte == header_bytes - 1 ? page_bytes : byte + 1) {
    const std::string& name = names[byte % 2];
    disk.restore(clean);
    disk.flip_bit(name, byte * 8 + byte / 2 % 8);
    ASSERT_FALSE(open()) << name << " " << byte;
    const Content content = read(*log);
    const bool in_record = byte >= page_bytes + 2 * (head_bytes + mark_bytes);
    EXPECT_LE(content.missing, in_record ? 1U : 0U) << name << " " << byte;
    EXPECT_EQ(content.records.size() + content.missing, count) << name << " " << byte;
    log.reset();
  }
}

TEST_F(Log, LOG_3_a_missing_segment_is_a_gap) {
  ASSERT_FALSE(open());
  fill(4);
  const std::uint64_t count = (*log)->next_offset();
  log.reset();
  const auto names = segments();
  disk.remove_file(names[1]);
  ASSERT_FALSE(open());
  const Content content = read(*log);
  const auto gone = parse_segment_name(names[2])->base_offset - parse_segment_name(names[1])->base_offset;
  EXPECT_EQ(content.missing, gone);
  EXPECT_EQ(content.records.size(), count - gone);
}

TEST_F(Log, LOG_3_segments_that_changed_names_are_not_read_as_each_other) {
  ASSERT_FALSE(open());
  fill(4);
  const std::uint64_t count = (*log)->next_offset();
  log.reset();
  const auto names = segments();
  disk.swap_files(names[0], names[2]);
  ASSERT_FALSE(open());
  const Content content = read(*log);
  const auto base = [&](std::size_t i) { return parse_segment_name(names[i])->base_offset; };
  const std::uint64_t gone = base(1) - base(0) + base(3) - base(2);
  EXPECT_EQ(content.missing, gone);
  EXPECT_EQ(content.records.size(), count - gone);
}

TEST_F(Log, whose_last_segment_has_no_header_goes_on_behind_it) {
  ASSERT_FALSE(open());
  fill(2);
  const std::uint64_t count = (*log)->next_offset();
  log.reset();
  const std::string last = segments().back();
  disk.zero_sector(last, 0);
  disk.zero_sector(last, second_header(segment_bytes) / sector_bytes);
  ASSERT_FALSE(open());
  EXPECT_GE((*log)->next_offset(), count) << "offsets that somebody may know are not given again";
  ASSERT_EQ((*log)->losses().size(), 1U);
  EXPECT_FALSE((*log)->losses()[0].counted);
  ASSERT_FALSE(commit(*log, {{.payload = "goes on"}}));
  EXPECT_EQ(read(*log).records.back().second.payload, "goes on");
}

// --- Simulation ---

/// One seed: rounds of commits, of which each ends with the power going at some call, or with a failed call. After
/// each, what was acknowledged is there, nothing else is but what was asked for, and the log goes on.
void simulate(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  SimDisk disk(seed);
  std::vector<std::optional<Sent>> acknowledged;  // nothing where a record is known to be missing
  std::vector<Sent> in_doubt;
  for (int round = 0; round < 8; ++round) {
    Faults faults;
    if (random() % 3 == 0) faults.short_reads = faults.short_writes = 0.3;
    disk.set_faults(faults);
    // A healthy opening first, so that each round makes progress; every fourth may be struck while it opens.
    const bool early = random() % 4 == 0;
    const std::uint64_t strike = random() % 40;
    if (early) disk.power_off_after(random() % 12);
    auto log = std::make_unique<EngineOnDisk>(disk);
    if (const error_code failed = log->open({.segment_bytes = segment_bytes})) {
      ASSERT_TRUE(early) << failed.message();
    } else {
      if (!early && strike < 30) disk.power_off_after(strike);
      if (!early && strike >= 36)
        disk.fail({.call = random() % 2 == 0 ? Call::sync : Call::write, .nth = 1 + random() % 5});
      const Content content = disk.power_is_off() ? Content() : read(*log);
      if (!disk.power_is_off()) {
        // A write that stopped within the very last word of a record leaves nothing that would prove it torn.
        std::uint64_t unproven = 0;
        for (const LogLoss& loss : (*log)->losses()) {
          ASSERT_NE(loss.verdict, Verdict::lost) << "LOG-4";
          if (loss.verdict == Verdict::unproven && loss.first_offset >= acknowledged.size()) unproven += loss.records;
        }
        const std::uint64_t count = (*log)->next_offset();
        ASSERT_GE(count, acknowledged.size()) << "LOG-1";
        ASSERT_LE(count, acknowledged.size() + in_doubt.size());
        std::vector<std::optional<Sent>> found(count);
        for (const auto& [offset, sent] : content.records) found.at(offset) = sent;
        for (std::size_t i = 0; i < acknowledged.size(); ++i) {
          ASSERT_EQ(found[i], acknowledged[i]) << "LOG-2: offset " << i;
        }
        std::uint64_t holes = 0;
        for (std::size_t i = acknowledged.size(); i < count; ++i) {
          if (!found[i]) {
            ++holes;
          } else {
            ASSERT_EQ(found[i], in_doubt[i - acknowledged.size()]) << "offset " << i;
          }
        }
        ASSERT_EQ(holes, unproven) << "LOG-4: what is missing is told";
        ASSERT_LE(holes, 1U);
        ASSERT_EQ(content.missing + content.records.size(), count);
        acknowledged = std::move(found);  // what was in doubt and is there is committed by now
        in_doubt.clear();
        for (int commits = 0; commits < 30; ++commits) {
          std::vector<Sent> batch(1 + random() % 4);
          for (Sent& one : batch) {
            one.topic = "topic." + std::to_string(random() % 5);
            one.principal = random() % 2 == 0 ? "" : "agent." + std::to_string(random() % 5);
            one.key = random() % 3 == 0 ? "key" : "";
            one.payload =
                std::string(random() % (random() % 8 == 0 ? 30'000 : 300), static_cast<char>('a' + random() % 26));
          }
          const error_code error = commit(*log, batch);
          if (!error) {
            acknowledged.insert(acknowledged.end(), batch.begin(), batch.end());
            continue;
          }
          in_doubt = batch;
          break;
        }
      }
    }
    const bool killed = random() % 5 == 0;
    log.reset();
    if (killed) {
      disk.kill();
    } else {
      disk.crash({.stale_sectors = random() % 2 == 0});
    }
  }
}

TEST(LogSimulation, LOG_1_to_LOG_5_hold_after_each_crash) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    simulate(seed);
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace bus::detail
