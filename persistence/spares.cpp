// SPDX-License-Identifier: MIT OR Apache-2.0
#include "persistence/spares.hpp"

#include "persistence/segment_file.hpp"

#include <boost/system/errc.hpp>

#include <algorithm>
#include <array>
#include <limits>
#include <new>
#include <utility>

namespace bus::detail {
namespace {

constexpr std::string_view prefix = "spare-";
constexpr std::uint64_t no_serial = std::numeric_limits<std::uint64_t>::max();

/// A spare is named like the segment it was, its serial being 0 if it was none; so that of one that was about to become
/// a segment when a crash struck, and has that one's header, it is known what stands in it.
std::string spare_name(std::uint64_t number, std::uint64_t serial) {
  return std::string(prefix) + segment_name(number, serial);
}

std::optional<SegmentName> parse_spare_name(std::string_view name) noexcept {
  if (!name.starts_with(prefix)) return std::nullopt;
  return parse_segment_name(name.substr(prefix.size()));
}

/// Something that has the name of a segment, and says that it is none.
error_code make_stand_in(Storage& storage, const std::string& name) {
  const auto file = storage.open(name, Storage::Open::create);
  if (!file) return file.error();
  SegmentHeader header;
  header.serial = no_serial;
  header.capacity = min_segment_bytes;
  header.mirror = mirror_of(header.capacity);
  if (const error_code error = write_headers(**file, header)) return error;
  return (*file)->sync();
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

std::string retired_name(const SegmentName& segment) { return spare_name(segment.base_offset, segment.serial); }

std::optional<SegmentName> retired_segment(std::string_view name) noexcept {
  const auto parsed = parse_spare_name(name);
  return parsed && parsed->serial != 0 ? parsed : std::nullopt;
}

bool is_taken_away(const SegmentHeader& header) noexcept { return header.serial == no_serial; }

error_code take_away_again(Storage& storage, const SegmentName& segment, bool& is_left) noexcept try {
  using namespace boost::system::errc;
  const auto remove = [&](const std::string& name) {
    const error_code error = storage.remove(name);
    return error == no_such_file_or_directory ? error_code() : error;
  };
  const std::string name = segment_name(segment.base_offset, segment.serial);
  const std::string unfinished = name + std::string(unfinished_suffix);
  is_left = true;
  for (;;) {
    if (const error_code error = remove(unfinished)) return error;
    const error_code error = make_stand_in(storage, unfinished);
    if (!error) break;
    if (error != no_space_on_device || !is_left) return error;
    if (const error_code failed = remove(retired_name(segment))) return failed;
    is_left = false;
  }
  if (const error_code error = storage.rename(unfinished, name)) return error;
  return storage.remove(name);
} catch (const std::bad_alloc&) {
  return bus::errc::out_of_memory;
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
