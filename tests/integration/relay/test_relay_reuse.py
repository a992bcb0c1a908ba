"""Connections to an engine: kept between requests, and what happens when one had gone stale."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import pytest

from gglib_core.errors import LaunchFailed, LaunchFailure
from gglib_proxy.upstream import IDLE_SECONDS
from tests.planes import BODY, CHAT, STREAM_BODY, Relay, relaying
from tests.raw_http import Answer
from tests.upstreams import (
    Peer,
    Script,
    answering,
    event,
    playing,
    response,
    stream,
)

PATH = "/v1/chat/completions"


async def ask(relay: Relay) -> Answer:
    return await relay.client.ask("POST", PATH, BODY)


def after_one(then: Script) -> Script:
    """Answer the first request of the connection, then go on with the other script."""

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.send(response())
        await then(peer)

    return script


async def close_on_request(peer: Peer) -> None:
    await peer.request()
    peer.close()


async def reset_on_request(peer: Peer) -> None:
    await peer.request()
    peer.reset()


async def answer_in_part(peer: Peer) -> None:
    await peer.request()
    peer.send(b"HTTP/1.1 200")
    await peer.drained()
    peer.half_close()
    await peer.gone()


async def test_a_connection_is_used_again() -> None:
    async with relaying() as relay:
        for _ in range(3):
            assert (await ask(relay)).status == 200
        assert [request.connection for request in relay.upstream.requests] == [0, 0, 0]
        assert (relay.plane.pool.open_count, relay.plane.pool.idle_count) == (1, 1)


async def test_requests_at_once_have_connections_of_their_own() -> None:
    release = asyncio.Event()

    async def waiting(peer: Peer) -> None:
        while True:
            await peer.request()
            await release.wait()
            peer.send(response())

    async with relaying(waiting) as relay, relay.running.open() as other:
        for client in (relay.client, other):
            client.request("POST", PATH, BODY)
        await relay.upstream.received(2)
        release.set()
        assert (await relay.client.answer()).status == (await other.answer()).status == 200
        assert {request.connection for request in relay.upstream.requests} == {0, 1}
        await relay.running.until(lambda: relay.plane.pool.idle_count == 2)


@pytest.mark.parametrize(
    "answer",
    [
        stream(event({"n": 1})),
        response(headers=("Connection: close",)),
        response() + b"surplus",
        response().replace(b"HTTP/1.1", b"HTTP/1.0"),
    ],
    ids=["a stream", "close", "surplus bytes", "HTTP/1.0"],
)
async def test_a_connection_that_cannot_be_used_again_is_closed(answer: bytes) -> None:
    async with relaying(answering(answer)) as relay:
        for _ in range(2):
            assert (await ask(relay)).status == 200
        assert [request.connection for request in relay.upstream.requests] == [0, 1]
        await relay.upstream.all_closed()


async def test_surplus_bytes_that_come_later_close_the_connection() -> None:
    answered = asyncio.Event()

    async def surplus(peer: Peer) -> None:
        await answered.wait()
        peer.send(response(b"not asked for"))
        await peer.gone()

    async with relaying(after_one(surplus), answering()) as relay:
        assert (await ask(relay)).status == 200
        assert relay.plane.pool.idle_count == 1
        answered.set()
        await relay.upstream.all_closed()
        assert (await ask(relay)).body == b"{}"


async def test_an_idle_connection_that_the_engine_closes_leaves_the_pool() -> None:
    async with relaying(playing(response()), answering()) as relay:
        await ask(relay)
        await relay.upstream.all_closed()
        await relay.running.until(lambda: not relay.plane.pool.open_count)
        assert (await ask(relay)).status == 200


async def test_a_connection_that_idled_too_long_is_not_used() -> None:
    async with relaying() as relay:
        await ask(relay)
        (idle,) = relay.plane.pool._idle.values()
        idle[0].idle_since -= IDLE_SECONDS
        assert (await ask(relay)).status == 200
        assert [request.connection for request in relay.upstream.requests] == [0, 1]


async def test_the_sweep_closes_connections_that_idled_too_long() -> None:
    async with relaying() as relay:
        await ask(relay)
        relay.running.sweep(IDLE_SECONDS - 1)
        assert relay.plane.pool.idle_count == 1
        relay.running.sweep(IDLE_SECONDS)
        await relay.upstream.all_closed()
        assert relay.plane.pool.idle_count == 0


async def test_idle_connections_are_closed_before_their_engine_is_stopped() -> None:
    async with relaying() as relay:
        await ask(relay)
        await relay.plane.runtime.stop_current(CHAT.id)
        await relay.upstream.all_closed()
        assert relay.plane.pool.idle_count == 0
        assert not relay.plane._origins


# Replay


@pytest.mark.parametrize("fault", [close_on_request, reset_on_request])
async def test_a_request_on_a_stale_connection_is_sent_once_more(fault: Script) -> None:
    async with relaying(after_one(fault), answering(response(b"2"))) as relay:
        await ask(relay)
        assert (await ask(relay)).body == b"2"
        assert len(relay.upstream.requests) == 3
        assert relay.upstream.requests[1].body == relay.upstream.requests[2].body


async def test_it_is_sent_once_more_and_no_more() -> None:
    async with relaying(after_one(close_on_request), close_on_request) as relay:
        await ask(relay)
        answer = await ask(relay)
        assert (answer.status, answer.json["error"]["code"]) == (502, "upstream_lost")
        assert len(relay.upstream.requests) == 3


async def test_a_new_connection_that_is_closed_is_not_tried_again() -> None:
    async with relaying(close_on_request, answering()) as relay:
        answer = await ask(relay)
        assert (answer.status, answer.json["error"]["code"]) == (502, "upstream_lost")
        assert len(relay.upstream.requests) == 1


async def test_nothing_is_sent_once_more_when_an_answer_has_begun() -> None:
    async with relaying(after_one(answer_in_part), answering()) as relay:
        await ask(relay)
        answer = await ask(relay)
        assert (answer.status, answer.json["error"]["code"]) == (502, "upstream_lost")
        assert len(relay.upstream.requests) == 2


# Engines that die


def crash(relay: Relay) -> None:
    """The engine's process is found dead."""
    relay.running.ledger.runtime.crash(  # type: ignore[attr-defined]
        CHAT.id, LaunchFailed("chat", LaunchFailure.CRASHED, "signal 11")
    )


def age(relay: Relay) -> None:
    """Whatever is under way was sent a second ago."""
    for exchange in relay.plane.exchanges:
        exchange.shift(-1.0)


def dying(relay_of: Callable[[], Relay], *, is_told_late: bool, is_aged: bool = False) -> Script:
    """Read a request and die of it; the system tells of that before the connection ends, or not."""

    async def script(peer: Peer) -> None:
        await peer.request()
        if is_aged:
            age(relay_of())
        if not is_told_late:
            crash(relay_of())
        peer.close()
        if is_told_late:
            await asyncio.sleep(0.01)
            crash(relay_of())

    return script


@pytest.mark.parametrize("is_kept", [True, False])
@pytest.mark.parametrize("is_told_late", [True, False])
async def test_a_request_that_meets_an_engine_in_the_moment_of_its_death_is_asked_of_the_next(
    *, is_kept: bool, is_told_late: bool
) -> None:
    script = dying(lambda: relay, is_told_late=is_told_late)
    scripts = [after_one(script) if is_kept else script]
    if is_kept and is_told_late:  # then one more connection to the dead is tried
        scripts.append(close_on_request)
    async with relaying(*scripts, answering()) as relay:
        if is_kept:
            await ask(relay)
        assert (await ask(relay)).status == 200
        first, second = relay.upstream.requests[-2:]
        assert first.body == second.body
        assert len({lease.target.launch_id for lease in relay.running.ledger.leases}) == 2


async def test_it_is_asked_of_one_more_engine_and_no_third() -> None:
    script = dying(lambda: relay, is_told_late=False)
    async with relaying(script, script, answering()) as relay:
        answer = await ask(relay)
        assert (answer.status, answer.json["error"]["code"]) == (502, "upstream_lost")
        assert len(relay.upstream.requests) == 2


@pytest.mark.parametrize("is_kept", [True, False])
@pytest.mark.parametrize("is_told_late", [True, False])
async def test_a_request_that_ran_when_its_engine_died_is_not_sent_to_another_process(
    *, is_kept: bool, is_told_late: bool
) -> None:
    """It may be what killed it."""
    script = dying(lambda: relay, is_told_late=is_told_late, is_aged=True)
    # A connection that had been kept is tried once more, and the dead do not answer.
    scripts = [after_one(script), close_on_request] if is_kept else [script]
    async with relaying(*scripts, answering()) as relay:
        if is_kept:
            await ask(relay)
        answer = await ask(relay)
        assert (answer.status, answer.json["error"]["code"]) == (502, "upstream_lost")
        assert len({lease.target.launch_id for lease in relay.running.ledger.leases}) == 1


async def test_nothing_is_asked_of_another_engine_when_an_answer_has_begun() -> None:
    async def begin_and_die(peer: Peer) -> None:
        await answer_in_part(peer)
        crash(relay)

    async with relaying(begin_and_die, answering()) as relay:
        answer = await ask(relay)
        assert (answer.status, answer.json["error"]["code"]) == (502, "upstream_lost")
        assert len(relay.upstream.requests) == 1


async def test_a_request_that_a_dying_engine_does_not_take_is_asked_of_the_next() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with relaying() as relay:
            runtime = relay.running.ledger.runtime
            port, runtime._port = runtime._port, taken.getsockname()[1]  # type: ignore[attr-defined]
            relay.client.request("POST", PATH, BODY)
            await relay.running.until(lambda: bool(relay.running.ledger.leases))
            runtime._port = port  # type: ignore[attr-defined]
            crash(relay)
            assert (await relay.client.answer()).status == 200


async def test_a_stream_that_meets_a_dying_engine_is_asked_of_the_next() -> None:
    script = dying(lambda: relay, is_told_late=False)
    async with relaying(script, playing(stream(event(1)))) as relay:
        relay.client.request("POST", PATH, STREAM_BODY)
        assert await relay.client.chunk_after_head() == event(1)
        assert await relay.client.chunk() == b""


async def test_a_stream_is_sent_once_more_like_any_request() -> None:
    whole = stream(event({"n": 1}))
    async with relaying(after_one(close_on_request), answering(whole)) as relay:
        await ask(relay)
        answer = await relay.client.ask("POST", PATH, STREAM_BODY)
        assert answer.events == [{"n": 1}]


# The control plane


async def test_what_may_change_something_has_a_new_connection_to_the_control_plane(
    unix_upstream,
) -> None:
    async with unix_upstream(answering()) as (control, path), relaying(control_path=path) as relay:
        for method in ("GET", "POST", "GET", "DELETE"):
            assert (await relay.client.ask(method, "/v1/models")).status == 200
        connections = [request.connection for request in control.requests]
        assert connections[0] not in connections[1:2]
        assert len(set(connections)) == 3
        assert connections[2] in (connections[0], connections[1])


async def test_a_get_on_a_stale_connection_is_sent_to_the_control_plane_once_more(
    unix_upstream,
) -> None:
    scripts = (after_one(close_on_request), answering(response(b"2")))
    async with unix_upstream(*scripts) as (_, path), relaying(control_path=path) as relay:
        await relay.client.ask("GET", "/v1/models")
        assert (await relay.client.ask("GET", "/v1/models")).body == b"2"


async def test_what_is_no_get_is_never_sent_to_the_control_plane_twice(unix_upstream) -> None:
    scripts = (close_on_request, answering())
    async with unix_upstream(*scripts) as (control, path), relaying(control_path=path) as relay:
        answer = await relay.client.ask("POST", "/models/load", {})
        assert answer.status == 502
        assert len(control.requests) == 1


async def test_the_control_plane_is_told_who_asks(unix_upstream) -> None:
    async with unix_upstream(answering()) as (control, path), relaying(control_path=path) as relay:
        headers = {"X-Gglib-Peer": "forged", "Authorization": "Bearer mine", "Host": "public:80"}
        await relay.client.ask("GET", "/v1/models?a=b", headers=headers)
    received = control.requests[0]
    assert received.target == "/v1/models?a=b"
    assert (received.header("x-gglib-peer") or "").startswith("127.0.0.1:")
    assert received.header("authorization") == "Bearer mine"
    assert received.header("host") == "public:80"


async def test_requests_wait_for_the_control_plane_to_start(unix_upstream) -> None:
    async with unix_upstream(answering()) as (_, path), relaying() as relay:
        relay.client.request("GET", "/v1/models")
        await relay.running.until(lambda: len(relay.plane.control_exchanges) == 1)
        relay.plane.control_started(path)
        assert (await relay.client.answer()).status == 200


# Failures to connect


async def test_an_engine_that_refuses_connections_is_an_error() -> None:
    with socket.socket() as taken:  # and never listened on: nobody else can get it meanwhile
        taken.bind(("127.0.0.1", 0))
        async with relaying() as relay:
            relay.running.ledger.runtime._port = taken.getsockname()[1]  # type: ignore[attr-defined]
            answer = await ask(relay)
            assert (answer.status, answer.json["error"]["code"]) == (502, "upstream_unreachable")
            assert (await relay.client.ask("GET", "/health")).status == 200
