// SPDX-License-Identifier: MIT OR Apache-2.0
//
// docs/configuration.md.
#include <bus/config/load.hpp>

#include "config/keys.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

namespace bus {
namespace {

using namespace detail;

constexpr std::string_view head = R"(<!-- SPDX-License-Identifier: MIT OR Apache-2.0 -->
<!-- Written by `busbar config reference`. A test compares the two. -->

# Configuration

One file of [TOML](https://toml.io/en/v1.0.0) says what a host is made of: its bus, its routes and who may send how
fast, its logs and the groups that read them, which topics are durable, and its metrics. One file is one host with one
bus. A process that wants several loads several files.

```toml
[bus]
capacity = 1024

[routes.screen]
patterns = ["agent.v1.>"]
budget_bytes = 262_144
weights.system = 4

[logs.events]
directory = "/var/lib/host/events"
retention.age_s = 604_800

[groups.archive]
log = "events"

[durable_topics]
log = "events"

[[durable_topics.table]]
pattern = "agent.v1.done"
```

## Rules

- A key says its unit at its end: `_bytes`, `_ms` (milliseconds), `_s` (seconds), `_per_second`, `_per_minute`. `_share`
  is a share of 1. A key without one is a number of things.
- A key with a dot stands in a table: `retention.bytes = 1` or, in `[logs.NAME.retention]`, `bytes = 1`.
- A key that allows "none" has that text for what is not limited, or not there.
- `[routes.NAME]` and the like may stand once for each name. Names have 1 to 64 bytes and no spaces. Other sections
  refer to logs and rate limits by their names.
- Paths are relative to the directory the process is in.
- A value is, in this order: what the environment says; what the file says; that of the profile; the default.
- Variables of the environment whose names begin with `BUSBAR_` and are not in the tables below are errors, as unknown
  keys are. What stands under a name has no variable.
- A value that is of another type, out of its range, in contradiction to others or without a meaning where it stands is
  an error. All errors are told at once, each with its place, what was found and what is allowed. Only a file that is no
  TOML is not looked at behind its first error.
- `busbar config check FILE` tells them. `busbar config show FILE` prints every value, and where it is from.

## Changes while a host runs

Keys that are marked as live can be changed while a host runs: `bus::reload` applies what is new in them and reports
what was applied and what needs a restart. Every other key needs one, and so do sections that come or go; and a live key
whose new value contradicts one that has to wait for it.
)";

struct Intro {
  Part part;
  std::string_view title;
  std::string_view text;
};

constexpr std::array<Intro, part_count> intros{{
    {Part::head, "Head of the file", ""},
    {Part::bus, "[bus]", "The bus."},
    {Part::router, "[router]", "What holds for every route."},
    {Part::receivers, "[receivers.NAME]",
     "Receivers of the bus itself that a host reads: who falls behind by more than the bus retains misses events."},
    {Part::rate_limits, "[rate_limits.NAME]",
     "How fast one owner may send on behalf of one principal. Nothing is limited by it until a route or the router "
     "refers "
     "to it."},
    {Part::routes, "[routes.NAME]", "Routed subscriptions, and what a host does with their messages."},
    {Part::logs, "[logs.NAME]", "Durable logs."},
    {Part::groups, "[groups.NAME]", "Those who read a log as a queue."},
    {Part::durable_topics, "[durable_topics]",
     "Which topics go to a log before they are delivered. Without this section none do."},
    {Part::durable_rows, "[[durable_topics.table]]", "At least one."},
    {Part::metrics, "[metrics]", "What metrics are called, and where they are served."},
    {Part::serve, "[serve]", "What a host needs that stands by itself."},
}};

std::string placeholder(Part part) {
  const std::string name(name_of(part));
  if (times(part) == Times::named) return name + ".NAME";
  return times(part) == Times::rows ? name + "[N]" : name;
}

std::string cell(std::string text) {
  for (std::size_t at = 0; (at = text.find('|', at)) != text.npos; at += 2) text.replace(at, 1, "\\|");
  return text;
}

std::string code(const std::string& text) { return text.empty() ? "" : "`" + text + "`"; }

std::string profiles() {
  std::string text =
      "\n## Profiles\n\n"
      "`profile = \"default\"` has the defaults of the tables below, `edge` is for small devices, and `throughput` for "
      "many\n"
      "messages. These values are others:\n\n"
      "| Key | default | edge | throughput |\n|---|---|---|---|\n";
  for (const Key& key : keys()) {
    if (key.part == Part::head) continue;
    const auto value = [&](Profile profile) { return as_toml(key.get(model(profile), "")); };
    const std::string standard = value(Profile::standard);
    if (value(Profile::edge) == standard && value(Profile::throughput) == standard) continue;
    text += "| " + code(placeholder(key.part) + "." + key.name) + " | " + code(standard) + " | " +
            code(value(Profile::edge)) + " | " + code(value(Profile::throughput)) + " |\n";
  }
  return text;
}

}  // namespace

std::vector<ConfigKey> config_keys() {
  std::vector<ConfigKey> all;
  for (const Key& key : keys()) {
    std::string help = key.help;
    if (key.only_with) help += " Only with `" + key.only_with->key + "` = " + any_of(key.only_with->values) + ".";
    const Config& standard = model(Profile::standard);
    all.push_back({.section = placeholder(key.part),
                   .name = key.name,
                   .standard = key.is_required ? "" : as_toml(key.get(standard, "")),
                   .allowed = allowed(key),
                   .variable = key.variable,
                   .live = key.is_live,
                   .help = std::move(help)});
  }
  return all;
}

std::string config_reference() {
  std::string text(head);
  text += profiles();
  const std::vector<ConfigKey> all = config_keys();
  for (const Intro& intro : intros) {
    text += "\n## " + (intro.part == Part::head ? std::string(intro.title) : code(std::string(intro.title))) + "\n\n";
    if (!intro.text.empty()) text += std::string(intro.text) + "\n\n";
    text += "| Key | Default | Allowed | Live | Variable | |\n|---|---|---|---|---|---|\n";
    for (const ConfigKey& key : all) {
      if (key.section != placeholder(intro.part)) continue;
      text += "| " + code(key.name) + " | " + (key.standard.empty() ? "required" : code(key.standard)) + " | " +
              cell(key.allowed) + " | " + (key.live ? "yes" : "") + " | " + code(key.variable) + " | " +
              cell(key.help) + " |\n";
    }
  }
  return text;
}

}  // namespace bus
