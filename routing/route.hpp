// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <bus/detail/async.hpp>
#include <bus/routing/router.hpp>

#include "core/core.hpp"
#include "core/semaphore.hpp"
#include "routing/fair_queue.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

namespace bus::detail {

/// One message on its way into routes, the same for all of them.
struct Offer {
  const Event* event;
  const Message* message;
  PrincipalKey principal;
  std::size_t charge;
  std::string_view key;
  PublisherRecord* publisher;  ///< whose thread this is
};

/// A publisher that waits for room in a route. Whoever gives it room calls `granted` once.
class RoomWait {
 public:
  /// Threads: whichever made the room, under no lock. Must not block.
  virtual void granted() noexcept = 0;

 protected:
  ~RoomWait() = default;

 private:
  friend class Route;
  Hook hook_;
  std::size_t charge_ = 0;
  bool queued_ = false;
  bool has_room_ = false;  ///< set aside, and to be used or given back
};

/// Where the reader of a route waits. In the router's registry, so that it can be woken whatever became of the route.
struct alignas(64) ReaderRecord : Registry<ReaderRecord>::Entry {
  Semaphore sleep;
  sync::atomic<AsyncWait*> wait{nullptr};  // taken out by exchange: whoever gets it resumes it

  void wake() noexcept {
    if (AsyncWait* const taken = take()) return taken->resume(AsyncWait::Reason::look_again);
    sleep.post();
  }
  AsyncWait* take() noexcept { return wait.exchange(nullptr, sync::seq_cst); }  // sync WAIT-TAKE
};

/// One route: a fair queue, a lock, and somebody who may be waiting at either end.
///
/// The lock is held for what `FairQueue` does and for flags; no foreign code runs and nobody is woken under it.
class Route {
 public:
  Route(std::shared_ptr<RouterCore> router, RouteId id, RouteOptions options);
  ~Route();
  Route(const Route&) = delete;
  Route& operator=(const Route&) = delete;

  void retain() noexcept { references_.fetch_add(1, sync::relaxed); }
  void release() noexcept {
    if (references_.fetch_sub(1, sync::acq_rel) == 1) delete this;  // sync ROUTE-DROP: pairs with itself
  }

  // --- For publishers. ---

  enum class Answer { taken, refused, gated, not_for_it };

  /// Offers a message that was kept once for this route. `reserved` bytes were set aside for it before.
  Answer offer(const Offer& offer, RoomWait* room, Loss* reason) noexcept;

  /// Asks for what `offer` will need.
  void prefetch() const noexcept {
    sync::prefetch_write(&unconditional_);
    sync::prefetch_write(&first_entry_);
    sync::prefetch_write(&first_entry_.protects);
    queue_.prefetch();
  }

  bool waits() const noexcept { return options_.overflow == Overflow::wait; }
  bool several_patterns() const noexcept { return options_.patterns.size() > 1; }

  /// Whether a message of this principal would be offered a place: scope and gate.
  bool would_admit(const Principal& principal) const noexcept;

  /// Sets room aside for `wait`, now or later, or finds that there is nothing to wait for.
  /// Returns: whether `wait` will be told.
  bool reserve(std::size_t charge, RoomWait& wait) noexcept;

  /// Gives back what was set aside, if it was.
  void unreserve(RoomWait& wait) noexcept;

  /// Takes a wait back. Returns: false if it has been granted or is about to be.
  bool withdraw(RoomWait& wait) noexcept;

  /// Returns: whether room was set aside. It is the caller's to use, in `offer`.
  static bool take_room(RoomWait& wait) noexcept { return std::exchange(wait.has_room_, false); }

  // --- For the reader. ---

  RouteReceived try_recv() noexcept;
  RouteReceived recv(const std::chrono::steady_clock::time_point* deadline, const std::stop_token* stop) noexcept;
  RouteBatch recv_batch(std::size_t max);

  RouteReceived attempt() noexcept;

  /// What is there, up to `max` messages and `bytes` charged bytes, but at least one.
  RouteBatch attempt_batch(std::size_t max, std::size_t bytes);
  bool ready() noexcept;

  /// Sleeps until there is something, or for no reason.
  void wake_reader() noexcept { record_.sleep.post(); }
  void arm(AsyncWait& wait) noexcept;
  AsyncWait* take_wait() noexcept { return record_.take(); }
  bool take_wait(AsyncWait& mine) noexcept {
    AsyncWait* found = &mine;
    return record_.wait.compare_exchange_strong(found, nullptr, sync::seq_cst, sync::seq_cst);  // sync WAIT-TAKE
  }
  bool abandoned() const noexcept { return abandoned_.load(sync::acquire); }

  /// The receiver, and each operation of it that goes on, counts. With the last one goes the route's hold on its
  /// router.
  void retain_reader() noexcept { readers_.fetch_add(1, sync::relaxed); }
  void release_reader() noexcept;

  /// The receiver is gone: ends the route and everything in it.
  void abandon() noexcept;

  // --- For the router. ---

  /// What is there may still be read; nothing more comes.
  void close() noexcept;

  RouteStats stats() const;
  void add_to(RouteNameStats& sum) const noexcept;
  std::vector<PrincipalBacklog> backlogs() const;
  void set_weights(Weights weights) noexcept;
  RouteId id() const noexcept { return id_; }
  const RouteOptions& options() const noexcept { return options_; }
  const std::string& name() const noexcept { return options_.name; }
  bool detached() const noexcept { return detached_.load(sync::relaxed); }

 private:
  using Waits = boost::intrusive::list<RoomWait, boost::intrusive::member_hook<RoomWait, Hook, &RoomWait::hook_>,
                                       boost::intrusive::constant_time_size<false>>;

  /// Who is to be woken once the lock is released.
  struct Wakes {
    ReaderRecord* reader = nullptr;
    Waits granted;
    void wake() noexcept;
  };

  template <class T, class Attempt>
  T wait_for(Attempt attempt_one, const std::chrono::steady_clock::time_point* deadline, const std::stop_token* stop);
  FairQueue::Served pop(std::size_t quantum, std::size_t limit, RouteReceived& got) noexcept;
  bool must_wait(const Backlog& backlog, const Entry& first) noexcept;
  void claim_reader(Wakes& wakes) noexcept;
  void grant_room(Wakes& wakes) noexcept;
  void refuse_waits(Wakes& wakes) noexcept;
  bool over_for_too_long(const FairQueue::Pushed& pushed, std::chrono::steady_clock::time_point now) noexcept;
  Entry* new_entry(const Offer& offer, std::chrono::steady_clock::time_point now) noexcept;
  void recycle(Entry& entry) noexcept;
  void end_dropped(FairQueue::Dropped& dropped, PublisherRecord* publisher) noexcept;
  bool going_to_sleep() noexcept;
  void not_held() noexcept;
  void told_available() noexcept { available_.store(queue_.messages() != 0 || closed_, sync::release); }
  void park(const std::chrono::steady_clock::time_point* deadline) noexcept;

  std::shared_ptr<RouterCore> router_;  // the reader's
  const CoreRef bus_;
  const RouteId id_;
  const RouteOptions options_;
  sync::atomic<std::uint64_t> references_{1};
  sync::atomic<std::uint64_t> gated_{0};
  sync::atomic<bool> abandoned_{false};
  sync::atomic<bool> detached_{false};
  sync::atomic<std::uint32_t> readers_{1};
  ReaderRecord& record_;

  // What a message touches on its way in comes first.
  alignas(64) const bool unconditional_;  ///< no gate, no limiter, no scope
  const Overflow overflow_;
  const bool ticks_;
  bool closed_ = false;
  bool sleeping_ = false;
  bool held_ = false;  ///< what the reader sleeps for is there, but waits for a publish under way
  sync::atomic<bool> available_{false};  ///< something to read; a hint for a reader that spins
  std::uint64_t offered_ = 0;
  mutable std::mutex mutex_;
  Waits waits_;
  FairQueue::Dropped spare_;
  Entry first_entry_;  // most routes never need many
  FairQueue queue_;
  std::size_t spare_count_ = 0;
  std::uint64_t waiting_ = 0;
  std::uint64_t delivered_ = 0;
  std::uint64_t settled_ = 0;  ///< no publish under way can get a sequence up to this one
  std::optional<std::chrono::steady_clock::time_point> no_room_since_;
  bool reader_took_ = false;  // something since then
};

}  // namespace bus::detail
