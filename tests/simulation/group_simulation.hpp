// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Groups of a log through crashes, failures, slow members and clocks that are set, all of it from one seed, against
// what they promised.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace bus::simulation {

/// Opens a log with groups several times, works and strikes, and looks whether laws LOG-7 to LOG-10 were kept and
/// whether everything is finished in the end. Returns: which law was broken, and how; nothing if none was. The same for
/// the same seed.
std::optional<std::string> simulate_groups(std::uint64_t seed);

}  // namespace bus::simulation
