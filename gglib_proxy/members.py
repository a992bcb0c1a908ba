"""A set whose becoming empty can be waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Members(Generic[T]):
    """The live things of one kind: they add themselves, and discard themselves at their end."""

    __slots__ = ("_all", "_waiters")

    def __init__(self) -> None:
        self._all: set[T] = set()
        self._waiters: list[asyncio.Future[None]] = []

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[T]:
        """Over those of this moment: members may come and go meanwhile."""
        return iter(tuple(self._all))

    def in_slices(self, size: int) -> Iterator[list[T]]:
        """Those of this moment, `size` at a time; of each slice those that are still there then."""
        members = tuple(self._all)
        for start in range(0, len(members), size):
            yield [each for each in members[start : start + size] if each in self._all]

    def add(self, member: T) -> None:
        self._all.add(member)

    def discard(self, member: T) -> None:
        self._all.discard(member)
        if self._waiters and not self._all:
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_result(None)
            self._waiters.clear()

    async def emptied(self) -> None:
        """Wait until there is none."""
        if self._all:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
