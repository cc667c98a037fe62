// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A stream of tokens may lose some, but who waits for its end must hear it. Mark the end as terminal: no route evicts
// it. A route that cannot take it refuses it, and then the publisher knows.
#include <bus/bus.hpp>
#include <bus/routing/router.hpp>

#include <iostream>
#include <string>

namespace {

constexpr int tokens = 500;

}  // namespace

int main() {
  bus::Bus hub;
  bus::Router router{hub};
  auto inbox = router.subscribe({.owner = "screen", .patterns = {"llm.v1.>"}, .budget_bytes = 8 * 1024});
  auto tx = router.sender("model");

  // Two streams while the screen is busy elsewhere. The first one ends early; what follows pushes out its tokens.
  bool end_taken = true;
  const auto speak = [&](bus::Principal principal) {
    for (int i = 1; i <= tokens; ++i) {
      const auto token = bus::Payload::copy("token " + std::to_string(i));
      tx.publish({.topic = "llm.v1.stream.aster", .principal = principal, .payload = token});
    }
    const auto end = tx.publish({.topic = "llm.v1.done.aster", .principal = principal}, {.terminal = true});
    end_taken = end_taken && end && end->refused == 0;
  };
  speak("agent.alice");
  speak("agent.bob");
  router.close();

  int ends = 0;
  std::uint64_t read = 0;
  std::uint64_t missed = 0;
  while (auto got = inbox.recv()) {
    ++read;
    missed += got.missed();
    if (!got.event().terminal()) continue;
    ++ends;
    std::cout << got->principal.view() << " has ended; " << got.missed() << " tokens were lost just before\n";
  }

  std::cout << read << " read + " << missed << " lost == " << 2 * (tokens + 1) << " published\n";
  return end_taken && ends == 2 && missed > tokens && read + missed == 2 * (tokens + 1) ? 0 : 1;
}
