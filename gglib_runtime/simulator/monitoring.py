"""What llama-server tells of its work: GET /slots and GET /metrics."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from gglib_runtime.simulator.engine import Engine
from gglib_runtime.simulator.exchange import Exchange
from gglib_runtime.simulator.generation import ApiError, json_bytes
from gglib_runtime.simulator.settings import DEFAULT_SETTINGS
from gglib_runtime.simulator.slots import Occupant

_CONTENT_TYPE = "text/plain; version=0.0.4"


class Metric(NamedTuple):
    """One of llama-server's metrics, in its words."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    value: float


def slots(engine: Engine, exchange: Exchange) -> None:
    """GET /slots."""
    if not engine.arguments.shows_slots:
        raise unsupported("slots endpoint", "--slots")
    if "fail_on_no_slot=1" in exchange.request.query and engine.slots.busy == engine.slots.count:
        raise ApiError(503, "no slot available")
    entries = [
        {
            "id": slot,
            "n_ctx": engine.arguments.slot_context,
            "speculative": False,
            "is_processing": occupant is not None,
        }
        | ({} if occupant is None else _work(occupant))
        for slot, occupant in enumerate(engine.slots.occupants)
    ]
    exchange.answer(200, json_bytes(entries))


def _work(occupant: Occupant) -> dict[str, Any]:
    generation, sent = occupant.generation, occupant.sent
    step = {
        "has_next_token": True,
        "has_new_line": False,
        "n_remain": generation.count - sent,
        "n_decoded": sent,
    }
    return {
        "id_task": occupant.number,
        "n_prompt_tokens": generation.prompt_tokens,
        "n_prompt_tokens_processed": generation.prompt_tokens,
        "n_prompt_tokens_cache": 0,
        "params": DEFAULT_SETTINGS,
        "next_token": [step],
    }


def metrics(engine: Engine, exchange: Exchange) -> None:
    """GET /metrics."""
    if not engine.arguments.metrics:
        raise unsupported("metrics endpoint", "--metrics")
    shown = [
        f"# HELP llamacpp:{metric.name} {metric.help}\n"
        f"# TYPE llamacpp:{metric.name} {metric.kind}\n"
        f"llamacpp:{metric.name} {metric.value:g}\n"
        for metric in _metrics(engine)
    ]
    exchange.answer(
        200,
        "".join(shown).encode(),
        content_type=_CONTENT_TYPE,
        extra=f"Process-Start-Time-Unix: {engine.started_at}\r\n",
    )


def _metrics(engine: Engine) -> list[Metric]:
    """All of them; nothing is cached or drafted here."""
    cached = "Number of prompt tokens reused from the cache"
    decodes = "Total number of llama_decode() calls, excluding speculative decoding and multimodal"
    drafts = "Speculative: Total speculative decoding verification steps"
    return [
        Metric(
            "prompt_tokens_total",
            "counter",
            "Number of prompt tokens processed, excluding cached tokens",
            engine.prompt_tokens,
        ),
        Metric("prompt_tokens_cached_total", "counter", cached, 0),
        Metric(
            "prompt_seconds_total",
            "counter",
            "Total time spent processing prompts",
            engine.prompt_seconds,
        ),
        Metric(
            "tokens_predicted_total",
            "counter",
            "Number of generation tokens processed",
            engine.predicted_tokens,
        ),
        Metric(
            "tokens_predicted_seconds_total",
            "counter",
            "Total time spent generating tokens",
            engine.predicted_seconds,
        ),
        Metric("n_decode_total", "counter", f"{decodes} decoding", engine.predicted_tokens),
        Metric(
            "n_tokens_max",
            "counter",
            "Largest observed sequence length (prompt + generation)",
            engine.longest,
        ),
        Metric(
            "spec_decode_num_draft_tokens_total",
            "counter",
            "Speculative: Total draft tokens generated",
            0,
        ),
        Metric(
            "spec_decode_num_accepted_tokens_total",
            "counter",
            "Speculative: Total draft tokens accepted by the target model",
            0,
        ),
        Metric("spec_decode_num_drafts_total", "counter", drafts, 0),
        *_gauges(engine),
    ]


def _gauges(engine: Engine) -> list[Metric]:
    return [
        Metric(
            "prompt_tokens_seconds",
            "gauge",
            "Average prompt throughput in tokens/s",
            _rate(engine.prompt_tokens, engine.prompt_seconds),
        ),
        Metric(
            "predicted_tokens_seconds",
            "gauge",
            "Average generation throughput in tokens/s",
            _rate(engine.predicted_tokens, engine.predicted_seconds),
        ),
        Metric("requests_processing", "gauge", "Number of requests processing", engine.slots.busy),
        Metric("requests_deferred", "gauge", "Number of requests deferred", engine.slots.waiting),
        Metric(
            "n_busy_slots_per_decode",
            "gauge",
            "Average number of busy slots per llama_decode() call",
            1 if engine.predicted_tokens else 0,
        ),
    ]


def _rate(tokens: int, seconds: float) -> float:
    return tokens / seconds if seconds else 0


def unsupported(what: str, flag: str) -> ApiError:
    """What llama-server says of a feature that its command line leaves off."""
    return ApiError(501, f"This server does not support {what}. Start it with `{flag}`")
