"""What the in-memory runtime has beside the port."""

from __future__ import annotations

import asyncio

import pytest

from gglib_core.errors import (
    AdmissionWithdrawn,
    LaunchFailed,
    LaunchFailure,
    ShuttingDown,
)
from gglib_core.in_memory_runtime import InMemoryModelRuntime
from gglib_core.models import Capability, GgufFacts, Model, Target
from tests.supervision import eventually


def model(number: int) -> Model:
    return Model(
        id=number,
        name=f"model-{number}",
        paths=("/m.gguf",),
        size_bytes=1,
        facts=GgufFacts(architecture="llama"),
        capabilities=frozenset({Capability.CHAT}),
    )


async def test_a_target_is_where_the_owner_said() -> None:
    runtime = InMemoryModelRuntime("::1", 4711, api_key="key")
    lease = await runtime.admit(model(1), context=10)
    assert (lease.target.host, lease.target.port, lease.target.api_key) == ("::1", 4711, "key")
    assert runtime.launches == 1
    lease.release()


async def test_stopping_takes_as_long_as_its_hook() -> None:
    may_stop = asyncio.Event()

    async def stopping(target: Target) -> None:
        await may_stop.wait()

    runtime = InMemoryModelRuntime("127.0.0.1", 1, stopping=stopping)
    (await runtime.admit(model(1), context=10)).release()
    rival = asyncio.create_task(runtime.admit(model(2), context=10))
    await asyncio.sleep(0.01)
    assert not rival.done()
    may_stop.set()
    (await rival).release()


async def test_a_model_that_leaves_the_catalog_goes() -> None:
    runtime = InMemoryModelRuntime("127.0.0.1", 1)
    lease = await runtime.admit(model(1), context=10)
    runtime.catalog_changed([model(2)])
    assert lease.is_live
    lease.release()
    await eventually(lambda: runtime.current() == [])
    assert not lease.is_live


async def test_an_engine_that_dies_in_the_moment_of_a_grant_is_not_leased() -> None:
    loaded = asyncio.Event()

    async def loading(_: Model) -> None:
        await loaded.wait()

    runtime = InMemoryModelRuntime("127.0.0.1", 1, loading=loading)
    work = asyncio.create_task(runtime.admit(model(1), context=10))
    await asyncio.sleep(0.01)
    loaded.set()
    while not runtime.current()[0].leases:  # noqa: ASYNC110 - every turn counts
        await asyncio.sleep(0)
    assert not work.done()
    runtime.crash(1, LaunchFailed("model-1", LaunchFailure.CRASHED, "as asked"))
    lease = await work
    assert lease.is_live
    assert runtime.launches == 2
    lease.release()
    assert runtime.current()[0].leases == 0


@pytest.mark.parametrize("hook", ["loading", "stopping"])
async def test_closing_ends_what_the_hooks_hold(hook: str) -> None:
    async def hang(_: object) -> None:
        await asyncio.Event().wait()

    runtime = InMemoryModelRuntime("127.0.0.1", 1, **{hook: hang})  # type: ignore[arg-type]
    work = asyncio.create_task(runtime.admit(model(1), context=10))
    await asyncio.sleep(0.01)
    stopping = asyncio.create_task(runtime.stop_current())
    await asyncio.sleep(0.01)
    if not work.done():
        await asyncio.sleep(0.01)
    elif work.exception() is None:
        work.result().release()
        await asyncio.sleep(0.01)
    await runtime.aclose()
    await asyncio.wait([work, stopping], timeout=5)
    assert stopping.done()
    assert work.done()
    assert hook == "stopping" or isinstance(work.exception(), (AdmissionWithdrawn, ShuttingDown))
    assert len(asyncio.all_tasks()) == 1
