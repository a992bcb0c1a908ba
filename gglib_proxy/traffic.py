"""What is under way at the moment, for those who administer gglib: shown, cancelled, paused.

Not here: how requests are served.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gglib_core.errors import RequestCancelled
from gglib_proxy.data_plane import DataPlane
from gglib_proxy.engine_exchange import EngineExchange


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestInFlight:
    """One request for an engine."""

    id: str
    """Of the request; the client's own, or ours."""
    generation_id: str | None
    """Of the record that it will leave, if it does."""
    path: str
    """The route's template."""
    model: str | None
    phase: str
    """`queued`, `sent` to the engine, or `answering`."""
    is_stream: bool
    key: str | None
    """The mask of its key."""
    address: str
    seconds: float
    """Since its last byte came."""


class Traffic:
    """The requests of one data plane. Belongs to its event loop; nothing waits or fails."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane

    def requests(self) -> Sequence[RequestInFlight]:
        """Those under way, the oldest first."""
        now = self._plane.now()
        found = [_in_flight(exchange, now) for exchange in self._plane.exchanges]
        return sorted(found, key=lambda each: -each.seconds)

    def cancel(self, request_id: str) -> int:
        """End those with that id, of request or generation; their clients are told. How many."""
        chosen = [
            exchange
            for exchange in self._plane.exchanges
            if request_id in (exchange.request_id, exchange.generation_id)
        ]
        for exchange in chosen:
            exchange.cancel(RequestCancelled())
        return len(chosen)

    @property
    def connections(self) -> int:
        """Of clients, idle ones too."""
        return len(self._plane.connections)

    @property
    def is_paused(self) -> bool:
        return self._plane.is_paused

    def pause(self) -> None:
        """Refuse new requests for engines until `resume`; those under way go on."""
        self._plane.is_paused = True

    def resume(self) -> None:
        self._plane.is_paused = False


def _in_flight(exchange: EngineExchange, now: float) -> RequestInFlight:
    key = exchange.caller.key
    return RequestInFlight(
        id=exchange.request_id,
        generation_id=exchange.generation_id,
        path=exchange.route.path,
        model=exchange.model_name,
        phase=exchange.phase,
        is_stream=exchange.is_stream,
        key=None if key is None else key.mask,
        address=exchange.caller.address,
        seconds=exchange.age(now),
    )
