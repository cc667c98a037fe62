// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Where a group stands, for those who look on.
#include <bus/persistence/group.hpp>

#include "persistence/group_state.hpp"

#include <algorithm>
#include <chrono>

namespace bus {
namespace {

bool wants(const std::vector<TopicPattern>& patterns, std::string_view topic) noexcept {
  const auto matches = [&](const TopicPattern& pattern) { return topic_matches(pattern.view(), topic); };
  if (detail::is_dead_topic(topic) && !detail::asks_for_dead_letters(patterns)) return false;
  return patterns.empty() || std::ranges::any_of(patterns, matches);
}

const detail::Progress* progress_of(const detail::QueueState& queue, std::uint64_t offset) noexcept {
  const auto& known = offset < queue.next ? queue.open : queue.ahead;
  const auto found = known.find(offset);
  return found == known.end() ? nullptr : &found->second;
}

}  // namespace

const std::string& GroupPosition::group() const noexcept { return state_->spec.group; }
const std::string& GroupPosition::member() const noexcept { return state_->spec.member; }
GroupMode GroupPosition::mode() const noexcept { return static_cast<GroupMode>(state_->spec.mode); }
const std::vector<TopicPattern>& GroupPosition::patterns() const noexcept { return state_->spec.patterns; }

std::optional<std::uint64_t> GroupPosition::lag_bytes() const noexcept {
  return state_->lag_bytes == 0 ? std::nullopt : std::optional(state_->lag_bytes);
}

std::uint64_t GroupPosition::floor() const noexcept {
  if (!state_->open.empty()) return state_->open.begin()->first;
  const auto& done = state_->done.ranges();
  return !done.empty() && done.begin()->first <= state_->next ? done.begin()->second : state_->next;
}

bool GroupPosition::owes(const RecordView& record) const noexcept {
  const std::uint64_t offset = record.offset();
  const bool is_open = offset < state_->next ? state_->open.contains(offset) : !state_->done.contains(offset);
  return is_open && wants(state_->spec.patterns, record.topic());
}

std::optional<GroupPosition::Tried> GroupPosition::tried(std::uint64_t offset) const noexcept {
  const detail::Progress* const progress = progress_of(*state_, offset);
  if (progress == nullptr || *progress == detail::Progress()) return std::nullopt;
  Tried tried{.attempts = progress->attempts, .first_error = progress->first_error, .last_error = progress->last_error};
  if (progress->due_ns != 0) {
    tried.due = std::chrono::system_clock::time_point(
        std::chrono::duration_cast<std::chrono::system_clock::duration>(std::chrono::nanoseconds(progress->due_ns)));
  }
  return tried;
}

}  // namespace bus
