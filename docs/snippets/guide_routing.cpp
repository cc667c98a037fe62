// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What docs/guide.md shows of routes.
#include "snippet.hpp"

#include <bus/bus.hpp>
#include <bus/routing/rate_limiter.hpp>
#include <bus/routing/router.hpp>

#include <iostream>
#include <memory>
#include <string>

using snippet::expect;

namespace {

int shown = 0;
void show(const bus::Message&) { ++shown; }

void route_with_a_budget() {
  const auto chunk = bus::Payload::copy("a few words");
  //! [guide_route]
  bus::Bus hub;
  bus::Router router{hub};
  auto screen = router.subscribe({
      .owner = "screen",
      .patterns = {"llm.v1.>"},
      .budget_bytes = 256 * 1024,
      .overflow = bus::Overflow::evict_fair_share,
  });

  auto tx = router.sender("model");
  const auto outcome = tx.publish({.topic = "llm.v1.token", .principal = "agent.mira", .payload = chunk});
  if (!outcome) std::cerr << outcome.error().message() << '\n';  // nothing was published
  //! [guide_route]
  expect(outcome && outcome->taken == 1);

  std::uint64_t gap = 0;
  //! [guide_route_receive]
  while (const auto got = screen.try_recv()) {
    if (got.missed() != 0) gap += got.missed();  // of this message's principal, just before it
    show(*got);
  }
  //! [guide_route_receive]
  expect(shown == 1 && gap == 0);
}

void refusals() {
  bus::Bus hub;
  bus::Router router{hub};
  const auto inbox = router.subscribe(
      {.owner = "inbox", .patterns = {"job.>"}, .budget_bytes = 500, .overflow = bus::Overflow::reject_new});
  auto tx = router.sender();
  expect(tx.publish({.topic = "job.new"})->taken == 1);
  const bus::Message job{.topic = "job.new"};
  //! [guide_refusals]
  const auto outcome = tx.publish(job);
  if (outcome && outcome->refused != 0) {
    for (const auto& refusal : outcome->refusals()) {
      std::cerr << router.route_name(refusal.route) << ": " << to_string(refusal.reason) << '\n';
    }
  }
  //! [guide_refusals]
  expect(outcome->refused == 1 && outcome->refusals()[0].reason == bus::Loss::over_budget);
}

void terminals_and_scopes() {
  bus::Bus hub;
  bus::Router router{hub};
  auto tx = router.sender();
  //! [guide_scope]
  auto mira = router.subscribe({
      .owner = "capsule-7",
      .patterns = {"llm.v1.>", "host.v1.>"},
      .scope = bus::Scope::principal_or_system("agent.mira"),
  });
  //! [guide_scope]
  //! [guide_terminal]
  const auto end = tx.publish({.topic = "llm.v1.done", .principal = "agent.mira"}, {.terminal = true});
  const bool heard = end && end->refused == 0;  // else some route could not take it, and says why
  //! [guide_terminal]
  expect(heard && end->taken == 1);
  expect(tx.publish({.topic = "llm.v1.done", .principal = "agent.bob"})->taken == 0);
  expect(mira.try_recv().event().terminal());
}

void gates() {
  bus::Bus hub;
  bus::Router router{hub};
  //! [guide_gate]
  const auto gate = std::make_shared<bus::Gate>();
  auto plans = router.subscribe({.owner = "planner", .patterns = {"plan.>"}, .gate = gate});
  auto tools = router.subscribe({.owner = "planner", .patterns = {"tool.>"}, .gate = gate});

  const auto opened = gate->publish();  // both begin here
  gate->retire();                       // and end here
  //! [guide_gate]
  expect(opened.has_value() && router.publish({.topic = "plan.new"})->gated == 1);
}

void rate_limits() {
  bus::Bus hub;
  //! [guide_rate]
  const auto limiter = std::make_shared<bus::RateLimiter>(bus::RateLimit{
      .bytes_per_second = 64 * 1024,
      .burst_bytes = 256 * 1024,
      .max_message_bytes = 64 * 1024,
  });
  bus::Router router{hub, {.rate_limiter = limiter}};  // each sender, for each principal it speaks for

  auto tx = router.sender("gateway");
  const auto large = bus::Payload::copy(std::string(64 * 1024, '.'));
  for (int i = 0; i < 8; ++i) {
    const auto sent = tx.publish({.topic = "upload.v1.part", .principal = "agent.mira", .payload = large});
    if (!sent && sent.error() == bus::errc::rate_limited) break;  // nothing was published; later it may be
  }
  //! [guide_rate]
  expect(router.stats().published >= 4);
}

}  // namespace

int main() {
  route_with_a_budget();
  refusals();
  terminals_and_scopes();
  gates();
  rate_limits();
}
