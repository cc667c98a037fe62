// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The `busbar` command. What it can do is in the files named after its subcommands; this one reads the command line.
#include "bench_command.hpp"
#include "config_commands.hpp"
#include "exit_status.hpp"
#include "group_commands.hpp"
#include "log_commands.hpp"
#include "manual_commands.hpp"
#include "replay.hpp"
#include "report.hpp"
#include "route_spec.hpp"
#include "routed_audience.hpp"
#include "serve_command.hpp"
#include "top_command.hpp"

#include <bus/limits.hpp>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using busbar::Exit;

const std::map<std::string, busbar::Wait> waits{{"spin", busbar::Wait::spin},
                                                {"yield", busbar::Wait::yield},
                                                {"park", busbar::Wait::park},
                                                {"async", busbar::Wait::async}};

constexpr unsigned max_receivers = 256;
constexpr std::uint64_t max_repeat = 1'000'000'000;

/// The command line of `busbar replay`.
class ReplayCommand {
 public:
  explicit ReplayCommand(CLI::App& parent)
      : app_(*parent.add_subcommand("replay", "Publish recorded events on a bus and see what its receivers get")) {
    app_.add_option("FILE", options_.input,
                    "Events, one JSON object a line: {\"topic\": …, \"principal\": …, \"payload\": …};\n"
                    "topic and payload are required, and other keys ignored.\n"
                    "A file is read before the first event is published; - is standard input,\n"
                    "whose events are published as they arrive")
        ->type_name("")
        ->capture_default_str();
    app_.add_option("--receivers", options_.receivers, "Receivers that read as fast as they can, 0 to 256")
        ->check(CLI::Range(0U, max_receivers).description(""))
        ->type_name("N")
        ->capture_default_str();
    app_.add_option("--slow", slow_, "A further receiver that reads at most so many events a second")
        ->type_name("NAME=EVENTS_PER_SECOND")
        ->allow_extra_args(false);
    app_.add_option("--capacity", options_.capacity, "Events the bus retains, 2 to 1,048,576; it overwrites the oldest")
        ->check(CLI::Range(bus::limits::min_capacity, bus::limits::max_capacity).description(""))
        ->type_name("C")
        ->capture_default_str();
    app_.add_option("--rate", options_.events_per_second, "Publish at most so many events a second; 0 is flat out")
        ->type_name("EVENTS_PER_SECOND")
        ->capture_default_str();
    app_.add_option("--wait", wait_, "How receivers wait, each in a thread of its own; async: as coroutines")
        ->check(CLI::IsMember(waits).description(""))
        ->type_name("spin|yield|park|async")
        ->capture_default_str();
    repeat_option_ = app_.add_option("--repeat", repeat_, "Publish the file so many times")
                         ->check(CLI::Range(std::uint64_t{1}, max_repeat).description(""))
                         ->type_name("K");
    app_.add_option("--route", routes_,
                    "A route that each event on a matching topic goes into, at most 8 of them, each\n"
                    "read by a thread of its own. The options, each after a semicolon:\n"
                    "budget=BYTES|KiB|MiB (1MiB), principal=P only (all; none after the = is the\n"
                    "system), policy=evict_oldest_head|evict_fair_share|reject_new|wait|detach|\n"
                    "coalesce (evict_oldest_head), rate=EVENTS_PER_SECOND at most that it reads\n"
                    "until all is published (no limit; 0: reads only then)")
        ->type_name("NAME:PATTERN[,PATTERN]...[;OPTION=VALUE]...")
        ->allow_extra_args(false);
    app_.add_option("--terminal", terminal_,
                    "Mark events on matching topics as the end of a stream, which no route evicts")
        ->type_name("PATTERN")
        ->allow_extra_args(false);
    app_.add_flag("--json", json_, "Print one JSON object instead of a table");
    app_.footer(
        "Example: a reader that is too slow for all the tokens, and misses the end of no stream:\n"
        "  busbar replay examples/data/agents.ndjson --terminal 'llm.v1.done.>'"
        " --route 'screen:llm.v1.>;budget=64KiB;rate=200'\n\n"
        "For each receiver delivered + missed + pending == published; so too for each principal of a route, and for a\n"
        "route delivered + evicted + coalesced == taken. Latency is from publication to receipt.\n"
        "Lines that are no events are told on standard error and skipped; the rest goes on. Ctrl-C ends publishing\n"
        "and prints the report.\n\n"
        "Exit status: 0; 3 if lines were skipped; 2 for wrong usage; 1 for any other failure.");
  }

  /// Whether the command line asks for it.
  bool chosen() const { return app_.parsed(); }

  /// Checks what CLI11 cannot. Errors: throws CLI::ValidationError.
  busbar::ReplayOptions options() const {
    busbar::ReplayOptions options = options_;
    options.wait = waits.at(wait_);
    if (!std::isfinite(options.events_per_second) || options.events_per_second < 0) {
      throw CLI::ValidationError("--rate", "must be 0 or more");
    }
    if (repeat_option_->count() != 0) {
      if (options.input == "-") throw CLI::ValidationError("--repeat", "standard input cannot be read again");
      options.repeat = repeat_;
    }
    std::set<std::string> names;
    for (unsigned i = 1; i <= options.receivers; ++i) names.insert("receiver-" + std::to_string(i));
    for (const std::string& text : slow_) {
      options.slow.push_back(slow_receiver(text));
      if (!names.insert(options.slow.back().name).second) {
        throw CLI::ValidationError("--slow", "there are two receivers named " + options.slow.back().name);
      }
    }
    if (names.size() > max_receivers) throw CLI::ValidationError("--slow", "there are more than 256 receivers");
    options.routes = routes();
    for (const std::string& text : terminal_) {
      auto pattern = bus::TopicPattern::parse(text);
      if (!pattern) {
        throw CLI::ValidationError("--terminal",
                                   "'" + text + "': no pattern: " + std::string(bus::detail::topic_fault(text, true)));
      }
      options.terminal.push_back(std::move(*pattern));
    }
    return options;
  }

  Exit run(const busbar::ReplayOptions& options) const {
    const busbar::ReplayReport report = busbar::replay(options);
    const std::string text = json_ ? busbar::as_json(report) : busbar::as_table(report);
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
      throw std::runtime_error("cannot write the report");
    }
    return report.skipped_lines == 0 ? busbar::success : busbar::incomplete;
  }

 private:
  static busbar::SlowReceiver slow_receiver(const std::string& text) {
    const std::size_t equals = text.rfind('=');
    if (equals == std::string::npos) throw CLI::ValidationError("--slow", "must be NAME=EVENTS_PER_SECOND");
    busbar::SlowReceiver slow{.name = text.substr(0, equals)};
    const auto is_unfit = [](unsigned char byte) { return byte <= 0x20 || byte == 0x7F || byte == ','; };
    if (slow.name.empty() || slow.name.size() > bus::limits::max_name_bytes ||
        std::any_of(slow.name.begin(), slow.name.end(), is_unfit)) {
      throw CLI::ValidationError("--slow", "a name has 1 to 64 bytes and no spaces, control bytes or commas");
    }
    const std::string rate = text.substr(equals + 1);
    if (!CLI::detail::lexical_cast(rate, slow.events_per_second) || !std::isfinite(slow.events_per_second) ||
        slow.events_per_second <= 0) {
      throw CLI::ValidationError("--slow", "the events per second must be a number above 0");
    }
    return slow;
  }

  std::vector<busbar::RouteSpec> routes() const {
    std::vector<busbar::RouteSpec> routes;
    std::set<std::string> names;
    for (const std::string& text : routes_) {
      try {
        routes.push_back(busbar::parse_route(text));
      } catch (const std::invalid_argument& error) {
        throw CLI::ValidationError("--route", error.what());
      }
      const std::string& name = routes.back().options.owner;
      if (!names.insert(name).second) throw CLI::ValidationError("--route", "there are two routes named " + name);
    }
    if (routes.size() > busbar::RoutedAudience::max_routes) {
      throw CLI::ValidationError("--route", "there are more than 8 routes");
    }
    return routes;
  }

  CLI::App& app_;
  CLI::Option* repeat_option_ = nullptr;
  busbar::ReplayOptions options_;
  std::vector<std::string> slow_;
  std::vector<std::string> routes_;
  std::vector<std::string> terminal_;
  std::string wait_ = "park";
  std::uint64_t repeat_ = 1;
  bool json_ = false;
};

Exit complain(std::string_view what, Exit status) {
  std::fprintf(stderr, "busbar: %.*s\n", static_cast<int>(what.size()), what.data());
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Busbar: an in-process bus for events, seen from the command line", "busbar");
  app.set_version_flag("--version", "busbar " BUSBAR_VERSION);
  app.require_subcommand(1);
  app.get_formatter()->column_width(36);
  app.footer(
      "Example: see what receivers get of a recording, and how to write one to a log:\n"
      "  busbar replay examples/data/agents.ndjson\n"
      "  busbar log append --help\n\n"
      "Exit status: 0; 3 if it is done, but lines were skipped or records are missing; 2 for wrong usage; 1 for any "
      "other\n"
      "failure. Errors are told on standard error.");
  const ReplayCommand replay(app);
  const busbar::LogCommands log(app);
  const busbar::ConfigCommands config(app);
  const busbar::ServeCommand serve(app);
  const busbar::GroupCommands groups(app);
  const busbar::TopCommand top(app);
  const busbar::BenchCommand bench(app);
  const busbar::ManualCommands manual(app);
  try {
    app.parse(argc, argv);
    if (replay.chosen()) return replay.run(replay.options());
    if (config.chosen()) return config.run();
    if (serve.chosen()) return serve.run();
    if (top.chosen()) return top.run();
    if (bench.chosen()) return bench.run();
    if (manual.chosen()) return manual.run(BUSBAR_VERSION);
    return log.chosen() ? log.run() : groups.run();
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return static_cast<Exit>(app.exit(error));  // help and version
    return complain(std::string(error.what()) + "\nRun with --help for more information.", busbar::wrong_usage);
  } catch (const busbar::UsageError& error) {
    return complain(error.what(), busbar::wrong_usage);
  } catch (const std::exception& error) {
    return complain(error.what(), busbar::failure);
  }
}
