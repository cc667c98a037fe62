// SPDX-License-Identifier: MIT OR Apache-2.0
#include "persistence/segment_file.hpp"

#include <algorithm>
#include <array>
#include <new>
#include <utility>

namespace bus::detail {

// --- Names. ---

std::optional<std::string_view> Names::find(const Kind& kind, std::uint16_t id) noexcept {
  const auto found = kind.texts.find(id);
  if (found == kind.texts.end()) return std::nullopt;
  return std::string_view(*found->second);
}

void Names::put(Kind& kind, std::uint16_t id, std::string_view text) {
  if (kind.texts.contains(id)) return;
  auto kept = std::make_unique<std::string>(text);
  kind.texts.reserve(kind.texts.size() + 1);
  kind.ids.reserve(kind.ids.size() + 1);
  kind.ids.emplace(*kept, id);
  kind.texts.emplace(id, std::move(kept));
  kind.last = std::max(kind.last, id);
}

std::uint16_t Names::id_of(Kind& kind, NameKind name_kind, std::string_view text, std::vector<std::byte>& fresh) {
  if (text.empty()) return no_name;
  if (const auto found = kind.ids.find(text); found != kind.ids.end()) return found->second;
  if (kind.last + 1 == inline_name) return inline_name;
  const auto id = static_cast<std::uint16_t>(kind.last + 1);
  const std::size_t at = fresh.size();
  fresh.reserve(at + name_bytes(text));
  put(kind, id, text);
  fresh.resize(at + name_bytes(text));
  encode_name({.kind = name_kind, .id = id, .text = text}, fresh.data() + at);
  return id;
}

void Names::add(std::span<const std::byte> body) {
  while (const auto name = decode_name(body)) {
    if (name->kind == NameKind::topic) put(topics_, name->id, name->text);
    if (name->kind == NameKind::principal) put(principals_, name->id, name->text);
  }
}

std::uint16_t Names::topic_id(std::string_view text, std::vector<std::byte>& fresh) {
  return id_of(topics_, NameKind::topic, text, fresh);
}
std::uint16_t Names::principal_id(std::string_view text, std::vector<std::byte>& fresh) {
  return id_of(principals_, NameKind::principal, text, fresh);
}

// --- Files. ---

namespace {

constexpr std::string_view unfinished_suffix = ".unfinished";
constexpr std::size_t fill_bytes = std::size_t{1} << 20;

error_code fill(File& file, const SegmentHeader& header) {
  const std::uint64_t end = second_header(header.capacity);
  const std::size_t chunk = static_cast<std::size_t>(std::min<std::uint64_t>(fill_bytes, end));
  const auto bytes = std::make_unique_for_overwrite<std::byte[]>(chunk);
  for (std::uint64_t at = page_bytes; at < end; at += chunk) {
    const auto part = std::span(bytes.get(), static_cast<std::size_t>(std::min<std::uint64_t>(chunk, end - at)));
    fill_blank(header.salt, at, part);
    if (const error_code error = write_at(file, at, part)) return error;
  }
  std::array<std::byte, page_bytes> page{};
  encode_header(header, std::span(page).first<header_bytes>());
  if (const error_code error = write_at(file, 0, page)) return error;
  if (const error_code error = write_at(file, end, page)) return error;
  return file.sync();
}

}  // namespace

result<std::unique_ptr<File>> create_segment(Storage& storage, const SegmentHeader& header) noexcept try {
  const std::string name = segment_name(header.base_offset, header.serial);
  const std::string unfinished = name + std::string(unfinished_suffix);
  if (const error_code error = storage.remove(unfinished);
      error && error != boost::system::errc::no_such_file_or_directory) {
    return error;
  }
  auto file = storage.open(unfinished, Storage::Open::create);
  if (!file) return file.error();
  if (const error_code error = fill(**file, header)) {
    (void)storage.remove(unfinished);  // gives its room back
    return error;
  }
  if (const error_code error = storage.rename(unfinished, name)) return error;
  if (const error_code error = storage.sync_names()) return error;
  return file;
} catch (const std::bad_alloc&) {
  return make_error_code(errc::out_of_memory);
}

error_code remove_unfinished(Storage& storage) {
  const auto names = storage.list();
  if (!names) return names.error();
  for (const std::string& name : *names) {
    if (!name.ends_with(unfinished_suffix)) continue;
    if (const error_code error = storage.remove(name)) return error;
  }
  return {};
}

result<SegmentHeader> read_header(File& file) noexcept {
  std::array<std::byte, header_bytes> bytes;
  const auto read = [&](std::uint64_t position) -> result<SegmentHeader> {
    const auto got = read_at(file, position, bytes);
    if (!got || *got < bytes.size()) return make_error_code(errc::log_damaged);
    return decode_header(bytes);
  };
  const auto first = read(0);
  if (first || first.error() == errc::log_version_unsupported) return first;
  // The second copy stands at the end of the file, wherever that was when the file was whole.
  const auto size = file.size();
  if (!size || *size < page_bytes) return first;
  return read(second_header(*size / page_bytes * page_bytes));
}

std::uint64_t read_names(Window& window, const SegmentHeader& header, std::uint64_t end, Names& names) {
  FrameScanner scanner(window, header, page_bytes, end);
  for (auto found = scanner.next(); found != FrameScanner::Found::end; found = scanner.next()) {
    if (found == FrameScanner::Found::frame && scanner.frame().head.kind == FrameKind::names) {
      names.add(scanner.frame().body);
    }
  }
  // The mirror holds some frames of the segment, so their numbers have gaps.
  const std::uint64_t limit = second_header(header.capacity);
  std::uint64_t next = header.mirror;
  for (std::uint64_t at = header.mirror; at + head_bytes <= limit;) {
    const auto bytes = window.at(at, head_bytes);
    const auto head =
        bytes.size() == head_bytes ? decode_head(bytes.first<head_bytes>(), header.salt, at) : std::nullopt;
    if (!head || head->frame_bytes() > limit - at) {
      at += frame_alignment;
      continue;
    }
    const auto frame = window.at(at, head_bytes + head->body_bytes);
    const auto body = frame.subspan(std::min<std::size_t>(head_bytes, frame.size()));
    if (body.size() == head->body_bytes && salted(crc32c(body), header.salt) == head->body_check &&
        head->kind == FrameKind::names) {
      names.add(body);
    }
    at += head->frame_bytes();
    next = at;
  }
  return next;
}

}  // namespace bus::detail
