// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A group reads a log as a queue: each message goes to one worker, and comes again until somebody acks it. What nobody
// can work on ends up among the dead letters.
#include <bus/persistence/group.hpp>
#include <bus/persistence/log.hpp>

#include <filesystem>
#include <iostream>
#include <stdexcept>
#include <string>

namespace {

void work_on(const bus::RecordView& record) {
  if (record.text() == "poison") throw std::runtime_error("cannot be parsed");
  std::cout << "done: " << record.text() << '\n';
}

}  // namespace

int main() {
  const auto directory = std::filesystem::temp_directory_path() / "busbar-example-worker";
  std::filesystem::remove_all(directory);
  const bus::LogOptions options{.segment_bytes = std::uint64_t{1} << 20, .spare_segments = 0};
  const bus::GroupOptions indexers{.name = "indexers", .start = bus::GroupStart::oldest, .attempts = 2, .backoff = {}};

  {
    bus::Log log = bus::Log::open(directory, options).value();
    for (const std::string text : {"one", "poison", "two", "three"}) {
      if (!log.append({.topic = "doc.v1.new", .payload = bus::as_payload(text)})) return 1;
    }
    bus::Group group = bus::Group::open(log, indexers).value();
    bus::Member worker = group.join().value();
    auto received = worker.receive(1).value();
    work_on(received.leases.at(0).record());
    received.leases.at(0).ack();
    // Here the process ends: all but the first are still owed.
  }

  bus::Log log = bus::Log::open(directory, options).value();
  bus::Group group = bus::Group::open(log, indexers).value();
  bus::Member worker = group.join().value();
  for (;;) {
    auto received = worker.try_receive(16);
    if (!received) return 1;
    if (received->leases.empty()) break;
    for (bus::Lease& lease : received->leases) {
      try {
        work_on(lease.record());
        lease.ack();
      } catch (const std::exception& error) {
        lease.nack({}, error.what());  // without this line it would be a nack too
      }
    }
  }
  if (group.sync()) return 1;

  bus::LogReader dead = log.read({.patterns = {"busbar.dead.indexers"}}).value();
  if (dead.next()->outcome() != bus::ReadOutcome::record) return 1;
  dead.record().for_each_header([](const bus::Header& header) {
    if (header.name == bus::dead_last_error_header) std::cout << "dead: it " << header.value << '\n';
  });
  const bus::GroupStats stats = group.stats();
  std::cout << stats.acked << " acked here, " << stats.redelivered << " given again\n";
  log.close();
  std::filesystem::remove_all(directory);
  return stats.acked == 2 ? 0 : 1;
}
