// SPDX-License-Identifier: MIT OR Apache-2.0
#include "persistence/log_core.hpp"

#include "persistence/groups.hpp"
#include "persistence/nanoseconds.hpp"
#include "persistence/record_body.hpp"
#include "persistence/scrub.hpp"

#include <pthread.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <new>
#include <system_error>
#include <utility>

namespace bus::detail {
namespace {

namespace sys = boost::system;

constexpr std::size_t bytes_for_a_place = 512;
constexpr std::uint32_t max_together = 4096;
constexpr std::size_t bytes_for_names = 80;  // that a record takes besides its texts, if none is known yet
constexpr std::string_view unaccepted_name = "losses-not-accepted";

/// However little a log holds, so much may be missing without anybody being asked.
constexpr std::uint64_t least_loss_bytes = std::uint64_t{64} << 10;

error_code system_error(sys::errc::errc_t what) noexcept { return {what, sys::system_category()}; }

bool is_sound(const LogOptions& options) noexcept {
  constexpr std::chrono::nanoseconds longest = limits::longest_log_wait;
  const auto positive = [&](std::chrono::nanoseconds time) {
    return time > std::chrono::nanoseconds(0) && time <= longest;
  };
  return options.segment_bytes >= min_segment_bytes && options.segment_bytes <= max_segment_bytes &&
         options.segment_bytes % page_bytes == 0 && options.uncommitted_bytes >= limits::min_uncommitted_bytes &&
         options.uncommitted_bytes <= limits::max_uncommitted_bytes && std::has_single_bit(options.uncommitted_bytes) &&
         options.batch_bytes != 0 && positive(options.sync_every) && options.sync_every_bytes != 0 &&
         positive(options.timer) && options.segment_age >= std::chrono::nanoseconds(0) &&
         options.full_disk_wait >= std::chrono::nanoseconds(0) && options.full_disk_wait <= longest &&
         options.clock != nullptr && options.max_loss_share >= 0 && options.max_loss_share <= 1 &&
         (!options.dedup ||
          (options.dedup->id_age >= std::chrono::nanoseconds(0) && options.dedup->id_age <= longest)) &&
         (!options.disk_bytes || *options.disk_bytes >= options.segment_bytes) &&
         options.spare_segments <= limits::max_spare_segments;
}

std::uint32_t places_for(const LogOptions& options) noexcept {
  return static_cast<std::uint32_t>(options.uncommitted_bytes / bytes_for_a_place);
}

/// Runs of tickets that wrote no record, for those who ask what became of them: several times what can wait.
std::size_t outcomes_for(const LogOptions& options) noexcept { return std::size_t{8} * places_for(options); }

/// As many as a snapshot in each segment has room for.
std::optional<DedupRules> rules_for(const LogOptions& options) noexcept {
  constexpr std::uint64_t bytes_for_an_id = 48;
  constexpr std::uint64_t bytes_for_a_producer = 416;
  if (!options.dedup) return std::nullopt;
  const auto at_most = [](std::size_t number, std::uint64_t most) {
    return static_cast<std::size_t>(std::min<std::uint64_t>(number, most));
  };
  return DedupRules{.ids_per_sender = options.dedup->ids_per_sender,
                    .id_age_ns = options.dedup->id_age.count(),
                    .ids = at_most(options.dedup->ids, options.segment_bytes / 8 / bytes_for_an_id),
                    .producers = at_most(options.dedup->producers, options.segment_bytes / 16 / bytes_for_a_producer)};
}

/// What the log knows of messages, and of what became of tickets, at most.
std::size_t memory_for_the_known(const LogOptions& options) noexcept {
  const DedupRules rules = rules_for(options).value_or(DedupRules{.ids = 0, .producers = 0});
  return 64 * rules.ids + 640 * rules.producers + Outcomes::memory_for(outcomes_for(options));
}

/// What a log takes whatever happens: what waits to be committed, the batch, and the batch as it is written.
std::size_t fixed_memory(const LogOptions& options) noexcept {
  constexpr std::size_t bytes_for_the_rest = std::size_t{512} << 10;
  return options.uncommitted_bytes + places_for(options) * (sizeof(IntakeEntry) + 16) +
         2 * (options.batch_bytes + options.batch_bytes / 2) + memory_for_the_known(options) + bytes_for_the_rest;
}

/// As much as one commit takes besides what is too long for it: two halves of a segment's room at most.
std::size_t batch_limit(const LogOptions& options) noexcept {
  return static_cast<std::size_t>(std::min<std::uint64_t>(options.batch_bytes, options.segment_bytes / 4));
}

void name_thread(std::thread& thread, const char* name) noexcept {
#ifdef __linux__
  ::pthread_setname_np(thread.native_handle(), name);
#else
  (void)thread;
  (void)name;
#endif
}

}  // namespace

// --- Opening and closing. ---

result<std::unique_ptr<LogCore>> LogCore::open(std::unique_ptr<Storage>& storage, const LogOptions& options,
                                               Threads threads) noexcept try {
  if (storage == nullptr || !is_sound(options)) return system_error(sys::errc::invalid_argument);
  if (options.memory_bytes && fixed_memory(options) > *options.memory_bytes) {
    return system_error(sys::errc::invalid_argument);
  }
  std::unique_ptr<LogCore> log(new LogCore(std::move(storage), options, threads));
  if (const error_code error = log->begin()) {
    log->engine_.reset();  // with its lock
    storage = log->release_storage();
    return error;
  }
  log->start_threads();
  return log;
} catch (const std::bad_alloc&) {
  return make_error_code(errc::out_of_memory);
} catch (const std::system_error&) {
  return system_error(sys::errc::resource_unavailable_try_again);  // no thread to be had
}

LogCore::LogCore(std::unique_ptr<Storage> storage, const LogOptions& options, Threads threads)
    : options_(options),
      threads_(threads),
      storage_(std::move(storage)),
      files_(options.disk_bytes),
      memory_(std::make_shared<MemoryBudget>(options.memory_bytes)),
      intake_(places_for(options), options.uncommitted_bytes),
      outcomes_(outcomes_for(options)),
      full_disk_(options.full_disk),
      groups_(std::make_shared<Groups>(*this)),
      keeper_(*storage_, files_, options,
              {.owed_from = [this] { return groups_->owed_from(); },
               .will_drop = [this](std::uint64_t end) { groups_->give_up_before(end); }}) {
  (void)memory_->take(fixed_memory(options));
}

LogCore::~LogCore() { (void)close(); }

error_code LogCore::begin() {
  const auto on_losses = [this](const std::vector<LogLoss>& found) {
    for (const LogLoss& loss : found) found_missing(LogLoss(loss));
    return ask_for_consent();
  };
  auto engine = LogEngine::open(*storage_,
                                {.segment_bytes = options_.segment_bytes,
                                 .quarantine_bytes = options_.quarantine_bytes,
                                 .clock = options_.clock,
                                 .on_losses = on_losses,
                                 .snapshot = [this] { return snapshot(); }},
                                files_);
  if (!engine) return engine.error();
  engine_ = std::move(*engine);
  log_id_ = engine_->log_id();
  outcomes_.begin_at(engine_->next_offset());
  if (const error_code error = replay()) return error;
  quarantine_bytes_.store(engine_->quarantined_bytes(), std::memory_order_relaxed);
  if (options_.verify) {
    const auto report = scrub({.bytes_per_second = 0});
    if (!report) return report.error();
  }
  const error_code error = ask_for_consent();
  write_report();
  return error;
}

/// Finds out what groups stand at, and which messages the log has taken.
error_code LogCore::replay() {
  const std::optional<DedupRules> rules = rules_for(options_);
  const GroupsPlace& place = engine_->groups_place();
  Replayed now;
  if (place.serial != 0) {
    auto replayed = replay_groups(*storage_, files_.segments.all(), place, rules);
    if (!replayed) return replayed.error();
    now = std::move(*replayed);
  } else if (rules) {
    now.dedup = std::make_unique<Dedup>(*rules);
  }
  groups_->recover(std::move(now.groups));
  judge_.know(std::move(now.dedup));
  return {};
}

/// With the turn.
std::vector<std::vector<std::byte>> LogCore::snapshot() const {
  const Dedup* const known = judge_.known();
  std::vector<std::vector<std::byte>> messages;
  if (known != nullptr && known->ids() + known->producers() != 0) {
    messages = known->encode(wall_ns(*options_.clock), max_control_bytes);
  }
  return groups_->snapshot(std::move(messages));
}

/// Whether so much is missing that somebody should look at it before the log goes on.
error_code LogCore::ask_for_consent() {
  std::uint64_t all = 0;
  bool too_much = false;
  for (const LogLoss& loss : losses_.report().losses) {
    if (loss.known || loss.verdict == Verdict::torn) continue;
    all += loss.end - loss.begin;
    too_much = too_much || loss.end - loss.begin > std::min(options_.max_loss_bytes, options_.segment_bytes);
  }
  std::uint64_t total = 0;
  for (const SegmentRef& segment : files_.segments.all()) total += segment->file_bytes;
  const auto share = static_cast<std::uint64_t>(options_.max_loss_share * static_cast<double>(total));
  too_much = too_much || all > std::max(share, least_loss_bytes);
  const auto asked = storage_->open(unaccepted_name, Storage::Open::existing_to_read);
  if (too_much && !asked) {
    // A later opening finds that these are known; it must not take that for consent.
    auto file = storage_->open(unaccepted_name, Storage::Open::create);
    if (!file) return file.error();
    if (const error_code error = storage_->sync_names()) return error;
  }
  unaccepted_.store(too_much || asked.has_value(), std::memory_order_release);
  return {};
}

error_code LogCore::accept_losses() noexcept {
  if (closing_.load(std::memory_order_seq_cst)) return errc::closed;
  if (!unaccepted_.load(std::memory_order_acquire)) return {};
  const error_code error = storage_->remove(unaccepted_name);
  if (error && error != sys::errc::no_such_file_or_directory) return error;
  unaccepted_.store(false, std::memory_order_release);
  return storage_->sync_names();
}

void LogCore::start_threads() {
  if (threads_ == Threads::none) return;
  commit_thread_ = std::thread([this] { run_commits(); });
  name_thread(commit_thread_, "busbar-log");
  care_thread_ = std::thread([this] { run_care(); });
  name_thread(care_thread_, "busbar-log-care");
}

void LogCore::stop_threads() noexcept {
  stopping_.store(true, std::memory_order_seq_cst);
  stop_bed_.wake();
  commit_wake_.post();
  care_wake_.post();
  if (commit_thread_.joinable()) commit_thread_.join();
  if (care_thread_.joinable()) care_thread_.join();
}

error_code LogCore::close() noexcept {
  groups_->close();
  if (closing_.exchange(true, std::memory_order_seq_cst)) return {};
  stop_threads();
  tell_losses();
  error_code error;
  if (engine_ != nullptr) {
    // Nobody appends any more; what was taken is committed.
    while (!turn_.try_take()) std::this_thread::yield();
    while (commit_some()) {
    }
    if (!failed_.load(std::memory_order_acquire)) {
      error = engine_->sync();
      if (!error) error = engine_->prove();
      if (error) fail();
      // What groups did, and there was no room for.
      if (!error && items_.pending()) error = system_error(sys::errc::no_space_on_device);
    } else {
      error = errc::log_read_only;
    }
    write_report();
    engine_.reset();  // the turn is nobody's any more
  }
  closed_.store(true, std::memory_order_seq_cst);
  waiters_.wake_all();
  items_.wake_all();
  wake_readers();
  room_.wake_all();
  return error;
}

// --- Appending. ---

error_code LogCore::check_open() const noexcept {
  if (closing_.load(std::memory_order_relaxed)) return errc::closed;
  if (read_only()) return errc::log_read_only;
  return {};
}

namespace {

std::size_t text_bytes(const bus::Record& record) noexcept {
  return record.topic.view().size() + record.principal.view().size() + record.schema.size();
}
std::size_t intake_bytes(const RecordBody& body, const bus::Record& record) noexcept {
  return padded(body.bytes()) + padded(text_bytes(record));
}

}  // namespace

result<std::uint64_t> LogCore::hand_over(std::span<const bus::Record> records, Durability durability, bool will_wait,
                                         const Deadline* deadline, Completion* completion,
                                         const std::optional<Settles>& settles) noexcept try {
  if (const error_code error = check_open()) return error;
  if (records.empty() || records.size() > std::min(max_together, places_for(options_) / 4))
    return system_error(sys::errc::invalid_argument);
  // One record needs no memory of the heap.
  RecordBody one;
  std::vector<RecordBody> several(records.size() > 1 ? records.size() : 0);
  RecordBody* const bodies = several.empty() ? &one : several.data();
  std::size_t bytes = 0;
  std::size_t stored = 0;
  for (std::size_t i = 0; i < records.size(); ++i) {
    if (const error_code error = bodies[i].prepare(records[i], options_.compress_from_bytes, settles)) return error;
    if (!LogEngine::can_hold(bodies[i].bytes(), text_bytes(records[i]), options_.segment_bytes)) {
      return make_error_code(errc::payload_too_large);
    }
    bytes += intake_bytes(bodies[i], records[i]);
    stored += head_bytes + padded(bodies[i].bytes());
  }
  const bool is_long = bytes > options_.uncommitted_bytes / 4;
  if (records.size() > 1 && (is_long || stored > batch_limit(options_)))
    return make_error_code(errc::payload_too_large);

  std::unique_ptr<std::byte[]> own;
  if (is_long) {
    // Taken alone, whatever its size, so that there is no more than one of them.
    const auto take = [this] {
      bool free = false;
      return long_record_.compare_exchange_strong(free, true, std::memory_order_acq_rel, std::memory_order_relaxed);
    };
    if (!take() && !wait_for_room(deadline, take)) return no_room(deadline);
    const bool took_memory = memory_->take(bytes);
    if (took_memory) own.reset(new (std::nothrow) std::byte[padded(one.bytes())]);
    if (own == nullptr) {
      if (took_memory) memory_->give(bytes);
      end_long_record();
      return make_error_code(errc::out_of_memory);
    }
    bytes = padded(text_bytes(records[0]));
  }
  const auto count = static_cast<std::uint32_t>(records.size());
  auto room = intake_.reserve(count, bytes);
  if (!room) {
    (void)wait_for_room(deadline, [&] {
      room = intake_.reserve(count, bytes);
      return room.has_value();
    });
  }
  if (!room) {
    if (is_long) {
      memory_->give(intake_bytes(one, records[0]));
      end_long_record();
    }
    return no_room(deadline);
  }
  const std::uint64_t ticket = long_ticket(room->ticket);
  std::byte* at = room->bytes;
  for (std::uint32_t i = 0; i < count; ++i) {
    const bus::Record& record = records[i];
    IntakeEntry& entry = intake_.entry(room->ticket + i);
    const std::byte* const begin = at;
    std::byte* body = at;
    if (is_long) {
      body = own.get();
    } else {
      at += padded(bodies[i].bytes());
    }
    entry.body_crc = bodies[i].write(body);
    entry.body = body;
    entry.own = std::move(own);
    entry.body_bytes = static_cast<std::uint32_t>(bodies[i].bytes());
    entry.tagged = bodies[i].tagged();
    char* texts = reinterpret_cast<char*>(at);
    entry.texts = texts;
    for (const std::string_view text : {record.topic.view(), record.principal.view(), record.schema}) {
      if (!text.empty()) std::memcpy(texts, text.data(), text.size());
      texts += text.size();
    }
    at += padded(text_bytes(record));
    entry.topic_bytes = static_cast<std::uint16_t>(record.topic.view().size());
    entry.principal_bytes = static_cast<std::uint16_t>(record.principal.view().size());
    entry.schema_bytes = static_cast<std::uint16_t>(record.schema.size());
    entry.schema_version = record.schema_version;
    entry.durability = durability;
    entry.has_key = !settles && (record.producer || !record.message_id.empty());
    entry.time_ns.reset();
    if (record.time) {
      entry.time_ns = in_ns(*record.time);
    }
    entry.together = i == 0 ? count : 0;
    entry.completion = i == 0 ? completion : nullptr;
    const auto units = static_cast<std::uint32_t>(static_cast<std::size_t>(at - begin) / Intake<IntakeEntry>::unit);
    intake_.hand_over(room->ticket + i, units + (i == 0 ? room->first_unit : 0));
  }
  // Who waits commits, if nobody else is at it; else the commit thread must.
  const bool waits = will_wait && durability != Durability::buffered;
  if (!waits && !turn_.is_taken()) kick();
  return ticket;
} catch (const std::bad_alloc&) {
  return make_error_code(errc::out_of_memory);
}

/// Tries again whenever memory was given back. Returns: whether it succeeded.
template <class Take>
bool LogCore::wait_for_room(const Deadline* deadline, Take&& take) noexcept {
  if (deadline == nullptr) return false;
  kick();
  bool taken = false;
  room_.wait(0, deadline, [&] {
    taken = taken || (!check_open() && take());
    return taken || check_open();
  });
  return taken;
}

void LogCore::end_long_record() noexcept {
  long_record_.store(false, std::memory_order_seq_cst);  // in front of CELL-CHECK
  room_.wake(0, 1);
}

error_code LogCore::no_room(const Deadline* deadline) noexcept {
  overloads_.fetch_add(1, std::memory_order_relaxed);
  if (const error_code error = check_open()) return error;
  return deadline != nullptr ? errc::timed_out : errc::overloaded;
}

/// Tickets are counted modulo 2^32 where they are given out; what is settled is behind by less than that.
std::uint64_t LogCore::long_ticket(std::uint32_t ticket) const noexcept {
  const std::uint64_t settled = written_.load(std::memory_order_acquire);
  return settled + static_cast<std::uint32_t>(ticket - static_cast<std::uint32_t>(settled));
}

bool LogCore::is_settled(std::uint64_t ticket, std::uint32_t records, Durability durability) const noexcept {
  if (durability == Durability::buffered) return true;
  const auto& watermark = durability == Durability::synced ? synced_ : written_;
  if (watermark.load(std::memory_order_seq_cst) >= ticket + records) return true;
  if (failed_.load(std::memory_order_seq_cst) || closed_.load(std::memory_order_seq_cst)) return true;
  // What was refused waits for no sync.
  return written_.load(std::memory_order_seq_cst) >= ticket + records && !outcomes_.of(ticket);
}

result<Appended> LogCore::wait(std::uint64_t ticket, std::uint32_t records, Durability durability,
                               const Deadline* deadline) noexcept {
  const std::uint64_t end = ticket + records;
  const auto done = [&] { return is_settled(ticket, records, durability); };
  while (!done()) {
    if (!turn_.is_taken()) {
      if (lead(end, deadline)) continue;
      std::this_thread::yield();  // to an appender in front that is not ready yet
      if (deadline != nullptr && !done() && std::chrono::steady_clock::now() >= *deadline) {
        return make_error_code(errc::timed_out);
      }
    } else if (!waiters_.wait(end - 1, deadline, [&] { return done() || !turn_.is_taken(); })) {
      return make_error_code(errc::timed_out);
    }
  }
  const auto& watermark = durability == Durability::synced ? synced_ : written_;
  if (durability != Durability::buffered && watermark.load(std::memory_order_acquire) < end) {
    if (written_.load(std::memory_order_acquire) >= end) {
      if (const auto refused = outcomes_.of(ticket); !refused) return refused;
    }
    kick();  // nobody may have told its completion yet
    return make_error_code(failed_.load(std::memory_order_acquire) ? errc::log_read_only : errc::closed);
  }
  return outcomes_.of(ticket);
}

error_code LogCore::sync() noexcept {
  if (const error_code error = check_open()) return error;
  // Up to the last ticket that was given out: one that was handed over may stand behind one that is not ready yet.
  const std::uint64_t written = written_.load(std::memory_order_seq_cst);
  const std::uint64_t end =
      written + static_cast<std::uint32_t>(intake_.next_ticket() - static_cast<std::uint32_t>(written));
  std::uint64_t wanted = sync_wanted_.load(std::memory_order_relaxed);
  while (wanted < end && !sync_wanted_.compare_exchange_weak(wanted, end, std::memory_order_seq_cst)) {
  }
  const auto done = [&] {
    return synced_.load(std::memory_order_seq_cst) >= end || failed_.load(std::memory_order_seq_cst) ||
           closed_.load(std::memory_order_seq_cst);
  };
  while (!done()) {
    if (!turn_.is_taken()) {
      if (!lead(end, nullptr)) std::this_thread::yield();  // to an appender in front that is not ready yet
    } else {
      (void)waiters_.wait(end - 1, nullptr, [&] { return done() || !turn_.is_taken(); });
    }
  }
  if (synced_.load(std::memory_order_acquire) >= end) return sync_items();
  return failed_.load(std::memory_order_acquire) ? errc::log_read_only : errc::closed;
}

// --- Committing. ---

/// Wakes the commit thread, unless somebody has and it has not looked yet.
void LogCore::kick() noexcept {
  if (threads_ == Threads::none) return;
  if (!kicked_.exchange(true, std::memory_order_acq_rel)) commit_wake_.post();
}

/// Whether there is anything left for whoever comes next. Called without the turn.
bool LogCore::something_to_do() const noexcept {
  // Also of a log that has failed: who handed it over is to be told.
  if (intake_.is_ready(intake_.first_held())) return true;
  if (failed_.load(std::memory_order_seq_cst)) return false;
  const std::uint64_t wanted = sync_wanted_.load(std::memory_order_seq_cst);
  const bool may_sync =
      wanted > synced_.load(std::memory_order_seq_cst) && wanted <= written_.load(std::memory_order_seq_cst);
  return may_sync || items_.is_wanted() || roll_asked_.load(std::memory_order_seq_cst);
}

/// Commits in the thread of an appender, until its own is done. What has come meanwhile is the commit thread's, and so
/// is waiting for room on the disk beyond the deadline. Returns: whether it did anything.
bool LogCore::lead(std::uint64_t until, const Deadline* deadline) noexcept {
  if (!turn_.try_take()) return false;
  leads_until_ = deadline;
  bool anything = false;
  do {
    if (!commit_some()) break;
    anything = true;
  } while (written_.load(std::memory_order_relaxed) < until && !failed_.load(std::memory_order_relaxed));
  leads_until_ = nullptr;
  turn_.leave();
  if (something_to_do() || sync_due_.load(std::memory_order_relaxed) != 0) kick();
  return anything;
}

void LogCore::run_commits() noexcept {
  bool is_led = false;  // by an appender, who kicks when it leaves
  while (!stopping_.load(std::memory_order_seq_cst)) {
    const std::int64_t due = sync_due_.load(std::memory_order_relaxed);
    if (due != 0 && !is_led) {
      (void)commit_wake_.wait_until(Deadline(std::chrono::nanoseconds(due)));
    } else {
      commit_wake_.wait();
    }
    do {
      (void)kicked_.exchange(false, std::memory_order_acq_rel);
      is_led = !turn_.try_take();
      if (is_led) break;  // whoever has it looks again, and kicks
      bool anything = false;
      while (commit_some()) anything = true;
      turn_.leave();
      if (!anything) std::this_thread::yield();  // to an appender of several that is not ready with all of them
    } while (something_to_do());
  }
}

/// Whether entries that go together are to be written, of which one or more can be known again.
bool LogCore::judge(std::uint32_t ticket, std::uint32_t together) {
  keys_.assign(together, DedupKey());
  for (std::uint32_t i = 0; i < together; ++i) {
    const IntakeEntry& entry = intake_.entry(ticket + i);
    if (!entry.has_key) continue;
    std::span<const std::byte> body(entry.body, entry.body_bytes);
    keys_[i] = key_of(decode_fields(body).value());
  }
  return judge_.judge(next_ticket_ + (ticket - static_cast<std::uint32_t>(next_ticket_)), keys_);
}

/// Takes what is ready, as much as goes into one commit. Returns: how many entries; what the log has already is not in
/// the batch.
std::uint32_t LogCore::gather() {
  const std::size_t most = batch_limit(options_);
  const std::int64_t now = wall_ns(*options_.clock);
  std::size_t& bytes = batch_bytes_;
  bytes = 0;
  judge_.begin(next_ticket_, now);
  std::uint32_t taken = 0;
  const auto first = static_cast<std::uint32_t>(next_ticket_);
  for (;;) {
    const std::uint32_t ticket = first + taken;
    if (!intake_.is_ready(ticket)) return taken;
    const std::uint32_t together = intake_.entry(ticket).together;
    std::size_t more = 0;
    bool any_key = false;
    for (std::uint32_t i = 0; i < together; ++i) {
      if (!intake_.is_ready(ticket + i)) return taken;
      const IntakeEntry& entry = intake_.entry(ticket + i);
      more += head_bytes + padded(entry.body_bytes) + bytes_for_names + entry.topic_bytes + entry.principal_bytes +
              entry.schema_bytes;
      any_key = any_key || entry.has_key;
    }
    if (taken != 0 && bytes + more > most) return taken;
    if (any_key && !judge(ticket, together)) {
      taken += together;
      continue;
    }
    bytes += more;
    for (std::uint32_t i = 0; i < together; ++i) {
      const IntakeEntry& entry = intake_.entry(ticket + i);
      const char* texts = entry.texts;
      const auto text = [&texts](std::size_t size) {
        return std::string_view(std::exchange(texts, texts + size), size);
      };
      LogEntry& out = batch_.emplace_back();
      out.topic = text(entry.topic_bytes);
      out.principal = text(entry.principal_bytes);
      out.schema = text(entry.schema_bytes);
      out.schema_version = entry.schema_version;
      out.wall_ns = entry.time_ns.value_or(now);
      out.tagged = entry.tagged;
      out.has_key = entry.has_key;
      out.body = {entry.body, entry.body_bytes};
      out.body_crc = entry.body_crc;
    }
    taken += together;
    if (bytes > most) return taken;
  }
}

/// Writes, and syncs if asked to, what is ready. Returns: whether there was anything to do, and may be again.
bool LogCore::commit_some() noexcept {
  if (failed_.load(std::memory_order_relaxed)) {
    // Nothing is taken any more; what is ready still is told so.
    std::uint32_t left = 0;
    const auto first = static_cast<std::uint32_t>(next_ticket_);
    while (intake_.is_ready(first + left)) ++left;
    if (left != 0) settle(left, errc::log_read_only, false);
    return left != 0;
  }
  const std::uint64_t wanted = sync_wanted_.load(std::memory_order_seq_cst);
  const std::int64_t due = sync_due_.load(std::memory_order_relaxed);
  // A record that has a commit to itself may need all the room of a segment; items are in front of the next one then.
  const bool items_first = std::exchange(items_passed_over_, false);
  const std::uint64_t record_bytes = files_.counts.record_bytes.load(std::memory_order_relaxed);
  const auto begun = options_.clock->steady();
  std::uint32_t taken = 0;
  error_code error;
  batch_.clear();
  try {
    if (!items_first) taken = gather();
    items_passed_over_ = taken != 0 && batch_bytes_ > batch_limit(options_) && items_.pending();
    if (items_first || (taken == 0 ? must_write_items(due) : !items_passed_over_)) (void)items_.gather();
    if (!batch_.empty() || !items_.batch().empty()) error = write_gathered();
    if (error == errc::timed_out) {  // whoever has the turn next gathers it again, and waits on
      judge_.cancel();
      items_passed_over_ = items_first;
      items_.give_back();
      return false;
    }
  } catch (const std::bad_alloc&) {
    error = errc::out_of_memory;
    judge_.cancel();
    if (taken == 0 && intake_.is_ready(static_cast<std::uint32_t>(next_ticket_))) {
      taken = intake_.entry(static_cast<std::uint32_t>(next_ticket_)).together;
    }
  }
  const bool refused_items = error && !items_.batch().empty();
  const bool for_memory = error == errc::out_of_memory;
  if (error) items_.give_back();
  if (taken == 0 && error && !engine_->read_only()) {
    error = {};
    sync_due_.store(in_ns(std::chrono::steady_clock::now() + options_.sync_every), std::memory_order_relaxed);
  }
  const bool wrote_items = !items_.batch().empty();
  bool must_sync = items_.is_wanted();
  bool sync_later = wrote_items;
  const auto first = static_cast<std::uint32_t>(next_ticket_);
  for (std::uint32_t i = 0; i < taken && !error; ++i) {
    const Durability durability = intake_.entry(first + i).durability;
    must_sync = must_sync || durability == Durability::synced;
    sync_later = sync_later || durability == Durability::interval;
  }
  const std::uint64_t unsynced = engine_->unsynced_bytes();
  if (due != 0 || sync_later) {
    const std::int64_t now = in_ns(std::chrono::steady_clock::now());
    must_sync = must_sync || unsynced >= options_.sync_every_bytes || (due != 0 && now >= due);
    if (!must_sync && due == 0) sync_due_.store(now + options_.sync_every.count(), std::memory_order_relaxed);
  }
  must_sync = must_sync || (wanted > synced_.load(std::memory_order_relaxed) && wanted <= next_ticket_ + taken);
  // That there is no room for what comes is no reason not to sync what has come.
  bool synced = false;
  if (must_sync && !engine_->read_only()) {
    const error_code failed = engine_->sync();
    if (failed) error = failed;
    synced = !failed;
  }
  if (synced) {
    sync_due_.store(0, std::memory_order_seq_cst);  // sync ITEMS-DUE
    if (items_.left() && wrote_items) {
      sync_due_.store(in_ns(std::chrono::steady_clock::now()), std::memory_order_relaxed);  // at once
    } else if (items_.pending()) {  // sync ITEMS-DUE
      make_sync_due();
    }
  }
  if (engine_->read_only()) {
    failed_.store(true, std::memory_order_seq_cst);
    settle(taken, errc::log_read_only, false);
    fail();
    return true;
  }
  if ((!batch_.empty() || wrote_items) && !error) {
    engine_->show();
    count_commit(record_bytes, begun, synced);
  }
  items_.end(synced);
  if (refused_items) items_.refuse(for_memory);
  if (synced || refused_items) queue_waits_->wake();
  settle(taken, error, synced);
  if (roll_asked_.exchange(false, std::memory_order_relaxed)) {
    const std::int64_t age = wall_ns(*options_.clock) - engine_->segment_created_ns();
    if (age >= options_.segment_age.count()) {
      (void)engine_->end_segment();  // for want of memory only the timer asks again
      if (engine_->read_only()) fail();
    }
  }
  return taken != 0 || synced || wrote_items || items_first;
}

void LogCore::count_commit(std::uint64_t record_bytes_before, std::chrono::steady_clock::time_point begun,
                           bool synced) noexcept {
  commits_.fetch_add(1, std::memory_order_relaxed);
  if (synced) {
    const auto taken = std::chrono::duration_cast<std::chrono::microseconds>(options_.clock->steady() - begun);
    commit_us_.add(static_cast<std::uint64_t>(std::max<std::int64_t>(taken.count(), 0)));
  }
  if (batch_.empty()) return;
  batch_records_.add(batch_.size());
  batch_bytes_counts_.add(files_.counts.record_bytes.load(std::memory_order_relaxed) - record_bytes_before);
}

// --- Items of groups. ---

void LogCore::make_sync_due() noexcept {
  std::int64_t none = 0;
  const std::int64_t due = in_ns(std::chrono::steady_clock::now() + options_.sync_every);
  (void)sync_due_.compare_exchange_strong(none, due, std::memory_order_relaxed);
}

/// Whether items are to be written though there is no record.
bool LogCore::must_write_items(std::int64_t due) const noexcept {
  if (!items_.pending()) return false;
  if (items_.is_wanted()) return true;
  if (stopping_.load(std::memory_order_relaxed)) return true;
  return due != 0 && in_ns(std::chrono::steady_clock::now()) >= due;
}

error_code LogCore::sync_items() noexcept {
  const std::uint64_t number = items_.posted();
  return items_.is_durable(number) ? error_code() : wait_items(number);
}

error_code LogCore::wait_items(std::uint64_t number) noexcept {
  const ItemQueue::Asked asked = items_.ask_for(number);
  while (!outcome(asked)) {
    if (!turn_.is_taken()) {
      if (!lead(0, nullptr)) std::this_thread::yield();
    } else {
      items_.wait([&] { return outcome(asked) || !turn_.is_taken(); });
    }
  }
  return *outcome(asked);
}

ItemQueue::Asked LogCore::ask_for_items(std::uint64_t number) noexcept {
  const ItemQueue::Asked asked = items_.ask_for(number);
  kick();
  return asked;
}

std::optional<error_code> LogCore::outcome(const ItemQueue::Asked& asked) const noexcept {
  if (items_.is_durable(asked.number)) return error_code();
  if (failed_.load(std::memory_order_seq_cst)) return errc::log_read_only;
  if (items_.is_refused(asked)) {
    return items_.refused_for_memory() ? make_error_code(errc::out_of_memory)
                                       : system_error(sys::errc::no_space_on_device);
  }
  if (closed_.load(std::memory_order_seq_cst)) return errc::closed;
  return std::nullopt;
}

error_code LogCore::write_gathered() noexcept {
  const std::uint64_t rolls = files_.counts.rolls.load(std::memory_order_relaxed);
  for (;;) {
    const error_code error = engine_->append(batch_, items_.batch());
    if (error != sys::errc::no_space_on_device) {
      full_.store(false, std::memory_order_relaxed);
      room_until_.reset();
      // There may be something to drop, and a spare to make.
      if (files_.counts.rolls.load(std::memory_order_relaxed) != rolls && threads_ == Threads::own) care_wake_.post();
      return error;
    }
    full_.store(true, std::memory_order_relaxed);
    const error_code none = make_room(error);
    if (none && none != errc::timed_out) room_until_.reset();
    if (none) return none;
  }
}

/// Returns: nothing if it is worth trying again; timed_out if somebody else is to wait for room.
error_code LogCore::make_room(error_code error) noexcept {
  switch (full_disk_.load(std::memory_order_relaxed)) {
    case FullDisk::reject: return error;
    case FullDisk::drop_oldest: return keeper_.drop_oldest() ? error : error_code();
    case FullDisk::wait: break;
  }
  if (threads_ == Threads::none) return error;
  if (!room_until_) room_until_ = std::chrono::steady_clock::now() + options_.full_disk_wait;
  for (;;) {
    constexpr auto step = std::chrono::milliseconds(20);  // nobody tells when others leave room on a disk
    const auto now = std::chrono::steady_clock::now();
    if (now >= *room_until_) return error;
    if (leads_until_ != nullptr && now >= *leads_until_) return errc::timed_out;
    const auto until = std::min(now + step, *room_until_);
    if (pause(leads_until_ != nullptr ? std::min(until, *leads_until_) : until)) return error;
    const auto free = storage_->free_bytes();
    if (free && *free >= options_.segment_bytes && files_.disk.has_room(options_.segment_bytes)) return {};
    if (files_.spares.size() != 0) return {};
  }
}

/// Raises the watermarks over what was taken, and tells those who wait.
void LogCore::settle(std::uint32_t taken, error_code error, bool synced) noexcept {
  const std::uint64_t begin = next_ticket_;
  const std::uint64_t end = begin + taken;
  if (taken != 0 && !failed_.load(std::memory_order_relaxed)) note_outcomes(taken, error);
  const bool failed = failed_.load(std::memory_order_relaxed);
  if (taken != 0 && !error) {
    std::uint64_t payload = 0;
    for (const LogEntry& entry : batch_) payload += entry.body.size();
    records_.fetch_add(batch_.size(), std::memory_order_relaxed);
    payload_bytes_.fetch_add(payload, std::memory_order_relaxed);
  }
  const std::uint64_t synced_before = synced_.load(std::memory_order_relaxed);
  const bool all_synced = synced || (error && synced_before == begin);
  next_ticket_ = end;
  if (!failed) {
    if (all_synced) synced_.store(end, std::memory_order_seq_cst);  // sync WATERMARK
    written_.store(end, std::memory_order_seq_cst);  // sync WATERMARK
  }
  unsynced_bytes_.store(engine_->unsynced_bytes(), std::memory_order_relaxed);
  // Completions, and what records have of their own, before their places are given to others.
  for (std::uint64_t ticket = begin; ticket != end; ++ticket) {
    IntakeEntry& entry = intake_.entry(static_cast<std::uint32_t>(ticket));
    if (entry.own != nullptr) {
      memory_->give(padded(entry.body_bytes) +
                    padded(std::size_t{entry.topic_bytes} + entry.principal_bytes + entry.schema_bytes));
      entry.own.reset();
      end_long_record();
    }
    if (entry.completion == nullptr) continue;
    Completion& completion = *std::exchange(entry.completion, nullptr);
    const auto outcome = error ? result<Appended>(error) : outcomes_.of(ticket);
    if (outcome && outcome->duplicate) {
      completion.complete_duplicate(outcome->offset);
    } else {
      completion.complete(outcome ? error_code() : outcome.error(), outcome ? outcome->offset : 0);
    }
  }
  intake_.free_up_to(static_cast<std::uint32_t>(end));
  waiters_.wake(all_synced ? synced_before : begin, end);
  if (taken == 0) return;
  room_.wake(0, 1);
  wake_readers();
}

/// What is refused is so as a whole, duplicates too: an original may be among it.
void LogCore::note_outcomes(std::uint32_t taken, error_code error) noexcept {
  if (error) {
    judge_.cancel();
    outcomes_.refuse(next_ticket_, next_ticket_ + taken, error);
    rejected_.fetch_add(taken, std::memory_order_relaxed);
    return;
  }
  duplicates_.fetch_add(judge_.duplicates(), std::memory_order_relaxed);
  out_of_sequence_.fetch_add(judge_.refused(), std::memory_order_relaxed);
  judge_.commit(engine_->next_offset() - batch_.size(), outcomes_);
}

void LogCore::fail() noexcept {
  failed_.store(true, std::memory_order_seq_cst);
  sync_due_.store(0, std::memory_order_relaxed);
  waiters_.wake_all();
  items_.wake_all();
  wake_readers();
  room_.wake_all();
}

// --- Reading. ---

ReadOutcome LogCore::wait_for(std::uint64_t offset, const Deadline* deadline) noexcept {
  const bool done = readers_.wait(0, deadline, [&] { return files_.segments.committed() > offset || is_closed(); });
  return done ? ReadOutcome::end : ReadOutcome::timed_out;
}

void LogCore::found_missing(LogLoss&& loss) noexcept try {
  if (is_news(loss)) options_.on_loss(loss);
} catch (const std::bad_alloc&) {
  // Whoever found it is told all the same.
}

void LogCore::found_missing_later(LogLoss&& loss) noexcept try {
  if (!is_news(loss)) return;
  {
    const std::lock_guard lock(untold_mutex_);
    untold_.push_back(std::move(loss));
  }
  care_wake_.post();
} catch (const std::bad_alloc&) {
}

/// Notes it. Returns: whether somebody is to be told. Errors: throws std::bad_alloc.
bool LogCore::is_news(const LogLoss& loss) {
  const auto news = losses_.add(loss);
  if (!news) return false;
  if (loss.verdict != Verdict::torn) lost_records_.fetch_add(*news, std::memory_order_relaxed);
  return options_.on_loss && !loss.known;
}

void LogCore::tell_losses() noexcept {
  std::vector<LogLoss> untold;
  {
    const std::lock_guard lock(untold_mutex_);
    untold.swap(untold_);
  }
  for (const LogLoss& loss : untold) options_.on_loss(loss);
}

// --- Care. ---

void LogCore::run_care() noexcept {
  while (!stopping_.load(std::memory_order_seq_cst)) {
    care();
    (void)care_wake_.wait_until(std::chrono::steady_clock::now() + options_.timer);
  }
}

void LogCore::care() noexcept {
  tell_losses();
  // What is missing, or cannot go on, is left for somebody to look at.
  if (!read_only()) {
    keeper_.retain(wall_ns(*options_.clock));
    while (!stopping_.load(std::memory_order_relaxed) && keeper_.make_spare()) {
    }
  }
  write_report();
  if (options_.segment_age > std::chrono::nanoseconds(0)) {
    roll_asked_.store(true, std::memory_order_relaxed);
    kick();
  }
}

/// Waits. Returns: whether the log is closing, at once then.
bool LogCore::pause(Deadline until) noexcept {
  auto lock = stop_bed_.lock();
  while (!stopping_.load(std::memory_order_relaxed) && std::chrono::steady_clock::now() < until) {
    (void)stop_bed_.sleep(lock, &until);
  }
  return stopping_.load(std::memory_order_relaxed);
}

result<std::uint64_t> LogCore::drop_before(std::uint64_t offset) noexcept {
  if (closing_.load(std::memory_order_seq_cst)) return make_error_code(errc::closed);
  if (const error_code error = keeper_.drop_before(offset)) return error;
  return files_.segments.first_offset();
}

LogOptions LogCore::current_options() const {
  LogOptions options = options_;
  options.retention = keeper_.retention();
  options.spare_segments = static_cast<unsigned>(keeper_.spare_segments());
  options.full_disk = full_disk_.load(std::memory_order_relaxed);
  return options;
}

void LogCore::write_report() noexcept try {
  const std::lock_guard lock(report_mutex_);
  (void)losses_.write(*storage_);
} catch (const std::bad_alloc&) {
  // The next time.
}

result<LossReport> LogCore::scrub(const ScrubOptions& options) noexcept try {
  if (const error_code error = scrub_segments(*this, options, [this](Deadline until) { return pause(until); })) {
    return error;
  }
  return losses();
} catch (const std::bad_alloc&) {
  return make_error_code(errc::out_of_memory);
}

LogStats LogCore::stats() const noexcept {
  const auto of = [](const std::atomic<std::uint64_t>& count) { return count.load(std::memory_order_relaxed); };
  LogStats stats;
  stats.first_offset = files_.segments.first_offset();
  stats.next_offset = files_.segments.committed();
  stats.segments = files_.segments.size();
  stats.spares = files_.spares.size();
  stats.disk_bytes = files_.disk.used();
  stats.segment_bytes = files_.segments.bytes();
  stats.spare_bytes = files_.spares.bytes();
  stats.quarantine_bytes = of(quarantine_bytes_);
  stats.records = of(records_);
  stats.payload_bytes = of(payload_bytes_);
  stats.commits = of(commits_);
  stats.syncs = of(files_.counts.syncs);
  stats.sync_failures = of(files_.counts.sync_failures);
  stats.overloads = of(overloads_);
  stats.rejected = of(rejected_);
  stats.duplicates = of(duplicates_);
  stats.out_of_sequence = of(out_of_sequence_);
  stats.uncommitted_bytes = intake_.used_bytes();
  stats.unsynced_bytes = of(unsynced_bytes_);
  stats.commit_us = commit_us_.read();
  stats.batch_records = batch_records_.read();
  stats.batch_bytes = batch_bytes_counts_.read();
  stats.record_bytes = of(files_.counts.record_bytes);
  stats.frame_bytes = of(files_.counts.frame_bytes);
  stats.fill_bytes = of(files_.counts.fill_bytes);
  stats.repair_bytes = of(files_.counts.repair_bytes);
  stats.rolls = of(files_.counts.rolls);
  stats.reused_segments = of(files_.counts.reused_segments);
  stats.dropped_segments = keeper_.dropped_segments();
  stats.dropped_records = keeper_.dropped_records();
  stats.lost_records = of(lost_records_);
  stats.read_only = read_only();
  stats.full = full_.load(std::memory_order_relaxed);
  return stats;
}

}  // namespace bus::detail

std::size_t bus::least_memory_bytes(const LogOptions& options) noexcept { return detail::fixed_memory(options); }
