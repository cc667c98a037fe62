#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Runs the real `busbar replay` and checks what it promises.

    replay_test.py PATH_OF_BUSBAR [unittest arguments]
"""

import collections
import json
import os
import pathlib
import pty
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import unittest

BUSBAR = "busbar"
ROOT = pathlib.Path(__file__).resolve().parents[2]
RECORDING = ROOT / "examples" / "data" / "agents.ndjson"
DONE = "llm.v1.done.>"  # on which the recording ends its 85 streams
WAITS = ["spin", "yield", "park", "async"]
ENTRY_BYTES = 384  # what a route charges for a message besides topic and payload
TIMEOUT = 120  # seconds; a run that takes so long hangs


def event(topic="agent.v1.thought", **fields):
    return json.dumps({"topic": topic, "payload": 1, **fields})


def charge(topic="agent.v1.thought"):
    """What a route charges for `event(topic)`, whose payload is one byte."""
    return ENTRY_BYTES + len(topic) + 1


def run(*arguments, stdin="", **options):
    data = stdin if isinstance(stdin, bytes) else stdin.encode()
    command = [BUSBAR, *map(str, arguments)]
    return subprocess.run(command, input=data, capture_output=True, timeout=TIMEOUT, **options)


class ReplayTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def file(self, *lines):
        path = self.folder / "events.ndjson"
        path.write_bytes(b"".join((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in lines))
        return path

    def report(self, result, exit_status=0):
        """The one JSON object on standard output, balanced for every receiver."""
        self.assertEqual(result.returncode, exit_status, result.stderr)
        lines = result.stdout.decode().splitlines()
        self.assertEqual(len(lines), 1, lines)
        report = json.loads(lines[0])
        self.assertEqual(list(report), ["events", "published", "skipped_lines", "seconds", "receivers", "routes"])
        keys = ["name", "delivered", "missed", "pending", "p50_ns", "p95_ns", "p99_ns"]
        for receiver in report["receivers"]:
            self.assertEqual(list(receiver), keys)
            self.assertEqual(
                receiver["delivered"] + receiver["missed"] + receiver["pending"], report["published"], receiver
            )
            percentiles = [receiver["p50_ns"], receiver["p95_ns"], receiver["p99_ns"]]
            if receiver["delivered"] == 0:
                self.assertEqual(percentiles, [None] * 3)
            else:
                self.assertEqual(percentiles, sorted(percentiles))
        for route in report["routes"]:
            self.check_route(route)
        return report

    def check_route(self, route):
        keys = ["name", "taken", "delivered", "pending", "lost", "bytes_peak", "budget", "detached", "terminals",
                "principals"]
        self.assertEqual(list(route), keys)
        lost, terminals = route["lost"], route["terminals"]
        self.assertEqual(list(lost), ["evicted", "coalesced", "refused", "gated", "rate_limited"])
        self.assertEqual(list(terminals), ["published", "delivered", "refused"])
        self.assertEqual(route["pending"], 0)
        self.assertEqual(route["taken"], route["delivered"] + lost["evicted"] + lost["coalesced"])
        self.assertLessEqual(route["bytes_peak"], route["budget"])
        self.assertEqual(terminals["published"], terminals["delivered"] + terminals["refused"])
        self.assertEqual(route["delivered"], sum(one["delivered"] for one in route["principals"]))
        self.assertEqual(sum(lost.values()), sum(one["missed"] for one in route["principals"]))
        for one in route["principals"]:
            self.assertEqual(list(one), ["name", "published", "delivered", "missed", "pending", "bytes"])
            self.assertEqual(one["published"], one["delivered"] + one["missed"] + one["pending"], one)
            self.assertGreaterEqual(one["bytes"], one["delivered"] * ENTRY_BYTES)

    # --- Counts.

    def test_every_receiver_balances_with_every_way_of_waiting(self):
        for wait in WAITS:
            with self.subTest(wait):
                result = run("replay", RECORDING, "--wait", wait, "--receivers", 3, "--repeat", 3, "--json")
                report = self.report(result)
                lines = len(RECORDING.read_bytes().splitlines())
                self.assertEqual(report["events"], lines)
                self.assertEqual(report["published"], 3 * lines)
                self.assertEqual(report["skipped_lines"], 0)
                names = [receiver["name"] for receiver in report["receivers"]]
                self.assertEqual(names, ["receiver-1", "receiver-2", "receiver-3"])
                for receiver in report["receivers"]:
                    self.assertEqual(receiver["pending"], 0)

    def test_nothing_is_missed_when_everything_fits(self):
        for wait in WAITS:
            with self.subTest(wait):
                report = self.report(run("replay", RECORDING, "--wait", wait, "--capacity", 1048576, "--json"))
                for receiver in report["receivers"]:
                    self.assertEqual(receiver["delivered"], report["published"])

    def test_a_slow_receiver_misses_and_leaves_pending_what_the_ring_retains(self):
        for wait in WAITS:
            with self.subTest(wait):
                result = run(
                    "replay", RECORDING, "--wait", wait, "--capacity", 16,
                    "--slow", "snail=0.001", "--slow", "mole=500", "--json",
                )
                snail, mole = self.report(result)["receivers"][2:]
                self.assertEqual((snail["name"], mole["name"]), ("snail", "mole"))
                self.assertLessEqual(snail["delivered"], 2)  # the first, and perhaps one that the close let in
                self.assertGreater(snail["missed"], 2000)
                self.assertGreaterEqual(snail["pending"], 15)
                self.assertGreater(mole["missed"], 0)

    def test_a_rate_paces_the_publisher(self):
        path = self.file(*[event()] * 50)
        report = self.report(run("replay", path, "--rate", 500, "--json"))
        self.assertGreaterEqual(report["seconds"], 49 / 500 - 0.011)

    def test_smallest_and_largest_capacity(self):
        for capacity in (2, 1048576):
            self.report(run("replay", RECORDING, "--capacity", capacity, "--json"))

    def test_no_receiver_is_fine(self):
        report = self.report(run("replay", RECORDING, "--receivers", 0, "--json"))
        self.assertEqual(report["receivers"], [])
        self.assertEqual(report["published"], report["events"])

    def test_a_receiver_may_be_slow_alone(self):
        for wait in WAITS:
            result = run("replay", RECORDING, "--receivers", 0, "--slow", "a=b=10", "--wait", wait, "--json")
            report = self.report(result)
            self.assertEqual([receiver["name"] for receiver in report["receivers"]], ["a=b"])

    # --- Routes. One with rate=0 reads nothing before everything has been published, so what it loses is certain.

    def routes(self, path, *specs, arguments=(), **options):
        """The reports of these routes, by name."""
        flags = [flag for spec in specs for flag in ("--route", spec)]
        report = self.report(run("replay", path, *flags, *arguments, "--json", **options))
        self.assertEqual([route["name"] for route in report["routes"]], [spec.split(":")[0] for spec in specs])
        return {route["name"]: route for route in report["routes"]}

    def principals(self, route, field):
        return {one["name"]: one[field] for one in route["principals"]}

    def test_every_principal_of_a_route_balances_whatever_its_budget_and_its_policy(self):
        published = collections.Counter()
        for line in RECORDING.read_bytes().splitlines():
            published[json.loads(line).get("principal") or ""] += 1
        for policy in ("evict_oldest_head", "evict_fair_share", "reject_new", "detach", "coalesce"):
            for budget in ("385", "16KiB", "64KiB", "256KiB", "1MiB"):
                with self.subTest((policy, budget)):
                    common = f":>;budget={budget};policy={policy}"
                    specs = ["fast" + common, f"slow{common};rate=500", f"late{common};rate=0"]
                    for route in self.routes(RECORDING, *specs, arguments=["--terminal", DONE]).values():
                        self.assertEqual(self.principals(route, "published"), dict(published))
                        self.assertEqual(route["terminals"]["published"], 85)

    def test_a_route_keeps_the_newest_and_all_of_its_terminals(self):
        slow = self.routes(RECORDING, "slow:>;budget=64KiB;rate=0", arguments=["--terminal", DONE])["slow"]
        self.assertEqual(slow["terminals"], {"published": 85, "delivered": 85, "refused": 0})
        self.assertGreater(slow["lost"]["evicted"], 2000)
        self.assertEqual(slow["lost"]["refused"], 0)

    def test_a_terminal_that_has_no_room_is_refused_to_its_publisher(self):
        slow = self.routes(RECORDING, "slow:>;budget=16KiB;rate=0", arguments=["--terminal", DONE])["slow"]
        self.assertGreater(slow["terminals"]["delivered"], 20)
        self.assertGreater(slow["terminals"]["refused"], 20)
        self.assertGreaterEqual(slow["lost"]["refused"], slow["terminals"]["refused"])

    def test_several_kinds_of_topic_may_be_terminal_and_need_no_route(self):
        terminal = ["--terminal", "llm.v1.done.aster", "--terminal", "*.v1.notice"]
        self.assertEqual(self.routes(RECORDING, "r:>", arguments=terminal)["r"]["terminals"]["published"], 35 + 9)
        self.assertEqual(self.report(run("replay", RECORDING, *terminal, "--json"))["routes"], [])

    def test_each_route_gets_what_matches_it_once_and_is_in_its_scope(self):
        path = self.file(
            event("a.b", principal="agent.alice"),
            event("a.c", principal="agent.bob"),
            event("a.b"),
            event("z", principal="agent.alice"),
        )
        routes = self.routes(
            path, "all:>", "a:a.>,a.*,a.b,a.b", "alice:>;principal=agent.alice", "system:>;principal=", "none:q",
        )
        published = {name: self.principals(route, "delivered") for name, route in routes.items()}
        self.assertEqual(
            published,
            {
                "all": {"": 1, "agent.alice": 2, "agent.bob": 1},
                "a": {"": 1, "agent.alice": 1, "agent.bob": 1},
                "alice": {"agent.alice": 2},
                "system": {"": 1},
                "none": {},
            },
        )

    def test_the_earliest_goes_by_default_and_bytes_are_charged_bytes(self):
        path = self.file(*[event(principal="agent.first")] * 5, *[event(principal="agent.second")] * 5)
        routes = self.routes(
            path, f"six:>;budget={6 * charge()};rate=0", f"short:>;budget={6 * charge() - 1};rate=0", "all:>;rate=0",
        )
        six = routes["six"]
        self.assertEqual((six["taken"], six["delivered"], six["lost"]["evicted"]), (10, 6, 4))
        self.assertEqual((six["bytes_peak"], six["budget"]), (6 * charge(), 6 * charge()))
        self.assertEqual(self.principals(six, "missed"), {"agent.first": 4, "agent.second": 0})
        self.assertEqual(self.principals(six, "bytes"), {"agent.first": charge(), "agent.second": 5 * charge()})
        self.assertEqual(routes["short"]["delivered"], 5)
        self.assertEqual((routes["all"]["delivered"], routes["all"]["budget"]), (10, 1 << 20))

    def test_with_a_fair_share_the_noisy_one_loses(self):
        noisy, quiet = event(principal="agent.noisy"), event(principal="agent.quiet")
        path = self.file(*[quiet] * 5, *[noisy] * 100)
        spec = f"r:>;budget={10 * charge()};policy=evict_fair_share;rate=0"
        route = self.routes(path, spec)["r"]
        self.assertEqual(self.principals(route, "missed"), {"agent.noisy": 95, "agent.quiet": 0})

    def test_newcomers_may_be_rejected(self):
        path = self.file(*[event(principal="agent.first")] * 5, *[event(principal="agent.second")] * 5)
        route = self.routes(path, f"r:>;budget={6 * charge()};policy=reject_new;rate=0")["r"]
        self.assertEqual((route["taken"], route["lost"]["refused"]), (6, 4))
        self.assertEqual(self.principals(route, "missed"), {"agent.first": 0, "agent.second": 4})

    def test_messages_of_a_principal_and_topic_may_coalesce(self):
        path = self.file(*[event("a", principal="agent.a"), event("b", principal="agent.a"), event("a")] * 10)
        route = self.routes(path, "r:>;policy=coalesce;rate=0")["r"]
        self.assertEqual((route["taken"], route["delivered"], route["lost"]["coalesced"]), (30, 3, 27))

    def test_a_publisher_may_wait_for_room(self):
        path = self.file(*[event()] * 200)
        spec = f"r:>;budget={3 * charge()};policy=wait;rate=1000"
        self.assertEqual(self.routes(path, spec)["r"]["delivered"], 200)

    def test_a_rate_slows_a_route_while_events_are_published(self):
        path = self.file(*[event()] * 100)
        specs = [f"slow:>;budget={10 * charge()};rate=0.001", f"quick:>;budget={10 * charge()};rate=100000"]
        routes = self.routes(path, *specs, arguments=["--rate", 200])
        self.assertIn(routes["slow"]["delivered"], (10, 11))  # the first, and those that are there at the end
        self.assertGreater(routes["quick"]["delivered"], 11)

    def test_losses_of_more_principals_than_a_route_remembers(self):
        path = self.file(*[event(principal=f"p{i}") for i in range(5000)])
        for policy in ("reject_new", "evict_oldest_head"):
            route = self.routes(path, f"r:>;budget={charge()};policy={policy};rate=0")["r"]
            self.assertEqual((len(route["principals"]), route["delivered"]), (5000, 1))

    def test_routes_read_what_comes_from_standard_input_and_beside_receivers(self):
        report = self.report(run("replay", "--route", "r:>", "--slow", "snail=1", "--json", stdin=f"{event()}\n" * 20))
        self.assertEqual(report["routes"][0]["delivered"], 20)
        self.assertEqual([receiver["name"] for receiver in report["receivers"]], ["receiver-1", "receiver-2", "snail"])
        self.assertEqual(self.report(run("replay", "--route", "r:>;rate=0", "--json"))["routes"][0]["taken"], 0)

    # --- Input.

    def test_standard_input(self):
        for arguments in ([], ["-"], ["/dev/stdin"]):
            report = self.report(run("replay", *arguments, "--json", stdin=f"{event()}\n{event()}\n{event()}"))
            self.assertEqual(report["published"], 3)

    def test_empty_input(self):
        for stdin in ("", "\n", "\n \t\r\n\n"):
            report = self.report(run("replay", "--json", stdin=stdin))
            self.assertEqual((report["events"], report["published"]), (0, 0))
        self.report(run("replay", self.file(), "--repeat", 1000000000, "--json"))
        self.assertEqual(run("replay", self.file()).returncode, 0)

    def test_every_json_value_is_a_payload_and_every_kind_of_principal_is_taken(self):
        payloads = [event(payload=value) for value in (None, True, 0, -1.5e300, "", "x" * 1000, [], {}, [{"a": [1]}])]
        principals = [event(principal=name) for name in (None, "", "agent.alice", "agent:bob", "mira", "p" * 128)]
        others = ["\ufeff" + event(), event() + "\r", "  " + event() + "\t", event(time={"s": 1})]
        report = self.report(run("replay", self.file(*payloads, *principals, *others), "--json"))
        self.assertEqual(report["events"], len(payloads) + len(principals) + len(others))

    def test_bad_lines_are_told_with_their_number_and_the_rest_goes_on(self):
        bad = [
            ('{"topic":"a","payl', "not JSON"),
            ("secret", "not JSON"),
            (event() + event(), "not JSON"),
            (b'{"topic":"a","payload":"\xff"}', "not JSON"),
            ('{"topic":"a","payload":1e999}', "out of range"),
            ('["secret"]', "not an object"),
            ('{"payload":1}', "topic is missing"),
            (event(7), "topic is not a string"),
            (event("a..b"), "topic: a segment is empty"),
            (event("a.*"), "topic: wildcards"),
            (event("a b"), "topic: it holds a space"),
            (event("a\u0000"), "topic: it holds a space or a control byte"),
            (event(".".join("a" * 21)), "topic: it has more than 20 segments"),
            (event("a" * 256), "topic: it is longer than 255 bytes"),
            (event(principal=7), "principal is neither a string nor null"),
            (event(principal="a b"), "principal: it holds a space"),
            (event(principal="p" * 256), "principal: it is"),
            ('{"topic":"a"}', "payload is missing"),
            ('{"topic":"a","topic":"b","payload":1}', "topic is given twice"),
            (event(payload="x" * (1 << 20)), "payload has 1048578 bytes"),
            ("x" * (3 << 20), "longer than"),
            ("[" * 200000, "not JSON"),
        ]
        for line, fault in bad:
            with self.subTest(fault):
                for source in ("file", "stdin"):
                    path = self.file(event(), "", line, event())
                    arguments = [path] if source == "file" else ["-"]
                    result = run("replay", *arguments, "--json", stdin=path.read_bytes())
                    report = self.report(result, exit_status=3)
                    self.assertEqual((report["published"], report["skipped_lines"]), (2, 1))
                    said = result.stderr.decode()
                    self.assertIn("line 3", said)
                    self.assertIn(fault, said)
                    self.assertNotIn("secret", said)

    def test_a_payload_of_the_largest_size_and_one_that_is_nested_as_deep_as_it_can_be(self):
        largest = event(payload="x" * ((1 << 20) - 2))
        deep = '{"topic":"a","payload":' + "[" * (1 << 19) + "]" * (1 << 19) + "}"
        report = self.report(run("replay", self.file(largest, deep), "--json"))
        self.assertEqual(report["published"], 2)

    def test_only_the_first_ten_bad_lines_are_told(self):
        result = run("replay", self.file(*["?"] * 25), "--json")
        self.assertEqual(self.report(result, exit_status=3)["skipped_lines"], 25)
        said = result.stderr.decode().splitlines()
        self.assertEqual(len(said), 11)
        self.assertIn("line 10 ", said[9])
        self.assertIn("15 more lines skipped", said[10])

    # --- Output and exit status.

    def test_a_person_gets_a_table(self):
        result = run("replay", RECORDING, "--slow", "snail=1")
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        lines = result.stdout.decode().splitlines()
        self.assertEqual(lines[0].split(), ["receiver", "delivered", "missed", "pending", "p50", "p95", "p99"])
        self.assertEqual([line.split()[0] for line in lines[1:4]], ["receiver-1", "receiver-2", "snail"])
        self.assertIn("2,395 events, 2,395 published in ", lines[5])
        self.assertEqual(len(lines), 6)

    def test_a_person_gets_a_table_of_routes_after_that_of_receivers(self):
        result = run("replay", RECORDING, "--terminal", DONE, "--route", "late:>;budget=64KiB;rate=0", "--route", "b:q")
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        lines = result.stdout.decode().splitlines()
        self.assertEqual(lines[0].split()[0], "receiver")
        columns = "route taken delivered evicted coalesced refused terminals peak budget"
        self.assertEqual(lines[4].split(), columns.split())
        late = lines[5].split()
        self.assertEqual((late[0], late[1], late[6], late[8]), ("late", "2,395", "85/85", "65,536"))
        self.assertEqual(lines[6].split(), ["b", "0", "0", "0", "0", "0", "0/0", "0", "1,048,576"])
        self.assertIn("2,395 events, 2,395 published in ", lines[8])

    def test_a_terminal_gets_a_bar_that_is_gone_at_the_end(self):
        control, terminal = pty.openpty()
        process = subprocess.Popen([BUSBAR, "replay"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=terminal)
        os.close(terminal)
        process.stdin.write(f"{event()}\n{event()}\n".encode())
        process.stdin.flush()
        seen = b""
        while b"2 events" not in seen:
            seen += os.read(control, 4096)
        output, _ = process.communicate(timeout=TIMEOUT)
        try:
            while chunk := os.read(control, 4096):
                seen += chunk
        except OSError:
            pass  # how Linux says that the other side of a terminal is closed
        os.close(control)
        self.assertEqual(process.returncode, 0)
        self.assertTrue(seen.endswith(b"\r\x1b[K"), seen)
        self.assertIn(b"2 published", output)

    def test_wrong_usage(self):
        wrong = [
            [],
            ["explode"],
            ["replay", RECORDING, RECORDING],
            ["replay", RECORDING, "--unknown"],
            ["replay", RECORDING, "--capacity", "0"],
            ["replay", RECORDING, "--capacity", "1"],
            ["replay", RECORDING, "--capacity", "1048577"],
            ["replay", RECORDING, "--capacity", "many"],
            ["replay", RECORDING, "--receivers", "-1"],
            ["replay", RECORDING, "--receivers", "257"],
            ["replay", RECORDING, "--rate", "-1"],
            ["replay", RECORDING, "--rate", "nan"],
            ["replay", RECORDING, "--wait", "doze"],
            ["replay", RECORDING, "--wait"],
            ["replay", RECORDING, "--repeat", "0"],
            ["replay", "--repeat", "2"],
            ["replay", "-", "--repeat", "1"],
            ["replay", "/dev/stdin", "--repeat", "2"],
            ["replay", RECORDING, "--slow", "snail"],
            ["replay", RECORDING, "--slow", "=1"],
            ["replay", RECORDING, "--slow", "snail="],
            ["replay", RECORDING, "--slow", "snail=0"],
            ["replay", RECORDING, "--slow", "snail=-1"],
            ["replay", RECORDING, "--slow", "snail=fast"],
            ["replay", RECORDING, "--slow", "snail=inf"],
            ["replay", RECORDING, "--slow", "two words=1"],
            ["replay", RECORDING, "--slow", "s" * 65 + "=1"],
            ["replay", RECORDING, "--slow", "snail=1", "--slow", "snail=2"],
            ["replay", RECORDING, "--slow", "receiver-1=1"],
        ]
        for arguments in wrong:
            with self.subTest(arguments[1:]):
                result = run(*arguments)
                self.assertEqual(result.returncode, 2, result.stderr)
                self.assertNotEqual(result.stderr, b"")
                self.assertEqual(result.stdout, b"")

    def test_a_wrong_route_is_told_what_is_wrong_and_what_is_allowed(self):
        form = "NAME:PATTERN[,PATTERN]...[;OPTION=VALUE]..."
        options = "budget=BYTES, principal=P, policy=NAME or rate=EVENTS_PER_SECOND"
        wrong = {
            "": [form],
            "r": ["'r'", form],
            "r;rate=1": [form],
            ":>": ["a name has 1 to 64 bytes"],
            "two words:>": ["'two words'", "a name has 1 to 64 bytes"],
            "s" * 65 + ":>": ["a name has 1 to 64 bytes"],
            "r:": ["it is empty"],
            "r:a..b": ["'a..b'", "a segment is empty"],
            "r:>.a": ["'>.a'", "'>' must be the last segment"],
            "r:a,": ["it is empty"],
            "r:a,b*": ["'b*'", "a wildcard must be a whole segment"],
            "r:>;": [options],
            "r:>;budget": ["'budget'", options],
            "r:>;principal": ["'principal'", options],
            "r:>;colour=red": ["'colour=red'", options],
            "r:>;rate=1;rate=1": ["rate is given twice"],
            "r:>;budget=384": ["'budget=384'", "385 to 1,099,511,627,776 bytes"],
            "r:>;budget=": ["256KiB"],
            "r:>;budget=-1": ["256KiB"],
            "r:>;budget=1.5MiB": ["256KiB"],
            "r:>;budget=1kb": ["256KiB"],
            "r:>;budget=1048577MiB": ["256KiB"],
            "r:>;budget=17592186044417MiB": ["256KiB"],  # 1 MiB more than 64 bits hold
            "r:>;budget=18446744073709551616": ["256KiB"],
            "r:>;principal=a b": ["'principal=a b'", "no spaces"],
            "r:>;principal=" + "p" * 129: ["at most 128 bytes"],
            "r:>;policy=evict": ["'policy=evict'", "evict_fair_share, reject_new, wait, detach, coalesce"],
            "r:>;rate=": ["'rate='", "a number of events a second"],
            "r:>;rate=-1": ["a number of events a second"],
            "r:>;rate=nan": ["a number of events a second"],
            "r:>;rate=inf": ["a number of events a second"],
            "r:>;rate=1x": ["a number of events a second"],
            "r:>;rate=0;policy=wait": ["policy=wait", "a rate above 0"],
        }
        for spec, words in wrong.items():
            with self.subTest(spec):
                self.refused(["--route", spec], "--route", *words)
        self.refused(["--route", "r:>", "--route", "r:a"], "two routes named r")
        self.refused([flag for i in range(9) for flag in ("--route", f"r{i}:>")], "more than 8 routes")
        self.refused(["--route"], "--route")
        self.refused(["--terminal", "a..b"], "--terminal", "'a..b'", "a segment is empty")

    def refused(self, arguments, *words):
        result = run("replay", RECORDING, *arguments)
        self.assertEqual((result.returncode, result.stdout), (2, b""), result.stderr)
        for word in words:
            self.assertIn(word, result.stderr.decode())

    def test_other_failures(self):
        missing = run("replay", self.folder / "missing.ndjson")
        self.assertEqual(missing.returncode, 1)
        self.assertIn(b"missing.ndjson", missing.stderr)
        self.assertEqual(run("replay", self.folder).returncode, 1)
        with open("/dev/full", "wb") as full:
            command = [BUSBAR, "replay", RECORDING]
            result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=TIMEOUT)
        self.assertEqual(result.returncode, 1)

    def test_help_and_version(self):
        for arguments, word in (("--version", b"busbar "), ("--help", b"replay"), ("replay --help", b"--slow")):
            result = run(*arguments.split())
            self.assertEqual((result.returncode, result.stderr), (0, b""))
            self.assertIn(word, result.stdout)

    def test_the_examples_of_the_help_and_of_the_readme_work(self):
        for text in (run("replay", "--help").stdout.decode(), (ROOT / "docs" / "command.md").read_text()):
            examples = re.findall(r"^ +(?:busbar replay|scripts/run) (examples/.*--route.*)$", text, re.MULTILINE)
            self.assertEqual(len(examples), 1)
            report = self.report(run("replay", *shlex.split(examples[0]), "--json", cwd=ROOT))
            self.assertGreater(report["routes"][0]["lost"]["evicted"], 0)
            self.assertEqual(report["routes"][0]["terminals"], {"published": 85, "delivered": 85, "refused": 0})

    # --- Signals.

    def interrupted(self, process, wanted):
        """Waits for a remark on standard error, so that everything before it is done, and sends the signal."""
        remark = process.stderr.readline()
        self.assertIn(b"skipped", remark)
        process.send_signal(wanted)
        output = process.stdout.read()
        process.wait(timeout=TIMEOUT)
        process.stdout.close()
        process.stderr.close()
        return subprocess.CompletedProcess([], process.returncode, output, remark)

    def start(self, *arguments):
        return subprocess.Popen(
            [BUSBAR, "replay", *map(str, arguments), "--json"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )

    def test_a_signal_ends_an_endless_input_with_a_report(self):
        for wanted in (signal.SIGINT, signal.SIGTERM):
            for wait in WAITS:
                with self.subTest((wanted, wait)):
                    process = self.start("--wait", wait, "--slow", "snail=0.001")
                    process.stdin.write(f"{event()}\n{event()}\n{event()}\n?\n".encode())
                    process.stdin.flush()
                    report = self.report(self.interrupted(process, wanted), exit_status=3)
                    process.stdin.close()
                    self.assertEqual((report["events"], report["published"]), (3, 3))

    def test_a_signal_ends_a_long_replay_of_a_file(self):
        for rate in (0, 0.001):
            with self.subTest(rate):
                process = self.start(self.file("?", event()), "--repeat", 1000000000, "--rate", rate)
                report = self.report(self.interrupted(process, signal.SIGINT), exit_status=3)
                process.stdin.close()
                self.assertEqual(report["events"], 1)
                self.assertLess(report["published"], 1000000000)

    def test_a_signal_ends_a_publish_that_waits_for_room(self):
        for rate in ("0.001", "1"):
            with self.subTest(rate):
                spec = f"r:>;budget={3 * charge()};policy=wait;rate={rate}"
                process = self.start(self.file("?", *[event()] * 100), "--route", spec)
                time.sleep(0.2)  # for most runs of the test enough to get there; it holds in any case
                report = self.report(self.interrupted(process, signal.SIGINT), exit_status=3)
                process.stdin.close()
                self.assertLess(report["published"], 100)
                self.assertEqual(report["routes"][0]["delivered"], report["published"])


if __name__ == "__main__":
    BUSBAR = str(pathlib.Path(sys.argv.pop(1)).resolve())
    unittest.main()
