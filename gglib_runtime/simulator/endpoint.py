"""The simulator as an endpoint of its own: serves a listener until it is told to stop, then drains.

Not here: what it is told to do (`behaviour.py`), and the command (`gglib_runtime.cli.simulate`).
"""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import msgspec

from gglib_proxy.limits import Limits
from gglib_runtime.simulator.engine import Engine, Route
from gglib_runtime.simulator.exchange import Exchange
from gglib_runtime.simulator.http import HttpServer, ServerOptions
from gglib_runtime.simulator.listening import Listening, TlsContext, open_listening
from gglib_runtime.simulator.routes import PREFIXES, ROUTES, load_routes
from gglib_runtime.simulator.wire import EndpointWire

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_ADMIN = "/admin/"
_LEISURE_SECONDS = 0.05
"""Who waits for readiness asks a few times in a row; it is not to wait for imports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointOptions:
    """How the endpoint is served."""

    cors: bool = True
    """Whether pages of any origin may use it."""
    limits: Limits = field(default_factory=Limits)
    tls: TlsContext | None = None
    log_answer: Callable[[bytes], None] | None = None
    """Takes one line of JSON for each answer."""


async def serve_endpoint(
    engine: Engine,
    listener: socket.socket,
    options: EndpointOptions,
    *,
    on_ready: Callable[[], None],
) -> None:
    """Serve a bound socket until SIGTERM or SIGINT; then let running answers end, and return.

    A second signal cuts what still runs. `on_ready` is called once requests are taken.
    """
    engine.add_routes(ROUTES | {("GET", "/metrics"): _metrics}, PREFIXES | _admin_routes())
    server = HttpServer(engine.handle, _server_options(engine, options))
    stop, hurry = asyncio.Event(), asyncio.Event()
    _follow_signals(stop, hurry)
    async with open_listening(server, listener, options.tls) as listening:
        engine.direction.on_refusing = listening.set_refusing
        listening.set_refusing(engine.direction.phase.refuse_connections)
        server.sweep()
        engine.is_ready = True
        on_ready()
        load_at_leisure()
        await stop.wait()
        await _drain(server, listening, hurry, options.limits.drain_seconds)
    engine.direction.close()


def load_at_leisure() -> None:
    """Import what answers need, now that probes are answered."""
    asyncio.get_running_loop().call_later(_LEISURE_SECONDS, _load)


def _load() -> None:
    load_routes()
    gc.collect()
    gc.freeze()  # what start-up made stays: later collections need not look at it


def _server_options(engine: Engine, options: EndpointOptions) -> ServerOptions:
    write = options.log_answer
    loop = asyncio.get_running_loop()

    def answered(exchange: Exchange) -> None:
        request = exchange.request
        engine.tallies.answers[
            request.method, engine.known_path(request.path), exchange.status
        ] += 1
        if write is not None:
            line = {
                "method": request.method,
                "path": request.path,
                "status": exchange.status,
                "seconds": round(loop.time() - exchange.began_at, 6),
                "peer": exchange.peer,
            }
            write(msgspec.json.encode(line) + b"\n")

    return ServerOptions(
        limits=options.limits,
        wire=EndpointWire(cors=options.cors),
        keep_alive_answers=0,
        on_answered=answered,
    )


def _follow_signals(stop: asyncio.Event, hurry: asyncio.Event) -> None:
    def told() -> None:
        (hurry if stop.is_set() else stop).set()

    loop = asyncio.get_running_loop()
    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, told)


async def _drain(
    server: HttpServer, listening: Listening, hurry: asyncio.Event, seconds: float
) -> None:
    """Take no more requests, wait for running answers, then cut what is left."""
    listening.close()
    server.stop()
    ended = asyncio.ensure_future(server.wait_closed())
    hurried = asyncio.ensure_future(hurry.wait())
    waiting: Iterable[asyncio.Future[object]] = (ended, hurried)  # pyright: ignore[reportAssignmentType]
    await asyncio.wait(waiting, timeout=seconds or None, return_when=asyncio.FIRST_COMPLETED)
    hurried.cancel()
    server.abort()
    await ended


# What few need is imported when the first one asks.


def _metrics(engine: Engine, exchange: Exchange) -> None:
    """GET /metrics."""
    from gglib_runtime.simulator.admin.metrics import CONTENT_TYPE, render_metrics

    exchange.answer(200, render_metrics(engine.tallies), content_type=CONTENT_TYPE)


def _admin(engine: Engine, exchange: Exchange) -> None:
    """All of /admin."""
    from gglib_runtime.simulator.admin.routes import answer_admin

    answer_admin(engine, exchange)


def _admin_routes() -> dict[tuple[str, str], Route]:
    return {(method, _ADMIN): _admin for method in ("GET", "POST")}
