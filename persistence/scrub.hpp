// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Reads all that is committed and checks it, at a set rate.
#pragma once

#include "persistence/log_reader.hpp"

#include <functional>

namespace bus::detail {

/// What is missing is told to the source. Errors: those of the storage; operation_canceled, if told to stop.
/// Errors: throws std::bad_alloc.
error_code scrub_segments(ReadSource& source, const ScrubOptions& options, const std::function<bool()>& stop);

}  // namespace bus::detail
