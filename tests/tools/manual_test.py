#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Walks all commands of the real `busbar`, and checks what each promises: an example, --json, its exit statuses, a
manual page, and completion.

    manual_test.py PATH_OF_BUSBAR [unittest arguments]
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

BUSBAR = "busbar"
TIMEOUT = 60  # seconds; a run that takes so long hangs


def run(*arguments, **options):
    nothing = subprocess.DEVNULL
    return subprocess.run([*map(str, arguments)], stdin=nothing, capture_output=True, timeout=TIMEOUT, **options)


def busbar(*arguments, status=0):
    result = run(BUSBAR, *arguments)
    assert result.returncode == status, (arguments, result)
    return (result.stdout if status == 0 else result.stderr).decode()


def all_of(node):
    return [node] + [below for one in node["commands"] for below in all_of(one)]


TREE = {}


def node_of(path):
    node = TREE
    for word in path:
        (node,) = [one for one in node["commands"] if one["command"].split()[-1] == word]
    return node


def typed(path):
    """The words of a command, and between them what those in front of the last one must have."""
    words = []
    for i, word in enumerate(path):
        words += ["x" for one in node_of(path[:i])["options"] if one["argument"] and one["required"]] + [word]
    return words


def help_of(path):
    return busbar(*typed(path), "--help")


class ManualTest(unittest.TestCase):
    def each(self):
        nodes = all_of(TREE)
        self.assertGreater(len(nodes), 20)
        return [node["command"].split()[1:] for node in nodes]

    def test_each_command_has_an_example_with_its_own_words(self):
        for command in self.each():
            help_text = help_of(command)
            example = re.search(r"\nExample.*?\n((?:  .*\n)+)", help_text)
            self.assertIsNotNone(example, help_text)
            self.assertRegex(example[1], "busbar " + "".join(r".*?\b" + re.escape(word) for word in command))

    def test_examples_name_options_that_are_there(self):
        for command in self.each():
            node = node_of(command)
            known = {name for one in node["options"] for name in one["names"]}
            # An example may have several commands, with a pipe between them.
            for example in re.findall(r"busbar [^|\n]*", "\n".join(re.findall(r"^  .*", node["notes"], re.MULTILINE))):
                if not node["commands"] and example.startswith(" ".join(["busbar", *command])):
                    for name in re.findall(r"(--[a-z-]+)", example):
                        self.assertIn(name, known)

    def test_each_command_says_its_exit_statuses(self):
        for command in self.each():
            if node_of(command)["commands"] and command:
                continue  # those below it do
            said = " ".join(help_of(command).split())
            self.assertRegex(said, "Exit status: 0; .*2 for wrong usage.*1 for .*any other failure")

    def test_each_command_that_prints_something_has_json(self):
        for command in self.each():
            node = node_of(command)
            if not node["commands"]:
                self.assertIn("--json", [name for one in node["options"] for name in one["names"]])

    def test_wrong_usage_is_2_and_told_on_standard_error(self):
        for command in self.each():
            result = run(BUSBAR, *typed(command), "--no-such-option")
            self.assertEqual(result.returncode, 2, result)
            self.assertEqual(result.stdout, b"")
            self.assertIn(b"--help", result.stderr)

    def test_help_has_no_control_characters(self):
        for command in self.each():
            self.assertNotRegex(help_of(command), r"[\x00-\x09\x0b-\x1f\x7f]")

    def test_the_tree_and_the_help_have_the_same_commands(self):
        for command in self.each():
            section = re.search(r"\nSubcommands:\n((?:  .*\n)+)", help_of(command))
            names = re.findall(r"^  (\S+)", section[1], re.MULTILINE) if section else []
            self.assertEqual(names, [one["command"].split()[-1] for one in node_of(command)["commands"]])

    def test_each_manual_page_is_without_warnings(self):
        with tempfile.TemporaryDirectory() as folder:
            for command in self.each():
                page = os.path.join(folder, "page.1")
                with open(page, "w", encoding="utf-8") as file:
                    file.write(busbar("man", *command))
                result = run("groff", "-ww", "-man", "-Tutf8", "-rLL=80n", "-P-cbou", page)
                self.assertEqual((result.returncode, result.stderr), (0, b""))
                text = " ".join(result.stdout.decode().split())
                text = text.replace("\u2010 ", "").replace("\u2010", "-")
                for heading in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES"]:
                    self.assertIn(f" {heading} ", text)
                node = node_of(command)
                self.assertIn("-".join(["busbar", *command]) + " - " + node["summary"], text)
                for option in node["options"]:
                    for name in option["names"]:
                        self.assertIn(name, text)
                if shutil.which("mandoc"):
                    lint = run("mandoc", "-T", "lint", "-W", "error", page)
                    self.assertEqual((lint.returncode, lint.stdout), (0, b""))

    def test_a_page_keeps_each_character(self):
        page = busbar("man", "replay")
        self.assertIn(r"\[u2026]", page)  # of {"topic": ...}
        self.assertIn(r"--route \(aqscreen:llm.v1.>;budget=64KiB;rate=200\(aq".replace("--", r"\-\-"), page)

    def test_a_command_that_is_not_there(self):
        self.assertIn("there is no 'busbar log nothing'", busbar("man", "log", "nothing", status=2))
        busbar("completion", "tcsh", status=2)
        busbar("completion", status=2)

    def test_json_of_completion_holds_the_script(self):
        seen = json.loads(busbar("completion", "bash", "--json"))
        self.assertEqual(seen, {"shell": "bash", "script": busbar("completion", "bash")})


class CompletionTest(unittest.TestCase):
    """Each line is what somebody typed in front of Tab, and what is offered."""

    LINES = {
        "busbar lo": {"log"},
        "busbar log ": {"append", "peek", "dump", "info", "scrub", "repair"},
        "busbar log ap": {"append"},
        "busbar log append --d": {"--durability"},
        "busbar log append --durability ": {"synced", "interval", "written", "buffered"},
        "busbar log append --durability wr": {"written"},
        "busbar log append --batch ": set(),
        "busbar replay --wait s": {"spin"},
        "busbar sub /tmp --mode ": {"competing", "key_ordered", "broadcast"},
        "busbar completion ": {"bash", "zsh", "fish"},
        "busbar bench --only r": {"router"},
        "busbar man lo": {"log"},
    }

    def check_all(self, complete):
        for line, offered in self.LINES.items():
            with self.subTest(line=line):
                self.assertEqual(complete(line), offered)

    def bash(self, *words, folder=None):
        script = 'source <("$1" completion bash); shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _busbar\n'
        script += '[[ ${#COMPREPLY[@]} == 0 ]] || printf "%s\\n" "${COMPREPLY[@]}"'
        result = run("bash", "--norc", "-uc", script, "bash", BUSBAR, *words, cwd=folder)
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        return set(result.stdout.decode().splitlines())

    def test_bash(self):
        self.check_all(lambda line: self.bash(*line.split(" ")))

    def test_bash_completes_each_command_of_the_tree(self):
        for node in all_of(TREE):
            path = node["command"].split()
            if len(path) > 1:
                self.assertIn(path[-1], self.bash(*path[:-1], path[-1][:-1]))
                self.assertIn("--help", self.bash(*path, "--he"))

    def test_bash_completes_values_behind_an_equals_sign(self):
        self.assertEqual(self.bash("busbar", "replay", "--wait", "=", "y"), {"yield"})
        self.assertEqual(self.bash("busbar", "replay", "--wait", "="), {"spin", "yield", "park", "async"})

    def test_bash_completes_paths(self):
        with tempfile.TemporaryDirectory() as folder:
            os.mkdir(os.path.join(folder, "a log"))
            open(os.path.join(folder, "a file"), "w").close()
            self.assertEqual(self.bash("busbar", "log", "info", "", folder=folder), {"a log"})
            self.assertEqual(self.bash("busbar", "bench", "--dir", "", folder=folder), {"a log"})
            self.assertEqual(self.bash("busbar", "replay", "a", folder=folder), {"a log", "a file"})
            self.assertEqual(self.bash("busbar", "dead", "", folder=folder), {"list", "redrive", "drop", "a log"})

    def test_bash_knows_a_command_behind_an_argument(self):
        self.assertEqual(self.bash("busbar", "dead", "/tmp/log", "li"), {"list"})
        self.assertEqual(self.bash("busbar", "dead", "/tmp/log", "drop", "--al"), {"--all"})

    @unittest.skipUnless(shutil.which("fish"), "fish is not installed")
    def test_fish(self):
        def complete(line):
            script = f"{BUSBAR} completion fish | source; complete -C '{line}'"
            result = run("fish", "--no-config", "-c", script)
            self.assertEqual((result.returncode, result.stderr), (0, b""))
            return {offered.split("\t")[0] for offered in result.stdout.decode().splitlines()}

        self.check_all(complete)

    @unittest.skipUnless(shutil.which("zsh"), "zsh is not installed")
    def test_zsh(self):
        script = 'autoload -U compinit; compinit -D; source <("$1" completion zsh); whence -w _busbar_dead_list'
        result = run("zsh", "-f", "-c", script, "zsh", BUSBAR)
        self.assertEqual((result.returncode, result.stderr, result.stdout), (0, b"", b"_busbar_dead_list: function\n"))


if __name__ == "__main__":
    BUSBAR = sys.argv.pop(1)
    TREE = json.loads(busbar("man", "--json"))
    unittest.main()
