#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Runs Prometheus with the configuration of deploy/ beside a real `busbar serve`: every expression of the rules and the
dashboard has data, and an alert fires when it should. For the test the configuration has shorter times.

    prometheus_test.py PATH_OF_BUSBAR PATH_OF_PROMETHEUS [unittest arguments]
"""

import json
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import threading
import unittest
import urllib.error
import urllib.parse
import urllib.request

import expressions
from expressions import ROOT

sys.path.insert(0, str(ROOT / "tests" / "tools"))
from serving import TIMEOUT, Host, die_with_parent, event, eventually  # noqa: E402

BUSBAR = "busbar"
PROMETHEUS = "prometheus"

HOST = """
[bus]
capacity = 64
warnings_per_minute = 0
[receivers.auditor]
[receivers.sloth]
consumer = "slow"
consumer_delay_ms = 1000
[routes.screen]
patterns = ["agent.v1.>"]
[logs.events]
directory = "{folder}/log"
segment_bytes = 262144
spare_segments = 0
[groups.archive]
log = "events"
start = "oldest"
consumer = "count"
[durable_topics]
log = "events"
[[durable_topics.table]]
pattern = "agent.v1.done"
[metrics]
listen_port = 0
[serve]
input = "stdin"
drain_ms = 0
"""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def hurried(text):
    """A configuration or rules whose times pass quickly."""
    text = re.sub(r"_interval: \d+s", "_interval: 500ms", text)
    text = re.sub(r"\[\d+m\]", "[3s]", text)
    return re.sub(r"for: \d+m", "for: 1s", text)


def without_threshold(expression):
    """The expression with a value for all that it looks at, whether or not it is above a threshold."""
    return re.sub(r"(==|<=|>=|<|>)", r"\1 bool", expression)


class Prometheus:
    def __init__(self, folder, target):
        (folder / "busbar.rules.yaml").write_text(hurried(expressions.RULES.read_text()))
        shipped = expressions.RULES.with_name("prometheus.yaml").read_text()
        self.file = folder / "prometheus.yaml"
        self.file.write_text(hurried(shipped).replace("127.0.0.1:9464", target))
        self.folder = folder
        self.process = None

    def start(self):
        """Another program may be quicker to take a port that is free; then there is another one."""
        for attempt in range(5):
            self.address = f"http://127.0.0.1:{free_port()}"
            with open(self.folder / "prometheus.log", "wb") as log:
                self.process = subprocess.Popen(
                    [PROMETHEUS, f"--config.file={self.file}", f"--storage.tsdb.path={self.folder}/data{attempt}",
                     f"--web.listen-address={self.address.removeprefix('http://')}"], stdout=log, stderr=log,
                    preexec_fn=die_with_parent)
            if eventually(self.look, "Prometheus") == "ready":
                return self
        raise AssertionError((self.folder / "prometheus.log").read_text())

    def look(self):
        if self.process.poll() is not None:
            return "ended"
        try:
            with urllib.request.urlopen(self.address + "/-/ready", timeout=TIMEOUT) as answer:
                return "ready" if answer.status == 200 else None
        except (urllib.error.URLError, ConnectionError):
            return None

    def ask(self, path, **parameters):
        try:
            with urllib.request.urlopen(f"{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}",
                                        timeout=TIMEOUT) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error

    def samples(self, expression):
        return self.ask("query", query=expression)["result"]

    def firing(self, alert):
        return [one for one in self.ask("alerts")["alerts"]
                if one["labels"]["alertname"] == alert and one["state"] == "firing"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process is not None:
            self.process.kill()
            self.process.wait()


class PrometheusTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        file = self.folder / "host.toml"
        file.write_text(HOST.format(folder=folder.name))
        self.host = Host(BUSBAR, file)
        self.addCleanup(self.host.__exit__)
        self.prometheus = Prometheus(self.folder, f"127.0.0.1:{self.host.port}")
        self.addCleanup(self.prometheus.__exit__)
        self.prometheus.start()

    def publish(self):
        """A few thousand events a second, until the test ends."""
        enough = threading.Event()

        def write():
            chunk = event("agent.v1.thought") * 100 + event("agent.v1.done")
            while not enough.wait(0.03):
                self.host.write(chunk)

        writer = threading.Thread(target=write)
        writer.start()
        self.addCleanup(writer.join)
        self.addCleanup(enough.set)

    def test_what_is_deployed_sees_a_host_and_a_receiver_that_is_too_slow(self):
        prometheus = self.prometheus
        eventually(lambda: prometheus.samples('up{job="busbar"} == 1'), "a scrape")
        eventually(lambda: prometheus.samples("bus:bus_queue_used:ratio"), "an evaluation of the rules")
        self.assertEqual(prometheus.firing("BusbarOverflow"), [])

        self.publish()
        eventually(lambda: prometheus.samples("rate(bus_published_total[3s]) > 100"), "publishing")
        for rule in expressions.rules():
            with self.subTest(rule=rule):
                expression = without_threshold(hurried(rule["expr"]))
                eventually(lambda: prometheus.samples(expression), expression, timeout=5)
        for title, expression in expressions.panels():
            with self.subTest(panel=title):
                eventually(lambda: prometheus.samples(expression), expression, timeout=5)

        (alert,) = eventually(lambda: prometheus.firing("BusbarOverflow"), "the alert")
        self.assertRegex(alert["annotations"]["summary"], r"^A receiver of 127.0.0.1:\d+ misses [\d.]+k? events ")
        firing = {one["labels"]["alertname"] for one in prometheus.ask("alerts")["alerts"] if one["state"] == "firing"}
        self.assertEqual(firing, {"BusbarOverflow"})


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    BUSBAR = str(pathlib.Path(sys.argv.pop(1)).resolve())
    PROMETHEUS = sys.argv.pop(1)
    unittest.main(argv=sys.argv)
