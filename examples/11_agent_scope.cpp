// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Agents share topics and do not hear each other: the scope of a route says whose messages it admits. What it does not
// admit costs its budget nothing and is not counted as lost.
#include <bus/bus.hpp>
#include <bus/routing/router.hpp>

#include <iostream>
#include <string>

namespace {

std::string read_all(bus::RouteReceiver& inbox) {
  std::string text;
  while (auto got = inbox.recv()) text += std::string(got->payload.text()) + "; ";
  std::cout << inbox.name() << ": " << text << '\n';
  return text;
}

}  // namespace

int main() {
  bus::Bus hub;
  bus::Router router{hub};
  const auto subscribe = [&](const char* owner, bus::Scope scope) {
    return router.subscribe({.owner = owner, .patterns = {"tool.v1.result", "host.v1.>"}, .scope = scope});
  };
  auto alice = subscribe("alice", bus::Scope::principal_or_system("agent.alice"));
  auto bob = subscribe("bob", bus::Scope::principal("agent.bob"));
  auto auditor = subscribe("auditor", bus::Scope::all());

  auto tx = router.sender();
  tx.publish({.topic = "tool.v1.result", .principal = "agent.alice", .payload = bus::Payload::copy("12 degrees")});
  tx.publish({.topic = "tool.v1.result", .principal = "agent.bob", .payload = bus::Payload::copy("no such file")});
  tx.publish({.topic = "host.v1.notice", .payload = bus::Payload::copy("lunch")});  // on nobody's behalf: the system's
  router.close();

  const bool each_its_own = read_all(alice) == "12 degrees; lunch; " && read_all(bob) == "no such file; " &&
                            read_all(auditor) == "12 degrees; no such file; lunch; ";
  return each_its_own && bob.stats().offered == 1 && bob.stats().lost_in_all() == 0 ? 0 : 1;
}
