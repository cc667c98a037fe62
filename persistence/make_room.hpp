// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

namespace bus::detail {

/// So many can be added without memory. Unlike `reserve` it may be asked for again and again: memory grows by doubling.
/// Errors: throws std::bad_alloc; nothing has changed.
template <class T>
void make_room(std::vector<T>& in, std::size_t more) {
  const std::size_t wanted = in.size() + more;
  if (wanted > in.capacity()) in.reserve(std::max(wanted, 2 * in.capacity()));
}

}  // namespace bus::detail
