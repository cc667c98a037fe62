// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A topic becomes durable by being named: what its routes deliver is on the disk already, and a group reads it again
// after a restart. Tokens, which nobody misses later, go by without waiting for a disk.
#include <bus/bus.hpp>
#include <bus/persistence/durable_topics.hpp>
#include <bus/persistence/group.hpp>
#include <bus/persistence/log.hpp>
#include <bus/routing/router.hpp>

#include <filesystem>
#include <iostream>

int main() {
  const auto directory = std::filesystem::temp_directory_path() / "busbar-example-durable";
  std::filesystem::remove_all(directory);
  const bus::LogOptions options{.segment_bytes = std::uint64_t{1} << 20, .spare_segments = 0};

  {
    bus::Log log = bus::Log::open(directory, options).value();
    bus::Bus hub;
    bus::Router router{hub};
    auto screen = router.subscribe({.owner = "screen", .patterns = {"agent.v1.>"}});
    bus::DurableTopics topics{router, log, {.table = {{"agent.v1.done"}}}};

    const auto say = [&](bus::Topic topic, std::string_view text) {
      return topics.publish({.topic = topic, .principal = "agent.mira", .payload = bus::Payload::copy(text)});
    };
    if (!say("agent.v1.token", "4") || !say("agent.v1.token", "2")) return 1;
    const auto receipt = say("agent.v1.done", "42");
    if (!receipt || !receipt->delivery()) return 1;
    std::cout << "on the disk at offset " << receipt->offset() << ", and taken by " << receipt->delivery()->taken
              << " route\n";

    // Past the log no message comes to a durable topic.
    if (router.publish({.topic = "agent.v1.done"}).error() != bus::errc::topic_durable) return 1;

    while (const auto got = screen.try_recv()) {
      const auto place = got.event().place();
      std::cout << got->topic.view() << ": " << got->payload.text() << (place ? ", from the log" : "") << '\n';
    }
  }

  // Another process finds what was durable.
  bus::Log log = bus::Log::open(directory, options).value();
  bus::Group group = bus::Group::open(log, {.name = "archive", .start = bus::GroupStart::oldest}).value();
  bus::Member archivist = group.join().value();
  auto received = archivist.try_receive(16).value();
  for (bus::Lease& lease : received.leases) {
    std::cout << "archived: " << lease.record().text() << '\n';
    lease.ack();
  }
  const bool good = received.leases.size() == 1;
  log.close();
  std::filesystem::remove_all(directory);
  return good ? 0 : 1;
}
