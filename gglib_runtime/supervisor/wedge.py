"""Notices that a ready engine has stopped working although its process runs.

It is silent: it has requests, none of them gets a byte, it prints nothing, `/slots` shows no
progress. Or it fails: all it answers is server errors, and no slot works. Both for as long as the
limit says. Clients that hang up are never counted. Not here: what is done about it, and loads.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from gglib_core.activity import EngineActivity
from gglib_core.models import Target
from gglib_runtime.supervisor.probe import ask_slots
from gglib_runtime.supervisor.progress import Effort, Output, measure_effort

_log = logging.getLogger(__name__)

_LEAST_STEP_SECONDS = 2.0
_MOST_STEP_SECONDS = 10.0
_LATE_SECONDS = 5.0
"""A look that comes so late says that gglib, and perhaps the machine, stood still."""
_PATIENCE_WITH_BUSY = 5
"""An engine that computes is given so many times the limit: a large batch on a slow processor is
silent for as long as it takes."""
_LEAST_LOOKS = 3
"""Progress is seen by comparing, so a short limit is not enough to condemn anybody."""
_ERRORS_THAT_COUNT = 10
_ECHO_SECONDS = 0.05
"""What an engine prints about our own question comes within this time after its answer."""


class LeaseHolder(Protocol):
    """What is leased, as far as the watcher needs it."""

    @property
    def leases(self) -> int: ...

    @property
    def idle_since(self) -> float:
        """When the last lease was released, on the loop's clock."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """How the engine is asked; each returns None when it cannot be told."""

    slots: Callable[[], Awaitable[bytes | None]]
    """The body of `GET /slots`."""
    effort: Callable[[], Awaitable[Effort | None]]


class Engine(Protocol):
    """What is watched."""

    @property
    def pid(self) -> int: ...

    @property
    def target(self) -> Target: ...

    @property
    def activity(self) -> EngineActivity: ...

    @property
    def output(self) -> Output: ...


class WedgeWatch:
    """Watches one ready engine. Looks seldom, and asks only while it has reason to doubt."""

    def __init__(
        self,
        holder: LeaseHolder,
        activity: EngineActivity,
        output: Output,
        questions: Questions,
        limit_seconds: float,
    ) -> None:
        self._holder = holder
        self._activity = activity
        self._output = output
        self._ask = questions
        self._limit = limit_seconds
        self._clock = asyncio.get_running_loop().time
        self.step_seconds = min(_MOST_STEP_SECONDS, max(_LEAST_STEP_SECONDS, limit_seconds / 10))
        self._looked_at = self._quiet_since = self._worked_at = self._clock()
        self._line_at = output.last_line_at
        self._slots: bytes | None = None
        self._effort: Effort | None = None
        self._doubts = 0
        """Looks in a row at which nothing had been heard."""

    async def wedged(self) -> str:
        """Wait until the engine is taken for wedged; why, as part of a sentence."""
        while True:
            await asyncio.sleep(self.step_seconds)
            if reason := await self.look():
                return reason

    async def look(self) -> str | None:
        """Why the engine is wedged; None as long as it may not be."""
        now = self._clock()
        last, self._looked_at = self._looked_at, now
        if now - last > self.step_seconds + _LATE_SECONDS or self._is_trusted(last):
            self._trust(now)
        else:
            await self._doubt(now)
        return self._silence(now) or await self._failure(now)

    def _is_trusted(self, last: float) -> bool:
        """Whether there is nothing to wait for, or something was heard since the last look."""
        holder, output = self._holder, self._output
        return (
            not holder.leases
            or holder.idle_since > last
            or self._activity.heard_at > last
            or output.last_line_at > self._line_at
        )

    def _trust(self, now: float) -> None:
        self._quiet_since = self._worked_at = now
        self._line_at = self._output.last_line_at
        self._slots = self._effort = None
        self._doubts = 0

    async def _doubt(self, now: float) -> None:
        """Nothing was heard: ask, and take any change for a sign of life."""
        self._doubts += 1
        slots = await self._ask.slots()
        await asyncio.sleep(_ECHO_SECONDS)
        self._line_at = self._output.last_line_at
        if slots is not None:
            if self._slots is not None and slots != self._slots:
                self._quiet_since = self._worked_at = now
            self._slots = slots
        effort = await self._ask.effort()
        if effort and self._effort and effort.shows_progress_since(self._effort, self.step_seconds):
            self._worked_at = now
        self._effort = effort

    def _silence(self, now: float) -> str | None:
        quiet = now - self._quiet_since
        is_idle = now - self._worked_at >= self._limit
        limit = self._limit if is_idle else self._limit * _PATIENCE_WITH_BUSY
        if quiet < limit or self._doubts < _LEAST_LOOKS:
            return None
        return f"it had requests and gave no sign of life for {quiet:.0f} s"

    async def _failure(self, now: float) -> str | None:
        activity = self._activity
        if (
            activity.errors_in_a_row < _ERRORS_THAT_COUNT
            or now - activity.failing_since < self._limit
            or activity.heard_at > activity.failing_since
            or _is_working(await self._ask.slots())
        ):
            return None
        seconds = now - activity.failing_since
        return f"it gave {activity.errors_in_a_row} errors in a row, within {seconds:.0f} s"


def _is_working(slots: bytes | None) -> bool:
    """Whether somebody's answer is being made, as far as the engine tells."""
    try:
        found: Any = json.loads(slots or b"[]")
        return any(slot["is_processing"] for slot in found)
    except (ValueError, TypeError, KeyError, RecursionError):
        return False


@asynccontextmanager
async def watching(
    engine: Engine,
    holder: LeaseHolder,
    limit_seconds: float,
    on_wedged: Callable[[str], None],
) -> AsyncGenerator[None]:
    """Watch a ready engine for the length of the block; a limit of 0 watches nothing.

    `on_wedged` is called once at most, with the reason.
    """
    if not limit_seconds:
        yield
        return
    target = engine.target
    questions = Questions(
        slots=lambda: ask_slots(target.port, target.api_key),
        effort=lambda: _effort_of(engine.pid),
    )
    watch = WedgeWatch(holder, engine.activity, engine.output, questions, limit_seconds)
    task = asyncio.get_running_loop().create_task(_tell(watch, on_wedged))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _effort_of(pid: int) -> Effort | None:
    try:
        return await asyncio.to_thread(measure_effort, pid)
    except OSError:  # no file is left to read it from
        return None


async def _tell(watch: WedgeWatch, on_wedged: Callable[[str], None]) -> None:
    try:
        on_wedged(await watch.wedged())
    except Exception:  # the engine goes on, unwatched
        _log.exception("a bug ended the watch over an engine")
