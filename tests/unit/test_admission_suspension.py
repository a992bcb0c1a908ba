"""A process that stood still, because it was stopped or its machine was, costs nobody his place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from gglib_core.admission import AdmissionPolicy, Resident, StopReason
from gglib_core.admission_desk import AdmissionDesk
from gglib_core.errors import QueueTimeout
from tests.admission_values import a_model
from tests.virtual_time import VirtualTimeLoop

QUEUE_SECONDS = 10.0
STOPPED_SECONDS = 100.0


class FakeEngines:
    """Load for ever, and do not end."""

    def launch(self, resident: Resident) -> None:
        pass

    def stop(self, resident: Resident, reason: StopReason) -> None:
        pass


class Waiting:
    """Requests that wait for a model."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        self.desk = AdmissionDesk(AdmissionPolicy(queue_seconds=QUEUE_SECONDS), FakeEngines())
        self._loop = loop

    def ask(self, name: str) -> asyncio.Task[Any]:
        return asyncio.ensure_future(self.desk.admit(a_model(name), context=4096))

    def stand_still(self, seconds: float) -> None:
        self._loop._virtual_now += seconds


def run(story: Callable[[Waiting], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        waiting = Waiting(loop)
        await story(waiting)
        waiting.desk.close()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(whole())


def test_the_time_in_which_the_process_stood_still_is_no_wait() -> None:
    async def story(waiting: Waiting) -> None:
        request = waiting.ask("a")
        await asyncio.sleep(QUEUE_SECONDS / 2)
        waiting.stand_still(STOPPED_SECONDS)
        await asyncio.sleep(QUEUE_SECONDS / 2 - 2)
        assert not request.done()
        with pytest.raises(QueueTimeout):
            await request
        assert asyncio.get_running_loop().time() < STOPPED_SECONDS + QUEUE_SECONDS + 2

    run(story)


def test_what_happens_first_when_it_goes_on_ends_nobodys_wait_either() -> None:
    """Sockets may be looked at before timers."""

    async def story(waiting: Waiting) -> None:
        request, other = waiting.ask("a"), waiting.ask("b")
        await asyncio.sleep(QUEUE_SECONDS / 2)
        waiting.stand_still(STOPPED_SECONDS)
        other.cancel()
        newcomer = waiting.ask("c")
        await asyncio.sleep(1)
        assert other.cancelled()
        assert not request.done()
        for task in (request, newcomer):
            with pytest.raises(QueueTimeout):
                await task

    run(story)


def test_a_wait_without_standing_still_is_as_long_as_the_limit() -> None:
    async def story(waiting: Waiting) -> None:
        with pytest.raises(QueueTimeout):
            await waiting.ask("a")
        assert asyncio.get_running_loop().time() == QUEUE_SECONDS

    run(story)
