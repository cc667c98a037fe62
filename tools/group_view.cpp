// SPDX-License-Identifier: MIT OR Apache-2.0
#include "group_view.hpp"

#include "bytes.hpp"
#include "input.hpp"
#include "log_record.hpp"
#include "output.hpp"
#include "record_walk.hpp"
#include "text.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <limits>
#include <stdexcept>
#include <string_view>
#include <utility>

namespace busbar {
namespace {

using nlohmann::ordered_json;
using Positions = std::vector<bus::GroupPosition>;

Positions all_positions(bus::LogSnapshot& log, const std::string& directory) {
  auto positions = log.groups();
  if (!positions) throw_error("cannot read the groups of the log in", directory, positions.error());
  return std::move(*positions);
}

std::string_view mode_name(bus::GroupMode mode) {
  switch (mode) {
    case bus::GroupMode::competing: return "competing";
    case bus::GroupMode::key_ordered: return "key_ordered";
    case bus::GroupMode::broadcast: break;
  }
  return "broadcast";
}

/// What is known of a message that is not finished.
ordered_json fate(const bus::GroupPosition& position, std::uint64_t offset) {
  auto object = ordered_json::object();
  const auto tried = position.tried(offset);
  if (!tried) return object;
  object["attempts"] = tried->attempts;
  if (tried->due) object["not_before"] = as_utc(*tried->due);
  if (!tried->last_error.empty()) object["last_error"] = tried->last_error;
  return object;
}

/// Prints what a group owes, and what it owes besides when it is asked again.
class Peeker {
 public:
  Peeker(bus::LogSnapshot& log, const PeekOptions& options)
      : log_(log), options_(options), position_(here()), walk_(log, options.directory, read_options()) {}

  /// Returns: whether more may come that is wanted.
  bool print_rest(const Interrupt* interrupt) {
    while (!is_done() && (interrupt == nullptr || !interrupt->requested())) {
      const bus::RecordView* const record = walk_.next();
      if (record == nullptr) return true;
      if (!position_.owes(*record)) continue;
      print(as_json(*record, fate(position_, record->offset())) + '\n');
      ++printed_;
    }
    return false;
  }

  /// Looks for what has been committed since.
  void refresh() {
    if (const auto error = log_.refresh()) throw_error("cannot read the log in", options_.directory, error);
    if (log_.next_offset() > walk_.offset()) position_ = here();
  }

  bool has_gaps() const noexcept { return walk_.has_gaps(); }

 private:
  bus::GroupPosition here() {
    return position_of(positions_of(log_, options_.directory, options_.group), options_.group, options_.member);
  }
  bus::ReadOptions read_options() const {
    return {.from = bus::From::offset(begin_of(log_, {&position_, 1})), .patterns = position_.patterns()};
  }
  bool is_done() const noexcept { return options_.max && printed_ >= *options_.max; }

  bus::LogSnapshot& log_;
  const PeekOptions& options_;
  bus::GroupPosition position_;
  RecordWalk walk_;
  std::uint64_t printed_ = 0;
};

/// What a dead letter says of itself.
struct DeadLetter {
  std::string_view reason;
  std::string_view attempts;
  std::string_view first_error;
  std::string_view last_error;
  std::string_view offset;
  std::string_view topic;
  std::string_view cut;  // what there was no room for

  explicit DeadLetter(const bus::RecordView& record) {
    // Those of the message come behind, and may have been a dead letter's too.
    record.for_each_header([&](const bus::Header& header) {
      for (const auto& [name, value] :
           {std::pair{bus::dead_reason_header, &reason}, std::pair{bus::dead_attempts_header, &attempts},
            std::pair{bus::dead_first_error_header, &first_error}, std::pair{bus::dead_last_error_header, &last_error},
            std::pair{bus::dead_offset_header, &offset}, std::pair{bus::dead_topic_header, &topic}}) {
        if (header.name == name && value->data() == nullptr) *value = header.value;
      }
    });
  }
};

/// A number that stands in a header, or its text if it is none.
ordered_json number_or_text(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return ordered_json(text);
  return ordered_json(number);
}

ordered_json to_json(const DeadLetter& letter) {
  ordered_json dead{{"topic", letter.topic},
                    {"offset", number_or_text(letter.offset)},
                    {"attempts", number_or_text(letter.attempts)},
                    {"reason", letter.reason},
                    {"first_error", letter.first_error},
                    {"last_error", letter.last_error}};
  if (!letter.cut.empty()) dead["cut"] = letter.cut;
  return {{"dead", std::move(dead)}};
}

/// For people: offset, time, where it came from, attempts and why.
std::string as_line(const bus::RecordView& record, const DeadLetter& letter) {
  std::string line = std::to_string(record.offset()) + "  " + as_utc(record.time()) + "  " + printable(letter.topic) +
                     "  offset " + printable(letter.offset) + "  attempts " + printable(letter.attempts) + "  " +
                     printable(letter.reason);
  if (!letter.last_error.empty() && letter.last_error != letter.reason) line += ": " + printable(letter.last_error);
  return line;
}

bool is_wanted(const bus::DeadFilter& filter, const DeadLetter& letter) {
  const auto matches = [&](const bus::TopicPattern& pattern) {
    return bus::topic_matches(pattern.view(), letter.topic);
  };
  return letter.reason.find(filter.reason) != std::string_view::npos &&
         (filter.topics.empty() || std::ranges::any_of(filter.topics, matches));
}

/// What a group has to do.
struct Lag {
  std::uint64_t messages = 0;
  std::optional<std::uint64_t> oldest = {};
  std::string since = {};
};

/// What the queue of a group's dead letters is called.
std::string dead_name(const std::string& group) { return std::string(bus::dead_prefix) + group; }
bool is_of_dead(const bus::GroupPosition& position) { return position.group().starts_with(bus::dead_prefix); }

/// How many dead letters a group has.
std::uint64_t dead_of(const Positions& positions, const std::vector<Lag>& lags, const std::string& group) {
  const auto found = std::ranges::find(positions, dead_name(group), &bus::GroupPosition::group);
  return found == positions.end() ? 0 : lags[static_cast<std::size_t>(found - positions.begin())].messages;
}

ordered_json to_json(const bus::GroupPosition& position) {
  auto patterns = ordered_json::array();
  for (const bus::TopicPattern& pattern : position.patterns()) patterns.push_back(std::string(pattern.view()));
  ordered_json object{{"group", position.group()}};
  if (!position.member().empty()) object["member"] = position.member();
  object["mode"] = mode_name(position.mode());
  object["patterns"] = std::move(patterns);
  return object;
}

std::string shown(std::string_view text) { return text.empty() ? "-" : printable(text); }

std::string patterns_of(const bus::GroupPosition& position) {
  std::string text;
  for (const bus::TopicPattern& pattern : position.patterns()) text += ' ' + printable(pattern.view());
  return text.empty() ? "all" : text.substr(1);
}

void print_table(const std::vector<Row>& rows) {
  std::string table = rows.size() == 1 ? "there are no groups\n" : aligned(rows);
  if (table.ends_with("\n\n")) table.pop_back();  // nothing follows
  print(table);
}

}  // namespace

std::uint64_t begin_of(const bus::LogSnapshot& log, std::span<const bus::GroupPosition> positions) {
  std::uint64_t begin = log.next_offset();
  for (const bus::GroupPosition& position : positions) begin = std::min(begin, position.floor());
  return std::max(begin, log.first_offset());
}

void check_member(const std::string& group, bool is_broadcast, const std::string& member) {
  if (is_broadcast && member.empty()) {
    throw std::runtime_error("the group '" + group + "' is a broadcast: say which --member");
  }
  if (!is_broadcast && !member.empty()) {
    throw std::runtime_error("the group '" + group + "' is no broadcast: its members have no names");
  }
}

Positions positions_of(bus::LogSnapshot& log, const std::string& directory, const std::string& group) {
  Positions positions = all_positions(log, directory);
  std::erase_if(positions, [&](const bus::GroupPosition& one) { return one.group() != group; });
  return positions;
}

const bus::GroupPosition& position_of(const Positions& positions, const std::string& group, const std::string& member) {
  if (positions.empty()) throw std::runtime_error("there is no group '" + group + "'");
  check_member(group, positions.front().mode() == bus::GroupMode::broadcast, member);
  const auto found = std::ranges::find(positions, member, &bus::GroupPosition::member);
  if (found == positions.end()) throw std::runtime_error("the group '" + group + "' has no member '" + member + "'");
  return *found;
}

Exit peek(const PeekOptions& options) {
  std::optional<Interrupt> interrupt;
  if (options.follow) interrupt.emplace();
  bus::LogSnapshot log = open_snapshot(options.directory);
  Peeker peeker(log, options);
  bool more = peeker.print_rest(interrupt ? &*interrupt : nullptr);
  flush();
  while (more && interrupt) {
    constexpr std::chrono::milliseconds pause(100);
    if (interrupt->wait_until(std::chrono::steady_clock::now() + pause)) break;
    peeker.refresh();
    more = peeker.print_rest(&*interrupt);
    flush();
  }
  return peeker.has_gaps() ? incomplete : success;
}

Exit groups(const std::string& directory, bool json) {
  bus::LogSnapshot log = open_snapshot(directory);
  const Positions positions = all_positions(log, directory);
  if (json) {
    auto list = ordered_json::array();
    for (const bus::GroupPosition& position : positions) {
      if (is_of_dead(position)) continue;
      list.push_back(to_json(position));
      list.back()["floor"] = position.floor();
    }
    print(ordered_json{{"groups", std::move(list)}}.dump() + '\n');
  } else {
    std::vector<Row> rows{{"group", "member", "mode", "topics", "floor"}};
    for (const bus::GroupPosition& position : positions) {
      if (is_of_dead(position)) continue;
      rows.push_back({printable(position.group()), shown(position.member()), std::string(mode_name(position.mode())),
                      patterns_of(position), std::to_string(position.floor())});
    }
    print_table(rows);
  }
  flush();
  return success;
}

Exit lag(const std::string& directory, bool json) {
  bus::LogSnapshot log = open_snapshot(directory);
  const Positions positions = all_positions(log, directory);
  std::vector<Lag> lags(positions.size());
  const std::uint64_t end = log.next_offset();
  RecordWalk walk(log, directory, {.from = bus::From::offset(begin_of(log, positions))}, end);
  while (const bus::RecordView* const record = walk.next()) {
    for (std::size_t i = 0; i < positions.size(); ++i) {
      if (!positions[i].owes(*record)) continue;
      if (lags[i].messages++ != 0) continue;
      lags[i].oldest = record->offset();
      lags[i].since = as_utc(record->time());
    }
  }
  if (json) {
    auto list = ordered_json::array();
    for (std::size_t i = 0; i < positions.size(); ++i) {
      if (is_of_dead(positions[i])) continue;
      list.push_back(to_json(positions[i]));
      list.back()["behind"] = lags[i].messages;
      list.back()["oldest"] = lags[i].oldest ? ordered_json(*lags[i].oldest) : ordered_json(nullptr);
      list.back()["since"] = lags[i].oldest ? ordered_json(lags[i].since) : ordered_json(nullptr);
      list.back()["dead"] = dead_of(positions, lags, positions[i].group());
    }
    print(ordered_json{{"groups", std::move(list)}}.dump() + '\n');
  } else {
    std::vector<Row> rows{{"group", "member", "behind", "oldest", "since", "dead"}};
    for (std::size_t i = 0; i < positions.size(); ++i) {
      if (is_of_dead(positions[i])) continue;
      rows.push_back({printable(positions[i].group()), shown(positions[i].member()), with_separators(lags[i].messages),
                      lags[i].oldest ? std::to_string(*lags[i].oldest) : "-", shown(lags[i].since),
                      with_separators(dead_of(positions, lags, positions[i].group()))});
    }
    print_table(rows);
  }
  flush();
  return walk.has_gaps() ? incomplete : success;
}

Exit list_dead(const DeadOptions& options) {
  const std::string name = dead_name(options.group);
  bus::LogSnapshot log = open_snapshot(options.directory);
  const Positions queue = positions_of(log, options.directory, name);
  if (queue.empty()) throw std::runtime_error("there is no group '" + options.group + "'");
  const std::uint64_t begin = std::max(options.filter.first, begin_of(log, queue));
  const std::uint64_t last = std::min(options.filter.last, std::numeric_limits<std::uint64_t>::max() - 1);
  RecordWalk walk(log, options.directory, {.from = bus::From::offset(begin), .patterns = queue.front().patterns()},
                  last + 1);
  while (const bus::RecordView* const record = walk.next()) {
    const DeadLetter letter(*record);
    if (!queue.front().owes(*record) || !is_wanted(options.filter, letter)) continue;
    print((options.json ? as_json(*record, to_json(letter)) : as_line(*record, letter)) + '\n');
  }
  flush();
  return walk.has_gaps() ? incomplete : success;
}

}  // namespace busbar
