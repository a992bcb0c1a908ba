"""Engines whose connections fail: the client concerned is told, and nobody else notices."""

from __future__ import annotations

import signal
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.engines import until
from tests.faults import (
    CHAT,
    DONE,
    ask,
    body,
    ends_in_an_error,
    engine_of,
    fault,
    faulty_server,
    nothing_left,
    port_of,
    undisturbed,
)
from tests.raw_http import Answer, ask_once, open_raw
from tests.serving import Served

FIRST_BYTE_SECONDS = 1
CHUNK_SECONDS = 1


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Served]:
    with faulty_server(
        tmp_path_factory.mktemp("faults"),
        f"--set=first_byte_timeout_seconds={FIRST_BYTE_SECONDS}",
        f"--set=chunk_timeout_seconds={CHUNK_SECONDS}",
        "--set=stream_grace_seconds=0",
        "--set=wedge_seconds=0",
    ) as running:
        yield running


def assert_told(answer: Answer, status: int, code: str) -> None:
    error = answer.json["error"]
    assert (answer.status, error["code"]) == (status, code)
    assert error["gglib"]["source"] == "gglib"
    assert "alpha" in error["message"]


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("close", 502, "upstream_lost"),
        ("reset", 502, "upstream_lost"),
        ("garbage", 502, "upstream_protocol_error"),
        ("stall", 504, "upstream_timeout"),
    ],
)
async def test_a_fault_before_the_first_byte_is_an_error_with_its_status(
    server: Served, kind: str, status: int, code: str
) -> None:
    async with undisturbed(server):
        assert_told(await ask(server, **fault(kind)), status, code)
    await nothing_left(server)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("close", "upstream_lost"),
        ("reset", "upstream_lost"),
        ("malformed", "upstream_protocol_error"),
        ("stall", "upstream_timeout"),
    ],
)
async def test_a_fault_between_two_events_is_an_event(server: Served, kind: str, code: str) -> None:
    async with undisturbed(server), open_raw(port_of(server)) as client:
        client.request(
            "POST", CHAT, body(stream=True, token_seconds=0.02, **fault(kind, after_chunks=2))
        )
        assert (await client.head()).status == 200
        assert (await ends_in_an_error(client))["code"] == code
    await nothing_left(server)


async def test_a_stream_that_ends_within_an_event_is_cut(server: Served) -> None:
    async with undisturbed(server), open_raw(port_of(server)) as client:
        client.request("POST", CHAT, body(stream=True, **fault("half_event", after_chunks=2)))
        assert (await client.head()).status == 200
        data = await client.rest()
        assert data
        assert DONE not in data
        assert not data.endswith(b"0\r\n\r\n")
    await nothing_left(server)


async def test_a_whole_answer_that_ends_early_is_cut(server: Served) -> None:
    async with undisturbed(server), open_raw(port_of(server)) as client:
        client.request("POST", CHAT, body(**fault("malformed")))
        head = await client.head()
        assert len(await client.rest()) < int(head.headers["content-length"])
    await nothing_left(server)


async def test_an_error_of_the_engine_passes_through_as_it_is(server: Served) -> None:
    async with undisturbed(server):
        answer = await ask(server, **fault("status", status=500, message="of its own"))
        assert (answer.status, answer.json["error"]["message"]) == (500, "of its own")
        assert "gglib" not in answer.json["error"]
    await nothing_left(server)


@pytest.mark.parametrize("close_idle", ["after_answer", "on_next_request"])
async def test_a_kept_connection_that_the_engine_closes_as_we_write_costs_no_request(
    tmp_path: Path, close_idle: str
) -> None:
    with faulty_server(tmp_path, models={"alpha": {"close_idle": close_idle}}) as server:
        async with open_raw(port_of(server)) as client:
            for _ in range(20):
                assert (await client.ask("POST", CHAT, body())).status == 200
        await nothing_left(server)


async def test_an_engine_that_refuses_connections_is_an_error_until_it_has_gone(
    tmp_path: Path,
) -> None:
    sim: dict[str, Any] = {"stop_seconds": 2}
    with faulty_server(tmp_path, models={"alpha": sim, "beta": {}}) as server:
        assert (await ask(server)).status == 200
        engine = engine_of(server)
        engine.send_signal(signal.SIGTERM)  # it listens no more, and takes its time
        await until(lambda: not engine.net_connections("tcp"))
        assert_told(await ask(server), 502, "upstream_unreachable")
        assert (await ask_once(port_of(server), "GET", "/health")).status == 200
        await until(lambda: not engine.is_running())
        await nothing_left(server)
