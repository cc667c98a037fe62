// SPDX-License-Identifier: MIT OR Apache-2.0
#include "persistence/commit_hint.hpp"

#include "persistence/format.hpp"

#include <array>
#include <bit>
#include <cstddef>
#include <string_view>

namespace bus::detail {
namespace {

constexpr std::string_view hint_name = "COMMITTED";
constexpr std::size_t words = 4;  // the three of the hint, and a check

std::uint64_t check_of(const CommitHint& hint) noexcept {
  return blank_word(hint.serial ^ std::rotl(hint.end, 21) ^ std::rotl(hint.next_offset, 42), hint.end);
}

}  // namespace

std::unique_ptr<File> open_hint(Storage& storage) noexcept {
  auto file = storage.open(hint_name, Storage::Open::existing);
  if (!file) file = storage.open(hint_name, Storage::Open::create);
  return file ? std::move(*file) : nullptr;
}

void write_hint(File& file, const CommitHint& hint) noexcept {
  const std::array<std::uint64_t, words> out{hint.serial, hint.end, hint.next_offset, check_of(hint)};
  (void)write_at(file, 0, std::as_bytes(std::span(out)));
}

std::optional<CommitHint> read_hint(Storage& storage) noexcept {
  const auto file = storage.open(hint_name, Storage::Open::existing_to_read);
  if (!file) return std::nullopt;
  std::array<std::uint64_t, words> in{};
  const auto got = read_at(**file, 0, std::as_writable_bytes(std::span(in)));
  if (!got || *got < sizeof in) return std::nullopt;
  const CommitHint hint{in[0], in[1], in[2]};
  return in[3] == check_of(hint) ? std::optional(hint) : std::nullopt;
}

}  // namespace bus::detail
