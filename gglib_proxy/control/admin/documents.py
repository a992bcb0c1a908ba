"""The documents of the admin API. OpenAPI's schemas are made of these classes.

Not here: where their contents come from.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gglib_core.models import ModelState


class ConfigDocument(msgspec.Struct, kw_only=True):
    """The settings that count, and where each of them came from."""

    config: dict[str, Any]
    """By key; without secrets."""
    origins: dict[str, str]
    """By key: `default`, `admin`, a file's path, a variable or a flag."""
    fixed: list[str]
    """Keys that a variable or a flag sets, so that they cannot be changed here."""
    restart_needed: list[str]
    """Keys whose new values count only after a restart."""


class RequestDocument(msgspec.Struct, kw_only=True):
    """A request that is under way."""

    id: str
    generation_id: str | None
    path: str
    model: str | None
    phase: str
    """`queued`, `sent` or `answering`."""
    stream: bool
    api_key_id: str | None
    """The mask of its key."""
    address: str
    """Of the client; empty for a unix socket's."""
    seconds: float
    """Since it came."""


class RequestList(msgspec.Struct, kw_only=True):
    """The requests that are under way, the oldest first."""

    data: list[RequestDocument]
    object: str = "list"


class Cancelled(msgspec.Struct, kw_only=True):
    """How many requests were ended."""

    cancelled: int


class Deleted(msgspec.Struct, kw_only=True):
    """What is there no more."""

    id: int
    name: str
    deleted: bool = True


class ModelStatus(msgspec.Struct, kw_only=True):
    """A model that has an engine, waits for one, or failed lately."""

    id: int
    name: str
    status: ModelState
    requests: int
    """That hold it."""
    waiting: int
    """That wait for it."""
    seconds: float
    """In this state."""
    memory_bytes: int | None
    failure: str | None


class Stats(msgspec.Struct, kw_only=True):
    """What gglib has done since it started, and does now."""

    version: str
    uptime_seconds: float
    requests: int
    """Answered, or left by their clients, on every path."""
    errors: int
    """Those among them that were 5xx."""
    active_requests: int
    connections: int
    generations: int
    generations_failed: int
    prompt_tokens: int
    completion_tokens: int
    cost: dict[str, float]
    """By currency."""
    rate_limited: dict[str, int]
    """By the limit that was reached."""
    is_paused: bool
    models: list[ModelStatus]


class Reset(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Whose counts are to be forgotten."""

    caller: str | None = None
    """A key's name, or an address; all, where it is left out."""


class ResetDone(msgspec.Struct, kw_only=True):
    """How many callers' counts were forgotten."""

    reset: int


class Pause(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Whether new requests for models are refused."""

    paused: bool = True


class PauseDone(msgspec.Struct, kw_only=True):
    """Whether they are now, and how many go on."""

    paused: bool
    active_requests: int


class LogDocument(msgspec.Struct, kw_only=True):
    """A line of gglib's own log, or one that a model's engine printed."""

    message: str
    model: str | None = None
    """Whose engine printed it; None for gglib's own lines, which alone have what follows."""
    created: float | None = None
    """Unix seconds."""
    level: str | None = None
    logger: str | None = None
    request_id: str | None = None
    """The request that it is about."""
    exception: str | None = None


class LogList(msgspec.Struct, kw_only=True):
    """Lines, the oldest first."""

    data: list[LogDocument]
    object: str = "list"
