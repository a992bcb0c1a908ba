"""The health document: that the process lives, since when, and what its models do.

It is made from memory and never fails; that a model has failed does not make gglib unhealthy.
Not here: the routes that answer with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from gglib_core.ports import ModelCatalog, ModelRuntime
from gglib_proxy.listing import Listing, Listings, Rendered


def health_document(
    *, version: str, timestamp: datetime, uptime_seconds: float, models: bytes
) -> bytes:
    """The document as JSON; `models` is JSON already, `timestamp` must know its zone."""
    moment = timestamp.astimezone(UTC).isoformat(timespec="milliseconds")
    return b'{"status":"ok","version":%b,"timestamp":"%bZ","uptime_seconds":%.3f,"models":%b}' % (
        msgspec.json.encode(version),
        moment.removesuffix("+00:00").encode(),
        uptime_seconds,
        models,
    )


def _models(listing: Listing) -> bytes:
    return msgspec.json.encode(
        [{"id": model.name, "status": listing.status(model)} for model in listing.models]
    )


def _now() -> datetime:
    return datetime.now(UTC)


class HealthReport:
    """The health document of a running server."""

    def __init__(
        self,
        catalog: ModelCatalog,
        runtime: ModelRuntime,
        version: str,
        started: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = _now,
    ) -> None:
        """`started` is what `clock` said when the server started."""
        self._models = Rendered(Listings(catalog, runtime), _models)
        self._version = version
        self._started = started
        self._clock = clock
        self._now = now

    def render(self, globs: tuple[str, ...] = (), *, is_brief: bool = False) -> bytes:
        """With the models that the globs name, by default all; where it `is_brief`, with none."""
        return health_document(
            version=self._version,
            timestamp=self._now(),
            uptime_seconds=self._clock() - self._started,
            models=b"[]" if is_brief else self._models.current(globs),
        )
