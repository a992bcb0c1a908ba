from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from gglib_proxy.loop_lag import STEP_SECONDS, LoopLag


class FakeLoop:
    """A clock that a test moves, and the one timer that is set."""

    def __init__(self) -> None:
        self.now = 10.0
        self.due: float | None = None
        self._callback: Callable[[], None] = lambda: None

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[..., None], *arguments: Any) -> FakeLoop:
        self.due = when
        self._callback = lambda: callback(*arguments)
        return self

    def cancel(self) -> None:
        self.due = None

    def advance(self, seconds: float) -> None:
        self.now += seconds
        if self.due is not None and self.now >= self.due:
            self._callback()


def test_what_comes_late_is_counted_with_its_lateness() -> None:
    loop = FakeLoop()
    lag = LoopLag(loop)  # type: ignore[arg-type]
    with lag.measured():
        loop.advance(STEP_SECONDS)
        loop.advance(STEP_SECONDS + 0.75)
        assert (lag.seconds.count, lag.seconds.total) == (2, 0.75)
    assert loop.due is None


async def test_it_works_with_a_real_loop_and_leaves_no_timer() -> None:
    loop = asyncio.get_running_loop()
    lag = LoopLag(loop)
    with lag.measured():
        lag._called(loop.time() - 0.2)
    assert lag.seconds.total >= 0.2
