#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Runs the real `busbar pub`, `sub`, `ack-through`, `groups`, `lag` and `dead`, and checks what they promise.

    groups_test.py PATH_OF_BUSBAR [unittest arguments]
"""

import json
import os
import pathlib
import select
import signal
import subprocess
import sys
import tempfile
import unittest

BUSBAR = "busbar"
COMMANDS = ["pub", "sub", "ack-through", "groups", "lag"]
TIMEOUT = 120  # seconds; a run that takes so long hangs
ELSEWHERE = b"the log is open for writing elsewhere"


def run(*arguments, stdin=""):
    return subprocess.run([BUSBAR, *map(str, arguments)], input=stdin.encode(), capture_output=True, timeout=TIMEOUT)


class Process:
    """One that is talked to."""

    def __init__(self, *arguments):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([BUSBAR, *map(str, arguments)], stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0)

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


class GroupsTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.log = self.folder / "log"
        self.succeed("log", "append", self.log, "--segment", 1)  # small, and so are the tests' disks

    def succeed(self, *arguments, status=0, stdin=""):
        """Standard output of a run with this exit status, and with complaints if and only if it is not 0."""
        result = run(*arguments, stdin=stdin)
        self.assertEqual(result.returncode, status, result.stderr)
        if status == 0:
            self.assertEqual(result.stderr, b"")
        return result.stdout.decode()

    def fail_with(self, complaint, *arguments):
        result = run(*arguments)
        self.assertEqual((result.returncode, result.stdout), (1, b""), result.stderr)
        self.assertIn(complaint, result.stderr.decode())

    def pub(self, *payloads, topic="work"):
        for payload in payloads:
            self.succeed("pub", self.log, payload, "--topic", topic)

    def sub(self, *arguments, group="workers"):
        """Messages, as offsets and attempts."""
        output = self.succeed("sub", self.log, "--group", group, *arguments)
        return [(message["offset"], message.get("attempts")) for message in map(json.loads, output.splitlines())]

    def make(self, *arguments, group="workers"):
        """Makes a group that begins with the oldest message, and receives nothing."""
        self.assertEqual(self.sub("--ack", "--max", 0, "--from", "oldest", *arguments, group=group), [])

    def groups(self, command="lag"):
        return json.loads(self.succeed(command, self.log, "--json"))["groups"]

    def behind(self):
        return {one["group"]: one["behind"] for one in self.groups()}

    # --- Publishing.

    def test_a_message_gets_its_offset(self):
        self.assertEqual(self.succeed("pub", self.log, "one", "--topic", "a.b"), "0\n")
        self.assertEqual(self.succeed("pub", self.log, "", "--topic", "a", "--key", "k", "--principal", "agent.x",
                                      "--json"), '{"offset":1,"durability":"synced"}\n')
        records = [json.loads(line) for line in self.succeed("log", "dump", self.log).splitlines()]
        for record in records:
            del record["time"]
        self.assertEqual(records, [{"offset": 0, "topic": "a.b", "payload": "one"},
                                   {"offset": 1, "topic": "a", "principal": "agent.x", "key": "k", "payload": ""}])

    def test_messages_come_from_standard_input_too(self):
        result = run("pub", self.log, stdin='{"topic":"a","payload":1}\n?\n{"topic":"a","payload":2}\n')
        self.assertEqual((result.returncode, result.stdout), (3, b"0\n1\n"))
        self.assertIn(b"line 2 skipped", result.stderr)

    def test_a_message_that_the_log_refuses_is_a_failure(self):
        self.fail_with("the key is longer", "pub", self.log, "x", "--topic", "a", "--key", "k" * 256)

    # --- Looking on.

    def test_a_peek_leases_nothing(self):
        self.pub("a", "b", "c")
        self.make()
        for _ in range(2):
            self.assertEqual(self.sub(), [(0, None), (1, None), (2, None)])
            self.assertEqual(self.sub("--peek", "--max", 1), [(0, None)])
        self.assertEqual(self.sub("--ack", "--max", 1), [(0, 1)])
        self.assertEqual(self.sub("--peek"), [(1, None), (2, None)])

    def test_all_that_looks_on_goes_beside_a_writer(self):
        self.pub("a", "b", "c")
        self.make()
        self.sub("--ack", "--max", 1)
        self.sub("--reject", "broken", "--max", 1)
        with Process("pub", self.log) as writer:
            writer.write('{"topic":"work","payload":"d"}\n')
            self.assertEqual(writer.read_line(), "4\n")
            self.assertEqual(self.sub(), [(2, None), (4, None)])
            self.assertEqual(self.behind(), {"workers": 2})
            self.assertEqual([one["group"] for one in self.groups("groups")], ["workers"])
            self.assertIn("broken", self.succeed("dead", self.log, "list", "--group", "workers"))
            for arguments in (["pub", self.log, "x", "--topic", "a"], ["pub", self.log],
                              ["sub", self.log, "--group", "workers", "--ack"],
                              ["ack-through", self.log, "--group", "workers", "--up-to", 9],
                              ["dead", self.log, "redrive", "--group", "workers"],
                              ["dead", self.log, "drop", "--group", "workers", "--all"]):
                result = run(*arguments)
                self.assertEqual((result.returncode, result.stdout), (1, b""))
                self.assertIn(ELSEWHERE, result.stderr)
            self.assertEqual(writer.end(), (0, "", ""))

    def test_a_peek_follows_what_is_published(self):
        self.pub("a")
        self.make("--pattern", "work.>", "--pattern", "work")
        with Process("sub", self.log, "--group", "workers", "--follow") as peek:
            self.assertEqual(json.loads(peek.read_line())["offset"], 0)
            self.pub("not for it", topic="other")
            self.pub("b", topic="work.now")
            self.assertEqual(json.loads(peek.read_line())["payload"], "b")
            self.assertEqual(peek.end(signal.SIGINT), (0, "", ""))
        with Process("sub", self.log, "--group", "workers", "--follow", "--max", 2) as peek:
            self.assertEqual(len(peek.end()[1].splitlines()), 2)

    def test_groups_and_their_lag_are_told(self):
        self.fail_with("there is no log in", "groups", self.folder)
        self.fail_with("there is no log in", "lag", self.folder)
        self.pub("a", "b")
        self.assertEqual(self.succeed("groups", self.log), "there are no groups\n")
        self.assertEqual(self.succeed("lag", self.log), "there are no groups\n")
        self.pub("c", topic="other")
        self.make()
        self.make("--pattern", "other", "--pattern", "more.>", "--mode", "key_ordered", group="others")
        self.make("--mode", "broadcast", "--member", "one", group="all")
        self.sub("--ack", group="others")
        self.sub("--ack", "--max", 1)
        self.assertEqual(self.groups("groups"), [
            {"group": "all", "member": "one", "mode": "broadcast", "patterns": [], "floor": 0},
            {"group": "others", "mode": "key_ordered", "patterns": ["other", "more.>"], "floor": 0},
            {"group": "workers", "mode": "competing", "patterns": [], "floor": 1}])
        lags = self.groups()
        self.assertEqual([(one["group"], one["behind"], one["oldest"]) for one in lags],
                         [("all", 3, 0), ("others", 0, None), ("workers", 2, 1)])
        self.assertRegex(lags[0]["since"], r"^\d{4}-\d\d-\d\dT.*Z$")
        table = [line.split() for line in self.succeed("lag", self.log).splitlines()]
        self.assertEqual(table[0], ["group", "member", "behind", "oldest", "since", "dead"])
        self.assertEqual([row[:4] for row in table[1:]],
                         [["all", "one", "3", "0"], ["others", "-", "0", "-"], ["workers", "-", "2", "1"]])
        self.assertIn("other more.>", self.succeed("groups", self.log))

    def test_what_is_missing_is_told(self):
        self.pub(*["x" * 20000] * 5)
        self.make()
        (segment,) = self.log.glob("0*.segment")
        with open(segment, "r+b") as file:
            file.seek(50000)
            file.write(b"damage")
        for command in (["sub", self.log, "--group", "workers"], ["lag", self.log]):
            result = run(*command)
            self.assertEqual((result.returncode, result.stderr), (3, b"busbar: lost: 1 record from offset 2 on\n"))
        result = run("sub", self.log, "--group", "workers", "--ack")
        self.assertEqual((result.returncode, len(result.stdout.splitlines())), (3, 4))
        self.assertIn(b"the group has missed 1 message\n", result.stderr)
        self.assertEqual(self.behind(), {"workers": 0})

    # --- Outcomes.

    def test_what_is_acked_does_not_come_again(self):
        self.pub("a", "b", "c")
        self.make()
        self.assertEqual(self.sub("--ack", "--max", 2), [(0, 1), (1, 1)])
        self.assertEqual(self.sub("--ack"), [(2, 1)])
        self.assertEqual(self.sub("--ack"), [])
        self.assertEqual(self.behind(), {"workers": 0})

    def test_what_is_released_is_as_if_never_leased(self):
        self.pub("a", "b")
        self.make()
        for _ in range(3):
            self.assertEqual(self.sub("--release"), [(0, 1), (1, 1)])

    def test_what_is_nacked_comes_again_later(self):
        self.pub("a", "b")
        self.make()
        self.assertEqual(self.sub("--nack"), [(0, 1), (1, 1)])
        (message, _) = map(json.loads, self.succeed("sub", self.log, "--group", "workers").splitlines())
        self.assertEqual((message["attempts"], message["last_error"]), (1, "nack"))
        self.assertIn("not_before", message)
        with Process("sub", self.log, "--group", "workers", "--nack", "--follow") as sub:
            attempts = sorted(json.loads(sub.read_line())["attempts"] for _ in range(4))
            self.assertEqual(attempts, [2, 2, 3, 3])
            self.assertEqual(sub.end(signal.SIGTERM), (0, "", ""))
        self.assertEqual(self.behind(), {"workers": 2})

    def test_what_is_rejected_is_a_dead_letter(self):
        self.pub("a", "b", topic="work.image")
        self.pub("c", topic="work.text")
        self.make()
        self.assertEqual(self.sub("--reject", "no such format", "--max", 1), [(0, 1)])
        self.assertEqual(self.sub("--reject", "too long"), [(1, 1), (2, 1)])
        self.assertEqual(self.sub(), [])
        letters = self.succeed("dead", self.log, "list", "--group", "workers").splitlines()
        self.assertEqual(len(letters), 3)
        self.assertRegex(letters[0], r"^3  \S+Z  work\.image  offset 0  attempts 1  no such format$")

        def listed(*arguments):
            output = self.succeed("dead", self.log, "list", "--group", "workers", "--json", *arguments)
            return [json.loads(line) for line in output.splitlines()]

        self.assertEqual(listed()[1]["dead"], {"topic": "work.image", "offset": 1, "attempts": 1, "reason": "too long",
                                               "first_error": "too long", "last_error": "too long"})
        self.assertEqual(listed()[1]["payload"], "b")
        filters = {("--topic", "*.image"): [3, 4], ("--topic", "work.text", "--topic", "none"): [5],
                   ("--reason", "too"): [4, 5], ("--first", 4): [4, 5], ("--last", 4): [3, 4],
                   ("--first", 4, "--last", 4): [4], ("--reason", "too", "--topic", "work.image"): [4]}
        for arguments, offsets in filters.items():
            with self.subTest(arguments):
                self.assertEqual([letter["offset"] for letter in listed(*arguments)], offsets)

    def test_dead_letters_are_sent_back_or_dropped(self):
        self.pub("a", "b", topic="work.image")
        self.pub("c", "d", topic="work.text")
        self.make()
        self.sub("--reject", "broken")
        of_workers = ["--group", "workers"]

        def listed():
            output = self.succeed("dead", self.log, "list", *of_workers, "--json")
            return [json.loads(line)["payload"] for line in output.splitlines()]

        self.assertEqual(self.groups()[0]["dead"], 4)
        self.assertEqual([one["group"] for one in self.groups("groups")], ["workers"], "their queue is none of its own")
        self.assertEqual(self.succeed("dead", self.log, "redrive", *of_workers, "--reason", "too long"),
                         "sent back 0 dead letters\n")
        self.assertEqual(self.succeed("dead", self.log, "redrive", *of_workers, "--topic", "work.text", "--last", 6),
                         "sent back 1 dead letter\n")
        self.assertEqual(listed(), ["a", "b", "d"])
        (message,) = map(json.loads, self.succeed("sub", self.log, *of_workers, "--ack").splitlines())
        self.assertEqual((message["topic"], message["payload"], message["attempts"]), ("work.text", "c", 1))
        self.assertNotIn("headers", message)
        self.assertEqual(self.succeed("dead", self.log, "drop", *of_workers, "--first", 5, "--json"), '{"dropped":2}\n')
        self.assertEqual(listed(), ["a"])
        self.assertEqual((self.groups()[0]["behind"], self.groups()[0]["dead"]), (0, 1))
        self.assertEqual(self.succeed("dead", self.log, "redrive", *of_workers, "--json"), '{"sent_back":1}\n')
        self.sub("--reject", "broken again")
        self.assertEqual(self.succeed("dead", self.log, "drop", *of_workers, "--all"), "dropped 1 dead letter\n")
        self.assertEqual((listed(), self.groups()[0]["dead"]), ([], 0))

    def test_a_message_dies_of_as_many_attempts_as_are_said(self):
        self.pub("a")
        self.make()
        with Process("sub", self.log, "--group", "workers", "--nack", "--follow", "--max", 3) as sub:
            self.assertEqual(len(sub.end()[1].splitlines()), 3)
        self.assertEqual(self.groups()[0]["dead"], 0)
        with Process("sub", self.log, "--group", "workers", "--nack", "--follow", "--max", 1, "--attempts", 4) as sub:
            self.assertEqual(len(sub.end()[1].splitlines()), 1)
        self.assertEqual((self.groups()[0]["behind"], self.groups()[0]["dead"]), (0, 1))

    def test_all_up_to_an_offset_is_finished(self):
        self.pub("a", "b", "c", "d")
        self.make()
        self.make("--mode", "broadcast", "--member", "one", group="all")
        self.make("--mode", "broadcast", "--member", "two", group="all")
        self.sub("--nack", "--max", 1)  # and it is delayed
        command = ["ack-through", self.log, "--group", "workers", "--up-to"]
        self.assertEqual(self.succeed(*command, 1), "finished 2 messages\n")
        self.assertEqual(self.succeed(*command, 1), "finished 0 messages\n")
        self.assertEqual(self.sub(), [(2, None), (3, None)])
        self.assertEqual(self.succeed("ack-through", self.log, "--group", "all", "--up-to", 2, "--json"),
                         '{"finished":6}\n')
        self.assertEqual(self.sub("--member", "two", group="all"), [(3, None)])
        self.assertEqual(self.succeed(*command, 2**64 - 1), "finished 2 messages\n")
        self.pub("later")
        self.assertEqual(self.sub("--ack"), [(4, 1)])

    def test_what_cannot_be_printed_is_not_finished(self):
        self.pub("a", "b")
        self.make()
        for word in ("--ack", "--nack"):
            with open("/dev/full", "wb") as full:
                result = subprocess.run([BUSBAR, "sub", self.log, "--group", "workers", word], stdout=full,
                                        stderr=subprocess.PIPE, timeout=TIMEOUT)
            self.assertEqual(result.returncode, 1)
            self.assertIn(b"cannot write", result.stderr)
        self.assertEqual(self.sub("--ack"), [(0, 1), (1, 1)])

    # --- Which group.

    def test_a_group_begins_where_it_was_told(self):
        self.pub("a")
        self.assertEqual(self.sub("--ack", group="from.next"), [])
        self.assertEqual(self.sub("--ack", "--from", "oldest", group="from.oldest"), [(0, 1)])
        self.pub("b")
        self.assertEqual(self.sub("--ack", group="from.next"), [(1, 1)])

    def test_members_of_a_broadcast_go_by_their_names(self):
        self.pub("a", "b")
        self.make("--mode", "broadcast", "--member", "one", group="all")
        self.assertEqual(self.sub("--ack", "--member", "one", "--max", 1, group="all"), [(0, 1)])
        self.assertEqual(self.sub("--ack", "--member", "two", "--from", "oldest", group="all"), [(0, 1), (1, 1)])
        self.assertEqual(self.sub("--member", "one", group="all"), [(1, None)])
        self.assertEqual(self.sub("--member", "two", group="all"), [])
        of_all = ["sub", self.log, "--group", "all"]
        self.fail_with("is a broadcast: say which --member", *of_all)
        self.fail_with("is a broadcast: say which --member", *of_all, "--ack")
        self.fail_with("has no member 'three'", *of_all, "--member", "three")

    def test_a_group_that_is_not_there_or_another_is_told(self):
        empty = self.folder / "empty"
        empty.mkdir()
        self.fail_with("there is no log in", "sub", empty, "--group", "workers")
        self.fail_with("there is no log in", "sub", empty, "--group", "workers", "--ack")
        self.fail_with("there is no log in", "ack-through", empty, "--group", "workers", "--up-to", 1)
        self.fail_with("there is no log in", "dead", empty, "list", "--group", "workers")
        self.assertEqual(list(empty.iterdir()), [], "none was made")
        self.pub("a")
        self.fail_with("there is no group 'workers'", "sub", self.log, "--group", "workers")
        self.fail_with("there is no group 'workers'", "ack-through", self.log, "--group", "workers", "--up-to", 1)
        for command in (["list"], ["redrive"], ["drop", "--all"]):
            self.fail_with("there is no group 'workers'", "dead", self.log, *command, "--group", "workers")
        self.assertEqual(self.behind(), {}, "none was made")
        self.make("--pattern", "work")
        workers = ["sub", self.log, "--group", "workers", "--ack"]
        self.fail_with("of another mode", *workers, "--mode", "key_ordered")
        self.fail_with("with other patterns", *workers, "--pattern", "other")
        self.fail_with("is no broadcast", *workers, "--member", "one")
        self.fail_with("is no broadcast", "sub", self.log, "--group", "workers", "--member", "one")
        self.assertEqual(self.sub("--ack", "--pattern", "work", "--mode", "competing"), [(0, 1)])

    # --- The command line.

    def test_wrong_usage(self):
        self.pub("a")
        self.make()
        of_workers = ["--group", "workers"]
        wrong = [
            ["pub"],
            ["pub", self.log, "x"],
            ["pub", self.log, "x", "--topic", "a..b"],
            ["pub", self.log, "x", "--topic", "a", "--principal", "a b"],
            ["pub", self.log, "--topic", "a"],
            ["sub", self.log],
            ["sub", self.log, *of_workers, "--ack", "--nack"],
            ["sub", self.log, *of_workers, "--peek", "--release"],
            ["sub", self.log, *of_workers, "--reject"],
            ["sub", self.log, *of_workers, "--release", "--follow"],
            ["sub", self.log, *of_workers, "--from", "oldest"],
            ["sub", self.log, *of_workers, "--peek", "--mode", "competing"],
            ["sub", self.log, *of_workers, "--ack", "--mode", "all"],
            ["sub", self.log, *of_workers, "--ack", "--from", 3],
            ["sub", self.log, *of_workers, "--ack", "--pattern", "a..b"],
            ["sub", self.log, *of_workers, "--max", -1],
            ["sub", self.log, "--group", "a b", "--ack"],
            ["sub", self.log, "--group", "", "--ack"],
            ["sub", self.log, "--group", "x" * 65, "--ack"],
            ["ack-through", self.log, *of_workers],
            ["ack-through", self.log, *of_workers, "--up-to", "all"],
            ["groups", self.log, "more"],
            ["lag"],
            ["dead", self.log],
            ["dead", self.log, "list"],
            ["dead", self.log, "list", *of_workers, "--first", -1],
            ["dead", self.log, "list", *of_workers, "--topic", "a..b"],
            ["dead", self.log, "what", *of_workers],
            ["dead", self.log, "drop", *of_workers],
            ["dead", self.log, "drop", *of_workers, "--all", "--last", 3],
            ["sub", self.log, *of_workers, "--nack", "--attempts", 0],
            ["sub", self.log, *of_workers, "--nack", "--attempts", 256],
        ]
        for arguments in wrong:
            with self.subTest(arguments):
                result = run(*arguments)
                self.assertEqual((result.returncode, result.stdout), (2, b""), result.stderr)
                self.assertNotEqual(result.stderr, b"")
        self.assertEqual(self.sub(), [(0, None)])

    def test_output_that_cannot_be_written_is_a_failure(self):
        self.pub("a", "b")
        self.make()
        self.sub("--reject", "broken", "--max", 1)
        of_workers = ["--group", "workers"]
        for arguments in (["pub", self.log, "x", "--topic", "a"], ["sub", self.log, *of_workers],
                          ["groups", self.log], ["lag", self.log], ["dead", self.log, "list", *of_workers],
                          ["ack-through", self.log, *of_workers, "--up-to", 0]):
            with self.subTest(arguments), open("/dev/full", "wb") as full:
                result = subprocess.run([BUSBAR, *map(str, arguments)], stdout=full, stderr=subprocess.PIPE,
                                        timeout=TIMEOUT)
                self.assertEqual(result.returncode, 1)
                self.assertIn(b"cannot write", result.stderr)

    def test_every_command_has_an_example_and_json(self):
        for command in COMMANDS:
            text = self.succeed(command, "--help")
            self.assertRegex(text, rf"Example.*:\n  busbar {command} ")
            self.assertIn("--json", text)
        for command in ("list", "redrive", "drop"):
            text = self.succeed("dead", self.log, command, "--help")
            self.assertRegex(text, rf"Example.*:\n  busbar dead /tmp/jobs {command} ")
            self.assertIn(f"busbar dead DIR {command} [OPTIONS]", text)
            self.assertIn("--json", text)
            self.assertEqual(self.succeed("dead", command, "--help"), text, "whose log it is does not matter")


if __name__ == "__main__":
    BUSBAR = str(pathlib.Path(sys.argv.pop(1)).resolve())
    unittest.main()
