"""Clients that drip, and engines that answer before they have read.

Time does not pass here: the sweep is told of a moment at which it would have.
"""

from __future__ import annotations

import asyncio
import json

from gglib_proxy.limits import Limits
from tests.planes import BODY, Relay, relaying
from tests.upstreams import Peer, response

LIMITS = Limits(header_timeout_seconds=10, body_timeout_seconds=10, keepalive_timeout_seconds=10)
DATA = json.dumps(BODY).encode()
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(DATA)


async def dripped(relay: Relay, data: bytes) -> None:
    """Send bytes one by one, each of them read before the next is sent."""
    (connection,) = relay.plane.connections
    for byte in data:
        before = connection._reader._overhead_bytes + connection._reader.partial_body_bytes
        relay.client.send(bytes([byte]))
        await relay.running.until(
            lambda before=before: (
                connection._reader._overhead_bytes + connection._reader.partial_body_bytes != before
            )
        )


async def refused(relay: Relay) -> None:
    answer = await relay.client.answer()
    assert (answer.status, answer.json["error"]["code"]) == (408, "request_timeout")
    assert await relay.client.rest() == b""
    assert relay.upstream.connections == 0


async def test_a_head_that_drips_has_no_more_time_than_any_head() -> None:
    async with relaying(limits=LIMITS) as relay:
        await relay.running.until(lambda: bool(len(relay.plane.connections)))
        await dripped(relay, HEAD[:20])
        relay.running.sweep(9)
        await dripped(relay, HEAD[20:30])
        assert len(relay.plane.connections) == 1
        relay.running.sweep(11)
        await refused(relay)


async def test_a_body_that_stands_still_is_given_up_and_one_that_goes_on_is_not() -> None:
    async with relaying(limits=LIMITS) as relay:
        await relay.running.until(lambda: bool(len(relay.plane.connections)))
        relay.client.send(HEAD)
        (connection,) = relay.plane.connections
        await relay.running.until(lambda: not connection._reader.is_in_head)
        for byte in DATA[:5]:
            deadline = connection.deadline
            await dripped(relay, bytes([byte]))
            assert connection.deadline > deadline
        relay.running.sweep(11)
        await refused(relay)


async def test_empty_lines_do_not_keep_a_connection_open() -> None:
    async with relaying(limits=LIMITS) as relay:
        await relay.running.until(lambda: bool(len(relay.plane.connections)))
        relay.client.send(b"\r\n" * 50_000)
        relay.running.sweep(9)
        relay.client.send(b"\r\n")
        relay.running.sweep(11)
        await relay.running.until(lambda: not len(relay.plane.connections))


async def test_an_engine_may_answer_before_it_has_read_the_request() -> None:
    """The client gets that answer; the connection, on which a body is left over, is closed."""

    async def script(peer: Peer) -> None:
        await peer.head()
        peer.send(response(b'{"early":true}', status="400 Bad Request"))
        await asyncio.Event().wait()

    body = json.dumps({**BODY, "filler": "x" * 20_000_000}).encode()
    async with relaying(script) as relay:
        answer = await relay.client.ask("POST", "/v1/chat/completions", body)
        assert (answer.status, answer.json) == (400, {"early": True})
        await relay.running.until(lambda: not relay.plane.pool.open_count)
