"""Event streams: what a waiting client is sent, and how a stream that fails tells it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from gglib_core.errors import LaunchFailed, LaunchFailure, ShuttingDown
from gglib_core.in_memory_runtime import InMemoryModelRuntime
from gglib_core.models import Model
from gglib_proxy.limits import Limits
from tests.planes import BODY, STREAM_BODY, Relay, relaying
from tests.raw_http import Answer
from tests.upstreams import (
    STREAM_END,
    STREAM_HEAD,
    Peer,
    Script,
    answering,
    chunked,
    event,
    response,
    silent,
    stream,
)

PATHS = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages"}
GRACE = Limits().stream_grace_seconds
each_dialect = pytest.mark.parametrize("path", PATHS.values(), ids=PATHS.keys())


class Gate:
    """Lets an upstream, or a load, go on when the test says so."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()

    def before(self, data: bytes) -> Script:
        async def script(peer: Peer) -> None:
            await peer.request()
            await self.opened.wait()
            peer.send(data)
            await peer.gone()

        return script

    async def before_part(self, peer: Peer, data: bytes) -> None:
        await peer.request()
        await self.opened.wait()
        peer.send(data)
        peer.half_close()
        await peer.gone()

    async def loading(self, model: Model) -> None:
        await self.opened.wait()


def in_pieces(*pieces: bytes, then: str, gate: Gate | None = None) -> Script:
    """Stream the pieces, then (once the gate is open) `close`, `reset` or be `silent`."""

    async def script(peer: Peer) -> None:
        await peer.request()
        for piece in pieces:
            peer.send(piece)
        await peer.drained()
        if gate is not None:
            await gate.opened.wait()
        if then == "close":
            peer.half_close()
        elif then == "reset":
            peer.reset()
        await peer.gone()

    return script


async def wait_past_grace(relay: Relay, path: str = PATHS["openai"]) -> Answer:
    """Ask for a stream and wait until a comment has come; returns the head."""
    relay.client.request("POST", path, STREAM_BODY)
    await relay.upstream.received()
    relay.running.sweep(GRACE)
    head = await relay.client.head()
    assert (await relay.client.chunk()).startswith(b": ")
    return head


async def rest_of(relay: Relay) -> bytes:
    data = b""
    while chunk := await relay.client.chunk():
        data += chunk
    return data


def documents(data: bytes) -> list[tuple[str | None, Any]]:
    """Name and document of each event in `data`; comments are left out."""
    found: list[tuple[str | None, Any]] = []
    for block in data.decode().split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith(":")]
        names = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
        texts = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
        if texts:
            found.append((names[0] if names else None, json.loads("\n".join(texts))))
    return found


# Waiting


async def test_a_client_that_waits_gets_a_head_and_comments() -> None:
    gate = Gate()
    async with relaying(gate.before(stream(event({"n": 1})))) as relay:
        relay.client.request("POST", PATHS["openai"], STREAM_BODY)
        await relay.upstream.received()
        relay.running.sweep(GRACE - 0.5)
        relay.running.sweep(GRACE)
        head = await relay.client.head()
        assert (head.status, head.headers["content-type"]) == (200, "text/event-stream")
        assert await relay.client.chunk() == b": processing chat\n\n"
        relay.running.sweep(GRACE + 5)
        relay.running.sweep(GRACE + 11)
        assert await relay.client.chunk() == b": processing chat\n\n"
        gate.opened.set()
        assert documents(await rest_of(relay)) == [(None, {"n": 1})]
        assert (await relay.client.ask("GET", "/health")).status == 200


async def test_no_comment_is_sent_within_the_grace_nor_once_the_engine_answers() -> None:
    async with relaying(in_pieces(STREAM_HEAD, chunked(event(1)), then="silent")) as relay:
        relay.client.request("POST", PATHS["openai"], STREAM_BODY)
        relay.running.sweep(0)
        assert await relay.client.chunk_after_head() == event(1)
        for later in (GRACE, 100, 1000):
            relay.running.sweep(later)
        relay.running.plane.drain()
        (exchange,) = relay.plane.exchanges
        exchange.cancel(ShuttingDown())
        ((_, document),) = documents(await rest_of(relay))
        assert document["error"]["code"] == "shutting_down"


async def test_a_client_that_waits_for_a_load_is_told_so() -> None:
    gate = Gate()
    async with relaying(answering(stream(event(1)))) as relay:
        relay.running.ledger.runtime = runtime = InMemoryModelRuntime(
            "127.0.0.1", relay.upstream.port, loading=gate.loading
        )
        relay.client.request("POST", PATHS["openai"], STREAM_BODY)
        await relay.running.asking(relay.client)
        await relay.running.until(lambda: bool(runtime.current()))
        relay.running.sweep(GRACE)
        assert await relay.client.chunk_after_head() == b": loading chat, about 10 s more\n\n"
        gate.opened.set()
        assert documents(await rest_of(relay)) == [(None, 1)]
        await runtime.aclose()


async def test_a_client_that_does_not_stream_waits_in_silence() -> None:
    gate = Gate()
    async with relaying(gate.before(response(b"1"))) as relay:
        relay.client.request("POST", PATHS["openai"], BODY)
        await relay.upstream.received()
        relay.running.sweep(1000)
        gate.opened.set()
        answer = await relay.client.answer()
        assert (answer.body, answer.headers["content-type"]) == (b"1", "application/json")


@pytest.mark.parametrize("path", ["/tokenize", "/apply-template", "/v1/messages/count_tokens"])
async def test_what_cannot_stream_is_not_made_a_stream(path: str) -> None:
    gate = Gate()
    async with relaying(gate.before(response(b"1"))) as relay:
        relay.client.request("POST", path, STREAM_BODY)
        await relay.upstream.received()
        relay.running.sweep(1000)
        gate.opened.set()
        assert (await relay.client.answer()).body == b"1"


async def test_a_stream_through_the_upstream_route_gets_comments_too() -> None:
    gate = Gate()
    async with relaying(gate.before(stream(event(1)))) as relay:
        await wait_past_grace(relay, "/upstream/chat/v1/chat/completions")
        gate.opened.set()
        assert documents(await rest_of(relay)) == [(None, 1)]


async def test_an_engine_is_not_asked_to_compress_a_stream() -> None:
    async with relaying() as relay:
        headers = {"Accept-Encoding": "gzip"}
        await relay.client.ask("POST", PATHS["openai"], STREAM_BODY, headers=headers)
        await relay.client.ask("POST", PATHS["openai"], BODY, headers=headers)
        first, second = relay.upstream.requests
        assert first.header("accept-encoding") is None
        assert second.header("accept-encoding") == "gzip"


async def test_a_client_of_http_1_0_gets_comments_without_chunks() -> None:
    gate = Gate()
    async with relaying(gate.before(stream(event(1)))) as relay:
        body = json.dumps(STREAM_BODY)
        relay.client.send(
            f"POST {PATHS['openai']} HTTP/1.0\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        await relay.upstream.received()
        relay.running.sweep(GRACE)
        head = await relay.client.head()
        assert head.headers["connection"] == "close"
        gate.opened.set()
        assert await relay.client.rest() == b": processing chat\n\n" + event(1)


# An error after comments


@each_dialect
async def test_an_error_after_comments_is_an_event(path: str) -> None:
    gate = Gate()
    error = {"error": {"code": 400, "message": "too long", "type": "invalid_request_error"}}
    answer = response(json.dumps(error).encode(), status="400 Bad Request")
    async with relaying(gate.before(answer)) as relay:
        await wait_past_grace(relay, path)
        gate.opened.set()
        ((name, document),) = documents(await rest_of(relay))
        assert document["error"]["message"] == "too long"
        if path == PATHS["anthropic"]:
            assert (name, document["type"]) == ("error", "error")
        else:
            assert (name, document) == (None, error)
        assert (await relay.client.ask("GET", "/health")).status == 200


@each_dialect
async def test_a_failed_load_after_comments_is_an_event(path: str) -> None:
    gate = Gate()

    async def loading(model: Model) -> None:
        await gate.opened.wait()
        raise LaunchFailed(model.name, LaunchFailure.OUT_OF_MEMORY, "no room", ["last line"])

    async with relaying() as relay:
        relay.running.ledger.runtime = runtime = InMemoryModelRuntime(
            "127.0.0.1", relay.upstream.port, loading=loading
        )
        relay.client.request("POST", path, STREAM_BODY)
        await relay.running.asking(relay.client)
        await relay.running.until(lambda: bool(runtime.current()))
        relay.running.sweep(GRACE)
        assert (await relay.client.chunk_after_head()).startswith(b": ")
        gate.opened.set()
        ((name, document),) = documents(await rest_of(relay))
        facts = document["error"]["gglib"]
        assert (facts["failure"], facts["log"]) == ("out_of_memory", ["last line"])
        assert name == ("error" if path == PATHS["anthropic"] else None)
        assert (await relay.client.ask("GET", "/health")).status == 200
        await runtime.aclose()


@each_dialect
@pytest.mark.parametrize("then", ["close", "reset"])
async def test_an_engine_that_dies_after_comments_is_an_event(path: str, then: str) -> None:
    gate = Gate()

    async def dying(peer: Peer) -> None:
        await peer.request()
        await gate.opened.wait()
        peer.close() if then == "close" else peer.reset()

    async with relaying(dying) as relay:
        await wait_past_grace(relay, path)
        gate.opened.set()
        ((name, document),) = documents(await rest_of(relay))
        assert "was not finished" in document["error"]["message"]
        assert name == ("error" if path == PATHS["anthropic"] else None)


async def test_an_engine_that_dies_in_its_error_is_an_event() -> None:
    gate = Gate()

    async def dying(peer: Peer) -> None:
        await gate.before_part(peer, response(b'{"error":{}}', status="500 X")[:-1])

    async with relaying(dying) as relay:
        await wait_past_grace(relay)
        gate.opened.set()
        ((_, document),) = documents(await rest_of(relay))
        assert document["error"]["code"] == "upstream_lost"


async def test_an_answer_that_is_no_stream_after_comments_is_one_event() -> None:
    gate = Gate()
    async with relaying(gate.before(response(b'{"a":\n1}'))) as relay:
        await wait_past_grace(relay)
        gate.opened.set()
        assert documents(await rest_of(relay)) == [(None, {"a": 1})]


async def test_a_compressed_stream_after_comments_is_an_error() -> None:
    gate = Gate()
    head = STREAM_HEAD.replace(b"\r\n", b"\r\nContent-Encoding: gzip\r\n", 1)
    async with relaying(gate.before(head + chunked(b"\x1f\x8b\x08") + STREAM_END)) as relay:
        await wait_past_grace(relay)
        gate.opened.set()
        ((_, document),) = documents(await rest_of(relay))
        assert document["error"]["code"] == "upstream_protocol_error"


# An error inside a stream


@each_dialect
@pytest.mark.parametrize("then", ["close", "reset"])
@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
async def test_an_engine_that_dies_between_events_is_an_event(
    path: str, then: str, end: bytes
) -> None:
    gate, first = Gate(), b"data: 1" + end
    async with relaying(in_pieces(STREAM_HEAD, chunked(first), then=then, gate=gate)) as relay:
        relay.client.request("POST", path, STREAM_BODY)
        assert await relay.client.chunk_after_head() == first
        gate.opened.set()
        ((name, document),) = documents(await rest_of(relay))
        assert name == ("error" if path == PATHS["anthropic"] else None)
        assert "was not finished" in document["error"]["message"]
        assert document["error"]["gglib"]["source"] == "gglib"
        assert (await relay.client.ask("GET", "/health")).status == 200


@pytest.mark.parametrize("inside", [b"data: 1", b"data: 1\n", b"data: 1\n\ndata: 2"])
async def test_an_engine_that_dies_inside_an_event_cuts_the_client(inside: bytes) -> None:
    async with relaying(in_pieces(STREAM_HEAD, chunked(inside), then="close")) as relay:
        relay.client.request("POST", PATHS["openai"], STREAM_BODY)
        assert await relay.client.chunk_after_head() == inside
        assert await relay.client.rest() == b""


async def test_an_answer_that_is_no_stream_is_cut_where_it_fails() -> None:
    partial = response(b"x" * 100)[:-50]
    async with relaying(in_pieces(partial, then="close")) as relay:
        relay.client.request("POST", PATHS["openai"], BODY)
        assert (await relay.client.head()).headers["content-length"] == "100"
        assert await relay.client.rest() == b"x" * 50


async def test_a_chunked_answer_that_is_no_stream_is_cut_without_its_last_chunk() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with relaying(in_pieces(head, chunked(b"part\n\n"), then="close")) as relay:
        relay.client.request("POST", PATHS["openai"], BODY)
        assert await relay.client.chunk_after_head() == b"part\n\n"
        assert await relay.client.rest() == b""


async def test_an_answer_that_ends_with_its_connection_is_not_ended_by_a_reset() -> None:
    gate, head = Gate(), b"HTTP/1.1 200 OK\r\n\r\npart"
    async with relaying(in_pieces(head, then="reset", gate=gate)) as relay:
        relay.client.request("POST", PATHS["openai"], BODY)
        assert await relay.client.chunk_after_head() == b"part"
        gate.opened.set()
        assert await relay.client.rest() == b""


async def test_a_stream_with_a_length_is_cut_where_it_fails() -> None:
    partial = response(event(1) * 2, headers=("Content-Type: text/event-stream",))
    async with relaying(in_pieces(partial[: -len(event(1))], then="close")) as relay:
        relay.client.request("POST", PATHS["openai"], STREAM_BODY)
        await relay.client.head()
        assert await relay.client.rest() == event(1)


@pytest.mark.parametrize("inside", [b"data: 1", b"HTTP"])
async def test_a_client_of_http_1_0_sees_a_reset_where_its_answer_is_cut(inside: bytes) -> None:
    async with relaying(in_pieces(STREAM_HEAD, chunked(inside), then="close")) as relay:
        body = json.dumps(STREAM_BODY)
        relay.client.send(
            f"POST {PATHS['openai']} HTTP/1.0\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        with pytest.raises(ConnectionResetError):
            await relay.client.rest()


async def test_a_client_of_http_1_0_gets_an_error_between_events() -> None:
    async with relaying(in_pieces(STREAM_HEAD, chunked(event(1)), then="close")) as relay:
        body = json.dumps(STREAM_BODY)
        relay.client.send(
            f"POST {PATHS['openai']} HTTP/1.0\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        await relay.client.head()
        first, (_, document) = documents(await relay.client.rest())
        assert first == (None, 1)
        assert document["error"]["code"] == "upstream_lost"


async def test_garbage_between_events_is_an_event() -> None:
    gate = Gate()

    async def garbled(peer: Peer) -> None:
        await peer.request()
        peer.send(STREAM_HEAD + chunked(event(1)))
        await gate.opened.wait()
        peer.send(b"zz\r\n")
        await peer.gone()

    async with relaying(garbled) as relay:
        relay.client.request("POST", PATHS["openai"], STREAM_BODY)
        assert await relay.client.chunk_after_head() == event(1)
        gate.opened.set()
        ((_, document),) = documents(await rest_of(relay))
        assert document["error"]["code"] == "upstream_protocol_error"
        await relay.upstream.all_closed()


async def test_a_stream_that_a_client_leaves_ends_at_the_engine() -> None:
    async with relaying(in_pieces(STREAM_HEAD, chunked(event(1)), then="silent")) as relay:
        relay.client.request("POST", PATHS["openai"], STREAM_BODY)
        assert await relay.client.chunk_after_head() == event(1)
        relay.client.writer.close()
        await relay.upstream.all_closed()


async def test_a_client_that_leaves_while_it_waits_ends_its_request() -> None:
    async with relaying(silent()) as relay:
        await wait_past_grace(relay)
        relay.client.writer.close()
        await relay.upstream.all_closed()
