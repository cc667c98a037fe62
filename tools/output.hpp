// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What the command prints, and how it complains.
#pragma once

#include <bus/error.hpp>

#include <string>
#include <string_view>

namespace busbar {

/// To standard output, which is written at the latest at a `flush`. Errors: throws std::runtime_error.
void print(std::string_view text);
void flush();

/// A line of its own on standard error.
void remark(const std::string& line);

/// Throws std::runtime_error: "<what> '<path>': <message>".
[[noreturn]] void throw_error(const std::string& what, const std::string& path, const bus::error_code& error);

}  // namespace busbar
