// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Reads all that is committed and checks it, at a set rate.
#pragma once

#include "persistence/log_reader.hpp"

#include <chrono>
#include <functional>

namespace bus::detail {

/// Waits until then, if it has not come yet. Returns: whether to stop.
using ScrubPause = std::function<bool(std::chrono::steady_clock::time_point until)>;

/// What is missing is told to the source. Errors: those of the storage; operation_canceled, if told to stop; throws
/// std::bad_alloc.
error_code scrub_segments(ReadSource& source, const ScrubOptions& options, const ScrubPause& pause);

}  // namespace bus::detail
