// SPDX-License-Identifier: MIT OR Apache-2.0
#include "report.hpp"

#include "text.hpp"

#include <nlohmann/json.hpp>

#include <array>
#include <cstdio>
#include <vector>

namespace busbar {
namespace {

using nlohmann::ordered_json;

std::string duration_or_dash(const std::optional<std::uint64_t>& nanoseconds) {
  return nanoseconds ? as_duration(*nanoseconds) : "-";
}

std::string receiver_table(const ReplayReport& report) {
  std::vector<Row> rows{{"receiver", "delivered", "missed", "pending", "p50", "p95", "p99"}};
  for (const ReceiverReport& receiver : report.receivers) {
    rows.push_back({receiver.name, with_separators(receiver.delivered), with_separators(receiver.missed),
                    with_separators(receiver.pending), duration_or_dash(receiver.p50), duration_or_dash(receiver.p95),
                    duration_or_dash(receiver.p99)});
  }
  return aligned(rows);
}

std::string route_table(const ReplayReport& report) {
  std::vector<Row> rows{
      {"route", "taken", "delivered", "evicted", "coalesced", "refused", "terminals", "peak", "budget"}};
  for (const RouteReport& route : report.routes) {
    rows.push_back({route.name + (route.detached ? " (detached)" : ""), with_separators(route.taken),
                    with_separators(route.delivered), with_separators(route.lost.evicted),
                    with_separators(route.lost.coalesced), with_separators(route.lost.refused),
                    with_separators(route.terminals.delivered) + "/" + with_separators(route.terminals.published),
                    with_separators(route.bytes_peak), with_separators(route.budget_bytes)});
  }
  return aligned(rows);
}

std::string summary(const ReplayReport& report) {
  std::array<char, 32> seconds{};
  std::snprintf(seconds.data(), seconds.size(), "%.3f", report.seconds);
  std::string text = with_separators(report.events) + " events, " + with_separators(report.published) +
                     " published in " + seconds.data() + " s";
  if (report.published != 0 && report.seconds > 0) {
    const double rate = static_cast<double>(report.published) / report.seconds;
    text += " (" + with_separators(static_cast<std::uint64_t>(rate)) + "/s)";
  }
  if (report.skipped_lines != 0) text += ", " + with_separators(report.skipped_lines) + " lines skipped";
  return text + '\n';
}

ordered_json to_json(const ReceiverReport& receiver) {
  const auto number_or_null = [](const std::optional<std::uint64_t>& value) {
    return value ? ordered_json(*value) : ordered_json(nullptr);
  };
  return {{"name", receiver.name},
          {"delivered", receiver.delivered},
          {"missed", receiver.missed},
          {"pending", receiver.pending},
          {"p50_ns", number_or_null(receiver.p50)},
          {"p95_ns", number_or_null(receiver.p95)},
          {"p99_ns", number_or_null(receiver.p99)}};
}

ordered_json to_json(const PrincipalReport& principal) {
  return {{"name", principal.name},     {"published", principal.published}, {"delivered", principal.delivered},
          {"missed", principal.missed}, {"pending", principal.pending},     {"bytes", principal.bytes}};
}

ordered_json to_json(const RouteReport& route) {
  auto principals = ordered_json::array();
  for (const PrincipalReport& principal : route.principals) principals.push_back(to_json(principal));
  const ordered_json lost{{"evicted", route.lost.evicted},
                          {"coalesced", route.lost.coalesced},
                          {"refused", route.lost.refused},
                          {"gated", route.lost.gated},
                          {"rate_limited", route.lost.rate_limited}};
  const ordered_json terminals{{"published", route.terminals.published},
                               {"delivered", route.terminals.delivered},
                               {"refused", route.terminals.refused}};
  return {{"name", route.name},
          {"taken", route.taken},
          {"delivered", route.delivered},
          {"pending", route.pending},
          {"lost", lost},
          {"bytes_peak", route.bytes_peak},
          {"budget", route.budget_bytes},
          {"detached", route.detached},
          {"terminals", terminals},
          {"principals", principals}};
}

}  // namespace

std::string as_table(const ReplayReport& report) {
  return receiver_table(report) + route_table(report) + summary(report);
}

std::string as_json(const ReplayReport& report) {
  auto receivers = ordered_json::array();
  for (const ReceiverReport& receiver : report.receivers) receivers.push_back(to_json(receiver));
  auto routes = ordered_json::array();
  for (const RouteReport& route : report.routes) routes.push_back(to_json(route));
  const ordered_json object{
      {"events", report.events},   {"published", report.published}, {"skipped_lines", report.skipped_lines},
      {"seconds", report.seconds}, {"receivers", receivers},        {"routes", routes}};
  // A name is the user's bytes and need not be UTF-8.
  return object.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + '\n';
}

}  // namespace busbar
