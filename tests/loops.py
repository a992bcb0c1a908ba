"""Running a test on the event loop that it is about, instead of pytest's."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop

NewLoop = Callable[[], asyncio.AbstractEventLoop]


def on_each_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an async test on uvloop and on asyncio; it fails if it leaves a task."""

    def run(new_loop: NewLoop, **fixtures: Any) -> None:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(_leaving_no_task(test(**fixtures)))

    own = inspect.Parameter("new_loop", inspect.Parameter.KEYWORD_ONLY)
    parameters = [*inspect.signature(test).parameters.values(), own]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__name__, run.__doc__ = test.__name__, test.__doc__
    loops = [uvloop.new_event_loop, asyncio.new_event_loop]
    return pytest.mark.parametrize("new_loop", loops, ids=["uvloop", "asyncio"])(run)


async def _leaving_no_task(test: Awaitable[None]) -> None:
    await test
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, left
