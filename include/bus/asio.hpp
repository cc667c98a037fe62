// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Asynchronous receiving for Boost.Asio.
//
//   Received got = co_await rx.async_recv(boost::asio::use_awaitable);
//   rx.async_recv(boost::asio::bind_executor(strand, [](bus::error_code, bus::Received got) { … }));
//
// `Receiver::async_recv(token)` completes with `void(error_code, Received)`, `async_recv_batch(max, token)` with
// `void(error_code, Batch)`, `TypedReceiver<T>::async_recv(token)` with `void(error_code, TypedReceived<T>)`. What was
// received is valid until the next receive on the receiver.
//
// Completion  An event, `closed`, and losses are values, as in the blocking forms. The only error is
//             boost::asio::error::operation_aborted: the operation was cancelled, or its receiver destroyed.
// Executor    The completion handler's associated executor runs the handler and everything before it; without one
//             it is Asio's system executor, which has threads of its own. Nothing is ever run inline, neither in
//             the call of `async_recv` nor in a publisher. Waiting counts as outstanding work.
// Allocator   The handler's associated allocator, else one that recycles. The library itself allocates nothing in
//             steady receiving; what the executor allocates to be posted to from a foreign thread is the executor's.
// Cancel      The handler's cancellation slot, any type of cancellation. The event is taken at the last moment, right
//             before the handler is called: a receive that was cancelled before that has taken none, whether or not one
//             was there, and the next receive gets it, and is told of what was missed. So `a || b` loses nothing.
// Threads     A receive that waits uses the receiver; until it completes, do nothing else with the receiver but
//             destroy it. (A second asynchronous receive would abort the first.) Emit cancellation where the handler's
//             executor allows, as Asio demands for any operation.
// Lifetime    A context that is destroyed while a receive waits in it ends that receive, as it does every operation:
//             the handler is destroyed and not called, nothing is taken. Publishers may go on meanwhile.
// Memory      Should posting fail for want of it, the program ends.
// Cost        A receive that finds something posts once. One that waits is posted by the publisher that ends the
//             wait, under two short mutexes, one of the receives that wait in the context and one of the executor; a
//             burst costs one such post. To receive a burst cheaply, await once and drain with `try_recv`, or use the
//             batch form.
#pragma once

#include <bus/detail/async.hpp>
#include <bus/typed.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_allocator.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/bind_allocator.hpp>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/compose.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/execution/context.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/query.hpp>
#include <boost/asio/recycling_allocator.hpp>
#include <boost/intrusive/list.hpp>

#include <algorithm>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <type_traits>
#include <utility>

namespace bus {
namespace detail {

/// An asynchronous receive, as its context knows it while it waits.
class ContextWait : public AsyncWait, public boost::intrusive::list_base_hook<> {
 public:
  /// Takes it back from where it waits. Returns: whether it was there still, and is now the caller's.
  virtual bool withdraw() noexcept = 0;

  /// Ends the operation without calling its handler.
  virtual void destroy() noexcept = 0;

 protected:
  ~ContextWait() = default;

 private:
  friend class ContextWaits;
  bool tried_ = false;  // to withdraw
};

/// The receives that wait in one execution context, which must not outlive it.
///
/// A wait is in the list from before it is armed until whoever took it out of its receiver has left it here again.
/// When the context ends, the waits that are still their receivers' are withdrawn; those that somebody has taken are
/// about to arrive, and are waited for.
///
/// Threads: any. No lock is held while foreign code runs.
class ContextWaits final : public boost::asio::execution_context::service {
 public:
  using key_type = ContextWaits;
  static inline boost::asio::execution_context::id id;

  explicit ContextWaits(boost::asio::execution_context& context) : service(context) {}

  /// Returns: false if the context is ending; the wait is then not in the list.
  bool enter(ContextWait& wait) noexcept {
    const std::lock_guard lock(mutex_);
    if (ending_) return false;
    waits_.push_back(wait);
    return true;
  }

  /// Takes a wait out to post it; `posted` follows. Returns: false if the context is ending; the wait is then the
  /// context's to destroy.
  bool leave_to_post(ContextWait& wait) noexcept {
    const std::lock_guard lock(mutex_);
    waits_.erase(waits_.iterator_to(wait));
    if (ending_) {
      ended_.push_back(wait);
      changed_.notify_all();
      return false;
    }
    ++posting_;
    return true;
  }

  /// Takes a wait out that has come to nothing.
  void leave(ContextWait& wait) noexcept {
    const std::lock_guard lock(mutex_);
    waits_.erase(waits_.iterator_to(wait));
  }

  void posted() noexcept {
    const std::lock_guard lock(mutex_);
    if (--posting_ == 0 && ending_) changed_.notify_all();
  }

 private:
  using List = boost::intrusive::list<ContextWait>;

  void shutdown() noexcept override {
    std::unique_lock lock(mutex_);
    ending_ = true;
    // From now on nobody else destroys a wait.
    const auto untried = [](const ContextWait& wait) { return !wait.tried_; };
    for (auto next = waits_.begin(); (next = std::find_if(waits_.begin(), waits_.end(), untried)) != waits_.end();) {
      next->tried_ = true;
      lock.unlock();
      const bool mine = next->withdraw();
      lock.lock();
      if (!mine) continue;  // it is about to arrive
      waits_.erase(next);
      ended_.push_back(*next);
    }
    while (!waits_.empty() || !ended_.empty() || posting_ != 0) {
      if (ended_.empty()) {
        changed_.wait(lock);
        continue;
      }
      ContextWait& one = ended_.front();
      ended_.pop_front();
      lock.unlock();
      one.destroy();  // with the handler may go a coroutine, a receiver, a bus that wakes others of this list
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  List waits_;
  List ended_;
  std::size_t posting_ = 0;
  bool ending_ = false;
};

/// Returns: where receives wait that `executor` will go on with; nullptr if it has no context that could end.
template <class Executor>
ContextWaits* context_waits(const Executor& executor) {
  if constexpr (boost::asio::can_query_v<const Executor&, boost::asio::execution::context_t>) {
    return &boost::asio::use_service<ContextWaits>(
        static_cast<boost::asio::execution_context&>(boost::asio::query(executor, boost::asio::execution::context)));
  } else {
    return nullptr;
  }
}

/// An operation that listens to its handler's cancellation slot. Either may go first: what is left of the other does
/// nothing more.
///
/// Threads: the slot's handler runs where the operation's own steps run, so not at the same time.
class Cancellable {
 public:
  Cancellable() = default;
  Cancellable(const Cancellable&) = delete;
  Cancellable& operator=(const Cancellable&) = delete;

  template <class Slot>
  void listen(Slot slot) {
    if (slot.is_connected()) slot.template emplace<Listener>(*this);
  }

  /// Gives the slot back for the next operation, unless it is somebody else's by now.
  template <class Slot>
  void stop_listening(Slot slot) noexcept {
    if (listener_ != nullptr) slot.clear();
  }

 protected:
  ~Cancellable() {
    if (listener_ != nullptr) listener_->operation = nullptr;
  }

 private:
  struct Listener {
    explicit Listener(Cancellable& listening) noexcept : operation(&listening) { listening.listener_ = this; }
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;
    ~Listener() {
      if (operation != nullptr) operation->listener_ = nullptr;
    }
    void operator()(boost::asio::cancellation_type_t type) {
      if (operation != nullptr && type != boost::asio::cancellation_type_t::none) operation->cancel();
    }
    Cancellable* operation;
  };

  virtual void cancel() noexcept = 0;

  Listener* listener_ = nullptr;
};

/// One asynchronous receive, from its call to its completion.
///
/// It belongs to the receiver while it waits, to whoever takes it out from there, then to the function that is
/// posted to its executor, and so always to one of them. `Access` reaches the receiver's state.
template <class Access, class Result, class Handler>
class AsyncReceive final : public ContextWait, public Cancellable {
 public:
  template <class Reader>
  static void start(Reader& receiver, std::size_t max, Handler handler) {
    const auto allocator = boost::asio::get_associated_allocator(handler, boost::asio::recycling_allocator<void>());
    if (!Access::has_state(receiver)) {
      const auto executor = boost::asio::get_associated_executor(handler);
      boost::asio::post(executor, boost::asio::bind_allocator(allocator, [handler = std::move(handler)]() mutable {
                          std::move(handler)(error_code(), Access::template closed<Result>());
                        }));
      return;
    }
    Memory memory(allocator);
    AsyncReceive* self = std::allocator_traits<Memory>::allocate(memory, 1);
    try {
      ::new (static_cast<void*>(self)) AsyncReceive(receiver, max, std::move(handler), allocator);
    } catch (...) {
      std::allocator_traits<Memory>::deallocate(memory, self, 1);
      throw;
    }
    Owner owner(self);
    self->listen(boost::asio::get_associated_cancellation_slot(self->handler_));
    if (Access::ready(*self->state_)) {
      owner.release();
      self->post(Reason::look_again);
    } else {
      wait(std::move(owner));
    }
  }

  void resume(Reason reason) noexcept override {
    ContextWaits* const waits = waits_;
    if (waits == nullptr) return post(reason);
    if (!waits->leave_to_post(*this)) return;
    post(reason);
    waits->posted();
  }

  bool withdraw() noexcept override { return Access::take(*state_, *this); }

  void destroy() noexcept override { Destroy()(this); }

 private:
  using State = typename Access::State;
  using Executor = boost::asio::associated_executor_t<Handler>;
  using Allocator = boost::asio::associated_allocator_t<Handler, boost::asio::recycling_allocator<void>>;
  using Memory = typename std::allocator_traits<Allocator>::template rebind_alloc<AsyncReceive>;
  using Work = std::decay_t<decltype(boost::asio::prefer(std::declval<Executor>(),
                                                         boost::asio::execution::outstanding_work.tracked))>;

  struct Destroy {
    void operator()(AsyncReceive* self) const {
      Memory memory(self->allocator_);
      self->~AsyncReceive();
      std::allocator_traits<Memory>::deallocate(memory, self, 1);
    }
  };
  using Owner = std::unique_ptr<AsyncReceive, Destroy>;

  /// What is posted. Should its context end without running it, the operation ends with it.
  struct GoOn {
    Owner self;
    Reason reason;
    void operator()() { self->go_on(std::move(self), reason); }
  };

  template <class Reader>
  AsyncReceive(Reader& receiver, std::size_t max, Handler&& handler, const Allocator& allocator)
      : max_(max),
        handler_(std::move(handler)),
        allocator_(allocator),
        executor_(boost::asio::prefer(boost::asio::get_associated_executor(handler_),
                                      boost::asio::execution::outstanding_work.tracked)),
        state_(Access::retain(receiver)) {}

  ~AsyncReceive() {
    if (state_ != nullptr) Access::release(state_);
  }

  void cancel() noexcept override {
    cancelled_ = true;
    if (Access::take(*state_, *this)) resume(Reason::cancelled);
  }

  void post(Reason reason) noexcept {
    const Work executor = executor_;
    boost::asio::post(executor, boost::asio::bind_allocator(allocator_, GoOn{Owner(this), reason}));
  }

  /// Waits for the next publish or close.
  static void wait(Owner self) {
    if (self->waits_ == nullptr) self->waits_ = context_waits(self->executor_);
    if (self->waits_ != nullptr && !self->waits_->enter(*self)) return;
    State& state = *self->state_;
    Access::arm(state, *self.release());
  }

  /// In the handler's executor.
  static void go_on(Owner self, Reason reason) {
    State& state = *self->state_;
    if (reason == Reason::cancelled || self->cancelled_ || Access::abandoned(state)) {
      return complete(std::move(self), boost::asio::error::operation_aborted, Result());
    }
    Result got = Access::template attempt<Result>(state, self->max_);
    if (got.outcome() != Outcome::empty) {
      Access::tell_missed(state, got);
      return complete(std::move(self), error_code(), got);
    }
    if (self->cancelled_) return complete(std::move(self), boost::asio::error::operation_aborted, Result());
    wait(std::move(self));
  }

  /// Gives all memory back before it calls the handler, which may begin the next operation in it.
  static void complete(Owner self, error_code code, Result got) {
    self->stop_listening(boost::asio::get_associated_cancellation_slot(self->handler_));
    Handler handler(std::move(self->handler_));
    [[maybe_unused]] const Work work(self->executor_);  // counts until the handler has run
    // What was received lies in the receiver, which somebody may destroy while the handler looks at it.
    const std::unique_ptr<State, void (*)(State*)> state(std::exchange(self->state_, nullptr), &Access::release);
    self.reset();
    std::move(handler)(code, std::move(got));
  }

  const std::size_t max_;
  bool cancelled_ = false;
  Handler handler_;
  Allocator allocator_;
  Work executor_;
  State* state_;
  ContextWaits* waits_ = nullptr;
};

}  // namespace detail

/// Threads: as any receive, the receiver's. Returns: what the token makes of `void(error_code, Received)`.
/// Blocks: never. Errors: see the head of <bus/asio.hpp>; throws what copying the handler or its allocator throws.
template <class CompletionToken>
auto Receiver::async_recv(CompletionToken&& token) {
  return boost::asio::async_initiate<CompletionToken, void(error_code, Received)>(
      [](auto handler, Receiver* self) {
        detail::AsyncReceive<detail::AsyncAccess, Received, decltype(handler)>::start(*self, 1, std::move(handler));
      },
      token, this);
}

/// As `async_recv`, up to `max` events.
template <class CompletionToken>
auto Receiver::async_recv_batch(std::size_t max, CompletionToken&& token) {
  return boost::asio::async_initiate<CompletionToken, void(error_code, Batch)>(
      [](auto handler, Receiver* self, std::size_t most) {
        detail::AsyncReceive<detail::AsyncAccess, Batch, decltype(handler)>::start(*self, most, std::move(handler));
      },
      token, this, max);
}

/// Threads, executor, cancellation: as `Receiver::async_recv`, which it calls until there is a T; leave the receiver
/// where it is until then, and do not destroy it but in the handler's executor. Errors: what `Schema<T>::decode` throws
/// comes out of the executor, as from any handler.
template <HasSchema T>
template <class CompletionToken>
auto TypedReceiver<T>::async_recv(CompletionToken&& token) {
  return boost::asio::async_compose<CompletionToken, void(error_code, TypedReceived<T>)>(
      [receiver = this, begun = false](auto& self, error_code code = {}, Received received = {}) mutable {
        TypedReceived<T> got;
        if (!std::exchange(begun, true)) {
          self.reset_cancellation_state(boost::asio::enable_total_cancellation());
        } else if (code || receiver->accept(received, got)) {
          return self.complete(code, std::move(got));
        }
        receiver->receiver_.async_recv(std::move(self));
      },
      token);
}

}  // namespace bus
