"""What only the owner sees, and that others do not."""

import asyncio

import pytest
from quart.testing import QuartClient

from gglib_core.models import ModelState
from gglib_proxy.control.app import create_app
from tests.catalog_entries import model
from tests.control_plane import (
    THROUGH_DATA_PLANE,
    FakeModelLogs,
    FakeModelRuntime,
    control_context,
)

ALPHA = model(7, "org/alpha")


@pytest.fixture
def runtime() -> FakeModelRuntime:
    return FakeModelRuntime()


@pytest.fixture
def logs() -> FakeModelLogs:
    logs = FakeModelLogs()
    for number in range(300):
        logs.write(7, f"line {number}")
    return logs


@pytest.fixture
def client(runtime: FakeModelRuntime, logs: FakeModelLogs) -> QuartClient:
    return create_app(control_context([ALPHA], runtime=runtime, logs=logs)).test_client()


async def test_the_status_says_all_that_the_command_line_shows(
    client: QuartClient, runtime: FakeModelRuntime
) -> None:
    runtime.show(
        ALPHA,
        ModelState.LOADED,
        leases=2,
        waiting=3,
        pid=55,
        port=4000,
        launch_id="secret",
        since_seconds=1.23456,
        expected_seconds=2.34567,
        is_pinned=True,
        memory_bytes=1000,
    )
    document = await (await client.get("/api/v1/status")).get_json()
    assert document.pop("uptime_seconds") >= 0
    assert document == {
        "version": "9.8.7",
        "pid": 4711,
        "url": "http://127.0.0.1:8080",
        "engine": "llama-server from PATH",
        "models": [
            {
                "model_id": 7,
                "name": "org/alpha",
                "state": "loaded",
                "context": 4096,
                "leases": 2,
                "waiting": 3,
                "pid": 55,
                "port": 4000,
                "since_seconds": 1.235,
                "expected_seconds": 2.346,
                "is_pinned": True,
                "memory_bytes": 1000,
                "failure": None,
            }
        ],
    }


@pytest.mark.parametrize(
    ("query", "first", "count"),
    [("", 100, 200), ("?lines=2", 298, 2), ("?lines=0", 0, 0), ("?lines=99999999", 0, 300)],
)
async def test_logs_are_the_last_lines_as_text(
    client: QuartClient, query: str, first: int, count: int
) -> None:
    answer = await client.get(f"/api/v1/logs/org%2Falpha{query}")
    assert answer.content_type == "text/plain; charset=utf-8"
    expected = [f"line {number}" for number in range(first, first + count)]
    assert (await answer.get_data(as_text=True)).splitlines() == expected


@pytest.mark.parametrize(
    "query", ["lines=x", "lines=-1", "lines=", "lines=%C2%B2", "lines=1" + "0" * 20, "follow=maybe"]
)
async def test_a_query_that_makes_no_sense_is_refused(client: QuartClient, query: str) -> None:
    answer = await client.get(f"/api/v1/logs/org/alpha?{query}")
    assert answer.status_code == 400
    assert (await answer.get_json())["error"]["param"] == query.split("=")[0]


async def test_logs_of_an_unknown_model_are_404(client: QuartClient) -> None:
    answer = await client.get("/api/v1/logs/nobody")
    assert (await answer.get_json())["error"]["code"] == "model_not_found"


async def test_a_follower_gets_the_last_lines_and_then_each_new_one(
    client: QuartClient, logs: FakeModelLogs
) -> None:
    async with client.request("/api/v1/logs/7?lines=1&follow=1") as connection:
        await connection.send_complete()
        assert await connection.receive() == b"line 299\n"
        logs.write(7, "new ü \udce9")
        assert await connection.receive() == "new ü ?\n".encode()
        follower = logs.followers[0]
        await connection.disconnect()
        await follower.was_closed.wait()
    assert logs.followers == []


async def test_a_head_does_not_wait_for_lines_to_come(
    client: QuartClient, logs: FakeModelLogs
) -> None:
    answer = await client.head("/api/v1/logs/7?follow=1")
    assert answer.status_code == 200
    assert logs.followers == []


@pytest.mark.parametrize("path", ["status", "logs/7", "logs/7?follow=1", "logs/nobody"])
@pytest.mark.parametrize("root", ["/api/v1/", "//api/v1/", "/api%2Fv1/", "/%61pi/v1/"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_what_comes_through_the_data_plane_finds_nothing(
    client: QuartClient, logs: FakeModelLogs, method: str, root: str, path: str
) -> None:
    answer = await client.open(root + path, method=method, headers=THROUGH_DATA_PLANE)
    assert answer.status_code == 404
    if method == "GET":
        assert (await answer.get_json())["error"]["code"] == "not_found"
    assert logs.followers == []


async def test_an_empty_peer_is_still_a_peer(client: QuartClient) -> None:
    answer = await client.get("/api/v1/status", headers={"x-gglib-peer": ""})
    assert answer.status_code == 404


async def test_followers_end_when_the_server_stops(logs: FakeModelLogs) -> None:
    context = control_context([ALPHA], logs=logs)
    client = create_app(context).test_client()
    async with client.request("/api/v1/logs/7?lines=1&follow=1") as connection:
        await connection.send_complete()
        assert await connection.receive() == b"line 299\n"
        context.stop.set()
        answer = await asyncio.wait_for(connection.as_response(), 20)
    assert answer.status_code == 200
    assert logs.followers == []
