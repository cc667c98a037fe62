// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A host from a file: its bus, a route and a log are as the file says, and what is wrong with it is told all at once.
// Then the file changes, and what can change does so while the host runs.
#include <bus/bus.hpp>
#include <bus/config/load.hpp>
#include <bus/config/reload.hpp>
#include <bus/persistence/durable_topics.hpp>
#include <bus/persistence/log.hpp>
#include <bus/routing/router.hpp>

#include <filesystem>
#include <iostream>

int main(int argc, char** argv) {
  const auto loaded = bus::load_config(argc > 1 ? argv[1] : EXAMPLE_CONFIG, bus::process_environment());
  if (!loaded) {
    for (const bus::ConfigError& error : loaded.error()) std::cerr << to_string(error) << '\n';
    return 1;
  }
  bus::Config config = loaded->config;
  const bus::LogConfig& events = config.logs.at("events");
  const auto directory = std::filesystem::temp_directory_path() / events.directory;
  std::filesystem::remove_all(directory);

  bus::Log log = bus::Log::open(directory, events.options).value();
  bus::Bus hub{config.bus};
  bus::Router router{hub, config.router.options};
  bus::RouteReceiver screen = router.subscribe(config.routes.at("screen").options);
  bus::DurableTopics topics{router, log, config.durable_topics->options};

  const auto receipt =
      topics.publish({.topic = "agent.v1.done", .principal = "agent.mira", .payload = bus::Payload::copy("42")});
  if (!receipt) return 1;
  std::cout << "durable: " << receipt->durable() << ", on the screen: " << screen.try_recv()->payload.text() << '\n';

  bus::Config wanted = config;
  wanted.logs.at("events").options.retention.records = 1000;
  wanted.bus.capacity = 4096;
  const bus::ConfigChange change = bus::reload(config, wanted, {.bus = &hub, .logs = {{"events", &log}}});
  for (const auto& one : change.live) std::cout << "changed: " << one.key << " = " << one.after << '\n';
  for (const auto& one : change.restart) std::cout << "with the next start: " << one.key << " = " << one.after << '\n';

  topics.close();
  log.close();
  std::filesystem::remove_all(directory);
  return change.live.size() == 1 && change.restart.size() == 1 ? 0 : 1;
}
