#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Makes agents.ndjson: an afternoon of made-up agents that look after a made-up botanical garden.

Each agent goes round: a user asks or the agent looks around (observation), it thinks, a model streams an answer in
pieces and ends it with a `done`, the agent acts. The agents run side by side, so their events are interleaved.

    python3 make_agents.py > agents.ndjson

The same bytes come out every time, with any Python 3.
"""

import json
import random
import sys

ROUNDS = 17
PROVIDERS = ["aster", "brook", "cedar"]
AGENTS = {  # name: (the user it works for, what it looks after)
    "gardener": ("mira", ["the fern house", "the rose beds", "the herb spiral", "the old orchard"]),
    "weather": (None, ["the rain gauge", "the wind mast", "the frost sensor", "the cloud camera"]),
    "librarian": ("tomas", ["the seed catalogue", "the field notes", "the map room", "the pressed flowers"]),
    "planner": ("ines", ["the spring tour", "the school visit", "the night opening", "the seed exchange"]),
    "plumber": (None, ["the north pump", "the pond filter", "the drip lines", "the rain tank"]),
}
THOUGHTS = [
    "{place} has changed since the last look; compare it with yesterday before doing anything.",
    "Nobody has asked about {place} for a while. A short check now saves a long one later.",
    "Two readings of {place} disagree. The older one is probably stale.",
    "If {place} is fine, the rest of the round can be skipped.",
]
ANSWERS = [
    "Start with {place} and note what is dry, what is wet and what is missing. Then tell the others in one line.",
    "The figures for {place} are within their usual range. Only the last one is a little high, so measure it again.",
    "Before you touch {place}, ask who used it last. If nobody answers within the hour, go ahead and write it down.",
    "There is nothing urgent about {place}. Put it at the end of the list and look at the forecast first.",
]
ACTIONS = ["measure", "inspect", "open_valve", "close_valve", "write_note", "send_summary"]
QUESTIONS = ["How is {place} today?", "Please look after {place} before noon.", "What did {place} cost us this week?"]
OUTCOMES = ["done", "nothing to do", "retried once", "needs a second look"]


class Dice:
    """Draws that are the same in every version of Python: only random() is promised to be."""

    def __init__(self, seed):
        self._random = random.Random(seed)

    def below(self, n):
        return int(self._random.random() * n)

    def pick(self, items):
        return items[self.below(len(items))]


def agent_events(name, dice):
    user, places = AGENTS[name]
    principal = "agent." + name
    for turn in range(1, ROUNDS + 1):
        place = dice.pick(places)
        if user and dice.below(3) == 0:
            yield "agent.v1.observation", user, {"turn": turn, "question": dice.pick(QUESTIONS).format(place=place)}
        else:
            reading = round(10 + dice.below(200) / 10, 1)
            yield "agent.v1.observation", principal, {"turn": turn, "about": place, "reading": reading, "unit": "C"}
        yield "agent.v1.thought", principal, {"turn": turn, "text": dice.pick(THOUGHTS).format(place=place)}

        provider = dice.pick(PROVIDERS)
        words = dice.pick(ANSWERS).format(place=place).split()
        stream = f"{name}-{turn}"
        for index, word in enumerate(words):
            yield f"llm.v1.stream.{provider}", principal, {"stream": stream, "index": index, "delta": word + " "}
        yield f"llm.v1.done.{provider}", principal, {"stream": stream, "pieces": len(words), "reason": "stop"}

        tool = dice.pick(ACTIONS)
        yield "agent.v1.action", principal, {"turn": turn, "tool": tool, "arguments": {"place": place}}
        yield "agent.v1.observation", principal, {"turn": turn, "tool": tool, "outcome": dice.pick(OUTCOMES)}


def interleaved(dice):
    running = [agent_events(name, dice) for name in AGENTS]
    published = 0
    while running:
        source = dice.pick(running)
        event = next(source, None)
        if event is None:
            running.remove(source)
            continue
        yield event
        published += 1
        if published % 250 == 0:  # the host itself speaks on nobody's behalf
            yield "host.v1.notice", None, {"published": published, "agents": len(running)}


def main():
    sys.stdout.reconfigure(newline="\n")
    for topic, principal, payload in interleaved(Dice(20)):
        print(json.dumps({"topic": topic, "principal": principal, "payload": payload}, separators=(",", ":")))


if __name__ == "__main__":
    main()
