"""Waits until an engine is ready, and proves that it is ours.

Ready means: `GET /props` answers 200 with the launch's key and 401 without it, names our model, and
the child still runs. Whoever else listens on the port is never used. Not here: starting the child,
and what to do after a failure.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from gglib_runtime.supervisor.probe import Answer, Probed, probe
from gglib_runtime.supervisor.progress import ProgressMeter

_SHORTEST_SECONDS = 0.002
_LONGEST_SECONDS = 0.025
_SHARE_OF_WAITED = 0.05
"""The interval grows with the time waited: what it adds to a load is a twentieth at most, and never
more than its longest. An engine that prints its progress is found ready within a millisecond."""
_CLUES = ("model loaded", "listening on")
_CLUE_LIMIT = 16


class NotReady(Exception):
    """The child will not become ready; `reason` says it to people."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class EngineExited(NotReady):
    """It ended."""


class NotOurs(NotReady):
    """Somebody else listens on its port, or it does not ask for its key."""


class Stalled(NotReady):
    """It shows no sign of progress."""


class Watched(Protocol):
    """What is awaited: a child process, as far as this module needs it."""

    @property
    def pid(self) -> int: ...

    @property
    def is_running(self) -> bool: ...

    @property
    def exit(self) -> asyncio.Future[int]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the engine must show."""

    port: int
    api_key: str
    alias: str


class Clues:
    """What an engine's output tells about its progress: that there is some, and when to look."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._look = asyncio.Event()
        self._count = 0
        self.last_line_at = self._loop.time()
        self.last_clue_at = self.last_line_at

    def take(self, lines: list[str]) -> None:
        """The engine has printed something."""
        self.last_line_at = self._loop.time()
        if self._count >= _CLUE_LIMIT:
            return
        text = "\n".join(lines)  # one search, however short the lines
        if any(clue in text for clue in _CLUES):
            self._count += 1
            self.last_clue_at = self.last_line_at
            self.look()

    def look(self) -> None:
        """Something has changed: do not wait any longer."""
        self._look.set()

    def forget(self) -> None:
        """What changes from here on counts."""
        self._look.clear()

    async def wait(self, seconds: float) -> None:
        """Wait that long, or until there is a reason to look."""
        timer = self._loop.call_later(seconds, self._look.set)
        try:
            await self._look.wait()
        finally:
            timer.cancel()


async def wait_until_ready(
    child: Watched, expected: Expected, clues: Clues, *, stall_seconds: float
) -> None:
    """Return once the engine is ready; raise NotReady when it will not be."""
    meter = ProgressMeter(child.pid, clues, stall_seconds)
    while True:
        clues.forget()
        if not child.is_running:
            raise EngineExited("it ended")
        if await _holds_while_running(child, _is_ready(expected)):
            return
        if await meter.is_stalled():
            raise Stalled(f"it showed no progress for {stall_seconds:g} s")
        await clues.wait(_interval(clues))


async def _holds_while_running(child: Watched, question: Coroutine[Any, Any, bool]) -> bool:
    """The answer; False when the child ends before it comes, however long that would take."""
    asking = asyncio.ensure_future(question)
    try:
        await asyncio.wait([asking, child.exit], return_when=asyncio.FIRST_COMPLETED)
        return asking.done() and asking.result() and child.is_running
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


async def _is_ready(expected: Expected) -> bool:
    probed = await probe(expected.port, expected.api_key)
    if probed.answer in (Answer.NOTHING, Answer.LOADING):
        return False
    _check_identity(probed, expected)
    unlocked = await probe(expected.port, None)
    if unlocked.answer in (Answer.NOTHING, Answer.LOADING):
        return False
    if unlocked.answer is not Answer.REFUSED_KEY:
        raise NotOurs(f"port {expected.port} answers without a key")
    return True


def _check_identity(probed: Probed, expected: Expected) -> None:
    if probed.answer is Answer.REFUSED_KEY:
        raise NotOurs(f"port {expected.port} does not take this launch's key")
    if probed.answer is Answer.STRANGE:
        raise NotOurs(f"port {expected.port} is no llama-server: {probed.detail}")
    if probed.alias != expected.alias:
        raise NotOurs(f"port {expected.port} serves {probed.alias!r} and not {expected.alias!r}")


def _interval(clues: Clues) -> float:
    waited = asyncio.get_running_loop().time() - clues.last_clue_at
    return min(_LONGEST_SECONDS, max(_SHORTEST_SECONDS, waited * _SHARE_OF_WAITED))
