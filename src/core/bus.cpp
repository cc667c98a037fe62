// SPDX-License-Identifier: MIT OR Apache-2.0
#include <bus/bus.hpp>

#include "core/core.hpp"

#include <stdexcept>
#include <string>
#include <utility>

namespace bus {

std::string_view to_string(Outcome outcome) noexcept {
  switch (outcome) {
    case Outcome::event: return "event";
    case Outcome::empty: return "empty";
    case Outcome::timed_out: return "timed_out";
    case Outcome::stopped: return "stopped";
    case Outcome::closed: break;
  }
  return "closed";
}

std::string_view to_string(BodyKind kind) noexcept {
  switch (kind) {
    case BodyKind::health: return "health";
    case BodyKind::config_updated: return "config_updated";
    case BodyKind::service_crashed: return "service_crashed";
    case BodyKind::shutdown: return "shutdown";
    case BodyKind::message: break;
  }
  return "message";
}

std::string_view to_string(Warning::Kind kind) noexcept {
  switch (kind) {
    case Warning::Kind::lagged: return "lagged";
    case Warning::Kind::nodes_grew: return "nodes_grew";
    case Warning::Kind::observer_threw: return "observer_threw";
    case Warning::Kind::names_folded: break;
  }
  return "names_folded";
}

namespace detail {

CoreRef::CoreRef(const CoreRef& other) noexcept : core_(other.core_) {
  if (core_ != nullptr) core_->retain();
}

CoreRef::~CoreRef() {
  if (core_ != nullptr) core_->release();
}

}  // namespace detail

// --- EventRef: one count in the event's node, one in the core. ---

EventRef::EventRef(const EventRef& other) noexcept : event_(other.event_), core_(other.core_) {
  if (event_ == nullptr) return;
  core_->retain();
  core_->ring.keep(const_cast<Event&>(*event_));
}

EventRef::~EventRef() {
  if (event_ == nullptr) return;
  core_->release_event(*event_);
  core_->release();
}

EventRef Received::keep() const noexcept {
  if (event_ == nullptr) return {};
  core_->retain();
  core_->ring.keep(const_cast<Event&>(*event_));
  return detail::EventAccess::adopt(event_, core_);
}

EventRef Batch::keep(std::size_t i) const noexcept {
  core_->retain();
  core_->ring.keep(const_cast<Event&>(*events_[i]));
  return detail::EventAccess::adopt(events_[i], core_);
}

// --- Sender ---

Sender::Sender(detail::CoreRef core, const std::string* source) noexcept : core_(std::move(core)), source_(source) {}

Sender::Sender(const Sender& other) noexcept : core_(other.core_), source_(other.source_) {}

Sender::Sender(Sender&& other) noexcept
    : core_(std::move(other.core_)), record_(std::exchange(other.record_, nullptr)), source_(other.source_) {}

Sender& Sender::operator=(Sender other) noexcept {
  std::swap(core_, other.core_);
  std::swap(record_, other.record_);
  std::swap(source_, other.source_);
  return *this;
}

Sender::~Sender() {
  if (record_ != nullptr) core_->publishers.release(*record_);
}

// --- Observer ---

void Observer::reset() noexcept {
  if (record_ != nullptr) core_->observers.detach(*std::exchange(record_, nullptr));
  core_ = {};
}

// --- Bus ---

Bus::Bus(BusOptions options) : core_(new detail::Core(std::move(options))) {}

Bus::~Bus() { core_->close(); }

Receiver Bus::subscribe(SubscribeOptions options) { return Receiver(core_->subscribe(std::move(options))); }

Sender Bus::sender(std::string_view source) { return {core_, core_->intern_source(source)}; }

Observer Bus::observe(std::string_view name, std::function<void(const Event&)> function) {
  if (const auto wrong = detail::name_fault(name, limits::max_name_bytes); !wrong.empty()) {
    detail::throw_invalid("observer name", name, wrong);
  }
  if (!function) throw std::invalid_argument("observer '" + std::string(name) + "': its function is empty");
  return {core_, &core_->observers.attach(name, std::move(function))};
}

void Bus::close() noexcept { core_->close(); }

bool Bus::closed() const noexcept { return core_->closed(); }

DrainReport Bus::drain(std::chrono::steady_clock::time_point deadline) { return core_->drain(deadline); }

std::uint64_t Bus::capacity() const noexcept { return core_->ring.capacity(); }

void Bus::set_warnings_per_minute(std::uint32_t most) noexcept { core_->warnings.set_per_minute(most); }

BusStats Bus::stats() const { return core_->stats(); }

}  // namespace bus
