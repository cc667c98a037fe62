// SPDX-License-Identifier: MIT OR Apache-2.0
#include <bus/config/load.hpp>

int main() {
  const bus::ConfigResult loaded = bus::parse_config("[bus]\ncapacity = 512\n", "package.toml");
  const bus::ConfigResult refused = bus::parse_config("[bus]\ncapacity = 1\n", "package.toml");
  return loaded && loaded->config.bus.capacity == 512 && !refused ? 0 : 1;
}
