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
TURNS = 100
"""Some ten full sweeps of so many connections."""
TURN_SECONDS = 1.0
"""Four of them, and so a sweep, take longer than what would be a suspension."""
DEADLINE = 1e6


class WatchedConnection(ClientConnection):
    __slots__ = ("events",)

    def __init__(self, plane: DataPlane, events: list[str]) -> None:
        super().__init__(plane)
        self.events = events

    def sweep(self, now: float) -> None:
        self.events.append("sweep")


@pytest.fixture
async def plane(monkeypatch: pytest.MonkeyPatch) -> DataPlane:
    monkeypatch.setattr("gglib_proxy.data_plane.SWEEP_SECONDS", 0)
    return MemoryNetwork(Limits()).plane


@needs_plain_python
async def test_many_connections_are_not_swept_in_one_piece(plane: DataPlane) -> None:
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


def connected(plane: DataPlane) -> ClientConnection:
    """A connection whose deadline is far away, and is moved by what was a suspension."""
    connection = ClientConnection(plane)
    connection.deadline = DEADLINE
    plane.connections.add(connection)
    return connection


async def test_a_rest_that_takes_much_too_long_was_a_suspension(plane: DataPlane) -> None:
    connection = connected(plane)
    moments = [0.0, 0.25, 0.25, 0.5, 10.5, 10.75]
    plane.now = lambda: moments.pop(0)
    with pytest.raises(IndexError):
        await plane.sweep_for_ever()
    assert connection.deadline == DEADLINE + 10.0


async def test_a_sweep_in_which_each_turn_takes_long_is_no_suspension(plane: DataPlane) -> None:
    seconds = 0.0
    plane.now = lambda: seconds
    connections = [connected(plane) for _ in range(CONNECTIONS)]
    sweep = asyncio.create_task(plane.sweep_for_ever())
    for _ in range(TURNS):
        seconds += TURN_SECONDS
        await asyncio.sleep(0)
    sweep.cancel()
    await asyncio.gather(sweep, return_exceptions=True)
    assert {each.deadline for each in connections} == {DEADLINE}
