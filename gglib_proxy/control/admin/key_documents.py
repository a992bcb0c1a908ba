"""API keys in the admin API: what is shown of one, and what is sent to make or change one.

Not here: who stores them, and what a key may be.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gglib_core.api_keys import KeyChanges, LimitChanges, MadeKey, NewKey
from gglib_core.keys import DEFAULT_ENDPOINTS, Allowance, ApiKey, Endpoint

Name = Annotated[str, Meta(extra_json_schema={"pattern": r"^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$"})]
Count = Annotated[int, Meta(ge=0, le=10**12)]
Money = Annotated[float, Meta(ge=0, le=1e12)]
Moment = float | datetime
"""Unix seconds, or a time in RFC 3339; one without an offset is UTC's."""
_LIMITS = (
    "requests_per_minute",
    "tokens_per_minute",
    "concurrent_requests",
    "budget_per_day",
    "budget_per_month",
)


class KeyDocument(msgspec.Struct, kw_only=True):
    """An API key, without its secret."""

    id: int
    name: str
    mask: str
    """What may be shown of the secret."""
    state: Literal["enabled", "disabled", "expired"]
    endpoints: list[Endpoint]
    """The scopes of the key."""
    models: list[str]
    """Globs of model names; none means all."""
    expires: float | None
    """Unix seconds."""
    requests_per_minute: int | None
    """None for the server's own limit, 0 for none at all; so the others too."""
    tokens_per_minute: int | None
    concurrent_requests: int | None
    budget_per_day: float | None
    budget_per_month: float | None
    created: int
    """Unix seconds."""


class MadeKeyDocument(KeyDocument, kw_only=True):
    """An API key with its secret, which is shown this once."""

    key: str
    """The secret."""


class KeyList(msgspec.Struct, kw_only=True):
    """All API keys, by id."""

    data: list[KeyDocument]
    object: str = "list"


class NewKeyBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a new API key shall be."""

    name: Name
    endpoints: list[Endpoint] | None = None
    models: list[str] = []
    expires: Moment | None = None
    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    concurrent_requests: Count | None = None
    budget_per_day: Money | None = None
    budget_per_month: Money | None = None

    def new_key(self) -> NewKey:
        """The same for those who store it."""
        endpoints = DEFAULT_ENDPOINTS if self.endpoints is None else frozenset(self.endpoints)
        return NewKey(
            name=self.name,
            endpoints=endpoints,
            models=tuple(dict.fromkeys(self.models)),
            expires=_seconds(self.expires),
            allowance=Allowance(**{name: getattr(self, name) for name in _LIMITS}),
        )


class KeyChangesBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What shall change of an API key; what is left out stays, null is as in a new one."""

    name: Name | UnsetType = UNSET
    endpoints: list[Endpoint] | UnsetType | None = UNSET
    models: list[str] | UnsetType | None = UNSET
    expires: Moment | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET
    requests_per_minute: Count | UnsetType | None = UNSET
    tokens_per_minute: Count | UnsetType | None = UNSET
    concurrent_requests: Count | UnsetType | None = UNSET
    budget_per_day: Money | UnsetType | None = UNSET
    budget_per_month: Money | UnsetType | None = UNSET

    def changes(self) -> KeyChanges:
        """The same for those who store it."""
        changes: KeyChanges = {}
        if self.name is not UNSET:
            changes["name"] = self.name
        if self.endpoints is not UNSET:
            named = self.endpoints
            changes["endpoints"] = DEFAULT_ENDPOINTS if named is None else frozenset(named)
        if self.models is not UNSET:
            changes["models"] = tuple(dict.fromkeys(self.models or ()))
        if self.expires is not UNSET:
            changes["expires"] = _seconds(self.expires)
        if self.enabled is not UNSET:
            changes["is_enabled"] = self.enabled
        limits: dict[str, Any] = {
            name: amount for name in _LIMITS if (amount := getattr(self, name)) is not UNSET
        }
        if limits:
            changes["limits"] = LimitChanges(**limits)
        return changes


def key_document(key: ApiKey) -> KeyDocument:
    """What is shown of a key."""
    return KeyDocument(**_fields(key))


def made_key_document(made: MadeKey) -> MadeKeyDocument:
    """What is shown of a key right after it was made."""
    return MadeKeyDocument(key=made.secret, **_fields(made.key))


def _fields(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "mask": key.mask,
        "state": _state(key),
        "endpoints": sorted(key.endpoints),
        "models": list(key.models),
        "expires": key.expires,
        **{name: getattr(key.allowance, name) for name in _LIMITS},
        "created": key.created,
    }


def _state(key: ApiKey) -> str:
    if not key.is_enabled:
        return "disabled"
    return "expired" if key.has_expired(time.time()) else "enabled"


def _seconds(moment: float | datetime | None) -> float | None:
    if not isinstance(moment, datetime):
        return moment
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
