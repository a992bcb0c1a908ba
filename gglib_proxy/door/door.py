"""Who asks, whether they may, and what every answer to them says.

All of it follows from a request's head, so it is decided once for a head that comes again and
again on a connection. Not here: the model that is asked for, and what is left of the limits.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from gglib_core.errors import GglibError, InvalidApiKey, KeyDisabled, KeyExpired, OutOfScope
from gglib_core.keys import ApiKey, Endpoint, KeyRing
from gglib_core.rate_limiting import Caller
from gglib_proxy.door.addresses import TrustedProxies
from gglib_proxy.door.hosts import HostRule
from gglib_proxy.door.origins import OriginRule
from gglib_proxy.errors import Refusal
from gglib_proxy.http1.requests import Request
from gglib_proxy.routes import Route

_ENTRY = "entry"
_EVERYTHING = frozenset(Endpoint)
_ADMIN_HEADER = b"x-admin-key"
_ADMIN_ENDPOINTS = frozenset({Endpoint.ADMIN, Endpoint.LOGS})
_SECRET_HEADERS = (b"x-api-key", b"api-key", _ADMIN_HEADER)
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_is_request_id = re.compile(rb"[A-Za-z0-9._:+/=@-]{1,128}").fullmatch

MayEnter = GglibError | Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorRules:
    """What the door goes by; replaced whole."""

    keys: KeyRing
    hosts: HostRule
    origins: OriginRule
    proxies: TrustedProxies


OPEN = DoorRules(
    keys=KeyRing(is_open=True),
    hosts=HostRule(is_loopback=False),
    origins=OriginRule(),
    proxies=TrustedProxies(),
)
"""Nobody needs a key, and any name is right."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of a request from its head."""

    rules: DoorRules
    caller: Caller
    expires: float
    """When the caller's key stops counting, in unix seconds."""
    refusal: MayEnter | None
    """Why the request is turned away."""
    origin_lines: bytes
    """Header lines for the answer, so that a page may read it."""
    request_id: str | None
    """The client's own."""

    def control_lines(self) -> bytes:
        """The header lines that tell the control plane who asks, and what the caller may."""
        key = self.caller.key
        lines = f"x-gglib-address: {self.caller.address}\r\n"
        if key is not None:
            lines += f"x-gglib-key-id: {key.id}\r\nx-gglib-key: {key.mask}\r\n"
        if self.models:
            lines += f"x-gglib-models: {json.dumps(self.models)}\r\n"
        return f"{lines}x-gglib-endpoints: {','.join(sorted(self.endpoints))}\r\n".encode()

    @property
    def endpoints(self) -> frozenset[Endpoint]:
        """The classes of endpoints that the caller may use."""
        if self.rules.keys.is_open:
            return _EVERYTHING
        return frozenset() if self.caller.key is None else self.caller.key.endpoints

    @property
    def models(self) -> tuple[str, ...]:
        """Globs of the models that the caller may use; without any, all."""
        key = self.caller.key
        return () if key is None or self.rules.keys.is_open else key.models

    @property
    def is_stranger(self) -> bool:
        """Whether the caller has no key that counts, where one is needed."""
        return self.caller.key is None and not self.rules.keys.is_open

    def change_since(self, earlier: Entry) -> OutOfScope | None:
        """Why an answer of then must not go on: the caller's key is for something else by now."""
        key = self.caller.key
        if key is None or (self.endpoints, self.models) == (earlier.endpoints, earlier.models):
            return None
        return OutOfScope(key.mask, "the same any more as when this answer began")

    def check_endpoint(self, endpoint: Endpoint) -> None:
        """Raise OutOfScope unless the caller may use that class of endpoints, too."""
        key = self.caller.key
        if key is not None and not self.rules.keys.is_open and endpoint not in key.endpoints:
            raise OutOfScope(key.mask, f"{endpoint} endpoints")

    def may_use_model(self, name: str) -> bool:
        """Whether the caller may use the model of that name."""
        key = self.caller.key
        return key is None or self.rules.keys.is_open or key.may_use_model(name)

    def check_model(self, name: str, asked: str) -> None:
        """Raise OutOfScope unless the caller may use the model of that name.

        It tells what was `asked` for, which may be an alias or an id, and not whose that is.
        """
        key = self.caller.key
        if key is not None and not self.rules.keys.is_open and not key.may_use_model(name):
            raise OutOfScope(key.mask, f"the model {asked!r}")


class Door:
    """Decides about requests by the rules that it has now."""

    def __init__(self, rules: DoorRules, *, clock: Callable[[], float] = time.time) -> None:
        self.rules = rules
        self._clock = clock

    def enter(self, request: Request, route: Route, peer: str) -> Entry:
        """What follows from the request's head; `peer` is the address of its connection."""
        entry = request.built.get(_ENTRY)
        if entry is None or entry.rules is not self.rules or entry.expires <= self._clock():
            entry = request.built[_ENTRY] = self._entry(request, route, peer)
        return entry

    def _entry(self, request: Request, route: Route, peer: str) -> Entry:
        rules = self.rules
        host = request.header(b"host")
        verdict = rules.origins.judge(request.header(b"origin"), host)
        key: ApiKey | None = None
        refusal: MayEnter | None = _check_host(rules, host)
        if refusal is None:
            key, refusal = self._identify(request, route)
        is_foreign = not verdict.is_allowed and request.method not in _SAFE_METHODS
        if refusal is None and is_foreign and rules.keys.is_open and route.endpoint is not None:
            refusal = foreign_origin(request)
        forwarded = [value for name, value in request.headers if name == b"x-forwarded-for"]
        given = request.header(b"x-request-id")
        return Entry(
            rules,
            Caller(key, rules.proxies.client_of(peer, forwarded)),
            float("inf") if key is None or key.expires is None else key.expires,
            refusal,
            verdict.lines,
            given.decode("ascii") if given and _is_request_id(given) else None,
        )

    def _identify(self, request: Request, route: Route) -> tuple[ApiKey | None, MayEnter | None]:
        keys = self.rules.keys
        secret = presented_secret(request, route)
        key = keys.find(secret) if secret else None
        if keys.is_open:
            return key, None
        refusal = self._objection(key, is_missing=not secret)
        if route.endpoint is None:  # whoever has no good key is nobody in particular
            return key if refusal is None else None, None
        if refusal is None and key is not None and not _is_for(key, route):
            refusal = OutOfScope(key.mask, f"{route.endpoint} endpoints")
        return key, refusal

    def _objection(self, key: ApiKey | None, *, is_missing: bool) -> GglibError | None:
        """Why the key counts nowhere, if it does not."""
        if key is None:
            return InvalidApiKey(is_missing=is_missing)
        if not key.is_enabled:
            return KeyDisabled(key.mask)
        if key.has_expired(self._clock()):
            return KeyExpired(key.mask)
        return None


def _is_for(key: ApiKey, route: Route) -> bool:
    """Whoever administers gglib may see whatever there is to see."""
    if route.endpoint in key.endpoints or route.also_for in key.endpoints:
        return True
    return route.endpoint is not Endpoint.INFERENCE and Endpoint.ADMIN in key.endpoints


def presented_secret(request: Request, route: Route) -> str | None:
    """The secret that a request shows, in whichever header its API has it."""
    if route.endpoint in _ADMIN_ENDPOINTS and request.header(_ADMIN_HEADER):
        return _text(request.header(_ADMIN_HEADER))
    authorization = request.header(b"authorization")
    if authorization is not None:
        scheme, _, value = authorization.partition(b" ")
        if scheme.lower() == b"bearer" and value.strip():
            return _text(value)
    return next((_text(shown) for name in _SECRET_HEADERS if (shown := request.header(name))), None)


def _text(value: bytes | None) -> str | None:
    return value.strip().decode("latin-1") or None if value else None


def _check_host(rules: DoorRules, host: bytes | None) -> Refusal | None:
    if rules.hosts.allows(host):
        return None
    name = (host or b"").decode("latin-1")
    return Refusal(
        403,
        "host_not_allowed",
        f"gglib is not to be called {name!r} here. If that is its name, add it to allowed_hosts.",
        close=False,
    )


def foreign_origin(request: Request) -> Refusal:
    """What a page of another site is told.

    It must not use what its visitor's machine would give to anybody.
    """
    origin = (request.header(b"origin") or b"").decode("latin-1")
    return Refusal(
        403,
        "foreign_origin",
        f"Pages of {origin} may not use gglib. If they should, add it to allowed_origins.",
        close=False,
    )
