// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What docs/recipes.md shows of logs and groups.
#include "snippet.hpp"

#include <bus/bus.hpp>
#include <bus/persistence/durable_topics.hpp>
#include <bus/persistence/group.hpp>
#include <bus/persistence/log.hpp>
#include <bus/routing/router.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using snippet::expect;

namespace {

void append(bus::Log& log, const char* text) {
  expect(log.append({.topic = "order.v1.placed", .payload = bus::as_payload(text)}).has_value());
}

// --- A batch. ---

void ack_through() {
  bus::Log log = bus::Log::open("rows").value();
  bus::Group group = bus::Group::open(log, {.name = "loader"}).value();
  bus::Member loader = group.join().value();
  for (const char* text : {"one", "two", "three"}) append(log, text);
  std::vector<std::string> table;
  const auto insert_all = [&](const std::vector<std::string>& rows) {
    table.insert(table.end(), rows.begin(), rows.end());
    return true;
  };
  //! [recipe_ack_through]
  auto received = loader.receive(64);
  if (!received || received->leases.empty()) return;
  std::vector<std::string> rows;
  std::uint64_t last = 0;
  for (const bus::Lease& lease : received->leases) {
    rows.emplace_back(lease.record().text());
    last = std::max(last, lease.offset());
  }
  if (insert_all(rows)) (void)loader.ack_through(last);  // what this member has on lease up to there
  // Otherwise the leases end here without an outcome: each is a nack, and comes again.
  //! [recipe_ack_through]
  expect(table.size() == 3 && group.stats().acked == 3);
}

// --- Once. ---

/// Stands for a database: `apply` changes a balance and notes the offset in one transaction.
struct Ledger {
  std::int64_t balance = 0;
  std::map<std::uint64_t, bool> applied;
  bool has(std::uint64_t offset) const { return applied.contains(offset); }
  void apply(std::uint64_t offset, std::int64_t amount) {
    balance += amount;
    applied[offset] = true;
  }
};

void exactly_once() {
  bus::Log log = bus::Log::open("payments").value();
  bus::Group group = bus::Group::open(log, {.name = "ledger", .backoff = {}}).value();
  bus::Member clerk = group.join().value();
  Ledger ledger;
  const bus::Record payment{.topic = "payment.v1.made",
                            .payload = bus::as_payload("5"),
                            .producer = bus::Producer{.id = 7, .epoch = 1, .sequence = 1}};
  expect(log.append(payment).has_value() && log.append(payment)->duplicate());
  for (int round = 0; round < 2; ++round) {
    auto received = clerk.try_receive(16).value();
    for (bus::Lease& lease : received.leases) {
      //! [recipe_once]
      const std::int64_t amount = std::stoll(std::string(lease.record().text()));
      if (!ledger.has(lease.offset())) ledger.apply(lease.offset(), amount);  // both in one transaction
      //! [recipe_once]
      if (round == 0) {
        lease.nack();  // stands for a crash in front of the ack
        break;
      }
      //! [recipe_once]
      lease.ack();  // a second delivery has changed nothing
      //! [recipe_once]
    }
  }
  expect(ledger.balance == 5 && group.stats().redelivered == 1 && group.stats().acked == 1);
}

// --- Backoff. ---

void backoff() {
  bus::Log log = bus::Log::open("calls").value();
  //! [recipe_backoff]
  bus::GroupOptions options{.name = "callers", .attempts = 4};
  options.backoff = {std::chrono::seconds(1), std::chrono::seconds(10), std::chrono::minutes(1)};
  bus::Group group = bus::Group::open(log, options).value();
  //! [recipe_backoff]
  bus::Member caller = group.join().value();
  append(log, "one");
  append(log, "two");
  struct Busy : std::runtime_error {
    using std::runtime_error::runtime_error;
    std::chrono::seconds retry_after{30};
  };
  const auto call = [&](const bus::RecordView& record) {
    if (record.text() == "one") throw Busy("come back later");
    throw std::runtime_error("no answer");
  };
  auto received = caller.receive(2).value();
  for (bus::Lease& lease : received.leases) {
    //! [recipe_backoff_nack]
    try {
      call(lease.record());
      lease.ack();
    } catch (const Busy& busy) {
      lease.nack(busy.retry_after, busy.what());  // it has said when
    } catch (const std::exception& error) {
      lease.nack({}, error.what());  // by the group's backoff; the text is kept with a dead letter
    }
    //! [recipe_backoff_nack]
  }
  expect(group.stats().nacked == 2 && group.stats().delayed == 2);
}

// --- Replay. ---

void replay() {
  bus::Log log = bus::Log::open("replayed").value();
  const auto yesterday = std::chrono::system_clock::now() - std::chrono::hours(24);
  for (int hours = 48; hours >= 0; hours -= 6) {
    expect(log.append({.topic = "order.v1.placed",
                       .payload = bus::as_payload("x"),
                       .time = std::chrono::system_clock::now() - std::chrono::hours(hours)})
               .has_value());
  }
  std::uint64_t replayed = 0;
  const auto apply = [&](const bus::RecordView&) { ++replayed; };
  std::uint64_t missing = 0;
  //! [recipe_replay]
  auto reader = log.read({.from = bus::From::time(yesterday), .patterns = {"order.>"}});  // or From::offset(1000)
  if (!reader) return;
  const std::uint64_t end = log.next_offset();  // what comes meanwhile is left to others
  while (reader->offset() < end) {
    const auto found = reader->next();
    if (!found || found->outcome() == bus::ReadOutcome::end) break;
    if (found->outcome() == bus::ReadOutcome::record) apply(reader->record());
    missing += found->count();
  }
  //! [recipe_replay]
  expect(replayed == 5 && missing == 0);
}

// --- The end. ---

void shut_down() {
  bus::Log log = bus::Log::open("host").value();
  bus::Bus hub;
  bus::Router router{hub};
  bus::DurableTopics topics{router, log, {.table = {{"agent.v1.done"}}}};
  int heard = 0;
  int shown = 0;
  std::thread auditor([&heard, rx = hub.subscribe("auditor")]() mutable {
    while (rx.recv()) ++heard;
  });
  std::thread screen([&shown, rx = router.subscribe({.owner = "screen", .patterns = {"agent.>"}})]() mutable {
    while (rx.recv()) ++shown;
  });
  expect(topics.publish({.topic = "agent.v1.done"}).has_value());
  //! [recipe_shutdown]
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(5);

  // 1. What was taken is committed and delivered.
  if (topics.close_until(until)) std::cerr << "something is on its way yet\n";

  // 2. Nothing more is published; receivers read what is left.
  for (const auto& each : hub.drain(until).receivers) {
    if (each.undelivered != 0) std::cerr << each.name << " has left " << each.undelivered << " events\n";
  }

  // 3. Readers of routes end with `closed`, having read all.
  screen.join();

  // 4. Records and acks are on the disk; who waits for a lease gets `closed`.
  const bus::error_code failed = log.close();
  //! [recipe_shutdown]
  auditor.join();
  expect(!failed && heard == 1 && shown == 1);
}

// --- Time in tests. ---

//! [recipe_clock]
class FakeClock final : public bus::Clock {
 public:
  std::chrono::system_clock::time_point wall() const noexcept override { return at<std::chrono::system_clock>(); }
  std::chrono::steady_clock::time_point steady() const noexcept override { return at<std::chrono::steady_clock>(); }
  void advance(std::chrono::nanoseconds by) { ns_ += by.count(); }

 private:
  template <class C>
  typename C::time_point at() const noexcept {
    return typename C::time_point(std::chrono::duration_cast<typename C::duration>(std::chrono::nanoseconds(ns_)));
  }
  std::atomic<std::int64_t> ns_{1'700'000'000'000'000'000};  // any thread may ask
};
//! [recipe_clock]

void injected_clock() {
  //! [recipe_clock_test]
  FakeClock clock;  // outlives the log
  bus::Log log = bus::Log::open("jobs", {.clock = &clock}).value();
  bus::GroupOptions options{.name = "workers", .visibility = std::chrono::seconds(30)};
  options.backoff = {};  // what has run out is free at once
  bus::Group group = bus::Group::open(log, options).value();
  bus::Member hangs = group.join().value();
  bus::Member works = group.join().value();
  append(log, "one");

  auto held = hangs.try_receive().value();  // and no outcome
  const bool busy = works.try_receive()->leases.empty();
  clock.advance(std::chrono::seconds(31));
  auto again = works.try_receive().value();  // the same message, for the second time
  const bool stale = held.leases.at(0).ack() == bus::LeaseOutcome::stale;
  //! [recipe_clock_test]
  expect(busy && again.leases.at(0).attempt() == 2 && stale && again.leases.at(0).ack() == bus::LeaseOutcome::done);
}

}  // namespace

int main() {
  const snippet::Scratch scratch;
  ack_through();
  exactly_once();
  backoff();
  replay();
  shut_down();
  injected_clock();
}
