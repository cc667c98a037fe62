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

/// What ids stand for in one segment. An id is given once.
class Names {
 public:
  /// Takes over what a frame of names says.
  void add(std::span<const std::byte> body);

  /// Returns: the name; nothing if the segment does not say.
  std::optional<std::string_view> topic(std::uint16_t id) const noexcept { return find(topics_, id); }
  std::optional<std::string_view> principal(std::uint16_t id) const noexcept { return find(principals_, id); }

  /// Returns: the id, a new one if the name has none and is then appended to `fresh`, to be written; `inline_name` if
  /// there is none left. Errors: throws std::bad_alloc.
  std::uint16_t topic_id(std::string_view text, std::vector<std::byte>& fresh);
  std::uint16_t principal_id(std::string_view text, std::vector<std::byte>& fresh);

 private:
  using Texts = boost::unordered_flat_map<std::uint16_t, std::unique_ptr<std::string>>;
  using Ids = boost::unordered_flat_map<std::string_view, std::uint16_t>;
  struct Kind {
    Texts texts;
    Ids ids;
    std::uint16_t last = no_name;
  };
  static std::optional<std::string_view> find(const Kind& kind, std::uint16_t id) noexcept;
  static void put(Kind& kind, std::uint16_t id, std::string_view text);
  static std::uint16_t id_of(Kind& kind, NameKind name_kind, std::string_view text, std::vector<std::byte>& fresh);

  Kind topics_;
  Kind principals_;
};

/// Makes the file of a new segment: filled, with both headers, durable, under a name of its own, so that a crash leaves
/// either all of it or nothing that counts.
/// Errors: those of the storage; nothing is left then but a file that `remove_unfinished` removes.
result<std::unique_ptr<File>> create_segment(Storage& storage, const SegmentHeader& header) noexcept;

/// Removes what crashes have left of segments that never came to be.
error_code remove_unfinished(Storage& storage);

/// Reads whichever copy of the header is whole.
/// Errors: log_damaged if neither is; log_version_unsupported; those of the storage.
result<SegmentHeader> read_header(File& file) noexcept;

/// Takes over the names of a segment, from its frames up to `end` and from its mirror. Returns: where the next frame of
/// the mirror goes. Errors: throws std::bad_alloc.
std::uint64_t read_names(Window& window, const SegmentHeader& header, std::uint64_t end, Names& names);

}  // namespace bus::detail
