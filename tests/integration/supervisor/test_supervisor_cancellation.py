"""Cancellation and aborts at every await of launch, swap and stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from gglib_core.admission import AdmissionPolicy
from gglib_core.errors import AdmissionError
from gglib_core.models import ModelState
from gglib_runtime.supervisor import Supervisor, SupervisorSettings
from tests.engines import (
    WAIT_SECONDS,
    children,
    record_of,
    simulator_model,
    simulators_left,
    starts_beside_others,
)
from tests.supervision import Supervision, eventually, supervising
from tests.suspensions import Suspensions

pytestmark = pytest.mark.timeout(120)

AT_ONCE = AdmissionPolicy(quantum_seconds=0)
# The first awaits are where decisions fall; the later ones are rounds of one loop.
EVERY, SOME = range(1, 25), range(25, 60, 9)


async def use(it: Supervision, name: str) -> None:
    model = it.catalog.resolve_model(name)
    assert model is not None
    lease = await it.supervisor.admit(model, context=512)
    assert lease.is_live
    lease.release()


async def calm(it: Supervision) -> None:
    """Nothing is held, nobody waits, and the processes are those that are shown."""

    def is_calm() -> bool:
        current = it.supervisor.current()
        return {each.state for each in current} <= {ModelState.LOADED} and not any(
            each.leases or each.waiting for each in current
        )

    await eventually(is_calm)
    shown = sorted(each.pid or 0 for each in it.supervisor.current())
    assert sorted(each.pid for each in children()) == shown


@asynccontextmanager
async def rivals(tmp_path: Path) -> AsyncIterator[Supervision]:
    """Alpha and beta, one place; afterwards all is calm, and never did two run at once."""
    record = tmp_path / "record"
    models = [simulator_model(1, "alpha", record=record), simulator_model(2, "beta", record=record)]
    async with supervising(tmp_path, *models, policy=AT_ONCE) as it:
        yield it
        await calm(it)
    assert starts_beside_others(record) == []


async def turns_of(work: Any, limit: int | None = None) -> int | None:
    """Run `work`; cancel it at the loop's `limit`-th turn. The turns it took, None if cancelled."""
    task = asyncio.ensure_future(work)
    for turn in count():
        if task.done():
            task.result()
            return turn
        if turn == limit:
            task.cancel()
            await asyncio.wait([task], timeout=WAIT_SECONDS)
            return None if task.cancelled() else turn
        await asyncio.sleep(0)
    return None


def some_of(total: int | None, wanted: int) -> list[int]:
    """Turns at which to cancel: the first ones one by one, the rest in steps."""
    assert total is not None
    first = range(1, min(total, wanted))
    return [*first, *range(wanted, total, max(1, total // wanted))]


# requests


async def test_a_request_may_be_cancelled_at_any_turn_of_its_launch(tmp_path: Path) -> None:
    async with rivals(tmp_path) as it:
        total = await turns_of(use(it, "alpha"))
        for limit in some_of(total, 8):
            await it.supervisor.stop_current()
            await turns_of(use(it, "alpha"), limit)
            await calm(it)


async def test_a_request_may_be_cancelled_at_any_turn_of_a_swap(tmp_path: Path) -> None:
    async with rivals(tmp_path) as it:
        await use(it, "alpha")
        total = await turns_of(use(it, "beta"))
        for limit in some_of(total, 8):
            await use(it, "alpha")
            await turns_of(use(it, "beta"), limit)
            await calm(it)


async def test_a_stop_may_be_cancelled_at_any_turn(tmp_path: Path) -> None:
    async with rivals(tmp_path) as it:
        await use(it, "alpha")
        total = await turns_of(it.supervisor.stop_current())
        for limit in some_of(total, 12):
            await use(it, "alpha")
            await turns_of(it.supervisor.stop_current(), limit)
            await eventually(lambda: it.supervisor.current() == [])
            assert children() == []


# the task that runs an engine

Hook = Callable[[Supervisor], None]


def abort(supervisor: Supervisor) -> None:
    """What an unload does, and a rival of a load that nobody wants any more."""
    supervisor._desk.unload(None)


def cancel(supervisor: Supervisor) -> None:
    """What a runner does that ends all tasks."""
    for task in supervisor._tasks:
        task.cancel()


@pytest.mark.parametrize("hook", [abort, cancel])
async def test_an_engine_may_be_ended_at_any_await_of_its_life(
    tmp_path: Path, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, live = tmp_path / "record", Supervisor._live
    due: list[int] = []

    async def live_until(supervisor: Supervisor, residency: Any) -> None:
        number = due.pop() if due else None
        suspensions = Suspensions(live(supervisor, residency), number, lambda: hook(supervisor))
        await suspensions

    monkeypatch.setattr(Supervisor, "_live", live_until)
    alpha = simulator_model(1, "alpha", record=record)
    async with supervising(tmp_path, alpha) as it:
        for number in (*EVERY, *SOME):
            due.append(number)
            async with asyncio.timeout(WAIT_SECONDS):
                await use_or_fail(it)
                await it.supervisor.stop_current()
            assert it.supervisor.current() == []
            assert simulators_left(record) == []
        await use(it, "alpha")
    assert starts_beside_others(record) == []


async def use_or_fail(it: Supervision) -> None:
    try:
        await use(it, "alpha")
    except AdmissionError:
        return


# the supervisor


async def test_the_supervisor_may_be_cancelled_at_any_await_of_its_life(tmp_path: Path) -> None:
    """Opening, launching, swapping, stopping, closing: nothing is left (see `supervising`)."""

    async def life() -> None:
        async with rivals(tmp_path) as it:
            await use(it, "alpha")
            await use(it, "beta")

    async def run(number: int | None) -> int:
        task = asyncio.current_task()
        assert task is not None
        suspensions = Suspensions(life(), number, task.cancel)
        await suspensions
        return suspensions.count

    total = await run(None)
    assert total > 5
    for number in range(1, total + 1):
        task = asyncio.create_task(run(number))
        await asyncio.wait([task], timeout=WAIT_SECONDS)
        assert task.cancelled()
        assert children() == []


async def test_a_cancelled_close_kills_what_takes_its_time(tmp_path: Path) -> None:
    record = tmp_path / "record"
    alpha = simulator_model(1, "alpha", sim={"stop_seconds": 60}, record=record)
    settings = SupervisorSettings(stop_grace_seconds=60)

    async def life() -> None:
        async with supervising(tmp_path, alpha, settings=settings) as it:
            await use(it, "alpha")

    task = asyncio.create_task(life())
    await record_of(record, "term")
    task.cancel()
    await asyncio.wait([task], timeout=WAIT_SECONDS)
    assert task.cancelled()
    assert children() == []


async def test_a_failing_block_stops_everything_and_its_error_comes_through(
    tmp_path: Path,
) -> None:
    async def fail(it: Supervision) -> None:
        await use(it, "alpha")
        raise LookupError("the block's own")

    alpha = simulator_model(1, "alpha")
    with pytest.raises(LookupError, match="the block's own"):
        async with supervising(tmp_path, alpha) as it:
            await fail(it)
    assert children() == []
