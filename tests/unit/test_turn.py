"""Writes of one turn of the event loop that are made at its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from gglib_proxy.limits import Limits
from gglib_proxy.turn import CROWD, Turn, TurnTransport
from tests.memory_network import MemoryNetwork


class FakeTransport(asyncio.Transport):
    """Writes down what is asked of it, in a list that it may share with others."""

    def __init__(self, calls: list[tuple[Any, ...]], name: str = "a") -> None:
        super().__init__({"peername": "somebody"})
        self._calls = calls
        self._name = name
        self.is_gone = False
        self.error: Exception | None = None

    def write(self, data: Any) -> None:
        if self.error is not None:
            raise self.error
        self._calls.append((self._name, bytes(data)))

    def writelines(self, list_of_data: Any) -> None:
        self._calls.append((self._name, *list_of_data))

    def write_eof(self) -> None:
        self._calls.append((self._name, "eof"))

    def can_write_eof(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        self._calls.append((self._name, "size"))
        return 7

    def is_closing(self) -> bool:
        return self.is_gone

    def close(self) -> None:
        self._calls.append((self._name, "close"))

    def abort(self) -> None:
        self._calls.append((self._name, "abort"))

    def pause_reading(self) -> None:
        self._calls.append((self._name, "pause"))

    def resume_reading(self) -> None:
        self._calls.append((self._name, "resume"))


class Stage:
    """Two connections that share the turns of one loop."""

    def __init__(self, crowd: int) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.crowd = list(range(crowd))
        self.turn = Turn(asyncio.get_running_loop(), self.crowd)
        self.below = FakeTransport(self.calls)
        self.a = TurnTransport(self.below, self.turn)
        self.b = TurnTransport(FakeTransport(self.calls, "b"), self.turn)


async def test_where_few_requests_are_under_way_each_write_is_made_at_once() -> None:
    stage = Stage(CROWD - 1)
    stage.a.write(b"1")
    assert stage.calls == [("a", b"1")]


async def test_where_many_are_writes_come_in_a_row_when_the_turn_ends() -> None:
    stage = Stage(CROWD)
    stage.b.write(b"1")
    stage.a.write(b"2")
    assert stage.calls == []
    await asyncio.sleep(0)
    assert stage.calls == [("b", b"1"), ("a", b"2")]
    stage.b.write(b"3")
    assert len(stage.calls) == 2
    await asyncio.sleep(0)
    assert stage.calls[2:] == [("b", b"3")]


async def test_a_second_piece_is_not_kept_but_written_behind_the_first() -> None:
    stage = Stage(CROWD)
    stage.a.write(b"1")
    stage.a.write(b"2")
    assert stage.calls == [("a", b"1"), ("a", b"2")]
    await asyncio.sleep(0)
    assert len(stage.calls) == 2


async def test_a_piece_comes_behind_what_was_kept_when_the_crowd_has_gone_meanwhile() -> None:
    stage = Stage(CROWD)
    stage.a.write(b"1")
    stage.crowd.clear()
    stage.a.write(b"2")
    assert stage.calls == [("a", b"1"), ("a", b"2")]


@pytest.mark.parametrize(
    ("ask", "expected"),
    [
        (lambda transport: transport.close(), ("a", "close")),
        (lambda transport: transport.abort(), ("a", "abort")),
        (lambda transport: transport.write_eof(), ("a", "eof")),
        (lambda transport: transport.writelines([b"2", b"3"]), ("a", b"2", b"3")),
        (lambda transport: transport.get_write_buffer_size(), ("a", "size")),
    ],
    ids=["close", "abort", "eof", "lines", "size"],
)
async def test_what_is_asked_of_it_later_happens_behind_what_was_written(
    ask: Callable[[TurnTransport], object], expected: tuple[Any, ...]
) -> None:
    stage = Stage(CROWD)
    stage.a.write(b"1")
    ask(stage.a)
    assert stage.calls == [("a", b"1"), expected]
    await asyncio.sleep(0)
    assert len(stage.calls) == 2


async def test_nothing_is_written_to_who_has_gone_before_the_turn_ended() -> None:
    stage = Stage(CROWD)
    stage.a.write(b"1")
    stage.below.is_gone = True
    await asyncio.sleep(0)
    assert stage.calls == []
    assert stage.a.is_closing()


async def test_a_write_that_fails_ends_its_own_connection_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage = Stage(CROWD)
    stage.below.error = ValueError("of no use")
    stage.a.write(b"1")
    stage.b.write(b"2")
    await asyncio.sleep(0)
    assert stage.calls == [("a", "abort"), ("b", b"2")]
    assert "of no use" in caplog.text


async def test_who_asks_and_ends_in_one_turn_is_answered() -> None:
    network = MemoryNetwork(Limits(), is_crowded=True)
    network.transport.receive(b"GET /live HTTP/1.1\r\nHost: gglib\r\n\r\n")
    network.transport.receive_end()
    await network.turn(2)
    assert network.transport.written.startswith(b"HTTP/1.1 200 OK")
    assert network.transport.is_lost
    await network.aclose()


async def test_all_else_is_the_transports_own() -> None:
    stage = Stage(CROWD)
    stage.a.pause_reading()
    stage.a.resume_reading()
    assert stage.calls == [("a", "pause"), ("a", "resume")]
    assert stage.a.can_write_eof()
    assert stage.a.get_write_buffer_size() == 7
    assert stage.a.get_extra_info("peername") == "somebody"
    assert stage.a.get_extra_info("nothing", 5) == 5
