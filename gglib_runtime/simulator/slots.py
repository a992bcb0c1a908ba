"""The engine's slots: so many requests run at once, the others wait in the order they came.

Not here: what a request does in its slot.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from gglib_runtime.simulator.generation import Generation


class Occupant(Protocol):
    """A request that wants a slot."""

    number: int
    generation: Generation
    sent: int
    """Streamed chunks with a token so far."""

    def granted(self, slot: int) -> None:
        """The slot is the request's now, until it is released."""
        ...


class Slots:
    """Hands out slot numbers, first come first served."""

    __slots__ = ("_free", "_is_handing_out", "_waiting", "count", "occupants")

    def __init__(self, count: int) -> None:
        self.count = count
        self.occupants: list[Occupant | None] = [None] * count
        self._free = list(range(count))
        self._waiting: deque[Occupant] = deque()
        self._is_handing_out = False

    @property
    def busy(self) -> int:
        return self.count - len(self._free)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def request(self, occupant: Occupant) -> None:
        """Grant a slot now, or as soon as one is free."""
        if self._free and not self._waiting and not self._is_handing_out:
            slot = self._free.pop()
            self.occupants[slot] = occupant
            occupant.granted(slot)
        else:
            self._waiting.append(occupant)
            self._hand_out()

    def withdraw(self, occupant: Occupant) -> None:
        """Stop waiting; nothing happens if the occupant does not wait."""
        if occupant in self._waiting:
            self._waiting.remove(occupant)

    def release(self, slot: int) -> None:
        self.occupants[slot] = None
        self._free.append(slot)
        if self._waiting:
            self._hand_out()

    def _hand_out(self) -> None:
        if self._is_handing_out:  # an occupant was done at once: the loop below goes on
            return
        self._is_handing_out = True
        while self._free and self._waiting:
            slot, occupant = self._free.pop(), self._waiting.popleft()
            self.occupants[slot] = occupant
            occupant.granted(slot)
        self._is_handing_out = False
