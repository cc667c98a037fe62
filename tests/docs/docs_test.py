#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Checks what README.md and the pages in docs/ say of the tree.

    docs_test.py PATH_OF_BUSBAR [unittest arguments]

C++ is a region of a program in docs/snippets or a whole example, both of which the tests run; blanks and line breaks
aside. TOML is a configuration that `busbar config check` accepts. Commands have the options they are given. Links,
paths, headers and tests that are named exist. The table of errors is that of the code.
"""

import difflib
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import textwrap
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SNIPPETS = ROOT / "docs" / "snippets"
BUSBAR = "busbar"
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def pages():
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def name_of(path):
    return str(path.relative_to(ROOT))


def fences(page, language):
    """Where each begins, and what is in it."""
    text = page.read_text()
    for found in FENCE.finditer(text):
        if found[2] == language:
            line = text.count("\n", 0, found.start()) + 1
            yield f"{name_of(page)}:{line}", textwrap.dedent(found[3])


def prose(page):
    """The page without its fences."""
    return FENCE.sub("", page.read_text())


def regions(text):
    """By their names. Parts of one name are one region."""
    found = {}
    names = re.split(r"^ *//! \[(\w+)\]\n", text, flags=re.MULTILINE)
    inside = None
    for name, part in zip(names[1::2], names[2::2]):
        if inside is None:
            inside = name
            found.setdefault(name, []).append(textwrap.dedent(part))
        elif inside == name:
            inside = None
        else:
            raise AssertionError(f"the region {inside} has not ended where {name} begins")
    if inside is not None:
        raise AssertionError(f"the region {inside} does not end")
    return {name: "".join(parts) for name, parts in found.items()}


def all_regions():
    found = {}
    for source in sorted(SNIPPETS.glob("*.cpp")):
        for name, text in regions(source.read_text()).items():
            if name in found:
                raise AssertionError(f"two programs have a region {name}")
            found[name] = text
    return found


def whole_programs():
    """Without the words in front of them."""
    for source in [*sorted((ROOT / "examples").glob("*.cpp")), SNIPPETS / "first_bus" / "main.cpp"]:
        text = source.read_text()
        yield name_of(source), text[text.index("#include"):]


def glyphs(text):
    """Without blanks and line breaks, which a formatter may set otherwise."""
    return "".join(text.split())


def anchors(page):
    """As a page's headings are linked to."""
    found = set()
    for heading in re.findall(r"^#+ +(.*)$", FENCE.sub("", page.read_text()), re.MULTILINE):
        anchor = re.sub(r"[^\w\- ]", "", heading.strip().lower().replace("`", "")).replace(" ", "-")
        number = 0
        while (unique := anchor if number == 0 else f"{anchor}-{number}") in found:
            number += 1
        found.add(unique)
    return found


class SnippetsTest(unittest.TestCase):
    def test_cpp_is_what_the_tests_run(self):
        run = {glyphs(text): name for name, text in [*all_regions().items(), *whole_programs()]}
        for place, text in (fence for page in pages() for fence in fences(page, "cpp")):
            if glyphs(text) in run:
                continue
            best = max(all_regions().values(),
                       key=lambda other: difflib.SequenceMatcher(None, text.split(), other.split()).ratio())
            self.fail(f"{place} is no region of docs/snippets. The nearest differs by:\n" +
                      "\n".join(difflib.unified_diff(best.splitlines(), text.splitlines(), "region", "page", "", "", 2)))

    def test_every_region_is_shown(self):
        shown = {glyphs(text) for page in pages() for _, text in fences(page, "cpp")}
        self.assertEqual([name for name, text in all_regions().items() if glyphs(text) not in shown], [])

    def test_a_project_is_the_one_that_the_tests_build(self):
        project = (SNIPPETS / "first_bus" / "CMakeLists.txt").read_text()
        shown = [text for page in pages() for _, text in fences(page, "cmake") if "project(" in text]
        self.assertEqual(shown, [project[project.index("cmake_minimum_required"):]])

    def test_what_the_first_program_prints(self):
        built = (ROOT / "docs" / "snippets" / "CMakeLists.txt").read_text()
        shown = [text.strip() for _, text in fences(ROOT / "docs" / "guide.md", "text")]
        self.assertTrue(shown and f'"\\n{shown[0]}\\n"' in built, shown)

    def test_regions_are_found_in_a_program(self):
        self.assertEqual(regions("int main() {\n  //! [a]\n  int i = 0;\n  //! [a]\n  i = 1;\n  //! [a]\n  ++i;\n"
                                 "  //! [a]\n}\n"), {"a": "int i = 0;\n++i;\n"})
        for text in ["//! [a]\n", "//! [a]\n//! [b]\n//! [b]\n//! [a]\n"]:
            with self.assertRaises(AssertionError):
                regions(text)


class ConfigurationsTest(unittest.TestCase):
    def test_toml_loads(self):
        with tempfile.TemporaryDirectory() as directory:
            file = pathlib.Path(directory) / "host.toml"
            for place, text in (fence for page in pages() for fence in fences(page, "toml")):
                file.write_text(text)
                checked = subprocess.run([BUSBAR, "config", "check", file], capture_output=True, text=True, timeout=60)
                self.assertEqual(checked.returncode, 0, f"{place}: {checked.stderr}")


class CommandsTest(unittest.TestCase):
    def setUp(self):
        tree = subprocess.run([BUSBAR, "man", "--json"], capture_output=True, check=True, text=True, timeout=60).stdout
        self.commands = {}
        self.walk(json.loads(tree), set())

    def walk(self, node, above):
        names = above | {name for option in node["options"] for name in option["names"]}
        self.commands[tuple(node["command"].split())] = names
        for one in node["commands"]:
            self.walk(one, names)

    def command_of(self, given):
        """The command that a line calls, by its longest beginning."""
        path = ["busbar"]
        for word in given:
            if (*path, word) in self.commands:
                path.append(word)
            elif not word.isupper():  # DIR and the like may stand in front of a subcommand
                break
        return tuple(path)

    def check(self, place, line):
        for before, call in re.findall(r"(^|[\s/`])busbar +([^`|<>#;]+)", line):
            given = call.split()
            command = self.command_of(given)
            if command == ("busbar",) and not given[0].startswith("-"):
                # It is prose, or a command that is not there.
                self.assertFalse(before in ("`", "/") or "$ busbar" in line, f"{place}: {line.strip()}")
                continue
            for option in (re.match(r"--[a-z-]+", word) for word in given):
                if option is not None:
                    self.assertIn(option[0], self.commands[command], f"{place}: {line.strip()}")
                    self.checked += 1

    def test_options_are_there(self):
        self.checked = 0
        for page in pages():
            for number, line in enumerate(page.read_text().splitlines(), 1):
                self.check(f"{name_of(page)}:{number}", line)
        self.assertGreater(self.checked, 20)

    def test_commands_are_known_by_their_words(self):
        self.assertEqual(self.command_of("dead DIR list --group NAME".split()), ("busbar", "dead", "list"))
        self.assertEqual(self.command_of("log info DIR".split()), ("busbar", "log", "info"))


class NamesTest(unittest.TestCase):
    def test_links_lead_somewhere(self):
        for page in pages():
            for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
                if re.match(r"[a-z]+:", target):
                    continue
                path, _, anchor = target.partition("#")
                there = page if not path else (page.parent / path).resolve()
                self.assertTrue(there.exists(), f"{name_of(page)}: {target}")
                if anchor:
                    self.assertIn(anchor, anchors(there), f"{name_of(page)}: {target}")

    def test_paths_exist(self):
        named = re.compile(r"`((?:docs|examples|include|tests|scripts|src|routing|persistence|relacy|tools|deploy|"
                           r"benchmarks|cmake)/[\w./-]*)")
        found = 0
        for page in pages():
            for path in named.findall(page.read_text()):
                path = path.rstrip(".")
                there = [(root / path).exists() for root in (ROOT, ROOT / "include" / "bus")]
                self.assertTrue(any(there), f"{name_of(page)}: {path}")
                found += 1
        self.assertGreater(found, 20)

    def test_headers_exist(self):
        found = 0
        for page in pages():
            for header in re.findall(r"<(bus/[\w/.]+)>|`(bus/[\w/]+\.hpp)`", page.read_text()):
                header = header[0] or header[1]
                self.assertTrue((ROOT / "include" / header).exists() or header == "bus/export.hpp",
                                f"{name_of(page)}: {header}")
                found += 1
        self.assertGreater(found, 5)

    def test_tests_that_are_named_exist(self):
        # From the sources: not every build has all of them.
        tests = [".".join(names) for source in (ROOT / "tests").rglob("*.cpp")
                 for names in re.findall(r"^TEST(?:_F|_P)?\((\w+),\s*(\w+)\)", source.read_text(), re.MULTILINE)]
        found = 0
        for page in pages():
            for pattern in re.findall(r"-R '?([\w|.]+)", page.read_text()):
                self.assertTrue(any(re.search(pattern, test) for test in tests), f"{name_of(page)}: -R {pattern}")
                found += 1
        self.assertGreater(found, 20)

    def test_examples_that_are_numbered_exist(self):
        there = {int(source.name[:2]) for source in (ROOT / "examples").glob("[0-9]*.cpp")}
        for page in pages():
            for numbers in re.findall(r"[Ee]xamples? ((?:\d+(?:, | and | to )?)+)", page.read_text()):
                self.assertLessEqual({int(number) for number in re.findall(r"\d+", numbers)}, there, name_of(page))

    def test_anchors_are_made_of_headings(self):
        with tempfile.TemporaryDirectory() as directory:
            page = pathlib.Path(directory) / "page.md"
            page.write_text("# One `two`, three\n```sh\n# none\n```\n## Again\n## Again\n")
            self.assertEqual(anchors(page), {"one-two-three", "again", "again-1"})


class TablesTest(unittest.TestCase):
    def errors_of_the_page(self):
        page = (ROOT / "docs" / "errors.md").read_text()
        rows = re.findall(r"^\| (\d+) \| `(\w+)` \| ([^|]+) \| (yes|no) \|", page, re.MULTILINE)
        return [(int(number), name, text.strip(), again == "yes") for number, name, text, again in rows]

    def errors_of_the_code(self):
        header = (ROOT / "include" / "bus" / "error.hpp").read_text()
        source = (ROOT / "src" / "core" / "error.cpp").read_text()
        values = re.findall(r"^  (\w+) = (\d+),", header, re.MULTILINE)
        texts = dict(re.findall(r'case errc::(\w+): return "([^"]*)";', source))
        again = set(re.findall(r"code == errc::(\w+)", source[source.index("bool is_retryable"):]))
        return [(int(number), name, texts.get(name), name in again) for name, number in values]

    def test_errors_are_those_of_the_code(self):
        self.maxDiff = None
        self.assertGreater(len(self.errors_of_the_code()), 20)
        self.assertEqual(self.errors_of_the_page(), self.errors_of_the_code())

    def test_laws_are_listed_once_and_no_other_is_named(self):
        page = (ROOT / "docs" / "guarantees.md").read_text()
        listed = re.findall(r"^\| (BUS|ROUTE|LOG)-(\d+) \|", page, re.MULTILINE)
        expected = [(kind, str(i)) for kind, most in [("BUS", 8), ("ROUTE", 9), ("LOG", 10)] for i in range(1, most + 1)]
        self.assertEqual(listed, expected)
        for other in pages():
            named = set(re.findall(r"\b(BUS|ROUTE|LOG)-(\d+)\b", other.read_text()))
            self.assertLessEqual(named, set(expected), name_of(other))


if __name__ == "__main__":
    BUSBAR = sys.argv.pop(1)
    unittest.main()
