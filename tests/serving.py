"""`gglib serve` as a process of its own, as users run it; and a look at what it leaves behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.command_line import Shell

WAIT_SECONDS = 60.0
_POLL_SECONDS = 0.01
_LISTENS = re.compile(r"listens on (https?(?:://|\+unix://)\S+)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A running `gglib serve`."""

    shell: Shell
    process: subprocess.Popen[str]
    url: str
    log: Path

    def post(self, path: str, body: object, **options: Any) -> httpx.Response:
        options.setdefault("timeout", WAIT_SECONDS)
        return httpx.post(self.url + path, json=body, **options)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, timeout=WAIT_SECONDS)

    def chat(self, model: str, **fields: Any) -> httpx.Response:
        return self.post("/v1/chat/completions", chat_body(model, **fields))

    def engines(self) -> list[psutil.Process]:
        """The engine processes that it has now."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send the signal; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(WAIT_SECONDS)


def chat_body(model: str, **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "Say something."}]
    return {"model": model, "messages": messages, "max_tokens": 8, "temperature": 0} | fields


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for what no event tells, bounded."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(_POLL_SECONDS)


@contextmanager
def serving(shell: Shell, *arguments: str | Path, **options: Any) -> Generator[Served]:
    """Run `gglib serve --port 0` with these arguments; nothing of it is left afterwards."""
    log = shell.data_dir.parent / "serve.log"
    with log.open("a", encoding="utf-8") as stderr:
        options = {"stderr": stderr, "start_new_session": True} | options
        with shell.start("serve", "--port", "0", *arguments, **options) as process:
            try:
                assert process.stdout is not None
                found = _LISTENS.search(process.stdout.readline().strip())
                assert found, log.read_text(encoding="utf-8")
                yield Served(shell=shell, process=process, url=found[1], log=log)
            finally:
                _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        engines = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        try:
            process.wait(WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
        assert_gone(engines)
    process.wait(WAIT_SECONDS)


def assert_gone(processes: list[psutil.Process]) -> None:
    """All of them end soon. One that does not is killed, and fails the test."""
    _, alive = psutil.wait_procs(processes, timeout=WAIT_SECONDS)
    alive = [process for process in alive if process.is_running()]
    for process in alive:
        os.kill(process.pid, signal.SIGKILL)
    assert not alive
