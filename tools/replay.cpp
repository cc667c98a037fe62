// SPDX-License-Identifier: MIT OR Apache-2.0
#include "replay.hpp"

#include "audience.hpp"
#include "event_reader.hpp"
#include "input.hpp"
#include "pacer.hpp"
#include "progress.hpp"
#include "routed_audience.hpp"

#include <bus/bus.hpp>

#include <algorithm>
#include <memory>
#include <utility>

namespace busbar {
namespace {

/// Latency is a difference of two readings, so the events are stamped by the clock that nobody sets.
class SteadyStamps final : public bus::Clock {
 public:
  std::chrono::system_clock::time_point wall() const noexcept override {
    return std::chrono::system_clock::time_point(
        std::chrono::duration_cast<std::chrono::system_clock::duration>(steady().time_since_epoch()));
  }
  std::chrono::steady_clock::time_point steady() const noexcept override { return std::chrono::steady_clock::now(); }
};

/// Publishes messages at the wanted pace, until it is told to stop: into the routes, if there are any, and on the bus.
class Publisher {
 public:
  Publisher(bus::Bus& hub, RoutedAudience* routes, const ReplayOptions& options, const Interrupt& interrupt,
            Progress& progress)
      : sender_(hub.sender("replay")),
        routes_(routes),
        terminal_(options.terminal),
        interrupt_(interrupt),
        progress_(progress) {
    if (options.events_per_second > 0) pacer_.emplace(options.events_per_second);
  }

  /// Returns: false, with nothing published, once a stop is requested.
  bool publish(const bus::Message& message) {
    if (pacer_) {
      interrupt_.wait_until(pacer_->due());
      pacer_->step();
    }
    if (interrupt_.requested()) return false;
    if (const auto refused = send(message)) throw std::runtime_error("the bus refused an event: " + refused.message());
    progress_.published(++published_);
    return true;
  }

  std::uint64_t published() const noexcept { return published_; }

 private:
  bus::error_code send(const bus::Message& message) {
    const auto matches = [&](const bus::TopicPattern& pattern) { return pattern.matches(message.topic); };
    const bus::Attributes attributes{.terminal = std::ranges::any_of(terminal_, matches)};
    if (routes_ != nullptr) return routes_->publish(message, attributes).error();
    return sender_.send(message, attributes).error();
  }

  bus::Sender sender_;
  RoutedAudience* routes_;
  const std::vector<bus::TopicPattern>& terminal_;
  std::optional<Pacer> pacer_;
  const Interrupt& interrupt_;
  Progress& progress_;
  std::uint64_t published_ = 0;
};

std::vector<bus::Message> read_all(EventReader& events) {
  std::vector<bus::Message> recording;
  while (auto message = events.next()) recording.push_back(std::move(*message));
  return recording;
}

}  // namespace

ReplayReport replay(const ReplayOptions& options) {
  const bool is_stdin = options.input == "-";
  const auto input = is_stdin ? std::make_unique<File>() : std::make_unique<File>(options.input);
  const bool streams = is_stdin || !input->is_regular();
  if (streams && options.repeat) throw UsageError("--repeat: only a file can be read again");

  const Interrupt interrupt;
  Progress progress;
  constexpr std::size_t max_payload_bytes = bus::limits::default_max_payload_bytes;
  EventReader events(LineReader(input->descriptor(), interrupt, EventReader::max_line_bytes(max_payload_bytes)),
                     max_payload_bytes, [&progress](const std::string& text) { progress.remark("busbar: " + text); });
  const std::vector<bus::Message> recording = streams ? std::vector<bus::Message>() : read_all(events);
  const std::uint64_t expected = recording.size() * options.repeat.value_or(1);

  const SteadyStamps clock;
  bus::Bus hub({.capacity = options.capacity, .timestamps = bus::Timestamps::precise, .clock = &clock});
  Audience audience(hub, options);
  std::optional<RoutedAudience> routes;
  if (!options.routes.empty()) routes.emplace(hub, options.routes, interrupt);
  Publisher publisher(hub, routes ? &*routes : nullptr, options, interrupt, progress);

  progress.start(expected);
  const auto begin = clock.steady();
  if (streams) {
    while (const auto message = events.next()) {
      if (!publisher.publish(*message)) break;
    }
  } else {
    for (std::uint64_t i = 0; i < expected && publisher.publish(recording[i % recording.size()]);) ++i;
  }
  const std::chrono::duration<double> seconds = clock.steady() - begin;
  events.finish();

  return {.events = events.events(),
          .published = publisher.published(),
          .skipped_lines = events.skipped(),
          .seconds = seconds.count(),
          .receivers = audience.finish(publisher.published()),
          .routes = routes ? routes->finish() : std::vector<RouteReport>()};
}

}  // namespace busbar
