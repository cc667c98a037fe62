// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What docs/guide.md shows of durable work.
#include "snippet.hpp"

#include <bus/bus.hpp>
#include <bus/persistence/durable_topics.hpp>
#include <bus/persistence/group.hpp>
#include <bus/persistence/log.hpp>
#include <bus/routing/router.hpp>

#include <chrono>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <string>

using snippet::expect;

namespace {

int done = 0;
void work_on(const bus::RecordView& record) {
  if (record.text() == "poison") throw std::runtime_error("cannot be parsed");
  ++done;
}

void receipts() {
  //! [guide_open]
  auto opened = bus::Log::open("events");
  if (!opened) {
    std::cerr << "cannot open the log: " << opened.error().message() << '\n';
    return;
  }
  bus::Log& log = *opened;
  //! [guide_open]
  //! [guide_receipt]
  const bus::Record step{.topic = "agent.v1.step", .principal = "agent.mira", .payload = bus::as_payload("plan")};
  const auto safe = log.append(step);                             // returns when it is on the disk
  const auto soon = log.append<bus::Durability::interval>(step);  // written; synced within `sync_every`
  const auto pending = log.submit(step);                          // returns at once ...
  const bool all = safe && soon && pending && pending->wait();    // ... and is waited for here
  //! [guide_receipt]
  expect(all && safe->offset() == 0 && log.next_offset() == 3);
  std::uint64_t steps = 0;
  std::uint64_t gaps = 0;
  //! [guide_read]
  bus::LogReader reader = log.read({.from = bus::From::oldest(), .patterns = {"agent.v1.>"}}).value();
  for (;;) {
    const auto found = reader.next();  // or wait_next, which follows the log
    if (!found || found->outcome() == bus::ReadOutcome::end) break;
    if (found->outcome() == bus::ReadOutcome::record) ++steps;
    if (found->count() != 0) gaps += found->count();  // `lost` or `overrun`: so many are missing
  }
  const std::string place = reader.cursor().to_string();  // for the next run: From::cursor(Cursor::parse(place))
  //! [guide_read]
  expect(steps == 3 && gaps == 0 && bus::Cursor::parse(place).has_value());
}

void groups() {
  bus::Log log = bus::Log::open("jobs").value();
  //! [guide_group]
  bus::Group group = bus::Group::open(log, {.name = "indexers", .patterns = {"doc.>"}, .attempts = 3}).value();
  bus::Member worker = group.join().value();
  //! [guide_group]
  for (const char* text : {"one", "poison", "two"}) {
    expect(log.append({.topic = "doc.v1.new", .payload = bus::as_payload(text)}).has_value());
  }
  //! [guide_leases]
  auto received = worker.receive(16);  // waits for the first, then takes what is there
  if (!received) return;               // the log is closed, or has failed
  for (bus::Lease& lease : received->leases) {
    try {
      work_on(lease.record());
      lease.ack();
    } catch (const std::invalid_argument& hopeless) {
      lease.reject(hopeless.what());  // to the dead letters at once
    } catch (const std::exception& error) {
      lease.nack({}, error.what());  // again later, by the group's backoff
    }
  }
  //! [guide_leases]
  expect(done == 2 && group.stats().acked == 2 && group.stats().nacked == 1);
  //! [guide_sync]
  const auto failed = group.sync();  // the acks are on the disk now; else with the next commit
  //! [guide_sync]
  expect(!failed);
}

void dead_letters() {
  bus::Log log = bus::Log::open("letters").value();
  bus::Group group = bus::Group::open(log, {.name = "indexers", .patterns = {"doc.>"}}).value();
  bus::Member worker = group.join().value();
  expect(log.append({.topic = "doc.v1.new", .payload = bus::as_payload("poison")}).has_value());
  auto received = worker.receive(1).value();
  expect(received.leases.at(0).reject("unknown format") == bus::LeaseOutcome::dead);
  expect(!group.sync());
  //! [guide_dead]
  if (group.stats().dead_letters != 0) {
    const auto sent_back = group.redrive({.topics = {"doc.>"}, .reason = "unknown format"});
    if (sent_back) std::cout << *sent_back << " sent back\n";
  }
  //! [guide_dead]
  expect(group.stats().dead_letters == 0 && worker.try_receive(1)->leases.size() == 1);
}

void durable_topics() {
  bus::Log log = bus::Log::open("durable").value();
  bus::Bus hub;
  bus::Router router{hub};
  const auto screen = router.subscribe({.owner = "screen", .patterns = {"agent.v1.>"}});
  //! [guide_durable]
  bus::DurableTopicsOptions options;
  options.table = {
      {"agent.v1.done"},                                             // on the disk, then in the routes
      {"agent.v1.step", bus::Durability::interval},                  // a power cut may take the last second
      {"audit.>", bus::Durability::synced, bus::Delivery::at_once},  // in the routes, then on the disk
  };
  bus::DurableTopics topics{router, log, options};
  const auto receipt = topics.publish({.topic = "agent.v1.done", .payload = bus::Payload::copy("42")});
  if (receipt && receipt->durable() && receipt->delivery()) {
    std::cout << "at offset " << receipt->offset() << ", taken by " << receipt->delivery()->taken << " routes\n";
  }
  //! [guide_durable]
  expect(receipt && receipt->delivery()->taken == 1);
}

void producers() {
  bus::Log log = bus::Log::open("produced").value();
  //! [guide_producer]
  std::uint64_t sequence = 1;  // kept by the sender, beside what it has yet to send
  const auto send = [&](std::string_view text) {
    return log.append({.topic = "order.v1.placed",
                       .payload = bus::as_payload(text),
                       .producer = bus::Producer{.id = 7, .epoch = 1, .sequence = sequence}});
  };
  const auto first = send("two tickets");
  const auto again = send("two tickets");  // as after a crash, when nobody knows what became of the first
  //! [guide_producer]
  expect(first && again && !first->duplicate() && again->duplicate() && again->offset() == first->offset());
}

}  // namespace

int main() {
  const snippet::Scratch scratch;
  receipts();
  groups();
  dead_letters();
  durable_topics();
  producers();
}
