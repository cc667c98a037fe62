// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What the command prints, and how it complains.
#pragma once

#include <bus/error.hpp>

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

namespace busbar {

/// To standard output, which is written at the latest at a `flush`. Errors: throws std::runtime_error.
void print(std::string_view text);
void flush();

/// To standard output at once, one text after the other, whoever's it is. While nobody reads it and it is full, `go_on`
/// is asked whether to wait longer. What was begun and given up leaves a line that ends early.
/// Threads: any; no `print` meanwhile. Returns: whether all of it was written. Errors: as `print`.
bool print_while(std::string_view text, const std::function<bool()>& go_on);

/// A line of its own on standard error.
void remark(const std::string& line);

/// To standard error, as `remark`.
void write_error(const std::string& text);

/// How long these wait for somebody to read standard error when it is full; what does not get in by then is dropped,
/// and the next ones do not wait before one gets in. By default for ever.
void set_remark_patience(std::chrono::milliseconds patience);

/// Throws std::runtime_error: "<what> '<path>': <message>".
[[noreturn]] void throw_error(const std::string& what, const std::string& path, const bus::error_code& error);

}  // namespace busbar
