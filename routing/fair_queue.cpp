// SPDX-License-Identifier: MIT OR Apache-2.0
#include "routing/fair_queue.hpp"

#include <algorithm>
#include <limits>
#include <new>
#include <utility>

namespace bus::detail {
namespace {

/// Backlogs kept for the next principals.
constexpr std::size_t most_spare = 64;

const Message& message_of(const Entry& entry) noexcept { return *entry.event->get_if<Message>(); }

/// Puts an entry where its sequence belongs, looking from the end, where it almost always is.
template <class List>
void sort_in_from_back(List& list, Entry& entry) noexcept {
  auto at = list.end();
  while (at != list.begin() && std::prev(at)->sequence > entry.sequence) --at;
  list.insert(at, entry);
}

}  // namespace

std::uint32_t weight_of(const Weights& weights, const Principal& principal) noexcept {
  for (const auto& [named, weight] : weights.principals) {
    if (named == principal) return weight;
  }
  switch (principal.classify()) {
    case PrincipalClass::agent: return weights.agent;
    case PrincipalClass::user: return weights.user;
    case PrincipalClass::system: break;
  }
  return weights.system;
}

bool FairQueue::SameKeyed::operator()(const Entry* a, const Entry* b) const noexcept {
  return a->key_hash == b->key_hash && *a->key == *b->key && message_of(*a).topic == message_of(*b).topic &&
         message_of(*a).principal == message_of(*b).principal;
}

FairQueue::FairQueue(Config config) : config_(std::move(config)) {}

FairQueue::~FairQueue() {
  const auto destroy = [this](Backlog* backlog) {
    if (backlog != &first_) delete backlog;
  };
  ranking_.clear();
  round_.clear_and_dispose(destroy);
  idle_.clear_and_dispose(destroy);
  spare_.clear_and_dispose(destroy);
}

// --- Principals. ---

Backlog* FairQueue::find_or_make(const PrincipalKey& key) noexcept try {
  if (first_used_ && SameBacklog()(key, &first_)) return &first_;
  if (!backlogs_.empty()) {
    if (const auto found = backlogs_.find(key); found != backlogs_.end()) return *found;
  }
  Backlog* backlog = &first_;
  if (first_used_) {
    std::unique_ptr<Backlog> made;
    if (!spare_.empty()) {
      made.reset(&spare_.front());
      spare_.pop_front();
      --spare_count_;
    } else {
      made = std::make_unique<Backlog>();
    }
    made->hash = key.hash;
    backlogs_.insert(made.get());
    backlog = made.release();
  }
  first_used_ = true;
  backlog->principal = *key.principal;
  backlog->hash = key.hash;
  backlog->category = key.principal->classify();
  backlog->weight = weight_of(config_.weights, *key.principal);
  return backlog;
} catch (const std::bad_alloc&) {
  return nullptr;
}

void FairQueue::swap_weights(Weights& weights) noexcept {
  std::swap(config_.weights, weights);
  ranking_.clear();  // its order goes by weights, so all of them change while nobody is in it
  const auto weigh = [this](Backlog& backlog) { backlog.weight = weight_of(config_.weights, backlog.principal); };
  if (first_used_) weigh(first_);
  for (Backlog* backlog : backlogs_) weigh(*backlog);
  if (first_used_ && first_.ranked) ranking_.insert(first_);
  for (Backlog* backlog : backlogs_) {
    if (backlog->ranked) ranking_.insert(*backlog);
  }
}

void FairQueue::lose(Backlog& backlog, Loss reason) noexcept {
  ++lost_[static_cast<std::size_t>(reason)][static_cast<std::size_t>(backlog.category)];
  ++backlog.untold;
  ++backlog.lost_since;
}

/// Takes out an entry that is lost. It is told by the message behind it, with what that one would have told.
void FairQueue::lose_entry(Entry& entry, Loss reason) noexcept {
  Backlog& backlog = *entry.backlog;
  const auto next = std::next(backlog.fifo.iterator_to(entry));
  std::uint64_t& told_by = next != backlog.fifo.end() ? next->lost_before : backlog.lost_since;
  told_by += std::exchange(entry.lost_before, 0) + 1;
  ++backlog.untold;
  ++lost_[static_cast<std::size_t>(reason)][static_cast<std::size_t>(backlog.category)];
  unlink(entry);
}

/// Puts a backlog where it belongs: into the round, among the idle, or away.
void FairQueue::settle(Backlog& backlog) noexcept {
  using Where = Backlog::Where;
  const Where wanted = backlog.messages != 0 ? Where::round : backlog.untold != 0 ? Where::idle : Where::nowhere;
  if (wanted == Where::round && backlog.where == Where::round) return;
  if (backlog.where == Where::round) {
    round_.leave(backlog);
  } else if (backlog.where == Where::idle) {
    idle_.erase(idle_.iterator_to(backlog));
    --idle_count_;
  }
  backlog.where = wanted;
  if (wanted == Where::round) {
    round_.join(backlog);
  } else if (wanted == Where::nowhere) {
    end(backlog);
  } else {
    idle_.push_back(backlog);
    if (++idle_count_ <= config_.max_untold) return;
    Backlog& oldest = idle_.front();
    forgotten_ += std::exchange(oldest.untold, 0);
    oldest.lost_since = 0;
    settle(oldest);
  }
}

void FairQueue::end(Backlog& backlog) noexcept {
  if (&backlog == &first_) {
    first_used_ = false;
    return;
  }
  backlogs_.erase(&backlog);
  if (spare_count_ == most_spare) {
    delete &backlog;
    return;
  }
  backlog.principal = {};
  spare_.push_back(backlog);
  ++spare_count_;
}

// --- Entries. ---

void FairQueue::link(Entry& entry) noexcept {
  Backlog& backlog = *entry.backlog;
  sort_in_from_back(backlog.fifo, entry);
  // One that is late does not tell what was lost behind it.
  if (&backlog.fifo.back() == &entry) entry.lost_before = std::exchange(backlog.lost_since, 0);
  if (entry.protects) {
    backlog.protected_bytes += entry.charge;
  } else {
    sort_in_from_back(backlog.evictable, entry);
    if (by_age()) sort_in_from_back(age_, entry);
    evictable_bytes_ += entry.charge;
    ++evictable_messages_;
  }
  ++backlog.messages;
  ++messages_;
  backlog.bytes += entry.charge;
  bytes_ += entry.charge;
  settle(backlog);
}

/// Takes an entry out of all orders. Its backlog is to be settled afterwards.
void FairQueue::unlink(Entry& entry) noexcept {
  Backlog& backlog = *entry.backlog;
  if (entry.keyed) {
    keyed_.erase(&entry);
    entry.keyed = false;
  }
  backlog.fifo.erase(backlog.fifo.iterator_to(entry));
  if (entry.protects) {
    backlog.protected_bytes -= entry.charge;
  } else if (!entry.doomed) {
    backlog.evictable.erase(backlog.evictable.iterator_to(entry));
    if (by_age()) age_.erase(age_.iterator_to(entry));
    evictable_bytes_ -= entry.charge;
    --evictable_messages_;
  }
  --backlog.messages;
  --messages_;
  backlog.bytes -= entry.charge;
  bytes_ -= entry.charge;
  if (!entry.doomed) set_load(backlog, backlog.load - entry.charge);
}

/// Ranks a backlog by a new load, if it can give something or is the newcomer's.
void FairQueue::set_load(Backlog& backlog, std::uint64_t load, bool newcomer) noexcept {
  if (by_age()) return;
  const std::uint64_t earliest =
      backlog.evictable.empty() ? std::numeric_limits<std::uint64_t>::max() : backlog.evictable.front().sequence;
  const bool ranked = newcomer || !backlog.evictable.empty();
  if (backlog.ranked && ranked && backlog.load == load && backlog.earliest == earliest) return;
  if (backlog.ranked) ranking_.erase(ranking_.iterator_to(backlog));
  backlog.load = load;
  backlog.earliest = earliest;
  backlog.ranked = ranked;
  if (ranked) ranking_.insert(backlog);
}

void FairQueue::doom(Entry& victim) noexcept {
  Backlog& backlog = *victim.backlog;
  victim.doomed = true;
  victim.next_doomed = doomed_;
  doomed_ = &victim;
  backlog.evictable.erase(backlog.evictable.iterator_to(victim));
  if (by_age()) age_.erase(age_.iterator_to(victim));
  evictable_bytes_ -= victim.charge;
  --evictable_messages_;
}

/// The newcomer was refused for its share: whoever was to go stays. Each was the first of its principal's.
void FairQueue::spare_doomed() noexcept {
  while (doomed_ != nullptr) {
    Entry& entry = *doomed_;
    doomed_ = std::exchange(entry.next_doomed, nullptr);
    entry.doomed = false;
    entry.backlog->evictable.push_front(entry);
    evictable_bytes_ += entry.charge;
    ++evictable_messages_;
    set_load(*entry.backlog, entry.backlog->load + entry.charge);
  }
}

/// Who goes next for the newcomer. A terminal is not refused for its principal's share: it goes on with the next
/// heaviest.
Entry* FairQueue::next_victim(const Entry& newcomer) noexcept {
  if (by_age()) return &age_.front();
  auto heaviest = ranking_.rbegin();
  if (heaviest->evictable.empty()) {  // the newcomer's own, which stands among them with nothing to give
    if (!newcomer.protects || ++heaviest == ranking_.rend()) return nullptr;
  }
  return &heaviest->evictable.front();
}

/// Dooms what has to go for the entry. Returns: why the entry is refused instead, if it is.
std::optional<Loss> FairQueue::make_room(Entry& entry, bool& had_to) noexcept {
  Backlog& backlog = *entry.backlog;
  const std::size_t budget = config_.budget_bytes;
  if (entry.charge > budget) return Loss::too_large;
  if (entry.protects && backlog.protected_bytes + entry.charge > budget / 2) return Loss::terminals;

  std::uint64_t bytes = bytes_ + reserved_ + entry.charge;
  std::uint64_t messages = messages_ + reserved_messages_ + 1;
  const bool evicts = config_.overflow != Overflow::reject_new && config_.overflow != Overflow::wait;

  // Who goes whatever else does: the one it replaces, and one of its principal's that has too many.
  std::array<Entry*, 2> first{};
  if (config_.overflow == Overflow::coalesce) {
    if (const auto found = keyed_.find(&entry); found != keyed_.end()) {
      if ((*found)->sequence < entry.sequence) {
        first[0] = *found;
      } else if (!entry.protects) {
        return Loss::coalesced;  // overtaken on its way
      }
    }
  }
  if (backlog.messages + 1 - (first[0] != nullptr ? 1 : 0) > config_.principal_messages) {
    auto own = backlog.evictable.begin();
    if (own != backlog.evictable.end() && &*own == first[0]) ++own;
    if (!evicts || own == backlog.evictable.end()) return Loss::over_count;
    first[1] = &*own;
  }
  std::uint64_t evictable_bytes = evictable_bytes_;
  std::uint64_t evictable_messages = evictable_messages_;
  for (const Entry* const one : first) {
    if (one == nullptr) continue;
    bytes -= one->charge;
    --messages;
    evictable_bytes -= one->charge;
    --evictable_messages;
  }

  const bool too_many = config_.credits != 0 && messages > config_.credits;
  had_to = too_many || bytes > budget;
  if (bytes > budget) {
    if (!evicts || bytes - budget > evictable_bytes) return Loss::over_budget;
    if (!share_allows(entry, bytes - budget)) return Loss::over_share;
  }
  if (too_many && (!evicts || messages - config_.credits > evictable_messages)) return Loss::over_count;

  const auto let_go = [&](Entry& victim) {
    doom(victim);
    set_load(*victim.backlog, victim.backlog->load - victim.charge, victim.backlog == &backlog);
  };
  for (Entry* const one : first) {
    if (one != nullptr) let_go(*one);
  }
  replaced_ = first[0];
  while (bytes > budget || (config_.credits != 0 && messages > config_.credits)) {
    Entry* const victim = next_victim(entry);
    if (victim == nullptr) return bytes > budget ? Loss::over_share : Loss::over_count;
    bytes -= victim->charge;
    --messages;
    let_go(*victim);
  }
  return std::nullopt;
}

/// With fair share: whether what the newcomer's own principal has, and what those have that would still be heavier
/// without that, could make so much room. If not, it is refused for its share, and need not be tried.
bool FairQueue::share_allows(const Entry& newcomer, std::uint64_t needed) const noexcept {
  if (by_age() || newcomer.protects) return true;
  const Backlog& own = *newcomer.backlog;
  std::uint64_t room = own.bytes - own.protected_bytes;
  const std::uint64_t stays = own.load - room;
  for (auto other = ranking_.rbegin(); room < needed && other != ranking_.rend(); ++other) {
    if (&*other == &own) continue;
    if (other->load * own.weight < stays * other->weight) return false;
    room += other->bytes - other->protected_bytes;
  }
  return room >= needed;
}

FairQueue::Pushed FairQueue::push(Entry& entry, const PrincipalKey& key, Dropped& dropped) noexcept {
  Pushed pushed;
  Backlog* const backlog = find_or_make(key);
  if (backlog == nullptr) {
    count_refused(key, Loss::out_of_memory);
    pushed.refused = Loss::out_of_memory;
    return pushed;
  }
  entry.backlog = backlog;
  set_load(*backlog, backlog->load + entry.charge, true);
  pushed.refused = make_room(entry, pushed.made_room);
  if (pushed.refused) {
    spare_doomed();
    set_load(*backlog, backlog->load - entry.charge);
    lose(*backlog, *pushed.refused);
    settle(*backlog);
    entry.backlog = nullptr;
    return pushed;
  }
  link(entry);  // first, so that its backlog does not end with the last of the doomed
  while (doomed_ != nullptr) {
    Entry& victim = *doomed_;
    doomed_ = std::exchange(victim.next_doomed, nullptr);
    Backlog& loser = *victim.backlog;
    lose_entry(victim, &victim == replaced_ ? Loss::coalesced : Loss::evicted);
    victim.doomed = false;
    settle(loser);
    dropped.push_back(victim);
  }
  replaced_ = nullptr;
  set_load(*backlog, backlog->load);
  bytes_peak_ = std::max(bytes_peak_, bytes_);
  if (config_.overflow == Overflow::coalesce && !entry.protects) {
    try {
      entry.keyed = keyed_.insert(&entry).second;
    } catch (const std::bad_alloc&) {  // then it is not replaced
    }
  }
  return pushed;
}

void FairQueue::count_refused(const PrincipalKey& key, Loss reason) noexcept {
  if (Backlog* const backlog = find_or_make(key)) {
    lose(*backlog, reason);
    settle(*backlog);
    return;
  }
  ++lost_[static_cast<std::size_t>(reason)][static_cast<std::size_t>(key.principal->classify())];
  ++forgotten_;
}

std::uint64_t FairQueue::take_untold(Entry& popped) noexcept {
  Backlog& backlog = *std::exchange(popped.backlog, nullptr);
  const std::uint64_t told = std::exchange(popped.lost_before, 0);
  backlog.untold -= told;
  settle(backlog);
  return told;
}

void FairQueue::clear(Dropped& dropped) noexcept {
  while (!round_.empty()) {
    Backlog& backlog = round_.front();
    while (!backlog.fifo.empty()) {
      Entry& entry = backlog.fifo.front();
      unlink(entry);
      backlog.lost_since += std::exchange(entry.lost_before, 0);
      entry.backlog = nullptr;
      dropped.push_back(entry);
    }
    settle(backlog);
  }
}

bool FairQueue::reserve(std::size_t charge) noexcept {
  if (bytes_ + reserved_ + charge > config_.budget_bytes) return false;
  if (config_.credits != 0 && messages_ + reserved_messages_ + 1 > config_.credits) return false;
  reserved_ += charge;
  ++reserved_messages_;
  return true;
}

bool FairQueue::consistent() const noexcept {
  std::uint64_t bytes = 0;
  std::uint64_t evictable = 0;
  std::uint64_t messages = 0;
  std::size_t active = 0;
  std::size_t idle = 0;
  bool each = true;
  for_each_backlog([&](const Backlog& one) {
    const Backlog* const backlog = &one;
    std::uint64_t own = 0;
    std::uint64_t own_protected = 0;
    std::uint64_t own_messages = 0;
    std::uint64_t last = 0;
    std::uint64_t untold = backlog->lost_since;
    for (const Entry& entry : backlog->fifo) {
      if (entry.backlog != backlog || entry.doomed || entry.sequence <= last) return void(each = false);
      last = entry.sequence;
      untold += entry.lost_before;
      own += entry.charge;
      own_protected += entry.protects ? entry.charge : 0;
      ++own_messages;
    }
    if (own != backlog->bytes || own_protected != backlog->protected_bytes || own_messages != backlog->messages) {
      return void(each = false);
    }
    if (untold != backlog->untold) return void(each = false);
    if (backlog->fifo.empty() && backlog->turn.deficit != 0) return void(each = false);
    if ((backlog->where == Backlog::Where::round) == backlog->fifo.empty()) return void(each = false);
    if (config_.overflow == Overflow::evict_fair_share &&
        (backlog->load != own || backlog->ranked == backlog->evictable.empty())) {
      return void(each = false);
    }
    active += backlog->where == Backlog::Where::round ? 1U : 0U;
    idle += backlog->where == Backlog::Where::idle ? 1U : 0U;
    bytes += own;
    evictable += own - own_protected;
    messages += own_messages;
  });
  return each && bytes == bytes_ && evictable == evictable_bytes_ && messages == messages_ && active == round_.size() &&
         idle == idle_count_ && active + idle == backlogs_.size() + (first_used_ ? 1 : 0) && doomed_ == nullptr &&
         bytes_ <= config_.budget_bytes && idle_count_ <= config_.max_untold;
}

}  // namespace bus::detail
