"""Generations for tests that care about a few of their fields."""

from __future__ import annotations

from typing import Any

from gglib_core.generations import Generation

_PLAIN = Generation(
    id="gen-1",
    created_ms=1_700_000_000_000,
    request_id="req-1",
    upstream_id="chatcmpl-1",
    key_id=None,
    api_key_id=None,
    model="chat",
    model_id=1,
    provider="llama-server",
    target="launch-1",
    provider_health="healthy",
    endpoint="/v1/chat/completions",
    is_stream=False,
    status=200,
    error=None,
    finish_reason="stop",
    queue_ms=0.0,
    load_ms=0.0,
    first_token_ms=None,
    total_ms=0.0,
    prompt_tokens=0,
    cached_tokens=0,
    completion_tokens=0,
    is_estimated=False,
    tokens_per_second=None,
    prompt_cost=0.0,
    completion_cost=0.0,
    currency="USD",
    swap_id=None,
)


def generation(**fields: Any) -> Generation:
    """One that went well and used nothing, but for `fields`."""
    return _PLAIN._replace(**fields)
