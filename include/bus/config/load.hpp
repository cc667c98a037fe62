// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A host from a file of TOML. docs/configuration.md says what may stand in it.
//
//   const auto loaded = bus::load_config("host.toml", bus::process_environment());
//   if (!loaded) {
//     for (const bus::ConfigError& error : loaded.error()) std::cerr << to_string(error) << '\n';
//     return 1;
//   }
//   bus::Bus hub{loaded->config.bus};
//
// A value is, in this order: what the environment says; what the file says; that of the profile; the default of the
// options. Every error is told at once; only a file that is no TOML is not looked at behind its first error.
#pragma once

#include <bus/config/config.hpp>
#include <bus/export.hpp>

#include <boost/assert/source_location.hpp>
#include <boost/system/result.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bus {

namespace limits {

/// Of a configuration.
inline constexpr std::size_t max_config_bytes = std::size_t{1} << 20;

}  // namespace limits

/// Variables by name.
using Environment = std::map<std::string, std::string, std::less<>>;

/// Those of the process whose names begin with "BUSBAR_". Threads: not while another changes the environment.
BUSBAR_EXPORT Environment process_environment();

/// One thing that is wrong with a configuration.
struct ConfigError {
  std::string file;  ///< "environment" for a variable
  std::uint32_t line = 0;  ///< from 1; 0 if it has none
  std::uint32_t column = 0;
  std::string key;  ///< as `Setting::key`, or the name of a variable
  std::string found;
  std::string allowed;

  friend bool operator==(const ConfigError&, const ConfigError&) = default;
};

/// In one line: "host.toml:3:12: bus.capacity: found 1; allowed: 2 to 1048576".
BUSBAR_EXPORT std::string to_string(const ConfigError& error);

/// Those of the file in the order of their places.
class ConfigErrors {
 public:
  ConfigErrors() noexcept = default;  ///< none, as of what has loaded
  /// Those given, in their order.
  explicit ConfigErrors(std::vector<ConfigError> errors) noexcept : errors_(std::move(errors)) {}
  auto begin() const noexcept { return errors_.begin(); }
  auto end() const noexcept { return errors_.end(); }
  std::size_t size() const noexcept { return errors_.size(); }

 private:
  std::vector<ConfigError> errors_;
};

/// For `ConfigResult::value`: throws std::invalid_argument with a line for each error.
[[noreturn]] BUSBAR_EXPORT void throw_exception_from_error(const ConfigErrors& errors,
                                                           const boost::source_location& location);

/// Where a value is from.
struct Origin {
  /// What it is the value of.
  enum class Kind : std::uint8_t { standard, profile, file, environment };
  Kind kind = Kind::standard;
  std::string name = {};  ///< of the profile, the file or the variable
  std::uint32_t line = 0;  ///< in the file
  std::uint32_t column = 0;
};

/// "default", "profile edge", "host.toml:3:12", "BUSBAR_CAPACITY".
BUSBAR_EXPORT std::string to_string(const Origin& origin);

/// One value of a configuration.
struct Setting {
  std::string section;  ///< "bus", "routes.screen", "durable_topics.table[1]"; empty: the head of the file
  std::string key;  ///< in it: "budget_bytes", "retention.bytes"
  std::string toml;  ///< the value as TOML
  std::string json;  ///< the value as JSON
  Origin origin;
};

/// A configuration that loaded, and how it came to be.
struct LoadedConfig {
  Config config;  ///< as it is effective
  std::vector<Setting> settings;  ///< every value, section by section
};

/// A configuration, or everything that is wrong with it.
using ConfigResult = boost::system::result<LoadedConfig, ConfigErrors>;

/// Reads a file. Paths in it are relative to the directory the process is in. Errors: also of a file that cannot be
/// read; throws std::bad_alloc.
BUSBAR_EXPORT ConfigResult load_config(const std::filesystem::path& path, const Environment& environment = {});

/// As `load_config`, from text. `name` stands for the file.
BUSBAR_EXPORT ConfigResult parse_config(std::string_view text, std::string_view name,
                                        const Environment& environment = {});

/// The effective configuration as a file, which loads as the same one; at each value a comment says where it is from.
BUSBAR_EXPORT std::string to_toml(const LoadedConfig& loaded);

/// What is known of a key, and said in docs/configuration.md.
struct ConfigKey {
  std::string section;  ///< "bus", "routes.NAME", "durable_topics.table[N]"; empty: the head of the file
  std::string name;
  std::string standard;  ///< the default as TOML; empty if the key is required
  std::string allowed;
  std::string variable;  ///< of the environment; empty: none
  bool live = false;  ///< whether it can change while a host runs
  std::string help;
};

/// All keys there are.
BUSBAR_EXPORT std::vector<ConfigKey> config_keys();

/// docs/configuration.md, as it follows from the keys and the profiles.
BUSBAR_EXPORT std::string config_reference();

}  // namespace bus
