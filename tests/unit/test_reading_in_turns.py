"""A large body is read piece by piece, with turns for others between the pieces."""

from __future__ import annotations

import asyncio
import json
import math

from gglib_proxy.client import ClientConnection
from gglib_proxy.http1.requests import RequestReader
from gglib_proxy.limits import Limits
from gglib_proxy.tls import TlsConnection
from tests.certificates import server_context
from tests.memory_network import MemoryNetwork
from tests.tls_peers import FakeTransport, MemoryTlsClient
from tests.unit.test_http1_requests import Sink

BODY = json.dumps({"model": "chat", "x": "y" * 1_000_000}).encode()
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(BODY)
PIECE = 1 << 18


def turns(*pieces: bytes) -> int:
    sink = Sink()
    limits = Limits()
    reader = RequestReader(
        sink,
        max_header_bytes=limits.max_header_bytes,
        max_header_count=limits.max_header_count,
        max_body_bytes=limits.max_body_bytes,
    )
    for piece in pieces:
        reader.feed(piece)
    assert [bytes(each.body) for each in sink.requests] == [BODY]
    return sink.turns


def in_pieces(size: int) -> list[bytes]:
    return [BODY[at : at + size] for at in range(0, len(BODY), size)]


def test_a_turn_is_a_quarter_of_a_megabyte_in_whatever_pieces_it_comes() -> None:
    for size in (1000, 10_000, 65_536):
        assert turns(HEAD, *in_pieces(size)) == len(BODY) // PIECE
    assert turns(HEAD + BODY) == 0


def test_chunks_are_read_in_turns_too() -> None:
    head = HEAD.replace(b"Content-Length: %d" % len(BODY), b"Transfer-Encoding: chunked")
    chunks = [b"%x\r\n%b\r\n" % (len(each), each) for each in in_pieces(300_000)]
    assert turns(head, *chunks, b"0\r\n\r\n") == len(BODY) // PIECE


def test_what_is_held_to_check_a_body_counts_as_held() -> None:
    body = json.dumps({"model": "chat", "x": [{"a": "b"}] * 300_000}).encode()

    async def play() -> None:
        network = MemoryNetwork(Limits())
        network.transport.receive(HEAD.replace(b"%d" % len(BODY), b"%d" % len(body)))
        held: list[int] = []
        for at in range(0, len(body) - PIECE, PIECE):
            network.transport.receive(body[at : at + PIECE])
            held.append(network.plane.buffered_bytes - at - PIECE)
            await network.turn()
        assert held[0] == 0
        assert PIECE < held[1] < max(held) < 5 * PIECE
        assert held[-1] == 0  # an outline that would be as long as the body is given up
        network.transport.lose(None)
        await network.turn(3)
        await network.aclose()
        assert (network.plane.buffered_bytes, network.bugs) == (0, [])

    asyncio.run(play())


def test_no_more_is_read_until_others_had_their_turn() -> None:
    async def play() -> None:
        network = MemoryNetwork(Limits())
        network.transport.receive(HEAD + BODY[:1000])
        assert network.transport.is_reading
        for at in range(1000, len(BODY), PIECE):
            network.transport.receive(BODY[at : at + PIECE])
            assert network.transport.is_reading is (at + PIECE > len(BODY))
            await network.turn()
            assert network.transport.is_reading
        assert network.is_waiting
        network.transport.lose(None)
        await network.turn(3)
        await network.aclose()
        assert (network.plane.buffered_bytes, network.bugs) == (0, [])

    asyncio.run(play())


def test_a_connection_that_has_ended_by_its_turn_is_read_no_more() -> None:
    async def play(*, is_lost: bool) -> None:
        network = MemoryNetwork(Limits())
        network.transport.receive(HEAD + BODY[:1000])
        network.transport.receive(BODY[1000 : 1000 + PIECE])
        assert not network.transport.is_reading
        if is_lost:
            network.transport.lose(ConnectionResetError())
        else:
            network.client.close_after_writing()
        await network.turn(3)
        assert not network.transport.is_reading
        await network.aclose()
        assert (network.plane.buffered_bytes, network.bugs) == (0, [])

    asyncio.run(play(is_lost=True))
    asyncio.run(play(is_lost=False))


def test_who_is_refused_in_a_pause_is_read_on_over_tls_too() -> None:
    async def play() -> None:
        network = MemoryNetwork(Limits(max_body_bytes=PIECE + 10_000))
        client, below = MemoryTlsClient(), FakeTransport()
        connection = TlsConnection(
            server_context(),
            ClientConnection(network.plane),
            handshakes=network.plane.handshakes,
            deadline=math.inf,
        )
        connection.connection_made(below)
        while data := client.shake_hands():
            connection.data_received(data)
            client.feed(below.take())
        head = HEAD.replace(b"Content-Length: %d" % len(BODY), b"Transfer-Encoding: chunked")
        chunks = [b"%x\r\n%b\r\n" % (len(each), each) for each in in_pieces(1000)]
        connection.data_received(client.encrypt(head + b"".join(chunks)))
        assert below.is_reading_paused
        await network.turn()
        assert not below.is_reading_paused
        client.feed(below.take())
        assert client.decrypt().startswith(b"HTTP/1.1 413 ")
        connection.connection_lost(None)
        network.transport.lose(None)
        await network.aclose()
        assert (network.plane.buffered_bytes, network.bugs) == (0, [])

    asyncio.run(play())
