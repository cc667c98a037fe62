// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What the programs share whose regions, `//! [name]` to `//! [name]`, the documentation shows. Parts of one name are
// one region.
#pragma once

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <source_location>
#include <string>
#include <system_error>

namespace snippet {

/// What the text says of a snippet must be so.
inline void expect(bool holds, std::source_location at = std::source_location::current()) {
  if (holds) return;
  std::cerr << at.file_name() << ':' << at.line() << ": it is not so\n";
  std::_Exit(1);
}

/// An empty directory, in which the program runs until it ends.
class Scratch {
 public:
  Scratch() {
    std::string name = (std::filesystem::temp_directory_path() / "busbar-snippet-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::system_error(errno, std::generic_category(), name);
    path_ = name;
    std::filesystem::current_path(path_);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() {
    std::filesystem::current_path(path_.parent_path());
    std::filesystem::remove_all(path_);
  }

 private:
  std::filesystem::path path_;
};

}  // namespace snippet
