// SPDX-License-Identifier: MIT OR Apache-2.0
//
// How a log looks on disk: the numbers of docs/log-format.md, and the functions that write and read them. All integers
// are little-endian. Nothing in here touches a file.
//
//   segment   [header page][frames ...                ][mirror: names and footer once more][header page]
//   frame     [head, 24 bytes][body, padded with zeros to 8 bytes]
//
// A frame proves itself: its head is checked under the segment's secret salt and its own position, and tells its
// number. So what stood here in an earlier life of the file, what was copied here from elsewhere, and what a producer
// put into a payload to look like a frame is none.
#pragma once

#include <bus/error.hpp>
#include <bus/event.hpp>
#include <bus/persistence/log_options.hpp>
#include <bus/persistence/loss.hpp>
#include <bus/persistence/record.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace bus::detail {

/// Raised when an older reader could no longer read right; such a reader refuses. The minor one is raised when an
/// older reader only misses something.
inline constexpr std::uint16_t log_version_major = 1;
inline constexpr std::uint16_t log_version_minor = 0;

inline constexpr std::size_t page_bytes = limits::segment_bytes_step;
inline constexpr std::size_t sector_bytes = 512;
inline constexpr std::size_t frame_alignment = 8;
inline constexpr std::size_t head_bytes = 24;

inline constexpr std::uint64_t min_segment_bytes = limits::min_segment_bytes;
inline constexpr std::uint64_t max_segment_bytes = limits::max_segment_bytes;

inline constexpr std::size_t padded(std::size_t bytes) noexcept {
  return (bytes + frame_alignment - 1) & ~(frame_alignment - 1);
}

// --- Checksums. ---

/// CRC-32C (Castagnoli, Braeuer, Herrmann: "Optimization of Cyclic Redundancy-Check Codes with 24 and 32 Parity Bits",
/// 1993), of `bytes` behind what `crc` is of.
std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t crc = 0) noexcept;

/// What a sector holds that has not been written in this life of its segment: telling it from one that was written and
/// got lost. Eight bytes, for the position of the first of them.
std::uint64_t blank_word(std::uint64_t salt, std::uint64_t position) noexcept;
void fill_blank(std::uint64_t salt, std::uint64_t position, std::span<std::byte> out) noexcept;
bool is_blank(std::uint64_t salt, std::uint64_t position, std::span<const std::byte> bytes) noexcept;

// --- Segments. ---

using LogId = std::array<std::uint8_t, 16>;

/// Stands twice in a segment, on its first page and on its last.
struct SegmentHeader {
  LogId log_id{};
  std::uint64_t serial = 0;  ///< of this life of the file: 1, 2, …; never used twice in a log
  std::uint64_t salt = 0;
  std::uint64_t base_offset = 0;   ///< of its first record
  std::uint64_t base_control = 0;  ///< of its first control frame
  std::uint64_t capacity = 0;      ///< bytes of the file
  std::uint64_t mirror = 0;        ///< where the mirror begins
  std::int64_t created_ns = 0;     ///< wall time, since 1970
  std::uint64_t previous_salt = 0;  ///< of the file's earlier life, if it had one

  friend bool operator==(const SegmentHeader&, const SegmentHeader&) = default;
};
inline constexpr std::size_t header_bytes = 128;

void encode_header(const SegmentHeader& header, std::span<std::byte, header_bytes> out) noexcept;

/// Errors: log_damaged, log_version_unsupported (it is genuine, and newer).
result<SegmentHeader> decode_header(std::span<const std::byte, header_bytes> in) noexcept;

/// Where the header's second copy stands.
inline constexpr std::uint64_t second_header(std::uint64_t capacity) noexcept { return capacity - page_bytes; }

/// Where the mirror of a segment of that size begins.
inline constexpr std::uint64_t mirror_of(std::uint64_t capacity) noexcept {
  const std::uint64_t room = capacity / 64 < 64 * 1024 ? 64 * 1024 : capacity / 64 / page_bytes * page_bytes;
  return second_header(capacity) - room;
}

/// A segment's file: its base offset and its serial, so that a directory alone says how much of a log there should be.
std::string segment_name(std::uint64_t base_offset, std::uint64_t serial);
struct SegmentName {
  std::uint64_t base_offset;
  std::uint64_t serial;
};
std::optional<SegmentName> parse_segment_name(std::string_view name) noexcept;

// --- Frames. ---

enum class FrameKind : std::uint8_t {
  record = 1,         ///< a message; its body is the payload
  tagged_record = 2,  ///< a message; its body is optional fields, then the payload
  mark = 3,           ///< begins a batch: see `Mark`
  names = 4,          ///< topics, principals and schemas that records refer to: see `NamesWriter`
  footer = 5,         ///< ends a sealed segment
  verdict = 6,        ///< what an opening found out about a damaged region, so that no later one must guess
  control = 7,        ///< of groups
  snapshot = 8,       ///< of groups
};
inline constexpr bool is_record(FrameKind kind) noexcept {
  return kind == FrameKind::record || kind == FrameKind::tagged_record;
}

/// A kind that is not known may be skipped from here on; one below is refused.
inline constexpr std::uint8_t first_skippable_kind = 12;

inline constexpr std::uint32_t max_frame_number = (1U << 28) - 1;
inline constexpr std::uint16_t no_name = 0;
inline constexpr std::uint16_t inline_name = 0xFFFF;  ///< the name stands in the record's own fields

/// The unit of `FrameHead::time`, in nanoseconds: a segment of up to three days keeps times to 66 µs.
inline constexpr std::int64_t time_unit_ns = 1 << 16;
inline constexpr std::uint32_t unknown_time = 0xFFFFFFFF;  ///< too far away; then it stands in the record's own fields

/// What a head of the segment says of that time.
inline std::uint32_t frame_time(const SegmentHeader& header, std::int64_t wall_ns) noexcept {
  const std::int64_t units = (wall_ns - header.created_ns) / time_unit_ns;
  return units >= 0 && units < unknown_time ? static_cast<std::uint32_t>(units) : unknown_time;
}

struct FrameHead {
  FrameKind kind = FrameKind::record;
  /// Of a record, its offset less the segment's base offset; of another frame, its control number less the base.
  std::uint32_t number = 0;
  std::uint32_t body_bytes = 0;  ///< without padding
  std::uint32_t body_check = 0;  ///< CRC-32C of the body, mixed with the salt
  std::uint32_t time = 0;  ///< wall time since the segment's creation, in `time_unit_ns`
  std::uint16_t topic = no_name;  ///< of a record
  std::uint16_t principal = no_name;  ///< of a record
  std::uint32_t next_record = 0;  ///< of another frame: the number of the next record; takes the place of the two

  std::uint64_t frame_bytes() const noexcept { return head_bytes + padded(body_bytes); }
  friend bool operator==(const FrameHead&, const FrameHead&) = default;
};

/// `position` is that of the frame in its segment, a multiple of eight.
void encode_head(const FrameHead& head, std::uint64_t salt, std::uint64_t position,
                 std::span<std::byte, head_bytes> out) noexcept;

/// Returns: nothing if there is no genuine head, of a frame that ends at or in front of `end`.
/// Cost: as a rule a comparison where there is none.
std::optional<FrameHead> decode_head(std::span<const std::byte, head_bytes> in, std::uint64_t salt,
                                     std::uint64_t position, std::uint64_t end) noexcept;

inline std::uint32_t salted(std::uint32_t crc, std::uint64_t salt) noexcept {
  return crc ^ static_cast<std::uint32_t>(salt >> 32);
}

// --- Bodies. ---

/// Says, when it reached the disk, what had reached it before: everything in front of the mark that was synced. What
/// is damaged in front of `proven` was acknowledged.
struct Mark {
  std::uint64_t proven = 0;  ///< position up to which this segment was durable when the mark was written
  std::uint64_t batch_bytes = 0;  ///< from the mark's own first byte to the end of its batch
  std::uint32_t records = 0;  ///< in the batch
  std::uint32_t controls = 0;  ///< in the batch, the mark included
  std::int64_t written_ns = 0;  ///< wall time
  friend bool operator==(const Mark&, const Mark&) = default;
};
inline constexpr std::size_t mark_bytes = 32;
void encode_mark(const Mark& mark, std::span<std::byte, mark_bytes> out) noexcept;
std::optional<Mark> decode_mark(std::span<const std::byte> body) noexcept;

/// The body of `FrameKind::verdict`: a region that opening has judged and left as it is.
struct VerdictNote {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  std::uint32_t first_record = 0;
  std::uint32_t records = 0;
  Verdict verdict = Verdict::lost;
  friend bool operator==(const VerdictNote&, const VerdictNote&) = default;
};
inline constexpr std::size_t verdict_bytes = 32;
void encode_verdict(const VerdictNote& note, std::span<std::byte, verdict_bytes> out) noexcept;
std::optional<VerdictNote> decode_verdict(std::span<const std::byte> body) noexcept;

enum class NameKind : std::uint8_t { topic = 1, principal = 2, schema = 3 };

/// One name, once or more in a body of `FrameKind::names`.
struct Name {
  NameKind kind = NameKind::topic;
  std::uint16_t id = no_name;
  std::uint32_t version = 0;  ///< of a schema
  std::string_view text;
  friend bool operator==(const Name&, const Name&) = default;
};
inline constexpr std::size_t name_bytes(std::string_view text) noexcept { return 12 + text.size(); }

/// Writes one behind the other. Returns: bytes written, `name_bytes`.
std::size_t encode_name(const Name& name, std::byte* out) noexcept;

/// Takes one off the front. Returns: nothing if the rest is not a name.
std::optional<Name> decode_name(std::span<const std::byte>& body) noexcept;

/// The end of a sealed segment, and an index of it. Its second copy begins the rest of the mirror.
struct Footer {
  std::uint64_t end = 0;  ///< where the frames in front of it end
  std::uint32_t records = 0;
  std::uint32_t controls = 0;  ///< without the footer
  std::uint64_t groups_serial = 0;  ///< of the segment where reading what groups have done begins; 0 if nowhere
  std::uint64_t groups_position = 0;  ///< of its frame: of the latest snapshot, or else the first that they ever did
  std::int64_t sealed_ns = 0;  ///< wall time
  friend bool operator==(const Footer&, const Footer&) = default;
};
/// The first record that begins at or behind a multiple of `index_stride`. Positions and numbers rise; times may not.
struct IndexEntry {
  std::uint32_t position = 0;  ///< in units of eight bytes
  std::uint32_t number = 0;
  std::uint32_t time = 0;  ///< of the latest record so far, in `time_unit_ns` since the segment's creation
  friend bool operator==(const IndexEntry&, const IndexEntry&) = default;
};
inline constexpr std::uint64_t index_stride = 64 * 1024;
inline constexpr std::size_t footer_bytes(std::size_t entries) noexcept { return 48 + 12 * entries; }
void encode_footer(const Footer& footer, std::span<const IndexEntry> index, std::byte* out) noexcept;

struct DecodedFooter {
  Footer footer;
  std::span<const std::byte> index;
  std::size_t entries() const noexcept { return index.size() / 12; }
  IndexEntry entry(std::size_t i) const noexcept;
};
std::optional<DecodedFooter> decode_footer(std::span<const std::byte> body) noexcept;

/// Says that a message is finished: this record has what became of it.
struct Settles {
  std::uint32_t queue = 0;
  std::uint64_t offset = 0;
  friend bool operator==(const Settles&, const Settles&) = default;
};

/// What a record says besides topic, principal, time and payload. Each field costs four bytes and its value, padded
/// to four; what is not said costs nothing.
struct RecordFields {
  std::optional<std::int64_t> time_ns = {};  ///< wall time, where the head's is too coarse
  std::string_view source = {};
  std::optional<CorrelationId> correlation = {};
  std::optional<TraceContext> trace = {};
  bool terminal = false;
  std::string_view key = {};
  std::uint16_t schema = no_name;
  std::optional<std::uint8_t> priority = {};
  std::optional<std::int64_t> due_ns = {};  ///< wall time
  std::optional<std::int64_t> expiry_ns = {};  ///< wall time
  std::string_view message_id = {};
  std::optional<Producer> producer = {};
  std::optional<Settles> settles = {};
  std::optional<std::uint64_t> digest = {};  ///< XXH3 of the payload as stored, from 64 KiB on
  std::optional<std::uint32_t> lz4_bytes = {};  ///< the payload is an LZ4 block, and so long when it is not
  std::string_view topic = {};  ///< where the head says `inline_name`
  std::string_view principal = {};
  std::string_view schema_name = {};  ///< where no id is left for it
  std::uint32_t schema_version = 0;
  std::span<const std::byte> headers = {};  ///< as they were read: see `decode_text_header`
  std::span<const Header> new_headers = {};  ///< as they are to be written

  bool empty() const noexcept;
};

/// The bytes of the fields in front of the payload, a multiple of eight; 0 if there are none.
std::size_t fields_bytes(const RecordFields& fields) noexcept;
void encode_fields(const RecordFields& fields, std::span<std::byte> out) noexcept;

/// Whether each text and all headers together are short enough for a field.
bool fields_fit(const RecordFields& fields) noexcept;

/// Takes one header off the front. Returns: nothing if there is none.
std::optional<Header> decode_text_header(std::span<const std::byte>& headers) noexcept;

/// Takes the fields off the front of a body. What they refer to stays where it is.
/// Errors: log_damaged; log_version_unsupported (a field that is not known and must not be skipped).
result<RecordFields> decode_fields(std::span<const std::byte>& body) noexcept;

}  // namespace bus::detail
