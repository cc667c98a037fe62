// SPDX-License-Identifier: MIT OR Apache-2.0
#include "config/keys.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <limits>
#include <ratio>
#include <type_traits>
#include <utility>

namespace bus::detail {
namespace {

using std::chrono::nanoseconds;

struct PartInfo {
  std::string_view name;
  Times times;
};

constexpr std::array<PartInfo, part_count> infos{{{"", Times::once},
                                                  {"bus", Times::once},
                                                  {"router", Times::once},
                                                  {"receivers", Times::named},
                                                  {"rate_limits", Times::named},
                                                  {"routes", Times::named},
                                                  {"logs", Times::named},
                                                  {"groups", Times::named},
                                                  {"durable_topics", Times::once},
                                                  {"durable_topics.table", Times::rows},
                                                  {"metrics", Times::once},
                                                  {"serve", Times::once}}};

// --- The words of files for enumerators. ---

template <class E>
struct Word {
  std::string_view word;
  E value;
};

template <class E>
constexpr int words_of = 0;  // only its specialisations are used

template <>
constexpr auto words_of<Profile> = std::to_array<Word<Profile>>(
    {{"default", Profile::standard}, {"edge", Profile::edge}, {"throughput", Profile::throughput}});
template <>
constexpr auto words_of<Timestamps> = std::to_array<Word<Timestamps>>(
    {{"none", Timestamps::none}, {"coarse", Timestamps::coarse}, {"precise", Timestamps::precise}});
template <>
constexpr auto words_of<Overflow> = std::to_array<Word<Overflow>>({{"evict_oldest_head", Overflow::evict_oldest_head},
                                                                   {"evict_fair_share", Overflow::evict_fair_share},
                                                                   {"reject_new", Overflow::reject_new},
                                                                   {"wait", Overflow::wait},
                                                                   {"detach", Overflow::detach},
                                                                   {"coalesce", Overflow::coalesce}});
template <>
constexpr auto words_of<Waiting> =
    std::to_array<Word<Waiting>>({{"spin", Waiting::spin}, {"yield", Waiting::yield}, {"park", Waiting::park}});
template <>
constexpr auto words_of<Start> = std::to_array<Word<Start>>({{"next", Start::next}, {"oldest", Start::oldest}});
template <>
constexpr auto words_of<Consumer> = std::to_array<Word<Consumer>>(
    {{"none", Consumer::none}, {"count", Consumer::count}, {"print", Consumer::print}, {"slow", Consumer::slow}});
template <>
constexpr auto words_of<FullDisk> = std::to_array<Word<FullDisk>>(
    {{"reject", FullDisk::reject}, {"drop_oldest", FullDisk::drop_oldest}, {"wait", FullDisk::wait}});
template <>
constexpr auto words_of<GroupMode> = std::to_array<Word<GroupMode>>({{"competing", GroupMode::competing},
                                                                     {"key_ordered", GroupMode::key_ordered},
                                                                     {"broadcast", GroupMode::broadcast}});
template <>
constexpr auto words_of<GroupStart> =
    std::to_array<Word<GroupStart>>({{"next", GroupStart::next}, {"oldest", GroupStart::oldest}});
template <>
constexpr auto words_of<FullDeadLetters> = std::to_array<Word<FullDeadLetters>>(
    {{"drop_oldest", FullDeadLetters::drop_oldest}, {"hold", FullDeadLetters::hold}});
template <>
constexpr auto words_of<Durability> = std::to_array<Word<Durability>>({{"buffered", Durability::buffered},
                                                                       {"written", Durability::written},
                                                                       {"interval", Durability::interval},
                                                                       {"synced", Durability::synced}});
template <>
constexpr auto words_of<Delivery> =
    std::to_array<Word<Delivery>>({{"after_commit", Delivery::after_commit}, {"at_once", Delivery::at_once}});
template <>
constexpr auto words_of<Input> = std::to_array<Word<Input>>(
    {{"none", Input::none}, {"stdin", Input::standard}, {"file", Input::file}, {"follow", Input::follow}});

/// For whom a route is, as `Scope` has it.
enum class Admitted : std::uint8_t { all, principal, principal_or_system };
template <>
constexpr auto words_of<Admitted> =
    std::to_array<Word<Admitted>>({{"all", Admitted::all},
                                   {"principal", Admitted::principal},
                                   {"principal_or_system", Admitted::principal_or_system}});

// --- From fields to values and back. ---

template <class T>
constexpr bool is_optional = false;
template <class T>
constexpr bool is_optional<std::optional<T>> = true;

/// What one stands for in a key of that name: the unit is said there.
nanoseconds unit_of(std::string_view key) noexcept {
  return key.ends_with("_ms") ? nanoseconds(std::chrono::milliseconds(1)) : nanoseconds(std::chrono::seconds(1));
}

template <class F>
constexpr Type type_of() {
  if constexpr (is_optional<F>) return type_of<typename F::value_type>();
  if constexpr (std::is_same_v<F, bool>) return Type::boolean;
  if constexpr (std::is_enum_v<F>) return Type::word;
  if constexpr (std::is_integral_v<F> || std::is_same_v<F, nanoseconds>) return Type::integer;
  if constexpr (std::is_floating_point_v<F>) return Type::number;
  if constexpr (std::is_same_v<F, std::vector<nanoseconds>>) return Type::integers;
  if constexpr (std::is_same_v<F, std::vector<TopicPattern>>) return Type::texts;
  if constexpr (std::is_same_v<F, std::vector<std::pair<Principal, std::uint32_t>>>) return Type::integer_table;
  if constexpr (std::is_same_v<F, std::vector<std::pair<std::string, std::string>>>) return Type::text_table;
  return Type::text;
}

template <class F>
Value encode(const F& field, nanoseconds unit) {
  if constexpr (is_optional<F>) {
    return field ? encode(*field, unit) : Value{};
  } else if constexpr (std::is_same_v<F, bool> || std::is_same_v<F, double> || std::is_same_v<F, std::string>) {
    return {field};
  } else if constexpr (std::is_enum_v<F>) {
    const auto& words = words_of<F>;
    return {std::string(std::ranges::find(words, field, &Word<F>::value)->word)};
  } else if constexpr (std::is_integral_v<F>) {
    return {static_cast<std::int64_t>(field)};
  } else if constexpr (std::is_same_v<F, nanoseconds>) {
    return {static_cast<std::int64_t>(field / unit)};
  } else if constexpr (std::is_same_v<F, std::filesystem::path>) {
    return {field.string()};
  } else if constexpr (std::is_same_v<F, TopicPattern> || std::is_same_v<F, Principal>) {
    return {std::string(field.view())};
  } else if constexpr (type_of<F>() == Type::integer_table || type_of<F>() == Type::text_table) {
    Value::Table table;
    for (const auto& [name, one] : field) {
      table.emplace_back(std::get<std::string>(encode(name, unit).data), encode(one, unit));
    }
    return {std::move(table)};
  } else {
    Value::List list;
    for (const auto& one : field) list.push_back(encode(one, unit));
    return {std::move(list)};
  }
}

template <class F>
void decode(F& field, const Value& value, nanoseconds unit) {
  if constexpr (is_optional<F>) {
    field.reset();
    if (!value.is_none()) decode(field.emplace(), value, unit);
  } else if constexpr (std::is_same_v<F, bool> || std::is_same_v<F, std::string>) {
    field = value.as<F>();
  } else if constexpr (std::is_same_v<F, double>) {
    const auto* const integer = std::get_if<std::int64_t>(&value.data);
    field = integer != nullptr ? static_cast<double>(*integer) : value.as<double>();
  } else if constexpr (std::is_enum_v<F>) {
    const auto& words = words_of<F>;
    field = std::ranges::find(words, value.as<std::string>(), &Word<F>::word)->value;
  } else if constexpr (std::is_integral_v<F>) {
    field = static_cast<F>(value.as<std::int64_t>());
  } else if constexpr (std::is_same_v<F, nanoseconds>) {
    field = value.as<std::int64_t>() * unit;
  } else if constexpr (std::is_same_v<F, std::filesystem::path>) {
    field = value.as<std::string>();
  } else if constexpr (std::is_same_v<F, TopicPattern> || std::is_same_v<F, Principal>) {
    field = F::parse(value.as<std::string>()).value();
  } else if constexpr (type_of<F>() == Type::integer_table || type_of<F>() == Type::text_table) {
    field.clear();
    for (const auto& [name, one] : value.as<Value::Table>()) {
      auto& [first, second] = field.emplace_back();
      decode(first, Value{name}, unit);
      decode(second, one, unit);
    }
  } else {
    field.clear();
    for (const Value& one : value.as<Value::List>()) decode(field.emplace_back(), one, unit);
  }
}

// --- Where the fields of each section are. ---

struct Head {
  static constexpr Part part = Part::head;
  static auto& of(auto& config, const std::string&) { return config; }
};
struct OfBus {
  static constexpr Part part = Part::bus;
  static auto& of(auto& config, const std::string&) { return config.bus; }
};
struct OfRouter {
  static constexpr Part part = Part::router;
  static auto& of(auto& config, const std::string&) { return config.router; }
};
struct OfReceiver {
  static constexpr Part part = Part::receivers;
  static auto& of(auto& config, const std::string& name) { return config.receivers.find(name)->second; }
};
struct OfRateLimit {
  static constexpr Part part = Part::rate_limits;
  static auto& of(auto& config, const std::string& name) { return config.rate_limits.find(name)->second; }
};
struct OfRoute {
  static constexpr Part part = Part::routes;
  static auto& of(auto& config, const std::string& name) { return config.routes.find(name)->second; }
};
struct OfLog {
  static constexpr Part part = Part::logs;
  static auto& of(auto& config, const std::string& name) { return config.logs.find(name)->second; }
};
struct OfGroup {
  static constexpr Part part = Part::groups;
  static auto& of(auto& config, const std::string& name) { return config.groups.find(name)->second; }
};
struct OfDurableTopics {
  static constexpr Part part = Part::durable_topics;
  static auto& of(auto& config, const std::string&) { return *config.durable_topics; }
};
struct OfDurableRow {
  static constexpr Part part = Part::durable_rows;
  static auto& of(auto& config, const std::string& number) {
    auto& table = config.durable_topics->options.table;
    return number.empty() ? table.front() : table[std::stoul(number) - 1];
  }
};
struct OfMetrics {
  static constexpr Part part = Part::metrics;
  static auto& of(auto& config, const std::string&) { return config.metrics; }
};
struct OfServe {
  static constexpr Part part = Part::serve;
  static auto& of(auto& config, const std::string&) { return config.serve; }
};

/// The way to a field: `at(&RouteConfig::options, &RouteOptions::budget_bytes)`.
template <class... Members>
auto at(Members... members) {
  return [members...](auto& host) -> auto& { return (host.*....*members); };
}

template <class Of, class Field>
Key key(std::string name, Field field, std::string help) {
  using Host = std::remove_reference_t<decltype(Of::of(std::declval<Config&>(), std::string()))>;
  using F = std::remove_reference_t<decltype(field(std::declval<Host&>()))>;
  const nanoseconds unit = unit_of(name);
  Key made{.part = Of::part, .name = std::move(name), .type = type_of<F>(), .help = std::move(help)};
  made.is_optional = is_optional<F>;
  if constexpr (std::is_enum_v<F>) {
    for (const Word<F>& one : words_of<F>) made.words.emplace_back(in_quotes(one.word));
  }
  made.get = [field, unit](const Config& config, const std::string& instance) {
    return encode(field(Of::of(config, instance)), unit);
  };
  made.set = [field, unit](Config& config, const std::string& instance, const Value& value) {
    decode(field(Of::of(config, instance)), value, unit);
  };
  return made;
}

// --- What may be said of a key. Each returns it. ---

constexpr std::int64_t no_bound = std::numeric_limits<std::int64_t>::max();

template <class T>
constexpr std::int64_t bound(T value) {
  return static_cast<std::int64_t>(std::min<std::uint64_t>(static_cast<std::uint64_t>(value), no_bound));
}

Key within(Key key, std::int64_t least, std::int64_t most = no_bound, std::int64_t step = 1) {
  key.range = {.least = least, .most = most, .step = step};
  return key;
}
/// A time of at most that length.
Key up_to(Key key, std::int64_t least, nanoseconds most) {
  const std::int64_t units = most / unit_of(key.name);
  return within(std::move(key), least, units);
}
Key text(Key key, std::string what, TextFault fault) {
  key.what = std::move(what);
  key.fault = fault;
  return key;
}
Key required(Key key) {
  key.is_required = true;
  return key;
}
Key live(Key key) {
  key.is_live = true;
  return key;
}
Key only_with(Key key, std::string other, std::vector<std::string> values) {
  key.only_with = Condition{std::move(other), std::move(values)};
  return key;
}
Key variable(Key key, std::string name) {
  key.variable = std::move(name);
  return key;
}

// --- What texts may be. ---

std::string_view fault_of_name(std::string_view text) {
  return text.empty() ? "it is empty" : name_fault(text, limits::max_name_bytes);
}
std::string_view fault_of_pattern(std::string_view text) { return TopicPattern::fault(text); }
std::string_view fault_of_principal(std::string_view text) { return Principal::fault(text); }
std::string_view fault_of_path(std::string_view text) {
  if (text.empty()) return "it is empty";
  return text.find('\0') != text.npos ? "it holds a zero byte" : "";
}
std::string_view fault_of_reference(std::string_view text) { return text.empty() ? "" : fault_of_name(text); }

bool is_label(std::string_view text) {
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  const auto is_fit = [&](char c) { return is_letter(c) || (c >= '0' && c <= '9'); };
  return !text.empty() && is_letter(text.front()) && std::ranges::all_of(text, is_fit);
}
std::string_view fault_of_name_of_metrics(std::string_view text) {
  if (!is_label(text)) return "it holds another character";
  return text.starts_with("__") ? "two underscores are for Prometheus itself" : "";
}
std::string_view fault_of_name_space(std::string_view text) {
  return text.empty() ? "" : fault_of_name_of_metrics(text);
}
std::string_view fault_of_label(std::string_view text) {
  const std::string_view fault = fault_of_name_of_metrics(text);
  return fault.empty() && std::ranges::count(metric_labels, text) != 0 ? "the metrics use it themselves" : fault;
}
std::string_view fault_of_any(std::string_view) { return ""; }
std::string_view fault_of_address(std::string_view text) { return fault_of_name(text); }

constexpr const char* a_name = "a name of 1 to 64 bytes without spaces";
constexpr const char* a_rate_limit = "the name of one of rate_limits";
constexpr const char* a_log = "the name of one of logs";
constexpr const char* a_path = "a path";
constexpr const char* a_pattern = "a topic with the wildcards * and, at its end, >";
constexpr const char* a_principal = "a principal of 0 to 128 bytes without spaces";

// --- The table. ---

template <class Of, class Field>
void add_consumer(std::vector<Key>& all, Field field, std::string help) {
  all.push_back(key<Of>("consumer", at(field, &ConsumerConfig::kind), std::move(help)));
  all.push_back(
      only_with(up_to(key<Of>("consumer_delay_ms", at(field, &ConsumerConfig::delay), "What it takes for each."), 0,
                      std::chrono::hours(1)),
                "consumer", {"\"slow\""}));
}

void add_bus(std::vector<Key>& all) {
  all.push_back(
      variable(key<Head>("profile", at(&Config::profile), "What the defaults are. See Profiles."), "BUSBAR_PROFILE"));
  all.push_back(variable(within(key<OfBus>("capacity", at(&BusOptions::capacity), "Events that the ring retains."),
                                bound(limits::min_capacity), bound(limits::max_capacity)),
                         "BUSBAR_CAPACITY"));
  all.push_back(within(key<OfBus>("max_payload_bytes", at(&BusOptions::max_payload_bytes),
                                  "The largest payload that a publish accepts."),
                       0, bound(limits::max_payload_bytes)));
  all.push_back(key<OfBus>("timestamps", at(&BusOptions::timestamps), "Whether events carry the time."));
  all.push_back(key<OfBus>("amnesia", at(&BusOptions::amnesia),
                           "Nothing leaves memory, and payloads are zeroed before it is given back."));
  all.push_back(variable(live(within(key<OfBus>("warnings_per_minute", at(&BusOptions::warnings_per_minute),
                                                "How often the host is told of lag in a minute, at most; 0: never."),
                                     0, bound(std::numeric_limits<std::uint32_t>::max()))),
                         "BUSBAR_OVERFLOW_WARN_PER_MIN"));

  all.push_back(
      within(key<OfRouter>("max_routes_per_owner", at(&RouterConfig::options, &RouterOptions::max_routes_per_owner),
                           "Routes that one owner may have at a time; 0 is no limit."),
             0));
  all.push_back(text(key<OfRouter>("rate_limit", at(&RouterConfig::rate_limit),
                                   "What every publish passes, with the sender's name as owner; empty: nothing."),
                     a_rate_limit, fault_of_reference));
}

void add_receivers(std::vector<Key>& all) {
  constexpr auto options = &ReceiverConfig::options;
  all.push_back(text(key<OfReceiver>("patterns", at(options, &SubscribeOptions::patterns),
                                     "Messages that match none of them are skipped; none: it gets all."),
                     a_pattern, fault_of_pattern));
  all.push_back(key<OfReceiver>("start", at(options, &SubscribeOptions::start),
                                "With which event it begins: the next one, or the oldest that is retained."));
  all.push_back(
      key<OfReceiver>("waiting", at(options, &SubscribeOptions::waiting), "How it waits for the next event."));
  add_consumer<OfReceiver>(all, &ReceiverConfig::consumer, "What a host does with the events.");
}

void add_rate_limits(std::vector<Key>& all) {
  const std::int64_t most = bound(limits::max_rate_bytes);
  all.push_back(live(within(key<OfRateLimit>("bytes_per_second", at(&RateLimit::bytes_per_second),
                                             "What one owner may send on behalf of one principal."),
                            1, most)));
  all.push_back(live(within(
      key<OfRateLimit>("burst_bytes", at(&RateLimit::burst_bytes), "What may come at once after a pause."), 1, most)));
  all.push_back(live(within(key<OfRateLimit>("max_message_bytes", at(&RateLimit::max_message_bytes),
                                             "A larger message is refused whatever has been saved up."),
                            1, most)));
  all.push_back(live(within(key<OfRateLimit>("max_buckets", at(&RateLimit::max_buckets),
                                             "Pairs of owner and principal told apart at a time."),
                            1, bound(limits::max_rate_buckets))));
}

/// The weights of a route, or of a group.
template <class Of, class... Members>
void add_weights(std::vector<Key>& all, bool is_live, Members... members) {
  const auto add = [&](Key made) {
    made.is_live = is_live;
    all.push_back(within(std::move(made), 1, bound(limits::max_weight)));
  };
  add(key<Of>("weights.system", at(members..., &Weights::system), "The share of the system."));
  add(key<Of>("weights.agent", at(members..., &Weights::agent), "The share of each agent."));
  add(key<Of>("weights.user", at(members..., &Weights::user), "The share of each user."));
  Key principals = key<Of>("weights.principals", at(members..., &Weights::principals),
                           "Shares by principal; these go before those of their class.");
  principals.what = a_principal;
  principals.name_fault = fault_of_principal;
  add(std::move(principals));
}

/// `Scope` has its two parts behind functions.
void add_scope(std::vector<Key>& all) {
  const auto admitted = [](const Scope& scope) {
    if (scope.is_all()) return Admitted::all;
    return scope.with_system() ? Admitted::principal_or_system : Admitted::principal;
  };
  const auto scope_of = [](Admitted whom, Principal principal) {
    if (whom == Admitted::all) return Scope::all();
    return whom == Admitted::principal ? Scope::principal(std::move(principal))
                                       : Scope::principal_or_system(std::move(principal));
  };
  Key scope{.part = Part::routes, .name = "scope", .type = Type::word, .help = "Whose messages it admits."};
  for (const auto& one : words_of<Admitted>) scope.words.emplace_back(in_quotes(one.word));
  scope.get = [=](const Config& config, const std::string& name) {
    return encode(admitted(OfRoute::of(config, name).options.scope), {});
  };
  scope.set = [=](Config& config, const std::string& name, const Value& value) {
    Admitted whom{};
    decode(whom, value, {});
    Scope& now = OfRoute::of(config, name).options.scope;
    now = scope_of(whom, now.only());
  };
  all.push_back(std::move(scope));

  Key principal{
      .part = Part::routes, .name = "principal", .type = Type::text, .help = "Of `scope`; empty: the system."};
  principal.get = [](const Config& config, const std::string& name) {
    return encode(OfRoute::of(config, name).options.scope.only(), {});
  };
  principal.set = [=](Config& config, const std::string& name, const Value& value) {
    Principal only;
    decode(only, value, {});
    Scope& now = OfRoute::of(config, name).options.scope;
    now = scope_of(admitted(now), std::move(only));
  };
  all.push_back(only_with(text(std::move(principal), a_principal, fault_of_principal), "scope",
                          {"\"principal\"", "\"principal_or_system\""}));
}

void add_routes(std::vector<Key>& all) {
  constexpr auto options = &RouteConfig::options;
  constexpr std::int64_t most = bound(limits::max_route_budget_bytes);
  all.push_back(text(key<OfRoute>("owner", at(options, &RouteOptions::owner),
                                  "Who reads it. If it is not said, the name of the route."),
                     a_name, fault_of_name));
  Key patterns = required(text(key<OfRoute>("patterns", at(options, &RouteOptions::patterns),
                                            "A message that matches any of them is the route's, once."),
                               a_pattern, fault_of_pattern));
  all.push_back(std::move(patterns));
  all.push_back(within(key<OfRoute>("budget_bytes", at(options, &RouteOptions::budget_bytes),
                                    "The most that it holds: of each message its payload, its topic and " +
                                        std::to_string(route_entry_bytes) + " bytes."),
                       bound(route_entry_bytes) + 1, most));
  all.push_back(within(key<OfRoute>("quantum_bytes", at(options, &RouteOptions::quantum_bytes),
                                    "What one turn gives to a principal of weight 1."),
                       1, most));
  all.push_back(within(key<OfRoute>("principal_messages", at(options, &RouteOptions::principal_messages),
                                    "The most messages of one principal."),
                       1));
  all.push_back(within(key<OfRoute>("credits", at(options, &RouteOptions::credits),
                                    "The most messages that are pending in it; 0 is no limit."),
                       0));
  add_weights<OfRoute>(all, true, options, &RouteOptions::weights);
  add_scope(all);
  all.push_back(text(key<OfRoute>("rate_limit", at(&RouteConfig::rate_limit),
                                  "What its owner takes from each principal; empty: no limit."),
                     a_rate_limit, fault_of_reference));
  all.push_back(key<OfRoute>("overflow", at(options, &RouteOptions::overflow),
                             "What it does with a message for which it has no room."));
  all.push_back(only_with(up_to(key<OfRoute>("detach_after_ms", at(options, &RouteOptions::detach_after),
                                             "How long it may have no room before it ends."),
                                0, limits::longest_log_wait),
                          "overflow", {"\"detach\""}));
  all.push_back(
      key<OfRoute>("ticks", at(options, &RouteOptions::ticks), "Whether messages remember when they were queued."));
  all.push_back(
      key<OfRoute>("waiting", at(options, &RouteOptions::waiting), "How a receiver that finds nothing waits."));
  add_consumer<OfRoute>(all, &RouteConfig::consumer, "What a host does that reads it itself.");
}

/// `LogOptions::dedup` is there or not.
void add_dedup(std::vector<Key>& all) {
  Key enabled{.part = Part::logs,
              .name = "dedup.enabled",
              .type = Type::boolean,
              .help = "Whether a message that is sent again is taken once."};
  enabled.get = [](const Config& config, const std::string& name) {
    return Value{OfLog::of(config, name).options.dedup.has_value()};
  };
  enabled.set = [](Config& config, const std::string& name, const Value& value) {
    auto& dedup = OfLog::of(config, name).options.dedup;
    if (!value.as<bool>()) {
      dedup.reset();
    } else if (!dedup) {
      dedup.emplace();
    }
  };
  all.push_back(std::move(enabled));

  const auto add = [&]<class F>(std::string name, F DedupOptions::* member, std::string help, std::int64_t most) {
    Key made{.part = Part::logs, .name = std::move(name), .type = type_of<F>(), .help = std::move(help)};
    const nanoseconds unit = unit_of(made.name);
    made.get = [=](const Config& config, const std::string& log) {
      const auto& dedup = OfLog::of(config, log).options.dedup;
      return dedup ? encode((*dedup).*member, unit) : Value{};
    };
    made.set = [=](Config& config, const std::string& log, const Value& value) {
      auto& dedup = OfLog::of(config, log).options.dedup;
      if (dedup) decode((*dedup).*member, value, unit);
    };
    all.push_back(only_with(within(std::move(made), 0, most), "dedup.enabled", {"true"}));
  };
  constexpr std::int64_t most = 1'000'000'000;  // beyond what the largest segment has room for
  add("dedup.ids_per_sender", &DedupOptions::ids_per_sender, "Ids of one sender that are known: the latest ones.",
      most);
  add("dedup.id_age_s", &DedupOptions::id_age, "An id that is older may come again.",
      limits::longest_log_wait / std::chrono::seconds(1));
  add("dedup.ids", &DedupOptions::ids, "Ids of all senders that are known.", most);
  add("dedup.producers", &DedupOptions::producers, "Producers that are known.", most);
}

void add_logs(std::vector<Key>& all) {
  constexpr auto options = &LogConfig::options;
  constexpr auto retention = &LogOptions::retention;
  constexpr nanoseconds longest = limits::longest_log_wait;
  all.push_back(required(text(key<OfLog>("directory", at(&LogConfig::directory), "Where its files are; it is made."),
                              a_path, fault_of_path)));
  all.push_back(within(key<OfLog>("segment_bytes", at(options, &LogOptions::segment_bytes),
                                  "Bytes of a segment's file. A record must fit into one."),
                       bound(limits::min_segment_bytes), bound(limits::max_segment_bytes),
                       bound(limits::segment_bytes_step)));
  all.push_back(up_to(
      key<OfLog>("segment_age_s", at(options, &LogOptions::segment_age), "A segment that is older is ended; 0: never."),
      0, longest));
  Key uncommitted = within(key<OfLog>("uncommitted_bytes", at(options, &LogOptions::uncommitted_bytes),
                                      "What was appended and not yet written, at most."),
                           bound(limits::min_uncommitted_bytes), bound(limits::max_uncommitted_bytes));
  uncommitted.range.power_of_two = true;
  all.push_back(std::move(uncommitted));
  all.push_back(within(key<OfLog>("batch_bytes", at(options, &LogOptions::batch_bytes), "Of one commit, at most."), 1,
                       bound(limits::max_uncommitted_bytes)));
  all.push_back(up_to(key<OfLog>("sync_every_ms", at(options, &LogOptions::sync_every),
                                 "How soon what is appended as `interval` is synced."),
                      1, longest));
  all.push_back(within(key<OfLog>("sync_every_bytes", at(options, &LogOptions::sync_every_bytes),
                                  "After how many bytes it is synced at the latest."),
                       1));
  all.push_back(live(within(key<OfLog>("retention.bytes", at(options, retention, &Retention::bytes),
                                       "Segments above so many bytes may go, the oldest first."),
                            0)));
  all.push_back(live(up_to(
      key<OfLog>("retention.age_s", at(options, retention, &Retention::age), "Segments that ended so long ago may go."),
      0, longest)));
  all.push_back(live(within(key<OfLog>("retention.records", at(options, retention, &Retention::records),
                                       "Segments may go that are not needed to keep so many records."),
                            0)));
  all.push_back(
      up_to(key<OfLog>("timer_ms", at(options, &LogOptions::timer), "How often it looks for what retention lets go."),
            1, longest));
  all.push_back(within(key<OfLog>("disk_bytes", at(options, &LogOptions::disk_bytes),
                                  "What the directory may take, everything counted."),
                       bound(limits::min_segment_bytes)));
  all.push_back(live(key<OfLog>("full_disk", at(options, &LogOptions::full_disk),
                                "What becomes of an append for which there is no room.")));
  all.push_back(only_with(
      up_to(key<OfLog>("full_disk_wait_ms", at(options, &LogOptions::full_disk_wait), "How long it waits for room."), 0,
            longest),
      "full_disk", {"\"wait\""}));
  all.push_back(live(within(
      key<OfLog>("spare_segments", at(options, &LogOptions::spare_segments), "Segment files that are held ready."), 0,
      bound(limits::max_spare_segments))));
  all.push_back(within(key<OfLog>("compress_from_bytes", at(options, &LogOptions::compress_from_bytes),
                                  "Payloads from so many bytes on are compressed where it helps; 0: none."),
                       0));
  add_dedup(all);
  all.push_back(
      key<OfLog>("verify", at(options, &LogOptions::verify), "Look at every byte of every segment when opening."));
  all.push_back(within(key<OfLog>("max_loss_bytes", at(options, &LogOptions::max_loss_bytes),
                                  "An opening that finds more missing in one place leaves the log read-only until "
                                  "the loss is accepted."),
                       0));
  Key share = key<OfLog>("max_loss_share", at(options, &LogOptions::max_loss_share), "So too for this share of it.");
  share.most_number = 1;
  all.push_back(std::move(share));
  all.push_back(within(key<OfLog>("quarantine_bytes", at(options, &LogOptions::quarantine_bytes),
                                  "Of damaged regions that are kept for somebody to look at."),
                       0));
  all.push_back(within(
      key<OfLog>("memory_bytes", at(options, &LogOptions::memory_bytes), "What it takes for itself, at most."), 1));
}

void add_groups(std::vector<Key>& all) {
  constexpr auto options = &GroupConfig::options;
  constexpr auto dead = &GroupOptions::dead;
  constexpr nanoseconds longest = limits::longest_lease;
  constexpr std::int64_t most_read_ahead = bound(std::numeric_limits<std::uint32_t>::max());
  all.push_back(
      required(text(key<OfGroup>("log", at(&GroupConfig::log), "Which log it reads."), a_log, fault_of_name)));
  all.push_back(key<OfGroup>("mode", at(options, &GroupOptions::mode),
                             "Any member gets a message; or those with one key come in order; or each member gets "
                             "all. A group keeps the one that it was made with."));
  all.push_back(text(key<OfGroup>("patterns", at(options, &GroupOptions::patterns),
                                  "What it reads; none: everything. A group keeps those that it was made with."),
                     a_pattern, fault_of_pattern));
  all.push_back(key<OfGroup>("start", at(options, &GroupOptions::start), "Where it begins when it is made."));
  all.push_back(up_to(key<OfGroup>("visibility_ms", at(options, &GroupOptions::visibility),
                                   "How long a lease lasts before the message is free again."),
                      1, longest));
  all.push_back(
      up_to(key<OfGroup>("ceiling_ms", at(options, &GroupOptions::ceiling), "How long one lasts that is extended."), 1,
            longest));
  all.push_back(within(key<OfGroup>("attempts", at(options, &GroupOptions::attempts),
                                    "How often a message is delivered before it is a dead letter."),
                       1, bound(std::numeric_limits<std::uint8_t>::max())));
  all.push_back(up_to(key<OfGroup>("backoff_ms", at(options, &GroupOptions::backoff),
                                   "What a nack waits, by attempts; the last one for all that follow."),
                      0, longest));
  all.push_back(within(key<OfGroup>("read_ahead", at(options, &GroupOptions::read_ahead),
                                    "Messages that are known and not finished, at most."),
                       1, most_read_ahead));
  all.push_back(within(key<OfGroup>("principal_read_ahead", at(options, &GroupOptions::principal_read_ahead),
                                    "Of these, how many are kept for principals that have fewer than so many; at most "
                                    "a half."),
                       1, most_read_ahead));
  all.push_back(within(key<OfGroup>("read_ahead_bytes", at(options, &GroupOptions::read_ahead_bytes),
                                    "Of payload that is kept in memory for them."),
                       0));
  all.push_back(within(key<OfGroup>("quantum_bytes", at(options, &GroupOptions::quantum_bytes),
                                    "What one turn gives to a principal of weight 1."),
                       1, bound(limits::max_route_budget_bytes)));
  add_weights<OfGroup>(all, false, options, &GroupOptions::weights);
  all.push_back(within(key<OfGroup>("lag_bytes", at(options, &GroupOptions::lag_bytes),
                                    "How much of the log it holds back from retention, at most."),
                       1));
  all.push_back(
      within(key<OfGroup>("dead.most", at(options, dead, &DeadLetterOptions::most), "Dead letters that are kept."), 1));
  all.push_back(key<OfGroup>("dead.full", at(options, dead, &DeadLetterOptions::full),
                             "What happens to one for which there is no room."));
  all.push_back(within(key<OfGroup>("dead.lag_bytes", at(options, dead, &DeadLetterOptions::lag_bytes),
                                    "How much of the log dead letters hold back from retention, at most."),
                       1));
  add_consumer<OfGroup>(all, &GroupConfig::consumer,
                        "What a host does that reads it itself; what it has read is acked.");
}

void add_durable_topics(std::vector<Key>& all) {
  all.push_back(required(
      text(key<OfDurableTopics>("log", at(&DurableTopicsConfig::log), "Where they go."), a_log, fault_of_name)));
  all.push_back(within(key<OfDurableTopics>("undelivered_bytes",
                                            at(&DurableTopicsConfig::options, &DurableTopicsOptions::undelivered_bytes),
                                            "Of messages that were taken and are not delivered yet, at most."),
                       1));
  all.push_back(required(text(key<OfDurableRow>("pattern", at(&DurableTopic::pattern),
                                                "The first row that matches a topic is the one that counts."),
                              a_pattern, fault_of_pattern)));
  all.push_back(key<OfDurableRow>("durability", at(&DurableTopic::durability), "What a receipt promises."));
  all.push_back(key<OfDurableRow>("delivery", at(&DurableTopic::delivery), "When live receivers get it."));
}

void add_metrics(std::vector<Key>& all) {
  constexpr auto options = &MetricsConfig::options;
  all.push_back(variable(text(key<OfMetrics>("namespace", at(options, &MetricsOptions::name_space),
                                             "Stands before every name, with an underscore between."),
                              "letters, digits and underscores, or nothing", fault_of_name_space),
                         "BUSBAR_METRICS_NAMESPACE"));
  const std::vector<std::string> own(metric_labels.begin(), metric_labels.end());
  Key labels = text(key<OfMetrics>("labels", at(options, &MetricsOptions::labels), "Labels of every sample."),
                    "letters, digits and underscores, but not " + any_of(own), fault_of_any);
  labels.name_fault = fault_of_label;
  all.push_back(std::move(labels));
  all.push_back(variable(key<OfMetrics>("amnesia_label", at(options, &MetricsOptions::amnesia_label),
                                        "Whether every sample says amnesia=\"on\" or \"off\"."),
                         "BUSBAR_EMIT_AMNESIA_LABEL"));
  all.push_back(within(key<OfMetrics>("max_names", at(options, &MetricsOptions::max_names),
                                      "Values of labels that carry names of the program; others are summed."),
                       0));
  all.push_back(text(key<OfMetrics>("listen_address", at(&MetricsConfig::listen_address), "Where they are served."),
                     "an address or a host name of 1 to 64 bytes", fault_of_address));
  all.push_back(within(key<OfMetrics>("listen_port", at(&MetricsConfig::listen_port),
                                      "Where they are served; 0: any port that is free."),
                       0, bound(std::numeric_limits<std::uint16_t>::max())));
}

void add_serve(std::vector<Key>& all) {
  all.push_back(
      key<OfServe>("input", at(&ServeConfig::input), "Where a host takes events from, one JSON object a line."));
  all.push_back(only_with(
      required(text(key<OfServe>("file", at(&ServeConfig::file), "Which file it reads."), a_path, fault_of_path)),
      "input", {"\"file\"", "\"follow\""}));
  all.push_back(
      up_to(key<OfServe>("drain_ms", at(&ServeConfig::drain), "How long readers have to finish when the host ends."), 0,
            std::chrono::hours(1)));
}

/// Of a key that stands once: BUSBAR_<SECTION>_<KEY>, unless it has a name of its own.
std::string variable_of(const Key& key) {
  const bool has =
      key.part == Part::bus || key.part == Part::router || key.part == Part::metrics || key.part == Part::serve;
  if (!has || key.type == Type::text_table) return {};
  std::string name = "BUSBAR_" + std::string(name_of(key.part)) + "_" + key.name;
  for (char& c : name) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return name;
}

// --- The profiles. ---

Config edge_model(Config model) {
  for (auto& [name, log] : model.logs) log.options = LogOptions::edge();
  for (auto& [name, route] : model.routes) route.options.budget_bytes = std::size_t{256} << 10;
  for (auto& [name, limit] : model.rate_limits) limit.max_buckets = 1024;
  for (auto& [name, group] : model.groups) {
    group.options.read_ahead = 10'000;
    group.options.principal_read_ahead = 2'500;
    group.options.read_ahead_bytes = std::size_t{1} << 20;
    group.options.dead.most = 10'000;
    group.options.dead.lag_bytes = std::uint64_t{64} << 20;
  }
  model.durable_topics->options.undelivered_bytes = std::size_t{2} << 20;
  return model;
}

Config throughput_model(Config model) {
  model.bus.capacity = 65'536;
  for (auto& [name, log] : model.logs) {
    log.options.segment_bytes = std::uint64_t{256} << 20;
    log.options.uncommitted_bytes = std::size_t{64} << 20;
    log.options.batch_bytes = std::size_t{4} << 20;
    log.options.spare_segments = 2;
  }
  for (auto& [name, route] : model.routes) {
    route.options.budget_bytes = std::size_t{16} << 20;
    route.options.quantum_bytes = std::size_t{64} << 10;
  }
  for (auto& [name, group] : model.groups) {
    group.options.read_ahead_bytes = std::size_t{64} << 20;
    group.options.quantum_bytes = std::size_t{64} << 10;
  }
  model.durable_topics->options.undelivered_bytes = std::size_t{64} << 20;
  return model;
}

Config make_model(Profile profile) {
  Config model;
  model.profile = profile;
  model.rate_limits[""];
  model.receivers[""];
  model.routes[""];
  model.logs[""];
  model.groups[""];
  model.durable_topics.emplace().options.table.emplace_back();
  switch (profile) {
    case Profile::standard: return model;
    case Profile::edge: return edge_model(std::move(model));
    case Profile::throughput: break;
  }
  return throughput_model(std::move(model));
}

template <class T>
std::vector<std::string> names_of(const Config::Named<T>& named) {
  std::vector<std::string> names;
  for (const auto& [name, one] : named) names.push_back(name);
  return names;
}

}  // namespace

Times times(Part part) noexcept { return infos[static_cast<std::size_t>(part)].times; }

std::string_view name_of(Part part) noexcept { return infos[static_cast<std::size_t>(part)].name; }

std::string_view name_of(Profile profile) noexcept {
  return std::ranges::find(words_of<Profile>, profile, &Word<Profile>::value)->word;
}

std::string section_name(Part part, std::string_view instance) {
  std::string name(name_of(part));
  if (instance.empty()) return name;
  return times(part) == Times::rows ? name + "[" + std::string(instance) + "]" : name + "." + as_toml_key(instance);
}

std::string full_name(Part part, std::string_view instance, std::string_view key) {
  const std::string section = section_name(part, instance);
  return section.empty() ? std::string(key) : section + "." + std::string(key);
}

std::vector<std::string> instances(const Config& config, Part part) {
  switch (part) {
    case Part::rate_limits: return names_of(config.rate_limits);
    case Part::receivers: return names_of(config.receivers);
    case Part::routes: return names_of(config.routes);
    case Part::logs: return names_of(config.logs);
    case Part::groups: return names_of(config.groups);
    case Part::durable_topics: return std::vector<std::string>(config.durable_topics ? 1 : 0);
    case Part::durable_rows: break;
    default: return {""};
  }
  std::vector<std::string> numbers;
  const std::size_t rows = config.durable_topics ? config.durable_topics->options.table.size() : 0;
  for (std::size_t i = 1; i <= rows; ++i) numbers.push_back(std::to_string(i));
  return numbers;
}

void add_instance(Config& config, Part part, const std::string& instance, const Config& model) {
  switch (part) {
    case Part::rate_limits: config.rate_limits[instance] = OfRateLimit::of(model, ""); return;
    case Part::receivers: (config.receivers[instance] = OfReceiver::of(model, "")).options.name = instance; return;
    case Part::routes: {
      RouteConfig& route = config.routes[instance] = OfRoute::of(model, "");
      route.options.owner = instance;
      route.options.name = instance;
      return;
    }
    case Part::logs: config.logs[instance] = OfLog::of(model, ""); return;
    case Part::groups: (config.groups[instance] = OfGroup::of(model, "")).options.name = instance; return;
    case Part::durable_topics:
      config.durable_topics = model.durable_topics;
      config.durable_topics->options.table.clear();
      return;
    case Part::durable_rows: config.durable_topics->options.table.push_back(OfDurableRow::of(model, "")); return;
    default: return;
  }
}

const Config& model(Profile profile) {
  static const std::array<Config, 3> models{make_model(Profile::standard), make_model(Profile::edge),
                                            make_model(Profile::throughput)};
  return models[static_cast<std::size_t>(profile)];
}

const std::vector<Key>& keys() {
  static const std::vector<Key> all = [] {
    std::vector<Key> made;
    add_bus(made);
    add_receivers(made);
    add_rate_limits(made);
    add_routes(made);
    add_logs(made);
    add_groups(made);
    add_durable_topics(made);
    add_metrics(made);
    add_serve(made);
    for (Key& key : made) {
      if (key.variable.empty()) key.variable = variable_of(key);
    }
    return made;
  }();
  return all;
}

const Key* find_key(Part part, std::string_view name) {
  const auto found = std::ranges::find_if(keys(), [&](const Key& key) { return key.part == part && key.name == name; });
  return found != keys().end() ? &*found : nullptr;
}

bool applies(const Key& key, const Config& config, const std::string& instance) {
  if (!key.only_with) return true;
  const Key& other = *find_key(key.part, key.only_with->key);
  return std::ranges::count(key.only_with->values, as_toml(other.get(config, instance))) != 0;
}

namespace {

/// "2 to 1048576", "1 and more".
std::string figures(const Range& range) {
  std::string text = std::to_string(range.least);
  text += range.most == no_bound ? " and more" : " to " + std::to_string(range.most);
  if (range.step != 1) text += ", a multiple of " + std::to_string(range.step);
  if (range.power_of_two) text += ", a power of two";
  return text;
}

std::string number_text(double value) { return as_toml({value}); }

bool fits(const Range& range, std::int64_t value) {
  return value >= range.least && value <= range.most && value % range.step == 0 &&
         (!range.power_of_two || std::has_single_bit(static_cast<std::uint64_t>(value)));
}

std::string allowed_one(const Key& key) {
  switch (key.type) {
    case Type::boolean: return "true or false";
    case Type::integer: return "an integer, " + figures(key.range);
    case Type::number: return "a number, " + number_text(0) + " to " + number_text(key.most_number);
    case Type::word: return any_of(key.words);
    case Type::text: return key.what;
    case Type::integers: return "a list of integers, each " + figures(key.range);
    case Type::texts: return (key.is_required ? "a list of one or more, each " : "a list, each ") + key.what;
    case Type::integer_table: return "a table of integers, each " + figures(key.range) + "; each name " + key.what;
    case Type::text_table: break;
  }
  return "a table of texts; each name " + key.what;
}

std::string with_fault(std::string_view text, std::string_view fault) {
  return in_quotes(text) + " (" + std::string(fault) + ")";
}

/// Of a text or an integer, by itself or in a list. Empty: it is fit.
std::string found_wrong(const Key& key, const Value& value, bool is_text) {
  if (!is_text) {
    const auto* const integer = std::get_if<std::int64_t>(&value.data);
    return integer != nullptr && fits(key.range, *integer) ? "" : describe(value);
  }
  const auto* const text = std::get_if<std::string>(&value.data);
  if (text == nullptr) return describe(value);
  const std::string_view fault = key.fault(*text);
  return fault.empty() ? "" : with_fault(*text, fault);
}

std::vector<Fault> faults_in_list(const Key& key, const Value::List& list) {
  std::vector<Fault> faults;
  for (std::size_t i = 0; i < list.size(); ++i) {
    std::string found = found_wrong(key, list[i], key.type == Type::texts);
    if (!found.empty()) faults.push_back({.at = i, .found = std::move(found), .allowed = allowed(key)});
  }
  if (list.empty() && key.is_required) faults.push_back({.found = "an empty list", .allowed = allowed(key)});
  return faults;
}

std::vector<Fault> faults_in_table(const Key& key, const Value::Table& table) {
  std::vector<Fault> faults;
  for (std::size_t i = 0; i < table.size(); ++i) {
    const auto& [name, one] = table[i];
    std::string found = found_wrong(key, one, key.type == Type::text_table);
    if (const std::string_view fault = key.name_fault(name); !fault.empty()) found = with_fault(name, fault);
    if (!found.empty()) faults.push_back({.at = i, .found = std::move(found), .allowed = allowed(key)});
  }
  return faults;
}

}  // namespace

std::string allowed(const Key& key) { return allowed_one(key) + (key.is_optional ? ", or \"none\"" : ""); }

std::string describe(const Value& value) {
  if (std::holds_alternative<Value::List>(value.data)) return "a list";
  if (std::holds_alternative<Value::Table>(value.data)) return "a table";
  return as_toml(value);
}

std::vector<Fault> faults_of(const Key& key, const Value& value) {
  if (value.is_none()) return {};
  const auto* const list = std::get_if<Value::List>(&value.data);
  const auto* const table = std::get_if<Value::Table>(&value.data);
  std::string found;
  switch (key.type) {
    case Type::boolean:
      if (!std::holds_alternative<bool>(value.data)) found = describe(value);
      break;
    case Type::integer: found = found_wrong(key, value, false); break;
    case Type::number: {
      const auto* const integer = std::get_if<std::int64_t>(&value.data);
      const auto* const real = std::get_if<double>(&value.data);
      const double number = integer != nullptr ? static_cast<double>(*integer) : real != nullptr ? *real : -1;
      if (!(number >= 0 && number <= key.most_number)) found = describe(value);
      break;
    }
    case Type::word:
      if (std::ranges::count(key.words, as_toml(value)) == 0) found = describe(value);
      break;
    case Type::text: found = found_wrong(key, value, true); break;
    case Type::integers:
    case Type::texts:
      if (list != nullptr) return faults_in_list(key, *list);
      found = describe(value);
      break;
    case Type::integer_table:
    case Type::text_table:
      if (table != nullptr) return faults_in_table(key, *table);
      found = describe(value);
      break;
  }
  if (found.empty()) return {};
  return {{.found = std::move(found), .allowed = allowed(key)}};
}

std::string_view instance_fault(Part part, const std::string& name) {
  if (const std::string_view fault = fault_of_name(name); !fault.empty() || part != Part::groups) return fault;
  if (name.starts_with(dead_prefix)) return "it begins as the names of dead letters do";
  return Topic::fault(std::string(dead_prefix) + name);
}

}  // namespace bus::detail
