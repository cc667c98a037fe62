// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Workers of a key-ordered group: the messages with one key are with one worker at a time, in order; different keys go
// in parallel.
#include <bus/persistence/group.hpp>
#include <bus/persistence/log.hpp>

#include <atomic>
#include <filesystem>
#include <iostream>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

int main() {
  const auto directory = std::filesystem::temp_directory_path() / "busbar-example-keyed";
  std::filesystem::remove_all(directory);
  bus::Log log = bus::Log::open(directory, {.segment_bytes = std::uint64_t{1} << 20, .spare_segments = 0}).value();
  bus::Group group =
      bus::Group::open(log, {.name = "ledgers", .mode = bus::GroupMode::key_ordered, .start = bus::GroupStart::oldest})
          .value();

  constexpr int accounts = 5;
  constexpr int entries = 40;
  for (int i = 0; i < entries; ++i) {
    for (int account = 0; account < accounts; ++account) {
      const std::string key = "account-" + std::to_string(account);
      const std::string entry = std::to_string(i);
      if (!log.append<bus::Durability::written>(
              {.topic = "ledger.v1.entry", .payload = bus::as_payload(entry), .key = key})) {
        return 1;
      }
    }
  }

  std::mutex mutex;
  std::map<std::string, std::vector<int>> booked;
  std::atomic<int> left{accounts * entries};
  std::vector<std::thread> workers;
  for (int i = 0; i < 3; ++i) {
    workers.emplace_back([&] {
      bus::Member worker = group.join().value();
      while (left > 0) {
        auto received = worker.receive_until(8, std::chrono::steady_clock::now() + std::chrono::milliseconds(10));
        if (!received) return;
        for (const bus::Lease& lease : received->leases) {
          const std::lock_guard lock(mutex);
          booked[std::string(lease.record().key())].push_back(std::stoi(std::string(lease.record().text())));
        }
        left -= static_cast<int>(bus::ack_all(received->leases));
      }
    });
  }
  for (std::thread& worker : workers) worker.join();

  for (const auto& [account, numbers] : booked) {
    for (int i = 0; i < entries; ++i) {
      if (numbers.at(static_cast<std::size_t>(i)) != i) return 1;
    }
    std::cout << account << ": " << numbers.size() << " entries, in order\n";
  }
  log.close();
  std::filesystem::remove_all(directory);
  return booked.size() == accounts ? 0 : 1;
}
