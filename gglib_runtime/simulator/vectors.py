"""Embeddings and rerank: deterministic numbers.

A vector depends on the model's name and the text alone, so that a test sees who answered; a
document ranks by the words that it shares with the query.
"""

from __future__ import annotations

import base64
import hashlib
import math
import struct
from collections.abc import Callable
from typing import Any, cast

from gglib_runtime.simulator.engine import Engine
from gglib_runtime.simulator.exchange import Exchange
from gglib_runtime.simulator.generation import ApiError, Generation, json_bytes
from gglib_runtime.simulator.requests import (
    JsonObject,
    Reading,
    prompt_text,
    read_object,
    several,
)
from gglib_runtime.simulator.text import count_tokens

DIMENSIONS = 64


class WholeAnswer:
    """An answer that is never streamed; fills `Dialect`."""

    __slots__ = ("_body",)

    def __init__(self, body: Callable[[], bytes]) -> None:
        self._body = body

    def whole(self) -> bytes:
        return self._body()

    def opening(self) -> bytes:
        return b""

    def piece(self, index: int) -> bytes:
        raise IndexError(index)

    def closing(self) -> list[bytes]:
        return []

    def error(self, status: int, message: str) -> bytes:
        raise NotImplementedError


def vector(name: str, text: str) -> list[float]:
    """The unit vector that the model `name` has for `text`."""
    seed = hashlib.blake2b(f"{name}\n{text}".encode(), digest_size=DIMENSIONS)
    raw = [byte - 127.5 for byte in seed.digest()]
    length = math.sqrt(sum(value * value for value in raw))
    return [value / length for value in raw]


def embeddings(engine: Engine, exchange: Exchange) -> None:
    """POST /v1/embeddings."""
    body, texts = _read_inputs(engine, exchange)
    if engine.arguments.pooling == "none":
        message = "Pooling type 'none' is not OAI compatible. Please use a different pooling type"
        raise ApiError(400, message)
    as_base64 = body.get("encoding_format") == "base64"
    tokens = sum(map(count_tokens, texts))

    def answer() -> bytes:
        vectors = [vector(engine.name, text) for text in texts]
        data = [_entry(index, numbers, as_base64) for index, numbers in enumerate(vectors)]
        return json_bytes(_listing(engine, body, tokens) | {"data": data})

    _start(engine, exchange, body, tokens, answer)


def native_embeddings(engine: Engine, exchange: Exchange) -> None:
    """POST /embedding."""
    body, texts = _read_inputs(engine, exchange)

    def answer() -> bytes:
        vectors = [vector(engine.name, text) for text in texts]
        return json_bytes(
            [{"index": index, "embedding": [numbers]} for index, numbers in enumerate(vectors)]
        )

    _start(engine, exchange, body, sum(map(count_tokens, texts)), answer)


def rerank(engine: Engine, exchange: Exchange) -> None:
    """POST /v1/rerank; `texts` in place of `documents` gives the answer another shape."""
    if not engine.arguments.rerank:
        raise _unsupported("reranking", "--reranking")
    body = read_object(exchange)
    query, documents = _read_ranking(body)
    scores = [(_score(query, document), index) for index, document in enumerate(documents)]
    best = sorted(scores, key=lambda pair: (-pair[0], pair[1]))[: body.get("top_n")]
    tokens = sum(count_tokens(query + document) for document in documents)

    def answer() -> bytes:
        if "texts" in body:
            return json_bytes([{"index": index, "score": score} for score, index in best])
        results = [{"index": index, "relevance_score": score} for score, index in best]
        return json_bytes(_listing(engine, body, tokens) | {"results": results})

    _start(engine, exchange, body, tokens, answer)


def _read_inputs(engine: Engine, exchange: Exchange) -> tuple[JsonObject, list[str]]:
    if not engine.arguments.embeddings:
        raise _unsupported("embeddings", "--embeddings")
    body = read_object(exchange)
    given = body.get("input", body.get("content"))
    if given is None:
        raise ApiError(400, '"input" or "content" must be provided')
    texts = [prompt_text(item) for item in several(given)]
    longest, limit = max(map(count_tokens, texts), default=0), engine.arguments.ubatch
    if longest > limit:
        raise ApiError(
            500,
            f"input ({longest} tokens) is too large to process. increase the physical batch size "
            f"(current batch size: {limit})",
        )
    return body, texts


def _read_ranking(body: JsonObject) -> tuple[str, list[str]]:
    query = body.get("query")
    if not isinstance(query, str):
        raise ApiError(400, '"query" must be provided')
    documents = body.get("documents", body.get("texts"))
    if not isinstance(documents, list) or not documents:
        raise ApiError(400, '"documents" must be a non-empty string array')
    return query, [prompt_text(document) for document in cast("list[Any]", documents)]


def _start(
    engine: Engine, exchange: Exchange, body: JsonObject, tokens: int, answer: Callable[[], bytes]
) -> None:
    reading = Reading(engine, exchange, body, generates=False)
    generation = Generation(model=engine.name, words=[], prompt_tokens=tokens)
    reading.start(generation, WholeAnswer(answer))


def _listing(engine: Engine, body: JsonObject, tokens: int) -> dict[str, Any]:
    """The start of an answer, which echoes the request's model."""
    return {
        "model": body.get("model") or engine.name,
        "object": "list",
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _entry(index: int, numbers: list[float], as_base64: bool) -> dict[str, Any]:
    if not as_base64:
        return {"embedding": numbers, "index": index, "object": "embedding"}
    data = base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()
    return {
        "embedding": data,
        "index": index,
        "object": "embedding",
        "encoding_format": "base64",
    }


def _score(query: str, document: str) -> float:
    words = set(query.casefold().split())
    return len(words & set(document.casefold().split())) / max(len(words), 1)


def _unsupported(what: str, flag: str) -> ApiError:
    return ApiError(501, f"This server does not support {what}. Start it with `{flag}`")
