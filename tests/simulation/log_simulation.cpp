// SPDX-License-Identifier: MIT OR Apache-2.0
#include "simulation/log_simulation.hpp"

#include "persistence/log_core.hpp"
#include "persistence/log_engine.hpp"
#include "persistence/log_reader.hpp"

#include "simulation/sim_disk.hpp"

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bus::simulation {
namespace {

using detail::LogCore;
using detail::ReaderCore;
namespace sys = boost::system::errc;

constexpr std::uint64_t segment_bytes = detail::min_segment_bytes;

/// A broken law.
struct Broken : std::runtime_error {
  using std::runtime_error::runtime_error;
};
void must(bool holds, const std::string& law) {
  if (!holds) throw Broken(law);
}

class SteppedClock final : public Clock {
 public:
  std::chrono::system_clock::time_point wall() const noexcept override {
    return std::chrono::system_clock::time_point(std::chrono::nanoseconds(now_ns_));
  }
  std::chrono::steady_clock::time_point steady() const noexcept override { return {}; }
  void advance(std::int64_t ns) noexcept { now_ns_ += ns; }

 private:
  std::int64_t now_ns_ = 1'700'000'000'000'000'000;
};

/// A message as it was appended. What is in doubt may be there or not after the next crash.
struct Sent {
  std::string topic;
  std::string principal;
  std::string key;
  std::string schema;
  std::string payload;
  std::string id = {};
  std::optional<Producer> producer = {};
  friend bool operator==(const Sent&, const Sent&) = default;
};

class Simulation {
 public:
  explicit Simulation(std::uint64_t seed) : random_(seed), disk_(seed) {
    damage_at_end_ = chance(3);
    rolls_often_ = chance(2);
    options_.clock = &clock_;
    options_.segment_bytes = segment_bytes;
    options_.uncommitted_bytes = std::size_t{64} << (random_() % 3) << 10;
    options_.batch_bytes = std::size_t{4096} << (random_() % 9);
    options_.spare_segments = static_cast<unsigned>(random_() % 3);
    options_.compress_from_bytes = chance(3) ? 200 : 0;
    options_.sync_every_bytes = 20'000;
    options_.sync_every = std::chrono::hours(1);
    if (chance(2)) options_.retention.bytes = (2 + random_() % 3) * segment_bytes;
    if (chance(4)) options_.segment_age = std::chrono::seconds(5);
    if (chance(4)) options_.full_disk = FullDisk::drop_oldest;
    options_.max_loss_share = 1;
    options_.max_loss_bytes = std::uint64_t{1} << 40;
    resends_ = seed % 5 == 4;  // and no other, so that the seeds that are kept stay what they are
    options_.dedup->id_age = std::chrono::hours(24 * 365);
  }

  void run() {
    for (round_ = 0; round_ < 7; ++round_) {
      disk_.set_faults(faults());
      const bool struck_early = round_ != 0 && chance(4);
      if (struck_early) disk_.power_off_after(random_() % 15);
      if (!open(struck_early) || disk_.power_is_off()) {
        crash();
        continue;
      }
      check_after_opening();
      work();
      core_.reset();
      crash();
    }
    // Healthy again, it goes on.
    disk_.set_faults({});
    must(open(false), "LOG-5: it opens on a healthy disk");
    check_after_opening();
    const std::uint64_t before = core_->segments().committed();
    options_.full_disk = FullDisk::reject;
    const auto appended = append({draw()}, Durability::synced);
    must(appended && *appended == before, "LOG-6: it goes on on a healthy disk");
    if (damage_at_end_) damage();
  }

 private:
  bool chance(std::uint64_t one_in) { return random_() % one_in == 0; }

  Faults faults() {
    Faults faults;
    if (chance(3)) faults.short_reads = faults.short_writes = 0.3;
    if (chance(5)) faults.capacity_bytes = (3 + random_() % 4) * segment_bytes + random_() % segment_bytes;
    return faults;
  }

  Sent draw() {
    Sent sent;
    sent.topic = "topic.t" + std::to_string(random_() % (chance(20) ? 2000 : 5));
    sent.principal = chance(2) ? "" : "agent.a" + std::to_string(random_() % 5);
    if (chance(3)) sent.key = "key" + std::to_string(random_() % 3);
    if (chance(8)) sent.schema = "schema." + std::to_string(random_() % 3);
    const std::size_t bytes = random_() % (chance(rolls_often_ ? 2 : 10) ? 40'000 : 300);
    const char letter = static_cast<char>('a' + random_() % 26);
    sent.payload.assign(bytes, letter);
    // Numbers at both ends, so that no byte may be missing unnoticed; sometimes too mixed to be compressed.
    if (chance(2)) {
      for (char& c : sent.payload) c = static_cast<char>(random_());
    }
    sent.payload += std::to_string(drawn_++);
    return sent;
  }

  // --- The log. ---

  bool open(bool may_fail) {
    core_.reset();
    pending_.clear();
    auto storage = disk_.mount();
    auto opened = LogCore::open(storage, options_, LogCore::Threads::none);
    if (!opened) {
      // A full disk may keep a log from beginning, and nothing else.
      const bool full = opened.error() == sys::no_space_on_device && history_.empty();
      must(may_fail || full || disk_.power_is_off(), "LOG-5: opening failed: " + opened.error().message());
      return false;
    }
    core_ = std::move(*opened);
    return true;
  }

  void crash() {
    core_.reset();
    if (chance(4)) {
      disk_.kill();
    } else {
      CrashOptions options;
      options.stale_sectors = chance(2);
      disk_.crash(options);
      power_was_lost_ = true;
    }
  }

  result<std::uint64_t> hand_over(const std::vector<Sent>& batch, Durability durability) {
    std::vector<Record> records;
    for (const Sent& one : batch) {
      records.push_back({.topic = Topic::parse(one.topic).value(),
                         .principal = Principal::parse(one.principal).value(),
                         .payload = as_payload(one.payload),
                         .key = one.key,
                         .schema = one.schema,
                         .schema_version = one.schema.empty() ? 0U : 3U,
                         .message_id = one.id,
                         .producer = one.producer});
    }
    return core_->hand_over(records, durability, true, nullptr);
  }

  struct Pending {
    std::uint64_t ticket;
    std::vector<Sent> batch;
    Durability durability;
  };

  result<std::uint64_t> append(const std::vector<Sent>& batch, Durability durability) {
    const auto ticket = hand_over(batch, durability);
    if (!ticket) return ticket.error();
    pending_.push_back({*ticket, batch, durability});
    return await_all();
  }

  /// Waits for everything that was handed over, in order. Returns: what the last one got.
  result<std::uint64_t> await_all() {
    result<std::uint64_t> last = std::uint64_t{0};
    for (const Pending& one : pending_) {
      const auto records = static_cast<std::uint32_t>(one.batch.size());
      const auto appended = core_->wait(one.ticket, records, one.durability, nullptr);
      last = appended ? result<std::uint64_t>(appended->offset) : appended.error();
      if (last) {
        must(*last == next_,
             "LOG-2: offset " + std::to_string(*last) + " was given where " + std::to_string(next_) + " is next");
        for (const Sent& sent : one.batch) {
          history_.resize(next_ + 1);
          history_[next_++] = sent;
        }
        written_ = next_;
        if (one.durability == Durability::synced) synced_ = next_;
      } else if (last.error() == errc::log_read_only) {
        in_doubt_.insert(in_doubt_.end(), one.batch.begin(), one.batch.end());
      }
    }
    pending_.clear();
    return last;
  }

  // --- Work. ---

  void work() {
    nothing_fails_ = false;
    if (chance(2)) {
      disk_.power_off_after(random_() % 60);
    } else if (!chance(3)) {
      nothing_fails_ = true;
    } else {
      constexpr Call calls[] = {Call::sync, Call::sync, Call::write, Call::sync_names, Call::rename, Call::create};
      disk_.fail({.call = calls[random_() % std::size(calls)], .nth = 1 + random_() % 12, .for_good = chance(4)});
    }
    auto follower = ReaderCore::make(*core_, {.from = From::offset(core_->segments().first_offset())});
    std::uint64_t followed = core_->segments().first_offset();
    for (int steps = 0; steps < 40; ++steps) {
      clock_.advance(1 + static_cast<std::int64_t>(random_() % 1'000'000'000));
      step();
      if (disk_.power_is_off()) return;
      if (core_->read_only()) return check_read_only();
      if (follower && chance(4)) follow(**follower, followed);
      if (chance(12)) read_from(random_() % (next_ + 1));
    }
    if (follower && !disk_.power_is_off()) follow(**follower, followed);
  }

  // --- Messages that are sent again. ---

  struct Found {
    std::map<std::uint64_t, Sent> records;
    std::uint64_t first = 0;
    std::uint64_t committed = 0;
  };

  /// By what the log knows one again.
  using Identity = std::pair<std::uint64_t, std::string>;  // of a producer, or an id
  static Identity identity(const Sent& sent) {
    if (!sent.producer) return {0, sent.id};
    const std::string digits = std::to_string(sent.producer->sequence);
    return {sent.producer->id, std::string(10 - digits.size(), '0') + digits};
  }
  /// Of the latest message of a producer that the log has.
  std::optional<std::uint64_t> last_sequence(std::uint64_t producer) const {
    const auto behind = taken_.lower_bound({producer + 1, ""});
    if (behind == taken_.begin() || std::prev(behind)->first.first != producer) return std::nullopt;
    return std::stoull(std::prev(behind)->first.second);
  }

  /// Of the first, in front of which the log knows of none that there may have been.
  std::uint64_t first_sequence(std::uint64_t producer) const {
    return std::stoull(taken_.lower_bound({producer, ""})->first.second);
  }

  Sent draw_one_to_resend() {
    Sent sent = draw();
    if (chance(2)) {
      sent.id = "id" + std::to_string(drawn_);
    } else {
      const std::uint64_t producer = 1 + random_() % 2;
      const auto last = last_sequence(producer);
      sent.producer = Producer{.id = producer, .epoch = 1, .sequence = last ? *last + 1 : 0};
    }
    sent_.push_back(sent);
    return sent;
  }

  /// Sends a message that is new, or one that was sent before, whatever became of it.
  void send() {
    const Sent sent = sent_.empty() || chance(2) ? draw_one_to_resend() : sent_[random_() % sent_.size()];
    const Durability durability = chance(2) ? Durability::synced : Durability::written;
    const auto known = taken_.find(identity(sent));
    const auto last = sent.producer ? last_sequence(sent.producer->id) : std::nullopt;
    const bool is_in_front = last && sent.producer->sequence < first_sequence(sent.producer->id);
    const bool is_duplicate = known != taken_.end() || (last && sent.producer->sequence <= *last && !is_in_front);
    const bool is_gap = is_in_front || (last && sent.producer->sequence > *last + 1);
    const auto ticket = hand_over({sent}, durability);
    if (!ticket) return;
    const auto appended = core_->wait(*ticket, 1, durability, nullptr);
    if (!appended) {
      const bool is_refused = appended.error() == errc::sequence_gap;
      must(!is_refused || is_gap, "a message that may come next is refused");
      if (appended.error() == errc::log_read_only && !is_duplicate && !is_gap) in_doubt_.push_back(sent);
      return;
    }
    must(!is_gap, "a message was taken that is not the next of its producer");
    must(appended->duplicate == is_duplicate,
         is_duplicate ? "a message was taken twice" : "a message was taken for another");
    if (is_duplicate) {
      const std::uint64_t offset = known != taken_.end() ? known->second : unknown_offset;
      must(appended->offset == offset || (sent.producer && appended->offset == unknown_offset),
           "a duplicate was told offset " + std::to_string(appended->offset) + " and not " + std::to_string(offset));
      if (known != taken_.end() && durability == Durability::synced) synced_ = std::max(synced_, offset + 1);
      return;
    }
    must(appended->offset == next_, "LOG-2: a message was given an offset that is not the next");
    history_.resize(next_ + 1);
    history_[next_] = sent;
    taken_[identity(sent)] = next_++;
    written_ = next_;
    if (durability == Durability::synced) synced_ = next_;
  }

  /// What the log has of them after an opening.
  void note_taken(const Found& found) {
    // What was dropped stays known.
    std::erase_if(taken_, [&](const auto& one) {
      return one.second >= std::max(found.first, may_be_dropped_) && !found.records.contains(one.second);
    });
    for (const auto& [offset, sent] : found.records) {
      if (sent.id.empty() && !sent.producer) continue;
      const auto [one, is_new] = taken_.try_emplace(identity(sent), offset);
      must(is_new || one->second == offset, "a message stands in the log twice");
    }
  }

  void step() {
    if (resends_ && chance(2)) {
      send();
    } else {
      append_or_care();
    }
    may_be_dropped_ = std::max(may_be_dropped_, core_->segments().first_offset());
    // The power may have gone while the oldest one did.
    const auto segments = core_->segments().all();
    if (disk_.power_is_off() && segments.size() > 1) {
      may_be_dropped_ = std::max(may_be_dropped_, segments[1]->name.base_offset);
    }
  }

  void append_or_care() {
    std::vector<Sent> batch(chance(4) ? 1 + random_() % 6 : 1);
    for (Sent& one : batch) one = draw();
    const Durability durability = chance(2)   ? Durability::synced
                                  : chance(2) ? Durability::written
                                              : Durability::interval;
    switch (random_() % 12) {
      case 0:
      case 5: core_->care(); break;
      case 1: {
        const error_code error = core_->sync();
        if (!error) synced_ = written_;
        break;
      }
      case 2:
        if (const auto first = core_->drop_before(next_ / 2); first)
          may_be_dropped_ = std::max(may_be_dropped_, *first);
        break;
      case 3:
      case 4:
        for (std::uint64_t i = 0; i < 1 + random_() % 5; ++i) {
          std::vector<Sent> one{draw()};
          if (const auto ticket = hand_over(one, durability)) pending_.push_back({*ticket, one, durability});
        }
        (void)await_all();
        break;
      default: {
        const auto offset = append(batch, durability);
        must(offset || offset.error() == errc::log_read_only || offset.error() == sys::no_space_on_device ||
                 offset.error() == errc::overloaded || offset.error() == errc::payload_too_large,
             "appending failed: " + (offset ? "" : offset.error().message()));
        must(!offset || durability != Durability::interval || core_->stats().unsynced_bytes < options_.sync_every_bytes,
             "interval: more is unsynced than was promised");
        break;
      }
    }
  }

  /// LOG-5: nothing more is written, and what was committed is read.
  void check_read_only() {
    must(!nothing_fails_, "LOG-6: a full disk ended it");
    const auto before = disk_.counters();
    must(append({draw()}, Durability::synced).error() == errc::log_read_only, "LOG-5: it takes appends");
    must(core_->sync() == errc::log_read_only, "LOG-5: it syncs");
    const auto after = disk_.counters();
    must(before[Call::write] == after[Call::write] && before[Call::sync] == after[Call::sync],
         "LOG-5: it is tried again");
    read_from(core_->segments().first_offset());
  }

  void follow(ReaderCore& reader, std::uint64_t& next) {
    for (;;) {
      const auto found = reader.next();
      if (!found) return must(disk_.power_is_off(), "reading failed: " + found.error().message());
      if (found->outcome() == ReadOutcome::end) break;
      if (found->outcome() == ReadOutcome::overrun) {
        next += found->count();
        must(next <= may_be_dropped_, "LOG-9: overrun by what was not dropped");
        continue;
      }
      if (found->outcome() == ReadOutcome::lost) {
        for (std::uint64_t i = 0; i < found->count(); ++i) {
          must(missing_.contains(next + i), "LOG-3: offset " + std::to_string(next + i) + " is missing");
        }
        next += found->count();
        continue;
      }
      compare(reader.record());
      must(reader.record().offset() == next, "a follower got " + std::to_string(reader.record().offset()) + " where " +
                                                 std::to_string(next) + " is next");
      ++next;
    }
    must(next == core_->segments().committed(), "a follower ended in front of what is committed");
  }

  void read_from(std::uint64_t offset) {
    auto reader = ReaderCore::make(*core_, {.from = From::offset(offset), .block_bytes = 4096U << (random_() % 6)});
    if (!reader) return must(disk_.power_is_off(), "a reader could not be made");
    std::uint64_t next = (*reader)->offset();
    follow(**reader, next);
  }

  void compare(const RecordView& record) const {
    const std::uint64_t offset = record.offset();
    must(offset < history_.size() && history_[offset].has_value(),
         "LOG-2: offset " + std::to_string(offset) + " was never appended");
    const Sent& sent = *history_[offset];
    must(record.topic() == sent.topic && record.principal() == sent.principal && record.key() == sent.key &&
             record.text() == sent.payload && record.schema() == sent.schema && record.message_id() == sent.id &&
             record.producer() == sent.producer,
         "LOG-2: offset " + std::to_string(offset) + " is not what was appended");
  }

  // --- After a crash. ---

  Found read_everything() {
    Found found{.records = {}, .first = core_->segments().first_offset(), .committed = core_->segments().committed()};
    auto reader = ReaderCore::make(*core_, {.from = From::offset(found.first)});
    must(reader.has_value(), "a reader could not be made");
    for (;;) {
      const auto outcome = (*reader)->next();
      must(outcome.has_value(), "reading failed");
      if (outcome->outcome() == ReadOutcome::end) return found;
      if (outcome->outcome() != ReadOutcome::record) continue;
      const RecordView& record = (*reader)->record();
      found.records[record.offset()] = {std::string(record.topic()),
                                        std::string(record.principal()),
                                        std::string(record.key()),
                                        std::string(record.schema()),
                                        std::string(record.text()),
                                        std::string(record.message_id()),
                                        record.producer()};
    }
  }

  void check_after_opening() {
    // Damage that was not there: a crash is none.
    for (const LogLoss& loss : core_->losses().losses) {
      must(loss.verdict != Verdict::lost,
           "LOG-4: a crash was taken for damage at offset " + std::to_string(loss.first_offset) + ": " + loss.reason);
    }
    for (const auto& segment : core_->segments().all()) {
      const auto file = core_->storage().open(detail::segment_name(segment->name.base_offset, segment->name.serial),
                                              Storage::Open::existing_to_read);
      const auto header = file ? detail::read_header(**file) : result<detail::SegmentHeader>(file.error());
      must(header && header->serial == segment->name.serial, "LOG-3: a file is not the segment that its name says");
    }
    const Found found = read_everything();
    must(found.first <= may_be_dropped_, "LOG-9: more was dropped than may be");
    // Where only processes were killed, nothing is lost that the system had.
    const std::uint64_t promised = power_was_lost_ ? synced_ : written_;
    must(found.committed >= promised, "LOG-1: " + std::to_string(promised) + " records were promised, " +
                                          std::to_string(found.committed) + " are there");
    must(found.committed <= history_.size() + in_doubt_.size() + pending_records(),
         "LOG-2: more is there than was appended");
    // What nobody was promised may be there, in the order it was given.
    for (std::uint64_t offset = found.first; offset < found.committed; ++offset) {
      const auto one = found.records.find(offset);
      if (one == found.records.end()) {
        // What was dropped may come back in part.
        const bool told =
            missing_.contains(offset) || offset < may_be_dropped_ || (offset >= promised && is_told(offset));
        must(told, "LOG-2: offset " + std::to_string(offset) + " is missing");
        missing_.insert(offset);
        continue;
      }
      const Sent& sent = offset < history_.size() && history_[offset] ? *history_[offset] : doubtful(offset);
      must(one->second == sent, "LOG-2: offset " + std::to_string(offset) + " is not what was appended");
    }
    must(found.records.empty() || found.records.rbegin()->first < found.committed, "LOG-2: a record is not committed");
    // From now on it is committed. What was dropped may come back, if a crash took that the names were changed.
    history_.resize(found.committed);
    for (std::uint64_t offset = found.first; offset < found.committed; ++offset) history_[offset].reset();
    for (const auto& [offset, sent] : found.records) history_[offset] = sent;
    in_doubt_.clear();
    note_taken(found);
    next_ = written_ = synced_ = found.committed;
    power_was_lost_ = false;
    if (chance(6)) check_is_a_function(found);
  }

  /// LOG-2: what an opening finds follows from the bytes on disk.
  void check_is_a_function(const Found& found) {
    core_.reset();
    const Faults none;
    disk_.set_faults(none);
    disk_.crash({.keep = 0});
    if (!open(false)) return;
    Found again = read_everything();
    std::erase_if(again.records, [&](const auto& one) { return one.first < found.first; });  // was dropped, and is back
    must(again.records == found.records && again.committed == found.committed,
         "LOG-2: opened again it is another log: " + std::to_string(again.committed) + " after " +
             std::to_string(found.committed));
  }

  std::uint64_t pending_records() const {
    std::uint64_t sum = 0;
    for (const Pending& one : pending_) sum += one.batch.size();
    return sum;
  }

  bool is_told(std::uint64_t offset) const {
    const LossReport report = core_->losses();
    return std::ranges::any_of(report.losses, [&](const LogLoss& loss) {
      return loss.verdict == Verdict::unproven && loss.first_offset <= offset &&
             (!loss.counted || offset < loss.first_offset + loss.records);
    });
  }

  const Sent& doubtful(std::uint64_t offset) const {
    const std::uint64_t first = history_.size();
    must(offset >= first && offset - first < in_doubt_.size(),
         "LOG-2: offset " + std::to_string(offset) + " was never appended");
    return in_doubt_[offset - first];
  }

  // --- Damage: LOG-3. ---

  /// Where the frames of records stand in a segment.
  struct Placed {
    std::uint64_t begin;
    std::uint64_t end;
    std::uint64_t offset;
  };

  void damage() {
    (void)core_->sync();
    must(append({draw()}, Durability::synced).has_value(),
         "LOG-6: it goes on on a healthy disk");  // and proves the rest
    const std::uint64_t committed = core_->segments().committed();
    const auto segments = core_->segments().all();
    std::map<std::string, std::vector<Placed>> placed;
    std::map<std::string, std::uint64_t> proven;
    for (const auto& segment : segments) {
      const std::string name = detail::segment_name(segment->name.base_offset, segment->name.serial);
      const auto file = core_->storage().open(name, Storage::Open::existing_to_read).value();
      const auto header = detail::read_header(*file).value();
      detail::Window window(*file);
      detail::FrameScanner scanner(window, header, detail::page_bytes, std::min(segment->end.load(), header.mirror));
      std::uint64_t last_mark = detail::page_bytes;
      while (scanner.next() == detail::FrameScanner::Found::frame) {
        const auto& frame = scanner.frame();
        if (frame.head.kind == detail::FrameKind::mark) last_mark = frame.position;
        if (detail::is_record(frame.head.kind)) {
          placed[name].push_back({frame.position, frame.end(), header.base_offset + frame.head.number});
        }
      }
      proven[name] = last_mark;
    }
    core_.reset();
    std::set<std::uint64_t> gone = missing_;
    const std::uint64_t hits = 1 + random_() % 4;
    for (std::uint64_t hit = 0; hit < hits; ++hit) {
      auto one = placed.begin();
      std::advance(one, static_cast<std::ptrdiff_t>(random_() % placed.size()));
      // Of the last batch of all nothing proves that it was durable.
      const std::uint64_t limit = proven[one->first];
      if (limit == detail::page_bytes) continue;
      std::uint64_t begin = detail::page_bytes + random_() % (limit - detail::page_bytes);
      std::uint64_t end = begin + 1;
      if (chance(3)) {
        begin = begin / SimDisk::sector_bytes * SimDisk::sector_bytes;
        end = begin + SimDisk::sector_bytes;
        if (end > limit) continue;
        if (chance(2)) {
          disk_.zero_sector(one->first, begin / SimDisk::sector_bytes);
        } else {  // a frame that is copied elsewhere is none
          disk_.copy_sector(one->first, begin / SimDisk::sector_bytes + 1 + random_() % 4, one->first,
                            begin / SimDisk::sector_bytes);
        }
      } else {
        disk_.flip_bit(one->first, begin * 8 + random_() % 8);
      }
      for (const Placed& record : one->second) {
        if (record.begin < end && begin < record.end) gone.insert(record.offset);
      }
    }
    // One copy of each of these may go.
    const auto& [any_name, any] = *placed.begin();
    if (chance(2)) disk_.flip_bit(any_name, random_() % (detail::header_bytes * 8));
    must(open(false), "LOG-3: it opens");
    const Found found = read_everything();
    must(found.committed == committed, "LOG-3: " + std::to_string(committed) + " records were committed, " +
                                           std::to_string(found.committed) + " are");
    for (std::uint64_t offset = found.first; offset < committed; ++offset) {
      const auto one = found.records.find(offset);
      if (one == found.records.end()) {
        must(gone.contains(offset), "LOG-3: offset " + std::to_string(offset) + " is gone, and was not touched");
        continue;
      }
      must(history_[offset] && one->second == *history_[offset],
           "LOG-3: offset " + std::to_string(offset) + " is not what was appended");
    }
    // Each is told, and nothing else.
    std::set<std::uint64_t> told;
    for (const LogLoss& loss : core_->losses().losses) {
      for (std::uint64_t i = 0; i < loss.records; ++i) told.insert(loss.first_offset + i);
    }
    for (std::uint64_t offset = found.first; offset < committed; ++offset) {
      must(found.records.contains(offset) != told.contains(offset),
           "LOG-4: the report is wrong on offset " + std::to_string(offset));
    }
    const auto scrubbed = core_->scrub({.bytes_per_second = 0});
    must(scrubbed && scrubbed->records() == core_->losses().records(), "LOG-4: a scrub finds something else");
    must(append({draw()}, Durability::synced).has_value(), "LOG-3: it goes on");
  }

  std::mt19937_64 random_;
  SimDisk disk_;
  SteppedClock clock_;
  LogOptions options_;
  std::unique_ptr<LogCore> core_;
  std::vector<std::optional<Sent>> history_;  // by offset; nothing where a record is known to be missing
  std::vector<Sent> in_doubt_;
  std::vector<Pending> pending_;
  std::vector<Sent> sent_;  // that may be sent again
  std::map<Identity, std::uint64_t> taken_;  // their offsets
  std::set<std::uint64_t> missing_;
  std::uint64_t next_ = 0;
  std::uint64_t written_ = 0;
  std::uint64_t synced_ = 0;
  std::uint64_t may_be_dropped_ = 0;
  std::uint64_t drawn_ = 0;
  int round_ = 0;
  bool power_was_lost_ = false;
  bool damage_at_end_ = false;
  bool rolls_often_ = false;
  bool resends_ = false;
  bool nothing_fails_ = false;  // but for want of room
};

}  // namespace

std::optional<std::string> simulate_log(std::uint64_t seed) try {
  Simulation(seed).run();
  return std::nullopt;
} catch (const Broken& broken) {
  return broken.what();
}

}  // namespace bus::simulation
