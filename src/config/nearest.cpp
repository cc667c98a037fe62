// SPDX-License-Identifier: MIT OR Apache-2.0
#include "config/nearest.hpp"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <vector>

namespace bus::detail {
namespace {

constexpr std::size_t longest = 64;  // nobody misspells more by accident

/// How many characters must be put in, taken out or changed (V. Levenshtein, 1965).
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t before = row[0]++;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t changed = before + (a[i] == b[j] ? 0 : 1);
      before = row[j + 1];
      row[j + 1] = std::min({changed, row[j] + 1, before + 1});
    }
  }
  return row.back();
}

}  // namespace

std::string_view nearest(std::string_view given, std::span<const std::string> known) {
  if (given.empty() || given.size() > longest) return {};
  std::string_view best;
  // Of a misspelling something is left.
  std::size_t least = std::min(std::max<std::size_t>(given.size() / 3, 1) + 1, given.size());
  for (const std::string& one : known) {
    const bool lacks_its_end = one.size() > given.size() && one.starts_with(given) && one[given.size()] == '_';
    const std::size_t away = lacks_its_end ? 1 : distance(given, one);
    if (away >= least) continue;
    least = away;
    best = one;
  }
  return best;
}

std::string did_you_mean(std::string_view what) { return " (did you mean " + std::string(what) + "?)"; }

}  // namespace bus::detail
