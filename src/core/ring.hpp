// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The ring: a bounded broadcast in which nobody waits for anybody.
//
// Events lie in nodes; the ring is an array of slots, each one word: which lap of the ring, and which node.
// A publisher fills a node that nobody else can see and then swaps the slot's word, (lap - 1, old node) for
// (lap, its node), by one compare-and-swap. There is no half-way state: a publisher stopped before the swap
// has published nothing, one stopped after it has published everything. Positions are filled strictly in
// order, so every position below the end holds an event.
//
// Closing is one more swap at the end position: it sets a bit in the word that stands there and keeps the
// event that the word names. It competes with publishers for that position like one of them, so "after
// close nothing is published" needs no other agreement.
//
// Reclamation. The publisher that swaps a node out retires it and may reuse it once no reader can still hold
// its address. A reader announces a window of positions, [c, c + window), once, before it looks at the first
// of them; whatever node it finds in that window stays untouched until it announces another. A publisher
// looks at the announcements once for `retire_batch` retired nodes, not once for each. This is the hazard
// pointer scheme (M. Michael, "Hazard Pointers: Safe Memory Reclamation for Lock-Free Objects", IEEE TPDS
// 15(6), 2004) with a range of positions for the pointer, so that a read costs no announcement of its own.
// A reader stopped for ever keeps at most `window` nodes. One that wants an event for longer counts itself
// into the node; the last one out hands the node back through a shared stack.
//
// Names of synchronisation points, partners and the models that check them: docs/memory-model.md.
#pragma once

#include <bus/detail/sync.hpp>

#include "core/registry.hpp"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <utility>

namespace bus::detail {

/// The sizes of a ring's bookkeeping and the memory order of each of its synchronisation points. Models shrink
/// the sizes, and each mutant weakens one order.
struct RingTraits {
  /// Positions that one announcement protects.
  static constexpr std::uint64_t window = 64;
  /// Retired nodes for each look at the announcements.
  static constexpr std::uint32_t retire_batch = 64;
  /// How many nodes ahead a publisher asks for their cache lines.
  static constexpr std::uint32_t prefetch_ahead = 10;
  /// A publisher that has more nodes to fill than this shares them, down to half. It needs a batch; the rest keeps it
  /// from sharing and taking in turns when a reader at the edge of the ring pins a window now and then.
  static constexpr std::uint32_t most_free = 4 * retire_batch;
  /// Nodes made with the ring besides its capacity: what one publisher and a few readers keep busy.
  static constexpr std::uint32_t spare_nodes = 2 * retire_batch;

  /// RING-PUBLISH, the swap of a slot's word. Releases the node's contents to RING-READ and the order of positions
  /// to RING-FOLLOW; in the total order it stands before RING-SCAN and before the look at sleepers, WAKE-CHECK.
  static constexpr auto publish = sync::seq_cst;
  /// RING-FOLLOW, a publisher's look at a slot. Acquires from RING-PUBLISH: a position is tried only by who knows
  /// that all before it are filled.
  static constexpr auto follow = sync::acquire;
  /// RING-HINT, the tail. Its release and acquire carry the same knowledge to those who skip the walk.
  static constexpr auto hint_store = sync::release;
  static constexpr auto hint_load = sync::acquire;
  /// RING-ANNOUNCE, a reader's window. In the total order before RING-READ; against RING-SCAN. Its release ends the
  /// window before: whoever sees it may reuse what only that one protected.
  static constexpr auto announce = sync::seq_cst;
  /// RING-READ, a reader's look at a slot. Acquires the contents from RING-PUBLISH.
  static constexpr auto read = sync::seq_cst;
  /// RING-SCAN, a publisher's look at an announcement. Either it sees the announcement, or the announcement comes
  /// later and RING-READ sees that the node has been swapped out.
  static constexpr auto scan = sync::seq_cst;
  /// NODE-DROP, one keeper less, and the publisher's look whether it is alone: the last one comes after all that
  /// others did with the event.
  static constexpr auto drop = sync::acq_rel;
  static constexpr auto alone = sync::acquire;
  /// NODE-RETURN, the stack of nodes that keepers hand back.
  static constexpr auto hand_back = sync::release;
  static constexpr auto take_back = sync::acquire;
  static constexpr auto swap_back = sync::acq_rel;
  /// How far a publisher follows what others returned, before it takes it for a rest like its own.
  static constexpr std::uint64_t most_links = 1024;
};

/// `Node` is what the slots name. `Hook` reaches into it:
///   sync::atomic<std::uint32_t>& references(Node&)   counts the ring and everybody who keeps the node
///   void set_link(Node&, std::uint32_t), std::uint32_t link(const Node&)   while nobody can see its event any more
///   void set_sequence(Node&, std::uint64_t)
///   void make(void*), void unmake(Node&)             begin and end a node
///   void clear(Node&)                                ends the event in the node, if there is one
template <class Node, class Hook, class Traits = RingTraits>
class Ring {
 public:
  static constexpr std::uint32_t no_node = (1U << 24) - 1;
  static constexpr std::uint64_t no_position = std::numeric_limits<std::uint64_t>::max();

  /// A place in the ring: a position, kept apart into slot and lap so that stepping needs no division.
  struct Place {
    std::uint64_t position = 0;
    std::uint64_t lap = 1;  // position / capacity + 1; a slot never written has lap 0
    std::uint32_t slot = 0;  // position % capacity
    std::uint32_t cell = 0;  // where the slot's word is, see `Line`
  };

  /// What a publisher keeps between publishes. One thread at a time.
  struct Publisher {
    Place next;
    // A queue of nodes: [head, safe) no reader can reach, [safe, tail) are retired and may still be read. Reuse is in
    // the order of retirement, which is the order in which caches last saw them.
    struct Item {
      Node* node;
      std::uint64_t position;  // where it was, once retired
      std::uint32_t index;
    };
    std::unique_ptr<Item[]> items;
    std::uint64_t mask = 0;  // a power of two of them, less one
    std::uint64_t head = 0, safe = 0, tail = 0;
    std::uint64_t reclaim_at = 0;  // the tail at which to look at the announcements again
    std::uint64_t oldest_pinned = no_position;  // the lowest position that an earlier look left retired
    std::uint64_t newest_retired = 0;
    Item& item(std::uint64_t i) noexcept { return items[i & mask]; }
  };

  /// What readers tell publishers. Lives in a registry, so that a publisher may always look.
  struct Announcement {
    sync::atomic<std::uint64_t> from{no_position};  // protects [from, from + window)
  };

  /// What a reader keeps between reads. One thread at a time.
  struct Reader {
    Place next;
    std::uint64_t window_end = 0;
    std::uint64_t missed = 0;  // overwritten before they were read, since somebody took this figure
    Announcement* announcement = nullptr;
  };

  enum class Look { event, empty, closed };

  /// `capacity` is at least 2. The registry of readers is the caller's, and handed to the calls that walk it.
  explicit Ring(std::uint64_t capacity)
      : capacity_(capacity),
        first_nodes_(static_cast<std::uint32_t>(capacity) + Traits::spare_nodes),
        line_count_(std::max(static_cast<std::uint32_t>((capacity + Line::words - 1) / Line::words),
                             static_cast<std::uint32_t>(std::min<std::uint64_t>(capacity, 64)))),
        lines_(std::make_unique<Line[]>(line_count_)) {
    Place at;
    for (std::uint64_t i = 0; i < capacity; ++i, step(at)) slot(at).store(word(0, no_node), sync::relaxed);
    chunks_[0].store(allocate(first_nodes_), sync::relaxed);
  }

  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  /// Nobody may use the ring any more, nor keep a node of it.
  ~Ring() {
    const std::uint32_t made = made_nodes_.load(sync::relaxed);
    for (std::uint32_t i = 0; i < made; ++i) {
      Hook::unmake(node(i));
    }
    for (auto& chunk : chunks_) {
      ::operator delete(chunk.load(sync::relaxed), std::align_val_t{node_align});
    }
  }

  std::uint64_t capacity() const noexcept { return capacity_; }

  // --- Publishing ---

  /// A node that its publisher alone can see. It goes into `publish`, or back through `put_back`.
  struct Taken {
    Node* node;
    std::uint32_t index;
  };

  /// A node to fill; none if the pool is exhausted or memory is. Several may be out at the same time: ending what a
  /// node held can run foreign code, which may publish.
  template <class Readers>
  [[gnu::always_inline]] Taken take(Publisher& publisher, Readers& readers) noexcept {
    for (;;) {
      if (publisher.head == publisher.safe && !replenish(publisher, readers)) return {nullptr, no_node};
      if (publisher.safe - publisher.head > Traits::prefetch_ahead) {
        const auto* ahead =
            reinterpret_cast<const std::byte*>(publisher.item(publisher.head + Traits::prefetch_ahead).node);
        sync::prefetch_write(ahead);
        if constexpr (sizeof(Node) > 64) sync::prefetch_write(ahead + 64);
      }
      const auto& item = publisher.item(publisher.head++);
      if (ours_alone(*item.node)) [[likely]]
        return {item.node, item.index};
      // Somebody keeps it, and hands it back.
    }
  }

  void put_back(Publisher& publisher, Taken taken) noexcept {
    if (make_room(publisher, 1)) give(publisher, taken.index);
  }

  struct Published {
    bool ok;
    std::uint64_t position;
  };

  /// Publishes a node. Not ok if the ring is closed; the node is then still the caller's. `keep` readers are counted
  /// into the node before anybody can see it.
  /// Lock-free: a further round means that another publisher, or the close, went ahead.
  template <class Readers>
  [[gnu::always_inline]] Published publish(Publisher& publisher, Readers& readers, Taken taken,
                                           std::uint32_t keep = 0) noexcept {
    if (keep != 0) Hook::references(*taken.node).store(1 + keep, sync::relaxed);
    Place& at = publisher.next;
    for (;;) {
      sync::atomic<std::uint64_t>& slot = this->slot(at);
      std::uint64_t found = slot.load(Traits::follow);  // sync RING-FOLLOW
      if (laps_ahead(found, at.lap) == one_behind) {
        if (is_closed_word(found)) return {false, at.position};
        Hook::set_sequence(*taken.node, at.position + 1);
        sync::at_seam("publish:before-swap");
        const std::uint64_t mine = word(at.lap, taken.index);
        if (slot.compare_exchange_strong(found, mine, Traits::publish, sync::relaxed)) {  // sync RING-PUBLISH
          sync::at_seam("publish:after-swap");
          const std::uint64_t position = at.position;
          tail_.store(position + 1, Traits::hint_store);  // sync RING-HINT
          step(at);
          if (const std::uint32_t old = node_of(found); old != no_node) {
            retire(publisher, readers, old, position - capacity_);
          }
          return {true, position};
        }
        continue;  // somebody was faster at this very position: look again
      }
      catch_up(at, found);
    }
  }

  /// Closes at the end. Returns: whether this call did it.
  bool close() noexcept {
    Place at;
    catch_up(at, word(0, no_node));
    for (;;) {
      sync::atomic<std::uint64_t>& slot = this->slot(at);
      std::uint64_t found = slot.load(Traits::follow);  // sync RING-FOLLOW
      if (laps_ahead(found, at.lap) == one_behind) {
        if (is_closed_word(found)) return false;
        // sync RING-PUBLISH: it competes for the place of the next event.
        if (slot.compare_exchange_strong(found, found | closed_bit, Traits::publish, sync::relaxed)) return true;
        continue;
      }
      catch_up(at, found);
    }
  }

  // --- Reading ---

  /// Where the next event will go: every position below holds an event. Exact when nobody publishes.
  Place end() const noexcept {
    Place at;
    std::uint64_t found = word(0, no_node);
    do {
      catch_up(at, found);
      found = slot(at).load(Traits::follow);  // sync RING-FOLLOW
    } while (laps_ahead(found, at.lap) != one_behind);
    return at;
  }

  /// Starts reading at `at`.
  void start(Reader& reader, Announcement& announcement, Place at) noexcept {
    reader.next = at;
    reader.announcement = &announcement;
    announce(reader);
  }

  /// Starts reading at the oldest position retained.
  void start_oldest(Reader& reader, Announcement& announcement) noexcept {
    Place at = end();
    set(at, at.position < capacity_ ? 0 : at.position - capacity_);
    start(reader, announcement, at);
  }

  /// Stops reading: nothing is protected any more.
  void stop(Reader& reader) noexcept {
    reader.announcement->from.store(no_position, Traits::announce);  // sync RING-ANNOUNCE
  }

  /// Looks at the reader's next position. With `event`, `*out` is readable until the reader's next `look` after
  /// `step_over`; without, `*out` is left alone. Jumps over what was overwritten and adds it to `missed`.
  Look look(Reader& reader, Node** out) noexcept {
    if (reader.next.position >= reader.window_end) announce(reader);
    for (;;) {
      const std::uint64_t found = slot(reader.next).load(Traits::read);  // sync RING-READ
      const std::uint64_t ahead = laps_ahead(found, reader.next.lap);
      if (ahead == 0) {
        *out = &node(node_of(found));
        return Look::event;
      }
      if (ahead == one_behind) return is_closed_word(found) ? Look::closed : Look::empty;
      overtaken(reader, ahead);
    }
  }

  /// As `look`, but only within the window announced: what `look` and `look_further` found since the last `look`
  /// stays readable together. Returns: whether there is an event.
  bool look_further(const Reader& reader, Node** out) const noexcept {
    if (reader.next.position >= reader.window_end) return false;
    const std::uint64_t found = slot(reader.next).load(Traits::read);  // sync RING-READ
    if (laps_ahead(found, reader.next.lap) != 0) return false;
    *out = &node(node_of(found));
    return true;
  }

  void step_over(Reader& reader) noexcept { step(reader.next); }

  /// Whether `look` at this place would find something other than empty. Changes nothing: also for a thread
  /// that no longer owns the reader.
  bool ready(const Place& at) const noexcept {
    // sync WAIT-CHECK: seq_cst, after a waiter has made itself known (WAKE-ARM).
    const std::uint64_t found = slot(at).load(sync::seq_cst);
    return laps_ahead(found, at.lap) != one_behind || is_closed_word(found);
  }

  /// Counts one more keeper into a node that is readable now, or that the caller keeps already.
  void keep(Node& kept) noexcept { Hook::references(kept).fetch_add(1, sync::relaxed); }

  /// One keeper less; the last one ends the event and hands the node back.
  void release(Node& kept) noexcept {
    if (Hook::references(kept).fetch_sub(1, Traits::drop) != 1) return;  // sync NODE-DROP
    Hook::clear(kept);
    hand_back(index_of(kept), kept);
  }

  /// As `release`, by a publisher's thread: should it be the last one out, the node is its own to fill next.
  void release_to(Publisher& publisher, Node& kept) noexcept {
    if (Hook::references(kept).fetch_sub(1, Traits::drop) != 1) return;  // sync NODE-DROP
    Hook::clear(kept);
    const std::uint32_t index = index_of(kept);
    if (make_room(publisher, 1)) {
      give(publisher, index);
    } else {
      hand_back(index, kept);
    }
  }

  // --- The pool ---

  Node& node(std::uint32_t index) const noexcept {
    if (index < first_nodes_) [[likely]]
      return chunks_[0].load(sync::relaxed)[index];
    const Chunk chunk = chunk_of(index);
    // sync POOL-GROW: acquire; pairs with the release in `grow`.
    return chunks_[chunk.number].load(sync::acquire)[index - chunk.first];
  }

  std::uint32_t index_of(const Node& wanted) const noexcept {
    for (std::uint32_t number = 0, first = 0; number < chunk_count; ++number) {
      const Node* nodes = chunks_[number].load(sync::acquire);
      const std::uint32_t size = chunk_size(number);
      if (nodes != nullptr && &wanted >= nodes && &wanted < nodes + size) {
        return first + static_cast<std::uint32_t>(&wanted - nodes);
      }
      first += size;
    }
    return no_node;
  }

  std::uint32_t nodes_made() const noexcept { return made_nodes_.load(sync::relaxed); }
  std::uint64_t growths() const noexcept { return growths_.load(sync::relaxed); }

 private:
  // A slot's word: lap (39 bits), closed (1), node (24). Laps are compared modulo 2^39: with the smallest ring
  // at 100 million events a second they repeat after three hours. A reader or sender that was idle for exactly a
  // multiple of 2^39 laps would take the slot for its own; one stopped between looking and swapping would besides
  // have to find the same node there.
  static constexpr unsigned lap_shift = 25;
  static constexpr std::uint64_t closed_bit = std::uint64_t{1} << 24;
  static constexpr std::uint64_t lap_mask = (std::uint64_t{1} << (64 - lap_shift)) - 1;
  static constexpr std::uint64_t one_behind = lap_mask;  // -1, modulo the lap's width

  static constexpr std::uint64_t word(std::uint64_t lap, std::uint32_t node) noexcept {
    return lap << lap_shift | node;
  }
  static constexpr std::uint32_t node_of(std::uint64_t word) noexcept {
    return static_cast<std::uint32_t>(word) & no_node;
  }
  static constexpr bool is_closed_word(std::uint64_t word) noexcept { return (word & closed_bit) != 0; }
  static constexpr std::uint64_t laps_ahead(std::uint64_t word, std::uint64_t lap) noexcept {
    return ((word >> lap_shift) - lap) & lap_mask;
  }

  /// Words of slots. Neighbours in the ring lie in different lines: a reader that looks at one slot does not take away
  /// the line in which a publisher is about to swap the next.
  struct alignas(64) Line {
    static constexpr std::uint32_t words = 8;
    sync::atomic<std::uint64_t> word[words];
  };

  sync::atomic<std::uint64_t>& slot(const Place& at) const noexcept {
    return lines_[at.cell / Line::words].word[at.cell % Line::words];
  }

  void step(Place& at) const noexcept {
    ++at.position;
    at.cell += Line::words;
    if (at.cell >= line_count_ * Line::words) at.cell -= line_count_ * Line::words - 1;
    if (++at.slot == capacity_) {
      at.slot = 0;
      at.cell = 0;
      ++at.lap;
    }
  }

  void set(Place& at, std::uint64_t position) const noexcept {
    const std::uint64_t delta = position - at.position;
    if (delta < capacity_ - at.slot) {  // ahead, in the same lap
      at.slot += static_cast<std::uint32_t>(delta);
    } else {
      at.slot = static_cast<std::uint32_t>(position % capacity_);
      at.lap = position / capacity_ + 1;
    }
    at.cell = at.slot % line_count_ * Line::words + at.slot / line_count_;
    at.position = position;
  }

  /// Moves a place whose slot held `found`, an event of its own lap or a later one, towards the end. The place
  /// stays at or below the end, with all before it known to be filled: what makes positions gapless.
  [[gnu::noinline]] void catch_up(Place& at, std::uint64_t found) const noexcept {
    std::uint64_t position = tail_.load(Traits::hint_load);  // sync RING-HINT
    if (const std::uint64_t ahead = laps_ahead(found, at.lap); ahead != one_behind) {
      position = std::max(position, at.position + ahead * capacity_ + 1);
    }
    set(at, std::max(position, at.position));
  }

  /// The reader's position was overwritten: goes on at the oldest one retained.
  [[gnu::noinline]] void overtaken(Reader& reader, std::uint64_t laps) noexcept {
    const std::uint64_t seen = reader.next.position + laps * capacity_ + 1;
    const std::uint64_t end = std::max(seen, tail_.load(Traits::hint_load));  // sync RING-HINT
    const std::uint64_t oldest = end - capacity_;
    reader.missed += oldest - reader.next.position;
    set(reader.next, oldest);
    announce(reader);
  }

  void announce(Reader& reader) noexcept {
    reader.announcement->from.store(reader.next.position, Traits::announce);  // sync RING-ANNOUNCE
    reader.window_end = reader.next.position + Traits::window;
  }

  template <class Readers>
  void retire(Publisher& publisher, Readers& readers, std::uint32_t old, std::uint64_t position) noexcept {
    // There is room, unless other nodes of this publisher are out. A node that finds none, for want of memory, is out
    // of use until the ring ends.
    if (publisher.tail - publisher.head > publisher.mask && !make_room(publisher, 1)) return;
    publisher.item(publisher.tail++) = {&node(old), position, old};
    publisher.newest_retired = position;  // a publisher's positions rise
    if (publisher.tail >= publisher.reclaim_at) reclaim(publisher, readers);
  }

  /// Moves from "may still be read" to "no reader can reach" all that no announcement covers.
  template <class Readers>
  [[gnu::noinline]] void reclaim(Publisher& publisher, Readers& readers) noexcept {
    const std::uint64_t high = publisher.newest_retired;
    const std::uint64_t low = std::min(publisher.oldest_pinned, publisher.item(publisher.safe).position);
    std::uint64_t free = publisher.tail;  // [safe, free) have not been found covered yet
    readers.for_each([&](Announcement& announcement) {
      const std::uint64_t from = announcement.from.load(Traits::scan);  // sync RING-SCAN
      if (from > high || from + Traits::window <= low) return;
      for (std::uint64_t i = publisher.safe; i < free;) {
        if (publisher.item(i).position - from < Traits::window) {
          std::swap(publisher.item(i), publisher.item(--free));
        } else {
          ++i;
        }
      }
    });
    publisher.oldest_pinned = no_position;
    for (std::uint64_t i = free; i != publisher.tail; ++i) {
      publisher.oldest_pinned = std::min(publisher.oldest_pinned, publisher.item(i).position);
    }
    publisher.safe = free;
    publisher.reclaim_at = publisher.tail + Traits::retire_batch;
    if (publisher.safe - publisher.head > Traits::most_free) share_surplus(publisher);
  }

  /// A queue grows when readers pin what its publisher retires. What they let go goes to whoever needs nodes next; a
  /// publisher keeps at most `most_free`.
  [[gnu::noinline]] void share_surplus(Publisher& publisher) noexcept {
    std::uint32_t first = no_node;
    Node* last = nullptr;
    while (publisher.safe - publisher.head > Traits::most_free / 2) {
      const auto& item = publisher.item(publisher.head++);
      if (!ours_alone(*item.node)) continue;
      Hook::set_link(*item.node, first);
      if (last == nullptr) last = item.node;
      first = item.index;
    }
    if (last != nullptr) hand_back(first, *last);
    const std::uint64_t held = publisher.tail - publisher.head;
    if (publisher.mask + 1 > 4 * std::bit_ceil(held)) resize(publisher, 2 * std::bit_ceil(held));
  }

  /// Whether nobody keeps the node; if somebody does, the ring's count is given up and the last one out hands
  /// the node back. Called when no reader can gain a new reference.
  bool ours_alone(Node& reached_by_nobody) noexcept {
    auto& references = Hook::references(reached_by_nobody);
    if (references.load(Traits::alone) == 1) [[likely]]
      return true;  // sync NODE-DROP
    if (references.fetch_sub(1, Traits::drop) != 1) return false;  // sync NODE-DROP
    references.store(1, sync::relaxed);
    return true;
  }

  /// Gets the publisher nodes to fill: its own retired ones, else such as keepers handed back, else new ones. It
  /// tries for a batch or more of its own, so that it looks at the announcements once in a batch.
  template <class Readers>
  [[gnu::noinline]] bool replenish(Publisher& publisher, Readers& readers) noexcept {
    if (publisher.safe != publisher.tail) reclaim(publisher, readers);
    const std::uint64_t owned = publisher.tail - publisher.head;
    if (owned < Traits::retire_batch || publisher.head == publisher.safe) {
      const std::uint64_t wanted = owned < Traits::retire_batch ? Traits::retire_batch - owned : Traits::retire_batch;
      if (make_room(publisher, wanted) && !take_returned(publisher, wanted)) take_new(publisher, wanted);
    }
    return publisher.head != publisher.safe;
  }

  static bool make_room(Publisher& publisher, std::uint64_t more) noexcept {
    const std::uint64_t needed = publisher.tail - publisher.head + more;
    if (publisher.items != nullptr && needed <= publisher.mask + 1) return true;
    return resize(publisher, std::bit_ceil(std::max<std::uint64_t>(needed, 2 * Traits::retire_batch)));
  }

  /// Gives the publisher's queue room for `size` items, a power of two and no fewer than are in it.
  static bool resize(Publisher& publisher, std::uint64_t size) noexcept {
    std::unique_ptr<typename Publisher::Item[]> items(new (std::nothrow) typename Publisher::Item[size]);
    if (items == nullptr) return false;
    for (std::uint64_t i = publisher.head; i != publisher.tail; ++i) items[i & (size - 1)] = publisher.item(i);
    publisher.items = std::move(items);
    publisher.mask = size - 1;
    return true;
  }

  /// Puts a chain of nodes, linked from `first` to `last`, on the shared stack.
  void hand_back(std::uint32_t first, Node& last) noexcept {
    std::uint32_t top = returned_.load(sync::relaxed);
    do {
      Hook::set_link(last, top);
    } while (!returned_.compare_exchange_weak(top, first, Traits::hand_back, sync::relaxed));  // sync NODE-RETURN
  }

  /// Takes all of the shared stack, as taking one would have to beware of its return meanwhile, and puts back what is
  /// more than `wanted`.
  bool take_returned(Publisher& publisher, std::uint64_t wanted) noexcept {
    std::uint32_t index = returned_.exchange(no_node, Traits::take_back);  // sync NODE-RETURN
    if (index == no_node) return false;
    for (; wanted != 0 && index != no_node; --wanted) {
      const std::uint32_t next = Hook::link(node(index));
      give(publisher, index);
      index = next;
    }
    // The rest goes back. It may be very long; what others returned meanwhile is short, and goes on top of it.
    while (index != no_node) {
      index = returned_.exchange(index, Traits::swap_back);  // sync NODE-RETURN
      if (index == no_node) break;
      Node* last = &node(index);
      std::uint64_t links = 0;
      while (Hook::link(*last) != no_node && ++links != Traits::most_links) last = &node(Hook::link(*last));
      if (links == Traits::most_links) continue;  // the long one again: somebody did as we do
      hand_back(index, *last);
      break;
    }
    return true;
  }

  void take_new(Publisher& publisher, std::uint64_t wanted) noexcept {
    std::uint32_t first = made_nodes_.load(sync::relaxed);
    std::uint32_t last;
    do {
      last = first + static_cast<std::uint32_t>(wanted);
      if (last >= no_node || !grow(last - 1)) return;
    } while (!made_nodes_.compare_exchange_weak(first, last, sync::relaxed, sync::relaxed));
    for (std::uint32_t index = last; index-- != first;) {
      Hook::make(&node(index));
      give(publisher, index);
    }
  }

  /// Puts a node that nobody else knows in front of the queue.
  void give(Publisher& publisher, std::uint32_t index) noexcept {
    Hook::references(node(index)).store(1, sync::relaxed);
    publisher.item(--publisher.head) = {&node(index), 0, index};
  }

  /// Makes memory for all nodes up to `index`.
  bool grow(std::uint32_t index) noexcept {
    const std::uint32_t needed = index < first_nodes_ ? 0 : chunk_of(index).number;
    for (std::uint32_t number = 1; number <= needed; ++number) {
      Node* nodes = chunks_[number].load(sync::acquire);
      if (nodes != nullptr) continue;
      nodes = static_cast<Node*>(
          ::operator new(chunk_size(number) * sizeof(Node), std::align_val_t{node_align}, std::nothrow));
      if (nodes == nullptr) return false;
      Node* found = nullptr;
      if (chunks_[number].compare_exchange_strong(found, nodes, sync::release, sync::relaxed)) {  // sync POOL-GROW
        growths_.fetch_add(1, sync::relaxed);
      } else {
        ::operator delete(nodes, std::align_val_t{node_align});
      }
    }
    return true;
  }

  static Node* allocate(std::size_t count) {
    return static_cast<Node*>(::operator new(count * sizeof(Node), std::align_val_t{node_align}));
  }

  // Chunk 0 has the nodes of the ring itself; chunk n > 0 has 2^(n-1) times as many, rounded up to a power of two.
  struct Chunk {
    std::uint32_t number;
    std::uint32_t first;
  };
  static constexpr std::size_t node_align = alignof(Node) > 64 ? alignof(Node) : 64;
  static constexpr std::uint32_t chunk_count = 24;
  std::uint32_t chunk_size(std::uint32_t number) const noexcept {
    return number == 0 ? first_nodes_ : std::bit_ceil(first_nodes_) << (number - 1);
  }
  Chunk chunk_of(std::uint32_t index) const noexcept {
    const std::uint32_t unit = std::bit_ceil(first_nodes_);
    const std::uint32_t beyond = index - first_nodes_ + unit;
    const auto number = static_cast<std::uint32_t>(std::bit_width(beyond) - std::bit_width(unit));
    return {number + 1, index - (beyond - (unit << number))};
  }

  const std::uint64_t capacity_;
  const std::uint32_t first_nodes_;
  const std::uint32_t line_count_;
  const std::unique_ptr<Line[]> lines_;
  sync::atomic<Node*> chunks_[chunk_count] = {};

  alignas(64) sync::atomic<std::uint64_t> tail_{0};  // a hint: at or below the end, may step back
  alignas(64) sync::atomic<std::uint32_t> returned_{no_node};
  sync::atomic<std::uint32_t> made_nodes_{0};
  sync::atomic<std::uint64_t> growths_{0};
};

}  // namespace bus::detail
