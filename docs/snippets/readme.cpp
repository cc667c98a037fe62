// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What README.md shows.
#include "snippet.hpp"

#include <bus/persistence/durable_topics.hpp>
#include <bus/persistence/group.hpp>
#include <bus/persistence/log.hpp>
#include <bus/routing/router.hpp>

#include <iostream>
//! [readme_bus]
#include <bus/bus.hpp>
//! [readme_bus]

using snippet::expect;

namespace {

void bus_with_one_receiver() {
  //! [readme_bus]
  bus::Bus hub{{.capacity = 256}};
  auto rx = hub.subscribe("auditor");           // active when this returns
  auto tx = hub.sender();                       // cheap to copy, one thread at a time

  tx.send(bus::Message{.topic = "agent.v1.thought", .payload = bus::Payload::copy("look before you write")});
  hub.close();

  while (auto got = rx.recv()) {                // false once closed and drained
    if (got.missed()) std::cerr << got.missed() << " lost just before this one\n";
    bus::match(
        *got, [](const bus::Message& m) { std::cout << m.topic.view() << ": " << m.payload.text() << '\n'; },
        [](const auto&) {});
  }
  //! [readme_bus]
  expect(rx.stats().delivered == 1);
}

void log_with_one_record() {
  //! [readme_log]
  bus::Log log = bus::Log::open("events").value();
  auto receipt =
      log.append({.topic = "agent.v1.done", .payload = bus::as_payload("42")});  // on the disk when it returns
  //! [readme_log]
  expect(receipt && receipt->offset() == 0);
}

int indexed = 0;
void index(const bus::RecordView& record) { indexed += record.text() == "42"; }

void group_with_one_worker() {
  bus::Log log = bus::Log::open("events").value();
  const bus::Group before = bus::Group::open(log, {.name = "indexers"}).value();
  expect(log.append({.topic = "agent.v1.done", .payload = bus::as_payload("42")}).has_value());
  //! [readme_group]
  bus::Group group = bus::Group::open(log, {.name = "indexers"}).value();
  bus::Member worker = group.join().value();
  auto received = worker.receive(16);  // waits
  for (bus::Lease& lease : received->leases) {
    index(lease.record());
    lease.ack();  // dropped without an outcome, as by an exception, it comes again
  }
  //! [readme_group]
  expect(indexed == 1 && group.stats().acked == 1);
}

void durable_topic() {
  bus::Log log = bus::Log::open("events").value();
  bus::Bus hub;
  bus::Router router{hub};
  const auto text = bus::Payload::copy("42");
  //! [readme_durable]
  bus::DurableTopics topics{router, log, {.table = {{"agent.v1.done"}, {"audit.>"}}}};
  auto receipt = topics.publish({.topic = "agent.v1.done", .payload = text});  // on the disk, then in the routes
  //! [readme_durable]
  expect(receipt && receipt->durable());
}

}  // namespace

int main() {
  const snippet::Scratch scratch;
  bus_with_one_receiver();
  log_with_one_record();
  group_with_one_worker();
  durable_topic();
}
