"""Finds the llama-server to run.

Not here: running it (the supervisor), and the embedded engine's process (`embedded`).
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gglib_core.errors import EngineUnavailable

ENVIRONMENT_VARIABLE = "GGLIB_LLAMA_SERVER"
EXECUTABLE = "llama-server"


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A program that takes llama-server's command line."""

    command: tuple[str, ...]
    """What the arguments are appended to."""
    source: Literal["setting", "environment", "path", "embedded"]
    """Who named it."""
    label: str
    """For people: what it is and where it was found."""

    @property
    def executable(self) -> str:
        return self.command[0]


def find_engine(setting: str | None, environ: Mapping[str, str]) -> Engine:
    """The engine to use: `setting`, else $GGLIB_LLAMA_SERVER, else on PATH, else the embedded one.

    Looks at the file system, starts nothing. Raises EngineUnavailable when the one that was named
    cannot be run, or when there is none.
    """
    if setting:
        return _named_engine(setting, environ, "setting", "the llama-server setting")
    if named := environ.get(ENVIRONMENT_VARIABLE):
        return _named_engine(named, environ, "environment", ENVIRONMENT_VARIABLE)
    if found := shutil.which(EXECUTABLE, path=environ.get("PATH", os.defpath)):
        path = os.path.abspath(found)  # noqa: PTH100 - a link may matter to the program
        return Engine(command=(path,), source="path", label=f"{path} (on PATH)")
    if importlib.util.find_spec("xllamacpp") is not None:
        return _embedded_engine()
    raise EngineUnavailable(
        "There is no llama-server to run. Get one in any of these ways: "
        "pip install 'gglib[embedded]' (CPU, any Linux or macOS); install llama.cpp so that "
        f"{EXECUTABLE} is on PATH (brew install llama.cpp); or name one that you have with "
        f"--llama-server PATH or {ENVIRONMENT_VARIABLE}."
    )


def _named_engine(
    name: str,
    environ: Mapping[str, str],
    source: Literal["setting", "environment"],
    who: str,
) -> Engine:
    path = os.path.abspath(os.path.expanduser(name))  # noqa: PTH100, PTH111 - strings throughout
    if os.sep not in name:
        path = shutil.which(name, path=environ.get("PATH", os.defpath)) or path
    if not Path(path).is_file():
        raise EngineUnavailable(f"{who} names {name!r}, but there is no file {path}.")
    if not os.access(path, os.X_OK):
        raise EngineUnavailable(
            f"{who} names {name!r}, but {path} may not be executed; chmod +x would allow it."
        )
    return Engine(command=(path,), source=source, label=f"{path} (named by {who})")


def _embedded_engine() -> Engine:
    # By path, not by `-m`: the child finds it wherever it is started, and -P keeps this directory
    # out of its imports.
    script = str(Path(__file__).with_name("embedded.py"))
    return Engine(
        command=(sys.executable, "-P", script),
        source="embedded",
        label="llama.cpp embedded in the xllamacpp wheel",
    )


def engine_version(engine: Engine, *, timeout_seconds: float = 10.0) -> str:
    """What the engine says of its version, on one line. Blocking; safe in a thread.

    Raises EngineUnavailable when it cannot be started, fails, or does not answer in time.
    """
    try:
        done = subprocess.run(
            [*engine.command, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_seconds,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineUnavailable(f"{engine.label} does not run: {error}") from error
    said = (done.stdout + done.stderr).decode("utf-8", "replace")
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if done.returncode != 0:
        reason = lines[-1] if lines else "it said nothing"
        raise EngineUnavailable(f"{engine.label} failed with {done.returncode}: {reason}")
    version = next((line for line in lines if line.startswith("version:")), None)
    return version.removeprefix("version:").strip() if version else " ".join(lines)[:200]


def is_script(engine: Engine) -> bool:
    """Whether the executable begins with `#!`.

    A child is made to die with gglib as one process; a script must therefore `exec` its server.
    """
    try:
        with Path(engine.executable).open("rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return False
