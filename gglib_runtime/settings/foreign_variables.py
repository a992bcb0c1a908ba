"""Environment variables that other gateways read and gglib takes as well.

They count for less than gglib's own. Not here: gglib's own, which are named after the settings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

_ORIGINS = "ALLOWED_ORIGINS"
_MOST_REQUESTS = "RATE_LIMIT_MAX_REQUESTS"
_WINDOW = "RATE_LIMIT_WINDOW_MS"
_MINUTE_MS = 60_000


def foreign_values(environ: Mapping[str, str]) -> Iterator[tuple[str, object, str]]:
    """The keys that such variables set: each with its value, still to be judged, and variable."""
    if origins := environ.get(_ORIGINS):
        yield "allowed_origins", origins, _ORIGINS
    if most := environ.get(_MOST_REQUESTS):
        yield "requests_per_minute", _per_minute(most, environ.get(_WINDOW)), _MOST_REQUESTS


def _per_minute(most: str, window_ms: str | None) -> object:
    """So many requests in a minute; a text that is refused where the variables are no numbers."""
    if not window_ms:
        return most
    try:
        requests, milliseconds = int(most), int(window_ms)
    except ValueError:
        return f"{most} in {window_ms} ms"
    if requests < 0 or milliseconds <= 0:
        return f"{most} in {window_ms} ms"
    # A rate that is small but not zero must not become zero, which is no limit.
    return max(round(requests * _MINUTE_MS / milliseconds), 1) if requests else 0
