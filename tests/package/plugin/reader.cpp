// SPDX-License-Identifier: MIT OR Apache-2.0
#include "letter.hpp"

bool plugin_read(const bus::Payload& stamp, const bus::Payload& letter) {
  const bus::Payload mine = letter;  // shared with the maker, and gone with this call
  return stamp.get_if<Stamp>() != nullptr && stamp.get_if<Stamp>()->number == 42 && mine.get_if<Letter>() != nullptr &&
         mine.get_if<Letter>()->text == std::string(996, 'a') + std::to_string(1000) && mine.get_if<Stamp>() == nullptr;
}
