// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Two threads run what a gate guards while a third, or one of them from inside, closes it.
#include "run_suite.hpp"

#include "core/run_gate.hpp"

namespace {

using namespace bus;

template <class Traits>
struct Guarded {
  using Gate = detail::RunGate<Traits>;
  Gate gate;
  sync::plain<int> content;  // written when it ends: nobody may be looking
  sync::atomic<int> ends{0};

  void begin() {
    content.set(1);
    gate.open();
  }
  void end() {
    content.set(0);
    ends.fetch_add(1, sync::relaxed);
  }
  void run() {
    const auto entry = gate.enter();
    if (entry == Gate::Entry::ends) end();
    if (entry != Gate::Entry::inside) return;
    RL_ASSERT(content.get() == 1);
    if (gate.leave()) end();
  }
};

template <class Traits>
struct CloseOutside : rl::test_suite<CloseOutside<Traits>, 3> {
  Guarded<Traits> guarded;
  void before() {
    model::begin_run();
    guarded.begin();
  }
  void thread(unsigned who) {
    if (who == 2) {
      guarded.gate.close();
      guarded.end();
    } else {
      guarded.run();
      guarded.run();
    }
  }
  void after() { RL_ASSERT(guarded.ends.load(sync::relaxed) == 1); }
};

template <class Traits>
struct CloseInside : rl::test_suite<CloseInside<Traits>, 3> {
  Guarded<Traits> guarded;
  void before() {
    model::begin_run();
    guarded.begin();
  }
  void thread(unsigned who) {
    if (who != 0) return guarded.run();
    RL_ASSERT(guarded.gate.enter() == Guarded<Traits>::Gate::Entry::inside);
    guarded.gate.close_from_inside();
    RL_ASSERT(guarded.content.get() == 1);
    if (guarded.gate.leave()) guarded.end();
  }
  void after() { RL_ASSERT(guarded.ends.load(sync::relaxed) == 1); }
};

/// What is put behind the gate is seen by who gets in.
template <class Traits>
struct Open : rl::test_suite<Open<Traits>, 2> {
  Guarded<Traits> guarded;
  void before() { model::begin_run(); }
  void thread(unsigned who) {
    if (who == 0) {
      guarded.begin();
    } else {
      guarded.run();
    }
  }
};

// clang-format off
using Sound = detail::RunGateTraits;
struct WeakOpen : Sound { static constexpr auto open = sync::relaxed; };
struct WeakEnter : Sound { static constexpr auto enter = sync::relaxed; };
struct WeakLeave : Sound { static constexpr auto leave = sync::relaxed; };
struct WeakClose : Sound {
  static constexpr auto close = sync::relaxed;
  static constexpr auto quiet = sync::relaxed;
};
// clang-format on

}  // namespace

int main() {
  bus::model::Runner run({.random_runs = 100'000, .bound_runs = 100'000, .full_runs = 100'000, .context_bound = 3});
  run.holds<CloseOutside<Sound>>("closed from outside");
  run.holds<CloseInside<Sound>>("closed from inside");
  run.holds<Open<Sound>>("opened");
  run.caught<Open<WeakOpen>>("GATE-OPEN relaxed");
  run.caught<Open<WeakEnter>>("GATE-ENTER relaxed");
  run.caught<CloseOutside<WeakLeave>>("GATE-LEAVE relaxed");
  run.caught<CloseOutside<WeakClose>>("GATE-CLOSE relaxed");
  return run.result();
}
