"""A real browser for tests: headless Chromium, driven over the pipe of its DevTools protocol.

`open_chromium` gives one that talks to nobody but the pages it is sent to; all its processes are
gone at the block's end. `needs_chromium` skips a test where it is not installed.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Any

import psutil
import pytest

WAIT_SECONDS = 60.0
PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--disable-breakpad", "--disable-crash-reporter", "--mute-audio"),
    *("--no-proxy-server", "--remote-debugging-pipe"),
)
_COMMANDS, _ANSWERS = 3, 4
"""The descriptors on which the browser expects its pipe."""
_FREE = 20
needs_chromium = pytest.mark.skipif(
    PROGRAM is None, reason="chromium is not installed (Debian: apt-get install chromium)"
)


class Chromium:
    """One browser with one page."""

    def __init__(self, process: subprocess.Popen[bytes], commands: int, answers: int) -> None:
        self._process = process
        self._commands = commands
        self._answers = answers
        self._received = b""
        self._count = 0
        self._session: str | None = None

    def attach(self) -> None:
        """Open the page."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        self.call("Page.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and wait for its result; events meanwhile are dropped."""
        self._send(method, params)
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            message = self._message(deadline)
            if message.get("id") == self._count:
                assert "error" not in message, message
                return message["result"]

    def open(self, url: str) -> None:
        """Go to a page and wait until it has been loaded."""
        self._send("Page.navigate", {"url": url})
        deadline = time.monotonic() + WAIT_SECONDS
        while self._message(deadline).get("method") != "Page.loadEventFired":
            pass

    def evaluate(self, script: str) -> Any:
        """The value of an expression, awaited where it is a promise."""
        result = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def _send(self, method: str, params: dict[str, Any]) -> None:
        self._count += 1
        command: dict[str, Any] = {"id": self._count, "method": method, "params": params}
        if self._session is not None:
            command["sessionId"] = self._session
        os.write(self._commands, json.dumps(command).encode() + b"\0")

    def _message(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._received:
            ready, _, _ = select.select([self._answers], [], [], deadline - time.monotonic())
            data = os.read(self._answers, 1 << 20) if ready else b""
            assert data, "the browser does not answer"
            self._received += data
        message, _, self._received = self._received.partition(b"\0")
        return json.loads(message)


@contextmanager
def open_chromium() -> Generator[Chromium]:
    assert PROGRAM is not None
    with ExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        commands_read, commands = _pipe(stack)
        answers, answers_write = _pipe(stack)

        def place() -> None:
            os.dup2(commands_read, _COMMANDS)
            os.dup2(answers_write, _ANSWERS)

        process = subprocess.Popen(
            [PROGRAM, *_FLAGS, f"--user-data-dir={home}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "HOME": home},
            pass_fds=(_COMMANDS, _ANSWERS),
            preexec_fn=place,
            start_new_session=True,
        )
        stack.callback(_end, process)
        browser = Chromium(process, commands, answers)
        browser.attach()
        yield browser


def _pipe(stack: ExitStack) -> tuple[int, int]:
    """A pipe whose numbers are not those that the browser wants."""
    ends: list[int] = []
    for end in os.pipe():
        ends.append(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, _FREE))
        os.close(end)
        stack.callback(os.close, ends[-1])
    return ends[0], ends[1]


def _end(process: subprocess.Popen[bytes]) -> None:
    family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(WAIT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(WAIT_SECONDS)
    _, alive = psutil.wait_procs(family, timeout=WAIT_SECONDS)
    for each in alive:
        each.kill()
    assert not alive
