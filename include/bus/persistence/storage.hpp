// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Where a log lives: one directory of files. Everything a log does to a disk goes through here, so that tests can put
// a simulated disk underneath.
//
// The calls are those of an operating system and promise no more: a read or a write may do a part of what was asked,
// what was written is durable only after `sync`, and a name only after `sync_names`. Callers cope; `read_at` and
// `write_at` do it for them.
//
// Errors are those of the system, in its own category: `boost::system::errc::no_space_on_device` and so on compare.
// Want of memory is `errc::out_of_memory`, and only where nothing is durable that was not: the log then tries again.
#pragma once

#include <bus/error.hpp>
#include <bus/export.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bus {

/// An open file. Closed when destroyed; what was not synced by then is as durable as the system makes it.
/// Threads: any, at the same time; of writes that overlap, any order.
class BUSBAR_EXPORT File {
 public:
  virtual ~File() = default;

  /// Reads what is at `position` into `out`.
  /// Returns: bytes read, fewer than asked for at the end of the file or at the system's whim; 0 only at the end, or if
  /// none were asked for.
  virtual result<std::size_t> read(std::uint64_t position, std::span<std::byte> out) noexcept = 0;

  /// Writes the parts one after the other, at most `max_parts` of them. The file grows if it must.
  /// Returns: bytes written, at least 1 of what was given.
  virtual result<std::size_t> write(std::uint64_t position,
                                    std::span<const std::span<const std::byte>> parts) noexcept = 0;
  static constexpr std::size_t max_parts = 64;

  /// Makes durable what was written, and the size of the file; not its name. Errors: what was not durable may be lost
  /// whatever a second call says.
  virtual error_code sync() noexcept = 0;

  /// Bytes to the end of the file.
  virtual result<std::uint64_t> size() noexcept = 0;

  /// Cuts the file off, or makes it longer with zeros, which take no room. Durable after `sync`.
  virtual error_code resize(std::uint64_t size) noexcept = 0;

  /// Takes the room for `size` bytes from the file system without making the file longer, so that writing there does
  /// not run out of it. Durable after `sync`; a `resize` may give it back. Errors: no_space_on_device; not_supported
  /// where that cannot be had.
  virtual error_code reserve(std::uint64_t size) noexcept = 0;
};

/// Held by one process at a time; given back when destroyed, or by the system when the process ends however it does.
class BUSBAR_EXPORT StorageLock {
 public:
  virtual ~StorageLock() = default;
};

/// One directory. Names are file names, without a slash.
/// Threads: any. Lifetime: must outlive what it opened, locked, and gave as a directory.
class BUSBAR_EXPORT Storage {
 public:
  virtual ~Storage() = default;

  /// What a file is opened for.
  enum class Open {
    existing_to_read,
    existing,
    create,  ///< which must not exist
  };
  /// Opens a file. Durable, if it was made, after `sync_names`.
  virtual result<std::unique_ptr<File>> open(std::string_view name, Open how) noexcept = 0;

  /// What is there.
  /// Returns: the names of all files, directories not among them, in no order.
  virtual result<std::vector<std::string>> list() noexcept = 0;

  /// Gives a file a new name; if one has it, that one is gone. Durable after `sync_names`, whole or not at all.
  virtual error_code rename(std::string_view from, std::string_view to) noexcept = 0;

  /// Durable after `sync_names`.
  virtual error_code remove(std::string_view name) noexcept = 0;

  /// Makes durable which names there are, and which file each stands for; not what is in the files. Errors: as with
  /// `File::sync`, a second call that succeeds says nothing of what the first one failed at.
  virtual error_code sync_names() noexcept = 0;

  /// The name becomes that of an empty file, if there is none. Errors: device_or_resource_busy if another holder, in
  /// this process or not, has it.
  virtual result<std::unique_ptr<StorageLock>> lock(std::string_view name) noexcept = 0;

  /// Asks for a holder, in this process or another, without becoming one: nobody is kept from the lock, and no file is
  /// made. Errors: device_or_resource_busy if there is one.
  virtual error_code check_lock(std::string_view name) noexcept = 0;

  /// A directory in this one, made if it does not exist; its name is durable after this one's `sync_names`.
  virtual result<std::unique_ptr<Storage>> directory(std::string_view name) noexcept = 0;

  /// One that is there. Errors: no_such_file_or_directory.
  virtual result<std::unique_ptr<Storage>> existing_directory(std::string_view name) noexcept = 0;

  /// Bytes that can still be written.
  virtual result<std::uint64_t> free_bytes() noexcept = 0;

  /// A number nobody can foresee.
  virtual std::uint64_t random() noexcept = 0;

  /// What an error message calls it.
  virtual std::string describe() const = 0;
};

/// A directory of the operating system's. It is made, with those above it, if it does not exist.
/// Errors: what the system says.
BUSBAR_EXPORT result<std::unique_ptr<Storage>> open_directory(const std::filesystem::path& path);

/// Reads until `out` is full or the file ends. Returns: bytes read.
BUSBAR_EXPORT result<std::size_t> read_at(File& file, std::uint64_t position, std::span<std::byte> out) noexcept;

/// Writes it all.
BUSBAR_EXPORT error_code write_at(File& file, std::uint64_t position, std::span<const std::byte> bytes) noexcept;
BUSBAR_EXPORT error_code write_at(File& file, std::uint64_t position,
                                  std::span<const std::span<const std::byte>> parts) noexcept;

}  // namespace bus
