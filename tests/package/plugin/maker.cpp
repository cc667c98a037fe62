// SPDX-License-Identifier: MIT OR Apache-2.0
#include "letter.hpp"

void plugin_make(bus::Payload& stamp, bus::Payload& letter) {
  stamp = bus::Payload::object(Stamp{42});
  letter = bus::Payload::object(Letter{std::string(1000, 'a')});
}
