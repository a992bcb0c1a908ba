"""A client's connection: requests in order, deadlines, limits, and how it ends."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack

import pytest

from gglib_proxy.limits import Limits
from gglib_proxy.pacing import AT_ONCE, Pace
from gglib_proxy.routes import ADMIN_ROOM, WATCHING_ROOM
from tests.http1_corpus import CASES, Case
from tests.planes import BODY, STREAM_BODY, Relay, relaying
from tests.raw_http import RawConnection
from tests.upstreams import (
    STREAM_HEAD,
    Peer,
    answering,
    chunked,
    event,
    response,
    silent,
)

PATH = "/v1/chat/completions"
HEALTH = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
DATA = json.dumps(BODY).encode()
REQUEST = b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (
    PATH.encode(),
    len(DATA),
    DATA,
)
HEAD = REQUEST[: -len(DATA)]
LIMITS = Limits()


async def refused(client: RawConnection, status: int, code: str) -> None:
    """The client is told why, and its connection is closed."""
    answer = await client.answer()
    assert (answer.status, answer.json["error"]["code"]) == (status, code)
    assert answer.headers["connection"] == "close"
    assert await client.rest() == b""


# Pipelining


async def test_requests_in_a_row_are_answered_in_order() -> None:
    count = 0

    async def numbering(peer: Peer) -> None:
        nonlocal count
        while True:
            await peer.request()
            count += 1
            peer.send(response(b"%d" % count))

    async with relaying(numbering) as relay:
        relay.client.send(REQUEST + HEALTH + REQUEST + HEALTH + REQUEST)
        bodies = [(await relay.client.answer()).body for _ in range(5)]
        assert bodies == [b"1", b'{"status":"ok"}', b"2", b'{"status":"ok"}', b"3"]


async def test_a_request_waits_until_the_one_before_it_is_answered() -> None:
    async with relaying(silent()) as relay:
        relay.client.send(REQUEST + REQUEST + HEALTH)
        await relay.upstream.received()
        assert len(relay.plane.exchanges) == 1
        assert relay.plane.buffered_bytes == 2 * len(DATA)


async def test_answers_are_in_order_where_an_error_stands_between() -> None:
    async with relaying() as relay:
        relay.client.send(REQUEST + b"DELETE /health HTTP/1.1\r\nHost: a\r\n\r\n" + HEALTH)
        statuses = [(await relay.client.answer()).status for _ in range(3)]
        assert statuses == [200, 405, 200]


async def test_what_comes_behind_close_is_not_answered() -> None:
    async with relaying() as relay:
        closing = REQUEST.replace(b"Host: a", b"Host: a\r\nConnection: close")
        relay.client.send(closing + HEALTH)
        assert (await relay.client.answer()).status == 200
        assert await relay.client.rest() == b""


async def test_garbage_behind_a_request_is_refused_behind_its_answer() -> None:
    async with relaying() as relay:
        relay.client.send(REQUEST + REQUEST + b"\0\0")
        assert (await relay.client.answer()).status == 200
        assert (await relay.client.answer()).status == 200
        await refused(relay.client, 400, "malformed_request")


async def test_too_many_requests_in_a_row_are_answered_as_far_as_they_were_taken() -> None:
    gate = asyncio.Event()

    async def waiting(peer: Peer) -> None:
        while True:
            await peer.request()
            await gate.wait()
            peer.send(response())

    async with relaying(waiting, limits=Limits(max_pipelined_requests=3)) as relay:
        relay.client.send(REQUEST * 20)
        await relay.upstream.received()
        relay.client.send(REQUEST * 20)
        gate.set()
        answers = [await relay.client.answer() for _ in range(4)]
        assert [answer.headers.get("connection") for answer in answers] == [None] * 3 + ["close"]
        assert await relay.client.rest() == b""
        assert len(relay.upstream.requests) == 4


async def test_local_answers_in_a_row_need_no_room() -> None:
    async with relaying(limits=Limits(max_pipelined_requests=1)) as relay:
        relay.client.send(HEALTH * 2000)
        for _ in range(2000):
            assert (await relay.client.answer()).status == 200


async def test_a_connection_lost_with_requests_waiting_starts_none_of_them() -> None:
    async with relaying(silent()) as relay:
        transport = relay.client.writer.transport
        relay.client.send(REQUEST * 3)
        await relay.upstream.received()
        transport.abort()
        await relay.running.idle()
        assert len(relay.upstream.requests) == 1


# Expect: 100-continue


async def test_a_client_that_waits_for_it_is_told_to_go_on() -> None:
    async with relaying() as relay:
        relay.client.send(HEAD.replace(b"Host: a", b"Host: a\r\nExpect: 100-continue"))
        assert (await relay.client.head()).status == 100
        relay.client.send(DATA)
        assert (await relay.client.answer()).status == 200
        assert relay.upstream.requests[0].header("expect") is None


async def test_a_client_that_waits_behind_another_request_is_told_in_its_turn() -> None:
    gate = asyncio.Event()

    async def waiting(peer: Peer) -> None:
        await peer.request()
        await gate.wait()
        peer.send(response(b"1"))
        await peer.request()
        peer.send(response(b"2"))

    async with relaying(waiting) as relay:
        relay.client.send(REQUEST + HEAD.replace(b"Host: a", b"Host: a\r\nExpect: 100-continue"))
        await relay.upstream.received()
        gate.set()
        assert (await relay.client.answer()).body == b"1"
        assert (await relay.client.head()).status == 100
        relay.client.send(DATA)
        assert (await relay.client.answer()).body == b"2"


@pytest.mark.parametrize(
    ("head", "status", "code"),
    [
        (b"Content-Length: 101", 413, "request_too_large"),
        (b"Content-Length: 100\r\nContent-Encoding: gzip", 415, "unsupported_content_encoding"),
    ],
)
async def test_a_client_whose_body_is_refused_is_not_told_to_go_on(
    head: bytes, status: int, code: str
) -> None:
    async with relaying(limits=Limits(max_body_bytes=100)) as relay:
        relay.client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n" + head + b"\r\n\r\n"
        )
        await refused(relay.client, status, code)


async def test_nobody_is_told_to_go_on_when_too_much_is_held_already() -> None:
    async with relaying(limits=Limits(max_buffered_bytes=100)) as relay:
        relay.client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 101\r\n\r\n"
        )
        await refused(relay.client, 503, "overloaded")


# Refusals


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.status == 400], ids=lambda case: case.name
)
async def test_nothing_that_is_malformed_reaches_anybody(case: Case) -> None:
    """Whatever stands before it is answered; it is refused; the connection is closed."""
    async with relaying() as relay:
        relay.client.send(case.data)
        for _ in case.requests:
            relay.plane.control_started("/nonexistent")
            assert (await relay.client.answer()).status == 502
        await refused(relay.client, 400, "malformed_request")
        assert relay.upstream.connections == 0


async def test_a_refused_client_may_go_on_sending_and_still_reads_why() -> None:
    async with relaying(limits=Limits(max_body_bytes=1000)) as relay:
        relay.client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n")
        relay.client.send(b"x" * 5_000_000)
        answer = await relay.client.answer()
        assert answer.status == 413
        await relay.client.writer.drain()
        assert await relay.client.rest() == b""


async def test_a_refused_client_that_stays_is_cut_after_a_while() -> None:
    async with relaying() as relay:
        relay.client.send(b"\0")
        await refused(relay.client, 400, "malformed_request")
        assert len(relay.plane.connections) == 1
        relay.running.sweep(3)
        await relay.running.until(lambda: not relay.plane.connections)


# Deadlines


async def test_a_client_that_sends_nothing_is_closed() -> None:
    async with relaying() as relay:
        await relay.running.until(lambda: len(relay.plane.connections) == 1)
        relay.running.sweep(LIMITS.header_timeout_seconds - 1)
        assert len(relay.plane.connections) == 1
        relay.running.sweep(LIMITS.header_timeout_seconds)
        assert await relay.client.rest() == b""


async def test_a_client_that_does_not_finish_its_head_is_refused() -> None:
    async with relaying() as relay:
        relay.client.send(b"GET /hea")
        await relay.running.until(lambda: _reading(relay))
        relay.running.sweep(LIMITS.header_timeout_seconds)
        await refused(relay.client, 408, "request_timeout")


async def test_the_time_for_a_head_begins_with_its_first_byte() -> None:
    async with relaying() as relay:
        await relay.client.ask("GET", "/health")
        (connection,) = relay.plane.connections
        relay.client.send(b"GET /hea")
        await relay.running.until(lambda: _reading(relay))
        deadline = connection.deadline
        relay.client.send(b"lth HTTP/1.1\r\n")
        await relay.running.until(lambda: connection._reader._target == b"/health")
        assert connection.deadline == deadline
        relay.running.sweep(LIMITS.header_timeout_seconds)
        await refused(relay.client, 408, "request_timeout")


async def test_the_time_for_a_head_behind_an_answer_is_that_of_any_head() -> None:
    limits = Limits(keepalive_timeout_seconds=0)
    async with relaying(limits=limits) as relay:
        relay.client.send(HEALTH + b"GET /hea")
        assert (await relay.client.answer()).status == 200
        relay.running.sweep(LIMITS.header_timeout_seconds)
        await refused(relay.client, 408, "request_timeout")


async def test_a_client_that_pauses_in_its_body_is_refused() -> None:
    async with relaying() as relay:
        relay.client.send(HEAD + DATA[:5])
        await relay.running.until(lambda: relay.plane.buffered_bytes == 5)
        relay.running.sweep(LIMITS.body_timeout_seconds)
        await refused(relay.client, 408, "request_timeout")
        assert relay.plane.buffered_bytes == 0


async def test_a_body_that_stands_still_behind_another_request_is_refused_in_its_turn() -> None:
    async with relaying() as relay:
        relay.client.send(REQUEST + HEAD + DATA[:5])
        assert (await relay.client.answer()).status == 200
        relay.running.sweep(LIMITS.body_timeout_seconds)
        await refused(relay.client, 408, "request_timeout")


async def test_an_idle_connection_is_closed_after_a_while() -> None:
    async with relaying() as relay:
        await relay.client.ask("POST", PATH, BODY)
        relay.running.sweep(LIMITS.keepalive_timeout_seconds - 1)
        assert len(relay.plane.connections) == 1
        relay.running.sweep(LIMITS.keepalive_timeout_seconds)
        assert await relay.client.rest() == b""


async def test_no_deadline_of_a_client_holds_while_it_is_answered() -> None:
    async with relaying(silent()) as relay:
        relay.client.request("POST", PATH, BODY)
        await relay.upstream.received()
        relay.running.sweep(100_000)
        assert len(relay.plane.exchanges) == 1


async def test_limits_that_are_off_do_not_hold() -> None:
    limits = Limits(header_timeout_seconds=0, body_timeout_seconds=0, keepalive_timeout_seconds=0)
    async with relaying(limits=limits) as relay:
        await relay.running.until(lambda: len(relay.plane.connections) == 1)
        relay.running.sweep(100_000)
        relay.client.send(HEAD[:10])
        await relay.running.until(lambda: _reading(relay))
        relay.running.sweep(100_000)
        relay.client.send(HEAD[10:] + DATA[:5])
        await relay.running.until(lambda: relay.plane.buffered_bytes == 5)
        relay.running.sweep(100_000)
        relay.client.send(DATA[5:])
        assert (await relay.client.answer()).status == 200
        relay.running.sweep(100_000)
        assert (await relay.client.ask("GET", "/health")).status == 200


async def test_a_process_that_was_suspended_moves_all_deadlines() -> None:
    gap = 3600.0
    async with (
        relaying(silent(), limits=Limits(first_byte_timeout_seconds=60)) as relay,
        relay.running.open() as idle,
        relay.running.open() as halfway,
    ):
        await idle.ask("GET", "/health")
        halfway.send(HEAD + DATA[:5])
        relay.client.request("POST", PATH, STREAM_BODY)
        await relay.upstream.received()
        await relay.running.until(lambda: relay.plane.buffered_bytes > len(DATA))
        relay.plane._shift(gap)
        relay.running.sweep(gap)
        assert (len(relay.plane.connections), len(relay.plane.exchanges)) == (3, 1)
        relay.running.sweep(gap + 60)
        assert b"upstream_timeout" in (await relay.client.answer()).body
        assert (await halfway.answer()).status == 408


# Limits


async def test_bodies_that_are_being_received_count_as_held() -> None:
    async with relaying(limits=Limits(max_buffered_bytes=1000)) as relay:
        big = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        relay.client.send(big + chunked(b"x" * 700))
        await relay.running.until(lambda: relay.plane.buffered_bytes == 700)
        async with relay.running.open() as other:
            other.send(big + chunked(b"x" * 301))
            await refused(other, 503, "overloaded")
        assert relay.plane.buffered_bytes == 700
        async with relay.running.open() as other:
            other.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 301\r\n\r\n")
            await refused(other, 503, "overloaded")
        relay.client.writer.close()
        await relay.running.until(lambda: not relay.plane.buffered_bytes)


async def test_a_body_is_held_until_its_answer_begins() -> None:
    gate = asyncio.Event()

    async def waiting(peer: Peer) -> None:
        await peer.request()
        await gate.wait()
        peer.send(STREAM_HEAD)
        await peer.gone()

    async with relaying(waiting) as relay:
        relay.client.send(REQUEST)
        await relay.upstream.received()
        assert relay.plane.buffered_bytes == len(DATA)
        gate.set()
        await relay.client.head()
        assert relay.plane.buffered_bytes == 0


async def test_more_requests_than_allowed_are_refused_and_the_connection_stays() -> None:
    async with relaying(silent(), limits=Limits(max_concurrent_requests=1)) as relay:
        relay.client.request("POST", PATH, BODY)
        await relay.upstream.received()
        async with relay.running.open() as other:
            for _ in range(2):
                answer = await other.ask("POST", PATH, BODY)
                assert (answer.status, answer.json["error"]["code"]) == (503, "overloaded")
                assert int(answer.headers["retry-after"]) >= 1
            assert (await other.ask("GET", "/health")).status == 200


@pytest.mark.parametrize("path", ["/ready", "/metrics", "/v1/models", "/admin/requests"])
async def test_a_server_full_of_requests_for_models_can_be_looked_after(
    unix_upstream, path: str
) -> None:
    limits = Limits(max_concurrent_requests=1)
    async with (
        unix_upstream(answering()) as (_, control),
        relaying(silent(), limits=limits, control_path=control) as relay,
    ):
        relay.client.request("POST", PATH, BODY)
        await relay.upstream.received()
        async with relay.running.open() as other:
            assert (await other.ask("GET", path)).status == 200
            assert (await other.ask("POST", PATH, BODY)).status == 503


async def test_the_control_plane_has_room_of_its_own_and_admins_some_beyond(unix_upstream) -> None:
    limits = Limits(max_control_requests=1)
    async with (
        unix_upstream(silent(), answering()) as (_, control),
        relaying(limits=limits, control_path=control) as relay,
    ):
        relay.client.request("POST", "/models/load", {})
        await relay.running.until(lambda: len(relay.plane.control_exchanges) == 1)
        async with relay.running.open() as other:
            for path in ("/v1/models", "/", "/v1/generations"):
                answer = await other.ask("GET", path)
                assert (answer.status, answer.json["error"]["code"]) == (503, "overloaded")
            for path in ("/ready", "/metrics", "/admin/requests", "/live"):
                assert (await other.ask("GET", path)).status == 200
            assert (await other.ask("POST", PATH, BODY)).status == 200


async def test_the_control_plane_gets_a_few_requests_for_a_page_at_once(unix_upstream) -> None:
    gate = asyncio.Event()

    async def waiting(peer: Peer) -> None:
        await peer.request()
        await gate.wait()
        peer.send(response())

    async with (
        unix_upstream(waiting) as (control, path),
        relaying(control_path=path) as relay,
        AsyncExitStack() as clients,
    ):
        relay.plane.control_paces["/v1/models"] = Pace(AT_ONCE, turn_seconds=3600)
        asking: list[RawConnection] = []
        for number in range(AT_ONCE + 2):
            asking.append(await clients.enter_async_context(relay.running.open()))
            asking[-1].request("GET", "/v1/models")
            await relay.running.until(lambda: len(relay.plane.control_exchanges) > number)  # noqa: B023
        await relay.running.until(lambda: len(control.requests) == AT_ONCE)
        relay.client.request("GET", "/ready")
        await relay.running.until(lambda: len(control.requests) == AT_ONCE + 1)
        assert control.requests[-1].target == "/ready"
        asking.pop().writer.transport.abort()
        gate.set()
        for each in (relay.client, *asking):
            assert (await each.answer()).status == 200
        assert len(control.requests) == AT_ONCE + 2


async def test_a_page_that_waits_for_something_is_waited_for_by_nobody(unix_upstream) -> None:
    async with (
        unix_upstream(*[silent()] * AT_ONCE, answering()) as (_, path),
        relaying(control_path=path) as relay,
        AsyncExitStack() as clients,
    ):
        for number in range(AT_ONCE):
            client = await clients.enter_async_context(relay.running.open())
            client.request("GET", "/v1/generations")
            await relay.running.until(lambda: len(relay.plane.control_exchanges) > number)  # noqa: B023
        assert (await relay.client.ask("GET", "/v1/generations")).status == 200


async def test_the_room_for_those_who_watch_and_for_admins_ends_too(unix_upstream) -> None:
    async with (
        unix_upstream(silent()) as (_, control),
        relaying(limits=Limits(max_control_requests=1), control_path=control) as relay,
        AsyncExitStack() as clients,
    ):
        under_way = relay.plane.control_exchanges
        for path, most in (("/", 1), ("/ready", 1 + WATCHING_ROOM), ("/admin/x", 1 + ADMIN_ROOM)):
            while len(under_way) < most:
                before = len(under_way)
                client = await clients.enter_async_context(relay.running.open())
                client.request("GET", path)
                await relay.running.until(lambda: len(under_way) == before + 1)  # noqa: B023
            assert (await relay.client.ask("GET", path)).status == 503


# The end


async def test_a_client_that_half_closes_has_left() -> None:
    async with relaying(silent()) as relay:
        relay.client.request("POST", PATH, BODY)
        await relay.upstream.received()
        relay.client.writer.write_eof()
        await relay.upstream.all_closed()
        assert await relay.client.rest() == b""


async def test_a_client_that_leaves_in_the_middle_of_a_request_leaves_nothing() -> None:
    async with relaying() as relay:
        for data in (b"G", HEAD, HEAD + DATA[:5], REQUEST + HEAD):
            async with relay.running.open() as other:
                other.send(data)
                await other.writer.drain()
        await relay.running.idle()


async def test_draining_closes_idle_connections_and_ends_others_after_their_answer() -> None:
    gate = asyncio.Event()

    async def waiting(peer: Peer) -> None:
        await peer.request()
        peer.send(STREAM_HEAD + chunked(event(1)))
        await gate.wait()
        peer.send(chunked(event(2)) + b"0\r\n\r\n")
        await peer.gone()

    async with relaying(waiting) as relay, relay.running.open() as idle:
        await idle.ask("GET", "/health")
        relay.client.request("POST", PATH, STREAM_BODY)
        assert await relay.client.chunk_after_head() == event(1)
        relay.plane.drain()
        assert await idle.rest() == b""
        gate.set()
        assert await relay.client.chunk() == event(2)
        assert await relay.client.chunk() == b""
        assert await relay.client.rest() == b""


async def test_answers_that_begin_while_draining_say_that_the_connection_closes() -> None:
    gate = asyncio.Event()

    async def waiting(peer: Peer) -> None:
        await peer.request()
        await gate.wait()
        peer.send(response())
        await peer.gone()

    async with relaying(waiting) as relay:
        relay.client.request("POST", PATH, BODY)
        await relay.upstream.received()
        relay.plane.drain()
        gate.set()
        answer = await relay.client.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert await relay.client.rest() == b""


async def test_a_connection_that_comes_while_draining_is_closed() -> None:
    async with relaying() as relay:
        relay.plane.drain()
        async with relay.running.open() as late:
            assert await late.rest() == b""


def _reading(relay: Relay) -> bool:
    """Whether a request has begun and is not complete."""
    return any(not each._reader.is_between_requests for each in relay.plane.connections)


async def test_an_answer_to_a_request_that_was_wrong_leaves_the_connection_open() -> None:
    async with relaying(answering()) as relay:
        for path, body, status in (
            ("/v1/embeddings", BODY, 400),
            (PATH, b"{", 400),
            (PATH, {"model": "nobody"}, 404),
            ("/props?model=chat", None, 405),
            (PATH, BODY, 200),
        ):
            assert (await relay.client.ask("POST", path, body)).status == status
