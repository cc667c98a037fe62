// SPDX-License-Identifier: MIT OR Apache-2.0
#include "log_commands.hpp"

#include "log_append.hpp"
#include "log_losses.hpp"
#include "log_view.hpp"

#include <cmath>
#include <map>
#include <utility>

namespace busbar {
namespace {

constexpr std::size_t max_in_flight = 1'000'000;
constexpr double max_mib_per_second = 1'000'000;

const std::map<std::string, bus::Durability> durabilities{{"synced", bus::Durability::synced},
                                                          {"interval", bus::Durability::interval},
                                                          {"written", bus::Durability::written},
                                                          {"buffered", bus::Durability::buffered}};

constexpr const char* statuses =
    "Exit status: 0; 3 if records are missing; 2 for wrong usage; 1 for any other failure.";

}  // namespace

LogCommands::LogCommands(CLI::App& parent)
    : log_(*parent.add_subcommand("log", "Write a log of events on the disk, read it and look after it")) {
  log_.require_subcommand(1);
  add_append();
  add_peek();
  add_dump();
  add_info();
  add_scrub();
  add_repair();
  log_.footer(
      "Example: write a recording to a log, and read the end of its streams:\n"
      "  busbar log append /tmp/agents < examples/data/agents.ndjson > /tmp/offsets\n"
      "  busbar log peek /tmp/agents --topic 'llm.v1.done.>'");
}

CLI::App& LogCommands::add(const char* name, const char* what) {
  CLI::App& command = *log_.add_subcommand(name, what);
  command.add_option("DIR", directory_, "The directory of the log")->type_name("")->required();
  return command;
}

void LogCommands::add_append() {
  CLI::App& command = add("append", "Append events from standard input; the log is made if there is none");
  command
      .add_option("--durability", durability_,
                  "What a receipt promises: it is on the disk; it will be within a\n"
                  "second; the operating system has it; the process has it")
      ->check(CLI::IsMember(durabilities).description(""))
      ->type_name("synced|interval|written|buffered")
      ->capture_default_str();
  command.add_option("--batch", in_flight_, "Lines in flight at most; what is in flight is committed together")
      ->check(CLI::Range(std::size_t{1}, max_in_flight).description(""))
      ->type_name("N")
      ->capture_default_str();
  command.add_option("--segment", segment_mib_, "MiB of each new segment's file, 1 to 4096")
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{4096}).description(""))
      ->type_name("MIB")
      ->capture_default_str();
  command.add_flag("--keep-duplicates", keep_duplicates_,
                   "Write also what the log has already, as a copy of a log must");
  command.add_flag("--json", json_, "Print a receipt as a JSON object: its line, its offset and its durability");
  command.footer(
      "Example:\n"
      "  busbar log append /tmp/agents < examples/data/agents.ndjson\n\n"
      "A line is a JSON object: topic and payload, and if need be principal, key, headers (an object of\n"
      "strings), time, source, correlation, trace, terminal, schema, schema_version, message_id, producer,\n"
      "priority, due, expiry; other keys are ignored. A payload that is a string stands for its text, any\n"
      "other value for its JSON; bytes that are no text stand as base64 under payload_base64.\n"
      "The offset of each record is printed once it is as durable as asked. A line whose producer or\n"
      "message_id says that the log has it already is not written again, and its offset is that of the\n"
      "first one. Lines that are no events, or out of their producer's order, are told on standard error\n"
      "and skipped. Ctrl-C ends it after what is in flight.\n\n"
      "Exit status: 0; 3 if lines were skipped or records of the log are missing; 2 for wrong usage; 1 for any other\n"
      "failure.");
}

void LogCommands::add_from(CLI::App& command) {
  command.add_option("--from", from_, "Where to begin; a time is in UTC, such as 2026-03-01T12:00:00Z")
      ->type_name("oldest|next|OFFSET|TIME")
      ->capture_default_str();
}

void LogCommands::add_peek() {
  CLI::App& command = add("peek", "Print records for a person to read");
  add_from(command);
  command.add_option("--topic", topics_, "Only records on matching topics; may be given more than once")
      ->type_name("PATTERN")
      ->allow_extra_args(false);
  command.add_option("--max", max_, "Stop after so many records")
      ->check(CLI::NonNegativeNumber.description(""))
      ->type_name("N");
  command.add_flag("--follow", follow_, "Go on with what is appended, until Ctrl-C");
  command.add_flag("--json", json_, "Print a record as a JSON object, as dump does");
  command.footer(
      std::string("Example: the next events of agents, as they come:\n"
                  "  busbar log peek /tmp/agents --from next --topic 'agent.>' --follow\n\n"
                  "A line has the offset, the time, the topic, the principal and the payload, control characters as\n"
                  "\\xNN; a payload that is no UTF-8 is printed as base64: and its digits, in JSON as payload_base64.\n"
                  "Records that are missing are told on standard error.\n\n") +
      statuses);
}

void LogCommands::add_dump() {
  CLI::App& command = add("dump", "Print records with all they carry, for `busbar log append` to read");
  add_from(command);
  command.add_option("--to", to_, "Stop in front of this offset")
      ->check(CLI::NonNegativeNumber.description(""))
      ->type_name("OFFSET");
  command.add_flag("--json", json_, "As without it: a record is a JSON object on a line");
  command.footer(
      std::string("Example: copy a log:\n"
                  "  busbar log dump /tmp/agents | busbar log append --keep-duplicates /tmp/copy > /tmp/offsets\n\n"
                  "Records that are missing are told on standard error.\n\n") +
      statuses);
}

void LogCommands::add_info() {
  CLI::App& command = add("info", "Print segments, offsets, whether a writer has the log open, and known losses");
  command.add_flag("--json", json_, "Print one JSON object instead of a table");
  command.footer(std::string("Example:\n  busbar log info /tmp/agents\n\n") + statuses);
}

void LogCommands::add_scrub() {
  CLI::App& command = add("scrub", "Read everything, check it, and print what is missing; nothing is changed");
  command.add_option("--rate", mib_per_second_, "Read at most so much a second; 0 is flat out")
      ->type_name("MIB_PER_S")
      ->capture_default_str();
  command.add_flag("--json", json_, "Print the loss report as JSON, in the form of docs/loss-report.schema.json");
  command.footer(std::string("Example:\n  busbar log scrub /tmp/agents --rate 0\n\n") + statuses);
}

void LogCommands::add_repair() {
  CLI::App& command = add("repair", "Open the log as a writer would, check everything, and print what was found");
  command.add_flag("--accept", accept_, "Let the log take appends again, whatever is missing");
  command.add_flag("--json", json_, "Print one JSON object instead of a table");
  command.footer(std::string("Example:\n  busbar log repair /tmp/agents --accept\n\n"
                             "The opening cuts off what a crash left half written, and keeps damaged regions in the\n"
                             "directory quarantine. A log of which too much is missing takes no appends until that is\n"
                             "accepted.\n\n") +
                 statuses);
}

Exit LogCommands::run() const {
  const std::string name = log_.get_subcommands().front()->get_name();
  if (name == "append") return run_append();
  if (name == "peek") return run_view(json_);
  if (name == "dump") return run_view(true);
  if (name == "info") return info(directory_, json_);
  if (name == "scrub") return run_scrub();
  return repair(directory_, accept_, json_);
}

Exit LogCommands::run_append() const {
  return append({.directory = directory_,
                 .durability = durabilities.at(durability_),
                 .in_flight = in_flight_,
                 .segment_bytes = segment_mib_ << 20,
                 .keep_duplicates = keep_duplicates_,
                 .json = json_});
}

Exit LogCommands::run_view(bool json) const {
  ViewOptions options{.directory = directory_, .to = to_, .max = max_, .follow = follow_, .json = json};
  const auto from = parse_from(from_);
  if (!from) throw CLI::ValidationError("--from", "'" + from_ + "': not oldest, next, an offset or a time in UTC");
  options.from = *from;
  for (const std::string& text : topics_) {
    auto pattern = bus::TopicPattern::parse(text);
    if (!pattern) {
      throw CLI::ValidationError("--topic",
                                 "'" + text + "': no pattern: " + std::string(bus::TopicPattern::fault(text)));
    }
    options.topics.push_back(std::move(*pattern));
  }
  return view(options);
}

Exit LogCommands::run_scrub() const {
  if (!std::isfinite(mib_per_second_) || mib_per_second_ < 0 || mib_per_second_ > max_mib_per_second) {
    throw CLI::ValidationError("--rate", "must be 0 to 1,000,000");
  }
  constexpr double mib = 1024 * 1024;
  return scrub(directory_, static_cast<std::uint64_t>(std::ceil(mib_per_second_ * mib)), json_);
}

}  // namespace busbar
