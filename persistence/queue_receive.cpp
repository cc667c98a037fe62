// SPDX-License-Identifier: MIT OR Apache-2.0
#include "persistence/log_core.hpp"
#include "persistence/queue_core.hpp"
#include "persistence/queue_waits.hpp"

#include <bus/detail/group_async.hpp>

#include <boost/system/errc.hpp>

#include <algorithm>
#include <new>
#include <utility>

namespace bus::detail {

/// What it does with the log it does under the queue's lock, as the log may end at any other time.
class QueueReceive final : public PendingReceive, public QueueWait {
 public:
  QueueReceive(std::shared_ptr<QueueCore> queue, std::uint16_t member, std::size_t most,
               const std::optional<Deadline>& deadline)
      : queue_(std::move(queue)), member_(member), most_(most), deadline_(deadline) {
    const std::lock_guard lock(queue_->mutex_);
    left_ = queue_->table_.left(member_);
  }
  ~QueueReceive() override { give_back(); }

  std::optional<result<LeaseBatch>> advance() noexcept override {
    QueueWaits::renew(*this);
    if (waited_.more) queue_->mutex_.let_others();
    try {
      if (!asked_) {
        if (const error_code error = lease()) return fail(error);
      }
      if (asked_) {
        const auto outcome = noted();
        if (!outcome) return std::nullopt;
        asked_.reset();
        if (*outcome) return fail(*outcome);
      }
      LeaseBatch received = queue_->hand_out(batch_);
      const bool in_time = !deadline_ || waited_.now < *deadline_ || waited_.more;
      if (received.leases.empty() && received.missed == 0 && in_time) return std::nullopt;
      return received;
    } catch (const std::bad_alloc&) {
      return fail(errc::out_of_memory);
    }
  }

  std::optional<std::chrono::nanoseconds> rest() const noexcept override {
    if (asked_) return std::nullopt;
    std::optional<Deadline> until = waited_.until;
    if (deadline_) until = std::min(until.value_or(*deadline_), *deadline_);
    if (!until) return std::nullopt;
    // Not so long that whoever adds it to a time need fear for the sum: it looks again, and waits on.
    return std::clamp(*until, waited_.now, waited_.now + std::chrono::hours(1)) - waited_.now;
  }

  void arm(AsyncWait& wait) noexcept override {
    const auto queue = queue_;  // once it is armed, others may end it
    {
      const std::lock_guard lock(queue->mutex_);
      if (queue->log_ != nullptr && queue->waits_->arm(*this, wait)) return;
    }
    wait.resume(AsyncWait::Reason::look_again);
  }

  bool withdraw() noexcept override { return queue_->waits_->withdraw(*this); }

  // In a thread that has the queue's lock, or is one of the log's.
  bool is_over() const noexcept override {
    const LogCore& log = *waited_.log;
    if (asked_) return log.outcome(*asked_).has_value();
    return queue_->changes_.load(std::memory_order_seq_cst) != waited_.changes ||
           waited_.log->segments().committed() > waited_.next || log.has_ended();
  }

 private:
  bool is_gone() const noexcept { return queue_->table_.left(member_) != left_; }
  static error_code gone() noexcept {
    return {boost::system::errc::operation_canceled, boost::system::system_category()};
  }

  error_code lease() {
    const std::lock_guard lock(queue_->mutex_);
    if (is_gone()) return gone();
    const error_code error = queue_->lease(member_, most_, batch_, waited_);
    // A further attempt is known to be one before anybody makes it.
    if (!error && batch_.items) asked_ = queue_->log_->ask_for_items(*batch_.items);
    return error;
  }

  std::optional<error_code> noted() const noexcept {
    const std::lock_guard lock(queue_->mutex_);
    if (queue_->log_ == nullptr) return errc::closed;
    if (is_gone()) return gone();
    return queue_->log_->outcome(*asked_);
  }

  error_code fail(error_code error) noexcept {
    give_back();
    return error;
  }

  void give_back() noexcept {
    if (!batch_.taken.empty() || batch_.missed != 0) queue_->give_back(batch_);
    batch_ = {};
  }

  const std::shared_ptr<QueueCore> queue_;
  const std::uint16_t member_;
  const std::size_t most_;
  const std::optional<Deadline> deadline_;
  std::uint32_t left_ = 0;
  QueueCore::Batch batch_;
  QueueCore::Waited waited_;
  std::optional<ItemQueue::Asked> asked_;  // that the batch has to wait for
};

std::unique_ptr<PendingReceive> PendingReceive::make(const Member& member, std::size_t most,
                                                     const std::optional<Deadline>& deadline) {
  return std::make_unique<QueueReceive>(MemberAccess::queue(member), MemberAccess::id(member), most, deadline);
}

}  // namespace bus::detail
