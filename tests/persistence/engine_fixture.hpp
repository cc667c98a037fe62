// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The engine of a log on a simulated disk, with what it shares with readers, and without threads.
#pragma once

#include "persistence/log_engine.hpp"
#include "persistence/log_reader.hpp"
#include "persistence/record_body.hpp"

#include "simulation/sim_disk.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace bus::detail {

/// A message as a test gives it, and gets it back.
struct Sent {
  std::string topic = "agent.v1.thought";
  std::string principal = "agent.x";
  std::string key = {};
  std::string payload = {};
  std::optional<std::int64_t> time_ns = {};
  friend bool operator==(const Sent&, const Sent&) = default;
};

class EngineOnDisk final : public ReadSource {
 public:
  explicit EngineOnDisk(simulation::SimDisk& disk) : storage_(disk.mount()) {}

  error_code open(const EngineOptions& options) {
    auto opened = LogEngine::open(*storage_, options, files_);
    if (!opened) return opened.error();
    engine_ = std::move(*opened);
    return {};
  }

  LogEngine* operator->() { return engine_.get(); }

  /// Writes a batch of nothing but what groups did, and syncs it.
  error_code commit_control(std::string_view body) {
    const LogControl control{.body = as_payload(body)};
    if (const error_code error = engine_->append({}, {&control, 1})) return error;
    return engine_->sync();
  }

  /// Writes a batch, syncs it, and shows it to readers.
  error_code commit(const std::vector<Sent>& batch) {
    if (const error_code error = append(batch)) return error;
    if (const error_code error = engine_->sync()) return error;
    engine_->show();
    return {};
  }
  error_code append(const std::vector<Sent>& batch) {
    std::vector<LogEntry> entries;
    std::vector<std::vector<std::byte>> bodies(batch.size());
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const Sent& one = batch[i];
      const Record record{.topic = Topic::parse(one.topic).value(),
                          .principal = Principal::parse(one.principal).value(),
                          .payload = as_payload(one.payload),
                          .key = one.key};
      RecordBody body;
      if (const error_code error = body.prepare(record, 0)) return error;
      bodies[i].resize(padded(body.bytes()));
      const std::uint32_t crc = body.write(bodies[i].data());
      entries.push_back({.topic = one.topic,
                         .principal = one.principal,
                         .wall_ns = one.time_ns.value_or(1'000'000'000),
                         .tagged = body.tagged(),
                         .body = std::span(bodies[i]).first(body.bytes()),
                         .body_crc = crc});
    }
    return engine_->append(entries);
  }

  std::unique_ptr<ReaderCore> reader(const ReadOptions& options = {}) {
    return ReaderCore::make(*this, options).value();
  }

  /// The oldest segment becomes a spare.
  error_code retire_oldest() {
    const SegmentRef oldest = files_.segments.take_oldest();
    if (oldest == nullptr) return {};
    const std::string name = retired_name(oldest->name);
    if (const error_code error = storage_->rename(segment_name(oldest->name.base_offset, oldest->name.serial), name)) {
      return error;
    }
    if (const error_code error = storage_->sync_names()) return error;
    files_.spares.put(inspect_spare(*storage_, name).value());
    return {};
  }

  std::vector<LogLoss> found;  ///< by readers

  // --- ReadSource. ---
  Storage& storage() noexcept override { return *storage_; }
  SegmentList& segments() noexcept override { return files_.segments; }
  const LogId& log_id() const noexcept override { return engine_->log_id(); }
  void look_for_segments() noexcept override {}
  void found_missing(LogLoss&& loss) noexcept override { found.push_back(std::move(loss)); }
  ReadOutcome wait_for(std::uint64_t, const std::chrono::steady_clock::time_point*) noexcept override {
    return ReadOutcome::timed_out;
  }
  bool is_closed() const noexcept override { return true; }
  const std::shared_ptr<MemoryBudget>& memory() noexcept override { return memory_; }

 private:
  const std::unique_ptr<Storage> storage_;
  const std::shared_ptr<MemoryBudget> memory_ = std::make_shared<MemoryBudget>(std::nullopt);
  LogFiles files_;
  std::unique_ptr<LogEngine> engine_;
};

/// What a reader finds: each record, and of what is missing the number.
struct Content {
  std::vector<std::pair<std::uint64_t, Sent>> records;
  std::uint64_t missing = 0;
  std::uint64_t overrun = 0;
};

template <class Reader>
Content read_all(Reader& reader) {
  Content content;
  for (;;) {
    const auto found = reader.next();
    EXPECT_TRUE(found) << found.error().message();
    if (!found || found->outcome() == ReadOutcome::end) return content;
    if (found->outcome() == ReadOutcome::lost) content.missing += found->count();
    if (found->outcome() == ReadOutcome::overrun) content.overrun += found->count();
    if (found->outcome() != ReadOutcome::record) continue;
    const RecordView& record = reader.record();
    content.records.emplace_back(record.offset(), Sent{std::string(record.topic()), std::string(record.principal()),
                                                       std::string(record.key()), std::string(record.text())});
  }
}

}  // namespace bus::detail
