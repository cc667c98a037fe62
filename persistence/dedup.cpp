// SPDX-License-Identifier: MIT OR Apache-2.0
#include "persistence/dedup.hpp"

#include "persistence/format.hpp"

#include <algorithm>
#include <cassert>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace bus::detail {

DedupKey key_of(const RecordFields& fields) noexcept {
  if (fields.settles) return {};
  return {.producer = fields.producer, .source = fields.source, .message_id = fields.message_id};
}

Dedup::Dedup(const DedupRules& rules)
    : rules_(rules),
      by_id_(0, {&id_pool_}, {&id_pool_}),
      by_name_(0, {&sender_pool_}, {&sender_pool_}),
      by_sequence_(0, {&step_pool_}, {&step_pool_}) {}

Dedup::Answer Dedup::begin(const DedupKey& key, std::uint64_t ticket, std::int64_t now_ns) {
  assert(!tickets_.contains(ticket));
  if (key.producer) return begin_sequence(*key.producer, ticket);
  if (!key.message_id.empty()) return begin_id(key, ticket, now_ns);
  return {};
}

void Dedup::commit(std::uint64_t ticket, std::uint64_t offset) noexcept {
  const auto found = tickets_.find(ticket);
  if (found == tickets_.end()) return;
  const auto [index, of_sequence] = found->second;
  if (of_sequence) {
    const Step::Key what = step_pool_[index].what;
    drop_step(index);
    note(what.producer, what.epoch, what.sequence, offset);
  } else {
    tickets_.erase(found);
    list_id(index, offset);
  }
  next_ = std::max(next_, offset + 1);
}

void Dedup::cancel(std::uint64_t ticket) noexcept {
  const auto found = tickets_.find(ticket);
  if (found == tickets_.end()) return;
  const auto [index, of_sequence] = found->second;
  if (!of_sequence) {
    tickets_.erase(found);
    drop_id(index);
    return;
  }
  const auto [producer, epoch, sequence] = step_pool_[index].what;
  for (Index i = index; i != none && step_pool_[i].what.epoch == epoch;) {
    const Index behind = step_pool_[i].behind;
    drop_step(i);
    i = behind;
  }
  forget_producer(producer);
}

void Dedup::restore(const DedupKey& key, std::uint64_t offset, std::int64_t time_ns) {
  if (offset < next_) return;
  if (key.producer) {
    note(producer_of(key.producer->id), key.producer->epoch, key.producer->sequence, offset);
  } else if (!key.message_id.empty()) {
    list_id(make_id(hash_of(key.source), hash_of(key.message_id), time_ns), offset);
  }
  next_ = offset + 1;
}

// --- Ids. ---

Dedup::Hash Dedup::hash_of(std::string_view text) noexcept {
  const XXH128_hash_t hash = XXH3_128bits(text.data(), text.size());
  return {.low = hash.low64, .high = hash.high64};
}

bool Dedup::is_old(const Id& id, std::int64_t now_ns) const noexcept {
  // Times may be any, so they are taken from each other without a sign.
  const auto [early, late] = std::minmax(id.time_ns, now_ns);
  const std::uint64_t apart = static_cast<std::uint64_t>(late) - static_cast<std::uint64_t>(early);
  return apart > static_cast<std::uint64_t>(std::max<std::int64_t>(rules_.id_age_ns, 0));
}

Dedup::Index Dedup::find_id(const Hash& source, const Hash& id) const noexcept {
  const auto sender = by_name_.find(Sender::Key{source});
  if (sender == by_name_.end()) return none;
  const auto found = by_id_.find(Id::Key{.id = id, .sender = sender->index});
  return found == by_id_.end() ? none : found->index;
}

Dedup::Index Dedup::sender_of(const Hash& source) {
  const auto found = by_name_.find(Sender::Key{source});
  if (found != by_name_.end()) return found->index;
  sender_pool_.reserve_one();
  const Index i = sender_pool_.take();
  sender_pool_[i].name = source;
  try {
    by_name_.insert(Place{i});
  } catch (...) {
    sender_pool_.give(i);
    throw;
  }
  return i;
}

/// Under way, with no ticket yet. One that is known by the same id is no longer found.
Dedup::Index Dedup::make_id(const Hash& source, const Hash& id, std::int64_t time_ns) {
  id_pool_.reserve_one();
  const Index sender = sender_of(source);
  const Index i = id_pool_.take();
  Id& made = id_pool_[i];
  made.id = id;
  made.time_ns = time_ns;
  made.sender = sender;
  made.newer_of_sender = not_listed;
  try {
    by_id_.insert(Place{i}).first->index = i;
  } catch (...) {
    id_pool_.give(i);
    forget_sender(sender);
    throw;
  }
  ++sender_pool_[sender].under_way;
  return i;
}

/// Makes known what is under way.
void Dedup::list_id(Index i, std::uint64_t offset) noexcept {
  Id& id = id_pool_[i];
  Sender& sender = sender_pool_[id.sender];
  id.number = offset;
  id.newer_of_sender = none;
  id.older = std::exchange(newest_, i);
  (id.older == none ? oldest_ : id_pool_[id.older].newer) = i;
  const Index before = std::exchange(sender.newest, i);
  (before == none ? sender.oldest : id_pool_[before].newer_of_sender) = i;
  ++ids_;
  ++sender.ids;
  --sender.under_way;
  if (sender.ids > rules_.ids_per_sender) forget_id(sender.oldest);
  if (ids_ > rules_.ids) forget_id(oldest_);
}

/// Takes out what is under way.
void Dedup::drop_id(Index i) noexcept {
  const Index sender = id_pool_[i].sender;
  by_id_.erase(by_id_.find(id_pool_[i].key()));
  id_pool_.give(i);
  --sender_pool_[sender].under_way;
  forget_sender(sender);
}

/// Takes out what is known, the oldest of its sender.
void Dedup::forget_id(Index i) noexcept {
  const Id& id = id_pool_[i];
  const Index of = id.sender;
  Sender& sender = sender_pool_[of];
  assert(sender.oldest == i);
  const auto found = by_id_.find(id.key());
  if (found != by_id_.end() && found->index == i) by_id_.erase(found);
  (id.older == none ? oldest_ : id_pool_[id.older].newer) = id.newer;
  (id.newer == none ? newest_ : id_pool_[id.newer].older) = id.older;
  sender.oldest = id.newer_of_sender;
  if (sender.oldest == none) sender.newest = none;
  --ids_;
  --sender.ids;
  id_pool_.give(i);
  forget_sender(of);
}

/// If it has no id left.
void Dedup::forget_sender(Index i) noexcept {
  if (sender_pool_[i].ids != 0 || sender_pool_[i].under_way != 0) return;
  by_name_.erase(by_name_.find(sender_pool_[i].key()));
  sender_pool_.give(i);
}

/// A few at a time: faster than they come in, and never many in one call.
void Dedup::clear_old(std::int64_t now_ns) noexcept {
  constexpr int most = 4;
  for (int i = 0; i < most && oldest_ != none && is_old(id_pool_[oldest_], now_ns); ++i) forget_id(oldest_);
}

Dedup::Answer Dedup::begin_id(const DedupKey& key, std::uint64_t ticket, std::int64_t now_ns) {
  clear_old(now_ns);
  const Hash source = hash_of(key.source);
  const Hash id = hash_of(key.message_id);
  const Index found = find_id(source, id);
  if (found != none) {
    const Id& known = id_pool_[found];
    if (known.is_under_way()) return {.verdict = Verdict::under_way, .ticket = known.number};
    if (!is_old(known, now_ns)) return {.verdict = Verdict::duplicate, .offset = known.number};
  }
  const Index i = make_id(source, id, now_ns);
  id_pool_[i].number = ticket;
  try {
    tickets_.emplace(ticket, Ticket{.index = i, .of_sequence = false});
  } catch (...) {
    drop_id(i);
    throw;
  }
  return {};
}

// --- Sequences. ---

Dedup::Index Dedup::find_producer(std::uint64_t id) const noexcept {
  const auto found = by_producer_.find(id);
  return found == by_producer_.end() ? none : found->second;
}

Dedup::Index Dedup::producer_of(std::uint64_t id) {
  const Index found = find_producer(id);
  if (found != none) return found;
  producer_pool_.reserve_one();
  const Index i = producer_pool_.take();
  producer_pool_[i].id = id;
  try {
    by_producer_.emplace(id, i);
  } catch (...) {
    producer_pool_.give(i);
    throw;
  }
  return i;
}

Dedup::Answer Dedup::judge(Index i, const Producer& given) const noexcept {
  const Known& producer = producer_pool_[i];
  std::uint32_t epoch = producer.epoch;
  std::uint64_t last = producer.last;
  if (producer.last_under_way != none) {
    epoch = step_pool_[producer.last_under_way].what.epoch;
    last = step_pool_[producer.last_under_way].what.sequence;
  }
  if (given.epoch < epoch) return {.verdict = Verdict::fenced, .expected = epoch};
  if (given.epoch > epoch) return {};
  if (given.sequence > last) {
    if (given.sequence - last == 1) return {};
    return {.verdict = Verdict::gap, .expected = last + 1};
  }
  const auto step = by_sequence_.find(Step::Key{.producer = i, .epoch = epoch, .sequence = given.sequence});
  if (step != by_sequence_.end()) return {.verdict = Verdict::under_way, .ticket = step_pool_[step->index].ticket};
  const Answer not_there{.verdict = Verdict::gap, .expected = last + 1};
  if (!producer.known || producer.epoch != epoch || given.sequence > producer.last) return not_there;
  const std::uint64_t back = producer.last - given.sequence;
  if (back >= history) return {.verdict = Verdict::duplicate};
  if ((producer.has >> back & 1) == 0) return not_there;
  return {.verdict = Verdict::duplicate, .offset = producer.offsets[given.sequence % history]};
}

Dedup::Answer Dedup::begin_sequence(const Producer& given, std::uint64_t ticket) {
  const Index known = find_producer(given.id);
  if (known != none) {
    const Answer answer = judge(known, given);
    if (answer.verdict != Verdict::fresh) return answer;
  }
  step_pool_.reserve_one();
  const Index of = producer_of(given.id);
  const Index i = step_pool_.take();
  Step& step = step_pool_[i];
  step.what = {.producer = of, .epoch = given.epoch, .sequence = given.sequence};
  step.ticket = ticket;
  Known& producer = producer_pool_[of];
  step.before = std::exchange(producer.last_under_way, i);
  (step.before == none ? producer.first : step_pool_[step.before].behind) = i;
  try {
    by_sequence_.insert(Place{i});
    tickets_.emplace(ticket, Ticket{.index = i, .of_sequence = true});
  } catch (...) {
    drop_step(i);
    forget_producer(of);
    throw;
  }
  return {};
}

/// That a record of the producer stands in the log.
void Dedup::note(Index i, std::uint32_t epoch, std::uint64_t sequence, std::uint64_t offset) noexcept {
  Known& producer = producer_pool_[i];
  if (!producer.known || epoch > producer.epoch) {
    producer.epoch = epoch;
    producer.last = sequence;
    producer.has = 0;
  }
  if (epoch == producer.epoch) {
    if (sequence > producer.last) {
      const std::uint64_t ahead = sequence - producer.last;
      producer.has = ahead < history ? producer.has << ahead : 0;
      producer.last = sequence;
    }
    const std::uint64_t back = producer.last - sequence;
    if (back < history && (producer.has >> back & 1) == 0) {
      producer.has |= std::uint64_t{1} << back;
      producer.offsets[sequence % history] = offset;
    }
  }
  make_busiest(i);
}

/// Makes it the one that is known and has been idle the shortest, and forgets one if there are too many.
void Dedup::make_busiest(Index i) noexcept {
  if (producer_pool_[i].known) unlist(i);
  Known& producer = producer_pool_[i];
  producer.known = true;
  ++producers_;
  producer.busier = none;
  producer.idler = std::exchange(busiest_, i);
  (producer.idler == none ? idlest_ : producer_pool_[producer.idler].busier) = i;
  if (producers_ <= rules_.producers) return;
  const Index idlest = idlest_;
  unlist(idlest);
  forget_producer(idlest);
}

/// It is no longer known.
void Dedup::unlist(Index i) noexcept {
  Known& producer = producer_pool_[i];
  (producer.idler == none ? idlest_ : producer_pool_[producer.idler].busier) = producer.busier;
  (producer.busier == none ? busiest_ : producer_pool_[producer.busier].idler) = producer.idler;
  producer.known = false;
  --producers_;
}

/// Also one that is not found by its sequence, or its ticket, yet.
void Dedup::drop_step(Index i) noexcept {
  const Step& step = step_pool_[i];
  Known& producer = producer_pool_[step.what.producer];
  const auto found = by_sequence_.find(step.key());
  if (found != by_sequence_.end()) by_sequence_.erase(found);
  tickets_.erase(step.ticket);
  (step.before == none ? producer.first : step_pool_[step.before].behind) = step.behind;
  (step.behind == none ? producer.last_under_way : step_pool_[step.behind].before) = step.before;
  step_pool_.give(i);
}

/// If it is not known, and has nothing under way.
void Dedup::forget_producer(Index i) noexcept {
  const Known& producer = producer_pool_[i];
  if (producer.known || producer.first != none) return;
  by_producer_.erase(producer.id);
  producer_pool_.give(i);
}

// --- For tests. ---

bool Dedup::consistent() const {
  bool sound = true;
  const auto must = [&](bool holds) { sound = sound && holds; };
  std::size_t listed = 0;
  std::size_t found = 0;
  Index before = none;
  for (Index i = oldest_; i != none; before = i, i = id_pool_[i].newer, ++listed) {
    const Id& id = id_pool_[i];
    must(id.older == before && !id.is_under_way());
    // One that was too old when it came again is not found any more.
    const auto place = by_id_.find(id.key());
    if (place != by_id_.end() && place->index == i) ++found;
  }
  must(before == newest_ && listed == ids_ && ids_ <= rules_.ids);
  std::size_t of_senders = 0;
  std::size_t ids_under_way = 0;
  for (const Place& place : by_name_) {
    const Sender& sender = sender_pool_[place.index];
    std::size_t own = 0;
    Index last = none;
    for (Index i = sender.oldest; i != none; last = i, i = id_pool_[i].newer_of_sender, ++own) {
      must(id_pool_[i].sender == place.index);
    }
    must(last == sender.newest && own == sender.ids && own <= rules_.ids_per_sender);
    must(own != 0 || sender.under_way != 0);
    of_senders += own;
    ids_under_way += sender.under_way;
  }
  const auto is_under_way = [&](const Place& place) { return id_pool_[place.index].is_under_way(); };
  must(of_senders == ids_ && by_id_.size() == found + ids_under_way);
  must(static_cast<std::size_t>(std::ranges::count_if(by_id_, is_under_way)) == ids_under_way);

  std::size_t known = 0;
  before = none;
  for (Index i = idlest_; i != none; before = i, i = producer_pool_[i].busier, ++known) {
    must(producer_pool_[i].idler == before && producer_pool_[i].known);
    must((producer_pool_[i].has & 1) != 0);
  }
  must(before == busiest_ && known == producers_ && producers_ <= rules_.producers);
  std::size_t steps = 0;
  for (const auto& [id, index] : by_producer_) {
    const Known& producer = producer_pool_[index];
    must(producer.id == id && (producer.known || producer.first != none));
    Index last = none;
    for (Index i = producer.first; i != none; last = i, i = step_pool_[i].behind, ++steps) {
      const Step& step = step_pool_[i];
      const auto ticket = tickets_.find(step.ticket);
      must(step.before == last && step.what.producer == index && by_sequence_.contains(step.key()));
      must(ticket != tickets_.end() && ticket->second.of_sequence && ticket->second.index == i);
      if (last == none) continue;
      const Step::Key& earlier = step_pool_[last].what;
      must(earlier.epoch < step.what.epoch ||
           (earlier.epoch == step.what.epoch && earlier.sequence < step.what.sequence));
    }
    must(last == producer.last_under_way);
  }
  must(steps == by_sequence_.size() && tickets_.size() == steps + ids_under_way);
  return sound;
}

}  // namespace bus::detail
