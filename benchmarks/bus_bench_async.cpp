// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Publishers and receivers as coroutines on an io_context of two threads.
#include <bus/asio.hpp>

#include "bus_bench.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <exception>
#include <thread>
#include <utility>

namespace bench {
namespace {

namespace asio = boost::asio;

/// Both threads of a run.
constexpr int threads = 2;

/// What a coroutine throws must not pass unseen: it ends the program from within `io_context::run`.
struct Rethrow {
  void operator()(std::exception_ptr thrown) const {
    if (thrown) std::rethrow_exception(thrown);
  }
};

/// Waits once, then takes what is there without waiting.
template <class Sink>
asio::awaitable<void> receive_one_by_one(bus::Receiver& receiver, Sink& sink) {
  for (;;) {
    auto [error, got] = co_await receiver.async_recv(asio::as_tuple(asio::use_awaitable));
    if (error) throw boost::system::system_error(error);
    for (;;) {
      sink.missed(got.missed());
      if (!got) break;
      sink.take(*got);
      got = receiver.try_recv();
    }
    if (got.closed()) co_return;
  }
}

template <class Sink>
asio::awaitable<void> receive_batches(bus::Receiver& receiver, Sink& sink) {
  for (;;) {
    auto [error, batch] =
        co_await receiver.async_recv_batch(bus::Receiver::max_batch, asio::as_tuple(asio::use_awaitable));
    if (error) throw boost::system::system_error(error);
    sink.missed(batch.missed());
    sink.take(batch);
    if (batch.closed()) co_return;
  }
}

template <class Sink>
asio::awaitable<void> receive(bus::Receiver& receiver, Sink& sink, Mode mode) {
  return mode == Mode::async_batch ? receive_batches(receiver, sink) : receive_one_by_one(receiver, sink);
}

asio::awaitable<void> receive_held(HeldRun& run, std::size_t number, Mode mode) {
  Tally tally = run.tallies[number];
  ++run.ready;
  co_await receive(run.receivers[number], tally, mode);
  run.tallies[number] = tally;
}

asio::awaitable<void> publish_held(HeldRun& run, int number, std::atomic<int>& publishing) {
  ++run.ready;
  while (!run.go.load(std::memory_order_acquire)) co_await asio::post(asio::use_awaitable);
  {
    HeldPublisher publisher(run, number);
    for (; !publisher.time_is_up(); publisher.publish()) {
      while (publisher.held()) co_await asio::post(asio::use_awaitable);
    }
  }
  if (--publishing == 0) run.hub.close();
}

template <class Sink>
void receive_on_context(bus::Receiver& receiver, Sink& sink, Mode mode) {
  asio::io_context context(threads);
  asio::co_spawn(context, receive(receiver, sink, mode), Rethrow());
  std::thread other([&] { context.run(); });
  context.run();
  other.join();
}

}  // namespace

void run_in_coroutines(HeldRun& run, Mode mode) {
  asio::io_context context(threads);
  std::atomic<int> publishing{run.publishers};
  for (std::size_t i = 0; i < run.receivers.size(); ++i) asio::co_spawn(context, receive_held(run, i, mode), Rethrow());
  for (int i = 0; i < run.publishers; ++i) asio::co_spawn(context, publish_held(run, i, publishing), Rethrow());
  std::thread first([&] { context.run(); });
  std::thread second([&] { context.run(); });
  while (run.ready != run.publishers + static_cast<int>(run.receivers.size())) std::this_thread::yield();
  const std::uint64_t start = now_ns();
  run.go.store(true, std::memory_order_release);
  first.join();
  second.join();
  run.elapsed_ns = now_ns() - start;
}

void receive_in_coroutine(bus::Receiver& receiver, Tally& tally, Mode mode) {
  receive_on_context(receiver, tally, mode);
}
void receive_in_coroutine(bus::Receiver& receiver, Latencies& latencies, Mode mode) {
  receive_on_context(receiver, latencies, mode);
}

}  // namespace bench
