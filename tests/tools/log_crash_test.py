#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""A real process on a real disk: killed at random moments, on a full file system, on one that is read-only.

    log_crash_test.py PATH_OF_BUSBAR [unittest arguments]
"""

import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

BUSBAR = "busbar"
KILLS = 200
SEED = int(os.environ.get("BUSBAR_SEED", "1"))
TIMEOUT = 120  # seconds


def event(payload):
    return json.dumps({"topic": "agent.v1.done", "principal": "agent.x", "payload": payload}) + "\n"


def log(*arguments, **options):
    return subprocess.run([BUSBAR, "log", *map(str, arguments)], capture_output=True, timeout=TIMEOUT, **options)


def dump(directory):
    """Returns: payloads by offset."""
    got = log("peek", directory, "--json")
    assert got.returncode == 0, got.stderr
    records = [json.loads(line) for line in got.stdout.splitlines()]
    return {record["offset"]: record["payload"] for record in records}


class Killed(unittest.TestCase):
    def test_LOG_1_no_acknowledged_record_is_lost(self):
        chance = random.Random(SEED)
        acknowledged = {}  # by offset
        with tempfile.TemporaryDirectory() as directory:
            for life in range(KILLS):
                payloads = [f"life {life} number {i} " + "x" * chance.randrange(200) for i in range(2000)]
                writer = subprocess.Popen([BUSBAR, "log", "append", directory, "--json", "--segment", "1"],
                                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
                receipts = []
                begun = threading.Event()

                def read():
                    for line in writer.stdout:
                        receipts.append(line)
                        begun.set()
                    begun.set()

                reading = threading.Thread(target=read)
                reading.start()

                def feed():
                    try:
                        for payload in payloads:
                            writer.stdin.write(event(payload).encode())
                        writer.stdin.flush()
                    except BrokenPipeError:
                        pass

                feeding = threading.Thread(target=feed)
                feeding.start()
                # Kill it while it opens, or, more often, while it appends.
                if chance.random() < 0.8:
                    begun.wait(TIMEOUT)
                time.sleep(chance.random() * 0.02)
                writer.send_signal(signal.SIGKILL)
                writer.wait(TIMEOUT)
                reading.join(TIMEOUT)
                feeding.join(TIMEOUT)
                writer.stdout.close()
                try:
                    writer.stdin.close()
                except BrokenPipeError:
                    pass
                for line in receipts:
                    if not line.endswith(b"\n"):
                        continue
                    receipt = json.loads(line)
                    self.assertEqual(receipt["durability"], "synced")
                    self.assertNotIn(receipt["offset"], acknowledged, "seed %d: an offset was given twice" % SEED)
                    acknowledged[receipt["offset"]] = payloads[receipt["line"] - 1]
            found = dump(directory)
            for offset, payload in acknowledged.items():
                self.assertEqual(found.get(offset), payload, "seed %d: offset %d" % (SEED, offset))
            self.assertEqual(sorted(found), list(range(len(found))), "no gaps")
            self.assertGreater(len(acknowledged), KILLS, "it was not always killed too early")


@unittest.skipUnless(os.geteuid() == 0 and shutil.which("mount"), "mounting needs root")
class Mounted(unittest.TestCase):
    """On a small file system of its own."""

    def setUp(self):
        self.place = tempfile.mkdtemp()
        made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "busbar-test", self.place])
        if made.returncode != 0:
            os.rmdir(self.place)
            self.skipTest("mounting is not allowed")
        self.directory = pathlib.Path(self.place) / "log"

    def tearDown(self):
        subprocess.run(["umount", "-l", self.place], check=True)
        os.rmdir(self.place)

    def remount(self, options):
        subprocess.run(["mount", "-o", "remount," + options, self.place], check=True)

    def test_LOG_6_a_full_file_system_loses_nothing(self):
        payload = "x" * 500_000
        events = "".join(event(payload) for _ in range(40)).encode()  # 20 MB
        full = log("append", self.directory, "--json", "--segment", 1, input=events)
        self.assertEqual(full.returncode, 1)
        self.assertIn(b"No space left on device", full.stderr)
        receipts = [json.loads(line) for line in full.stdout.splitlines()]
        taken = [receipt["offset"] for receipt in receipts if "offset" in receipt]
        self.assertEqual(taken, list(range(len(taken))))
        self.assertGreater(len(taken), 10)
        self.remount("size=400m")
        self.assertEqual(log("append", self.directory, "--segment", 1, input=event("goes on").encode()).returncode, 0)
        found = dump(self.directory)
        self.assertEqual(len(found), len(taken) + 1)
        self.assertEqual(found[len(taken)], "goes on")

    def test_a_read_only_file_system_is_read_and_not_written(self):
        self.assertEqual(log("append", self.directory, "--segment", 1, input=event("one").encode()).returncode, 0)
        self.remount("ro")
        self.assertEqual(dump(self.directory), {0: "one"})
        self.assertEqual(log("scrub", self.directory).returncode, 0)
        refused = log("append", self.directory, "--segment", 1, input=event("two").encode())
        self.assertEqual(refused.returncode, 1)
        self.assertIn(b"Read-only file system", refused.stderr)
        self.remount("rw")
        self.assertEqual(log("append", self.directory, "--segment", 1, input=event("two").encode()).returncode, 0)
        self.assertEqual(dump(self.directory), {0: "one", 1: "two"})


if __name__ == "__main__":
    BUSBAR = sys.argv.pop(1)
    unittest.main()
