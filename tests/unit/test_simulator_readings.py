"""Requests that come again are read once, and answered as if they had been read again."""

from __future__ import annotations

from gglib_runtime.simulator.answers import Wanted
from gglib_runtime.simulator.exchange import Request
from gglib_runtime.simulator.readings import ChatReading, Readings

READING = ChatReading(body={}, wanted=Wanted(asked="x"), prompt_tokens=1)


def request(body: bytes, path: str = "/v1/messages") -> Request:
    return Request(method="POST", path=path, query="", headers={}, body=body, wants_close=False)


def test_the_same_body_on_the_same_path_is_known() -> None:
    readings = Readings()
    readings.keep(request(b"{}"), READING)
    assert readings.find(request(b"{}")) is READING
    assert readings.find(request(b"{}", "/v1/chat/completions")) is None
    assert readings.find(request(b"{ }")) is None


def test_the_oldest_gives_way() -> None:
    readings = Readings()
    for number in range(65):
        readings.keep(request(b"%d" % number), READING)
    assert readings.find(request(b"0")) is None
    assert readings.find(request(b"1")) is READING


def test_large_bodies_are_not_kept() -> None:
    readings = Readings()
    readings.keep(request(b" " * 8193), READING)
    assert readings.find(request(b" " * 8193)) is None
