#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Checks that the pictures are what docs/pictures/draw.py draws, say what they show, and are shown."""

import pathlib
import re
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree

DOCS = pathlib.Path(__file__).parents[2] / "docs"
PICTURES = DOCS / "pictures"
SVG = "{http://www.w3.org/2000/svg}"


class PicturesTest(unittest.TestCase):
    def test_drawing_them_again_gives_the_same(self):
        with tempfile.TemporaryDirectory() as directory:
            subprocess.run([sys.executable, PICTURES / "draw.py", directory], check=True)
            drawn = {path.name: path.read_bytes() for path in pathlib.Path(directory).iterdir()}
        kept = {path.name: path.read_bytes() for path in PICTURES.glob("*.svg")}
        self.assertTrue(drawn)
        self.assertEqual(sorted(drawn), sorted(kept))
        for name in drawn:
            self.assertTrue(drawn[name] == kept[name], f"docs/pictures/{name} is another: run docs/pictures/draw.py")

    def test_each_has_a_title_and_a_description_and_keeps_to_its_paper(self):
        for path in PICTURES.glob("*.svg"):
            root = ElementTree.parse(path).getroot()
            self.assertEqual(root.tag, f"{SVG}svg", path)
            for tag in ("title", "desc"):
                self.assertTrue(root.findtext(f"{SVG}{tag}"), path)
            width, height = (float(root.get(side)) for side in ("width", "height"))
            for box in root.iter(f"{SVG}rect"):
                x, y, across, down = (float(box.get(one)) for one in ("x", "y", "width", "height"))
                self.assertTrue(0 <= x and x + across <= width and 0 <= y and y + down <= height, (path, box.attrib))
            for text in root.iter(f"{SVG}text"):
                self.assertTrue(0 < float(text.get("x")) < width and 0 < float(text.get("y")) < height, text.text)

    def test_each_is_shown_and_each_that_is_shown_is_there(self):
        shown = set()
        for page in DOCS.rglob("*.md"):
            shown |= set(re.findall(r"!\[[^\]]+\]\([\w/.]*?(\w+\.svg)\)", page.read_text(encoding="utf-8")))
        self.assertEqual(shown, {path.name for path in PICTURES.glob("*.svg")})


if __name__ == "__main__":
    unittest.main(argv=sys.argv)
