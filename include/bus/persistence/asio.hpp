// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Asynchronous appending, and receiving from groups, for Boost.Asio.
//
//   bus::Receipt<bus::Durability::synced> receipt = co_await log.async_append(record, boost::asio::use_awaitable);
//   bus::LeaseBatch received = co_await member.async_receive(16, boost::asio::use_awaitable);
//
// Appending
//
// `Log::async_append<D>(record, token)` completes with `void(error_code, Receipt<D>)`. The record, and what it refers
// to, must stay until the operation has begun: with most tokens until the call returns, with lazy ones until it is
// awaited.
//
// Completion  When it is as durable as D says, or with an error of `Log::append`; the receipt means nothing then.
// Executor    The handler's associated executor, else Asio's system executor. Nothing runs inline, neither in the call
//             nor in the thread that commits. Waiting counts as outstanding work.
// Allocator   The handler's associated allocator, else one that recycles.
// Cancel      What was handed over is committed: there is no cancelling it.
// Threads     Any number of appends at the same time.
// Lifetime    A context that is destroyed while an append waits in it waits for its commit, and ends the handler
//             without calling it. The log must not be destroyed meanwhile.
//
// Receiving
//
// `Member::async_receive(most, token)` and `Member::async_receive_until(most, deadline, token)` complete with
// `void(error_code, LeaseBatch)`.
//
// Completion  As the forms that wait: with leases, with what was missed, with neither when the deadline has passed, or
//             with an error of `Member::receive`. boost::asio::error::operation_aborted: it was cancelled, or its
//             member is gone. A member may be moved meanwhile.
// Executor    The handler's associated executor runs the handler and everything before it, as looking into the log;
//             without one Asio's system executor. It must have a context that can time. Nothing runs inline. It is
//             not blocked while a further attempt is made durable. Waiting counts as outstanding work.
// Allocator   The handler's associated allocator, else one that recycles, for what Asio needs. The library takes some
//             memory for each receive.
// Cancel      The handler's cancellation slot, any type of cancellation. What was leased and not given to the handler
//             is released, and its attempt does not count.
// Time        Deadlines and delays are the log's clock's; what is left of them is waited for by Asio's.
// Threads     Any number of receives at the same time, also of one member. Emit cancellation where the handler's
//             executor allows.
// Lifetime    Closing or destroying the log completes those that wait with `closed`. A context that is destroyed while
//             a receive waits in it ends that: its handler is destroyed and not called, nothing stays leased.
// Memory      Should posting fail for want of it, the program ends.
#pragma once

#include <bus/asio.hpp>
#include <bus/detail/group_async.hpp>
#include <bus/detail/log_async.hpp>
#include <bus/persistence/group.hpp>
#include <bus/persistence/log.hpp>

#include <boost/asio/basic_waitable_timer.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <new>
#include <optional>
#include <utility>

namespace bus {
namespace detail {

/// One asynchronous append. It belongs to the log until that completes it, then to what is posted to its executor.
template <Durability D, class Handler>
class AsyncAppend final : public ContextWait, public Completion {
 public:
  static void start(Log& log, const Record& record, Handler handler) {
    const auto allocator = boost::asio::get_associated_allocator(handler, boost::asio::recycling_allocator<void>());
    Memory memory(allocator);
    AsyncAppend* const self = std::allocator_traits<Memory>::allocate(memory, 1);
    try {
      ::new (static_cast<void*>(self)) AsyncAppend(std::move(handler), allocator);
    } catch (...) {
      std::allocator_traits<Memory>::deallocate(memory, self, 1);
      throw;
    }
    Owner owner(self);
    self->waits_ = context_waits(self->executor_);
    if (self->waits_ != nullptr && !self->waits_->enter(*self)) return;
    owner.release();
    if (const error_code error = LogAccess::submit(log, record, D, *self)) self->complete(error, 0);
  }

  void complete(error_code error, std::uint64_t offset) noexcept override {
    error_ = error;
    offset_ = offset;
    ContextWaits* const waits = waits_;
    if (waits == nullptr) return post();
    if (!waits->leave_to_post(*this)) return;
    post();
    waits->posted();
  }
  void complete_duplicate(std::uint64_t offset) noexcept override {
    duplicate_ = true;
    complete({}, offset);
  }

  // What was handed over cannot be taken back: it is about to arrive.
  bool withdraw() noexcept override { return false; }
  void resume(Reason) noexcept override {}
  void destroy() noexcept override { Destroy()(this); }

 private:
  using Executor = boost::asio::associated_executor_t<Handler>;
  using Allocator = boost::asio::associated_allocator_t<Handler, boost::asio::recycling_allocator<void>>;
  using Memory = typename std::allocator_traits<Allocator>::template rebind_alloc<AsyncAppend>;
  using Work = std::decay_t<decltype(boost::asio::prefer(std::declval<Executor>(),
                                                         boost::asio::execution::outstanding_work.tracked))>;
  struct Destroy {
    void operator()(AsyncAppend* self) const {
      Memory memory(self->allocator_);
      self->~AsyncAppend();
      std::allocator_traits<Memory>::deallocate(memory, self, 1);
    }
  };
  using Owner = std::unique_ptr<AsyncAppend, Destroy>;

  /// What is posted. Should its context end without running it, the operation ends with it.
  struct GoOn {
    Owner self;
    void operator()() {
      Handler handler(std::move(self->handler_));
      const error_code error = self->error_;
      const Receipt<D> receipt = LogAccess::receipt<D>(self->offset_, self->duplicate_);
      [[maybe_unused]] const Work work(self->executor_);  // counts until the handler has run
      self.reset();  // the handler may begin the next operation in its memory
      std::move(handler)(error, receipt);
    }
  };

  AsyncAppend(Handler&& handler, const Allocator& allocator)
      : handler_(std::move(handler)),
        allocator_(allocator),
        executor_(boost::asio::prefer(boost::asio::get_associated_executor(handler_),
                                      boost::asio::execution::outstanding_work.tracked)) {}
  ~AsyncAppend() = default;

  void post() noexcept {
    const Work executor = executor_;
    boost::asio::post(executor, boost::asio::bind_allocator(allocator_, GoOn{Owner(this)}));
  }

  Handler handler_;
  Allocator allocator_;
  Work executor_;
  ContextWaits* waits_ = nullptr;
  error_code error_;
  std::uint64_t offset_ = 0;
  bool duplicate_ = false;
};

/// One asynchronous receive of a member.
///
/// It goes step by step in its executor, and belongs to the step. While it waits it is shared: one share is the
/// queue's, then of whoever takes it out from there, then of what is posted; the other, if there is a time to wait for,
/// is the timer's. Each ends the wait of the other, and the last one to come back makes the next step.
template <class Handler>
class AsyncGroupReceive final : public ContextWait, public Cancellable {
 public:
  static void start(std::unique_ptr<PendingReceive> pending, Handler handler) {
    const auto allocator = boost::asio::get_associated_allocator(handler, boost::asio::recycling_allocator<void>());
    Memory memory(allocator);
    AsyncGroupReceive* const self = std::allocator_traits<Memory>::allocate(memory, 1);
    try {
      ::new (static_cast<void*>(self)) AsyncGroupReceive(std::move(pending), std::move(handler), allocator);
    } catch (...) {
      std::allocator_traits<Memory>::deallocate(memory, self, 1);
      throw;
    }
    Owner owner(self);
    self->listen(boost::asio::get_associated_cancellation_slot(self->handler_));
    owner.release()->post();
  }

  void resume(Reason) noexcept override {
    ContextWaits* const waits = waits_;
    if (waits == nullptr) return post();
    if (!waits->leave_to_post(*this)) return;
    post();
    waits->posted();
  }

  bool withdraw() noexcept override { return pending_->withdraw(); }
  void destroy() noexcept override { Leave()(this); }

 private:
  using Executor = boost::asio::associated_executor_t<Handler>;
  using Allocator = boost::asio::associated_allocator_t<Handler, boost::asio::recycling_allocator<void>>;
  using Memory = typename std::allocator_traits<Allocator>::template rebind_alloc<AsyncGroupReceive>;
  using Work = std::decay_t<decltype(boost::asio::prefer(std::declval<Executor>(),
                                                         boost::asio::execution::outstanding_work.tracked))>;
  using Timer = boost::asio::basic_waitable_timer<std::chrono::steady_clock,
                                                  boost::asio::wait_traits<std::chrono::steady_clock>, Executor>;

  struct Destroy {
    void operator()(AsyncGroupReceive* self) const {
      Memory memory(self->allocator_);
      self->~AsyncGroupReceive();
      std::allocator_traits<Memory>::deallocate(memory, self, 1);
    }
  };
  using Owner = std::unique_ptr<AsyncGroupReceive, Destroy>;

  /// Of a share whose context has ended: the last one ends the operation.
  struct Leave {
    void operator()(AsyncGroupReceive* self) const {
      if (self->is_last()) Destroy()(self);
    }
  };
  using Share = std::unique_ptr<AsyncGroupReceive, Leave>;

  /// What is posted.
  struct GoOn {
    Share self;
    void operator()() {
      if (self->timer_) self->timer_->cancel();
      come_back(std::move(self));
    }
  };

  /// What the timer calls. If the queue has the other share, that is taken from it; if the wait has not begun there, it
  /// does not.
  struct TimeIsUp {
    Share self;
    void operator()(error_code) {
      if (self->pending_->withdraw()) {
        if (self->waits_ != nullptr) self->waits_->leave(*self);
        self->shares_.fetch_sub(1, std::memory_order_relaxed);  // it is not the last
      }
      come_back(std::move(self));
    }
  };

  AsyncGroupReceive(std::unique_ptr<PendingReceive> pending, Handler&& handler, const Allocator& allocator)
      : pending_(std::move(pending)),
        handler_(std::move(handler)),
        allocator_(allocator),
        executor_(boost::asio::prefer(boost::asio::get_associated_executor(handler_),
                                      boost::asio::execution::outstanding_work.tracked)) {}
  ~AsyncGroupReceive() = default;

  void cancel() noexcept override {
    cancelled_ = true;
    if (pending_->withdraw()) resume(Reason::cancelled);
  }

  void post() noexcept {
    const Work executor = executor_;
    boost::asio::post(executor, boost::asio::bind_allocator(allocator_, GoOn{Share(this)}));
  }

  bool is_last() noexcept { return shares_.fetch_sub(1, std::memory_order_acq_rel) == 1; }

  static void come_back(Share share) {
    AsyncGroupReceive* const self = share.release();
    if (self->is_last()) go_on(Owner(self));
  }

  static void go_on(Owner self) {
    self->timer_.reset();
    if (self->cancelled_) return complete(std::move(self), boost::asio::error::operation_aborted, {});
    auto received = self->pending_->advance();
    if (!received) return wait(std::move(self));
    if (!*received) return complete(std::move(self), received->error(), {});
    complete(std::move(self), error_code(), std::move(**received));
  }

  static void wait(Owner self) {
    if (self->waits_ == nullptr) self->waits_ = context_waits(self->executor_);
    self->shares_.store(1, std::memory_order_relaxed);
    if (const auto rest = self->pending_->rest()) {
      error_code error;
      try {
        self->timer_.emplace(boost::asio::get_associated_executor(self->handler_), *rest);
        self->shares_.store(2, std::memory_order_relaxed);
        self->timer_->async_wait(boost::asio::bind_allocator(self->allocator_, TimeIsUp{Share(self.get())}));
      } catch (const std::bad_alloc&) {
        error = errc::out_of_memory;
      } catch (const boost::system::system_error& no_timer) {
        error = no_timer.code();
      }
      if (error) return complete(std::move(self), error, {});
    }
    Share share(self.release());
    if (share->waits_ != nullptr && !share->waits_->enter(*share)) return;
    AsyncGroupReceive& given = *share.release();
    given.pending_->arm(given);
  }

  /// Gives all memory back before it calls the handler, which may begin the next operation in it.
  static void complete(Owner self, error_code code, LeaseBatch received) {
    self->stop_listening(boost::asio::get_associated_cancellation_slot(self->handler_));
    Handler handler(std::move(self->handler_));
    [[maybe_unused]] const Work work(self->executor_);  // counts until the handler has run
    self.reset();
    std::move(handler)(code, std::move(received));
  }

  std::unique_ptr<PendingReceive> pending_;
  bool cancelled_ = false;
  std::atomic<unsigned> shares_{1};
  Handler handler_;
  Allocator allocator_;
  Work executor_;
  std::optional<Timer> timer_;
  ContextWaits* waits_ = nullptr;
};

template <class CompletionToken>
auto async_receive(const Member& member, std::size_t most,
                   const std::optional<std::chrono::steady_clock::time_point>& deadline, CompletionToken&& token) {
  return boost::asio::async_initiate<CompletionToken, void(error_code, LeaseBatch)>(
      [](auto handler, const Member* self, std::size_t no_more, const auto& until) {
        AsyncGroupReceive<decltype(handler)>::start(PendingReceive::make(*self, no_more, until), std::move(handler));
      },
      token, &member, most, deadline);
}

}  // namespace detail

template <Durability D, class CompletionToken>
auto Log::async_append(const Record& record, CompletionToken&& token) {
  return boost::asio::async_initiate<CompletionToken, void(error_code, Receipt<D>)>(
      [](auto handler, Log* self, const Record* given) {
        detail::AsyncAppend<D, decltype(handler)>::start(*self, *given, std::move(handler));
      },
      token, this, &record);
}

template <class CompletionToken>
auto Member::async_receive(std::size_t most, CompletionToken&& token) {
  return detail::async_receive(*this, most, std::nullopt, std::forward<CompletionToken>(token));
}

template <class CompletionToken>
auto Member::async_receive_until(std::size_t most, std::chrono::steady_clock::time_point deadline,
                                 CompletionToken&& token) {
  return detail::async_receive(*this, most, deadline, std::forward<CompletionToken>(token));
}

}  // namespace bus
