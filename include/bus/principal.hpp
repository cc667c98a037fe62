// SPDX-License-Identifier: MIT OR Apache-2.0
//
// On whose behalf a message is sent.
#pragma once

#include <bus/detail/text.hpp>
#include <bus/error.hpp>
#include <bus/export.hpp>
#include <bus/limits.hpp>

#include <compare>
#include <cstddef>
#include <string_view>
#include <utility>

namespace bus {

/// What kind of principal it is, by its name: see `Principal::classify`.
enum class PrincipalClass : unsigned char { system, agent, user };

/// The class as it appears in metrics: "system", "agent" or "user".
BUSBAR_EXPORT std::string_view to_string(PrincipalClass c) noexcept;

/// On whose behalf a message is sent: 1 to 128 bytes without spaces or control bytes. None is the system.
/// Up to 23 bytes are held in place: copying such a principal shares nothing.
/// Threads: distinct objects may be used at the same time.
class BUSBAR_EXPORT Principal {
 public:
  /// The system itself.
  constexpr Principal() noexcept = default;

  /// A principal written in the program; at most 23 bytes in a constant expression.
  /// Errors: throws std::invalid_argument, naming the principal and the rule it breaks.
  template <std::size_t N>
  constexpr Principal(const char (&literal)[N])  // NOLINT(google-explicit-constructor)
      : text_(checked(std::string_view(literal, N - 1))) {}

  /// Text that the program did not write may be wrong: it goes through `parse`.
  template <std::size_t N>
  Principal(char (&buffer)[N]) = delete;  // NOLINT(google-explicit-constructor)
  Principal(std::string_view text) = delete;  // NOLINT(google-explicit-constructor)

  /// A principal that came from outside; the empty text is the system.
  /// Errors: errc::principal_invalid.
  static result<Principal> parse(std::string_view text);

  /// Which rule `text` breaks, for people; empty if it is a principal or empty.
  static std::string_view fault(std::string_view text) noexcept;

  /// system when empty, agent with the prefix `agent.` or `agent:`, else user.
  constexpr PrincipalClass classify() const noexcept {
    const std::string_view text = view();
    if (text.empty()) return PrincipalClass::system;
    return text.starts_with("agent.") || text.starts_with("agent:") ? PrincipalClass::agent : PrincipalClass::user;
  }

  constexpr std::string_view view() const noexcept { return text_.view(); }  ///< its text
  constexpr bool is_system() const noexcept { return text_.empty(); }  ///< whether it is none

  /// Whether copies share a counted block: longer than what is held in place.
  constexpr bool is_shared() const noexcept { return text_.is_shared(); }

  friend bool operator==(const Principal& a, const Principal& b) noexcept { return a.view() == b.view(); }
  friend auto operator<=>(const Principal& a, const Principal& b) noexcept { return a.view() <=> b.view(); }

 private:
  constexpr explicit Principal(detail::Text<24> text) noexcept : text_(std::move(text)) {}
  static constexpr std::string_view checked(std::string_view text);

  detail::Text<24> text_;
};

namespace detail {

[[noreturn]] BUSBAR_EXPORT void throw_invalid(std::string_view what, std::string_view given, std::string_view rule);

/// Which rule `text` breaks as a name of at most `most` bytes, one of the two limits; empty when it breaks none.
constexpr std::string_view name_fault(std::string_view text, std::size_t most) noexcept {
  if (text.size() > most) {
    return most == limits::max_name_bytes ? "it is longer than 64 bytes" : "it is longer than 128 bytes";
  }
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte <= 0x20 || byte == 0x7F) return "it holds a space or a control byte";
  }
  return {};
}

}  // namespace detail

constexpr std::string_view Principal::checked(std::string_view text) {
  const std::string_view fault = detail::name_fault(text, limits::max_principal_bytes);
  if (!fault.empty()) detail::throw_invalid("principal", text, fault);
  return text;
}

}  // namespace bus
