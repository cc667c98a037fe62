// SPDX-License-Identifier: MIT OR Apache-2.0
//
// `busbar bench`: what a bus, a router and a log do on this machine, in a few seconds. The programs in benchmarks/ say
// it with more care.
#pragma once

#include <cstddef>
#include <functional>
#include <set>
#include <string>
#include <vector>

namespace busbar {

struct BenchOptions {
  double seconds = 6;          ///< in all, about
  std::set<std::string> only;  ///< of bus, router and log; empty: all
  std::string directory = ".";  ///< where the log is put for the time being
};

/// One thing that was measured.
struct Measurement {
  const char* part;  ///< bus, router or log
  const char* what;
  int threads;  ///< of the program that uses it
  std::size_t payload_bytes;
  const char* durability;    ///< of a log that is written
  bool is_latency;           ///< samples are nanoseconds, and otherwise operations a second
  std::vector<double> runs;  ///< in the order in which they were

  double median() const;
  double least() const;
  double most() const;
};

/// How often each is measured.
inline constexpr std::size_t bench_runs = 5;

/// Measures all that is wanted, and hands over each when it is done, until the receiver says that it is enough.
/// Returns: whether all was measured.
/// Blocks:  for as long as the options say.
/// Errors:  throws std::runtime_error: the log cannot be written, or something does not add up.
bool measure(const BenchOptions& options, const std::function<bool(const Measurement&)>& done);

/// The head of a table, a row of it, and a bar that grows by a mark each time the rate doubles.
std::string bench_head();
std::string as_row(const Measurement& measurement);

/// What they were measured on and all of them, as one JSON object on one line.
std::string as_json(const BenchOptions& options, const std::vector<Measurement>& measurements);

/// What the figures depend on, in a sentence.
std::string bench_conditions(const BenchOptions& options);

}  // namespace busbar
