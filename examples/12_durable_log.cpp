// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A log keeps records through crashes. A receipt says that a record is on the disk; a cursor, how far somebody has
// read.
#include <bus/persistence/log.hpp>

#include <filesystem>
#include <iostream>
#include <string>

int main() {
  const auto directory = std::filesystem::temp_directory_path() / "busbar-example-log";
  std::filesystem::remove_all(directory);
  const bus::LogOptions options{.segment_bytes = std::uint64_t{1} << 20, .spare_segments = 0};

  std::string place;
  {
    auto log = bus::Log::open(directory, options);
    if (!log) {
      std::cerr << "cannot open the log: " << log.error().message() << '\n';
      return 1;
    }
    for (const std::string text : {"plan", "act", "reflect"}) {
      const auto receipt =
          log->append({.topic = "agent.v1.step", .principal = "agent.mira", .payload = bus::as_payload(text)});
      if (!receipt) return 1;
      std::cout << text << " is on the disk, at offset " << receipt->offset() << '\n';
    }

    // Many at once: hand them over, and wait for the last. They share one sync, or a few.
    auto last = log->submit({.topic = "agent.v1.token", .payload = bus::as_payload("0")});
    for (int i = 1; i < 100; ++i) {
      const std::string token = std::to_string(i);
      last = log->submit({.topic = "agent.v1.token", .payload = bus::as_payload(token)});
    }
    if (!last || !last->wait()) return 1;

    // Read a part, and note where.
    bus::LogReader reader = log->read().value();
    for (int i = 0; i < 2; ++i) {
      if (const auto found = reader.next(); !found || found->outcome() != bus::ReadOutcome::record) return 1;
    }
    place = reader.cursor().to_string();
  }

  // Another process would do the same.
  bus::Log log = bus::Log::open(directory, options).value();
  bus::LogReader reader =
      log.read({.from = bus::From::cursor(bus::Cursor::parse(place).value()), .patterns = {"agent.v1.step"}}).value();
  int steps = 0;
  for (;;) {
    const auto found = reader.next();
    if (!found) return 1;
    if (found->outcome() == bus::ReadOutcome::end) break;
    if (found->outcome() != bus::ReadOutcome::record) {
      std::cout << found->count() << " records are missing\n";
      return 1;
    }
    std::cout << "from where it was left: " << reader.record().text() << '\n';
    ++steps;
  }
  const bool good = steps == 1 && log.next_offset() == 103;
  std::filesystem::remove_all(directory);
  return good ? 0 : 1;
}
