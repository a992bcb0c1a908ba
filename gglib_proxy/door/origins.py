"""Which pages may use gglib from a browser, and what their browsers are told (CORS).

Source: the WHATWG Fetch standard, section "HTTP extensions".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from gglib_proxy.door.hosts import is_loopback_address
from gglib_proxy.http1.requests import METHODS, Request

APPLICATION_SCHEMES = frozenset({"app", "tauri", "vscode-webview", "vscode-file"})
"""Of pages inside an installed program, which no site can have."""
PREFLIGHT_SECONDS = 7200
EXPOSED = (
    "x-request-id, x-gglib-generation-id, retry-after, x-should-retry, x-ratelimit-limit-requests, "
    "x-ratelimit-remaining-requests, x-ratelimit-reset-requests, x-ratelimit-limit-tokens, "
    "x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens"
)
_METHODS = ", ".join(sorted(METHODS)).encode()
_is_origin = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://[A-Za-z0-9._:\[\]-]{1,255}|null").fullmatch
_is_header_list = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~, -]{1,2000}").fullmatch


@dataclass(frozen=True, slots=True)
class OriginVerdict:
    """What follows from the `Origin` of a request."""

    is_allowed: bool
    lines: bytes = b""
    """Header lines for every answer to it."""


_NO_ORIGIN = OriginVerdict(is_allowed=True)
_FOREIGN = OriginVerdict(is_allowed=False)


class OriginRule:
    """Origins that are allowed: exact ones, `https://*.example.com`, or `*` for all.

    Pages of this machine are allowed where nothing is said, those of gglib itself always.
    """

    def __init__(self, allowed: Iterable[str] | None = None) -> None:
        named = () if allowed is None else allowed
        self._named = frozenset(origin.strip().lower().rstrip("/") for origin in named)
        self._allows_local = allowed is None
        self._allows_any = "*" in self._named
        patterns = [origin.partition("*.") for origin in self._named if "://*." in origin]
        self._patterns = tuple((scheme, f".{suffix}") for scheme, _, suffix in patterns)

    def judge(self, origin: bytes | None, host: bytes | None) -> OriginVerdict:
        """Decide about a request by its `Origin` and `Host`."""
        if origin is None:
            return _NO_ORIGIN
        if _is_origin(origin) is None:
            return _FOREIGN
        text = origin.decode("ascii").lower()
        if self._allows_any:
            return OriginVerdict(is_allowed=True, lines=_lines(b"*"))
        if self._is_named(text):
            credentials = b"access-control-allow-credentials: true\r\nvary: origin\r\n"
            return OriginVerdict(is_allowed=True, lines=_lines(origin) + credentials)
        if host is not None and text.partition("://")[2] == host.decode("latin-1").lower():
            return _NO_ORIGIN
        return _FOREIGN

    def _is_named(self, origin: str) -> bool:
        if origin in self._named:
            return True
        for scheme, suffix in self._patterns:
            if origin.startswith(scheme) and origin.endswith(suffix):
                return True
        return self._allows_local and _is_local(origin)


def _is_local(origin: str) -> bool:
    try:
        parts = urlsplit(origin)
        name = parts.hostname or ""
    except ValueError:
        return False
    if parts.scheme in APPLICATION_SCHEMES:
        return True
    is_local = name == "localhost" or name.endswith(".localhost") or is_loopback_address(name)
    return parts.scheme in ("http", "https") and is_local


def _lines(origin: bytes) -> bytes:
    return b"access-control-allow-origin: %b\r\naccess-control-expose-headers: %b\r\n" % (
        origin,
        EXPOSED.encode(),
    )


def is_preflight(request: Request) -> bool:
    """Whether a browser asks if it may send a request."""
    return (
        request.method == "OPTIONS"
        and request.header(b"origin") is not None
        and request.header(b"access-control-request-method") is not None
    )


class WithHeaders(Protocol):
    """A request, as far as a preflight is looked at."""

    def header(self, name: bytes) -> bytes | None:
        """The header of that (lower-case) name."""
        ...


def preflight_lines(request: WithHeaders, origin_lines: bytes) -> bytes:
    """The header lines that answer a preflight whose origin is allowed."""
    lines = [
        origin_lines,
        b"access-control-allow-methods: %b\r\n" % _METHODS,
        b"access-control-max-age: %d\r\n" % PREFLIGHT_SECONDS,
        b"vary: access-control-request-method, access-control-request-headers\r\n",
    ]
    wanted = request.header(b"access-control-request-headers")
    if wanted and _is_header_list(wanted):
        lines.append(b"access-control-allow-headers: %b\r\n" % wanted.strip())
    if request.header(b"access-control-request-private-network") == b"true":
        lines.append(b"access-control-allow-private-network: true\r\n")
    return b"".join(lines)
