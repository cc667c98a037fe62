// SPDX-License-Identifier: MIT OR Apache-2.0
#include "log_losses.hpp"

#include "input.hpp"
#include "output.hpp"
#include "progress.hpp"
#include "record_walk.hpp"
#include "text.hpp"

#include <bus/persistence/log.hpp>

#include <nlohmann/json.hpp>

#include <optional>
#include <stdexcept>

namespace busbar {
namespace {

using nlohmann::ordered_json;

/// Opens a log that is there. A log may be so damaged that it can only be opened to be repaired.
bus::Log open_to_repair(const std::string& directory) {
  const auto snapshot = bus::LogSnapshot::open(directory);
  const auto error = snapshot ? bus::error_code() : snapshot.error();
  if (error == boost::system::errc::no_such_file_or_directory || error == boost::system::errc::not_a_directory) {
    static_cast<void>(open_snapshot(directory));  // says so
  }
  auto log = bus::Log::open(directory, {.verify = true});
  if (!log) throw_error("cannot open the log in", directory, log.error());
  return std::move(*log);
}

}  // namespace

bool is_missing_any(const bus::LossReport& losses) noexcept { return losses.records() != 0 || losses.bytes() != 0; }

std::string loss_table(const bus::LossReport& losses) {
  std::vector<Row> rows{{"missing in", "from byte", "to byte", "from offset", "records", "verdict", "known", "reason"}};
  for (const bus::LogLoss& loss : losses.losses) {
    rows.push_back({loss.segment, std::to_string(loss.begin), std::to_string(loss.end),
                    std::to_string(loss.first_offset), with_separators(loss.records) + (loss.counted ? "" : " or more"),
                    std::string(to_string(loss.verdict)), loss.known ? "yes" : "no", loss.reason});
  }
  return aligned(rows);
}

std::string loss_summary(const bus::LossReport& losses) {
  if (!is_missing_any(losses)) return "nothing is missing\n";
  return "missing: " + counted(losses.records(), "record") + ", " + counted(losses.bytes(), "damaged byte") + '\n';
}

Exit scrub(const std::string& directory, std::uint64_t bytes_per_second, bool json) {
  const Interrupt interrupt;
  bus::LogSnapshot log = open_snapshot(directory);
  bus::ScrubProgress last;
  std::optional<Progress> progress;
  const auto on_progress = [&](const bus::ScrubProgress& now) {
    constexpr std::uint64_t kib = 1024;
    if (!progress) progress.emplace("KiB").start(now.total_bytes / kib);
    progress->published(now.bytes / kib);
    last = now;
    return !interrupt.requested();
  };
  const auto losses = log.scrub({.bytes_per_second = bytes_per_second, .on_progress = on_progress});
  progress.reset();
  if (!losses && interrupt.requested()) throw std::runtime_error("interrupted before all was read");
  if (!losses) throw_error("cannot read the log in", directory, losses.error());
  if (json) {
    print(losses->to_json() + '\n');
  } else {
    print(loss_table(*losses) + "read: " + counted(last.records, "whole record") + ", " + counted(last.bytes, "byte") +
          "\n" + loss_summary(*losses));
  }
  flush();
  return is_missing_any(*losses) ? incomplete : success;
}

Exit repair(const std::string& directory, bool accept, bool json) {
  bus::Log log = open_to_repair(directory);
  const bus::LossReport losses = log.losses();
  const bool refused = log.read_only();
  if (accept) {
    if (const bus::error_code error = log.accept_losses()) throw_error("cannot accept the losses in", directory, error);
  }
  const bool read_only = log.read_only();
  if (json) {
    const ordered_json object{{"first_offset", log.first_offset()},
                              {"next_offset", log.next_offset()},
                              {"accepted", refused && !read_only},
                              {"read_only", read_only},
                              {"losses", ordered_json::parse(losses.to_json())}};
    print(object.dump() + '\n');
  } else {
    print(loss_table(losses) + loss_summary(losses));
    print(!refused     ? "the log takes appends\n"
          : !read_only ? "this is accepted: the log takes appends again\n"
                       : "the log takes no appends before this is accepted, with --accept\n");
  }
  flush();
  const bus::error_code error = log.close();
  if (error && !read_only) throw_error("cannot close the log in", directory, error);
  return is_missing_any(losses) ? incomplete : success;
}

}  // namespace busbar
