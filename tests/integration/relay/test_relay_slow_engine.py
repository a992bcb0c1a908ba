"""An engine that does not keep up: it reads late, or answers byte by byte; others go on."""

from __future__ import annotations

import asyncio
import json

from gglib_proxy.limits import Limits
from tests.planes import BODY, STREAM_BODY, relaying
from tests.upstreams import STREAM_END, STREAM_HEAD, Peer, answering, chunked, event, response

PATH = "/v1/chat/completions"
LARGE = json.dumps(BODY | {"padding": "x" * 20_000_000}).encode()


async def test_an_engine_that_reads_late_gets_the_whole_body() -> None:
    reads = asyncio.Event()

    async def late(peer: Peer) -> None:
        await reads.wait()
        received = await peer.request()
        peer.send(response(b"%d" % len(received.body)))
        await peer.gone()

    async with relaying(late, answering()) as relay, relay.running.open() as other:
        relay.client.request("POST", PATH, LARGE)
        await relay.running.until(lambda: relay.upstream.connections == 1)
        for _ in range(3):
            assert (await other.ask("POST", PATH, BODY)).status == 200
        assert relay.plane.buffered_bytes == len(LARGE)
        reads.set()
        assert int((await relay.client.answer()).body) == len(LARGE)
        assert relay.plane.buffered_bytes == 0


async def test_what_a_client_sends_meanwhile_is_bounded() -> None:
    """Requests behind the one that its engine does not read count as held, and are refused."""

    async def never(peer: Peer) -> None:
        await peer.head()
        await peer._upstream.until(lambda: not relay.plane.exchanges)

    limits = Limits(max_buffered_bytes=len(LARGE) + 1_000_000)
    async with relaying(never, limits=limits) as relay, relay.running.open() as other:
        relay.client.request("POST", PATH, LARGE)
        await relay.running.until(lambda: relay.upstream.connections == 1)
        for client in (relay.client, other):
            client.send(b"POST %b HTTP/1.1\r\nHost: a\r\n" % PATH.encode())
            client.send(b"Content-Length: 2000000\r\n\r\n")
        assert (await other.answer()).status == 503
        assert relay.plane.buffered_bytes == len(LARGE)
        relay.client.writer.transport.abort()
        await relay.running.idle()
        async with relay.upstream._changed:
            relay.upstream._changed.notify_all()


async def test_an_answer_that_comes_byte_by_byte_is_passed_on_as_it_comes() -> None:
    answer = STREAM_HEAD + chunked(event(1)) + STREAM_END
    step = asyncio.Event()

    async def dripping(peer: Peer) -> None:
        await peer.request()
        for byte in answer[:-1]:
            peer.send(bytes([byte]))
            await peer.drained()
            await asyncio.sleep(0)
        await step.wait()
        peer.send(answer[-1:])
        await peer.gone()

    async with relaying(dripping) as relay:
        relay.client.request("POST", PATH, STREAM_BODY)
        data = await relay.client.chunk_after_head()
        while len(data) < len(event(1)):
            data += await relay.client.chunk()
        step.set()
        while piece := await relay.client.chunk():
            data += piece
        assert data.startswith(event(1))
