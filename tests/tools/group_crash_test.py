#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""A group in a real process, whose producers and workers are killed at random moments, or kill it: law LOG-7.

    group_crash_test.py PATH_OF_GROUP_HOST INPUT [--seconds S] [--seed N] [unittest arguments]

S seconds are for killing, in equal parts for each kind of group; then what is left is worked off undisturbed.
"""

import argparse
import collections
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import unittest

OPTIONS = argparse.Namespace()
ATTEMPTS = 5  # that a message has
FRESH = 3000  # messages for one life, more than it comes to
CRASHES_EVERY = 5  # seconds
TIMEOUT = 120  # seconds, of one life

# Of how many messages one has that fate; the others are acked at once. Of those that end the process only few are made,
# as each takes ATTEMPTS lives.
FATES = {"reject": 40, "fail": 60, "nack": 20, "drop": 50, "release": 30, "slow": 2000}


def without_core():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class Message:
    """A record that was appended, and what is known of it."""

    def __init__(self):
        self.attempt = 0  # the last one that was seen
        self.life = 0  # in which that was; or, if it is known, it was appended
        self.leases = 0
        self.uncounted = False  # it may come back with the same number
        self.ended = None  # "acked" or "dead", once that is known to be committed


class Story:
    """What hosts said, life after life."""

    def __init__(self, test, mode):
        self.test = test
        self.mode = mode
        self.life = 0
        self.fates = {}  # by number
        self.receipts = {}  # numbers: offset of a copy that has its receipt
        self.messages = collections.defaultdict(Message)  # by offset
        self.out_of_order = set()  # offsets of which this life's lines may be out of order
        self.counts = collections.Counter()
        self.records = {}  # offset: number, fate
        self.letters = {}  # offset: attempts, reason

    def expect(self, is_so, what):
        if not is_so:
            self.test.fail(f"{self.mode}, seed {OPTIONS.seed}, life {self.life}: {what}")

    def take_life(self, said):
        """Returns: what lines there were."""
        lines = [line.split() for line in said.decode().splitlines()]
        self.out_of_order = {int(words[1]) for words in lines if words[0] == "late"}
        for words in lines:
            getattr(self, words[0])(*words[1:])
        return {words[0] for words in lines}

    # --- Lines. ---

    def appended(self, offset, number):
        offset, number = int(offset), int(number)
        self.expect(number not in self.receipts, f"number {number} was appended again")
        self.receipts[number] = offset
        message = self.messages[offset]
        if not message.leases:
            message.life = self.life
        self.counts["appended"] += 1

    def leased(self, offset, attempt):
        offset, attempt = int(offset), int(attempt)
        message = self.messages[offset]
        self.counts["leased"] += 1
        self.counts["again"] += attempt > 1
        if offset not in self.out_of_order:
            self.check_lease(message, offset, attempt)
        message.attempt, message.life = max(message.attempt, attempt), self.life
        message.uncounted = self.mode == "key_ordered"  # with another one of its key it comes back
        message.leases += 1

    def check_lease(self, message, offset, attempt):
        what = f"offset {offset}, attempt {attempt} after {message.attempt} in life {message.life}"
        self.expect(message.ended is None, f"{what}, and it is {message.ended}")
        self.expect(attempt >= message.attempt, f"{what}: it goes back")
        self.expect(attempt <= ATTEMPTS, what)
        if message.leases and message.life == self.life:
            self.expect(attempt == message.attempt + 1 or message.uncounted and attempt == message.attempt, what)
        else:
            # The end of a process can hide one attempt. The first is written down no sooner than a second is made, or
            # a process ends that had the group open.
            hidden = self.life - message.life + (1 if message.leases else 0)
            self.expect(attempt <= message.attempt + 1 + hidden, f"{what}: too many")
            if message.attempt > 1 and not message.uncounted:
                self.expect(attempt > message.attempt, f"{what}: a further attempt was not written down")

    def releasing(self, offset):
        self.messages[int(offset)].uncounted = True

    def acked(self, offset):
        self.messages[int(offset)].ended = "acked"
        self.counts["acked"] += 1

    def dead(self, offset):
        self.messages[int(offset)].ended = "dead"

    def late(self, offset, attempt):
        self.counts["late"] += 1

    def crash(self, offset):
        self.counts["crashes"] += 1

    def record(self, offset, number, fate):
        self.records[int(offset)] = int(number), fate

    def letter(self, offset, number, attempts, payload, *reason):
        offset = int(offset)
        self.expect(offset not in self.letters, f"offset {offset} is dead twice")
        self.expect(self.records[offset][0] == int(number), f"the dead letter of offset {offset} is of another")
        self.expect(payload == "whole", f"the dead letter of offset {offset} has another payload")
        self.letters[offset] = int(attempts), " ".join(reason)

    def drained(self):
        pass

    def fault(self, *what):
        self.expect(False, " ".join(what))

    # --- What is to be done, and whether it was. ---

    def jobs(self, chance, fresh, crashes):
        """Numbers that have no receipt, and fresh ones: `crashes` of these end the process."""
        left = [number for number in self.fates if number not in self.receipts]
        if not fresh:
            left = [number for number in left if number <= max(self.receipts, default=-1)]
        for number in range(len(self.fates), len(self.fates) + max(fresh - len(left), 0)):
            self.fates[number] = next((fate for fate, one in FATES.items() if chance.randrange(one) == 0), "plain")
            left.append(number)
        for number in left[:crashes]:
            self.fates[number] = "crash"
        self.counts["crash_jobs"] += sum(self.fates[number] == "crash" for number in left)
        return "".join(f"{number} {self.fates[number]}\n" for number in left)

    def check_end(self):
        for number, offset in self.receipts.items():
            self.expect(self.records.get(offset, [None])[0] == number, f"offset {offset} was appended and is not there")
        for offset, (number, fate) in self.records.items():
            message = self.messages[offset]
            letter = self.letters.pop(offset, None)
            what = f"offset {offset}, fate {fate}, attempt {message.attempt}, {message.ended}, {letter}"
            if letter is None:
                self.expect(message.leases > 0, f"{what}: it was never processed")
                self.expect(message.ended != "dead", f"{what}: its dead letter is lost")
                self.expect(fate not in ("reject", "fail", "crash"), f"{what}: it is not dead")
                continue
            attempts, reason = letter
            self.expect(message.ended != "acked", f"{what}: it was acked")
            if reason == "it is poison":
                self.expect(fate == "reject" and message.leases > 0, what)
                self.counts["rejected"] += 1
                continue
            self.expect(reason == "out of attempts" and attempts == ATTEMPTS, what)
            self.expect(message.attempt + 1 + self.life - message.life >= ATTEMPTS, f"{what}: it had attempts left")
            self.counts["out_of_attempts"] += 1
            self.counts["out_of_attempts_by_its_fate"] += fate in ("fail", "crash")
        self.expect(not self.letters, f"dead letters of nothing: {self.letters}")
        self.counts["copies"] = len(self.records) - len({number for number, _ in self.records.values()})


class Groups(unittest.TestCase):
    def live(self, story, directory, stage, jobs, chance, seconds):
        """One life of a host. Returns: words that it said, or nothing if it was ended by a message."""
        story.life += 1
        arguments = [OPTIONS.host, directory, OPTIONS.input, story.mode, str(chance.randrange(1 << 30)), stage]
        host = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=without_core)
        try:
            said = host.communicate(jobs.encode(), timeout=seconds)[0]
        except subprocess.TimeoutExpired:
            host.send_signal(signal.SIGKILL)
            said = host.communicate()[0]
        words = story.take_life(said)
        status = host.returncode
        if seconds != TIMEOUT and status == -signal.SIGKILL:
            story.counts["kills"] += 1
            return words
        by_message = status == -signal.SIGABRT and "crash" in words
        story.expect(by_message or status == 0, f"the host ended with {status}")
        return None if by_message else words

    def kill_and_check(self, mode):
        chance = random.Random(f"{OPTIONS.seed} {mode}")
        story = Story(self, mode)
        begun = time.monotonic()
        next_crash = 0.0
        with tempfile.TemporaryDirectory() as directory:
            while (passed := time.monotonic() - begun) < OPTIONS.seconds / 2:
                crashes = 1 if passed >= next_crash else 0
                next_crash += CRASHES_EVERY * crashes
                # Some while it opens, most while it works, a few when leases have run out.
                seconds = chance.choice((0.05, 0.2, 0.5, 0.5, 0.5, 2.5)) * chance.random()
                self.live(story, directory, "run", story.jobs(chance, FRESH, crashes), chance, seconds)
            for _ in range(1 + ATTEMPTS * (story.counts["crash_jobs"] + 1)):  # each is fewer copies than jobs
                words = self.live(story, directory, "drain", story.jobs(chance, 0, 0), chance, TIMEOUT)
                if words is not None:
                    break
            story.expect(words is not None and "drained" in words, "it was never drained")
            words = self.live(story, directory, "check", "", chance, TIMEOUT)
            story.expect(words == {"drained"}, "nothing is left to do")
        story.check_end()
        figures = ", ".join(f"{name} {count}" for name, count in sorted(story.counts.items()))
        print(f"{mode}, seed {OPTIONS.seed}: lives {story.life}, {figures}, "
              f"{time.monotonic() - begun:.1f} s", file=sys.stderr)
        for name in ("kills", "crashes", "acked", "again", "rejected", "out_of_attempts_by_its_fate"):
            story.expect(story.counts[name] > 0, f"no {name}: it was always killed too early")

    def test_LOG_7_competing_members_lose_nothing_when_they_are_killed(self):
        self.kill_and_check("competing")

    def test_LOG_7_key_ordered_members_lose_nothing_when_they_are_killed(self):
        self.kill_and_check("key_ordered")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("input")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("BUSBAR_SEED", "1")))
    rest = parser.parse_known_args(namespace=OPTIONS)[1]
    unittest.main(argv=sys.argv[:1] + rest)
