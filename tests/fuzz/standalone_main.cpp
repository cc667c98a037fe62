// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Runs a fuzz target without a fuzzer: over the files and folders named, then over random inputs.
//
//   topic_fuzz [FILE|FOLDER]... [--seed=N] [--runs=N]
//
// The seed is printed first, so that a failure can be repeated.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

void run_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
}

void run_path(const std::filesystem::path& path) {
  if (!std::filesystem::is_directory(path)) return run_file(path);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path)) {
    if (entry.is_regular_file()) run_file(entry.path());
  }
}

/// Half of the inputs are arbitrary bytes; half keep to few letters and the marks that text formats are made
/// of, and so get past the first check of a parser.
void run_random(std::uint64_t seed, std::uint64_t runs) {
  constexpr std::string_view alphabet = "aab..**>>:/-_ \"{}[]0\n";
  std::mt19937_64 random(seed);
  std::vector<std::uint8_t> input;
  for (std::uint64_t run = 0; run < runs; ++run) {
    input.resize(random() % 300);
    const bool text = random() % 2 == 0;
    for (auto& byte : input) {
      const std::uint64_t number = random();
      byte = static_cast<std::uint8_t>(text ? std::uint64_t(alphabet[number % alphabet.size()]) : number);
    }
    LLVMFuzzerTestOneInput(input.data(), input.size());
  }
}

}  // namespace

int main(int argc, char** argv) {
  constexpr std::string_view seed_option = "--seed=";
  constexpr std::string_view runs_option = "--runs=";
  std::uint64_t seed = 1;
  std::uint64_t runs = 20'000;
  std::vector<std::filesystem::path> paths;
  for (const std::string_view argument : std::vector<std::string_view>(argv + 1, argv + argc)) {
    if (argument.starts_with(seed_option)) {
      seed = std::stoull(std::string(argument.substr(seed_option.size())));
    } else if (argument.starts_with(runs_option)) {
      runs = std::stoull(std::string(argument.substr(runs_option.size())));
    } else {
      paths.emplace_back(argument);
    }
  }
  std::cout << "seed " << seed << ", " << runs << " random inputs" << std::endl;
  for (const auto& path : paths) run_path(path);
  run_random(seed, runs);
}
