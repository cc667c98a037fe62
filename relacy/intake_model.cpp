// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Appenders, whoever commits, and those who wait for it, on the shipped intake, turn and waiters. Only sizes are tiny,
// and what the log does with them is written once more here: the steps are those of LogCore.
#include "run_suite.hpp"

#include "persistence/intake.hpp"
#include "persistence/waiters.hpp"

namespace {

using namespace bus;

struct Entry {
  sync::plain<std::uint64_t> value;
};

/// The intake, and its bytes as checked data: what stands in each unit of them.
template <class Traits>
struct World {
  static constexpr std::uint32_t places = Traits::places;
  static constexpr std::uint32_t units = 4;
  using Intake = detail::Intake<Entry, Traits>;
  using Room = typename Intake::Room;

  Intake intake{places, units* Intake::unit};
  std::byte* begin = nullptr;
  sync::plain<std::uint64_t> bytes[units];

  void start() { begin = intake.reserve(0, 0)->bytes; }

  void fill(const Room& room, std::uint32_t i, std::uint64_t at, std::uint64_t value, std::uint32_t size) {
    RL_ASSERT(at + size <= units);
    for (std::uint32_t unit = 0; unit < size; ++unit) bytes[at + unit].set(value);
    intake.entry(room.ticket + i).value.set(value | at << 16 | std::uint64_t{size} << 24);
    intake.hand_over(room.ticket + i, size + (Traits::gives_rest && i == 0 ? room.first_unit : 0));
  }
  std::uint64_t place_of(const Room& room) const {
    return static_cast<std::uint64_t>(room.bytes - begin) / Intake::unit;
  }

  /// Returns: the ticket; nothing if there is no room.
  std::optional<std::uint32_t> append(std::uint64_t value, std::uint32_t size) {
    const auto room = intake.reserve(1, size * Intake::unit);
    if (!room) return std::nullopt;
    fill(*room, 0, place_of(*room), value, size);
    return room->ticket;
  }

  /// The value of an entry that is ready; all that belongs to it is as it was written.
  std::uint64_t take(std::uint32_t ticket) {
    const std::uint64_t entry = intake.entry(ticket).value.get();
    const std::uint64_t value = entry & 0xFFFF;
    const std::uint64_t at = entry >> 16 & 0xFF;
    for (std::uint64_t unit = 0; unit < entry >> 24; ++unit) RL_ASSERT(bytes[at + unit].get() == value);
    return value;
  }
};

struct Shipped : detail::IntakeTraits {
  static constexpr bool gives_rest = true;
};
struct Tiny : Shipped {
  static constexpr std::uint32_t places = 2;
};

/// Every entry arrives once, whole, and those of one appender in order, though memory is used again and again. With
/// `Together`, one of the appenders takes room for both of its entries at once.
template <class Traits, bool Together>
struct HandOver : rl::test_suite<HandOver<Traits, Together>, 3> {
  static constexpr std::uint32_t each = 2;
  World<Traits> world;

  void before() {
    model::begin_run();
    world.start();
  }

  static std::uint64_t value(unsigned who, std::uint32_t i) { return who * each + i; }
  static std::uint32_t size(unsigned who, std::uint32_t i) { return (who + i) % 2 + 1; }

  void thread(unsigned who) {
    if (who == 2) {
      commit();
    } else if (Together && who == 1) {
      append_both();
    } else {
      for (std::uint32_t i = 0; i < each; ++i) {
        while (!world.append(value(who, i), size(who, i))) sync::pause();
      }
    }
  }

  void append_both() {
    using Intake = typename World<Traits>::Intake;
    auto room = world.intake.reserve(2, (size(1, 0) + size(1, 1)) * Intake::unit);
    for (; !room; room = world.intake.reserve(2, (size(1, 0) + size(1, 1)) * Intake::unit)) sync::pause();
    const std::uint64_t at = world.place_of(*room);
    world.fill(*room, 0, at, value(1, 0), size(1, 0));
    world.fill(*room, 1, at + size(1, 0), value(1, 1), size(1, 1));
  }

  void commit() {
    std::uint32_t arrived[2] = {};
    for (std::uint32_t ticket = 0; ticket != 2 * each;) {
      std::uint32_t taken = 0;
      for (; world.intake.is_ready(ticket + taken); ++taken) {
        const std::uint64_t got = world.take(ticket + taken);
        const auto who = static_cast<unsigned>(got / each);
        RL_ASSERT(who < 2 && got == value(who, arrived[who]));
        ++arrived[who];
      }
      if (taken == 0) {
        sync::pause();
        continue;
      }
      ticket += taken;
      world.intake.free_up_to(ticket);
    }
  }

  void after() {
    RL_ASSERT(!world.intake.is_ready(2 * each));
    RL_ASSERT(world.intake.next_ticket() == 2 * each);
    RL_ASSERT(world.intake.used_bytes() == 0);
  }
};

/// An append that began after another one had returned has the higher ticket, and is taken behind it. The flag
/// that says so orders nothing.
template <class Traits>
struct Order : rl::test_suite<Order<Traits>, 3> {
  World<Traits> world;
  sync::atomic<std::uint32_t> returned{0};
  bool saw = false;
  std::uint32_t tickets[2] = {};
  std::uint64_t taken[2] = {};

  void before() {
    model::begin_run();
    world.start();
  }

  void thread(unsigned who) {
    if (who == 0) {
      tickets[0] = *world.append(0, 1);
      returned.store(1, sync::relaxed);
    } else if (who == 1) {
      saw = returned.load(sync::relaxed) != 0;
      tickets[1] = *world.append(1, 1);
    } else {
      for (std::uint32_t ticket = 0; ticket < 2; ++ticket) {
        while (!world.intake.is_ready(ticket)) sync::pause();
        taken[ticket] = world.take(ticket);
        world.intake.free_up_to(ticket + 1);
      }
    }
  }

  void after() {
    RL_ASSERT(taken[tickets[0]] == 0 && taken[tickets[1]] == 1);
    if (saw) RL_ASSERT(tickets[0] < tickets[1]);
  }
};

/// What a thread sleeps on. The checker reports a thread that nobody will wake as a deadlock.
class ModelBed {
 public:
  struct Deadline {};
  struct Lock {
    rl::mutex* mutex;
    void unlock() { mutex->unlock($); }
  };
  Lock lock() {
    mutex_.lock($);
    return {&mutex_};
  }
  /// With a deadline, it passes at any moment.
  bool sleep(Lock&, const Deadline* deadline) {
    if (deadline != nullptr) return changed_.wait_for(mutex_, 0, $);
    changed_.wait(mutex_, $);
    return true;
  }
  void wake() {
    mutex_.lock($);
    mutex_.unlock($);
    changed_.notify_all($);
  }

 private:
  rl::mutex mutex_;
  rl::condition_variable changed_;
};

class Semaphore {
 public:
  void init() { semaphore_.init(false, 0, 1000, $); }
  void destroy() { semaphore_.deinit($); }
  void wait() { semaphore_.wait(false, false, $); }
  void post() {
    unsigned before = 0;
    semaphore_.post(1, before, $);
  }

 private:
  struct Tag;
  rl::semaphore<Tag> semaphore_;
};

struct FewCells : detail::WaitersTraits {
  static constexpr std::size_t cells = 1;
};

template <class Traits>
using Waiters = detail::WaitersOn<ModelBed, Traits>;

/// All that a model of the log weakens.
struct Sound {
  struct Intake : Shipped {
    static constexpr std::uint32_t places = 4;
  };
  using Turn = detail::TurnTraits;
  using Waiters = FewCells;
  static constexpr bool last_look = true;
};

/// The turn, and what belongs to whoever has it.
template <class Log>
struct Committing {
  World<typename Log::Intake> world;
  detail::Turn<typename Log::Turn> turn;
  sync::plain<std::uint32_t> next;      // of whoever has the turn
  sync::plain<std::uint64_t> disk[4];   // by ticket
  sync::atomic<std::uint32_t> written{0};

  void start() {
    world.start();
    next.set(0);
  }

  std::uint32_t write_ready() {
    const std::uint32_t first = next.get();
    std::uint32_t taken = 0;
    for (; world.intake.is_ready(first + taken); ++taken) disk[first + taken].set(world.take(first + taken) + 100);
    next.set(first + taken);
    return taken;
  }
  bool commit_some() {
    const std::uint32_t taken = write_ready();
    if (taken == 0) return false;
    const std::uint32_t end = next.get();
    written.store(end, sync::seq_cst);
    world.intake.free_up_to(end);
    return true;
  }
  bool something_to_do() const { return Log::last_look && world.intake.is_ready(world.intake.first_held()); }
};

/// Whatever was handed over is committed, though each appender looks once whether somebody is at it.
template <class Log, unsigned Appenders = 2>
struct Lead : rl::test_suite<Lead<Log, Appenders>, Appenders> {
  Committing<Log> log;

  void before() {
    model::begin_run();
    log.start();
  }

  void thread(unsigned who) {
    RL_ASSERT(log.world.append(who, 1));
    if (log.turn.is_taken()) return;
    do {
      if (!log.turn.try_take()) return;  // whoever has it looks again
      while (log.commit_some()) {
      }
      log.turn.leave();
    } while (log.something_to_do());
  }

  void after() { RL_ASSERT(log.written.load(sync::relaxed) == Appenders); }
};

/// An appender that waits and so may commit, one that does not wait and so may kick, and the commit thread. Both are
/// committed, and whoever waits sees what was written before it is told so.
template <class Log>
struct Appends : rl::test_suite<Appends<Log>, 3> {
  static constexpr std::uint32_t total = 2;
  Committing<Log> log;
  Waiters<typename Log::Waiters> waiters;
  Semaphore commit_wake;
  sync::atomic<std::uint32_t> kicked{0};

  void before() {
    model::begin_run();
    log.start();
    commit_wake.init();
  }
  void after() {
    RL_ASSERT(log.written.load(sync::relaxed) == total);
    commit_wake.destroy();
  }

  void kick() {
    if (kicked.exchange(1, sync::acq_rel) == 0) commit_wake.post();
  }
  bool commit_some() {
    const std::uint32_t begin = log.next.get();
    if (!log.commit_some()) return false;
    const std::uint32_t end = log.next.get();
    waiters.wake(begin, end);
    if (end == total) commit_wake.post();  // the log closes
    return true;
  }
  bool lead(std::uint32_t until) {
    if (!log.turn.try_take()) return false;
    bool anything = false;
    do {
      if (!commit_some()) break;
      anything = true;
    } while (log.written.load(sync::relaxed) < until);
    log.turn.leave();
    if (log.something_to_do()) kick();
    return anything;
  }

  void thread(unsigned who) {
    if (who == 0) {
      const std::uint32_t ticket = *log.world.append(0, 1);
      const auto done = [&] { return log.written.load(sync::seq_cst) > ticket; };
      while (!done()) {
        if (!log.turn.is_taken()) {
          if (!lead(ticket + 1)) sync::pause();
        } else {
          waiters.wait(ticket, nullptr, [&] { return done() || !log.turn.is_taken(); });
        }
      }
      RL_ASSERT(log.disk[ticket].get() == 100);
    } else if (who == 1) {
      RL_ASSERT(log.world.append(1, 1));
      if (!log.turn.is_taken()) kick();
    } else {
      while (log.written.load(sync::seq_cst) < total) {
        commit_wake.wait();
        do {
          (void)kicked.exchange(0, sync::acq_rel);
          if (!log.turn.try_take()) break;  // whoever has it looks again, and kicks
          while (commit_some()) {
          }
          log.turn.leave();
        } while (log.something_to_do());
      }
    }
  }
};

/// Two threads sync, of which one has appended before; each returns, whoever syncs for it. With `by_flag`, what they
/// ask for is a flag that is taken back when all that was ready has been synced.
template <class Log, bool by_flag>
struct Syncs : rl::test_suite<Syncs<Log, by_flag>, 3> {
  Committing<Log> log;
  Waiters<typename Log::Waiters> waiters;
  Semaphore commit_wake;
  sync::atomic<std::uint32_t> kicked{0};
  sync::atomic<std::uint32_t> wanted{0};
  sync::atomic<std::uint32_t> synced{0};
  sync::atomic<std::uint32_t> returned{0};

  void before() {
    model::begin_run();
    log.start();
    commit_wake.init();
    RL_ASSERT(log.world.append(0, 1));
  }
  void after() { commit_wake.destroy(); }

  void kick() {
    if (kicked.exchange(1, sync::acq_rel) == 0) commit_wake.post();
  }
  bool commit_some() {
    const std::uint32_t begin = log.next.get();
    const std::uint32_t asked = wanted.load(sync::seq_cst);
    const std::uint32_t taken = log.write_ready();
    const std::uint32_t end = begin + taken;
    const std::uint32_t before = synced.load(sync::relaxed);
    const bool must_sync = by_flag ? asked != 0 && !log.world.intake.is_ready(end) : asked > before && asked <= end;
    if (must_sync) synced.store(end, sync::seq_cst);
    log.written.store(end, sync::seq_cst);
    log.world.intake.free_up_to(end);
    waiters.wake(must_sync ? before : begin, end);
    if (by_flag && must_sync) wanted.store(0, sync::seq_cst);
    return taken != 0 || must_sync;
  }
  bool something_to_do() const {
    if (log.something_to_do()) return true;
    const std::uint32_t asked = wanted.load(sync::seq_cst);
    if (by_flag) return asked != 0;
    return asked > synced.load(sync::seq_cst) && asked <= log.written.load(sync::seq_cst);
  }
  bool lead(std::uint32_t until) {
    if (!log.turn.try_take()) return false;
    bool anything = false;
    do {
      if (!commit_some()) break;
      anything = true;
    } while (log.written.load(sync::relaxed) < until);
    log.turn.leave();
    if (something_to_do()) kick();
    return anything;
  }

  void sync_all() {
    const std::uint32_t end = log.world.intake.next_ticket();
    if (!by_flag) {
      std::uint32_t asked = wanted.load(sync::relaxed);
      while (asked < end && !wanted.compare_exchange_weak(asked, end, sync::seq_cst, sync::relaxed)) {
      }
    }
    const auto done = [&] { return synced.load(sync::seq_cst) >= end; };
    while (!done()) {
      if (by_flag) wanted.store(1, sync::seq_cst);
      if (!log.turn.is_taken()) {
        if (!lead(end)) sync::pause();
      } else {
        waiters.wait(end - 1, nullptr, [&] { return done() || !log.turn.is_taken(); });
      }
    }
    if (returned.fetch_add(1, sync::acq_rel) == 1) commit_wake.post();  // the log closes
  }

  void thread(unsigned who) {
    if (who == 2) {
      while (returned.load(sync::acquire) < 2) {
        commit_wake.wait();
        do {
          (void)kicked.exchange(0, sync::acq_rel);
          if (!log.turn.try_take()) break;
          while (commit_some()) {
          }
          log.turn.leave();
        } while (something_to_do());
      }
      return;
    }
    if (who == 1) {
      RL_ASSERT(log.world.append(1, 1));
      if (!log.turn.is_taken()) kick();
    }
    sync_all();
  }
};

/// Whoever sees the watermark sees what it stands for; nobody sleeps on when it has risen.
template <class Traits, bool Timed>
struct Receipts : rl::test_suite<Receipts<Traits, Timed>, 3> {
  Waiters<Traits> waiters;
  sync::plain<std::uint64_t> disk[2];
  sync::atomic<std::uint32_t> synced{0};

  void before() { model::begin_run(); }

  void thread(unsigned who) {
    if (who == 2) {
      for (std::uint32_t i = 0; i < 2; ++i) {
        disk[i].set(i + 10);
        synced.store(i + 1, Traits::watermark);
        waiters.wake(i, i + 1);
      }
      return;
    }
    const auto done = [this, who] { return synced.load(sync::seq_cst) > who; };
    const ModelBed::Deadline deadline;
    if (!Timed || !waiters.wait(who, &deadline, done)) RL_ASSERT(waiters.wait(who, nullptr, done));
    RL_ASSERT(disk[who].get() == who + 10);
  }
};
struct Told : FewCells {
  static constexpr auto watermark = sync::seq_cst;
};

/// An appender that waits for room gets it.
template <class Traits>
struct ForRoom : rl::test_suite<ForRoom<Traits>, 2> {
  World<Traits> world;
  Waiters<FewCells> room;

  void before() {
    model::begin_run();
    world.start();
    RL_ASSERT(world.append(0, 1));
  }

  void thread(unsigned who) {
    if (who == 0) {
      std::optional<std::uint32_t> ticket;
      room.wait(0, nullptr, [&] {
        if (!ticket) ticket = world.append(1, 1);
        return ticket.has_value();
      });
      RL_ASSERT(ticket == 1);
    } else {
      RL_ASSERT(world.take(0) == 0);
      world.intake.free_up_to(1);
      room.wake(0, 1);
    }
  }
};
struct OnePlace : Shipped {
  static constexpr std::uint32_t places = 1;
};

// clang-format off
struct WeakReady : Tiny { static constexpr auto ready = sync::relaxed; };
struct WeakTake : Tiny { static constexpr auto take = sync::relaxed; };
struct WeakFree : Tiny { static constexpr auto free = sync::relaxed; };
struct WeakReserve : Tiny { static constexpr auto reserve = sync::relaxed; };
struct KeepsRest : Tiny { static constexpr bool gives_rest = false; };
struct LooseFree : OnePlace { static constexpr auto free = sync::release; };
struct LooseReserve : OnePlace { static constexpr auto reserve = sync::acquire; };
struct LooseReady : Sound { struct Intake : Sound::Intake { static constexpr auto ready = sync::release; }; };
struct LooseTake : Sound { struct Intake : Sound::Intake { static constexpr auto take = sync::acquire; }; };
struct WeakLeave : Sound { struct Turn : Sound::Turn { static constexpr auto leave = sync::relaxed; }; };
struct LooseLeave : Sound { struct Turn : Sound::Turn { static constexpr auto leave = sync::release; }; };
struct WeakLook : Sound { struct Turn : Sound::Turn { static constexpr auto look = sync::relaxed; }; };
struct LooseLook : Sound { struct Turn : Sound::Turn { static constexpr auto look = sync::acquire; }; };
struct NoLastLook : Sound { static constexpr bool last_look = false; };
struct WeakArm : Told { static constexpr auto arm = sync::relaxed; };
struct LooseArm : Told { static constexpr auto arm = sync::acq_rel; };
struct WeakCheck : Told { static constexpr auto check = sync::relaxed; };
struct LooseCheck : Told { static constexpr auto check = sync::acquire; };
struct WeakWatermark : Told { static constexpr auto watermark = sync::relaxed; };
struct LooseWatermark : Told { static constexpr auto watermark = sync::release; };
// clang-format on

}  // namespace

int main() {
  bus::model::Runner run({.random_runs = 200'000, .bound_runs = 200'000, .full_runs = 200'000, .context_bound = 2});
  run.holds<HandOver<Tiny, false>>("hand-over");
  run.holds<HandOver<Tiny, true>>("hand-over of several together");
  run.holds<Order<Tiny>>("order");
  run.holds<Lead<Sound>>("the turn: nothing is left behind");
  run.holds<Lead<Sound, 3>>("the turn among three");
  run.holds<Appends<Sound>>("appends that wait, kick and are committed");
  run.holds<Syncs<Sound, false>>("syncs");
  run.holds<Receipts<Told, false>>("receipts");
  run.holds<Receipts<Told, true>>("receipts with a deadline");
  run.holds<ForRoom<OnePlace>>("waiting for room");
  run.caught<HandOver<WeakReady, false>>("INTAKE-READY relaxed");
  run.caught<HandOver<WeakTake, false>>("INTAKE-TAKE relaxed");
  run.caught<HandOver<WeakFree, false>>("INTAKE-FREE relaxed");
  run.caught<HandOver<WeakReserve, false>>("INTAKE-RESERVE relaxed");
  run.caught<HandOver<KeepsRest, false>>("the rest in front of the end is not given back");
  run.caught<ForRoom<LooseFree>>("INTAKE-FREE not in the total order");
  run.caught<ForRoom<LooseReserve>>("INTAKE-RESERVE not in the total order");
  run.caught<Lead<LooseReady>>("INTAKE-READY not in the total order");
  run.caught<Lead<LooseTake>>("INTAKE-TAKE not in the total order");
  run.caught<Lead<WeakLeave>>("TURN-LEAVE relaxed");
  run.caught<Lead<LooseLeave>>("TURN-LEAVE not in the total order");
  run.caught<Lead<WeakLook>>("TURN-LOOK relaxed");
  run.caught<Lead<LooseLook>>("TURN-LOOK not in the total order");
  run.caught<Lead<NoLastLook>>("no last look after leaving");
  run.caught<Appends<NoLastLook>>("no kick after leaving");
  run.caught<Syncs<Sound, true>>("a sync asked for by a flag");
  run.caught<Receipts<WeakArm, false>>("CELL-ARM relaxed");
  run.caught<Receipts<LooseArm, false>>("CELL-ARM not in the total order");
  run.caught<Receipts<WeakCheck, false>>("CELL-CHECK relaxed");
  run.caught<Receipts<LooseCheck, false>>("CELL-CHECK not in the total order");
  run.caught<Receipts<WeakWatermark, false>>("WATERMARK relaxed");
  run.caught<Receipts<LooseWatermark, false>>("WATERMARK not in the total order");
  return run.result();
}
