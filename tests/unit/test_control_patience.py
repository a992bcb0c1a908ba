"""Waiting that ends when the server does."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from gglib_core.errors import ShuttingDown
from gglib_proxy.control.patience import closed_afterwards, unless_stopped, until_stopped


class Work:
    """Waits for ever and remembers that it was cancelled."""

    def __init__(self) -> None:
        self.has_begun = asyncio.Event()
        self.was_cancelled = False

    async def run(self) -> None:
        self.has_begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise


async def test_work_that_ends_gives_its_result() -> None:
    async def answer() -> int:
        return 42

    assert await unless_stopped(asyncio.Event(), answer()) == 42


async def test_work_that_fails_raises_what_it_raised() -> None:
    async def fail() -> None:
        raise KeyError("it")

    with pytest.raises(KeyError, match="it"):
        await unless_stopped(asyncio.Event(), fail())


async def test_stopping_cancels_the_work() -> None:
    stop, work = asyncio.Event(), Work()
    waiting = asyncio.create_task(unless_stopped(stop, work.run()))
    await work.has_begun.wait()
    stop.set()
    with pytest.raises(ShuttingDown):
        await waiting
    assert work.was_cancelled


async def test_cancelling_the_wait_cancels_the_work() -> None:
    work = Work()
    waiting = asyncio.create_task(unless_stopped(asyncio.Event(), work.run()))
    await work.has_begun.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert work.was_cancelled
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def count(limit: int) -> AsyncGenerator[int]:
    for number in range(limit):
        await asyncio.sleep(0)
        yield number
    if limit > 2:
        await asyncio.Event().wait()


async def test_items_come_until_there_are_no_more() -> None:
    assert [item async for item in until_stopped(asyncio.Event(), count(2))] == [0, 1]


async def test_items_end_when_the_server_stops() -> None:
    stop = asyncio.Event()
    seen = []
    async for item in until_stopped(stop, count(3)):
        seen.append(item)
        if item == 2:
            stop.set()
    assert seen == [0, 1, 2]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_iterator_is_closed_even_when_nothing_was_asked_of_it() -> None:
    class Items:
        is_closed = False

        def __aiter__(self) -> "Items":
            return self

        async def __anext__(self) -> int:
            raise StopAsyncIteration

        async def aclose(self) -> None:
            self.is_closed = True

    items = Items()
    with pytest.raises(KeyError):
        async with closed_afterwards(items):
            raise KeyError
    assert items.is_closed
