// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Whether the simulation of the log catches each of the planted bugs.
//
//   planted_bugs SEEDS   looks for each bug with as many seeds, at most; ends with the score
#include "simulation/log_simulation.hpp"
#include "simulation/planted.hpp"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>

namespace {

constexpr const char* names[] = {
#include "planted_names.inc"
};

/// Returns: the first seed that catches the bug that is switched on; 0 if none does.
std::uint64_t catch_it(std::uint64_t seeds) {
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    try {
      if (bus::simulation::simulate_log(seed)) return seed;
    } catch (const std::exception&) {
      return seed;
    }
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::uint64_t seeds = argc == 2 ? std::strtoull(argv[1], nullptr, 10) : 0;
  if (seeds == 0) {
    std::fprintf(stderr, "usage: %s SEEDS\n", argv[0]);
    return 2;
  }
  std::size_t caught = 0;
  for (std::size_t bug = 1; bug <= std::size(names); ++bug) {
    bus::planted::bug = bug;
    const std::uint64_t seed = catch_it(seeds);
    caught += seed != 0 ? 1 : 0;
    std::printf("%2zu %-62s %s %llu\n", bug, names[bug - 1], seed != 0 ? "caught by seed" : "NOT CAUGHT by",
                static_cast<unsigned long long>(seed != 0 ? seed : seeds));
    std::fflush(stdout);
  }
  std::printf("%zu of %zu planted bugs caught\n", caught, std::size(names));
  return caught == std::size(names) ? 0 : 1;
}
