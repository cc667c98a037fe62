// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The only file that calls the file system.
#include <bus/persistence/storage.hpp>

#include <dirent.h>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>
#include <limits>
#include <new>
#include <utility>

namespace bus {
namespace {

namespace sys = boost::system;

/// A quota that is used up is a full disk to whoever writes.
error_code last_error() noexcept { return {errno == EDQUOT ? ENOSPC : errno, sys::system_category()}; }
error_code failure(sys::errc::errc_t what) noexcept { return {what, sys::system_category()}; }

/// Calls until no signal has come in between.
template <class Call>
auto uninterrupted(Call call) noexcept {
  for (;;) {
    if (const auto returned = call(); returned != -1 || errno != EINTR) return returned;
  }
}

class Descriptor {
 public:
  explicit Descriptor(int fd) noexcept : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() {
    if (fd_ != -1) ::close(fd_);
  }
  int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ != -1; }

 private:
  int fd_;
};

/// A name as the system wants it.
class Name {
 public:
  explicit Name(std::string_view name) noexcept {
    if (name.empty() || name.size() > NAME_MAX || name == "." || name == ".." ||
        std::ranges::any_of(name, [](char c) { return c == '/' || c == '\0'; })) {
      return;
    }
    std::ranges::copy(name, text_.begin());
    valid_ = true;
  }
  explicit operator bool() const noexcept { return valid_; }
  const char* text() const noexcept { return text_.data(); }

 private:
  std::array<char, NAME_MAX + 1> text_{};
  bool valid_ = false;
};

class PosixFile final : public File {
 public:
  explicit PosixFile(Descriptor fd) noexcept : fd_(std::move(fd)) {}

  result<std::size_t> read(std::uint64_t position, std::span<std::byte> out) noexcept override {
    const ssize_t got =
        uninterrupted([&] { return ::pread(fd_.get(), out.data(), out.size(), static_cast<off_t>(position)); });
    if (got == -1) return last_error();
    return static_cast<std::size_t>(got);
  }

  result<std::size_t> write(std::uint64_t position,
                            std::span<const std::span<const std::byte>> parts) noexcept override {
    std::array<iovec, max_parts> vectors;
    const std::size_t count = std::min(parts.size(), vectors.size());
    for (std::size_t i = 0; i < count; ++i) {
      vectors[i] = {const_cast<std::byte*>(parts[i].data()), parts[i].size()};
    }
    const ssize_t written = uninterrupted(
        [&] { return ::pwritev(fd_.get(), vectors.data(), static_cast<int>(count), static_cast<off_t>(position)); });
    if (written == -1) return last_error();
    return static_cast<std::size_t>(written);
  }

  // A signal here is no reason to try again: whether the first call failed would be lost.
  error_code sync() noexcept override { return ::fdatasync(fd_.get()) == 0 ? error_code() : last_error(); }

  result<std::uint64_t> size() noexcept override {
    struct stat status;
    if (::fstat(fd_.get(), &status) != 0) return last_error();
    return static_cast<std::uint64_t>(status.st_size);
  }

  error_code resize(std::uint64_t size) noexcept override {
    const int done = uninterrupted([&] { return ::ftruncate(fd_.get(), static_cast<off_t>(size)); });
    return done == 0 ? error_code() : last_error();
  }

  error_code reserve(std::uint64_t size) noexcept override {
    const int done =
        uninterrupted([&] { return ::fallocate(fd_.get(), FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(size)); });
    return done == 0 ? error_code() : last_error();
  }

 private:
  Descriptor fd_;
};

/// For locks of open files: unlike those of `flock` they can be asked for without being taken, and unlike other record
/// locks two openings in one process are two holders.
struct flock whole_file(short type) noexcept {
  struct flock lock = {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  return lock;
}

class PosixLock final : public StorageLock {
 public:
  explicit PosixLock(Descriptor fd) noexcept : fd_(std::move(fd)) {}
  int fd() const noexcept { return fd_.get(); }

 private:
  Descriptor fd_;
};

class PosixStorage final : public Storage {
 public:
  PosixStorage(Descriptor fd, std::string path) noexcept : directory_(std::move(fd)), path_(std::move(path)) {}

  result<std::unique_ptr<File>> open(std::string_view name, Open how) noexcept override try {
    const Name file(name);
    if (!file) return failure(sys::errc::invalid_argument);
    Descriptor fd = open_at(file, how == Open::existing_to_read ? O_RDONLY
                                  : how == Open::existing       ? O_RDWR
                                                                : O_RDWR | O_CREAT | O_EXCL);
    if (!fd) return last_error();
    return std::unique_ptr<File>(std::make_unique<PosixFile>(std::move(fd)));
  } catch (const std::bad_alloc&) {
    return make_error_code(errc::out_of_memory);
  }

  result<std::vector<std::string>> list() noexcept override try {
    // Opened anew, since a directory that is being read has a position.
    const int fd = uninterrupted([&] { return ::openat(directory_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
    if (fd == -1) return last_error();
    const std::unique_ptr<DIR, void (*)(DIR*)> entries(::fdopendir(fd), [](DIR* open) { ::closedir(open); });
    if (entries == nullptr) {
      const error_code error = last_error();
      ::close(fd);
      return error;
    }
    std::vector<std::string> names;
    for (;;) {
      errno = 0;
      const dirent* const entry = ::readdir(entries.get());
      if (entry == nullptr) break;
      struct stat status;
      if (::fstatat(fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT) continue;  // gone meanwhile
        return last_error();
      }
      if (S_ISREG(status.st_mode)) names.emplace_back(entry->d_name);
    }
    if (errno != 0) return last_error();
    return names;
  } catch (const std::bad_alloc&) {
    return make_error_code(errc::out_of_memory);
  }

  error_code rename(std::string_view from, std::string_view to) noexcept override {
    const Name old_name(from);
    const Name new_name(to);
    if (!old_name || !new_name) return failure(sys::errc::invalid_argument);
    const int done = ::renameat(directory_.get(), old_name.text(), directory_.get(), new_name.text());
    return done == 0 ? error_code() : last_error();
  }

  error_code remove(std::string_view name) noexcept override {
    const Name file(name);
    if (!file) return failure(sys::errc::invalid_argument);
    return ::unlinkat(directory_.get(), file.text(), 0) == 0 ? error_code() : last_error();
  }

  error_code sync_names() noexcept override { return ::fsync(directory_.get()) == 0 ? error_code() : last_error(); }

  result<std::unique_ptr<StorageLock>> lock(std::string_view name) noexcept override try {
    const Name file(name);
    if (!file) return failure(sys::errc::invalid_argument);
    Descriptor fd = open_at(file, O_RDWR | O_CREAT);
    if (!fd) return last_error();
    auto held = std::make_unique<PosixLock>(std::move(fd));
    struct flock all = whole_file(F_WRLCK);
    if (uninterrupted([&] { return ::fcntl(held->fd(), F_OFD_SETLK, &all); }) != 0) {
      return errno == EAGAIN || errno == EACCES ? failure(sys::errc::device_or_resource_busy) : last_error();
    }
    return std::unique_ptr<StorageLock>(std::move(held));
  } catch (const std::bad_alloc&) {
    return make_error_code(errc::out_of_memory);
  }

  error_code check_lock(std::string_view name) noexcept override {
    const Name file(name);
    if (!file) return failure(sys::errc::invalid_argument);
    const Descriptor fd = open_at(file, O_RDONLY);
    if (!fd) return errno == ENOENT ? error_code() : last_error();
    struct flock all = whole_file(F_RDLCK);
    if (uninterrupted([&] { return ::fcntl(fd.get(), F_OFD_GETLK, &all); }) != 0) return last_error();
    return all.l_type == F_UNLCK ? error_code() : failure(sys::errc::device_or_resource_busy);
  }

  result<std::unique_ptr<Storage>> directory(std::string_view name) noexcept override try {
    const Name child(name);
    if (!child) return failure(sys::errc::invalid_argument);
    if (::mkdirat(directory_.get(), child.text(), 0777) != 0 && errno != EEXIST) return last_error();
    return existing_directory(name);
  } catch (const std::bad_alloc&) {
    return make_error_code(errc::out_of_memory);
  }

  result<std::unique_ptr<Storage>> existing_directory(std::string_view name) noexcept override try {
    const Name child(name);
    if (!child) return failure(sys::errc::invalid_argument);
    Descriptor fd(
        uninterrupted([&] { return ::openat(directory_.get(), child.text(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
    if (!fd) return last_error();
    return std::unique_ptr<Storage>(std::make_unique<PosixStorage>(std::move(fd), path_ + "/" + child.text()));
  } catch (const std::bad_alloc&) {
    return make_error_code(errc::out_of_memory);
  }

  result<std::uint64_t> free_bytes() noexcept override {
    struct statvfs status;
    if (uninterrupted([&] { return ::fstatvfs(directory_.get(), &status); }) != 0) return last_error();
    return std::uint64_t{status.f_bavail} * status.f_frsize;
  }

  std::uint64_t random() noexcept override {
    std::uint64_t number = 0;
    while (::getrandom(&number, sizeof number, 0) != static_cast<ssize_t>(sizeof number)) {
    }
    return number;
  }

  std::string describe() const override { return path_; }

 private:
  Descriptor open_at(const Name& name, int flags) const noexcept {
    return Descriptor(uninterrupted([&] { return ::openat(directory_.get(), name.text(), flags | O_CLOEXEC, 0666); }));
  }

  Descriptor directory_;
  std::string path_;
};

}  // namespace

result<std::unique_ptr<Storage>> open_directory(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);  // `openat` says what is wrong, if something is
  Descriptor fd(uninterrupted([&] { return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
  if (!fd) return last_error();
  return std::unique_ptr<Storage>(std::make_unique<PosixStorage>(std::move(fd), path.string()));
}

}  // namespace bus
