# SPDX-License-Identifier: MIT OR Apache-2.0
"""A running `busbar serve`, for tests: it ends with them."""

import ctypes
import http.client
import json
import os
import re
import signal
import subprocess
import threading
import time

TIMEOUT = 60  # seconds; what takes so long hangs


def event(topic="agent.v1.done", principal="agent.mira", payload=None):
    return json.dumps({"topic": topic, "principal": principal, "payload": payload}) + "\n"


def eventually(look, what="it", timeout=TIMEOUT):
    """What `look` returns, once that is something. Tries again and again."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(what + " did not happen")


def die_with_parent():
    """For a process that is begun: it ends when the test does, be that killed."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


class Host:
    def __init__(self, busbar, file, *arguments, **variables):
        clean = {name: text for name, text in os.environ.items() if not name.startswith("BUSBAR_")}
        self.process = subprocess.Popen([busbar, "serve", str(file), "--json", *arguments], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**clean, **variables},
                                        preexec_fn=die_with_parent)
        self.output = []
        self.complaints = []
        self.readers = [threading.Thread(target=self._read, args=pair, daemon=True)
                        for pair in ((self.process.stdout, self.output), (self.process.stderr, self.complaints))]
        for reader in self.readers:
            reader.start()

    @staticmethod
    def _read(stream, lines):
        for line in stream:
            lines.append(line.decode())

    def wait_ready(self):
        self.heard("busbar: ready")
        return self

    def heard(self, text):
        """The line of standard error with that text; waits for it."""
        def look():
            if any(text in line for line in self.complaints):
                return True
            if self.process.poll() is not None:
                raise AssertionError(f"the host has ended: {self.complaints}")
            return False
        eventually(look, text)
        return next(line for line in self.complaints if text in line)

    @property
    def port(self):
        return int(re.search(r"http://127\.0\.0\.1:(\d+)/metrics", self.heard("busbar: ready")).group(1))

    def get(self, path, method="GET", headers=None):
        """Status, headers and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        try:
            connection.request(method, path, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode()
        finally:
            connection.close()

    def metric(self, name):
        """The sum of its samples."""
        samples = re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", self.get("/metrics")[2], re.MULTILINE)
        return sum(map(float, samples)) if samples else None

    def write(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def hang_up(self):
        self.process.send_signal(signal.SIGHUP)

    def end(self, wanted=signal.SIGTERM):
        """Sends a signal, or with None ends the input. Returns: exit status and report."""
        if wanted is None:
            self.process.stdin.close()
        else:
            self.process.send_signal(wanted)
        status = self.process.wait(TIMEOUT)
        for reader in self.readers:
            reader.join(TIMEOUT)
        return status, json.loads(self.output[-1]) if self.output else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for reader in self.readers:
            reader.join(TIMEOUT)
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.stderr.close()
