// SPDX-License-Identifier: MIT OR Apache-2.0
#include "log_append.hpp"

#include "input.hpp"
#include "log_record.hpp"
#include "log_writer.hpp"
#include "output.hpp"
#include "text.hpp"

#include <bus/persistence/log.hpp>

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace busbar {
namespace {

/// A payload as large as a segment, of which each byte takes six in JSON, and room for the rest.
constexpr std::size_t max_line_bytes = (6 * std::size_t{64} + 1) << 20;

/// Whether it is the line that is wrong, and the next one may do.
bool is_fault_of_line(const bus::error_code& error) {
  return error == bus::errc::payload_too_large || error == bus::errc::topic_invalid ||
         error == bus::errc::principal_invalid || error == bus::errc::key_too_long ||
         error == bus::errc::name_invalid || error == bus::errc::producer_fenced || error == bus::errc::sequence_gap;
}

/// What is said of a receipt: the offset, or as JSON behind `what`, which is a line's number or nothing.
template <bus::Durability D>
std::string answer(const bus::Receipt<D>& receipt, bool json, const std::string& what = {}) {
  const bool known = receipt.offset() != bus::unknown_offset;  // it may not be, of a duplicate
  const std::string offset = known ? std::to_string(receipt.offset()) : json ? "null" : "unknown";
  if (!json) return offset + '\n';
  return "{" + what + "\"offset\":" + offset + ",\"durability\":\"" + std::string(to_string(D)) + '"' +
         (receipt.duplicate() ? ",\"duplicate\":true" : "") + "}\n";
}

/// Hands lines over to the log and answers them in order.
template <bus::Durability D>
class Appender {
 public:
  Appender(bus::Log& log, const AppendOptions& options, const Interrupt& interrupt)
      : log_(log), options_(options), interrupt_(interrupt), lines_(0, interrupt, max_line_bytes) {}

  Exit run() {
    while (!failed_) {
      std::string_view line;
      auto status = lines_.try_next(line);
      if (!status) {
        answer_all();
        if (failed_) break;
        status = lines_.next(line);
      }
      if (*status == LineReader::Status::end || *status == LineReader::Status::interrupted) break;
      if (*status == LineReader::Status::too_long) {
        skip(lines_.line_number(), "longer than " + with_separators(max_line_bytes) + " bytes");
      } else if (!is_blank(line)) {
        take(line);
      }
    }
    answer_all();
    return failed_ ? failure : skipped_ ? incomplete : success;
  }

 private:
  struct InFlight {
    std::uint64_t line;
    bus::PendingReceipt<D> receipt;
  };

  void take(std::string_view line) {
    const std::uint64_t number = lines_.line_number();
    const ParsedRecord parsed = parse_record(line);
    if (const auto* const fault = std::get_if<LineFault>(&parsed)) return skip(number, fault->text);
    if (in_flight_.size() >= options_.in_flight) answer_oldest();
    auto receipt = submit(std::get<RecordLine>(parsed).record);
    if (receipt) {
      in_flight_.push_back({number, std::move(*receipt)});
    } else {
      complain(number, receipt.error());
    }
    while (!in_flight_.empty() && in_flight_.front().receipt.ready()) answer_oldest();
  }

  /// Waits for room, if there is none.
  bus::result<bus::PendingReceipt<D>> submit(const bus::Record& record) {
    using namespace std::chrono_literals;
    for (;;) {
      auto receipt = log_.submit_until<D>(record, std::chrono::steady_clock::now() + 100ms);
      const bool is_full =
          !receipt && (receipt.error() == bus::errc::timed_out || receipt.error() == bus::errc::overloaded);
      if (!is_full || interrupt_.requested()) return receipt;
      if (!in_flight_.empty()) {
        answer_oldest();
      } else {
        interrupt_.wait_until(std::chrono::steady_clock::now() + 1ms);
      }
    }
  }

  void answer_all() {
    while (!in_flight_.empty()) answer_oldest();
    flush();
  }

  void answer_oldest() {
    const InFlight oldest = std::move(in_flight_.front());
    in_flight_.pop_front();
    const auto receipt = oldest.receipt.wait();
    if (!receipt) return complain(oldest.line, receipt.error());
    print(answer(*receipt, options_.json, "\"line\":" + std::to_string(oldest.line) + ','));
  }

  void complain(std::uint64_t line, const bus::error_code& error) {
    if (is_fault_of_line(error)) return skip(line, error.message());
    failed_ = true;
    remark("line " + std::to_string(line) + " was not appended: " + error.message());
  }

  void skip(std::uint64_t line, const std::string& why) {
    skipped_ = true;
    remark("line " + std::to_string(line) + " skipped: " + why);
  }

  bus::Log& log_;
  const AppendOptions& options_;
  const Interrupt& interrupt_;
  LineReader lines_;
  std::deque<InFlight> in_flight_;
  bool skipped_ = false;
  bool failed_ = false;
};

Exit run(bus::Log& log, const AppendOptions& options, const Interrupt& interrupt) {
  switch (options.durability) {
    case bus::Durability::buffered: return Appender<bus::Durability::buffered>(log, options, interrupt).run();
    case bus::Durability::written: return Appender<bus::Durability::written>(log, options, interrupt).run();
    case bus::Durability::interval: return Appender<bus::Durability::interval>(log, options, interrupt).run();
    case bus::Durability::synced: break;
  }
  return Appender<bus::Durability::synced>(log, options, interrupt).run();
}

}  // namespace

Exit append(const AppendOptions& options) {
  const Interrupt interrupt;
  bus::LogOptions log_options{.segment_bytes = options.segment_bytes};
  if (options.keep_duplicates) log_options.dedup = std::nullopt;
  OpenLog open = open_to_write(options.directory, log_options);
  const Exit exit = run(open.log, options, interrupt);
  return close(open, options.directory, exit);
}

Exit append_one(const std::string& directory, const bus::Record& record, bool json) {
  OpenLog open = open_to_write(directory, {.spare_segments = 0});  // it has no use for one
  const auto receipt = open.log.append(record);
  if (!receipt) throw_error("cannot append to the log in", directory, receipt.error());
  print(answer(*receipt, json));
  flush();
  return close(open, directory, success);
}

}  // namespace busbar
