"""The stand-in engine's embeddings and rankings."""

from __future__ import annotations

import base64
import math
import struct
from typing import Any

import pytest

from tests.engines import KEY, RunningSimulator, running_simulator
from tests.raw_http import Answer, ask_once

HELLO = [{"role": "user", "content": "hello there"}]


async def ask(simulator: RunningSimulator, path: str, **body: Any) -> Answer:
    answer = await ask_once(simulator.port, "POST", path, body, key=KEY)
    assert answer.status == 200, answer.body
    return answer


async def test_embeddings_as_numbers_and_as_base64() -> None:
    async with running_simulator("--embeddings", "--pooling", "mean") as simulator:
        path = "/v1/embeddings"
        answer = (await ask(simulator, path, input=["one", "two"], model="asked")).json
        assert answer["model"] == "asked"
        assert answer["usage"] == {"prompt_tokens": 2, "total_tokens": 2}
        first, second = (entry["embedding"] for entry in answer["data"])
        assert first != second
        assert math.hypot(*first) == pytest.approx(1)
        packed = (await ask(simulator, path, input="one", encoding_format="base64")).json
        assert packed["model"] == "alpha"
        numbers = struct.unpack("<64f", base64.b64decode(packed["data"][0]["embedding"]))
        assert numbers == pytest.approx(first)
        native = (await ask(simulator, "/embedding", content="one")).json
        assert native == [{"index": 0, "embedding": [first]}]
        # A causal model with pooling goes on to chat.
        assert await ask(simulator, "/v1/chat/completions", messages=HELLO)


async def test_another_model_has_other_embeddings() -> None:
    seen = []
    for alias in ("alpha", "beta"):
        async with running_simulator("--embeddings", alias=alias) as simulator:
            seen.append((await ask(simulator, "/v1/embeddings", input="one")).json["data"])
    assert seen[0] != seen[1]


async def test_embedding_inputs_have_limits() -> None:
    async with running_simulator("--embeddings", "-ub", "64") as simulator:
        for text, status in [(" x" * 64, 200), (" x" * 65, 500)]:
            body = {"input": text}
            answer = await ask_once(simulator.port, "POST", "/v1/embeddings", body, key=KEY)
            assert answer.status == status
        assert "(65 tokens) is too large" in answer.json["error"]["message"]
    async with running_simulator("--embeddings", "--pooling", "none") as simulator:
        body = {"input": "x"}
        answer = await ask_once(simulator.port, "POST", "/v1/embeddings", body, key=KEY)
        assert answer.status == 400
        assert await ask(simulator, "/embedding", input="x")


async def test_rerank_sorts_documents_by_the_words_they_share() -> None:
    async with running_simulator("--rerank") as simulator:
        body: dict[str, Any] = {"query": "red fox", "documents": ["a cat", "the red fox", "red"]}
        answer = (await ask(simulator, "/v1/rerank", **body, top_n=2, model="asked")).json
        assert answer["model"] == "asked"
        assert answer["results"] == [
            {"index": 1, "relevance_score": 1.0},
            {"index": 2, "relevance_score": 0.5},
        ]
        texts = (await ask(simulator, "/rerank", query="red", texts=["red"])).json
        assert texts == [{"index": 0, "score": 1.0}]
        body = {"messages": HELLO}
        refused = await ask_once(simulator.port, "POST", "/v1/messages", body, key=KEY)
        assert refused.status == 500
