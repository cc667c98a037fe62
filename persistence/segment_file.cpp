// SPDX-License-Identifier: MIT OR Apache-2.0
#include "persistence/segment_file.hpp"

#include <algorithm>
#include <array>
#include <new>
#include <utility>

namespace bus::detail {

// --- Names. ---

namespace {

std::string schema_text(std::string_view name, std::uint32_t version) {
  std::string text;
  for (int shift = 0; shift < 32; shift += 8) text += static_cast<char>(version >> shift & 0xFF);
  return text.append(name);
}

}  // namespace

void Names::put(Kind& kind, std::uint16_t id, std::string_view text) {
  if (find(kind, id)) return;
  auto kept = std::make_unique<const std::string>(text);
  if (kind.texts.size() < id) kind.texts.resize(id);
  kind.ids.emplace(*kept, id);
  kind.texts[std::size_t{id} - 1] = std::move(kept);
}

std::uint16_t Names::id_of(Kind& kind, const Name& name, std::string_view text, std::vector<std::byte>& fresh) {
  if (text.empty()) return no_name;
  if (const auto found = kind.ids.find(text); found != kind.ids.end()) return found->second;
  if (kind.texts.size() + 1 == inline_name) return inline_name;
  const auto id = static_cast<std::uint16_t>(kind.texts.size() + 1);
  const std::size_t at = fresh.size();
  fresh.reserve(at + name_bytes(name.text));
  put(kind, id, text);
  fresh.resize(at + name_bytes(name.text));
  Name given = name;
  given.id = id;
  encode_name(given, fresh.data() + at);
  return id;
}

void Names::add(std::span<const std::byte> body) {
  while (const auto name = decode_name(body)) {
    switch (name->kind) {
      case NameKind::topic: put(topics_, name->id, name->text); break;
      case NameKind::principal: put(principals_, name->id, name->text); break;
      case NameKind::schema: put(schemas_, name->id, schema_text(name->text, name->version)); break;
    }
  }
}

void Names::append_missing(const Names& other, std::vector<std::byte>& fresh) const {
  const auto append = [&](const Kind& kind, const Kind& theirs, NameKind name_kind) {
    for (std::size_t i = 0; i < kind.texts.size(); ++i) {
      const auto id = static_cast<std::uint16_t>(i + 1);
      const auto text = find(kind, id);
      if (!text || find(theirs, id)) continue;
      Name name{.kind = name_kind, .id = id, .text = *text};
      if (name_kind == NameKind::schema) {
        const auto known = schema(id);
        name.version = known->version;
        name.text = known->name;
      }
      const std::size_t at = fresh.size();
      fresh.resize(at + name_bytes(name.text));
      encode_name(name, fresh.data() + at);
    }
  };
  append(topics_, other.topics_, NameKind::topic);
  append(principals_, other.principals_, NameKind::principal);
  append(schemas_, other.schemas_, NameKind::schema);
}

void Names::keep_ids(std::uint16_t topic, std::uint16_t principal, std::uint16_t schema) {
  const auto keep = [](Kind& kind, std::uint16_t id) {
    if (kind.texts.size() < id) kind.texts.resize(id);
  };
  keep(topics_, topic);
  keep(principals_, principal);
  keep(schemas_, schema);
}

void Names::take_missing(const Names& other) {
  const auto take = [](Kind& kind, const Kind& theirs) {
    for (std::size_t i = 0; i < theirs.texts.size(); ++i) {
      const auto id = static_cast<std::uint16_t>(i + 1);
      if (const auto text = find(theirs, id)) put(kind, id, *text);
    }
  };
  take(topics_, other.topics_);
  take(principals_, other.principals_);
  take(schemas_, other.schemas_);
}

std::optional<Names::Schema> Names::schema(std::uint16_t id) const noexcept {
  const auto text = find(schemas_, id);
  if (!text || text->size() < 4) return std::nullopt;
  Schema schema{.name = text->substr(4)};
  for (unsigned i = 0; i < 4; ++i) schema.version |= std::uint32_t{static_cast<unsigned char>((*text)[i])} << 8 * i;
  return schema;
}

std::uint16_t Names::topic_id(std::string_view text, std::vector<std::byte>& fresh) {
  return id_of(topics_, {.kind = NameKind::topic, .text = text}, text, fresh);
}
std::uint16_t Names::principal_id(std::string_view text, std::vector<std::byte>& fresh) {
  return id_of(principals_, {.kind = NameKind::principal, .text = text}, text, fresh);
}
std::uint16_t Names::schema_id(std::string_view name, std::uint32_t version, std::vector<std::byte>& fresh) {
  if (name.empty()) return no_name;
  return id_of(schemas_, {.kind = NameKind::schema, .version = version, .text = name}, schema_text(name, version),
               fresh);
}

// --- Files. ---

namespace {

constexpr std::size_t fill_bytes = std::size_t{1} << 20;

error_code fill(File& file, const SegmentHeader& header) noexcept try {
  const std::uint64_t end = second_header(header.capacity);
  const std::size_t chunk = static_cast<std::size_t>(std::min<std::uint64_t>(fill_bytes, end));
  const auto bytes = std::make_unique_for_overwrite<std::byte[]>(chunk);
  for (std::uint64_t at = page_bytes; at < end; at += chunk) {
    const auto part = std::span(bytes.get(), static_cast<std::size_t>(std::min<std::uint64_t>(chunk, end - at)));
    fill_blank(header.salt, at, part);
    if (const error_code error = write_at(file, at, part)) return error;
  }
  if (const error_code error = write_headers(file, header)) return error;
  return file.sync();
} catch (const std::bad_alloc&) {
  return errc::out_of_memory;
}

}  // namespace

error_code write_headers(File& file, const SegmentHeader& header) noexcept {
  std::array<std::byte, page_bytes> page{};
  encode_header(header, std::span(page).first<header_bytes>());
  if (const error_code error = write_at(file, 0, page)) return error;
  return write_at(file, second_header(header.capacity), page);
}

result<std::unique_ptr<File>> create_segment(Storage& storage, const SegmentHeader& header,
                                             const std::string& name) noexcept try {
  const std::string unfinished = name + std::string(unfinished_suffix);
  if (const error_code error = storage.remove(unfinished);
      error && error != boost::system::errc::no_such_file_or_directory) {
    return error;
  }
  auto file = storage.open(unfinished, Storage::Open::create);
  if (!file) return file.error();
  // Room first, so that a full disk says so before it is filled.
  error_code reserved = (*file)->reserve(header.capacity);
  if (reserved == boost::system::errc::not_supported) reserved = {};
  if (const error_code error = reserved ? reserved : fill(**file, header)) {
    (void)storage.remove(unfinished);  // gives its room back
    return error;
  }
  if (const error_code error = storage.rename(unfinished, name)) return error;
  if (const error_code error = storage.sync_names()) return error;
  return file;
} catch (const std::bad_alloc&) {
  return make_error_code(errc::out_of_memory);
}

namespace {

constexpr std::string_view renamed_suffix = ".renamed";

}  // namespace

error_code name_again(Storage& storage, const std::string& name) {
  const std::string other = name + std::string(renamed_suffix);
  if (const error_code error = storage.rename(name, other)) return error;
  return storage.rename(other, name);
}

error_code finish_naming_again(Storage& storage) {
  const auto names = storage.list();
  if (!names) return names.error();
  for (const std::string& name : *names) {
    if (!name.ends_with(renamed_suffix)) continue;
    if (const error_code error = storage.rename(name, name.substr(0, name.size() - renamed_suffix.size())))
      return error;
  }
  return {};
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

Mirror read_mirror(Window& window, const SegmentHeader& header, Names& names) {
  Mirror mirror{.end = header.mirror};
  const std::uint64_t limit = second_header(header.capacity);
  // It holds some frames of the segment, so their numbers have gaps.
  for (std::uint64_t at = header.mirror; at + head_bytes <= limit;) {
    const auto bytes = window.at(at, head_bytes);
    if (bytes.size() < head_bytes) break;
    const auto head = decode_head(bytes.first<head_bytes>(), header.salt, at, limit);
    if (!head) {
      at += frame_alignment;
      continue;
    }
    const auto frame = window.at(at, head_bytes + head->body_bytes);
    const auto body = frame.subspan(std::min<std::size_t>(head_bytes, frame.size()));
    if (body.size() == head->body_bytes && salted(crc32c(body), header.salt) == head->body_check) {
      if (head->kind == FrameKind::names) names.add(body);
      if (head->kind == FrameKind::footer) {
        if (const auto footer = decode_footer(body)) mirror.footer = own_footer(*footer);
      }
    }
    at += head->frame_bytes();
    mirror.end = at;
  }
  return mirror;
}

OwnFooter own_footer(const DecodedFooter& decoded) {
  OwnFooter footer{decoded.footer, {}};
  footer.index.reserve(decoded.entries());
  for (std::size_t i = 0; i < decoded.entries(); ++i) footer.index.push_back(decoded.entry(i));
  return footer;
}

void read_names(Window& window, const SegmentHeader& header, std::uint64_t end, Names& names) {
  FrameScanner scanner(window, header, page_bytes, end);
  for (auto found = scanner.next(); found != FrameScanner::Found::end; found = scanner.next()) {
    if (found == FrameScanner::Found::frame && scanner.frame().head.kind == FrameKind::names) {
      names.add(scanner.frame().body);
    }
  }
}

}  // namespace bus::detail
