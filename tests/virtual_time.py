"""An event loop whose clock jumps to the next timer, so that hours pass at once.

For code that only has timers: nothing outside the process can be waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

T = TypeVar("T")


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Fills asyncio's loop; `time()` is 0 at first."""

    def __init__(self) -> None:
        self._virtual_now = 0.0
        super().__init__()

    def time(self) -> float:
        return self._virtual_now

    def _run_once(self) -> None:
        loop: Any = self
        if not loop._ready and loop._scheduled:
            self._virtual_now = max(self._virtual_now, loop._scheduled[0]._when)
        loop_class: Any = super()
        loop_class._run_once()


def run_virtually(work: Awaitable[T]) -> T:
    """Run `work` to its end on such a loop."""

    async def whole() -> T:
        return await work

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(whole())
