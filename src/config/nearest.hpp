// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace bus::detail {

/// The one that somebody most likely meant who wrote `given`: a few characters away, or with its unit left out. Empty
/// if none is. Cost: O(bytes of all x bytes given).
std::string_view nearest(std::string_view given, std::span<const std::string> known);

/// " (did you mean capacity?)": stands behind what was found. What is allowed is all there is, whatever was meant.
std::string did_you_mean(std::string_view what);

}  // namespace bus::detail
