// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What groups have done, from any bytes: items, frames of snapshots, and queues that come further. The state stays
// sound, and is the same after it was written as a snapshot and read again, and after items were taken in twice.
#include "choices.hpp"
#include "persistence/group_state.hpp"
#include "persistence/sound_group_state.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <vector>

namespace {

using namespace bus::detail;

constexpr std::size_t most_told = 5000;

void check(const GroupState& state, std::size_t frame_bytes) {
  require(is_sound(state));
  const auto frames = encode_snapshot(state, frame_bytes);
  SnapshotReader reader;
  for (std::size_t i = 0; i < frames.size(); ++i) {
    require(frames[i].size() <= frame_bytes);
    require(reader.add(frames[i]) == (i + 1 == frames.size()));
  }
  require(reader.state() == state);
}

std::uint64_t choose_offset(Choices& choices) {
  const std::uint64_t near = choices.take();
  return near < 250 ? near : ~std::uint64_t{0} - (near - 250);
}

Progress choose_progress(Choices& choices) {
  Progress progress{.attempts = static_cast<std::uint8_t>(choices.take())};
  progress.due_ns = static_cast<std::int32_t>(choices.take(4));
  progress.delay_ns = static_cast<std::int32_t>(choices.take(2));
  progress.first_error = std::string(choices.take(), 'a');
  progress.last_error = std::string(choices.take(), 'b');
  return progress;
}

/// Items as a group writes them, so that any bytes get somewhere. Returns: whether queues only go on; a log never says
/// anything of a queue in front of where it is made, as these may.
bool choose_items(Choices& choices, GroupItems& items) {
  bool go_on = true;
  for (std::uint32_t i = choices.take() % 8; i != 0; --i) {
    const std::uint32_t what = choices.take();
    const std::uint32_t queue = what >> 4 & 3;
    switch (what & 15) {
      case 0:
        items.deleted(queue);
        go_on = false;
        break;
      case 1: items.used(queue, choices.take() % 2 != 0); break;
      case 2:
      case 3: {
        QueueSpec spec{.id = queue, .group = "group", .begin = choices.take()};
        for (std::uint32_t patterns = choices.take() % 16; patterns > 8; --patterns) {
          spec.patterns.emplace_back("agent.v1.some.longer.pattern.>");
        }
        items.made(spec);
        go_on = false;
        break;
      }
      case 4:
      case 5:
      case 6: {
        const std::uint64_t offset = choose_offset(choices);
        items.tried(queue, offset, choose_progress(choices));
        break;
      }
      default: {
        const std::uint64_t begin = choose_offset(choices);
        items.done(queue, begin, begin + choices.take() % 8);
      }
    }
  }
  return go_on;
}

/// A queue comes further by less than 256, and some of that is for it.
void choose_advance(Choices& choices, GroupState& state) {
  if (state.queues.empty()) return;
  auto at = state.queues.begin();
  std::advance(at, choices.take() % state.queues.size());
  QueueState& queue = at->second;
  const std::uint64_t begin = queue.next - std::min<std::uint64_t>(queue.next, choices.take() % 16);
  const std::uint64_t to = begin + std::min<std::uint64_t>(~std::uint64_t{0} - begin, choices.take());
  const std::uint64_t step = choices.take() % 4 + 1;
  std::vector<std::uint64_t> owed;
  for (std::uint64_t i = 0; i < to - begin; i += step) owed.push_back(begin + i);
  advance(queue, to, owed);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Choices choices(data, size);
  const std::size_t frame_bytes = min_snapshot_frame_bytes + choices.take() * 8;
  GroupState state;
  SnapshotReader reader(most_told);
  while (!choices.empty()) {
    switch (choices.take() % 4) {
      case 0: {
        const std::size_t bytes = choices.take(2);
        apply_items(choices.take_bytes(bytes), state);
        break;
      }
      case 1: {
        const std::size_t bytes = choices.take(2);
        if (reader.add(choices.take_bytes(bytes))) {
          check(reader.state(), frame_bytes);
          state = reader.state();
        }
        break;
      }
      case 2: choose_advance(choices, state); break;
      default: {
        GroupItems items;
        const bool go_on = choose_items(choices, items);
        require(apply_items(items.bytes(), state));
        const GroupState once = state;
        require(apply_items(items.bytes(), state));
        require(!go_on || state == once);
      }
    }
    require(is_sound(state));
  }
  check(state, frame_bytes);
  return 0;
}
