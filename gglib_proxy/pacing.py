"""How many short pieces of work are begun on the event loop at once.

A loop that has hundreds of them to go on with comes back to anything else after all of these. With
a few at a time the same work takes as long, and who has nothing to do with it hardly waits. Not
here: how many there may be in all.
"""

from __future__ import annotations

import asyncio

AT_ONCE = 4
TURN_SECONDS = 0.05
"""Work that takes longer waits for something else: a turn would not bring it on."""


class Pace:
    """Gives turns, to those first who came first; belongs to one event loop."""

    def __init__(self, at_once: int = AT_ONCE, turn_seconds: float = TURN_SECONDS) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._turn_seconds = turn_seconds

    async def take_turn(self) -> Turn:
        """Wait for a turn, which ends by itself after a while."""
        await self._places.acquire()
        return Turn(self._places, self._turn_seconds)


class Turn:
    """A turn that has begun."""

    __slots__ = ("_places", "_timer")

    def __init__(self, places: asyncio.Semaphore, seconds: float) -> None:
        self._places: asyncio.Semaphore | None = places
        self._timer = asyncio.get_running_loop().call_later(seconds, self.end)

    def end(self) -> None:
        """Let somebody else have one; nothing if that has been done."""
        places, self._places = self._places, None
        if places is not None:
            self._timer.cancel()
            places.release()
