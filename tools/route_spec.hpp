// SPDX-License-Identifier: MIT OR Apache-2.0
//
// One route of a replay, as the command line says it: NAME:PATTERN[,PATTERN]...[;OPTION=VALUE]...
#pragma once

#include <bus/routing/options.hpp>

#include <optional>
#include <string_view>

namespace busbar {

struct RouteSpec {
  bus::RouteOptions options;  ///< its owner is its name
  std::optional<double> events_per_second = {};  ///< at which it reads; 0: not before everything has been published
};

/// Reads one. The options are budget=BYTES (or KiB, MiB), principal=P (empty: the system), policy=NAME and
/// rate=EVENTS_PER_SECOND. What is not given is as in bus::RouteOptions, and the route reads as fast as it can.
/// Errors: throws std::invalid_argument that names what is wrong and what is allowed.
RouteSpec parse_route(std::string_view text);

}  // namespace busbar
