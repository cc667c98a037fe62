#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Compares measurements of several interleaved rounds, ours beside those of a peer.

    compare.py FILE.jsonl ... --to 'tokio-broadcast(inline)' [--ours busbar] [--peers NAME,...] [--filter B1,B5]

Prints a markdown table with a row for each workload, parameters and metric: median (min-max) of ours and of each
peer, and the ratio ours / peer to the one named by --to. The ratio is formed within each round; quoted is the median
(min-max) of these. For a rate more is better, for a time less is.

A line belongs to the round in its "round", as rounds.sh writes it, else to the one it stands in by its order: the
third line of the same measurement is of the third round.

A peer's line stands beside one of ours if they agree in all parameters that both have. Ways to receive that only one
side knows are compared with the nearest of the other: a batch with polling, coroutines with the peer's own tasks.
"""
import argparse
import collections
import json
import statistics
import sys

# Metrics that are compared, with whether more is better. All others are printed for ours only.
MORE, LESS = True, False
COMPARED = {
    "msgs_per_s": MORE,
    "deliveries_per_s": MORE,
    "published_per_s": MORE,
    "ops_per_s": MORE,
    "bytes_per_s": MORE,
    "ns_per_op": LESS,
    "p50_ns": LESS,
    "p95_ns": LESS,
    "p99_ns": LESS,
    "p999_ns": LESS,
}
PLAIN = ["allocations_per_event", "lost", "accounted"]

# What a way to receive is compared with, best first.
COUNTERPARTS = {
    "batch": ["batch", "poll"],
    "async": ["async", "rt"],
    "async-batch": ["async-batch", "async", "rt"],
}

# Text that describes a line and does not tell it from others.
DESCRIPTIONS = {"what"}


def read(paths):
    """Returns {(workload, peer, params): {round: line}}, params as pairs, in the order of the files."""
    measurements = collections.OrderedDict()
    for path in paths:
        with open(path, encoding="utf-8") as lines:
            for number, text in enumerate(lines, 1):
                if not text.strip():
                    continue
                try:
                    line = json.loads(text)
                    key = (line["workload"], line["peer"], tuple(line["params"].items()))
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    sys.exit(f"{path}:{number}: not a measurement ({error!r})")
                rounds = measurements.setdefault(key, {})
                rounds[line.get("round", len(rounds) + 1)] = line
    return measurements


def counterpart(measurements, peer, workload, params):
    """The rounds of `peer` to be compared with this measurement of ours; {} if there are none."""
    ours = dict(params)
    for recv in COUNTERPARTS.get(ours.get("recv"), [ours.get("recv")]):
        wanted = {k: v for k, v in ours.items() if k not in DESCRIPTIONS}
        wanted["recv"] = recv
        for (other_workload, other_peer, other_params), rounds in measurements.items():
            if (other_workload, other_peer) == (workload, peer) and all(
                wanted.get(k, v) == v for k, v in other_params if k not in DESCRIPTIONS
            ):
                return rounds
    return {}


def values(rounds, metric):
    return {number: line[metric] for number, line in rounds.items() if metric in line}


def ratios(ours, peers):
    """Ours / peer, of each round that both have."""
    return [ours[number] / peers[number] for number in ours if peers.get(number)]


def short(value):
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.3g}"


def spread(samples, form=short):
    if not samples:
        return "-"
    low, middle, high = form(min(samples)), form(statistics.median(samples)), form(max(samples))
    return middle if low == high else f"{middle} ({low}-{high})"


def as_ratio(value):
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


class Table:
    def __init__(self, measurements, ours, to, peers):
        self.measurements, self.ours, self.to, self.peers = measurements, ours, to, peers
        heads = ["workload", "params", "metric", ours] + peers + ([f"{ours} / {to}"] if to else []) + ["rounds"]
        self.rows = [heads, ["---"] * len(heads)]

    def add(self, workload, params):
        rounds = self.measurements[(workload, self.ours, params)]
        for metric, more in list(COMPARED.items()) + [(metric, None) for metric in PLAIN]:
            own = values(rounds, metric)
            if own:
                self.add_metric(workload, params, metric, more, own)

    def add_metric(self, workload, params, metric, more, own):
        row = [workload, ", ".join(f"{k} {v}" for k, v in params), metric, spread(own.values())]
        for peer in self.peers:
            row.append(spread(values(counterpart(self.measurements, peer, workload, params), metric).values()))
        if self.to:
            row.append(self.ratio(workload, params, metric, own) if more is not None else "")
        self.rows.append(row + [str(len(own))])

    def ratio(self, workload, params, metric, own):
        theirs = values(counterpart(self.measurements, self.to, workload, params), metric)
        return spread(ratios(own, theirs), as_ratio)

    def __str__(self):
        return "\n".join(f"| {' | '.join(row)} |" for row in self.rows)


def better(measurements, ours, to):
    """For each workload that is both polled and read in batches: which has the better median ratio, and that."""
    found = collections.OrderedDict()
    for workload, peer, params in measurements:
        recv = dict(params).get("recv")
        if peer != ours or recv not in ("poll", "batch"):
            continue
        theirs = counterpart(measurements, to, workload, params)
        for metric in ("msgs_per_s", "p50_ns"):
            both = ratios(values(measurements[(workload, peer, params)], metric), values(theirs, metric))
            if both:
                rest = ", ".join(f"{k} {v}" for k, v in params if k != "recv")
                found.setdefault((workload, rest, metric), []).append((statistics.median(both), recv, both))
    lines = []
    for (workload, rest, metric), modes in found.items():
        if len(modes) > 1:
            median, recv, both = (max if COMPARED[metric] else min)(modes)
            lines.append(f"- {workload} ({rest}) {metric}: {recv}, {spread(both, as_ratio)}")
    return lines


def main():
    parser = argparse.ArgumentParser(
        description="Compares measurements of interleaved rounds; the head of this file says how."
    )
    parser.add_argument("files", nargs="+", metavar="FILE.jsonl")
    parser.add_argument("--ours", default="busbar", help="whose measurements make the rows (%(default)s)")
    parser.add_argument("--to", default="", metavar="PEER", help="whom the ratio is to")
    parser.add_argument("--peers", default="", metavar="NAME,...", help="further columns; 'all' for all there are")
    parser.add_argument("--filter", default="", metavar="ID,...", help="only these workloads")
    options = parser.parse_args()

    measurements = read(options.files)
    present = list(collections.OrderedDict((peer, None) for _, peer, _ in measurements))
    peers = [p for p in present if p != options.ours] if options.peers == "all" else options.peers.split(",")
    peers = list(collections.OrderedDict((p, None) for p in [options.to] + peers if p))
    for name in [options.ours] + peers:
        if name not in present:
            sys.exit(f"no measurement of {name}; there are: {', '.join(present)}")

    table = Table(measurements, options.ours, options.to, peers)
    wanted = [workload for workload in options.filter.split(",") if workload]
    for workload, peer, params in measurements:
        if peer == options.ours and (not wanted or workload in wanted):
            table.add(workload, params)
    print(table)
    if options.to:
        lines = [l for l in better(measurements, options.ours, options.to) if not wanted or l.split()[1] in wanted]
        if lines:
            print(f"\nThe better of poll and batch, ratio to {options.to}:\n")
            print("\n".join(lines))


if __name__ == "__main__":
    main()
