// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A route is an inbox with a budget in bytes. Each principal has its own queue in it, and they are served in turns: who
// sends a lot delays and displaces itself, not the others.
#include <bus/bus.hpp>
#include <bus/routing/router.hpp>

#include <iostream>

namespace {

constexpr int noise = 1000;
constexpr int questions = 10;

}  // namespace

int main() {
  bus::Bus hub;
  bus::Router router{hub};
  auto inbox = router.subscribe({
      .owner = "operator",
      .patterns = {"agent.v1.>"},
      .budget_bytes = 32 * 1024,
      .quantum_bytes = 512,  // about one of these messages a turn
      .overflow = bus::Overflow::evict_fair_share,
  });

  // Mira asks first. Then the noisy one sends far more than the inbox holds.
  auto tx = router.sender();
  const auto payload = bus::Payload::copy("is anybody there?");
  for (int i = 0; i < questions; ++i) {
    tx.publish({.topic = "agent.v1.question", .principal = "agent.mira", .payload = payload});
  }
  for (int i = 0; i < noise; ++i) {
    tx.publish({.topic = "agent.v1.question", .principal = "agent.noisy", .payload = payload});
  }
  router.close();

  int read = 0;
  int of_mira = 0;
  int mira_done_after = 0;
  std::uint64_t missed_of_mira = 0;
  std::uint64_t missed_of_noisy = 0;
  while (auto got = inbox.recv()) {
    ++read;
    if (got->principal == bus::Principal("agent.mira")) {
      missed_of_mira += got.missed();
      if (++of_mira == questions) mira_done_after = read;
    } else {
      missed_of_noisy += got.missed();
    }
  }

  std::cout << of_mira << " of mira read, the last as number " << mira_done_after << ", " << missed_of_mira
            << " lost; of the noisy one " << read - of_mira << " read, " << missed_of_noisy << " lost\n";
  const bool balances = read - of_mira + static_cast<int>(missed_of_noisy) == noise && missed_of_noisy != 0;
  return of_mira == questions && missed_of_mira == 0 && mira_done_after <= 2 * questions && balances ? 0 : 1;
}
