// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <bus/detail/sync.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

namespace bus::detail {

/// The memory orders of the hand-over. Each mutant of the model weakens one.
struct IntakeTraits {
  /// INTAKE-READY, an appender says that its entry is written. Its partners: INTAKE-TAKE, the committer's look at it,
  /// which must then see all of it; and, in the total order, the look of the appender at whether somebody commits.
  static constexpr auto ready = sync::seq_cst;
  /// INTAKE-TAKE. In the total order behind the committer's word that it stops: see `Turn`.
  static constexpr auto take = sync::seq_cst;
  /// INTAKE-FREE, the committer gives memory back that it has read. Its partner is INTAKE-RESERVE. In the total order
  /// in front of CELL-CHECK, its look for those who wait for room.
  static constexpr auto free = sync::seq_cst;
  /// INTAKE-RESERVE, an appender's look at what is free, before it writes there. In the total order behind CELL-ARM:
  /// else it could miss the room, and whoever made it could miss that somebody waits for it.
  static constexpr auto reserve = sync::seq_cst;
};

/// Hands entries with bytes over from many appenders to one committer, in memory of a fixed size.
///
/// An appender takes places for its entries and room for their bytes by one compare-and-swap, fills them, and says that
/// they are ready by one store for each. The swap gives out tickets: 0, 1, 2, … So of two hand-overs of which one
/// returned before the other began the first has the lower ticket, and the committer takes them in that order. An
/// appender that stops in between holds up the committer at its place, and nobody else: the others go on as long as
/// there is room.
///
/// Tickets and bytes given out are counted in one word, modulo 2^32 each; the committer's word says what it has given
/// back. So a swap that succeeds has seen how much is free: that word is read first, and so is never ahead.
///
/// Threads: `reserve` and `hand_over` any; the others one at a time.
template <class Entry, class Traits = IntakeTraits>
class Intake {
 public:
  static constexpr std::size_t unit = 8;  ///< bytes are given out in these

  /// `places` and `bytes` are powers of two, at most 2^31 and 2^34.
  Intake(std::uint32_t places, std::size_t bytes)
      : places_(places),
        units_(static_cast<std::uint32_t>(bytes / unit)),
        slots_(std::make_unique<Slot[]>(places)),
        bytes_(std::make_unique_for_overwrite<std::byte[]>(bytes)) {}

  /// Room for entries that follow each other, and for their bytes, in one piece.
  struct Room {
    std::uint32_t ticket = 0;  ///< of the first, modulo 2^32
    std::byte* bytes = nullptr;
    std::uint32_t first_unit = 0;  ///< how much is given back with the first entry, besides its own
  };

  /// Returns: nothing if there is no room. `bytes` is a multiple of `unit`, and at most half of all: what is longer may
  /// not fit in front of the end nor behind it, however much is free.
  std::optional<Room> reserve(std::uint32_t entries, std::size_t bytes) noexcept {
    const auto units = static_cast<std::uint32_t>(bytes / unit);
    for (;;) {
      const Counts freed = unpack(freed_.load(Traits::reserve));  // sync INTAKE-RESERVE
      std::uint64_t seen = given_.load(sync::relaxed);
      for (;;) {
        const Counts given = unpack(seen);
        // What would wrap around the end begins at the front; what is left at the end goes with it.
        const std::uint32_t at = given.units & (units_ - 1);
        const std::uint32_t skipped = at + units > units_ ? units_ - at : 0;
        const bool fits =
            given.entries - freed.entries + entries <= places_ && given.units - freed.units + skipped + units <= units_;
        if (!fits) break;
        const std::uint64_t taken = pack({given.entries + entries, given.units + skipped + units});
        if (given_.compare_exchange_weak(seen, taken, sync::relaxed, sync::relaxed)) {
          return Room{given.entries, bytes_.get() + std::size_t{(at + skipped) & (units_ - 1)} * unit, skipped};
        }
      }
      if (unpack(freed_.load(sync::relaxed)) == freed) return std::nullopt;
    }
  }

  /// The entry of a ticket that was reserved, to be filled.
  Entry& entry(std::uint32_t ticket) noexcept { return slots_[ticket & (places_ - 1)].entry; }

  /// Hands the entry over, whole: `units` of bytes with it.
  void hand_over(std::uint32_t ticket, std::uint32_t units) noexcept {
    Slot& slot = slots_[ticket & (places_ - 1)];
    slot.units = units;
    slot.ready.store(ticket + 1, Traits::ready);  // sync INTAKE-READY
  }

  // --- The committer. ---

  /// Whether the entry of that ticket, the next one or one behind, is there.
  bool is_ready(std::uint32_t ticket) const noexcept {
    return slots_[ticket & (places_ - 1)].ready.load(Traits::take) == ticket + 1;  // sync INTAKE-TAKE
  }

  /// Gives back the entries up to `ticket`, not with it, and their bytes. None of them is looked at again.
  void free_up_to(std::uint32_t ticket) noexcept {
    Counts freed = unpack(freed_.load(sync::relaxed));
    while (freed.entries != ticket) {
      freed.units += slots_[freed.entries & (places_ - 1)].units;
      ++freed.entries;
    }
    freed_.store(pack(freed), Traits::free);  // sync INTAKE-FREE
  }

  /// The next ticket that will be given out. Threads: any.
  std::uint32_t next_ticket() const noexcept { return unpack(given_.load(sync::relaxed)).entries; }

  /// The first ticket whose entry has not been given back. Threads: any.
  std::uint32_t first_held() const noexcept {
    return unpack(freed_.load(Traits::reserve)).entries;  // sync INTAKE-RESERVE
  }

  /// Bytes that are given out. Threads: any.
  std::size_t used_bytes() const noexcept {
    const Counts freed = unpack(freed_.load(sync::acquire));
    return std::size_t{unpack(given_.load(sync::relaxed)).units - freed.units} * unit;
  }

 private:
  struct Slot {
    sync::atomic<std::uint32_t> ready{0};  // its ticket + 1; a lap later it is another
    std::uint32_t units = 0;
    Entry entry;
  };
  struct Counts {
    std::uint32_t entries;
    std::uint32_t units;
    friend bool operator==(const Counts&, const Counts&) = default;
  };
  static Counts unpack(std::uint64_t word) noexcept {
    return {static_cast<std::uint32_t>(word >> 32), static_cast<std::uint32_t>(word)};
  }
  static std::uint64_t pack(Counts counts) noexcept { return std::uint64_t{counts.entries} << 32 | counts.units; }

  const std::uint32_t places_;
  const std::uint32_t units_;
  const std::unique_ptr<Slot[]> slots_;
  const std::unique_ptr<std::byte[]> bytes_;
  alignas(64) sync::atomic<std::uint64_t> given_{0};
  alignas(64) sync::atomic<std::uint64_t> freed_{0};
};

/// The memory orders of the turn.
struct TurnTraits {
  /// TURN-LEAVE, the committer says that it stops. In the total order in front of its last look at the intake.
  static constexpr auto leave = sync::seq_cst;
  /// TURN-LOOK, an appender's look at whether somebody commits. In the total order behind INTAKE-READY: either it sees
  /// that nobody does, or whoever does sees its entry.
  static constexpr auto look = sync::seq_cst;
};

/// Whose turn it is to commit: one thread's or nobody's. What an appender has handed over is seen by whoever commits
/// then, or the appender sees that nobody does.
template <class Traits = TurnTraits>
class Turn {
 public:
  bool try_take() noexcept {
    std::uint32_t free = 0;
    return taken_.compare_exchange_strong(free, 1, sync::acquire, sync::relaxed);
  }
  /// The caller looks at the intake once more afterwards.
  void leave() noexcept { taken_.store(0, Traits::leave); }  // sync TURN-LEAVE

  bool is_taken() const noexcept { return taken_.load(Traits::look) != 0; }  // sync TURN-LOOK

 private:
  alignas(64) sync::atomic<std::uint32_t> taken_{0};
};

}  // namespace bus::detail
