"""A request that offers another protocol is answered in HTTP/1.1, and nothing else gets through."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.http1_corpus import UPGRADE
from tests.planes import BODY, CHAT, relaying
from tests.raw_http import RawConnection
from tests.upstreams import Peer, answering, chunked, response

PATH = "/v1/chat/completions"
DATA = json.dumps(BODY).encode()
OFFERS = {
    "h2c, as Java's HttpClient sends it": UPGRADE,
    "websocket": (
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    ),
    "TLS": ("Connection: upgrade, keep-alive", "Upgrade: TLS/1.0, HTTP/1.1"),
    "in capitals": ("CONNECTION: UPGRADE", "UPGRADE: H2C"),
    "without Connection": ("Upgrade: h2c",),
}
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
each_offer = pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS.keys())


def post(offer: tuple[str, ...], body: bytes = DATA, framing: str | None = None) -> bytes:
    lines = (
        f"POST {PATH} HTTP/1.1",
        "Host: a",
        *offer,
        framing or f"Content-Length: {len(body)}",
        "Content-Type: application/json",
    )
    return "\r\n".join((*lines, "", "")).encode() + body


async def send_in_pieces(client: RawConnection, data: bytes, size: int) -> None:
    for start in range(0, len(data), size):
        client.send(data[start : start + size])
        await asyncio.sleep(0)


@each_offer
@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_the_offer_is_ignored_and_the_body_is_the_requests(
    offer: tuple[str, ...], size: int
) -> None:
    async with relaying() as relay:
        await send_in_pieces(relay.client, post(offer) * 2, size)
        for _ in range(2):
            answer = await relay.client.answer()
            assert (answer.status, answer.body) == (200, b"{}")
            assert "upgrade" not in answer.headers
        assert [request.body for request in relay.upstream.requests] == [DATA, DATA]


@each_offer
async def test_the_offer_goes_no_further(offer: tuple[str, ...], unix_upstream) -> None:
    async with unix_upstream(answering()) as (control, path), relaying(control_path=path) as relay:
        relay.client.send(post(offer) + post(offer).replace(PATH.encode(), b"/models/load"))
        for _ in range(2):
            assert (await relay.client.answer()).status == 200
        for received in (*relay.upstream.requests, *control.requests):
            assert received.names.isdisjoint({"upgrade", "http2-settings", "connection"})


async def test_a_chunked_body_is_the_requests_too() -> None:
    body = chunked(DATA[:10]) + chunked(DATA[10:]) + b"0\r\n\r\n"
    async with relaying() as relay:
        relay.client.send(post(UPGRADE, body, "Transfer-Encoding: chunked") * 2)
        for _ in range(2):
            assert (await relay.client.answer()).status == 200
        assert [request.body for request in relay.upstream.requests] == [DATA, DATA]


@each_offer
async def test_a_request_inside_a_body_is_no_request(offer: tuple[str, ...]) -> None:
    smuggled = b"POST /models/unload HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
    async with relaying() as relay:
        relay.client.send(post(offer, smuggled))
        answer = await relay.client.answer()
        assert (answer.status, answer.json["error"]["code"]) == (400, "invalid_request")
        assert (await relay.client.ask("GET", "/health")).status == 200
        assert not relay.plane.control_exchanges


@each_offer
async def test_the_other_protocol_is_not_understood(offer: tuple[str, ...]) -> None:
    """Neither with nor without an answer of ours before it; and it reaches nobody."""
    async with relaying() as relay:
        relay.client.send(post(offer) + PREFACE + b"\0\0\0\4\0\0\0\0\0")
        assert (await relay.client.answer()).status == 200
        answer = await relay.client.answer()
        assert 400 <= answer.status < 600
        assert await relay.client.rest() == b""
        assert len(relay.upstream.requests) == 1


async def test_prior_knowledge_does_not_help() -> None:
    async with relaying() as relay:
        relay.client.send(PREFACE)
        assert 400 <= (await relay.client.answer()).status < 600
        assert relay.upstream.connections == 0


async def test_a_tunnel_is_refused() -> None:
    async with relaying() as relay:
        port = relay.upstream.port
        target = f"127.0.0.1:{port}"
        relay.client.send(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode() + DATA)
        answer = await relay.client.answer()
        assert (answer.status, answer.json["error"]["code"]) == (501, "method_not_implemented")
        assert await relay.client.rest() == b""
        assert relay.upstream.connections == 0


async def test_an_engine_that_switches_all_the_same_is_cut() -> None:
    switching = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"

    async def tunnel(peer: Peer) -> None:
        await peer.request()
        peer.send(switching + b"\0\0\0\4\0\0\0\0\0")
        await peer.gone()

    async with relaying(tunnel, answering(response(b"2"))) as relay:
        relay.client.send(post(UPGRADE))
        answer = await relay.client.answer()
        assert (answer.status, answer.json["error"]["code"]) == (502, "upstream_protocol_error")
        await relay.upstream.all_closed()
        assert (await relay.client.ask("POST", PATH, BODY)).body == b"2"


async def test_a_client_that_waits_for_100_gets_it_and_not_101() -> None:
    async with relaying() as relay:
        head = post((*UPGRADE, "Expect: 100-continue"))
        relay.client.send(head[: -len(DATA)])
        assert (await relay.client.head()).status == 100
        relay.client.send(DATA)
        assert (await relay.client.answer()).status == 200
        assert relay.running.ledger.leases[0].target.model_id == CHAT.id
