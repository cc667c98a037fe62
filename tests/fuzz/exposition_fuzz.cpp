// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Of any page each line is a comment, a sample or counted as damaged, and a sample that is written down again is read
// as the same.
#include "exposition.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

std::string escaped(std::string_view value) {
  std::string text;
  for (const char c : value) {
    if (c == '\\' || c == '"') text += '\\';
    text += c == '\n' ? std::string("\\n") : std::string(1, c);
  }
  return text;
}

std::string written(const busbar::MetricSample& sample) {
  std::string text = sample.name + '{';
  for (const auto& label : sample.labels) text += label.name + "=\"" + escaped(label.value) + "\",";
  char value[40];
  std::snprintf(value, sizeof value, "} %.17g 7\n", sample.value);
  return text + value;
}

std::size_t lines_that_count(std::string_view page) {
  std::size_t count = 0;
  while (!page.empty()) {
    const std::string_view line = page.substr(0, page.find('\n'));
    page.remove_prefix(std::min(line.size() + 1, page.size()));
    const std::size_t first = line.find_first_not_of(" \t");
    if (first == line.npos || line[first] == '#' || line.substr(first) == "\r") continue;
    ++count;
  }
  return count;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view page(reinterpret_cast<const char*>(data), size);
  const busbar::Exposition read = busbar::parse_exposition(page);
  require(read.samples.size() + read.damaged_lines == lines_that_count(page));
  for (const busbar::MetricSample& sample : read.samples) {
    const busbar::Exposition again = busbar::parse_exposition(written(sample));
    require(again.damaged_lines == 0 && again.samples.size() == 1);
    const busbar::MetricSample& same = again.samples.front();
    require(same.name == sample.name && same.labels == sample.labels);
    require(same.value == sample.value || (std::isnan(same.value) && std::isnan(sample.value)));
  }
  return 0;
}
