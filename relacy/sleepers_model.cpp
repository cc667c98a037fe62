// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Sleeping and waking on the shipped ring and registry: no receiver sleeps while there is something to read.
#include "run_suite.hpp"

#include "core/ring.hpp"
#include "core/sleepers.hpp"

namespace {

using namespace bus;

struct Node {
  sync::atomic<std::uint32_t> references{0};
  sync::plain<std::uint64_t> value;
};

struct Hook {
  static sync::atomic<std::uint32_t>& references(Node& node) { return node.references; }
  static void set_link(Node&, std::uint32_t) {}
  static std::uint32_t link(const Node&) { return 0; }
  static void set_sequence(Node& node, std::uint64_t sequence) { node.value.set(sequence); }
  static void make(void* at) { new (at) Node; }
  static void unmake(Node& node) { node.~Node(); }
  static void clear(Node&) {}
};

struct Tiny : detail::RingTraits {
  static constexpr std::uint64_t window = 2;
  static constexpr std::uint32_t retire_batch = 1;
  static constexpr std::uint32_t spare_nodes = 8;
};

using Ring = detail::Ring<Node, Hook, Tiny>;

/// What a receiver sleeps on. The checker reports a thread that nobody will wake as a deadlock.
class Semaphore {
 public:
  void init() { semaphore_.init(false, 0, 1000, $); }
  void destroy() { semaphore_.deinit($); }
  void wait() { semaphore_.wait(false, false, $); }
  /// A wait whose deadline passes at any moment.
  void timed_wait() { semaphore_.wait(false, true, $); }
  void post() {
    unsigned before = 0;
    semaphore_.post(1, before, $);
  }

 private:
  struct Tag;
  rl::semaphore<Tag> semaphore_;
};

struct Record : Ring::Announcement, detail::Registry<Record, 2>::Entry {
  Semaphore sleep;
  sync::atomic<int*> wait{nullptr};  // an asynchronous receive, or none
};

template <class Traits>
struct World {
  Ring ring{2};
  detail::Registry<Record, 2> records;
  detail::Sleepers<Record, 2, Traits> sleepers{records};
  Ring::Publisher publishers[2];

  void wake() {
    sleepers.wake_all([](Record& record) { record.sleep.post(); });
  }

  bool publish(unsigned who) {
    const bool ok = ring.publish(publishers[who], records, ring.take(publishers[who], records)).ok;
    if (ok) wake();
    return ok;
  }

  /// The receiver's loop in `recv`, one event. Returns: false if the ring is closed.
  bool receive(Ring::Reader& reader, Record& record, bool timed = false) {
    for (;;) {
      Node* node = nullptr;
      switch (ring.look(reader, &node)) {
        case Ring::Look::event: ring.step_over(reader); return true;
        case Ring::Look::closed: return false;
        case Ring::Look::empty: break;
      }
      sleepers.arm(record);
      if (!ring.ready(reader.next)) {
        if (timed) {
          record.sleep.timed_wait();
        } else {
          record.sleep.wait();
        }
      }
      sleepers.disarm(record);
      if (timed) timed = false;  // the wait was given up; the next one must not suffer
    }
  }
};

/// BUS-5: two publishers and a receiver that sleeps; it gets both events, whatever happens in between.
template <class Traits, bool Timed>
struct Wake : rl::test_suite<Wake<Traits, Timed>, 3> {
  World<Traits> world;
  Ring::Reader reader;
  Record* record = nullptr;

  void before() {
    model::begin_run();
    record = &world.records.acquire();
    record->sleep.init();
    world.ring.start(reader, *record, {});
  }
  void after() { record->sleep.destroy(); }

  void thread(unsigned who) {
    if (who < 2) {
      RL_ASSERT(world.publish(who));
    } else {
      for (int i = 0; i < 2; ++i) RL_ASSERT(world.receive(reader, *record, Timed));
    }
  }
};

/// BUS-5, BUS-6: two sleepers, a publish and a close: both are woken and see `closed` after what was published.
template <class Traits>
struct CloseWakes : rl::test_suite<CloseWakes<Traits>, 4> {
  World<Traits> world;
  Ring::Reader readers[2];
  Record* records[2] = {};
  bool published = false;

  void before() {
    model::begin_run();
    for (int i = 0; i < 2; ++i) {
      records[i] = &world.records.acquire();
      records[i]->sleep.init();
      world.ring.start(readers[i], *records[i], {});
    }
  }
  void after() {
    for (int i = 0; i < 2; ++i) {
      RL_ASSERT(readers[i].next.position == (published ? 1 : 0));
      records[i]->sleep.destroy();
    }
  }

  void thread(unsigned who) {
    if (who == 0) {
      published = world.publish(0);
    } else if (who == 1) {
      RL_ASSERT(world.ring.close());
      world.wake();
    } else {
      while (world.receive(readers[who - 2], *records[who - 2])) {
      }
    }
  }
};

/// An asynchronous receive against a publish, a cancellation and a close: exactly one of them gets to resume it, and
/// if none does, nothing was there to be seen. The steps are those of ReceiverState::arm and Core::wake_sleepers.
template <class Traits, bool Careless>
struct Async : rl::test_suite<Async<Traits, Careless>, 3> {
  World<Traits> world;
  Ring::Reader reader;
  Record* record = nullptr;
  int operation = 0;
  sync::atomic<int> resumed{0};

  void before() {
    model::begin_run();
    record = &world.records.acquire();
    record->sleep.init();
    world.ring.start(reader, *record, {});
  }

  void take() {
    if (record->wait.exchange(nullptr, sync::seq_cst) != nullptr) resumed.fetch_add(1, sync::relaxed);
  }

  void thread(unsigned who) {
    if (who == 0) {
      const Ring::Place next = reader.next;
      record->wait.store(&operation, sync::seq_cst);
      world.sleepers.arm(*record);
      if (!Careless && world.ring.ready(next)) take();
    } else if (who == 1) {
      const auto taken = world.ring.take(world.publishers[0], world.records);
      RL_ASSERT(world.ring.publish(world.publishers[0], world.records, taken).ok);
      world.sleepers.wake_all([this](Record& claimed) {
        if (claimed.wait.exchange(nullptr, sync::seq_cst) != nullptr) {
          resumed.fetch_add(1, sync::relaxed);
        } else {
          claimed.sleep.post();
        }
      });
    } else {
      take();  // cancelled; perhaps too early, perhaps too late
    }
  }

  void after() {
    RL_ASSERT(resumed.load(sync::relaxed) == 1);
    RL_ASSERT(record->wait.load(sync::relaxed) == nullptr);
    record->sleep.destroy();
  }
};

// clang-format off
using Sound = detail::SleepersTraits;
struct LooseArm : Sound { static constexpr auto arm = sync::relaxed; };
struct LooseCheck : Sound { static constexpr auto check = sync::relaxed; };
// clang-format on

}  // namespace

int main() {
  bus::model::Runner run({.random_runs = 100'000, .bound_runs = 100'000, .full_runs = 100'000, .context_bound = 2});
  run.holds<Wake<Sound, false>>("wake (BUS-5)");
  run.holds<Wake<Sound, true>>("wake after a wait given up (BUS-5)");
  run.holds<CloseWakes<Sound>>("close wakes all (BUS-5, BUS-6)");
  run.holds<Async<Sound, false>>("an asynchronous wait is resumed once");
  run.caught<Wake<LooseCheck, false>>("WAKE-CHECK relaxed");
  run.caught<Async<Sound, true>>("no last look after WAKE-ARM");
  run.caught<Wake<LooseArm, false>>("WAKE-ARM relaxed");
  return run.result();
}
