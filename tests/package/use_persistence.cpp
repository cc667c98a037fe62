// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Compressed, so that every library that the log is built on has a part in it.
#include <bus/persistence/log.hpp>

#include <filesystem>
#include <string>

int main() {
  const auto directory = std::filesystem::current_path() / "package-log";
  std::filesystem::remove_all(directory);
  const std::string text(4096, 'x');
  {
    bus::Log log =
        bus::Log::open(directory,
                       {.segment_bytes = std::uint64_t{1} << 20, .spare_segments = 0, .compress_from_bytes = 64})
            .value();
    if (!log.append({.topic = "package.v1.note", .payload = bus::as_payload(text)})) return 1;
  }
  bus::LogSnapshot log = bus::LogSnapshot::open(directory).value();
  bus::LogReader reader = log.read().value();
  const auto found = reader.next();
  const bool good = found && found->outcome() == bus::ReadOutcome::record && reader.record().text() == text;
  std::filesystem::remove_all(directory);
  return good ? 0 : 2;
}
