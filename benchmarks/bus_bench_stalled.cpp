// SPDX-License-Identifier: MIT OR Apache-2.0
//
// bus_bench_stalled: B10, what others notice of a publisher that is stopped half-way through a publish.
//
// Built with BUS_TEST_SEAMS, and against a library that was. B1, B3 and B6 are run while one further publisher stands
// still at a seam, from before the run until after it, closing and reading to the end included; beside them the same
// runs in the same program without it.
#include "bus_bench.hpp"

#include <cstdio>
#include <latch>
#include <optional>
#include <thread>

namespace bench {
namespace {

/// Where a thread is to be stopped, and what keeps it there.
struct Stop {
  explicit Stop(std::string_view at) : seam(at) {}
  std::string_view seam;
  std::latch reached{1};
  std::latch released{1};
};

thread_local Stop* stop_here = nullptr;

/// Publishes a little, then one event more in which it is stopped.
class StoppedPublisher {
 public:
  /// Returns when its thread stands still.
  StoppedPublisher(bus::Bus& hub, int number, std::string_view seam)
      : stop_(seam), thread_([this, &hub, number] { publish(hub, number); }) {
    stop_.reached.wait();
  }
  StoppedPublisher(const StoppedPublisher&) = delete;
  StoppedPublisher& operator=(const StoppedPublisher&) = delete;

  /// Lets it go on and end. Returns: how many events it has published.
  std::uint64_t release() {
    stop_.released.count_down();
    thread_.join();
    return published_;
  }

 private:
  /// Enough that it has nodes of its own, few enough that nobody loses any.
  static constexpr std::uint64_t before = 100;

  void publish(bus::Bus& hub, int number) {
    bus::Sender sender = hub.sender();
    Content content;
    content.publisher = static_cast<std::uint64_t>(number);
    for (; content.sequence <= before; ++content.sequence) {
      if (content.sequence == before) stop_here = &stop_;
      if (sender.send(message(content))) ++published_;
    }
  }

  Stop stop_;
  std::uint64_t published_ = 0;
  std::thread thread_;
};

constexpr Mode modes[] = {Mode::poll, Mode::batch, Mode::blocking};
constexpr std::string_view nowhere = "nowhere";
constexpr std::string_view seams[] = {nowhere, "publish:before-swap", "publish:after-swap"};

Line line_of(const char* of, std::string_view seam, int publishers, Mode mode) {
  Line line("B10");
  line.param("of", of)
      .param("stopped", seam.substr(seam.find(':') + 1))
      .param("pubs", publishers)
      .param("subs", 1)
      .param("recv", name_of(mode));
  return line;
}

/// Runs while publisher `number` stands at `seam`. Returns: how many events that one has published.
template <class Run>
std::uint64_t run_beside(Run& measured, Mode mode, std::string_view seam, int number) {
  std::optional<StoppedPublisher> stopped;
  if (seam != nowhere) stopped.emplace(measured.hub, number, seam);
  run(measured, mode);
  return stopped ? stopped->release() : 0;
}

bool held(const Options& options, const char* of, int publishers, Mode mode, std::string_view seam) {
  HeldRun measured(publishers, 1, options.seconds, 1);
  const std::uint64_t others = run_beside(measured, mode, seam, publishers);
  const Tally& tally = measured.tallies[0];
  line_of(of, seam, publishers, mode)
      .metric("msgs_per_s", per_second(measured.published, measured.elapsed_ns))
      .metric("deliveries_per_s", per_second(tally.delivered(), measured.elapsed_ns))
      .count("lost", tally.missed())
      .count("accounted", tally.accounts_for(measured.published + others))
      .print(options);
  return measured.sound("B10", others);
}

bool overrun(const Options& options, Mode mode, std::string_view seam) {
  OverrunRun measured(options.seconds, 1);
  const std::uint64_t others = run_beside(measured, mode, seam, 1);
  line_of("B6", seam, 1, mode)
      .metric("msgs_per_s", per_second(measured.tally.delivered(), measured.elapsed_ns))
      .metric("published_per_s", per_second(measured.published, measured.elapsed_ns))
      .count("lost", measured.tally.missed())
      .count("accounted", measured.tally.accounts_for(measured.published + others))
      .print(options);
  return measured.sound("B10", others);
}

bool b10(const Options& options) {
  bool sound = true;
  for (const Mode mode : modes) {
    if (!options.wants_mode(name_of(mode))) continue;
    for (const std::string_view seam : seams) {
      sound &= held(options, "B1", 1, mode, seam);
      sound &= held(options, "B3", 4, mode, seam);
      sound &= overrun(options, mode, seam);
    }
  }
  return sound;
}

constexpr Workload workloads[] = {
    {"B10", "B1, B3 and B6 while a publisher is stopped half-way through a publish", b10}};

}  // namespace
}  // namespace bench

void bus::sync::at_seam(const char* name) noexcept {
  bench::Stop* const stop = bench::stop_here;
  if (stop == nullptr || stop->seam != name) return;
  bench::stop_here = nullptr;
  stop->reached.count_down();
  stop->released.wait();
}

int main(int argc, char** argv) { return bench::run_workloads(argc, argv, bench::workloads); }
