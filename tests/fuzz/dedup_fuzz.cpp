// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Snapshots of what a log has taken, of any bytes: what is read from them is sound, would be written again, and can be
// gone on with. An input is frames, each with two bytes of length in front.
#include "persistence/dedup.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>

namespace {

using namespace bus::detail;

constexpr DedupRules rules{.ids_per_sender = 100, .ids = 200, .producers = 20};

void require(bool holds) {
  if (!holds) std::abort();
}

void write_again(const Dedup& dedup, std::int64_t now_ns) {
  const auto frames = dedup.encode(now_ns, Dedup::min_frame_bytes);
  DedupReader reader(rules);
  for (std::size_t i = 0; i < frames.size(); ++i) {
    require(frames[i].size() <= Dedup::min_frame_bytes);
    require(reader.add(frames[i]) == (i + 1 == frames.size()));
  }
  const auto again = reader.take();
  require(again->consistent() && again->next() == dedup.next() && again->producers() == dedup.producers());
  require(again->encode(now_ns, Dedup::min_frame_bytes) == frames);
}

void go_on(Dedup& dedup) {
  for (std::uint64_t i = 0; i < 30; ++i) {
    const std::string id = std::to_string(i);
    const bus::Producer producer{.id = i % 8, .epoch = 1, .sequence = i};
    const bool by_id = i % 2 == 0;
    dedup.begin(by_id ? DedupKey{.message_id = id} : DedupKey{.producer = producer}, i, 0);
    if (i % 3 == 0) {
      dedup.cancel(i);
    } else {
      dedup.commit(i, dedup.next());
    }
  }
  require(dedup.consistent());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::span rest(reinterpret_cast<const std::byte*>(data), size);
  DedupReader reader(rules);
  while (rest.size() >= 2) {
    const auto said = std::to_integer<std::size_t>(rest[0]) | std::to_integer<std::size_t>(rest[1]) << 8;
    rest = rest.subspan(2);
    const auto frame = rest.first(std::min(said, rest.size()));
    rest = rest.subspan(frame.size());
    reader.add(frame);
  }
  const auto dedup = reader.take();
  if (dedup == nullptr) return 0;
  require(dedup->consistent());
  write_again(*dedup, 0);
  write_again(*dedup, 1'000'000'000'000'000'000);
  go_on(*dedup);
  return 0;
}
