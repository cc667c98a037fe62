// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Bytes that somebody else wrote, and that need not be text.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace busbar {

/// Whether the bytes are UTF-8 as JSON must be: shortest forms only, and no surrogates.
bool is_utf8(std::string_view bytes) noexcept;

std::string to_base64(std::string_view bytes);

/// Returns: nothing if it is no base64 with its padding.
std::optional<std::string> from_base64(std::string_view text);

/// On one line, and harmless to a terminal: a control character, and a byte that is no UTF-8, as \xNN.
std::string printable(std::string_view bytes);

}  // namespace busbar
