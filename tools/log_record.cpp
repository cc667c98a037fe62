// SPDX-License-Identifier: MIT OR Apache-2.0
#include "log_record.hpp"

#include "bytes.hpp"
#include "json_text.hpp"
#include "text.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <utility>

namespace busbar {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr std::array<std::string_view, 24> fields{"topic",
                                                  "topic_base64",
                                                  "principal",
                                                  "principal_base64",
                                                  "payload",
                                                  "payload_base64",
                                                  "key",
                                                  "key_base64",
                                                  "headers",
                                                  "time",
                                                  "source",
                                                  "source_base64",
                                                  "schema",
                                                  "schema_base64",
                                                  "trace",
                                                  "correlation",
                                                  "schema_version",
                                                  "message_id",
                                                  "message_id_base64",
                                                  "producer",
                                                  "priority",
                                                  "due",
                                                  "expiry",
                                                  "terminal"};

/// Leaves the reading of a line that is wrong.
struct Wrong {
  std::string text;
};

/// Reads so many hexadecimal digits, and nothing else.
template <class Number>
bool parse_hex(std::string_view digits, Number& number) {
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number, 16);
  return error == std::errc() && end == digits.data() + digits.size() && !digits.starts_with('-');
}

std::string as_hex(std::uint64_t number, std::size_t digits) {
  std::string text(digits, '0');
  for (std::size_t i = digits; i-- > 0; number >>= 4) text[i] = "0123456789abcdef"[number & 15];
  return text;
}

/// The known members of one object, and the record that they make.
class RecordParser {
 public:
  explicit RecordParser(std::string_view object) {
    JsonMembers members(object);
    for (std::string_view key, value; members.next(key, value);) {
      const std::string name = text_of(key);
      const auto* const field = std::ranges::find(fields, name);
      if (field == fields.end()) continue;
      auto& slot = values_[static_cast<std::size_t>(field - fields.begin())];
      if (slot) throw Wrong{name + " is given twice"};
      slot = value;
    }
  }

  RecordLine parse() && {
    bus::Record& record = line_.record;
    parse_topic(record);
    parse_principal(record);
    parse_payload(record);
    record.key = text("key");
    record.source = text("source");
    record.schema = text("schema");
    record.message_id = text("message_id");
    parse_headers();
    record.headers = line_.headers;
    record.time = time("time");
    record.due = time("due");
    record.expiry = time("expiry");
    record.schema_version = number<std::uint32_t>("schema_version").value_or(0);
    record.priority = number<std::uint8_t>("priority");
    if (const auto terminal = value("terminal")) {
      if (*terminal != "true" && *terminal != "false") throw Wrong{"terminal is neither true nor false"};
      record.terminal = *terminal == "true";
    }
    parse_correlation(record);
    parse_trace(record);
    parse_producer(record);
    return std::move(line_);
  }

 private:
  /// The value as it stands; nothing if it is not there, or null.
  std::optional<std::string_view> value(std::string_view name) const {
    const auto& slot = values_[static_cast<std::size_t>(std::ranges::find(fields, name) - fields.begin())];
    return slot && *slot != "null" ? slot : std::nullopt;
  }

  std::string_view keep(std::string text) { return line_.texts.emplace_back(std::move(text)); }

  std::string_view decoded(const std::string& name, std::string_view plain, bool is_base64) {
    std::string text = text_of(plain);
    if (!is_base64) return keep(std::move(text));
    auto bytes = from_base64(text);
    if (!bytes) throw Wrong{name + "_base64 is no base64"};
    return keep(std::move(*bytes));
  }

  /// The text under this name or as base64; nothing if there is none.
  std::optional<std::string_view> text_if(const std::string& name) {
    const auto plain = value(name);
    const auto coded = value(name + "_base64");
    if (plain && coded) throw Wrong{name + " is given twice"};
    if (!plain && !coded) return std::nullopt;
    const std::string_view given = plain ? *plain : *coded;
    if (!is_json_string(given)) throw Wrong{name + (plain ? "" : "_base64") + " is not a string"};
    return decoded(name, given, !plain);
  }
  std::string_view text(const std::string& name) { return text_if(name).value_or(std::string_view()); }

  void parse_topic(bus::Record& record) {
    const auto given = text_if("topic");
    if (!given) throw Wrong{"topic is missing"};
    auto topic = bus::Topic::parse(*given);
    if (!topic) throw Wrong{"topic: " + std::string(bus::Topic::fault(*given))};
    record.topic = std::move(*topic);
  }

  void parse_principal(bus::Record& record) {
    const std::string_view given = text("principal");
    auto principal = bus::Principal::parse(given);
    if (!principal) throw Wrong{"principal: " + std::string(bus::Principal::fault(given))};
    record.principal = std::move(*principal);
  }

  void parse_payload(bus::Record& record) {
    // Here null is a value like any other.
    const auto& plain = values_[static_cast<std::size_t>(std::ranges::find(fields, "payload") - fields.begin())];
    std::string_view payload;
    if (plain && !is_json_string(*plain)) {
      if (value("payload_base64")) throw Wrong{"payload is given twice"};
      payload = *plain;
    } else if (const auto text = text_if("payload")) {
      payload = *text;
    } else {
      throw Wrong{"payload is missing"};
    }
    record.payload = bus::as_payload(payload);
  }

  void parse_headers() {
    const auto given = value("headers");
    if (!given) return;
    if (given->front() == '{') {
      JsonMembers members(*given);
      for (std::string_view name, text; members.next(name, text);) add_header(text_of(name), text);
    } else if (given->front() == '[') {
      for (const json& header : json::parse(*given)) add_header(header);
    } else {
      throw Wrong{"headers are neither an object nor a list"};
    }
  }

  void add_header(std::string name, std::string_view text) {
    if (!is_json_string(text)) throw Wrong{"a header is not a string"};
    const std::string_view kept = keep(std::move(name));
    line_.headers.push_back({kept, keep(text_of(text))});
    check_header();
  }

  void add_header(const json& header) {
    const auto part = [&](const std::string& name) {
      const bool plain = header.is_object() && header.contains(name);
      const std::string key = name + (plain ? "" : "_base64");
      if (!header.is_object() || !header.contains(key) || !header[key].is_string()) {
        throw Wrong{"a header has no text as its " + name};
      }
      std::string text = header[key].get<std::string>();
      if (plain) return keep(std::move(text));
      auto bytes = from_base64(text);
      if (!bytes) throw Wrong{"a header's " + key + " is no base64"};
      return keep(std::move(*bytes));
    };
    const std::string_view name = part("name");
    line_.headers.push_back({name, part("value")});
    check_header();
  }

  void check_header() const {
    constexpr std::size_t max_bytes = 65'535;
    const bus::Header& header = line_.headers.back();
    if (header.name.empty()) throw Wrong{"a header has no name"};
    if (header.name.size() > max_bytes || header.value.size() > max_bytes) {
      throw Wrong{"a header is longer than 65,535 bytes"};
    }
  }

  std::optional<std::chrono::system_clock::time_point> time(const std::string& name) const {
    const auto given = value(name);
    if (!given) return std::nullopt;
    const auto time = is_json_string(*given) ? parse_utc(text_of(*given)) : std::nullopt;
    if (!time) throw Wrong{name + " is no time such as \"2026-03-01T12:00:00Z\""};
    return time;
  }

  template <class Number>
  std::optional<Number> number(const std::string& name) const {
    const auto given = value(name);
    if (!given) return std::nullopt;
    return number<Number>(name, *given);
  }

  template <class Number>
  static Number number(const std::string& name, std::string_view given) {
    Number number = 0;
    const auto [end, error] = std::from_chars(given.data(), given.data() + given.size(), number);
    if (error != std::errc() || end != given.data() + given.size()) {
      throw Wrong{name + " is no whole number up to " + std::to_string(std::numeric_limits<Number>::max())};
    }
    return number;
  }

  void parse_correlation(bus::Record& record) {
    const auto given = value("correlation");
    if (!given) return;
    const std::string digits = is_json_string(*given) ? text_of(*given) : std::string();
    const std::string_view all(digits);
    bus::CorrelationId id;
    if (all.size() != 32 || !parse_hex(all.substr(0, 16), id.high) || !parse_hex(all.substr(16), id.low)) {
      throw Wrong{"correlation is not 32 hexadecimal digits"};
    }
    record.correlation = id;
  }

  void parse_trace(bus::Record& record) {
    const auto given = value("trace");
    if (!given) return;
    const std::string text = is_json_string(*given) ? text_of(*given) : std::string();
    const std::string_view all(text);
    const auto bytes = [](std::string_view digits, auto& out) {
      for (std::size_t i = 0; i < out.size(); ++i) {
        if (!parse_hex(digits.substr(2 * i, 2), out[i])) return false;
      }
      return true;
    };
    bus::TraceContext trace;
    if (all.size() != 55 || !all.starts_with("00-") || all[35] != '-' || all[52] != '-' ||
        !bytes(all.substr(3, 32), trace.trace_id) || !bytes(all.substr(36, 16), trace.span_id) ||
        !parse_hex(all.substr(53), trace.flags)) {
      throw Wrong{"trace is no traceparent of W3C"};
    }
    record.trace = trace;
  }

  void parse_producer(bus::Record& record) {
    const auto given = value("producer");
    if (!given) return;
    if (given->front() != '{') throw Wrong{"producer is not an object"};
    bus::Producer producer;
    JsonMembers members(*given);
    for (std::string_view key, part; members.next(key, part);) {
      const std::string name = text_of(key);
      if (name == "id") producer.id = number<std::uint64_t>("producer.id", part);
      if (name == "epoch") producer.epoch = number<std::uint32_t>("producer.epoch", part);
      if (name == "sequence") producer.sequence = number<std::uint64_t>("producer.sequence", part);
    }
    record.producer = producer;
  }

  std::array<std::optional<std::string_view>, fields.size()> values_;
  RecordLine line_;
};

// --- Writing. ---

void put(ordered_json& object, const char* name, std::string_view text) {
  if (text.empty()) return;
  if (is_utf8(text)) {
    object[name] = text;
  } else {
    object[std::string(name) + "_base64"] = to_base64(text);
  }
}

void put(ordered_json& object, const char* name, std::optional<std::chrono::system_clock::time_point> time) {
  if (time) object[name] = as_utc(*time);
}

void put_headers(ordered_json& object, const bus::RecordView& record) {
  auto by_name = ordered_json::object();
  auto list = ordered_json::array();
  bool fits = true;
  std::set<std::string_view> names;
  record.for_each_header([&](const bus::Header& header) {
    auto entry = ordered_json::object();
    put(entry, "name", header.name);
    put(entry, "value", header.value);
    if (header.value.empty()) entry["value"] = "";
    list.push_back(std::move(entry));
    fits = fits && names.insert(header.name).second && is_utf8(header.name) && is_utf8(header.value);
    if (fits) by_name[std::string(header.name)] = header.value;
  });
  if (!list.empty()) object["headers"] = fits ? std::move(by_name) : std::move(list);
}

void put_trace(ordered_json& object, const bus::TraceContext& trace) {
  std::string text = "00-";
  for (const std::uint8_t byte : trace.trace_id) text += as_hex(byte, 2);
  text += '-';
  for (const std::uint8_t byte : trace.span_id) text += as_hex(byte, 2);
  object["trace"] = text + '-' + as_hex(trace.flags, 2);
}

/// Whether a payload can stand in a line as it is: an object or a list, without what is around it.
bool stands_for_itself(std::string_view payload) {
  if (payload.empty() || payload.find('\n') != std::string_view::npos) return false;
  const bool is_nested =
      (payload.front() == '{' && payload.back() == '}') || (payload.front() == '[' && payload.back() == ']');
  return is_nested && !json_fault(payload);
}

}  // namespace

ParsedRecord parse_record(std::string_view line) try {
  std::string fault;
  const auto object = as_object(line, fault);
  if (!object) return LineFault{std::move(fault)};
  return RecordParser(*object).parse();
} catch (Wrong& wrong) {
  return LineFault{std::move(wrong.text)};
}

std::string as_json(const bus::RecordView& record) {
  ordered_json object{{"offset", record.offset()}, {"time", as_utc(record.time())}};
  put(object, "topic", record.topic());
  put(object, "principal", record.principal());
  put(object, "key", record.key());
  put_headers(object, record);
  put(object, "source", record.source());
  if (const auto id = record.correlation()) object["correlation"] = as_hex(id->high, 16) + as_hex(id->low, 16);
  if (const auto trace = record.trace()) put_trace(object, *trace);
  if (record.terminal()) object["terminal"] = true;
  put(object, "schema", record.schema());
  if (record.schema_version() != 0) object["schema_version"] = record.schema_version();
  put(object, "message_id", record.message_id());
  if (const auto producer = record.producer()) {
    object["producer"] = {{"id", producer->id}, {"epoch", producer->epoch}, {"sequence", producer->sequence}};
  }
  if (const auto priority = record.priority()) object["priority"] = *priority;
  put(object, "due", record.due());
  put(object, "expiry", record.expiry());

  const std::string_view payload = record.text();
  if (!stands_for_itself(payload)) {
    if (is_utf8(payload)) {
      object["payload"] = payload;
    } else {
      object["payload_base64"] = to_base64(payload);
    }
    return object.dump();
  }
  std::string text = object.dump();
  text.pop_back();
  return text.append(",\"payload\":").append(payload) += '}';
}

std::string as_json(const bus::RecordView& record, const ordered_json& more) {
  std::string text = as_json(record);
  if (more.empty()) return text;
  // Texts that somebody gave may have been cut off in the middle of a character.
  std::string members = more.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
  members.front() = ',';
  text.pop_back();
  return text += members;
}

}  // namespace busbar
