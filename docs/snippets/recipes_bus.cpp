// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What docs/recipes.md shows of the bus.
#include "snippet.hpp"

#include <bus/bus.hpp>
#include <bus/schema.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

using snippet::expect;

namespace {

// --- Request and reply. ---

//! [recipe_request]
std::optional<std::string> ask(bus::Bus& hub, std::string_view question, std::chrono::steady_clock::time_point until) {
  static std::atomic<std::uint64_t> last{0};
  const bus::CorrelationId id{.high = 1, .low = ++last};
  auto replies = hub.subscribe({.patterns = {"clock.v1.reply"}});  // before the question: the answer cannot be missed
  hub.send(bus::Message{.topic = "clock.v1.ask", .payload = bus::Payload::copy(question)}, {.correlation = id});
  while (const auto got = replies.recv_until(until)) {
    const auto* reply = got->get_if<bus::Message>();
    if (reply != nullptr && got->correlation() == id) return std::string(reply->payload.text());
  }
  return std::nullopt;  // nobody answered in time, or the bus was closed
}
//! [recipe_request]

//! [recipe_reply]
void answer(bus::Bus& hub, bus::Receiver questions) {
  while (const auto got = questions.recv()) {
    const auto* question = got->get_if<bus::Message>();
    if (question == nullptr || !got->correlation()) continue;
    hub.send(bus::Message{.topic = "clock.v1.reply", .payload = bus::Payload::copy("noon")},
             {.correlation = got->correlation()});
  }
}
//! [recipe_reply]

void request_and_reply() {
  bus::Bus hub;
  std::jthread service([&hub, questions = hub.subscribe({.patterns = {"clock.v1.ask"}})]() mutable {
    answer(hub, std::move(questions));
  });
  expect(ask(hub, "what time is it?", std::chrono::steady_clock::now() + std::chrono::minutes(1)) == "noon");
  hub.close();
}

// --- A bus for each tenant. ---

//! [recipe_tenants]
class Tenants {
 public:
  bus::Bus& of(const std::string& tenant) {
    auto& hub = buses_[tenant];
    if (hub == nullptr) hub = std::make_unique<bus::Bus>(bus::BusOptions{.capacity = 1024});
    return *hub;
  }
  void remove(const std::string& tenant) { buses_.erase(tenant); }  // its receivers read what is left, then `closed`

 private:
  std::map<std::string, std::unique_ptr<bus::Bus>> buses_;
};
//! [recipe_tenants]

void bus_per_tenant() {
  Tenants tenants;
  auto rx = tenants.of("acme").subscribe();
  tenants.of("acme").send(bus::Shutdown{});
  tenants.of("other").send(bus::Shutdown{});
  tenants.remove("acme");
  expect(bool(rx.recv()) && rx.recv().closed());
}

// --- A slow consumer. ---

void slow_beside_fast() {
  bus::Bus hub{{.capacity = 8}};
  //! [recipe_slow]
  auto fast = hub.subscribe("fast");
  auto slow = hub.subscribe({.name = "slow", .bodies = {bus::BodyKind::config_updated}});  // skips what it need not see
  //! [recipe_slow]
  std::uint64_t read_by_fast = 0;
  for (std::uint64_t version = 1; version <= 100; ++version) {
    hub.send(bus::ConfigUpdated{version});
    read_by_fast += bool(fast.try_recv());
  }
  std::uint64_t newest = 0;
  std::uint64_t skipped = 0;
  const auto rebuild_from = [&](std::uint64_t version) { newest = version; };
  //! [recipe_slow]

  // In the slow one's thread: take all that is there, and work once for all of it.
  for (bool more = true; more;) {
    const auto batch = slow.try_recv_batch();
    skipped += batch.missed();
    if (batch) rebuild_from(batch[batch.size() - 1].get_if<bus::ConfigUpdated>()->version);
    more = bool(batch);
  }
  //! [recipe_slow]
  expect(read_by_fast == 100 && fast.stats().missed == 0 && newest == 100 && skipped == 92);
}

// --- Tracing. ---

struct Span {
  bus::TraceContext context;
  std::string topic;
};
std::vector<Span> spans;
void record_span(const bus::TraceContext& context, std::string_view topic) {
  spans.push_back({context, std::string(topic)});
}

void tracing() {
  bus::Bus hub;
  //! [recipe_trace]
  const bus::Observer tracer = hub.observe("tracer", [](const bus::Event& event) {
    const auto* message = event.get_if<bus::Message>();
    if (message != nullptr && event.trace()) record_span(*event.trace(), message->topic.view());
  });

  bus::TraceContext span{.flags = 1};  // what came with the request: 16 bytes of trace id, 8 of span id
  span.trace_id[15] = 7;
  hub.send(bus::Message{.topic = "tool.v1.call"}, {.trace = span});
  //! [recipe_trace]
  expect(spans.size() == 1 && spans[0].context == span && spans[0].topic == "tool.v1.call");
}

}  // namespace

// --- Plugins. ---

namespace host {
struct Reading {
  std::uint64_t sensor = 0;
  double celsius = 0;
};
}  // namespace host

template <>
struct bus::Schema<host::Reading> : bus::PlainSchema<host::Reading> {
  static constexpr std::string_view name = "sensor.reading";
  static constexpr std::uint32_t version = 1;
};
//! [recipe_plugin]
namespace plugin {
struct Reading {  // the host has a type of its own, with the same schema
  std::uint64_t sensor = 0;
  double celsius = 0;
};
}  // namespace plugin

template <>
struct bus::Schema<plugin::Reading> : bus::PlainSchema<plugin::Reading> {
  static constexpr std::string_view name = "sensor.reading";
  static constexpr std::uint32_t version = 1;
};
//! [recipe_plugin]

namespace {

void plugin_payloads() {
  bus::Bus hub;
  auto rx = hub.subscribe();
  hub.send(bus::Message{.topic = "sensor.v1.reading", .payload = bus::Payload::object(host::Reading{7, 21.5})});
  const auto got = rx.try_recv();
  const auto& message = *got->get_if<bus::Message>();
  double warmest = 0;
  //! [recipe_plugin]

  // In the plugin, with a message of the host's:
  if (const auto* reading = message.payload.get_if<plugin::Reading>()) warmest = reading->celsius;  // the host's object
  const bus::Payload bytes = message.payload.encoded();  // outlives the code that made the object
  //! [recipe_plugin]
  expect(warmest == 21.5 && bytes.decode<plugin::Reading>()->sensor == 7);
}

}  // namespace

int main() {
  request_and_reply();
  bus_per_tenant();
  slow_beside_fast();
  tracing();
  plugin_payloads();
}
