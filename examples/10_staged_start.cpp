// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A new runtime subscribes its routes one by one. If each began at once, the first would hear what the last one
// missed. Behind a gate they are staged, begin with the same message, and end with the same message.
#include <bus/bus.hpp>
#include <bus/routing/router.hpp>

#include <iostream>
#include <memory>
#include <string>

namespace {

std::string read_all(bus::RouteReceiver& inbox) {
  std::string text;
  while (auto got = inbox.recv()) text += std::string(got->payload.text()) + ' ';
  return text;
}

}  // namespace

int main() {
  bus::Bus hub;
  bus::Router router{hub};
  auto tx = router.sender();
  const auto say = [&](const char* text) {
    return tx.publish({.topic = "host.v1.notice", .payload = bus::Payload::copy(std::string(text))}).value();
  };

  const auto gate = std::make_shared<bus::Gate>();
  auto planner = router.subscribe({.owner = "planner", .patterns = {"host.v1.>"}, .gate = gate});
  const bus::PublishOutcome early = say("early");  // turned away by a gate is not refused: nothing was lost
  auto weather = router.subscribe({.owner = "weather", .patterns = {"host.v1.>"}, .gate = gate});

  if (!gate->publish()) return 1;
  const bus::PublishOutcome first = say("first");
  say("last");

  gate->retire();
  const bus::PublishOutcome late = say("late");
  router.close();

  const std::string of_planner = read_all(planner);
  const std::string of_weather = read_all(weather);
  std::cout << "planner heard: " << of_planner << "\nweather heard: " << of_weather << '\n';
  const bool gated = early.gated == 1 && early.taken == 0 && first.taken == 2 && late.gated == 2;
  return gated && of_planner == "first last " && of_weather == of_planner ? 0 : 1;
}
