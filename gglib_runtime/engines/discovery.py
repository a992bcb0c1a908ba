"""Finds the llama-server to run.

Not here: running it (the supervisor), and the embedded engine's process (`embedded`).
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gglib_core.errors import EngineUnavailable
from gglib_runtime.engines import simulated

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
        return _named_engine(setting, environ, "setting", "--llama-server")
    if named := environ.get(ENVIRONMENT_VARIABLE):
        return _named_engine(named, environ, "environment", ENVIRONMENT_VARIABLE)
    if found := _on_path(EXECUTABLE, environ):
        return Engine(command=(str(found),), source="path", label=f"{found} (on PATH)")
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
    if name == simulated.NAME:
        return Engine(command=simulated.simulator_command(), source=source, label=simulated.LABEL)
    path = Path(os.path.abspath(os.path.expanduser(name)))  # noqa: PTH100, PTH111 - links are kept
    if os.sep not in name and (found := _on_path(name, environ)):
        path = found
    if path.is_dir():
        raise EngineUnavailable(
            f"{who} names {name!r}, but {path} is a directory; name the {EXECUTABLE} in it."
        )
    if not path.exists():
        where = f": {path}" if os.sep in name else f" on PATH or here, in {path.parent}"
        raise EngineUnavailable(f"{who} names {name!r}, but there is no such file{where}.")
    if not os.access(path, os.X_OK):
        raise EngineUnavailable(
            f"{who} names {name!r}, but {path} may not be executed; chmod +x would allow it."
        )
    return Engine(command=(str(path),), source=source, label=f"{path} (named by {who})")


def _on_path(name: str, environ: Mapping[str, str]) -> Path | None:
    found = shutil.which(name, path=environ.get("PATH", os.defpath))
    return Path(os.path.abspath(found)) if found else None  # noqa: PTH100 - links are kept


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
    code, said = _run(engine, ["--version"], timeout_seconds)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if code != 0:
        reason = lines[-1] if lines else "it said nothing"
        raise EngineUnavailable(f"{engine.label} failed with {code}: {reason}")
    if not lines:
        raise EngineUnavailable(f"{engine.label} said nothing when asked for its version.")
    version = next((line for line in lines if line.startswith("version:")), lines[0])
    return version.removeprefix("version:").strip()


def _run(engine: Engine, arguments: list[str], timeout_seconds: float) -> tuple[int, str]:
    """Return exit code and output; a process that takes too long ends with all that it started."""
    try:
        child = subprocess.Popen(
            [*engine.command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={key: value for key, value in os.environ.items() if not key.startswith("LLAMA_")},
            start_new_session=True,
        )
    except OSError as error:
        raise EngineUnavailable(f"{engine.label} does not run: {error}") from error
    with child:
        try:
            output, _ = child.communicate(timeout=timeout_seconds)
        except subprocess.TimeoutExpired as error:
            os.killpg(child.pid, signal.SIGKILL)
            raise EngineUnavailable(
                f"{engine.label} does not answer within {timeout_seconds:g} s."
            ) from error
    return child.returncode, output.decode("utf-8", "replace")


def is_script(engine: Engine) -> bool:
    """Whether the executable begins with `#!`.

    A child is made to die with gglib as one process; a script must therefore `exec` its server.
    """
    try:
        with Path(engine.executable).open("rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return False
