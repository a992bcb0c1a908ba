"""What all connections of the data plane share: ports, limits, the pool, and the sweep.

Deadlines are stamps on connections and exchanges; one sweep enforces them all.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from gglib_core.errors import GglibError, UpstreamUnreachable
from gglib_core.models import ModelState, Target
from gglib_core.ports import Lease, ModelCatalog, ModelRuntime
from gglib_proxy.books import Books
from gglib_proxy.client import ClientConnection
from gglib_proxy.control_exchange import ControlExchange
from gglib_proxy.door.door import OPEN, Door, Entry
from gglib_proxy.engine_exchange import EngineExchange
from gglib_proxy.exchange import Exchange
from gglib_proxy.http1.requests import Request
from gglib_proxy.limits import Limits
from gglib_proxy.members import Members
from gglib_proxy.pacing import Pace
from gglib_proxy.routes import Plane, Route
from gglib_proxy.tls import TlsConnection
from gglib_proxy.turn import Turn
from gglib_proxy.upstream import Origin, UpstreamPool

logger = logging.getLogger(__name__)

_INFERENCE: Final = Plane.INFERENCE  # before Python 3.12 members are slow to look up
SWEEP_SECONDS = 0.25
_SLICE = 250
"""How many are looked at before clients have a turn: a quarter of a millisecond's work."""
_SUSPENDED_SECONDS = 2.0
"""A rest that ends this late was one of the whole process, and no deadline came closer in it."""
_CONTROL_START_SECONDS = 30.0


@dataclass(slots=True, kw_only=True, eq=False)
class DataPlane:
    """The shared state. Belongs to one event loop."""

    loop: asyncio.AbstractEventLoop
    limits: Limits
    catalog: ModelCatalog
    runtime: ModelRuntime
    default_ctx: int
    default_model: str | None
    local_answer: Callable[[Entry], bytes]
    """Of the data plane itself, to a caller."""
    pool: UpstreamPool
    exchanges: Members[EngineExchange]
    turn: Turn
    door: Door = field(default_factory=lambda: Door(OPEN))
    books: Books = field(default_factory=Books)
    is_draining: bool = False
    is_paused: bool = False
    """Whether new requests for engines are refused, because an admin wants that."""
    buffered_bytes: int = 0
    connections: Members[ClientConnection] = field(default_factory=Members[ClientConnection])
    handshakes: Members[TlsConnection] = field(default_factory=Members[TlsConnection])
    control_paces: defaultdict[str, Pace] = field(default_factory=lambda: defaultdict(Pace))
    """By route: many requests for one page of the control plane stand in nobody else's way."""
    control_exchanges: Members[ControlExchange] = field(default_factory=Members[ControlExchange])
    now: Callable[[], float] = field(init=False)
    """The time by the event loop's clock, in seconds."""
    _origins: dict[str, Origin] = field(default_factory=dict[str, Origin])
    _control: asyncio.Future[Origin] | None = None

    def __post_init__(self) -> None:
        self.now = self.loop.time

    # Exchanges

    def is_full_for(self, route: Route) -> bool:
        """Whether as many requests of this kind are under way as may be.

        Who looks after a server that is full of requests for models is let in all the same.
        """
        if route.plane is _INFERENCE:
            return len(self.exchanges) >= self.limits.max_concurrent_requests
        room = self.limits.max_control_requests + route.spare_room
        return len(self.control_exchanges) >= room

    def open_exchange(
        self, client: ClientConnection, request: Request, route: Route, entry: Entry
    ) -> Exchange:
        """A new exchange, still to be started."""
        if route.plane is _INFERENCE:
            exchange = EngineExchange(self, client, request, route, entry)
            self.exchanges.add(exchange)
            return exchange
        asked = ControlExchange(self, client, request, route, entry)
        self.control_exchanges.add(asked)
        return asked

    def waiting_for(self, model_name: str | None) -> str:
        """What a request that waits for the model waits for, and for about how long."""
        for running in self.runtime.current():
            if running.name == model_name:
                is_loading = running.state is ModelState.LOADING
                text = f"{'loading' if is_loading else 'queued'} {model_name}"
                if running.expected_seconds is None:
                    return text
                return f"{text}, about {running.expected_seconds:.0f} s more"
        return f"queued {model_name}"

    # Origins

    def origin_of(self, lease: Lease) -> Origin:
        """Where the lease's target is."""
        key = lease.target.launch_id
        origin = self._origins.get(key)
        if origin is None:
            origin = _engine_origin(lease.target)
            if lease.is_live:  # else it would never be forgotten
                self._origins[key] = origin
        return origin

    def forget_target(self, target: Target) -> None:
        """The target is about to stop: close our idle connections to it."""
        self._origins.pop(target.launch_id, None)
        self.pool.discard(target.launch_id)

    def _control_future(self) -> asyncio.Future[Origin]:
        if self._control is None:
            self._control = self.loop.create_future()
        return self._control

    def control_started(self, socket_path: str) -> None:
        """The control plane takes requests from now on."""
        origin = Origin(key="control", model_name=None, socket_path=socket_path)
        if not self._control_future().done():
            self._control_future().set_result(origin)

    async def control_origin(self) -> Origin:
        """Where the control plane is; waits while it starts."""
        try:
            async with asyncio.timeout(_CONTROL_START_SECONDS):
                return await asyncio.shield(self._control_future())
        except TimeoutError as error:
            raise UpstreamUnreachable(None, "it has not started") from error

    # Time

    async def sweep_for_ever(self) -> None:
        beat = 0
        while True:
            await self._rest(SWEEP_SECONDS)
            beat += 1
            for _ in self._sweep_slices(self.now(), is_full=beat % 4 == 0):
                await self._rest(0)  # whoever waits has a turn

    async def _rest(self, seconds: float) -> None:
        """Let others go on. Each rest is timed by itself, for a sweep under load may take long."""
        began = self.now()
        await asyncio.sleep(seconds)
        rested = self.now() - began
        if rested > seconds + _SUSPENDED_SECONDS:
            self._shift(rested)

    def sweep(self, now: float) -> None:
        """Enforce all deadlines."""
        for _ in self._sweep_slices(now, is_full=True):
            pass

    def _sweep_slices(self, now: float, *, is_full: bool) -> Iterator[None]:
        """Enforce the deadlines of exchanges; where `is_full`, those of connections too.

        Answers of the control plane may have no end of their own: then they end with the right to
        see them.
        """
        for exchanges in self.exchanges.in_slices(_SLICE):
            for exchange in exchanges:
                exchange.sweep(now)
            yield
        if not is_full:
            return
        self.pool.expire(now)
        for looks in self.control_exchanges.in_slices(_SLICE):
            for look in looks:
                look.end_unless_admitted()
            yield
        for members in (self.handshakes, self.connections):
            for connections in members.in_slices(_SLICE):
                for connection in connections:
                    connection.sweep(now)
                yield

    def _shift(self, seconds: float) -> None:
        logger.warning("the process was suspended for %.0f s; all deadlines are moved", seconds)
        for exchange in self.exchanges:
            exchange.shift(seconds)
        for connection in (*self.handshakes, *self.connections):
            connection.shift(seconds)

    # The end

    def drain(self) -> None:
        """Take no more requests: idle connections are closed, others after their answer."""
        self.is_draining = True
        for connection in self.connections:
            connection.drain()

    async def cancel_exchanges(self, cause: GglibError) -> None:
        """End all that is under way; clients are told why as far as they can be."""
        exchanges = (*self.exchanges, *self.control_exchanges)
        tasks = [exchange.task for exchange in exchanges if exchange.task is not None]
        for exchange in exchanges:
            exchange.cancel(cause)
        await asyncio.gather(*tasks, return_exceptions=True)


def _engine_origin(target: Target) -> Origin:
    host = f"[{target.host}]" if ":" in target.host else target.host
    lines = f"host: {host}:{target.port}\r\nauthorization: Bearer {target.api_key}\r\n"
    return Origin(
        key=target.launch_id,
        model_name=target.model_name,
        host=target.host,
        port=target.port,
        head_lines=lines.encode("latin-1"),
    )
