// SPDX-License-Identifier: MIT OR Apache-2.0
#include "persistence/format.hpp"

#include "persistence/little_endian.hpp"

#include <isa-l/crc.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <utility>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace bus::detail {
namespace {

std::uint32_t check_of_head(const std::byte* rest, std::uint64_t salt, std::uint64_t position) noexcept {
  return static_cast<std::uint32_t>(XXH3_64bits_withSeed(rest, head_bytes - 4, salt + position));
}

}  // namespace

// --- Checksums. ---

std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t crc) noexcept {
  crc = ~crc;
  while (!bytes.empty()) {  // the library counts in int
    const auto part = bytes.first(std::min<std::size_t>(bytes.size(), std::numeric_limits<int>::max()));
    // It reads what it is given as if it might write.
    auto* const data = reinterpret_cast<unsigned char*>(const_cast<std::byte*>(part.data()));
    crc = crc32_iscsi(data, static_cast<int>(part.size()), crc);
    bytes = bytes.subspan(part.size());
  }
  return ~crc;
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", 2014).
std::uint64_t blank_word(std::uint64_t salt, std::uint64_t position) noexcept {
  std::uint64_t z = salt + (position / sizeof z + 1) * 0x9E3779B97F4A7C15;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
  return z ^ (z >> 31);
}

void fill_blank(std::uint64_t salt, std::uint64_t position, std::span<std::byte> out) noexcept {
  for (std::size_t i = 0; i + 8 <= out.size(); i += 8) Writer(out.data() + i).put(blank_word(salt, position + i));
}

bool is_blank(std::uint64_t salt, std::uint64_t position, std::span<const std::byte> bytes) noexcept {
  for (std::size_t i = 0; i + 8 <= bytes.size(); i += 8) {
    if (read_at_byte<std::uint64_t>(bytes, i) != blank_word(salt, position + i)) return false;
  }
  return true;
}

// --- Segments. ---

namespace {

constexpr std::array<char, 8> magic{'B', 'U', 'S', 'B', 'A', 'R', 'L', '\x1a'};

}  // namespace

void encode_header(const SegmentHeader& header, std::span<std::byte, header_bytes> out) noexcept {
  Writer(out.data())
      .put(std::as_bytes(std::span(magic)))
      .put(log_version_major)
      .put(log_version_minor)
      .zeros(4)  // the check
      .put(std::as_bytes(std::span(header.log_id)))
      .put(header.serial)
      .put(header.salt)
      .put(header.base_offset)
      .put(header.base_control)
      .put(header.capacity)
      .put(header.mirror)
      .put(header.created_ns)
      .put(header.previous_salt)
      .zeros(32);  // for ciphers: an algorithm, a key's id, a nonce
  Writer(out.data() + 12).put(crc32c(out));
}

result<SegmentHeader> decode_header(std::span<const std::byte, header_bytes> in) noexcept {
  if (!std::ranges::equal(in.first<8>(), std::as_bytes(std::span(magic)))) return errc::log_damaged;
  std::array<std::byte, header_bytes> unchecked;
  std::ranges::copy(in, unchecked.begin());
  Writer(unchecked.data() + 12).zeros(4);
  if (crc32c(unchecked) != read_at_byte<std::uint32_t>(in, 12)) return errc::log_damaged;
  if (read_at_byte<std::uint16_t>(in, 8) != log_version_major) return errc::log_version_unsupported;
  SegmentHeader header;
  std::span<const std::byte> rest = in.subspan(16);
  std::ranges::copy(rest.first(header.log_id.size()), std::as_writable_bytes(std::span(header.log_id)).begin());
  rest = rest.subspan(header.log_id.size());
  header.serial = take<std::uint64_t>(rest);
  header.salt = take<std::uint64_t>(rest);
  header.base_offset = take<std::uint64_t>(rest);
  header.base_control = take<std::uint64_t>(rest);
  header.capacity = take<std::uint64_t>(rest);
  header.mirror = take<std::uint64_t>(rest);
  header.created_ns = take<std::int64_t>(rest);
  header.previous_salt = take<std::uint64_t>(rest);
  // Genuine, but not of a version 1 as it is defined.
  if (std::ranges::any_of(rest, [](std::byte b) { return b != std::byte{}; })) return errc::log_version_unsupported;
  if (header.capacity < min_segment_bytes || header.capacity > max_segment_bytes || header.capacity % page_bytes != 0 ||
      header.mirror % page_bytes != 0 || header.mirror <= page_bytes ||
      header.mirror >= second_header(header.capacity)) {
    return errc::log_damaged;
  }
  return header;
}

namespace {

constexpr std::size_t digits_of_number = 16;
constexpr std::string_view suffix = ".segment";

void append_hex(std::string& out, std::uint64_t number) {
  std::array<char, digits_of_number> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number, 16).ptr;
  const auto size = static_cast<std::size_t>(end - digits.data());
  out.append(digits.size() - size, '0').append(digits.data(), size);
}

bool parse_hex(std::string_view digits, std::uint64_t& number) noexcept {
  if (std::ranges::any_of(digits, [](char c) { return (c < '0' || c > '9') && (c < 'a' || c > 'f'); })) return false;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), number, 16);
  return parsed.ec == std::errc() && parsed.ptr == digits.data() + digits.size();
}

}  // namespace

std::string segment_name(std::uint64_t base_offset, std::uint64_t serial) {
  std::string name;
  append_hex(name, base_offset);
  name += '-';
  append_hex(name, serial);
  return name.append(suffix);
}

std::optional<SegmentName> parse_segment_name(std::string_view name) noexcept {
  if (name.size() != 2 * digits_of_number + 1 + suffix.size() || name[digits_of_number] != '-' ||
      !name.ends_with(suffix)) {
    return std::nullopt;
  }
  SegmentName parsed{};
  if (!parse_hex(name.substr(0, digits_of_number), parsed.base_offset) ||
      !parse_hex(name.substr(digits_of_number + 1, digits_of_number), parsed.serial)) {
    return std::nullopt;
  }
  return parsed;
}

// --- Frames. ---

void encode_head(const FrameHead& head, std::uint64_t salt, std::uint64_t position,
                 std::span<std::byte, head_bytes> out) noexcept {
  Writer writer(out.data() + 4);
  writer.put(head.body_check)
      .put(head.body_bytes)
      .put(static_cast<std::uint32_t>(static_cast<std::uint32_t>(head.kind) << 28 | head.number))
      .put(head.time);
  if (is_record(head.kind)) {
    writer.put(head.topic).put(head.principal);
  } else {
    writer.put(head.next_record);
  }
  Writer(out.data()).put(check_of_head(out.data() + 4, salt, position));
}

std::optional<FrameHead> decode_head(std::span<const std::byte, head_bytes> in, std::uint64_t salt,
                                     std::uint64_t position, std::uint64_t end) noexcept {
  if (FrameHead{.body_bytes = read_at_byte<std::uint32_t>(in, 8)}.frame_bytes() > end - position) return std::nullopt;
  std::span<const std::byte> rest = in;
  if (take<std::uint32_t>(rest) != check_of_head(rest.data(), salt, position)) return std::nullopt;
  FrameHead head;
  head.body_check = take<std::uint32_t>(rest);
  head.body_bytes = take<std::uint32_t>(rest);
  const auto kind_and_number = take<std::uint32_t>(rest);
  head.kind = static_cast<FrameKind>(kind_and_number >> 28);
  head.number = kind_and_number & max_frame_number;
  head.time = take<std::uint32_t>(rest);
  if (is_record(head.kind)) {
    head.topic = take<std::uint16_t>(rest);
    head.principal = take<std::uint16_t>(rest);
  } else {
    head.next_record = take<std::uint32_t>(rest);
  }
  return head;
}

// --- Bodies. ---

void encode_mark(const Mark& mark, std::span<std::byte, mark_bytes> out) noexcept {
  Writer(out.data()).put(mark.proven).put(mark.batch_bytes).put(mark.records).put(mark.controls).put(mark.written_ns);
}

std::optional<Mark> decode_mark(std::span<const std::byte> body) noexcept {
  if (body.size() < mark_bytes) return std::nullopt;
  Mark mark;
  mark.proven = take<std::uint64_t>(body);
  mark.batch_bytes = take<std::uint64_t>(body);
  mark.records = take<std::uint32_t>(body);
  mark.controls = take<std::uint32_t>(body);
  mark.written_ns = take<std::int64_t>(body);
  return mark;
}

void encode_verdict(const VerdictNote& note, std::span<std::byte, verdict_bytes> out) noexcept {
  Writer(out.data())
      .put(note.begin)
      .put(note.end)
      .put(note.first_record)
      .put(note.records)
      .put(static_cast<std::uint8_t>(note.verdict))
      .zeros(7);
}

std::optional<VerdictNote> decode_verdict(std::span<const std::byte> body) noexcept {
  if (body.size() < verdict_bytes) return std::nullopt;
  VerdictNote note;
  note.begin = take<std::uint64_t>(body);
  note.end = take<std::uint64_t>(body);
  note.first_record = take<std::uint32_t>(body);
  note.records = take<std::uint32_t>(body);
  note.verdict = static_cast<Verdict>(take<std::uint8_t>(body));
  if (note.verdict < Verdict::torn || note.verdict > Verdict::unproven) return std::nullopt;
  return note;
}

std::size_t encode_name(const Name& name, std::byte* out) noexcept {
  Writer(out)
      .put(static_cast<std::uint8_t>(name.kind))
      .zeros(1)
      .put(name.id)
      .put(name.version)
      .put(static_cast<std::uint32_t>(name.text.size()))
      .put(bytes_of(name.text));
  return name_bytes(name.text);
}

std::optional<Name> decode_name(std::span<const std::byte>& body) noexcept {
  if (body.size() < name_bytes("")) return std::nullopt;
  Name name;
  name.kind = static_cast<NameKind>(take<std::uint8_t>(body));
  take<std::uint8_t>(body);
  name.id = take<std::uint16_t>(body);
  name.version = take<std::uint32_t>(body);
  const auto size = take<std::uint32_t>(body);
  if (size > body.size() || name.id == no_name || name.id == inline_name) return std::nullopt;
  name.text = text_of(body.first(size));
  body = body.subspan(size);
  return name;
}

void encode_footer(const Footer& footer, std::span<const IndexEntry> index, std::byte* out) noexcept {
  Writer writer(out);
  writer.put(footer.end)
      .put(footer.records)
      .put(footer.controls)
      .put(footer.groups_serial)
      .put(footer.groups_position)
      .put(footer.sealed_ns)
      .put(static_cast<std::uint64_t>(index.size()));
  for (const IndexEntry& entry : index) writer.put(entry.position).put(entry.number).put(entry.time);
}

std::optional<DecodedFooter> decode_footer(std::span<const std::byte> body) noexcept {
  if (body.size() < footer_bytes(0)) return std::nullopt;
  DecodedFooter decoded;
  decoded.footer.end = take<std::uint64_t>(body);
  decoded.footer.records = take<std::uint32_t>(body);
  decoded.footer.controls = take<std::uint32_t>(body);
  decoded.footer.groups_serial = take<std::uint64_t>(body);
  decoded.footer.groups_position = take<std::uint64_t>(body);
  decoded.footer.sealed_ns = take<std::int64_t>(body);
  const auto entries = take<std::uint64_t>(body);
  if (entries > body.size() / 12) return std::nullopt;
  decoded.index = body.first(entries * 12);
  return decoded;
}

IndexEntry DecodedFooter::entry(std::size_t i) const noexcept {
  auto in = index.subspan(i * 12);
  IndexEntry entry;
  entry.position = take<std::uint32_t>(in);
  entry.number = take<std::uint32_t>(in);
  entry.time = take<std::uint32_t>(in);
  return entry;
}

// --- Fields. ---
//
// [u32 bytes of all fields, this one included, a multiple of eight][field]...[zeros]
// A field is [u16 tag][u16 bytes of its value][value][zeros to four]. A tag of 0 ends them. A reader that does not know
// a tag skips the field, unless the tag's highest bit says that it must not.

namespace {

enum Tag : std::uint16_t {
  end_of_fields = 0,
  tag_time = 1,
  tag_source = 2,
  tag_correlation = 3,
  tag_trace = 4,
  tag_terminal = 5,
  tag_key = 6,
  tag_headers = 7,
  tag_schema = 8,
  tag_priority = 9,
  tag_due = 10,
  tag_expiry = 11,
  tag_message_id = 12,
  tag_producer = 13,
  tag_digest = 14,
  tag_topic = 15,
  tag_principal = 16,
  tag_schema_name = 17,
  tag_settles = 18,
  must_be_known = 0x8000,
  tag_lz4 = must_be_known | 1,
};

constexpr std::size_t padded_field(std::size_t value_bytes) noexcept {
  return 4 + ((value_bytes + 3) & ~std::size_t{3});
}

std::size_t header_list_bytes(std::span<const Header> headers) noexcept {
  std::size_t bytes = 0;
  for (const Header& header : headers) bytes += 4 + header.name.size() + header.value.size();
  return bytes;
}

/// Calls `field(tag, size, write)` for each field that is said, in the order of tags.
template <class Field>
void for_each_field(const RecordFields& fields, Field&& field) {
  const auto text = [&](Tag tag, std::string_view value) {
    if (!value.empty()) field(tag, value.size(), [&](Writer& out) { out.put(bytes_of(value)); });
  };
  const auto number = [&](Tag tag, const auto& value) {
    if (value) field(tag, sizeof *value, [&](Writer& out) { out.put(*value); });
  };
  number(tag_time, fields.time_ns);
  text(tag_source, fields.source);
  if (fields.correlation) {
    field(tag_correlation, std::size_t{16},
          [&](Writer& out) { out.put(fields.correlation->high).put(fields.correlation->low); });
  }
  if (fields.trace) {
    field(tag_trace, std::size_t{25}, [&](Writer& out) {
      out.put(std::as_bytes(std::span(fields.trace->trace_id)))
          .put(std::as_bytes(std::span(fields.trace->span_id)))
          .put(fields.trace->flags);
    });
  }
  if (fields.terminal) field(tag_terminal, std::size_t{0}, [](Writer&) {});
  text(tag_key, fields.key);
  if (!fields.new_headers.empty()) {
    field(tag_headers, header_list_bytes(fields.new_headers), [&](Writer& out) {
      for (const Header& header : fields.new_headers) {
        out.put(static_cast<std::uint16_t>(header.name.size())).put(static_cast<std::uint16_t>(header.value.size()));
        out.put(bytes_of(header.name)).put(bytes_of(header.value));
      }
    });
  } else {
    text(tag_headers, text_of(fields.headers));
  }
  if (fields.schema != no_name) field(tag_schema, std::size_t{2}, [&](Writer& out) { out.put(fields.schema); });
  number(tag_priority, fields.priority);
  number(tag_due, fields.due_ns);
  number(tag_expiry, fields.expiry_ns);
  text(tag_message_id, fields.message_id);
  if (fields.producer) {
    field(tag_producer, std::size_t{20}, [&](Writer& out) {
      out.put(fields.producer->id).put(fields.producer->sequence).put(fields.producer->epoch);
    });
  }
  number(tag_digest, fields.digest);
  text(tag_topic, fields.topic);
  text(tag_principal, fields.principal);
  if (!fields.schema_name.empty()) {
    field(tag_schema_name, 4 + fields.schema_name.size(),
          [&](Writer& out) { out.put(fields.schema_version).put(bytes_of(fields.schema_name)); });
  }
  if (fields.settles) {
    field(tag_settles, std::size_t{12},
          [&](Writer& out) { out.put(fields.settles->offset).put(fields.settles->queue); });
  }
  number(tag_lz4, fields.lz4_bytes);
}

/// Reads the value of one field. Returns: whether it is as long as it must be.
bool read_field(RecordFields& fields, std::uint16_t tag, std::span<const std::byte> value) noexcept {
  const auto number = [&]<class T>(std::optional<T>& into) {
    if (value.size() != sizeof(T)) return false;
    into = take<T>(value);
    return true;
  };
  const auto text = [&](std::string_view& into) {
    into = text_of(value);
    return !value.empty();
  };
  switch (tag) {
    case tag_time: return number(fields.time_ns);
    case tag_source: return text(fields.source);
    case tag_correlation:
      if (value.size() != 16) return false;
      fields.correlation.emplace();
      fields.correlation->high = take<std::uint64_t>(value);
      fields.correlation->low = take<std::uint64_t>(value);
      return true;
    case tag_trace:
      if (value.size() != 25) return false;
      fields.trace.emplace();
      std::ranges::copy(value.first(16), std::as_writable_bytes(std::span(fields.trace->trace_id)).begin());
      std::ranges::copy(value.subspan(16, 8), std::as_writable_bytes(std::span(fields.trace->span_id)).begin());
      fields.trace->flags = std::to_integer<std::uint8_t>(value[24]);
      return true;
    case tag_terminal: fields.terminal = true; return value.empty();
    case tag_key: return text(fields.key);
    case tag_headers: fields.headers = value; return !value.empty();
    case tag_schema:
      if (value.size() != 2) return false;
      fields.schema = take<std::uint16_t>(value);
      return fields.schema != no_name && fields.schema != inline_name;
    case tag_priority: return number(fields.priority);
    case tag_due: return number(fields.due_ns);
    case tag_expiry: return number(fields.expiry_ns);
    case tag_message_id: return text(fields.message_id);
    case tag_producer:
      if (value.size() != 20) return false;
      fields.producer.emplace();
      fields.producer->id = take<std::uint64_t>(value);
      fields.producer->sequence = take<std::uint64_t>(value);
      fields.producer->epoch = take<std::uint32_t>(value);
      return true;
    case tag_digest: return number(fields.digest);
    case tag_topic: return text(fields.topic);
    case tag_principal: return text(fields.principal);
    case tag_schema_name:
      if (value.size() <= 4) return false;
      fields.schema_version = take<std::uint32_t>(value);
      return text(fields.schema_name);
    case tag_settles:
      if (value.size() != 12) return false;
      fields.settles.emplace();
      fields.settles->offset = take<std::uint64_t>(value);
      fields.settles->queue = take<std::uint32_t>(value);
      return true;
    case tag_lz4: return number(fields.lz4_bytes);
    default: return true;
  }
}

bool is_known(std::uint16_t tag) noexcept { return tag <= tag_settles || tag == tag_lz4; }

}  // namespace

bool RecordFields::empty() const noexcept { return fields_bytes(*this) == 0; }

bool fields_fit(const RecordFields& fields) noexcept {
  constexpr std::size_t most = std::numeric_limits<std::uint16_t>::max();
  bool fit = true;
  for_each_field(fields, [&](Tag, std::size_t size, const auto&) { fit = fit && size <= most; });
  return fit;
}

std::optional<Header> decode_text_header(std::span<const std::byte>& headers) noexcept {
  if (headers.size() < 4) return std::nullopt;
  const std::size_t name = take<std::uint16_t>(headers);
  const std::size_t value = take<std::uint16_t>(headers);
  if (name + value > headers.size()) {
    headers = {};
    return std::nullopt;
  }
  const Header header{text_of(headers.first(name)), text_of(headers.subspan(name, value))};
  headers = headers.subspan(name + value);
  return header;
}

std::size_t fields_bytes(const RecordFields& fields) noexcept {
  std::size_t bytes = 0;
  for_each_field(fields, [&](Tag, std::size_t size, const auto&) { bytes += padded_field(size); });
  return bytes == 0 ? 0 : padded(4 + bytes);
}

void encode_fields(const RecordFields& fields, std::span<std::byte> out) noexcept {
  if (out.empty()) return;
  Writer writer(out.data());
  writer.put(static_cast<std::uint32_t>(out.size()));
  for_each_field(fields, [&](Tag tag, std::size_t size, const auto& write) {
    writer.put(static_cast<std::uint16_t>(tag)).put(static_cast<std::uint16_t>(size));
    write(writer);
    writer.zeros(padded_field(size) - 4 - size);
  });
  writer.zeros(static_cast<std::size_t>(out.data() + out.size() - writer.at()));
}

result<RecordFields> decode_fields(std::span<const std::byte>& body) noexcept {
  if (body.size() < 4) return errc::log_damaged;
  const auto bytes = read_at_byte<std::uint32_t>(body, 0);
  if (bytes < 8 || bytes % frame_alignment != 0 || bytes > body.size()) return errc::log_damaged;
  auto in = body.subspan(4, bytes - 4);
  RecordFields fields;
  while (in.size() >= 4) {
    const auto tag = take<std::uint16_t>(in);
    if (tag == end_of_fields) break;
    const auto size = take<std::uint16_t>(in);
    const std::size_t whole = padded_field(size) - 4;
    if (whole > in.size()) return errc::log_damaged;
    if (!is_known(tag) && (tag & must_be_known) != 0) return errc::log_version_unsupported;
    if (!read_field(fields, tag, in.first(size))) return errc::log_damaged;
    in = in.subspan(whole);
  }
  body = body.subspan(bytes);
  return fields;
}

}  // namespace bus::detail
