// SPDX-License-Identifier: MIT OR Apache-2.0
#include "bench_command.hpp"

#include "input.hpp"
#include "output.hpp"
#include "self_bench.hpp"

#include <set>

namespace busbar {
namespace {

const std::set<std::string> parts{"bus", "router", "log"};
constexpr double shortest = 0.1;
constexpr double longest = 60;

}  // namespace

BenchCommand::BenchCommand(CLI::App& parent)
    : app_(*parent.add_subcommand("bench", "Measure quickly what a bus, a router and a log do on this machine")) {
  app_.add_option("--only", only_, "Only this part; may be given more than once")
      ->check(CLI::IsMember(parts).description(""))
      ->type_name("bus|router|log")
      ->allow_extra_args(false);
  app_.add_option("--seconds", seconds_, "About how long it takes in all, 0.1 to 60")
      ->type_name("SECONDS")
      ->capture_default_str();
  app_.add_option("--dir", directory_,
                  "Where the log is put, in a directory that is removed afterwards; what a sync\n"
                  "takes depends on the disk there. It takes less than 200 MiB")
      ->type_name("DIR")
      ->capture_default_str();
  app_.add_flag("--json", json_, "Print one JSON object instead of a table, with all runs");
  app_.footer(
      "Example: what the disk under /var/lib takes:\n"
      "  busbar bench --only log --dir /var/lib/agents\n\n"
      "Each line is the median of five short runs, and the least and the most of them: how often a second, or for a\n"
      "latency how long. Its threads are those of the program, the bytes those of a payload. A bar has a mark for "
      "each\n"
      "time that the rate doubles, from one a second on; of a latency it is the rate at which one follows the other.\n"
      "Nothing is lost in these runs but what a full route evicts, and each run checks that. On a machine that does\n"
      "something else besides, the figures say little. Ctrl-C ends it after the line that is measured.\n\n"
      "Exit status: 0; 3 if it was ended before all was measured; 2 for wrong usage; 1 for any other failure.");
}

Exit BenchCommand::run() const {
  if (!(seconds_ >= shortest && seconds_ <= longest)) throw CLI::ValidationError("--seconds", "must be 0.1 to 60");
  const BenchOptions options{.seconds = seconds_, .only = {only_.begin(), only_.end()}, .directory = directory_};
  const Interrupt interrupt;
  if (!json_) {
    print(bench_conditions(options) + bench_head());
    flush();
  }
  std::vector<Measurement> measurements;
  const bool is_whole = measure(options, [&](const Measurement& measurement) {
    measurements.push_back(measurement);
    if (!json_) {
      print(as_row(measurement));
      flush();
    }
    return !interrupt.requested();
  });
  if (json_) print(as_json(options, measurements));
  flush();
  return is_whole ? success : incomplete;
}

}  // namespace busbar
