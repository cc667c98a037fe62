// SPDX-License-Identifier: MIT OR Apache-2.0
#include "audience.hpp"

#include <bus/asio.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <string>

namespace busbar {

namespace asio = boost::asio;

namespace {

constexpr auto as_tuple = asio::as_tuple(asio::use_awaitable);

bus::Waiting waiting_of(Wait wait) noexcept {
  switch (wait) {
    case Wait::spin: return bus::Waiting::spin;
    case Wait::yield: return bus::Waiting::yield;
    case Wait::park:
    case Wait::async: break;
  }
  return bus::Waiting::park;
}

/// From publication to now; the events carry the steady clock.
std::int64_t age(const bus::Event& event, std::chrono::steady_clock::time_point now) {
  return std::chrono::nanoseconds(now.time_since_epoch() - event.time()->time_since_epoch()).count();
}

/// A coroutine that fails ends the tool, as a thread that does.
void rethrow(std::exception_ptr failure) {
  if (failure) std::rethrow_exception(failure);
}

}  // namespace

Audience::Audience(bus::Bus& hub, const ReplayOptions& options)
    : hub_(hub), reading_(static_cast<std::ptrdiff_t>(options.receivers + options.slow.size())) {
  const auto admit = [&](const std::string& name, std::optional<Pacer> pacer) {
    members_.emplace_back(hub.subscribe({.name = name, .waiting = waiting_of(options.wait)}), pacer, io_);
  };
  for (unsigned i = 1; i <= options.receivers; ++i) admit("receiver-" + std::to_string(i), std::nullopt);
  for (const SlowReceiver& slow : options.slow) admit(slow.name, Pacer(slow.events_per_second));

  try {
    if (options.wait == Wait::async) {
      start_coroutines();
    } else {
      start_threads();
    }
  } catch (...) {
    stop();
    throw;
  }
}

Audience::~Audience() { stop(); }

void Audience::start_threads() {
  for (Member& member : members_) {
    threads_.emplace_back([this, &member] {
      reading_.count_down();
      if (member.pacer) {
        read_slowly(member, slow_ones_.get_token());
      } else {
        read(member);
      }
    });
  }
  reading_.wait();
}

void Audience::start_coroutines() {
  for (Member& member : members_) {
    asio::co_spawn(member.strand, member.pacer ? async_read_slowly(member) : async_read(member),
                   asio::bind_cancellation_slot(member.cancel.slot(), rethrow));
  }
  io_.poll();  // every coroutine runs up to its first wait
  const std::size_t cores = std::max(1U, std::thread::hardware_concurrency());
  for (std::size_t i = 0; i < std::min(cores, members_.size()); ++i) {
    threads_.emplace_back([this] { io_.run(); });
  }
}

void Audience::stop() {
  slow_ones_.request_stop();
  for (Member& member : members_) {
    if (member.pacer) asio::post(member.strand, [&member] { member.cancel.emit(asio::cancellation_type::terminal); });
  }
  hub_.close();
  threads_.clear();
}

std::vector<ReceiverReport> Audience::finish(std::uint64_t published) {
  stop();
  std::vector<ReceiverReport> reports;
  for (const Member& member : members_) reports.push_back(report(member, published));
  return reports;
}

void Audience::read(Member& member) {
  for (;;) {
    const bus::Batch batch = member.rx.recv_batch();
    count(member, batch);
    if (!batch) return;
  }
}

void Audience::read_slowly(Member& member, std::stop_token stop) {
  std::mutex mutex;
  std::condition_variable_any stopped;
  std::unique_lock lock(mutex);
  const auto wait_until = [&](auto deadline) {
    return stopped.wait_until(lock, stop, deadline, [&] { return stop.stop_requested(); });
  };
  while (!wait_until(member.pacer->due())) {
    const bus::Received got = member.rx.recv(stop);
    count(member, got);
    if (!got) return;
    member.pacer->step();
  }
}

asio::awaitable<void> Audience::async_read(Member& member) {
  for (;;) {
    const auto [error, batch] = co_await member.rx.async_recv_batch(bus::Receiver::max_batch, as_tuple);
    count(member, batch);
    if (!batch) co_return;
  }
}

asio::awaitable<void> Audience::async_read_slowly(Member& member) {
  // A cancellation may come while an operation that has ended waits for its turn, and ends nothing then: so look,
  // before each wait that only the clock would end.
  co_await asio::this_coro::throw_if_cancelled(false);
  const auto cancellation = co_await asio::this_coro::cancellation_state;
  asio::steady_timer timer(member.strand);
  while (cancellation.cancelled() == asio::cancellation_type::none) {
    timer.expires_at(member.pacer->due());
    if (const auto [error] = co_await timer.async_wait(as_tuple); error) co_return;
    const auto [error, got] = co_await member.rx.async_recv(as_tuple);
    count(member, got);
    if (!got) co_return;
    member.pacer->step();
  }
}

void Audience::count(Member& member, const bus::Received& got) {
  member.missed += got.missed();
  member.read_to_the_end = got.closed();
  if (!got) return;
  ++member.delivered;
  member.latency.record(age(*got, std::chrono::steady_clock::now()));
}

void Audience::count(Member& member, const bus::Batch& batch) {
  const auto now = std::chrono::steady_clock::now();
  member.missed += batch.missed();
  member.read_to_the_end = batch.closed();
  member.delivered += batch.size();
  for (const bus::Event& event : batch) member.latency.record(age(event, now));
}

ReceiverReport Audience::report(const Member& member, std::uint64_t published) {
  // The bus knows what was never told: what is still retained, and what was overwritten since the last receive.
  // What was told must be what it counted.
  const bus::ReceiverStats stats = member.rx.stats();
  const bool agrees = member.delivered == stats.delivered && member.missed <= stats.missed &&
                      (!member.read_to_the_end || (member.missed == stats.missed && stats.pending == 0));
  if (!agrees || member.delivered + stats.missed + stats.pending != published) {
    throw std::runtime_error(stats.name + " does not balance: read " + std::to_string(member.delivered) +
                             " and was told of " + std::to_string(member.missed) + " missed; the bus counted " +
                             std::to_string(stats.delivered) + " delivered, " + std::to_string(stats.missed) +
                             " missed, " + std::to_string(stats.pending) + " pending; published " +
                             std::to_string(published));
  }
  return {.name = stats.name,
          .delivered = member.delivered,
          .missed = stats.missed,
          .pending = stats.pending,
          .p50 = member.latency.percentile(0.50),
          .p95 = member.latency.percentile(0.95),
          .p99 = member.latency.percentile(0.99)};
}

}  // namespace busbar
