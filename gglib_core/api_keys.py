"""The keeping of API keys, as those who administer them see it: the port, and one in memory.

Not here: recognising a key (`gglib_core.keys`), and what a key may be (`key_validation`).
"""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol, TypedDict, Unpack

from gglib_core.errors import KeyNameTaken, NoSuchKey
from gglib_core.key_validation import check_key
from gglib_core.keys import (
    DEFAULT_ENDPOINTS,
    Allowance,
    ApiKey,
    Endpoint,
    InMemoryKeyRing,
    KeyRing,
    digest_of,
    mask_of,
    new_secret,
    searched_part,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """What a key shall be."""

    name: str
    endpoints: frozenset[Endpoint] = DEFAULT_ENDPOINTS
    models: tuple[str, ...] = ()
    expires: float | None = None
    allowance: Allowance = field(default_factory=Allowance)

    def made(self, secret: str, created: float) -> ApiKey:
        """The key, still without an id. Raises InvalidKey."""
        key = ApiKey(
            id=0,
            name=self.name,
            mask=mask_of(secret),
            endpoints=self.endpoints,
            models=self.models,
            expires=self.expires,
            allowance=self.allowance,
            created=int(created),
        )
        check_key(key)
        return key


class LimitChanges(TypedDict, total=False):
    """Which limits shall be others; None leaves one to the server's defaults."""

    requests_per_minute: int | None
    tokens_per_minute: int | None
    concurrent_requests: int | None
    budget_per_day: float | None
    budget_per_month: float | None


class KeyChanges(TypedDict, total=False):
    """What may be changed of a key."""

    name: str
    endpoints: frozenset[Endpoint]
    models: tuple[str, ...]
    is_enabled: bool
    expires: float | None
    limits: LimitChanges
    """What is not named stays."""


def changed_key(key: ApiKey, changes: KeyChanges) -> ApiKey:
    """What the key becomes by these changes. Raises InvalidKey."""
    properties: dict[str, Any] = dict(changes)
    limits: LimitChanges = properties.pop("limits", {})
    changed = replace(key, **properties, allowance=replace(key.allowance, **limits))
    check_key(changed)
    return changed


class MadeKey(NamedTuple):
    """A key with its secret, which is known now and never again."""

    key: ApiKey
    secret: str

    def __repr__(self) -> str:
        return f"MadeKey({self.key!r})"


class ApiKeys(Protocol):
    """All API keys. A method that raises has changed nothing; all may raise DatabaseError.

    Changes count for requests within a second or two. To be called on the event loop.
    """

    async def list(self) -> Sequence[ApiKey]:
        """All keys, by id."""
        ...

    async def get(self, name: str) -> ApiKey:
        """The key of that name. Raises NoSuchKey."""
        ...

    async def create(self, new: NewKey) -> MadeKey:
        """Make a key under an id that none had before. Raises InvalidKey, KeyNameTaken."""
        ...

    async def edit(self, name: str, /, **changes: Unpack[KeyChanges]) -> ApiKey:
        """Change a key; what is not named stays. Raises NoSuchKey, InvalidKey, KeyNameTaken."""
        ...

    async def rotate(self, name: str) -> MadeKey:
        """Give a key a new secret; the old one is worth nothing any more. Raises NoSuchKey."""
        ...

    async def remove(self, name: str) -> ApiKey:
        """Remove a key, and return what it was. Raises NoSuchKey."""
        ...


class InMemoryApiKeys:
    """Fills `ApiKeys`; each change is in `ring` at once. Without a key, `ring` is open."""

    def __init__(
        self, ring: InMemoryKeyRing | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.ring = InMemoryKeyRing() if ring is None else ring
        self._clock = clock
        self._pepper = secrets.token_bytes()
        self._ids = itertools.count(1)
        self._keys: dict[int, tuple[str, bytes, ApiKey]] = {}

    async def list(self) -> Sequence[ApiKey]:
        return [key for _, _, key in self._keys.values()]

    async def get(self, name: str) -> ApiKey:
        for _, _, key in self._keys.values():
            if key.name == name:
                return key
        raise NoSuchKey(name)

    async def create(self, new: NewKey) -> MadeKey:
        secret = new_secret()
        key = new.made(secret, self._clock())
        self._refuse_taken_name(key.name)
        return self._keep(replace(key, id=next(self._ids)), secret)

    async def edit(self, name: str, /, **changes: Unpack[KeyChanges]) -> ApiKey:
        old = await self.get(name)
        key = changed_key(old, changes)
        if key.name != old.name:
            self._refuse_taken_name(key.name)
        start, digest, _ = self._keys[key.id]
        self._keys[key.id] = (start, digest, key)
        self._publish()
        return key

    async def rotate(self, name: str) -> MadeKey:
        secret = new_secret()
        return self._keep(replace(await self.get(name), mask=mask_of(secret)), secret)

    async def remove(self, name: str) -> ApiKey:
        key = await self.get(name)
        del self._keys[key.id]
        self._publish()
        return key

    def _keep(self, key: ApiKey, secret: str) -> MadeKey:
        self._keys[key.id] = (searched_part(secret), digest_of(secret, self._pepper), key)
        self._publish()
        return MadeKey(key, secret)

    def _publish(self) -> None:
        known = self._keys.values()
        revision = self.ring.current.revision + 1
        self.ring.replace(KeyRing(self._pepper, known, is_open=not known, revision=revision))

    def _refuse_taken_name(self, name: str) -> None:
        if any(key.name == name for _, _, key in self._keys.values()):
            raise KeyNameTaken(name)
