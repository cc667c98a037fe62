// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What a million leases take from the heap.
#include "persistence/lease_table.hpp"

#include "persistence/scarce_memory.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>

namespace bus::detail {
namespace {

using scarce_memory::heap_bytes;

TEST(LeaseMemory, of_a_million_leases_is_at_most_100_bytes_each) {
  constexpr std::uint64_t count = 1'000'000;
  const Principal principal("agent.x");
  const std::size_t before = heap_bytes;
  LeaseTable table({});
  const auto member = table.join({.messages = count, .bytes = ~std::uint64_t{0}});
  for (std::uint64_t i = 0; i < count; ++i) {
    table.add({.offset = 7 * i, .charge = 256}, principal);
    const std::size_t added = heap_bytes;
    LeaseTable::Taken taken;
    ASSERT_EQ(table.take(member, 1, taken), LeaseTable::Take::leased);
    ASSERT_EQ(heap_bytes, added) << "leasing takes no memory";
    if (i > 100'000) {
      ASSERT_LE((heap_bytes - before) / (i + 1), 100U) << i;
    }
  }
  EXPECT_LE((heap_bytes - before) / count, 100U);
  RecordProperty("bytes_each", static_cast<int>((heap_bytes - before) / count));
}

}  // namespace
}  // namespace bus::detail
