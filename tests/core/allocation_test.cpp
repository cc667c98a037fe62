// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The steady state allocates nothing: every form of publish and receive, once warm, against an `operator new` and an
// `aligned_alloc` (Asio uses it) that count for the whole executable. That is why these tests have one of their own,
// which no sanitizer build has.
#include <bus/asio.hpp>
#include <bus/bus.hpp>

#include <boost/asio/bind_allocator.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

namespace {

std::atomic<std::uint64_t> allocations{0};

void* counted(std::size_t size, std::size_t align = alignof(std::max_align_t)) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  const std::size_t rounded = (std::max<std::size_t>(size, 1) + align - 1) / align * align;
  void* memory = nullptr;
  if (::posix_memalign(&memory, std::max(align, sizeof(void*)), rounded) != 0) std::abort();
  return memory;
}

}  // namespace

void* aligned_alloc(std::size_t align, std::size_t size) noexcept { return counted(size, align); }

void* operator new(std::size_t size) { return counted(size); }
void* operator new[](std::size_t size) { return counted(size); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return counted(size); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return counted(size); }
void* operator new(std::size_t size, std::align_val_t align) { return counted(size, static_cast<std::size_t>(align)); }
void* operator new[](std::size_t size, std::align_val_t align) {
  return counted(size, static_cast<std::size_t>(align));
}
void* operator new(std::size_t size, std::align_val_t align, const std::nothrow_t&) noexcept {
  return counted(size, static_cast<std::size_t>(align));
}
void* operator new[](std::size_t size, std::align_val_t align, const std::nothrow_t&) noexcept {
  return counted(size, static_cast<std::size_t>(align));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

namespace {

namespace asio = boost::asio;
using bus::ConfigUpdated;

constexpr int warm_up = 2000;
constexpr int events = 10'000;

/// How many allocations `events` calls of `step` make, after some that do not count.
template <class Step>
std::uint64_t allocations_of(Step step) {
  for (int i = 0; i < warm_up; ++i) step();
  const std::uint64_t before = allocations.load();
  for (int i = 0; i < events; ++i) step();
  return allocations.load() - before;
}

TEST(SteadyState, IsMeasuredByACounterThatCounts) {
  // Calls, not expressions: those a compiler may leave out.
  EXPECT_EQ(allocations_of([] { ::operator delete(::operator new(1)); }), static_cast<std::uint64_t>(events));
  EXPECT_EQ(allocations_of([] { ::operator delete(::operator new(64, std::align_val_t{64}), std::align_val_t{64}); }),
            static_cast<std::uint64_t>(events));
}

class InTheSteadyState : public testing::Test {
 protected:
  bus::Bus hub{{.capacity = 256}};
  bus::Sender tx = hub.sender("publisher");
  bus::Receiver rx = hub.subscribe();
  const bus::Message short_message{
      .topic = "agent.v1.thought", .principal = "agent.alice", .payload = bus::Payload::copy("forty-eight bytes fit")};
};

TEST_F(InTheSteadyState, PublishAndTryRecvAllocateNothing) {
  EXPECT_EQ(allocations_of([&] {
              if (!tx.send(ConfigUpdated{1}) || !rx.try_recv()) std::abort();
            }),
            0u);
}

TEST_F(InTheSteadyState, PublishWithoutAnyReceiveAllocatesNothing) {
  EXPECT_EQ(allocations_of([&] {
              if (!tx.send(short_message, {.correlation = bus::CorrelationId{1, 2}})) std::abort();
            }),
            0u);
}

TEST_F(InTheSteadyState, PublishWithoutASenderAllocatesNothing) {
  EXPECT_EQ(allocations_of([&] {
              if (!hub.send(short_message) || !rx.try_recv()) std::abort();
            }),
            0u);
}

TEST_F(InTheSteadyState, AMessageWithALongTopicAndALargePayloadIsSharedAndNotCopied) {
  const std::string text(5000, 'x');
  const bus::Message message{.topic = "a.topic.that.is.longer.than.any.that.fits.in.place",
                             .principal = "agent.with-a-name-that-is-long-as-well",
                             .payload = bus::Payload::copy(text)};
  EXPECT_EQ(allocations_of([&] {
              if (!tx.send(message) || !rx.try_recv()) std::abort();
            }),
            0u);
}

TEST_F(InTheSteadyState, RecvOfEachFormAllocatesNothing) {
  std::stop_source source;
  const auto later = std::chrono::steady_clock::time_point::max();
  EXPECT_EQ(allocations_of([&] {
              for (int i = 0; i < 4; ++i) {
                if (!tx.send(short_message)) std::abort();
              }
              if (!rx.recv() || !rx.recv(source.get_token()) || !rx.recv_until(later) ||
                  !rx.recv_until(later, source.get_token())) {
                std::abort();
              }
            }),
            0u);
}

TEST_F(InTheSteadyState, ABatchAllocatesNothing) {
  EXPECT_EQ(allocations_of([&] {
              for (int i = 0; i < 16; ++i) {
                if (!tx.send(short_message)) std::abort();
              }
              for (std::size_t got = 0; got != 16;) got += rx.recv_batch().size();
            }),
            0u);
}

TEST_F(InTheSteadyState, AReceiverThatLagsFiltersOrKeepsAllocatesNothing) {
  bus::Receiver selective = hub.subscribe({.patterns = {"agent.*.answer"}});
  bus::EventRef kept;
  int n = 0;
  EXPECT_EQ(allocations_of([&] {
              if (!tx.send(short_message)) std::abort();
              if (++n % 300 != 0) return;
              kept = rx.try_recv().keep();
              if (selective.try_recv()) std::abort();
            }),
            0u);
}

TEST_F(InTheSteadyState, AnObserverCostsNoAllocation) {
  std::uint64_t seen = 0;
  const bus::Observer observer = hub.observe("watcher", [&](const bus::Event&) { ++seen; });
  EXPECT_EQ(allocations_of([&] {
              if (!tx.send(short_message)) std::abort();
            }),
            0u);
  EXPECT_EQ(seen, static_cast<std::uint64_t>(warm_up + events));
}

TEST_F(InTheSteadyState, WaitingAndWakingAllocateNothing) {
  std::atomic<int> answered{0};
  std::jthread receiver([&] {
    while (rx.recv()) answered.fetch_add(1);
  });
  int sent = 0;
  EXPECT_EQ(allocations_of([&] {
              if (!tx.send(ConfigUpdated{1})) std::abort();
              ++sent;
              while (answered.load() != sent) std::this_thread::yield();
            }),
            0u);
  hub.close();
}

// --- Asynchronous receives; what an executor needs to run a handler is Asio's, and recycled by it ---

/// Receives again in its own completion, for as long as the bus is open.
struct Again {
  bus::Receiver& rx;
  asio::io_context& io;
  std::uint64_t& received;

  void next() {
    rx.async_recv(asio::bind_executor(io, [self = *this](bus::error_code, bus::Received got) mutable {
      if (!got) return;
      ++self.received;
      self.next();
    }));
  }
};

/// Publishes in the context of the receivers, one event after the other. Keeps itself going there.
struct PublishAndCount {
  asio::io_context& io;
  bus::Sender& tx;
  bus::Bus& hub;
  std::uint64_t& counted;
  int sent = 0;
  std::uint64_t before = 0;

  void operator()() {
    if (++sent == warm_up) before = allocations.load();
    if (sent == warm_up + events) {
      counted = allocations.load() - before;
      hub.close();
      return;
    }
    if (!tx.send(ConfigUpdated{1})) std::abort();
    asio::post(io, *this);
  }
};

TEST_F(InTheSteadyState, AsyncRecvWithACallbackAllocatesNothing) {
  asio::io_context io(1);
  std::uint64_t received = 0, counted = 1;
  Again{rx, io, received}.next();
  asio::post(io, PublishAndCount{io, tx, hub, counted});
  io.run();
  EXPECT_EQ(counted, 0u);
  EXPECT_EQ(received, static_cast<std::uint64_t>(warm_up + events - 1));
}

TEST_F(InTheSteadyState, AsyncRecvInACoroutineAllocatesNothing) {
  asio::io_context io(1);
  std::uint64_t received = 0, counted = 1;
  asio::co_spawn(
      io,
      [&]() -> asio::awaitable<void> {
        while (co_await rx.async_recv(asio::use_awaitable)) ++received;
      },
      asio::detached);
  asio::post(io, PublishAndCount{io, tx, hub, counted});
  io.run();
  EXPECT_EQ(counted, 0u);
  EXPECT_EQ(received, static_cast<std::uint64_t>(warm_up + events - 1));
}

TEST_F(InTheSteadyState, AsyncRecvOfBatchesInACoroutineAllocatesNothing) {
  asio::io_context io(1);
  std::uint64_t received = 0, counted = 1;
  asio::co_spawn(
      io,
      [&]() -> asio::awaitable<void> {
        while (const bus::Batch got = co_await rx.async_recv_batch(16, asio::use_awaitable)) received += got.size();
      },
      asio::detached);
  asio::post(io, PublishAndCount{io, tx, hub, counted});
  io.run();
  EXPECT_EQ(counted, 0u);
  EXPECT_EQ(received, static_cast<std::uint64_t>(warm_up + events - 1));
}

/// A few fixed blocks. An operation and what its executor posts for it never need more.
struct Blocks {
  static constexpr std::size_t bytes = 1024;
  struct alignas(std::max_align_t) Block {
    std::byte room[bytes];
    std::atomic<bool> taken{false};
  };
  std::array<Block, 4> blocks;
  std::atomic<std::uint64_t> given{0};

  void* take(std::size_t size) {
    given.fetch_add(1);
    for (Block& block : blocks) {
      if (size <= bytes && !block.taken.exchange(true)) return block.room;
    }
    std::abort();
  }
  void give_back(void* memory) {
    for (Block& block : blocks) {
      if (memory == block.room) block.taken.store(false);
    }
  }
};

template <class T>
struct BlockAllocator {
  using value_type = T;
  explicit BlockAllocator(Blocks& b) noexcept : blocks(&b) {}
  template <class U>
  BlockAllocator(const BlockAllocator<U>& other) noexcept : blocks(other.blocks) {}  // NOLINT
  T* allocate(std::size_t n) { return static_cast<T*>(blocks->take(n * sizeof(T))); }
  void deallocate(T* memory, std::size_t) noexcept { blocks->give_back(memory); }
  template <class U>
  bool operator==(const BlockAllocator<U>& other) const noexcept {
    return blocks == other.blocks;
  }
  Blocks* blocks;
};

/// As `Again`, with an allocator of its own.
struct AgainInBlocks {
  bus::Receiver& rx;
  asio::io_context& io;
  Blocks& blocks;
  std::atomic<int>& received;

  void next() {
    rx.async_recv(
        asio::bind_allocator(BlockAllocator<void>(blocks),
                             asio::bind_executor(io, [self = *this](bus::error_code, bus::Received got) mutable {
                               if (!got) return;
                               self.next();
                               self.received.fetch_add(1);
                             })));
  }
};

TEST_F(InTheSteadyState, AsyncRecvWokenByAnotherThreadTakesAllItsMemoryFromTheHandlersAllocator) {
  asio::io_context io(1);
  Blocks blocks;
  std::atomic<int> received{0};
  AgainInBlocks{rx, io, blocks, received}.next();
  std::jthread runner([&] { io.run(); });
  int sent = 0;
  EXPECT_EQ(allocations_of([&] {
              if (!tx.send(ConfigUpdated{1})) std::abort();
              ++sent;
              while (received.load() != sent) std::this_thread::yield();
            }),
            0u);
  EXPECT_GT(blocks.given.load(), static_cast<std::uint64_t>(events));
  hub.close();
}

}  // namespace
