// SPDX-License-Identifier: MIT OR Apache-2.0
#include "record_walk.hpp"

#include "output.hpp"
#include "text.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace busbar {
namespace {

bus::LogReader make_reader(bus::LogSnapshot& log, const std::string& directory, const bus::ReadOptions& options) {
  auto reader = log.read(options);
  if (!reader) throw_error("cannot read the log in", directory, reader.error());
  return std::move(*reader);
}

}  // namespace

bus::LogSnapshot open_snapshot(const std::string& directory) {
  auto log = bus::LogSnapshot::open(directory);
  if (log) return std::move(*log);
  if (log.error() == boost::system::errc::no_such_file_or_directory) {
    throw std::runtime_error("there is no log in '" + directory + "'");
  }
  throw_error("cannot open the log in", directory, log.error());
}

RecordWalk::RecordWalk(bus::LogSnapshot& log, const std::string& directory, const bus::ReadOptions& options,
                       std::optional<std::uint64_t> to)
    : directory_(directory), to_(to), reader_(make_reader(log, directory, options)) {}

const bus::RecordView* RecordWalk::next() {
  while (!to_ || reader_.offset() < *to_) {
    const auto found = reader_.next();
    if (!found) throw_error("cannot read the log in", directory_, found.error());
    switch (found->outcome()) {
      case bus::ReadOutcome::record: return to_ && reader_.record().offset() >= *to_ ? nullptr : &reader_.record();
      case bus::ReadOutcome::lost: tell_gap("lost", found->count()); break;
      case bus::ReadOutcome::overrun: tell_gap("dropped by retention", found->count()); break;
      case bus::ReadOutcome::end:
      case bus::ReadOutcome::timed_out:
      case bus::ReadOutcome::closed: return nullptr;
    }
  }
  return nullptr;
}

void RecordWalk::tell_gap(std::string_view what, std::uint64_t count) {
  const std::uint64_t begin = reader_.offset() - count;
  const std::uint64_t end = std::min(reader_.offset(), to_.value_or(reader_.offset()));
  if (begin >= end) return;
  gaps_ = true;
  flush();  // it stands between the records
  remark(std::string(what) + ": " + counted(end - begin, "record") + " from offset " + std::to_string(begin) + " on");
}

}  // namespace busbar
