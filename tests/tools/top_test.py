#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Runs the real `busbar top` against recorded pages, in a real terminal and without one.

    top_test.py PATH_OF_BUSBAR [unittest arguments]

The terminal is tmux, whose screen can be read.
"""

import http.server
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

BUSBAR = "busbar"
HERE = pathlib.Path(__file__).parent
BEFORE = (HERE / "metrics_before.txt").read_bytes()
AFTER = (HERE / "metrics_after.txt").read_bytes()
TIMEOUT = 60  # seconds; what takes so long hangs


class Server:
    """Answers with one page after the other, and then with the last one for ever. A page may be a threading.Event,
    which is waited for before the next one is sent."""

    def __init__(self, *pages, port=0):
        left = list(pages)
        self.asked = threading.Semaphore(0)
        self.answered = threading.Semaphore(0)
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                server.asked.release()
                found = self.path == "/metrics"
                page = (left.pop(0) if len(left) > 1 else left[0]) if found else b""
                if isinstance(page, threading.Event):
                    page.wait(TIMEOUT)
                    page = left.pop(0)
                self.send_response(200 if found else 404)
                self.send_header("Content-Length", str(len(page)))
                self.end_headers()
                self.wfile.write(page)
                self.wfile.flush()
                server.answered.release()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        self.address = f"127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Terminal:
    """One of this size, with the command in it."""

    def __init__(self, columns, rows, *arguments, environment=()):
        self.folder = tempfile.TemporaryDirectory()
        self.socket = os.path.join(self.folder.name, "tmux")
        status = os.path.join(self.folder.name, "status")
        self.status = pathlib.Path(status)
        command = " ".join(["env", *environment, BUSBAR, "top", *arguments]) + f"; echo $? > {status}; echo ended; cat"
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", str(rows), command)

    def tmux(self, *arguments):
        environment = {**os.environ, "LC_ALL": "C.UTF-8"}
        environment.pop("TMUX", None)
        command = ["tmux", "-S", self.socket, *arguments]
        result = subprocess.run(command, capture_output=True, timeout=TIMEOUT, env=environment)
        assert result.returncode == 0, result.stderr
        return result.stdout.decode()

    def screen(self, *options):
        return self.tmux("capture-pane", "-p", *options)

    def wait_for(self, text, holds=None, options=()):
        """The screen, as soon as the text is on it, or what is asked of it holds."""
        end = time.monotonic() + TIMEOUT
        while time.monotonic() < end:
            screen = self.screen(*options)
            if holds(screen) if holds else text in screen:
                return screen
            time.sleep(0.02)
        raise AssertionError(f"never {text!r} on the screen, but\n{screen}")

    def press(self, *keys):
        self.tmux("send-keys", *keys)

    def resize(self, columns, rows):
        self.tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def end(self, *keys):
        """Exit status, after these keys."""
        self.press(*keys)
        self.wait_for("ended")
        return int(self.status.read_text())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        subprocess.run(["tmux", "-S", self.socket, "kill-server"], capture_output=True, timeout=TIMEOUT)
        self.folder.cleanup()


def run(*arguments):
    command = [BUSBAR, "top", *map(str, arguments)]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class InTerminal(unittest.TestCase):
    def check_screen(self, columns, rows, names):
        with Server(BEFORE, AFTER) as server, Terminal(columns, rows, server.address, "--interval", "0.1") as terminal:
            screen = terminal.wait_for("leases/s")
            lines = screen.split("\n")
            self.assertLessEqual(len(lines) - 1, rows)
            self.assertLessEqual(max(map(len, lines)), columns)
            for name in ["BUS", "published/s", "RECEIVER", "lag", "ROUTE", "budget", "starved/s", "LOG", "commit p50",
                         "p99", "GROUP", "leased", "dead", "records lost", "q quit", *names]:
                self.assertIn(name, screen)
            self.assertEqual(terminal.end("q"), 0)

    def test_all_tables_are_there_at_80x24(self):
        self.check_screen(80, 24, ["ROUTE 1-10/14"])

    def test_all_rows_are_there_at_200x60(self):
        rows = [f"agents/session-{i} " for i in range(12)]
        self.check_screen(200, 60, ["ev.user/s", "[####################]", *rows])

    def test_it_follows_the_size_of_the_terminal(self):
        with Server(BEFORE) as server, Terminal(80, 24, server.address, "--interval", "3600") as terminal:
            self.assertNotIn("ev.user/s", terminal.wait_for("leases/s"))
            terminal.resize(200, 60)  # the next look is an hour away
            terminal.wait_for("ev.user/s")
            terminal.resize(80, 24)
            terminal.wait_for("no wide column", lambda screen: "ev.user/s" not in screen and "ROUTE 1-10/14" in screen)
            terminal.resize(30, 4)
            terminal.wait_for("four lines", lambda screen: "ROUTE" not in screen and "q quit" in screen)

    def test_rates_are_shown_and_p_stops_them(self):
        with Server(BEFORE, AFTER) as server, Terminal(80, 24, server.address, "--interval", "0.3") as terminal:
            terminal.wait_for("a rate", lambda screen: "k published/s" in screen)
            terminal.wait_for("no rate", lambda screen: "0 published/s" in screen and "k published/s" not in screen)
            terminal.press("p")
            terminal.wait_for("PAUSED")
            server.stop()  # nobody notices
            terminal.press("Tab")
            screen = terminal.wait_for("> RECEIVER")
            self.assertIn("PAUSED", screen)
            self.assertNotIn("No answer", screen)
            terminal.press("p")
            terminal.wait_for("No answer")

    def test_an_answer_that_comes_after_p_changes_nothing(self):
        gate = threading.Event()
        server = Server(BEFORE, gate, AFTER, AFTER)
        with server, Terminal(80, 24, server.address, "--interval", "0.1") as terminal:
            terminal.wait_for("25 dead")
            for _ in range(2):
                self.assertTrue(server.asked.acquire(timeout=TIMEOUT))
            terminal.press("p")
            terminal.wait_for("PAUSED")
            gate.set()
            for _ in range(2):
                self.assertTrue(server.answered.acquire(timeout=TIMEOUT))
            terminal.press("Tab")
            self.assertIn("25 dead", terminal.wait_for("> RECEIVER"))
            terminal.press("p")
            terminal.wait_for("39 dead")

    def test_arrows_choose_a_table_and_scroll_in_it(self):
        with Server(BEFORE) as server, Terminal(80, 16, server.address, "--interval", "3600") as terminal:
            terminal.wait_for("> BUS")
            terminal.press("Right", "Right")
            terminal.wait_for("> ROUTE 1-")
            terminal.press("Down")
            terminal.wait_for("> ROUTE 2-")
            terminal.press("NPage", "NPage")
            terminal.wait_for("/14", lambda screen: "> ROUTE" in screen and "-14/14" in screen)
            terminal.press("BTab")
            terminal.wait_for("> RECEIVER")
            self.assertEqual(terminal.end("C-c"), 0)

    def test_a_server_that_is_gone_is_told_and_tried_again(self):
        port = free_port()
        with Terminal(80, 24, f"127.0.0.1:{port}", "--interval", "0.1") as terminal:
            terminal.wait_for("Connection refused")
            with Server(BEFORE, port=port):
                terminal.wait_for("BUS")
            screen = terminal.wait_for("Connection refused")
            self.assertIn("BUS", screen)
            with Server(AFTER, port=port):
                terminal.wait_for("an answer", lambda screen: "Connection refused" not in screen)

    def test_colours_are_there_unless_they_are_not_wanted(self):
        def screen(*environment):
            with Server(BEFORE) as server, Terminal(80, 24, server.address, environment=environment) as terminal:
                return terminal.wait_for("leases/s", options=["-e"])

        colour = "\x1b[31m"
        self.assertIn(colour, screen().replace("\x1b[1m\x1b[31m", colour))
        plain = screen("NO_COLOR=1")
        self.assertNotIn("[31m", plain)
        self.assertNotIn("[33m", plain)
        self.assertIn("\x1b[7m", plain)  # what is wrong stands out all the same

    def test_a_kind_of_terminal_that_nobody_knows_is_an_error(self):
        with Server(BEFORE) as server, Terminal(80, 24, server.address, environment=["TERM=none-such"]) as terminal:
            self.assertIn("TERM='none-such'", terminal.wait_for("ended"))
            self.assertEqual(terminal.end(), 1)


class Once(unittest.TestCase):
    def test_json(self):
        with Server(BEFORE, AFTER) as server:
            result = run(server.address, "--once", "--json", "--interval", 0.1)
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        self.assertEqual(result.stdout.count(b"\n"), 1)
        seen = json.loads(result.stdout)
        self.assertEqual(seen["address"], f"http://{server.address}/metrics")
        self.assertGreaterEqual(seen["seconds"], 0.1)
        self.assertFalse(seen["restarted"])
        self.assertEqual(seen["damaged_lines"], 0)
        self.assertEqual([bus["bus"] for bus in seen["buses"]], ["agents"])
        published = seen["buses"][0]["published_per_second"] * seen["seconds"]
        self.assertAlmostEqual(published, 2400, delta=0.001)
        self.assertEqual(len(seen["routes"]), 14)
        for section in ["buses", "receivers", "routes", "durable_topics", "logs", "groups"]:
            self.assertIsInstance(seen[section], list)
        log = seen["logs"][0]
        self.assertLess(0, log["commit_p50_seconds"])
        self.assertLessEqual(log["commit_p50_seconds"], log["commit_p99_seconds"])
        self.assertIn("leased", seen["groups"][0])

    def test_text_has_no_control_characters(self):
        with Server(BEFORE, AFTER) as server:
            result = run(f"http://{server.address}/metrics", "--once", "--interval", 0.1)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn(b"agents/session-11", result.stdout)
        self.assertNotRegex(result.stdout, rb"[\x00-\x09\x0b-\x1f]")

    def test_a_restart_is_told(self):
        with Server(AFTER, BEFORE) as server:
            seen = json.loads(run(server.address, "--once", "--json", "--interval", 0.1).stdout)
        self.assertTrue(seen["restarted"])
        self.assertIsNone(seen["buses"][0]["published_per_second"])

    def test_damaged_lines_are_skipped_and_counted(self):
        with Server(AFTER + b"bus_x{ 1\n" + b"bus_published_total 1") as server:
            result = run(server.address, "--once", "--json", "--interval", 0.1)
        self.assertEqual(result.returncode, 3)
        self.assertEqual(json.loads(result.stdout)["damaged_lines"], 2)

    def fail_with(self, complaint, *arguments, status=1):
        result = run(*arguments)
        self.assertEqual(result.returncode, status, result.stderr)
        self.assertEqual(result.stdout, b"")
        self.assertIn(complaint, result.stderr.decode())

    def test_no_server(self):
        self.fail_with("Connection refused", f"127.0.0.1:{free_port()}", "--once")

    def test_a_server_that_says_nothing(self):
        with socket.create_server(("127.0.0.1", 0)) as deaf:
            self.fail_with("no answer in time", f"127.0.0.1:{deaf.getsockname()[1]}", "--once", "--timeout", 0.2)

    def test_another_answer(self):
        with Server(AFTER) as server:
            self.fail_with("404", f"{server.address}/other", "--once")

    def test_a_page_of_somebody_else(self):
        with Server(b"go_threads 3\n") as server:
            self.fail_with("no metrics of Busbar", server.address, "--once", "--interval", 0.1)

    def test_wrong_usage(self):
        self.fail_with("this is no terminal", status=2)
        self.fail_with("goes with --once", "--json", status=2)
        self.fail_with("only http", "https://localhost", "--once", status=2)
        for address in ["", "http://", "a b", ":1", "localhost:port", "http://me@localhost"]:
            self.fail_with("no address", address, "--once", status=2)
        for seconds in ["0", "-1", "nan", "inf", "4000"]:
            self.fail_with("0.1 to 3600", f"--interval={seconds}", "--once", status=2)


if __name__ == "__main__":
    BUSBAR = sys.argv.pop(1)
    unittest.main()
