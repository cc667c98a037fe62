// SPDX-License-Identifier: MIT OR Apache-2.0
#include "log_view.hpp"

#include "bytes.hpp"
#include "input.hpp"
#include "log_losses.hpp"
#include "log_record.hpp"
#include "output.hpp"
#include "record_walk.hpp"
#include "text.hpp"

#include <nlohmann/json.hpp>

#include <charconv>
#include <chrono>

namespace busbar {
namespace {

using nlohmann::ordered_json;

/// For people: offset, time, topic, principal and payload, on one line.
std::string as_line(const bus::RecordView& record) {
  const std::string_view payload = record.text();
  const std::string principal = record.principal().empty() ? "-" : printable(record.principal());
  return std::to_string(record.offset()) + "  " + as_utc(record.time()) + "  " + printable(record.topic()) + "  " +
         principal + "  " + (is_utf8(payload) ? printable(payload) : "base64:" + to_base64(payload));
}

/// Goes along the records and prints them.
class Viewer {
 public:
  Viewer(bus::LogSnapshot& log, const ViewOptions& options)
      : options_(options),
        walk_(log, options.directory, {.from = options.from, .patterns = options.topics}, options.to) {}

  /// Prints what is there. Returns: whether more may come that is wanted.
  bool print_rest(const Interrupt* interrupt) {
    while (!is_done() && (interrupt == nullptr || !interrupt->requested())) {
      const bus::RecordView* const record = walk_.next();
      if (record == nullptr) return !is_done();
      print((options_.json ? as_json(*record) : as_line(*record)) + '\n');
      ++printed_;
    }
    return false;
  }

  bool has_gaps() const noexcept { return walk_.has_gaps(); }

 private:
  bool is_done() const noexcept {
    return (options_.to && walk_.offset() >= *options_.to) || (options_.max && printed_ >= *options_.max);
  }

  const ViewOptions& options_;
  RecordWalk walk_;
  std::uint64_t printed_ = 0;
};

ordered_json to_json(const bus::LogSnapshot::Segment& segment) {
  return {{"name", segment.name},
          {"base_offset", segment.base_offset},
          {"records", segment.records},
          {"bytes", segment.bytes},
          {"used_bytes", segment.used_bytes},
          {"sealed", segment.sealed},
          {"created", segment.created ? ordered_json(as_utc(*segment.created)) : ordered_json(nullptr)}};
}

std::string segment_table(const std::vector<bus::LogSnapshot::Segment>& segments) {
  std::vector<Row> rows{{"segment", "from offset", "records", "bytes", "used", "sealed", "created"}};
  for (const auto& segment : segments) {
    rows.push_back({segment.name, std::to_string(segment.base_offset), with_separators(segment.records),
                    with_separators(segment.bytes), with_separators(segment.used_bytes), segment.sealed ? "yes" : "no",
                    segment.created ? as_utc(*segment.created) : "-"});
  }
  return aligned(rows);
}

}  // namespace

std::optional<bus::From> parse_from(std::string_view text) {
  if (text == "oldest") return bus::From::oldest();
  if (text == "next") return bus::From::next();
  std::uint64_t offset = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), offset);
  if (error == std::errc() && end == text.data() + text.size()) return bus::From::offset(offset);
  if (const auto time = parse_utc(text)) return bus::From::time(*time);
  return std::nullopt;
}

Exit view(const ViewOptions& options) {
  std::optional<Interrupt> interrupt;
  if (options.follow) interrupt.emplace();
  bus::LogSnapshot log = open_snapshot(options.directory);
  Viewer viewer(log, options);
  bool more = viewer.print_rest(interrupt ? &*interrupt : nullptr);
  flush();
  while (more && interrupt) {
    constexpr std::chrono::milliseconds pause(100);
    if (interrupt->wait_until(std::chrono::steady_clock::now() + pause)) break;
    if (const auto error = log.refresh()) throw_error("cannot read the log in", options.directory, error);
    more = viewer.print_rest(&*interrupt);
    flush();
  }
  return viewer.has_gaps() ? incomplete : success;
}

Exit info(const std::string& directory, bool json) {
  bus::LogSnapshot log = open_snapshot(directory);
  const auto segments = log.segments();
  if (!segments) throw_error("cannot read the log in", directory, segments.error());
  const bus::LossReport losses = log.losses();
  std::uint64_t bytes = 0;
  for (const auto& segment : *segments) bytes += segment.bytes;
  if (json) {
    auto list = ordered_json::array();
    for (const auto& segment : *segments) list.push_back(to_json(segment));
    const ordered_json object{{"first_offset", log.first_offset()},
                              {"next_offset", log.next_offset()},
                              {"bytes", bytes},
                              {"writer", log.has_writer()},
                              {"segments", list},
                              {"losses", ordered_json::parse(losses.to_json())}};
    print(object.dump() + '\n');
  } else {
    print(segment_table(*segments) + loss_table(losses));
    print("offsets " + std::to_string(log.first_offset()) + " up to " + std::to_string(log.next_offset()) + ", " +
          with_separators(bytes) + " bytes, " + (log.has_writer() ? "open to a writer" : "no writer") + '\n');
    print(loss_summary(losses));
  }
  flush();
  return is_missing_any(losses) ? incomplete : success;
}

}  // namespace busbar
