// SPDX-License-Identifier: MIT OR Apache-2.0
#include <bus/persistence/log.hpp>

#include "persistence/log_core.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <new>
#include <utility>

namespace bus {
namespace detail {

result<Appended> wait_for_append(LogCore& log, std::uint64_t ticket, std::uint32_t records, Durability durability,
                                 const std::chrono::steady_clock::time_point* deadline) noexcept {
  return log.wait(ticket, records, durability, deadline);
}

bool is_settled(const LogCore& log, std::uint64_t ticket, std::uint32_t records, Durability durability) noexcept {
  return log.is_settled(ticket, records, durability);
}

error_code LogAccess::submit(Log& log, const Record& record, Durability durability, Completion& completion) noexcept {
  const auto ticket = hand_over(log, record, durability, false, nullptr, completion);
  return ticket ? error_code() : ticket.error();
}

result<std::uint64_t> LogAccess::hand_over(Log& log, const Record& record, Durability durability, bool will_wait,
                                           const std::chrono::steady_clock::time_point* deadline,
                                           Completion& completion) noexcept {
  return log.core_->hand_over({&record, 1}, durability, will_wait, deadline, &completion);
}

result<Appended> LogAccess::wait(Log& log, std::uint64_t ticket, Durability durability,
                                 const std::chrono::steady_clock::time_point* deadline) noexcept {
  return log.core_->wait(ticket, 1, durability, deadline);
}

const std::array<std::uint8_t, 16>& LogAccess::id(const Log& log) noexcept { return log.core_->log_id(); }

const std::shared_ptr<Groups>& LogAccess::groups(Log& log) noexcept { return log.core_->groups(); }

}  // namespace detail

std::string_view to_string(Durability durability) noexcept {
  switch (durability) {
    case Durability::buffered: return "buffered";
    case Durability::written: return "written";
    case Durability::interval: return "interval";
    case Durability::synced: break;
  }
  return "synced";
}

LogOptions LogOptions::edge() {
  LogOptions options;
  options.segment_bytes = std::uint64_t{8} << 20;
  options.uncommitted_bytes = std::size_t{2} << 20;
  options.memory_bytes = std::size_t{64} << 20;
  options.quarantine_bytes = std::uint64_t{8} << 20;
  return options;
}

// --- Cursor: the log's id and an offset, in hexadecimal digits. ---

namespace {

constexpr std::size_t id_digits = 32;
constexpr std::size_t offset_digits = 16;

}  // namespace

std::string Cursor::to_string() const {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : log_) {
    text += digits[byte >> 4];
    text += digits[byte & 15];
  }
  text += '-';
  for (int shift = 60; shift >= 0; shift -= 4) text += digits[offset_ >> shift & 15];
  return text;
}

result<Cursor> Cursor::parse(std::string_view text) {
  const auto wrong = [] { return error_code(boost::system::errc::invalid_argument, boost::system::system_category()); };
  if (text.size() != id_digits + 1 + offset_digits || text[id_digits] != '-') return wrong();
  const auto parse_hex = [](std::string_view digits, auto& number) {
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number, 16);
    return error == std::errc() && end == digits.data() + digits.size();
  };
  Cursor cursor;
  for (std::size_t i = 0; i < cursor.log_.size(); ++i) {
    if (!parse_hex(text.substr(2 * i, 2), cursor.log_[i])) return wrong();
  }
  if (!parse_hex(text.substr(id_digits + 1), cursor.offset_)) return wrong();
  return cursor;
}

// --- Log. ---

result<Log> Log::open(const std::filesystem::path& directory, const LogOptions& options) noexcept try {
  auto storage = open_directory(directory);
  if (!storage) return storage.error();
  return open(std::move(*storage), options);
} catch (const std::bad_alloc&) {
  return make_error_code(errc::out_of_memory);
}

result<Log> Log::open(std::unique_ptr<Storage> storage, const LogOptions& options) noexcept {
  auto core = detail::LogCore::open(storage, options);
  if (!core) return core.error();
  return Log(std::move(*core));
}

Log::Log(std::unique_ptr<detail::LogCore> core) noexcept : core_(std::move(core)) {}
Log::Log(Log&&) noexcept = default;
Log& Log::operator=(Log&&) noexcept = default;
Log::~Log() = default;

result<std::uint64_t> Log::hand_over(std::span<const Record> records, Durability durability, bool will_wait,
                                     const std::chrono::steady_clock::time_point* deadline) noexcept {
  return core_->hand_over(records, durability, will_wait, deadline);
}

error_code Log::sync() noexcept { return core_->sync(); }

result<LogReader> Log::read(const ReadOptions& options) noexcept {
  auto reader = detail::ReaderCore::make(*core_, options);
  if (!reader) return reader.error();
  return LogReader(std::move(*reader));
}

std::uint64_t Log::first_offset() const noexcept { return core_->segments().first_offset(); }
std::uint64_t Log::next_offset() const noexcept { return core_->segments().committed(); }
LossReport Log::losses() const { return core_->losses(); }
error_code Log::accept_losses() noexcept { return core_->accept_losses(); }
result<LossReport> Log::scrub(const ScrubOptions& options) noexcept { return core_->scrub(options); }
result<std::uint64_t> Log::drop_before(std::uint64_t offset) noexcept { return core_->drop_before(offset); }
void Log::set_retention(const Retention& retention) noexcept { core_->set_retention(retention); }
void Log::set_spare_segments(unsigned segments) noexcept { core_->set_spare_segments(segments); }
void Log::set_full_disk(FullDisk policy) noexcept { core_->set_full_disk(policy); }
bool Log::read_only() const noexcept { return core_->read_only(); }
LogStats Log::stats() const noexcept { return core_->stats(); }
error_code Log::close() noexcept { return core_->close(); }

error_code Log::reopen() noexcept {
  (void)core_->close();
  auto storage = core_->release_storage();
  auto core = detail::LogCore::open(storage, core_->current_options());
  if (!core) {
    core_->take_storage(std::move(storage));  // for another attempt
    return core.error();
  }
  core_ = std::move(*core);
  return {};
}

}  // namespace bus
