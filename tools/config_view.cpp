// SPDX-License-Identifier: MIT OR Apache-2.0
#include "config_view.hpp"

#include "output.hpp"
#include "text.hpp"

#include <nlohmann/json.hpp>

#include <cstdio>
#include <string_view>
#include <vector>

namespace busbar {
namespace {

using nlohmann::ordered_json;

bus::ConfigResult load(const ConfigViewOptions& options, const bus::Environment& environment) {
  return options.file ? bus::load_config(*options.file, environment) : bus::parse_config("", "", environment);
}

void print_json(const ordered_json& object) {
  // A name of a file need not be UTF-8.
  print(object.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n");
  flush();
}

ordered_json place(std::uint32_t line, std::uint32_t column) {
  auto object = ordered_json::object();
  if (line != 0) object = {{"line", line}, {"column", column}};
  return object;
}

Exit tell(const bus::ConfigErrors& errors, bool json) {
  if (!json) {
    for (const bus::ConfigError& error : errors) std::fprintf(stderr, "%s\n", to_string(error).c_str());
    return failure;
  }
  auto list = ordered_json::array();
  for (const bus::ConfigError& error : errors) {
    ordered_json one{{"file", error.file}};
    one.update(place(error.line, error.column));
    one.update({{"key", error.key}, {"found", error.found}, {"allowed", error.allowed}});
    list.push_back(std::move(one));
  }
  print_json({{"valid", false}, {"errors", std::move(list)}});
  return failure;
}

std::string_view kind_name(bus::Origin::Kind kind) {
  switch (kind) {
    case bus::Origin::Kind::standard: return "default";
    case bus::Origin::Kind::profile: return "profile";
    case bus::Origin::Kind::environment: return "environment";
    case bus::Origin::Kind::file: break;
  }
  return "file";
}

ordered_json as_json(const bus::Setting& setting) {
  ordered_json origin{{"kind", kind_name(setting.origin.kind)}};
  if (!setting.origin.name.empty()) origin["name"] = setting.origin.name;
  origin.update(place(setting.origin.line, setting.origin.column));
  return {{"section", setting.section},
          {"key", setting.key},
          {"value", ordered_json::parse(setting.json)},
          {"origin", std::move(origin)}};
}

}  // namespace

Exit check_config(const ConfigViewOptions& options, const bus::Environment& environment) {
  const bus::ConfigResult loaded = load(options, environment);
  if (!loaded) return tell(loaded.error(), options.json);
  if (options.json) {
    print_json({{"valid", true}, {"errors", ordered_json::array()}});
    return success;
  }
  const bus::Config& config = loaded->config;
  print("no error: " + counted(config.routes.size(), "route") + ", " + counted(config.logs.size(), "log") + ", " +
        counted(config.groups.size(), "group") + "\n");
  flush();
  return success;
}

Exit show_config(const ConfigViewOptions& options, const bus::Environment& environment) {
  const bus::ConfigResult loaded = load(options, environment);
  if (!loaded) return tell(loaded.error(), options.json);
  if (options.json) {
    auto list = ordered_json::array();
    for (const bus::Setting& setting : loaded->settings) list.push_back(as_json(setting));
    print_json({{"settings", std::move(list)}});
    return success;
  }
  print(to_toml(*loaded));
  flush();
  return success;
}

Exit print_config_reference(bool json) {
  if (json) {
    auto list = ordered_json::array();
    for (const bus::ConfigKey& key : bus::config_keys()) {
      list.push_back({{"section", key.section},
                      {"key", key.name},
                      {"default", key.standard},
                      {"allowed", key.allowed},
                      {"variable", key.variable},
                      {"live", key.live},
                      {"help", key.help}});
    }
    print_json(list);
    return success;
  }
  print(bus::config_reference());
  flush();
  return success;
}

}  // namespace busbar
