// SPDX-License-Identifier: MIT OR Apache-2.0
//
// One vocabulary of errors for the whole library.
//
// Three channels are kept apart. Outcomes of normal running (an empty ring, a closed bus seen by a
// receiver, a wait that timed out) are values of the call's own type. Failures are `result<T>` with an
// `errc`. Exceptions come only from constructors, `subscribe`s and setters given impossible options
// (`std::invalid_argument`), from what is missing when something begins (`boost::system::system_error`,
// `std::system_error` for a thread), and, where a call says so, for want of memory (`std::bad_alloc`); their text
// says what was given and what is allowed.
#pragma once

#include <bus/export.hpp>

#include <boost/system/error_code.hpp>
#include <boost/system/result.hpp>

namespace bus {

/// Every failure of the library. Values are part of the interface: numbered, never reused.
enum class errc : int {
  closed = 1,              ///< the bus, the router or the log is closed; nothing was taken
  topic_invalid = 2,       ///< not a topic: see `Topic` for the grammar
  pattern_invalid = 3,     ///< not a pattern: see `TopicPattern` for the grammar
  principal_invalid = 4,   ///< not a principal: see `Principal`
  payload_too_large = 5,   ///< over `BusOptions::max_payload_bytes`, a rate limit, or a segment of the log
  name_invalid = 6,        ///< a name over 64 bytes, or with a space or a control byte; a text too long for the log
  nodes_exhausted = 7,     ///< users hold so many events that the ring has no node left
  observer_too_deep = 8,   ///< publishes nested in observers more than 16 deep
  schema_mismatch = 9,     ///< a typed read of a payload that has another schema
  decode_failed = 10,      ///< a schema could not read the bytes
  out_of_memory = 11,      ///< there was no memory for it; nothing was taken
  rate_limited = 12,       ///< the owner has sent too much for this principal lately; nothing was published
  gate_not_staged = 13,    ///< the gate was published or retired before
  too_many_routes = 14,    ///< the owner has as many routes as it may
  log_damaged = 15,        ///< what the disk gave back is not what was written
  log_version_unsupported = 16,  ///< written by a later version, which this one would misread
  key_too_long = 17,       ///< `Attributes::key` is over 255 bytes; nothing was published
  log_locked = 18,         ///< another holder has the log open to write
  log_read_only = 19,      ///< a write or a sync failed before, or too much was lost; nothing more is taken
  overloaded = 20,         ///< more is waiting to be written than may
  log_foreign = 21,        ///< a segment in the directory belongs to another log
  timed_out = 22,          ///< the deadline passed; what was begun may be done yet
  topic_durable = 23,      ///< only the DurableTopics bound to the router publish on it; nothing was published
  producer_fenced = 24,    ///< a later epoch of the producer has come; nothing was taken
  sequence_gap = 25,       ///< not the producer's next sequence, nor one that is there; nothing was taken
  batch_mixed = 26,        ///< the log has a part of the batch already; nothing was taken
  outcome_forgotten = 27,  ///< the receipt was kept so long that what became of it is not known any more
};

using boost::system::error_code;

/// A value, or why there is none.
template <class T>
using result = boost::system::result<T>;

/// The category named "bus".
/// Threads: any. Lifetime: for ever; needs no initialisation at run time.
BUSBAR_EXPORT const boost::system::error_category& bus_category() noexcept;

/// Lets an `errc` stand where an `error_code` is wanted.
inline error_code make_error_code(errc e) noexcept { return {static_cast<int>(e), bus_category()}; }

/// Whether the same call may succeed later without the caller changing anything.
/// Threads: any.
BUSBAR_EXPORT bool is_retryable(const error_code& code) noexcept;

}  // namespace bus

template <>
struct boost::system::is_error_code_enum<bus::errc> : std::true_type {};
