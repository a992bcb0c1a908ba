"""A data plane that runs inside a test, and what must be true of it when the test is over.

`running_plane` has no clock of its own: deadlines are enforced when the test calls `sweep`, so no
test waits for one.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from gglib_core.admission import AdmissionPolicy
from gglib_core.catalog import CatalogSnapshot
from gglib_core.errors import ShuttingDown
from gglib_core.in_memory_runtime import InMemoryModelRuntime
from gglib_core.models import Capability, Model, RunningModel, Target
from gglib_core.ports import Lease, ModelRuntime
from gglib_core.swaps import Requester
from gglib_proxy.books import Books
from gglib_proxy.data_plane import DataPlane
from gglib_proxy.door.door import OPEN, Door
from gglib_proxy.engine_exchange import EngineExchange
from gglib_proxy.frontend import open_frontend
from gglib_proxy.limits import Limits
from gglib_proxy.members import Members
from gglib_proxy.turn import Turn
from gglib_proxy.upstream import UpstreamPool
from tests.catalog_entries import model
from tests.raw_http import RawConnection, open_raw
from tests.upstreams import FakeUpstream, Script, open_upstream

WAIT_SECONDS = 20.0
ENGINE_KEY = "engine-key"
CHAT = model(1, "chat", aliases=("talker",), capabilities=frozenset({Capability.CHAT}))
EMBEDDER = model(2, "embedder", capabilities=frozenset({Capability.EMBEDDINGS}))
BODY = {"model": "chat", "messages": []}
STREAM_BODY = {**BODY, "stream": True}
Tls = tuple[ssl.SSLContext, ssl.SSLContext]
"""The contexts of a server and of its clients."""
default_tls: Tls | None = None
"""For planes whose test does not say."""


class LedgerLease:
    """A lease that its runtime keeps an account of."""

    def __init__(self, ledger: LedgerRuntime, lease: Lease) -> None:
        self._ledger = ledger
        self._lease = lease
        self.target: Target = lease.target
        self.activity = lease.activity
        self.releases = 0

    @property
    def is_live(self) -> bool:
        return self._lease.is_live

    @property
    def end_reason(self) -> str | None:
        return self._lease.end_reason

    @property
    def swap_id(self) -> str | None:
        return self._lease.swap_id

    @property
    def load_seconds(self) -> float:
        return self._lease.load_seconds

    def release(self) -> None:
        self.releases += 1
        self._ledger.released(self)
        self._lease.release()


class LedgerRuntime:
    """Any runtime, with an account of the leases that it gave."""

    def __init__(self, runtime: ModelRuntime) -> None:
        self.runtime = runtime
        self.leases: list[LedgerLease] = []
        self.on_release: Callable[[LedgerLease], None] | None = None
        self._changed = asyncio.Condition()

    @property
    def held(self) -> list[LedgerLease]:
        return [lease for lease in self.leases if not lease.releases]

    def released(self, lease: LedgerLease) -> None:
        if self.on_release is not None:
            self.on_release(lease)

    async def admit(
        self,
        model: Model,
        *,
        context: int,
        may_load: bool = True,
        requester: Requester | None = None,
    ) -> LedgerLease:
        given = await self.runtime.admit(
            model, context=context, may_load=may_load, requester=requester
        )
        lease = LedgerLease(self, given)
        self.leases.append(lease)
        return lease

    def lease_now(self, model: Model, *, context: int) -> LedgerLease | None:
        given = self.runtime.lease_now(model, context=context)
        if given is None:
            return None
        lease = LedgerLease(self, given)
        self.leases.append(lease)
        return lease

    async def load(self, model: Model, *, context: int, requester: Requester | None = None) -> None:
        await self.runtime.load(model, context=context, requester=requester)

    def current(self) -> Sequence[RunningModel]:
        return self.runtime.current()

    async def stop_current(self, model_id: int | None = None) -> None:
        await self.runtime.stop_current(model_id)

    def on_stopping(self, listener: Callable[[Target], None]) -> Callable[[], None]:
        return self.runtime.on_stopping(listener)


@dataclass(slots=True, kw_only=True, eq=False)
class RunningPlane:
    """The plane and the ways to it."""

    plane: DataPlane
    port: int
    ledger: LedgerRuntime
    client_tls: ssl.SSLContext | None = None
    """With what clients speak TLS, if the plane does."""
    bugs: list[dict[str, Any]] = field(default_factory=list)
    """What the event loop was told of: exceptions that nobody caught."""

    def open(self) -> Any:
        """A client's connection, closed at the block's end."""
        return open_raw(self.port, tls=self.client_tls)

    def sweep(self, later: float = 0.0) -> None:
        """Sweep as if that many seconds had passed since the last real moment."""
        self.plane.sweep(self.plane.now() + later)

    async def sweep_until(self, condition: Callable[[], bool], *, step: float) -> None:
        """Sweep as if so many seconds had passed each time, until the condition holds.

        One sweep may not do: kernels tell each other late of what was taken.
        """
        later = 0.0

        def has_come() -> bool:
            nonlocal later
            later += step
            self.sweep(later)
            return condition()

        await self.until(has_come)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait, turn by turn of the event loop, until the condition holds."""
        async with asyncio.timeout(WAIT_SECONDS):
            while not condition():  # noqa: ASYNC110 - what is asked tells nobody when it changes
                await asyncio.sleep(0.001)

    async def idle(self) -> None:
        """Wait until no request is under way."""
        async with asyncio.timeout(WAIT_SECONDS):
            await self.plane.exchanges.emptied()

    async def asking(self, connection: RawConnection, count: int = 1) -> None:
        """Wait until that many requests are under way."""
        await self.until(lambda: len(self.plane.exchanges) >= count)


@asynccontextmanager
async def running_plane(
    port: int,
    *,
    models: Iterable[Model] = (CHAT, EMBEDDER),
    limits: Limits | None = None,
    runtime: ModelRuntime | None = None,
    default_model: str | None = None,
    control_path: str | None = None,
    max_resident: int = 2,
    tls: Tls | None = None,
    door: Door | None = None,
    books: Books | None = None,
) -> AsyncIterator[RunningPlane]:
    """Serve with an upstream at `port`; at the end nothing may be left of any request.

    Nothing is: a task, a lease that was not given back or twice, a byte that is accounted for, a
    connection that is neither closed nor idle in the pool, or an exception that nobody caught.
    """
    loop = asyncio.get_running_loop()
    tasks_before = asyncio.all_tasks()
    in_memory: InMemoryModelRuntime | None = None
    if runtime is None:
        policy = AdmissionPolicy(max_resident=max_resident, quantum_seconds=0)
        runtime = in_memory = InMemoryModelRuntime(
            "127.0.0.1", port, api_key=ENGINE_KEY, policy=policy
        )
    limits = limits or Limits()
    ledger = LedgerRuntime(runtime)
    exchanges = Members[EngineExchange]()
    turn = Turn(loop, exchanges)
    plane = DataPlane(
        loop=loop,
        limits=limits,
        catalog=CatalogSnapshot(models),
        runtime=ledger,
        default_ctx=4096,
        default_model=default_model,
        local_answer=lambda route: b'{"status":"ok"}',
        pool=UpstreamPool(loop, turn, limits.connect_timeout_seconds),
        exchanges=exchanges,
        turn=turn,
        door=door or Door(OPEN),
        books=books or Books(),
    )
    if control_path is not None:
        plane.control_started(control_path)
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    server_tls, client_tls = tls or default_tls or (None, None)
    running = RunningPlane(
        plane=plane, port=listener.getsockname()[1], ledger=ledger, client_tls=client_tls
    )
    loop.set_exception_handler(lambda _, context: running.bugs.append(context))
    forget = ledger.on_stopping(plane.forget_target)
    try:
        async with open_frontend(plane, listener, server_tls and (lambda: server_tls)):
            yield running
            await _settled(running)
    finally:
        forget()
        await plane.cancel_exchanges(ShuttingDown())
        for connection in plane.connections:
            connection.close_now()
        plane.pool.abort_all()
        async with asyncio.timeout(WAIT_SECONDS):
            await plane.connections.emptied()
            await plane.pool.emptied()
        if in_memory is not None:
            await in_memory.aclose()
        loop.set_exception_handler(None)
    await running.until(lambda: not _left_over(tasks_before))


def _left_over(before: set[asyncio.Task[Any]]) -> list[asyncio.Task[Any]]:
    """Tasks that have come since, except this one and those of upstreams' scripts."""
    ours = {*before, asyncio.current_task()}
    return [
        task
        for task in asyncio.all_tasks() - ours
        if not task.get_coro().__qualname__.startswith("FakeUpstream.")  # type: ignore[union-attr]
    ]


async def _settled(running: RunningPlane) -> None:
    """All clients have gone, so nothing may be left."""
    plane = running.plane
    async with asyncio.timeout(WAIT_SECONDS):
        await plane.connections.emptied()
        await plane.exchanges.emptied()
    await running.until(lambda: plane.pool.open_count == plane.pool.idle_count)
    await running.until(lambda: not running.ledger.held)
    assert not running.bugs, running.bugs
    assert plane.buffered_bytes == 0
    assert [lease.releases for lease in running.ledger.leases if lease.releases != 1] == []


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """What most tests need."""

    upstream: FakeUpstream
    running: RunningPlane
    client: RawConnection

    @property
    def plane(self) -> DataPlane:
        return self.running.plane


@asynccontextmanager
async def relaying(*scripts: Script, **options: Any) -> AsyncIterator[Relay]:
    """An upstream, a plane in front of it, and one client's connection to that."""
    async with (
        open_upstream(*scripts) as upstream,
        running_plane(upstream.port, **options) as running,
        running.open() as client,
    ):
        yield Relay(upstream=upstream, running=running, client=client)
