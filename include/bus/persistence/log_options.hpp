// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What is chosen when a log is opened.
#pragma once

#include <bus/export.hpp>
#include <bus/options.hpp>
#include <bus/persistence/loss.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>

namespace bus {

/// What a receipt promises. Each includes those in front of it.
enum class Durability : std::uint8_t {
  buffered,  ///< the log has it. The end of the process may take it back; a full disk may refuse it or what is in front
             ///< of it yet, or the log may have one of them already; then its offset is another than the receipt's
  written,  ///< the operating system has it; a loss of power may take it back
  interval,  ///< as written, and synced within `LogOptions::sync_every` or `sync_every_bytes`, whichever comes first
  synced,  ///< it is on the disk
};

/// The word for it: "buffered", "written", …
BUSBAR_EXPORT std::string_view to_string(Durability durability) noexcept;

/// What becomes of an append for which the disk, or the budget, has no room.
enum class FullDisk : std::uint8_t {
  reject,  ///< it is refused with no_space_on_device; appends succeed again when there is room
  drop_oldest,  ///< the oldest segment goes, as often as it takes; refused only if there is none but the active one
  wait,  ///< it waits up to `LogOptions::full_disk_wait`, and all behind it; then it is refused. Whoever waits for it
         ///< with a deadline is told then that it is not decided yet
};

/// Which records may go, oldest first, whole segments at a time; the active segment never does. What is not said does
/// not count.
struct Retention {
  std::optional<std::uint64_t> bytes = {};  ///< of segment files, the active one among them
  std::optional<std::chrono::nanoseconds> age = {};  ///< since a segment was sealed
  std::optional<std::uint64_t> records = {};
  friend bool operator==(const Retention&, const Retention&) = default;
};

/// By what a message is known again that is sent once more, as its sender does not know what became of it: by
/// `Record::producer`, or else by `Record::message_id` among those of its `Record::source`. It is not written again,
/// and its receipt says where the first one stands. What is known outlasts the process, and the records.
struct DedupOptions {
  std::size_t ids_per_sender = 100'000;  ///< the latest ones
  std::chrono::nanoseconds id_age = std::chrono::minutes(2);  ///< an id that is older may come again

  // Of these, as many as an eighth and a sixteenth of a segment have room for, at 48 bytes and at 416: what is known is
  // written once in every segment. In memory one takes some 60 bytes, and some 600.
  std::size_t ids = 200'000;  ///< of all senders; beyond it the oldest go
  std::size_t producers = 10'000;  ///< beyond it the one goes that has been idle the longest
};

/// What is chosen when a log is opened.
struct BUSBAR_EXPORT LogOptions {
  /// Bytes of a segment's file: 256 KiB to 4 GiB, a multiple of 4096. A record must fit into one.
  std::uint64_t segment_bytes = std::uint64_t{64} << 20;

  /// An active segment that is older is ended when something is appended, or by the timer. Zero: never.
  std::chrono::nanoseconds segment_age{};

  /// Bytes that were appended and not yet written: 64 KiB to 1 GiB, a power of two. Beyond it appends are `overloaded`,
  /// or wait. A record above a quarter of it is taken alone, whatever its size.
  std::size_t uncommitted_bytes = std::size_t{16} << 20;

  /// Bytes of one commit, at most; a record above it is committed alone.
  std::size_t batch_bytes = std::size_t{1} << 20;

  /// What `Durability::interval` promises: a sync that soon after, or after so many bytes.
  /// @{
  std::chrono::nanoseconds sync_every = std::chrono::seconds(1);
  std::size_t sync_every_bytes = std::size_t{1} << 20;
  /// @}

  /// Which records may go. None do, if nothing is said.
  Retention retention = {};

  /// How often the log looks whether anything is due: retention, the age of a segment. It also looks when a segment has
  /// been ended.
  std::chrono::nanoseconds timer = std::chrono::seconds(1);

  /// Bytes that the directory may take, everything in it counted, its quarantine too, at least `segment_bytes`; none:
  /// as many as there are.
  std::optional<std::uint64_t> disk_bytes = {};
  FullDisk full_disk = FullDisk::reject;  ///< what becomes of an append for which there is no room
  std::chrono::nanoseconds full_disk_wait = std::chrono::seconds(5);  ///< for `FullDisk::wait`

  /// Segment files held ready, so that a full one is followed without delay; at most `limits::max_spare_segments`. Each
  /// takes `segment_bytes` of the disk.
  unsigned spare_segments = 1;

  /// Compress payloads from so many bytes on, with LZ4, where it helps. Zero: never.
  std::size_t compress_from_bytes = 0;

  /// None: what is sent twice is written twice. What was taken meanwhile may not be known again later.
  std::optional<DedupOptions> dedup = DedupOptions();

  /// Look at every byte of every segment when opening; else sealed segments are looked at when they are read.
  bool verify = false;

  /// An opening that finds more missing than this leaves the log readable and read-only until `accept_losses`: in one
  /// place the smaller of `max_loss_bytes` and a segment; in all `max_loss_share` of the log, 0 to 1, or 64 KiB if that
  /// is more. What is torn does not count.
  /// @{
  std::uint64_t max_loss_bytes = std::uint64_t{64} << 20;
  double max_loss_share = 0.01;
  /// @}

  /// Bytes of damaged regions that are kept in the directory `quarantine`, for somebody to look at.
  std::uint64_t quarantine_bytes = std::uint64_t{64} << 20;

  /// Memory that the log takes for itself, at most; none: as much as the other options imply. `open` refuses options
  /// that would take more, and readers are refused that would.
  std::optional<std::size_t> memory_bytes = {};

  /// Told what the opening, a reader or a scrub found missing for the first time. Called in the thread that found it,
  /// or if a group did, in one of the log's; never under a lock. Must not throw.
  std::function<void(const LogLoss&)> on_loss = {};

  /// Must outlive the log.
  const Clock* clock = &Clock::system();

  /// For small devices: segments of 8 MiB, 2 MiB uncommitted, 8 MiB of quarantine, and at most 64 MiB of memory.
  static LogOptions edge();
};

/// What a log with these options takes for itself whatever happens: a lower `memory_bytes` is refused.
BUSBAR_EXPORT std::size_t least_memory_bytes(const LogOptions& options) noexcept;

namespace limits {

inline constexpr std::uint64_t min_segment_bytes = std::uint64_t{256} << 10;
inline constexpr std::uint64_t max_segment_bytes = std::uint64_t{1} << 32;
inline constexpr std::uint64_t segment_bytes_step = 4096;
inline constexpr std::size_t min_uncommitted_bytes = std::size_t{64} << 10;
inline constexpr std::size_t max_uncommitted_bytes = std::size_t{1} << 30;
inline constexpr unsigned max_spare_segments = 64;

/// Of what a log waits for: the deadline must not overflow.
inline constexpr std::chrono::hours longest_log_wait{24 * 365 * 10};

}  // namespace limits
}  // namespace bus
