// SPDX-License-Identifier: MIT OR Apache-2.0
//
// One segment: its file, its header, and the names it has given. The writer of the active one, and what readers of any
// need.
#pragma once

#include "persistence/batch_encoder.hpp"
#include "persistence/format.hpp"
#include "persistence/recovery.hpp"

#include <bus/persistence/storage.hpp>

#include <boost/unordered/unordered_flat_map.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bus::detail {

/// What ids stand for in one segment. An id is given once; texts stay where they are.
class Names {
 public:
  /// Takes over what a frame of names says.
  void add(std::span<const std::byte> body);

  /// Appends to `fresh`, to be written, what this has and `other` lacks.
  void append_missing(const Names& other, std::vector<std::byte>& fresh) const;

  /// Never gives these ids, nor lower ones: records refer to them, whether or not it is known for what.
  void keep_ids(std::uint16_t topic, std::uint16_t principal, std::uint16_t schema);

  /// Takes over what `other` has and this lacks.
  void take_missing(const Names& other);

  struct Schema {
    std::uint32_t version = 0;
    std::string_view name;
  };
  /// Returns: the name; nothing if the segment does not say.
  std::optional<std::string_view> topic(std::uint16_t id) const noexcept { return find(topics_, id); }
  std::optional<std::string_view> principal(std::uint16_t id) const noexcept { return find(principals_, id); }
  std::optional<Schema> schema(std::uint16_t id) const noexcept;

  /// Returns: the id, a new one if the name has none and is then appended to `fresh`, to be written; `inline_name` if
  /// there is none left. Errors: throws std::bad_alloc.
  std::uint16_t topic_id(std::string_view text, std::vector<std::byte>& fresh);
  std::uint16_t principal_id(std::string_view text, std::vector<std::byte>& fresh);
  std::uint16_t schema_id(std::string_view name, std::uint32_t version, std::vector<std::byte>& fresh);

 private:
  using Ids = boost::unordered_flat_map<std::string_view, std::uint16_t>;
  struct Kind {
    std::vector<std::unique_ptr<const std::string>> texts;  // of id 1, 2, …
    Ids ids;
  };
  static std::optional<std::string_view> find(const Kind& kind, std::uint16_t id) noexcept {
    const std::size_t at = std::size_t{id} - 1;
    if (at >= kind.texts.size() || kind.texts[at] == nullptr) return std::nullopt;
    return std::string_view(*kind.texts[at]);
  }
  static void put(Kind& kind, std::uint16_t id, std::string_view text);
  static std::uint16_t id_of(Kind& kind, const Name& name, std::string_view text, std::vector<std::byte>& fresh);

  Kind topics_;
  Kind principals_;
  Kind schemas_;  // the version's four bytes, then the name
};

/// Makes the file of a new segment: filled, with both headers, durable, under its name, so that a crash leaves either
/// all of it or nothing that counts. Errors: those of the storage; nothing is left then but a file that
/// `remove_unfinished` removes.
result<std::unique_ptr<File>> create_segment(Storage& storage, const SegmentHeader& header,
                                             const std::string& name) noexcept;

/// Writes both copies, and no sync.
error_code write_headers(File& file, const SegmentHeader& header) noexcept;

/// Of files that are being made; whatever has it when a log is opened is removed.
inline constexpr std::string_view unfinished_suffix = ".unfinished";

/// Gives a file its name once more, by way of another, so that the next `sync_names` makes it durable even if one that
/// should have has failed.
error_code name_again(Storage& storage, const std::string& name);

/// Gives files their names back whose opening was struck in between.
error_code finish_naming_again(Storage& storage);

/// Removes what crashes have left of segments that never came to be.
error_code remove_unfinished(Storage& storage);

/// Reads whichever copy of the header is whole.
/// Errors: log_damaged if neither is; log_version_unsupported; those of the storage.
result<SegmentHeader> read_header(File& file) noexcept;

/// Returns: the size of a file, or what it should be if that cannot be had.
inline std::uint64_t size_or(File& file, std::uint64_t otherwise) noexcept {
  const auto size = file.size();
  return size ? *size : otherwise;
}

/// A footer with its index, in memory of its own.
struct OwnFooter {
  Footer footer;
  std::vector<IndexEntry> index;
};
OwnFooter own_footer(const DecodedFooter& decoded);

/// What stands in the mirror besides the names.
struct Mirror {
  std::uint64_t end = 0;  ///< where its next frame goes
  std::optional<OwnFooter> footer = {};
};
/// Takes over the names that stand in the mirror. Errors: throws std::bad_alloc.
Mirror read_mirror(Window& window, const SegmentHeader& header, Names& names);

/// Takes over the names that stand among the frames up to `end`: those that the mirror has lost. Cost: reads them all.
/// Errors: throws std::bad_alloc.
void read_names(Window& window, const SegmentHeader& header, std::uint64_t end, Names& names);

}  // namespace bus::detail
