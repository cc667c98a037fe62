// SPDX-License-Identifier: MIT OR Apache-2.0
#include "consumers.hpp"

#include "json_text.hpp"
#include "output.hpp"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <exception>
#include <string_view>
#include <utility>
#include <vector>

namespace busbar {
namespace {

using std::chrono::steady_clock;

/// How often a group's reader looks whether it is stopped.
constexpr auto glance = std::chrono::milliseconds(100);

/// What a group's reader waits when the log says that it cannot go on now.
constexpr auto pause_after_error = std::chrono::seconds(1);

constexpr std::size_t batch_size = 64;

std::string in_quotes(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// What has an outcome already is not concerned.
void give_back(std::vector<bus::Lease>& leases) {
  for (bus::Lease& lease : leases) static_cast<void>(lease.release());
}

/// Waits. Returns: false, once it is stopped.
bool pause(const std::stop_token& stop, std::chrono::nanoseconds time) {
  std::mutex mutex;
  std::condition_variable_any told;
  std::unique_lock lock(mutex);
  told.wait_for(lock, stop, time, [&] { return stop.stop_requested(); });
  return !stop.stop_requested();
}

}  // namespace

class Consumers::Work {
 public:
  Work(const char* kind, const std::string& name, const bus::ConsumerConfig& how, bool prints_payloads)
      : kind_(kind), name_(name), how_(how), prints_payloads_(prints_payloads) {}

  void take(const bus::Event& event, std::uint64_t missed, const std::stop_token& stop) {
    if (const auto* const message = event.get_if<bus::Message>()) return take(*message, missed, stop);
    if (prints()) put(head(missed) + ",\"event\":" + in_quotes(to_string(event.kind())) + "}\n", stop);
    finish(stop);
  }

  void take(const bus::Message& message, std::uint64_t missed, const std::stop_token& stop) {
    if (prints()) put(line(missed, message.topic.view(), message.principal.view(), message.payload.text()), stop);
    finish(stop);
  }

  /// Returns: whether it is done with it.
  bool take(const bus::RecordView& record, const std::stop_token& stop) {
    if (prints()) put(line(0, record.topic(), record.principal(), record.text()), stop);
    finish(stop);
    return !failed_;
  }

  /// An outcome that does not count is told once.
  void note(bus::LeaseOutcome outcome) {
    if (outcome == bus::LeaseOutcome::done || std::exchange(told_outcome_, true)) return;
    remark(std::string(kind_) + " " + name_ + ": an ack came to nothing: " + std::string(to_string(outcome)));
  }

 private:
  bool prints() const noexcept { return how_.kind == bus::Consumer::print && !failed_; }

  void finish(const std::stop_token& stop) const {
    if (how_.kind == bus::Consumer::slow) pause(stop, how_.delay);
  }

  std::string head(std::uint64_t missed) const {
    std::string text = "{\"" + std::string(kind_) + "\":" + in_quotes(name_);
    if (missed != 0) text += ",\"missed\":" + std::to_string(missed);
    return text;
  }

  std::string line(std::uint64_t missed, std::string_view topic, std::string_view principal,
                   std::string_view payload) const {
    std::string text = head(missed) + ",\"topic\":" + in_quotes(topic);
    if (!principal.empty()) text += ",\"principal\":" + in_quotes(principal);
    if (!prints_payloads_) return text + ",\"payload_bytes\":" + std::to_string(payload.size()) + "}\n";
    return text + ",\"payload\":" + (json_fault(payload) ? in_quotes(payload) : std::string(payload)) + "}\n";
  }

  /// A receiver or a route that cannot be printed is counted; a group ends. Who is stopped does not wait any more for
  /// somebody to read what is printed.
  void put(const std::string& text, const std::stop_token& stop) try {
    if (print_while(text, [&] { return !stop.stop_requested(); })) return;
    fail("standard output has no room, and the last one was not printed");
  } catch (const std::exception& error) {
    fail(error.what());
  }

  void fail(const std::string& why) {
    failed_ = true;
    remark(std::string(kind_) + " " + name_ + ": " + why);
  }

  const char* const kind_;
  const std::string name_;
  const bus::ConsumerConfig how_;
  const bool prints_payloads_;
  bool failed_ = false;
  bool told_outcome_ = false;
};

Consumers::~Consumers() { stop(); }

template <class Source>
void Consumers::read_to_the_end(Source& source, const char* kind, const std::string& name,
                                const bus::ConsumerConfig& how) {
  if (how.kind == bus::Consumer::none) return;
  Work work(kind, name, how, prints_payloads_);
  const std::lock_guard lock(mutex_);  // it is counted before it may end
  threads_.emplace_back([this, &source, work = std::move(work)](std::stop_token stop) mutable {
    while (!stop.stop_requested()) {
      const auto got = source.recv(stop);
      if (!got) break;
      work.take(*got, got.missed(), stop);
    }
    const std::lock_guard ending(mutex_);
    --reading_;
    ended_.notify_all();
  });
  ++reading_;
}

void Consumers::read(bus::Receiver& receiver, const std::string& name, const bus::ConsumerConfig& how) {
  read_to_the_end(receiver, "receiver", name, how);
}

void Consumers::read(bus::RouteReceiver& route, const std::string& name, const bus::ConsumerConfig& how) {
  read_to_the_end(route, "route", name, how);
}

void Consumers::read(bus::Group& group, const std::string& name, bus::GroupMode mode, const bus::ConsumerConfig& how) {
  if (how.kind == bus::Consumer::none) return;
  auto member = group.join({.name = mode == bus::GroupMode::broadcast ? name : ""});
  if (!member) throw_error("cannot join the group", name, member.error());
  const std::size_t most = how.kind == bus::Consumer::slow ? 1 : batch_size;
  threads_.emplace_back([member = std::move(*member), most, name,
                         work = Work("group", name, how, prints_payloads_)](std::stop_token stop) mutable {
    while (!stop.stop_requested()) {
      auto got = member.receive_until(most, steady_clock::now() + glance);
      if (!got) {
        if (got.error() == bus::errc::closed || got.error() == bus::errc::log_read_only) return;
        remark("group " + name + ": " + got.error().message());
        pause(stop, pause_after_error);
        continue;
      }
      for (bus::Lease& lease : got->leases) {
        if (stop.stop_requested()) return give_back(got->leases);
        if (!work.take(lease.record(), stop)) return give_back(got->leases);  // to who can print
        work.note(lease.ack());
      }
    }
  });
}

bool Consumers::wait_until(std::chrono::steady_clock::time_point deadline) {
  std::unique_lock lock(mutex_);
  return ended_.wait_until(lock, deadline, [this] { return reading_ == 0; });
}

void Consumers::stop() noexcept {
  for (std::jthread& thread : threads_) thread.request_stop();
  threads_.clear();
}

}  // namespace busbar
