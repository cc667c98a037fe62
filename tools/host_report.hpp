// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include "host.hpp"

#include <cstdint>
#include <string>

namespace busbar {

/// For people: what was published, and a table each of receivers, routes, groups and logs, as far as there are any.
std::string as_table(const HostReport& report, std::uint64_t skipped_lines);

/// As one JSON object on a line of its own.
std::string as_json(const HostReport& report, std::uint64_t skipped_lines);

}  // namespace busbar
