// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A disk that exists only in memory and is as unkind as a real one may be: it loses what was not synced, sector by
// sector and name by name, does a part of what it was asked, fails when told to, and fills up.
//
// What is promised: one seed and one sequence of calls give one sequence of results. What was synced stays, unless a
// test damages it.
#pragma once

#include <bus/persistence/storage.hpp>

#include <boost/system/errc.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bus::simulation {

/// The calls of a Storage and its files. `create` is Open::create, `open` the other ways to open.
enum class Call {
  open,
  create,
  read,
  write,
  sync,
  size,
  resize,
  reserve,
  list,
  rename,
  remove,
  sync_names,
  lock,
  directory,
  free_bytes,
};
inline constexpr std::size_t call_kinds = static_cast<std::size_t>(Call::free_bytes) + 1;

/// What goes wrong while the power is on. A call that fails does nothing, save the two syncs: see SimDisk.
struct Faults {
  double short_reads = 0;   ///< probability that a read gives a part, at least a byte
  double short_writes = 0;  ///< probability that a write does a part, at least a byte

  /// Fails one call of a kind, or all from that one on.
  struct Plan {
    Call call = Call::write;
    std::uint64_t nth = 1;  ///< counted from when the plan was made; 1 is the next call
    boost::system::errc::errc_t error = boost::system::errc::io_error;
    bool for_good = false;
  };
  std::vector<Plan> plans = {};

  /// Room for the sectors of all files that are written or reserved. A file longer than what was written to it has
  /// holes, which take no room: a write into them may find none.
  std::optional<std::uint64_t> capacity_bytes = {};
};

/// What a power loss may do besides losing what was not synced. Only to sectors that were not synced, all of it.
struct CrashOptions {
  bool tear_sectors = false;   ///< some are new up to some byte, and old from there
  bool zero_sectors = false;   ///< some are all zeros, whatever was durable in them before
  bool stale_sectors = false;  ///< some past the durable end hold bytes of files that are gone, or noise; else zeros

  /// Probability that a sector, the size of a file, a name is the new one. By default drawn for each file and each
  /// directory, so that crashes that keep all, nothing, and something of each are frequent.
  std::optional<double> keep = {};
};

/// What has been asked of a disk so far, failed calls too.
struct Counters {
  std::array<std::uint64_t, call_kinds> calls{};
  std::uint64_t bytes_read = 0;
  std::uint64_t bytes_written = 0;  ///< by `write`, into the cache

  std::uint64_t operator[](Call call) const { return calls[static_cast<std::size_t>(call)]; }
  bool operator==(const Counters&) const = default;
};

/// What is durable on a disk: what a power loss would leave that loses all it may. Paths are as in SimDisk.
struct Snapshot {
  struct Content {
    std::vector<std::byte> bytes;
    std::uint64_t reserved_bytes = 0;
    bool operator==(const Content&) const = default;
  };
  std::map<std::string, Content, std::less<>> files;
  std::set<std::string, std::less<>> directories;
  bool operator==(const Snapshot&) const = default;
};

/// The disk. Processes use it through `mount`; tests do to it what happens to disks.
///
/// A file has what reads see, the cache, and what is durable. A sync that fails behaves as that of Linux does: some
/// sectors reach the disk, all count as clean, reads go on showing them, and no later sync makes the others durable.
/// A failed `sync_names` does the same with names. A name that was changed by two calls has at least the first if it
/// has the second; besides that, each change of a name is kept or lost by itself, a rename whole.
///
/// When room is short, the removal of files becomes durable, and all other changes of names with it: a file system
/// must do so before it can use their room again.
///
/// A path is a name in the mounted directory, or names with slashes between. Helpers that are given a path at which
/// there is no file, or a place that is not in the file, throw std::invalid_argument.
///
/// Threads: any. Lifetime: what was opened may outlive it. Cost: memory is twice the size of all files.
class SimDisk {
 public:
  static constexpr std::size_t sector_bytes = 512;
  static constexpr std::uint64_t max_file_bytes = std::uint64_t{1} << 30;  ///< beyond it: file_too_large
  static constexpr std::uint64_t unlimited_bytes = std::uint64_t{1} << 40;  ///< free with no capacity set, if empty

  explicit SimDisk(std::uint64_t seed);
  SimDisk(const SimDisk&) = delete;
  SimDisk& operator=(const SimDisk&) = delete;
  ~SimDisk();

  /// The top directory, as a process sees it. Locks of one mount are held against every other.
  std::unique_ptr<Storage> mount();

  // --- What happens to it ---

  /// The power goes and comes back. What was not synced is kept or lost at random. Everything opened or mounted before
  /// is dead: it answers io_error. Faults stay as they are; a `power_off_after` is forgotten.
  void crash(const CrashOptions& options = {});

  /// The process is killed and the power stays on: as `crash`, but nothing is lost, and nothing becomes durable.
  /// If the power was off, this is a kill at that instant instead.
  void kill();

  /// After so many more calls that change something (write, sync, resize, reserve, create, rename, remove, sync_names)
  /// the power goes: in the middle of the next one, which is done in part or not at all, and answers io_error, as does
  /// every call then until `crash`. Reads do not count.
  void power_off_after(std::uint64_t calls);
  bool power_is_off() const;

  /// Reads see the disk again, save what is dirty.
  void drop_caches();

  void set_faults(const Faults& faults);
  /// Adds to the faults that are set.
  void fail(const Faults::Plan& plan);

  // --- Damage: to the cache and to what is durable ---

  void flip_bit(std::string_view path, std::uint64_t bit);
  void zero_sector(std::string_view path, std::uint64_t sector);
  /// The last sector of a file may be a part of one: zeros follow it, and what has no place in it is left out.
  void copy_sector(std::string_view from, std::uint64_t from_sector, std::string_view to, std::uint64_t to_sector);
  /// Reads that touch the sector answer io_error, until it is written whole.
  void break_sector(std::string_view path, std::uint64_t sector);
  /// Makes it shorter, or longer with zeros, for good.
  void truncate(std::string_view path, std::uint64_t size);

  // These make durable what else has changed in the directories they touch.

  /// Two files change names.
  void swap_files(std::string_view one, std::string_view other);
  void remove_file(std::string_view path);
  /// Makes a file with these bytes, all of it durable; and the directories above; in place of a file of that name.
  void put_file(std::string_view path, std::span<const std::byte> bytes);

  // --- What is on it ---

  /// The durable content of a file that has a durable name.
  std::vector<std::byte> durable(std::string_view path) const;
  Snapshot snapshot() const;
  /// Puts the disk into a state as if there had never been another. Everything opened before is dead.
  void restore(const Snapshot& snapshot);

  Counters counters() const;
  /// Of all calls so far with all they were given and gave back, in order.
  std::uint64_t trace_hash() const;

  class State;

 private:
  const std::shared_ptr<State> state_;
};

}  // namespace bus::simulation
