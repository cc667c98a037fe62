#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Runs the real `busbar replay` and checks what it promises.

    replay_test.py PATH_OF_BUSBAR [unittest arguments]
"""

import json
import os
import pathlib
import pty
import signal
import subprocess
import sys
import tempfile
import unittest

BUSBAR = "busbar"
RECORDING = pathlib.Path(__file__).resolve().parents[2] / "examples" / "data" / "agents.ndjson"
WAITS = ["spin", "yield", "park", "async"]
TIMEOUT = 120  # seconds; a run that takes so long hangs


def event(topic="agent.v1.thought", **fields):
    return json.dumps({"topic": topic, "payload": 1, **fields})


def run(*arguments, stdin=""):
    data = stdin if isinstance(stdin, bytes) else stdin.encode()
    return subprocess.run([BUSBAR, *map(str, arguments)], input=data, capture_output=True, timeout=TIMEOUT)


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
        self.assertEqual(list(report), ["events", "published", "skipped_lines", "seconds", "receivers"])
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
        return report

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


if __name__ == "__main__":
    BUSBAR = str(pathlib.Path(sys.argv.pop(1)).resolve())
    unittest.main()
