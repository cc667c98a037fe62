// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What a log holds: records. `Record` is what is given to it, `RecordView` what is read from it.
#pragma once

#include <bus/event.hpp>
#include <bus/export.hpp>
#include <bus/principal.hpp>
#include <bus/topic.hpp>

#include <boost/smart_ptr/intrusive_ptr.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace bus {

/// Further texts of a record that the log carries through unread.
struct Header {
  std::string_view name;   ///< 1 to 65,535 bytes
  std::string_view value;  ///< at most 65,535 bytes
  friend bool operator==(const Header&, const Header&) = default;
};

/// Who sent a message, and the how manieth it is, so that one that is sent again after a crash can be known. A producer
/// begins at any sequence; then each is one more than the last, and what is in front of the first is refused. In a
/// higher epoch it begins anew, and what comes from a lower one is refused.
struct Producer {
  std::uint64_t id = 0;
  std::uint32_t epoch = 0;
  std::uint64_t sequence = 0;
  friend bool operator==(const Producer&, const Producer&) = default;
};

/// A message on its way into a log. Refers to the caller's memory, and only for the length of the call that takes it.
/// All its texts but the payload and the headers together: at most 65,535 bytes each; keys `limits::max_key_bytes`.
struct Record {
  Topic topic = {};  ///< required
  Principal principal = {};  ///< none means the system
  std::span<const std::byte> payload = {};

  std::string_view key = {};
  std::span<const Header> headers = {};

  /// When it happened, by the wall; if not said, when the log wrote it.
  std::optional<std::chrono::system_clock::time_point> time = {};
  std::string_view source = {};  ///< the sender's name, at most `limits::max_name_bytes`
  std::optional<CorrelationId> correlation = {};
  std::optional<TraceContext> trace = {};
  bool terminal = false;  ///< the end of a stream

  std::string_view schema = {};  ///< its name, at most `limits::max_name_bytes`
  std::uint32_t schema_version = 0;

  std::string_view message_id = {};  ///< by which it is known again, if it has no producer: see `DedupOptions`
  std::optional<Producer> producer = {};
  std::optional<std::uint8_t> priority = {};
  std::optional<std::chrono::system_clock::time_point> due = {};
  std::optional<std::chrono::system_clock::time_point> expiry = {};
};

/// The bytes of a text. Lifetime: that of the text.
inline std::span<const std::byte> as_payload(std::string_view text) noexcept {
  return std::as_bytes(std::span(text.data(), text.size()));
}

namespace detail {

class Block;
BUSBAR_EXPORT void intrusive_ptr_add_ref(const Block* block) noexcept;
BUSBAR_EXPORT void intrusive_ptr_release(const Block* block) noexcept;

struct RecordAccess;

}  // namespace detail

/// A record as it was read.
/// Lifetime: what it refers to stays as long as it, or any copy of it, wherever the reader has gone: it holds the block
///           of bytes that was read, and keeps the segment's file from being used again.
/// Cost:     a copy counts one reference. It holds up to `ReadOptions::block_bytes` of memory.
/// Threads:  distinct views may be used at the same time.
class BUSBAR_EXPORT RecordView {
 public:
  RecordView() noexcept = default;

  /// Its number in the log: 0, 1, 2, …
  std::uint64_t offset() const noexcept { return offset_; }

  /// As its sender gave it.
  /// @{
  std::string_view topic() const noexcept { return topic_; }
  std::string_view principal() const noexcept { return principal_; }  ///< empty means the system
  std::span<const std::byte> payload() const noexcept { return payload_; }
  /// @}

  /// The payload as text.
  std::string_view text() const noexcept { return {reinterpret_cast<const char*>(payload_.data()), payload_.size()}; }

  /// By the wall, exact if its sender said it, else to 66 us.
  std::chrono::system_clock::time_point time() const noexcept {
    return std::chrono::system_clock::time_point(
        std::chrono::duration_cast<std::chrono::system_clock::duration>(std::chrono::nanoseconds(time_ns_)));
  }

  /// As in `Record`; what was not said is empty. Cost: each call looks for it among the record's fields.
  /// @{
  std::string_view key() const noexcept;
  std::string_view source() const noexcept;
  std::optional<CorrelationId> correlation() const noexcept;
  std::optional<TraceContext> trace() const noexcept;
  bool terminal() const noexcept;
  std::string_view schema() const noexcept { return schema_; }
  std::uint32_t schema_version() const noexcept { return schema_version_; }
  std::string_view message_id() const noexcept;
  std::optional<Producer> producer() const noexcept;
  std::optional<std::uint8_t> priority() const noexcept;
  std::optional<std::chrono::system_clock::time_point> due() const noexcept;
  std::optional<std::chrono::system_clock::time_point> expiry() const noexcept;
  /// @}

  /// Calls `each(Header)` for each header, in the order they were given.
  template <class Each>
  void for_each_header(Each&& each) const {
    std::span<const std::byte> rest = headers();
    while (const auto header = take_header(rest)) each(*header);
  }

 private:
  friend struct detail::RecordAccess;

  std::span<const std::byte> headers() const noexcept;
  static std::optional<Header> take_header(std::span<const std::byte>& rest) noexcept;

  std::uint64_t offset_ = 0;
  std::string_view topic_;
  std::string_view principal_;
  std::int64_t time_ns_ = 0;
  std::span<const std::byte> payload_;
  std::span<const std::byte> fields_;
  std::string_view schema_;
  std::uint32_t schema_version_ = 0;
  boost::intrusive_ptr<const detail::Block> block_;
};

}  // namespace bus
