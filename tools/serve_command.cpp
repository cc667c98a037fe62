// SPDX-License-Identifier: MIT OR Apache-2.0
#include "serve_command.hpp"

namespace busbar {

ServeCommand::ServeCommand(CLI::App& parent)
    : app_(*parent.add_subcommand("serve", "Run a host from a configuration, with metrics for Prometheus")) {
  app_.add_option("FILE", options_.file, "The configuration, in TOML: see docs/configuration.md")
      ->type_name("")
      ->required();
  app_.add_flag("--stay", options_.stay, "Go on when the input has ended, until SIGTERM or Ctrl-C");
  app_.add_flag("--json", options_.json, "Print the report as one JSON object on a line");
  app_.footer(
      "Example: events from standard input, metrics on a port that is free.\n"
      "  BUSBAR_METRICS_LISTEN_PORT=0 BUSBAR_SERVE_INPUT=stdin \\\n"
      "    busbar serve examples/data/host.toml --stay < examples/data/agents.ndjson\n\n"
      "Events are lines as `busbar replay` reads them. Receivers, routes and groups are read as the configuration "
      "says;\n"
      "a consumer that prints does so on standard output. Once everything is open, a line on standard error says\n"
      "\"ready\" and where the metrics are: beside /metrics there are /readyz and /healthz, which answer 503 and why\n"
      "while the host starts or drains, and while a log is read-only.\n\n"
      "SIGHUP reads the configuration again and applies what can change. SIGTERM and Ctrl-C, and the end of the "
      "input,\n"
      "have readers finish, for as long as serve.drain_ms says, and the report follows; a second one ends it at "
      "once.\n\n"
      "Exit status: 0; 3 if lines were skipped, messages refused, records missing, or readers not done in time; 2 for\n"
      "wrong usage; 1 for a configuration with errors and any other failure.");
}

}  // namespace busbar
