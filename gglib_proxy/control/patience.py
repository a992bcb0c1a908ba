"""Waiting that ends when the server does.

The server cannot go while an answer waits, so each wait that has no end of its own is bounded by
the stop event.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from gglib_core.errors import ShuttingDown

T = TypeVar("T")


async def unless_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns; raises ShuttingDown, having cancelled it, once `stop` is set."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ShuttingDown
        return working.result()
    finally:
        await _end(working, stopping)


async def until_stopped(stop: asyncio.Event, items: AsyncIterator[T]) -> AsyncGenerator[T]:
    """The items as they come, until there are no more or `stop` is set."""
    while True:
        try:
            yield await unless_stopped(stop, _next(items))
        except (StopAsyncIteration, ShuttingDown):
            return


@asynccontextmanager
async def closed_afterwards(items: AsyncIterator[T]) -> AsyncGenerator[AsyncIterator[T]]:
    """Close the iterator at the block's end, if it is one that can be closed."""
    try:
        yield items
    finally:
        aclose: Callable[[], Awaitable[None]] | None = getattr(items, "aclose", None)
        if aclose is not None:
            await aclose()


async def _next(items: AsyncIterator[T]) -> T:
    return await anext(items)


async def _end(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
