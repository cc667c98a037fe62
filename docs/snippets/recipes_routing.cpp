// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What docs/recipes.md shows of routes.
#include "snippet.hpp"

#include <bus/bus.hpp>
#include <bus/routing/router.hpp>

#include <chrono>
#include <string>
#include <thread>

using snippet::expect;

namespace {

// --- Back-pressure. ---

void back_pressure() {
  bus::Bus hub;
  bus::Router router{hub};
  //! [recipe_back_pressure]
  auto jobs = router.subscribe({
      .owner = "worker",
      .patterns = {"job.v1.>"},
      .credits = 16,  // at most 16 wait; budget_bytes is a bound, too
      .overflow = bus::Overflow::wait,
  });
  //! [recipe_back_pressure]
  int done = 0;
  std::jthread worker([&] {
    while (jobs.recv()) ++done;
  });
  bool all = true;
  const auto give_up = [&] { all = false; };
  auto tx = router.sender("planner");
  for (int i = 0; i < 100; ++i) {
    const auto job = bus::Payload::copy(std::to_string(i));
    //! [recipe_back_pressure]

    const auto until = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    const auto sent = tx.publish_until({.topic = "job.v1.new", .payload = job}, until);  // waits for the worker
    if (!sent || sent->refused != 0) give_up();  // closed, or no room by then
    //! [recipe_back_pressure]
  }
  router.close();
  worker.join();
  expect(all && done == 100);
}

// --- The latest value only. ---

void latest_value() {
  bus::Bus hub;
  bus::Router router{hub};
  auto tx = router.sender();
  std::string drawn;
  const auto draw = [&](const bus::Message& message) { drawn += message.payload.text(); };
  //! [recipe_latest]
  auto gauge = router.subscribe({
      .owner = "gauge",
      .patterns = {"sensor.v1.>"},
      .overflow = bus::Overflow::coalesce,
  });
  for (const char* text : {"20", "21", "22"}) {
    tx.publish({.topic = "sensor.v1.reading", .payload = bus::Payload::copy(std::string(text))}, {.key = "kitchen"});
  }
  while (const auto got = gauge.try_recv()) draw(*got);  // 22, with missed() == 2
  //! [recipe_latest]
  expect(drawn == "22" && gauge.stats().lost_for(bus::Loss::coalesced) == 2);
}

}  // namespace

int main() {
  back_pressure();
  latest_value();
}
