// SPDX-License-Identifier: MIT OR Apache-2.0
#include "output.hpp"

#include <cstdio>
#include <stdexcept>

namespace busbar {

void print(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) {
    throw std::runtime_error("cannot write to standard output");
  }
}

void flush() {
  if (std::fflush(stdout) != 0) throw std::runtime_error("cannot write to standard output");
}

void remark(const std::string& line) { std::fprintf(stderr, "busbar: %s\n", line.c_str()); }

void throw_error(const std::string& what, const std::string& path, const bus::error_code& error) {
  throw std::runtime_error(what + " '" + path + "': " + error.message());
}

}  // namespace busbar
