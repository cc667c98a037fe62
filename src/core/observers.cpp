// SPDX-License-Identifier: MIT OR Apache-2.0
#include "core/observers.hpp"

#include "core/core.hpp"

#include <utility>

namespace bus::detail {
namespace {

/// One running call, on the stack of the thread that makes it.
struct Call {
  const Observers* observers;
  const ObserverRecord* record;
  Call* outer;
};

constinit thread_local Call* innermost = nullptr;

}  // namespace

ObserverRecord& Observers::attach(std::string_view name, std::function<void(const Event&)> function) {
  std::string kept(name.empty() ? std::string_view("untagged") : name);
  ObserverRecord& record = records_.acquire();
  record.name = std::move(kept);
  record.function = std::move(function);
  record.thrown.store(0, sync::relaxed);
  record.gate.open();
  attached_.fetch_add(1, sync::release);
  return record;
}

void Observers::detach(ObserverRecord& record) noexcept {
  for (const Call* call = innermost; call != nullptr; call = call->outer) {
    if (call->record == &record) {
      attached_.fetch_sub(1, sync::relaxed);
      record.gate.close_from_inside();
      return;
    }
  }
  attached_.fetch_sub(1, sync::relaxed);
  record.gate.close();
  end(record);
}

void Observers::end(ObserverRecord& record) noexcept {
  record.function = nullptr;
  records_.release(record);
}

void Observers::run(const Event& event, Warnings& warnings) noexcept {
  records_.for_each([&](ObserverRecord& record) {
    const auto entry = record.gate.enter();
    if (entry == RunGate<>::Entry::ends) end(record);
    if (entry != RunGate<>::Entry::inside) return;
    Call call{this, &record, innermost};
    innermost = &call;
    try {
      record.function(event);
    } catch (...) {
      exceptions_.fetch_add(1, sync::relaxed);
      warnings.warn(Warning::Kind::observer_threw, record.name, record.thrown.fetch_add(1, sync::relaxed) + 1);
    }
    innermost = call.outer;
    if (record.gate.leave()) end(record);
  });
}

unsigned Observers::depth() const noexcept {
  unsigned depth = 0;
  for (const Call* call = innermost; call != nullptr; call = call->outer) depth += call->observers == this ? 1U : 0U;
  return depth;
}

}  // namespace bus::detail
