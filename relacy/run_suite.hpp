// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Runs a model under the three schedulers with stated bounds, and demands of each mutant that it is caught.
#pragma once

#include "model_sync.hpp"

#include <iostream>
#include <ostream>
#include <streambuf>
#include <string_view>

namespace bus::model {

/// How far each scheduler searches. The systematic searches stop early when they have seen everything there is.
struct Bounds {
  rl::iteration_t random_runs = 20'000;
  rl::iteration_t bound_runs = 50'000;  ///< of the search with at most `context_bound` preemptions
  rl::iteration_t full_runs = 50'000;   ///< of the full search
  unsigned context_bound = 2;
  unsigned depth = 2'000;  ///< steps in one run; more is taken for a livelock
};

inline rl::iteration_t runs_left = 0;

/// Called first in each model's `before`. At the bound it ends the search, and does so again when the checker
/// repeats the last run to tell what happened.
inline void begin_run() {
  RL_UNTIL(runs_left == 0);
  --runs_left;
}

/// A stream into memory of its own: what grows while the checker runs would be the checker's memory.
class Report : private std::streambuf, public std::ostream {
 public:
  Report() : std::ostream(static_cast<std::streambuf*>(this)) { setp(text_, text_ + sizeof text_); }
  std::string_view text() const { return {pbase(), static_cast<std::size_t>(pptr() - pbase())}; }

 private:
  char text_[1 << 16];
};

class Runner {
 public:
  explicit Runner(Bounds bounds) : bounds_(bounds) {}

  /// A correct model: must pass under every scheduler.
  template <class Test>
  void holds(const char* name) {
    for (const auto scheduler : {rl::sched_random, rl::sched_bound, rl::sched_full}) {
      Report report;
      const auto params = run<Test>(scheduler, report);
      const bool ok = passed(params);
      std::cout << (ok ? "holds   " : "BROKEN  ") << name << ", " << rl::format(scheduler) << ", "
                << params.stop_iteration
                << (ok && scheduler != rl::sched_random && params.test_result == rl::test_result_success
                        ? " runs, all there are"
                        : " runs")
                << std::endl;
      if (!ok) {
        std::cout << report.text() << std::endl;
        failed_ = true;
      }
    }
  }

  /// A mutant: must fail under one of the schedulers.
  template <class Test>
  void caught(const char* name) {
    for (const auto scheduler : {rl::sched_random, rl::sched_bound, rl::sched_full}) {
      Report report;
      const auto params = run<Test>(scheduler, report);
      if (passed(params)) continue;
      std::cout << "caught  " << name << ", " << rl::format(scheduler) << ", run " << params.stop_iteration << ": "
                << rl::test_result_str(params.test_result) << std::endl;
      return;
    }
    std::cout << "MISSED  " << name << std::endl;
    failed_ = true;
  }

  int result() const {
    std::cout << (failed_ ? "FAILED\n" : "passed\n");
    return failed_ ? 1 : 0;
  }

 private:
  static bool passed(const rl::test_params& params) {
    return params.test_result == rl::test_result_success || params.test_result == rl::test_result_until_condition_hit;
  }

  template <class Test>
  rl::test_params run(rl::scheduler_type_e scheduler, Report& report) const {
    runs_left = scheduler == rl::sched_random  ? bounds_.random_runs
                : scheduler == rl::sched_bound ? bounds_.bound_runs
                                               : bounds_.full_runs;
    rl::test_params params;
    params.search_type = scheduler;
    params.context_bound = bounds_.context_bound;
    params.execution_depth_limit = bounds_.depth;
    params.iteration_count = runs_left + 1;
    params.output_stream = &report;
    params.progress_stream = &report;
    rl::simulate<Test>(params);
    return params;
  }

  Bounds bounds_;
  bool failed_ = false;
};

}  // namespace bus::model
