// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Which of the planted bugs is switched on: see plant_bugs.py.
#pragma once

#include <cstddef>

namespace bus::planted {

inline std::size_t bug = 0;  ///< from 1; 0 is none

inline bool is(std::size_t number) noexcept { return bug == number; }

}  // namespace bus::planted
