// SPDX-License-Identifier: MIT OR Apache-2.0
#include "config_commands.hpp"

namespace busbar {
namespace {

constexpr const char* statuses =
    "Exit status: 0; 2 for wrong usage; 1 for a configuration with errors, and for any other failure.";

}  // namespace

ConfigCommands::ConfigCommands(CLI::App& parent)
    : app_(*parent.add_subcommand("config", "What a host is made of, as a file and the environment say it")) {
  app_.require_subcommand(1);
  app_.footer("Example: what is wrong with a file, before a host is started with it:\n  busbar config check host.toml");
  check_ = &add("check", "Say everything that is wrong with a configuration");
  show_ = &add("show", "Print every value of a configuration, and where it is from");
  check_->get_option("FILE")->required();
  check_->footer(
      std::string("Example:\n"
                  "  busbar config check host.toml\n\n"
                  "Errors are on standard error, one a line: the file, line and column; the key; what was\n"
                  "found; what is allowed. Variables of the environment that begin with BUSBAR_ count, too.\n\n") +
      statuses);
  show_->footer(std::string("Example: what a variable changes.\n"
                            "  BUSBAR_CAPACITY=4096 busbar config show host.toml\n\n"
                            "Without a file the defaults and the environment are shown. The output is a configuration\n"
                            "itself, in which a comment at each value says where it is from.\n\n") +
                statuses);
  CLI::App& reference = *app_.add_subcommand("reference", "Print what may stand in a configuration, as Markdown");
  reference.add_flag("--json", options_.json, "Print every key as a JSON object");
  reference.footer(
      "Example:\n"
      "  busbar config reference > docs/configuration.md\n\n"
      "Exit status: 0; 2 for wrong usage; 1 for any other failure.");
}

CLI::App& ConfigCommands::add(const char* name, const char* what) {
  CLI::App& command = *app_.add_subcommand(name, what);
  command.add_option("FILE", options_.file, "The configuration, in TOML: see docs/configuration.md")->type_name("");
  command.add_flag("--json", options_.json, "Print JSON instead of text");
  return command;
}

Exit ConfigCommands::run() const {
  const bus::Environment environment = bus::process_environment();
  if (check_->parsed()) return check_config(options_, environment);
  if (show_->parsed()) return show_config(options_, environment);
  return print_config_reference(options_.json);
}

}  // namespace busbar
