// SPDX-License-Identifier: MIT OR Apache-2.0
#include "host_report.hpp"

#include "text.hpp"

#include <nlohmann/json.hpp>

#include <utility>
#include <vector>

namespace busbar {
namespace {

using nlohmann::ordered_json;

}  // namespace

std::string as_table(const HostReport& report, std::uint64_t skipped_lines) {
  std::string text = counted(report.published, "event") + " published";
  for (const auto& [why, count] : report.refused) text += ", " + with_separators(count) + " refused (" + why + ")";
  if (report.unsettled != 0) text += ", " + with_separators(report.unsettled) + " not committed by the deadline";
  if (report.undelivered != 0) text += ", " + with_separators(report.undelivered) + " in a log and not delivered";
  if (skipped_lines != 0) text += ", " + counted(skipped_lines, "line") + " skipped";
  text += report.complete ? "; drained\n\n" : "; not all was read or committed by the deadline\n\n";

  std::vector<Row> receivers{{"receiver", "delivered", "filtered", "missed", "pending"}};
  for (const bus::ReceiverStats& one : report.receivers) {
    receivers.push_back({one.name, with_separators(one.delivered), with_separators(one.filtered),
                         with_separators(one.missed), with_separators(one.pending)});
  }
  text += aligned(receivers);
  std::vector<Row> routes{{"route", "offered", "delivered", "lost", "pending"}};
  for (const bus::RouteStats& one : report.routes) {
    routes.push_back({one.name + (one.detached ? " (detached)" : ""), with_separators(one.offered),
                      with_separators(one.delivered), with_separators(one.lost_in_all()),
                      with_separators(one.pending)});
  }
  text += aligned(routes);
  std::vector<Row> groups{{"group", "acked", "lag"}};
  for (const HostReport::Group& one : report.groups) {
    groups.push_back({one.name, with_separators(one.acked), with_separators(one.lag)});
  }
  text += aligned(groups);
  std::vector<Row> logs{{"log", "records", "next offset", "missing"}};
  for (const HostReport::Log& one : report.logs) {
    logs.push_back({one.name + (one.fault.empty() ? "" : " (" + one.fault + ")"), with_separators(one.records),
                    with_separators(one.next_offset), with_separators(one.lost_records)});
  }
  text += aligned(logs);
  return text;
}

std::string as_json(const HostReport& report, std::uint64_t skipped_lines) {
  auto receivers = ordered_json::array();
  for (const bus::ReceiverStats& one : report.receivers) {
    receivers.push_back({{"name", one.name},
                         {"published", one.published},
                         {"delivered", one.delivered},
                         {"filtered", one.filtered},
                         {"missed", one.missed},
                         {"pending", one.pending}});
  }
  auto routes = ordered_json::array();
  for (const bus::RouteStats& one : report.routes) {
    routes.push_back({{"name", one.name},
                      {"offered", one.offered},
                      {"delivered", one.delivered},
                      {"lost", one.lost_in_all()},
                      {"pending", one.pending},
                      {"detached", one.detached}});
  }
  auto groups = ordered_json::array();
  for (const HostReport::Group& one : report.groups) {
    groups.push_back({{"name", one.name}, {"acked", one.acked}, {"lag", one.lag}});
  }
  auto logs = ordered_json::array();
  for (const HostReport::Log& one : report.logs) {
    logs.push_back({{"name", one.name},
                    {"records", one.records},
                    {"next_offset", one.next_offset},
                    {"lost_records", one.lost_records}});
    if (!one.fault.empty()) logs.back()["fault"] = one.fault;
  }
  const ordered_json drained{{"published", report.published},
                             {"skipped_lines", skipped_lines},
                             {"refused", report.refused},
                             {"unsettled", report.unsettled},
                             {"undelivered", report.undelivered},
                             {"complete", report.complete},
                             {"receivers", receivers},
                             {"routes", routes},
                             {"groups", groups},
                             {"logs", logs}};
  return drained.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + '\n';
}

}  // namespace busbar
