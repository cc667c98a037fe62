// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The readers of the log's format on any bytes: they stay inside them, and what they do take they would write again.
#include "persistence/format.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string_view>
#include <vector>

namespace {

using namespace bus::detail;

void require(bool holds) {
  if (!holds) std::abort();
}

bool inside(std::span<const std::byte> all, std::string_view part) {
  const auto* const begin = reinterpret_cast<const char*>(all.data());
  return part.empty() || (part.data() >= begin && part.data() + part.size() <= begin + all.size());
}

void read_header(std::span<const std::byte> in) {
  if (in.size() < header_bytes) return;
  const auto header = decode_header(in.first<header_bytes>());
  if (!header) return;
  std::array<std::byte, header_bytes> again;
  encode_header(*header, again);
  // But for the minor version, and so the check.
  require(std::ranges::equal(std::span(again).subspan(16), in.subspan(16, header_bytes - 16)));
}

void read_head(std::span<const std::byte> in) {
  if (in.size() < head_bytes) return;
  const auto head = decode_head(in.first<head_bytes>(), 0, 0, max_segment_bytes);
  if (!head) return;
  std::array<std::byte, head_bytes> again;
  encode_head(*head, 0, 0, again);
  require(std::ranges::equal(again, in.first(head_bytes)));
}

void read_fields(std::span<const std::byte> in) {
  auto payload = in;
  const auto fields = decode_fields(payload);
  if (!fields) return;
  require(payload.size() < in.size() && payload.data() + payload.size() == in.data() + in.size());
  for (const auto text : {fields->source, fields->key, fields->message_id, fields->topic, fields->principal}) {
    require(inside(in, text));
  }
  std::vector<std::byte> again(fields_bytes(*fields));
  encode_fields(*fields, again);
  std::span<const std::byte> rest(again);
  if (again.empty()) return;
  const auto same = decode_fields(rest);
  require(same.has_value() && rest.empty());
  std::vector<std::byte> twice(fields_bytes(*same));
  encode_fields(*same, twice);
  require(again == twice);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span in(reinterpret_cast<const std::byte*>(data), size);
  read_header(in);
  read_head(in);
  read_fields(in);
  auto names = in;
  while (const auto name = decode_name(names)) require(inside(in, name->text));
  if (const auto footer = decode_footer(in)) {
    for (std::size_t i = 0; i < footer->entries(); ++i) (void)footer->entry(i);
  }
  (void)decode_mark(in);
  return 0;
}
