"""Checks the llama-server: is there one, does it start, will it die with gglib.

Not here: finding it (`gglib_runtime.engines.discovery`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from gglib_core.errors import EngineUnavailable
from gglib_runtime.cli.checks.finding import Finding, fail, ok, warn
from gglib_runtime.engines.discovery import engine_version, find_engine, is_script

if TYPE_CHECKING:
    from gglib_runtime.settings import Settings

_NAME = "llama-server"
_VERSION = re.compile(r"(xllamacpp )?\d")


def check_engine(settings: Settings) -> Iterator[Finding]:
    """The engine that a server would use."""
    try:
        engine = find_engine(settings.llama_server, os.environ)
    except EngineUnavailable as error:
        found, _, ways = str(error).partition(". ")
        yield fail(_NAME, found, ways or "Name another one with --llama-server.")
        return
    try:
        version = engine_version(engine)
    except EngineUnavailable as error:
        yield fail(_NAME, str(error), "Install it anew, or name another one with --llama-server.")
        return
    if _VERSION.match(version) is None:
        said = f"{engine.label} is something else: asked for its version, it says {version!r}"
        yield warn(_NAME, said, "Name llama.cpp's llama-server with --llama-server.")
        return
    yield ok(_NAME, f"{engine.label}, version {version}")
    if is_script(engine):
        yield warn(
            f"{_NAME} script",
            f"{engine.executable} is a script",
            "Let its last line begin with `exec`: only then does the server die with gglib.",
        )
