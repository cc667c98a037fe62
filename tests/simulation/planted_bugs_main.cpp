// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Whether the simulations of the log and of its groups catch each of the planted bugs.
//
//   planted_bugs SEEDS [FIRST LAST]   looks for each bug, or those, with as many seeds, at most; ends with the score
#include "simulation/group_simulation.hpp"
#include "simulation/log_simulation.hpp"
#include "simulation/planted.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iterator>
#include <optional>
#include <string>

namespace {

using bus::simulation::simulate_groups;
using bus::simulation::simulate_log;

struct Bug {
  const char* name;
  std::optional<std::string> (*simulate)(std::uint64_t seed);
};
constexpr Bug bugs[] = {
#include "planted_names.inc"
};

/// Returns: the first seed that catches the bug that is switched on; 0 if none does.
std::uint64_t catch_it(const Bug& bug, std::uint64_t seeds) {
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    try {
      if (bug.simulate(seed)) return seed;
    } catch (const std::exception&) {
      return seed;
    }
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const auto number = [&](int i, std::uint64_t otherwise) {
    return argc > i ? std::strtoull(argv[i], nullptr, 10) : otherwise;
  };
  const std::uint64_t seeds = number(1, 0);
  const std::size_t first = number(2, 1);
  const std::size_t last = std::min<std::size_t>(number(3, std::size(bugs)), std::size(bugs));
  if (seeds == 0 || first == 0 || first > last) {
    std::fprintf(stderr, "usage: %s SEEDS [FIRST LAST]\n", argv[0]);
    return 2;
  }
  std::size_t caught = 0;
  for (std::size_t bug = first; bug <= last; ++bug) {
    bus::planted::bug = bug;
    const std::uint64_t seed = catch_it(bugs[bug - 1], seeds);
    caught += seed != 0 ? 1 : 0;
    std::printf("%2zu %-62s %s %llu\n", bug, bugs[bug - 1].name, seed != 0 ? "caught by seed" : "NOT CAUGHT by",
                static_cast<unsigned long long>(seed != 0 ? seed : seeds));
    std::fflush(stdout);
  }
  std::printf("%zu of %zu planted bugs caught\n", caught, last - first + 1);
  return caught == last - first + 1 ? 0 : 1;
}
