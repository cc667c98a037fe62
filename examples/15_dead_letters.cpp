// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Messages that cannot be handled do not stop the others: they become dead letters, which say why, and are sent back
// when the reason is gone.
#include <bus/persistence/group.hpp>
#include <bus/persistence/log.hpp>

#include <filesystem>
#include <iostream>
#include <string>

int main() {
  const auto directory = std::filesystem::temp_directory_path() / "busbar-example-dead-letters";
  std::filesystem::remove_all(directory);
  bus::Log log = bus::Log::open(directory).value();
  bus::Group group = bus::Group::open(log, {.name = "indexer", .patterns = {"doc.>"}}).value();
  bus::Member worker = group.join().value();
  for (const char* text : {"one", "two, in a format of tomorrow", "three"}) {
    (void)log.append({.topic = "doc.new", .payload = bus::as_payload(text)}).value();
  }

  bool knows_the_format = false;
  const auto work = [&] {
    auto received = worker.try_receive(16).value();
    for (bus::Lease& lease : received.leases) {
      const std::string text(lease.record().text());
      if (text.find("tomorrow") != text.npos && !knows_the_format) {
        (void)lease.reject("unknown format");
      } else {
        std::cout << "indexed: " << text << '\n';
        (void)lease.ack();
      }
    }
  };
  work();
  (void)group.sync();

  {
    bus::Group dead = group.dead_letters().value();
    bus::Member undertaker = dead.join().value();
    auto received = undertaker.try_receive(16).value();
    for (bus::Lease& lease : received.leases) {
      lease.record().for_each_header([](const bus::Header& header) {
        if (header.name == bus::dead_reason_header) std::cout << "dead: " << header.value << '\n';
      });
      (void)lease.release();  // only a look
    }
  }

  knows_the_format = true;
  std::cout << "sent back: " << group.redrive({.reason = "format"}).value() << '\n';
  work();
  std::cout << "dead letters: " << group.stats().dead_letters << '\n';
  log.close();
  std::filesystem::remove_all(directory);
}
