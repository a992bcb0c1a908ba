"""A server that runs asks for API keys, follows them, and keeps them to itself."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import REPOSITORY, WAIT_SECONDS, Shell
from tests.gguf_files import write_tiny

CHAT = {"model": "tiny-a", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}
CHOSEN = "chosen-by-somebody-for-a-container"


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A user whose llama-server is the simulator, with one model."""
    shell = Shell(tmp_path)
    engine = tmp_path / "engine"
    simulator = f"{sys.executable} -m gglib_runtime.simulator"
    engine.write_text(f'#!/bin/sh\nexec env PYTHONPATH={REPOSITORY} {simulator} "$@"\n')
    engine.chmod(engine.stat().st_mode | stat.S_IXUSR)
    shell.environ["GGLIB_LLAMA_SERVER"] = str(engine)
    shell.output("model", "add", write_tiny(tmp_path, "tiny-a"))
    return shell


class Running:
    """A `gglib serve` that listens, and all that it prints."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self.url = ""
        self._threads = [
            threading.Thread(target=self._collect, args=(stream,), daemon=True)
            for stream in (process.stdout, process.stderr)
        ]
        self._has_told = threading.Event()
        for thread in self._threads:
            thread.start()

    def _collect(self, stream: Any) -> None:
        for line in stream:
            self.lines.append(line)
            if " listens on " in line:
                self.url = line.split()[-1].replace("0.0.0.0", "127.0.0.1")
            if line.startswith("Access: "):
                self._has_told.set()

    def wait(self) -> None:
        assert self._has_told.wait(WAIT_SECONDS), self.lines

    @property
    def printed(self) -> str:
        return "".join(self.lines)

    @property
    def access(self) -> str:
        return next(line for line in self.lines if line.startswith("Access: "))

    def ask(
        self, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, dict(headers or {}))
        try:
            with urllib.request.urlopen(request, timeout=WAIT_SECONDS) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def status(self, secret: str | None = None) -> int:
        headers = {} if secret is None else {"Authorization": f"Bearer {secret}"}
        return self.ask("/v1/models", headers=headers)[0]

    def end(self) -> int:
        self.process.terminate()
        code = self.process.wait(WAIT_SECONDS)
        for thread in self._threads:
            thread.join(WAIT_SECONDS)
        return code


@contextmanager
def serving(shell: Shell, *arguments: str, **environ: str) -> Generator[Running]:
    with shell.start("serve", "--port", "0", *arguments, environ=environ) as process:
        running = Running(process)
        running.wait()
        yield running
        assert running.end() == 0, running.printed


def until(condition: Callable[[], bool]) -> None:
    """A server follows its database; how soon is not what these tests are about."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        os.sched_yield()


def test_the_first_key_closes_the_door_of_a_running_server_and_the_last_opens_it(
    shell: Shell,
) -> None:
    with serving(shell) as server:
        assert "everybody on this machine, without an API key, until" in server.access
        assert server.status() == 200
        secret = shell.json("key", "create", "ci")["key"]
        until(lambda: server.status() == 401)
        assert server.status(secret) == 200
        assert server.status(secret[:-1] + "!") == 401
        shell.output("key", "disable", "ci")
        until(lambda: server.status(secret) == 403)
        shell.output("key", "enable", "ci")
        until(lambda: server.status(secret) == 200)
        new = shell.json("key", "rotate", "ci")["key"]
        until(lambda: server.status(secret) == 401)
        assert server.status(new) == 200
        shell.output("key", "rm", "ci")
        until(lambda: server.status() == 200)
    assert "An API key is needed from now on" in server.printed
    assert "No API key is needed any more" in server.printed


def test_an_endpoint_that_others_can_reach_needs_a_key(shell: Shell) -> None:
    refused = shell.process("serve", "--host", "0.0.0.0", "--port", "0")
    assert refused.returncode == 2
    assert "gglib key create NAME" in refused.stderr
    assert "--no-auth" in refused.stderr
    secret = shell.json("key", "create", "ci")["key"]
    with serving(shell, "--host", "0.0.0.0") as server:
        assert "with an API key; there is 1" in server.access
        assert [server.status(), server.status(secret)] == [401, 200]
        shell.output("key", "rm", "ci")
        until(lambda: server.status(secret) == 401)
        assert server.status() == 401


def test_no_auth_has_to_be_said_and_is_repeated(shell: Shell) -> None:
    with serving(shell, "--host", "0.0.0.0", "--no-auth") as server:
        assert "EVERYBODY who can reach it, without an API key, as no_auth says" in server.access
        assert server.status() == 200
        shell.output("key", "create", "ci")
        assert server.status() == 200


def test_a_container_gets_its_first_key_from_the_environment(shell: Shell) -> None:
    for _ in range(2):
        with serving(shell, "--host", "0.0.0.0", GGLIB_API_KEY=CHOSEN) as server:
            assert [server.status(), server.status(CHOSEN)] == [401, 200]
            assert "passed over" not in server.printed
        (key,) = shell.json("key", "list")
        assert (key["name"], key["endpoints"]) == ("default", ["inference", "models"])
    with serving(shell, GGLIB_API_KEY="another-one-that-is-long-enough") as server:
        assert [server.status(CHOSEN)] == [200]
    assert "GGLIB_API_KEY is none of the API keys there are" in server.printed
    assert "another-one" not in server.printed
    refused = shell.process("serve", "--port", "0", environ={"GGLIB_API_KEY": "short"})
    assert refused.returncode == 1
    assert "16 to 200 characters" in refused.stderr
    assert "short" not in refused.stderr.replace("shorter", "")


def test_limits_of_a_key_hold_in_a_running_server(shell: Shell) -> None:
    secret = shell.json("key", "create", "ci", "--requests-per-minute", "2")["key"]
    bearer = {"Authorization": f"Bearer {secret}"}
    with serving(shell) as server:
        codes = [server.ask("/v1/chat/completions", CHAT, bearer)[0] for _ in range(4)]
        assert codes == [200, 200, 429, 429]
        shell.output("key", "edit", "ci", "--requests-per-minute", "0")
        until(lambda: server.ask("/v1/chat/completions", CHAT, bearer)[0] == 200)


def test_a_spent_budget_stays_spent_over_a_restart(shell: Shell) -> None:
    shell.output("model", "edit", "tiny-a", "--output-cost-per-1k", "1")
    secret = shell.json("key", "create", "ci", "--budget-per-month", "0.006")["key"]
    bearer = {"Authorization": f"Bearer {secret}"}
    with serving(shell) as server:
        code, answer = server.ask("/v1/chat/completions", CHAT, bearer)
        assert (code, answer["usage"]["completion_tokens"]) == (200, 4)
    for _ in range(2):
        with serving(shell) as server:
            code, answer = server.ask("/v1/chat/completions", CHAT, bearer)
            assert (code, answer["error"]["code"]) == (403, "quota_exceeded")
            assert server.ask("/v1/models", headers=bearer)[0] == 200


def test_a_secret_is_in_no_log_no_error_no_record_and_no_engine(shell: Shell) -> None:
    made = [shell.json("key", "create", name)["key"] for name in ("one", "two")]
    secrets = [*made, CHOSEN]
    answers: list[str] = []
    with serving(shell, "--log-level", "debug", GGLIB_API_KEY=CHOSEN) as server:
        for secret in [*secrets, made[0] + "x"]:
            for header in ("Authorization", "x-api-key", "X-Admin-Key"):
                value = f"Bearer {secret}" if header == "Authorization" else secret
                for path, body in (
                    ("/v1/chat/completions", CHAT),
                    ("/v1/chat/completions", {"model": "nobody"}),
                    ("/v1/generations", None),
                    ("/admin/config", None),
                    ("/nowhere", None),
                ):
                    answers.append(repr(server.ask(path, body, {header: value})))
        shell.output("key", "disable", "one")
        until(lambda: server.status(made[0]) == 403)
        answers.append(repr(server.ask("/v1/models", headers={"x-api-key": made[0]})))
        answers.append(shell.output("status", "--json"))
        answers.append(shell.output("config", "show"))
        engines = [
            Path(f"/proc/{line}/environ").read_bytes()
            for line in children_of(server.process.pid)
            if Path(f"/proc/{line}/environ").exists()
        ]
        assert engines
    written = b"".join(path.read_bytes() for path in shell.data_dir.rglob("*") if path.is_file())
    for secret in secrets:
        hidden = secret[12:-4]
        assert hidden not in server.printed
        assert not any(hidden in answer for answer in answers)
        assert hidden.encode() not in written
        assert not any(hidden.encode() in environ for environ in engines)
    assert any("gg-" in answer and "***" in answer for answer in answers)


def children_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_up_asks_with_the_key_of_the_environment(shell: Shell) -> None:
    environ = {"GGLIB_API_KEY": CHOSEN}
    with_key = shell.process("up", "--check", "--port", "0", environ=environ)
    assert with_key.returncode == 0, with_key.stderr
    assert "with an API key; there is 1" in with_key.stdout
    assert "Authorization: Bearer $OPENAI_API_KEY" in with_key.stdout
    assert CHOSEN not in with_key.stdout + with_key.stderr
    without = shell.process("up", "--check", "--port", "0")
    assert without.returncode == 1
    assert "Set GGLIB_API_KEY to one" in without.stderr
