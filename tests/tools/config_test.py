#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Runs the real `busbar config`, and checks what it promises.

    config_test.py PATH_OF_BUSBAR [unittest arguments]
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

BUSBAR = "busbar"
EXAMPLE = pathlib.Path(__file__).parents[2] / "examples" / "data" / "host.toml"
TIMEOUT = 120  # seconds; a run that takes so long hangs


def run(*arguments, **variables):
    clean = {name: text for name, text in os.environ.items() if not name.startswith("BUSBAR_")}
    return subprocess.run([BUSBAR, "config", *map(str, arguments)], env={**clean, **variables}, capture_output=True,
                          text=True, timeout=TIMEOUT)


class ConfigTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = pathlib.Path(folder.name) / "host.toml"

    def succeed(self, *arguments, **variables):
        result = run(*arguments, **variables)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return result.stdout

    def write(self, text):
        self.file.write_text(text)
        return self.file

    def test_the_example_has_no_error(self):
        self.assertEqual(self.succeed("check", EXAMPLE), "no error: 1 route, 1 log, 0 groups\n")
        self.assertEqual(json.loads(self.succeed("check", "--json", EXAMPLE)), {"valid": True, "errors": []})

    def test_every_error_is_told_in_a_line(self):
        file = self.write("[bus]\ncapacity = 1\ncapasity = 2\n")
        for command in ["check", "show"]:
            result = run(command, file, BUSBAR_EMIT_AMNESIA_LABEL="yes")
            self.assertEqual((result.returncode, result.stdout), (1, ""))
            self.assertEqual(result.stderr.splitlines(), [
                f"{file}:2:12: bus.capacity: found 1; allowed: an integer, 2 to 1048576",
                f"{file}:3:1: bus.capasity: found an unknown key (did you mean capacity?); allowed: capacity, "
                "max_payload_bytes, timestamps, amnesia or warnings_per_minute",
                "environment: BUSBAR_EMIT_AMNESIA_LABEL: found \"yes\"; allowed: true or false"])

    def test_errors_as_json(self):
        file = self.write("[bus]\ncapacity = 1\n")
        result = run("check", "--json", file, BUSBAR_CAPACTY="2")
        self.assertEqual((result.returncode, result.stderr), (1, ""))
        told = json.loads(result.stdout)
        allowed = told["errors"][1].pop("allowed")
        self.assertEqual(told, {"valid": False, "errors": [
            {"file": str(file), "line": 2, "column": 12, "key": "bus.capacity", "found": "1",
             "allowed": "an integer, 2 to 1048576"},
            {"file": "environment", "key": "BUSBAR_CAPACTY",
             "found": "an unknown variable (did you mean BUSBAR_CAPACITY?)"}]})
        self.assertRegex(allowed, "^BUSBAR_PROFILE, .* or BUSBAR_SERVE_DRAIN_MS$")

    def test_a_file_that_is_not_there_is_an_error(self):
        result = run("check", self.file)
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertEqual(result.stderr, f"{self.file}: found no file that can be opened; allowed: a file that can be "
                                        "read\n")

    def test_values_are_shown_with_where_they_are_from(self):
        text = self.succeed("show", EXAMPLE, BUSBAR_OVERFLOW_WARN_PER_MIN="7")
        lines = [" ".join(line.split()) for line in text.splitlines()]
        self.assertIn(f"capacity = 1024 # {EXAMPLE}:7:12", lines)
        self.assertIn("warnings_per_minute = 7 # BUSBAR_OVERFLOW_WARN_PER_MIN", lines)
        self.assertIn("uncommitted_bytes = 2097152 # profile edge", lines)
        self.assertIn("batch_bytes = 1048576 # default", lines)

    def test_what_is_shown_is_a_configuration(self):
        shown = self.succeed("show", EXAMPLE)
        values = lambda text: [line.split("#")[0] for line in text.splitlines()]
        self.assertEqual(values(self.succeed("show", self.write(shown))), values(shown))

    def test_values_as_json(self):
        settings = json.loads(self.succeed("show", "--json", EXAMPLE, BUSBAR_CAPACITY="8"))["settings"]
        found = {(one["section"], one["key"]): (one["value"], one["origin"]) for one in settings}
        self.assertEqual(found["bus", "capacity"], (8, {"kind": "environment", "name": "BUSBAR_CAPACITY"}))
        self.assertEqual(found["", "profile"],
                         ("edge", {"kind": "file", "name": str(EXAMPLE), "line": 4, "column": 11}))
        self.assertEqual(found["routes.screen", "patterns"][0], ["agent.v1.>"])
        self.assertEqual(found["logs.events", "retention.bytes"], (None, {"kind": "default"}))
        self.assertEqual(found["logs.events", "memory_bytes"][1], {"kind": "profile", "name": "edge"})
        self.assertEqual(found["metrics", "labels"], ({}, {"kind": "default"}))

    def test_without_a_file_the_defaults_are_shown(self):
        self.assertIn("capacity = 256 ", self.succeed("show"))

    def test_the_reference_is_printed(self):
        self.assertIn("# Configuration\n", self.succeed("reference"))
        keys = {(key["section"], key["key"]): key for key in json.loads(self.succeed("reference", "--json"))}
        self.assertEqual(keys["bus", "capacity"]["variable"], "BUSBAR_CAPACITY")
        self.assertEqual(keys["bus", "capacity"]["default"], "256")

    def test_wrong_usage(self):
        for arguments in [[], ["check"], ["check", EXAMPLE, "more"], ["other"]]:
            result = run(*arguments)
            self.assertEqual((result.returncode, result.stdout), (2, ""), arguments)
            self.assertIn("--help", result.stderr)

    def test_help_has_an_example(self):
        for command in ["check", "show", "reference"]:
            self.assertIn("Example", self.succeed(command, "--help"))


if __name__ == "__main__":
    BUSBAR = sys.argv.pop(1)
    unittest.main()
