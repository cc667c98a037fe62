// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What reaches the tool from outside: lines, and the wish to stop.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <signal.h>

namespace busbar {

/// Turns the first SIGINT or SIGTERM into a request to stop, for as long as it lives. A second signal does what it
/// always does, so that a tool that hangs can be ended. A thread waits for them, so that they interrupt no other.
/// Threads: any, save for construction, which comes before the other threads of the program. There is one at a time.
class Interrupt {
 public:
  /// Errors: throws std::system_error.
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  bool requested() const noexcept { return requested_.load(std::memory_order_relaxed); }

  /// Waits for a request. Returns: whether there is one. Blocks: until then, or until `deadline`.
  bool wait_until(std::chrono::steady_clock::time_point deadline) const noexcept;

  /// Readable once a stop is requested.
  int descriptor() const noexcept { return request_.get(); }

 private:
  class Descriptor {
   public:
    explicit Descriptor(int number);
    ~Descriptor();
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    int get() const noexcept { return number_; }

   private:
    int number_;
  };

  void watch() noexcept;

  const sigset_t signals_;
  std::atomic<bool> requested_{false};
  const Descriptor signal_;
  const Descriptor request_;
  const Descriptor end_;
  sigset_t previous_;
  std::thread watcher_;
};

/// An open file, closed at the end.
class File {
 public:
  /// Standard input.
  File() noexcept = default;
  /// Errors: throws std::system_error naming the path.
  explicit File(const std::string& path);
  ~File();
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  int descriptor() const noexcept { return descriptor_; }

  /// Whether it has an end that can be read up to: not a pipe, a socket or a terminal.
  bool is_regular() const noexcept;

 private:
  int descriptor_ = 0;
};

/// A file that is read to its end and then again, as others write to it. One that is cut is read from its begin, and
/// one that is replaced by another of its name, as logs are rotated, is followed by that one.
class FollowedFile {
 public:
  enum class Change {
    none,
    going,  ///< there is another one: what was written to this one until now is the last of it
    begun_anew,
  };

  /// Errors: throws std::system_error naming the path.
  explicit FollowedFile(std::string path) : path_(std::move(path)), file_(path_) {}

  /// Of whichever file it is.
  int descriptor() const noexcept { return file_.descriptor(); }

  /// Looks, at the end of the file, whether there is another begin. It is read from there then.
  Change look() noexcept;

 private:
  const std::string path_;
  const File file_;
  bool is_going_ = false;
};

/// Cuts a descriptor's bytes into lines, in bounded memory whatever comes.
/// Threads: one at a time.
class LineReader {
 public:
  enum class Status { line, too_long, end, interrupted };

  LineReader(int descriptor, const Interrupt& interrupt, std::size_t max_line_bytes) noexcept
      : descriptor_(descriptor), interrupt_(interrupt), max_line_bytes_(max_line_bytes) {}

  /// The lines of a file that has no end, but what was written when it began anew. It is looked at ten times a second.
  LineReader(FollowedFile& file, const Interrupt& interrupt, std::size_t max_line_bytes) noexcept
      : LineReader(file.descriptor(), interrupt, max_line_bytes) {
    followed_ = &file;
  }

  /// The next line, without its newline. A line over the limit is skipped and told as `too_long`; what stands
  /// between the last newline and the end counts as a line unless it is nothing.
  /// Lifetime: `line` until the next call. Blocks: until there is a line, or a stop is requested.
  /// Errors:   throws std::system_error if reading fails.
  Status next(std::string_view& line);

  /// As `next`, but does not block. Returns: nothing, if what has come so far is no whole line.
  std::optional<Status> try_next(std::string_view& line);

  /// The number of the line last returned, from 1.
  std::uint64_t line_number() const noexcept { return line_number_; }

 private:
  enum class Filled { more, end, interrupted, nothing };
  std::optional<Status> advance(std::string_view& line, bool waits);
  Filled fill(bool waits);
  Filled wait_at_end(bool waits);

  int descriptor_;
  FollowedFile* followed_ = nullptr;
  const Interrupt& interrupt_;
  std::size_t max_line_bytes_;
  std::uint64_t line_number_ = 0;
  std::vector<char> buffer_;
  std::size_t begin_ = 0;  // unread bytes are [begin_, end_)
  std::size_t end_ = 0;
  std::size_t searched_ = 0;  // unread bytes in which no newline is
  bool too_long_ = false;  // the front of the line has been dropped
};

}  // namespace busbar
