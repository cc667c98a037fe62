// SPDX-License-Identifier: MIT OR Apache-2.0
//
// How a queue goes along the log, ahead of those who receive.
#include "persistence/log_core.hpp"
#include "persistence/nanoseconds.hpp"
#include "persistence/queue_core.hpp"

#include <algorithm>
#include <functional>
#include <iterator>
#include <limits>
#include <new>
#include <utility>

namespace bus::detail {
namespace {

constexpr std::size_t reader_block_bytes = std::size_t{64} << 10;
constexpr std::size_t frames_at_once = 4096;  // under one hold of the lock
constexpr std::size_t ranges_at_once = 256;  // in one post
static_assert(ranges_at_once * 24 <= ItemQueue::most_at_once);
constexpr std::size_t most_views = 4096;
constexpr std::uint64_t worth_a_seek = 4096;  // records

/// Higher is sooner; what says nothing is 0. The table has the highest first.
std::uint8_t table_priority(std::optional<std::uint8_t> said) noexcept {
  constexpr std::uint8_t highest = LeaseTable::priorities - 1;
  return static_cast<std::uint8_t>(highest - std::min(said.value_or(0), highest));
}

std::uint64_t hash_key(std::string_view key) noexcept {
  if (key.empty()) return 0;
  const std::uint64_t hash = std::hash<std::string_view>()(key);
  return hash == 0 ? 1 : hash;
}

}  // namespace

error_code QueueCore::begin_reading() {
  if (has_dead_letters()) {
    // All it owes is known up to the last of them, and what is gone by now was never for it.
    for (const std::uint64_t letter : letters_) {
      if (!table_.has(letter)) state_.open.try_emplace(letter);
    }
    if (!letters_.empty()) come_to(state_, *letters_.rbegin() + 1);
    come_to(state_, log_->segments().first_offset());
  }
  std::uint64_t begin = state_.next;
  if (!state_.open.empty()) begin = std::min(begin, state_.open.begin()->first);
  auto reader = reader_from(begin);
  if (!reader) return reader.error();
  reader_ = std::move(*reader);
  return {};
}

result<std::unique_ptr<ReaderCore>> QueueCore::reader_from(std::uint64_t offset) {
  return ReaderCore::make(
      source_, {.from = From::offset(offset), .patterns = state_.spec.patterns, .block_bytes = reader_block_bytes});
}

bool QueueCore::may_read_ahead() const noexcept { return table_.size() < window_ && put_off_.runs().size() < window_; }

/// Returns in `more` whether it stopped as it would have held the lock for long.
error_code QueueCore::read_ahead(std::int64_t now, std::size_t most, bool& more) try {
  if (reader_ == nullptr) {
    if (const error_code error = begin_reading()) return error;
  }
  std::size_t frames = frames_at_once + 2 * std::min(most, window_);  // a record may have a commit of its own
  std::size_t late_frames = frames;
  const error_code late_error = read_put_off(now, late_frames);
  const error_code error = read_on(now, frames);
  more = late_frames == 0 || frames == 0;
  return error ? error : late_error;
} catch (...) {
  reader_.reset();  // it has passed what could not be added
  late_.reset();
  throw;
}

error_code QueueCore::read_on(std::int64_t now, std::size_t& frames) {
  while (may_read_ahead()) {
    // Where much is finished that lies in front of `next`, it is passed over.
    const std::uint64_t at = reader_->offset();
    if (at < state_.next) {
      const auto open = state_.open.lower_bound(at);
      const std::uint64_t wanted = open == state_.open.end() ? state_.next : open->first;
      state_.open.erase(state_.open.begin(), open);
      if (wanted > at + worth_a_seek) {
        if (const error_code error = begin_reading()) return error;
      }
    }
    const auto found = reader_->next_within(frames);
    if (!found) return found.error();
    if (!*found) break;
    switch ((*found)->outcome()) {
      case ReadOutcome::record: add(reader_->record(), now); break;
      case ReadOutcome::lost:
      case ReadOutcome::overrun: pass_over(reader_->offset() - (*found)->count(), reader_->offset()); break;
      default: state_.next = std::max(state_.next, reader_->offset()); return {};
    }
    state_.next = std::max(state_.next, reader_->offset());
    if (reader_->offset() >= state_.next) state_.done.remove_below(state_.next);
  }
  return {};
}

// --- What is put off. ---

/// Whether one more of the principal goes into the table. A share of it is only for those who have less than a share.
bool QueueCore::has_place(const Principal& principal) const noexcept {
  return table_.size() < window_ - share_ || table_.messages_of(principal) < share_;
}

/// Whether the record stays in the log until there is place. Errors: throws std::bad_alloc.
bool QueueCore::put_off(const RecordView& record, const Principal& principal) {
  if (has_dead_letters() || (state_.spec.mode == QueueMode::key_ordered && !record.key().empty())) return false;
  // Those of one principal stay in order.
  if (!put_off_.has(principal) && has_place(principal)) return false;
  put_off_.add(principal, record.offset());
  return true;
}

/// Reads again, in order, for principals that have place. They get a good deal of it before, so that what lies between
/// is not read for each message.
error_code QueueCore::read_put_off(std::int64_t now, std::size_t& frames) {
  auto& fronts = put_off_.fronts();
  const bool has_place_for_all = table_.size() <= (window_ - share_) / 2;
  std::uint64_t at = state_.next;
  std::size_t with_place = 0;
  for (auto& [principal, front] : fronts) {
    front.has_place = has_place_for_all || table_.messages_of(principal) <= share_ / 2;
    if (!front.has_place) continue;
    at = std::min(at, front.first);
    ++with_place;
  }
  if (with_place == 0) return {};
  // In front of `at` none is left whose principal has place.
  error_code error;
  while (with_place != 0 && table_.size() < window_) {
    at = put_off_.next_from(at);
    if (at >= state_.next) break;
    if (put_off_.runs().size() >= 2 * window_ && !put_off_.begins_at(at)) break;  // it would split a range
    if (late_ == nullptr || late_->offset() > at || at - late_->offset() > worth_a_seek) {
      auto reader = reader_from(at);
      if (!reader) return reader.error();
      late_ = std::move(*reader);
    }
    const auto found = late_->next_within(frames);
    if (!found) error = found.error();
    if (!found || !*found) break;
    const std::uint64_t end = late_->offset();
    if ((*found)->outcome() == ReadOutcome::record) {
      with_place -= take_put_off(now) ? 0 : 1;
    } else if ((*found)->outcome() == ReadOutcome::lost || (*found)->outcome() == ReadOutcome::overrun) {
      miss_put_off(end - (*found)->count(), end);
    } else {
      break;
    }
    at = std::max(at, end);
  }
  boost::unordered::erase_if(fronts, [&](const auto& front) { return front.second.has_place && at >= state_.next; });
  for (auto& [principal, front] : fronts) {
    if (front.has_place) front.first = std::max(front.first, at);
  }
  if (fronts.empty()) late_.reset();  // it would keep its segment
  return error;
}

/// What `late_` is at, if it is one of those and its principal has place. Returns: false if that had its last place.
bool QueueCore::take_put_off(std::int64_t now) {
  const RecordView& record = late_->record();
  const std::uint64_t offset = record.offset();
  if (!put_off_.contains(offset)) return true;
  const Principal principal = principal_of(record);
  const auto front = put_off_.fronts().find(principal);
  if (front == put_off_.fronts().end() || !front->second.has_place) return true;
  if (!has_place(principal)) {
    front->second = {.first = offset};
    return false;
  }
  put_off_.prepare_to_remove(offset);
  enter(record, principal, {}, now);
  put_off_.remove(offset, offset + 1);
  front->second.first = offset + 1;
  return true;
}

/// Those in `[begin, end)` are gone.
void QueueCore::miss_put_off(std::uint64_t begin, std::uint64_t end) {
  while ((begin = put_off_.next_from(begin)) < end) {
    put_off_.prepare_to_remove(begin);
    const std::uint64_t first = std::exchange(begin, put_off_.remove(begin, end));
    stats_.missed += begin - first;
    missed_untold_ += begin - first;
    last_finished_ = std::max(last_finished_, begin - 1);
    (void)note_done(first, begin);
  }
}

// --- What is read. ---

/// Records in `[begin, end)` are gone, in front of which reading has come.
void QueueCore::pass_over(std::uint64_t begin, std::uint64_t end) {
  const auto first = state_.open.lower_bound(begin);
  const auto last = state_.open.lower_bound(end);
  std::uint64_t owed = static_cast<std::uint64_t>(std::distance(first, last));
  state_.open.erase(first, last);
  if (has_dead_letters()) {
    owed = static_cast<std::uint64_t>(std::distance(letters_.lower_bound(begin), letters_.lower_bound(end)));
  } else if (const std::uint64_t fresh = std::max(begin, state_.next); fresh < end) {
    owed += end - fresh - state_.done.count(fresh, end);
    state_.ahead.erase(state_.ahead.lower_bound(fresh), state_.ahead.lower_bound(end));
  }
  last_finished_ = std::max(last_finished_, end - 1);
  letters_.erase(letters_.lower_bound(begin), letters_.lower_bound(end));
  stats_.missed += owed;
  missed_untold_ += owed;
  (void)note_done(begin, end);
}

/// Counts what is for the queue in front of `end` and was not read.
void QueueCore::read_past(std::uint64_t end) try {
  if (state_.next >= end || (reader_ == nullptr && begin_reading())) return;
  while (reader_->offset() < end) {
    const auto found = reader_->next();
    if (!found) return;  // reading comes upon the gap
    if (found->outcome() == ReadOutcome::record) {
      const RecordView& record = reader_->record();
      if (record.offset() >= end) {
        add(record, now_ns());
      } else if (record.offset() >= state_.next && !state_.done.contains(record.offset()) &&
                 (reads_dead_ || !is_dead_topic(record.topic()))) {
        ++stats_.missed;
        ++missed_untold_;
      }
    } else if (found->outcome() == ReadOutcome::lost || found->outcome() == ReadOutcome::overrun) {
      pass_over(reader_->offset() - found->count(), reader_->offset());
    } else {
      return;
    }
    come_to(state_, reader_->offset());
  }
} catch (...) {
  reader_.reset();
  throw;
}

void QueueCore::give_up_before(std::uint64_t offset) noexcept try {
  const std::lock_guard lock(mutex_);
  if (log_ == nullptr) return;
  if (again_ != nullptr && again_->offset() < offset) again_.reset();  // it holds a segment that goes
  if (floor_locked() >= offset) return;
  const auto missed = [&](std::uint64_t one) {
    ++stats_.missed;
    ++missed_untold_;
    drop_kept(one);
  };
  table_.give_up_before(offset, missed);
  const std::uint64_t left = put_off_.remove_below(offset);
  stats_.missed += left;
  missed_untold_ += left;
  for (auto open = state_.open.begin(); open != state_.open.end() && open->first < offset;) {
    missed(open->first);
    open = state_.open.erase(open);
  }
  if (has_dead_letters()) {
    for (auto letter = letters_.lower_bound(state_.next); letter != letters_.end() && *letter < offset;) {
      const std::uint64_t one = *letter++;
      state_.done.add(one, one + 1);
      missed(one);
    }
  } else {
    read_past(offset);
  }
  last_finished_ = std::max(last_finished_, offset - 1);
  // All but what is in the table still.
  std::vector<std::pair<std::uint64_t, std::uint64_t>> done(1);
  table_.for_each([&](const Owed& owed) {
    if (owed.offset >= offset) return;
    done.back().second = owed.offset;
    done.emplace_back(owed.offset + 1, 0);
  });
  done.back().second = offset;
  std::erase_if(done, [](const auto& range) { return range.first >= range.second; });
  for (std::size_t begin = 0; begin < done.size(); begin += ranges_at_once) {
    const auto part = std::span(done).subspan(begin, std::min(ranges_at_once, done.size() - begin));
    (void)log_->post_items([&](GroupItems& items) {
      for (const auto& [from, to] : part) items.done(state_.spec.id, from, to);
    });
  }
  made_ready();
} catch (const std::bad_alloc&) {
  // Who reads there, or asks for one of them, finds that it is gone.
}

void QueueCore::add(const RecordView& record, std::int64_t now) {
  const std::uint64_t offset = record.offset();
  if (!reads_dead_ && is_dead_topic(record.topic())) return;
  auto& known = offset < state_.next ? state_.open : state_.ahead;
  const auto told = known.find(offset);
  if (offset < state_.next && told == state_.open.end()) return;
  if (offset >= state_.next && state_.done.contains(offset)) {
    last_finished_ = std::max(last_finished_, offset);
    return;
  }
  const Principal principal = principal_of(record);
  if (told != known.end()) {
    enter(record, principal, told->second, now);
    known.erase(told);
  } else if (!put_off(record, principal)) {
    enter(record, principal, {}, now);
  }
  state_.next = std::max(state_.next, offset + 1);
}

/// Puts it into the table. Errors: throws std::bad_alloc; it is not there then.
void QueueCore::enter(const RecordView& record, const Principal& principal, const Progress& progress,
                      std::int64_t now) {
  const std::uint64_t offset = record.offset();
  const std::int64_t wall = wall_ns();
  Owed owed{.offset = offset,
            .key = state_.spec.mode == QueueMode::key_ordered ? hash_key(record.key()) : 0,
            .priority = table_priority(record.priority()),
            .attempts = progress.attempts};
  const std::size_t bytes = record.payload().size() + record.topic().size() + record.key().size() + head_bytes;
  owed.charge = static_cast<std::uint32_t>(std::min<std::size_t>(bytes, std::numeric_limits<std::uint32_t>::max()));
  // By the wall, but no later than in the time that was asked for.
  std::int64_t wait = 0;
  if (progress.due_ns != 0) {
    wait = std::min(less(progress.due_ns, wall), progress.delay_ns);
  } else if (const auto due = record.due()) {
    wait = std::min(less(in_ns(*due), wall), less(in_ns(*due), in_ns(record.time())));
  }
  if (wait > 0) owed.due_ns = plus(now, wait);
  if (const auto expiry = record.expiry()) {
    owed.expires_ns = std::max<std::int64_t>(plus(now, less(in_ns(*expiry), wall)), 1);
  }
  // In an order in which a lack of memory loses nothing.
  if (has_dead_letters()) letters_.insert(offset);
  if (progress != Progress()) tried_[offset] = {.progress = progress};
  table_.add(owed, principal);
  keep(record);
}

/// Keeps what was read for when it is leased, as long as there is room.
void QueueCore::keep(const RecordView& record) noexcept try {
  if (views_.size() >= most_views || view_bytes_ + record.payload().size() > cache_bytes_) return;
  if (views_.emplace(record.offset(), record).second) view_bytes_ += record.payload().size();
} catch (const std::bad_alloc&) {
  // It is read again.
}

/// Returns: nothing if it is gone.
result<std::optional<RecordView>> QueueCore::read(std::uint64_t offset) {
  if (const auto kept = views_.find(offset); kept != views_.end()) {
    RecordView record = std::move(kept->second);
    views_.erase(kept);
    view_bytes_ -= record.payload().size();
    return std::optional(std::move(record));
  }
  if (again_ == nullptr || again_->offset() > offset || offset - again_->offset() > worth_a_seek) {
    auto reader = ReaderCore::make(source_, {.from = From::offset(offset), .block_bytes = reader_block_bytes});
    if (!reader) return reader.error();
    again_ = std::move(*reader);
  }
  while (again_->offset() <= offset) {
    const auto found = again_->next();
    if (!found) return found.error();
    if (found->outcome() == ReadOutcome::record && again_->record().offset() == offset) {
      return std::optional(again_->record());
    }
    if (found->outcome() == ReadOutcome::end || found->outcome() == ReadOutcome::closed) break;
  }
  return std::optional<RecordView>();
}

}  // namespace bus::detail
