// SPDX-License-Identifier: MIT OR Apache-2.0
#include <bus/error.hpp>

#include <boost/system/errc.hpp>

#include <string>
#include <type_traits>

namespace bus {
namespace {

const char* describe(int value) noexcept {
  switch (static_cast<errc>(value)) {
    case errc::closed: return "the bus, the router or the log is closed";
    case errc::topic_invalid: return "the topic is empty or breaks the grammar of topics";
    case errc::pattern_invalid: return "the pattern is empty or breaks the grammar of patterns";
    case errc::principal_invalid: return "the principal is longer than 128 bytes or holds a space or a control byte";
    case errc::payload_too_large: return "the payload is larger than is accepted";
    case errc::name_invalid: return "the name is too long, or holds a space or a control byte";
    case errc::nodes_exhausted: return "so many events are being held that the ring has no node left";
    case errc::observer_too_deep: return "observers published from inside observers more than 16 deep";
    case errc::schema_mismatch: return "the payload is an object of another schema";
    case errc::decode_failed: return "the schema could not read the bytes of the payload";
    case errc::out_of_memory: return "there was not enough memory";
    case errc::rate_limited: return "the owner has sent too much on behalf of this principal lately";
    case errc::gate_not_staged: return "the gate was published or retired before";
    case errc::too_many_routes: return "the owner has as many routes as it may have";
    case errc::log_damaged: return "what the disk gave back is not what was written there";
    case errc::log_version_unsupported: return "the log was written by a later version of the library";
    case errc::log_locked: return "the log is open for writing elsewhere";
    case errc::log_read_only: return "the log takes nothing more: a write or a sync failed, or too much of it was lost";
    case errc::overloaded: return "more is waiting to be written than the log may hold";
    case errc::log_foreign: return "a segment in the directory belongs to another log";
    case errc::timed_out: return "the deadline passed";
    case errc::topic_durable: return "the topic is durable: it is published through the DurableTopics of the router";
    case errc::key_too_long: return "the key is longer than 255 bytes";
    case errc::producer_fenced: return "a later epoch of the producer has sent something";
    case errc::sequence_gap: return "it is not what the producer has to send next, nor what the log has";
    case errc::batch_mixed: return "the log has a part of the batch already, or it holds a message twice";
    case errc::outcome_forgotten: return "the receipt was waited for so late that its outcome is not known any more";
  }
  return value == 0 ? "success" : "unknown error of the bus";
}

class Category final : public boost::system::error_category {
 public:
  /// The number makes the category equal to itself when the library is linked into a process twice.
  constexpr Category() noexcept : error_category(0x8B5C'1D0E'62F7'A394U) {}

  const char* name() const noexcept override { return "bus"; }
  std::string message(int value) const override { return describe(value); }
  const char* message(int value, char*, std::size_t) const noexcept override { return describe(value); }
};

// Constructed by the compiler and never destroyed: errors can be told before and after main().
constinit const Category category;
static_assert(std::is_trivially_destructible_v<Category>);

}  // namespace

const boost::system::error_category& bus_category() noexcept { return category; }

bool is_retryable(const error_code& code) noexcept {
  return code == errc::nodes_exhausted || code == errc::out_of_memory || code == errc::rate_limited ||
         code == errc::overloaded || code == boost::system::errc::no_space_on_device;
}

}  // namespace bus
