"""Compression of the control plane's text: as the client likes it best, and where it is worth it.

Event streams are never compressed: each event has to leave at once. Not here: engines' answers,
which pass as they are.
"""

from __future__ import annotations

import asyncio
import gzip
import importlib
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from quart import Quart, Response, request

LEAST_BYTES = 1024
"""Less gets no smaller by it."""
_THREAD_BYTES = 64 * 1024
_GZIP_LEVEL = 6
_BROTLI_QUALITY = 5
_TEXT = ("text/", "application/json", "application/openmetrics-text")
_STREAM = "text/event-stream"

Encode = Callable[[bytes], bytes]


def register_compression(app: Quart) -> None:
    """Have answers of `app` compressed for those who accept it."""
    app.after_request(_compress)


async def _compress(response: Response) -> Response:
    if not _is_text(response):
        return response
    response.vary.add("accept-encoding")
    length = response.headers.get("content-length", type=int)
    if length is None or length < LEAST_BYTES:
        return response
    if response.headers.get("content-encoding") or response.status_code in (204, 206, 304):
        return response
    coding = chosen_coding(request.headers.get("accept-encoding", ""), tuple(codings()))
    if coding is None:
        return response
    body = await response.get_data(as_text=False)
    encode = codings()[coding]
    response.set_data(
        encode(body) if len(body) <= _THREAD_BYTES else await asyncio.to_thread(encode, body)
    )
    response.headers["content-encoding"] = coding
    return response


def _is_text(response: Response) -> bool:
    kind = response.mimetype or ""
    return kind.startswith(_TEXT) and kind != _STREAM


def chosen_coding(accepted: str, known: tuple[str, ...]) -> str | None:
    """The coding of `known` that an `Accept-Encoding` likes best; None for none.

    The first of `known` wins where several are liked alike, and each of them over none at all. One
    that is liked less than no coding is used only by who refuses that. Source: RFC 9110, 12.5.3.
    """
    weights = _weights(accepted)
    others = weights.get("*", 0.0)
    # Who says nothing of `identity` takes it, but has not asked for it either.
    identity = weights.get("identity", others if "*" in weights and not others else 0.0)
    liked = [(weights.get(coding, others), coding) for coding in known]
    best = max(liked, key=lambda each: each[0], default=(0.0, ""))
    return best[1] if best[0] > 0 and best[0] >= identity else None


def _weights(accepted: str) -> Mapping[str, float]:
    """How much each coding is liked, from 0 to 1; one whose weight makes no sense, not at all."""
    weights: dict[str, float] = {}
    for each in accepted.split(","):
        coding, *parameters = (part.strip().lower() for part in each.split(";"))
        if coding:
            weights["gzip" if coding == "x-gzip" else coding] = _weight(parameters)
    return weights


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                weight = float(value)
            except ValueError:
                return 0.0
            return weight if 0 <= weight <= 1 else 0.0
    return 1.0


@cache
def codings() -> Mapping[str, Encode]:
    """What can be made, the tightest first; brotli where it is installed."""
    found: dict[str, Encode] = {"gzip": _gzip, "deflate": zlib.compress}
    try:
        brotli: Any = importlib.import_module("brotli")
    except ImportError:
        return found

    def encode(data: bytes) -> bytes:
        return brotli.compress(data, mode=brotli.MODE_TEXT, quality=_BROTLI_QUALITY)

    return {"br": encode} | found


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data, _GZIP_LEVEL, mtime=0)
