"""Answers of the simulator without a server: an answer's parts, and who takes them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from gglib_runtime.simulator.answering import Answering
from gglib_runtime.simulator.behaviour import AnswerPlan
from gglib_runtime.simulator.exchange import Request
from gglib_runtime.simulator.faults.schema import Fault
from gglib_runtime.simulator.generation import Generation
from gglib_runtime.simulator.latency.pace import Pace
from gglib_runtime.simulator.log import EngineLog
from gglib_runtime.simulator.records import Recorder
from gglib_runtime.simulator.slots import Slots
from gglib_runtime.simulator.tallies import Tallies


@dataclass
class FakeGeneration:
    """As much of a generation as an answer's timing needs."""

    count: int
    model: str = "alpha"
    prompt_tokens: int = 10
    prompt_ms: float = 0.0
    predicted_ms: float = 0.0
    slot: int = -1


class PlainDialect:
    """Events that say their number."""

    def __init__(self, count: int) -> None:
        self._count = count

    def whole(self) -> bytes:
        return b'{"tokens":%d}' % self._count

    def opening(self) -> bytes:
        return b""

    def piece(self, index: int) -> bytes:
        return b"data: %d\n\n" % index

    def closing(self) -> list[bytes]:
        return [b"data: [DONE]\n\n"]

    def error(self, status: int, message: str) -> bytes:
        return b"data: error\n\n"


class FakeExchange:
    """Takes what is sent, and notes when."""

    def __init__(self) -> None:
        self.request = Request(
            method="POST", path="/x", query="", headers={}, body=b"", wants_close=False
        )
        self.moments: list[float] = []
        self.sent: list[bytes] = []
        self.is_over = False
        self.is_paused = False
        self.on_gone: Any = None
        self.on_writable: Any = None
        self.connection_number = 1
        self.ended = asyncio.Event()

    def begin_stream(self) -> None:
        return

    def send(self, event: bytes) -> None:
        self.moments.append(asyncio.get_running_loop().time())
        self.sent.append(event)

    def answer(self, status: int, body: bytes, **_: Any) -> None:
        self.send(body)
        self.end()

    def end(self) -> None:
        self.is_over = True
        self.ended.set()


@dataclass
class FakeHost:
    """An engine that has one pace, and nothing goes wrong."""

    pace: Pace | None
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    log: EngineLog = field(default_factory=lambda: EngineLog(is_on=False))
    recorder: Recorder = field(default_factory=lambda: Recorder(None, "alpha"))
    tallies: Tallies = field(default_factory=Tallies)
    slots: Slots = field(default_factory=lambda: Slots(1))
    is_alone: bool = True
    is_stopping: bool = False

    def slots_for(self, model: str) -> Slots:
        return self.slots

    def pace_for(self, plan: AnswerPlan, generation: Generation, number: int) -> Pace | None:
        return self.pace

    def fault_for(self, *_: Any, **__: Any) -> Fault | None:
        return None

    def is_overloaded(self) -> bool:
        return False

    def refuse_overload(self, exchange: Any) -> None:
        raise AssertionError

    def fail(self, exchange: Any, fault: Fault) -> None:
        raise AssertionError

    def answered(self, generation: Any, exchange: Any, *, is_whole: bool) -> None:
        return

    def crash(self, fault: Fault) -> None:
        raise AssertionError


async def streamed_moments(pace: Pace, *, tokens: int, lateness: float = 0.0) -> list[float]:
    """When each token of a stream was sent, after its start; the loop is late by so much."""
    exchange: Any = FakeExchange()
    generation: Any = FakeGeneration(count=tokens)
    loop: Any = asyncio.get_running_loop()
    if lateness:
        call_at = loop.call_at
        loop.call_at = lambda when, *rest, **more: call_at(when + lateness, *rest, **more)
    started = loop.time()
    Answering(
        FakeHost(pace), exchange, generation, PlainDialect(tokens), AnswerPlan(), 1, is_stream=True
    ).start()
    await exchange.ended.wait()
    return [moment - started for moment in exchange.moments[:tokens]]
