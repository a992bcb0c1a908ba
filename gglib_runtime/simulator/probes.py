"""Whether the simulator lives and is ready: asked first of all, and so without the rest of it."""

from __future__ import annotations

from gglib_runtime.simulator.engine import Engine
from gglib_runtime.simulator.exchange import Exchange
from gglib_runtime.simulator.generation import ApiError


def health(engine: Engine, exchange: Exchange) -> None:
    """GET /health."""
    exchange.answer(200, b'{"status":"ok"}')


def ready(engine: Engine, exchange: Exchange) -> None:
    """GET /ready, for who runs the simulator by itself; asked only once it has loaded."""
    _must_be_alone(engine)
    exchange.answer(200, b'{"status":"ready"}')


def live(engine: Engine, exchange: Exchange) -> None:
    """GET /live, likewise."""
    _must_be_alone(engine)
    exchange.answer(200, b'{"status":"alive"}')


def _must_be_alone(engine: Engine) -> None:
    if not engine.is_alone:
        raise ApiError(404, "File Not Found")
