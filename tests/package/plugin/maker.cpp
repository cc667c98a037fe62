// SPDX-License-Identifier: MIT OR Apache-2.0
#include "letter.hpp"

void plugin_make(bus::Payload& stamp, bus::Payload& letter) {
  stamp = bus::Payload::object(Stamp{42});
  letter = bus::Payload::object(Letter{std::string(996, 'a') + std::to_string(1000)});
}
