#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Runs the real `busbar log` and checks what it promises.

    log_test.py PATH_OF_BUSBAR [unittest arguments]
"""

import base64
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

BUSBAR = "busbar"
ROOT = pathlib.Path(__file__).resolve().parents[2]
RECORDING = ROOT / "examples" / "data" / "agents.ndjson"
DURABILITIES = ["synced", "interval", "written", "buffered"]
READING = ["peek", "dump", "info", "scrub", "repair"]
TIMEOUT = 120  # seconds; a run that takes so long hangs


def event(topic="agent.v1.thought", payload="hello", **fields):
    return json.dumps({"topic": topic, "payload": payload, **fields})


def lines(*events):
    return "".join(one + "\n" for one in events)


def run(*arguments, stdin="", **options):
    data = stdin if isinstance(stdin, bytes) else stdin.encode()
    command = [BUSBAR, "log", *map(str, arguments)]
    return subprocess.run(command, input=data, capture_output=True, timeout=TIMEOUT, **options)


class Process:
    """One that is talked to."""

    def __init__(self, *arguments):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([BUSBAR, "log", *map(str, arguments)], stdin=pipe, stdout=pipe, stderr=pipe,
                                        bufsize=0)

    def write(self, text):
        self.process.stdin.write(text.encode())

    def read_line(self):
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([self.process.stdout], [], [], TIMEOUT)
            byte = os.read(self.process.stdout.fileno(), 1) if ready else b""
            if not byte:
                raise AssertionError("no line: " + repr(line))
            line += byte
        return line.decode()

    def end(self, wanted=None):
        """Ends the input, or sends a signal. Returns: exit status, the rest of the output, what was complained of."""
        if wanted is not None:
            self.process.send_signal(wanted)
        output, complaints = self.process.communicate(timeout=TIMEOUT)
        return self.process.returncode, output.decode(), complaints.decode()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


class LogTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.log = self.folder / "log"

    def succeed(self, *arguments, status=0, **options):
        """Standard output of a run with this exit status, and with complaints if and only if it is not 0."""
        result = run(*arguments, **options)
        self.assertEqual(result.returncode, status, result.stderr)
        if status == 0:
            self.assertEqual(result.stderr, b"")
        return result.stdout.decode()

    def append(self, *events, log=None, mib=1):
        """Segments are small, as all of the last one is read whenever the log is opened."""
        return self.succeed("append", log or self.log, "--segment", mib, stdin=lines(*events))

    def dump(self, *arguments, status=0):
        output = self.succeed("dump", self.log, *arguments, status=status)
        return [json.loads(line) for line in output.splitlines()]

    def damage(self, begin, size):
        """Turns bytes of the only segment over."""
        (segment,) = self.log.glob("0*.segment")
        with open(segment, "r+b") as file:
            file.seek(begin)
            bytes_there = file.read(size)
            file.seek(begin)
            file.write(bytes(byte ^ 255 for byte in bytes_there))

    # --- Appending.

    def test_every_line_gets_its_offset_in_order(self):
        for durability in DURABILITIES:
            with self.subTest(durability):
                log = self.folder / durability
                count = len(RECORDING.read_bytes().splitlines())
                receipts = self.succeed("append", log, "--durability", durability, stdin=RECORDING.read_bytes())
                self.assertEqual(receipts.splitlines(), [str(i) for i in range(count)])
                output = self.succeed("append", log, "--durability", durability, "--json", "--batch", 1,
                                      stdin="\n" + lines(event(), event()))
                receipts = [json.loads(line) for line in output.splitlines()]
                self.assertEqual(receipts, [{"line": 2, "offset": count, "durability": durability},
                                            {"line": 3, "offset": count + 1, "durability": durability}])

    def test_a_line_that_is_typed_is_answered_before_the_next(self):
        for durability in DURABILITIES:
            with self.subTest(durability), Process("append", self.folder / durability, "--durability",
                                                   durability) as writer:
                for i in range(0, 6, 2):
                    writer.write(lines(event()) + '{"topic":')  # the next one has begun
                    self.assertEqual(writer.read_line(), f"{i}\n")
                    writer.write('"a","payload":1}\n')
                    self.assertEqual(writer.read_line(), f"{i + 1}\n")
                self.assertEqual(writer.end(), (0, "", ""))

    def test_a_signal_ends_it_after_what_is_in_flight(self):
        for wanted in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(wanted), Process("append", self.log) as writer:
                writer.write(lines(event()))
                writer.read_line()
                self.assertEqual(writer.end(wanted), (0, "", ""))
        self.assertEqual(len(self.dump()), 2)

    def test_lines_that_are_no_events_are_told_and_skipped(self):
        faults = {
            "?": "not JSON (error at byte 1)",
            "[]": "not an object",
            "{}": "topic is missing",
            '{"topic":"a"}': "payload is missing",
            '{"topic":"a..b","payload":1}': "topic: a segment is empty",
            '{"topic":1,"payload":1}': "topic is not a string",
            '{"topic":"a","topic":"b","payload":1}': "topic is given twice",
            '{"topic":"a","topic_base64":"YQ==","payload":1}': "topic is given twice",
            '{"topic":"a","payload":1,"payload_base64":""}': "payload is given twice",
            '{"topic":"a","payload_base64":"a"}': "payload_base64 is no base64",
            '{"topic":"a","payload_base64":"a=b="}': "payload_base64 is no base64",
            '{"topic":"a","payload_base64":1}': "payload_base64 is not a string",
            '{"topic":"a","payload":1,"principal":"a b"}': "principal: it holds a space or a control byte",
            '{"topic":"a","payload":1,"headers":1}': "headers are neither an object nor a list",
            '{"topic":"a","payload":1,"headers":{"a":1}}': "a header is not a string",
            '{"topic":"a","payload":1,"headers":{"":"a"}}': "a header has no name",
            '{"topic":"a","payload":1,"headers":[{"value":"a"}]}': "a header has no text as its name",
            '{"topic":"a","payload":1,"headers":[1]}': "a header has no text as its name",
            '{"topic":"a","payload":1,"time":"2026-02-30"}': "time is no time such as",
            '{"topic":"a","payload":1,"due":1}': "due is no time such as",
            '{"topic":"a","payload":1,"priority":256}': "priority is no whole number up to 255",
            '{"topic":"a","payload":1,"priority":-1}': "priority is no whole number up to 255",
            '{"topic":"a","payload":1,"terminal":1}': "terminal is neither true nor false",
            '{"topic":"a","payload":1,"correlation":"12"}': "correlation is not 32 hexadecimal digits",
            '{"topic":"a","payload":1,"trace":"00-1"}': "trace is no traceparent of W3C",
            '{"topic":"a","payload":1,"producer":1}': "producer is not an object",
            event(key="k" * 256): "the key is longer than 255 bytes",
        }
        result = run("append", self.log, stdin=lines(event(), *faults, event()))
        self.assertEqual((result.returncode, result.stdout), (3, b"0\n1\n"), result.stderr)
        complaints = result.stderr.decode().splitlines()
        self.assertEqual(len(complaints), len(faults))
        for number, (complaint, fault) in enumerate(zip(complaints, faults.values()), start=2):
            self.assertIn(f"line {number} skipped: {fault}", complaint)

    def test_a_payload_stands_for_its_text_or_for_itself(self):
        payloads = {
            '"text"': b"text",
            r'"two\nlines \"quoted\""': b'two\nlines "quoted"',
            '""': b"",
            "1.50": b"1.50",
            "null": b"null",
            '{"a": [1,  2.0]}': b'{"a": [1,  2.0]}',
            '[]': b"[]",
            '"{\\"a\\":1}"': b'{"a":1}',
            '"[1,\\n2]"': b"[1,\n2]",
            '"{no JSON}"': b"{no JSON}",
        }
        text = lines(*(f'{{"topic":"a","payload":{payload}}}' for payload in payloads))
        text += '{"topic":"a","payload_base64":"/wBh"}\n'
        self.succeed("append", self.log, stdin=text)
        wanted = [*payloads.values(), b"\xff\0a"]
        copy = self.folder / "copy"
        self.succeed("append", copy, stdin=self.succeed("dump", self.log))
        for log in (self.log, copy):
            dumped = self.succeed("dump", log).splitlines()
            for line, bytes_wanted in zip(dumped, wanted, strict=True):
                record = json.loads(line)
                if "payload_base64" in record:
                    self.assertEqual(base64.b64decode(record["payload_base64"]), bytes_wanted)
                elif isinstance(record["payload"], str):
                    self.assertEqual(record["payload"].encode(), bytes_wanted)
                else:
                    self.assertIn(b'"payload":' + bytes_wanted + b"}", line.encode())

    def test_a_dump_is_read_back_with_all_it_carries(self):
        full = {
            "time": "2026-03-01T12:00:00.123456789Z", "topic": "a.b", "principal": "agent.alice", "key": "k",
            "headers": {"one": "1", "zwei": "zwölf", "none": ""}, "source": "sensor",
            "correlation": "000000000000000f00000000000000ff",
            "trace": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "terminal": True,
            "schema": "reading", "schema_version": 3, "message_id": "m-1",
            "producer": {"id": 18446744073709551615, "epoch": 7, "sequence": 9}, "priority": 255,
            "due": "2026-03-01T12:00:01.000000000Z", "expiry": "2027-01-01T00:00:00.000000000Z", "payload": "p",
        }
        odd = {
            "time": "1969-12-31T23:59:59.500000000Z", "topic_base64": "gA==", "principal_base64": "gQ==",
            "key_base64": "AP8=", "payload_base64": "AP8=",
            "headers": [{"name": "a", "value": "1"}, {"name": "a", "value": ""},
                        {"name_base64": "/w==", "value_base64": "/g=="}],
        }
        self.append(json.dumps(full), json.dumps(odd), event(unknown=1, time="2026-03-01"))
        records = self.dump()
        self.assertEqual(records[:2], [{"offset": 0, **full}, {"offset": 1, **odd}])
        self.assertEqual(records[2]["time"], "2026-03-01T00:00:00.000000000Z")
        dumped = self.succeed("dump", self.log)
        self.append(dumped.rstrip("\n"), log=self.folder / "copy")
        self.assertEqual(self.succeed("dump", self.folder / "copy"), dumped)

    def test_what_is_sent_twice_is_written_once(self):
        def receipts(*events, arguments=(), status=0):
            output = self.succeed("append", self.log, "--json", *arguments, stdin=lines(*events), status=status)
            return [(line["line"], line["offset"], line.get("duplicate", False))
                    for line in map(json.loads, output.splitlines())]

        def sent(sequence, **fields):
            return event(producer={"id": 7, "epoch": 1, "sequence": sequence}, **fields)

        named = event(message_id="m-1")
        self.assertEqual(receipts(sent(0), named, sent(1), sent(0), named),
                         [(1, 0, False), (2, 1, False), (3, 2, False), (4, 0, True), (5, 1, True)])
        self.assertEqual(receipts(named, sent(1)), [(1, 1, True), (2, 2, True)])
        self.assertEqual(len(self.dump()), 3)
        self.assertEqual(receipts(sent(9), event(), status=3), [(2, 3, False)])

        self.assertEqual(receipts(named, sent(1), arguments=["--keep-duplicates"]), [(1, 4, False), (2, 5, False)])
        dumped = self.succeed("dump", self.log)
        copy = self.folder / "copy"
        self.succeed("append", copy, "--keep-duplicates", stdin=dumped)
        self.assertEqual(self.succeed("dump", copy), dumped)

    def test_one_writer_at_a_time(self):
        with Process("append", self.log) as writer:
            writer.write(lines(event()))
            writer.read_line()
            for command in ("append", "repair"):
                result = run(command, self.log, stdin=lines(event()))
                self.assertEqual((result.returncode, result.stdout), (1, b""))
                self.assertIn(b"open for writing elsewhere", result.stderr)
            self.assertTrue(json.loads(self.succeed("info", self.log, "--json"))["writer"])
            self.assertEqual(writer.end()[0], 0)
        self.assertFalse(json.loads(self.succeed("info", self.log, "--json"))["writer"])

    # --- Reading.

    def test_peek_prints_what_is_asked_for(self):
        self.append(event("a.b", "one", principal="agent.x", time="2026-01-01"),
                    event("a.c", "two\n\x1b[31m\u0085ü", time="2026-02-01"),
                    event("d", 3, time="2026-03-01"))
        all_lines = [
            "0  2026-01-01T00:00:00.000000000Z  a.b  agent.x  one",
            r"1  2026-02-01T00:00:00.000000000Z  a.c  -  two\x0a\x1b[31m\xc2\x85ü",
            "2  2026-03-01T00:00:00.000000000Z  d  -  3",
        ]
        wanted = {
            (): [0, 1, 2],
            ("--from", "oldest"): [0, 1, 2],
            ("--from", "next"): [],
            ("--from", 1): [1, 2],
            ("--from", 3): [],
            ("--from", "2026-01-31T23:59:59.9Z"): [1, 2],
            ("--from", "2026-03-01T00:00:01"): [],
            ("--topic", "a.*"): [0, 1],
            ("--topic", "a.c", "--topic", "d"): [1, 2],
            ("--topic", "a.>", "--max", 1): [0],
            ("--max", 0): [],
        }
        for arguments, numbers in wanted.items():
            with self.subTest(arguments):
                output = self.succeed("peek", self.log, *arguments)
                self.assertEqual(output.splitlines(), [all_lines[i] for i in numbers])
                output = self.succeed("peek", self.log, *arguments, "--json")
                self.assertEqual([json.loads(line)["offset"] for line in output.split("\n")[:-1]], numbers)

    def test_peek_says_which_payloads_are_no_text(self):
        self.append('{"topic":"a","payload_base64":"/wA="}')
        self.assertTrue(self.succeed("peek", self.log).endswith("  base64:/wA=\n"))
        self.assertEqual(json.loads(self.succeed("peek", self.log, "--json"))["payload_base64"], "/wA=")

    def test_dump_stops_in_front_of_an_offset(self):
        self.append(*[event()] * 5)
        self.assertEqual([one["offset"] for one in self.dump("--from", 1, "--to", 3)], [1, 2])
        self.assertEqual(self.dump("--to", 0), [])
        self.assertEqual(self.dump("--json"), self.dump())

    def test_a_follower_sees_what_a_live_writer_appends(self):
        with Process("append", self.log) as writer:
            writer.write(lines(event(payload="before")))
            writer.read_line()
            with Process("peek", self.log, "--follow", "--json") as follower, \
                    Process("peek", self.log, "--follow", "--from", "next", "--topic", "b", "--max", "2") as other:
                self.assertEqual(json.loads(follower.read_line())["payload"], "before")
                time.sleep(0.5)  # for most runs of the test enough for the other to be at the end
                for i in range(3):
                    writer.write(lines(event("b", i)))
                    writer.read_line()
                    self.assertEqual(json.loads(follower.read_line())["offset"], i + 1)
                self.assertIn("  b  -  ", other.read_line())
                self.assertIn("  b  -  ", other.read_line())
                self.assertEqual(other.end(), (0, "", ""))
                self.assertEqual(follower.end(signal.SIGINT), (0, "", ""))
            self.assertEqual(writer.end()[0], 0)

    def test_info_tells_of_segments(self):
        self.append(*[event()] * 5)
        report = json.loads(self.succeed("info", self.log, "--json"))
        self.assertEqual(list(report), ["first_offset", "next_offset", "bytes", "writer", "segments", "losses"])
        self.assertEqual((report["first_offset"], report["next_offset"]), (0, 5))
        (segment,) = report["segments"]
        self.assertEqual(list(segment),
                         ["name", "base_offset", "records", "bytes", "used_bytes", "sealed", "created"])
        self.assertEqual((segment["base_offset"], segment["records"], segment["sealed"]), (0, 5, False))
        self.assertEqual(segment["bytes"], (self.log / segment["name"]).stat().st_size)
        self.assertIn("nothing is missing", self.succeed("info", self.log))

    def test_where_there_is_no_log_nothing_is_made(self):
        missing, empty, file = self.folder / "missing", self.folder / "empty", self.folder / "file"
        empty.mkdir()
        file.write_text("")
        for command in READING:
            with self.subTest(command):
                for path, why in ((missing, "there is no log in"), (empty, "there is no log in"), (file, "directory")):
                    result = run(command, path)
                    self.assertEqual((result.returncode, result.stdout), (1, b""), result.stderr)
                    self.assertIn(why, result.stderr.decode())
                    self.assertIn(str(path), result.stderr.decode())
                self.assertFalse(missing.exists())
                self.assertEqual(list(empty.iterdir()), [])
        self.assertEqual(run("append", file, stdin=event()).returncode, 1)

    # --- Damage.

    def test_damage_is_told_by_every_command(self):
        self.append(*[event(payload="x" * 1000)] * 100)
        self.append(event())  # its mark proves that what is in front of it was durable
        self.damage(50000, 3000)
        report = json.loads(self.succeed("scrub", self.log, "--json", status=3))
        self.assertEqual(list(report), ["version", "records", "bytes", "losses"])
        (loss,) = report["losses"]
        self.assertEqual((loss["verdict"], loss["known"]), ("lost", False))
        self.assertGreaterEqual(loss["records"], 3)
        kept = 101 - loss["records"]
        summary = f"missing: {loss['records']} records, "
        self.assertIn(summary, self.succeed("scrub", self.log, "--rate", 0, status=3))
        self.assertIn(summary, self.succeed("info", self.log, status=3))
        self.assertEqual(json.loads(self.succeed("info", self.log, "--json", status=3))["losses"], report)

        for command in ("peek", "dump"):
            result = run(command, self.log)
            self.assertEqual((result.returncode, len(result.stdout.splitlines())), (3, kept))
            gap = f"busbar: lost: {loss['records']} records from offset {loss['first_offset']} on\n"
            self.assertEqual(result.stderr.decode(), gap)
        self.assertEqual(len(self.dump("--to", loss["first_offset"])), loss["first_offset"])
        result = run("dump", self.log, "--from", loss["first_offset"], "--to", loss["first_offset"] + 1)
        gap = f"busbar: lost: 1 record from offset {loss['first_offset']} on\n"
        self.assertEqual((result.returncode, result.stderr.decode()), (3, gap))

        copy = self.folder / "copy"
        shutil.copytree(self.log, copy)
        result = run("append", copy, stdin=lines(event()))
        self.assertEqual((result.returncode, result.stdout), (3, b"101\n"))
        self.assertIn(f"missing from the log: {loss['records']} records", result.stderr.decode())
        self.assertEqual(self.append(event(), log=copy), "102\n")  # it is known by now

        result = json.loads(self.succeed("repair", self.log, "--json", status=3))
        self.assertEqual(list(result), ["first_offset", "next_offset", "accepted", "read_only", "losses"])
        self.assertEqual(result["losses"], report)
        self.assertIn("the log takes appends", self.succeed("repair", self.log, status=3))
        self.assertEqual(self.append(event()), "101\n")

    def test_a_log_that_has_lost_much_takes_appends_once_that_is_accepted(self):
        self.append(*[event(payload="x" * 100000)] * 100, mib=16)
        self.damage(1000000, 2000000)
        for _ in range(2):
            self.assertIn("--accept", self.succeed("repair", self.log, status=3))
            result = run("append", self.log, stdin=event())
            self.assertEqual((result.returncode, result.stdout), (1, b""))
            self.assertIn(b"busbar log repair", result.stderr)
        self.assertTrue(json.loads(self.succeed("repair", self.log, "--json", status=3))["read_only"])
        result = json.loads(self.succeed("repair", self.log, "--accept", "--json", status=3))
        self.assertEqual((result["read_only"], result["accepted"]), (False, True))
        self.assertEqual(self.append(event()), "100\n")

    def test_a_whole_log_needs_no_repair(self):
        self.append(event())
        self.assertEqual(self.succeed("repair", self.log), "nothing is missing\nthe log takes appends\n")
        report = json.loads(self.succeed("scrub", self.log, "--json"))
        self.assertEqual((report["records"], report["losses"]), (0, []))
        self.assertIn("read: 1 whole record, ", self.succeed("scrub", self.log))

    def test_a_scrub_keeps_to_its_rate_and_shows_a_bar_on_a_terminal(self):
        self.append(*[event(payload="x" * 100000)] * 120)
        terminal, side = pty.openpty()
        begin = time.monotonic()
        process = subprocess.Popen([BUSBAR, "log", "scrub", self.log, "--rate", "16"], stdout=subprocess.PIPE,
                                   stderr=side)
        os.close(side)
        shown = b""
        try:
            while chunk := os.read(terminal, 4096):
                shown += chunk
        except OSError:  # how a terminal ends
            pass
        os.close(terminal)
        output, _ = process.communicate(timeout=TIMEOUT)
        self.assertEqual(process.returncode, 0)
        self.assertGreaterEqual(time.monotonic() - begin, 0.4)
        self.assertIn(b"KiB", shown)
        self.assertRegex(shown, rb"\[#+-+\] \d+ %")
        self.assertIn(b"nothing is missing", output)

    # --- The command line.

    def test_wrong_usage(self):
        self.append(event())
        wrong = [
            [],
            ["what"],
            ["append"],
            ["append", self.log, "--durability", "maybe"],
            ["append", self.log, "--batch", 0],
            ["peek", self.log, "--from", "yesterday"],
            ["peek", self.log, "--from", "2026-13-01"],
            ["peek", self.log, "--topic", "a..b"],
            ["peek", self.log, "--max", -1],
            ["peek", self.log, "--to", 1],
            ["dump", self.log, "--to", "x"],
            ["dump", self.log, "--to", -1],
            ["dump", self.log, "--follow"],
            ["scrub", self.log, "--rate", -1],
            ["scrub", self.log, "--rate", "nan"],
            ["info", self.log, "more"],
        ]
        for arguments in wrong:
            with self.subTest(arguments):
                result = run(*arguments)
                self.assertEqual((result.returncode, result.stdout), (2, b""), result.stderr)
                self.assertNotEqual(result.stderr, b"")

    def test_output_that_cannot_be_written_is_a_failure(self):
        self.append(event())
        for command in ("append", *READING):
            with self.subTest(command), open("/dev/full", "wb") as full:
                result = subprocess.run([BUSBAR, "log", command, self.log], input=event().encode(), stdout=full,
                                        stderr=subprocess.PIPE, timeout=TIMEOUT)
                self.assertEqual(result.returncode, 1)
                self.assertIn(b"cannot write", result.stderr)

    def test_every_command_has_an_example_and_json(self):
        for command in ("append", *READING):
            help_text = self.succeed(command, "--help")
            self.assertRegex(help_text, rf"Example.*:\n  busbar log {command} ")
            self.assertIn("--json", help_text)

    def test_the_examples_of_the_help_work(self):
        text = self.succeed("--help")
        examples = re.findall(r"^  (busbar log .*)$", text, re.MULTILINE)
        self.assertEqual(len(examples), 2)
        for example in examples:
            example = example.replace("/tmp", str(self.folder)).replace("busbar", BUSBAR, 1)
            result = subprocess.run(example, shell=True, cwd=ROOT, capture_output=True, timeout=TIMEOUT)
            self.assertEqual((result.returncode, result.stderr), (0, b""))
        self.assertEqual(len(result.stdout.splitlines()), 85)


if __name__ == "__main__":
    BUSBAR = str(pathlib.Path(sys.argv.pop(1)).resolve())
    unittest.main()
