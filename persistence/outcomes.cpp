// SPDX-License-Identifier: MIT OR Apache-2.0
#include "persistence/outcomes.hpp"

#include <algorithm>

namespace bus::detail {

void Outcomes::refuse(std::uint64_t begin, std::uint64_t end, error_code error) noexcept {
  note({.begin = begin, .end = end, .before = 0, .offset = unknown_offset, .error = error});
}

void Outcomes::find(std::uint64_t begin, std::uint64_t end, std::uint64_t offset) noexcept {
  note({.begin = begin, .end = end, .before = 0, .offset = offset, .error = {}});
}

void Outcomes::note(Run run) noexcept {
  const std::lock_guard lock(mutex_);
  if (!runs_.empty()) {
    Run& last = runs_.back();
    const bool offset_goes_on = run.offset == unknown_offset ? last.offset == unknown_offset
                                                             : last.offset != unknown_offset &&
                                                                   last.offset + (last.end - last.begin) == run.offset;
    if (last.end == run.begin && last.error == run.error && offset_goes_on) {
      last.end = run.end;
      return;
    }
    run.before = last.skipped_up_to_end();
  }
  if (runs_.full()) known_from_ = runs_.front().end;  // it goes
  runs_.push_back(run);
  any_.store(true, std::memory_order_release);
}

result<Appended> Outcomes::of(std::uint64_t ticket) const noexcept {
  if (!any_.load(std::memory_order_acquire)) return Appended{base_offset_ + ticket};
  const std::lock_guard lock(mutex_);
  if (ticket < known_from_) return make_error_code(errc::outcome_forgotten);
  const auto behind = std::upper_bound(runs_.begin(), runs_.end(), ticket,
                                       [](std::uint64_t one, const Run& run) { return one < run.begin; });
  if (behind == runs_.begin()) return Appended{base_offset_ + ticket - runs_.front().before};
  const Run& last = *(behind - 1);
  if (ticket >= last.end) return Appended{base_offset_ + ticket - last.skipped_up_to_end()};
  if (last.error) return last.error;
  if (last.offset == unknown_offset) return Appended{unknown_offset, true};
  return Appended{last.offset + (ticket - last.begin), true};
}

}  // namespace bus::detail
