// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A log through crashes, failures and damage, all of it from one seed, against what it promised.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace bus::simulation {

/// Opens, uses and strikes one log several times, and looks after each time whether laws LOG-1 to LOG-6 were kept and
/// whether it goes on.
/// Returns: which law was broken, and how; nothing if none was. The same for the same seed.
std::optional<std::string> simulate_log(std::uint64_t seed);

}  // namespace bus::simulation
