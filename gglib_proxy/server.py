"""Serving both planes on a listener that is already bound: the lifetimes, and the end.

The data plane answers first; the control plane, whose imports are slow, follows behind it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import logging
import os
import socket
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

from gglib_core import __version__
from gglib_core.errors import ShuttingDown
from gglib_proxy.control.context import Administration, ControlContext, ServerInfo
from gglib_proxy.data_plane import DataPlane
from gglib_proxy.engine_exchange import EngineExchange
from gglib_proxy.frontend import TlsContext, open_frontend
from gglib_proxy.health import HealthReport
from gglib_proxy.loop_lag import LoopLag
from gglib_proxy.members import Members
from gglib_proxy.meters import Meters, load_of
from gglib_proxy.private_socket import open_private_socket
from gglib_proxy.readiness import Accepting
from gglib_proxy.services import Services, Tuning
from gglib_proxy.traffic import Traffic
from gglib_proxy.turn import Turn
from gglib_proxy.upstream import UpstreamPool

logger = logging.getLogger(__name__)

_SWITCH_INTERVAL_SECONDS = 0.0005
"""How long a busy thread may hold the interpreter; the default of 5 ms shows in the p99."""
_CLOSE_SECONDS = 2.0
"""For the last bytes to leave, and for the control plane to end."""
_IMPORT_RETRY_SECONDS = 1.0
_MOMENT_SECONDS = 0.5


async def serve(
    listener: socket.socket,
    services: Services,
    *,
    default_ctx: int,
    stop: asyncio.Event,
    hurry: asyncio.Event | None = None,
    tuning: Tuning | None = None,
    info: ServerInfo | None = None,
    tls: TlsContext | None = None,
    on_listening: Callable[[str], None] | None = None,
) -> None:
    """Serve clients of `listener` until `stop` is set, then let running answers end and return.

    `listener` is bound, by the caller, and closed here. `hurry` ends the waiting for answers at
    once. With `tls` clients have to speak TLS; it is asked for the context of each connection, so
    that the next may get another one. `on_listening` is called once with the path of the private
    socket, when the public listener takes requests.

    Every request that came has been answered or cut by the time that this returns, and every lease
    given back; engines are the runtime's own affair. Cancellation does the same without waiting.
    """
    info = info or _info_of(listener)
    plane = _data_plane(services, tuning or Tuning(), info, default_ctx)
    lag = LoopLag(plane.loop)
    control_stop = asyncio.Event()
    context = _control_context(services, plane, lag, info, default_ctx, control_stop)
    forget_listener = services.runtime.on_stopping(plane.forget_target)
    try:
        with (
            contextlib.closing(listener),
            lag.measured(),
            open_private_socket() as (private_listener, socket_path),
        ):
            async with (
                _control_plane(plane, private_listener, socket_path, context),
                _listening(
                    plane, listener, tls, hurry or asyncio.Event(), end_control=control_stop.set
                ),
            ):
                if on_listening is not None:
                    on_listening(socket_path)
                await stop.wait()
    finally:
        forget_listener()


def _completed(meters: Meters, plane: DataPlane, lag: LoopLag) -> Meters:
    meters.tally = plane.books.tally
    meters.loop_lag = lag.seconds
    meters.load = lambda: load_of(plane)
    return meters


def _info_of(listener: socket.socket) -> ServerInfo:
    name = listener.getsockname()
    url = f"http://{name[0]}:{name[1]}" if isinstance(name, tuple) else f"unix:{name}"
    return ServerInfo(
        version=__version__, pid=os.getpid(), url=url, engine="", started=time.monotonic()
    )


def _data_plane(
    services: Services, tuning: Tuning, info: ServerInfo, default_ctx: int
) -> DataPlane:
    loop = asyncio.get_running_loop()
    health = HealthReport(services.catalog, services.runtime, info.version, info.started)
    exchanges = Members[EngineExchange]()
    turn = Turn(loop, exchanges)
    plane = DataPlane(
        loop=loop,
        limits=tuning.limits,
        catalog=services.catalog,
        runtime=services.runtime,
        default_ctx=default_ctx,
        default_model=tuning.default_model,
        local_answer=lambda entry: health.render(entry.models, is_brief=entry.is_stranger),
        pool=UpstreamPool(loop, turn, tuning.limits.connect_timeout_seconds),
        exchanges=exchanges,
        turn=turn,
        door=services.door,
        books=services.books,
    )

    def retune() -> None:
        plane.limits, plane.default_model = tuning.limits, tuning.default_model

    tuning.on_change(retune)
    return plane


def _control_context(
    services: Services,
    plane: DataPlane,
    lag: LoopLag,
    info: ServerInfo,
    default_ctx: int,
    stop: asyncio.Event,
) -> ControlContext:
    accepting = Accepting(lambda: plane.is_draining, lambda: plane.is_paused)
    return ControlContext(
        catalog=services.catalog,
        runtime=services.runtime,
        logs=services.logs,
        default_ctx=default_ctx,
        info=info,
        stop=stop,
        meters=_completed(services.meters, plane, lag),
        readiness=(accepting, *services.readiness),
        swaps=services.swaps,
        generations=services.generations,
        administration=Administration(
            traffic=Traffic(plane),
            tally=plane.books.tally,
            limiter=plane.books.limiter,
            configuration=services.configuration,
            keys=services.keys,
            models=services.models,
            files=services.files,
            log=services.log,
        ),
    )


@asynccontextmanager
async def _listening(
    plane: DataPlane,
    listener: socket.socket,
    tls: TlsContext | None,
    hurry: asyncio.Event,
    *,
    end_control: Callable[[], None],
) -> AsyncGenerator[None]:
    """Accept and relay inside the block; at its end drain, then cut what is left.

    Only engines' answers are waited for: the control plane's may have no end of their own. It can
    be looked at meanwhile, over its private socket, and is told to end behind them.
    """
    sys.setswitchinterval(_SWITCH_INTERVAL_SECONDS)
    sweep = plane.loop.create_task(plane.sweep_for_ever())
    try:
        async with open_frontend(plane, listener, tls) as accepting:
            yield
            accepting.close()
            plane.drain()
            await _drained(plane, hurry)
            end_control()
            await _emptied(plane.control_exchanges)
    finally:
        plane.is_draining = True
        await plane.cancel_exchanges(ShuttingDown())
        await _close_connections(plane)
        sweep.cancel()
        await asyncio.gather(sweep, return_exceptions=True)


async def _drained(plane: DataPlane, hurry: asyncio.Event) -> None:
    """Wait until all answers have ended, the limit is over, or somebody hurries.

    What takes longer than a moment is told of, for whoever waits for the end.
    """
    seconds = plane.limits.drain_seconds
    moment = min(_MOMENT_SECONDS, seconds)
    ended = plane.loop.create_task(plane.exchanges.emptied())
    hurried = plane.loop.create_task(hurry.wait())
    try:
        first = asyncio.FIRST_COMPLETED
        done, _ = await asyncio.wait((ended, hurried), timeout=moment, return_when=first)
        if not done and seconds > moment:
            said = "answers that run on: %d, for %g s at most; a second signal cuts them"
            logger.warning(said, len(plane.exchanges), seconds)
            await asyncio.wait((ended, hurried), timeout=seconds - moment, return_when=first)
        if not ended.done():
            logger.warning("answers that are cut at shutdown: %d", len(plane.exchanges))
    finally:
        ended.cancel()
        hurried.cancel()
        await asyncio.gather(ended, hurried, return_exceptions=True)


async def _emptied(members: Members[Any]) -> None:
    """Wait until they have ended by themselves, bounded."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_CLOSE_SECONDS):
            await members.emptied()


async def _close_connections(plane: DataPlane) -> None:
    """Let written bytes leave, bounded; then close everything."""
    for connection in plane.connections:
        connection.close_after_writing()
    await _emptied(plane.connections)
    for connection in plane.connections:
        connection.close_now()
    plane.pool.abort_all()
    await plane.connections.emptied()
    await plane.pool.emptied()


@asynccontextmanager
async def _control_plane(
    plane: DataPlane, listener: socket.socket, socket_path: str, context: ControlContext
) -> AsyncGenerator[None]:
    """Run the control plane inside the block, from when it has been imported."""
    task = plane.loop.create_task(_run_control(plane, listener, socket_path, context))
    try:
        yield
    finally:
        context.stop.set()
        done, _ = await asyncio.wait((task,), timeout=_CLOSE_SECONDS)
        if not done:
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _imported(name: str) -> Any:  # noqa: ANN401 -- a module
    """Import in a thread; again and again while no file is left to read it from, say."""
    while True:
        try:
            return await asyncio.to_thread(importlib.import_module, name)
        except OSError as error:
            logger.error("the control plane cannot be loaded yet: %s", error)
            await asyncio.sleep(_IMPORT_RETRY_SECONDS)


async def _run_control(
    plane: DataPlane, listener: socket.socket, socket_path: str, context: ControlContext
) -> None:
    try:
        names = ("gglib_proxy.control.app", "gglib_proxy.control.server")
        app, server = [await _imported(name) for name in names]
        gc.collect()
        gc.freeze()  # what start-up made stays: later collections need not look at it
        plane.control_started(socket_path)
        await server.serve_control(app.create_app(context), listener, context.stop)
    except Exception:
        logger.exception("the control plane has failed; inference goes on without it")
