// SPDX-License-Identifier: MIT OR Apache-2.0
#include <bus/principal.hpp>

namespace bus {

std::string_view to_string(PrincipalClass c) noexcept {
  switch (c) {
    case PrincipalClass::system: return "system";
    case PrincipalClass::agent: return "agent";
    case PrincipalClass::user: return "user";
  }
  return "unknown";
}

result<Principal> Principal::parse(std::string_view text) {
  if (!detail::name_fault(text, limits::max_principal_bytes).empty()) return make_error_code(errc::principal_invalid);
  return Principal(detail::Text<24>(text));
}

std::string_view Principal::fault(std::string_view text) noexcept {
  return detail::name_fault(text, limits::max_principal_bytes);
}

}  // namespace bus
