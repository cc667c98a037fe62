// SPDX-License-Identifier: MIT OR Apache-2.0
#include "persistence/loss_ledger.hpp"

#include "simulation/sim_disk.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <string>

namespace bus::detail {
namespace {

LogLoss records(std::uint64_t first, std::uint64_t end) {
  return {.segment = "s", .begin = first * 100, .end = end * 100, .first_offset = first, .records = end - first};
}

TEST(LossLedger, counts_each_record_once) {
  LossLedger ledger;
  EXPECT_EQ(ledger.add(records(10, 20)), 10U);
  EXPECT_EQ(ledger.add(records(10, 20)), std::nullopt);
  EXPECT_EQ(ledger.add(records(12, 15)), std::nullopt);
  EXPECT_EQ(ledger.add(records(20, 30)), 10U);
  EXPECT_EQ(ledger.add(records(15, 25)), std::nullopt) << "two others have it";
  EXPECT_EQ(ledger.add(records(5, 35)), 10U) << "at both ends";
  EXPECT_EQ(ledger.add(records(50, 60)), 10U);
  EXPECT_EQ(ledger.add(records(30, 55)), 15U);
  EXPECT_EQ(ledger.add(records(0, 60)), 5U);
  std::uint64_t last = 0;
  for (const LogLoss& loss : ledger.report().losses) {
    EXPECT_LE(last, loss.first_offset);
    last = loss.first_offset;
  }
}

TEST(LossLedger, keeps_bytes_that_hold_no_record_apart) {
  LossLedger ledger;
  EXPECT_EQ(ledger.add(records(10, 20)), 10U);
  LogLoss bytes = records(15, 15);
  EXPECT_EQ(ledger.add(bytes), 0U);
  EXPECT_EQ(ledger.add(bytes), std::nullopt);
  bytes.end += 8;
  EXPECT_EQ(ledger.add(bytes), 0U);
  EXPECT_EQ(ledger.report().losses.size(), 3U);
}

TEST(LossLedger, writes_its_report_until_it_is_durable) {
  simulation::SimDisk disk(1);
  const auto storage = disk.mount();
  LossLedger ledger;
  ASSERT_FALSE(ledger.write(*storage));
  EXPECT_TRUE(storage->list()->empty()) << "nothing is missing";
  ledger.add(records(1, 2));
  disk.fail({.call = simulation::Call::sync});
  EXPECT_TRUE(ledger.write(*storage).failed());
  ASSERT_FALSE(ledger.write(*storage));
  const auto text = [&] {
    const auto bytes = disk.durable("losses.json");
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  };
  EXPECT_EQ(text(), ledger.report().to_json());
  const auto before = disk.counters();
  ASSERT_FALSE(ledger.write(*storage));
  EXPECT_EQ(disk.counters(), before) << "there is no news";
  ledger.add(records(5, 6));
  ASSERT_FALSE(ledger.write(*storage));
  EXPECT_EQ(text(), ledger.report().to_json());
}

}  // namespace
}  // namespace bus::detail
