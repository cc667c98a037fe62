// SPDX-License-Identifier: MIT OR Apache-2.0
//
// log_bench: what durable appends, reading back, and opening a log cost.
//
// D1, D2 and D4 stand beside "raw", the same bytes written and synced, or read and summed, with no library, by turns
// with ours in one run. D1 to D4 do what the peers do, with the same payloads. Without --big the log of 8 GiB in D5 is
// left out.
#include "log_bench.hpp"

#include <barrier>
#include <cstdio>
#include <cstring>
#include <memory>
#include <thread>

namespace bench {
namespace {

constexpr std::size_t frame_head = 24;

/// What a commit of so many usual records writes: their frames, a mark, and the end of the batch.
std::size_t commit_bytes(double records) {
  constexpr std::size_t mark = 56;
  constexpr std::size_t end = 8;
  return static_cast<std::size_t>(records * (usual_payload + frame_head)) + mark + end;
}

std::uint64_t sum_of(std::span<const std::byte> bytes) {
  std::uint64_t sum = 0;
  for (std::size_t at = 0; at + 8 <= bytes.size(); at += 8) {
    std::uint64_t word;
    std::memcpy(&word, bytes.data() + at, sizeof word);
    sum += word;
  }
  return sum;
}

/// Several that append to one log.
template <Durability D>
class Crew {
 public:
  Crew(bus::Log& log, const Load& load) {
    for (int i = 0; i < load.threads; ++i) members_.emplace_back(log, load, i);
  }

  void run_for(std::uint64_t ns) {
    if (members_.size() == 1) {
      const std::uint64_t begin = now_ns();
      members_[0].run_until(begin + ns);
      ns_ += now_ns() - begin;
    } else {
      std::barrier start(static_cast<std::ptrdiff_t>(members_.size()) + 1);
      std::uint64_t end = 0;
      std::vector<std::jthread> threads;
      for (auto& member : members_) {
        threads.emplace_back([&start, &end, &member] {
          start.arrive_and_wait();
          member.run_until(end);
        });
      }
      const std::uint64_t begin = now_ns();
      end = begin + ns;
      start.arrive_and_wait();
      threads.clear();
      ns_ += now_ns() - begin;
    }
    for (const auto& member : members_) member.check_sound();
  }

  std::uint64_t messages() const {
    std::uint64_t sum = 0;
    for (const auto& member : members_) sum += member.messages();
    return sum;
  }
  double rate() const { return per_second(messages(), ns_); }
  std::vector<std::uint64_t> latencies() const {
    std::vector<std::uint64_t> all;
    for (const auto& member : members_) all.insert(all.end(), member.latencies().begin(), member.latencies().end());
    return all;
  }

 private:
  std::vector<Appender<D>> members_;
  std::uint64_t ns_ = 0;
};

/// Whether the log holds what was acknowledged, and nothing else.
bool accounted(const bus::Log& log, std::uint64_t messages) {
  return log.next_offset() == messages && log.losses().records() == 0;
}

/// The limit: writes at rising places of a file that was written before, each synced.
class RawWriter {
 public:
  explicit RawWriter(const fs::path& path) : file_(path, O_RDWR | O_CREAT | O_TRUNC), bytes_(1 << 20, std::byte{'x'}) {
    for (std::uint64_t at = 0; at < file_bytes; at += bytes_.size()) file_.write(bytes_, at);
    file_.sync();
  }

  /// Commits of `records` each, which need not be a whole number.
  void run_for(std::uint64_t ns, double records) {
    const std::size_t bytes = commit_bytes(records);
    if (bytes > bytes_.size()) bytes_.resize(bytes, std::byte{'x'});
    const std::uint64_t begin = now_ns();
    std::uint64_t last = begin;
    while (last - begin < ns) {
      if (at_ + bytes > file_bytes) at_ = 0;
      file_.write(std::span(bytes_).first(bytes), at_);
      file_.sync();
      at_ += bytes;
      messages_ += records;
      const std::uint64_t now = now_ns();
      latencies_.push_back(now - last);
      last = now;
    }
    ns_ += last - begin;
  }

  double rate() const { return messages_ / static_cast<double>(ns_) * 1e9; }
  std::vector<std::uint64_t> latencies() const { return latencies_; }

 private:
  static constexpr std::uint64_t file_bytes = std::uint64_t{64} << 20;
  File file_;
  std::vector<std::byte> bytes_;
  std::uint64_t at_ = 0;
  double messages_ = 0;
  std::uint64_t ns_ = 0;
  std::vector<std::uint64_t> latencies_;
};

/// Synced appends beside raw commits of the batch that they reach.
bool beside_raw(const Options& options, const char* id, const Load& load) {
  const Scratch scratch(options.directory);
  bus::Log log = open_log(scratch.folder("log"), load.reused, options);
  const bus::LogStats before = log.stats();
  Crew<Durability::synced> crew(log, load);
  RawWriter raw(scratch.path() / "raw");
  double batch = 1;
  in_slices(options, [&](std::uint64_t ns) {
    crew.run_for(ns);
    const bus::LogStats stats = log.stats();
    if (const std::uint64_t commits = stats.commits - before.commits; commits != 0) {
      batch = static_cast<double>(stats.records - before.records) / static_cast<double>(commits);
    }
    raw.run_for(ns, batch);
  });

  const bool sound = accounted(log, before.next_offset + crew.messages());
  const auto line = [&](auto&&... peer) {
    return Line(id, peer...)
        .param("threads", load.threads)
        .param("in_flight", load.threads * load.in_flight)
        .param("segments", load.reused ? "reused" : "fresh");
  };
  Line ours = line();
  ours.metric("msgs_per_s", crew.rate()).metric("batch", batch);
  std::vector<std::uint64_t> latencies = crew.latencies();
  if (!latencies.empty()) ours.latencies(latencies);
  ours.count("accounted", sound).print(options);
  latencies = raw.latencies();
  line("raw").metric("msgs_per_s", raw.rate()).metric("batch", batch).latencies(latencies).print(options);
  return sound;
}

// --- D1, D2: synced ---

bool d1(const Options& options) { return beside_raw(options, "D1", {}); }

bool d2(const Options& options) {
  bool sound = true;
  for (const Load& load :
       {Load{.in_flight = 64}, Load{.threads = 64}, Load{.in_flight = 1024}, Load{.in_flight = 1024, .reused = true}}) {
    sound &= beside_raw(options, "D2", load);
  }
  return sound;
}

// --- D3: in the page cache ---

bool d3(const Options& options) {
  bool sound = true;
  for (const Load& load : {Load{}, Load{.in_flight = 4096}, Load{.threads = 4, .in_flight = 4096}}) {
    const Scratch scratch(options.directory);
    bus::Log log = bus::Log::open(scratch.folder("log")).value();
    Crew<Durability::written> crew(log, load);
    crew.run_for(to_ns(options.seconds));
    const bool whole = accounted(log, crew.messages());
    Line line("D3");
    line.param("threads", load.threads).param("ahead", load.in_flight).metric("msgs_per_s", crew.rate());
    const bus::LogStats stats = log.stats();
    line.metric("batch", static_cast<double>(stats.records) / static_cast<double>(stats.commits));
    std::vector<std::uint64_t> latencies = crew.latencies();
    if (!latencies.empty()) line.latencies(latencies);
    line.count("accounted", whole).print(options);
    sound &= whole;
  }
  return sound;
}

// --- D4: reading back ---

struct Scan {
  std::uint64_t records = 0;
  std::uint64_t bytes = 0;
  std::uint64_t sum = 0;
};

Scan scan_log(bus::Log& log) {
  Scan scan;
  bus::LogReader reader = log.read().value();
  while (reader.next().value().outcome() == bus::ReadOutcome::record) {
    const std::span<const std::byte> payload = reader.record().payload();
    if (payload.size() != usual_payload) fail("a record of another length");
    scan.sum += sum_of(payload);
    scan.bytes += payload.size();
    ++scan.records;
  }
  return scan;
}

/// All that is written in the log's files.
Scan scan_files(const fs::path& directory, std::span<const bus::LogSnapshot::Segment> segments,
                std::vector<std::byte>& block) {
  Scan scan;
  for (const auto& segment : segments) {
    File file(directory / segment.name, O_RDONLY);
    for (std::uint64_t at = 0; at < segment.used_bytes;) {
      const auto bytes = static_cast<std::size_t>(std::min<std::uint64_t>(block.size(), segment.used_bytes - at));
      const auto part = std::span(block).first(bytes);
      file.read(part, at);
      scan.sum += sum_of(part);
      at += bytes;
    }
    scan.bytes += segment.used_bytes;
    scan.records += segment.records;
  }
  return scan;
}

bool d4(const Options& options) {
  const std::uint64_t records = brief(options) ? 20'000 : 1'000'000;
  constexpr int passes = 3;
  const Scratch scratch(options.directory);
  const fs::path directory = scratch.folder("log");
  bus::Log log = bus::Log::open(directory).value();
  fill(log, records);
  Payload payload(usual_payload);
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < records; ++i) sum += sum_of(payload.of(i));

  const auto segments = bus::LogSnapshot::open(directory).value().segments().value();
  std::vector<std::byte> block(std::size_t{512} << 10);
  Scan ours;
  Scan raw;
  std::vector<double> our_ns;
  std::vector<double> raw_ns;
  for (int pass = 0; pass <= passes; ++pass) {
    const std::uint64_t begin = now_ns();
    ours = scan_log(log);
    const std::uint64_t middle = now_ns();
    raw = scan_files(directory, segments, block);
    keep(raw.sum);
    const std::uint64_t end = now_ns();
    if (pass == 0) continue;  // it warms the cache
    our_ns.push_back(static_cast<double>(middle - begin));
    raw_ns.push_back(static_cast<double>(end - middle));
  }

  const bool sound = ours.records == records && ours.sum == sum && raw.records == records;
  const auto line = [&](const Scan& scan, const std::vector<double>& ns, auto&&... peer) {
    const double seconds = median(ns) / 1e9;
    return Line("D4", peer...)
        .metric("msgs_per_s", static_cast<double>(scan.records) / seconds)
        .metric("bytes_per_s", static_cast<double>(scan.bytes) / seconds);
  };
  line(ours, our_ns).count("accounted", sound).print(options);
  line(raw, raw_ns, "raw").print(options);
  return sound;
}

// --- D5, D6: opening ---

bool d5(const Options& options) {
  const Scratch scratch(options.directory);
  const fs::path directory = scratch.folder("log");
  std::uint64_t records = 0;
  bool sound = true;
  for (const int mib : {64, 1024, 8192}) {
    if ((mib > 64 && brief(options)) || (mib > 1024 && !options.big)) break;
    const std::uint64_t wanted = (static_cast<std::uint64_t>(mib) << 20) / (usual_payload + frame_head);
    const std::uint64_t bytes = (wanted - records) * (usual_payload + frame_head);
    if (fs::space(directory).available < bytes + bytes / 2) {
      std::fprintf(stderr, "D5: no room for %d MiB, which is left out\n", mib);
      break;
    }
    {
      bus::Log log = bus::Log::open(directory).value();
      fill(log, wanted - records);
      check(log.close());
    }
    records = wanted;
    std::vector<double> times;
    bool whole = true;
    for (int i = 0; i < 5; ++i) {
      const std::uint64_t begin = now_ns();
      bus::Log log = bus::Log::open(directory).value();
      times.push_back(static_cast<double>(now_ns() - begin));
      whole &= accounted(log, records);
      check(log.close());
    }
    Line("D5").param("mib", mib).metric("ns_per_op", median(times)).count("accounted", whole).print(options);
    sound &= whole;
  }
  return sound;
}

/// What a crash leaves of a log: its files as they are, on the disk. Without what is unfinished, for the log is alive
/// and may rename that meanwhile.
void copy_crashed(const fs::path& from, const fs::path& to) {
  for (const auto& entry : fs::directory_iterator(from)) {
    const fs::path& path = entry.path();
    if (!entry.is_regular_file() || path.filename() == "LOCK" || path.extension() == ".unfinished") continue;
    const fs::path copy = to / path.filename();
    fs::copy_file(path, copy);
    File(copy, O_RDWR).sync();  // or the opening would wait for it
  }
}

bool d6(const Options& options) {
  const Scratch scratch(options.directory);
  const fs::path directory = scratch.folder("log");
  bus::LogOptions log_options;
  log_options.segment_bytes = std::uint64_t{64} << 20;
  bus::Log log = bus::Log::open(directory, log_options).value();
  bus::LogStats stats;
  do {
    fill(log, 1000);
    stats = log.stats();
  } while (stats.record_bytes + stats.frame_bytes < log_options.segment_bytes / 16 * 15);
  if (stats.segments != 1) fail("D6: there is more than the active segment");

  std::vector<double> times;
  bool sound = true;
  for (int i = 0; i < 5; ++i) {
    const fs::path crashed = scratch.folder("crashed");
    copy_crashed(directory, crashed);
    {
      const std::uint64_t begin = now_ns();
      bus::Log opened = bus::Log::open(crashed, log_options).value();
      times.push_back(static_cast<double>(now_ns() - begin));
      sound &= accounted(opened, stats.records);
    }
    fs::remove_all(crashed);
  }
  const double ns = median(times);
  Line("D6")
      .metric("bytes_per_s", static_cast<double>(stats.record_bytes + stats.frame_bytes) / ns * 1e9)
      .metric("ns_per_op", ns)
      .count("accounted", sound)
      .print(options);
  return sound;
}

// --- D7: bytes written ---

std::uint64_t written_bytes(const bus::LogStats& stats) {
  return stats.record_bytes + stats.frame_bytes + stats.fill_bytes + stats.repair_bytes;
}

bool d7(const Options& options) {
  for (const int payload_bytes : {256, 4096}) {
    const Scratch scratch(options.directory);
    bus::LogOptions log_options;
    log_options.segment_bytes = std::uint64_t{brief(options) ? 1U : 8U} << 20;
    log_options.retention.bytes = 4 * log_options.segment_bytes;
    bus::Log log = bus::Log::open(scratch.folder("log"), log_options).value();
    Appender<Durability::synced> appender(log,
                                          {.in_flight = 64, .payload_bytes = static_cast<std::size_t>(payload_bytes)});

    // From one roll to another, so that what each costs is counted with what it serves.
    const auto after_roll = [&] {
      const std::uint64_t rolls = log.stats().rolls;
      bus::LogStats stats;
      do {
        appender.submit(64);
        appender.check_sound();
        stats = log.stats();
      } while (stats.rolls == rolls);
      return stats;
    };
    bus::LogStats begin;
    do {
      begin = after_roll();
      if (begin.rolls >= 500) fail("D7: segments are not used again");
    } while (begin.reused_segments < 6);  // each of the files has been used before
    const std::uint64_t start = now_ns();
    bus::LogStats end;
    do {
      end = after_roll();
    } while (now_ns() - start < to_ns(options.seconds) || end.rolls < begin.rolls + 4);
    const std::uint64_t ns = now_ns() - start;
    appender.drain();
    appender.check_sound();

    const std::uint64_t payload = end.payload_bytes - begin.payload_bytes;
    Line("D7")
        .param("payload", payload_bytes)
        .metric("ratio", static_cast<double>(written_bytes(end) - written_bytes(begin)) / static_cast<double>(payload))
        .metric("msgs_per_s", per_second(end.records - begin.records, ns))
        .metric("batch",
                static_cast<double>(end.records - begin.records) / static_cast<double>(end.commits - begin.commits))
        .count("rolls", end.rolls - begin.rolls)
        .count("reused", end.reused_segments - begin.reused_segments)
        .count("fill_bytes", end.fill_bytes - begin.fill_bytes)
        .print(options);
  }
  return true;
}

// --- D9: topics ---

bool d9(const Options& options) {
  struct Contender {
    Contender(const fs::path& directory, int number)
        : topics(number), log(bus::Log::open(directory).value()), crew(log, {.in_flight = 64, .topics = number}) {}
    int topics;
    bus::Log log;
    Crew<Durability::synced> crew;
  };
  const Scratch scratch(options.directory);
  std::vector<std::unique_ptr<Contender>> contenders;
  for (const int topics : {1, 10, 100, 1000}) {
    contenders.push_back(std::make_unique<Contender>(scratch.folder(std::to_string(topics)), topics));
  }
  in_slices(options, [&](std::uint64_t ns) {
    for (auto& one : contenders) one->crew.run_for(ns);
  });
  bool sound = true;
  for (auto& one : contenders) {
    const bool whole = accounted(one->log, one->crew.messages());
    Line("D9")
        .param("topics", one->topics)
        .metric("msgs_per_s", one->crew.rate())
        .count("accounted", whole)
        .print(options);
    sound &= whole;
  }
  return sound;
}

/// A log that fails ends its workload, not the program.
template <bool (*Run)(const Options&)>
bool reported(const Options& options) {
  try {
    return Run(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return false;
  }
}

constexpr Workload workloads[] = {
    {"D1", "one writer that waits for each synced append", reported<d1>},
    {"D2", "synced appends, many in flight", reported<d2>},
    {"D3", "appends that the page cache holds", reported<d3>},
    {"D4", "reading a million records back", reported<d4>},
    {"D5", "opening after a clean close", reported<d5>},
    {"D6", "opening after a crash", reported<d6>},
    {"D7", "bytes written for a byte of payload", reported<d7>},
    {"D8", "leases and acks of groups", reported<d8>},
    {"D9", "synced appends to many topics", reported<d9>},
    {"D10", "from a synced append to its delivery by a group", reported<d10>},
};

}  // namespace
}  // namespace bench

int main(int argc, char** argv) { return bench::run_workloads(argc, argv, bench::workloads); }
