"""A generation as clients are shown it: as JSON, and as a row of CSV.

Not here: who may see it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from gglib_core.generations import Generation

CSV_COLUMNS = ("created", *Generation._fields)
_FORMULA = (*"=+-@\t\r\n", *"\uff1d\uff0b\uff0d\uff20")
"""What begins a formula, also in the wide letters that spreadsheets of East Asia take for these."""


def generation_document(generation: Generation) -> dict[str, Any]:
    """The record, its most wanted fields first."""
    return {
        "id": generation.id,
        "object": "generation",
        "model": generation.model,
        "provider": generation.provider,
        "created": generation.created_ms // 1000,
        "finish_reason": generation.finish_reason,
        "tokens": {
            "prompt_tokens": generation.prompt_tokens,
            "completion_tokens": generation.completion_tokens,
            "total_tokens": generation.total_tokens,
            "cached_tokens": generation.cached_tokens,
            "estimated": generation.is_estimated,
        },
        "cost": {
            "prompt_cost": generation.prompt_cost,
            "completion_cost": generation.completion_cost,
            "total_cost": generation.total_cost,
            "currency": generation.currency,
        },
        "latency_ms": round(generation.total_ms),
        "api_key_id": generation.api_key_id,
        "stream": generation.is_stream,
        **_further(generation),
    }


def _further(generation: Generation) -> dict[str, Any]:
    return {
        "endpoint": generation.endpoint,
        "status": generation.status,
        "error": generation.error,
        "created_ms": generation.created_ms,
        "queue_ms": round(generation.queue_ms, 3),
        "load_ms": round(generation.load_ms, 3),
        "first_token_ms": _rounded(generation.first_token_ms),
        "total_ms": round(generation.total_ms, 3),
        "tokens_per_second": _rounded(generation.tokens_per_second),
        "request_id": generation.request_id,
        "upstream_id": generation.upstream_id,
        "key_id": generation.key_id,
        "model_id": generation.model_id,
        "target": generation.target,
        "provider_health": generation.provider_health,
        "swap_id": generation.swap_id,
    }


def csv_head() -> str:
    """The line with the names of the columns."""
    return ",".join(CSV_COLUMNS) + "\r\n"


def csv_lines(generations: Iterable[Generation]) -> str:
    """A line for each, with its time in words before it."""
    text = io.StringIO()
    writer = csv.writer(text)
    for each in generations:
        created = datetime.fromtimestamp(each.created_ms / 1000, UTC)
        shown = created.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        writer.writerow([shown, *map(_cell, each)])
    return text.getvalue()


def _cell(value: object) -> object:
    """Spreadsheets run a text that begins like a formula, and some of it comes from outside."""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float):  # without what only its binary form has
        return float(f"{value:.9g}")
    return value


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
