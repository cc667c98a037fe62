// SPDX-License-Identifier: MIT OR Apache-2.0
#include "replay.hpp"

#include "audience.hpp"
#include "input.hpp"
#include "ndjson.hpp"
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

/// The events of the input, with the lines that are none told and counted.
class EventReader {
 public:
  EventReader(int descriptor, const Interrupt& interrupt, Progress& progress)
      : lines_(descriptor, interrupt, max_line_bytes), progress_(progress) {}

  /// The next event; nothing at the end, or once a stop is requested.
  std::optional<bus::Message> next() {
    for (std::string_view line;;) {
      switch (lines_.next(line)) {
        case LineReader::Status::end:
        case LineReader::Status::interrupted: return std::nullopt;
        case LineReader::Status::too_long: skip("longer than " + std::to_string(max_line_bytes) + " bytes"); break;
        case LineReader::Status::line:
          if (is_blank(line)) break;
          ParsedLine parsed = parse_event(line, max_payload_bytes);
          if (auto* message = std::get_if<bus::Message>(&parsed)) {
            ++events_;
            return std::move(*message);
          }
          skip(std::get<LineFault>(parsed).text);
          break;
      }
    }
  }

  /// Tells how many more lines were skipped than were told one by one.
  void finish() {
    if (skipped_ <= told_faults) return;
    progress_.remark("busbar: " + std::to_string(skipped_ - told_faults) + " more lines skipped");
  }

  std::uint64_t events() const noexcept { return events_; }
  std::uint64_t skipped() const noexcept { return skipped_; }

 private:
  static constexpr std::size_t max_payload_bytes = bus::limits::default_max_payload_bytes;
  /// A payload of the largest size, and as much again for the rest of the line.
  static constexpr std::size_t max_line_bytes = 2 * max_payload_bytes;
  static constexpr std::uint64_t told_faults = 10;

  void skip(const std::string& why) {
    if (++skipped_ <= told_faults) {
      progress_.remark("busbar: line " + std::to_string(lines_.line_number()) + " skipped: " + why);
    }
  }

  LineReader lines_;
  Progress& progress_;
  std::uint64_t events_ = 0;
  std::uint64_t skipped_ = 0;
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
  EventReader events(input->descriptor(), interrupt, progress);
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
