// SPDX-License-Identifier: MIT OR Apache-2.0
#include <bus/config/load.hpp>

#include "config/contradictions.hpp"
#include "config/keys.hpp"
#include "config/nearest.hpp"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>
#include <system_error>
#include <tuple>
#include <utility>

#include <unistd.h>

#define TOML_EXCEPTIONS 0
#define TOML_HEADER_ONLY 1
// The parser of 3.3 takes for granted what a wrong file breaks ("[=" does), and then looks for it all the same: without
// this, such a file would end a debug build, and an optimiser could drop the look.
#include <toml++/impl/preprocessor.h>
#undef TOML_ASSERT
#undef TOML_ASSERT_ASSUME
#define TOML_ASSERT(condition) static_assert(true)
#define TOML_ASSERT_ASSUME(condition) static_assert(true)
#include <toml++/toml.h>

namespace bus {
namespace {

using namespace detail;

constexpr std::string_view prefix = "BUSBAR_";
constexpr const char* environment_name = "environment";

/// What a node is; nothing, for a date or a time.
std::optional<Value> value_of(const toml::node& node) {
  if (const auto* const boolean = node.as_boolean()) return Value{boolean->get()};
  if (const auto* const integer = node.as_integer()) return Value{integer->get()};
  if (const auto* const number = node.as_floating_point()) return Value{number->get()};
  if (const auto* const text = node.as_string()) return Value{text->get()};
  if (const auto* const array = node.as_array()) {
    Value::List list;
    for (const toml::node& one : *array) {
      auto value = value_of(one);
      if (!value) return std::nullopt;
      list.push_back(std::move(*value));
    }
    return Value{std::move(list)};
  }
  const auto* const table = node.as_table();
  if (table == nullptr) return std::nullopt;
  Value::Table named;
  for (const auto& [name, one] : *table) {
    auto value = value_of(one);
    if (!value) return std::nullopt;
    named.emplace_back(std::string(name.str()), std::move(*value));
  }
  return Value{std::move(named)};
}

/// The element of a list or a table that a fault is about, or the whole.
const toml::node& node_at(const toml::node& node, std::optional<std::size_t> at) {
  if (!at) return node;
  if (const auto* const array = node.as_array()) return *array->get(*at);
  return std::next(node.as_table()->cbegin(), static_cast<std::ptrdiff_t>(*at))->second;
}

bool is_utf8(const std::string& text) { return toml::parse("text = " + in_quotes(text)).succeeded(); }

/// What a variable says. What has another form is a text, which no key with that form takes.
Value value_of(const Key& key, const std::string& text) {
  const auto parse = [&](auto number) -> Value {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size()) return {text};
    return {number};
  };
  switch (key.type) {
    case Type::boolean: return text == "true" || text == "false" ? Value{text == "true"} : Value{text};
    case Type::integer: return parse(std::int64_t{0});
    case Type::number: return parse(0.0);
    default: return {text};
  }
}

std::vector<std::string> names_of_keys(Part part) {
  std::vector<std::string> names;
  for (const Key& key : keys()) {
    if (key.part == part) names.push_back(key.name);
  }
  if (part == Part::durable_topics) names.emplace_back("table");
  if (part != Part::head) return names;
  for (std::size_t i = 1; i < part_count; ++i) {
    const Part section = static_cast<Part>(i);
    if (section != Part::durable_rows) names.emplace_back(name_of(section));
  }
  return names;
}

/// Says which one was meant, or else which ones there are.
std::string meant(std::string_view given, const std::vector<std::string>& known) {
  std::vector<std::string> names = known;
  for (const std::string& name : known) {
    if (const std::size_t dot = name.find('.'); dot != name.npos) names.push_back(name.substr(0, dot));
  }
  const std::string_view near = nearest(given, names);
  if (near.empty()) return any_of(known);
  if (std::ranges::count(known, near) != 0) return std::string(near);
  std::vector<std::string> under;  // the name of a table of keys
  std::ranges::copy_if(known, std::back_inserter(under),
                       [&](const std::string& name) { return name.starts_with(std::string(near) + "."); });
  return any_of(under);
}

class Loader {
 public:
  Loader(std::string_view name, const Environment& environment) : name_(in_one_line(name)), environment_(environment) {}

  ConfigResult load(std::string_view text) {
    const toml::parse_result parsed = toml::parse(text, name_);
    if (!parsed) {
      const toml::parse_error& error = parsed.error();
      return ConfigErrors({{.file = name_,
                            .line = error.source().begin.line,
                            .column = error.source().begin.column,
                            .key = "",
                            .found = in_one_line(error.description()),
                            .allowed = "TOML"}});
    }
    const toml::table& root = parsed.table();
    config_ = Config();  // with the standard profile
    read_keys(Part::head, "", root);
    read_variables(Part::head);
    model_ = &model(config_.profile);
    start_with_the_model();
    read_sections(root);
    for (std::size_t i = 1; i < part_count; ++i) read_variables(static_cast<Part>(i));
    find_unknown_variables();
    find_missing();
    find_meaningless();
    find_contradictions();
    if (errors_.empty()) return LoadedConfig{.config = config_, .settings = settings()};
    const auto place = [](const ConfigError& error) {
      return std::tuple(error.line == 0, error.line, error.column, std::string_view(error.key));
    };
    std::ranges::sort(errors_, {}, place);
    return ConfigErrors(std::move(errors_));
  }

 private:
  struct Place {
    std::uint32_t line = 0;
    std::uint32_t column = 0;
  };

  static Place place_of(const toml::source_region& source) { return {source.begin.line, source.begin.column}; }

  static std::string in_one_line(std::string_view text) {
    std::string line(text);
    std::ranges::replace_if(line, [](unsigned char c) { return c < 0x20 || c == 0x7F; }, ' ');
    return line;
  }

  void add(Place place, std::string key, std::string found, std::string allowed) {
    errors_.push_back({name_, place.line, place.column, std::move(key), std::move(found), std::move(allowed)});
  }

  // --- Reading. ---

  void start_with_the_model() {
    config_.bus = model_->bus;
    config_.router = model_->router;
    config_.metrics = model_->metrics;
    config_.serve = model_->serve;
  }

  void read_sections(const toml::table& root) {
    for (std::size_t i = 1; i < part_count; ++i) {
      const Part part = static_cast<Part>(i);
      if (part == Part::durable_rows) continue;  // they stand in their section
      const toml::node* const node = root.get(name_of(part));
      if (node == nullptr) continue;
      const toml::table* const table = node->as_table();
      if (table == nullptr) {
        const auto value = value_of(*node);
        add(place_of(node->source()), std::string(name_of(part)), value ? describe(*value) : a_date,
            "a section: [" + std::string(name_of(part)) + (times(part) == Times::named ? ".NAME]" : "]"));
      } else if (times(part) == Times::named) {
        read_named(part, *table);
      } else {
        read_section(part, "", *table);
        if (part == Part::durable_topics) read_rows(*table);
      }
    }
  }

  void read_named(Part part, const toml::table& table) {
    for (const auto& [key, node] : table) {
      const std::string name(key.str());
      if (const std::string_view fault = instance_fault(part, name); !fault.empty()) {
        add(place_of(key.source()), section_name(part, name), in_quotes(name) + " (" + std::string(fault) + ")",
            part == Part::groups ? "a name of 1 to 64 bytes that could stand in a topic"
                                 : "a name of 1 to 64 bytes without spaces");
      } else if (const toml::table* const section = node.as_table()) {
        read_section(part, name, *section);
      } else {
        const auto value = value_of(node);
        add(place_of(node.source()), section_name(part, name), value ? describe(*value) : a_date,
            "a section: [" + section_name(part, name) + "]");
      }
    }
  }

  void read_rows(const toml::table& topics) {
    const toml::node* const node = topics.get("table");
    if (node == nullptr) return;
    const toml::array* const rows = node->as_array();
    const bool is_table = rows != nullptr && std::ranges::all_of(*rows, [](const auto& row) { return row.is_table(); });
    if (!is_table) {
      faulty_.insert("durable_topics.table");
      const auto value = value_of(*node);
      add(place_of(node->source()), "durable_topics.table", value ? describe(*value) : a_date,
          "rows: [[durable_topics.table]]");
      return;
    }
    std::size_t number = 0;
    for (const toml::node& row : *rows) read_section(Part::durable_rows, std::to_string(++number), *row.as_table());
  }

  void read_section(Part part, const std::string& instance, const toml::table& table) {
    add_instance(config_, part, instance, *model_);
    sections_[section_name(part, instance)] = place_of(table.source());
    read_keys(part, instance, table);
  }

  void read_keys(Part part, const std::string& instance, const toml::table& table) {
    std::map<std::string, const toml::node*, std::less<>> given;
    collect(part, instance, table, "", given);
    for (const Key& key : keys()) {
      if (key.part != part) continue;
      if (const auto found = given.find(key.name); found != given.end()) read(key, instance, *found->second);
    }
  }

  /// A key with dots stands in tables, one in the other.
  void collect(Part part, const std::string& instance, const toml::table& table, const std::string& above,
               std::map<std::string, const toml::node*, std::less<>>& given) {
    const std::vector<std::string> known = names_of_keys(part);
    for (const auto& [key, node] : table) {
      const std::string name = above + std::string(key.str());
      const auto begins_as = [&](const std::string& one) { return one.starts_with(name + "."); };
      const bool is_whole = key.str().find('.') == std::string_view::npos;
      if (is_whole && find_key(part, name) != nullptr) {
        given[name] = &node;
      } else if (is_whole && node.is_table() && std::ranges::any_of(known, begins_as)) {
        collect(part, instance, *node.as_table(), name + ".", given);
      } else if (!is_whole || std::ranges::count(known, name) == 0) {
        const std::string full = full_name(part, instance, above + as_toml_key(key.str()));
        add(place_of(key.source()), full, "an unknown key", meant(name, known));
      }
    }
  }

  void read(const Key& key, const std::string& instance, const toml::node& node) {
    const std::string name = full_name(key.part, instance, key.name);
    auto value = value_of(node);
    if (!value) {
      faulty_.insert(name);
      return add(place_of(node.source()), name, a_date, allowed(key));
    }
    const Place place = place_of(node.source());
    set(key, instance, std::move(*value),
        [&](const Fault& fault) { add(place_of(node_at(node, fault.at).source()), name, fault.found, fault.allowed); });
    given_[name] = {.kind = Origin::Kind::file, .name = name_, .line = place.line, .column = place.column};
  }

  template <class Tell>
  void set(const Key& key, const std::string& instance, Value value, Tell tell) {
    if (key.is_optional && value == Value{std::string("none")}) value = {};
    const std::vector<Fault> faults = faults_of(key, value);
    if (faults.empty()) return key.set(config_, instance, value);
    faulty_.insert(full_name(key.part, instance, key.name));
    for (const Fault& fault : faults) tell(fault);
  }

  void read_variables(Part part) {
    for (const Key& key : keys()) {
      if (key.part != part || key.variable.empty()) continue;
      const auto found = environment_.find(key.variable);
      if (found == environment_.end()) continue;
      const std::string name = full_name(part, "", key.name);
      if (!is_utf8(found->second)) {
        faulty_.insert(name);
        add_variable(key.variable, "bytes that are no UTF-8", allowed(key));
        continue;
      }
      set(key, "", value_of(key, found->second),
          [&](const Fault& fault) { add_variable(key.variable, fault.found, fault.allowed); });
      given_[name] = {.kind = Origin::Kind::environment, .name = key.variable};
    }
  }

  void add_variable(const std::string& variable, std::string found, std::string allowed) {
    errors_.push_back({environment_name, 0, 0, in_one_line(variable), std::move(found), std::move(allowed)});
  }

  // --- Looking at the whole. ---

  void find_unknown_variables() {
    std::vector<std::string> known;
    for (const Key& key : keys()) {
      if (!key.variable.empty()) known.push_back(key.variable);
    }
    for (const auto& [name, text] : environment_) {
      if (!name.starts_with(prefix) || std::ranges::count(known, name) != 0) continue;
      add_variable(name, "an unknown variable", meant(name, known));
    }
  }

  /// Tells of a key at the place of whatever is nearest to it.
  void add_at(Part part, const std::string& instance, const std::vector<std::string>& names, std::string found,
              std::string allowed) {
    for (const std::string& name : names) {
      if (faulty_.contains(full_name(part, instance, name))) return;  // that is told, and this may follow from it
    }
    const std::string told = full_name(part, instance, names.front());
    for (const std::string& name : names) {
      const auto given = given_.find(full_name(part, instance, name));
      if (given == given_.end()) continue;
      const Origin& origin = given->second;
      if (origin.kind == Origin::Kind::environment)
        return add_variable(origin.name, std::move(found), std::move(allowed));
      return add({origin.line, origin.column}, told, std::move(found), std::move(allowed));
    }
    add(sections_[section_name(part, instance)], told, std::move(found), std::move(allowed));
  }

  template <class Visit>
  void for_each_key(Visit visit) {
    for (std::size_t i = 0; i < part_count; ++i) {
      const Part part = static_cast<Part>(i);
      for (const std::string& instance : instances(config_, part)) {
        for (const Key& key : keys()) {
          if (key.part == part) visit(key, instance);
        }
      }
    }
  }

  void find_missing() {
    for_each_key([&](const Key& key, const std::string& instance) {
      if (!key.is_required || !applies(key, config_, instance)) return;
      if (given_.contains(full_name(key.part, instance, key.name))) return;
      std::vector<std::string> names{key.name};
      if (key.only_with) names.push_back(key.only_with->key);
      add_at(key.part, instance, names, "nothing", allowed(key));
    });
  }

  void find_meaningless() {
    for_each_key([&](const Key& key, const std::string& instance) {
      if (applies(key, config_, instance)) return;
      const std::string name = full_name(key.part, instance, key.name);
      const bool follows = faulty_.contains(full_name(key.part, instance, key.only_with->key));
      if (!given_.contains(name) || follows) return;
      add_at(key.part, instance, {key.name}, "a value",
             "only with " + key.only_with->key + " = " + any_of(key.only_with->values));
    });
  }

  void find_contradictions() {
    for (Contradiction& one : contradictions(config_)) {
      add_at(one.part, one.instance, one.keys, std::move(one.found), std::move(one.allowed));
    }
  }

  std::vector<Setting> settings() {
    std::vector<Setting> all;
    for_each_key([&](const Key& key, const std::string& instance) {
      if (!applies(key, config_, instance)) return;
      const Value value = key.get(config_, instance);
      all.push_back({.section = section_name(key.part, instance),
                     .key = key.name,
                     .toml = as_toml(value),
                     .json = as_json(value),
                     .origin = origin_of(key, instance)});
    });
    return all;
  }

  Origin origin_of(const Key& key, const std::string& instance) const {
    if (const auto given = given_.find(full_name(key.part, instance, key.name)); given != given_.end()) {
      return given->second;
    }
    const bool is_standard = key.part == Part::head || key.get(*model_, "") == key.get(model(Profile::standard), "");
    if (is_standard) return {};
    return {.kind = Origin::Kind::profile, .name = std::string(name_of(config_.profile))};
  }

  static constexpr const char* a_date = "a date or a time";

  const std::string name_;
  const Environment& environment_;
  const Config* model_ = nullptr;
  Config config_;
  std::map<std::string, Origin> given_;  // by full name
  std::map<std::string, Place> sections_;
  std::set<std::string> faulty_;
  std::vector<ConfigError> errors_;
};

ConfigErrors unreadable(std::string file, std::string why) {
  return ConfigErrors(
      {{.file = std::move(file), .key = "", .found = std::move(why), .allowed = "a file that can be read"}});
}

}  // namespace

Environment process_environment() {
  Environment all;
  for (char** variable = environ; variable != nullptr && *variable != nullptr; ++variable) {
    const std::string_view text = *variable;
    const std::size_t equals = text.find('=');
    if (!text.starts_with(prefix) || equals == text.npos) continue;
    all.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return all;
}

std::string to_string(const ConfigError& error) {
  std::string text = error.file;
  if (error.line != 0) text += ":" + std::to_string(error.line) + ":" + std::to_string(error.column);
  text += ": ";
  if (!error.key.empty()) text += error.key + ": ";
  return text + "found " + error.found + "; allowed: " + error.allowed;
}

void throw_exception_from_error(const ConfigErrors& errors, const boost::source_location&) {
  std::string text;
  for (const ConfigError& error : errors) text += (text.empty() ? "" : "\n") + to_string(error);
  throw std::invalid_argument(text);
}

std::string to_string(const Origin& origin) {
  switch (origin.kind) {
    case Origin::Kind::standard: return "default";
    case Origin::Kind::profile: return "profile " + origin.name;
    case Origin::Kind::environment: return origin.name;
    case Origin::Kind::file: break;
  }
  return origin.name + ":" + std::to_string(origin.line) + ":" + std::to_string(origin.column);
}

ConfigResult load_config(const std::filesystem::path& path, const Environment& environment) {
  std::ifstream file(path, std::ios::binary);
  std::string text;
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return unreadable(path.string(), "a directory");
  if (!file) return unreadable(path.string(), "no file that can be opened");
  text.resize(limits::max_config_bytes + 1);
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad()) return unreadable(path.string(), "a file that cannot be read");
  text.resize(static_cast<std::size_t>(file.gcount()));
  return parse_config(text, path.string(), environment);
}

ConfigResult parse_config(std::string_view text, std::string_view name, const Environment& environment) {
  if (text.size() > limits::max_config_bytes) {
    return ConfigErrors({{.file = std::string(name),
                          .key = "",
                          .found = "a file of more bytes",
                          .allowed = "at most " + std::to_string(limits::max_config_bytes) + " bytes"}});
  }
  return Loader(name, environment).load(text);
}

std::string to_toml(const LoadedConfig& loaded) {
  constexpr std::size_t column = 40;
  std::string text;
  const std::string* section = nullptr;
  for (const Setting& setting : loaded.settings) {
    if (section == nullptr || *section != setting.section) {
      section = &setting.section;
      const bool is_row = section->ends_with(']');  // names with brackets stand in quotes
      if (is_row) {
        text += "\n[[" + section->substr(0, section->rfind('[')) + "]]\n";
      } else if (!section->empty()) {
        text += "\n[" + *section + "]\n";
      }
    }
    std::string line = setting.key + " = " + setting.toml;
    line.resize(std::max(line.size() + 2, column), ' ');
    text += line + "# " + to_string(setting.origin) + "\n";
  }
  return text;
}

}  // namespace bus
