#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Draws the pictures of the documentation. draw.py [DIRECTORY] writes them beside itself, or into the directory."""

import pathlib
import sys
from xml.sax.saxutils import escape

STYLE = """
    text { font-family: "DejaVu Sans", Verdana, Helvetica, sans-serif; font-size: 13px; fill: #1b2330 }
    .soft { fill: #566272 } .strong { font-weight: bold } .small { font-size: 11px } .large { font-size: 16px }
    .paper { fill: #ffffff; stroke: #c9d1db }
    .box, .line { stroke: #566272; stroke-width: 1.2 } .line { fill: none } .dashed { stroke-dasharray: 5 4 }
    .tip { fill: #566272 }
    .none { fill: none } .grey { fill: #eceff3 } .blue { fill: #d3e3f8 } .amber { fill: #fbe4b6 }
    .green { fill: #d3ecd3 } .red { fill: #f7d0c9 }
    @media (prefers-color-scheme: dark) {
      text { fill: #e4eaf1 } .soft { fill: #a3b0bf } .paper { fill: #171c24; stroke: #3a4554 }
      .box, .line { stroke: #97a4b3 } .tip { fill: #97a4b3 }
      .grey { fill: #2a323d } .blue { fill: #1f3f66 } .amber { fill: #5c4413 } .green { fill: #1f4a2a }
      .red { fill: #662a22 }
    }"""


class Picture:
    """Shapes on paper, of so many pixels."""

    def __init__(self, width, height, title, description):
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            'role="img" aria-labelledby="title desc">',
            "  <!-- SPDX-License-Identifier: MIT OR Apache-2.0. Made by docs/pictures/draw.py. -->",
            f'  <title id="title">{escape(title)}</title>',
            f'  <desc id="desc">{escape(description)}</desc>',
            f"  <style>{STYLE}\n  </style>",
            '  <defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
            'orient="auto-start-reverse"><path class="tip" d="M0 0L8 4L0 8z"/></marker></defs>',
            f'  <rect class="paper" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8"/>',
        ]
        self.text(24, 36, title, "large strong")

    def text(self, x, y, line, style="", anchor="start"):
        style = f' class="{style}"' if style else ""
        anchor = f' text-anchor="{anchor}"' if anchor != "start" else ""
        self.parts.append(f'  <text x="{x}" y="{y}"{style}{anchor}>{escape(line)}</text>')

    def lines(self, x, y, lines, style="", anchor="start", step=18):
        for i, line in enumerate(lines):
            self.text(x, y + i * step, line, style, anchor)

    def box(self, x, y, width, height, tone, *lines, style="", step=17):
        """A box with lines of text in its middle."""
        self.parts.append(f'  <rect class="box {tone}" x="{x}" y="{y}" width="{width}" height="{height}" rx="3"/>')
        first = y + height / 2 + 4.5 - (len(lines) - 1) * step / 2
        self.lines(x + width / 2, first, lines, style, "middle", step)

    def line(self, *points, style="", tip=False):
        path = "M" + " L".join(f"{x} {y}" for x, y in points)
        end = ' marker-end="url(#tip)"' if tip else ""
        self.parts.append(f'  <path class="{("line " + style).strip()}" d="{path}"{end}/>')

    def arrow(self, *points, style=""):
        self.line(*points, style=style, tip=True)

    def brace(self, left, right, y, height):
        """Holds what stands between left and right together, open towards y."""
        self.line((left, y), (left, y + height), (right, y + height), (right, y))

    def svg(self):
        return "\n".join(self.parts + ["</svg>", ""])


def ring():
    picture = Picture(
        1000, 560, "The ring: 8 slots, 18 events published",
        "Eight slots in a row, each one word of lap and node. Slots 0 and 1 hold the events 17 and 18 of lap 3, slots "
        "2 to 7 the events 11 to 16 of lap 2. A publisher swaps the word of slot 2 by one compare-and-swap; another "
        "one that was stopped before its swap holds up nobody. Receiver A reads event 15. Receiver B wanted event 6, "
        "was overtaken, goes on at event 11 and is told that it missed 5.")
    left, top, wide, high = 60, 222, 110, 92
    middle = [left + i * wide + wide / 2 for i in range(8)]
    nodes = [114, 102, 119, 107, 121, 130, 105, 117]
    for i in range(8):
        event, lap = (17 + i, 3) if i < 2 else (9 + i, 2)
        tone = "amber" if i == 2 else "green" if i < 2 else "blue"
        picture.text(middle[i], top - 8, f"slot {i}", "small soft", "middle")
        picture.box(left + i * wide, top, wide, high, tone)
        picture.text(middle[i], top + 34, f"event {event}", "strong", "middle")
        picture.text(middle[i], top + 58, f"lap {lap} · node {nodes[i]}", "small", "middle")
    picture.text(middle[1], top + 80, "newest", "small soft", "middle")
    picture.text(middle[2], top + 80, "oldest, next to go", "small soft", "middle")

    picture.box(60, 64, 430, 66, "none")
    picture.lines(76, 90, ["Publisher P fills node 126, which nobody else can see,",
                           "and has a place only when its swap succeeds."])
    picture.arrow((middle[2], 130), (middle[2], top - 24))
    picture.lines(middle[2] + 12, 156, ["one compare-and-swap, RING-PUBLISH:",
                                        "(lap 2, node 119) becomes (lap 3, node 126)"], "small soft", step=16)
    picture.box(560, 64, 380, 66, "none")
    picture.lines(576, 90, ["Publisher Q was stopped before its swap:",
                            "it has published nothing and holds up nobody."])

    low = top + high
    picture.arrow((middle[6], 400), (middle[6], low + 4))
    picture.text(middle[6] + 10, 366, "RING-READ", "small soft")
    picture.box(530, 400, 410, 84, "none")
    picture.lines(546, 425, ["Receiver A: next is event 15, 4 pending.", "It has announced a window of 64 positions",
                             "(RING-ANNOUNCE); what it finds there stays."], step=20)
    picture.arrow((middle[5], 384), (middle[5], low + 4), style="dashed")
    picture.line((300, 400), (300, 384), (middle[5], 384), style="dashed")
    picture.arrow((170, 400), (170, 356), (middle[2], 356), (middle[2], low + 4))
    picture.text(182, 346, "goes on here", "small soft")
    picture.text(middle[3] - 20, 376, "wanted event 6, finds lap 2 for lap 1", "small soft")
    picture.box(60, 400, 440, 84, "none")
    picture.lines(76, 425, ["Receiver B was overtaken: events 6 to 10 are gone.",
                            "It goes on at the oldest retained, event 11,",
                            "and this receive says missed() == 5."], step=20)
    picture.text(60, 522, "A slot is one word of 64 bits: 39 of lap, 1 for closed, 24 of node. The swap is the whole "
                 "publication; there is no half-way state.", "soft")
    return picture


def drr():
    picture = Picture(
        1000, 610, "One route: a queue for each principal, served in turns, bounded in bytes",
        "Three principals have queues in a route. In each turn a principal may spend what it has saved and a quantum "
        "of 4 KiB. Alice's first message takes 6 KiB and waits for the next round, bob is served one message, carol "
        "two. Below, a newcomer does not fit the budget: the message with the lowest sequence in the route is "
        "evicted, but not a terminal, and the next message of its principal tells of the loss.")
    scale, right = 26, 470  # pixels for a KiB; where the heads of the queues stand
    queues = [
        ("agent.alice", "red", [("112", 6, ""), ("113", 5, ""), ("115", 3, "")],
         ("0 + 4 KiB", "nothing: 112 takes 6", "4 KiB")),
        ("agent.bob", "blue", [("110", 3, "terminal"), ("114", 2, ""), ("117", 2, "")],
         ("0 + 4 KiB", "110", "1 KiB")),
        ("user.carol", "green", [("111", 2, ""), ("116", 2, ""), ("118", 3, "")],
         ("1 + 4 KiB", "111, 116", "1 KiB")),
    ]
    picture.text(24, 74, "newest", "small soft")
    picture.text(right, 74, "first", "small soft", "end")
    for x, word in ((500, "may spend"), (620, "is served"), (800, "keeps")):
        picture.text(x, 74, word, "small soft")
    for row, (name, tone, messages, turn) in enumerate(queues):
        y = 104 + row * 82
        picture.text(24, y - 6, name, "strong")
        x = right
        for sequence, size, mark in messages:
            x -= size * scale
            picture.box(x, y, size * scale - 4, 44, tone, sequence, f"{size} KiB", style="small", step=15)
            if mark:
                picture.text(x + size * scale / 2 - 2, y + 57, mark, "small soft", "middle")
        picture.line((24, y + 22), (x - 8, y + 22), style="dashed")
        for x, word in zip((500, 620, 800), turn):
            picture.text(x, y + 27, word)
    picture.line((484, 64), (484, 328))
    picture.arrow((890, 112), (890, 300))
    picture.lines(902, 196, ["the order", "of turns"], "small soft", step=15)
    picture.lines(24, 352, [
        "A turn adds the quantum, 4 KiB times the weight, to what was kept. Whoever runs empty keeps nothing.",
        "So each principal gets bytes by its weight, however many messages it has and however large they are."], "soft")

    picture.line((24, 392), (976, 392))
    picture.text(24, 420, "The budget, with evict_oldest_head: 28 KiB, all of them taken", "strong")
    unit, y = 30, 446
    x = 24
    shown = [("110", 3, "blue"), ("111", 2, "green"), ("112", 6, "red"), ("113", 5, "red"), ("114", 2, "blue"),
             ("115", 3, "red"), ("116", 2, "green"), ("117", 2, "blue"), ("118", 3, "green")]
    places = {}
    for sequence, size, tone in shown:
        picture.box(x, y, size * unit, 34, tone, sequence, style="small")
        places[sequence] = x + size * unit / 2
        x += size * unit
    picture.box(x + 40, y, 2 * unit, 34, "amber", "119", style="small")
    picture.text(x + 40 + unit, y - 8, "newcomer", "small soft", "middle")
    picture.lines(places["110"], y + 54, ["a terminal", "is passed over"], "small soft", "middle", 15)
    picture.arrow((places["111"] + 14, y + 88), (places["111"] + 14, y + 40))
    picture.lines(places["111"] + 24, y + 74, ["the oldest that may go goes; its principal's next message, 116, says "
                  "missed() == 1"], "small soft")
    picture.lines(24, y + 124, [
        "Each message is charged with its payload, its topic and 384 bytes, about the memory that it takes.",
        "A message that could never fit is refused, and its publisher told."], "soft")
    return picture


def segment():
    picture = Picture(
        1000, 626, "A segment, its batches and its frames",
        "A sealed segment from left to right: the header, batches of frames, the footer, words that were never "
        "written, the mirror with the names and the footer once more, and the header once more. Below, one batch: a "
        "mark, names, records, and a blank word that the next batch writes over. Below that, one frame: a head of 24 "
        "bytes, fields and the payload.")
    y, high = 144, 50
    parts = [("header", 70, "amber"), ("batch", 104, "blue"), ("batch", 150, "blue"), ("batch", 84, "blue"),
             ("footer", 70, "green"), ("blank words", 150, "grey"), ("names", 76, "green"), ("footer", 70, "green"),
             ("blank words", 108, "grey"), ("header", 70, "amber")]
    x, at = 24, []
    for word, wide, tone in parts:
        picture.box(x, y, wide, high, tone, word)
        at.append((x, x + wide))
        x += wide
    middle = [(a + b) / 2 for a, b in at]
    for place, word, anchor in ((24, "0", "start"), (at[6][0], "mirror", "middle"),
                                (at[9][0], "capacity - 4096", "middle")):
        picture.line((place, y + high), (place, y + high + 6))
        picture.text(place, y + high + 19, word, "small soft", anchor)
    picture.text(at[1][0] + 14, y + high + 19, "4096", "small soft")
    for begin, end, up, word in ((0, 9, 70, "the header once more, megabytes away"),
                                 (1, 6, 45, "the names once more, before a receipt depends on them"),
                                 (4, 7, 20, "the footer once more")):
        picture.arrow((middle[begin], y), (middle[begin], y - up), (middle[end], y - up), (middle[end], y - 3))
        picture.text(middle[begin] + 8, y - up - 6, word, "small soft")

    top = 272
    picture.text(80, top, "A batch: one write, one sync", "strong")
    picture.line((at[1][0], y + high), (24, top + 16), style="dashed")
    picture.line((at[1][1], y + high), (800, top + 16), style="dashed")
    x, y = 24, top + 16
    for word, wide, tone in (("mark", 110, "amber"), ("names", 110, "green"), ("record", 130, "blue"),
                             ("record", 210, "blue"), ("record", 150, "blue"), ("blank", 66, "grey")):
        picture.box(x, y, wide, high, tone, word)
        x += wide
    picture.lines(24, y + 70, ["proven: up to here", "all was durable"], "small soft", step=15)
    picture.lines(136, y + 70, ["if it uses", "a new name"], "small soft", step=15)
    picture.lines(734, y + 70, ["the next batch", "writes over it"], "small soft", step=15)
    picture.lines(824, y + 20, ["What is damaged in", "front of a later proven", "is lost, not torn."], "small soft",
                  step=15)

    top = 436
    picture.line((374, y + high), (24, top + 16), style="dashed")
    picture.line((584, y + high), (976, top + 16), style="dashed")
    picture.text(200, top + 2, "A frame: begins at a multiple of eight", "strong")
    y = top + 16
    x = 24
    for word, wide, tone in ((("check of", "the head"), 92, "amber"), (("check of", "the body"), 92, "amber"),
                             (("bytes of", "the body"), 92, "grey"), (("kind,", "number"), 92, "grey"),
                             (("time",), 72, "grey"), (("topic",), 66, "grey"), (("principal",), 82, "grey"),
                             (("fields",), 104, "green"), (("payload",), 200, "blue"), (("zeros",), 60, "grey")):
        picture.box(x, y, wide, 54, tone, *word)
        x += wide
    picture.brace(24, 612, y + 60, 8)
    picture.text(318, y + 86, "head, 24 bytes", "small soft", "middle")
    picture.brace(616, 916, y + 60, 8)
    picture.text(766, y + 86, "body", "small soft", "middle")
    picture.lines(24, y + 116, [
        "The check of the head is seeded with the segment's salt and the frame's position: what was copied from",
        "elsewhere, what an earlier life of the file left behind, and what a producer put into a payload is no frame.",
        "Numbers count without gaps: after damage the next genuine frame says exactly how many records are missing.",
    ], "soft")
    return picture


def main():
    directory = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else __file__)
    directory = directory if directory.is_dir() else directory.parent
    for picture in (ring, drr, segment):
        (directory / f"{picture.__name__}.svg").write_text(picture().svg(), encoding="utf-8")


main()
