#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Checks that contracts come out of Doxygen as they stand in the headers. reference_test.py XML"""

import pathlib
import re
import sys
import unittest
import xml.etree.ElementTree as ElementTree

XML = pathlib.Path(sys.argv.pop(1))
FIELDS = ("Threads", "Returns", "Lifetime", "Blocks", "Cost", "Errors", "Ordering")


def titles(element):
    return [title.text for title in element.iterfind(".//simplesect[@kind='par']/title")]


def members(file, name):
    return [one for one in ElementTree.parse(XML / file).iter("memberdef") if one.findtext("name") == name]


class ReferenceTest(unittest.TestCase):
    def test_each_field_is_a_paragraph(self):
        (send,) = members("classbus_1_1Sender.xml", "send")
        self.assertEqual(titles(send), ["Returns", "Blocks", "Cost", "Errors", "Ordering"])
        (try_recv,) = members("classbus_1_1Receiver.xml", "try_recv")
        self.assertEqual(titles(try_recv), ["Returns", "Blocks", "Cost"])  # all in one line

    def test_no_field_is_left_in_the_text(self):
        field = re.compile(rf"(?:^|[.;] )({'|'.join(FIELDS)}):(?: |$)")
        for path in XML.glob("*.xml"):
            for paragraph in ElementTree.parse(path).iter("para"):
                text = " ".join("".join(paragraph.itertext()).split())
                self.assertNotRegex(text, field, path)

    def test_the_head_of_a_header_describes_it(self):
        head = ElementTree.parse(XML / "bus_8hpp.xml").find("compounddef/detaileddescription")
        self.assertEqual(titles(head), ["Loss", "Order", "Threads"])
        self.assertIsNotNone(head.find(".//programlisting"))

    def test_forms_of_one_call_share_their_comment(self):
        forms = [one for name in ("try_recv_batch", "recv_batch", "recv_batch_until")
                 for one in members("classbus_1_1Receiver.xml", name)]
        self.assertEqual(len(forms), 5)
        said = {"".join(one.find("detaileddescription").itertext()).strip() for one in forms}
        self.assertEqual(len(said), 1)
        self.assertIn("does not reach across a gap", said.pop())

    def test_what_is_not_public_is_not_shown(self):
        names = {one.findtext("compoundname") for path in XML.glob("*.xml") for one in
                 ElementTree.parse(path).iter("compounddef")}
        self.assertIn("bus::Payload", names)
        self.assertFalse([name for name in names if name and ("detail" in name or "Block" in name)])


if __name__ == "__main__":
    unittest.main(argv=sys.argv)
