"""Embeddings and rerank: deterministic numbers.

A vector depends on the model's name and the text alone, so that a test sees who answered, and is
near those of texts with the same words. A document ranks by the words it shares with the query.
"""

from __future__ import annotations

import base64
import hashlib
import math
import sys
from array import array
from collections.abc import Callable
from struct import iter_unpack, unpack
from typing import Any, cast

from gglib_runtime.simulator.engine import Engine
from gglib_runtime.simulator.exchange import Exchange
from gglib_runtime.simulator.generation import ApiError, Generation, json_bytes
from gglib_runtime.simulator.monitoring import unsupported
from gglib_runtime.simulator.reading.parameters import (
    EMBEDDING_RULES,
    OPENAI,
    check_parameters,
    require,
)
from gglib_runtime.simulator.requests import (
    JsonObject,
    Reading,
    prompt_text,
    read_object,
    several,
)
from gglib_runtime.simulator.text import count_tokens

DIMENSIONS = 64
"""Of llama-server's vectors; a hosted model has as many as its name says."""
_MOST_INPUTS = 2048
_MOST_INPUT_TOKENS = 8192
_WORD_PLACES = 8
_WORD_WEIGHT = 1 << 13
"""Of a word at each of its places, against noise up to four times that."""


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


def vector(name: str, text: str, size: int) -> array[float]:
    """The unit vector of `size` numbers that the model `name` has for `text`.

    Texts that share words are near each other; the same text has the same vector everywhere.
    """
    seed = f"{name}\n{text}".encode()
    raw = [*unpack(f"<{size}h", hashlib.shake_128(seed).digest(2 * size))]
    weight = int(math.sqrt(size) * _WORD_WEIGHT)
    for word in {*text.casefold().split()}:
        places = hashlib.blake2b(word.encode(), digest_size=4 * _WORD_PLACES).digest()
        for (value,) in iter_unpack("<I", places):
            raw[(value >> 1) % size] += weight if value & 1 else -weight
    share = 1 / math.hypot(*raw)
    return array("f", [value * share for value in raw])


def shortened(numbers: array[float], size: int) -> array[float]:
    """The first `size` numbers, again a unit vector."""
    if size >= len(numbers):
        return numbers
    length = math.hypot(*numbers[:size])
    return array("f", [value / length for value in numbers[:size]])


def embeddings(engine: Engine, exchange: Exchange) -> None:
    """POST /v1/embeddings."""
    body = read_object(engine, exchange)
    if engine.is_alone:
        texts = _hosted_inputs(body)
    else:
        texts = _engine_inputs(engine, body)
        if engine.arguments.pooling == "none":
            message = (
                "Pooling type 'none' is not OAI compatible. Please use a different pooling type"
            )
            raise ApiError(400, message)
    as_base64 = _encoding(body) == "base64"
    name, tokens = engine.model_for(body), sum(map(count_tokens, texts))
    size = _size(name) if engine.is_alone else DIMENSIONS
    shown: int = body.get("dimensions") or size if engine.is_alone else size

    def answer() -> bytes:
        vectors = [shortened(vector(name, text, size), shown) for text in texts]
        data = [_entry(*each, as_base64) for each in enumerate(vectors)]
        listing = _listing(engine, body, tokens)
        if not engine.is_alone:
            return json_bytes(listing | {"data": data})
        for entry in data:
            entry.pop("encoding_format", None)
        return json_bytes({"object": "list", "data": data, "model": name} | listing)

    _start(engine, exchange, body, tokens, answer)


def native_embeddings(engine: Engine, exchange: Exchange) -> None:
    """POST /embedding."""
    body = read_object(engine, exchange)
    texts = _engine_inputs(engine, body)

    def answer() -> bytes:
        vectors = [vector(engine.name, text, DIMENSIONS) for text in texts]
        found = enumerate(vectors)
        return json_bytes(
            [{"index": index, "embedding": [numbers.tolist()]} for index, numbers in found]
        )

    _start(engine, exchange, body, sum(map(count_tokens, texts)), answer)


def rerank(engine: Engine, exchange: Exchange) -> None:
    """POST /v1/rerank; `texts` in place of `documents` gives the answer another shape."""
    if not engine.arguments.rerank and not engine.is_alone:
        raise unsupported("reranking", "--reranking")
    body = read_object(engine, exchange)
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


def _engine_inputs(engine: Engine, body: JsonObject) -> list[str]:
    if not engine.arguments.embeddings and not engine.is_alone:
        raise unsupported("embeddings", "--embeddings")
    given = body.get("input", body.get("content"))
    if given is None:
        raise ApiError(400, '"input" or "content" must be provided')
    texts = [prompt_text(item) for item in several(given)]
    if not texts:
        raise ApiError(400, '"input" must not be empty')
    longest, limit = max(map(count_tokens, texts)), engine.arguments.ubatch
    if longest > limit:
        raise ApiError(
            500,
            f"input ({longest} tokens) is too large to process. increase the physical batch size "
            f"(current batch size: {limit})",
        )
    return texts


def _hosted_inputs(body: JsonObject) -> list[str]:
    """The texts as OpenAI takes them."""
    require(body, "model", OPENAI)
    require(body, "input", OPENAI)
    check_parameters(body, EMBEDDING_RULES, OPENAI)
    given = several(body["input"])
    if not 1 <= len(given) <= _MOST_INPUTS or any(not item for item in given):
        message = "'$.input' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference."
        raise ApiError(400, message, param="input")
    texts = [prompt_text(item) for item in given]
    longest = max(map(count_tokens, texts))
    if longest > _MOST_INPUT_TOKENS:
        raise ApiError(
            400,
            f"This model's maximum context length is {_MOST_INPUT_TOKENS} tokens, however you "
            f"requested {longest} tokens ({longest} in your prompt; 0 for the completion). Please "
            "reduce your prompt; or completion length.",
        )
    wanted, most = body.get("dimensions"), _size(body["model"])
    if wanted is not None and (wanted > most or "ada" in body["model"]):
        message = "This model does not support specifying dimensions."
        if wanted > most:
            message = (
                f"Invalid value for 'dimensions' = {wanted}. Must be less than or equal to {most}."
            )
        raise ApiError(400, message, param="dimensions")
    return texts


def _encoding(body: JsonObject) -> str:
    encoding = body.get("encoding_format") or "float"
    if encoding not in ("float", "base64"):
        message = "The format to return the embeddings in. Can be either float or base64"
        raise ApiError(400, message, param="encoding_format")
    return encoding


def _size(model: str) -> int:
    """The numbers of a hosted model's vectors."""
    return 3072 if "3-large" in model else 1536


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
    generation = Generation(model=engine.model_for(body), choices=[], prompt_tokens=tokens)
    reading.start(generation, WholeAnswer(answer))


def _listing(engine: Engine, body: JsonObject, tokens: int) -> dict[str, Any]:
    """The start of an answer, which echoes the request's model."""
    return {
        "model": body.get("model") or engine.name,
        "object": "list",
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _entry(index: int, numbers: array[float], as_base64: bool) -> dict[str, Any]:
    if not as_base64:
        return {"embedding": numbers.tolist(), "index": index, "object": "embedding"}
    if sys.byteorder == "big":
        numbers.byteswap()
    data = base64.b64encode(numbers.tobytes()).decode()
    return {
        "embedding": data,
        "index": index,
        "object": "embedding",
        "encoding_format": "base64",
    }


def _score(query: str, document: str) -> float:
    words = set(query.casefold().split())
    return len(words & set(document.casefold().split())) / max(len(words), 1)
