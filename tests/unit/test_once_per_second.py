"""What happens often is told of rarely."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from gglib_proxy.once_per_second import OncePerSecond


class FakeLoop:
    """Has one timer, which the test lets go off."""

    def __init__(self) -> None:
        self.due: Callable[[], None] | None = None
        self.seconds = 0.0

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Any:
        self.due, self.seconds = callback, seconds
        return self

    def cancel(self) -> None:
        self.due = None

    def go_off(self) -> None:
        due, self.due = self.due, None
        assert due is not None
        due()


def telling() -> tuple[FakeLoop, OncePerSecond, list[int]]:
    loop = FakeLoop()
    told: list[int] = []
    return loop, OncePerSecond(loop, told.append), told  # type: ignore[arg-type]


def test_the_first_is_told_at_once_and_the_others_together() -> None:
    loop, events, told = telling()
    for _ in range(5):
        events.count()
    assert (told, loop.seconds) == ([1], 1.0)
    loop.go_off()
    assert told == [1, 4]
    events.count()
    assert told == [1, 4]
    loop.go_off()
    assert told == [1, 4, 1]


def test_after_a_quiet_second_there_is_no_timer() -> None:
    loop, events, told = telling()
    events.count()
    loop.go_off()
    assert loop.due is None
    events.count()
    assert told == [1, 1]


def test_nothing_is_left_untold() -> None:
    loop, events, told = telling()
    for _ in range(3):
        events.count()
    events.close()
    assert (told, loop.due) == ([1, 2], None)
    events.close()
    assert told == [1, 2]


async def test_it_works_on_a_real_loop() -> None:
    told: list[int] = []
    events = OncePerSecond(asyncio.get_running_loop(), told.append)
    events.count()
    events.count()
    events.close()
    assert told == [1, 1]
