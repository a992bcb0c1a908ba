"""Whether gglib can serve, asked at most once a second however often probes come.

Not here: the checks of adapters, and HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gglib_core.readiness import ReadinessCheck

FRESH_SECONDS = 1.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadinessReport:
    """What the checks said."""

    problems: Mapping[str, str | None]
    """By the name of each check; None where all is well."""

    @property
    def is_ready(self) -> bool:
        return not any(self.problems.values())


class Accepting:
    """Whether new requests are taken; fills `ReadinessCheck`."""

    name = "accepting"

    def __init__(
        self, is_draining: Callable[[], bool], is_paused: Callable[[], bool] = lambda: False
    ) -> None:
        self._is_draining = is_draining
        self._is_paused = is_paused

    async def problem(self) -> str | None:
        if self._is_draining():
            return "gglib is shutting down and takes no more requests"
        return "an admin has paused gglib" if self._is_paused() else None


class Readiness:
    """Asks the checks; belongs to one event loop."""

    def __init__(
        self, checks: Sequence[ReadinessCheck], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._checks = tuple(checks)
        self._clock = clock
        self._lock = asyncio.Lock()
        self._report: ReadinessReport | None = None
        self._asked_at = 0.0

    async def report(self) -> ReadinessReport:
        """What the checks say, or said within the last second."""
        async with self._lock:
            if self._report is None or self._clock() - self._asked_at >= FRESH_SECONDS:
                problems = await asyncio.gather(*map(self._ask, self._checks))
                names = (check.name for check in self._checks)
                self._tell(ReadinessReport(problems=dict(zip(names, problems, strict=True))))
                self._asked_at = self._clock()
            assert self._report is not None
            return self._report

    async def _ask(self, check: ReadinessCheck) -> str | None:
        try:
            return await check.problem()
        except Exception:  # a bug in a check must not be taken for health
            _log.exception("the readiness check %s failed", check.name)
            return "the check itself failed; see the log"

    def _tell(self, report: ReadinessReport) -> None:
        was_ready = self._report is None or self._report.is_ready
        if was_ready and not report.is_ready:
            _log.warning("gglib is not ready: %s", {k: v for k, v in report.problems.items() if v})
        elif report.is_ready and not was_ready:
            _log.info("gglib is ready again")
        self._report = report
