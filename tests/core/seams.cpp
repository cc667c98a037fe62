// SPDX-License-Identifier: MIT OR Apache-2.0
#include "core/seams.hpp"

#include <bus/detail/sync.hpp>

void bus::sync::at_seam(const char* name) noexcept {
  if (bus_test::at_seam) bus_test::at_seam(name);
}
