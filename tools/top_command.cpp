// SPDX-License-Identifier: MIT OR Apache-2.0
#include "top_command.hpp"

#include "top.hpp"

#include <cmath>
#include <stdexcept>

#include <unistd.h>

namespace busbar {
namespace {

constexpr double shortest = 0.1;
constexpr double longest = 3600;

std::chrono::milliseconds as_time(const char* option, double seconds) {
  if (!(seconds >= shortest && seconds <= longest)) throw CLI::ValidationError(option, "must be 0.1 to 3600 seconds");
  return std::chrono::milliseconds(std::llround(seconds * 1000));
}

}  // namespace

TopCommand::TopCommand(CLI::App& parent)
    : app_(*parent.add_subcommand("top", "Watch the metrics of a running program in the terminal")) {
  app_.add_option("ADDRESS", address_,
                  "Where the metrics are: http://HOST:PORT/PATH, or HOST:PORT; without a port it\n"
                  "is 9464, and without a path /metrics")
      ->type_name("")
      ->capture_default_str();
  app_.add_option("--interval", interval_, "Time between two looks, 0.1 to 3600")
      ->type_name("SECONDS")
      ->capture_default_str();
  app_.add_option("--timeout", timeout_, "How long an answer may take, 0.1 to 3600")
      ->type_name("SECONDS")
      ->capture_default_str();
  app_.add_option("--name-space", name_space_, "What stands in front of the names of the metrics, if anything does")
      ->type_name("NAME");
  app_.add_flag("--once", once_, "Look twice, print what happened in between, and end");
  app_.add_flag("--json", json_, "With --once: print one JSON object instead of tables");
  app_.footer(
      "Example: what a program does just now, for a script:\n"
      "  busbar top 127.0.0.1:9464 --once --json\n\n"
      "Rates, and the percentiles of how long commits took, are of the time between two looks. Rows that are worst "
      "off\n"
      "come first: by lag, share of the budget in use, or records lost. Lines of the page that cannot be read are\n"
      "skipped and counted.\n"
      "Keys: q quits, p pauses, Tab and the arrows choose a table when not all fit, and scroll in it. The environment\n"
      "variable NO_COLOR takes the colours away. A server that is gone is told, and tried again.\n\n"
      "Exit status: 0; 3 if lines were skipped, with --once; 2 for wrong usage, as without --once where there is no\n"
      "terminal; 1 for any other failure, as when there is no server or nothing of Busbar on the page, with --once.");
}

Exit TopCommand::run() const {
  TopOptions options{.address = {},
                     .name_space = name_space_,
                     .interval = as_time("--interval", interval_),
                     .timeout = as_time("--timeout", timeout_),
                     .json = json_};
  try {
    options.address = parse_http_address(address_);
  } catch (const std::invalid_argument& error) {
    throw CLI::ValidationError("ADDRESS", error.what());
  }
  if (once_) return look_once(options);
  if (json_) throw CLI::ValidationError("--json", "goes with --once");
  if (::isatty(STDIN_FILENO) == 0 || ::isatty(STDOUT_FILENO) == 0) {
    throw CLI::ValidationError("top", "this is no terminal; --once prints what there is");
  }
  return watch(options);
}

}  // namespace busbar
