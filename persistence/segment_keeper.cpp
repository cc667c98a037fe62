// SPDX-License-Identifier: MIT OR Apache-2.0
#include "persistence/segment_keeper.hpp"

#include "persistence/segment_file.hpp"
#include "persistence/window.hpp"

#include <boost/system/errc.hpp>

#include <limits>
#include <new>
#include <string>
#include <utility>

namespace bus::detail {
namespace {

std::string name_of(const Segment& segment) { return segment_name(segment.name.base_offset, segment.name.serial); }

error_code no_space() noexcept { return {boost::system::errc::no_space_on_device, boost::system::system_category()}; }

}  // namespace

void SegmentKeeper::retain(std::int64_t now_ns) noexcept try {
  const std::lock_guard lock(mutex_);
  while (oldest_may_go(now_ns) && !oldest_is_owed()) {
    if (take_away_oldest()) return;
  }
} catch (const std::bad_alloc&) {
  // The next time.
}

Retention SegmentKeeper::retention() const {
  const std::lock_guard lock(mutex_);
  return retention_;
}

void SegmentKeeper::set_retention(const Retention& retention) noexcept {
  const std::lock_guard lock(mutex_);
  retention_ = retention;
}

std::size_t SegmentKeeper::spare_segments() const {
  const std::lock_guard lock(mutex_);
  return spare_segments_;
}

void SegmentKeeper::set_spare_segments(std::size_t segments) noexcept {
  const std::lock_guard lock(mutex_);
  spare_segments_ = segments;
}

error_code SegmentKeeper::drop_before(std::uint64_t offset) noexcept try {
  const std::lock_guard lock(mutex_);
  while (files_.segments.second_offset().value_or(std::numeric_limits<std::uint64_t>::max()) <= offset &&
         !oldest_has_groups()) {
    if (const error_code error = take_away_oldest()) return error;
  }
  return {};
} catch (const std::bad_alloc&) {
  return errc::out_of_memory;
}

error_code SegmentKeeper::drop_oldest() noexcept try {
  const std::lock_guard lock(mutex_);
  if (oldest_is_owed()) return no_space();
  return take_away_oldest();
} catch (const std::bad_alloc&) {
  return errc::out_of_memory;
}

bool SegmentKeeper::make_spare() noexcept try {
  const std::lock_guard lock(mutex_);
  if (files_.spares.size() >= spare_segments_ || !files_.disk.take(segment_bytes_)) return false;
  auto spare = detail::make_spare(storage_, segment_bytes_);
  if (!spare) {
    files_.disk.give(segment_bytes_);
    return false;  // the disk is full, or worse: whoever commits finds out
  }
  files_.counts.fill_bytes.fetch_add(segment_bytes_, std::memory_order_relaxed);
  files_.spares.put(std::move(*spare));
  return true;
} catch (const std::bad_alloc&) {
  return false;
}

/// Whether groups could not be known any more without it.
bool SegmentKeeper::oldest_has_groups() const {
  return files_.segments.first_serial().value_or(0) >= files_.groups_from.load(std::memory_order_acquire);
}

bool SegmentKeeper::oldest_is_owed() const {
  if (oldest_has_groups()) return true;
  const auto owed = creditors_.owed_from();
  return owed && files_.segments.second_offset().value_or(0) > *owed;
}

bool SegmentKeeper::oldest_may_go(std::int64_t now_ns) {
  const auto segments = files_.segments.all();
  if (segments.size() < 2) return false;
  std::uint64_t bytes = 0;
  for (const SegmentRef& segment : segments) bytes += segment->file_bytes;
  if (retention_.bytes && bytes > *retention_.bytes) return true;
  const std::uint64_t kept = files_.segments.committed() - segments[1]->name.base_offset;
  if (retention_.records && kept >= *retention_.records) return true;
  if (!retention_.age) return false;
  const std::int64_t sealed_ns = sealed_at(*segments[0]);
  return sealed_ns != 0 && now_ns - sealed_ns > retention_.age->count();
}

/// Returns: wall time in ns; of a segment that does not say so any more, when it was begun; 0 if nothing does.
std::int64_t SegmentKeeper::sealed_at(Segment& segment) noexcept try {
  const std::int64_t known = segment.sealed_ns.load(std::memory_order_relaxed);
  if (known != 0) return known;
  const auto file = storage_.open(name_of(segment), Storage::Open::existing_to_read);
  if (!file) return 0;
  const auto header = read_header(**file);
  if (!header) return 0;
  Window window(**file);
  Names names;
  const auto mirror = read_mirror(window, *header, names);
  const std::int64_t sealed_ns = mirror.footer ? mirror.footer->footer.sealed_ns : header->created_ns;
  segment.sealed_ns.store(sealed_ns, std::memory_order_relaxed);
  return sealed_ns;
} catch (const std::bad_alloc&) {
  return 0;
}

/// The oldest segment becomes a spare, or goes.
error_code SegmentKeeper::take_away_oldest() {
  if (const error_code error = finish_taking_away()) return error;
  if (const auto end = files_.segments.second_offset()) creditors_.will_drop(*end);
  SegmentRef oldest = files_.segments.take_oldest();
  if (oldest == nullptr) return no_space();
  const std::uint64_t records = files_.segments.first_offset() - oldest->name.base_offset;
  if (const error_code error = retire(*oldest)) {
    files_.segments.put_back(std::move(oldest));
    return error;
  }
  dropped_segments_.fetch_add(1, std::memory_order_relaxed);
  dropped_records_.fetch_add(records, std::memory_order_relaxed);
  retired_ = {.name = oldest->name, .bytes = oldest->file_bytes, .is_read = oldest.use_count() > 1};
  if (const error_code error = storage_.sync_names()) return error;
  return use_or_remove_retired();
}

error_code SegmentKeeper::retire(const Segment& segment) noexcept try {
  return storage_.rename(name_of(segment), retired_name(segment.name));
} catch (const std::bad_alloc&) {
  return errc::out_of_memory;
}

/// Of the one before, if that failed.
error_code SegmentKeeper::finish_taking_away() {
  if (!retired_) return {};
  bool is_left = true;
  if (const error_code error = take_away_again(storage_, retired_->name, is_left)) return error;
  if (const error_code error = storage_.sync_names()) return error;
  if (is_left) return use_or_remove_retired();
  files_.disk.give(std::exchange(retired_, std::nullopt)->bytes);
  return {};
}

/// It is durable that the segment is gone.
error_code SegmentKeeper::use_or_remove_retired() {
  const Retired retired = *std::exchange(retired_, std::nullopt);
  const std::string name = retired_name(retired.name);
  if (!retired.is_read && retired.bytes == segment_bytes_ && files_.spares.size() < spare_segments_) {
    if (auto spare = inspect_spare(storage_, name)) {
      files_.spares.put(std::move(*spare));
      return {};
    }
  }
  if (const error_code error = storage_.remove(name)) return error;
  files_.disk.give(retired.bytes);
  return {};
}

}  // namespace bus::detail
