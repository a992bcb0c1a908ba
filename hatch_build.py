"""Compiles the modules of the relay with mypyc, where GGLIB_COMPILE is set while gglib is built.

Without it gglib is plain Python, and nothing of this is needed. A wheel holds both, and Python
takes what is compiled; an editable installation is compiled beside its sources, and knows nothing
of later changes to them. Why, and what such modules may not do, says
docs/adr/0013-compiled-where-asked-for.md.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MODULES = (
    "gglib_core/activity.py",
    "gglib_core/admission_desk.py",
    "gglib_core/catalog.py",
    "gglib_core/rate_limiting.py",
    "gglib_core/rate_limits/account.py",
    "gglib_core/rate_limits/limiter.py",
    "gglib_core/rate_limits/measures.py",
    "gglib_core/rate_limits/plans.py",
    "gglib_proxy/books.py",
    "gglib_proxy/client.py",
    "gglib_proxy/control_exchange.py",
    "gglib_proxy/data_plane.py",
    "gglib_proxy/door/door.py",
    "gglib_proxy/engine_exchange.py",
    "gglib_proxy/event_stream.py",
    "gglib_proxy/exchange.py",
    "gglib_proxy/gate.py",
    "gglib_proxy/http1/heads.py",
    "gglib_proxy/http1/repeated_head.py",
    "gglib_proxy/http1/requests.py",
    "gglib_proxy/http1/responses.py",
    "gglib_proxy/identifiers.py",
    "gglib_proxy/members.py",
    "gglib_proxy/prompt_size.py",
    "gglib_proxy/routes.py",
    "gglib_proxy/tally.py",
    "gglib_proxy/timed_connection.py",
    "gglib_proxy/turn.py",
    "gglib_proxy/upstream.py",
    "gglib_proxy/usage.py",
    "gglib_runtime/simulator/connection.py",  # what is derived from a compiled class has to be, too
)
COMPILER = "mypy[mypyc]==2.4.1"  # the relay's tests were run with what this one makes
_VARIABLE = "GGLIB_COMPILE"
_MYPY_OPTIONS = (
    *("--config-file=", "--follow-imports=silent", "--ignore-missing-imports"),
    "--disable-error-code=override",  # of classes that are not compiled; pyright looks at all
)


class CompiledRelay(BuildHookInterface[Any]):
    """Puts the compiled modules into the wheel, or beside the sources of an editable one."""

    def dependencies(self) -> list[str]:
        return [COMPILER, "setuptools>=77"] if _is_wanted() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if not _is_wanted():
            return
        root, work = Path(self.root), Path(self.root, "build", "relay")
        if version == "editable":
            _compile(root, work, into=root)
            return
        _compile(root, work, into=work / "lib")
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        for path in (work / "lib").rglob("*.so"):
            build_data["force_include"][str(path)] = str(path.relative_to(work / "lib"))


def _is_wanted() -> bool:
    return os.environ.get(_VARIABLE, "") not in ("", "0")


def _compile(root: Path, work: Path, *, into: Path, level: str = "3") -> None:
    from mypyc.build import mypycify
    from setuptools import Distribution
    from setuptools.command.build_ext import build_ext

    with contextlib.chdir(root):
        extensions = mypycify(
            [*_MYPY_OPTIONS, f"--cache-dir={work / 'mypy'}", *MODULES],
            target_dir=str(work / "c"),
            group_name="gglib_relay",
            opt_level=level,
        )
        command = build_ext(Distribution({"ext_modules": extensions}))
        command.build_lib, command.build_temp = str(into), str(work / "objects")
        command.ensure_finalized()
        command.run()


if __name__ == "__main__":  # beside the sources, for tests: that is done in half the time
    here = Path(__file__).resolve().parent
    _compile(here, here / "build" / "relay", into=here, level="0")
