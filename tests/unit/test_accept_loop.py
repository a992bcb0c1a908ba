"""Accepting goes on: many at a time, past those that have gone, and after files had run out."""

from __future__ import annotations

import asyncio
import errno
import os
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from gglib_proxy.accept_loop import AcceptLoop

Accepted = tuple["FakeSocket", tuple[str, int]]


class FakeSocket:
    """An accepted connection, or a listener that gives what it was told to."""

    def __init__(self, *results: Accepted | OSError) -> None:
        self.results = deque(results)
        self.is_closed = False

    def accept(self) -> Accepted:
        result = self.results.popleft() if self.results else BlockingIOError()
        if isinstance(result, OSError):
            raise result
        return result

    def fileno(self) -> int:
        return -1 if self.is_closed else 7

    def close(self) -> None:
        self.is_closed = True


class FakeLoop:
    """Has a reader and timers, which the test calls."""

    def __init__(self) -> None:
        self.reader: Callable[[], None] | None = None
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.connected: list[Any] = []
        self.refuses: OSError | None = None

    def add_reader(self, _: object, callback: Callable[[], None]) -> None:
        self.reader = callback

    def remove_reader(self, _: object) -> None:
        self.reader = None

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Any:
        self.timers.append((seconds, callback))
        return FakeTimer(self, self.timers[-1])

    def create_task(self, coroutine: Any) -> Any:
        return asyncio.get_running_loop().create_task(coroutine)

    async def connect_accepted_socket(self, factory: Callable[[], Any], connection: object) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.connected.append((factory(), connection))

    def turn(self) -> None:
        assert self.reader is not None
        self.reader()

    def go_off(self, seconds: float) -> None:
        """Let the timers of that length go off."""
        due = [each for each in self.timers if each[0] == seconds]
        assert due
        for each in due:
            self.timers.remove(each)
            each[1]()


class FakeTimer:
    def __init__(self, loop: FakeLoop, timer: tuple[float, Callable[[], None]]) -> None:
        self._loop, self._timer = loop, timer

    def cancel(self) -> None:
        if self._timer in self._loop.timers:
            self._loop.timers.remove(self._timer)


def connections(count: int) -> list[Accepted]:
    return [(FakeSocket(), ("192.0.2.1", port)) for port in range(count)]


def no_file(number: int = errno.EMFILE) -> OSError:
    return OSError(number, os.strerror(number))


class Noted(asyncio.Protocol):
    """Knows its address, and whether it was told of its end."""

    def __init__(self, address: Any) -> None:
        self.address = address
        self.lost: Exception | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = exc


def open_loop(*results: Accepted | OSError) -> tuple[FakeLoop, FakeSocket, AcceptLoop]:
    loop, listener = FakeLoop(), FakeSocket(*results)
    accepting = AcceptLoop(loop, listener, Noted)  # type: ignore[arg-type]
    accepting.resume()
    return loop, listener, accepting


async def test_a_few_are_accepted_in_each_turn() -> None:
    loop, listener, accepting = open_loop(*connections(40))
    turns = 0
    while listener.results:
        loop.turn()
        turns += 1
    await accepting.settled()
    assert [protocol.address[1] for protocol, _ in loop.connected] == list(range(40))
    assert 2 <= turns <= 4


async def test_who_has_gone_keeps_nobody_waiting() -> None:
    one, two = connections(2)
    loop, _, accepting = open_loop(one, ConnectionAbortedError(), two)
    loop.turn()
    await accepting.settled()
    assert len(loop.connected) == 2


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_without_files_it_pauses_and_goes_on(
    number: int, caplog: pytest.LogCaptureFixture
) -> None:
    (one,) = connections(1)
    loop, listener, accepting = open_loop(no_file(number))
    loop.turn()
    assert loop.reader is None
    assert len(caplog.records) == 1
    assert os.strerror(number) in caplog.text
    listener.results.append(one)
    loop.go_off(0.1)
    loop.turn()
    await accepting.settled()
    assert len(loop.connected) == 1


async def test_it_says_so_once_a_second(caplog: pytest.LogCaptureFixture) -> None:
    loop, _, accepting = open_loop(*[no_file()] * 10)
    for _ in range(10):
        loop.turn()
        loop.go_off(0.1)
    assert len(caplog.records) == 1
    loop.go_off(1.0)
    assert "(9 tries)" in caplog.messages[1]
    accepting.close()
    assert len(caplog.records) == 2


async def test_closing_ends_it_also_while_it_pauses() -> None:
    for results in ((), (no_file(),)):
        loop, listener, accepting = open_loop(*results)
        loop.turn()
        accepting.close()
        accepting.close()
        assert listener.is_closed
        assert (loop.reader, loop.timers) == (None, [])
        await accepting.settled()


async def test_a_connection_that_cannot_be_set_up_is_closed_and_told() -> None:
    ((connection, address),) = connections(1)
    made: list[Noted] = []

    def protocol_for(peer: object) -> Noted:
        made.append(Noted(peer))
        return made[-1]

    loop = FakeLoop()
    loop.refuses = no_file(errno.EINVAL)
    accepting = AcceptLoop(loop, FakeSocket((connection, address)), protocol_for)  # type: ignore[arg-type]
    accepting.resume()
    loop.turn()
    await accepting.settled()
    assert connection.is_closed
    assert [protocol.lost for protocol in made] == [loop.refuses]


async def test_who_gets_no_protocol_is_closed() -> None:
    ((connection, address),) = connections(1)
    loop = FakeLoop()
    accepting = AcceptLoop(loop, FakeSocket((connection, address)), lambda _: None)  # type: ignore[arg-type]
    accepting.resume()
    loop.turn()
    await accepting.settled()
    assert connection.is_closed
    assert not loop.connected
