"""How much memory graphics cards have free, and how much a process holds there: asks `nvidia-smi`.

Where there is none, nothing is known and nothing is asked. Each question takes a tenth of a second
in a thread, so it is put only where the answer matters. Not here: cards of other makers, and what
is done with the answers.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress

_log = logging.getLogger(__name__)

_PROGRAM = "nvidia-smi"
_ANSWER_SECONDS = 2.0
_KILL_SECONDS = 0.5
_MIB = 1024**2


class GpuMemory:
    """What the cards of this machine have; looks for the program when it is first asked."""

    def __init__(
        self,
        environ: Mapping[str, str] | None = None,
        *,
        answer_seconds: float = _ANSWER_SECONDS,
    ) -> None:
        self._environ = os.environ if environ is None else environ
        self._answer_seconds = answer_seconds
        self._is_silent = False

    async def free_bytes(self) -> int | None:
        """Of all cards together; None where that is unknown."""
        rows = await self._ask("--query-gpu=memory.free")
        free = [_bytes(row[0]) for row in rows or ()]
        known = [each for each in free if each is not None]
        return sum(known) if known else None

    async def held_bytes(self, pid: int) -> int | None:
        """What a process holds on all cards together; None where that is unknown."""
        rows = await self._ask("--query-compute-apps=pid,used_memory")
        held = [_bytes(row[1]) for row in rows or () if len(row) == 2 and row[0] == str(pid)]
        known = [each for each in held if each is not None]
        return sum(known) if known else None

    async def _ask(self, query: str) -> list[list[str]] | None:
        if self._is_silent:
            return None
        return await asyncio.to_thread(self._run, query)

    def _run(self, query: str) -> list[list[str]] | None:
        program = shutil.which(_PROGRAM, path=self._environ.get("PATH"))
        if program is None:
            self._is_silent = True
            return None
        text = self._output([program, query, "--format=csv,noheader,nounits"])
        if text is None:
            return None
        return [[cell.strip() for cell in line.split(",")] for line in text.splitlines() if line]

    def _output(self, command: list[str]) -> str | None:
        """What the program prints; one that fails, or does not answer, is not asked again."""
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                errors="replace",
            )
        except OSError as error:
            return self._give_up(str(error))
        try:
            text, _ = process.communicate(timeout=self._answer_seconds)
        except subprocess.TimeoutExpired:
            _kill(process)
            return self._give_up("it does not answer")
        if process.returncode != 0:
            return self._give_up(f"it exits with code {process.returncode}")
        return text

    def _give_up(self, reason: str) -> None:
        if not self._is_silent:
            _log.warning("the memory of graphics cards is not known: %s: %s", _PROGRAM, reason)
        self._is_silent = True


def _kill(process: subprocess.Popen[str]) -> None:
    """A driver that hangs may keep it; then it is left alone."""
    process.kill()
    if process.stdout is not None:
        process.stdout.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_KILL_SECONDS)


def _bytes(mebibytes: str) -> int | None:
    """`[N/A]` and the like are unknown."""
    return int(mebibytes) * _MIB if mebibytes.isascii() and mebibytes.isdigit() else None
