// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The way of a durable message: its publisher takes room for it, hands its record to the log and, if it waits, commits.
// Whoever commits it puts it into the queue; as commits are made one after the other, that is in the order of offsets.
// One thread takes what is there from the queue and publishes it on the router. It travels as the message that was
// published, not as what could be read back from the disk: an object stays the object that it was.
#include <bus/persistence/durable_topics.hpp>

#include "core/semaphore.hpp"
#include "routing/router_core.hpp"

#include <bus/detail/route_async.hpp>

#include <pthread.h>

#include <boost/intrusive/slist.hpp>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>

namespace bus {
namespace detail {
namespace {

using Deadline = std::chrono::steady_clock::time_point;
namespace sys = boost::system;

error_code would_wait_for_itself() noexcept {
  return {sys::errc::resource_deadlock_would_occur, sys::system_category()};
}

DurableTopicsOptions checked(DurableTopicsOptions options) {
  const auto wrong = [](std::string_view option, std::string_view given, std::string_view allowed) {
    throw std::invalid_argument("DurableTopicsOptions::" + std::string(option) + " is " + std::string(given) +
                                "; allowed are " + std::string(allowed));
  };
  if (options.table.empty()) wrong("table", "empty", "one or more rows");
  for (const DurableTopic& row : options.table) {
    if (row.pattern.empty()) wrong("table", "one with a row without a pattern", "rows with patterns");
    if (row.durability > Durability::synced || row.delivery > Delivery::at_once) {
      wrong("table", "one with an impossible row for \"" + std::string(row.pattern.view()) + "\"",
            "the enumerators of Durability and Delivery");
    }
  }
  if (options.undelivered_bytes == 0) wrong("undelivered_bytes", "0", "1 and more");
  return options;
}

}  // namespace

/// One message on its way.
class DurableEntry final
    : public Completion,
      public boost::intrusive::slist_base_hook<boost::intrusive::link_mode<boost::intrusive::normal_link>> {
 public:
  DurableEntry(std::shared_ptr<DurableCore> core, const DurableTopic* row, Message given, const Attributes& said)
      : core_(std::move(core)), row_(row), message_(std::move(given)), key_(said.key), attributes_(said) {
    attributes_.key = key_;
  }

  void complete(error_code error, std::uint64_t offset) noexcept override;
  void complete_duplicate(std::uint64_t offset) noexcept override {
    duplicate_ = true;
    complete({}, offset);
  }

  bool is_done() const noexcept { return done_.load(sync::acquire); }  // sync DELIVERY-DONE

  /// Nothing is left to be done: tells who waits.
  void end() noexcept {
    done_.store(true, sync::release);  // sync DELIVERY-DONE
    told_.post();
  }

  /// Returns: false if the deadline passed before.
  bool await_end(const Deadline* deadline) noexcept {
    while (!is_done()) {
      if (deadline == nullptr) {
        told_.wait();
      } else if (!told_.wait_until(*deadline)) {
        return is_done();
      }
      told_.post();  // to whoever waits with a copy of the receipt
    }
    return true;
  }

 private:
  friend class DurableCore;
  friend class bus::PendingPublishReceipt;
  const std::shared_ptr<DurableCore> core_;
  const DurableTopic* const row_;  // nullptr: the topic is not durable
  Message message_;
  const std::string key_;
  Attributes attributes_;
  std::size_t charge_ = 0;
  std::uint64_t ticket_ = 0;  // of whoever waits
  std::shared_ptr<DurableEntry> under_way_;  // itself, while the log or the queue has it
  error_code error_;  // why it was not committed
  std::uint64_t offset_ = 0;
  bool duplicate_ = false;  // the log had it
  result<PublishOutcome> outcome_;
  sync::atomic<bool> settled_{false};  // the log is done with it
  sync::atomic<bool> done_{false};
  Semaphore told_;
};

class DurableCore : public std::enable_shared_from_this<DurableCore> {
 public:
  /// Binds. Errors: as `DurableTopics::DurableTopics`.
  DurableCore(Router& router, Log& log, DurableTopicsOptions options);
  ~DurableCore();

  result<PublishReceipt> publish(Message&& message, const Attributes& attributes, const LogAttributes& logged,
                                 const Deadline* deadline);
  result<PendingPublishReceipt> submit(Message&& message, const Attributes& attributes, const LogAttributes& logged,
                                       const Deadline* deadline);
  result<PublishReceipt> wait(DurableEntry& entry, const Deadline* deadline);
  error_code close(const Deadline* deadline) noexcept;

  const DurableTopic* row(const Topic& topic) const noexcept {
    const auto found =
        std::ranges::find_if(options_.table, [&](const DurableTopic& row) { return row.pattern.matches(topic); });
    return found != options_.table.end() ? &*found : nullptr;
  }
  std::uint8_t number() const noexcept { return number_; }
  DurableTopicsStats stats() const;

  /// By whoever commits, in the order of offsets.
  void arrived(DurableEntry& entry) noexcept;

 private:
  using Queue = boost::intrusive::slist<DurableEntry, boost::intrusive::cache_last<true>,
                                        boost::intrusive::constant_time_size<false>>;

  /// What a message has taken of its sender's rate: given back unless the log has taken it.
  class Admitted {
   public:
    Admitted(RouterCore& router, const Message& message) noexcept : router_(router), message_(&message) {}
    ~Admitted() {
      if (message_ != nullptr) router_.take_back(nullptr, *message_);
    }
    Admitted(const Admitted&) = delete;
    Admitted& operator=(const Admitted&) = delete;
    void moved_to(const Message& message) noexcept { message_ = &message; }
    void keep() noexcept { message_ = nullptr; }

   private:
    RouterCore& router_;
    const Message* message_;
  };

  /// Room for a message that is on its way to the log: given back unless the log has taken it.
  class Room {
   public:
    Room(DurableCore& core, std::size_t charge) noexcept : core_(core), charge_(charge) {}
    ~Room() {
      if (taken_) core_.give_room(charge_);
    }
    Room(const Room&) = delete;
    Room& operator=(const Room&) = delete;
    error_code take(const Deadline* deadline) {
      const error_code error = core_.take_room(charge_, deadline);
      taken_ = !error;
      return error;
    }
    void keep() noexcept { taken_ = false; }

   private:
    DurableCore& core_;
    const std::size_t charge_;
    bool taken_ = false;
  };

  bool is_delivering() const noexcept;
  result<PublishOutcome> pass_on(Message&& message, const Attributes& attributes, const Deadline* deadline);
  result<std::shared_ptr<DurableEntry>> hand_over(const DurableTopic& row, Message&& message,
                                                  const Attributes& attributes, const LogAttributes& logged,
                                                  bool will_wait, const Deadline* deadline);
  error_code take_room(std::size_t charge, const Deadline* deadline);
  void give_room(std::size_t charge) noexcept;
  void publish_live(RoutePublisher& publisher, DurableEntry& entry, const LogPlace* place) noexcept;
  void deliver(DurableEntry& entry) noexcept;
  void run() noexcept;

  const DurableTopicsOptions options_;
  Log& log_;
  const std::shared_ptr<RouterCore> router_;
  RoutePublisher& publisher_;  // of the thread that delivers
  std::uint8_t number_ = 0;
  sync::atomic<bool> closing_{false};

  mutable std::mutex mutex_;
  std::condition_variable arrived_;  // for the thread that delivers
  std::condition_variable left_;  // for who waits for room, or for all to be done
  Queue queue_;
  DurableTopicsStats stats_;
  bool stopping_ = false;

  std::thread thread_;
};

namespace {

thread_local const DurableCore* delivering = nullptr;  // for whom this thread delivers

}  // namespace

bool DurableCore::is_delivering() const noexcept { return delivering == this; }

void DurableEntry::complete(error_code error, std::uint64_t offset) noexcept {
  error_ = error;
  offset_ = offset;
  core_->arrived(*this);
}

// --- Binding. ---

DurableCore::DurableCore(Router& router, Log& log, DurableTopicsOptions options)
    : options_(checked(std::move(options))),
      log_(log),
      router_(PublishAccess::router(router)),
      publisher_(router_->acquire_publisher()) {
  try {
    if (router_->bus->options.amnesia) {
      throw std::invalid_argument("the bus has amnesia: what it carries must not be written to a log");
    }
    ReservedTopics topics;
    for (const DurableTopic& row : options_.table) topics.push_back(row.pattern);
    number_ = router_->reserve(std::move(topics), LogAccess::id(log));
    try {
      thread_ = std::thread([this] { run(); });
    } catch (...) {
      router_->end_reservation();
      throw;
    }
  } catch (...) {
    router_->release_publisher(publisher_);
    throw;
  }
#ifdef __linux__
  ::pthread_setname_np(thread_.native_handle(), "busbar-deliver");
#endif
}

DurableCore::~DurableCore() { router_->release_publisher(publisher_); }

error_code DurableCore::close(const Deadline* deadline) noexcept {
  if (is_delivering()) return would_wait_for_itself();
  {
    std::unique_lock lock(mutex_);
    closing_.store(true, sync::relaxed);
    left_.notify_all();
    const auto none_left = [this] { return stats_.undelivered == 0; };
    if (deadline == nullptr) {
      left_.wait(lock, none_left);
    } else if (!left_.wait_until(lock, *deadline, none_left)) {
      return errc::timed_out;
    }
    if (std::exchange(stopping_, true)) return {};
  }
  arrived_.notify_one();
  thread_.join();
  router_->end_reservation();
  return {};
}

// --- Publishing. ---

error_code DurableCore::take_room(std::size_t charge, const Deadline* deadline) {
  std::unique_lock lock(mutex_);
  const auto closing = [this] { return closing_.load(sync::relaxed); };
  const auto has_room = [&] {
    return stats_.undelivered == 0 || stats_.undelivered_bytes + charge <= options_.undelivered_bytes;
  };
  if (deadline != nullptr && !is_delivering()) {
    left_.wait_until(lock, *deadline, [&] { return closing() || has_room(); });
  }
  if (closing()) return errc::closed;
  if (!has_room()) {
    ++stats_.overloads;
    return deadline != nullptr ? errc::timed_out : errc::overloaded;
  }
  ++stats_.undelivered;
  stats_.undelivered_bytes += charge;
  return {};
}

void DurableCore::give_room(std::size_t charge) noexcept {
  {
    const std::lock_guard lock(mutex_);
    --stats_.undelivered;
    stats_.undelivered_bytes -= charge;
  }
  left_.notify_all();
}

result<PublishOutcome> DurableCore::pass_on(Message&& message, const Attributes& attributes, const Deadline* deadline) {
  if (closing_.load(sync::relaxed)) return make_error_code(errc::closed);
  const BorrowedPublisher publisher(*router_);
  return router_->publish(*publisher, nullptr, std::move(message), attributes, deadline);
}

/// Hands the record to the log; what is to be delivered at once is delivered.
result<std::shared_ptr<DurableEntry>> DurableCore::hand_over(const DurableTopic& row, Message&& message,
                                                             const Attributes& attributes, const LogAttributes& logged,
                                                             bool will_wait, const Deadline* deadline) {
  // What the router would refuse must not be in the log.
  if (const error_code refused = router_->admit(nullptr, message, attributes)) return refused;
  std::shared_ptr<DurableEntry> entry;
  Admitted admitted(*router_, message);
  Room room(*this, RouterCore::charge_for(message));
  if (const error_code refused = room.take(deadline)) return refused;

  const Payload encoded = message.payload.encoded();
  const SchemaInfo* const schema = message.payload.schema();
  entry = std::make_shared<DurableEntry>(shared_from_this(), &row, std::move(message), attributes);
  admitted.moved_to(entry->message_);
  entry->charge_ = RouterCore::charge_for(entry->message_);
  const Record record{.topic = entry->message_.topic,
                      .principal = entry->message_.principal,
                      .payload = encoded.bytes(),
                      .key = attributes.key,
                      .headers = logged.headers,
                      .correlation = attributes.correlation,
                      .trace = attributes.trace,
                      .terminal = attributes.terminal,
                      .schema = schema != nullptr ? schema->name : std::string_view(),
                      .schema_version = schema != nullptr ? schema->version : 0,
                      .message_id = logged.message_id,
                      .producer = logged.producer};
  std::optional<BorrowedPublisher> publisher;
  if (row.delivery == Delivery::at_once) publisher.emplace(*router_);
  const bool goes_on_to_wait = will_wait && !publisher;
  entry->under_way_ = entry;
  const auto ticket = LogAccess::hand_over(log_, record, row.durability, goes_on_to_wait, deadline, *entry);
  if (!ticket) {
    entry->under_way_.reset();
    return ticket.error();
  }
  admitted.keep();
  room.keep();  // it is given back when it has been delivered
  entry->ticket_ = *ticket;
  if (publisher) publish_live(**publisher, *entry, nullptr);
  return entry;
}

result<PublishReceipt> DurableCore::publish(Message&& message, const Attributes& attributes,
                                            const LogAttributes& logged, const Deadline* deadline) try {
  const DurableTopic* const found = row(message.topic);
  if (found == nullptr) {
    auto outcome = pass_on(std::move(message), attributes, deadline);
    if (!outcome) return outcome.error();
    return PublishReceipt({}, 0, *outcome);
  }
  if (is_delivering()) return would_wait_for_itself();
  const auto entry = hand_over(*found, std::move(message), attributes, logged, true, deadline);
  if (!entry) return entry.error();
  return wait(**entry, deadline);
} catch (const std::bad_alloc&) {
  return make_error_code(errc::out_of_memory);
}

result<PendingPublishReceipt> DurableCore::submit(Message&& message, const Attributes& attributes,
                                                  const LogAttributes& logged, const Deadline* deadline) try {
  if (const DurableTopic* const found = row(message.topic)) {
    auto entry = hand_over(*found, std::move(message), attributes, logged, false, deadline);
    if (!entry) return entry.error();
    return PendingPublishReceipt(std::move(*entry));
  }
  auto entry = std::make_shared<DurableEntry>(shared_from_this(), nullptr, Message(), Attributes());
  entry->outcome_ = pass_on(std::move(message), attributes, deadline);
  if (!entry->outcome_) return entry->outcome_.error();
  entry->end();
  return PendingPublishReceipt(std::move(entry));
} catch (const std::bad_alloc&) {
  return make_error_code(errc::out_of_memory);
}

result<PublishReceipt> DurableCore::wait(DurableEntry& entry, const Deadline* deadline) {
  if (!entry.is_done()) {
    if (is_delivering()) return would_wait_for_itself();
    if (!entry.settled_.load(sync::relaxed))
      (void)LogAccess::wait(log_, entry.ticket_, entry.row_->durability, deadline);
    if (!entry.await_end(deadline)) return make_error_code(errc::timed_out);
  }
  if (entry.error_) return entry.error_;
  if (entry.row_ == nullptr) return PublishReceipt({}, 0, entry.outcome_);
  return PublishReceipt(entry.row_->durability, entry.offset_, entry.outcome_, entry.duplicate_);
}

// --- Delivering. ---

void DurableCore::arrived(DurableEntry& entry) noexcept {
  const std::shared_ptr<DurableEntry> keep = entry.under_way_;  // and with it this, until the lock is let go
  entry.settled_.store(true, sync::relaxed);
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(entry);
  }
  arrived_.notify_one();
}

void DurableCore::publish_live(RoutePublisher& publisher, DurableEntry& entry, const LogPlace* place) noexcept {
  entry.outcome_ = router_->publish_reserved(publisher, std::move(entry.message_), entry.attributes_, place);
  if (entry.outcome_) return;
  const std::lock_guard lock(mutex_);
  ++stats_.undeliverable;
}

void DurableCore::run() noexcept {
  delivering = this;
  for (;;) {
    Queue batch;
    {
      std::unique_lock lock(mutex_);
      arrived_.wait(lock, [this] { return !queue_.empty() || stopping_; });
      if (queue_.empty()) return;
      batch.swap(queue_);
    }
    while (!batch.empty()) {
      DurableEntry& entry = batch.front();
      batch.pop_front();
      deliver(entry);
    }
  }
}

void DurableCore::deliver(DurableEntry& entry) noexcept {
  const std::shared_ptr<DurableEntry> keep = std::move(entry.under_way_);
  if (!entry.error_ && !entry.duplicate_ && entry.row_->delivery == Delivery::after_commit) {
    const LogPlace place{number_, entry.offset_};
    publish_live(publisher_, entry, &place);
  }
  {
    const std::lock_guard lock(mutex_);
    ++(entry.error_ ? stats_.refused : stats_.committed);
  }
  give_room(entry.charge_);
  entry.end();
}

DurableTopicsStats DurableCore::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

}  // namespace detail

// --- The handles. ---

result<PublishReceipt> PendingPublishReceipt::wait(const std::chrono::steady_clock::time_point* deadline) const {
  return entry_->core_->wait(*entry_, deadline);
}

bool PendingPublishReceipt::ready() const noexcept { return entry_->is_done(); }

DurableTopics::DurableTopics(Router& router, Log& log, DurableTopicsOptions options)
    : core_(std::make_shared<detail::DurableCore>(router, log, std::move(options))) {}

DurableTopics::~DurableTopics() { (void)close(); }

result<PublishReceipt> DurableTopics::publish(Message message, const Attributes& attributes,
                                              const LogAttributes& logged) {
  return core_->publish(std::move(message), attributes, logged, nullptr);
}

result<PublishReceipt> DurableTopics::publish_until(Message message, std::chrono::steady_clock::time_point deadline,
                                                    const Attributes& attributes, const LogAttributes& logged) {
  return core_->publish(std::move(message), attributes, logged, &deadline);
}

result<PendingPublishReceipt> DurableTopics::submit(Message message, const Attributes& attributes,
                                                    const LogAttributes& logged) {
  return core_->submit(std::move(message), attributes, logged, nullptr);
}

result<PendingPublishReceipt> DurableTopics::submit_until(Message message,
                                                          std::chrono::steady_clock::time_point deadline,
                                                          const Attributes& attributes, const LogAttributes& logged) {
  return core_->submit(std::move(message), attributes, logged, &deadline);
}

const DurableTopic* DurableTopics::row(const Topic& topic) const noexcept { return core_->row(topic); }
std::uint8_t DurableTopics::number() const noexcept { return core_->number(); }
DurableTopicsStats DurableTopics::stats() const { return core_->stats(); }

error_code DurableTopics::close(const std::chrono::steady_clock::time_point* deadline) noexcept {
  return core_->close(deadline);
}

}  // namespace bus
