#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Runs the real `busbar bench`, for so short a time that its figures mean nothing, and checks what it says of them.

    bench_test.py PATH_OF_BUSBAR [unittest arguments]
"""

import json
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import unittest

BUSBAR = "busbar"
TIMEOUT = 120  # seconds; a run that takes so long hangs


class BenchTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def run_bench(self, *arguments, status=0):
        command = [BUSBAR, "bench", *arguments]
        for name, value in [("--seconds", "0.3"), ("--dir", self.folder)]:
            if name not in arguments:
                command += [name, value]
        result = subprocess.run(command, capture_output=True, timeout=TIMEOUT)
        self.assertEqual(result.returncode, status, result.stderr)
        self.assertEqual(list(self.folder.iterdir()), [], "nothing stays behind")
        return result

    def test_json_says_what_was_measured(self):
        seen = json.loads(self.run_bench("--json").stdout)
        self.assertEqual({one["part"] for one in seen["measurements"]}, {"bus", "router", "log"})
        for one in seen["measurements"]:
            self.assertEqual(len(one["runs"]), 5)
            self.assertEqual(one["median"], statistics.median(one["runs"]))
            self.assertEqual((one["least"], one["most"]), (min(one["runs"]), max(one["runs"])))
            self.assertGreater(one["least"], 0)
            self.assertIn(one["unit"], ["per_second", "ns"])
            self.assertIn(one["threads"], [1, 2])
            self.assertIn(one["payload_bytes"], [48, 256, 512])
            self.assertIn(one["durability"], [None, "synced", "written"])
        self.assertEqual(seen["directory"], str(self.folder))
        self.assertIsInstance(seen["optimised"], bool)

    def test_only_some_parts(self):
        def parts(*arguments):
            return {one["part"] for one in json.loads(self.run_bench("--json", *arguments).stdout)["measurements"]}

        self.assertEqual(parts("--only", "bus"), {"bus"})
        self.assertEqual(parts("--only", "router", "--only", "log"), {"router", "log"})

    def test_a_bar_has_a_mark_for_each_doubling(self):
        lines = self.run_bench("--only", "router").stdout.decode().splitlines()
        rows = [line for line in lines if line.startswith("router")]
        self.assertEqual(len(rows), 2)
        units = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}
        for row in rows:
            median, unit = re.search(r" -\s+([\d.]+)([kMG]?)/s", row).groups()
            marks = len(re.search(r"  (#+)$", row)[1])
            rate = float(median) * units[unit]
            self.assertTrue(2 ** (marks - 0.6) < rate < 2 ** (marks + 0.6), row)

    def test_ctrl_c_ends_it_and_leaves_nothing_behind(self):
        command = [BUSBAR, "bench", "--seconds", "12", "--only", "log", "--dir", self.folder, "--json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            while not list(self.folder.iterdir()):  # it has begun
                self.assertIsNone(process.poll())
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=TIMEOUT)
        self.assertEqual(process.returncode, 3)
        self.assertEqual(len(json.loads(output)["measurements"]), 1)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_errors(self):
        for arguments in [["--only", "disk"], ["--seconds", "0"], ["--seconds", "nan"], ["--seconds", "61"]]:
            self.run_bench(*arguments, status=2)
        result = self.run_bench("--only", "log", "--dir", "/dev/null/x", status=1)
        self.assertIn(b"/dev/null", result.stderr)


if __name__ == "__main__":
    BUSBAR = sys.argv.pop(1)
    unittest.main()
