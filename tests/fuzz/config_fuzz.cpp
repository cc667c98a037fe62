// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Any text is either refused with errors that each stand in one line, or becomes a configuration that loads as the same
// one when it is shown. The input is a file; what stands behind a zero byte is the environment, a variable a line.
#include <bus/config/load.hpp>
#include <bus/config/reload.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

bus::Environment environment_of(std::string_view lines) {
  bus::Environment all;
  while (!lines.empty()) {
    const std::string_view line = lines.substr(0, lines.find('\n'));
    lines.remove_prefix(std::min(lines.size(), line.size() + 1));
    const std::size_t equals = line.find('=');
    if (equals != line.npos) all.emplace("BUSBAR_" + std::string(line.substr(0, equals)), line.substr(equals + 1));
  }
  return all;
}

void check(const bus::ConfigErrors& errors) {
  require(errors.size() != 0);
  for (const bus::ConfigError& error : errors) {
    require(!error.found.empty() && !error.allowed.empty());
    require(error.file == "f" || error.file == "environment");
    require((error.line == 0) == (error.column == 0));
    for (const char c : to_string(error)) {
      const auto byte = static_cast<unsigned char>(c);
      require(byte >= 0x20 && byte != 0x7F);
    }
  }
}

void check(const bus::LoadedConfig& loaded) {
  const bus::ConfigResult again = bus::parse_config(to_toml(loaded), "again");
  require(again.has_value());
  require(again->settings.size() == loaded.settings.size());
  for (std::size_t i = 0; i < loaded.settings.size(); ++i) {
    require(again->settings[i].section == loaded.settings[i].section);
    require(again->settings[i].toml == loaded.settings[i].toml);
  }
  const bus::ConfigChange change = bus::diff(loaded.config, again->config);
  require(change.live.empty() && change.restart.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::string_view text = input.substr(0, input.find('\0'));
  const auto environment = text.size() < size ? environment_of(input.substr(text.size() + 1)) : bus::Environment();
  const bus::ConfigResult loaded = bus::parse_config(text, "f", environment);
  if (loaded) {
    check(*loaded);
  } else {
    check(loaded.error());
  }
  return 0;
}
