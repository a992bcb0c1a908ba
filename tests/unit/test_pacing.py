"""Turns: a few at once, in the order of arrival, and never for long."""

from __future__ import annotations

import asyncio

import pytest

from gglib_proxy.pacing import Pace, Turn

LONG = 3600.0


async def begun(task: asyncio.Task[Turn]) -> bool:
    """Whether the task has its turn, once all that could go on has gone on."""
    for _ in range(5):
        await asyncio.sleep(0)
    return task.done()


def waiting(pace: Pace) -> asyncio.Task[Turn]:
    return asyncio.create_task(pace.take_turn())


async def test_who_comes_when_all_turns_are_taken_waits_for_one_to_end() -> None:
    pace = Pace(2, LONG)
    first, second = await pace.take_turn(), await pace.take_turn()
    third, fourth = waiting(pace), waiting(pace)
    assert not await begun(third)
    second.end()
    assert await begun(third)
    assert not await begun(fourth)
    first.end()
    for each in (third, fourth):
        (await each).end()


async def test_a_turn_that_is_ended_twice_lets_one_more_in() -> None:
    pace = Pace(1, LONG)
    turn = await pace.take_turn()
    second, third = waiting(pace), waiting(pace)
    turn.end()
    turn.end()
    assert await begun(second)
    assert not await begun(third)
    (await second).end()
    (await third).end()


async def test_a_turn_that_nobody_ends_is_over_after_a_while() -> None:
    pace = Pace(1, 0.001)
    await pace.take_turn()
    async with asyncio.timeout(20):
        turn = await pace.take_turn()
    turn.end()


async def test_who_gives_up_waiting_takes_nobodys_turn() -> None:
    pace = Pace(1, LONG)
    turn = await pace.take_turn()
    second, third = waiting(pace), waiting(pace)
    assert not await begun(second)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    turn.end()
    assert await begun(third)
    (await third).end()
