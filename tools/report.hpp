// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include "replay.hpp"

#include <string>

namespace busbar {

/// A table of receivers, one of routes, and a line about the whole, for a person.
std::string as_table(const ReplayReport& report);

/// One JSON object on one line, for a program.
std::string as_json(const ReplayReport& report);

}  // namespace busbar
