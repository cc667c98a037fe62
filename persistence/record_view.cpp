// SPDX-License-Identifier: MIT OR Apache-2.0
#include "persistence/block.hpp"
#include "persistence/format.hpp"

#include <bus/persistence/record.hpp>

#include <chrono>
#include <optional>

namespace bus {
namespace detail {

void intrusive_ptr_add_ref(const Block* block) noexcept { block->references_.fetch_add(1, std::memory_order_relaxed); }
void intrusive_ptr_release(const Block* block) noexcept {
  if (block->references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete block;
}

}  // namespace detail

namespace {

/// The reader has seen that they make sense.
detail::RecordFields fields_of(std::span<const std::byte> bytes) noexcept {
  if (bytes.empty()) return {};
  const auto fields = detail::decode_fields(bytes);
  return fields ? *fields : detail::RecordFields();
}

std::optional<std::chrono::system_clock::time_point> time_of(const std::optional<std::int64_t>& nanoseconds) noexcept {
  using namespace std::chrono;
  if (!nanoseconds) return std::nullopt;
  return system_clock::time_point(duration_cast<system_clock::duration>(std::chrono::nanoseconds(*nanoseconds)));
}

}  // namespace

std::string_view RecordView::key() const noexcept { return fields_of(fields_).key; }
std::string_view RecordView::source() const noexcept { return fields_of(fields_).source; }
std::optional<CorrelationId> RecordView::correlation() const noexcept { return fields_of(fields_).correlation; }
std::optional<TraceContext> RecordView::trace() const noexcept { return fields_of(fields_).trace; }
bool RecordView::terminal() const noexcept { return fields_of(fields_).terminal; }
std::string_view RecordView::message_id() const noexcept { return fields_of(fields_).message_id; }
std::optional<Producer> RecordView::producer() const noexcept { return fields_of(fields_).producer; }
std::optional<std::uint8_t> RecordView::priority() const noexcept { return fields_of(fields_).priority; }
std::optional<std::chrono::system_clock::time_point> RecordView::due() const noexcept {
  return time_of(fields_of(fields_).due_ns);
}
std::optional<std::chrono::system_clock::time_point> RecordView::expiry() const noexcept {
  return time_of(fields_of(fields_).expiry_ns);
}

std::span<const std::byte> RecordView::headers() const noexcept { return fields_of(fields_).headers; }
std::optional<Header> RecordView::take_header(std::span<const std::byte>& rest) noexcept {
  return detail::decode_text_header(rest);
}

}  // namespace bus
