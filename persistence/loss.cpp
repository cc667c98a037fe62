// SPDX-License-Identifier: MIT OR Apache-2.0
#include <bus/persistence/loss.hpp>

#include <array>
#include <cstdio>

namespace bus {

std::string_view to_string(Verdict verdict) noexcept {
  switch (verdict) {
    case Verdict::torn: return "torn";
    case Verdict::lost: return "lost";
    case Verdict::unproven: break;
  }
  return "unproven";
}

std::uint64_t LossReport::records() const noexcept {
  std::uint64_t sum = 0;
  for (const LogLoss& loss : losses) sum += loss.verdict == Verdict::torn ? 0 : loss.records;
  return sum;
}

std::uint64_t LossReport::bytes() const noexcept {
  std::uint64_t sum = 0;
  for (const LogLoss& loss : losses) sum += loss.verdict == Verdict::torn ? 0 : loss.end - loss.begin;
  return sum;
}

namespace {

/// Names and reasons hold no byte that JSON would not take but these.
void append_text(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) < 0x20) {
      std::array<char, 8> escaped;
      std::snprintf(escaped.data(), escaped.size(), "\\u%04x", static_cast<unsigned>(c));
      out += escaped.data();
    } else {
      out += c;
    }
  }
  out += '"';
}

}  // namespace

std::string LossReport::to_json() const {
  std::string out = "{\"version\":1,\"records\":" + std::to_string(records()) +
                    ",\"bytes\":" + std::to_string(bytes()) + ",\"losses\":[";
  bool first = true;
  for (const LogLoss& loss : losses) {
    out += first ? "{\"segment\":" : ",{\"segment\":";
    first = false;
    append_text(out, loss.segment);
    out += ",\"begin\":" + std::to_string(loss.begin) + ",\"end\":" + std::to_string(loss.end) +
           ",\"first_offset\":" + std::to_string(loss.first_offset) + ",\"records\":" + std::to_string(loss.records) +
           ",\"counted\":" + (loss.counted ? "true" : "false") + ",\"verdict\":";
    append_text(out, to_string(loss.verdict));
    out += std::string(",\"known\":") + (loss.known ? "true" : "false") + ",\"reason\":";
    append_text(out, loss.reason);
    out += '}';
  }
  return out + "]}";
}

}  // namespace bus
