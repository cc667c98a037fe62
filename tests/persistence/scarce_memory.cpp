// SPDX-License-Identifier: MIT OR Apache-2.0
#include "persistence/scarce_memory.hpp"

#include <malloc.h>

#include <cstdlib>
#include <new>

namespace bus::scarce_memory {

constinit std::size_t heap_bytes = 0;
constinit std::size_t allocations = 0;
constinit std::size_t fails_at = 0;
constinit std::size_t fails_for = 1;

}  // namespace bus::scarce_memory

using namespace bus::scarce_memory;

void* operator new(std::size_t bytes) {
  ++allocations;
  if (fails_at != 0 && allocations >= fails_at && allocations - fails_at < fails_for) throw std::bad_alloc();
  void* const memory = std::malloc(bytes);
  if (memory == nullptr) throw std::bad_alloc();
  heap_bytes += ::malloc_usable_size(memory);
  return memory;
}
void operator delete(void* memory) noexcept {
  heap_bytes -= ::malloc_usable_size(memory);
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept { operator delete(memory); }
