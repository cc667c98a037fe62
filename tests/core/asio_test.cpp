// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The asynchronous receives: completion, executor, allocator, cancellation, and that none of them loses an event.
#include <bus/asio.hpp>
#include <bus/bus.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_allocator.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_allocator.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <new>
#include <optional>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

struct Reading {
  int value = 0;
};

template <>
struct bus::Schema<Reading> : bus::PlainSchema<Reading> {
  static constexpr std::string_view name = "test.reading";
  static constexpr std::uint32_t version = 1;
};

namespace {

namespace asio = boost::asio;
using asio::awaitable;
using asio::bind_executor;
using asio::use_awaitable;
using bus::ConfigUpdated;
using bus::Outcome;
using bus::Shutdown;

std::uint64_t version_of(const bus::Event& event) { return event.get_if<ConfigUpdated>()->version; }

const bus::SubscribeOptions only_config{.bodies = {bus::BodyKind::config_updated}};

/// What a handler was called with.
struct Completion {
  int calls = 0;
  bus::error_code code;
  bus::Received got;

  /// A handler that notes its arguments here.
  auto note() {
    return [this](bus::error_code c, bus::Received r) {
      ++calls;
      code = c;
      got = r;
    };
  }
  bool aborted() const { return calls == 1 && code == asio::error::operation_aborted && !got; }
};

/// One bus, one receiver, one io_context that this thread runs when it says so.
class AsyncRecv : public testing::Test {
 protected:
  void send(std::uint64_t version) { ASSERT_TRUE(hub->send(ConfigUpdated{version})); }
  auto here(Completion& completion) { return bind_executor(io, completion.note()); }
  auto cancellable(Completion& completion) { return asio::bind_cancellation_slot(signal.slot(), here(completion)); }

  asio::io_context io;
  asio::cancellation_signal signal;
  std::optional<bus::Bus> hub{std::in_place, bus::BusOptions{.capacity = 4}};
  bus::Receiver rx = hub->subscribe();
  Completion done;
};

TEST_F(AsyncRecv, OfAnEventThatIsThereNeverCallsItsHandlerInline) {
  send(1);
  rx.async_recv(here(done));
  EXPECT_EQ(done.calls, 0);
  io.run();
  ASSERT_EQ(done.calls, 1);
  EXPECT_FALSE(done.code);
  EXPECT_EQ(version_of(*done.got), 1u);
}

TEST_F(AsyncRecv, OfAnEventThatIsThereNeverCallsItsHandlerInlineWithinItsExecutorEither) {
  send(1);
  asio::post(io, [&] {
    rx.async_recv(here(done));
    EXPECT_EQ(done.calls, 0);
  });
  io.run();
  EXPECT_EQ(done.calls, 1);
}

TEST_F(AsyncRecv, ThatWaitsIsNeverEndedInsideSend) {
  asio::post(io, [&] {
    rx.async_recv(here(done));
    send(1);
    EXPECT_EQ(done.calls, 0);
  });
  io.run();
  ASSERT_EQ(done.calls, 1);
  EXPECT_EQ(version_of(*done.got), 1u);
}

TEST_F(AsyncRecv, CallsItsHandlerInTheStrandItIsBoundTo) {
  auto strand = asio::make_strand(io);
  int calls = 0;
  for (const bool waits : {false, true}) {
    if (!waits) send(1);
    rx.async_recv(bind_executor(strand, [&](bus::error_code, bus::Received got) {
      EXPECT_TRUE(strand.running_in_this_thread());
      EXPECT_TRUE(got);
      ++calls;
    }));
    if (waits) send(2);
    io.run();
    io.restart();
  }
  EXPECT_EQ(calls, 2);
}

TEST_F(AsyncRecv, WithoutAnExecutorCompletesInAThreadOfTheSystemExecutor) {
  std::promise<std::thread::id> ran;
  rx.async_recv([&](bus::error_code, bus::Received) { ran.set_value(std::this_thread::get_id()); });
  send(1);
  EXPECT_NE(ran.get_future().get(), std::this_thread::get_id());
}

TEST_F(AsyncRecv, TakesAHandlerThatCanOnlyBeMoved) {
  auto result = std::make_unique<int>(0);
  int* seen = result.get();
  rx.async_recv(bind_executor(io, [result = std::move(result)](bus::error_code, bus::Received got) {
    *result = static_cast<int>(got->sequence());
    EXPECT_EQ(*result, 1);
  }));
  EXPECT_EQ(*seen, 0);
  send(1);
  EXPECT_EQ(io.run(), 1u);
}

TEST_F(AsyncRecv, MakesAFuture) {
  std::future<bus::Received> waiting = rx.async_recv(asio::use_future);
  send(1);
  EXPECT_EQ(version_of(*waiting.get()), 1u);
  send(2);
  EXPECT_EQ(version_of(*rx.async_recv(asio::use_future).get()), 2u);
  std::future<bus::Batch> batch = rx.async_recv_batch(8, asio::use_future);
  send(3);
  EXPECT_EQ(version_of(batch.get()[0]), 3u);
}

TEST_F(AsyncRecv, CanBeDeferredAndStartedLater) {
  auto later = rx.async_recv(asio::deferred);
  send(1);
  EXPECT_EQ(rx.stats().pending, 1u) << "nothing has begun";
  std::move(later)(here(done));
  io.run();
  EXPECT_EQ(version_of(*done.got), 1u);
}

TEST_F(AsyncRecv, IsAwaitedByACoroutineUntilTheBusIsClosed) {
  std::vector<std::uint64_t> versions;
  asio::co_spawn(
      io,
      [&]() -> awaitable<void> {
        while (bus::Received got = co_await rx.async_recv(use_awaitable)) versions.push_back(version_of(*got));
      },
      asio::detached);
  std::jthread runner([&] { io.run(); });
  for (std::uint64_t i = 1; i <= 3; ++i) send(i);
  hub->close();
  runner.join();
  EXPECT_EQ(versions, (std::vector<std::uint64_t>{1, 2, 3}));
}

TEST_F(AsyncRecv, ThrowsInACoroutineWhenItsReceiverIsDestroyed) {
  std::optional<bus::Receiver> mine(std::move(rx));
  std::exception_ptr thrown;
  asio::co_spawn(
      io, [&]() -> awaitable<void> { (void)co_await mine->async_recv(use_awaitable); },
      [&](std::exception_ptr e) { thrown = e; });
  io.poll();
  mine.reset();
  io.run();
  ASSERT_TRUE(thrown);
  try {
    std::rethrow_exception(thrown);
  } catch (const boost::system::system_error& e) {
    EXPECT_EQ(e.code(), asio::error::operation_aborted);
  }
}

TEST_F(AsyncRecv, OfABatchTakesWhatIsThereUpToItsMost) {
  for (std::uint64_t i = 1; i <= 4; ++i) send(i);
  std::vector<std::uint64_t> sizes;
  const auto note = [&](bus::error_code, bus::Batch batch) { sizes.push_back(batch.size()); };
  for (int round = 0; round < 2; ++round) {
    rx.async_recv_batch(3, bind_executor(io, note));
    EXPECT_EQ(sizes.size(), static_cast<std::size_t>(round));
    io.run();
    io.restart();
  }
  EXPECT_EQ(sizes, (std::vector<std::uint64_t>{3, 1}));
}

TEST_F(AsyncRecv, OfABatchWaitsForTheFirst) {
  bus::Batch got;
  rx.async_recv_batch(8, bind_executor(io, [&](bus::error_code, bus::Batch batch) { got = batch; }));
  io.poll();
  for (std::uint64_t i = 1; i <= 3; ++i) send(i);
  EXPECT_EQ(hub->stats().wakeups, 1u);
  io.run();
  ASSERT_EQ(got.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(version_of(got[i]), i + 1);
}

TEST_F(AsyncRecv, IsWokenOnceForABurst) {
  rx.async_recv(here(done));
  io.poll();
  for (std::uint64_t i = 1; i <= 100; ++i) send(i);
  EXPECT_EQ(hub->stats().wakeups, 1u);
  EXPECT_EQ(io.run(), 1u) << "and posts once";
  EXPECT_EQ(version_of(*done.got), 97u);
}

TEST_F(AsyncRecv, TellsWhatWasMissed) {
  for (const bool waits : {false, true}) {
    Completion each;
    if (waits) rx.async_recv(here(each));
    for (std::uint64_t i = 1; i <= 10; ++i) send(i);
    if (!waits) rx.async_recv(here(each));
    io.run();
    io.restart();
    EXPECT_EQ(each.got.missed(), 6u);
    EXPECT_EQ(version_of(*each.got), 7u);
    while (rx.try_recv()) {
    }
  }
}

TEST_F(AsyncRecv, GoesOnWaitingAfterFilteredEventsAndSumsUpWhatItMissed) {
  bus::Receiver selective = hub->subscribe(only_config);
  selective.async_recv(here(done));
  for (int burst = 0; burst < 3; ++burst) {
    for (int i = 0; i < 6; ++i) ASSERT_TRUE(hub->send(Shutdown{}));
    io.poll();
    EXPECT_EQ(done.calls, 0);
  }
  send(9);
  io.run();
  ASSERT_EQ(done.calls, 1);
  EXPECT_EQ(version_of(*done.got), 9u);
  EXPECT_EQ(done.got.missed(), 3u * 2);
  const bus::ReceiverStats stats = selective.stats();
  EXPECT_EQ(stats.missed, 3u * 2);
  EXPECT_EQ(stats.filtered, 3u * 4);
  EXPECT_EQ(stats.delivered, 1u);
}

TEST_F(AsyncRecv, KeepsItsContextRunningWhileItWaitsAndNoLonger) {
  rx.async_recv(here(done));
  io.poll();
  EXPECT_FALSE(io.stopped());
  std::jthread runner([&] { io.run(); });
  send(1);
  runner.join();  // run() has ended by itself
  EXPECT_EQ(done.calls, 1);
}

// --- Close and destruction ---

TEST_F(AsyncRecv, IsCompletedWithClosedByClosing) {
  std::vector<bus::Receiver> receivers;
  for (int i = 0; i < 40; ++i) receivers.push_back(hub->subscribe());
  int closed = 0;
  for (bus::Receiver& each : receivers) {
    each.async_recv(bind_executor(io, [&](bus::error_code code, bus::Received got) {
      EXPECT_FALSE(code);
      closed += got.closed();
    }));
  }
  io.poll();
  EXPECT_EQ(closed, 0);
  hub->close();
  io.run();
  EXPECT_EQ(closed, 40);
}

TEST_F(AsyncRecv, IsCompletedWithClosedByTheEndOfItsBus) {
  rx.async_recv(here(done));
  hub.reset();
  io.run();
  EXPECT_FALSE(done.code);
  EXPECT_TRUE(done.got.closed());
}

TEST_F(AsyncRecv, AfterTheEndOfItsBusGetsWhatIsRetainedAndThenClosed) {
  send(1);
  hub.reset();
  rx.async_recv(here(done));
  io.run();
  EXPECT_EQ(version_of(*done.got), 1u);
  Completion next;
  rx.async_recv(here(next));
  io.restart();
  io.run();
  EXPECT_TRUE(next.got.closed());
}

TEST_F(AsyncRecv, OfAReceiverOfNoBusCompletesWithClosedButNotInline) {
  bus::Receiver none;
  bus::Outcome batch = Outcome::empty;
  none.async_recv(here(done));
  none.async_recv_batch(8, bind_executor(io, [&](bus::error_code, bus::Batch got) { batch = got.outcome(); }));
  EXPECT_EQ(done.calls, 0);
  io.run();
  EXPECT_FALSE(done.code);
  EXPECT_TRUE(done.got.closed());
  EXPECT_EQ(batch, Outcome::closed);
}

TEST_F(AsyncRecv, IsAbortedWhenItsReceiverIsDestroyedWhileItWaits) {
  std::optional<bus::Receiver> mine(std::move(rx));
  mine->async_recv(here(done));
  mine.reset();
  EXPECT_EQ(done.calls, 0);
  io.run();
  EXPECT_TRUE(done.aborted());
  send(1);
  EXPECT_EQ(io.poll(), 0u);
}

TEST_F(AsyncRecv, IsAbortedWhenItsReceiverIsAssignedTo) {
  rx.async_recv(here(done));
  rx = hub->subscribe();
  io.run();
  EXPECT_TRUE(done.aborted());
}

TEST_F(AsyncRecv, IsAbortedWhenItsReceiverIsDestroyedWithTheEventAlreadyPosted) {
  for (const bool waits : {false, true}) {
    Completion each;
    std::optional<bus::Receiver> mine(hub->subscribe());
    if (waits) mine->async_recv(here(each));
    send(1);
    if (!waits) mine->async_recv(here(each));
    mine.reset();
    for (std::uint64_t i = 0; i < 1000; ++i) send(i);  // its node is long in other use
    io.run();
    io.restart();
    EXPECT_TRUE(each.aborted());
  }
}

TEST_F(AsyncRecv, OfADestroyedReceiverHoldsNoDrainWhileItWaitsForItsExecutor) {
  rx.async_recv(here(done));
  send(1);  // posted
  rx = {};
  EXPECT_TRUE(hub->stats().receivers.empty());
  EXPECT_TRUE(hub->drain(std::chrono::steady_clock::time_point::max()).complete);
  io.run();
  EXPECT_TRUE(done.aborted());
}

TEST_F(AsyncRecv, OfABatchIsAbortedWhenItsReceiverIsDestroyedWithTheEventsAlreadyPosted) {
  std::optional<bus::Receiver> mine(hub->subscribe());
  for (std::uint64_t i = 0; i < 3; ++i) send(i);
  bus::error_code code;
  std::size_t size = 9;
  mine->async_recv_batch(8, bind_executor(io, [&](bus::error_code c, bus::Batch got) {
                           code = c;
                           size = got.size();
                         }));
  mine.reset();
  io.run();
  EXPECT_EQ(code, asio::error::operation_aborted);
  EXPECT_EQ(size, 0u);
}

TEST_F(AsyncRecv, LetsItsHandlerDestroyTheReceiver) {
  std::optional<bus::Receiver> mine(std::move(rx));
  mine->async_recv(bind_executor(io, [&](bus::error_code, bus::Received got) {
    EXPECT_EQ(version_of(*got), 1u);
    mine.reset();
  }));
  send(1);
  io.run();
  EXPECT_FALSE(mine);
  EXPECT_TRUE(hub->stats().receivers.empty());
}

TEST_F(AsyncRecv, ThatNeverCompletesGivesEverythingBackWithItsContext) {
  auto held = std::make_shared<int>(0);
  {
    asio::io_context unrun;
    rx.async_recv(bind_executor(unrun, [held](bus::error_code, bus::Received) {}));
    send(1);  // posted, never run
    EXPECT_EQ(held.use_count(), 2);
  }
  EXPECT_EQ(held.use_count(), 1);
}

TEST_F(AsyncRecv, BesidesAnotherAbortsThatOne) {
  Completion second;
  {
    asio::io_context ends;
    rx.async_recv(bind_executor(ends, done.note()));
    rx.async_recv(bind_executor(ends, second.note()));
    send(1);
    ends.poll();
  }
  EXPECT_TRUE(done.aborted());
  ASSERT_EQ(second.calls, 1);
  EXPECT_EQ(version_of(*second.got), 1u);
}

TEST_F(AsyncRecv, ThatWaitsEndsWithItsContextAndTakesNothing) {
  auto held = std::make_shared<int>(0);
  {
    asio::io_context ends;
    rx.async_recv(bind_executor(ends, [held](bus::error_code, bus::Received) { ADD_FAILURE() << "called"; }));
    EXPECT_EQ(held.use_count(), 2);
  }
  EXPECT_EQ(held.use_count(), 1);
  send(1);
  EXPECT_EQ(version_of(*rx.try_recv()), 1u);
}

TEST_F(AsyncRecv, ThatEndedWithItsContextIsNotReachedByItsSignalAnyMore) {
  {
    asio::io_context short_lived;
    rx.async_recv(asio::bind_cancellation_slot(signal.slot(), bind_executor(short_lived, done.note())));
    send(1);  // posts it
  }
  signal.emit(asio::cancellation_type::total);
  EXPECT_EQ(done.calls, 0);
  EXPECT_EQ(version_of(*rx.try_recv()), 1u);
}

TEST_F(AsyncRecv, MayOutliveItsSignal) {
  {
    asio::cancellation_signal short_lived;
    rx.async_recv(asio::bind_cancellation_slot(short_lived.slot(), here(done)));
  }
  send(1);
  io.run();
  ASSERT_EQ(done.calls, 1);
  EXPECT_EQ(version_of(*done.got), 1u);
}

TEST_F(AsyncRecv, LeavesAloneWhatElseItsSlotWasGivenMeanwhile) {
  rx.async_recv(cancellable(done));
  bool other = false;
  signal.slot().assign([&](asio::cancellation_type) { other = true; });
  send(1);
  io.run();
  ASSERT_EQ(done.calls, 1);
  signal.emit(asio::cancellation_type::total);
  EXPECT_TRUE(other);
}

TEST_F(AsyncRecv, OfACoroutineThatWaitsEndsWithItsContext) {
  const auto wait = [](bus::Receiver& receiver) -> awaitable<void> {
    (void)co_await receiver.async_recv(use_awaitable);
  };
  {
    asio::io_context ends;
    asio::co_spawn(ends, wait(rx), asio::detached);
    ends.poll();
  }
  send(1);
  EXPECT_EQ(version_of(*rx.try_recv()), 1u);
}

TEST_F(AsyncRecv, WhoseContextEndsMayTakeItsBusWithIt) {
  const auto wait = [](std::shared_ptr<bus::Bus>, bus::Receiver receiver) -> awaitable<void> {
    (void)co_await receiver.async_recv(use_awaitable);
  };
  auto shared = std::make_shared<bus::Bus>();
  const std::weak_ptr<bus::Bus> gone = shared;
  {
    asio::io_context ends;
    for (int i = 0; i < 3; ++i) asio::co_spawn(ends, wait(shared, shared->subscribe()), asio::detached);
    ends.poll();
    shared.reset();
    EXPECT_FALSE(gone.expired());
  }
  EXPECT_TRUE(gone.expired());
}

TEST_F(AsyncRecv, KnowsTheContextOfAnExecutorOfAnyType) {
  auto held = std::make_shared<int>(0);
  {
    asio::io_context ends;
    const asio::any_io_executor erased = asio::make_strand(ends);
    rx.async_recv(bind_executor(erased, [held](bus::error_code, bus::Received) {}));
  }
  EXPECT_EQ(held.use_count(), 1);
}

/// A bus that calls back in the middle of a look at the ring: a receive of `selective` that has lost something tells
/// `on_warning` so before it finds that nothing is left for it, and waits on.
struct InTheMiddle {
  std::function<void()> then;
  bus::Bus hub{{.capacity = 4, .on_warning = [this](const bus::Warning&) { then(); }}};
  std::optional<bus::Receiver> selective{hub.subscribe(only_config)};

  void wake() {
    for (int i = 0; i < 10; ++i) EXPECT_TRUE(hub.send(Shutdown{}));
  }
};

TEST_F(AsyncRecv, IsAbortedWhenItsReceiverIsDestroyedWhileItLooksForMore) {
  InTheMiddle middle{[&] { std::thread([&] { middle.selective.reset(); }).join(); }};
  middle.selective->async_recv(here(done));
  middle.wake();
  io.poll();
  EXPECT_EQ(done.calls, 1) << "it waits on a receiver that is gone";
  EXPECT_EQ(done.code, asio::error::operation_aborted);
  middle.hub.close();
  io.run();
}

// --- Cancellation ---

TEST_F(AsyncRecv, IsCancelledWhileItWaitsAndLosesNothing) {
  for (const auto type :
       {asio::cancellation_type::terminal, asio::cancellation_type::partial, asio::cancellation_type::total}) {
    Completion each;
    rx.async_recv(cancellable(each));
    io.poll();
    signal.emit(type);
    EXPECT_EQ(each.calls, 0) << "not inline";
    send(5);
    io.run();
    io.restart();
    EXPECT_TRUE(each.aborted());
    const bus::Received next = rx.try_recv();
    ASSERT_TRUE(next);
    EXPECT_EQ(version_of(*next), 5u);
    EXPECT_EQ(next.missed(), 0u);
  }
}

TEST_F(AsyncRecv, KeepsLossesForTheNextReceiveWhenItIsCancelled) {
  bus::Receiver selective = hub->subscribe(only_config);
  selective.async_recv(cancellable(done));
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(hub->send(Shutdown{}));
  io.poll();  // has met the losses, and waits on
  signal.emit(asio::cancellation_type::terminal);
  io.run();
  EXPECT_TRUE(done.code == asio::error::operation_aborted);
  send(1);
  EXPECT_EQ(done.got.missed() + selective.try_recv().missed(), 6u);
}

TEST_F(AsyncRecv, IsNotCancelledByASignalOfBefore) {
  signal.emit(asio::cancellation_type::terminal);
  rx.async_recv(cancellable(done));
  send(1);
  io.run();
  EXPECT_EQ(version_of(*done.got), 1u);
}

TEST_F(AsyncRecv, IgnoresTheCancellationTypeNone) {
  rx.async_recv(cancellable(done));
  signal.emit(asio::cancellation_type::none);
  io.poll();
  EXPECT_EQ(done.calls, 0);
  send(1);
  io.run();
  EXPECT_EQ(version_of(*done.got), 1u);
}

TEST_F(AsyncRecv, LeavesNothingInTheSlotWhenItCompletes) {
  rx.async_recv(cancellable(done));
  send(1);
  io.run();
  EXPECT_FALSE(signal.slot().has_handler());
  signal.emit(asio::cancellation_type::terminal);
  EXPECT_EQ(done.calls, 1);
}

TEST_F(AsyncRecv, CancelledWithAnEventOnItsWayHandsItOverExactlyOnce) {
  for (const bool waits : {false, true}) {
    Completion each;
    if (waits) rx.async_recv(cancellable(each));
    send(7);
    if (!waits) rx.async_recv(cancellable(each));
    signal.emit(asio::cancellation_type::terminal);
    io.run();
    io.restart();
    const bool completed = !each.code;
    EXPECT_EQ(completed, bool{each.got});
    if (completed) {
      EXPECT_EQ(version_of(*each.got), 7u);
    }
    const bus::Received next = rx.try_recv();
    EXPECT_EQ(bool{next}, !completed) << "waits: " << waits;
    if (next) {
      EXPECT_EQ(version_of(*next), 7u);
    }
  }
}

TEST_F(AsyncRecv, IsCancelledAlsoWhenItsWakeUpWasForAFilteredEvent) {
  bus::Receiver selective = hub->subscribe(only_config);
  selective.async_recv(cancellable(done));
  ASSERT_TRUE(hub->send(Shutdown{}));  // wakes it
  signal.emit(asio::cancellation_type::terminal);
  io.poll();
  EXPECT_EQ(done.calls, 1) << "the cancellation was lost with the wake-up";
  EXPECT_EQ(done.code, asio::error::operation_aborted);
  hub->close();
}

TEST_F(AsyncRecv, IsCancelledAlsoWhileItLooksForMore) {
  InTheMiddle middle{[&] { signal.emit(asio::cancellation_type::terminal); }};
  middle.selective->async_recv(cancellable(done));
  middle.wake();
  io.poll();
  EXPECT_EQ(done.calls, 1);
  EXPECT_EQ(done.code, asio::error::operation_aborted);
  middle.hub.close();
  io.run();
}

TEST_F(AsyncRecv, CancelledByATimerAgainAndAgainLosesNothing) {
  constexpr std::uint64_t events = 1000;
  hub.emplace(bus::BusOptions{.capacity = events});
  rx = hub->subscribe();
  std::uint64_t last = 0;
  int rounds = 0;
  asio::co_spawn(
      io,
      [&]() -> awaitable<void> {
        using namespace asio::experimental::awaitable_operators;
        asio::steady_timer timer(io);
        for (; last != events; ++rounds) {
          timer.expires_after(std::chrono::microseconds(rounds % 16));
          const auto winner = co_await (rx.async_recv(use_awaitable) || timer.async_wait(use_awaitable));
          if (const auto* got = std::get_if<bus::Received>(&winner)) {
            if (version_of(**got) != ++last) co_return;
          }
        }
      },
      asio::detached);
  std::jthread publisher([&] {
    for (std::uint64_t i = 1; i <= events; ++i) {
      send(i);
      if (i % 4 == 0) std::this_thread::yield();
    }
    hub->close();  // ends a run that lost one
  });
  try {
    io.run();
  } catch (...) {
  }
  EXPECT_EQ(last, events) << "after " << rounds << " rounds";
}

// The other side of the race completes when the event is there already, but the receive has not completed yet.
TEST_F(AsyncRecv, ThatLosesARaceInACoroutineLosesNoEvent) {
  for (const bool waits : {false, true}) {
    bus::Receiver mine = hub->subscribe();
    std::size_t winner = 9;
    std::uint64_t got = 0;
    const auto other_side = [&]() -> awaitable<void> {
      co_await asio::post(use_awaitable);
      if (waits) send(3);
    };
    if (!waits) send(3);
    asio::co_spawn(
        io,
        [&]() -> awaitable<void> {
          using namespace asio::experimental::awaitable_operators;
          const auto result = co_await (other_side() || mine.async_recv(use_awaitable));
          winner = result.index();
          if (const auto* received = std::get_if<1>(&result)) got = version_of(**received);
        },
        asio::detached);
    io.run();
    io.restart();
    EXPECT_EQ(winner, 0u) << "not the race this test is about";
    if (const bus::Received next = mine.try_recv()) got += version_of(*next);
    EXPECT_EQ(got, 3u) << "the event was taken and dropped; waits: " << waits;
  }
}

TEST_F(AsyncRecv, InAParallelGroupIsCancelledByTheFirstToComplete) {
  bus::Receiver other = hub->subscribe(only_config);
  std::array<std::size_t, 2> order{9, 9};
  bus::error_code first, second;
  bus::Received got;
  asio::experimental::make_parallel_group(rx.async_recv(bind_executor(io, asio::deferred)),
                                          other.async_recv(bind_executor(io, asio::deferred)))
      .async_wait(asio::experimental::wait_for_one(),
                  bind_executor(io, [&](std::array<std::size_t, 2> o, bus::error_code a, bus::Received ra,
                                        bus::error_code b, bus::Received) {
                    order = o;
                    first = a;
                    second = b;
                    got = ra;
                  }));
  ASSERT_TRUE(hub->send(Shutdown{}));  // for `rx` only
  io.poll();
  EXPECT_EQ(order[0], 0u);
  hub->close();
  io.run();
  EXPECT_FALSE(first);
  EXPECT_EQ(got->kind(), bus::BodyKind::shutdown);
  EXPECT_EQ(second, asio::error::operation_aborted);
}

// --- Memory ---

/// What a counting allocator has given out.
struct Memory {
  std::int64_t live = 0;
  std::uint64_t allocations = 0;
};

template <class T>
struct CountingAllocator {
  using value_type = T;
  explicit CountingAllocator(Memory& m) noexcept : memory(&m) {}
  template <class U>
  CountingAllocator(const CountingAllocator<U>& other) noexcept : memory(other.memory) {}  // NOLINT
  T* allocate(std::size_t n) {
    ++memory->live;
    ++memory->allocations;
    return std::allocator<T>().allocate(n);
  }
  void deallocate(T* p, std::size_t n) noexcept {
    --memory->live;
    std::allocator<T>().deallocate(p, n);
  }
  template <class U>
  bool operator==(const CountingAllocator<U>& other) const noexcept {
    return memory == other.memory;
  }
  Memory* memory;
};

TEST_F(AsyncRecv, TakesItsMemoryFromTheHandlersAllocatorAndReturnsItAllBeforeTheHandler) {
  Memory memory;
  bus::Receiver none;
  struct Case {
    const char* name;
    std::function<void()> before, after;
    bus::Receiver* receiver;
  };
  const Case cases[] = {
      {"an event that is there", [&] { send(1); }, [] {}, &rx},
      {"an event it waits for", [] {}, [&] { send(1); }, &rx},
      {"cancelled", [] {}, [&] { signal.emit(asio::cancellation_type::terminal); }, &rx},
      {"of no bus", [] {}, [] {}, &none},
      {"closed", [] {}, [&] { hub->close(); }, &rx},
  };
  for (const Case& each : cases) {
    memory.allocations = 0;
    std::int64_t live = -1;
    each.before();
    each.receiver->async_recv(asio::bind_allocator(
        CountingAllocator<void>(memory),
        asio::bind_cancellation_slot(signal.slot(),
                                     bind_executor(io, [&](bus::error_code, bus::Received) { live = memory.live; }))));
    each.after();
    io.run();
    io.restart();
    EXPECT_EQ(live, 0) << each.name;
    EXPECT_GT(memory.allocations, 0u) << each.name;
  }
}

/// An allocator that fails.
template <class T>
struct FailingAllocator {
  using value_type = T;
  FailingAllocator() = default;
  template <class U>
  FailingAllocator(const FailingAllocator<U>&) noexcept {}  // NOLINT
  T* allocate(std::size_t) { throw std::bad_alloc(); }
  void deallocate(T*, std::size_t) noexcept {}
  template <class U>
  bool operator==(const FailingAllocator<U>&) const noexcept {
    return true;
  }
};

TEST_F(AsyncRecv, ThatCannotStartThrowsAndLosesNothing) {
  send(1);
  EXPECT_THROW(rx.async_recv(asio::bind_allocator(FailingAllocator<void>(), here(done))), std::bad_alloc);
  EXPECT_EQ(io.run(), 0u);
  EXPECT_EQ(done.calls, 0);
  EXPECT_EQ(version_of(*rx.try_recv()), 1u);
}

// --- Threads ---

/// A receiver and what it saw.
struct Reader {
  bus::Receiver rx;
  std::uint64_t delivered = 0, missed = 0, last = 0;
  bool ordered = true, ended = false;

  void note(const bus::Event& event) {
    ordered = ordered && event.sequence() > last;
    last = event.sequence();
    ++delivered;
  }
};

awaitable<void> read_one_by_one(Reader& reader) {
  for (;;) {
    const bus::Received got = co_await reader.rx.async_recv(use_awaitable);
    reader.missed += got.missed();
    if (!got) break;
    reader.note(*got);
  }
  reader.ended = true;
}

awaitable<void> read_batches(Reader& reader) {
  for (;;) {
    const bus::Batch got = co_await reader.rx.async_recv_batch(16, use_awaitable);
    reader.missed += got.missed();
    for (const bus::Event& event : got) reader.note(event);
    if (got.closed()) break;
  }
  reader.ended = true;
}

/// Completes in one executor and then in the other, so that each receive is begun and ended in different threads.
struct Hopping {
  Reader& reader;
  asio::any_io_executor here, there;

  void next() {
    reader.rx.async_recv(bind_executor(there, [self = Hopping{reader, there, here}](auto code, auto got) mutable {
      EXPECT_FALSE(code);
      EXPECT_NE(self.here.template target<asio::io_context::executor_type>(), nullptr);
      self.reader.missed += got.missed();
      if (!got) {
        self.reader.ended = true;
        return;
      }
      self.reader.note(*got);
      self.next();
    }));
  }
};

void expect_balance(const Reader& reader, std::uint64_t published) {
  EXPECT_TRUE(reader.ended);
  EXPECT_TRUE(reader.ordered);
  const bus::ReceiverStats stats = reader.rx.stats();
  EXPECT_EQ(stats.delivered, reader.delivered);
  EXPECT_EQ(stats.missed, reader.missed);
  EXPECT_EQ(stats.pending, 0u);
  EXPECT_EQ(stats.published, published);
  EXPECT_EQ(stats.delivered + stats.filtered + stats.missed, published);
}

TEST(AsyncReceivers, OfManyPublishersOnTwoThreadsEachBalance) {
  constexpr std::uint64_t publishers = 3, each = 2000;
  for (const std::uint64_t capacity : {2u, 64u, 8192u}) {
    bus::Bus hub{{.capacity = capacity}};
    asio::io_context io(2);
    std::vector<std::unique_ptr<Reader>> readers;
    for (int i = 0; i < 8; ++i) {
      auto options = i % 4 == 3 ? only_config : bus::SubscribeOptions{};
      Reader& reader = *readers.emplace_back(std::make_unique<Reader>(hub.subscribe(options)));
      asio::co_spawn(io, i % 2 == 0 ? read_one_by_one(reader) : read_batches(reader), asio::detached);
    }
    std::vector<std::jthread> runners;
    for (int i = 0; i < 2; ++i) runners.emplace_back([&] { io.run(); });
    {
      std::vector<std::jthread> threads;
      for (std::uint64_t p = 0; p < publishers; ++p) {
        threads.emplace_back([&] {
          bus::Sender tx = hub.sender();
          for (std::uint64_t i = 0; i < each; ++i) {
            EXPECT_TRUE(i % 2 == 0 ? tx.send(ConfigUpdated{i}) : tx.send(Shutdown{}));
            if (i % 16 == 0) std::this_thread::yield();
          }
        });
      }
    }
    hub.close();
    runners.clear();
    for (const auto& reader : readers) expect_balance(*reader, publishers * each);
    if (capacity >= publishers * each) {
      EXPECT_EQ(readers[0]->missed, 0u);
    }
  }
}

TEST(AsyncReceivers, MayGoOnInAnotherThreadAfterEachEvent) {
  constexpr std::uint64_t events = 3000;
  bus::Bus hub{{.capacity = events}};
  asio::io_context one(1), two(1);
  auto work_one = asio::make_work_guard(one);
  auto work_two = asio::make_work_guard(two);
  std::jthread run_one([&] { one.run(); });
  std::jthread run_two([&] { two.run(); });
  Reader reader{hub.subscribe()};
  Hopping{reader, one.get_executor(), two.get_executor()}.next();
  for (std::uint64_t i = 1; i <= events; ++i) ASSERT_TRUE(hub.send(ConfigUpdated{i}));
  hub.close();
  work_one.reset();
  work_two.reset();
  run_one.join();
  run_two.join();
  one.restart();
  two.restart();
  while (one.run() + two.run() != 0) {  // a hop may have come after one of them ended
    one.restart();
    two.restart();
  }
  expect_balance(reader, events);
  EXPECT_EQ(reader.missed, 0u);
}

TEST(AsyncReceivers, OfACoroutineMayBeResumedByAnyThreadOfAPool) {
  constexpr std::uint64_t events = 3000;
  bus::Bus hub{{.capacity = events}};
  asio::thread_pool pool(2);
  Reader reader{hub.subscribe()};
  std::future<void> ended = asio::co_spawn(pool, read_one_by_one(reader), asio::use_future);
  std::jthread publisher([&] {
    for (std::uint64_t i = 1; i <= events; ++i) {
      EXPECT_TRUE(hub.send(ConfigUpdated{i}));
      if (i % 8 == 0) std::this_thread::yield();
    }
    hub.close();
  });
  ended.get();
  publisher.join();
  expect_balance(reader, events);
  EXPECT_EQ(reader.missed, 0u);
}

TEST(AsyncReceivers, OfContextsThatEndAtAnyMomentLoseNothing) {
  constexpr std::uint64_t contexts = 300;
  bus::Bus hub{{.capacity = 1024}};
  bus::Receiver rx = hub.subscribe();
  std::atomic<bool> stop = false;
  std::jthread publisher([&] {
    while (!stop.load()) {
      EXPECT_TRUE(hub.send(ConfigUpdated{}));
      std::this_thread::yield();
    }
  });
  std::uint64_t delivered = 0;
  std::uint64_t missed = 0;
  for (std::uint64_t i = 0; i < contexts; ++i) {
    asio::io_context ends;
    for (bool more = true; more;) {
      bool called = false;
      rx.async_recv(bind_executor(ends, [&](bus::error_code, bus::Received got) {
        called = true;
        delivered += got ? 1 : 0;
        missed += got.missed();
      }));
      for (std::uint64_t turns = 0; turns < i % 5 && !called; ++turns) ends.poll();
      more = called && delivered % 8 != 0;
    }
  }
  stop = true;
  publisher.join();
  while (const auto got = rx.try_recv()) {
    ++delivered;
    missed += got.missed();
  }
  EXPECT_EQ(delivered + missed, hub.stats().published);
}

// --- Typed ---

TEST(AsyncTyped, SkipsWhatIsNotOfItsTypeAndTellsWhatWasMissed) {
  bus::Bus hub{{.capacity = 4}};
  auto readings = hub.typed<Reading>("test.reading");
  auto rx = readings.subscribe();
  asio::io_context io;
  std::vector<int> values;
  std::uint64_t missed = 0;
  const auto note = [&](bus::error_code code, const bus::TypedReceived<Reading>& got) {
    EXPECT_FALSE(code);
    values.push_back(got ? got->value : -1);
    missed += got.missed();
  };
  rx.async_recv(bind_executor(io, note));
  io.poll();
  EXPECT_TRUE(values.empty());
  for (int i = 0; i < 3; ++i)
    ASSERT_TRUE(hub.send(bus::Message{"test.reading", {}, bus::Payload::copy("not a reading")}));
  io.poll();
  EXPECT_TRUE(values.empty()) << "it goes on waiting";
  EXPECT_EQ(rx.mismatched(), 3u);
  for (int i = 1; i <= 6; ++i) ASSERT_TRUE(readings.send(Reading{i}));
  io.poll();
  EXPECT_EQ(values, std::vector{3});
  EXPECT_EQ(missed, 2u);
}

TEST(AsyncTyped, IsCompletedWithClosedAndMayBeCancelled) {
  bus::Bus hub;
  auto rx = hub.typed<Reading>("test.reading").subscribe();
  asio::io_context io;
  asio::cancellation_signal signal;
  std::vector<bus::error_code> codes;
  std::vector<bool> closed;
  const auto note = [&](bus::error_code code, const bus::TypedReceived<Reading>& got) {
    codes.push_back(code);
    closed.push_back(got.closed());
  };
  rx.async_recv(asio::bind_cancellation_slot(signal.slot(), bind_executor(io, note)));
  io.poll();
  signal.emit(asio::cancellation_type::total);
  io.restart();
  io.poll();
  rx.async_recv(bind_executor(io, note));
  hub.close();
  io.restart();
  io.run();
  EXPECT_EQ(codes, (std::vector<bus::error_code>{asio::error::operation_aborted, bus::error_code()}));
  EXPECT_EQ(closed, (std::vector{false, true}));
}

TEST(AsyncTyped, IsAwaited) {
  bus::Bus hub;
  auto readings = hub.typed<Reading>("test.reading");
  auto rx = readings.subscribe();
  ASSERT_TRUE(readings.send(Reading{7}));
  asio::io_context io;
  int value = 0;
  const auto read = [&]() -> awaitable<void> {
    const auto got = co_await rx.async_recv(use_awaitable);
    value = got->value;
  };
  asio::co_spawn(io, read, asio::detached);
  io.run();
  EXPECT_EQ(value, 7);
}

}  // namespace
