"""A data plane whose network is the test: every byte, end and failure comes when the test says so.

There are no sockets. Nothing happens between two steps of a test but what the step was and, where
it says so, one turn of the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from gglib_core.activity import EngineActivity
from gglib_core.catalog import CatalogSnapshot
from gglib_core.errors import AdmissionWithdrawn
from gglib_core.models import Capability, Model, RunningModel, Target
from gglib_core.swaps import Requester
from gglib_proxy.client import ClientConnection
from gglib_proxy.data_plane import DataPlane
from gglib_proxy.engine_exchange import EngineExchange
from gglib_proxy.limits import Limits
from gglib_proxy.members import Members
from gglib_proxy.turn import CROWD, Turn
from gglib_proxy.upstream import UpstreamConnection, UpstreamPool
from tests.catalog_entries import model

CHAT = model(1, "chat", capabilities=frozenset({Capability.CHAT}))
TARGET = Target(
    launch_id="launch-1",
    model_id=1,
    model_name="chat",
    host="127.0.0.1",
    port=1,
    api_key="key",
    context=4096,
)


class MemorySocket:
    """Takes options."""

    def setsockopt(self, *_: Any) -> None:
        pass


class MemoryTransport(asyncio.Transport):
    """Keeps what its protocol writes; closes as transports do: in the next turn of the loop."""

    def __init__(self, protocol: ClientConnection | UpstreamConnection) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "socket": MemorySocket()})
        self.protocol = protocol
        self.written = b""
        self.is_lost = False
        self.is_reading = True
        self._is_closing = False

    def write(self, data: Any) -> None:
        if not self._is_closing:
            self.written += bytes(data)

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        pass

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            asyncio.get_running_loop().call_soon(self.lose, None)

    abort = close

    def lose(self, error: Exception | None) -> None:
        """The connection has ended."""
        self._is_closing = True
        if not self.is_lost:
            self.is_lost = True
            self.protocol.connection_lost(error)

    @property
    def is_open(self) -> bool:
        """Whether the other side can still do something that is noticed."""
        return not self._is_closing

    def receive(self, data: bytes) -> None:
        self.protocol.data_received(data)

    def receive_end(self) -> None:
        if not self.protocol.eof_received():
            self.close()


class MemoryConnector:
    """The part of an event loop that a pool needs."""

    def __init__(self) -> None:
        self.trying: list[asyncio.Future[None]] = []
        self.transports: list[MemoryTransport] = []
        self.time = asyncio.get_running_loop().time

    async def create_connection(
        self, factory: Callable[[], UpstreamConnection], host: str, port: int
    ) -> Any:
        """Like uvloop's: one that is cancelled closes without telling its protocol."""
        answer = asyncio.get_running_loop().create_future()
        self.trying.append(answer)
        await answer
        connection = factory()
        transport = MemoryTransport(connection)
        connection.connection_made(transport)
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            transport.is_lost = True
            raise
        self.transports.append(transport)
        return transport, connection


class MemoryLease:
    """A lease that knows how often it was given back, and how things stood then."""

    target = TARGET
    end_reason = None
    swap_id = None
    load_seconds = 0.0

    def __init__(self, runtime: MemoryRuntime) -> None:
        self.runtime = runtime
        self.activity = runtime.activity
        self.releases = 0

    @property
    def is_live(self) -> bool:
        return self.runtime.is_live

    def release(self) -> None:
        self.releases += 1
        self.runtime.on_release()


class MemoryRuntime:
    """Grants and rejects when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[None]] = []
        self.leases: list[MemoryLease] = []
        self.activity = EngineActivity()
        self.is_live = True
        self.is_ready = False
        """Whether leases are given without waiting."""
        self.on_release: Callable[[], None] = lambda: None

    async def admit(
        self,
        model: Model,
        *,
        context: int,
        may_load: bool = True,
        requester: Requester | None = None,
    ) -> MemoryLease:
        answer = asyncio.get_running_loop().create_future()
        self.waiting.append(answer)
        await answer
        return self._lease()

    def lease_now(self, model: Model, *, context: int) -> MemoryLease | None:
        return self._lease() if self.is_ready else None

    async def load(self, model: Model, *, context: int, requester: Requester | None = None) -> None:
        await self.admit(model, context=context)

    def _lease(self) -> MemoryLease:
        lease = MemoryLease(self)
        self.leases.append(lease)
        return lease

    @property
    def held(self) -> int:
        return sum(not lease.releases for lease in self.leases)

    def current(self) -> Sequence[RunningModel]:
        return ()

    async def stop_current(self, model_id: int | None = None) -> None:
        pass

    def on_stopping(self, listener: Callable[[Target], None]) -> Callable[[], None]:
        return lambda: None


class MemoryNetwork:
    """One client in front of a plane, and an engine behind it; others may crowd in beside them."""

    def __init__(self, limits: Limits, *, is_crowded: bool = False) -> None:
        loop = asyncio.get_running_loop()
        self.bugs: list[Any] = []
        loop.set_exception_handler(lambda _, context: self.bugs.append(context))
        self.connector = MemoryConnector()
        self.runtime = MemoryRuntime()
        exchanges = Members[EngineExchange]()
        turn = Turn(loop, range(CROWD) if is_crowded else exchanges)
        self.plane = DataPlane(
            loop=loop,
            limits=limits,
            catalog=CatalogSnapshot([CHAT]),
            runtime=self.runtime,
            default_ctx=4096,
            default_model=None,
            local_answer=lambda route: b"{}",
            pool=UpstreamPool(self.connector, turn, 5.0),  # type: ignore[arg-type]
            exchanges=exchanges,
            turn=turn,
        )
        self.client = ClientConnection(self.plane)
        self.transport = MemoryTransport(self.client)
        self.client.connection_made(self.transport)

    async def turn(self, count: int = 1) -> None:
        for _ in range(count):
            await asyncio.sleep(0)

    @property
    def busy(self) -> int:
        """Connections to the engine that carry a request, or did and are not closed yet."""
        return sum(
            connection._sink is not None or connection._on_closed is not None
            for connection in self.plane.pool._open
        )

    def engines(self) -> list[MemoryTransport]:
        """The engine's connections that are open on its side."""
        return [each for each in self.connector.transports if each.is_open]

    @property
    def is_waiting(self) -> bool:
        """Whether a request waits for its model."""
        return any(not answer.done() for answer in self.runtime.waiting)

    @property
    def is_connecting(self) -> bool:
        return any(not answer.done() for answer in self.connector.trying)

    # What may happen to requests that wait

    def grant(self) -> None:
        self._settle(self.runtime.waiting, None)

    def reject(self) -> None:
        self._settle(self.runtime.waiting, AdmissionWithdrawn("chat"))

    def connect(self) -> None:
        self._settle(self.connector.trying, None)

    def refuse(self) -> None:
        self._settle(self.connector.trying, ConnectionRefusedError(111, "Connection refused"))

    @staticmethod
    def _settle(waiting: list[asyncio.Future[None]], error: Exception | None) -> None:
        while waiting:
            answer = waiting.pop(0)
            if answer.done():  # who waited has gone
                continue
            if error is None:
                answer.set_result(None)
            else:
                answer.set_exception(error)
            return

    async def aclose(self) -> None:
        """Let the engine's side end too."""
        self.plane.pool.abort_all()
        await self.turn(3)
        assert self.plane.pool.open_count == 0
