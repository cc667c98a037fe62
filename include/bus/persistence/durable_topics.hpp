// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Durable topics: a router and a log, bound by a table of patterns. A topic becomes durable by being named there.
//
//   bus::Log log = bus::Log::open("/var/lib/host/events").value();
//   bus::Router router{hub};
//   bus::DurableTopics topics{router, log, {.table = {{"agent.v1.done"}, {"audit.>"}}}};
//
//   auto receipt = topics.publish({.topic = "agent.v1.done", .principal = "agent.mira", .payload = text});
//   if (receipt) …receipt->offset()…        // it is on the disk
//   if (receipt && receipt->delivery()) …   // and this many routes have it: delivery()->taken
//
// Table     The first row whose pattern matches a topic is the one that counts. A topic that none matches is not
//           durable: its messages are passed to the router, and wait for nothing.
// Delivery  Live receivers get a message after it has become as durable as its row says, so that what they see is in
//           the log. One thread delivers, in the order of offsets, each message once. Sequence, gates, scopes and
//           budgets are looked at then. The event tells its place in the log. A message that was refused, for the disk
//           is full or failed, is delivered to nobody. A row may say `at_once` instead; see there.
// Waiting   Delivery waits for no reader, and commits wait for no delivery: a route without room does as its `overflow`
//           says, and one that would have a publisher wait refuses. An observer, which runs in the thread that
//           delivers, can hold delivery up: then receipts wait, and publishes too, or are refused, once
//           `undelivered_bytes` are on their way.
// Order     What was published before another publish began has the lower offset and is delivered first. A message of
//           the same principal on a topic that is not durable may overtake.
// Router    While they are bound, `Router::publish` refuses durable topics, with topic_durable. What is appended to the
//           log by itself, or sent on the bus alone, concerns nobody here.
// Limits    A publish passes the router's rate limiter as `Router::publish` does, for which there is no sender either:
//           with an empty owner. What is not taken, as it found no room in time, costs nothing of what was saved up.
// Crash     What was committed and not yet delivered is in the log, and nobody is told of it by a later opening: groups
//           and readers find it there.
// Amnesia   A bus with `BusOptions::amnesia` cannot be bound.
// Lifetime  The log must outlive them, unmoved; it may be closed and reopened meanwhile, while nobody publishes or
//           waits. Router and bus may go before. Pending receipts may outlive all. An observer that runs in the thread
//           that delivers must not destroy them.
#pragma once

#include <bus/detail/log_async.hpp>
#include <bus/error.hpp>
#include <bus/event.hpp>
#include <bus/export.hpp>
#include <bus/persistence/log.hpp>
#include <bus/routing/router.hpp>
#include <bus/topic.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace bus {

namespace detail {

class DurableCore;
class DurableEntry;

}  // namespace detail

/// When live receivers get a durable message.
enum class Delivery : std::uint8_t {
  after_commit,  ///< when it is as durable as promised
  at_once,  ///< when the log has taken it, by the publisher's own thread. Its commit may fail yet, or a crash prevent
            ///< it, and then receivers have seen what is in no log. The event has no place; and of concurrent publishes
            ///< live receivers may see another order than that of offsets
};

/// One row of the table.
struct DurableTopic {
  TopicPattern pattern;
  Durability durability = Durability::synced;
  Delivery delivery = Delivery::after_commit;
};

/// What is chosen when a router and a log are bound.
struct DurableTopicsOptions {
  /// The first that matches counts. At least one.
  std::vector<DurableTopic> table;

  /// Messages that were taken and are not delivered yet: payload, topic and `route_entry_bytes` each. Beyond it
  /// publishes are `overloaded`, or wait. A message above it is taken when there is no other.
  std::size_t undelivered_bytes = std::size_t{16} << 20;
};

/// What a publisher may say of a durable message besides, which the log alone carries: see `Record`. Refers to the
/// caller's memory, for the length of the call.
struct LogAttributes {
  std::span<const Header> headers = {};
  std::string_view message_id = {};
  std::optional<Producer> producer = {};
};

/// What became of a publish.
class PublishReceipt {
 public:
  /// Whether it is in the log. On a topic that is not durable it is not.
  bool durable() const noexcept { return durability_.has_value(); }

  /// Of a durable one.
  std::uint64_t offset() const noexcept { return offset_; }

  /// Whether the log had it already: see `DedupOptions`. Live receivers do not get it again, unless they get it at
  /// once.
  bool duplicate() const noexcept { return duplicate_; }

  /// What is promised; nothing, if it is not durable.
  std::optional<Durability> durability() const noexcept { return durability_; }

  /// The log's own receipt, if as much as `D` is promised.
  template <Durability D>
  std::optional<Receipt<D>> logged() const noexcept {
    if (!durability_ || *durability_ < D) return std::nullopt;
    return detail::LogAccess::receipt<D>(offset_, duplicate_);
  }

  /// What became of it in the router. An error, such as closed or out_of_memory, says that live receivers do not get
  /// it, though it is in the log: it must not be published again for that.
  const result<PublishOutcome>& delivery() const noexcept { return delivery_; }

 private:
  friend class detail::DurableCore;
  PublishReceipt(std::optional<Durability> durability, std::uint64_t offset, result<PublishOutcome> delivery,
                 bool duplicate = false)
      : durability_(durability), offset_(offset), duplicate_(duplicate), delivery_(std::move(delivery)) {}
  std::optional<Durability> durability_;
  std::uint64_t offset_;
  bool duplicate_;
  result<PublishOutcome> delivery_;
};

/// A receipt that may have to be waited for. Commit and delivery go on whether or not anybody does; dropping it forgets
/// it. Cheap to copy.
/// Threads: one at a time. Lifetime: may outlive the DurableTopics, and is ready then.
class [[nodiscard]] BUSBAR_EXPORT PendingPublishReceipt {
 public:
  /// Waits until it is committed and delivered. May commit what waits, in this thread.
  /// Errors: why it was not committed, and so not delivered: log_read_only; no_space_on_device; closed.
  ///         resource_deadlock_would_occur in an observer that runs in the thread that delivers, unless it is ready.
  result<PublishReceipt> wait() const { return wait(nullptr); }

  /// As `wait`, until `deadline`.
  /// Errors: timed_out; it may be committed and delivered yet. And those of `wait`.
  result<PublishReceipt> wait_until(std::chrono::steady_clock::time_point deadline) const { return wait(&deadline); }

  /// Whether `wait` would return at once.
  bool ready() const noexcept;

 private:
  friend class detail::DurableCore;
  explicit PendingPublishReceipt(std::shared_ptr<detail::DurableEntry> entry) noexcept : entry_(std::move(entry)) {}
  result<PublishReceipt> wait(const std::chrono::steady_clock::time_point* deadline) const;
  std::shared_ptr<detail::DurableEntry> entry_;
};

/// What has been counted of durable messages. What the log takes is `undelivered`, then `committed` or `refused`.
struct DurableTopicsStats {
  std::uint64_t committed = 0;
  std::uint64_t refused = 0;  ///< not committed
  std::uint64_t undeliverable = 0;  ///< that the router did not take: see `PublishReceipt::delivery`
  std::uint64_t undelivered = 0;  ///< on their way now
  std::uint64_t undelivered_bytes = 0;
  std::uint64_t overloads = 0;  ///< publishes refused for want of room for the undelivered
};

/// See the head of this file. Threads: all functions from any thread, but `close`.
class BUSBAR_EXPORT DurableTopics {
 public:
  /// Binds them. A publish on the router that begins afterwards is refused on durable topics.
  /// Cost: starts a thread.
  /// Errors: throws std::invalid_argument, naming the option that is wrong, or if the router is bound already or its
  ///         bus has amnesia; std::bad_alloc; std::system_error if there is no thread to be had.
  DurableTopics(Router& router, Log& log, DurableTopicsOptions options);

  /// Closes.
  ~DurableTopics();
  DurableTopics(const DurableTopics&) = delete;
  DurableTopics& operator=(const DurableTopics&) = delete;

  /// Publishes what `Router::publish` takes, and waits until it is committed and delivered. An object is encoded for
  /// the log; live receivers get the object itself. `Attributes::key` is the key of the record, too. Blocks: for the
  /// commit and for what is to be delivered before, if the topic is durable; else never. Errors: those of
  /// `Router::publish`, the router's rate limiter among them, and of `Log::append`; overloaded, beyond
  ///         `undelivered_bytes`. It was not delivered then, and with those that come before the commit not taken.
  ///         resource_deadlock_would_occur in an observer that runs in the thread that delivers: it must `submit`.
  ///         Throws what encoding an object throws; nothing was taken then.
  result<PublishReceipt> publish(Message message, const Attributes& attributes = {}, const LogAttributes& logged = {});

  /// Waits for room too, of the log and of the undelivered; on a topic that is not durable as `Router::publish_until`.
  /// Errors: timed_out; it may be committed and delivered yet. And those of `publish`.
  result<PublishReceipt> publish_until(Message message, std::chrono::steady_clock::time_point deadline,
                                       const Attributes& attributes = {}, const LogAttributes& logged = {});

  /// Hands it over and does not wait. Errors: as `publish`; those of the disk come with the receipt.
  result<PendingPublishReceipt> submit(Message message, const Attributes& attributes = {},
                                       const LogAttributes& logged = {});

  /// Waits for room until then. Errors: timed_out; it was not taken then.
  result<PendingPublishReceipt> submit_until(Message message, std::chrono::steady_clock::time_point deadline,
                                             const Attributes& attributes = {}, const LogAttributes& logged = {});

  /// The row that counts for a topic; nullptr if it is not durable. Cost: O(rows).
  const DurableTopic* row(const Topic& topic) const noexcept;

  /// `LogPlace::log` of what is delivered here.
  std::uint8_t number() const noexcept;

  /// What has been counted so far.
  DurableTopicsStats stats() const;

  /// Takes nothing more, waits until what was taken is committed and delivered, and unbinds the router. Any number of
  /// times, one at a time. Errors: resource_deadlock_would_occur in an observer that runs in the thread that delivers.
  error_code close() noexcept { return close(nullptr); }

  /// As `close`, until `deadline`.
  /// Errors: timed_out: something is on its way yet, and goes on. Nothing more is taken, and closing again waits again.
  error_code close_until(std::chrono::steady_clock::time_point deadline) noexcept { return close(&deadline); }

 private:
  error_code close(const std::chrono::steady_clock::time_point* deadline) noexcept;
  const std::shared_ptr<detail::DurableCore> core_;
};

}  // namespace bus
