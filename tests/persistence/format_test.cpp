// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What is written is read again, what is not genuine is not taken for genuine, and the bytes are those of
// docs/log-format.md.
#include "persistence/format.hpp"

#include "hex.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <random>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bus::detail {
namespace {

using Bytes = std::vector<std::byte>;

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

// --- Checksums ---

TEST(Checksum, is_crc_32c_as_published) {
  // RFC 3720, appendix B.4.
  EXPECT_EQ(crc32c(bytes_of("123456789")), 0xE3069283U);
  EXPECT_EQ(crc32c(Bytes(32, std::byte{0})), 0x8A9136AAU);
  EXPECT_EQ(crc32c(Bytes(32, std::byte{0xFF})), 0x62A8AB43U);
  EXPECT_EQ(crc32c({}), 0U);
}

TEST(Checksum, of_parts_is_that_of_the_whole) {
  std::mt19937 random(1);
  Bytes bytes(10'000);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  const std::uint32_t whole = crc32c(bytes);
  for (const std::size_t cut : {0U, 1U, 7U, 8U, 4095U, 9999U, 10'000U}) {
    const std::span all(bytes);
    EXPECT_EQ(crc32c(all.subspan(cut), crc32c(all.first(cut))), whole) << cut;
  }
}

TEST(Blank, is_known_by_its_salt_and_its_place) {
  Bytes sector(sector_bytes);
  fill_blank(7, 4096, sector);
  EXPECT_TRUE(is_blank(7, 4096, sector));
  EXPECT_FALSE(is_blank(8, 4096, sector));
  EXPECT_FALSE(is_blank(7, 4608, sector));
  EXPECT_FALSE(is_blank(7, 4096, Bytes(sector_bytes)));
  EXPECT_TRUE(is_blank(7, 4104, std::span(sector).subspan(8)));
  for (std::size_t bit = 0; bit < sector_bytes * 8; bit += 37) {
    Bytes flipped = sector;
    flipped[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
    EXPECT_FALSE(is_blank(7, 4096, flipped)) << bit;
  }
}

// --- Segments ---

const SegmentHeader some_header{.log_id = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
                                .serial = 5,
                                .salt = 0x1122334455667788,
                                .base_offset = 1000,
                                .base_control = 77,
                                .capacity = 64 << 20,
                                .mirror = mirror_of(64 << 20),
                                .created_ns = 1'700'000'000'000'000'000,
                                .previous_salt = 3};

TEST(SegmentHeaderFormat, is_read_as_written) {
  std::array<std::byte, header_bytes> bytes;
  encode_header(some_header, bytes);
  EXPECT_EQ(decode_header(bytes).value(), some_header);
}

TEST(SegmentHeaderFormat, golden) {
  std::array<std::byte, header_bytes> bytes;
  encode_header(some_header, bytes);
  EXPECT_EQ(hex(bytes),
            "4255534241524c1a"                  // magic
            "01000000"                          // version 1.0
            "d6585b43"                          // check
            "0102030405060708090a0b0c0d0e0f10"  // log id
            "0500000000000000"                  // serial
            "8877665544332211"                  // salt
            "e803000000000000"                  // base offset
            "4d00000000000000"                  // base control
            "0000000400000000"                  // capacity
            "00f0ef0300000000"                  // mirror
            "00002a36fe9c9717"                  // created
            "0300000000000000"                  // salt of the earlier life
            "0000000000000000000000000000000000000000000000000000000000000000");
}

TEST(SegmentHeaderFormat, with_any_bit_flipped_is_refused) {
  std::array<std::byte, header_bytes> bytes;
  encode_header(some_header, bytes);
  for (std::size_t bit = 0; bit < header_bytes * 8; ++bit) {
    auto flipped = bytes;
    flipped[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
    EXPECT_EQ(decode_header(flipped).error(), errc::log_damaged) << bit;
  }
}

TEST(SegmentHeaderFormat, of_a_later_version_is_refused_as_such) {
  std::array<std::byte, header_bytes> bytes;
  const auto with = [&](std::size_t at, std::byte value) {
    encode_header(some_header, bytes);
    bytes[at] = value;
    std::ranges::fill(std::span(bytes).subspan(12, 4), std::byte{0});
    const std::uint32_t check = crc32c(bytes);
    for (std::size_t i = 0; i < 4; ++i) bytes[12 + i] = static_cast<std::byte>(check >> 8 * i);
    return decode_header(bytes);
  };
  EXPECT_EQ(with(8, std::byte{2}).error(), errc::log_version_unsupported);
  EXPECT_TRUE(with(10, std::byte{3})) << "a minor version is read";
  EXPECT_EQ(with(96, std::byte{1}).error(), errc::log_version_unsupported) << "a cipher";
}

TEST(SegmentHeaderFormat, that_makes_no_sense_is_refused) {
  std::array<std::byte, header_bytes> bytes;
  for (const std::uint64_t capacity :
       {std::uint64_t{0}, min_segment_bytes - page_bytes, max_segment_bytes + page_bytes, min_segment_bytes + 1}) {
    SegmentHeader odd = some_header;
    odd.capacity = capacity;
    odd.mirror = 8192;
    encode_header(odd, bytes);
    EXPECT_EQ(decode_header(bytes).error(), errc::log_damaged) << capacity;
  }
  for (const std::uint64_t mirror : {std::uint64_t{0}, some_header.capacity, some_header.mirror + 8}) {
    SegmentHeader odd = some_header;
    odd.mirror = mirror;
    encode_header(odd, bytes);
    EXPECT_EQ(decode_header(bytes).error(), errc::log_damaged) << mirror;
  }
}

TEST(SegmentNames, say_offset_and_serial) {
  EXPECT_EQ(segment_name(1000, 255), "00000000000003e8-00000000000000ff.segment");
  for (const std::uint64_t number : {std::uint64_t{0}, std::uint64_t{1}, ~std::uint64_t{0}}) {
    const auto parsed = parse_segment_name(segment_name(number, ~number));
    ASSERT_TRUE(parsed);
    EXPECT_EQ(parsed->base_offset, number);
    EXPECT_EQ(parsed->serial, ~number);
  }
  for (const std::string_view name :
       {"", "x", "00000000000003e8-00000000000000ff.segmen", "00000000000003e8-00000000000000ff.segment ",
        "00000000000003E8-00000000000000ff.segment", "00000000000003e8_00000000000000ff.segment",
        "+0000000000003e8-00000000000000ff.segment", "00000000000003e8-0x000000000000ff.segment"}) {
    EXPECT_FALSE(parse_segment_name(name)) << name;
  }
}

// --- Frames ---

const FrameHead some_head{.kind = FrameKind::tagged_record,
                          .number = 123'456,
                          .body_bytes = 300,
                          .body_check = 0xCAFEBABE,
                          .time = 99,
                          .topic = 3,
                          .principal = 4};
constexpr std::uint64_t some_salt = 0x1122334455667788;

TEST(Frames, head_is_24_bytes_and_read_as_written) {
  std::array<std::byte, head_bytes> bytes;
  encode_head(some_head, some_salt, 8192, bytes);
  EXPECT_EQ(decode_head(bytes, some_salt, 8192, max_segment_bytes), some_head);
  EXPECT_EQ(some_head.frame_bytes(), 24U + 304U);
  EXPECT_EQ(hex(bytes),
            "8cf08287"
            "bebafeca"
            "2c010000"
            "40e20120"
            "63000000"
            "0300"
            "0400");
}

TEST(Frames, a_head_of_no_record_says_which_record_is_next) {
  std::array<std::byte, head_bytes> bytes;
  const FrameHead mark{.kind = FrameKind::mark, .number = 1, .body_bytes = mark_bytes, .next_record = 0x12345678};
  encode_head(mark, some_salt, 8192, bytes);
  EXPECT_EQ(decode_head(bytes, some_salt, 8192, max_segment_bytes), mark);
}

TEST(Frames, a_head_is_genuine_only_as_it_is_where_it_is_and_in_this_life) {
  std::array<std::byte, head_bytes> bytes;
  encode_head(some_head, some_salt, 8192, bytes);
  EXPECT_FALSE(decode_head(bytes, some_salt, 8200, max_segment_bytes));
  EXPECT_FALSE(decode_head(bytes, some_salt + 1, 8192, max_segment_bytes));
  for (std::size_t bit = 0; bit < head_bytes * 8; ++bit) {
    auto flipped = bytes;
    flipped[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
    EXPECT_FALSE(decode_head(flipped, some_salt, 8192, max_segment_bytes)) << bit;
  }
  for (std::uint64_t position = 0; position < 1 << 20; position += 8) {
    EXPECT_EQ(decode_head(bytes, some_salt, position, max_segment_bytes).has_value(), position == 8192) << position;
  }
}

TEST(Frames, neither_zeros_nor_blank_sectors_nor_noise_hold_a_head) {
  std::mt19937_64 random(1);
  std::array<std::byte, head_bytes> bytes{};
  for (std::uint64_t i = 0; i < 200'000; ++i) {
    EXPECT_FALSE(decode_head(bytes, some_salt, 8 * i, max_segment_bytes));
    std::array<std::byte, head_bytes> blank;
    fill_blank(some_salt, 8 * i, blank);
    EXPECT_FALSE(decode_head(blank, some_salt, 8 * i, max_segment_bytes));
    std::array<std::byte, head_bytes> noise;
    for (std::byte& byte : noise) byte = static_cast<std::byte>(random());
    EXPECT_FALSE(decode_head(noise, some_salt, 8 * i, max_segment_bytes));
  }
}

// --- Bodies ---

TEST(Bodies, a_mark_is_read_as_written_and_may_grow) {
  const Mark mark{.proven = 1, .batch_bytes = 2, .records = 3, .controls = 4, .written_ns = -5};
  std::array<std::byte, mark_bytes + 8> bytes{};
  encode_mark(mark, std::span(bytes).first<mark_bytes>());
  EXPECT_EQ(decode_mark(std::span(bytes).first(mark_bytes)), mark);
  EXPECT_EQ(decode_mark(bytes), mark);
  EXPECT_FALSE(decode_mark(std::span(bytes).first(mark_bytes - 1)));
}

TEST(Bodies, names_stand_one_behind_the_other) {
  const std::array names{Name{.kind = NameKind::topic, .id = 1, .text = "a.b"},
                         Name{.kind = NameKind::principal, .id = 2, .text = "agent.x"},
                         Name{.kind = NameKind::schema, .id = 0xFFFE, .version = 9, .text = "thought"}};
  Bytes bytes;
  for (const Name& name : names) {
    const std::size_t at = bytes.size();
    bytes.resize(at + name_bytes(name.text));
    EXPECT_EQ(encode_name(name, bytes.data() + at), bytes.size() - at);
  }
  std::span<const std::byte> rest(bytes);
  for (const Name& name : names) EXPECT_EQ(decode_name(rest), name);
  EXPECT_TRUE(rest.empty());
  EXPECT_FALSE(decode_name(rest));
  for (std::size_t cut = 1; cut < name_bytes(names[0].text); ++cut) {
    auto part = std::span<const std::byte>(bytes).first(cut);
    EXPECT_FALSE(decode_name(part)) << cut;
  }
}

TEST(Bodies, a_footer_is_read_as_written) {
  const Footer footer{.end = 1, .records = 2, .controls = 3, .groups_serial = 4, .groups_position = 5, .sealed_ns = 6};
  const std::array index{IndexEntry{7, 8, 9}, IndexEntry{10, 11, 12}};
  Bytes bytes(footer_bytes(index.size()));
  encode_footer(footer, index, bytes.data());
  const auto decoded = decode_footer(bytes);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->footer, footer);
  ASSERT_EQ(decoded->entries(), 2U);
  EXPECT_EQ(decoded->entry(0), index[0]);
  EXPECT_EQ(decoded->entry(1), index[1]);
  for (std::size_t cut = 0; cut < bytes.size(); ++cut) EXPECT_FALSE(decode_footer(std::span(bytes).first(cut))) << cut;
}

// --- Fields ---

RecordFields all_fields() {
  return {.time_ns = 1,
          .source = "loader",
          .correlation = CorrelationId{2, 3},
          .trace = TraceContext{.trace_id = {4}, .span_id = {5}, .flags = 6},
          .terminal = true,
          .key = "k",
          .schema = 7,
          .priority = std::uint8_t{8},
          .due_ns = 9,
          .expiry_ns = -10,
          .message_id = "id",
          .producer = Producer{11, 12, 13},
          .digest = 14,
          .lz4_bytes = 15,
          .topic = "a.b",
          .principal = "agent.x",
          .headers = bytes_of("headers")};
}

Bytes encoded(const RecordFields& fields, std::string_view payload = {}) {
  Bytes body(fields_bytes(fields));
  encode_fields(fields, body);
  const auto more = bytes_of(payload);
  body.insert(body.end(), more.begin(), more.end());
  return body;
}

TEST(Fields, are_read_as_written) {
  const Bytes body = encoded(all_fields(), "payload");
  std::span<const std::byte> rest(body);
  const auto read = decode_fields(rest);
  ASSERT_TRUE(read);
  EXPECT_TRUE(std::ranges::equal(rest, bytes_of("payload")));
  EXPECT_EQ(encoded(*read), encoded(all_fields()));
  EXPECT_EQ(read->key, "k");
  EXPECT_EQ(read->producer, (Producer{11, 12, 13}));
  EXPECT_EQ(read->expiry_ns, -10);
}

TEST(Fields, that_are_not_said_cost_nothing_and_the_payload_stays_aligned) {
  EXPECT_TRUE(RecordFields().empty());
  EXPECT_EQ(fields_bytes({}), 0U);
  EXPECT_EQ(fields_bytes({.terminal = true}), 8U);
  EXPECT_EQ(fields_bytes({.key = "12345"}), 16U);
  EXPECT_EQ(fields_bytes(all_fields()) % 8, 0U);
}

TEST(Fields, that_are_not_known_are_skipped_unless_they_must_not_be) {
  Bytes body = encoded({.terminal = true, .key = "k"});
  const auto tag_at = [&](std::size_t at, std::uint16_t tag) {
    body[at] = static_cast<std::byte>(tag);
    body[at + 1] = static_cast<std::byte>(tag >> 8);
  };
  tag_at(4, 0x7000);
  std::span<const std::byte> rest(body);
  const auto read = decode_fields(rest);
  ASSERT_TRUE(read);
  EXPECT_FALSE(read->terminal);
  EXPECT_EQ(read->key, "k");
  tag_at(4, 0xF000);
  rest = body;
  EXPECT_EQ(decode_fields(rest).error(), errc::log_version_unsupported);
}

TEST(Fields, cut_short_are_refused) {
  const Bytes body = encoded(all_fields());
  for (std::size_t cut = 0; cut < body.size(); ++cut) {
    auto part = std::span<const std::byte>(body).first(cut);
    EXPECT_FALSE(decode_fields(part)) << cut;
  }
}

}  // namespace
}  // namespace bus::detail
