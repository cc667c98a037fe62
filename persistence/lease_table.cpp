// SPDX-License-Identifier: MIT OR Apache-2.0
#include "persistence/lease_table.hpp"

#include <algorithm>
#include <cassert>
#include <limits>
#include <stdexcept>
#include <utility>

namespace bus::detail {
namespace {

constexpr std::int64_t ns_in_ms = 1'000'000;

std::uint32_t to_ms(std::int64_t ns) noexcept { return static_cast<std::uint32_t>(ns / ns_in_ms); }

/// A time that far from another, without passing the end of time.
std::int64_t later(std::int64_t ns, std::int64_t by_ns) noexcept {
  return by_ns > std::numeric_limits<std::int64_t>::max() - ns ? std::numeric_limits<std::int64_t>::max() : ns + by_ns;
}

}  // namespace

std::uint64_t LeaseTable::Backlog::first_charge() const noexcept {
  return table->entry(table->first_ready(*this)).charge + debt;
}

LeaseTable::LeaseTable(LeaseRules rules)
    : rules_(std::move(rules)), by_offset_(0, HashOffset{this}, SameOffset{this}) {}

LeaseTable::~LeaseTable() {
  round_.clear_and_dispose([](Backlog*) {});
}

// --- Lists of entries. ---

template <LeaseTable::Index LeaseTable::Entry::* Before, LeaseTable::Index LeaseTable::Entry::* Behind>
void LeaseTable::push_back(List& list, Index i) noexcept {
  entry(i).*Before = list.last;
  entry(i).*Behind = none;
  (list.last == none ? list.first : entry(list.last).*Behind) = i;
  list.last = i;
}

template <LeaseTable::Index LeaseTable::Entry::* Before, LeaseTable::Index LeaseTable::Entry::* Behind>
void LeaseTable::erase(List& list, Index i) noexcept {
  const Entry& e = entry(i);
  (e.*Before == none ? list.first : entry(e.*Before).*Behind) = e.*Behind;
  (e.*Behind == none ? list.last : entry(e.*Behind).*Before) = e.*Before;
}

// --- Messages and members. ---

void LeaseTable::add(const Owed& message, const Principal& principal) {
  assert(!has(message.offset));
  assert(message.priority < priorities);
  // All that may throw comes first, also what leasing will need.
  if (free_ == none) {
    if (chunks_.size() * chunk_entries >= none - chunk_entries) throw std::bad_alloc();
    const auto begin = static_cast<Index>(chunks_.size() * chunk_entries);
    chunks_.push_back(std::make_unique<Entry[]>(chunk_entries));
    for (Index i = begin + chunk_entries; i-- != begin;) entry(i).newer = std::exchange(free_, i);
  }
  if (heap_.capacity() == size_) heap_.reserve(size_ + std::max<std::size_t>(size_ / 16, 64));
  if (message.key != 0) keys_.try_emplace(message.key);
  const Index backlog = backlog_of(principal);
  const Index i = free_;
  entry(i).offset = message.offset;
  try {
    by_offset_.insert(i);
  } catch (...) {
    forget(backlog);
    throw;
  }
  free_ = entry(i).newer;
  Entry& e = entry(i);
  e = Entry();
  e.offset = message.offset;
  e.key = message.key;
  e.expires_ns = message.expires_ns;
  e.backlog = backlog;
  e.charge = message.charge;
  e.attempts = message.attempts;
  e.priority = message.priority % priorities;
  ++size_;
  ++backlogs_[backlog]->messages;
  list_by_offset(i);
  const bool has_place = message.due_ns == 0 || message.attempts != 0;
  if (has_place) {
    join_key(i);
  } else if (e.key != 0) {
    ++keys_.find(e.key)->second.not_due;
  }
  if (message.due_ns > 0) {
    delay(i, message.due_ns);
  } else {
    offer(i);
  }
}

void LeaseTable::list_by_offset(Index i) noexcept {
  const std::uint64_t offset = entry(i).offset;
  if (all_.last == none || entry(all_.last).offset < offset) {
    return push_back<&Entry::older, &Entry::newer>(all_, i);
  }
  // There is one behind it.
  Index behind = last_between_ == none ? all_.first : last_between_;
  while (entry(behind).offset < offset) behind = entry(behind).newer;
  while (entry(behind).older != none && entry(entry(behind).older).offset > offset) behind = entry(behind).older;
  const Index before = entry(behind).older;
  entry(i).older = before;
  entry(i).newer = behind;
  entry(behind).older = i;
  (before == none ? all_.first : entry(before).newer) = i;
  last_between_ = i;
}

std::size_t LeaseTable::messages_of(const Principal& principal) const noexcept {
  const auto found = by_principal_.find(principal);
  return found == by_principal_.end() ? 0 : backlogs_[found->second]->messages;
}

/// Errors: throws std::bad_alloc.
LeaseTable::Index LeaseTable::backlog_of(const Principal& principal) {
  if (const auto found = by_principal_.find(principal); found != by_principal_.end()) return found->second;
  free_backlogs_.reserve(backlogs_.size() + 1);  // so that `forget` cannot fail
  Index index = static_cast<Index>(backlogs_.size());
  if (!free_backlogs_.empty()) {
    index = free_backlogs_.back();
    *backlogs_[index] = Backlog();
    by_principal_.emplace(principal, index);
    free_backlogs_.pop_back();
  } else {
    backlogs_.push_back(std::make_unique<Backlog>());
    try {
      by_principal_.emplace(principal, index);
    } catch (...) {
      backlogs_.pop_back();
      throw;
    }
  }
  Backlog& backlog = *backlogs_[index];
  backlog.table = this;
  backlog.principal = principal;
  backlog.weight = weight_of(rules_.weights, principal);
  return index;
}

/// Of a principal with nothing here.
void LeaseTable::forget(Index backlog) noexcept {
  if (backlogs_[backlog]->messages != 0) return;
  by_principal_.erase(backlogs_[backlog]->principal);
  free_backlogs_.push_back(backlog);
}

LeaseTable::Member LeaseTable::join(const Credits& credits) {
  const auto gone = std::ranges::find_if(members_, [](const MemberState& m) { return !m.joined && m.messages == 0; });
  if (gone == members_.end() && members_.size() > std::numeric_limits<Member>::max()) {
    throw std::length_error("a group has too many members");
  }
  MemberState& member = gone == members_.end() ? members_.emplace_back() : *gone;
  member.credits = credits;
  member.joined = true;
  return static_cast<Member>(&member - members_.data());
}

void LeaseTable::leave(Member member) noexcept {
  members_[member].joined = false;
  ++members_[member].left;
}

LeaseTable::Index LeaseTable::find(std::uint64_t offset) const noexcept {
  const auto found = by_offset_.find(offset);
  return found == by_offset_.end() ? none : *found;
}

LeaseTable::Index LeaseTable::find_leased(const LeaseName& lease, std::int64_t now_ns) const noexcept {
  const Index i = find(lease.offset);
  if (i == none) return none;
  const Entry& e = entry(i);
  return e.state == State::leased && e.token == lease.token && e.wakes_ns > now_ns ? i : none;
}

Owed LeaseTable::owed(const Entry& e) const noexcept {
  return {.offset = e.offset,
          .key = e.key,
          .charge = e.charge,
          .priority = e.priority,
          .attempts = e.attempts,
          .due_ns = e.state == State::delayed ? e.wakes_ns : 0,
          .expires_ns = e.expires_ns};
}

// --- What is ready. ---

LeaseTable::Index LeaseTable::first_ready(const Backlog& backlog) const noexcept {
  for (const auto& queues : backlog.queues) {
    for (const List& queue : queues) {
      if (queue.first != none) return queue.first;
    }
  }
  return none;
}

LeaseTable::List& LeaseTable::queue_of(const Entry& e) noexcept {
  return backlogs_[e.backlog]->queues[e.priority][e.came_back ? 0 : 1];
}

void LeaseTable::make_ready(Index i) noexcept {
  Entry& e = entry(i);
  e.state = State::ready;
  push_back<&Entry::before, &Entry::behind>(queue_of(e), i);
  ++ready_;
  Backlog& backlog = *backlogs_[e.backlog];
  if (backlog.ready++ == 0) round_.join(backlog);
}

void LeaseTable::leave_ready(Index i) noexcept {
  const Entry& e = entry(i);
  erase<&Entry::before, &Entry::behind>(queue_of(e), i);
  --ready_;
  Backlog& backlog = *backlogs_[e.backlog];
  if (--backlog.ready != 0) return;
  round_.leave(backlog);
  backlog.debt = 0;
}

void LeaseTable::delay(Index i, std::int64_t due_ns) noexcept {
  Entry& e = entry(i);
  e.state = State::delayed;
  e.wakes_ns = due_ns;
  ++delayed_;
  heap_push(i);
}

/// Makes it ready, unless others of its key come first.
void LeaseTable::offer(Index i) noexcept {
  Entry& e = entry(i);
  e.state = State::behind;
  if (e.key == 0) {
    make_ready(i);
  } else {
    offer_first(e.key);
  }
}

/// Makes the first message with the key ready, if it only waits for its turn.
void LeaseTable::offer_first(std::uint64_t key) noexcept {
  const Index first = keys_.find(key)->second.entries.first;
  if (first != none && entry(first).state == State::behind) make_ready(first);
}

void LeaseTable::join_key(Index i) noexcept {
  Entry& e = entry(i);
  if (e.key == 0) return;
  push_back<&Entry::key_before, &Entry::key_behind>(keys_.find(e.key)->second.entries, i);
  e.in_key = true;
}

/// It holds up no other message with its key any more.
void LeaseTable::leave_key(Index i) noexcept {
  Entry& e = entry(i);
  if (e.key == 0) return;
  const auto found = keys_.find(e.key);
  Key& key = found->second;
  if (e.in_key) {
    erase<&Entry::key_before, &Entry::key_behind>(key.entries, i);
    offer_first(e.key);
  } else {
    --key.not_due;
  }
  if (key.entries.first == none && key.not_due == 0) keys_.erase(found);
  e.in_key = false;
  e.key = 0;
}

// --- Delivery. ---

bool LeaseTable::may_lease(const MemberState& member, const Entry& e) const noexcept {
  if (member.messages >= member.credits.messages) return false;
  return member.messages == 0 || member.bytes + e.charge <= member.credits.bytes;
}

LeaseTable::Take LeaseTable::take(Member member, std::int64_t now_ns, Taken& out) noexcept {
  const auto held = [&](const Backlog& backlog) { return !may_lease(members_[member], entry(first_ready(backlog))); };
  Backlog* backlog = nullptr;
  constexpr std::size_t no_limit = std::numeric_limits<std::size_t>::max();
  using Next = decltype(round_)::Next;
  switch (round_.next(rules_.quantum_bytes, no_limit, held, &backlog)) {
    case Next::held: return Take::no_credit;
    case Next::member: break;
    default: return Take::nothing;
  }
  const Index i = first_ready(*backlog);
  backlog->debt = 0;
  const bool is_leased =
      (entry(i).expires_ns == 0 || entry(i).expires_ns > now_ns) && entry(i).attempts < rules_.attempts;
  if (!is_leased) backlog->turn.deficit += entry(i).charge;
  leave_ready(i);
  return lease(i, member, now_ns, out);
}

LeaseTable::Take LeaseTable::take_same_key(const LeaseName& key_of, std::int64_t now_ns, Taken& out) noexcept {
  const Index known = find_leased(key_of, now_ns);
  if (known == none || entry(known).key == 0) return Take::nothing;
  Index i = entry(known).key_behind;
  while (i != none && entry(i).state == State::leased) i = entry(i).key_behind;
  if (i == none || entry(i).state != State::behind) return Take::nothing;
  const Member member = entry(known).member;
  if (!may_lease(members_[member], entry(i))) return Take::no_credit;
  if (Backlog& backlog = *backlogs_[entry(i).backlog]; backlog.ready != 0) backlog.debt += entry(i).charge;
  return lease(i, member, now_ns, out);
}

LeaseTable::Take LeaseTable::lease(Index i, Member member, std::int64_t now_ns, Taken& out) noexcept {
  Entry& e = entry(i);
  out = {.lease = {.offset = e.offset}};
  if (e.expires_ns != 0 && e.expires_ns <= now_ns) {
    e.state = State::behind;
    remove(i);
    return Take::expired;
  }
  if (e.attempts >= rules_.attempts) {
    hold_dead(i);
    return Take::dead;
  }
  e.state = State::leased;
  e.member = member;
  e.token = next_token_++;
  e.began_ms = to_ms(now_ns);
  e.wakes_ns = later(now_ns, rules_.visibility_ns);
  if (e.attempts != std::numeric_limits<std::uint8_t>::max()) ++e.attempts;
  ++leased_;
  heap_push(i);
  MemberState& state = members_[member];
  ++state.messages;
  state.bytes += e.charge;
  push_back<&Entry::before, &Entry::behind>(state.leases, i);
  out.lease.token = e.token;
  out.attempt = e.attempts;
  out.deadline_ns = e.wakes_ns;
  return Take::leased;
}

// --- Outcomes. ---

void LeaseTable::end_lease(Index i) noexcept {
  Entry& e = entry(i);
  heap_erase(i);
  --leased_;
  MemberState& member = members_[e.member];
  --member.messages;
  member.bytes -= e.charge;
  erase<&Entry::before, &Entry::behind>(member.leases, i);
  e.state = State::behind;
}

/// To be leased again; what its member has behind it of the same key with it.
void LeaseTable::come_back(Index i, std::int64_t due_ns, std::int64_t now_ns) noexcept {
  end_lease(i);
  entry(i).came_back = true;
  Index other = entry(i).key == 0 ? none : entry(i).key_behind;
  while (other != none && entry(other).state == State::leased) {
    end_lease(other);
    --entry(other).attempts;
    entry(other).came_back = true;
    other = entry(other).key_behind;
  }
  if (due_ns > now_ns) {
    delay(i, due_ns);
  } else {
    offer(i);
  }
}

/// Not to be leased again: until somebody finishes it.
void LeaseTable::hold_dead(Index i) noexcept {
  leave_key(i);
  entry(i).state = State::dead;
  ++dead_;
}

/// Takes it out, whatever it is but ready or leased.
void LeaseTable::remove(Index i) noexcept {
  Entry& e = entry(i);
  if (e.state == State::delayed) {
    heap_erase(i);
    --delayed_;
  }
  if (e.state == State::dead) --dead_;
  leave_key(i);
  by_offset_.erase(i);
  if (last_between_ == i) last_between_ = e.older;
  erase<&Entry::older, &Entry::newer>(all_, i);
  --size_;
  --backlogs_[e.backlog]->messages;
  forget(e.backlog);
  e.state = State::free;
  e.newer = std::exchange(free_, i);
}

LeaseTable::Settled LeaseTable::ack(const LeaseName& lease, std::int64_t now_ns) noexcept {
  const Index i = find_leased(lease, now_ns);
  if (i == none) return Settled::stale;
  end_lease(i);
  remove(i);
  return Settled::done;
}

LeaseTable::Settled LeaseTable::release(const LeaseName& lease, std::int64_t now_ns) noexcept {
  const Index i = find_leased(lease, now_ns);
  if (i == none) return Settled::stale;
  --entry(i).attempts;
  come_back(i, now_ns, now_ns);
  return Settled::done;
}

LeaseTable::Settled LeaseTable::nack(const LeaseName& lease, std::int64_t now_ns,
                                     std::optional<std::int64_t> delay_ns) noexcept {
  const Index i = find_leased(lease, now_ns);
  if (i == none) return Settled::stale;
  const std::uint8_t attempts = entry(i).attempts;
  if (attempts >= rules_.attempts) {
    end_lease(i);
    hold_dead(i);
    return Settled::dead;
  }
  come_back(i, later(now_ns, delay_ns.value_or(backoff(attempts))), now_ns);
  return Settled::done;
}

LeaseTable::Settled LeaseTable::reject(const LeaseName& lease, std::int64_t now_ns) noexcept {
  const Index i = find_leased(lease, now_ns);
  if (i == none) return Settled::stale;
  end_lease(i);
  hold_dead(i);
  return Settled::dead;
}

std::optional<std::int64_t> LeaseTable::extend(const LeaseName& lease, std::int64_t now_ns,
                                               std::int64_t by_ns) noexcept {
  const Index i = find_leased(lease, now_ns);
  if (i == none) return std::nullopt;
  Entry& e = entry(i);
  const std::int64_t age_ns = std::int64_t{to_ms(now_ns) - e.began_ms} * ns_in_ms;
  const std::int64_t longest = later(now_ns, std::max<std::int64_t>(rules_.ceiling_ns - age_ns, 0));
  e.wakes_ns = std::max(e.wakes_ns, std::min(later(now_ns, by_ns), longest));
  heap_sift(e.heap_place);
  return e.wakes_ns;
}

bool LeaseTable::finish(std::uint64_t offset) noexcept {
  const Index i = find(offset);
  if (i == none) return false;
  if (entry(i).state == State::leased) end_lease(i);
  if (entry(i).state == State::ready) {
    leave_ready(i);
    entry(i).state = State::behind;
  }
  remove(i);
  return true;
}

std::int64_t LeaseTable::backoff(std::uint8_t attempts) const noexcept {
  if (rules_.backoff_ns.empty()) return 0;
  const std::size_t step = std::clamp<std::size_t>(attempts, 1, rules_.backoff_ns.size());
  return rules_.backoff_ns[step - 1];
}

// --- Time. ---

std::optional<LeaseTable::RanOut> LeaseTable::next_ran_out(std::int64_t now_ns) noexcept {
  while (!heap_.empty() && entry(heap_.front()).wakes_ns <= now_ns) {
    const Index i = heap_.front();
    Entry& e = entry(i);
    if (e.state == State::delayed) {
      heap_erase(i);
      --delayed_;
      if (e.key != 0 && !e.in_key) {
        --keys_.find(e.key)->second.not_due;
        join_key(i);
      }
      offer(i);
      continue;
    }
    RanOut out{.offset = e.offset, .attempts = e.attempts, .dead = e.attempts >= rules_.attempts, .due_ns = 0};
    if (out.dead) {
      end_lease(i);
      hold_dead(i);
    } else {
      out.due_ns = later(now_ns, backoff(e.attempts));
      come_back(i, out.due_ns, now_ns);
    }
    return out;
  }
  return std::nullopt;
}

std::optional<std::int64_t> LeaseTable::due(std::uint64_t offset) const noexcept {
  const Index i = find(offset);
  if (i == none || entry(i).state != State::delayed) return std::nullopt;
  return entry(i).wakes_ns;
}

std::optional<std::int64_t> LeaseTable::next_time() const noexcept {
  if (heap_.empty()) return std::nullopt;
  return entry(heap_.front()).wakes_ns;
}

std::vector<LeaseName> LeaseTable::held_through(Member member, std::uint64_t offset, std::int64_t now_ns) const {
  std::vector<LeaseName> held;
  held.reserve(members_[member].messages);
  for (Index i = members_[member].leases.first; i != none; i = entry(i).behind) {
    const Entry& e = entry(i);
    if (e.offset <= offset && e.wakes_ns > now_ns) held.push_back({e.offset, e.token});
  }
  return held;
}

std::optional<std::uint64_t> LeaseTable::floor() const noexcept {
  if (all_.first == none) return std::nullopt;
  return entry(all_.first).offset;
}

// --- The heap: each entry knows its place, so that it can be taken out of the middle. ---

void LeaseTable::heap_push(Index i) noexcept {
  entry(i).heap_place = static_cast<std::uint32_t>(heap_.size());
  heap_.push_back(i);
  heap_sift(heap_.size() - 1);
}

void LeaseTable::heap_erase(Index i) noexcept {
  const std::size_t place = std::exchange(entry(i).heap_place, none);
  const Index last = heap_.back();
  heap_.pop_back();
  if (last == i) return;
  heap_[place] = last;
  entry(last).heap_place = static_cast<std::uint32_t>(place);
  heap_sift(place);
}

/// Moves what stands at that place to where it belongs.
void LeaseTable::heap_sift(std::size_t place) noexcept {
  const Index i = heap_[place];
  const std::int64_t when = entry(i).wakes_ns;
  const auto put = [this](std::size_t at, Index what) {
    heap_[at] = what;
    entry(what).heap_place = static_cast<std::uint32_t>(at);
  };
  while (place != 0 && entry(heap_[(place - 1) / 2]).wakes_ns > when) {
    put(place, heap_[(place - 1) / 2]);
    place = (place - 1) / 2;
  }
  for (;;) {
    std::size_t child = 2 * place + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() && entry(heap_[child + 1]).wakes_ns < entry(heap_[child]).wakes_ns) ++child;
    if (entry(heap_[child]).wakes_ns >= when) break;
    put(place, heap_[child]);
    place = child;
  }
  put(place, i);
}

// --- For tests. ---

bool LeaseTable::consistent() const {
  std::size_t counts[6] = {};
  std::size_t messages = 0;
  std::uint64_t last = 0;
  bool sound = true;
  const auto must = [&](bool holds) { sound = sound && holds; };
  for (Index i = all_.first; i != none; i = entry(i).newer) {
    const Entry& e = entry(i);
    must(messages == 0 || e.offset > last);
    last = e.offset;
    ++messages;
    ++counts[static_cast<std::size_t>(e.state)];
    must(find(e.offset) == i);
    const bool timed = e.state == State::leased || e.state == State::delayed;
    must(timed == (e.heap_place != none) && (!timed || heap_[e.heap_place] == i));
    if (e.key == 0) must(e.state != State::behind);
    if (e.key == 0) continue;
    const Key& key = keys_.find(e.key)->second;
    // In front of what is ready there is nothing, in front of what is on lease nothing but that.
    if (e.state == State::ready) must(key.entries.first == i);
    if (e.state == State::behind) must(key.entries.first != i);
    if (e.state == State::leased && e.key_before != none) {
      const Entry& before = entry(e.key_before);
      must(before.state == State::leased && before.member == e.member);
    }
  }
  const auto count = [&](State state) { return counts[static_cast<std::size_t>(state)]; };
  must(messages == size_ && size_ == by_offset_.size() && count(State::free) == 0);
  must(count(State::ready) == ready_ && count(State::leased) == leased_);
  must(count(State::delayed) == delayed_ && count(State::dead) == dead_);
  must(heap_.size() == leased_ + delayed_);
  for (std::size_t place = 1; place < heap_.size(); ++place) {
    must(entry(heap_[(place - 1) / 2]).wakes_ns <= entry(heap_[place]).wakes_ns);
  }
  std::size_t on_lease = 0;
  for (const MemberState& member : members_) {
    std::uint64_t bytes = 0;
    std::size_t own = 0;
    for (Index i = member.leases.first; i != none; i = entry(i).behind, ++own) bytes += entry(i).charge;
    must(own == member.messages && bytes == member.bytes);
    on_lease += own;
  }
  must(on_lease == leased_);
  std::size_t ready = 0;
  for (const auto& backlog : backlogs_) ready += backlog->ready;
  must(ready == ready_);
  return sound;
}

}  // namespace bus::detail
