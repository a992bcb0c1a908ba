"""What the engine tells about itself: props and models; and its tokeniser."""

from __future__ import annotations

import time
from typing import Any, cast

from gglib_runtime.simulator import hosted_models
from gglib_runtime.simulator.engine import Engine
from gglib_runtime.simulator.exchange import Exchange
from gglib_runtime.simulator.generation import BUILD, ApiError, json_bytes
from gglib_runtime.simulator.monitoring import unsupported
from gglib_runtime.simulator.reading.conversations import read_engine_chat
from gglib_runtime.simulator.reading.parameters import kind_of
from gglib_runtime.simulator.requests import read_object
from gglib_runtime.simulator.settings import DEFAULT_SETTINGS, TEMPLATE, TRAINED_CONTEXT
from gglib_runtime.simulator.text import (
    VOCABULARY,
    chat_prompt,
    split_tokens,
    token_number,
    token_text,
)


def props(engine: Engine, exchange: Exchange) -> None:
    """GET /props."""
    arguments = engine.arguments
    answer = {
        "default_generation_settings": {
            "params": DEFAULT_SETTINGS,
            "n_ctx": arguments.slot_context,
        },
        "total_slots": arguments.slots,
        "model_alias": engine.name,
        "model_ftype": "simulated",
        "model_path": arguments.model,
        "modalities": {"vision": False, "video": False, "audio": False},
        "endpoint_slots": arguments.shows_slots,
        "endpoint_props": arguments.props,
        "endpoint_metrics": arguments.metrics,
        "ui": False,
        "chat_template": TEMPLATE,
        "chat_template_caps": {"supports_system_role": True, "supports_tools": True},
        "bos_token": "<s>",
        "eos_token": "<|im_end|>",
        "build_info": BUILD,
        "is_sleeping": False,
    }
    exchange.answer(200, json_bytes(answer))


def change_props(engine: Engine, exchange: Exchange) -> None:
    """POST /props, which changes nothing."""
    if not engine.arguments.props:
        raise unsupported("changing global properties", "--props")
    exchange.answer(200, b'{"success":true}')


def models(engine: Engine, exchange: Exchange) -> None:
    """GET /v1/models."""
    if engine.is_alone:
        hosted_models.list_models(engine, exchange)
        return
    facts = {
        "vocab_type": 1,
        "n_vocab": VOCABULARY,
        "n_ctx": engine.arguments.slot_context,
        "n_ctx_train": TRAINED_CONTEXT,
        "n_embd": 64,
        "n_params": 0,
        "size": 0,
        "ftype": "simulated",
    }
    entry = {
        "id": engine.name,
        "aliases": [engine.name],
        "tags": [],
        "object": "model",
        "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
        "created": int(time.time()),
        "owned_by": "llamacpp",
        "meta": facts,
    }
    old = {"name": engine.name, "model": engine.name, "type": "model", "tags": [""]}
    exchange.answer(200, json_bytes({"models": [old], "object": "list", "data": [entry]}))


def lora_adapters(engine: Engine, exchange: Exchange) -> None:
    """GET /lora-adapters."""
    exchange.answer(200, b"[]")


def tools(engine: Engine, exchange: Exchange) -> None:
    """A feature that is never on."""
    exchange.answer(
        403, b'{"error":{"message":"this feature is disabled","type":"feature_disabled"}}'
    )


def tokenize_text(engine: Engine, exchange: Exchange) -> None:
    """POST /tokenize."""
    body = read_object(engine, exchange)
    content: Any = body.get("content", "")
    if not isinstance(content, str | list):
        raise _mistyped("string", content)
    parts = cast("list[Any]", content) if isinstance(content, list) else [content]
    tokens: list[int] = []
    for part in parts:
        if isinstance(part, str):
            tokens += map(token_number, split_tokens(part))
        elif isinstance(part, int | float):
            tokens.append(int(part))
        else:
            raise _mistyped("number", part)
    if not body.get("with_pieces"):
        exchange.answer(200, json_bytes({"tokens": tokens}))
        return
    pieces = [{"id": token, "piece": token_text(token)} for token in tokens]
    exchange.answer(200, json_bytes({"tokens": pieces}))


def detokenize(engine: Engine, exchange: Exchange) -> None:
    """POST /detokenize."""
    tokens: Any = read_object(engine, exchange).get("tokens", [])
    if not isinstance(tokens, list):
        raise _mistyped("array", tokens)
    try:
        text = "".join(map(token_text, cast("list[int]", tokens)))
    except LookupError as error:
        size = f"(which is {error}) >= this->size() (which is {VOCABULARY})"
        raise ApiError(500, f"vector::_M_range_check: __n {size}") from error
    exchange.answer(200, json_bytes({"content": text}))


def apply_template(engine: Engine, exchange: Exchange) -> None:
    """POST /apply-template."""
    body = read_object(engine, exchange)
    if "messages" not in body:
        raise ApiError(400, "'messages' is required")
    turns = read_engine_chat(body["messages"]).turns
    exchange.answer(200, json_bytes({"prompt": chat_prompt(turns, body.get("tools") or ())}))


def _mistyped(wanted: str, value: object) -> ApiError:
    found = {"integer": "number"}.get(kind_of(value), kind_of(value))
    problem = f"[json.exception.type_error.302] type must be {wanted}, but is {found}"
    return ApiError(400, problem)
