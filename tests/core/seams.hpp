// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <functional>
#include <string_view>

namespace bus_test {

/// What this thread does where the library has a seam, by the seam's name.
inline thread_local std::function<void(std::string_view)> at_seam;

}  // namespace bus_test
