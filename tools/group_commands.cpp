// SPDX-License-Identifier: MIT OR Apache-2.0
#include "group_commands.hpp"

#include "log_append.hpp"

#include <bus/limits.hpp>

#include <map>
#include <memory>
#include <string_view>
#include <utility>

namespace busbar {
namespace {

const std::map<std::string, bus::GroupMode> modes{{"competing", bus::GroupMode::competing},
                                                  {"key_ordered", bus::GroupMode::key_ordered},
                                                  {"broadcast", bus::GroupMode::broadcast}};
const std::map<std::string, bus::GroupStart> starts{{"next", bus::GroupStart::next},
                                                    {"oldest", bus::GroupStart::oldest}};

constexpr const char* statuses =
    "Exit status: 0; 3 if records are missing; 2 for wrong usage; 1 for any other failure, as when somebody else\n"
    "writes the log.";
constexpr const char* reading_statuses =
    "Exit status: 0; 3 if records are missing; 2 for wrong usage; 1 for any other failure.";

std::vector<bus::TopicPattern> parse_patterns(const char* option, const std::vector<std::string>& texts) {
  std::vector<bus::TopicPattern> patterns;
  for (const std::string& text : texts) {
    auto pattern = bus::TopicPattern::parse(text);
    if (!pattern) {
      throw CLI::ValidationError(option, "'" + text + "': no pattern: " + std::string(bus::TopicPattern::fault(text)));
    }
    patterns.push_back(std::move(*pattern));
  }
  return patterns;
}

/// A group's name is a segment of the topic of its dead letters.
void check_group(const std::string& name) {
  const std::string topic = std::string(bus::dead_prefix) + name;
  if (name.empty() || name.size() > bus::limits::max_name_bytes) {
    throw CLI::ValidationError("--group", "a name has 1 to " + std::to_string(bus::limits::max_name_bytes) + " bytes");
  }
  if (!bus::Topic::parse(topic)) {
    throw CLI::ValidationError("--group", "'" + name + "': no name: " + std::string(bus::Topic::fault(topic)));
  }
}

/// Of a command whose DIR stands in front of its subcommands. Where one of these stands there instead, as in `busbar
/// dead list --help`, its help is what is wanted.
class HelpBehindDirectory final : public CLI::Formatter {
 public:
  std::string make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const override {
    const std::vector<std::string> given = app->get_option("DIR")->results();
    for (const CLI::App* command : app->get_subcommands([](const CLI::App*) { return true; })) {
      if (given == std::vector{command->get_name()}) return command->help(name, mode);
    }
    return CLI::Formatter::make_help(app, name, mode);
  }
};

/// Of such a subcommand: its usage has DIR where it is given.
class UsageBehindDirectory final : public CLI::Formatter {
 public:
  std::string make_usage(const CLI::App* app, std::string name) const override {
    name.insert(name.rfind(' ') + 1, "DIR ");
    return CLI::Formatter::make_usage(app, std::move(name));
  }
};

}  // namespace

GroupCommands::GroupCommands(CLI::App& parent) : parent_(parent) {
  add_pub();
  add_sub();
  add_ack_through();
  add_groups();
  add_lag();
  add_dead();
}

CLI::App& GroupCommands::add(const char* name, const char* what) {
  CLI::App& command = *parent_.add_subcommand(name, what);
  command.add_option("DIR", directory_, "The directory of the log")->type_name("")->required();
  return command;
}

void GroupCommands::add_group(CLI::App& command) {
  command.add_option("--group", group_, "The group's name")->type_name("NAME")->required();
}

void GroupCommands::add_topics(CLI::App& command, const char* name, const char* what) {
  command.add_option(name, patterns_, what)->type_name("PATTERN")->allow_extra_args(false);
}

void GroupCommands::add_pub() {
  CLI::App& command = add("pub", "Publish to a log; it is made if there is none");
  pub_ = &command;
  command.add_option("MESSAGE", message_, "The payload; without it messages are read from standard input")
      ->type_name("");
  command.add_option("--topic", topic_, "Its topic")->type_name("TOPIC");
  command.add_option("--key", key_, "Its key")->type_name("KEY");
  command.add_option("--principal", principal_, "On whose behalf it is sent; without one, the system's")
      ->type_name("PRINCIPAL");
  command.add_flag("--json", json_, "Print a receipt as a JSON object");
  command.footer(
      std::string("Example:\n"
                  "  busbar pub /tmp/jobs 'resize 7.png' --topic jobs.image --key 7\n\n"
                  "The offset of each message is printed once it is on the disk. From standard input come "
                  "lines as\n`busbar log append` reads them, and those that are no messages are told on "
                  "standard error and skipped.\n\n"
                  "Exit status: 0; 3 if lines were skipped or records of the log are missing; 2 for wrong "
                  "usage; 1 for any\nother failure, as when somebody else writes the log."));
}

void GroupCommands::add_sub() {
  CLI::App& command = add("sub", "Receive from a log as a member of a group, or look at what the group owes");
  sub_ = &command;
  add_group(command);
  command.add_flag("--peek", peek_, "Lease nothing: print what is not finished. So it is without a word");
  command.add_flag("--ack", ack_, "Lease messages, print them, and finish them");
  command.add_flag("--nack", nack_, "Lease and print them: they failed, and come again later");
  command.add_flag("--release", release_, "Lease and print them: they come again at once, as if never leased");
  command.add_option("--reject", reject_, "Lease and print them, and send them to the dead letters")
      ->type_name("REASON");
  command.add_option("--max", max_, "Stop after so many messages")
      ->check(CLI::NonNegativeNumber.description(""))
      ->type_name("N");
  command.add_flag("--follow", follow_,
                   "Go on until Ctrl-C: a peek with what is published, the others with what\nis delayed");
  command
      .add_option("--attempts", attempts_, "After so many a message that is nacked goes to the dead letters, 1 to 255")
      ->check(CLI::Range(1U, unsigned{max_attempts}).description(""))
      ->type_name("N")
      ->capture_default_str();
  command.add_option("--member", member_, "In broadcast mode: the member's name")->type_name("NAME");
  add_topics(command, "--pattern", "Of a group that is made: only these topics; may be given more than once");
  command.add_option("--mode", mode_, "Of a group that is made (competing)")
      ->check(CLI::IsMember(modes).description(""))
      ->type_name("competing|key_ordered|broadcast");
  command.add_option("--from", from_, "Where a group begins that is made, or a member of a broadcast (next)")
      ->check(CLI::IsMember(starts).description(""))
      ->type_name("oldest|next");
  command.add_flag("--json", json_, "As without it: a message is a JSON object on a line");
  command.footer(
      "Example: take ten jobs, in a group that is made if there is none:\n"
      "  busbar sub /tmp/jobs --group workers --from oldest --ack --max 10\n\n"
      "A line is that of `busbar log dump`, and behind it the attempts that are known, this one included.\n"
      "A peek goes on beside whoever writes the log; the others write it themselves. What is nacked or released is\n"
      "on lease until the end, at most 4,096 messages; with --follow it is nacked at once.\n"
      "What became of messages is on the disk when the command ends. Messages that cannot be printed are released.\n\n"
      "Exit status: 0; 3 if messages are missing, or were printed too late for what was to become of them; 2 for\n"
      "wrong usage; 1 for any other failure, as when somebody else writes the log.");
}

void GroupCommands::add_ack_through() {
  CLI::App& command = add("ack-through", "Finish all that a group owes up to an offset, unseen");
  ack_through_ = &command;
  add_group(command);
  command.add_option("--up-to", up_to_, "The last offset that is finished")
      ->check(CLI::NonNegativeNumber.description(""))
      ->type_name("OFFSET")
      ->required();
  command.add_flag("--json", json_, "Print how many messages that were as a JSON object");
  command.footer(std::string("Example:\n"
                             "  busbar ack-through /tmp/jobs --group workers --up-to 1000\n\n"
                             "Also what is delayed, and in broadcast mode for each member.\n\n") +
                 statuses);
}

void GroupCommands::add_groups() {
  CLI::App& command = add("groups", "Print the groups of a log");
  groups_ = &command;
  command.add_flag("--json", json_, "Print one JSON object instead of a table");
  command.footer(std::string("Example:\n  busbar groups /tmp/jobs\n\n"
                             "Nothing in front of a group's floor is owed. In broadcast mode each member stands by "
                             "itself.\n\n") +
                 reading_statuses);
}

void GroupCommands::add_lag() {
  CLI::App& command = add("lag", "Print how many messages each group has to finish, and since when");
  lag_ = &command;
  command.add_flag("--json", json_, "Print one JSON object instead of a table");
  command.footer(std::string("Example:\n  busbar lag /tmp/jobs\n\n"
                             "Messages are counted that are for the group and not finished: also those that are on "
                             "lease, delayed, or\npast their time. The log is read for it, from the oldest of them "
                             "on.\n\n") +
                 reading_statuses);
}

CLI::App& GroupCommands::add_dead(CLI::App& parent, const char* name, const char* what) {
  CLI::App& command = *parent.add_subcommand(name, what);
  const auto help = std::make_shared<UsageBehindDirectory>();
  help->column_width(parent.get_formatter()->get_column_width());
  command.formatter(help);
  add_group(command);
  add_topics(command, "--topic", "Only those that came from matching topics; may be given more than once");
  command.add_option("--reason", reason_, "Only those in whose reason this text is")->type_name("TEXT");
  command.add_option("--first", first_, "Only dead letters from this offset on")
      ->check(CLI::NonNegativeNumber.description(""))
      ->type_name("OFFSET");
  command.add_option("--last", last_, "Only dead letters up to this offset")
      ->check(CLI::NonNegativeNumber.description(""))
      ->type_name("OFFSET");
  return command;
}

void GroupCommands::add_dead() {
  CLI::App& command = add("dead", "Look after the dead letters of a group");
  dead_ = &command;
  command.require_subcommand(1);
  CLI::App& list = add_dead(command, "list", "Print those that were neither sent back nor dropped");
  list.add_flag("--json", json_, "Print one as a JSON object: the record, and under dead what became of the message");
  list.footer(std::string("Example:\n"
                          "  busbar dead /tmp/jobs list --group workers --reason 'out of attempts'\n\n"
                          "A line has the offset, the time, the topic and the offset of the message, its attempts, "
                          "and why it died.\n\n") +
              reading_statuses);
  CLI::App& redrive = add_dead(command, "redrive", "Append the messages once more, as they were");
  redrive.add_flag("--json", json_, "Print how many as a JSON object");
  redrive.footer(std::string("Example:\n"
                             "  busbar dead /tmp/jobs redrive --group workers --topic 'jobs.image'\n\n"
                             "One whose payload had no room in the dead letter stays.\n\n") +
                 statuses);
  CLI::App& drop = add_dead(command, "drop", "Finish them for good");
  drop.add_flag("--all", all_, "All of them, where nothing says which");
  drop.add_flag("--json", json_, "Print how many as a JSON object");
  drop.footer(std::string("Example:\n"
                          "  busbar dead /tmp/jobs drop --group workers --last 1000\n\n") +
              statuses);
  const auto help = std::make_shared<HelpBehindDirectory>();
  help->column_width(command.get_formatter()->get_column_width());
  command.formatter(help);
  command.footer(
      "Example: see why messages died, and send them back:\n"
      "  busbar dead /tmp/jobs list --group workers\n"
      "  busbar dead /tmp/jobs redrive --group workers");
}

Exit GroupCommands::run() const {
  if (pub_->parsed()) return run_pub();
  if (groups_->parsed()) return groups(directory_, json_);
  if (lag_->parsed()) return lag(directory_, json_);
  check_group(group_);
  if (sub_->parsed()) return run_sub();
  if (ack_through_->parsed()) {
    return finish({.directory = directory_, .group = group_, .up_to = up_to_, .json = json_});
  }
  return run_dead();
}

Exit GroupCommands::run_pub() const {
  if (!message_) {
    if (topic_ || key_ || principal_) {
      throw CLI::ValidationError("MESSAGE", "--topic, --key and --principal go with one");
    }
    return append({.directory = directory_, .json = json_});
  }
  if (!topic_) throw CLI::ValidationError("--topic", "a message has one");
  auto topic = bus::Topic::parse(*topic_);
  if (!topic) {
    throw CLI::ValidationError("--topic", "'" + *topic_ + "': no topic: " + std::string(bus::Topic::fault(*topic_)));
  }
  const std::string sender = principal_.value_or("");
  auto principal = bus::Principal::parse(sender);
  if (!principal) {
    throw CLI::ValidationError("--principal",
                               "'" + sender + "': no principal: " + std::string(bus::Principal::fault(sender)));
  }
  const bus::Record record{.topic = std::move(*topic),
                           .principal = std::move(*principal),
                           .payload = bus::as_payload(*message_),
                           .key = key_ ? std::string_view(*key_) : std::string_view()};
  return append_one(directory_, record, json_);
}

Exit GroupCommands::run_sub() const {
  const int words = int{peek_} + int{ack_} + int{nack_} + int{release_} + int{reject_.has_value()};
  if (words > 1) throw CLI::ValidationError("sub", "one word of --peek, --ack, --nack, --release, --reject at most");
  if (words == 0 || peek_) {
    if (!patterns_.empty() || mode_ || from_) {
      throw CLI::ValidationError("sub", "--pattern, --mode and --from are of a group that is made; a peek makes none");
    }
    return peek({.directory = directory_, .group = group_, .member = member_, .max = max_, .follow = follow_});
  }
  if (release_ && follow_) {
    throw CLI::ValidationError("--follow", "what is released comes again at once, and for ever");
  }
  WorkOptions options{.directory = directory_,
                      .group = group_,
                      .member = member_,
                      .max = max_,
                      .follow = follow_,
                      .attempts = static_cast<std::uint8_t>(attempts_),
                      .patterns = parse_patterns("--pattern", patterns_)};
  if (nack_) options.settle = Settle::nack;
  if (release_) options.settle = Settle::release;
  if (reject_) {
    options.settle = Settle::reject;
    options.reason = *reject_;
  }
  if (mode_) options.mode = modes.at(*mode_);
  if (from_) options.start = starts.at(*from_);
  return work(options);
}

Exit GroupCommands::run_dead() const {
  const DeadOptions options{
      .directory = directory_,
      .group = group_,
      .filter = {.topics = parse_patterns("--topic", patterns_), .reason = reason_, .first = first_, .last = last_},
      .json = json_};
  const std::string name = dead_->get_subcommands().front()->get_name();
  if (name == "list") return list_dead(options);
  if (name == "redrive") return redrive(options);
  const bus::DeadFilter any;
  const bool is_any = patterns_.empty() && reason_.empty() && first_ == any.first && last_ == any.last;
  if (is_any != all_) throw CLI::ValidationError("drop", "say which, or --all");
  return drop_dead(options);
}

}  // namespace busbar
