"""Runs gglib's commands for tests: inside this process, or as a process of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from click.testing import CliRunner, Result

from gglib_runtime.cli.program import program

REPOSITORY = Path(__file__).parents[1]
WAIT_SECONDS = 60.0


class Shell:
    """A user with a home of their own and no setting of gglib."""

    def __init__(self, home: Path) -> None:
        self.data_dir = home / "data"
        self.environ = {
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_DATA_HOME": str(home / "share"),
            "GGLIB_DATA_DIR": str(self.data_dir),
        }

    def run(self, *arguments: str | Path, environ: Mapping[str, str] | None = None) -> Result:
        """Run a command here; nobody sits at a terminal."""
        inherited = {key: None for key in os.environ if key.startswith("GGLIB_")}
        return CliRunner().invoke(
            program, list(map(str, arguments)), env={**inherited, **self.environ, **(environ or {})}
        )

    def output(self, *arguments: str | Path) -> str:
        """What a command that succeeds prints on standard output."""
        result = self.run(*arguments)
        assert (result.exit_code, result.stderr) == (0, ""), result.output
        return result.stdout

    def json(self, *arguments: str | Path) -> Any:
        """What a command that succeeds prints with --json."""
        return json.loads(self.output(*arguments, "--json"))

    def failure(self, *arguments: str | Path, code: int = 1) -> str:
        """The one line that a command which fails prints on standard error."""
        result = self.run(*arguments)
        assert (result.exit_code, result.stdout) == (code, ""), result.output
        assert result.stderr.startswith("gglib: ")
        assert result.stderr.count("\n") == 1
        return result.stderr.removeprefix("gglib: ").removesuffix("\n")

    @contextmanager
    def start(self, *arguments: str | Path, **options: Any) -> Generator[subprocess.Popen[str]]:
        """A command as a process with pipes, unless `options` say otherwise; killed at the end."""
        environ = {key: text for key, text in os.environ.items() if not key.startswith("GGLIB_")}
        defaults: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "cwd": REPOSITORY,
            "text": True,
            "env": environ | self.environ | options.pop("environ", {}),
        }
        command = [sys.executable, "-m", "gglib_runtime", *map(str, arguments)]
        with subprocess.Popen(command, **defaults | options) as process:
            try:
                yield process
            finally:
                process.kill()

    def process(self, *arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command as a process until it ends."""
        with self.start(*arguments, **options) as process:
            stdout, stderr = process.communicate(timeout=WAIT_SECONDS)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def read_terminal(descriptor: int) -> str:
    """All that is written to a terminal until its other side is closed."""
    parts: list[bytes] = []
    with os.fdopen(descriptor, "rb", buffering=0) as terminal:
        while True:
            try:
                part = terminal.read(65536)
            except OSError:  # how Linux says so
                break
            if not part:
                break
            parts.append(part)
    return b"".join(parts).decode()


def wait_until_asleep(pid: int) -> None:
    """A signal that comes between Python's look for one and its read goes unnoticed until later."""
    process = psutil.Process(pid)
    deadline = time.monotonic() + WAIT_SECONDS
    while process.status() != psutil.STATUS_SLEEPING:
        assert time.monotonic() < deadline, process.status()
        os.sched_yield()
