// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Runs the simulation of the log, or of its groups.
//
//   log_simulation log|groups FIRST LAST   all these seeds; ends with the first that breaks a law
//   log_simulation log|groups SEED         this one
//
// Seeds that once broke a law are in kept_seeds_log.txt and kept_seeds_groups.txt, beside this file, and are run first.
#include "simulation/group_simulation.hpp"
#include "simulation/log_simulation.hpp"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

namespace {

using Simulate = std::optional<std::string> (*)(std::uint64_t seed);

bool run(Simulate simulate, std::uint64_t seed, char** argv) {
  const auto broken = simulate(seed);
  if (!broken) return true;
  std::printf("seed %llu: %s\nagain: %s %s %llu\n", static_cast<unsigned long long>(seed), broken->c_str(), argv[0],
              argv[1], static_cast<unsigned long long>(seed));
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string subject = argc > 1 ? argv[1] : "";
  if (argc < 3 || argc > 4 || (subject != "log" && subject != "groups")) {
    std::fprintf(stderr, "usage: %s log|groups FIRST [LAST]\n", argv[0]);
    return 2;
  }
  const Simulate simulate = subject == "log" ? bus::simulation::simulate_log : bus::simulation::simulate_groups;
  const std::uint64_t first = std::strtoull(argv[2], nullptr, 10);
  const std::uint64_t last = argc == 4 ? std::strtoull(argv[3], nullptr, 10) : first;
  const auto begin = std::chrono::steady_clock::now();
  if (argc == 4) {
    std::ifstream kept(KEPT_SEEDS + subject + ".txt");
    for (std::uint64_t seed = 0; kept >> seed;) {
      if (!run(simulate, seed, argv)) return 1;
    }
  }
  for (std::uint64_t seed = first; seed <= last; ++seed) {
    if (!run(simulate, seed, argv)) return 1;
  }
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
  std::printf("%llu seeds kept the laws, in %.1f s\n", static_cast<unsigned long long>(last - first + 1), time.count());
  return 0;
}
