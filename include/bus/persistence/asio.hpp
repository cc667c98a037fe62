// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Asynchronous appending for Boost.Asio.
//
//   bus::Receipt<bus::Durability::synced> receipt = co_await log.async_append(record, boost::asio::use_awaitable);
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
#pragma once

#include <bus/asio.hpp>
#include <bus/detail/log_async.hpp>
#include <bus/persistence/log.hpp>

#include <memory>
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
      const std::uint64_t offset = self->offset_;
      [[maybe_unused]] const Work work(self->executor_);  // counts until the handler has run
      self.reset();  // the handler may begin the next operation in its memory
      std::move(handler)(error, LogAccess::receipt<D>(offset));
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
};

}  // namespace detail

template <Durability D, class CompletionToken>
auto Log::async_append(const Record& record, CompletionToken&& token) {
  return boost::asio::async_initiate<CompletionToken, void(error_code, Receipt<D>)>(
      [](auto handler, Log* self, const Record* given) {
        detail::AsyncAppend<D, decltype(handler)>::start(*self, *given, std::move(handler));
      },
      token, this, &record);
}

}  // namespace bus
