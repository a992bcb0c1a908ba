"""TLS between a transport and a protocol, in memory."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gglib_proxy.members import Members
from gglib_proxy.tls import TlsConnection
from tests.certificates import server_context
from tests.tls_peers import FakeApp, FakeTransport, MemoryTlsClient

DEADLINE = 10.0


class Talk:
    """A connection, what is below and above it, and its client."""

    def __init__(self) -> None:
        self.handshakes: Members[TlsConnection] = Members()
        self.app = FakeApp()
        self.lost = 0
        self.below = FakeTransport()
        self.client = MemoryTlsClient()
        self.connection = TlsConnection(
            server_context(),
            self.app,
            handshakes=self.handshakes,
            deadline=DEADLINE,
            on_lost=self._count_lost,
        )
        self.connection.connection_made(self.below)

    def _count_lost(self) -> None:
        self.lost += 1

    def exchange(self) -> None:
        """Let the handshake end."""
        while data := self.client.shake_hands():
            self.connection.data_received(data)
            self.client.feed(self.below.take())

    def read(self) -> bytes:
        """What the client can read now."""
        self.client.feed(self.below.take())
        return self.client.decrypt()


def talking() -> Talk:
    """After the handshake."""
    talk = Talk()
    talk.exchange()
    assert talk.app.heard == ["made"]
    return talk


def test_the_protocol_hears_of_a_connection_when_the_handshake_is_done() -> None:
    talk = Talk()
    hello = talk.client.shake_hands()
    talk.connection.data_received(hello[:-1])
    assert talk.app.heard == []
    assert list(talk.handshakes) == [talk.connection]
    talk.connection.data_received(hello[-1:])
    talk.client.feed(talk.below.take())
    talk.connection.data_received(talk.client.shake_hands())
    assert talk.app.heard == ["made"]
    assert len(talk.handshakes) == 0
    assert talk.app.transport is talk.connection


def test_data_travels_in_both_directions() -> None:
    talk = talking()
    talk.connection.data_received(talk.client.encrypt(b"hello"))
    assert talk.app.received == b"hello"
    talk.connection.write(b"world")
    assert talk.read() == b"world"


def test_data_that_comes_with_the_end_of_the_handshake_is_not_lost() -> None:
    talk = Talk()
    talk.connection.data_received(talk.client.shake_hands())
    talk.client.feed(talk.below.take())
    last = talk.client.shake_hands()
    talk.connection.data_received(last + talk.client.encrypt(b"at once"))
    assert (talk.app.heard, bytes(talk.app.received)) == (["made"], b"at once")


@given(st.lists(st.integers(min_value=1, max_value=3000), max_size=12), st.integers(0, 40_000))
def test_how_the_bytes_are_split_changes_nothing(cuts: list[int], size: int) -> None:
    talk = talking()
    message = bytes(range(256)) * (size // 256 + 1)
    data = talk.client.encrypt(message)
    for cut in cuts:
        if data[:cut]:
            talk.connection.data_received(data[:cut])
        data = data[cut:]
    if data:
        talk.connection.data_received(data)
    assert bytes(talk.app.received) == message


def test_a_large_write_arrives_whole_and_at_once() -> None:
    talk = talking()
    message = bytes(range(256)) * 4096
    talk.connection.write(memoryview(message))
    assert talk.read() == message


def test_all_that_leaves_is_accounted_for() -> None:
    talk = Talk()
    left = 0
    while data := talk.client.shake_hands():
        talk.connection.data_received(data)
        sent = talk.below.take()
        left += len(sent)
        talk.client.feed(sent)
    written = 0
    for size in (1, 100, 50_000):
        talk.connection.write(bytes(size))
        written += size
        left += len(talk.below.take())
        assert written + talk.connection.get_extra_info("added_bytes") == left


def test_what_waits_below_waits_here() -> None:
    talk = talking()
    talk.below.waiting_bytes = 77
    assert talk.connection.get_write_buffer_size() == 77
    talk.connection.pause_writing()
    talk.connection.resume_writing()
    assert talk.app.heard == ["made", "pause", "resume"]


def test_reading_is_paused_below_and_not_resumed_where_that_is_closing() -> None:
    talk = talking()
    talk.connection.pause_reading()
    assert talk.below.is_reading_paused
    talk.connection.resume_reading()
    assert not talk.below.is_reading_paused
    talk.connection.pause_reading()
    talk.connection.abort()
    talk.connection.resume_reading()
    assert talk.below.is_reading_paused
    talk.connection.connection_lost(None)
    talk.connection.pause_reading()
    talk.connection.resume_reading()


def test_a_connection_that_has_ended_its_own_direction_alone_is_not_closing() -> None:
    talk = talking()
    assert not talk.connection.is_closing()
    talk.connection.write_eof()
    assert not talk.connection.is_closing()
    talk.connection.close()
    assert talk.connection.is_closing()
    talk.connection.connection_lost(None)
    assert talk.connection.is_closing()


def test_facts_of_the_transport_below_are_passed_on() -> None:
    talk = talking()
    assert talk.connection.get_extra_info("peername") == ("192.0.2.7", 4711)
    assert talk.connection.get_extra_info("nothing", 5) == 5
    assert isinstance(talk.connection.get_extra_info("ssl_object"), ssl.SSLObject)


def test_the_clients_goodbye_is_eof_and_is_answered() -> None:
    talk = talking()
    data = talk.client.encrypt(b"last words") + talk.client.goodbye()
    talk.connection.data_received(data)
    assert bytes(talk.app.received) == b"last words"
    assert talk.app.heard == ["made", "eof"]
    with pytest.raises(ssl.SSLZeroReturnError):
        talk.read()
    assert talk.below.is_closed


def test_the_end_of_the_stream_is_eof_without_a_goodbye_too() -> None:
    talk = talking()
    assert not talk.connection.eof_received()
    assert talk.app.heard == ["made", "eof"]


def test_closing_says_goodbye_after_what_was_written() -> None:
    talk = talking()
    talk.connection.write(b"bye")
    talk.connection.close()
    assert talk.read() == b"bye"
    with pytest.raises(ssl.SSLZeroReturnError):
        talk.read()
    assert talk.below.is_closed
    talk.connection.write(b"too late")
    talk.connection.close()
    assert talk.below.take() == b""


def test_one_direction_can_be_ended() -> None:
    talk = talking()
    assert talk.connection.can_write_eof()
    talk.connection.write(b"go away")
    talk.connection.write_eof()
    assert talk.read() == b"go away"
    with pytest.raises(ssl.SSLZeroReturnError):
        talk.read()
    assert (talk.below.is_eof_written, talk.below.is_closed) == (True, False)
    talk.connection.data_received(talk.client.encrypt(b"still sending"))
    assert not talk.app.received
    talk.connection.eof_received()
    assert talk.app.heard == ["made", "eof"]


def test_aborting_says_nothing() -> None:
    talk = talking()
    talk.connection.abort()
    assert (talk.below.is_aborted, talk.below.take()) == (True, b"")


def test_the_loss_is_told_once_to_both() -> None:
    talk = talking()
    talk.connection.connection_lost(None)
    talk.connection.write(b"nothing")
    talk.connection.close()
    talk.connection.abort()
    assert (talk.app.heard, talk.lost) == (["made", "lost"], 1)


def test_a_loss_within_the_handshake_is_not_the_protocols_affair() -> None:
    talk = Talk()
    talk.connection.data_received(talk.client.shake_hands())
    talk.connection.pause_writing()
    talk.connection.resume_writing()
    talk.connection.eof_received()
    talk.connection.connection_lost(ConnectionResetError())
    assert (talk.app.heard, talk.lost, len(talk.handshakes)) == ([], 1, 0)


def test_a_handshake_has_a_deadline() -> None:
    talk = Talk()
    talk.connection.sweep(DEADLINE - 0.1)
    assert not talk.below.is_aborted
    talk.connection.shift(5)
    talk.connection.sweep(DEADLINE + 4.9)
    assert not talk.below.is_aborted
    talk.connection.sweep(DEADLINE + 5)
    assert talk.below.is_aborted


def test_http_without_tls_is_told_so_in_its_own_words() -> None:
    talk = Talk()
    talk.connection.data_received(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    head, _, body = talk.below.take().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b'"code":"https_required"' in body
    assert talk.below.is_eof_written
    talk.connection.data_received(b"more")
    assert talk.below.take() == b""
    assert talk.app.heard == []


@pytest.mark.parametrize("data", [bytes(64), b"SSH-2.0-OpenSSH_9\r\n", b"\x16\x03\x01\xff\xff" * 9])
def test_garbage_ends_the_handshake(data: bytes) -> None:
    talk = Talk()
    talk.connection.data_received(data)
    assert talk.below.is_eof_written
    assert talk.app.heard == []
    assert not talk.below.take().startswith(b"HTTP")


def test_a_damaged_record_ends_the_connection() -> None:
    talk = talking()
    data = bytearray(talk.client.encrypt(b"first")) + talk.client.encrypt(b"second")
    data[-1] ^= 1
    talk.connection.data_received(bytes(data))
    assert bytes(talk.app.received) == b"first"
    assert talk.app.heard == ["made", "eof"]
    assert talk.below.is_closed
    with pytest.raises(ssl.SSLError, match="BAD_RECORD_MAC"):
        talk.read()
