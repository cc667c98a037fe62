// SPDX-License-Identifier: MIT OR Apache-2.0
#include "metrics/table.hpp"

#include <bus/principal.hpp>

#include <algorithm>
#include <numeric>

namespace bus::detail {
namespace {

using enum MetricKind;

/// Reads fields, one for each value.
template <auto... Fields>
constexpr auto fields = [](const auto& stats, std::span<std::uint64_t> values) {
  auto value = values.begin();
  ((*value++ = static_cast<std::uint64_t>(stats.*Fields)), ...);
};

template <auto Field>
constexpr auto buckets = [](const auto& stats, std::span<std::uint64_t> values) {
  std::ranges::copy((stats.*Field).counts, values.begin());
  values.back() = (stats.*Field).sum;
};

ClosedLabel loss_label() {
  ClosedLabel label{"reason", {}};
  for (std::size_t i = 0; i < loss_reasons; ++i) label.values.push_back(to_string(static_cast<Loss>(i)));
  return label;
}

ClosedLabel class_label() {
  using enum PrincipalClass;
  return {"class", {to_string(system), to_string(agent), to_string(user)}};
}

}  // namespace

const SubjectOf<BusStats>& bus_metrics() {
  using S = BusStats;
  // These three have the same labels, so that an alert can put them together.
  static const SubjectOf<S> subject(
      "Buses", {"bus"},
      {{{"bus_capacity", largest, "events", "Events that the ring retains."}, fields<&S::capacity>},
       {{"bus_queue_depth", largest, "events", "Events that the slowest receiver has yet to look at."},
        [](const S& stats, std::span<std::uint64_t> values) {
          for (const NameStats& name : stats.names) values[0] = std::max(values[0], name.pending);
        }},
       {{"bus_overflow_dropped_total", counter, "events", "Events overwritten before a receiver looked at them."},
        [](const S& stats, std::span<std::uint64_t> values) {
          for (const NameStats& name : stats.names) values[0] += name.missed;
        }},
       {{"bus_published_total", counter, "events", "Events published."}, fields<&S::published>},
       {{"bus_closed", largest, "0 or 1", "Whether the bus is closed."}, fields<&S::closed>},
       {{"bus_wakeups_total", counter, "wakes", "Sleeping receivers that publishers woke."}, fields<&S::wakeups>},
       {{"bus_nodes", gauge, "nodes", "Nodes allocated for events: in the ring, spare, and held by users."},
        fields<&S::nodes>},
       {{"bus_node_growths_total", counter, "times", "Times that the nodes had to become more."},
        fields<&S::node_growths>},
       {{"bus_observer_exceptions_total", counter, "exceptions", "Exceptions that observers threw."},
        fields<&S::observer_exceptions>},
       {{"bus_warnings_suppressed_total", counter, "warnings", "Warnings that the throttle swallowed."},
        fields<&S::warnings_suppressed>}});
  return subject;
}

const SubjectOf<NameStats>& receiver_metrics() {
  using S = NameStats;
  static const SubjectOf<S> subject(
      "Receivers", {"bus", "receiver"},
      {{{"bus_receivers", gauge, "receivers", "Receivers alive."}, fields<&S::receivers>},
       {{"bus_receiver_lag", largest, "events", "Events that the slowest of the receivers has yet to look at."},
        fields<&S::pending>},
       {{"bus_receiver_delivered_total", counter, "events", "Events handed to the program."}, fields<&S::delivered>},
       {{"bus_receiver_filtered_total", counter, "events", "Events that a filter skipped."}, fields<&S::filtered>},
       {{"bus_receiver_missed_total", counter, "events", "Events overwritten before the receiver looked at them."},
        fields<&S::missed>}});
  return subject;
}

const SubjectOf<RouterStats>& router_metrics() {
  using S = RouterStats;
  static const SubjectOf<S> subject(
      "Routers", {"bus"},
      {{{"bus_router_published_total", counter, "messages", "Messages published through the router."},
        fields<&S::published>},
       {{"bus_router_unrouted_total", counter, "messages", "Of these, messages that matched no route."},
        fields<&S::nobody_interested>},
       {{"bus_router_rate_limited_total", counter, "messages", "Messages refused by the router's rate limiter."},
        fields<&S::rate_limited>}});
  return subject;
}

const SubjectOf<RouteNameStats>& route_metrics() {
  using S = RouteNameStats;
  static const SubjectOf<S> subject(
      "Routes", {"bus", "route"},
      {{{"bus_routes", gauge, "routes", "Routes whose receivers are alive."}, fields<&S::routes>},
       {{"bus_routes_detached", gauge, "routes", "Of these, routes that ended as they had no room for too long."},
        fields<&S::detached>},
       {{"bus_route_active_principals", gauge, "principals", "Principals that have messages in the route."},
        fields<&S::principals>},
       {{"bus_route_pending", gauge, "messages", "Messages in the route."}, fields<&S::pending>},
       {{"bus_route_budget_bytes", gauge, "bytes", "Bytes that the route may hold."}, fields<&S::budget_bytes>},
       {{"bus_route_budget_bytes_in_use", gauge, "bytes", "Bytes that the route holds."}, fields<&S::bytes>},
       {{"bus_route_waiting_publishers", gauge, "publishers", "Publishers that wait for room."},
        fields<&S::waiting_publishers>},
       {{"bus_route_offered_total", counter, "messages", "Messages that matched, in scope, and passed the gate."},
        fields<&S::offered>},
       {{"bus_route_delivered_total", counter, "messages", "Messages handed to the program."}, fields<&S::delivered>},
       {{"bus_route_lost_total", counter, "messages", "Messages that the route lost or refused.", loss_label()},
        [](const S& stats, std::span<std::uint64_t> values) {
          std::ranges::transform(stats.lost, values.begin(), [](const auto& by_class) {
            return std::accumulate(by_class.begin(), by_class.end(), std::uint64_t{0});
          });
        }},
       {{"bus_route_byte_evictions_total", counter, "messages", "Messages evicted to make room, by class of principal.",
         class_label()},
        [](const S& stats, std::span<std::uint64_t> values) {
          std::ranges::copy(stats.lost[static_cast<std::size_t>(Loss::evicted)], values.begin());
        }},
       {{"bus_route_abandoned_total", counter, "messages", "Messages that were in a route when its receiver went."},
        fields<&S::abandoned>},
       {{"bus_route_gated_total", counter, "messages", "Messages not offered, as the gate was closed."},
        fields<&S::gated>},
       {{"bus_route_quantum_starved_total", counter, "turns",
         "Turns in which what a principal had saved up did not cover its first message."},
        fields<&S::quantum_starved>}});
  return subject;
}

const SubjectOf<DurableTopicsStats>& durable_metrics() {
  using S = DurableTopicsStats;
  static const SubjectOf<S> subject(
      "Durable topics", {"bus"},
      {{{"bus_durable_committed_total", counter, "messages", "Durable messages that were committed."},
        fields<&S::committed>},
       {{"bus_durable_refused_total", counter, "messages", "Durable messages that were not committed."},
        fields<&S::refused>},
       {{"bus_durable_undeliverable_total", counter, "messages", "Committed messages that the router did not take."},
        fields<&S::undeliverable>},
       {{"bus_durable_overloads_total", counter, "messages", "Publishes refused for want of room for the undelivered."},
        fields<&S::overloads>},
       {{"bus_durable_undelivered", gauge, "messages", "Durable messages on their way to the log and the routes."},
        fields<&S::undelivered>},
       {{"bus_durable_undelivered_bytes", gauge, "bytes", "What these take."}, fields<&S::undelivered_bytes>}});
  return subject;
}

const SubjectOf<LogStats>& log_metrics() {
  using S = LogStats;
  static const SubjectOf<S> subject(
      "Logs", {"log"},
      {{{"bus_log_records_total", counter, "records", "Records committed."}, fields<&S::records>},
       {{"bus_log_payload_bytes_total", counter, "bytes", "Bodies of these."}, fields<&S::payload_bytes>},
       {{"bus_log_commits_total", counter, "commits", "Commits."}, fields<&S::commits>},
       {{.name = "bus_log_commit_seconds",
         .kind = histogram,
         .unit = "seconds",
         .help = "How long commits took that were synced at once, the sync included; measured in microseconds.",
         .bounds = commit_us_bounds,
         .divisor = 1e6},
        buckets<&S::commit_us>},
       {{.name = "bus_log_batch_records",
         .kind = histogram,
         .unit = "records",
         .help = "Records of a commit.",
         .bounds = batch_records_bounds},
        buckets<&S::batch_records>},
       {{.name = "bus_log_batch_bytes",
         .kind = histogram,
         .unit = "bytes",
         .help = "Bytes of a commit's records.",
         .bounds = batch_bytes_bounds},
        buckets<&S::batch_bytes>},
       {{"bus_log_syncs_total", counter, "syncs", "Syncs asked of the disk."}, fields<&S::syncs>},
       {{"bus_log_sync_failures_total", counter, "syncs", "Syncs that failed; one ends the taking of appends."},
        fields<&S::sync_failures>},
       {{"bus_log_read_only", largest, "0 or 1", "Whether the log takes no appends any more."}, fields<&S::read_only>},
       {{"bus_log_full", largest, "0 or 1", "Whether the last commit found no room on the disk."}, fields<&S::full>},
       {{"bus_log_lost_records", gauge, "records",
         "Records known to be missing, found by opening, reading and scrubs."},
        fields<&S::lost_records>},
       {{"bus_log_uncommitted_bytes", gauge, "bytes", "Bytes appended and not yet committed."},
        fields<&S::uncommitted_bytes>},
       {{"bus_log_unsynced_bytes", gauge, "bytes", "Bytes written and not yet synced."}, fields<&S::unsynced_bytes>},
       {{"bus_log_overloads_total", counter, "appends", "Appends refused for want of memory."}, fields<&S::overloads>},
       {{"bus_log_rejected_total", counter, "records", "Records refused for want of disk."}, fields<&S::rejected>},
       {{"bus_log_duplicates_total", counter, "records", "Records that the log had already."}, fields<&S::duplicates>},
       {{"bus_log_out_of_sequence_total", counter, "records", "Records refused as out of their producer's sequence."},
        fields<&S::out_of_sequence>},
       {{"bus_log_disk_bytes",
         gauge,
         "bytes",
         "Bytes on the disk, by part.",
         {"part", {"segments", "spares", "quarantine"}}},
        fields<&S::segment_bytes, &S::spare_bytes, &S::quarantine_bytes>},
       {{"bus_log_segments", gauge, "segments", "Segments."}, fields<&S::segments>},
       {{"bus_log_written_bytes_total",
         counter,
         "bytes",
         "Bytes written to files, by purpose.",
         {"purpose", {"records", "frames", "fill", "repair"}}},
        fields<&S::record_bytes, &S::frame_bytes, &S::fill_bytes, &S::repair_bytes>},
       {{"bus_log_rolls_total", counter, "segments", "Segments begun."}, fields<&S::rolls>},
       {{"bus_log_reused_segments_total", counter, "segments", "Of these, in files used before."},
        fields<&S::reused_segments>},
       {{"bus_log_dropped_segments_total", counter, "segments", "Segments dropped, by retention or for want of disk."},
        fields<&S::dropped_segments>},
       {{"bus_log_dropped_records_total", counter, "records", "Records in these."}, fields<&S::dropped_records>},
       {{"bus_log_first_offset", largest, "offset", "Offset of the oldest record."}, fields<&S::first_offset>},
       {{"bus_log_next_offset", largest, "offset", "Offset of the record that comes next."}, fields<&S::next_offset>}});
  return subject;
}

const SubjectOf<GroupStats>& group_metrics() {
  using S = GroupStats;
  static const SubjectOf<S> subject(
      "Groups", {"group"},
      {{{"bus_group_lag", largest, "offsets", "Offsets from the oldest message that is not finished to the log's end."},
        fields<&S::lag>},
       {{"bus_group_messages",
         gauge,
         "messages",
         "Messages that are known and not finished, by state of the lease.",
         {"state", {"ready", "leased", "delayed", "dead"}}},
        fields<&S::ready, &S::leased, &S::delayed, &S::dead>},
       {{"bus_group_dead_letters", gauge, "messages", "Dead letters that nobody has taken away."},
        fields<&S::dead_letters>},
       {{"bus_group_dead_letters_missed_total", counter, "messages",
         "Dead letters that went before anybody had taken them: too many, dropped by retention, or lost."},
        fields<&S::dead_letters_missed>},
       {{"bus_group_delivered_total", counter, "leases", "Leases given."}, fields<&S::delivered>},
       {{"bus_group_redelivered_total", counter, "leases", "Of these, further attempts."}, fields<&S::redelivered>},
       {{"bus_group_outcomes_total",
         counter,
         "leases",
         "Leases that ended, by outcome.",
         {"outcome", {"acked", "released", "nacked", "rejected", "ran_out"}}},
        fields<&S::acked, &S::released, &S::nacked, &S::rejected, &S::ran_out>},
       {{"bus_group_stale_total", counter, "outcomes", "Outcomes refused, as the lease had ended."}, fields<&S::stale>},
       {{"bus_group_expired_total", counter, "messages", "Messages whose time had passed."}, fields<&S::expired>},
       {{"bus_group_missed_total", counter, "messages", "Messages that were dropped or lost before they were read."},
        fields<&S::missed>}});
  return subject;
}

std::vector<const Subject*> metric_subjects() {
  return {&bus_metrics(),     &receiver_metrics(), &router_metrics(), &route_metrics(),
          &durable_metrics(), &log_metrics(),      &group_metrics()};
}

}  // namespace bus::detail
