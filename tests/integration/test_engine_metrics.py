"""Engines are asked for their counters, if they have any, and hold no scrape up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gglib_core.catalog import InMemoryModelCatalog
from gglib_core.models import Model, Target
from gglib_runtime.supervisor.engine_counters import ANSWER_SECONDS, LlamaServerCounters
from tests.catalog_entries import model

COUNTING = model(1, "counting", arguments=("--metrics",))
SILENT = model(2, "silent")


class FakeEngine:
    """Answers every request with the text of its counters."""

    def __init__(self) -> None:
        self.decoded = 0
        self.heads: list[bytes] = []
        self.is_stuck = False
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads.append(await reader.readuntil(b"\r\n\r\n"))
        if self.is_stuck:
            await reader.read()
        else:
            body = b"llamacpp:n_decode_total %d\nllamacpp:requests_deferred 3\n" % self.decoded
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        writer.close()

    def target(self, of: Model, launch_id: str) -> Target:
        return Target(
            launch_id=launch_id,
            model_id=of.id,
            model_name=of.name,
            host="127.0.0.1",
            port=self.port,
            api_key="secret",
            context=4096,
        )


@asynccontextmanager
async def open_engine() -> AsyncIterator[FakeEngine]:
    engine = FakeEngine()
    server = await asyncio.start_server(engine.serve, "127.0.0.1", 0)
    engine.port = server.sockets[0].getsockname()[1]
    async with server:
        yield engine


async def test_counters_are_added_up_over_restarts_with_the_engines_key() -> None:
    async with open_engine() as engine:
        running = [engine.target(COUNTING, "launch-1")]
        counters = LlamaServerCounters(lambda: running, InMemoryModelCatalog([COUNTING]))
        engine.decoded = 7
        reading = (await counters.read())["counting"]
        assert reading.totals == {"n_decode_total": 7}
        assert reading.gauges == {"requests_deferred": 3}
        running[:] = [engine.target(COUNTING, "launch-2")]
        engine.decoded = 2
        assert (await counters.read())["counting"].totals == {"n_decode_total": 9}
        running.clear()
        reading = (await counters.read())["counting"]
        assert (reading.totals, reading.gauges) == ({"n_decode_total": 9}, {})
    assert all(head.startswith(b"GET /metrics HTTP/1.1\r\n") for head in engine.heads)
    assert all(b"Authorization: Bearer secret\r\n" in head for head in engine.heads)


async def test_an_engine_that_was_not_told_to_count_is_not_asked() -> None:
    async with open_engine() as engine:
        running = [engine.target(SILENT, "launch-1")]
        counters = LlamaServerCounters(lambda: running, InMemoryModelCatalog([SILENT]))
        assert await counters.read() == {}
        assert not engine.heads


async def test_an_engine_that_does_not_answer_is_shown_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gglib_runtime.supervisor.engine_counters.ANSWER_SECONDS", 0.05)
    async with open_engine() as engine:
        running = [engine.target(COUNTING, "launch-1")]
        counters = LlamaServerCounters(lambda: running, InMemoryModelCatalog([COUNTING]))
        engine.decoded = 7
        await counters.read()
        engine.is_stuck = True
        async with asyncio.timeout(20):
            reading = (await counters.read())["counting"]
        assert (reading.totals, reading.gauges) == ({"n_decode_total": 7}, {})


async def test_an_engine_is_asked_for_the_last_time_before_it_is_stopped() -> None:
    async with open_engine() as engine:
        target = engine.target(COUNTING, "launch-1")
        counters = LlamaServerCounters(list, InMemoryModelCatalog([COUNTING]))
        engine.decoded = 5
        await counters.read_last(target)
        assert (await counters.read())["counting"].totals == {"n_decode_total": 5}
        await counters.read_last(engine.target(COUNTING, "launch-2"))
        assert (await counters.read())["counting"].totals == {"n_decode_total": 10}


async def test_an_engine_that_does_not_answer_at_once_is_stopped_all_the_same() -> None:
    async with open_engine() as engine:
        counters = LlamaServerCounters(list, InMemoryModelCatalog([COUNTING, SILENT]))
        await counters.read_last(engine.target(SILENT, "launch-1"))
        assert engine.heads == []
        engine.is_stuck = True
        async with asyncio.timeout(ANSWER_SECONDS):
            await counters.read_last(engine.target(COUNTING, "launch-2"))
    await counters.read_last(engine.target(COUNTING, "launch-3"))  # nobody listens there any more
    assert await counters.read() == {}
