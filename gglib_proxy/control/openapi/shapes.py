"""The shapes of answers outside the admin API, as OpenAPI's schemas are made of them.

Engines' answers are none of ours: what passes through has no shape here.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gglib_core.models import ModelState


class ErrorBody(msgspec.Struct, kw_only=True):
    """What went wrong, as OpenAI's API says it."""

    message: str
    type: str
    param: str | None
    code: str
    gglib: dict[str, Any]
    """Who speaks, and the facts of the error."""


class Error(msgspec.Struct, kw_only=True):
    """An error on a path of OpenAI's API."""

    error: ErrorBody


class AnthropicErrorBody(msgspec.Struct, kw_only=True):
    """What went wrong, as Anthropic's API says it."""

    type: str
    message: str
    gglib: dict[str, Any]


class AnthropicError(msgspec.Struct, kw_only=True):
    """An error on a path of Anthropic's API."""

    type: str
    error: AnthropicErrorBody


class Detail(msgspec.Struct, kw_only=True):
    """A field that is wrong."""

    field: str
    issue: str


class AdminErrorBody(msgspec.Struct, kw_only=True):
    """What went wrong, and with which fields."""

    code: str
    message: str
    details: Detail | None
    gglib: dict[str, Any]
    all_details: list[Detail] | msgspec.UnsetType = msgspec.UNSET
    """Where more than one field is wrong."""


class AdminError(msgspec.Struct, kw_only=True):
    """An error on a path under `/admin`."""

    error: AdminErrorBody


class HealthModel(msgspec.Struct, kw_only=True):
    """A model and what its engine does."""

    id: str
    status: ModelState


class Health(msgspec.Struct, kw_only=True):
    """That the process lives."""

    status: str
    version: str
    timestamp: str
    uptime_seconds: float
    models: list[HealthModel]


class Ready(msgspec.Struct, kw_only=True):
    """Whether requests should be sent here."""

    status: str
    checks: dict[str, dict[str, Any]]


class Pricing(msgspec.Struct, kw_only=True):
    """What 1,000 tokens cost."""

    input_cost_per_1k: float
    output_cost_per_1k: float
    currency: str


class ModelEntry(msgspec.Struct, kw_only=True):
    """A model that can be asked."""

    id: str
    object: str
    created: int
    owned_by: str
    provider: str
    context_window: int
    capabilities: list[str]
    supports_streaming: bool
    aliases: list[str]
    status: ModelState
    pricing: Pricing


class ModelEntries(msgspec.Struct, kw_only=True):
    """Models, by id."""

    object: str
    data: list[ModelEntry]


class Named(msgspec.Struct, kw_only=True):
    """A model's name, alias or id."""

    model: str


class MaybeNamed(msgspec.Struct, kw_only=True):
    """A model's name, alias or id; without one, all are meant."""

    model: str | None = None


class Success(msgspec.Struct, kw_only=True):
    """It was done."""

    success: bool


class Tokens(msgspec.Struct, kw_only=True):
    """How many tokens a request took."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cached_tokens: int
    estimated: bool


class Cost(msgspec.Struct, kw_only=True):
    """What they cost."""

    prompt_cost: float
    completion_cost: float
    total_cost: float
    currency: str


class GenerationEntry(msgspec.Struct, kw_only=True):
    """The record of a request."""

    id: str
    object: str
    model: str
    provider: str
    created: int
    finish_reason: str | None
    tokens: Tokens
    cost: Cost
    latency_ms: int
    api_key_id: str | None
    stream: bool
    endpoint: str
    status: int
    error: str | None
    created_ms: int
    queue_ms: float
    load_ms: float
    first_token_ms: float | None
    total_ms: float
    tokens_per_second: float | None
    request_id: str
    upstream_id: str | None
    key_id: int | None
    model_id: int | None
    target: str | None
    provider_health: str | None
    swap_id: str | None


class GenerationEntries(msgspec.Struct, kw_only=True):
    """Records, the newest first."""

    object: str
    data: list[GenerationEntry]
    has_more: bool
    next_cursor: str | None


class SwapVictim(msgspec.Struct, kw_only=True):
    """The model that gave way."""

    model: str
    model_id: int
    reason: str
    spared: list[str]


class SwapEntry(msgspec.Struct, kw_only=True):
    """One launch of a model; durations are null where they were not reached."""

    id: str
    object: str
    created: float
    ended: float | None
    model: str
    model_id: int
    context: int
    launch_id: str
    cause: str
    request_id: str | None
    key_name: str | None
    victim: SwapVictim | None
    outcome: str
    failure: str | None
    detail: str | None
    queue_ms: float | None
    drain_ms: float | None
    stop_ms: float | None
    memory_ms: float | None
    spawn_ms: float | None
    load_ms: float | None
    first_byte_ms: float | None
    served: int
    swaps_avoided: int
    memory_bytes: int | None
    gpu_memory_bytes: int | None


class SwapEntries(msgspec.Struct, kw_only=True):
    """Swaps, the newest first."""

    object: str
    data: list[SwapEntry]
    has_more: bool
    next_cursor: str | None
