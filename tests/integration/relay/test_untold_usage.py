"""What is recorded and paid for where no answer says what it took."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from gglib_core.errors import UpstreamTimeout
from gglib_core.generations import Generation, InMemoryGenerationLog
from gglib_proxy.books import Books
from gglib_proxy.prompt_size import IMAGE_BYTES
from tests.compiled import needs_plain_python
from tests.planes import CHAT, EMBEDDER, Relay, relaying
from tests.rate_limits import FakeLimiter
from tests.upstreams import Peer, answering, response, silent

PATH = "/v1/chat/completions"
PRICED = replace(CHAT, input_cost_per_1k=0.5, output_cost_per_1k=2.0)
ASKED = {"model": "chat", "messages": [{"role": "user", "content": "word " * 200}]}
BODY = json.dumps(ASKED).encode()
PROMPT = len(BODY) // 4


class Kept:
    """Books, and what was written into them."""

    def __init__(self) -> None:
        self.log = InMemoryGenerationLog()
        self.limiter = FakeLimiter()
        self.books = Books(log=self.log, limiter=self.limiter)

    async def record(self, relay: Relay) -> Generation:
        await relay.running.until(lambda: len(self.log.generations) == 1)
        await relay.running.idle()
        return self.log.generations[0]


def tokens(record: Generation) -> tuple[int, int, bool]:
    return record.prompt_tokens, record.completion_tokens, record.is_estimated


@pytest.mark.parametrize("is_stream", [False, True])
async def test_who_leaves_before_an_answer_pays_for_the_prompt_that_was_read(
    is_stream: bool,
) -> None:
    kept = Kept()
    body = json.dumps({**ASKED, "stream": is_stream}).encode()
    async with relaying(silent(), models=[PRICED], books=kept.books) as relay:
        async with relay.running.open() as client:
            client.request("POST", PATH, body)
            await relay.upstream.received()
        record = await kept.record(relay)
    assert (record.status, record.error) == (499, "client_left")
    assert tokens(record) == (len(body) // 4, 0, True)
    cost = pytest.approx(len(body) // 4 * 0.5 / 1000)
    assert (record.prompt_cost, record.completion_cost) == (cost, 0.0)
    assert kept.limiter.settled == [(len(body) // 4, cost)]


async def test_who_leaves_within_an_answer_pays_for_the_prompt_too() -> None:
    kept, half = Kept(), response(b"x" * 100)[:-50]

    async def begins(peer: Peer) -> None:
        await peer.request()
        peer.send(half)
        await peer.gone()

    async with relaying(begins, books=kept.books) as relay:
        async with relay.running.open() as client:
            client.request("POST", PATH, BODY)
            await client.head()
        record = await kept.record(relay)
    assert (record.status, *tokens(record)) == (499, PROMPT, 0, True)


async def test_who_leaves_while_the_model_is_waited_for_pays_nothing() -> None:
    kept = Kept()
    async with relaying(silent(), max_resident=1, books=kept.books) as relay:
        relay.client.request("POST", PATH, BODY)
        await relay.upstream.received()
        async with relay.running.open() as client:
            client.request("POST", "/v1/embeddings", {"model": EMBEDDER.name, "input": "x" * 400})
            await relay.running.asking(client, 2)
        await relay.running.until(lambda: len(kept.log.generations) == 1)
        [record] = kept.log.generations
        assert (record.status, record.target) == (499, None)
        assert tokens(record) == (0, 0, False)
        assert kept.limiter.settled == [(0, 0.0)]


@needs_plain_python
async def test_who_leaves_while_an_engine_is_connected_to_pays_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept, connecting = Kept(), asyncio.Event()

    async def connect(*_: object) -> None:
        connecting.set()
        await asyncio.Event().wait()

    async with relaying(books=kept.books) as relay:
        monkeypatch.setattr(relay.plane.pool, "connect", connect)
        async with relay.running.open() as client:
            client.request("POST", PATH, BODY)
            await connecting.wait()
        record = await kept.record(relay)
    assert (record.status, *tokens(record)) == (499, 0, 0, False)
    assert record.target is not None


async def test_who_was_given_up_pays_nothing() -> None:
    kept = Kept()
    async with relaying(silent(), books=kept.books) as relay:
        relay.client.request("POST", PATH, BODY)
        await relay.upstream.received()
        [exchange] = relay.plane.exchanges
        exchange.cancel(UpstreamTimeout("chat", "nothing", 1))
        assert (await relay.client.answer()).status == 504
        record = await kept.record(relay)
    assert tokens(record) == (0, 0, False)
    assert kept.limiter.settled == [(0, 0.0)]


@pytest.mark.parametrize(
    "path",
    [
        "/tokenize",
        "/detokenize",
        "/apply-template",
        "/v1/messages/count_tokens",
        "/upstream/chat/tokenize",
        "/upstream/chat/slots/0",
        "/upstream/chat/props",
    ],
)
async def test_what_runs_no_model_takes_no_tokens(path: str) -> None:
    kept = Kept()
    async with relaying(answering(response(b'{"tokens": [1, 2]}')), books=kept.books) as relay:
        assert (await relay.client.ask("POST", path, BODY)).status == 200
        record = await kept.record(relay)
    assert tokens(record) == (0, 0, False)
    assert [demand.tokens for demand in kept.limiter.demands] == [0]
    assert kept.limiter.settled == [(0, 0.0)]


@pytest.mark.parametrize(
    ("path", "body", "prompt"),
    [
        ("/embedding", {"model": EMBEDDER.name, "content": "x" * 400}, True),
        ("/embeddings", {"model": EMBEDDER.name, "content": "x" * 400}, True),
        ("/infill", ASKED, True),
        (PATH, ASKED, True),
        (f"/upstream/{EMBEDDER.name}/embedding", {"content": "x" * 400}, True),
        ("/upstream/chat/of-another-engine", ASKED, False),
    ],
)
async def test_an_answer_that_says_nothing_has_read_its_prompt(
    path: str, body: dict[str, Any], prompt: bool
) -> None:
    """Unless nobody knows what the path is for."""
    kept = Kept()
    async with relaying(answering(response(b'[{"embedding": [1]}]')), books=kept.books) as relay:
        assert (await relay.client.ask("POST", path, body)).status == 200
        record = await kept.record(relay)
    expected = len(json.dumps(body)) // 4 if prompt else 0
    assert record.prompt_tokens == pytest.approx(expected, abs=3)
    assert (record.completion_tokens, record.is_estimated) == (0, True)


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/rerank", "/rerank"])
async def test_an_answer_that_tells_its_prompt_is_believed(path: str) -> None:
    kept = Kept()
    ranker = replace(EMBEDDER, capabilities=frozenset({"embeddings", "rerank"}))
    told = response(b'{"usage": {"prompt_tokens": 6, "total_tokens": 6}}')
    async with relaying(answering(told), models=[ranker], books=kept.books) as relay:
        body = {"model": ranker.name, "input": "x", "query": "x", "documents": ["y"]}
        assert (await relay.client.ask("POST", path, body)).status == 200
        record = await kept.record(relay)
    assert tokens(record) == (6, 0, False)


async def test_what_an_engine_refuses_costs_nothing() -> None:
    kept = Kept()
    async with relaying(answering(response(status="400 No")), books=kept.books) as relay:
        assert (await relay.client.ask("POST", PATH, BODY)).status == 400
        record = await kept.record(relay)
    assert tokens(record) == (0, 0, False)
    assert kept.limiter.settled == [(0, 0.0)]


async def test_an_image_reserves_what_an_image_takes() -> None:
    kept = Kept()
    image = base64.b64encode(bytes(range(256)) * 4000).decode()
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}}
    asked = {"model": "chat", "max_tokens": 10, "messages": [{"role": "user", "content": [part]}]}
    async with relaying(silent(), books=kept.books) as relay:
        async with relay.running.open() as client:
            client.request("POST", PATH, asked)
            await relay.upstream.received()
        record = await kept.record(relay)
    [demand] = kept.limiter.demands
    assert demand.tokens == pytest.approx(IMAGE_BYTES // 4 + 10, abs=60)
    assert record.prompt_tokens == demand.tokens - 10
