// SPDX-License-Identifier: MIT OR Apache-2.0
#include "persistence/spares.hpp"

#include "persistence/segment_file.hpp"

#include <algorithm>
#include <array>
#include <new>
#include <utility>

namespace bus::detail {
namespace {

constexpr std::string_view prefix = "spare-";

/// A spare is named like the segment it was, its serial being 0 if it was none; so that of one that was about to become
/// a segment when a crash struck, and has that one's header, it is known what stands in it.
std::string spare_name(std::uint64_t number, std::uint64_t serial) {
  return std::string(prefix) + segment_name(number, serial);
}

std::optional<SegmentName> parse_spare_name(std::string_view name) noexcept {
  if (!name.starts_with(prefix)) return std::nullopt;
  return parse_segment_name(name.substr(prefix.size()));
}

}  // namespace

std::optional<Spare> Spares::take(std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  const auto found = std::ranges::find(spares_, bytes, &Spare::bytes);
  if (found == spares_.end()) return std::nullopt;
  Spare spare = std::move(*found);
  spares_.erase(found);
  return spare;
}

std::optional<Spare> Spares::take_any() {
  const std::lock_guard lock(mutex_);
  if (spares_.empty()) return std::nullopt;
  Spare spare = std::move(spares_.back());
  spares_.pop_back();
  return spare;
}

bool is_spare_name(std::string_view name) noexcept { return parse_spare_name(name).has_value(); }

result<Spare> make_spare(Storage& storage, std::uint64_t bytes) noexcept try {
  SegmentHeader header;
  header.salt = storage.random();
  header.capacity = bytes;
  header.mirror = mirror_of(bytes);
  Spare spare{spare_name(header.salt, 0), bytes, header.salt, true};
  const auto file = create_segment(storage, header, spare.name);
  if (file) return spare;
  for (const std::string& left : {spare.name, spare.name + std::string(unfinished_suffix)}) (void)storage.remove(left);
  return file.error();
} catch (const std::bad_alloc&) {
  return make_error_code(errc::out_of_memory);
}

result<Spare> retire_segment(Storage& storage, const SegmentName& name) noexcept try {
  const std::string from = segment_name(name.base_offset, name.serial);
  const std::string to = spare_name(name.base_offset, name.serial);
  if (const error_code error = storage.rename(from, to)) return error;
  if (const error_code error = storage.sync_names()) return error;
  auto spare = inspect_spare(storage, to);
  if (spare) return *spare;
  // Its header cannot be read: it is of no use.
  if (const error_code error = storage.remove(to)) return error;
  return make_error_code(errc::log_damaged);
} catch (const std::bad_alloc&) {
  return make_error_code(errc::out_of_memory);
}

std::optional<Spare> inspect_spare(Storage& storage, std::string_view name) noexcept try {
  const auto parsed = parse_spare_name(name);
  if (!parsed) return std::nullopt;
  const auto file = storage.open(name, Storage::Open::existing_to_read);
  if (!file) return std::nullopt;
  const auto header = read_header(**file);
  const auto size = (*file)->size();
  if (!header || !size || *size != header->capacity) return std::nullopt;
  Spare spare{std::string(name), header->capacity, header->salt, parsed->serial == 0, header->serial};
  // It was about to become a segment: its frames are those of the life before.
  if (parsed->serial != 0 && header->serial != parsed->serial) spare.salt = header->previous_salt;
  return spare;
} catch (const std::bad_alloc&) {
  return std::nullopt;
}

result<std::unique_ptr<File>> use_spare(Storage& storage, const Spare& spare, const std::string& name,
                                        SegmentHeader& header) noexcept {
  header.salt = spare.filled ? spare.salt : storage.random();
  header.previous_salt = spare.filled ? 0 : spare.salt;
  auto file = storage.open(spare.name, Storage::Open::existing);
  if (!file) return file.error();
  // The first batch goes where the earlier life had its own; a blank word says that there is none yet.
  std::array<std::byte, frame_alignment> blank;
  fill_blank(header.salt, page_bytes, blank);
  if (const error_code error = write_at(**file, page_bytes, blank)) return error;
  if (const error_code error = write_headers(**file, header)) return error;
  if (const error_code error = (*file)->sync()) return error;
  if (const error_code error = storage.rename(spare.name, name)) return error;
  if (const error_code error = storage.sync_names()) return error;
  return std::move(*file);
}

}  // namespace bus::detail
