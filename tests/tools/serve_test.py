#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Runs the real `busbar serve`, and checks what it promises.

    serve_test.py PATH_OF_BUSBAR [unittest arguments]
"""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import unittest

from serving import TIMEOUT, Host, event, eventually

BUSBAR = "busbar"
ROOT = pathlib.Path(__file__).parents[2]
METRICS = "[metrics]\nlisten_port = 0\n"


class ServeTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.file = self.folder / "host.toml"

    def host(self, text, *arguments, **variables):
        """One that ends with the test."""
        self.file.write_text(text)
        host = Host(BUSBAR, self.file, *arguments, **variables)
        self.addCleanup(host.__exit__)
        return host

    def log(self, more=""):
        return f'[logs.events]\ndirectory = "{self.folder / "log"}"\nsegment_bytes = 262144\n' \
               f"uncommitted_bytes = 65536\nspare_segments = 0\n{more}"

    def durable(self):
        return self.log() + '[durable_topics]\nlog = "events"\n[[durable_topics.table]]\npattern = "agent.v1.done"\n'

    def assert_balanced(self, report):
        for one in report["receivers"]:
            self.assertEqual(one["published"], one["delivered"] + one["filtered"] + one["missed"] + one["pending"])
        for one in report["routes"]:
            self.assertEqual(one["offered"], one["delivered"] + one["lost"] + one["pending"])

    # --- Publishing.

    def test_lines_of_standard_input_reach_receivers_routes_logs_and_groups(self):
        host = self.host('[serve]\ninput = "stdin"\n[receivers.auditor]\npatterns = ["agent.>"]\nconsumer = "print"\n'
                         '[routes.screen]\npatterns = ["agent.v1.*"]\nconsumer = "print"\n' + self.durable() +
                         '[groups.archive]\nlog = "events"\nstart = "oldest"\nconsumer = "print"\n')
        host.wait_ready()
        host.write(event(payload={"n": 1}) + event("agent.v1.thought", payload="hm") + event("other", payload=[]))
        status, report = host.end(None)
        self.assertEqual((status, host.complaints), (0, ["busbar: ready\n"]))
        self.assertTrue(report["complete"])
        self.assertEqual((report["published"], report["refused"]), (4, {}), "three messages, and the shutdown")
        self.assert_balanced(report)
        (auditor,) = report["receivers"]
        self.assertEqual((auditor["delivered"], auditor["filtered"]), (3, 1))
        (screen,) = report["routes"]
        self.assertEqual((screen["offered"], screen["delivered"]), (2, 2))
        (log,) = report["logs"]
        self.assertEqual((log["records"], log["next_offset"]), (1, 1))
        printed = [json.loads(line) for line in host.output[:-1]]
        done = {"topic": "agent.v1.done", "principal": "agent.mira", "payload": {"n": 1}}
        self.assertIn({"receiver": "auditor", **done}, printed)
        self.assertIn({"route": "screen", **done}, printed)
        self.assertIn({"receiver": "auditor", "event": "shutdown"}, printed)

    def test_a_group_is_read_and_acked_if_it_is_said_so(self):
        host = self.host(METRICS + '[serve]\ninput = "stdin"\n' + self.durable() +
                         '[groups.archive]\nlog = "events"\nstart = "oldest"\nconsumer = "print"\n'
                         '[groups.kept]\nlog = "events"\nstart = "oldest"\n')
        host.write(event(payload=7))
        eventually(lambda: host.metric("bus_group_outcomes_total") == 1)
        status, report = host.end()
        self.assertEqual(status, 0)
        self.assertEqual([(one["name"], one["acked"]) for one in report["groups"]], [("archive", 1), ("kept", 0)])
        self.assertEqual(json.loads(host.output[0]),
                         {"group": "archive", "topic": "agent.v1.done", "principal": "agent.mira", "payload": 7})
        lag = subprocess.run([BUSBAR, "lag", str(self.folder / "log"), "--json"], capture_output=True, check=True)
        self.assertIn('"kept"', lag.stdout.decode())

    def test_what_a_group_could_not_print_is_not_acked(self):
        self.file.write_text('[serve]\ninput = "stdin"\n' + self.durable() +
                             '[groups.archive]\nlog = "events"\nstart = "oldest"\nconsumer = "print"\n')
        with open("/dev/full", "w") as full:
            process = subprocess.Popen([BUSBAR, "serve", str(self.file), "--stay"], stdin=subprocess.PIPE, stdout=full,
                                       stderr=subprocess.PIPE, text=True)
        for after in (process.stderr.close, process.wait, process.kill):
            self.addCleanup(after)
        process.stdin.write(event() * 3)
        process.stdin.close()
        complaint = next(line for line in process.stderr if "group archive" in line)
        self.assertIn("cannot write to standard output", complaint)
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
        owed = subprocess.run([BUSBAR, "lag", str(self.folder / "log"), "--json"], capture_output=True, check=True)
        self.assertIn('"behind":3', owed.stdout.decode().replace(" ", ""))

    def test_who_stops_reading_what_is_printed_does_not_hold_up_the_end(self):
        events = self.folder / "events.ndjson"
        events.write_text(event(payload="x" * 100) * 3000)  # a pipe holds fewer
        self.file.write_text(f'[bus]\ncapacity = 4096\n[serve]\ninput = "file"\nfile = "{events}"\ndrain_ms = 100\n'
                             '[receivers.auditor]\nconsumer = "print"\n')
        process = subprocess.Popen([BUSBAR, "serve", str(self.file), "--json"], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for after in (process.stdout.close, process.stderr.close, process.wait, process.kill):
            self.addCleanup(after)
        self.assertEqual(process.wait(TIMEOUT), 3)
        complaints = process.stderr.read().splitlines()
        self.assertEqual(complaints[1:-1], [
            "busbar: receiver auditor: standard output has no room, and the last one was not printed",
            "busbar: standard output has no room for the report"])
        report = json.loads(complaints[-1])
        self.assertFalse(report["complete"])
        self.assert_balanced(report)
        (auditor,) = report["receivers"]
        printed = process.stdout.read().count("\n")
        self.assertEqual((auditor["delivered"], auditor["missed"]), (printed + 1, 0), "all but the last one")
        self.assertEqual(auditor["pending"], 3001 - auditor["delivered"])

    def test_who_stops_reading_all_that_is_said_does_not_hold_up_the_end_either(self):
        events = self.folder / "events.ndjson"
        events.write_text(event(payload="x" * 100) * 3000)
        self.file.write_text(f'[bus]\ncapacity = 4096\n[serve]\ninput = "file"\nfile = "{events}"\ndrain_ms = 100\n'
                             '[receivers.auditor]\nconsumer = "print"\n')
        process = subprocess.Popen([BUSBAR, "serve", str(self.file), "--json"], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for after in (process.stdout.close, process.wait, process.kill):
            self.addCleanup(after)
        self.assertEqual(process.wait(TIMEOUT), 3)

    def test_lines_that_are_no_events_are_told_and_skipped(self):
        host = self.host('[serve]\ninput = "stdin"\n')
        host.write("nonsense\n" + event() + '{"topic": "a..b", "payload": 1}\n')
        status, report = host.end(None)
        self.assertEqual((status, report["skipped_lines"], report["published"]), (3, 2, 2))
        self.assertEqual(len([line for line in host.complaints if "skipped: " in line]), 2)

    def test_a_file_is_read_to_its_end_and_then_the_host_ends_or_stays(self):
        events = self.folder / "events.ndjson"
        events.write_text(event() * 5)
        text = METRICS + f'[serve]\ninput = "file"\nfile = "{events}"\n[receivers.auditor]\n'
        host = self.host(text)
        self.assertEqual(host.process.wait(TIMEOUT), 0)
        self.assertEqual(host.end(None)[1]["published"], 6)
        host = self.host(text, "--stay")
        eventually(lambda: host.metric("bus_published_total") == 5)
        self.assertEqual(host.end()[0], 0)

    def test_a_followed_file_is_followed_when_it_grows_is_cut_or_replaced(self):
        events = self.folder / "events.ndjson"
        events.write_text(event())
        host = self.host(METRICS + f'[serve]\ninput = "follow"\nfile = "{events}"\n[receivers.auditor]\n')
        eventually(lambda: host.metric("bus_published_total") == 1)
        line = event()
        with events.open("a") as file:
            file.write(line[:9])
            file.flush()
            file.write(line[9:] + line)
        eventually(lambda: host.metric("bus_published_total") == 3)
        events.write_text(event())
        eventually(lambda: host.metric("bus_published_total") == 4)
        with events.open("a") as old:
            old.write(event())
            events.rename(self.folder / "events.ndjson.1")
            old.write(event() + line.rstrip())  # a line that is never ended is one all the same
            old.flush()
            other = self.folder / "new"
            other.write_text(event())
            other.rename(events)
        eventually(lambda: host.metric("bus_published_total") == 8)
        status, report = host.end()
        self.assertEqual((status, report["skipped_lines"], report["published"]), (0, 0, 9))

    def test_a_host_that_forgets_prints_no_payload(self):
        host = self.host('[serve]\ninput = "stdin"\n[bus]\namnesia = true\n'
                         '[routes.screen]\npatterns = [">"]\nconsumer = "print"\n')
        host.write(event(payload="secret"))
        self.assertEqual(host.end(None)[0], 0)
        self.assertEqual(json.loads(host.output[0])["payload_bytes"], len('"secret"'))
        self.assertNotIn("secret", "".join(host.output + host.complaints))

    def test_messages_that_are_refused_are_counted_by_why(self):
        host = self.host('[serve]\ninput = "stdin"\n[router]\nrate_limit = "r"\n'
                         "[rate_limits.r]\nbytes_per_second = 1\nburst_bytes = 8\nmax_message_bytes = 8\n")
        host.write(event(payload=1) + event(payload="much too long") * 2)
        status, report = host.end(None)
        self.assertEqual((status, report["published"], sum(report["refused"].values())), (3, 2, 2))
        self.assertEqual(len([line for line in host.complaints if "not published" in line]), 1)

    # --- The end.

    def test_readers_have_until_the_deadline_and_the_rest_is_told(self):
        for wanted in (signal.SIGTERM, signal.SIGINT, None):
            with self.subTest(wanted):
                host = self.host('[serve]\ninput = "stdin"\ndrain_ms = 50\n[routes.screen]\npatterns = [">"]\n'
                                 'consumer = "slow"\nconsumer_delay_ms = 3600000\n[receivers.sloth]\n'
                                 'consumer = "slow"\nconsumer_delay_ms = 3600000\n' + METRICS)
                host.write(event() * 10)
                eventually(lambda: host.metric("bus_published_total") == 10)
                status, report = host.end(wanted)
                self.assertEqual((status, report["complete"]), (3, False))
                self.assert_balanced(report)
                self.assertEqual([(one["delivered"], one["pending"]) for one in report["routes"]], [(1, 9)])
                self.assertEqual([(one["delivered"], one["pending"]) for one in report["receivers"]], [(1, 10)])

    def test_a_report_for_people_has_a_table_each(self):
        self.file.write_text('[serve]\ninput = "stdin"\n[receivers.auditor]\n[routes.screen]\npatterns = [">"]\n')
        result = subprocess.run([BUSBAR, "serve", str(self.file)], input=event(), capture_output=True, text=True,
                                timeout=TIMEOUT)
        self.assertEqual((result.returncode, result.stderr), (0, "busbar: ready\n"))
        self.assertRegex(result.stdout, r"^2 events published; drained\n\nreceiver +delivered .*\nauditor +2 ")
        self.assertRegex(result.stdout, r"\n\nroute +offered .*\nscreen +1 +1 +0 +0\n")

    # --- Metrics and health.

    def test_metrics_are_served_to_get_and_head_and_nothing_else_is(self):
        host = self.host(METRICS + "[receivers.auditor]\n")
        status, headers, body = host.get("/metrics")
        self.assertEqual((status, headers["Content-Type"]), (200, "text/plain; version=0.0.4; charset=utf-8"))
        self.assertIn("\nbus_capacity{", body)
        self.assertEqual(host.get("/metrics?all=1")[0], 200)
        status, headers, body = host.get("/metrics", "HEAD")
        self.assertEqual((status, body), (200, ""))
        self.assertGreater(int(headers["Content-Length"]), 1000)
        self.assertEqual(host.get("/metrics", "POST")[0], 405)
        self.assertEqual(host.get("/metrics", "DELETE")[1]["Allow"], "GET, HEAD")
        self.assertEqual(host.get("/")[0], 404)
        self.assertEqual(host.get("/metrics", headers={"X": "x" * 7000})[0], 200)
        self.assertEqual(host.get("/metrics", headers={"X": "x" * 9000})[0], 431)
        self.assertEqual(host.get("/metrics", headers={"X": "x" * 50000})[0], 431)
        self.assertEqual(self.ask(host, b"nonsense\r\n\r\n").split(b" ")[1], b"400")
        self.assertEqual(self.ask(host, b"GET /metrics HTTP/1.1\r\n\r\n" * 2).count(b"HTTP/1.1 200"), 1)
        self.assertEqual(host.end()[0], 0)

    def test_who_says_nothing_is_left_after_five_seconds(self):
        host = self.host(METRICS)
        idle = [socket.create_connection(("127.0.0.1", host.port), TIMEOUT) for _ in range(64)]
        self.assertEqual(self.ask(host, b"GET /readyz HTTP/1.1\r\n\r\n"), b"", "it is one too many")
        for one in idle:
            one.sendall(b"GET /metrics HTTP/1.1\r\n")
        for one in idle:
            self.assertEqual(one.recv(1), b"")
            one.close()
        self.assertEqual(eventually(lambda: self.ask(host, b"GET /readyz HTTP/1.1\r\n\r\n"))[:12], b"HTTP/1.1 200")

    def ask(self, host, request):
        """The answer; nothing if there is none."""
        with socket.create_connection(("127.0.0.1", host.port), TIMEOUT) as connection:
            answer = b""
            try:
                connection.sendall(request)
                while more := connection.recv(65536):
                    answer += more
            except ConnectionError:
                return b""
        return answer

    def test_an_address_that_is_in_use_is_told_before_anything_is_opened(self):
        host = self.host(METRICS)
        port = host.port
        other = self.host(self.log() + f"[metrics]\nlisten_port = {port}\n")
        self.assertEqual(other.end(None), (1, None))
        self.assertEqual(other.complaints, [f"busbar: cannot listen on 127.0.0.1:{port}: Address already in use\n"])
        self.assertFalse((self.folder / "log").exists())
        other = self.host("[metrics]\nlisten_port = 1\nlisten_address = \"no.such.host.invalid\"\n")
        self.assertEqual(other.end(None)[0], 1)
        self.assertIn("cannot listen on no.such.host.invalid:1: ", other.complaints[0])

    def test_a_host_is_ready_until_it_drains(self):
        host = self.host(METRICS + '[serve]\ninput = "stdin"\ndrain_ms = 3600000\n[routes.screen]\npatterns = [">"]\n'
                         'consumer = "slow"\nconsumer_delay_ms = 3600000\n')
        self.assertEqual(host.get("/readyz")[::2], (200, "ready\n"))
        self.assertEqual(host.get("/healthz")[::2], (200, "healthy\n"))
        host.write(event())
        eventually(lambda: host.metric("bus_route_delivered_total") == 1)
        host.process.send_signal(signal.SIGTERM)
        eventually(lambda: host.get("/readyz")[0] == 503)
        self.assertEqual(host.get("/readyz")[2], "draining\n")
        host.process.send_signal(signal.SIGTERM)
        self.assertEqual(host.process.wait(TIMEOUT), -signal.SIGTERM, "the second one ends it")

    def test_a_hang_up_while_it_drains_does_not_end_it(self):
        host = self.host(METRICS + '[serve]\ninput = "stdin"\ndrain_ms = 300\n[routes.screen]\npatterns = [">"]\n'
                         'consumer = "slow"\nconsumer_delay_ms = 3600000\n')
        host.write(event())
        eventually(lambda: host.metric("bus_route_delivered_total") == 1)
        host.process.send_signal(signal.SIGTERM)
        eventually(lambda: host.get("/readyz")[0] == 503)
        host.process.send_signal(signal.SIGHUP)
        status, report = host.end(None)
        self.assertEqual((status, report["complete"]), (3, False))

    def test_a_log_that_is_read_only_makes_a_host_unhealthy(self):
        lines = event(payload="x" * 20000) * 100
        log = self.folder / "log"
        subprocess.run([BUSBAR, "log", "append", str(log)], input=lines.encode(), capture_output=True, check=True)
        (segment,) = log.glob("0*.segment")
        with open(segment, "r+b") as file:
            file.seek(200000)
            file.write(b"?" * 1000000)
        host = self.host(METRICS + '[serve]\ninput = "stdin"\n' + self.durable() + '[groups.g]\nlog = "events"\n')
        self.assertEqual(host.get("/healthz")[::2], (503, "log events is read-only\n"))
        self.assertEqual(host.get("/readyz")[0], 200)
        self.assertEqual(host.metric("bus_log_read_only"), 1)
        self.assertGreater(host.metric("bus_log_lost_records"), 40)
        host.write(event() + event("other"))
        eventually(lambda: host.metric("bus_published_total") == 1)
        status, report = host.end()
        self.assertEqual((status, sum(report["refused"].values())), (3, 1))
        self.assertGreater(report["logs"][0]["lost_records"], 40)

    def test_a_log_that_is_open_elsewhere_is_told(self):
        self.host(self.log()).wait_ready()
        other = self.host(self.log())
        self.assertEqual(other.end(None), (1, None))
        self.assertIn("cannot open log events in", other.complaints[-1])

    # --- The configuration.

    def test_a_configuration_with_errors_is_told_and_nothing_starts(self):
        host = self.host("[bus]\ncapacity = 1\n[routes.r]\n")
        self.assertEqual(host.end(None), (1, None))
        self.assertEqual(len(host.complaints), 2)
        self.assertIn("bus.capacity", host.complaints[0])

    def test_a_missing_input_is_told_before_anything_is_opened(self):
        host = self.host(f'[serve]\ninput = "follow"\nfile = "{self.folder}/none"\n' + self.log())
        self.assertEqual(host.end(None), (1, None))
        self.assertIn("none", host.complaints[0])
        self.assertFalse((self.folder / "log").exists())

    def test_a_reload_applies_what_can_change_and_tells_the_rest(self):
        text = '[receivers.auditor]\nconsumer = "print"\n[rate_limits.r]\nbytes_per_second = {}\n[bus]\ncapacity = {}\n'
        host = self.host(text.format(100, 64))
        host.wait_ready()
        self.file.write_text(text.format(200, 128))
        host.hang_up()
        host.heard("busbar: reloaded")
        self.assertEqual(host.complaints[1:], ["busbar: changed: rate_limits.r.bytes_per_second = 200\n",
                                               "busbar: needs a restart: bus.capacity\n", "busbar: reloaded\n"])
        eventually(lambda: host.output)
        self.assertEqual(json.loads(host.output[0]), {"receiver": "auditor", "event": "config_updated"})
        self.file.write_text("nonsense")
        host.hang_up()
        host.heard("was not reloaded")
        self.assertEqual(host.end()[0], 0)

    def test_help_says_how(self):
        result = subprocess.run([BUSBAR, "serve", "--help"], capture_output=True, text=True, check=True)
        self.assertIn("Example:", result.stdout)
        self.assertEqual(subprocess.run([BUSBAR, "serve"], capture_output=True).returncode, 2)

    def test_the_host_of_the_operations_page_runs(self):
        page = (ROOT / "docs" / "operations.md").read_text()
        text = textwrap.dedent(page.split("```toml")[1].split("```")[0])
        host = self.host(text.replace("busbar-events", str(self.folder / "log")), BUSBAR_METRICS_LISTEN_PORT="0")
        host.write((ROOT / "examples" / "data" / "agents.ndjson").read_text())
        eventually(lambda: host.metric("bus_log_records_total") > 50)
        self.assertEqual(host.end()[0], 0)

    def test_the_example_of_the_help_runs(self):
        file = ROOT / "examples" / "data" / "host.toml"
        os.chdir(self.folder)
        self.addCleanup(os.chdir, ROOT)
        host = Host(BUSBAR, file, "--stay", BUSBAR_METRICS_LISTEN_PORT="0", BUSBAR_SERVE_INPUT="stdin")
        self.addCleanup(host.__exit__)
        recording = (ROOT / "examples" / "data" / "agents.ndjson").read_text()
        host.write(recording)
        eventually(lambda: host.metric("bus_published_total") == len(recording.splitlines()))
        self.assertEqual(host.end()[0], 0)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    BUSBAR = str(pathlib.Path(sys.argv.pop(1)).resolve())
    unittest.main(argv=sys.argv)
