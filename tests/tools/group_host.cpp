// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A program for group_crash_test.py to kill: threads that append, and threads that work on one group of the same log.
//
//   group_host DIRECTORY INPUT MODE SEED STAGE
//
// It is told on its input what to append, a line for each message: its number, and its fate, which is what workers do
// with it. The event of a message is that line of INPUT, taken round and round. STAGE is `run`, to be killed; `drain`,
// which ends when nothing is left to do and then tells what is in the log; or `check`, which looks whether anything is
// given out, and changes nothing.
//
// What it has done it says on its output, one write for each, so that a line is there whole or not at all:
//
//   appended OFFSET NUMBER     after the receipt
//   leased OFFSET ATTEMPT      before anything else is done with it
//   late OFFSET ATTEMPT        that was said when the lease had run out: another may have been told first
//   releasing OFFSET           before it is
//   crash OFFSET               right before it ends itself
//   acked OFFSET, rejected OFFSET, dead OFFSET    when what became of it is committed
//   record OFFSET NUMBER FATE  what is in the log
//   letter OFFSET NUMBER ATTEMPTS whole|changed REASON    a dead letter of the record at OFFSET
//   drained
//   fault WHAT                 that should not be
#include "log_record.hpp"

#include <bus/persistence/group.hpp>
#include <bus/persistence/log.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include <unistd.h>

namespace {

using namespace std::chrono_literals;

constexpr std::size_t producers = 3;
constexpr std::size_t workers = 4;
constexpr std::size_t most_leases = 8;  // of one receive
constexpr std::uint64_t most_behind = 500;  // messages; more are not appended then

/// Threads: any. Lines are short enough to be written as a whole.
void say(const std::string& lines) {
  if (lines.empty()) return;
  if (::write(STDOUT_FILENO, lines.data(), lines.size()) != static_cast<::ssize_t>(lines.size())) std::_Exit(1);
}

[[noreturn]] void fault(const std::string& what) {
  say("fault " + what + "\n");
  std::_Exit(1);
}

std::string line_of(std::string_view word, std::uint64_t offset, std::uint64_t more) {
  return std::string(word) + ' ' + std::to_string(offset) + ' ' + std::to_string(more) + '\n';
}
std::string line_of(std::string_view word, std::uint64_t offset) {
  return std::string(word) + ' ' + std::to_string(offset) + '\n';
}

std::string header_of(const bus::RecordView& record, std::string_view name) {
  std::string value;
  record.for_each_header([&](const bus::Header& header) {
    if (header.name == name) value = header.value;
  });
  return value;
}

struct Job {
  std::uint64_t number = 0;
  std::string fate;
};

std::vector<Job> read_jobs() {
  std::vector<Job> jobs;
  for (Job job; std::cin >> job.number >> job.fate;) jobs.push_back(job);
  return jobs;
}

std::vector<std::string> read_lines(const char* path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    if (!busbar::is_blank(line)) lines.push_back(line);
  }
  if (lines.empty()) throw std::runtime_error(std::string("no events in ") + path);
  return lines;
}

class Host {
 public:
  Host(const std::string& directory, const char* input, bus::GroupMode mode, std::uint32_t seed)
      : lines_(read_lines(input)),
        seed_(seed),
        log_(bus::Log::open(directory, {.segment_bytes = std::uint64_t{256} << 10,
                                        .uncommitted_bytes = std::size_t{1} << 20,
                                        .spare_segments = 0})
                 .value()),
        group_(bus::Group::open(log_, {.name = "crew",
                                       .mode = mode,
                                       .start = bus::GroupStart::oldest,
                                       .visibility = 1s,
                                       .attempts = 5,
                                       .backoff = {5ms, 10ms, 20ms}})
                   .value()) {}

  /// Returns: when all is done, or never.
  void run(bool drain) {
    jobs_ = read_jobs();
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < producers; ++i) threads.emplace_back([this] { produce(); });
    for (std::size_t i = 0; i < workers; ++i) {
      threads.emplace_back([this, i] { work(static_cast<std::uint32_t>(i)); });
    }
    if (!drain) threads.back().join();  // never: it is killed
    for (std::uint64_t moves = moves_; !is_drained(); moves = moves_) {
      // Whoever has a message moves, or will get one. What is still on its way to the dead letters, or not read yet,
      // arrives by itself.
      const bus::GroupStats stats = group_.stats();
      const bool somebody_moves = producing_.load() != 0 || stats.ready + stats.leased + stats.delayed != 0;
      somebody_moves ? moves_.wait(moves) : std::this_thread::yield();
    }
    if (const bus::error_code error = group_.sync()) fault("sync: " + error.message());
    tell_records();
    if (const bus::error_code error = log_.close()) fault("close: " + error.message());
    threads.clear();
    say("drained\n");
  }

  void check() {
    bus::Member member = group_.join().value();
    const auto received = member.try_receive(most_leases);
    if (!received) fault("receive: " + received.error().message());
    for (const bus::Lease& lease : received->leases) say(line_of("leased", lease.offset(), lease.attempt()));
    say("drained\n");
  }

 private:
  void produce() {
    for (std::size_t i = next_job_.fetch_add(1); i < jobs_.size(); i = next_job_.fetch_add(1)) {
      for (std::uint64_t moves = moves_; group_.stats().ready > most_behind; moves = moves_) moves_.wait(moves);
      const Job& job = jobs_[i];
      auto parsed = busbar::parse_record(lines_[job.number % lines_.size()]);
      if (std::holds_alternative<busbar::LineFault>(parsed)) fault("bad input");
      bus::Record record = std::get<busbar::RecordLine>(parsed).record;
      const std::string number = std::to_string(job.number);
      const std::string key = std::string(record.principal.view()) + '/' + std::to_string(job.number % 4);
      const bus::Header headers[] = {{"number", number}, {"fate", job.fate}};
      record.key = key;
      record.headers = headers;
      const auto receipt = log_.append(record);
      if (!receipt) fault("append: " + receipt.error().message());
      say(line_of("appended", receipt->offset(), job.number));
    }
    --producing_;
    moved();
  }

  bool is_drained() { return producing_.load() == 0 && group_.stats().floor == log_.next_offset(); }

  /// Tells who waits that something may be another way now.
  void moved() {
    ++moves_;
    moves_.notify_all();
  }

  void work(std::uint32_t worker) {
    std::minstd_rand chance(seed_ * 31 + worker + 1);
    bus::Member member = group_.join().value();
    for (;;) {
      auto received = member.receive(1 + chance() % most_leases);
      if (!received && received.error() == bus::errc::closed) return;
      if (!received) fault("receive: " + received.error().message());
      if (received->missed != 0) fault(std::to_string(received->missed) + " missed");
      moved();
      std::string said;
      for (const bus::Lease& lease : received->leases) said += line_of("leased", lease.offset(), lease.attempt());
      say(said);
      said.clear();
      const auto now = std::chrono::steady_clock::now();
      for (const bus::Lease& lease : received->leases) {
        if (now >= lease.deadline()) said += line_of("late", lease.offset(), lease.attempt());
      }
      say(said);
      std::string outcomes;
      for (bus::Lease& lease : received->leases) outcomes += handle(lease, chance);
      received->leases.clear();
      if (!outcomes.empty()) {
        if (const bus::error_code error = group_.sync()) fault("sync: " + error.message());
        say(outcomes);
      }
      moved();
    }
  }

  /// Returns: what to say when it is committed.
  std::string handle(bus::Lease& lease, std::minstd_rand& chance) {
    const std::uint64_t offset = lease.offset();
    const std::string fate = header_of(lease.record(), "fate");
    const bool is_first = lease.attempt() == 1;
    if (fate == "crash") {
      say(line_of("crash", offset));
      std::abort();
    }
    if (fate == "reject") return said_of(offset, lease.reject("it is poison"));
    if (fate == "fail" || (fate == "nack" && is_first)) return said_of(offset, lease.nack({}, "it failed"));
    if (fate == "drop" && is_first) {
      const bus::Lease dropped = std::move(lease);
      return {};
    }
    if (fate == "slow" && is_first) {
      std::this_thread::sleep_until(lease.deadline() + 1ms);
      if (lease.ack() == bus::LeaseOutcome::done) fault("a lease was acked after its time");
      return {};
    }
    if (fate == "release" && chance() % 2 == 0) {
      say(line_of("releasing", offset));
      return said_of(offset, lease.release());
    }
    return lease.ack() == bus::LeaseOutcome::done ? line_of("acked", offset) : std::string();
  }

  static std::string said_of(std::uint64_t offset, bus::LeaseOutcome outcome) {
    if (outcome == bus::LeaseOutcome::unlogged) fault("an outcome was not taken");
    return outcome == bus::LeaseOutcome::dead ? line_of("dead", offset) : std::string();
  }

  void tell_records() {
    bus::LogReader reader = log_.read().value();
    std::map<std::uint64_t, std::string> payloads;  // by offset
    for (;;) {
      const auto found = reader.next();
      if (!found) fault("read: " + found.error().message());
      if (found->outcome() == bus::ReadOutcome::end) return;
      if (found->outcome() != bus::ReadOutcome::record) fault("read: " + std::string(to_string(found->outcome())));
      const bus::RecordView& record = reader.record();
      const std::string number = header_of(record, "number");
      if (!record.topic().starts_with(bus::dead_prefix)) {
        payloads[record.offset()] = record.text();
        say("record " + std::to_string(record.offset()) + ' ' + number + ' ' + header_of(record, "fate") + '\n');
        continue;
      }
      const std::string origin = header_of(record, bus::dead_offset_header);
      const auto payload = payloads.find(std::stoull(origin));
      const bool is_whole = payload != payloads.end() && payload->second == record.text();
      say("letter " + origin + ' ' + number + ' ' + header_of(record, bus::dead_attempts_header) +
          (is_whole ? " whole " : " changed ") + header_of(record, bus::dead_reason_header) + '\n');
    }
  }

  const std::vector<std::string> lines_;
  const std::uint32_t seed_;
  bus::Log log_;
  bus::Group group_;
  std::vector<Job> jobs_;
  std::atomic<std::size_t> next_job_{0};
  std::atomic<std::size_t> producing_{producers};
  std::atomic<std::uint64_t> moves_{0};
};

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 6) throw std::runtime_error("group_host DIRECTORY INPUT MODE SEED STAGE");
  const std::string_view mode = argv[3];
  const std::string_view stage = argv[5];
  Host host(argv[1], argv[2], mode == "key_ordered" ? bus::GroupMode::key_ordered : bus::GroupMode::competing,
            static_cast<std::uint32_t>(std::stoul(argv[4])));
  if (stage == "check") {
    host.check();
  } else {
    host.run(stage == "drain");
  }
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
