"""API keys: what one allows, how a secret is recognised, and the port that has those of now.

Not here: where keys are stored, what a request has to show, and how limits are counted.
"""

from __future__ import annotations

import fnmatch
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import Protocol, TypeVar

SECRET_PREFIX = "gg-"  # noqa: S105 -- what secrets begin with
_SECRET_BYTES = 32
_SECRET_CHARACTERS = 46
_SEARCHED_CHARACTERS = 11
"""Of a secret, with its `gg-`: hardly two keys share them, and the rest is not to be guessed."""
_SHOWN = 3
_LONG = 24
"""From so many characters on, what is shown of a secret's both ends tells nothing of the rest."""
_is_secret = re.compile(r"[\x21-\x7e]{16,200}").fullmatch


class Endpoint(StrEnum):
    """A class of endpoints, as the scope of a key names it."""

    INFERENCE = "inference"
    """Whatever asks a model, and loading one."""
    MODELS = "models"
    """Lists of models, the caller's own generations, /metrics and the API's description."""
    LOGS = "logs"
    """What engines print, and the generations of all callers."""
    ADMIN = "admin"
    """Everything under /admin, and unloading."""


DEFAULT_ENDPOINTS = frozenset({Endpoint.INFERENCE, Endpoint.MODELS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """How much a caller may use. None says nothing; 0 says that there is no limit.

    That matters where one allowance overrides another; alone, both are no limit.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_requests: int | None = None
    budget_per_day: float | None = None
    """Money, in the currency of the models' prices; the day is UTC's."""
    budget_per_month: float | None = None

    @property
    def is_unlimited(self) -> bool:
        """Whether it limits nothing."""
        return not (
            self.requests_per_minute
            or self.tokens_per_minute
            or self.concurrent_requests
            or self.has_budget
        )

    @property
    def has_budget(self) -> bool:
        """Whether it limits money."""
        return bool(self.budget_per_day or self.budget_per_month)

    def overridden_by(self, other: Allowance) -> Allowance:
        """`other` where it says something, else this."""
        return Allowance(
            requests_per_minute=_first(other.requests_per_minute, self.requests_per_minute),
            tokens_per_minute=_first(other.tokens_per_minute, self.tokens_per_minute),
            concurrent_requests=_first(other.concurrent_requests, self.concurrent_requests),
            budget_per_day=_first(other.budget_per_day, self.budget_per_day),
            budget_per_month=_first(other.budget_per_month, self.budget_per_month),
        )


_T = TypeVar("_T")


def _first(one: _T | None, other: _T | None) -> _T | None:
    return other if one is None else one


@dataclass(frozen=True, kw_only=True)
class ApiKey:
    """One key, without its secret."""

    id: int
    """Never given to a second key."""
    name: str
    mask: str
    """What may be shown of the secret: `gg-abc***xyz`."""
    endpoints: frozenset[Endpoint] = DEFAULT_ENDPOINTS
    models: tuple[str, ...] = ()
    """Globs of model names; without any, all models."""
    is_enabled: bool = True
    expires: float | None = None
    """Unix seconds."""
    allowance: Allowance = field(default_factory=Allowance)
    """Where it is silent, the server's defaults count."""
    created: int = 0
    """Unix seconds."""

    def has_expired(self, now: float) -> bool:
        """Whether its time is over at `now`, in Unix seconds."""
        return self.expires is not None and now >= self.expires

    @cached_property
    def is_unlimited(self) -> bool:
        """Whether it has no limit of its own."""
        return self.allowance.is_unlimited

    def may_use_model(self, name: str) -> bool:
        """Whether the key is for the model of that (canonical) name."""
        return is_one_of(self.models, name)


def is_one_of(models: tuple[str, ...], name: str) -> bool:
    """Whether that is the name of a model that these globs name; without any, all are."""
    return not models or _globs(models).match(name) is not None


@lru_cache(maxsize=1024)
def _globs(models: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(fnmatch.translate, models)))


class KeyRing:
    """The keys at one revision; immutable, and asked for every request: it never blocks.

    `is_open` says that no key is needed: whoever asks may do everything.
    """

    def __init__(
        self,
        pepper: bytes = b"",
        keys: Iterable[tuple[str, bytes, ApiKey]] = (),
        *,
        is_open: bool = False,
        revision: int = 0,
    ) -> None:
        """`keys` are triples of a secret's searched characters, its digest, and its key."""
        self._pepper = pepper
        self._by_start: dict[str, list[tuple[bytes, ApiKey]]] = {}
        self._by_id: dict[int, ApiKey] = {}
        for start, digest, key in keys:
            self._by_start.setdefault(start, []).append((digest, key))
            self._by_id[key.id] = key
        self.is_open = is_open
        self.revision = revision

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def keys(self) -> Collection[ApiKey]:
        """All keys, those included that may not be used."""
        return self._by_id.values()

    def find(self, secret: str) -> ApiKey | None:
        """The key whose secret that is. The digests are compared in constant time."""
        candidates = self._by_start.get(searched_part(secret))
        if not candidates:
            return None
        digest = digest_of(secret, self._pepper)
        found = None
        for known, key in candidates:
            if hmac.compare_digest(known, digest):
                found = key
        return found


class KeyRingSource(Protocol):
    """Has the keys as they are now; asked for every request, on the event loop."""

    @property
    def current(self) -> KeyRing:
        """The newest keys that are known. Never fails, blocks or waits."""
        ...

    def add_listener(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` on the event loop after each change; it must not fail or block.

        Returns a function that removes it, which may be called more than once.
        """
        ...


class InMemoryKeyRing:
    """Fills `KeyRingSource`, and is told of each change."""

    def __init__(self, ring: KeyRing | None = None) -> None:
        self._current = KeyRing(is_open=True) if ring is None else ring  # an empty one is falsy
        self._listeners: dict[object, Callable[[], None]] = {}

    @property
    def current(self) -> KeyRing:
        return self._current

    def add_listener(self, listener: Callable[[], None]) -> Callable[[], None]:
        token = object()
        self._listeners[token] = listener

        def remove() -> None:
            self._listeners.pop(token, None)

        return remove

    def replace(self, ring: KeyRing) -> None:
        """Have other keys from now on."""
        self._current = ring
        for listener in tuple(self._listeners.values()):
            listener()


def new_secret() -> str:
    """A secret of 256 random bits."""
    return SECRET_PREFIX + secrets.token_urlsafe(_SECRET_BYTES)


def is_acceptable_secret(secret: str) -> bool:
    """Whether a secret that somebody chose can be sent in a header, and is long enough."""
    return _is_secret(secret) is not None


def searched_part(secret: str) -> str:
    """The characters by which a secret is looked up; they may be stored as they are.

    None of one that somebody chose, which may be short.
    """
    if len(secret) == _SECRET_CHARACTERS and secret.startswith(SECRET_PREFIX):
        return secret[:_SEARCHED_CHARACTERS]
    return ""


def digest_of(secret: str, pepper: bytes) -> bytes:
    """What is stored of a secret: HMAC-SHA256 under the server's pepper."""
    return hmac.digest(pepper, secret.encode("utf-8", "surrogateescape"), hashlib.sha256)


def mask_of(secret: str) -> str:
    """What may be shown of a secret: `gg-abc***xyz`, and less of a short one."""
    prefix = SECRET_PREFIX if secret.startswith(SECRET_PREFIX) else ""
    rest = secret.removeprefix(prefix)
    return f"{prefix}{rest[:_SHOWN]}***{rest[-_SHOWN:] if len(rest) >= _LONG else ''}"
