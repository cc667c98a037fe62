// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What is wrong with values that are each fit by themselves.
#pragma once

#include "config/keys.hpp"

#include <string>
#include <vector>

namespace bus::detail {

struct Contradiction {
  Part part{};
  std::string instance;
  std::vector<std::string> keys;  ///< the first one is told; all have a share in it
  std::string found;
  std::string allowed;
};

std::vector<Contradiction> contradictions(const Config& config);

}  // namespace bus::detail
