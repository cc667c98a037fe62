// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Asynchronous receiving from routes, and publishing into routes that wait, for Boost.Asio.
//
//   bus::RouteReceived got = co_await inbox.async_recv(boost::asio::use_awaitable);
//   bus::PublishOutcome outcome = co_await router.async_publish(message, {}, boost::asio::use_awaitable);
//
// Completion, executor, allocator, cancellation and lifetime are as in <bus/asio.hpp>. What was received owns its
// event.
//
// A publish sets room aside in each route with `Overflow::wait` that its message would come to, one after the other,
// and happens when it has all. It completes with the errors of `publish`, or operation_aborted if it was cancelled
// before; nothing was published then. A route that ends meanwhile is waited for no longer, and is not among
// those that took or refused it. It keeps what it needs of the router and the sender, which may go meanwhile.
#pragma once

#include <bus/asio.hpp>
#include <bus/detail/route_async.hpp>

#include <cstddef>
#include <memory>
#include <utility>

namespace bus {
namespace detail {

/// One asynchronous publish, from its call to its completion. As with `AsyncReceive`, always somebody's alone.
template <class Handler>
class AsyncPublish final : public ContextWait, public Cancellable {
 public:
  static void start(std::unique_ptr<PendingPublish> pending, Handler handler) {
    const auto allocator = boost::asio::get_associated_allocator(handler, boost::asio::recycling_allocator<void>());
    Memory memory(allocator);
    AsyncPublish* self = std::allocator_traits<Memory>::allocate(memory, 1);
    try {
      ::new (static_cast<void*>(self)) AsyncPublish(std::move(pending), std::move(handler), allocator);
    } catch (...) {
      std::allocator_traits<Memory>::deallocate(memory, self, 1);
      throw;
    }
    Owner owner(self);
    self->waits_ = context_waits(self->executor_);
    self->listen(boost::asio::get_associated_cancellation_slot(self->handler_));
    owner.release()->post(Reason::look_again);
  }

  void resume(Reason reason) noexcept override {
    ContextWaits* const waits = waits_;
    if (waits == nullptr) return post(reason);
    if (!waits->leave_to_post(*this)) return;
    post(reason);
    waits->posted();
  }

  bool withdraw() noexcept override { return pending_->withdraw(); }

  void destroy() noexcept override { Destroy()(this); }

 private:
  using Executor = boost::asio::associated_executor_t<Handler>;
  using Allocator = boost::asio::associated_allocator_t<Handler, boost::asio::recycling_allocator<void>>;
  using Memory = typename std::allocator_traits<Allocator>::template rebind_alloc<AsyncPublish>;
  using Work = std::decay_t<decltype(boost::asio::prefer(std::declval<Executor>(),
                                                         boost::asio::execution::outstanding_work.tracked))>;

  struct Destroy {
    void operator()(AsyncPublish* self) const {
      Memory memory(self->allocator_);
      self->~AsyncPublish();
      std::allocator_traits<Memory>::deallocate(memory, self, 1);
    }
  };
  using Owner = std::unique_ptr<AsyncPublish, Destroy>;

  /// What is posted. Should its context end without running it, the operation ends with it.
  struct GoOn {
    Owner self;
    Reason reason;
    void operator()() { go_on(std::move(self), reason); }
  };

  AsyncPublish(std::unique_ptr<PendingPublish> pending, Handler&& handler, const Allocator& allocator)
      : pending_(std::move(pending)),
        handler_(std::move(handler)),
        allocator_(allocator),
        executor_(boost::asio::prefer(boost::asio::get_associated_executor(handler_),
                                      boost::asio::execution::outstanding_work.tracked)) {}

  void cancel() noexcept override {
    cancelled_ = true;
    if (waiting_ && pending_->withdraw()) resume(Reason::cancelled);
  }

  void post(Reason reason) noexcept {
    const Work executor = executor_;
    boost::asio::post(executor, boost::asio::bind_allocator(allocator_, GoOn{Owner(this), reason}));
  }

  /// In the handler's executor.
  static void go_on(Owner self, Reason reason) {
    self->waiting_ = false;
    if (reason == Reason::cancelled || self->cancelled_) {
      return complete(std::move(self), boost::asio::error::operation_aborted, {});
    }
    if (self->waits_ != nullptr && !self->waits_->enter(*self)) return;
    self->waiting_ = true;
    AsyncPublish& given = *self.release();
    if (!given.pending_->advance(given)) return;
    self.reset(&given);
    self->waiting_ = false;
    if (self->waits_ != nullptr) self->waits_->leave(*self);
    result<PublishOutcome> published = make_error_code(errc::out_of_memory);
    try {
      published = self->pending_->publish();
    } catch (const std::bad_alloc&) {
    }
    if (published) return complete(std::move(self), error_code(), *published);
    complete(std::move(self), published.error(), {});
  }

  /// Gives all memory back before it calls the handler, which may begin the next operation in it.
  static void complete(Owner self, error_code code, PublishOutcome outcome) {
    self->stop_listening(boost::asio::get_associated_cancellation_slot(self->handler_));
    Handler handler(std::move(self->handler_));
    [[maybe_unused]] const Work work(self->executor_);  // counts until the handler has run
    self.reset();
    std::move(handler)(code, outcome);
  }

  std::unique_ptr<PendingPublish> pending_;
  bool cancelled_ = false;
  bool waiting_ = false;
  Handler handler_;
  Allocator allocator_;
  Work executor_;
  ContextWaits* waits_ = nullptr;
};

/// Completes with `closed` where there is no router.
template <class CompletionToken>
auto async_publish(std::shared_ptr<RouterCore> router, const std::string* source, Message message,
                   const Attributes& attributes, CompletionToken&& token) {
  return boost::asio::async_initiate<CompletionToken, void(error_code, PublishOutcome)>(
      [](auto handler, std::shared_ptr<RouterCore> on, const std::string* by, Message what, const Attributes& with) {
        if (on == nullptr) {
          const auto executor = boost::asio::get_associated_executor(handler);
          boost::asio::post(executor, [handler = std::move(handler)]() mutable {
            std::move(handler)(make_error_code(errc::closed), PublishOutcome());
          });
          return;
        }
        AsyncPublish<decltype(handler)>::start(PendingPublish::make(std::move(on), by, std::move(what), with),
                                               std::move(handler));
      },
      token, std::move(router), source, std::move(message), attributes);
}

}  // namespace detail

/// The next message by fair turn: `void(error_code, RouteReceived)`.
template <class CompletionToken>
auto RouteReceiver::async_recv(CompletionToken&& token) {
  return boost::asio::async_initiate<CompletionToken, void(error_code, RouteReceived)>(
      [](auto handler, RouteReceiver* self) {
        detail::AsyncReceive<detail::RouteAccess, RouteReceived, decltype(handler)>::start(*self, 1,
                                                                                           std::move(handler));
      },
      token, this);
}

/// As `async_recv`, up to `max` messages: `void(error_code, RouteBatch)`. Errors: an allocation that fails comes out of
/// the executor; nothing is lost.
template <class CompletionToken>
auto RouteReceiver::async_recv_batch(std::size_t max, CompletionToken&& token) {
  return boost::asio::async_initiate<CompletionToken, void(error_code, RouteBatch)>(
      [](auto handler, RouteReceiver* self, std::size_t most) {
        detail::AsyncReceive<detail::RouteAccess, RouteBatch, decltype(handler)>::start(*self, most,
                                                                                        std::move(handler));
      },
      token, this, max);
}

/// `attributes.key` is copied. Throws std::bad_alloc.
template <class CompletionToken>
auto RouteSender::async_publish(Message message, const Attributes& attributes, CompletionToken&& token) {
  return detail::async_publish(detail::PublishAccess::router(*this), detail::PublishAccess::source(*this),
                               std::move(message), attributes, std::forward<CompletionToken>(token));
}

template <class CompletionToken>
auto Router::async_publish(Message message, const Attributes& attributes, CompletionToken&& token) {
  return detail::async_publish(detail::PublishAccess::router(*this), nullptr, std::move(message), attributes,
                               std::forward<CompletionToken>(token));
}

}  // namespace bus
