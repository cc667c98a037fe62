// SPDX-License-Identifier: MIT OR Apache-2.0
#include "persistence/batch_judge.hpp"

namespace bus::detail {

/// What the answers for records that belong together come to.
class BatchJudge::Several {
 public:
  explicit Several(std::uint64_t ticket) noexcept : ticket_(ticket) {}

  /// Takes the answer for the next one.
  void add(const Dedup::Answer& answer) noexcept {
    const std::uint64_t i = count_++;
    switch (answer.verdict) {
      case Dedup::Verdict::fenced: return fail(errc::producer_fenced);
      case Dedup::Verdict::gap: return fail(errc::sequence_gap);
      case Dedup::Verdict::fresh: ++fresh_; break;
      case Dedup::Verdict::under_way:
        under_way_ = true;
        if (answer.ticket >= ticket_) return fail(errc::batch_mixed);  // it is one of them
        place(answer.ticket, i);
        break;
      case Dedup::Verdict::duplicate:
        known_ = true;
        if (answer.offset) place(*answer.offset, i);
        break;
    }
    if ((fresh_ != 0) + under_way_ + known_ > 1) fail(errc::batch_mixed);
  }

  bool is_fresh() const noexcept { return !error_ && fresh_ != 0; }
  error_code error() const noexcept { return error_; }
  bool is_under_way() const noexcept { return under_way_; }
  /// Of the first: its offset, or if it is under way, its ticket.
  std::uint64_t first() const noexcept { return first_; }

 private:
  void fail(errc error) noexcept {
    if (!error_) error_ = error;
  }
  /// That the one of that number stands there. They must stand in a row.
  void place(std::uint64_t at, std::uint64_t i) noexcept {
    if (at < i || (first_ != unknown_offset && first_ != at - i)) return fail(errc::batch_mixed);
    first_ = at - i;
  }

  const std::uint64_t ticket_;
  std::uint64_t count_ = 0;
  std::uint64_t fresh_ = 0;
  bool under_way_ = false;
  bool known_ = false;
  std::uint64_t first_ = unknown_offset;
  error_code error_;
};

void BatchJudge::begin(std::uint64_t ticket, std::int64_t now_ns) noexcept {
  first_ = ticket;
  now_ns_ = now_ns;
  fresh_.clear();
  asides_.clear();
  duplicates_ = 0;
  refused_ = 0;
}

bool BatchJudge::judge(std::uint64_t ticket, std::span<const DedupKey> keys) {
  if (dedup_ == nullptr) return true;
  const std::size_t fresh_before = fresh_.size();
  Several several(ticket);
  for (std::size_t i = 0; i < keys.size() && !several.error(); ++i) {
    Dedup::Answer answer;
    if (!keys[i].empty()) {
      fresh_.push_back(ticket + i);
      answer = dedup_->begin(keys[i], ticket + i, now_ns_);
      if (answer.verdict != Dedup::Verdict::fresh) fresh_.pop_back();
    }
    several.add(answer);
  }
  if (several.is_fresh()) return true;
  for (std::size_t i = fresh_before; i < fresh_.size(); ++i) dedup_->cancel(fresh_[i]);
  fresh_.resize(fresh_before);
  asides_.push_back({.begin = ticket,
                     .end = ticket + keys.size(),
                     .error = several.error(),
                     .of = several.first(),
                     .of_this_commit = several.is_under_way()});
  (several.error() ? refused_ : duplicates_) += keys.size();
  return false;
}

void BatchJudge::commit(std::uint64_t offset, Outcomes& outcomes) noexcept {
  // From tickets to offsets: one less for each that is passed and writes nothing.
  std::uint64_t written = offset - first_;
  auto aside = asides_.begin();
  for (const std::uint64_t ticket : fresh_) {
    for (; aside != asides_.end() && aside->begin < ticket; ++aside) written -= aside->end - aside->begin;
    dedup_->commit(ticket, ticket + written);
  }
  fresh_.clear();
  for (const Aside& one : asides_) {
    if (one.error) {
      outcomes.refuse(one.begin, one.end, one.error);
    } else {
      outcomes.find(one.begin, one.end, one.of_this_commit ? outcomes.of(one.of).value().offset : one.of);
    }
  }
  asides_.clear();
}

void BatchJudge::cancel() noexcept {
  for (const std::uint64_t ticket : fresh_) dedup_->cancel(ticket);
  fresh_.clear();
  asides_.clear();
}

}  // namespace bus::detail
