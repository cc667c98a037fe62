// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The asynchronous receives of a group's members: what ends them, where their handlers run, and that none of them
// sleeps on or keeps a lease that nobody has.
#include <bus/persistence/asio.hpp>
#include <bus/persistence/group.hpp>
#include <bus/persistence/log.hpp>

#include "persistence/queue_waits.hpp"

#include "simulation/sim_disk.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_allocator.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <future>
#include <latch>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

namespace bus {
namespace {

namespace asio = boost::asio;
using asio::awaitable;
using asio::bind_executor;
using asio::use_awaitable;
using simulation::SimDisk;
using namespace std::chrono_literals;

using Texts = std::vector<std::string>;

/// A wall and a steady clock that stand still unless a test moves them.
class StillClock final : public Clock {
 public:
  std::chrono::system_clock::time_point wall() const noexcept override {
    return std::chrono::system_clock::time_point(1'700'000'000s + now.load());
  }
  std::chrono::steady_clock::time_point steady() const noexcept override {
    return std::chrono::steady_clock::time_point(1000s + now.load());
  }
  std::atomic<std::chrono::nanoseconds> now{0ns};
};

/// What a handler was called with.
struct Completion {
  int calls = 0;
  error_code code;
  LeaseBatch got;

  auto note() {
    return [this](error_code c, LeaseBatch received) {
      ++calls;
      code = c;
      got = std::move(received);
    };
  }
  bool aborted() const { return calls == 1 && code == asio::error::operation_aborted && got.leases.empty(); }
  Texts texts() const {
    Texts texts;
    for (const Lease& lease : got.leases) texts.emplace_back(lease.record().text());
    return texts;
  }
};

/// Holds up the log's commits as long as it lives.
class HeldCommits final : public detail::Completion {
 public:
  explicit HeldCommits(Log& log) {
    const Record record{.topic = Topic::parse("hold").value()};
    EXPECT_FALSE(detail::LogAccess::submit(log, record, Durability::written, *this));
    begun_.wait();
  }
  ~HeldCommits() {
    let_go_.count_down();
    ended_.wait();
  }
  void complete(error_code, std::uint64_t) noexcept override {
    begun_.count_down();
    let_go_.wait();
    ended_.count_down();
  }

 private:
  std::latch begun_{1};
  std::latch let_go_{1};
  std::latch ended_{1};
};

const GroupOptions workers{
    .name = "workers", .patterns = {TopicPattern::parse("work").value()}, .start = GroupStart::oldest};

/// One log, one group, one member, and one io_context that this thread runs when it says so.
class AsyncReceive : public testing::Test {
 protected:
  void open(const GroupOptions& of = workers) {
    done = {};
    member.reset();
    group.reset();
    log.reset();
    log.emplace(Log::open(disk.mount(), options).value());
    group.emplace(Group::open(*log, of).value());
    member.emplace(group->join().value());
  }
  void append(std::string_view text) {
    ASSERT_TRUE(log->append({.topic = Topic::parse("work").value(), .payload = as_payload(text)}));
  }
  auto here(Completion& completion) { return bind_executor(io, completion.note()); }
  auto cancellable(Completion& completion) { return asio::bind_cancellation_slot(signal.slot(), here(completion)); }
  /// Runs what is ready, until nothing is but what waits.
  void poll() {
    io.restart();
    io.poll();
  }
  /// Runs until all receives have completed.
  void run() {
    io.restart();
    io.run();
  }

  StillClock clock;  // where it is set
  SimDisk disk{1};
  LogOptions options = [] {
    LogOptions small;
    small.segment_bytes = std::uint64_t{256} << 10;
    small.uncommitted_bytes = std::size_t{256} << 10;
    small.spare_segments = 0;
    return small;
  }();
  asio::cancellation_signal signal;
  Completion done;
  std::optional<Log> log;
  std::optional<Group> group;
  std::optional<Member> member;
  asio::io_context io;
};

TEST_F(AsyncReceive, GivesWhatIsThereAndNeverInline) {
  open();
  append("a");
  append("b");
  asio::post(io, [&] {
    member->async_receive(8, here(done));
    EXPECT_EQ(done.calls, 0);
  });
  run();
  ASSERT_EQ(done.calls, 1);
  EXPECT_FALSE(done.code);
  EXPECT_EQ(done.texts(), (Texts{"a", "b"}));
  for (Lease& lease : done.got.leases) EXPECT_EQ(lease.ack(), LeaseOutcome::done);
}

TEST_F(AsyncReceive, FindsWhatIsFarBehindWhatIsNotForItsGroup) {
  open();
  for (int i = 0; i < 5000; ++i) {
    ASSERT_TRUE(log->append({.topic = Topic::parse("other").value(), .payload = as_payload("not for it")}));
  }
  append("for it");
  member->async_receive_until(1, clock.steady(), here(done));
  run();
  EXPECT_EQ(done.texts(), (Texts{"for it"}));
}

TEST_F(AsyncReceive, GivesNoMoreThanWasAskedFor) {
  open();
  append("a");
  append("b");
  member->async_receive(1, here(done));
  run();
  EXPECT_EQ(done.texts(), (Texts{"a"}));
}

TEST_F(AsyncReceive, ThatWaitsIsEndedByAnAppendAndNotInsideIt) {
  open();
  member->async_receive(8, here(done));
  poll();
  EXPECT_EQ(done.calls, 0);
  append("a");
  EXPECT_EQ(done.calls, 0);
  run();
  EXPECT_EQ(done.texts(), (Texts{"a"}));
}

TEST_F(AsyncReceive, WaitsOnWhenWhatIsAppendedIsNotForItsGroup) {
  open();
  member->async_receive(8, here(done));
  poll();
  ASSERT_TRUE(log->append({.topic = Topic::parse("other").value(), .payload = as_payload("not for it")}));
  poll();
  EXPECT_EQ(done.calls, 0);
  append("for it");
  run();
  EXPECT_EQ(done.texts(), (Texts{"for it"}));
}

TEST_F(AsyncReceive, IsEndedWhenALeaseOfAnotherMemberIsReleased) {
  open();
  append("a");
  Member other = group->join().value();
  auto theirs = other.try_receive(1).value();
  ASSERT_EQ(theirs.leases.size(), 1U);
  member->async_receive(1, here(done));
  poll();
  EXPECT_EQ(done.calls, 0);
  EXPECT_EQ(theirs.leases[0].release(), LeaseOutcome::done);
  run();
  EXPECT_EQ(done.texts(), (Texts{"a"}));
}

TEST_F(AsyncReceive, IsEndedWhenItsOwnCreditsAreBack) {
  open();
  Member lone = group->join({.in_flight_messages = 1}).value();
  append("a");
  append("b");
  auto first = lone.try_receive(1).value();
  lone.async_receive(1, here(done));
  poll();
  EXPECT_EQ(done.calls, 0);
  EXPECT_EQ(first.leases.at(0).ack(), LeaseOutcome::done);
  run();
  EXPECT_EQ(done.texts(), (Texts{"b"}));
}

TEST_F(AsyncReceive, IsEndedWhenADelayIsOver) {
  open();
  append("a");
  auto first = member->try_receive(1).value();
  EXPECT_EQ(first.leases.at(0).nack(2ms), LeaseOutcome::done);
  member->async_receive(1, here(done));
  run();
  ASSERT_EQ(done.texts(), (Texts{"a"}));
  EXPECT_EQ(done.got.leases[0].attempt(), 2U);
}

TEST_F(AsyncReceive, IsEndedByADelayThatBeganWhileItWaited) {
  open();
  append("a");
  Member other = group->join().value();
  auto theirs = other.try_receive(1).value();
  member->async_receive(1, here(done));
  poll();
  EXPECT_EQ(theirs.leases.at(0).nack(2ms), LeaseOutcome::done);
  run();
  EXPECT_EQ(done.texts(), (Texts{"a"}));
}

TEST_F(AsyncReceive, IsEndedWhenALeaseOfAnotherMemberRunsOut) {
  GroupOptions brief = workers;
  brief.visibility = 2ms;
  brief.backoff = {0ms};
  open(brief);
  append("a");
  Member other = group->join().value();
  auto theirs = other.try_receive(1).value();
  ASSERT_EQ(theirs.leases.size(), 1U);
  member->async_receive(1, here(done));
  run();
  ASSERT_EQ(done.texts(), (Texts{"a"}));
  EXPECT_EQ(theirs.leases[0].ack(), LeaseOutcome::stale);
}

TEST_F(AsyncReceive, CompletesWithNothingWhenItsDeadlinePasses) {
  open();
  member->async_receive_until(1, std::chrono::steady_clock::now() + 2ms, here(done));
  run();
  EXPECT_EQ(done.calls, 1);
  EXPECT_FALSE(done.code);
  EXPECT_TRUE(done.got.leases.empty());
  EXPECT_EQ(done.got.missed, 0U);
}

TEST_F(AsyncReceive, WithADeadlineThatHasPassedGivesWhatThereIs) {
  open();
  append("a");
  member->async_receive_until(1, std::chrono::steady_clock::time_point::min(), here(done));
  run();
  EXPECT_EQ(done.texts(), (Texts{"a"}));
  Completion none;
  member->async_receive_until(1, std::chrono::steady_clock::time_point::min(), here(none));
  run();
  EXPECT_EQ(none.calls, 1);
  EXPECT_FALSE(none.code);
}

TEST_F(AsyncReceive, WithTheLastOfAllDeadlinesWaitsLikeOneWithout) {
  open();
  member->async_receive_until(1, std::chrono::steady_clock::time_point::max(), here(done));
  poll();
  EXPECT_EQ(done.calls, 0);
  append("a");
  run();
  EXPECT_EQ(done.texts(), (Texts{"a"}));
}

TEST_F(AsyncReceive, TakesItsDeadlineForOneOfTheLogsClock) {
  options.clock = &clock;
  open();
  member->async_receive_until(1, clock.steady() + 1h, here(done));
  poll();
  EXPECT_EQ(done.calls, 0);
  clock.now = 2h;
  append("not looked at in time, and given all the same");
  run();
  EXPECT_EQ(done.got.leases.size(), 1U);
  Completion late;
  member->async_receive_until(1, clock.steady() - 1ns, here(late));
  run();
  EXPECT_EQ(late.calls, 1);
}

TEST_F(AsyncReceive, GivesAFurtherAttemptOnceItIsDurable) {
  options.sync_every = 1h;
  open();
  append("a");
  ASSERT_EQ(member->try_receive(1)->leases.at(0).nack(0ns), LeaseOutcome::done);
  {
    const HeldCommits held(*log);
    member->async_receive(1, here(done));
    poll();
    EXPECT_EQ(done.calls, 0);
  }
  run();
  ASSERT_EQ(done.texts(), (Texts{"a"}));
  ASSERT_EQ(done.got.leases[0].attempt(), 2U);
  // Where nobody commits it sees to that itself.
  EXPECT_EQ(done.got.leases[0].nack(0ns), LeaseOutcome::done);
  member->async_receive(1, here(done));
  run();
  ASSERT_EQ(done.got.leases.at(0).attempt(), 3U);
  disk.crash({.keep = 0.0});
  open();
  auto again = member->try_receive(1).value();
  EXPECT_EQ(again.leases.at(0).attempt(), 4U);
}

TEST_F(AsyncReceive, ThatIsCancelledHasLeasedNothing) {
  open();
  member->async_receive(1, cancellable(done));
  poll();
  signal.emit(asio::cancellation_type::total);
  EXPECT_EQ(done.calls, 0);
  run();
  EXPECT_TRUE(done.aborted());
  append("a");
  EXPECT_EQ(group->stats().delivered, 0U);
  Completion next;
  member->async_receive(1, cancellable(next));
  run();
  EXPECT_EQ(next.texts(), (Texts{"a"}));
}

TEST_F(AsyncReceive, ThatIsCancelledBeforeItHasBegunHasLeasedNothing) {
  open();
  append("a");
  member->async_receive(1, cancellable(done));
  signal.emit(asio::cancellation_type::terminal);
  run();
  EXPECT_TRUE(done.aborted());
  EXPECT_EQ(group->stats().delivered, 0U);
}

TEST_F(AsyncReceive, ThatIsCancelledWithATimerRunningEndsAtOnce) {
  open();
  member->async_receive_until(1, std::chrono::steady_clock::now() + 1h, cancellable(done));
  poll();
  signal.emit(asio::cancellation_type::partial);
  run();
  EXPECT_TRUE(done.aborted());
}

TEST_F(AsyncReceive, ThatIsCancelledWhenItsMessageIsOnItsWayLeavesItToTheNext) {
  open();
  member->async_receive(1, cancellable(done));
  poll();
  append("a");  // it is posted by now
  signal.emit(asio::cancellation_type::total);
  run();
  EXPECT_TRUE(done.aborted());
  EXPECT_EQ(member->try_receive(1)->leases.size(), 1U);
}

TEST_F(AsyncReceive, ThatIsCancelledWhileItsAttemptIsMadeDurableReleasesIt) {
  open();
  append("a");
  ASSERT_EQ(member->try_receive(1)->leases.at(0).nack(0ns), LeaseOutcome::done);
  std::optional<HeldCommits> held(std::in_place, *log);
  member->async_receive(1, cancellable(done));
  poll();
  EXPECT_EQ(done.calls, 0);
  EXPECT_EQ(group->stats().leased, 1U);
  signal.emit(asio::cancellation_type::total);
  run();
  EXPECT_TRUE(done.aborted());
  EXPECT_EQ(group->stats().leased, 0U);
  EXPECT_EQ(group->stats().ready, 1U);
  held.reset();
  auto again = member->try_receive(1).value();
  EXPECT_EQ(again.leases.at(0).attempt(), 2U);
}

TEST_F(AsyncReceive, CompletesWithClosedWhenTheLogIsClosed) {
  open();
  Completion with_timer;
  member->async_receive(1, here(done));
  member->async_receive_until(1, std::chrono::steady_clock::now() + 1h, here(with_timer));
  poll();
  EXPECT_FALSE(log->close());
  run();
  EXPECT_EQ(done.code, errc::closed);
  EXPECT_EQ(with_timer.code, errc::closed);
  Completion after;
  member->async_receive(1, here(after));
  run();
  EXPECT_EQ(after.code, errc::closed);
}

TEST_F(AsyncReceive, CompletesWithClosedWhenTheLogIsDestroyed) {
  open();
  member->async_receive(1, cancellable(done));
  poll();
  log.reset();
  signal.emit(asio::cancellation_type::total);  // too late for this one
  run();
  EXPECT_EQ(done.calls, 1);
}

TEST_F(AsyncReceive, CompletesWithClosedWhenTheGroupIsRemoved) {
  open();
  member->async_receive(1, here(done));
  poll();
  EXPECT_FALSE(group->remove());
  run();
  EXPECT_EQ(done.code, errc::closed);
}

TEST_F(AsyncReceive, CompletesWithAnErrorWhenTheLogFails) {
  open();
  member->async_receive(1, here(done));
  poll();
  disk.fail({.call = simulation::Call::sync});
  EXPECT_FALSE(log->append({.topic = Topic::parse("work").value()}));
  run();
  EXPECT_EQ(done.code, errc::log_read_only);
}

TEST_F(AsyncReceive, IsAbortedWhenItsMemberIsDestroyed) {
  open();
  Completion with_timer;
  member->async_receive(1, here(done));
  member->async_receive_until(1, std::chrono::steady_clock::now() + 1h, here(with_timer));
  poll();
  member.reset();
  Member heir = group->join().value();  // by the same number
  run();
  EXPECT_TRUE(done.aborted());
  EXPECT_TRUE(with_timer.aborted());
  append("a");
  EXPECT_EQ(heir.try_receive(1)->leases.size(), 1U);
}

TEST_F(AsyncReceive, GoesOnWhenItsMemberIsMoved) {
  open();
  member->async_receive(1, here(done));
  poll();
  const Member moved = std::move(*member);
  member.reset();
  append("a");
  run();
  EXPECT_EQ(done.texts(), (Texts{"a"}));
}

TEST_F(AsyncReceive, EndsWithItsContextAndKeepsNothing) {
  open();
  append("a");
  ASSERT_EQ(member->try_receive(1)->leases.at(0).nack(0ns), LeaseOutcome::done);
  auto told = std::make_shared<int>(0);
  {
    const HeldCommits held(*log);
    asio::io_context brief;
    const auto note = [told](error_code, const LeaseBatch&) { ++*told; };
    member->async_receive(1, bind_executor(brief, note));  // leases, and waits for a commit
    member->async_receive_until(1, std::chrono::steady_clock::now() + 1h, bind_executor(brief, note));
    brief.poll();
    EXPECT_EQ(group->stats().leased, 1U);
    member->async_receive(1, bind_executor(brief, note));  // never begins
  }
  EXPECT_EQ(*told, 0);
  EXPECT_EQ(told.use_count(), 1);
  EXPECT_EQ(group->stats().leased, 0U);
  append("b");
  EXPECT_EQ(member->try_receive(8)->leases.size(), 2U);
}

TEST_F(AsyncReceive, OfSeveralMembersGivesEachMessageToOne) {
  open();
  Member other = group->join().value();
  Completion theirs;
  member->async_receive(1, here(done));
  other.async_receive(1, here(theirs));
  poll();
  append("a");
  while (done.calls + theirs.calls == 0) io.run_one();
  poll();
  EXPECT_EQ(done.calls + theirs.calls, 1);
  append("b");
  run();
  ASSERT_EQ(done.calls + theirs.calls, 2);
  EXPECT_NE(done.texts(), theirs.texts());
}

TEST_F(AsyncReceive, OfOneMemberMayBeSeveral) {
  open();
  std::vector<Completion> all(3);
  for (Completion& one : all) member->async_receive(1, here(one));
  poll();
  for (const char* text : {"a", "b", "c"}) append(text);
  run();
  std::set<std::string> texts;
  for (const Completion& one : all) texts.insert(one.texts().at(0));
  EXPECT_EQ(texts, (std::set<std::string>{"a", "b", "c"}));
}

TEST_F(AsyncReceive, CallsItsHandlerInTheStrandItIsBoundTo) {
  open();
  const auto strand = asio::make_strand(io);
  int calls = 0;
  for (const bool waits : {false, true}) {
    if (!waits) append("a");
    member->async_receive_until(1, std::chrono::steady_clock::now() + 1h,
                                bind_executor(strand, [&](error_code, const LeaseBatch& got) {
                                  EXPECT_TRUE(strand.running_in_this_thread());
                                  EXPECT_EQ(got.leases.size(), 1U);
                                  ++calls;
                                }));
    poll();
    if (waits) append("b");
    run();
  }
  EXPECT_EQ(calls, 2);
}

TEST_F(AsyncReceive, MakesAFuture) {
  open();
  std::future<LeaseBatch> waiting = member->async_receive(1, asio::use_future);
  append("a");
  EXPECT_EQ(waiting.get().leases.at(0).record().text(), "a");
}

TEST_F(AsyncReceive, IsAwaitedByACoroutineUntilTheLogIsClosed) {
  open();
  Texts texts;
  asio::co_spawn(
      io,
      [&]() -> awaitable<void> {
        for (;;) {
          auto [error, received] = co_await member->async_receive(4, asio::as_tuple(use_awaitable));
          if (error) co_return;
          for (Lease& lease : received.leases) {
            texts.emplace_back(lease.record().text());
            lease.ack();
          }
        }
      },
      asio::detached);
  std::jthread runner([&] { io.run(); });
  for (const char* text : {"a", "b", "c"}) append(text);
  while (group->stats().acked != 3) std::this_thread::yield();
  EXPECT_FALSE(log->close());
  runner.join();
  EXPECT_EQ(texts, (Texts{"a", "b", "c"}));
}

TEST_F(AsyncReceive, ThatLosesARaceIsCancelledAndLosesNothing) {
  using namespace asio::experimental::awaitable_operators;
  open();
  Member other = group->join().value();
  std::size_t finished = 0;
  asio::co_spawn(
      io,
      [&]() -> awaitable<void> {
        while (finished < 4) {
          auto got = co_await (member->async_receive(1, use_awaitable) || other.async_receive(1, use_awaitable));
          auto& leases = got.index() == 0 ? std::get<0>(got).leases : std::get<1>(got).leases;
          for (Lease& lease : leases) {
            EXPECT_EQ(lease.ack(), LeaseOutcome::done);
            ++finished;
          }
        }
      },
      asio::detached);
  for (const char* text : {"a", "b", "c", "d"}) append(text);
  run();
  EXPECT_EQ(finished, 4U);
  EXPECT_EQ(group->stats().floor, 4U);
}

/// Counts what is taken of it and not given back.
template <class T>
struct Counting {
  using value_type = T;
  explicit Counting(std::atomic<int>* counter) noexcept : count(counter) {}
  template <class U>
  Counting(const Counting<U>& other) noexcept : count(other.count) {}  // NOLINT(google-explicit-constructor)
  T* allocate(std::size_t n) {
    ++*count;
    return std::allocator<T>().allocate(n);
  }
  void deallocate(T* p, std::size_t n) noexcept {
    --*count;
    std::allocator<T>().deallocate(p, n);
  }
  template <class U>
  bool operator==(const Counting<U>& other) const noexcept {
    return count == other.count;
  }
  std::atomic<int>* count;
};

TEST_F(AsyncReceive, TakesItsHandlersMemoryAndHasGivenItBackWhenItIsCalled) {
  open();
  std::atomic<int> held{0};
  int calls = 0;
  member->async_receive_until(
      1, std::chrono::steady_clock::now() + 1h,
      asio::bind_allocator(Counting<int>(&held), bind_executor(io, [&](error_code, const LeaseBatch&) {
                             ++calls;
                             EXPECT_EQ(held, 0);
                           })));
  EXPECT_GT(held, 0);
  poll();
  append("a");
  run();
  EXPECT_EQ(calls, 1);
}

TEST_F(AsyncReceive, NeverSleepsOnWhileManyAppendAndReceive) {
  constexpr int members = 6;
  constexpr int messages = 400;
  open();
  asio::thread_pool pool(3);
  std::atomic<int> acked{0};
  std::vector<Member> all;
  for (int i = 0; i < members; ++i) all.push_back(group->join().value());
  for (int i = 0; i < members; ++i) {
    // Half of them have a deadline that passes often, so that all that can end a wait comes at the same time.
    asio::co_spawn(
        pool,
        [&, i]() -> awaitable<void> {
          Member& mine = all[static_cast<std::size_t>(i)];
          const auto wait = i % 2 == 0 ? std::chrono::hours(1) : std::chrono::microseconds(50 * i);
          for (;;) {
            const auto until = std::chrono::steady_clock::now() + wait;
            auto [error, received] = co_await mine.async_receive_until(2, until, asio::as_tuple(use_awaitable));
            if (error) co_return;
            for (Lease& lease : received.leases) {
              if (lease.attempt() == 1 && lease.offset() % 5 == 0) {
                lease.nack(std::chrono::microseconds(100));
              } else if (lease.ack() == LeaseOutcome::done) {
                ++acked;
              }
            }
          }
        },
        asio::detached);
  }
  std::vector<std::jthread> appenders;
  for (int thread = 0; thread < 2; ++thread) {
    appenders.emplace_back([&] {
      for (int i = 0; i < messages / 2; ++i) {
        EXPECT_TRUE(log->append<Durability::written>(Record{.topic = Topic::parse("work").value()}));
      }
    });
  }
  while (acked != messages) std::this_thread::yield();
  appenders.clear();
  EXPECT_FALSE(log->close());
  pool.join();
  EXPECT_EQ(acked, messages);
}

TEST_F(AsyncReceive, InAPoolWithoutAStrandIsEndedOnceByWhateverComesFirst) {
  open();
  asio::thread_pool pool(3);
  std::atomic<int> completed{0};
  constexpr int rounds = 300;
  for (int i = 0; i < rounds; ++i) {
    std::promise<std::size_t> told;
    member->async_receive_until(1, std::chrono::steady_clock::now() + std::chrono::microseconds(i % 7 * 20),
                                bind_executor(pool, [&](error_code error, LeaseBatch received) {
                                  EXPECT_FALSE(error);
                                  for (Lease& lease : received.leases) lease.ack();
                                  ++completed;
                                  told.set_value(received.leases.size());
                                }));
    append("a");
    if (told.get_future().get() == 0) {
      auto rest = member->try_receive(1).value();
      ASSERT_EQ(rest.leases.size(), 1U);
      rest.leases[0].ack();
    }
  }
  EXPECT_EQ(completed, rounds);
  EXPECT_EQ(group->stats().acked, static_cast<std::uint64_t>(rounds));
}

// --- Those who wait. ---

struct Resumed final : detail::AsyncWait {
  void resume(Reason) noexcept override { ++times; }
  int times = 0;
};
struct Waiting final : detail::QueueWait {
  bool is_over() const noexcept override { return over; }
  bool over = false;
};

TEST(QueueWaits, ResumeOnceThoseThatAreOver) {
  detail::QueueWaits waits;
  Waiting one, other;
  Resumed by_one, by_other;
  ASSERT_TRUE(waits.arm(one, by_one));
  ASSERT_TRUE(waits.arm(other, by_other));
  waits.wake();
  one.over = true;
  waits.wake();
  waits.wake();
  EXPECT_EQ(by_one.times, 1);
  EXPECT_EQ(by_other.times, 0);
  EXPECT_FALSE(waits.withdraw(one));
  EXPECT_TRUE(waits.withdraw(other));
  other.over = true;
  waits.wake();
  EXPECT_EQ(by_other.times, 0);
}

TEST(QueueWaits, TakeNoneThatIsOverAlready) {
  detail::QueueWaits waits;
  Waiting one;
  Resumed by;
  one.over = true;
  EXPECT_FALSE(waits.arm(one, by));
  waits.wake();
  EXPECT_EQ(by.times, 0);
}

TEST(QueueWaits, TakeNoneThatWasWithdrawnBeforeItCameUntilItIsRenewed) {
  detail::QueueWaits waits;
  Waiting one;
  Resumed by;
  EXPECT_FALSE(waits.withdraw(one));
  EXPECT_FALSE(waits.arm(one, by));
  detail::QueueWaits::renew(one);
  EXPECT_TRUE(waits.arm(one, by));
  EXPECT_TRUE(waits.withdraw(one));
}

}  // namespace
}  // namespace bus
