// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Two publishers and two readers on a ring of two. The ring is the shipped template; only its sizes are tiny.
#include "run_suite.hpp"

#include "core/ring.hpp"

namespace {

using namespace bus;

/// An event of the model: its value must be its sequence times ten, and nobody may look while it is written.
struct Node {
  sync::atomic<std::uint32_t> references{0};
  sync::plain<std::uint64_t> value;
  sync::plain<std::uint32_t> link;
  bool full = false;
};

struct Hook {
  static sync::atomic<std::uint32_t>& references(Node& node) { return node.references; }
  static void set_link(Node& node, std::uint32_t link) { node.link.set(link); }
  static std::uint32_t link(const Node& node) { return node.link.get(); }
  static void set_sequence(Node& node, std::uint64_t sequence) { node.value.set(sequence * 10); }
  static void make(void* at) { new (at) Node; }
  static void unmake(Node& node) { node.~Node(); }
  static void clear(Node& node) { node.value.set(0); }
};

struct Tiny : detail::RingTraits {
  static constexpr std::uint64_t window = 1;
  static constexpr std::uint32_t retire_batch = 1;
  static constexpr std::uint32_t prefetch_ahead = 1;
  static constexpr std::uint32_t spare_nodes = 16;
};

template <class Traits>
struct World {
  using Ring = detail::Ring<Node, Hook, Traits>;
  struct Mark : Ring::Announcement, detail::Registry<Mark, 2>::Entry {};

  Ring ring{2};
  detail::Registry<Mark, 2> marks;
  typename Ring::Publisher publishers[3];

  bool publish(unsigned who) {
    const auto taken = ring.take(publishers[who], marks);
    RL_ASSERT(taken.node != nullptr);
    Hook::clear(*taken.node);  // what a publisher does before it fills: the node must be its own
    const bool ok = ring.publish(publishers[who], marks, taken).ok;
    if (!ok) ring.put_back(publishers[who], taken);
    return ok;
  }

  /// Reads up to `looks` times, checking contents and order.
  struct Sum {
    std::uint64_t delivered = 0, missed = 0;
    bool closed = false;
  };
  template <class Keep>
  Sum read(typename Ring::Reader& reader, unsigned looks, Keep&& keep) {
    Sum sum;
    for (unsigned i = 0; i < looks; ++i) {
      Node* node = nullptr;
      const auto look = ring.look(reader, &node);
      if (look == Ring::Look::closed) sum.closed = true;
      if (look != Ring::Look::event) continue;
      RL_ASSERT(node->value.get() == (reader.next.position + 1) * 10);
      keep(*node, (reader.next.position + 1) * 10);
      ring.step_over(reader);
      ++sum.delivered;
    }
    sum.missed = reader.missed;
    return sum;
  }
};

/// BUS-2, BUS-4, reclamation: publish against read against overwrite.
template <class Traits>
struct Overwrite : rl::test_suite<Overwrite<Traits>, 4> {
  static constexpr unsigned publishes = 2;  // each of two publishers
  World<Traits> world;
  typename World<Traits>::Ring::Reader readers[2];

  void before() {
    model::begin_run();
    for (auto& reader : readers) world.ring.start(reader, world.marks.acquire(), {});
  }

  void thread(unsigned who) {
    if (who < 2) {
      for (unsigned i = 0; i < publishes; ++i) RL_ASSERT(world.publish(who));
    } else {
      world.read(readers[who - 2], 2, [](Node&, std::uint64_t) {});
    }
  }

  void after() {
    for (auto& reader : readers) {
      const auto before_rest = reader.next.position;
      const auto missed_before = reader.missed;
      const auto rest = world.read(reader, 2 * publishes + 1, [](Node&, std::uint64_t) {});
      RL_ASSERT(reader.next.position == 2 * publishes);                                    // nothing is out of reach
      RL_ASSERT(before_rest + rest.delivered + (rest.missed - missed_before) == 2 * publishes);  // all is counted
    }
    RL_ASSERT(world.ring.end().position == 2 * publishes);
  }
};

/// BUS-1: a publisher stopped in the middle of everything (it never runs again) delays nobody: the other one
/// and the reader finish whatever it did so far. The stop is a thread that ends between two of its steps.
template <class Traits>
struct Stalled : rl::test_suite<Stalled<Traits>, 3> {
  World<Traits> world;
  typename World<Traits>::Ring::Reader reader;

  void before() {
    model::begin_run();
    world.ring.start(reader, world.marks.acquire(), {});
  }

  void thread(unsigned who) {
    if (who == 0) {
      // Prepared, not yet swapped: what `publish` does up to its first step that others can see.
      const auto taken = world.ring.take(world.publishers[0], world.marks);
      RL_ASSERT(taken.node != nullptr);
      Hook::clear(*taken.node);
      Hook::set_sequence(*taken.node, 77);
    } else if (who == 1) {
      for (int i = 0; i < 3; ++i) RL_ASSERT(world.publish(1));
    } else {
      world.read(reader, 3, [](Node&, std::uint64_t) {});
    }
  }

  void after() {
    world.read(reader, 4, [](Node&, std::uint64_t) {});
    RL_ASSERT(reader.next.position == 3);
  }
};

/// A kept event stays as it was while the ring goes on, and its node comes back for another.
template <class Traits>
struct Kept : rl::test_suite<Kept<Traits>, 3> {
  World<Traits> world;
  typename World<Traits>::Ring::Reader reader;

  void before() {
    model::begin_run();
    world.ring.start(reader, world.marks.acquire(), {});
  }

  void thread(unsigned who) {
    if (who < 2) {
      for (int i = 0; i < 2; ++i) RL_ASSERT(world.publish(who));
    } else {
      Node* kept = nullptr;
      std::uint64_t value = 0;
      world.read(reader, 2, [&](Node& node, std::uint64_t expected) {
        if (kept != nullptr) return;
        world.ring.keep(node);
        kept = &node;
        value = expected;
      });
      if (kept == nullptr) return;
      world.ring.stop(reader);
      RL_ASSERT(kept->value.get() == value);
      world.ring.release(*kept);
    }
  }
};

/// BUS-6: close against publish against read. What was published before the close is read, nothing after it,
/// and `closed` is for ever.
template <class Traits>
struct Close : rl::test_suite<Close<Traits>, 4> {
  World<Traits> world;
  typename World<Traits>::Ring::Reader reader;
  unsigned published[2] = {};
  std::uint64_t seen_closed_at = ~0ULL;

  void before() {
    model::begin_run();
    world.ring.start(reader, world.marks.acquire(), {});
  }

  void thread(unsigned who) {
    if (who < 2) {
      while (published[who] < 2 && world.publish(who)) ++published[who];
    } else if (who == 2) {
      RL_ASSERT(world.ring.close());
    } else {
      const auto sum = world.read(reader, 3, [](Node&, std::uint64_t) {});
      if (sum.closed) seen_closed_at = reader.next.position;
    }
  }

  void after() {
    RL_ASSERT(!world.publish(0) && !world.publish(1) && !world.ring.close());
    const auto sum = world.read(reader, 4, [](Node&, std::uint64_t) {});
    RL_ASSERT(sum.closed);
    RL_ASSERT(reader.next.position == published[0] + published[1]);
    RL_ASSERT(seen_closed_at == ~0ULL || seen_closed_at == reader.next.position);
  }
};

/// Reclamation at its narrowest: a reader begins a window while the publisher swaps out and refills the node in it.
template <class Traits>
struct Reuse : rl::test_suite<Reuse<Traits>, 2> {
  World<Traits> world;
  typename World<Traits>::Ring::Reader reader;

  void before() {
    model::begin_run();
    for (int i = 0; i < 2; ++i) RL_ASSERT(world.publish(1));
    reader.next = {};
    reader.announcement = &world.marks.acquire();
  }

  void thread(unsigned who) {
    if (who == 0) {
      for (int i = 0; i < 2; ++i) RL_ASSERT(world.publish(0));
    } else {
      world.read(reader, 2, [](Node&, std::uint64_t) {});
    }
  }
};

/// A node that comes back from its last keeper while a publisher looks for one.
template <class Traits>
struct HandBack : rl::test_suite<HandBack<Traits>, 2> {
  World<Traits> world;
  typename World<Traits>::Ring::Reader reader;
  Node* kept[2] = {};

  void before() {
    model::begin_run();
    world.ring.start(reader, world.marks.acquire(), {});
    for (int i = 0; i < 2; ++i) RL_ASSERT(world.publish(0));
    world.read(reader, 2, [this, i = 0](Node& node, std::uint64_t) mutable {
      world.ring.keep(node);
      kept[i++] = &node;
    });
    world.ring.stop(reader);
  }

  void thread(unsigned who) {
    if (who == 0) {
      for (int i = 0; i < 3; ++i) RL_ASSERT(world.publish(0));
    } else {
      for (Node* node : kept) world.ring.release(*node);
    }
  }
};

/// Publishers that share every node that no reader can reach, while a reader holds on to one.
template <class Traits>
struct Share : rl::test_suite<Share<Traits>, 3> {
  World<Traits> world;
  typename World<Traits>::Ring::Reader reader;

  void before() {
    model::begin_run();
    for (unsigned who : {0U, 1U}) RL_ASSERT(world.publish(who));
    world.ring.start(reader, world.marks.acquire(), {});
  }

  void thread(unsigned who) {
    if (who < 2) {
      for (int i = 0; i < 2; ++i) RL_ASSERT(world.publish(who));
    } else {
      world.read(reader, 2, [](Node&, std::uint64_t) {});
    }
  }

  void after() { RL_ASSERT(world.ring.nodes_made() <= 2 + Traits::spare_nodes); }
};

/// Three publishers, of whom the last may jump by the hint over a slot it never looked at: that the slot is filled it
/// knows only from one publisher, who knows it from another.
template <class Traits>
struct Gapless : rl::test_suite<Gapless<Traits>, 3> {
  World<Traits> world;

  void before() { model::begin_run(); }
  void thread(unsigned who) {
    for (unsigned i = 0; i < (who == 0 ? 2 : 1); ++i) RL_ASSERT(world.publish(who));
  }
  void after() { RL_ASSERT(world.ring.end().position == 4); }
};

// clang-format off
struct WeakPublish : Tiny { static constexpr auto publish = sync::relaxed; };
struct LoosePublish : Tiny { static constexpr auto publish = sync::acq_rel; };
struct WeakFollow : Tiny { static constexpr auto follow = sync::relaxed; };
struct WeakHint : Tiny { static constexpr auto hint_store = sync::relaxed; };
struct WeakHintLoad : Tiny { static constexpr auto hint_load = sync::relaxed; };
struct WeakAnnounce : Tiny { static constexpr auto announce = sync::relaxed; };
struct LooseAnnounce : Tiny { static constexpr auto announce = sync::release; };
struct WeakRead : Tiny { static constexpr auto read = sync::relaxed; };
struct LooseRead : Tiny { static constexpr auto read = sync::acquire; };
struct WeakScan : Tiny { static constexpr auto scan = sync::relaxed; };
struct LooseScan : Tiny { static constexpr auto scan = sync::acquire; };
struct WeakDrop : Tiny { static constexpr auto drop = sync::relaxed; };
struct WeakAlone : Tiny { static constexpr auto alone = sync::relaxed; };
struct WeakHandBack : Tiny { static constexpr auto hand_back = sync::relaxed; };
struct WeakTakeBack : Tiny { static constexpr auto take_back = sync::relaxed; };
struct Sharing : Tiny { static constexpr std::uint32_t most_free = 0; };
struct WeakSharing : Sharing { static constexpr auto hand_back = sync::relaxed; };
struct NoWindow : Tiny { static constexpr std::uint64_t window = 0; };
// clang-format on

}  // namespace

int main() {
  bus::model::Runner run({.random_runs = 100'000, .bound_runs = 100'000, .full_runs = 100'000, .context_bound = 2});
  run.holds<Overwrite<Tiny>>("overwrite (BUS-2, BUS-4)");
  run.holds<Stalled<Tiny>>("a stalled publisher (BUS-1)");
  run.holds<Close<Tiny>>("close (BUS-6)");
  run.holds<Kept<Tiny>>("a kept event");
  run.holds<Reuse<Tiny>>("reuse of a node");
  run.holds<HandBack<Tiny>>("a node handed back");
  run.holds<Share<Sharing>>("shared nodes");
  run.holds<Gapless<Tiny>>("gapless positions");
  run.caught<Overwrite<WeakPublish>>("RING-PUBLISH relaxed");
  run.caught<Reuse<LoosePublish>>("RING-PUBLISH not in the total order");
  run.caught<Gapless<WeakFollow>>("RING-FOLLOW relaxed");
  run.caught<Gapless<WeakHint>>("RING-HINT stored relaxed");
  run.caught<Gapless<WeakHintLoad>>("RING-HINT loaded relaxed");
  run.caught<Reuse<WeakAnnounce>>("RING-ANNOUNCE relaxed");
  run.caught<Reuse<LooseAnnounce>>("RING-ANNOUNCE not in the total order");
  run.caught<Overwrite<WeakRead>>("RING-READ relaxed");
  run.caught<Reuse<LooseRead>>("RING-READ not in the total order");
  run.caught<Overwrite<WeakScan>>("RING-SCAN relaxed");
  run.caught<Reuse<LooseScan>>("RING-SCAN not in the total order");
  run.caught<Kept<WeakDrop>>("NODE-DROP relaxed");
  run.caught<Kept<WeakAlone>>("NODE-DROP looked at relaxed");
  run.caught<HandBack<WeakHandBack>>("NODE-RETURN pushed relaxed");
  run.caught<Share<WeakSharing>>("NODE-RETURN pushed relaxed by a publisher");
  run.caught<HandBack<WeakTakeBack>>("NODE-RETURN taken relaxed");
  run.caught<Reuse<NoWindow>>("a window that protects nothing");
  return run.result();
}
