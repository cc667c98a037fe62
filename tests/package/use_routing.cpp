// SPDX-License-Identifier: MIT OR Apache-2.0
#include <bus/routing/router.hpp>

int main() {
  bus::Bus hub;
  bus::Router router{hub};
  auto inbox = router.subscribe({.owner = "package", .patterns = {"package.v1.>"}});
  auto tx = router.sender();
  tx.publish({.topic = "package.v1.note", .payload = bus::Payload::copy("in the route")});
  tx.publish({.topic = "elsewhere", .payload = bus::Payload::copy("not in the route")});
  router.close();
  const auto got = inbox.recv();
  if (!got || got->payload.text() != "in the route") return 1;
  return inbox.recv().closed() ? 0 : 2;
}
