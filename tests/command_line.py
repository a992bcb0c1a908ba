"""Runs gglib's commands for tests: inside this process, or as a process of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from gglib_runtime.cli.program import program

REPOSITORY = Path(__file__).parents[1]


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

    def start(self, *arguments: str | Path, **options: Any) -> subprocess.Popen[str]:
        """Start a command as a process with pipes, unless `options` say otherwise."""
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
        return subprocess.Popen(command, **defaults | options)

    def process(self, *arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command as a process until it ends."""
        with self.start(*arguments, **options) as process:
            try:
                stdout, stderr = process.communicate(timeout=60)
            except BaseException:
                process.kill()
                raise
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)
