// SPDX-License-Identifier: MIT OR Apache-2.0
#include "persistence/loss_ledger.hpp"

#include "persistence/segment_file.hpp"

#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace bus::detail {
namespace {

constexpr std::string_view report_name = "losses.json";

std::uint64_t end_of(const LogLoss& loss) noexcept { return loss.first_offset + loss.records; }

/// How many of the records in `[begin, end)` no loss in `losses`, which are by offset, has.
std::uint64_t count_unknown(const std::vector<LogLoss>& losses, std::uint64_t begin, std::uint64_t end) noexcept {
  std::uint64_t unknown = 0;
  for (const LogLoss& one : losses) {
    if (one.first_offset >= end) break;
    if (one.first_offset > begin) unknown += one.first_offset - begin;
    begin = std::max(begin, end_of(one));
    if (begin >= end) return unknown;
  }
  return unknown + end - begin;
}

}  // namespace

std::optional<std::uint64_t> LossLedger::add(const LogLoss& loss) {
  const std::lock_guard lock(mutex_);
  const std::uint64_t unknown = count_unknown(losses_, loss.first_offset, end_of(loss));
  const auto is_same = [&](const LogLoss& one) {
    return one.segment == loss.segment && one.begin == loss.begin && one.end == loss.end;
  };
  if (unknown == 0 && (loss.records != 0 || std::ranges::any_of(losses_, is_same))) return std::nullopt;
  const auto behind = std::ranges::upper_bound(losses_, loss.first_offset, {}, &LogLoss::first_offset);
  losses_.insert(behind, loss);
  return unknown;
}

LossReport LossLedger::report() const {
  const std::lock_guard lock(mutex_);
  return {losses_};
}

error_code LossLedger::write(Storage& storage) {
  const LossReport report = this->report();
  {
    const std::lock_guard lock(mutex_);
    if (written_ == report.losses.size()) return {};
  }
  const std::string text = report.to_json();
  const std::string unfinished = std::string(report_name) + std::string(unfinished_suffix);
  (void)storage.remove(unfinished);
  const auto file = storage.open(unfinished, Storage::Open::create);
  if (!file) return file.error();
  if (const error_code error = write_at(**file, 0, std::as_bytes(std::span(text)))) return error;
  if (const error_code error = (*file)->sync()) return error;
  if (const error_code error = storage.rename(unfinished, report_name)) return error;
  if (const error_code error = storage.sync_names()) return error;
  const std::lock_guard lock(mutex_);
  written_ = report.losses.size();
  return {};
}

}  // namespace bus::detail
