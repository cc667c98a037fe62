// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Runs the simulation of the log.
//
//   log_simulation FIRST LAST   all these seeds; ends with the first that breaks a law
//   log_simulation SEED         this one
//
// Seeds that once broke a law are in kept_seeds.txt, beside this file, and are run first.
#include "simulation/log_simulation.hpp"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

namespace {

bool run(std::uint64_t seed, const char* program) {
  const auto broken = bus::simulation::simulate_log(seed);
  if (!broken) return true;
  std::printf("seed %llu: %s\nagain: %s %llu\n", static_cast<unsigned long long>(seed), broken->c_str(), program,
              static_cast<unsigned long long>(seed));
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    std::fprintf(stderr, "usage: %s FIRST [LAST]\n", argv[0]);
    return 2;
  }
  const std::uint64_t first = std::strtoull(argv[1], nullptr, 10);
  const std::uint64_t last = argc == 3 ? std::strtoull(argv[2], nullptr, 10) : first;
  const auto begin = std::chrono::steady_clock::now();
  if (argc == 3) {
    std::ifstream kept(KEPT_SEEDS);
    for (std::uint64_t seed = 0; kept >> seed;) {
      if (!run(seed, argv[0])) return 1;
    }
  }
  for (std::uint64_t seed = first; seed <= last; ++seed) {
    if (!run(seed, argv[0])) return 1;
  }
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
  std::printf("%llu seeds kept the laws, in %.1f s\n", static_cast<unsigned long long>(last - first + 1), time.count());
  return 0;
}
