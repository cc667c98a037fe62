// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Publishes under way, against tables that are replaced, readers that wait for them, and gates.
#include "run_suite.hpp"

#include <bus/routing/gate.hpp>

#include "core/sleepers.hpp"
#include "routing/flights.hpp"

namespace {

using namespace bus;

/// A publisher's place.
template <class Traits>
struct Record : detail::Registry<Record<Traits>, 2>::Entry {
  detail::Flight<Traits> flight;
  std::uint64_t seen = 0;
};

/// What publishers read. Its end is a write to it: a race with whoever reads it still.
struct Table {
  sync::plain<std::uint64_t> value;
};

struct EndTable {
  void operator()(Table* table) const { table->value.set(0); }
};

/// A subscription replaces the table while two publishers read it.
template <class Traits>
struct Replace : rl::test_suite<Replace<Traits>, 3> {
  using Garbage = std::unique_ptr<Table, EndTable>;
  Table tables[3];
  detail::Registry<Record<Traits>, 2> records;
  detail::FlightTable<Table, Garbage, Record<Traits>, 2, Traits> current{records, &tables[0]};

  void before() {
    model::begin_run();
    for (auto& table : tables) table.value.set(1);
  }

  void thread(unsigned who) {
    if (who < 2) {
      Record<Traits>& record = records.acquire();
      record.flight.begin(0, 0);
      RL_ASSERT(current.read()->value.get() == 1);
      record.flight.end();
      records.release(record);
    } else {
      for (int i = 0; i < 2; ++i) {
        Garbage garbage(&tables[i]);
        current.replace(&tables[i + 1], garbage);
      }
    }
  }

  void after() {
    current.reclaim();
    RL_ASSERT(current.unreclaimed() == 0);
  }
};

/// ROUTE-6: two publishers of one principal, who take their sequences and queue in any order, and a reader that takes
/// nothing whose forerunner may be under way. `Careless` takes what is there.
template <class Traits, bool Careless>
struct Order : rl::test_suite<Order<Traits, Careless>, 3> {
  static constexpr std::size_t hash = 7;
  detail::Registry<Record<Traits>, 2> records;
  sync::atomic<std::uint64_t> end{0};  // of the ring: sequences given
  rl::mutex lock;
  std::uint64_t queue[4] = {};
  unsigned queued = 0;

  void before() { model::begin_run(); }

  void thread(unsigned who) {
    if (who < 2) {
      Record<Traits>& record = records.acquire();
      for (unsigned i = 0; i < 2 - who; ++i) publish(record);
      records.release(record);
    } else {
      std::uint64_t last = 0;
      for (int looks = 0; looks < 3; ++looks) {
        lock.lock($);
        if (queued != 0 && (Careless || !held(queue[0]))) {
          RL_ASSERT(queue[0] > last);
          last = queue[0];
          --queued;
          for (unsigned i = 0; i < queued; ++i) queue[i] = queue[i + 1];
        }
        lock.unlock($);
      }
    }
  }

  void publish(Record<Traits>& record) {
    record.flight.begin(end.load(sync::acquire), hash);
    const std::uint64_t sequence = end.fetch_add(1, sync::seq_cst) + 1;
    record.flight.stamp(sequence);
    lock.lock($);
    unsigned at = queued++;
    for (; at != 0 && queue[at - 1] > sequence; --at) queue[at] = queue[at - 1];
    queue[at] = sequence;
    lock.unlock($);
    record.flight.end();
  }

  bool held(std::uint64_t sequence) {
    const std::uint64_t now = end.load(sync::acquire);
    bool precedes = false;
    records.for_each([&](Record<Traits>& record) {
      const auto seen = record.flight.look(hash, now);
      precedes |= seen.under_way && seen.same_hash && seen.least_sequence < sequence;
    });
    return precedes;
  }
};

/// What a reader sleeps on. The checker reports a thread that nobody will wake as a deadlock.
struct Sleeper : detail::Registry<Sleeper, 2>::Entry {
  struct Tag;
  rl::semaphore<Tag> sleep;
  void post() {
    unsigned before = 0;
    sleep.post(1, before, $);
  }
};

/// A reader that sleeps until a publish is not under way any more, as `Route::park` does.
template <class Traits, class SleepTraits>
struct Wake : rl::test_suite<Wake<Traits, SleepTraits>, 2> {
  detail::Registry<Record<Traits>, 2> records;
  detail::Registry<Sleeper, 2> readers;
  detail::Sleepers<Sleeper, 2, SleepTraits> held{readers};
  Record<Traits>* record = nullptr;
  Sleeper* reader = nullptr;

  void before() {
    model::begin_run();
    record = &records.acquire();
    reader = &readers.acquire();
    reader->sleep.init(false, 0, 1000, $);
    record->flight.begin(0, 7);
  }
  void after() { reader->sleep.deinit($); }

  void thread(unsigned who) {
    if (who == 0) {
      record->flight.end();
      held.wake_all([](Sleeper& one) { one.post(); });
      return;
    }
    while (record->flight.look(7, 2).under_way) {
      held.arm(*reader);
      if (record->flight.look(7, 2).under_way) reader->sleep.wait(false, false, $);
      held.disarm(*reader);
    }
  }
};

/// What was done before a gate is published is seen by who is let in.
template <class Traits>
struct GateOpens : rl::test_suite<GateOpens<Traits>, 2> {
  BasicGate<Traits> gate;
  sync::plain<std::uint64_t> ready;

  void before() {
    model::begin_run();
    ready.set(0);
  }
  void thread(unsigned who) {
    if (who == 0) {
      ready.set(1);
      RL_ASSERT(gate.publish());
      RL_ASSERT(!gate.publish());
    } else if (gate.open()) {
      RL_ASSERT(ready.get() == 1);
    }
  }
};

// clang-format off
using Sound = detail::FlightTraits;
struct WeakBegin : Sound { static constexpr auto begin = sync::relaxed; };
struct LooseBegin : Sound { static constexpr auto begin = sync::release; };
struct WeakEnd : Sound { static constexpr auto end = sync::relaxed; };
struct LooseEnd : Sound { static constexpr auto end = sync::release; };
struct WeakScan : Sound { static constexpr auto scan = sync::relaxed; };
struct LooseScan : Sound { static constexpr auto scan = sync::acquire; };
struct LooseSwap : Sound { static constexpr auto swap = sync::release; };
struct WeakSwap : Sound { static constexpr auto swap = sync::relaxed; };
struct WeakRead : Sound { static constexpr auto read = sync::relaxed; };
struct LooseRead : Sound { static constexpr auto read = sync::acquire; };
using SoundGate = detail::GateTraits;
struct WeakOpen : SoundGate { static constexpr auto open = sync::relaxed; };
struct WeakLook : SoundGate { static constexpr auto look = sync::relaxed; };
using SoundSleep = detail::SleepersTraits;
struct LooseArm : SoundSleep { static constexpr auto arm = sync::relaxed; };
struct LooseCheck : SoundSleep { static constexpr auto check = sync::relaxed; };
// clang-format on

}  // namespace

int main() {
  bus::model::Runner run({.random_runs = 50'000, .bound_runs = 50'000, .full_runs = 50'000, .context_bound = 2});
  run.holds<Replace<Sound>>("a table replaced while it is read");
  run.holds<Order<Sound, false>>("rising sequences of one principal (ROUTE-6)");
  run.holds<Wake<Sound, SoundSleep>>("a reader held up by a publish under way");
  run.holds<GateOpens<SoundGate>>("a gate published");
  run.caught<Replace<LooseBegin>>("FLIGHT-BEGIN not in the total order");
  run.caught<Replace<WeakBegin>>("FLIGHT-BEGIN relaxed");
  run.caught<Replace<WeakEnd>>("FLIGHT-END relaxed");
  run.caught<Replace<WeakScan>>("FLIGHT-SCAN relaxed");
  run.caught<Replace<LooseScan>>("FLIGHT-SCAN not in the total order");
  run.caught<Replace<WeakSwap>>("TABLE-SWAP relaxed");
  run.caught<Replace<LooseSwap>>("TABLE-SWAP not in the total order");
  run.caught<Replace<WeakRead>>("TABLE-READ relaxed");
  run.caught<Replace<LooseRead>>("TABLE-READ not in the total order");
  run.caught<Order<Sound, true>>("no look for forerunners");
  run.caught<Wake<LooseEnd, SoundSleep>>("FLIGHT-END not in the total order");
  run.caught<Wake<Sound, LooseCheck>>("WAKE-CHECK relaxed");
  run.caught<Wake<Sound, LooseArm>>("WAKE-ARM relaxed");
  run.caught<GateOpens<WeakOpen>>("ROUTE-GATE opened relaxed");
  run.caught<GateOpens<WeakLook>>("ROUTE-GATE looked at relaxed");
  return run.result();
}
