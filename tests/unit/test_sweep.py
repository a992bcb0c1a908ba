"""The sweep over all connections: others have their turn while it goes on."""

from __future__ import annotations

import asyncio
from itertools import groupby

import pytest

from gglib_proxy.client import ClientConnection
from gglib_proxy.data_plane import DataPlane
from gglib_proxy.limits import Limits
from tests.compiled import needs_plain_python
from tests.memory_network import MemoryNetwork

CONNECTIONS = 1_000
LONGEST = 250


class WatchedConnection(ClientConnection):
    __slots__ = ("events",)

    def __init__(self, plane: DataPlane, events: list[str]) -> None:
        super().__init__(plane)
        self.events = events

    def sweep(self, now: float) -> None:
        self.events.append("sweep")


@needs_plain_python
async def test_many_connections_are_not_swept_in_one_piece(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gglib_proxy.data_plane.SWEEP_SECONDS", 0)
    plane = MemoryNetwork(Limits()).plane
    events: list[str] = []
    for _ in range(CONNECTIONS):
        plane.connections.add(WatchedConnection(plane, events))

    async def take_turns() -> None:
        while events.count("sweep") < CONNECTIONS:
            events.append("turn")
            await asyncio.sleep(0)

    sweep = asyncio.create_task(plane.sweep_for_ever())
    async with asyncio.timeout(10):
        await take_turns()
    sweep.cancel()
    await asyncio.gather(sweep, return_exceptions=True)
    pieces = [len(list(found)) for event, found in groupby(events) if event == "sweep"]
    assert sum(pieces) == CONNECTIONS
    assert max(pieces) <= LONGEST
